//! Motion between frames: optical flow, where it holds, scene cuts and duplicate frames.
//!
//! The only room that knows OpenCV's optical flow. It looks at content frames, never at painted ones, and looks back
//! only: what it says of a frame needs nothing that comes later.

pub mod flow;

use anyhow::Result;

use crate::frame::{CHANNELS, Frame, FrameSize};
use crate::scale::{Filter, Scaler};
use flow::{FlowEstimator, FlowField, FlowQuality, FlowTolerance, GrayPicture, reliability, warp};

/// What became of the frame before.
#[derive(Debug, Clone, PartialEq)]
pub enum Motion {
    /// Nothing can be carried over: the first frame, a scene cut, or a jump in time.
    Reset,
    /// The content did not change at all.
    Duplicate,
    /// Most of it moved.
    Carried(CarriedMotion),
}

/// Where the frame before is seen now, on a grid coarser than the frame.
#[derive(Debug, Clone, PartialEq)]
pub struct CarriedMotion {
    /// From each cell of the grid to the place in the frame before, in cells. Exactly 0 where nothing moves.
    pub flow: FlowField,
    /// How far the frame before is to be believed there, 0–1, `[height, width]` of the grid.
    pub confidence: Vec<f32>,
    /// Time since the frame before, in seconds.
    pub elapsed_seconds: f32,
}

/// How motion is judged. Lengths are in cells of the grid, levels are of 255.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MotionSettings {
    /// Longer side of the grid in cells (ours: 320, as wide as flow needs to be for smoothing).
    pub grid_side: usize,
    /// How carefully flow is sought.
    pub quality: FlowQuality,
    /// Deviation of the content, in levels, at which confidence falls to 0.78; at twice as much it is 0.02 (ours: flatter
    /// and then steeper than a Gaussian, which doubts texture too much and ghosts too little).
    pub content_sigma: f32,
    /// Deviation of the content, in levels, that counts as noise at most (ours).
    pub most_noise: f32,
    /// What the two flows may get wrong (ours: on a grid this coarse, gradients are steeper and borders blockier than at
    /// full size).
    pub flow_tolerance: FlowTolerance,
    /// Where standing still explains the content as well as moving does, within so many levels, nothing moves (ours).
    pub still_tolerance: f32,
    /// What moves by more than this, in cells, does not stand still whatever explains it: in a pan, flat places would
    /// otherwise stay behind (ours).
    pub fastest_still: f32,
    /// A frame that is believed less than this on average is a new scene (ours).
    pub cut_confidence: f32,
    /// A gap longer than this, in seconds, is a jump in time (ours).
    pub longest_gap_seconds: f32,
    /// Time constant, in seconds, of the running average of the content that new frames are compared with: as long as
    /// that of the smoother, so that what has slowly changed is noticed (ours).
    pub content_time_constant_seconds: f32,
}

impl Default for MotionSettings {
    fn default() -> Self {
        Self {
            grid_side: 320,
            quality: FlowQuality::Fast,
            content_sigma: 10.0,
            most_noise: 6.0,
            flow_tolerance: FlowTolerance { disagreement: 0.6, gradient_of_speed: 0.04, gradient: 0.01, outside: 0.6 },
            still_tolerance: 1.5,
            fastest_still: 0.75,
            cut_confidence: 0.3,
            longest_gap_seconds: 0.5,
            content_time_constant_seconds: 0.2,
        }
    }
}

/// Compares each frame with the one before; keeps its buffers.
pub struct MotionEstimator {
    settings: MotionSettings,
    seconds_per_tick: f64,
    estimator: FlowEstimator,
    scaler: Scaler,
    before: Option<Before>,
    reverse: FlowField,
    reliable: Vec<f32>,
    /// The content before, moved along the flow, `[height, width, 3]`.
    moved: Vec<f32>,
    /// Squared deviation from the content before, moved and standing still, `[height, width]`.
    moving: Vec<f32>,
    still: Vec<f32>,
    boxes: Boxes,
}

/// What is kept of the frame before.
struct Before {
    frame_size: FrameSize,
    pts: i64,
    gray: GrayPicture,
    rgb: Vec<u8>,
    /// The content as the smoother has it: a running average along the motion, `[height, width, 3]`, 0–255.
    history: Vec<f32>,
}

