//! The frames between keyframes: moved along the motion from both sides, and filled where neither side shows anything.

use anyhow::Result;

use super::keyframe::{add, divide, start};
use super::track::{Track, Tracker};
use crate::frame::Frame;
use crate::gatys::targets::Anchor;
use crate::gatys::{Picture, match_colors};
use crate::motion::flow::GrayPicture;

/// A frame of the film.
#[derive(Debug)]
pub struct Carried<T> {
    /// What came in with it.
    pub item: T,
    /// Its content, at the size of the film.
    pub content: Frame,
    /// Its painting.
    pub painted: Picture,
}

/// Paints what no keyframe shows: from a content to a painting of the same size.
pub trait Filler {
    /// # Errors
    /// If it cannot be painted.
    fn fill(&mut self, content: &Frame) -> Result<Picture>;
}

/// Takes all frames in order and gives them back painted; holds those since the last keyframe. Items of the caller travel
/// with them.
pub struct Carrier<T> {
    tracker: Tracker,
    /// The last keyframe, which is given back already.
    key: Option<Key>,
    waiting: Vec<Waiting<T>>,
}

struct Key {
    content: Frame,
    painted: Picture,
}

struct Waiting<T> {
    item: T,
    content: Frame,
    gray: GrayPicture,
    /// From this frame to the keyframe before, chained.
    to_key: Track,
    /// From the frame before to this one.
    forth: Track,
}

impl<T> Carrier<T> {
    /// # Errors
    /// If optical flow cannot be prepared.
    pub fn new() -> Result<Self> {
        Ok(Self { tracker: Tracker::new()?, key: None, waiting: Vec::new() })
    }

    /// A frame between keyframes, or after the last one of its scene.
    ///
    /// # Errors
    /// If optical flow fails.
    pub fn push(&mut self, item: T, content: Frame) -> Result<()> {
        let gray = GrayPicture::from_rgb(content.pixels(), content.size);
        let (back, forth) = self.step_to(&gray)?;
        let to_key = self.waiting.last().map_or_else(|| back.clone(), |before| back.then(&before.to_key));
        self.waiting.push(Waiting { item, content, gray, to_key, forth });
        Ok(())
    }

    /// A keyframe: gives back what waited, then itself.
    ///
    /// # Errors
    /// If optical flow or the filler fails.
    pub fn push_key(
        &mut self,
        item: T,
        content: Frame,
        painted: Picture,
        is_new_scene: bool,
        filler: &mut dyn Filler,
    ) -> Result<Vec<Carried<T>>> {
        let mut frames = if is_new_scene || self.key.is_none() {
            self.finish(filler)?
        } else {
            let gray = GrayPicture::from_rgb(content.pixels(), content.size);
            let (_, forth) = self.step_to(&gray)?;
            self.carry(Some((&Key { content: content.clone(), painted: painted.clone() }, forth)), filler)?
        };
        self.key = Some(Key { content: content.clone(), painted: painted.clone() });
        frames.push(Carried { item, content, painted });
        Ok(frames)
    }

    /// The end of the clip or of a scene: gives back what waited.
    ///
    /// # Errors
    /// If the filler fails.
    pub fn finish(&mut self, filler: &mut dyn Filler) -> Result<Vec<Carried<T>>> {
        self.carry(None, filler)
    }

    /// The tracks from a new frame to the one before it, and back.
    fn step_to(&mut self, gray: &GrayPicture) -> Result<(Track, Track)> {
        match (self.waiting.last(), &self.key) {
            (Some(before), _) => self.tracker.between(&before.gray, gray),
            (None, Some(key)) => {
                let before = GrayPicture::from_rgb(key.content.pixels(), key.content.size);
                self.tracker.between(&before, gray)
            }
            (None, None) => Ok((Track::still(gray.size), Track::still(gray.size))),
        }
    }

    /// Paints what waits from the keyframe before and from `next`, with the track from the last waiting frame to it.
    fn carry(&mut self, next: Option<(&Key, Track)>, filler: &mut dyn Filler) -> Result<Vec<Carried<T>>> {
        let count = self.waiting.len();
        // Chained from the end: from each waiting frame to the next keyframe.
        let mut to_next = Vec::with_capacity(count);
        if let Some((_, last)) = &next
            && count > 0
        {
            let mut track = last.clone();
            for waiting in self.waiting.iter().skip(1).rev() {
                let longer = waiting.forth.then(&track);
                to_next.push(std::mem::replace(&mut track, longer));
            }
            to_next.push(track);
            to_next.reverse();
        }
        let mut to_next = to_next.into_iter();
        let mut carried = Vec::with_capacity(count);
        for (index, Waiting { item, content, to_key, .. }) in self.waiting.drain(..).enumerate() {
            let after = next.as_ref().map(|(key, _)| *key).zip(to_next.next());
            let position = (index + 1) as f32 / (count + 1) as f32;
            let before = self.key.as_ref().map(|key| (key, to_key));
            let shares = if after.is_some() { [1.0 - position, position] } else { [1.0, 0.0] };
            let sides = [before, after].into_iter().zip(shares).filter_map(|(side, share)| Some((side?, share)));
            let painted = blend(&content, sides, filler)?;
            carried.push(Carried { item, content, painted });
        }
        Ok(carried)
    }
}

