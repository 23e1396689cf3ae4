//! Temporal smoothing: painted frames that hold still where the content holds still and move where it moves.
//!
//! Each painted frame is blended with the output before it, moved along the content's motion: a recursive filter along
//! motion paths, after the temporal consistency terms of Ruder et al. 2016 and Lai et al. 2018, without their
//! optimization and without looking ahead. This room takes what [`crate::motion`] found and knows no optical flow itself.

use anyhow::{Result, ensure};

use crate::frame::{CHANNELS, Frame, FrameSize};
use crate::motion::{CarriedMotion, Motion};

/// How strongly the past holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SmootherSettings {
    /// Time constant where the content moves, in seconds: after this time the share of a frame has fallen to 1/e.
    pub time_constant_seconds: f32,
    /// How many times longer it is where the content stands still (ours): nothing is resampled there, so nothing blurs.
    pub still_factor: f32,
    /// Share of the weight that fine detail gets where the past was moved (ours): bilinear resampling blurs it each time.
    pub detail_share: f32,
}

impl Default for SmootherSettings {
    fn default() -> Self {
        Self { time_constant_seconds: 0.2, still_factor: 6.0, detail_share: 0.6 }
    }
}

/// Holds the output before and blends the next frame with it.
pub struct Smoother {
    settings: SmootherSettings,
    size: FrameSize,
    /// The output before, `[height, width, 3]`, 0–255, not rounded: rounding would stick.
    output: Vec<f32>,
    /// Moved output minus painted frame, `[height, width, 3]`.
    difference: Vec<f32>,
    /// The same without fine detail.
    blurred: Vec<f32>,
    scratch: Vec<f32>,
    /// Weight of the past for the blurred difference and for its detail, `[height, width, 2]`.
    weights: Vec<[f32; 2]>,
}

impl Smoother {
    /// A smoother that has seen nothing yet.
    pub fn new(settings: SmootherSettings) -> Self {
        Self {
            settings,
            size: FrameSize::new(0, 0),
            output: Vec::new(),
            difference: Vec::new(),
            blurred: Vec::new(),
            scratch: Vec::new(),
            weights: Vec::new(),
        }
    }

    /// Replaces `painted` by the smoothed frame. `motion` is that of its content since the frame before.
    ///
    /// # Errors
    /// If the motion's grid does not belong to such a frame.
    pub fn smooth(&mut self, painted: &mut Frame, motion: &Motion) -> Result<()> {
        let knows_the_past = self.size == painted.size && !self.output.is_empty();
        match motion {
            Motion::Duplicate if knows_the_past => {}
            Motion::Carried(carried) if knows_the_past => {
                ensure!(
                    carried.flow.size.pixels() > 0 && carried.confidence.len() == carried.flow.size.pixels(),
                    "motion on a grid of {} with {} confidences",
                    carried.flow.size,
                    carried.confidence.len()
                );
                self.blend(painted.pixels(), carried);
            }
            _ => {
                self.size = painted.size;
                self.output.clear();
                self.output.extend(painted.pixels().iter().map(|value| f32::from(*value)));
            }
        }
        for (pixel, value) in painted.pixels_mut().iter_mut().zip(&self.output) {
            *pixel = (value + 0.5) as u8;
        }
        Ok(())
    }

    fn blend(&mut self, painted: &[u8], carried: &CarriedMotion) {
        self.move_past(painted, carried);
        self.blur_difference();
        let pixels = self.output.as_chunks_mut::<CHANNELS>().0.iter_mut().zip(painted.as_chunks::<CHANNELS>().0);
        let differences = self.difference.as_chunks::<CHANNELS>().0.iter().zip(self.blurred.as_chunks::<CHANNELS>().0);
        for (((output, painted), (difference, blurred)), [coarse, fine]) in pixels.zip(differences).zip(&self.weights) {
            for channel in 0..CHANNELS {
                let detail = difference[channel] - blurred[channel];
                output[channel] = f32::from(painted[channel]) + coarse * blurred[channel] + fine * detail;
            }
        }
    }