impl MotionEstimator {
    /// An estimator for frames whose timestamps count `seconds_per_tick`.
    ///
    /// # Errors
    /// If OpenCV's optical flow cannot be prepared.
    pub fn new(settings: MotionSettings, seconds_per_tick: f64) -> Result<Self> {
        // The stages beside this one need the cores.
        opencv::core::set_num_threads(1)?;
        Ok(Self {
            settings,
            seconds_per_tick,
            estimator: FlowEstimator::new(settings.quality)?,
            scaler: Scaler::new(),
            before: None,
            reverse: FlowField::zero(FrameSize::new(0, 0)),
            reliable: Vec::new(),
            moved: Vec::new(),
            moving: Vec::new(),
            still: Vec::new(),
            boxes: Boxes::default(),
        })
    }

    /// Changes the time constant of the content's running average, in seconds, from the next frame on.
    pub fn set_content_time_constant(&mut self, seconds: f32) {
        self.settings.content_time_constant_seconds = seconds;
    }

    /// What became of the frame before this one. Blocks for the time of two flows on the grid.
    ///
    /// # Errors
    /// If OpenCV fails.
    pub fn analyze(&mut self, frame: &Frame) -> Result<Motion> {
        let grid = frame.size.with_long_side_at_most(self.settings.grid_side);
        let rgb = self.downscaled(frame, grid)?;
        let pts = frame.timestamp.pts;
        let mut before = self.before.take().filter(|before| before.frame_size == frame.size);
        let elapsed = before.as_ref().map(|before| (pts - before.pts) as f64 * self.seconds_per_tick);
        let in_time =
            elapsed.filter(|elapsed| *elapsed > 0.0 && *elapsed <= f64::from(self.settings.longest_gap_seconds));
        if in_time.is_some()
            && let Some(before) = before.take_if(|before| before.rgb == rgb)
        {
            self.before = Some(Before { pts, ..before });
            return Ok(Motion::Duplicate);
        }
        let gray = GrayPicture::from_rgb(&rgb, grid);
        let mut motion = Motion::Reset;
        let mut history = match (before, in_time) {
            (Some(mut before), Some(elapsed)) => {
                motion = self.carried(&mut before, &rgb, &gray, elapsed as f32)?;
                before.history
            }
            (Some(before), None) => before.history,
            (None, _) => Vec::new(),
        };
        if motion == Motion::Reset {
            history.clear();
            history.extend(rgb.iter().map(|value| f32::from(*value)));
        }
        self.before = Some(Before { frame_size: frame.size, pts, gray, rgb, history });
        Ok(motion)
    }

    fn downscaled(&mut self, frame: &Frame, grid: FrameSize) -> Result<Vec<u8>> {
        if grid == frame.size {
            return Ok(frame.pixels().to_vec());
        }
        let mut rgb = vec![0; grid.bytes()];
        self.scaler.scale_rgb(frame.size, frame.pixels(), grid, &mut rgb, Filter::Box)?;
        Ok(rgb)
    }

    /// Flow and confidence; the content's own running average follows.
    fn carried(&mut self, before: &mut Before, rgb: &[u8], gray: &GrayPicture, elapsed_seconds: f32) -> Result<Motion> {
        let grid = gray.size;
        let mut flow = FlowField::zero(grid);
        self.estimator.estimate(gray, &before.gray, &mut flow)?;
        self.estimator.estimate(&before.gray, gray, &mut self.reverse)?;
        reliability(&flow, &self.reverse, &self.settings.flow_tolerance, &mut self.reliable);

        self.moved.resize(rgb.len(), 0.0);
        warp::<CHANNELS>(&before.history, &flow, &mut self.moved);
        self.boxes.deviation(rgb, &self.moved, grid, &mut self.moving);
        self.boxes.deviation(rgb, &before.history, grid, &mut self.still);
        let tolerance = self.settings.still_tolerance.powi(2);
        let fastest_still = self.settings.fastest_still.powi(2);
        for (index, squared) in self.moving.iter_mut().enumerate() {
            let [u, v] = flow.vectors[index];
            if u * u + v * v < fastest_still && self.still[index] <= *squared + tolerance {
                *squared = self.still[index];
                flow.vectors[index] = [0.0; 2];
                self.reliable[index] = 1.0;
                let pixel = index * CHANNELS;
                self.moved[pixel..pixel + CHANNELS].copy_from_slice(&before.history[pixel..pixel + CHANNELS]);
            }
        }
        // What half of the picture deviates by is noise; only what is beyond it speaks against the past.
        let noise = median(&self.moving).min(self.settings.most_noise.powi(2));
        let precision = 0.5 / self.settings.content_sigma.powi(2);
        for (reliable, squared) in self.reliable.iter_mut().zip(&self.moving) {
            if *squared > noise {
                *reliable *= (-((squared - noise) * precision).powi(2)).exp();
            }
        }
        // What comes into view is often narrower than the field resolves: doubt reaches a cell further.
        let mut confidence = Vec::new();
        self.boxes.join(&self.reliable, grid, 1, f32::min, &mut confidence);
        let mean = confidence.iter().sum::<f32>() / confidence.len().max(1) as f32;
        if mean < self.settings.cut_confidence {
            return Ok(Motion::Reset);
        }
        // The mean of each neighborhood, never above the value itself: what is not believed stays so.
        self.boxes.join(&confidence, grid, 1, |a, b| a + b, &mut self.still);
        for (confidence, sum) in confidence.iter_mut().zip(&self.still) {
            *confidence = confidence.min(sum / 9.0);
        }
        let past = (-elapsed_seconds / self.settings.content_time_constant_seconds).exp();
        let history = before.history.as_chunks_mut::<CHANNELS>().0.iter_mut();
        let now = rgb.as_chunks::<CHANNELS>().0.iter().zip(self.moved.as_chunks::<CHANNELS>().0);
        for ((history, (now, moved)), confidence) in history.zip(now).zip(&confidence) {
            let weight = past * confidence;
            *history = std::array::from_fn(|c| f32::from(now[c]) + weight * (moved[c] - f32::from(now[c])));
        }
        Ok(Motion::Carried(CarriedMotion { flow, confidence, elapsed_seconds }))
    }
}

