//! Values between pixels: the past moved by cubic convolution, and cells of a coarse grid stretched over pixels.

use multiversion::multiversion;

use super::Past;
use super::processor::{LOSS, Pixel, to_pixel};
use crate::frame::{CHANNELS, FrameSize};

/// The two cells between whose centers a pixel lies.
pub struct Span {
    /// The cell before.
    pub first: usize,
    /// The cell after; the same at the border.
    pub second: usize,
    /// Share of the second, 0–1.
    share: f32,
}

impl Span {
    /// The cells around `pixel`, of `cells` cells that are `pixels_per_cell` wide.
    pub fn new(pixel: usize, pixels_per_cell: f32, cells: usize) -> Self {
        let place = ((pixel as f32 + 0.5) / pixels_per_cell - 0.5).clamp(0.0, (cells - 1) as f32);
        let first = place as usize;
        Self { first, second: (first + 1).min(cells - 1), share: place - first as f32 }
    }

    /// The row between those of two rows of cells.
    pub fn mix_rows<const N: usize>(&self, first: &[[f32; N]], second: &[[f32; N]], row: &mut [[f32; N]]) {
        let cells = row.as_flattened_mut().iter_mut().zip(first.as_flattened()).zip(second.as_flattened());
        for ((cell, first), second) in cells {
            *cell = first + self.share * (second - first);
        }
    }

    /// The value between those of the two cells.
    #[inline(always)]
    pub fn mix<const N: usize>(&self, first: [f32; N], second: [f32; N]) -> [f32; N] {
        let mut between = first;
        for ((between, first), second) in between.iter_mut().zip(first).zip(second) {
            *between += self.share * (second - first);
        }
        between
    }
}

/// From this weight of the past on, averaging takes detail away in full (ours).
pub(super) const FULL_WEIGHT: f32 = 0.4;

/// Motion below this, in pixels, is none (ours): resampling would only blur.
pub(super) const STILL_PIXELS: f32 = 0.1;

/// The past of each pixel of a row: where it lies, what it weighs, and the weights of the pixels around it. Kept apart
/// value by value, so that a processor computes many at once.
#[derive(Default)]
pub struct PastRow {
    weight: Vec<f32>,
    /// What comes into the place of [`LOSS`].
    loss: Vec<f32>,
    is_still: Vec<bool>,
    x: Vec<f32>,
    y: Vec<f32>,
    left: Vec<i32>,
    top: Vec<i32>,
    /// Weights of four columns and four rows around the place, by cubic convolution.
    across: [Vec<f32>; 4],
    down: [Vec<f32>; 4],
}

impl PastRow {
    /// Takes the pasts of row `y`, which `row` tells at the centers of cells and `columns` between them.
    pub fn set(&mut self, y: usize, size: FrameSize, row: &[Past], columns: &[Span]) {
        let width = size.width;
        for values in [&mut self.weight, &mut self.loss, &mut self.x, &mut self.y]
            .into_iter()
            .chain(&mut self.across)
            .chain(&mut self.down)
        {
            values.resize(width, 0.0);
        }
        self.is_still.resize(width, false);
        self.left.resize(width, 0);
        self.top.resize(width, 0);
        let places = self.x.iter_mut().zip(&mut self.y).zip(&mut self.weight);
        for (((u, v), weight), span) in places.zip(columns) {
            [*u, *v, *weight] = span.mix(row[span.first], row[span.second]);
        }
        place(&mut self.x, &mut self.y, &self.weight, &mut self.loss, &mut self.is_still, y, size);
        cubic(&self.x, &mut self.left, &mut self.across);
        cubic(&self.y, &mut self.top, &mut self.down);
    }

    /// Mixes the painted row `y` with its past from `average`, which the border of the picture continues outside.
    pub fn blend(&self, average: &[Pixel], size: FrameSize, y: usize, painted: &[[u8; CHANNELS]], next: &mut [Pixel]) {
        blend(self, average, size, y, painted, next);
    }
}

/// From vectors to places, and what the weight says of the loss of detail.
#[multiversion(targets("x86_64+avx2"))]
fn place(
    x: &mut [f32],
    y: &mut [f32],
    weight: &[f32],
    loss: &mut [f32],
    is_still: &mut [bool],
    row: usize,
    size: FrameSize,
) {
    let (right, bottom) = ((size.width - 1) as f32, (size.height - 1) as f32);
    for index in 0..weight.len().min(x.len()).min(y.len()).min(loss.len()).min(is_still.len()) {
        let still = x[index].abs() + y[index].abs() < STILL_PIXELS;
        is_still[index] = still;
        loss[index] = (weight[index] * (1.0 / FULL_WEIGHT)).min(1.0);
        x[index] = (index as f32 + x[index]).max(0.0).min(right);
        y[index] = (row as f32 + y[index]).max(0.0).min(bottom);
    }
}

/// Keys' a: what OpenCV and ONNX's GridSample take as well. −0.5, the most exact for what is smooth, loses more detail where an
/// average is resampled in every frame (docs/temporal.md).
const SHARPNESS: f32 = -0.75;

