//! Goes through clips side by side, two frames at a time, and adds up what they measure.

use std::time::Duration;

use anyhow::{Result, bail, ensure};

use super::cut::CutSigns;
use super::figures::{Figures, FrameFigures, PairFigures, PerClip, SharpnessBase, ratio};
use super::measures::{at_rest, deviation_levels, sharpness, squared_change, warping_error};
use super::source::FrameSource;
use super::truth::TrueFlows;
use crate::frame::{CHANNELS, Frame, FrameSize};
use crate::motion::flow::{FlowEstimator, FlowField, FlowQuality, GrayPicture, reliability, warp};

/// Squared error in pixels² that a flow and its reverse may always have; of Ruder et al. 2016 at full resolution.
const TOLERANCE: f32 = 0.5;

/// Measures clips frame by frame; keeps two frames of each.
pub struct Meter {
    flows: Flows,
    previous: Option<Moment>,
    flow: FlowField,
    mask: Vec<f32>,
    rest: Vec<bool>,
    next_levels: Vec<f32>,
    warped_levels: Vec<f32>,
    frames: Vec<FrameFigures>,
    /// Of [`squared_change`].
    rest_change: PerClip<u64>,
    rest_pixels: u64,
}

/// Where the motion comes from.
enum Flows {
    Estimated { forward: FlowEstimator, backward: FlowEstimator, reverse: FlowField },
    True(TrueFlows),
}

/// The same frame of each clip.
struct Moment {
    frames: PerClip<Frame>,
    /// Of the input.
    lightness: GrayPicture,
}

impl Meter {
    /// A meter that estimates the motion, or takes it from files.
    ///
    /// # Errors
    /// If flow cannot be estimated on this machine.
    pub fn new(truth: Option<TrueFlows>) -> Result<Self> {
        let flows = match truth {
            Some(truth) => Flows::True(truth),
            None => Flows::Estimated {
                forward: FlowEstimator::new(FlowQuality::Medium)?,
                backward: FlowEstimator::new(FlowQuality::Medium)?,
                reverse: FlowField::zero(FrameSize::new(0, 0)),
            },
        };
        Ok(Self {
            flows,
            previous: None,
            flow: FlowField::zero(FrameSize::new(0, 0)),
            mask: Vec::new(),
            rest: Vec::new(),
            next_levels: Vec::new(),
            warped_levels: Vec::new(),
            frames: Vec::new(),
            rest_change: PerClip::default(),
            rest_pixels: 0,
        })
    }

    /// The next frame of each clip. All have the same size, and each time the same clips take part.
    ///
    /// # Errors
    /// If the sizes differ, or the motion cannot be estimated or read.
    pub fn add(&mut self, frames: PerClip<Frame>) -> Result<()> {
        let size = frames.input.size;
        let before = self.previous.as_ref().map(|previous| previous.frames.input.size);
        for other in frames.as_ref().into_values().map(|frame| frame.size).chain(before) {
            ensure!(other == size, "frames of {size} and {other} (expected the same size)");
        }
        let gray = frames.as_ref().map(|frame| GrayPicture::from_rgb(frame.pixels(), size));
        let sharpness = gray.as_ref().map(sharpness);
        let moment = Moment { frames, lightness: gray.input };
        if let Some(previous) = self.previous.take() {
            let pair = self.measure_pair(&previous, &moment)?;
            if let Some(last) = self.frames.last_mut() {
                last.to_next = Some(pair);
            }
        }
        self.previous = Some(moment);
        self.frames.push(FrameFigures {
            frame: self.frames.len() as u64,
            sharpness,
            sharpness_ratio: ratio(sharpness.output, sharpness.reference.unwrap_or(sharpness.input)),
            to_next: None,
        });
        Ok(())
    }