/// What is joined over 3×3 neighborhoods, with the buffers that it takes.
#[derive(Default)]
struct Boxes {
    difference: Vec<f32>,
    horizontal: Vec<f32>,
    sums: Vec<f32>,
}

impl Boxes {
    /// Mean squared difference over the channels and a 3×3 box, in levels², `[height, width]`. Noise averages out in the
    /// box: the difference is taken after it.
    fn deviation(&mut self, rgb: &[u8], other: &[f32], size: FrameSize, squared: &mut Vec<f32>) {
        let mut difference = std::mem::take(&mut self.difference);
        difference.clear();
        difference.extend(rgb.iter().zip(other).map(|(a, b)| f32::from(*a) - b));
        let mut sums = std::mem::take(&mut self.sums);
        self.join(&difference, size, CHANNELS, |a, b| a + b, &mut sums);
        squared.clear();
        squared.extend(sums.as_chunks::<CHANNELS>().0.iter().map(|sums| {
            let energy: f32 = sums.iter().map(|sum| sum * sum).sum();
            energy / (81.0 * CHANNELS as f32)
        }));
        (self.difference, self.sums) = (difference, sums);
    }

    /// Joins the values of each 3×3 neighborhood, `step` values a pixel; the border is continued outside.
    fn join(
        &mut self,
        map: &[f32],
        size: FrameSize,
        step: usize,
        join: impl Fn(f32, f32) -> f32,
        joined: &mut Vec<f32>,
    ) {
        let length = size.width * step;
        joined.resize(map.len(), 0.0);
        self.horizontal.resize(map.len(), 0.0);
        if length == 0 {
            return;
        }
        for (src, dst) in map.chunks_exact(length).zip(self.horizontal.chunks_exact_mut(length)) {
            let inner = length.saturating_sub(2 * step);
            let (left, middle, right) = (src, &src[step.min(length)..], &src[(2 * step).min(length)..]);
            for (index, dst) in dst[step..].iter_mut().take(inner).enumerate() {
                *dst = join(join(left[index], middle[index]), right[index]);
            }
            for channel in 0..step {
                let last = length - step + channel;
                dst[channel] = join(join(src[channel], src[channel]), src[(channel + step).min(last)]);
                dst[last] = join(join(src[last.saturating_sub(step).max(channel)], src[last]), src[last]);
            }
        }
        for (y, dst) in joined.chunks_exact_mut(length).enumerate() {
            let line = |y: usize| &self.horizontal[y * length..][..length];
            let (above, here, below) = (line(y.saturating_sub(1)), line(y), line((y + 1).min(size.height - 1)));
            for (((dst, above), here), below) in dst.iter_mut().zip(above).zip(here).zip(below) {
                *dst = join(join(*above, *here), *below);
            }
        }
    }
}