    /// Fills the difference between the moved past and the painted frame, and the weights of the past.
    fn move_past(&mut self, painted: &[u8], carried: &CarriedMotion) {
        let FrameSize { width, height } = self.size;
        let grid = carried.flow.size;
        let time_constant = self.settings.time_constant_seconds;
        let moving = (-carried.elapsed_seconds / time_constant).exp();
        let still = (-carried.elapsed_seconds / (time_constant * self.settings.still_factor)).exp();
        self.difference.resize(self.size.bytes(), 0.0);
        self.weights.resize(self.size.pixels(), [0.0; 2]);

        // From pixels to cells, centers on centers; a cell's vector times `scale` is in pixels.
        let scale = [width as f32 / grid.width as f32, height as f32 / grid.height as f32];
        let columns: Vec<(usize, usize, f32)> = (0..width).map(|x| neighbors(x, scale[0], grid.width)).collect();
        let mut row = vec![[0.0; 3]; grid.width];
        let past = self.output.as_chunks::<CHANNELS>().0;
        let painted = painted.as_chunks::<CHANNELS>().0;
        let difference = self.difference.as_chunks_mut::<CHANNELS>().0;
        for y in 0..height {
            let (above, below, share) = neighbors(y, scale[1], grid.height);
            for (x, cell) in row.iter_mut().enumerate() {
                let (above, below) = (above * grid.width + x, below * grid.width + x);
                let mix = |a: f32, b: f32| a + share * (b - a);
                let (a, b) = (carried.flow.vectors[above], carried.flow.vectors[below]);
                *cell = [
                    mix(a[0], b[0]) * scale[0],
                    mix(a[1], b[1]) * scale[1],
                    mix(carried.confidence[above], carried.confidence[below]),
                ];
            }
            for (x, &(left, right, share)) in columns.iter().enumerate() {
                let (a, b) = (row[left], row[right]);
                let [u, v, confidence] = std::array::from_fn(|i| a[i] + share * (b[i] - a[i]));
                let index = y * width + x;
                let now = painted[index];
                let stands_still = u.abs() + v.abs() < STILL_PIXELS;
                let moved = if stands_still { past[index] } else { sample(past, self.size, x as f32 + u, y as f32 + v) };
                difference[index] = std::array::from_fn(|c| moved[c] - f32::from(now[c]));
                self.weights[index] = if stands_still {
                    [still * confidence; 2]
                } else {
                    [moving * confidence, moving * confidence * self.settings.detail_share]
                };
            }
        }
    }

    /// Binomial blur of the difference, 7 taps a side (σ = 1.2 pixels).
    fn blur_difference(&mut self) {
        const TAPS: [f32; 4] = [20.0 / 64.0, 15.0 / 64.0, 6.0 / 64.0, 1.0 / 64.0];
        let FrameSize { width, height } = self.size;
        let row = width * CHANNELS;
        self.scratch.resize(self.size.bytes(), 0.0);
        self.blurred.resize(self.size.bytes(), 0.0);
        for y in 0..height {
            let line = |distance: isize| {
                let y = y.saturating_add_signed(distance).min(height - 1);
                &self.difference[y * row..(y + 1) * row]
            };
            let lines: [&[f32]; 7] = std::array::from_fn(|i| line(i as isize - 3));
            let target = &mut self.scratch[y * row..(y + 1) * row];
            for (index, value) in target.iter_mut().enumerate() {
                *value = TAPS[0] * lines[3][index]
                    + TAPS[1] * (lines[2][index] + lines[4][index])
                    + TAPS[2] * (lines[1][index] + lines[5][index])
                    + TAPS[3] * (lines[0][index] + lines[6][index]);
            }
        }
        for (src, dst) in self.scratch.chunks_exact(row).zip(self.blurred.chunks_exact_mut(row)) {
            let border = 3 * CHANNELS;
            let at = |index: usize, distance: isize| {
                let last = width as isize - 1;
                let (x, channel) = ((index / CHANNELS) as isize, index % CHANNELS);
                src[(x + distance).clamp(0, last) as usize * CHANNELS + channel]
            };
            for index in (0..border.min(row)).chain(row.saturating_sub(border).max(border.min(row))..row) {
                dst[index] = TAPS[0] * at(index, 0)
                    + (1..4).map(|i| TAPS[i] * (at(index, -(i as isize)) + at(index, i as isize))).sum::<f32>();
            }
            if row > 2 * border {
                for (value, window) in dst[border..].iter_mut().zip(src.windows(2 * border + 1)) {
                    *value = TAPS[0] * window[9]
                        + TAPS[1] * (window[6] + window[12])
                        + TAPS[2] * (window[3] + window[15])
                        + TAPS[3] * (window[0] + window[18]);
                }
            }
        }
    }
}

/// Motion below this, in pixels, is none (ours): resampling would only blur.
const STILL_PIXELS: f32 = 0.1;

/// The two cells between whose centers a pixel lies, and the share of the second.
fn neighbors(pixel: usize, pixels_per_cell: f32, cells: usize) -> (usize, usize, f32) {
    let place = ((pixel as f32 + 0.5) / pixels_per_cell - 0.5).clamp(0.0, (cells - 1) as f32);
    let first = place as usize;
    (first, (first + 1).min(cells - 1), place - first as f32)
}

/// The picture at a place between pixels, bilinear; the border is continued outside.
fn sample(picture: &[[f32; CHANNELS]], size: FrameSize, x: f32, y: f32) -> [f32; CHANNELS] {
    let (x, y) = (x.clamp(0.0, (size.width - 1) as f32), y.clamp(0.0, (size.height - 1) as f32));
    let (left, top) = (x as usize, y as usize);
    let (fx, fy) = (x - left as f32, y - top as f32);
    let (right, below) = ((left + 1).min(size.width - 1), (top + 1).min(size.height - 1) * size.width);
    let top = top * size.width;
    let (a, b, c, d) = (picture[top + left], picture[top + right], picture[below + left], picture[below + right]);
    std::array::from_fn(|i| {
        let upper = a[i] + fx * (b[i] - a[i]);
        let lower = c[i] + fx * (d[i] - c[i]);
        upper + fy * (lower - upper)
    })
}
