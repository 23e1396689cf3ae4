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
    /// Share of the painted frames' fine detail, as energy, that the output shall have (ours); averaging takes some away,
    /// and what is left of it is amplified.
    pub detail: f32,
    /// The most that fine detail is amplified (ours), where the past has weight.
    pub most_amplification: f32,
}

impl Default for SmootherSettings {
    fn default() -> Self {
        Self { time_constant_seconds: 0.2, still_factor: 6.0, detail: 1.15, most_amplification: 2.0 }
    }
}

/// Holds the output before and blends the next frame with it.
pub struct Smoother {
    settings: SmootherSettings,
    size: FrameSize,
    /// The average along the motion, `[height, width, 4]`, 0–255, not rounded, since rounding would stick.
    average: Vec<Pixel>,
    next: Vec<Pixel>,
    amplification: f32,
}

/// Red, green, blue, and the weight that the past had in them, 0–1.
type Pixel = [f32; 4];

/// From this weight of the past on, detail is amplified in full (ours).
const FULL_WEIGHT: f32 = 0.4;

/// Place of the weight in a pixel.
const WEIGHT: usize = 3;

impl Smoother {
    /// A smoother that has seen nothing yet.
    pub fn new(settings: SmootherSettings) -> Self {
        Self { settings, size: FrameSize::new(0, 0), average: Vec::new(), next: Vec::new(), amplification: 1.0 }
    }

    /// Replaces `painted` by the smoothed frame. `motion` is that of its content since the frame before.
    ///
    /// # Errors
    /// If the motion's grid does not belong to such a frame.
    pub fn smooth(&mut self, painted: &mut Frame, motion: &Motion) -> Result<()> {
        let knows_the_past = self.size == painted.size && !self.average.is_empty();
        match motion {
            Motion::Duplicate if knows_the_past => self.show(painted),
            Motion::Carried(carried) if knows_the_past => {
                let cells = carried.flow.size.pixels();
                ensure!(
                    cells > 0 && carried.confidence.len() == cells && carried.age.len() == cells,
                    "motion on a grid of {} with {} confidences and {} ages",
                    carried.flow.size,
                    carried.confidence.len(),
                    carried.age.len()
                );
                self.blend(painted.pixels(), carried);
                self.follow_detail(painted.pixels());
                self.show(painted);
            }
            _ => {
                self.size = painted.size;
                self.amplification = 1.0;
                self.average.clear();
                self.average.extend(painted.pixels().as_chunks::<CHANNELS>().0.iter().map(to_pixel));
            }
        }
        Ok(())
    }

