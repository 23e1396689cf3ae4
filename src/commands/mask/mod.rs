//! `--mask`: where a style is laid on. What lies beside it stays as it was.

mod pictures;

use std::path::Path;

use anyhow::{Result, anyhow, bail, ensure};

pub use self::pictures::{EXTENSIONS, Remarks, read};
use self::pictures::{Pictures, steady_rate};
use super::stages::SmoothedFrame;
use super::{UsageError, is_named_like_video, outputs};
use crate::cli::MaskArgs;
use crate::frame::{CHANNELS, Frame, FrameSize};
use crate::media::{self, Cut, ReaderOptions, VideoReader};
use crate::pipeline::Stage;
use crate::scale::{Filter, Scaler};
use crate::stills::StillFormat;
use crate::style::pixels::mix_by_weights;

/// Black and white that went through a lossy encoder are a few levels off: so many count as none.
const NOISE: f32 = 8.0;

/// How much of the style each pixel of a clip or picture gets.
pub struct Mask {
    pictures: Pictures,
    /// What the levels of its pictures count.
    levels: [u8; 256],
    whiteness: Whiteness,
    /// The picture that is there as weights, `[height, width]`, 0–255.
    weights: Vec<u8>,
    /// For content of which size they are; `None`: they are of another picture.
    weighed: Option<FrameSize>,
}

impl Mask {
    /// The mask for one picture, or for several.
    ///
    /// # Errors
    /// If it is none that can be read, or nothing but black.
    pub fn for_pictures(args: &MaskArgs) -> Result<Option<Self>> {
        let Some(path) = &args.mask else { return Ok(None) };
        let is_clip = StillFormat::of_path(path).is_none() && is_named_like_video(path);
        if path.is_dir() || is_clip || media::is_url(path) {
            let text = format!("the mask '{}' is no picture in a file (expected one for all)", media::shown(path));
            return Err(UsageError(anyhow!(text)).into());
        }
        Self::of_picture(path, args.invert_mask).map(Some)
    }

    /// The mask for the clip of a reader that was opened with these options and from which nothing was read yet.
    ///
    /// # Errors
    /// As [`Mask::for_clip`].
    pub fn for_reader(args: &MaskArgs, reader: &VideoReader, options: &ReaderOptions) -> Result<Option<Self>> {
        let info = reader.info();
        let start = options.cut.start.map(|_| reader.begins_at());
        let options = ReaderOptions { cut: Cut { start, ..options.cut }, ..options.clone() };
        Self::for_clip(args, info.size, steady_rate(info), &options)
    }

    /// The mask for a clip of this size, from `options.cut.start` on. Its pictures are taken one for one: with a start, which is a time,
    /// the mask has to have the clip's rate, and that has to be a steady one.
    ///
    /// # Errors
    /// If it cannot be read, has another shape, or is nothing but black.
    pub fn for_clip(
        args: &MaskArgs,
        size: FrameSize,
        rate: Option<f64>,
        options: &ReaderOptions,
    ) -> Result<Option<Self>> {
        let Some(path) = &args.mask else { return Ok(None) };
        let mut mask = if path.is_dir() {
            Self::new(Pictures::of_folder(path, size, options)?, args.invert_mask)
        } else if StillFormat::of_path(path).is_some() && !media::is_url(path) {
            Self::of_picture(path, args.invert_mask)?
        } else {
            Self::new(Pictures::of_clip(path, rate, options)?, args.invert_mask)
        };
        mask.weigh(size)?;
        Ok(Some(mask))
    }

    fn of_picture(path: &Path, is_inverted: bool) -> Result<Self> {
        let mut mask = Self::new(Pictures::of_picture(path)?, is_inverted);
        let is_black = mask.weigh(mask.pictures.current().size)?.iter().all(|weight| *weight == 0);
        ensure!(
            !is_black,
            "the mask '{}' is {} (expected {} where the style is to be)",
            path.display(),
            if is_inverted { "white" } else { "black" },
            if is_inverted { "black" } else { "white" },
        );
        Ok(mask)
    }

    fn new(pictures: Pictures, is_inverted: bool) -> Self {
        Self {
            pictures,
            levels: weights(is_inverted),
            whiteness: Whiteness::default(),
            weights: Vec::new(),
            weighed: None,
        }
    }

    /// What a person should know who has this mask for so many frames, of a part of the clip or of all of it.
    pub fn notes(&self, expected_frames: Option<u64>, is_part: bool) -> Vec<String> {
        self.pictures.notes(expected_frames, is_part)
    }

    /// What will be found wrong with it.
    pub fn remarks(&self) -> Remarks {
        self.pictures.remarks()
    }

    /// Puts back what the mask leaves as it was.
    ///
    /// # Errors
    /// If the mask cannot be read on, or has another shape.
    pub fn apply(&mut self, content: &Frame, painted: &mut Frame) -> Result<()> {
        self.go_to(content.frame_index, || false)?;
        mix_by_weights(content.pixels(), self.weigh(content.size)?, painted.pixels_mut());
        Ok(())
    }

