//! Motion between frames: optical flow, where it holds, scene cuts and duplicate frames.
//!
//! The only room that knows OpenCV's optical flow. It looks at content frames, never at painted ones, and looks back
//! only: what it says of a frame needs nothing that comes later.

pub mod flow;

use anyhow::Result;
use fast_image_resize as fir;

use crate::frame::{CHANNELS, Frame, FrameSize};
use flow::{FlowEstimator, FlowField, FlowQuality, GrayPicture, reliability, warp};

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
    /// Deviation of the content, in levels, at which confidence falls to 0.61 (ours).
    pub content_sigma: f32,
    /// Squared disagreement of the two flows, in cells², that is always allowed (ours: 0.3 at a width of 320).
    pub flow_tolerance: f32,
    /// Where standing still explains the content as well as moving does, within so many levels, nothing moves (ours).
    pub still_tolerance: f32,
    /// A frame that is believed less than this on average is a new scene (ours).
    pub cut_confidence: f32,
    /// A gap longer than this, in seconds, is a jump in time (ours).
    pub longest_gap_seconds: f32,
    /// Weight of the past in the content that new frames are compared with, a second at a time constant (ours).
    pub content_time_constant: f32,
}

impl Default for MotionSettings {
    fn default() -> Self {
        Self {
            grid_side: 320,
            quality: FlowQuality::UltraFast,
            content_sigma: 10.0,
            flow_tolerance: 0.3,
            still_tolerance: 1.5,
            cut_confidence: 0.3,
            longest_gap_seconds: 0.5,
            content_time_constant: 0.2,
        }
    }
}

/// Compares each frame with the one before.
pub struct MotionEstimator {
    settings: MotionSettings,
    seconds_per_tick: f64,
    estimator: FlowEstimator,
    resizer: fir::Resizer,
    before: Option<Before>,
    reverse: FlowField,
    reliable: Vec<f32>,
    moved: Vec<f32>,
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
            resizer: fir::Resizer::new(),
            before: None,
            reverse: FlowField::zero(FrameSize::new(0, 0)),
            reliable: Vec::new(),
            moved: Vec::new(),
        })
    }

    /// What became of the frame before this one. Blocks for the time of two flows on the grid.
    ///
    /// # Errors
    /// If OpenCV fails.
    pub fn analyze(&mut self, frame: &Frame) -> Result<Motion> {
        let grid = frame.size.with_long_side_at_most(self.settings.grid_side);
        let rgb = self.downscaled(frame, grid)?;
        let gray = GrayPicture::from_rgb(&rgb, grid);
        let pts = frame.timestamp.pts;
        let before = self.before.take().filter(|before| before.frame_size == frame.size);
        let elapsed = before.as_ref().map(|before| (pts - before.pts) as f64 * self.seconds_per_tick);
        let in_time = elapsed.filter(|elapsed| {
            *elapsed > 0.0 && *elapsed <= f64::from(self.settings.longest_gap_seconds)
        });
        let (motion, history) = match (before, in_time) {
            (Some(before), Some(_)) if before.rgb == rgb => (Motion::Duplicate, before.history),
            (Some(before), Some(elapsed)) => self.carried(&before, &rgb, &gray, elapsed as f32)?,
            _ => (Motion::Reset, floats(&rgb)),
        };
        self.before = Some(Before { frame_size: frame.size, pts, gray, rgb, history });
        Ok(motion)
    }

    fn downscaled(&mut self, frame: &Frame, grid: FrameSize) -> Result<Vec<u8>> {
        if grid == frame.size {
            return Ok(frame.pixels().to_vec());
        }
        let side = |side: usize| u32::try_from(side);
        let src = fir::images::ImageRef::new(
            side(frame.size.width)?,
            side(frame.size.height)?,
            frame.pixels(),
            fir::PixelType::U8x3,
        )?;
        let mut dst = fir::images::Image::new(side(grid.width)?, side(grid.height)?, fir::PixelType::U8x3);
        let options = fir::ResizeOptions::new().resize_alg(fir::ResizeAlg::Convolution(fir::FilterType::Box));
        self.resizer.resize(&src, &mut dst, &options)?;
        Ok(dst.into_vec())
    }

    /// Flow, confidence, and the content's own running average.
    fn carried(
        &mut self,
        before: &Before,
        rgb: &[u8],
        gray: &GrayPicture,
        elapsed_seconds: f32,
    ) -> Result<(Motion, Vec<f32>)> {
        let mut flow = FlowField::zero(gray.size);
        self.estimator.estimate(gray, &before.gray, &mut flow)?;
        self.estimator.estimate(&before.gray, gray, &mut self.reverse)?;
        reliability(&flow, &self.reverse, self.settings.flow_tolerance, &mut self.reliable);

        self.moved.resize(rgb.len(), 0.0);
        warp::<CHANNELS>(&before.history, &flow, &mut self.moved);
        let moving = deviation(rgb, &self.moved, gray.size);
        let still = deviation(rgb, &before.history, gray.size);
        let sigma_squared = self.settings.content_sigma.powi(2);
        let tolerance = self.settings.still_tolerance.powi(2);
        let mut confidence = vec![0.0; gray.size.pixels()];
        for (index, confidence) in confidence.iter_mut().enumerate() {
            let stands_still = still[index] <= moving[index] + tolerance;
            let squared = if stands_still {
                flow.vectors[index] = [0.0; 2];
                let pixel = index * CHANNELS;
                self.moved[pixel..pixel + CHANNELS].copy_from_slice(&before.history[pixel..pixel + CHANNELS]);
                still[index]
            } else {
                moving[index]
            };
            let holds = if stands_still { 1.0 } else { self.reliable[index] };
            *confidence = holds * (-squared / (2.0 * sigma_squared)).exp();
        }
        let mean = confidence.iter().sum::<f32>() / confidence.len().max(1) as f32;
        if mean < self.settings.cut_confidence {
            return Ok((Motion::Reset, floats(rgb)));
        }
        let confidence = softened(&eroded(&confidence, gray.size), gray.size);
        let past = (-elapsed_seconds / self.settings.content_time_constant).exp();
        let history = rgb
            .as_chunks::<CHANNELS>()
            .0
            .iter()
            .zip(self.moved.as_chunks::<CHANNELS>().0)
            .zip(&confidence)
            .flat_map(|((pixel, moved), confidence)| {
                let weight = past * confidence;
                std::array::from_fn::<f32, CHANNELS, _>(|c| {
                    let now = f32::from(pixel[c]);
                    now + weight * (moved[c] - now)
                })
            })
            .collect();
        Ok((Motion::Carried(CarriedMotion { flow, confidence, elapsed_seconds }), history))
    }
}

