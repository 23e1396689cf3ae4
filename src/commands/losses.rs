//! `impasto measure --style`: how much of its content a painted clip kept, and how much of a painting's style it took.
//!
//! A second look at the clips, at frames that lie evenly in them: a judge needs as long for one as the rest of the
//! measuring for thirty.

use std::num::NonZeroU64;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use super::painting::painting_bytes;
use crate::frame::{Frame, FrameSize};
use crate::gatys::{Judge, Picture};
use crate::measure::{FrameSource, PerClip};
use crate::runtime::SessionOptions;
use crate::stills::Still;

/// Frames of a clip that are judged unless somebody asks for more or less (ours): at 640×360 on two cores each takes 1.2 seconds, or
/// 1.9 with a reference, so that a clip of any length takes less than a minute.
pub const JUDGED_FRAMES: u64 = 24;
/// Shorter side of a painting at most, in pixels; it sets the size of strokes. The bundled paintings are smaller: they are looked
/// at as networks learn them.
const STYLE_SIDE: usize = 512;
/// Shorter side of a judged frame at most, in pixels: memory grows with it (ours).
const FRAME_SIDE: usize = 720;
/// Shorter side at least, in pixels: the deepest layer sees an eighth of it.
const SMALLEST_SIDE: usize = 16;

/// What `measure` says of style and content; the names are those in JSON.
#[derive(Debug, Serialize)]
pub struct PaintingFigures {
    /// The first of so many frames is judged.
    pub loss_every: NonZeroU64,
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

    /// A loss of each frame from 0 on, to be drawn: straight on from one judged frame to the next.
    pub fn over_time(&self, loss: fn(&JudgedFrame) -> PerClip<f64>) -> Vec<Option<PerClip<f64>>> {
        let mut values = Vec::new();
        for judged in self.judged_frames.windows(2) {
            let (from, to) = (loss(&judged[0]), loss(&judged[1]));
            let frames = judged[1].frame - judged[0].frame;
            values.extend((0..frames).map(|frame| {
                let share = frame as f64 / frames as f64;
                Some(from.zip(to).map(|(from, to)| from + share * (to - from)))
            }));
        }
        values.extend(self.judged_frames.last().map(|judged| Some(loss(judged))));
        values
    }
}

/// The first of how many frames is to be judged of a clip of `count`, where nobody says it.
pub fn default_every(count: u64) -> NonZeroU64 {
    NonZeroU64::new(count.div_ceil(JUDGED_FRAMES)).unwrap_or(NonZeroU64::MIN)
}

/// Prepares to judge clips of `size` against a painting, as [`painting_bytes`] understands it.
///
/// # Errors
/// As [`painting_bytes`], or if the painting is transparent or one of the two is too small.
pub fn prepare(style: &Path, size: FrameSize, session: &SessionOptions) -> Result<Judge> {
    let still = Still::decode(&painting_bytes(style)?)
        .with_context(|| format!("cannot read the painting '{}'", style.display()))?;
    ensure!(
        !still.has_transparency(),
        "the painting '{}' is transparent in places (expected an opaque picture: flatten it first)",
        style.display()
    );
    let painting = Picture::from_frame(&still.content);
    for (what, size) in [("painting", painting.size), ("clip", size)] {
        ensure!(
            size.short_side() >= SMALLEST_SIDE,
            "the {what} is {size} (expected at least {SMALLEST_SIDE} pixels a side, for its style to be judged)"
        );
    }
    let painting = painting.scaled(at_most(painting.size, STYLE_SIDE))?;
    Judge::new(&painting, at_most(size, FRAME_SIDE), session).context("prepare to judge the style")
}

/// Judges the first of each `every` frames of the clips at `paths`; `on_frame` hears how many are done.
///
/// # Errors
/// If a clip cannot be read or a frame not be judged.
pub fn judge(
    judge: &mut Judge,
    paths: PerClip<&Path>,
    every: NonZeroU64,
    mut on_frame: impl FnMut(u64),
) -> Result<PaintingFigures> {
    let mut sources = paths.try_map(FrameSource::open)?;
    let size = at_most(sources.input.size(), FRAME_SIDE);
    let mut judged_frames = Vec::new();
    for frame in 0_u64.. {
        let Some(frames) = sources.as_mut().try_map(FrameSource::next_frame)?.transpose() else { break };
        if !frame.is_multiple_of(every.get()) {
            continue;
        }
        let seen = frames.try_map(|frame: Frame| judge.look(&Picture::from_frame(&frame).scaled(size)?))?;
        judged_frames.push(JudgedFrame {
            frame,
            style_loss: seen.as_ref().map(|seen| f64::from(seen.style_loss)),
            content_loss: seen.as_ref().map(|painted| f64::from(painted.content_loss(&seen.input))),
        });
        on_frame(judged_frames.len() as u64);
    }
    let mean = |loss: fn(&JudgedFrame) -> PerClip<f64>| {
        let sum = judged_frames.iter().map(loss).reduce(|sum, loss| sum.zip(loss).map(|(sum, loss)| sum + loss));
        sum.map(|sum| sum.map(|sum| sum / judged_frames.len() as f64)).context("the clips hold no frames to judge")
    };
    let (style_loss, content_loss) = (mean(|judged| judged.style_loss)?, mean(|judged| judged.content_loss)?);
    Ok(PaintingFigures { loss_every: every, style_loss, content_loss, judged_frames })
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
    fn every_frame_of_a_short_clip_is_judged_and_of_a_long_one_a_bounded_number() {
        for (count, expected) in [(0, 1), (1, 1), (24, 1), (25, 2), (48, 2), (1500, 63)] {
            assert_eq!(default_every(count).get(), expected, "{count} frames");
        }
    }

    #[test]
    fn a_loss_goes_straight_on_between_judged_frames() {
        let judged = |frame: u64, loss: f64| {
            let losses = PerClip { input: 0.0, output: loss, reference: None };
            JudgedFrame { frame, style_loss: losses, content_loss: PerClip::default() }
        };
        let figures = PaintingFigures {
            loss_every: NonZeroU64::new(2).unwrap(),
            style_loss: PerClip::default(),
            content_loss: PerClip::default(),
            judged_frames: vec![judged(0, 1.0), judged(2, 2.0), judged(4, 1.0)],
        };
        let values = figures.over_time(|judged| judged.style_loss);
        let outputs: Vec<f64> = values.into_iter().map(|value| value.unwrap().output).collect();
        assert_eq!(outputs, [1.0, 1.5, 2.0, 1.5, 1.0]);
    }

    #[test]
    fn large_pictures_are_judged_small_and_small_ones_as_they_are() {
        assert_eq!(at_most(FrameSize::new(3840, 2160), 720), FrameSize::new(1280, 720));
        assert_eq!(at_most(FrameSize::new(90, 160), 720), FrameSize::new(90, 160));
    }
}
