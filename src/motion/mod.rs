//! Motion between frames: optical flow, where it holds, scene cuts and duplicate frames.
//!
//! The only room that knows OpenCV's optical flow. It looks at content frames, never at painted ones, and looks back
//! only: what it says of a frame needs nothing that comes later.

mod boxes;
mod cut;
pub mod flow;
mod rest;

use anyhow::Result;
use multiversion::multiversion;

use crate::contrast::bearing;
use crate::frame::{CHANNELS, Frame, FrameSize};
use crate::scale::{Filter, Scaler};
use boxes::{Boxes, least, quantile, sum};
pub use cut::CutRule;
use flow::{FlowEstimator, FlowField, FlowQuality, FlowTolerance, GrayPicture, coherence, warp};
pub use rest::RestRule;

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
    /// Time since the last frame that was no duplicate, in seconds; at most [`MotionSettings::longest_gap_seconds`].
    pub elapsed_seconds: f32,
}

/// How motion is judged. Lengths are in cells of the grid, levels are of 255.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MotionSettings {
    /// Longer side of the grid in cells (ours: 320, as wide as flow needs to be for smoothing).
    pub grid_side: usize,
    /// Deviation of the content, in levels, at which confidence falls to 0.78; at twice as much it is 0.02 (ours: flatter
    /// and then steeper than a Gaussian, which doubts texture too much and ghosts too little).
    pub content_sigma: f32,
    /// Deviation of the content, in levels, that counts as noise at most (ours).
    pub most_noise: f32,
    /// Where flow holds (ours: two to three times as strict as at full size, since what comes into view beside a border of motion
    /// is narrower than a cell; docs/temporal.md).
    pub flow_tolerance: FlowTolerance,
    /// What counts as standing still.
    pub rest: RestRule,
    /// A frame that is believed less than this on average is a new scene (ours).
    pub cut_confidence: f32,
    /// What is a new scene although it is believed: where both have little contrast.
    pub cut: CutRule,
    /// How much of the belief is lost as the share of the painting that a picture bears changes, 0–1, from a frame to the next
    /// (ours): at the end of a fade the past would be brighter than the frame wherever it is believed.
    pub doubt_of_bearing: f32,
    /// A gap longer than this, in seconds, is a jump in time (ours).
    pub longest_gap_seconds: f32,
    /// Those of the running average of the content that new frames are compared with: what has changed slowly is noticed.
    pub time_constants: TimeConstants,
}

impl Default for MotionSettings {
    fn default() -> Self {
        Self {
            grid_side: 320,
            content_sigma: 22.0,
            most_noise: 6.0,
            flow_tolerance: FlowTolerance { gradient_of_speed: 0.006, gradient: 0.00085, outside: 0.6 },
            rest: RestRule::default(),
            cut_confidence: 0.3,
            cut: CutRule::default(),
            doubt_of_bearing: 5.0,
            longest_gap_seconds: 0.5,
            time_constants: TimeConstants::of_content(TimeConstants::DEFAULT_SECONDS),
        }
    }
}

impl MotionSettings {
    /// The grid for frames of `size`.
    pub fn grid(&self, size: FrameSize) -> FrameSize {
        size.with_long_side_at_most(self.grid_side)
    }
}

/// How long the past counts: after this time, in seconds, the share of a frame has fallen to 1/e.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TimeConstants {
    /// Where the content moves.
    pub moving_seconds: f32,
    /// Where it stands still.
    pub still_seconds: f32,
}

impl TimeConstants {
    /// Where the content moves, unless somebody asks for another (ours).
    pub const DEFAULT_SECONDS: f32 = 0.2;
    /// How many times longer a painting counts where nothing moves (ours): nothing is resampled there, so nothing blurs.
    const STILL_PAINTING: f32 = 10.0;
    /// The same of the content that tells whether anything changes (ours): the longer, the sooner a slow change of light is
    /// noticed, and the sooner a slow drift of the camera is doubted.
    const STILL_CONTENT: f32 = 3.0;

    /// For painted frames.
    pub fn of_painting(seconds: f32) -> Self {
        Self { moving_seconds: seconds, still_seconds: seconds * Self::STILL_PAINTING }
    }

    /// For the content, beside paintings that are averaged over `seconds` where the content moves.
    pub fn of_content(seconds: f32) -> Self {
        Self { moving_seconds: seconds, still_seconds: seconds * Self::STILL_CONTENT }
    }

    /// The share of the past after `elapsed_seconds`, 0–1: where the content moves, and where it stands still.
    pub fn shares(&self, elapsed_seconds: f32) -> [f32; 2] {
        [self.moving_seconds, self.still_seconds].map(|seconds| (-elapsed_seconds / seconds).exp())
    }
}

