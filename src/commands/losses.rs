//! `impasto measure --style`: how much of its content a painted clip kept, and how much of a painting's style it took.
//!
//! A second look at the clips, at a few frames that lie evenly in them: a judge needs as long for one as the rest of the
//! measuring for many.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use crate::frame::{Frame, FrameSize};
use crate::gatys::{Judge, Picture};
use crate::measure::{FrameSource, PerClip};
use crate::stills::Still;

/// Frames that are judged (ours: each takes about a second).
const JUDGED_FRAMES: u64 = 8;
/// Shorter side of the painting at most, in pixels: as the bundled networks learnt it. It sets the size of strokes.
const STYLE_SIDE: usize = 512;
/// Shorter side of a judged frame at most, in pixels: memory grows with it (ours).
const FRAME_SIDE: usize = 720;
/// Shorter side at least, in pixels: the deepest layer sees an eighth of it.
const SMALLEST_SIDE: usize = 16;

/// What `measure` says of style and content; the names are those in JSON.
#[derive(Debug, Serialize)]
pub struct PaintingFigures {
    /// Mean over the judged frames of the sum over relu1_2, 2_2, 3_3 and 4_3 of VGG-16 of ‖G − A‖² / ‖A‖², G and A the Gram
    /// matrices of the frame and of the painting.
    pub style_loss: PerClip<f64>,
    /// Mean of Σ(F − P)² / ΣP² at relu2_2, F the features of the frame and P those of the input.
    pub content_loss: PerClip<f64>,
    /// The judged frames.
    pub judged_frames: Vec<JudgedFrame>,
}

/// The same of one frame.
#[derive(Debug, Serialize)]
pub struct JudgedFrame {
    /// Counts from 0.
    pub frame: u64,
    /// Of this frame.
    pub style_loss: PerClip<f64>,
    /// Of this frame.
    pub content_loss: PerClip<f64>,
}

impl PaintingFigures {
    /// The losses of a frame, style and content, if it was judged.
    pub fn of_frame(&self, frame: u64) -> Option<&JudgedFrame> {
        self.judged_frames.iter().find(|judged| judged.frame == frame)
    }
}

/// Prepares to judge clips of `size` against the painting at `style`.
///
/// # Errors
/// If the painting cannot be read, or one of the two is too small.
pub fn prepare(style: &Path, size: FrameSize) -> Result<Judge> {
    let bytes = std::fs::read(style).with_context(|| {
        format!("cannot read the painting '{}' (expected a picture file, not the name of a style)", style.display())
    })?;
    let still = Still::decode(&bytes).with_context(|| format!("cannot read the painting '{}'", style.display()))?;
    let painting = Picture::from_frame(&still.content);
    for (what, size) in [("painting", painting.size), ("clip", size)] {
        ensure!(
            size.short_side() >= SMALLEST_SIDE,
            "the {what} is {size} (expected at least {SMALLEST_SIDE} pixels a side, for its style to be judged)"
        );
    }
    let painting = painting.scaled(at_most(painting.size, STYLE_SIDE))?;
    Judge::new(&painting, at_most(size, FRAME_SIDE), 0).context("prepare to judge the style")
}

/// Judges some of the `count` frames of the clips at `paths`; `on_frame` hears how many are done.
///
/// # Errors
/// If a clip cannot be read or a frame not be judged.
pub fn judge(
    judge: &mut Judge,
    paths: PerClip<&Path>,
    count: u64,
    mut on_frame: impl FnMut(u64),
) -> Result<PaintingFigures> {
    let mut sources = paths.try_map(FrameSource::open)?;
    let size = at_most(sources.input.size(), FRAME_SIDE);
    let chosen = evenly_spaced(count);
    let mut judged_frames = Vec::with_capacity(chosen.len());
    let mut index = 0;
    while judged_frames.len() < chosen.len()
        && let Some(frames) = sources.as_mut().try_map(FrameSource::next_frame)?.transpose()
    {
        if chosen.contains(&index) {
            let pictures = frames.try_map(|frame: Frame| Picture::from_frame(&frame).scaled(size))?;
            let judgements = pictures.as_ref().try_map(|painted| judge.judge(&pictures.input, painted))?;
            judged_frames.push(JudgedFrame {
                frame: index,
                style_loss: judgements.map(|judgement| f64::from(judgement.style_loss)),
                content_loss: judgements.map(|judgement| f64::from(judgement.content_loss)),
            });
            on_frame(judged_frames.len() as u64);
        }
        index += 1;
    }
    let mean = |loss: fn(&JudgedFrame) -> PerClip<f64>| {
        let sum = judged_frames.iter().map(loss).reduce(|sum, loss| sum.zip(loss).map(|(sum, loss)| sum + loss));
        sum.map(|sum| sum.map(|sum| sum / judged_frames.len() as f64)).context("the clips hold no frames to judge")
    };
    let (style_loss, content_loss) = (mean(|judged| judged.style_loss)?, mean(|judged| judged.content_loss)?);
    Ok(PaintingFigures { style_loss, content_loss, judged_frames })
}

/// The middles of equal parts of a clip of `count` frames.
fn evenly_spaced(count: u64) -> Vec<u64> {
    let parts = count.min(JUDGED_FRAMES);
    (0..parts).map(|part| (2 * part + 1) * count / (2 * parts)).collect()
}

/// The size whose shorter side is at most `side`, in the same shape.
fn at_most(size: FrameSize, side: usize) -> FrameSize {
    if size.short_side() <= side {
        return size;
    }
    let scaled = |length: usize| (length * side).div_ceil(size.short_side());
    FrameSize::new(scaled(size.width), scaled(size.height))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn judged_frames_lie_evenly_in_the_clip() {
        assert_eq!(evenly_spaced(48), [3, 9, 15, 21, 27, 33, 39, 45]);
        assert_eq!(evenly_spaced(3), [0, 1, 2]);
        assert!(evenly_spaced(0).is_empty());
    }

    #[test]
    fn large_pictures_are_judged_small_and_small_ones_as_they_are() {
        assert_eq!(at_most(FrameSize::new(3840, 2160), 720), FrameSize::new(1280, 720));
        assert_eq!(at_most(FrameSize::new(90, 160), 720), FrameSize::new(90, 160));
    }
}
