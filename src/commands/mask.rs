//! `--mask`: where a style is laid on. What lies beside it stays as it was, to the last bit.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};

use super::stages::SmoothedFrame;
use super::{UsageError, outputs};
use crate::cli::MaskArgs;
use crate::frame::{CHANNELS, Frame, FrameSize};
use crate::measure::FrameSource;
use crate::media::{self, ReaderOptions};
use crate::pipeline::Stage;
use crate::scale::{Filter, Scaler};
use crate::stills::{Still, StillFormat};
use crate::style::pixels::mix_by_weights;

/// Black and white that went through a lossy encoder are a few levels off: so many count as none.
const NOISE: f32 = 8.0;

/// How much of the style each pixel of a clip or picture gets.
pub struct Mask {
    path: PathBuf,
    /// A picture for each frame; `None`: the one that is there is for all that come.
    frames: Option<FrameSource>,
    frames_read: u64,
    is_damage_told: bool,
    picture: Frame,
    is_inverted: bool,
    /// `picture` for content of the size beside it, `[height, width]`, 0–255.
    weights: Option<(FrameSize, Vec<u8>)>,
}

impl Mask {
    /// The mask for one picture, or for several.
    ///
    /// # Errors
    /// If it is none that can be read, or nothing but black.
    pub fn for_pictures(args: &MaskArgs) -> Result<Option<Self>> {
        let Some(path) = &args.mask else { return Ok(None) };
        if path.is_dir() || StillFormat::of_path(path).is_none() && super::is_named_like_video(path) {
            let text = format!("the mask '{}' is no picture (expected one for all pictures)", path.display());
            return Err(UsageError(anyhow!(text)).into());
        }
        Self::of_picture(path, args.invert_mask).map(Some)
    }

    /// The mask for a clip of this size, as much of it as `options` wants.
    ///
    /// # Errors
    /// If it cannot be read, has another shape, or is nothing but black.
    pub fn for_clip(args: &MaskArgs, size: FrameSize, options: &ReaderOptions) -> Result<Option<Self>> {
        let Some(path) = &args.mask else { return Ok(None) };
        if path.is_dir() && options.cut.start.is_some() {
            let text = "the pictures of the mask '{}' have no times (expected a clip as mask with --start)";
            return Err(UsageError(anyhow!(text.replace("{}", &path.display().to_string()))).into());
        }
        let mut mask = match StillFormat::of_path(path) {
            Some(_) if !path.is_dir() => Self::of_picture(path, args.invert_mask)?,
            _ => Self::of_frames(path, args.invert_mask, options)?,
        };
        mask.weigh(size)?;
        Ok(Some(mask))
    }

    fn of_picture(path: &Path, is_inverted: bool) -> Result<Self> {
        let mut mask = Self::new(path, read(path)?, None, is_inverted);
        let is_black = mask.weigh(mask.picture.size)?.iter().all(|weight| *weight == 0);
        ensure!(
            !is_black,
            "the mask '{}' is {} (expected {} where the style is to be)",
            path.display(),
            if is_inverted { "white" } else { "black" },
            if is_inverted { "black" } else { "white" },
        );
        Ok(mask)
    }

    fn of_frames(path: &Path, is_inverted: bool, options: &ReaderOptions) -> Result<Self> {
        let mut frames = FrameSource::open(path, options.clone()).context("open the mask")?;
        let first = frames.next_frame().context("read the mask")?;
        let first = first.with_context(|| format!("the mask '{}' holds no frames", media::shown(path)))?;
        Ok(Self { frames_read: 1, ..Self::new(path, first, Some(frames), is_inverted) })
    }

    fn new(path: &Path, picture: Frame, frames: Option<FrameSource>, is_inverted: bool) -> Self {
        Self {
            path: path.to_owned(),
            frames,
            frames_read: 0,
            is_damage_told: false,
            picture,
            is_inverted,
            weights: None,
        }
    }

    /// What a person should know who has this mask for a clip of so many frames.
    pub fn notes(&self, expected_frames: Option<u64>) -> Vec<String> {
        let Some(frames) = &self.frames else { return Vec::new() };
        let path = media::shown(&self.path);
        let mut notes: Vec<String> = frames.notes().iter().map(|note| format!("'{path}': {note}")).collect();
        if let (Some(there), Some(expected)) = (frames.expected_frames(), expected_frames)
            && there != expected
        {
            notes.push(format!(
                "the mask '{path}' has about {there} frames and the clip {expected} (its frames are taken one for one)"
            ));
        }
        notes
    }