/// The pixel before each place (0 or more), and the weights of the four around it by cubic convolution (Keys 1981), which keeps
/// detail that repeated bilinear resampling would blur away.
#[multiversion(targets("x86_64+avx2"))]
fn cubic(places: &[f32], before: &mut [i32], weights: &mut [Vec<f32>; 4]) {
    let count = places.len();
    let before = &mut before[..count];
    let [first, second, third, fourth] = weights.each_mut().map(|weights| &mut weights[..count]);
    for index in 0..count {
        before[index] = places[index] as i32;
        let t = places[index] - before[index] as f32;
        let (squared, cubed) = (t * t, t * t * t);
        first[index] = SHARPNESS * (cubed - 2.0 * squared + t);
        second[index] = (SHARPNESS + 2.0) * cubed - (SHARPNESS + 3.0) * squared + 1.0;
        third[index] = (2.0 * SHARPNESS + 3.0) * squared - (SHARPNESS + 2.0) * cubed - SHARPNESS * t;
        fourth[index] = SHARPNESS * (squared - cubed);
    }
}

#[multiversion(targets("x86_64+avx2"))]
fn blend(row: &PastRow, average: &[Pixel], size: FrameSize, y: usize, painted: &[[u8; CHANNELS]], next: &mut [Pixel]) {
    let here = &average[y * size.width..][..size.width];
    for (x, (next, painted)) in next.iter_mut().zip(painted).enumerate() {
        let mut moved = here[x];
        if !row.is_still[x] {
            let (left, top) = (row.left[x] as usize, row.top[x] as usize);
            // Four pixels of each row, added up row by row: sixteen values side by side.
            let mut columns = [0.0; 16];
            let is_inside = left >= 1 && left + 2 < size.width && top >= 1 && top + 2 < size.height;
            if is_inside {
                for (i, weights) in row.down.iter().enumerate() {
                    let pixels = average[(top + i - 1) * size.width + left - 1..][..4].as_flattened();
                    add_scaled(&mut columns, weights[x], pixels);
                }
            } else {
                let near = |place: usize, i: usize, end: usize| (place + i).saturating_sub(1).min(end - 1);
                for (i, weights) in row.down.iter().enumerate() {
                    let line = near(top, i, size.height) * size.width;
                    for (j, column) in columns.as_chunks_mut::<4>().0.iter_mut().enumerate() {
                        add_scaled(column, weights[x], &average[line + near(left, j, size.width)]);
                    }
                }
            }
            moved = Pixel::default();
            for (column, weights) in columns.as_chunks::<4>().0.iter().zip(&row.across) {
                add_scaled(&mut moved, weights[x], column);
            }
        }
        let weight = row.weight[x];
        let rest = 1.0 - weight;
        *next = to_pixel(painted);
        for (next, moved) in next.iter_mut().zip(moved) {
            // Exact at both ends: where the past is all, nothing of what lies in an unpainted frame may be left.
            *next = weight * moved + rest * *next;
        }
        next[LOSS] = row.loss[x];
    }
}

#[inline(always)]
fn add_scaled(sum: &mut [f32], weight: f32, values: &[f32]) {
    for (sum, value) in sum.iter_mut().zip(values) {
        *sum += weight * value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ramp_stays_a_ramp_between_pixels_and_the_border_is_continued() {
        let size = FrameSize::new(9, 7);
        let ramp = |x: f32, y: f32| [x * 10.0, y * 10.0, 50.0, 0.0];
        let average: Vec<Pixel> =
            (0..size.pixels()).map(|index| ramp((index % size.width) as f32, (index / size.width) as f32)).collect();
        let mut row = PastRow::default();
        let columns: Vec<Span> = (0..size.width).map(|x| Span::new(x, size.width as f32, 1)).collect();
        let painted = vec![[200, 0, 100]; size.width];
        for (u, v) in [(0.25, 0.5), (-1.0, 0.0), (0.9, -0.9), (99.0, -99.0)] {
            row.set(3, size, &[[u, v, 0.5]], &columns);
            let mut next = vec![Pixel::default(); size.width];
            row.blend(&average, size, 3, &painted, &mut next);
            for (x, next) in next.iter().enumerate() {
                let place = [(x as f32 + u).clamp(0.0, 8.0), (3.0 + v).clamp(0.0, 6.0)];
                let past = ramp(place[0], place[1]);
                let inside = place[0] >= 1.0 && place[0] <= 7.0;
                // This cubic convolution moves a ramp by up to a twentieth of a pixel too far or too little; at the border, where
                // not all four pixels are there, by more.
                let is_whole = place[0].fract() == 0.0 && place[1].fract() == 0.0;
                let tolerance = if is_whole {
                    1e-3
                } else if inside {
                    0.25
                } else {
                    0.7
                };
                for (channel, painted) in [200.0, 0.0, 100.0].into_iter().enumerate() {
                    let expected = 0.5 * (painted + past[channel]);
                    assert!((next[channel] - expected).abs() < tolerance, "{u} {v} at {x}: {next:?}, not {expected}");
                }
            }
        }
    }

    #[test]
    fn cells_are_centered_on_their_pixels() {
        let place = |pixel| {
            let span = Span::new(pixel, 2.0, 4);
            span.mix([span.first as f32], [span.second as f32])[0]
        };
        let places: Vec<f32> = (0..8).map(place).collect();
        assert_eq!(places, [0.0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3.0]);
    }
}