    /// Moves the average along the motion and mixes the painted frame in.
    fn blend(&mut self, painted: &[u8], carried: &CarriedMotion) {
        let FrameSize { width, height } = self.size;
        let grid = carried.flow.size;
        let time_constant = self.settings.time_constant_seconds;
        let moving = (-carried.elapsed_seconds / time_constant).exp();
        let still = (-carried.elapsed_seconds / (time_constant * self.settings.still_factor)).exp();
        self.next.resize(self.size.pixels(), Pixel::default());

        // From pixels to cells, centers on centers; a cell's vector times `scale` is in pixels.
        let scale = [width as f32 / grid.width as f32, height as f32 / grid.height as f32];
        let columns: Vec<(usize, usize, f32)> = (0..width).map(|x| neighbors(x, scale[0], grid.width)).collect();
        let mut row = vec![[0.0; 4]; grid.width];
        let painted = painted.as_chunks::<CHANNELS>().0;
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
                    mix(carried.age[above], carried.age[below]),
                ];
            }
            for (x, &(left, right, share)) in columns.iter().enumerate() {
                let (a, b) = (row[left], row[right]);
                let [u, v, confidence, age]: [f32; 4] = std::array::from_fn(|i| a[i] + share * (b[i] - a[i]));
                let index = y * width + x;
                let now = to_pixel(&painted[index]);
                let (moved, longest) = if u.abs() + v.abs() < STILL_PIXELS {
                    (self.average[index], still)
                } else {
                    (sample(&self.average, self.size, x as f32 + u, y as f32 + v), moving)
                };
                // At first every frame counts alike; later the time constant decides.
                let weight = confidence * (age / (age + 1.0)).min(longest);
                self.next[index] = std::array::from_fn(|i| now[i] + weight * (moved[i] - now[i]));
                self.next[index][WEIGHT] = weight;
            }
        }
        std::mem::swap(&mut self.average, &mut self.next);
    }

    /// Sets the amplification so that the output has its share of the painted frame's fine detail; slowly, so that it
    /// does not flicker itself.
    fn follow_detail(&mut self, painted: &[u8]) {
        const FOLLOWING: f32 = 0.2;
        let FrameSize { width, height } = self.size;
        let painted = painted.as_chunks::<CHANNELS>().0;
        let (mut wanted, mut there, mut curvature) = (0.0_f64, 0.0_f64, 0.0_f64);
        // Every third row tells as much as all of them.
        for y in (2..height.saturating_sub(2)).step_by(3) {
            let mut sums = [0.0_f32; 3];
            for x in 2..width.saturating_sub(2) {
                let index = y * width + x;
                let of_painted = laplacian(index, width, |index| f32::from(painted[index][1]));
                let green = |index: usize| self.average[index][1];
                let of_average = laplacian(index, width, green);
                let twice = laplacian(index, width, |index| laplacian(index, width, green));
                sums[0] += of_painted * of_painted;
                sums[1] += of_average * of_average;
                sums[2] += of_average * twice;
            }
            wanted += f64::from(sums[0]);
            there += f64::from(sums[1]);
            curvature += f64::from(sums[2]);
        }
        if there > 0.0 && curvature > 0.0 {
            let amplitude = (f64::from(self.settings.detail) * wanted / there).sqrt() as f32;
            let gain = (amplitude.clamp(1.0, self.settings.most_amplification) - 1.0) * (there / curvature) as f32;
            self.amplification += FOLLOWING * (1.0 + gain - self.amplification);
        }
    }

    /// Writes the average with its detail amplified.
    fn show(&self, frame: &mut Frame) {
        let FrameSize { width, height } = self.size;
        let gain = self.amplification - 1.0;
        let rows = frame.pixels_mut().chunks_exact_mut(width * CHANNELS);
        for (y, row) in rows.enumerate() {
            let here = &self.average[y * width..(y + 1) * width];
            let above = &self.average[y.saturating_sub(1) * width..][..width];
            let below = &self.average[(y + 1).min(height - 1) * width..][..width];
            for (x, pixel) in row.as_chunks_mut::<CHANNELS>().0.iter_mut().enumerate() {
                let (left, right) = (here[x.saturating_sub(1)], here[(x + 1).min(width - 1)]);
                // What was not averaged has lost no detail.
                let gain = gain * (here[x][WEIGHT] / FULL_WEIGHT).min(1.0);
                *pixel = std::array::from_fn(|i| {
                    let detail = here[x][i] - 0.25 * (above[x][i] + below[x][i] + left[i] + right[i]);
                    (here[x][i] + gain * detail + 0.5) as u8
                });
            }
        }
    }
}

fn to_pixel(pixel: &[u8; CHANNELS]) -> Pixel {
    [f32::from(pixel[0]), f32::from(pixel[1]), f32::from(pixel[2]), 0.0]
}

/// A value minus the mean of its four neighbors.
fn laplacian(index: usize, width: usize, value: impl Fn(usize) -> f32) -> f32 {
    value(index) - 0.25 * (value(index - 1) + value(index + 1) + value(index - width) + value(index + width))
}

/// Motion below this, in pixels, is none (ours): resampling would only blur.
const STILL_PIXELS: f32 = 0.1;