    /// Goes on to the picture for a frame; `false`: that was ended on the way. Where a mask ends early, its last picture is held.
    ///
    /// # Errors
    /// If it cannot be read, or the run is given up.
    pub fn go_to(&mut self, index: u64, is_ended: impl Fn() -> bool) -> Result<bool> {
        while let Some(is_other) = self.pictures.step_towards(index)? {
            if is_other {
                self.weighed = None;
            }
            ensure!(!self.pictures.is_interrupted(), "interrupted");
            if is_ended() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The picture that is there as weights for content of this size.
    fn weigh(&mut self, size: FrameSize) -> Result<&[u8]> {
        if self.weighed != Some(size) {
            let Self { pictures, levels, weights, .. } = self;
            self.whiteness.measure(pictures.path(), pictures.current(), size, weights)?;
            weights.iter_mut().for_each(|weight| *weight = levels[usize::from(*weight)]);
            self.weighed = Some(size);
        }
        Ok(&self.weights)
    }
}

/// What the levels of a mask count.
fn weights(is_inverted: bool) -> [u8; 256] {
    std::array::from_fn(|level| {
        let weight = ((level as f32 - NOISE) * 255.0 / (255.0 - 2.0 * NOISE)).round().clamp(0.0, 255.0) as u8;
        if is_inverted { 255 - weight } else { weight }
    })
}

/// A mask as the pipeline's stage: after smoothing, which sees whole paintings.
pub struct MaskStage(pub Mask);

impl Stage for MaskStage {
    type Input = SmoothedFrame;
    type Output = SmoothedFrame;

    fn process(&mut self, mut frame: SmoothedFrame) -> Result<SmoothedFrame> {
        if let Some(content) = &frame.content {
            self.0.apply(content, &mut frame.frame)?;
        }
        Ok(frame)
    }
}

/// Refuses an output that would replace the mask. `what` is what it is called.
///
/// # Errors
/// [`UsageError`].
pub fn refuse_as_output(args: &MaskArgs, what: &str, output: &Path) -> Result<(), UsageError> {
    match &args.mask {
        Some(mask) if outputs::is_same(mask, output) => {
            Err(UsageError(anyhow!("the {what} '{}' is the mask (choose another name)", output.display())))
        }
        _ => Ok(()),
    }
}

/// Refuses a mask of another shape, which is a mistake; one of another size is scaled.
fn check_shape(path: &Path, mask: FrameSize, content: FrameSize) -> Result<()> {
    let (a, b) = (mask.width * content.height, mask.height * content.width);
    if a.abs_diff(b) * 50 > a.max(b) {
        bail!("the mask '{}' is {mask} and the content {content} (expected the same shape)", media::shown(path));
    }
    Ok(())
}

/// Measures how white masks are; keeps its buffers between pictures.
#[derive(Default)]
pub struct Whiteness {
    scaler: Scaler,
    scaled: Vec<u8>,
}

impl Whiteness {
    /// Puts into `plane`, `[height, width]`, 0–255, how white a mask is at each pixel of content of a size: the mean of its channels.
    ///
    /// # Errors
    /// If the mask has another shape.
    pub fn measure(&mut self, path: &Path, mask: &Frame, size: FrameSize, plane: &mut Vec<u8>) -> Result<()> {
        check_shape(path, mask.size, size)?;
        let mut pixels = mask.pixels();
        if mask.size != size {
            let filter = if size.pixels() < mask.size.pixels() { Filter::Box } else { Filter::CatmullRom };
            self.scaled.resize(size.bytes(), 0);
            self.scaler.scale_rgb(mask.size, pixels, size, &mut self.scaled, filter)?;
            pixels = &self.scaled;
        }
        let mean =
            |[red, green, blue]: &[u8; CHANNELS]| ((u16::from(*red) + u16::from(*green) + u16::from(*blue)) / 3) as u8;
        plane.clear();
        plane.extend(pixels.as_chunks::<CHANNELS>().0.iter().map(mean));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn black_and_white_are_whole_and_what_lies_between_is_even() {
        let (plain, inverted) = (weights(false), weights(true));
        assert_eq!([0, 4, 8, 247, 251, 255].map(|level| plain[level]), [0, 0, 0, 255, 255, 255]);
        assert!((127..=129).contains(&plain[128]) && plain.is_sorted());
        assert!(plain.iter().zip(inverted).all(|(plain, inverted)| plain + inverted == 255));
    }

    #[test]
    fn a_mask_of_another_size_is_scaled_and_one_of_another_shape_refused() {
        let mut mask = Frame::black(FrameSize::new(8, 4));
        for row in mask.pixels_mut().chunks_exact_mut(8 * CHANNELS) {
            row[4 * CHANNELS..].fill(255);
        }
        let whiteness = |width, height| -> Result<Vec<u8>> {
            let mut plane = Vec::new();
            let size = FrameSize::new(width, height);
            Whiteness::default().measure(Path::new("a.png"), &mask, size, &mut plane).map(|()| plane)
        };
        assert_eq!(whiteness(4, 2).unwrap(), [0, 0, 255, 255, 0, 0, 255, 255]);
        let large = whiteness(16, 8).unwrap();
        assert!(large.chunks_exact(16).all(|row| row[..6].iter().all(|white| *white == 0)));
        assert!(large.chunks_exact(16).all(|row| row[10..].iter().all(|white| *white == 255)));
        let error = whiteness(4, 8).unwrap_err().to_string();
        assert!(error.contains("the mask 'a.png' is 8×4 and the content 4×8 (expected the same shape)"), "{error}");
    }
}
