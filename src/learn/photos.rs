//! What a style is fitted on: photos for the steps, and a few that no step sees.

use std::io::Cursor;

use anyhow::{Context as _, Result, ensure};

use crate::frame::{Frame, FrameSize};

/// Photos, and those that are held out.
#[derive(Debug)]
pub struct PhotoSet {
    /// For the steps.
    pub photos: Vec<Frame>,
    /// For judging.
    pub held_out: Vec<Frame>,
    /// What they are, in a few words.
    pub description: String,
}

/// Fewer photos show too little of the world.
pub const FEWEST: usize = 4;
/// Of so many photos one is held out.
const HELD_OUT_EVERY: usize = 8;
/// Photos that are held out at most: each costs a third of a step whenever a style is judged.
const MOST_HELD_OUT: usize = 4;

macro_rules! embedded {
    ($($name:literal),* $(,)?) => {
        &[$(include_bytes!(concat!("../../models/photos/", $name, ".jpg"))),*]
    };
}

/// For the steps; where they come from stands in `models/photos/README.md`.
const EMBEDDED: &[&[u8]] = embedded![
    "berlin-cathedral",
    "bison",
    "brandenburg-gate",
    "canyon-de-chelly",
    "cat",
    "chateau-de-chenonceau",
    "crab",
    "giraffe",
    "golden-temple",
    "great-pyramid-of-giza",
    "great-wall-of-china",
    "hawa-mahal",
    "horse",
    "jaguar",
    "kingfisher",
    "koala",
    "lemur",
    "lincoln-memorial",
    "narwhal",
    "owl",
    "panda",
    "pika",
    "polar-bear",
    "pont-du-gard",
    "qutub-minar",
    "rocamadour",
];
const EMBEDDED_HELD_OUT: &[&[u8]] = embedded!["petra", "mont-st-michel", "hedgehog", "scarlet-macaw"];

impl PhotoSet {
    /// The photos in the binary.
    ///
    /// # Errors
    /// When one is damaged, which a test excludes.
    pub fn bundled() -> Result<Self> {
        let decode_all = |photos: &[&[u8]]| photos.iter().map(|bytes| decode(bytes)).collect::<Result<Vec<_>>>();
        let (photos, held_out) = (decode_all(EMBEDDED)?, decode_all(EMBEDDED_HELD_OUT)?);
        let description = format!("{} bundled photos", photos.len() + held_out.len());
        Ok(Self { photos, held_out, description })
    }

    /// Photos of one's own: every eighth is held out.
    ///
    /// # Errors
    /// When there are fewer than [`FEWEST`].
    pub fn new(all: Vec<Frame>, description: String) -> Result<Self> {
        ensure!(
            all.len() >= FEWEST,
            "{} usable photos are too few to learn a style on (expected at least {FEWEST})",
            all.len()
        );
        let (mut photos, mut held_out) = (Vec::new(), Vec::new());
        for (index, photo) in all.into_iter().enumerate() {
            let is_held_out = index % HELD_OUT_EVERY == 1 && held_out.len() < MOST_HELD_OUT;
            if is_held_out { held_out.push(photo) } else { photos.push(photo) }
        }
        Ok(Self { photos, held_out, description })
    }
}

fn decode(bytes: &[u8]) -> Result<Frame> {
    let picture = image::ImageReader::new(Cursor::new(bytes)).with_guessed_format()?.decode();
    let picture = picture.context("read a bundled photo")?.into_rgb8();
    let mut frame = Frame::black(FrameSize::new(picture.width() as usize, picture.height() as usize));
    frame.pixels_mut().copy_from_slice(picture.as_raw());
    Ok(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bundled_photos_are_large_enough() {
        let set = PhotoSet::bundled().unwrap();
        assert_eq!((set.photos.len(), set.held_out.len()), (26, 4));
        let smallest = super::super::views::ViewSampler::smallest_photo(super::super::fitting::DEFAULT_SIDE);
        assert!(set.photos.iter().chain(&set.held_out).all(|photo| photo.size.short_side() >= smallest));
    }

    #[test]
    fn some_photos_are_held_out_and_too_few_are_refused() {
        let photos = |count: usize| (0..count).map(|_| Frame::black(FrameSize::new(4, 4))).collect::<Vec<_>>();
        let set = PhotoSet::new(photos(20), String::new()).unwrap();
        assert_eq!((set.photos.len(), set.held_out.len()), (17, 3));
        assert_eq!(PhotoSet::new(photos(4), String::new()).unwrap().held_out.len(), 1);
        assert!(PhotoSet::new(photos(3), String::new()).unwrap_err().to_string().contains("3 usable photos"));
    }
}