/// The two cells between whose centers a pixel lies, and the share of the second.
fn neighbors(pixel: usize, pixels_per_cell: f32, cells: usize) -> (usize, usize, f32) {
    let place = ((pixel as f32 + 0.5) / pixels_per_cell - 0.5).clamp(0.0, (cells - 1) as f32);
    let first = place as usize;
    (first, (first + 1).min(cells - 1), place - first as f32)
}

/// The picture at a place between pixels by cubic convolution (Catmull-Rom; Keys 1981), which keeps detail that repeated
/// bilinear resampling would blur away. The border is continued outside.
fn sample(picture: &[Pixel], size: FrameSize, x: f32, y: f32) -> Pixel {
    let (x, y) = (x.clamp(0.0, (size.width - 1) as f32), y.clamp(0.0, (size.height - 1) as f32));
    let (left, top) = (x as usize, y as usize);
    let (horizontal, vertical) = (cubic(x - left as f32), cubic(y - top as f32));
    let column = |i: usize| (left + i).saturating_sub(1).min(size.width - 1);
    let columns = [column(0), column(1), column(2), column(3)];
    let mut sum = Pixel::default();
    for (i, weight) in vertical.into_iter().enumerate() {
        let row = (top + i).saturating_sub(1).min(size.height - 1) * size.width;
        for (column, share) in columns.into_iter().zip(horizontal) {
            let pixel = picture[row + column];
            let weight = weight * share;
            for (sum, value) in sum.iter_mut().zip(pixel) {
                *sum += weight * value;
            }
        }
    }
    sum
}