    fn measure_pair(&mut self, now: &Moment, next: &Moment) -> Result<PairFigures> {
        let size = now.frames.input.size;
        match &mut self.flows {
            Flows::Estimated { forward, backward, reverse } => {
                forward.estimate(&now.lightness, &next.lightness, &mut self.flow)?;
                backward.estimate(&next.lightness, &now.lightness, reverse)?;
                reliability(&self.flow, reverse, TOLERANCE, &mut self.mask);
            }
            Flows::True(truth) => truth.load(self.frames.len() - 1, size, &mut self.flow, &mut self.mask)?,
        }
        let share = |count: usize| count as f64 / size.pixels().max(1) as f64;
        let reliable_share = share(self.mask.iter().filter(|mask| **mask > 0.0).count());
        let (now_pixels, next_pixels) = (now.frames.input.pixels(), next.frames.input.pixels());
        // Where flow is known there is no cut.
        if matches!(self.flows, Flows::Estimated { .. }) {
            self.warp(next_pixels);
            let signs = CutSigns::of(now_pixels, next_pixels, &self.warped_levels, &self.flow, &self.mask);
            tracing::debug!(?signs, frame = self.frames.len() - 1);
            if signs.is_cut() {
                return Ok(PairFigures {
                    cut: true,
                    reliable_share,
                    static_share: 0.0,
                    warping_error: None,
                    flicker_levels: None,
                });
            }
        }
        let errors = now.frames.as_ref().zip(next.frames.as_ref()).map(|(now, next)| {
            self.warp(next.pixels());
            warping_error(now.pixels(), &self.warped_levels, &self.mask)
        });
        at_rest(now_pixels, next_pixels, &self.flow, &self.mask, &mut self.rest);
        let rest_pixels = self.rest.iter().filter(|rest| **rest).count();
        let changes = now
            .frames
            .as_ref()
            .zip(next.frames.as_ref())
            .map(|(now, next)| squared_change(now.pixels(), next.pixels(), &self.rest));
        if self.rest_change.reference.is_none() {
            self.rest_change.reference = changes.reference.map(|_| 0);
        }
        for (sum, change) in self.rest_change.as_mut().zip(changes).into_values() {
            *sum += change;
        }
        self.rest_pixels += rest_pixels as u64;
        Ok(PairFigures {
            cut: false,
            reliable_share,
            static_share: share(rest_pixels),
            warping_error: errors.transpose(),
            flicker_levels: changes.map(|change| deviation_levels(change, rest_pixels as u64)).transpose(),
        })
    }

    fn warp(&mut self, pixels: &[u8]) {
        self.next_levels.clear();
        self.next_levels.extend(pixels.iter().map(|level| f32::from(*level)));
        self.warped_levels.resize(pixels.len(), 0.0);
        warp::<CHANNELS>(&self.next_levels, &self.flow, &mut self.warped_levels);
    }

    /// What all frames measure together.
    pub fn finish(self) -> Figures {
        let size = self.previous.map_or(FrameSize::new(0, 0), |moment| moment.frames.input.size);
        let pairs = || self.frames.iter().filter_map(|frame| frame.to_next.as_ref());
        let measured = || pairs().filter(|pair| !pair.cut);
        let count = |counted: &dyn Fn(&PairFigures) -> bool| pairs().filter(|pair| counted(pair)).count() as u64;
        let warping_error = mean(measured().filter_map(|pair| pair.warping_error));
        let e_stab = warping_error.map(|errors| errors.map(f64::sqrt));
        let flicker_levels = self.rest_change.map(|change| deviation_levels(change, self.rest_pixels)).transpose();
        let sharpness = mean(self.frames.iter().map(|frame| frame.sharpness)).unwrap_or_default();
        Figures {
            width: size.width,
            height: size.height,
            frame_count: self.frames.len() as u64,
            pair_count: count(&|pair| pair.warping_error.is_some()),
            pairs_across_cuts: count(&|pair| pair.cut),
            pairs_without_flow: count(&|pair| !pair.cut && pair.warping_error.is_none()),
            reliable_share: mean_of(measured().map(|pair| pair.reliable_share)),
            static_share: mean_of(measured().map(|pair| pair.static_share)),
            warping_error_over_reference: warping_error.and_then(PerClip::over_reference),
            warping_error,
            e_stab_over_reference: e_stab.and_then(PerClip::over_reference),
            e_stab,
            flicker_over_reference: flicker_levels.and_then(PerClip::over_reference),
            flicker_levels,
            sharpness_ratio: ratio(sharpness.output, sharpness.reference.unwrap_or(sharpness.input)),
            sharpness_base: match sharpness.reference {
                Some(_) => SharpnessBase::Reference,
                None => SharpnessBase::Input,
            },
            sharpness,
            frames: self.frames,
        }
    }
}

