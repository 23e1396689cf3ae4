//! Takes the frames of clips side by side, two of each at a time, and adds up what they measure.

use anyhow::{Result, bail, ensure};

use super::cut::CutSigns;
use super::figures::{Figures, FrameFigures, PairFigures, PerClip, SharpnessBase, ratio};
use super::measures::{
    absolute_difference, at_rest, deviation_levels, mean_difference, newly_visible, sharpness, squared_change,
    warping_error,
};
use super::truth::TrueFlows;
use crate::frame::{CHANNELS, Frame, FrameSize};
use crate::motion::flow::{FlowEstimator, FlowField, FlowQuality, GrayPicture, reliability, warp};

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
    visible: Vec<bool>,
    /// Of [`absolute_difference`] in newly visible pixels.
    ghost: u64,
    visible_pixels: u64,
    /// Of [`mean_difference`], a frame each.
    drift: f64,
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
            visible: Vec::new(),
            ghost: 0,
            visible_pixels: 0,
            drift: 0.0,
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
        if let Some(reference) = &frames.reference {
            self.drift += mean_difference(frames.output.pixels(), reference.pixels());
        }
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
                let flow = &mut self.flow;
                std::thread::scope(|scope| {
                    let there = scope.spawn(|| forward.estimate(&now.lightness, &next.lightness, flow));
                    backward.estimate(&next.lightness, &now.lightness, reverse)?;
                    there.join().unwrap_or_else(|_| bail!("the search for optical flow panicked"))
                })?;
                reliability(&self.flow, reverse, &mut self.mask);
            }
            Flows::True(truth) => truth.load(self.frames.len() - 1, size, &mut self.flow, &mut self.mask)?,
        }
        let share = |count: usize| count as f64 / size.pixels().max(1) as f64;
        let reliable_share = share(self.mask.iter().filter(|mask| **mask > 0.0).count());
        let (now_pixels, next_pixels) = (now.frames.input.pixels(), next.frames.input.pixels());
        let input_error = self.warping_error(now_pixels, next_pixels);
        // Where flow is known there is no cut.
        if matches!(self.flows, Flows::Estimated { .. }) {
            let signs = CutSigns::of(now_pixels, &self.warped_levels, &self.flow, &self.mask);
            tracing::debug!(frame = self.frames.len() - 1, ?signs);
            if signs.is_cut() {
                return Ok(PairFigures {
                    cut: true,
                    reliable_share,
                    static_share: 0.0,
                    warping_error: None,
                    flicker_levels: None,
                    ghost_levels: None,
                });
            }
        }
        let errors = now.frames.as_ref().zip(next.frames.as_ref());
        let errors = PerClip {
            input: input_error,
            output: self.warping_error(errors.output.0.pixels(), errors.output.1.pixels()),
            reference: errors.reference.map(|(now, next)| self.warping_error(now.pixels(), next.pixels())),
        };
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
        let ghost_levels = self.ghost(next);
        Ok(PairFigures {
            cut: false,
            reliable_share,
            static_share: share(rest_pixels),
            warping_error: errors.transpose(),
            flicker_levels: changes.map(|change| deviation_levels(change, rest_pixels as u64)).transpose(),
            ghost_levels,
        })
    }

    /// What the output has where the next frame shows something new, against the reference. Only known flow says surely
    /// what is new.
    fn ghost(&mut self, next: &Moment) -> Option<f64> {
        let (Flows::True(_), Some(reference)) = (&self.flows, &next.frames.reference) else { return None };
        newly_visible(&self.flow, &self.mask, &mut self.visible);
        let pixels = self.visible.iter().filter(|visible| **visible).count() as u64;
        let ghost = absolute_difference(next.frames.output.pixels(), reference.pixels(), &self.visible);
        self.ghost += ghost;
        self.visible_pixels += pixels;
        mean_level(ghost, pixels)
    }

    /// Moves `next` onto `now`, which stays in `warped_levels`, and compares the two.
    fn warping_error(&mut self, now: &[u8], next: &[u8]) -> Option<f64> {
        self.next_levels.clear();
        self.next_levels.extend(next.iter().map(|level| f32::from(*level)));
        self.warped_levels.resize(next.len(), 0.0);
        warp::<CHANNELS>(&self.next_levels, &self.flow, &mut self.warped_levels);
        warping_error(now, &self.warped_levels, &self.mask)
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
            ghost_levels: mean_level(self.ghost, self.visible_pixels),
            drift_levels: sharpness.reference.map(|_| self.drift / self.frames.len().max(1) as f64),
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

/// `None` for no pixels.
fn mean_level(sum: u64, pixels: u64) -> Option<f64> {
    (pixels > 0).then(|| sum as f64 / (pixels * CHANNELS as u64) as f64)
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

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: FrameSize = FrameSize::new(128, 96);

    /// Smooth coloured waves that have moved by so many pixels, with a level added to every pixel.
    fn waves(moved: f32, level: f32) -> Frame {
        let mut frame = Frame::black(SIZE);
        for (index, pixel) in frame.pixels_mut().as_chunks_mut::<CHANNELS>().0.iter_mut().enumerate() {
            let (x, y) = ((index % SIZE.width) as f32 - moved, (index / SIZE.width) as f32);
            let value = (x * 0.21 + y * 0.08).sin() + (x * 0.05 - y * 0.17).sin() + (x * 0.4 + y * 0.33).cos() * 0.5;
            *pixel = [110.0, 120.0, 130.0].map(|middle| (middle + level + value * 35.0) as u8);
        }
        frame
    }

    fn measured(frames: impl Iterator<Item = PerClip<Frame>>) -> Figures {
        let mut meter = Meter::new(None).unwrap();
        frames.for_each(|frames| meter.add(frames).unwrap());
        meter.finish()
    }

    fn close(value: f64, expected: f64, tolerance: f64) {
        assert!((value - expected).abs() <= tolerance, "{value} (expected {expected} ± {tolerance})");
    }

    #[test]
    fn an_output_that_is_the_input_measures_the_same() {
        let figures = measured((0..4).map(|index| PerClip {
            input: waves(index as f32 * 2.0, 0.0),
            output: waves(index as f32 * 2.0, 0.0),
            reference: None,
        }));
        let errors = figures.warping_error.unwrap();
        assert_eq!(errors.input, errors.output);
        assert_eq!((figures.frame_count, figures.pair_count, figures.pairs_across_cuts), (4, 3, 0));
        assert!(errors.input < 1e-4, "motion is made up for: {errors:?}");
        assert!(figures.reliable_share > 0.8, "{}", figures.reliable_share);
        assert_eq!(figures.sharpness_ratio, Some(1.0));
        assert_eq!(figures.warping_error_over_reference, None);
        assert!(figures.frames[3].to_next.is_none());
    }

    #[test]
    fn flicker_of_known_size_measures_its_size() {
        // The output alternates by ±5 levels, the reference by ±10, over a still input.
        let alternating = |index: usize, level: f32| waves(0.0, if index.is_multiple_of(2) { level } else { -level });
        let figures = measured((0..5).map(|index| PerClip {
            input: waves(0.0, 0.0),
            output: alternating(index, 5.0),
            reference: Some(alternating(index, 10.0)),
        }));
        let flicker = figures.flicker_levels.unwrap();
        assert_eq!(flicker.input, 0.0);
        // Two samples 10 apart have a standard deviation of 10 / √2.
        close(flicker.output, 10.0 / 2.0_f64.sqrt(), 0.05);
        close(figures.flicker_over_reference.unwrap(), 0.5, 0.01);
        let errors = figures.warping_error.unwrap();
        assert_eq!(errors.input, 0.0);
        close(errors.output, (10.0_f64 / 255.0).powi(2), 1e-4);
        close(figures.warping_error_over_reference.unwrap(), 0.25, 0.01);
        close(figures.e_stab.unwrap().output, 10.0 / 255.0, 1e-3);
        close(figures.e_stab_over_reference.unwrap(), 0.5, 0.01);
        assert!(figures.static_share > 0.9, "{}", figures.static_share);
    }

    #[test]
    fn a_moving_output_is_moved_back_in_the_right_direction() {
        // The output stands still while the input moves: wrong. Moving along: right.
        let pair = |index: usize, output: f32| PerClip {
            input: waves(index as f32 * 3.0, 0.0),
            output: waves(output, 20.0),
            reference: None,
        };
        let along = measured((0..3).map(|index| pair(index, index as f32 * 3.0))).warping_error.unwrap();
        let against = measured((0..3).map(|index| pair(index, index as f32 * -3.0))).warping_error.unwrap();
        let still = measured((0..3).map(|index| pair(index, 0.0))).warping_error.unwrap();
        assert!(along.output * 20.0 < still.output && still.output < against.output, "{along:?} {still:?} {against:?}");
    }

    #[test]
    fn nothing_is_measured_across_a_cut() {
        let scene = |index: usize| {
            let mut frame = waves(0.0, 0.0);
            if index >= 3 {
                // Other waves, turned by a quarter and light instead of dark.
                let other = waves(7.0, 0.0);
                for (position, pixel) in frame.pixels_mut().as_chunks_mut::<CHANNELS>().0.iter_mut().enumerate() {
                    let (x, y) = (position % SIZE.width, position / SIZE.width);
                    let turned = (x * SIZE.height / SIZE.width) * SIZE.width + y;
                    *pixel = other.pixels().as_chunks::<CHANNELS>().0[turned].map(|level| 255 - level / 4);
                }
            }
            frame
        };
        let figures = measured((0..6).map(|index| PerClip {
            input: scene(index),
            output: waves(0.0, if index < 3 { 0.0 } else { 60.0 }),
            reference: None,
        }));
        assert_eq!((figures.pair_count, figures.pairs_across_cuts), (4, 1));
        assert_eq!(figures.warping_error.unwrap().output, 0.0);
        assert_eq!(figures.flicker_levels.unwrap().output, 0.0);
        assert!(figures.frames[2].to_next.as_ref().unwrap().cut);
    }

    #[test]
    fn frames_of_another_size_are_refused() {
        let mut meter = Meter::new(None).unwrap();
        let frames = |output| PerClip { input: Frame::black(SIZE), output: Frame::black(output), reference: None };
        let error = meter.add(frames(FrameSize::new(64, 64))).unwrap_err().to_string();
        assert!(error.contains("128×96") && error.contains("64×64"), "{error}");
    }
}