/// Compares each frame with the one before; keeps its buffers.
pub struct MotionEstimator {
    settings: MotionSettings,
    seconds_per_tick: f64,
    estimator: FlowEstimator,
    scaler: Scaler,
    before: Option<Before>,
    /// Where flow holds, then how far the past is to be believed, `[height, width]`.
    belief: Vec<f32>,
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
    /// When it was shown first, if it was shown several times.
    first_pts: i64,
    gray: GrayPicture,
    rgb: Vec<u8>,
    /// How much of its painting it bears.
    bearing: f32,
    past: ContentPast,
}

/// The content as the smoother has it.
#[derive(Default)]
struct ContentPast {
    /// A running average along the motion, `[height, width, 3]`, 0–255.
    average: Vec<f32>,
    /// The cells that stood still.
    was_still: Vec<bool>,
}

impl ContentPast {
    fn of(rgb: &[u8]) -> Self {
        Self {
            average: rgb.iter().map(|level| f32::from(*level)).collect(),
            was_still: vec![false; rgb.len() / CHANNELS],
        }
    }
}

impl MotionEstimator {
    /// An estimator for frames whose timestamps count `seconds_per_tick`: the time base of the clip that they come from.
    ///
    /// # Errors
    /// If OpenCV's optical flow cannot be prepared.
    pub fn new(settings: MotionSettings, seconds_per_tick: f64) -> Result<Self> {
        // The stages beside this one need the cores.
        opencv::core::set_num_threads(1)?;
        Ok(Self {
            settings,
            seconds_per_tick,
            estimator: FlowEstimator::new(FlowQuality::Quick)?,
            scaler: Scaler::new(),
            before: None,
            belief: Vec::new(),
            moved: Vec::new(),
            moving: Vec::new(),
            still: Vec::new(),
            boxes: Boxes::default(),
        })
    }

    /// Changes the time constants of the content's running average from the next frame on.
    pub fn set_time_constants(&mut self, time_constants: TimeConstants) {
        self.settings.time_constants = time_constants;
    }

    /// What became of the frame before this one. Blocks for the time of a flow on the grid.
    ///
    /// # Errors
    /// If OpenCV fails, or the frame has not as many pixels as its size says.
    pub fn analyze(&mut self, frame: &Frame) -> Result<Motion> {
        frame.check_size()?;
        let grid = self.settings.grid(frame.size);
        let rgb = self.downscaled(frame, grid)?;
        let pts = frame.timestamp.pts;
        let mut before = self.before.take().filter(|before| before.frame_size == frame.size);
        let seconds_per_tick = self.seconds_per_tick;
        let seconds = |from: i64| (pts - from) as f64 * seconds_per_tick;
        let longest = f64::from(self.settings.longest_gap_seconds);
        let is_in_time = |before: &Before| seconds(before.pts) > 0.0 && seconds(before.pts) <= longest;
        let in_time = before.as_ref().is_some_and(is_in_time);
        if in_time && let Some(before) = before.take_if(|before| before.rgb == rgb) {
            self.before = Some(Before { pts, ..before });
            return Ok(Motion::Duplicate);
        }
        let gray = GrayPicture::from_rgb(&rgb, grid);
        let bearing = bearing(grid, &rgb);
        let (motion, past) = match before.filter(|_| in_time) {
            Some(mut before) => {
                // However long a picture was held, it was seen a moment ago.
                let elapsed = seconds(before.first_pts).min(longest);
                let mut motion = self.carried(&mut before, &rgb, &gray, elapsed as f32)?;
                if let Motion::Carried(carried) = &mut motion {
                    let left = 1.0 - self.settings.doubt_of_bearing * (bearing - before.bearing).abs();
                    carried.confidence.iter_mut().for_each(|confidence| *confidence *= left.max(0.0));
                }
                (motion, before.past)
            }
            None => (Motion::Reset, ContentPast::default()),
        };
        let past = if motion == Motion::Reset { ContentPast::of(&rgb) } else { past };
        self.before = Some(Before { frame_size: frame.size, pts, first_pts: pts, gray, rgb, bearing, past });
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
        coherence(&flow, &self.settings.flow_tolerance, &mut self.belief);
        self.moved.resize(rgb.len(), 0.0);
        warp::<CHANNELS>(&before.past.average, &flow, &mut self.moved);
        self.boxes.deviation(rgb, &self.moved, grid, &mut self.moving);
        self.boxes.deviation(rgb, &before.past.average, grid, &mut self.still);
        self.hold_still(&mut flow, &mut before.past);

        // What half of the picture deviates by is noise; only what is beyond it speaks against the past.
        let noise = quantile(&self.moving, 0.5).min(self.settings.most_noise.powi(2));
        doubt(&mut self.belief, &self.moving, noise, self.settings.content_sigma);
        // What comes into view is often narrower than the field resolves: doubt reaches a cell further.
        let mut confidence = Vec::new();
        self.boxes.join(&self.belief, grid, 1, least, &mut confidence);
        let mean = confidence.iter().sum::<f32>() / confidence.len().max(1) as f32;
        if mean < self.settings.cut_confidence || self.settings.cut.is_cut(rgb, &self.moved, grid) {
            return Ok(Motion::Reset);
        }
        // The mean of each neighborhood, never above the value itself: what is not believed stays so.
        self.boxes.join(&confidence, grid, 1, sum, &mut self.belief);
        for (confidence, sum) in confidence.iter_mut().zip(&self.belief) {
            *confidence = confidence.min(sum / 9.0);
        }
        let shares = self.settings.time_constants.shares(elapsed_seconds);
        follow(&mut before.past, rgb, &self.moved, &confidence, shares);
        Ok(Motion::Carried(CarriedMotion { flow, confidence, elapsed_seconds }))
    }