/// `None` for no values.
fn mean(values: impl Iterator<Item = PerClip<f64>>) -> Option<PerClip<f64>> {
    let mut count = 0.0;
    let sums = values.inspect(|_| count += 1.0).reduce(|sums, value| sums.zip(value).map(|(sum, value)| sum + value));
    sums.map(|sums| sums.map(|sum| sum / count))
}

/// 0 for no values.
fn mean_of(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0_u64), |(sum, count), value| (sum + value, count + 1));
    sum / count.max(1) as f64
}

/// Measures clips to their end; `on_frame` hears how many frames are done and when the last one is shown. Gives the
/// figures, and a sentence for each clip that is damaged: its figures are those of what could be decoded.
///
/// # Errors
/// If the clips differ in size or number of frames, have fewer than two, are too small for flow to be estimated, do not
/// fit the known flow, or cannot be read.
pub fn measure(
    mut sources: PerClip<FrameSource>,
    truth: Option<TrueFlows>,
    mut on_frame: impl FnMut(u64, Duration),
) -> Result<(Figures, Vec<String>)> {
    check_sizes(&sources, truth.is_none())?;
    let flows = truth.as_ref().map(|truth| (truth.folder().to_owned(), truth.count() as u64));
    let mut meter = Meter::new(truth)?;
    let mut count = 0;
    loop {
        let frames = sources.as_mut().try_map(FrameSource::next_frame)?;
        let time = frames.input.as_ref().map_or(Duration::ZERO, |frame| sources.input.media_time(frame));
        let has_ended = frames.as_ref().into_values().any(Option::is_none);
        let is_beyond_flows = flows.as_ref().is_some_and(|(_, flows)| count > *flows);
        let (false, false, Some(frames)) = (has_ended, is_beyond_flows, frames.transpose()) else { break };
        meter.add(frames)?;
        count += 1;
        on_frame(count, time);
    }
    check_counts(&mut sources)?;
    let count = sources.input.frames_given();
    if let Some((folder, flows)) = flows {
        ensure!(
            flows + 1 == count,
            "'{}' holds {flows} flows (expected {} for {count} frames: one from each to the next)",
            folder.display(),
            count - 1
        );
    }
    let damage = |source: &FrameSource| Some(format!("'{}' is damaged: {}", source.path().display(), source.damage()?));
    Ok((meter.finish(), sources.as_ref().into_values().filter_map(damage).collect()))
}

fn check_sizes(sources: &PerClip<FrameSource>, is_estimated: bool) -> Result<()> {
    let input = &sources.input;
    for source in sources.as_ref().into_values() {
        ensure!(
            source.size() == input.size(),
            "'{}' is {} and '{}' is {} (expected the same size: a clip and what was painted from it)",
            source.path().display(),
            source.size(),
            input.path().display(),
            input.size()
        );
    }
    ensure!(
        !is_estimated || input.size().short_side() >= FlowEstimator::MIN_SIDE,
        "'{}' is {} (expected at least {} pixels a side, for motion to be found)",
        input.path().display(),
        input.size(),
        FlowEstimator::MIN_SIDE
    );
    Ok(())
}

fn check_counts(sources: &mut PerClip<FrameSource>) -> Result<()> {
    let counts = sources.as_mut().try_map(FrameSource::count_all)?;
    for (source, count) in sources.as_ref().zip(counts).into_values() {
        if count != counts.input {
            bail!(
                "'{}' has {count} frames and '{}' has {} (expected as many: a clip and what was painted from it)",
                source.path().display(),
                sources.input.path().display(),
                counts.input
            );
        }
    }
    ensure!(
        counts.input >= 2,
        "'{}' has {} frame (expected at least 2: what is measured lies between frames)",
        sources.input.path().display(),
        counts.input
    );
    Ok(())
}