fn floats(rgb: &[u8]) -> Vec<f32> {
    rgb.iter().map(|value| f32::from(*value)).collect()
}

/// Mean squared difference over the channels and a 3×3 box, in levels², `[height, width]`. Noise averages out in the
/// box: the difference is taken after it.
fn deviation(rgb: &[u8], other: &[f32], size: FrameSize) -> Vec<f32> {
    let difference: Vec<f32> = rgb.iter().zip(other).map(|(a, b)| f32::from(*a) - b).collect();
    let row = size.width * CHANNELS;
    let mut horizontal = vec![0.0; difference.len()];
    for (src, dst) in difference.chunks_exact(row).zip(horizontal.chunks_exact_mut(row)) {
        for index in 0..row {
            let left = if index >= CHANNELS { src[index - CHANNELS] } else { src[index] };
            let right = if index + CHANNELS < row { src[index + CHANNELS] } else { src[index] };
            dst[index] = left + src[index] + right;
        }
    }
    let mut squared = vec![0.0; size.pixels()];
    for y in 0..size.height {
        let line = |y: usize| &horizontal[y * row..(y + 1) * row];
        let (above, here, below) = (line(y.saturating_sub(1)), line(y), line((y + 1).min(size.height - 1)));
        for (x, squared) in squared[y * size.width..(y + 1) * size.width].iter_mut().enumerate() {
            let mut sum = 0.0;
            for index in x * CHANNELS..(x + 1) * CHANNELS {
                let mean = (above[index] + here[index] + below[index]) / 9.0;
                sum += mean * mean;
            }
            *squared = sum / CHANNELS as f32;
        }
    }
    squared
}

/// The least of each 3×3 neighborhood.
fn eroded(map: &[f32], size: FrameSize) -> Vec<f32> {
    neighborhood(map, size, f32::min)
}

/// The mean of each 3×3 neighborhood, never above the value itself: what is not believed stays so.
fn softened(map: &[f32], size: FrameSize) -> Vec<f32> {
    let sums = neighborhood(map, size, |a, b| a + b);
    sums.iter().zip(map).map(|(sum, value)| (sum / 9.0).min(*value)).collect()
}

/// Joins the values of each 3×3 neighborhood; the border is continued outside.
fn neighborhood(map: &[f32], size: FrameSize, join: impl Fn(f32, f32) -> f32) -> Vec<f32> {
    let FrameSize { width, height } = size;
    let mut horizontal = vec![0.0; map.len()];
    for (src, dst) in map.chunks_exact(width).zip(horizontal.chunks_exact_mut(width)) {
        for x in 0..width {
            dst[x] = join(join(src[x.saturating_sub(1)], src[x]), src[(x + 1).min(width - 1)]);
        }
    }
    let mut joined = vec![0.0; map.len()];
    for y in 0..height {
        let line = |y: usize| &horizontal[y * width..(y + 1) * width];
        let (above, here, below) = (line(y.saturating_sub(1)), line(y), line((y + 1).min(height - 1)));
        for x in 0..width {
            joined[y * width + x] = join(join(above[x], here[x]), below[x]);
        }
    }
    joined
}