/// The middle value; 0 of nothing. One value in eight tells as much as all of them.
fn median(values: &[f32]) -> f32 {
    let mut sorted: Vec<f32> = values.iter().step_by(8).copied().collect();
    let middle = sorted.len() / 2;
    if sorted.is_empty() { 0.0 } else { *sorted.select_nth_unstable_by(middle, f32::total_cmp).1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Timestamp;

    const SIZE: FrameSize = FrameSize::new(96, 64);

    /// Waves moved by `shift` pixels, with grain of up to `grain` levels that differs from `seed` to `seed`.
    fn waves(shift: f32, grain: u32, seed: u32, pts: i64) -> Frame {
        let mut frame = Frame::black(SIZE);
        let mut state = seed.wrapping_mul(747_796_405).wrapping_add(1);
        for (index, pixel) in frame.pixels_mut().as_chunks_mut::<CHANNELS>().0.iter_mut().enumerate() {
            let (x, y) = ((index % SIZE.width) as f32 - shift, (index / SIZE.width) as f32);
            let value = (x * 0.21 + y * 0.08).sin() + (x * 0.05 - y * 0.17).sin() + (x * 0.4 + y * 0.33).cos() * 0.5;
            for channel in pixel {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                *channel = (120.0 + value * 40.0) as u8 + ((state >> 16) % (grain + 1)) as u8;
            }
        }
        frame.timestamp = Timestamp { pts, duration: 1 };
        frame
    }

    fn estimator() -> MotionEstimator {
        MotionEstimator::new(MotionSettings::default(), 0.04).unwrap()
    }

    fn carried(motion: Motion) -> CarriedMotion {
        match motion {
            Motion::Carried(carried) => carried,
            other => panic!("expected carried motion, got {other:?}"),
        }
    }

    fn mean(values: &[f32]) -> f32 {
        values.iter().sum::<f32>() / values.len() as f32
    }

    #[test]
    fn the_first_frame_has_no_past() {
        assert_eq!(estimator().analyze(&waves(0.0, 0, 0, 0)).unwrap(), Motion::Reset);
    }

    #[test]
    fn a_frame_shown_twice_is_a_duplicate() {
        let mut estimator = estimator();
        estimator.analyze(&waves(0.0, 9, 1, 0)).unwrap();
        assert_eq!(estimator.analyze(&waves(0.0, 9, 1, 1)).unwrap(), Motion::Duplicate);
    }

    #[test]
    fn grain_is_no_motion_and_the_past_is_believed() {
        let mut estimator = estimator();
        let mut last = Motion::Reset;
        for index in 0..12 {
            last = estimator.analyze(&waves(0.0, 12, index, i64::from(index))).unwrap();
        }
        let carried = carried(last);
        let still = carried.flow.vectors.iter().filter(|vector| **vector == [0.0; 2]).count();
        assert!(still * 10 > SIZE.pixels() * 9, "{still} of {} stand still", SIZE.pixels());
        assert!(mean(&carried.confidence) > 0.9, "{}", mean(&carried.confidence));
    }

    #[test]
    fn flow_leads_from_a_frame_to_the_one_before() {
        let mut estimator = estimator();
        estimator.analyze(&waves(0.0, 0, 0, 0)).unwrap();
        let carried = carried(estimator.analyze(&waves(3.0, 0, 0, 1)).unwrap());
        let [u, v] = carried.flow.vectors[32 * SIZE.width + 48];
        assert!((u + 3.0).abs() < 0.6 && v.abs() < 0.6, "{u} {v}");
        assert!(carried.confidence[32 * SIZE.width + 48] > 0.8);
    }

    #[test]
    fn a_new_scene_a_gap_in_time_and_a_new_size_have_no_past() {
        let mut estimator = estimator();
        estimator.analyze(&waves(0.0, 0, 0, 0)).unwrap();
        let mut other = waves(0.0, 0, 0, 1);
        other.pixels_mut().iter_mut().enumerate().for_each(|(index, value)| *value = (index * 7 % 251) as u8);
        assert_eq!(estimator.analyze(&other).unwrap(), Motion::Reset, "scene");
        estimator.analyze(&waves(0.0, 0, 0, 2)).unwrap();
        assert_eq!(estimator.analyze(&waves(0.0, 3, 1, 200)).unwrap(), Motion::Reset, "gap");
        let mut small = Frame::black(FrameSize::new(48, 32));
        small.timestamp.pts = 201;
        assert_eq!(estimator.analyze(&small).unwrap(), Motion::Reset, "size");
    }

    #[test]
    fn tiny_frames_are_no_trouble() {
        let mut estimator = estimator();
        for pts in 0..4 {
            let mut frame = Frame::black(FrameSize::new(3, 1));
            frame.pixels_mut()[0] = pts as u8;
            frame.timestamp.pts = pts;
            estimator.analyze(&frame).unwrap();
        }
    }
}