/// Mixes the sides by their shares and by how sure they are; what none shows is filled, in the colors of the first one.
fn blend<'a>(
    content: &Frame,
    sides: impl Iterator<Item = ((&'a Key, Track), f32)>,
    filler: &mut dyn Filler,
) -> Result<Picture> {
    let size = content.size;
    let mut sum = Picture::gray(size, 0.0);
    let mut weights = vec![0.0f32; size.pixels()];
    let mut unseen = vec![1.0f32; size.pixels()];
    let mut colors = None;
    for ((key, mut track), share) in sides {
        track.compare(content, &key.content);
        let own: Vec<f32> = track.confidence.iter().map(|confidence| confidence * share).collect();
        add(&mut sum, &track.warp(&key.painted), &own);
        weights.iter_mut().zip(&own).for_each(|(sum, own)| *sum += own);
        unseen.iter_mut().zip(&track.confidence).for_each(|(unseen, confidence)| *unseen *= 1.0 - confidence);
        colors.get_or_insert(&key.painted);
    }
    divide(&mut sum, &weights);
    // How much is filled does not hang on whose share a place is, but on whether any side shows it.
    let seen: Vec<f32> =
        unseen.iter().zip(&weights).map(|(unseen, weight)| if *weight > 0.0 { 1.0 - unseen } else { 0.0 }).collect();
    if seen.iter().all(|seen| *seen >= 1.0) {
        return Ok(sum);
    }
    let mut fill = filler.fill(content)?;
    if let Some(colors) = colors {
        match_colors(&mut fill, colors);
    }
    Ok(start(&Anchor { picture: sum, confidence: seen }, &fill))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{CHANNELS, FrameSize};

    const SIZE: FrameSize = FrameSize::new(96, 64);

    struct Gray(usize);

    impl Filler for Gray {
        fn fill(&mut self, content: &Frame) -> Result<Picture> {
            self.0 += 1;
            Ok(Picture::gray(content.size, 0.5))
        }
    }

    fn content(shift: f32) -> Frame {
        let mut frame = Frame::black(SIZE);
        for (index, pixel) in frame.pixels_mut().as_chunks_mut::<CHANNELS>().0.iter_mut().enumerate() {
            let (x, y) = ((index % SIZE.width) as f32 - shift, (index / SIZE.width) as f32);
            let value = (x * 0.21 + y * 0.08).sin() + (x * 0.05 - y * 0.17).sin() + (x * 0.4 + y * 0.33).cos() * 0.5;
            *pixel = [(127.5 + value * 45.0) as u8; CHANNELS];
        }
        frame
    }

    /// A painting that goes with the content: its levels, halved.
    fn painting(content: &Frame) -> Picture {
        let mut picture = Picture::from_frame(content);
        picture.planes.iter_mut().for_each(|value| *value *= 0.5);
        picture
    }

    #[test]
    fn frames_between_follow_the_motion_from_both_sides() {
        let mut carrier = Carrier::new().unwrap();
        let filler = &mut Gray(0);
        let (first, last) = (content(0.0), content(8.0));
        let (first_painted, last_painted) = (painting(&first), painting(&last));
        let given = carrier.push_key(0, first, first_painted.clone(), true, filler).unwrap();
        assert_eq!((given.len(), &given[0].painted), (1, &first_painted));
        for index in 1..4 {
            carrier.push(index, content(index as f32 * 2.0)).unwrap();
        }
        let given = carrier.push_key(4, last, last_painted.clone(), false, filler).unwrap();
        assert_eq!(given.iter().map(|frame| frame.item).collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert_eq!(given[3].painted, last_painted);
        for frame in &given[..3] {
            let wanted = painting(&frame.content);
            let difference: f32 = frame.painted.planes.iter().zip(&wanted.planes).map(|(a, b)| (a - b).abs()).sum();
            let mean = difference / wanted.planes.len() as f32;
            assert!(mean < 0.02, "frame {}: {mean}", frame.item);
        }
    }

    #[test]
    fn what_the_far_side_alone_shows_surely_is_filled_no_more_than_near_it() {
        let frame = content(0.0);
        let key = |level: f32, frame: &Frame| Key { content: frame.clone(), painted: Picture::gray(SIZE, level) };
        let (first, last) = (key(0.2, &frame), key(0.9, &frame));
        let track = |confidence: f32| Track { confidence: vec![confidence; SIZE.pixels()], ..Track::still(SIZE) };
        for share in [0.05, 0.5, 0.95] {
            let sides = [((&first, track(0.0)), 1.0 - share), ((&last, track(0.9)), share)];
            let painted = blend(&frame, sides.into_iter(), &mut Gray(0)).unwrap();
            // The fill takes the colors of the first side.
            let expected = 0.9 * 0.9 + 0.1 * 0.2;
            assert!((painted.planes[0] - expected).abs() < 0.01, "{share}: {}", painted.planes[0]);
        }
    }

    #[test]
    fn a_new_scene_takes_nothing_from_the_old_one() {
        let mut carrier = Carrier::new().unwrap();
        let filler = &mut Gray(0);
        let dark = Picture::gray(SIZE, 0.1);
        carrier.push_key(0, content(0.0), dark.clone(), true, filler).unwrap();
        carrier.push(1, content(0.0)).unwrap();
        let given = carrier.push_key(2, content(40.0), Picture::gray(SIZE, 0.9), true, filler).unwrap();
        assert_eq!(given.len(), 2);
        assert!(given[0].painted.planes.iter().all(|value| (value - 0.1).abs() < 0.01), "the old scene alone");
        carrier.push(3, Frame::black(SIZE)).unwrap();
        let given = carrier.finish(filler).unwrap();
        assert_eq!((given.len(), given[0].item), (1, 3));
        assert!(filler.0 > 0, "what is not seen is filled");
        assert!(carrier.finish(filler).unwrap().is_empty());
    }
}
