//! What is measured: values for each clip, each frame, each pair of frames, and in all.
//!
//! The names of these fields are the names in JSON.

use anyhow::Result;
use serde::Serialize;

/// One value for each clip that takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct PerClip<T> {
    /// Of the clip that was painted.
    pub input: T,
    /// Of the painted clip.
    pub output: T,
    /// Of the clip that the output is compared with, if any: usually the same frames painted one by one.
    pub reference: Option<T>,
}

impl<T> PerClip<T> {
    /// The same clips, by reference.
    pub fn as_ref(&self) -> PerClip<&T> {
        PerClip { input: &self.input, output: &self.output, reference: self.reference.as_ref() }
    }

    /// The same clips, to be changed.
    pub fn as_mut(&mut self) -> PerClip<&mut T> {
        PerClip { input: &mut self.input, output: &mut self.output, reference: self.reference.as_mut() }
    }

    /// What `change` makes of each value.
    pub fn map<U>(self, mut change: impl FnMut(T) -> U) -> PerClip<U> {
        PerClip { input: change(self.input), output: change(self.output), reference: self.reference.map(change) }
    }

    /// What `change` makes of each value, or its first error.
    ///
    /// # Errors
    /// That of `change`.
    pub fn try_map<U>(self, mut change: impl FnMut(T) -> Result<U>) -> Result<PerClip<U>> {
        Ok(PerClip {
            input: change(self.input)?,
            output: change(self.output)?,
            reference: self.reference.map(change).transpose()?,
        })
    }

    /// Both values of each clip that both sides have.
    pub fn zip<U>(self, other: PerClip<U>) -> PerClip<(T, U)> {
        PerClip {
            input: (self.input, other.input),
            output: (self.output, other.output),
            reference: self.reference.zip(other.reference),
        }
    }

    /// The values there are: input, output, reference.
    pub fn into_values(self) -> impl Iterator<Item = T> {
        [Some(self.input), Some(self.output), self.reference].into_iter().flatten()
    }
}

impl<T> PerClip<Option<T>> {
    /// The values, if there is one for each clip.
    pub fn transpose(self) -> Option<PerClip<T>> {
        let reference = match self.reference {
            Some(reference) => Some(reference?),
            None => None,
        };
        Some(PerClip { input: self.input?, output: self.output?, reference })
    }
}

impl PerClip<f64> {
    /// The output's value over the reference's; `None` without a reference or where that is 0.
    pub fn over_reference(self) -> Option<f64> {
        self.reference.and_then(|reference| ratio(self.output, reference))
    }
}

/// `value / base`, where there is such a number.
pub(super) fn ratio(value: f64, base: f64) -> Option<f64> {
    Some(value / base).filter(|ratio| ratio.is_finite())
}

/// What sharpness is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SharpnessBase {
    /// The input: there is no reference.
    Input,
    /// The reference.
    Reference,
}

/// What one frame, and its pair with the next, measure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FrameFigures {
    /// Counts from 0.
    pub frame: u64,
    /// Variance of the Laplacian of lightness (0–255).
    pub sharpness: PerClip<f64>,
    /// Sharpness of the output over that of [`Figures::sharpness_base`].
    pub sharpness_ratio: Option<f64>,
    /// The pair of this frame and the next; `None` for the last frame.
    pub to_next: Option<PairFigures>,
}

/// What a frame and the next measure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PairFigures {
    /// There is a scene cut between the two: nothing is measured.
    pub cut: bool,
    /// Share of the pixels whose flow holds, 0–1.
    pub reliable_share: f64,
    /// Share of the pixels where the input is at rest, 0–1.
    pub static_share: f64,
    /// Mean squared difference of the frame and the next one moved onto it, where the flow holds; RGB in 0–1. `None`
    /// across a cut and where no flow holds.
    pub warping_error: Option<PerClip<f64>>,
    /// Standard deviation over time where the input is at rest, in levels of 0–255. `None` across a cut and where
    /// nothing is at rest.
    pub flicker_levels: Option<PerClip<f64>>,
    /// Mean difference of output and reference where the next frame shows what this one does not, in levels of 0–255: what
    /// is left there of the past. `None` without a reference, where flow is estimated, and where nothing is new.
    pub ghost_levels: Option<f64>,
}

/// What clips measure, in all and frame by frame.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figures {
    /// Width of the clips in pixels.
    pub width: usize,
    /// Height of the clips in pixels.
    pub height: usize,
    /// Frames of each clip.
    pub frame_count: u64,
    /// Pairs of frames whose warping error counts.
    pub pair_count: u64,
    /// Pairs left out because of a scene cut.
    pub pairs_across_cuts: u64,
    /// Pairs left out because their flow holds nowhere.
    pub pairs_without_flow: u64,
    /// Mean share of the pixels whose flow holds, over all pairs but those across cuts, 0–1.
    pub reliable_share: f64,
    /// Mean share of the pixels where the input is at rest, over all pairs but those across cuts, 0–1.
    pub static_share: f64,
    /// Mean of the pairs' warping errors; `None` if no pair counts.
    pub warping_error: Option<PerClip<f64>>,
    /// The output's warping error over the reference's.
    pub warping_error_over_reference: Option<f64>,
    /// Square root of the warping error: e_stab of Huang et al. 2017, over the pixels whose flow holds.
    pub e_stab: Option<PerClip<f64>>,
    /// The output's e_stab over the reference's.
    pub e_stab_over_reference: Option<f64>,
    /// Standard deviation over time of all pixels of all pairs where the input is at rest, in levels of 0–255; `None`
    /// if nothing ever is.
    pub flicker_levels: Option<PerClip<f64>>,
    /// The output's flicker over the reference's.
    pub flicker_over_reference: Option<f64>,
    /// Mean difference of output and reference over all newly visible pixels, in levels of 0–255; `None` without a reference,
    /// where flow is estimated, and if nothing ever is new.
    pub ghost_levels: Option<f64>,
    /// Mean of output minus reference, in levels of 0–255; `None` without a reference.
    pub drift_levels: Option<f64>,
    /// Mean variance of the Laplacian of lightness (0–255).
    pub sharpness: PerClip<f64>,
    /// The output's sharpness over that of [`Figures::sharpness_base`].
    pub sharpness_ratio: Option<f64>,
    /// What the sharpness is compared with.
    pub sharpness_base: SharpnessBase,
    /// Frame by frame.
    pub frames: Vec<FrameFigures>,
}