    /// Takes the motion away where standing still explains the content as well.
    fn hold_still(&mut self, flow: &mut FlowField, past: &mut ContentPast) {
        self.settings.rest.apply(flow, &self.moving, &self.still, &mut past.was_still);
        for (index, was_still) in past.was_still.iter().enumerate() {
            if *was_still {
                self.moving[index] = self.still[index];
                flow.vectors[index] = [0.0; 2];
                self.belief[index] = 1.0;
                let pixel = index * CHANNELS;
                self.moved[pixel..pixel + CHANNELS].copy_from_slice(&past.average[pixel..pixel + CHANNELS]);
            }
        }
    }
}

/// Lowers the belief where the content deviates by more than noise, both squared. As good as exp(−x²), and computed for many
/// cells at once: (1 − x²/8)⁸, where x is half the squared deviation over `sigma`².
#[multiversion(targets("x86_64+avx2"))]
fn doubt(belief: &mut [f32], squared: &[f32], noise: f32, sigma: f32) {
    let precision = 0.5 / (sigma * sigma);
    for (belief, squared) in belief.iter_mut().zip(squared) {
        let x = ((squared - noise) * precision).max(0.0);
        let eighth = (1.0 - x * x / 8.0).max(0.0);
        let quarter = eighth * eighth;
        let half = quarter * quarter;
        *belief *= half * half;
    }
}

/// Mixes the content `rgb` with its past, `moved`; `shares` are those of the past where the content moves and where it stands
/// still.
#[multiversion(targets("x86_64+avx2"))]
fn follow(past: &mut ContentPast, rgb: &[u8], moved: &[f32], confidence: &[f32], shares: [f32; 2]) {
    let average = past.average.as_chunks_mut::<CHANNELS>().0.iter_mut();
    let now = rgb.as_chunks::<CHANNELS>().0.iter().zip(moved.as_chunks::<CHANNELS>().0);
    for ((average, (now, moved)), (confidence, is_still)) in
        average.zip(now).zip(confidence.iter().zip(&past.was_still))
    {
        let weight = confidence * shares[usize::from(*is_still)];
        *average = std::array::from_fn(|c| f32::from(now[c]) + weight * (moved[c] - f32::from(now[c])));
    }
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
    fn time_goes_on_while_a_frame_is_shown_again() {
        let mut estimator = estimator();
        estimator.analyze(&waves(0.0, 0, 0, 0)).unwrap();
        let mut elapsed_at = |shift: f32, pts: i64| match estimator.analyze(&waves(shift, 0, 0, pts)).unwrap() {
            Motion::Carried(carried) => Some(carried.elapsed_seconds),
            _ => None,
        };
        let about = |seconds: Option<f32>, expected: f32| seconds.is_some_and(|found| (found - expected).abs() < 1e-6);
        assert_eq!(elapsed_at(0.0, 1), None);
        assert!(about(elapsed_at(1.0, 2), 0.08), "on twos");
        assert!(about(elapsed_at(2.0, 3), 0.04));
        for pts in 4..40 {
            assert_eq!(elapsed_at(2.0, pts), None);
        }
        assert!(about(elapsed_at(3.0, 40), 0.5), "a picture that was held for long is no gap");
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
    fn the_end_of_a_fade_is_not_held_up_by_what_was_brighter() {
        let mut estimator = estimator();
        let faded = |light: f32, pts: i64| {
            let mut frame = waves(0.0, 0, 0, pts);
            frame.pixels_mut().iter_mut().for_each(|level| *level = (f32::from(*level) * light) as u8);
            frame
        };
        estimator.analyze(&faded(0.6, 0)).unwrap();
        let mut motion_to = |light: f32, pts: i64| estimator.analyze(&faded(light, pts)).unwrap();
        assert!(mean(&carried(motion_to(0.58, 1)).confidence) > 0.9, "the painting is the same");
        motion_to(0.3, 2);
        assert!(mean(&carried(motion_to(0.25, 3)).confidence) < 0.6, "it deviates by less, and is painted the less");
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