/// Weights of the four samples around a place that lies `t` (0–1) after the second.
fn cubic(t: f32) -> [f32; 4] {
    let (squared, cubed) = (t * t, t * t * t);
    [
        0.5 * (-cubed + 2.0 * squared - t),
        0.5 * (3.0 * cubed - 5.0 * squared + 2.0),
        0.5 * (-3.0 * cubed + 4.0 * squared + t),
        0.5 * (cubed - squared),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::motion::flow::FlowField;

    const SIZE: FrameSize = FrameSize::new(32, 24);

    fn painted(seed: u32, of: impl Fn(usize, usize) -> f32, grain: f32) -> Frame {
        let mut frame = Frame::black(SIZE);
        let mut state = seed.wrapping_mul(747_796_405).wrapping_add(1);
        for (index, pixel) in frame.pixels_mut().as_chunks_mut::<CHANNELS>().0.iter_mut().enumerate() {
            for channel in pixel {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let noise = (state >> 8) as f32 / (1 << 24) as f32 - 0.5;
                *channel = (of(index % SIZE.width, index / SIZE.width) + noise * 2.0 * grain) as u8;
            }
        }
        frame
    }

    /// Everything is believed and moves by `u` pixels to the left, that is: was `u` pixels to the right.
    fn all_moves(u: f32, age: f32) -> Motion {
        Motion::Carried(CarriedMotion {
            flow: FlowField { size: SIZE, vectors: vec![[u, 0.0]; SIZE.pixels()] },
            confidence: vec![1.0; SIZE.pixels()],
            age: vec![age; SIZE.pixels()],
            elapsed_seconds: 0.04,
        })
    }

    fn smoother() -> Smoother {
        Smoother::new(SmootherSettings::default())
    }

    #[test]
    fn without_a_past_a_frame_passes_unchanged() {
        let mut smoother = smoother();
        for seed in 0..3 {
            let frame = painted(seed, |_, _| 100.0, 50.0);
            let mut smoothed = painted(seed, |_, _| 100.0, 50.0);
            smoother.smooth(&mut smoothed, &Motion::Reset).unwrap();
            assert_eq!(smoothed.pixels(), frame.pixels());
        }
    }

    #[test]
    fn a_duplicate_repeats_the_output() {
        let mut smoother = smoother();
        let mut first = painted(1, |x, _| x as f32 * 4.0, 20.0);
        smoother.smooth(&mut first, &Motion::Reset).unwrap();
        let mut second = painted(2, |x, _| x as f32 * 4.0, 20.0);
        smoother.smooth(&mut second, &Motion::Duplicate).unwrap();
        assert_eq!(second.pixels(), first.pixels());
    }

    #[test]
    fn flicker_of_a_still_picture_falls_to_a_fraction_and_its_brightness_does_not_drift() {
        let mut smoother = smoother();
        let (mut sums, mut squares) = ([0.0_f64; 2], [0.0_f64; 2]);
        let mut brightness = [0.0_f64; 2];
        let pixel = (12 * SIZE.width + 16) * CHANNELS;
        let frames = 200_u32;
        for index in 0..frames {
            let mut frame = painted(index, |x, y| 80.0 + x as f32 + y as f32, 20.0);
            let motion = if index == 0 { Motion::Reset } else { all_moves(0.0, index as f32) };
            let before = f64::from(frame.pixels()[pixel]);
            brightness[0] += frame.pixels().iter().map(|value| f64::from(*value)).sum::<f64>();
            smoother.smooth(&mut frame, &motion).unwrap();
            brightness[1] += frame.pixels().iter().map(|value| f64::from(*value)).sum::<f64>();
            if index >= 60 {
                for (which, value) in [before, f64::from(frame.pixels()[pixel])].into_iter().enumerate() {
                    sums[which] += value;
                    squares[which] += value * value;
                }
            }
        }
        let count = f64::from(frames - 60);
        let deviation = |which: usize| (squares[which] / count - (sums[which] / count).powi(2)).sqrt();
        assert!(deviation(1) < 0.35 * deviation(0), "{} against {}", deviation(1), deviation(0));
        let drift = (brightness[1] - brightness[0]) / (f64::from(frames) * SIZE.bytes() as f64);
        assert!(drift.abs() < 0.5, "{drift}");
    }

    #[test]
    fn the_past_moves_with_the_content() {
        let mut smoother = smoother();
        let edge = |at: usize| move |x: usize, _| if x < at { 200.0 } else { 50.0 };
        let mut first = painted(0, edge(20), 0.0);
        smoother.smooth(&mut first, &Motion::Reset).unwrap();
        let mut second = painted(0, edge(17), 0.0);
        let expected = second.pixels().to_vec();
        smoother.smooth(&mut second, &all_moves(3.0, 5.0)).unwrap();
        for (index, (smoothed, expected)) in second.pixels().iter().zip(&expected).enumerate() {
            assert!(smoothed.abs_diff(*expected) <= 2, "at {index}: {smoothed} against {expected}");
        }
    }

    #[test]
    fn what_is_not_believed_leaves_no_ghost() {
        let mut smoother = smoother();
        let mut first = painted(0, |_, _| 250.0, 0.0);
        smoother.smooth(&mut first, &Motion::Reset).unwrap();
        let mut second = painted(1, |_, _| 60.0, 30.0);
        let expected = second.pixels().to_vec();
        let Motion::Carried(mut carried) = all_moves(0.0, 0.0) else { panic!("it moves") };
        carried.confidence.fill(0.0);
        smoother.smooth(&mut second, &Motion::Carried(carried)).unwrap();
        assert_eq!(second.pixels(), expected);
    }

    #[test]
    fn motion_of_another_grid_is_refused() {
        let mut smoother = smoother();
        smoother.smooth(&mut painted(0, |_, _| 9.0, 0.0), &Motion::Reset).unwrap();
        let Motion::Carried(mut carried) = all_moves(0.0, 1.0) else { panic!("it moves") };
        carried.confidence.pop();
        assert!(smoother.smooth(&mut painted(0, |_, _| 9.0, 0.0), &Motion::Carried(carried)).is_err());
    }
}