    /// Puts back what the mask leaves as it was.
    ///
    /// # Errors
    /// If the mask cannot be read on, or has another shape.
    pub fn apply(&mut self, content: &Frame, painted: &mut Frame) -> Result<()> {
        self.go_to(content.frame_index)?;
        mix_by_weights(content.pixels(), self.weigh(content.size)?, painted.pixels_mut());
        Ok(())
    }

    /// Reads on to the picture for the frame of this number. Where a mask ends early, its last picture is held.
    fn go_to(&mut self, index: u64) -> Result<()> {
        while self.frames_read <= index
            && let Some(frames) = &mut self.frames
        {
            let next = frames.next_frame().context("read the mask")?;
            if let Some(damage) = frames.damage().filter(|_| !self.is_damage_told) {
                self.is_damage_told = true;
                tracing::warn!("the mask '{}' is damaged, and may not fit: {damage}", media::shown(&self.path));
            }
            match next {
                Some(picture) => {
                    self.frames_read += 1;
                    self.picture = picture;
                    self.weights = None;
                }
                None => {
                    let (path, count) = (media::shown(&self.path), self.frames_read);
                    tracing::warn!("the mask '{path}' ends after {count} frames: the last one is taken for the rest");
                    self.frames = None;
                }
            }
        }
        Ok(())
    }

    /// The picture that is there as weights for content of this size.
    fn weigh(&mut self, size: FrameSize) -> Result<&[u8]> {
        let is_there = self.weights.as_ref().is_some_and(|(of_size, _)| *of_size == size);
        if !is_there {
            let mut plane = whiteness(&self.path, &self.picture, size)?;
            let weights = weights(self.is_inverted);
            plane.iter_mut().for_each(|value| *value = weights[usize::from(*value)]);
            self.weights = Some((size, plane));
        }
        Ok(self.weights.as_ref().map_or(&[], |(_, weights)| weights))
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

/// Refuses an output that would replace the mask.
///
/// # Errors
/// [`UsageError`].
pub fn refuse_as_output(args: &MaskArgs, output: &Path) -> Result<(), UsageError> {
    match &args.mask {
        Some(mask) if outputs::is_same(mask, output) => {
            Err(UsageError(anyhow!("the output '{}' is the mask (choose another name)", output.display())))
        }
        _ => Ok(()),
    }
}

/// Reads a mask in a file of its own.
///
/// # Errors
/// If it cannot be read, or is transparent: nobody knows then what is meant.
pub fn read(path: &Path) -> Result<Frame> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read the mask '{}'", path.display()))?;
    let still = Still::decode(&bytes).with_context(|| format!("cannot read the mask '{}'", path.display()))?;
    ensure!(
        !still.has_transparency(),
        "the mask '{}' is transparent in places (expected an opaque picture, white where the style is to be: flatten it over black)",
        path.display()
    );
    Ok(still.content)
}

/// How white a mask is at each pixel of content of a size, `[height, width]`, 0–255: the mean of its channels.
///
/// # Errors
/// If the mask has another shape, which is a mistake; one of another size is scaled.
pub fn whiteness(path: &Path, mask: &Frame, size: FrameSize) -> Result<Vec<u8>> {
    let (a, b) = (mask.size.width * size.height, mask.size.height * size.width);
    if a.abs_diff(b) * 50 > a.max(b) {
        bail!("the mask '{}' is {} and the content {size} (expected the same shape)", media::shown(path), mask.size);
    }
    let mean =
        |[red, green, blue]: &[u8; CHANNELS]| ((u16::from(*red) + u16::from(*green) + u16::from(*blue)) / 3) as u8;
    let of_pixels = |pixels: &[u8]| pixels.as_chunks::<CHANNELS>().0.iter().map(mean).collect();
    if mask.size == size {
        return Ok(of_pixels(mask.pixels()));
    }
    let filter = if size.pixels() < mask.size.pixels() { Filter::Box } else { Filter::CatmullRom };
    let mut scaled = vec![0; size.bytes()];
    Scaler::new().scale_rgb(mask.size, mask.pixels(), size, &mut scaled, filter)?;
    Ok(of_pixels(&scaled))
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
        let whiteness = |width, height| whiteness(Path::new("a.png"), &mask, FrameSize::new(width, height));
        assert_eq!(whiteness(4, 2).unwrap(), [0, 0, 255, 255, 0, 0, 255, 255]);
        let large = whiteness(16, 8).unwrap();
        assert!(large.chunks_exact(16).all(|row| row[..6].iter().all(|white| *white == 0)));
        assert!(large.chunks_exact(16).all(|row| row[10..].iter().all(|white| *white == 255)));
        let error = whiteness(4, 8).unwrap_err().to_string();
        assert!(error.contains("the mask 'a.png' is 8×4 and the content 4×8 (expected the same shape)"), "{error}");
    }
}
