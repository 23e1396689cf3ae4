//! Two views of one photo, a little moved against each other: a style must paint both alike, or a film of it flickers.
//!
//! After Wang et al. 2020 ("Consistent Video Style Transfer via Relaxation and Regularization"): stability without video. Two times
//! of three the second view is shifted by whole pixels below the stride of the network, so that a pattern which stands still on the
//! network's own grid costs; else it is zoomed and shifted by parts of a pixel, as a hand-held camera does. Noise is added to it.

use anyhow::{Context as _, Result};

use crate::frame::{CHANNELS, Frame, FrameSize};
use crate::gatys::random::Random;
use crate::scale::{Filter, Scaler};

/// How far the second view is shifted at most, in pixels, in each direction: the stride of the network.
const MOST_SHIFT: usize = 8;
/// How far a zoom is from 1 at most.
const MOST_ZOOM: f32 = 0.04;
/// Noise in the second view, in levels, at most.
const NOISE_LEVELS: f32 = 4.0;
/// A crop shows at most so much less than what fits the photo's shorter side.
const MOST_ENLARGED: f32 = 1.3;
/// Where the painted photo is flat the two views count so much more: there a network has only its own grid to hold on to, and
/// the eye sees a pattern that stands still.
const FLAT_EXTRA: f32 = 4.0;
/// Deviation, in levels, over which a place is no more flat.
const FLAT_LEVELS: f32 = 8.0;

/// What a step looks at.
#[derive(Debug, Clone, PartialEq)]
pub struct Views {
    /// Both views, `[2, 3, side, side]`, RGB, 0–255.
    pub pictures: Vec<f32>,
    /// `[side, side]`: the rows of the second view, each as a mixture of rows of the first.
    pub row_motion: Vec<f32>,
    /// `[side, side]`: the columns of the second view, each column here a mixture of columns of the first.
    pub column_motion: Vec<f32>,
    /// `[side, side]`: how much each pixel of the second view counts; 0 where the first does not show it.
    pub weights: Vec<f32>,
}

/// Draws views; keeps its buffers.
pub struct ViewSampler {
    random: Random,
    scaler: Scaler,
    side: usize,
}

/// How a position in the second view, along one axis, is found in the first: `at · zoom + shift`, in pixels.
#[derive(Debug, Clone, Copy)]
struct AxisMotion {
    zoom: f32,
    shift: f32,
}

impl AxisMotion {
    fn source(self, at: usize) -> f32 {
        (at as f32 + 0.5) * self.zoom + self.shift - 0.5
    }
}

impl ViewSampler {
    /// Draws views of `side`×`side` pixels.
    pub fn new(side: usize, seed: u64) -> Self {
        Self { random: Random::new(seed), scaler: Scaler::new(), side }
    }

    /// The shorter side that a photo needs.
    pub fn smallest_photo(side: usize) -> usize {
        ((side + margin(side)) as f32 / MOST_ENLARGED).ceil() as usize
    }

    /// Two views of one of `photos`.
    ///
    /// # Errors
    /// When there are none, or one is smaller than [`ViewSampler::smallest_photo`].
    pub fn draw(&mut self, photos: &[Frame]) -> Result<Views> {
        let photo = photos.get(self.random.below(photos.len().max(1))).context("there are no photos")?;
        let margin = margin(self.side);
        let least = self.side + margin;
        let most = (photo.size.short_side() as f32).min(least as f32 * 1.6).max(least as f32);
        // Scales are drawn evenly on a logarithmic scale: from the whole of the photo to a part of it.
        let short = (least as f32 * (most / least as f32).powf(self.random.uniform(0.0, 1.0))).round();
        let factor = short / photo.size.short_side() as f32;
        let scaled = |length: usize| ((length as f32 * factor).round() as usize).max(least);
        let size = FrameSize::new(scaled(photo.size.width), scaled(photo.size.height));
        let mut picture = vec![0; size.bytes()];
        let filter = if factor < 1.0 { Filter::Box } else { Filter::CatmullRom };
        self.scaler.scale_rgb(photo.size, photo.pixels(), size, &mut picture, filter)?;
        let left = self.random.below(size.width - least + 1) + margin / 2;
        let top = self.random.below(size.height - least + 1) + margin / 2;
        let is_mirrored = self.random.uniform(0.0, 1.0) < 0.5;
        let (rows, columns) = self.motion();
        Ok(self.views(&Scaled { pixels: &picture, size, left, top, is_mirrored }, rows, columns))
    }

    fn motion(&mut self) -> (AxisMotion, AxisMotion) {
        if self.random.uniform(0.0, 1.0) < 2.0 / 3.0 {
            let mut shift = || {
                let shift = self.random.below(2 * MOST_SHIFT + 1) as f32 - MOST_SHIFT as f32;
                AxisMotion { zoom: 1.0, shift }
            };
            return (shift(), shift());
        }
        let zoom = 1.0 + self.random.uniform(-MOST_ZOOM, MOST_ZOOM);
        // Around the middle.
        let center = self.side as f32 * (1.0 - zoom) / 2.0;
        let most = MOST_SHIFT as f32;
        let mut shift = || AxisMotion { zoom, shift: center + self.random.uniform(-most, most) };
        (shift(), shift())
    }

    fn views(&mut self, scaled: &Scaled<'_>, rows: AxisMotion, columns: AxisMotion) -> Views {
        let side = self.side;
        let mut pictures = Vec::with_capacity(2 * CHANNELS * side * side);
        for channel in 0..CHANNELS {
            for y in 0..side {
                pictures.extend((0..side).map(|x| scaled.at(x as f32, y as f32, channel)));
            }
        }
        for channel in 0..CHANNELS {
            for y in 0..side {
                for x in 0..side {
                    let noise = self.random.uniform(-NOISE_LEVELS, NOISE_LEVELS);
                    let level = scaled.at(columns.source(x), rows.source(y), channel) + noise;
                    pictures.push(level.clamp(0.0, 255.0));
                }
            }
        }
        let flatness = flatness(&pictures[CHANNELS * side * side..], side);
        let inside = |motion: AxisMotion, at: usize| (0.0..=(side - 1) as f32).contains(&motion.source(at));
        let mut weights: Vec<f32> = (0..side * side)
            .map(|at| {
                let is_inside = inside(rows, at / side) && inside(columns, at % side);
                if is_inside { 1.0 + FLAT_EXTRA * flatness[at] } else { 0.0 }
            })
            .collect();
        let sum: f32 = weights.iter().sum();
        // The mean over all pixels is then the mean over those that count.
        let scale = (side * side) as f32 / sum.max(1.0);
        weights.iter_mut().for_each(|weight| *weight *= scale);
        let row_motion = mixture(rows, side);
        let by_rows = mixture(columns, side);
        let column_motion = (0..side * side).map(|at| by_rows[at % side * side + at / side]).collect();
        Views { pictures, row_motion, column_motion, weights }
    }
}

impl std::fmt::Debug for ViewSampler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ViewSampler").field("side", &self.side).finish_non_exhaustive()
    }
}

/// Pixels around a crop that a motion may reach, on both sides together.
fn margin(side: usize) -> usize {
    2 * MOST_SHIFT + 2 * (side as f32 * MOST_ZOOM / 2.0).ceil() as usize
}

/// A photo at the scale of a crop, and where the first view starts in it.
struct Scaled<'a> {
    pixels: &'a [u8],
    size: FrameSize,
    left: usize,
    top: usize,
    is_mirrored: bool,
}

impl Scaled<'_> {
    /// The level at a place of the first view, bilinear between pixels.
    fn at(&self, x: f32, y: f32, channel: usize) -> f32 {
        let (width, height) = (self.size.width, self.size.height);
        let x = (x + self.left as f32).clamp(0.0, (width - 1) as f32);
        let y = (y + self.top as f32).clamp(0.0, (height - 1) as f32);
        let (column, row) = (x as usize, y as usize);
        let (right, below) = (x - column as f32, y - row as f32);
        let level = |column: usize, row: usize| {
            let column = column.min(width - 1);
            let column = if self.is_mirrored { width - 1 - column } else { column };
            f32::from(self.pixels[(row.min(height - 1) * width + column) * CHANNELS + channel])
        };
        let upper = level(column, row) * (1.0 - right) + level(column + 1, row) * right;
        if below == 0.0 {
            return upper;
        }
        let lower = level(column, row + 1) * (1.0 - right) + level(column + 1, row + 1) * right;
        upper * (1.0 - below) + lower * below
    }
}

/// `[side, side]`: each row says of which positions of the first view one of the second is the mean.
fn mixture(motion: AxisMotion, side: usize) -> Vec<f32> {
    let mut matrix = vec![0.0; side * side];
    for (at, row) in matrix.chunks_mut(side).enumerate() {
        let source = motion.source(at).clamp(0.0, (side - 1) as f32);
        let (before, share) = (source as usize, source.fract());
        row[before] += 1.0 - share;
        row[(before + 1).min(side - 1)] += share;
    }
    matrix
}

/// `[side, side]`: 1 where a picture `[3, side, side]` does not change within 9 pixels, falling to 0.
fn flatness(picture: &[f32], side: usize) -> Vec<f32> {
    const RADIUS: usize = 4;
    let count = side * side;
    let gray: Vec<f32> =
        (0..count).map(|at| (picture[at] + picture[count + at] + picture[2 * count + at]) / 3.0).collect();
    // Sums of values and of squares over windows, from sums over everything above and to the left.
    let mut sums = vec![[0.0f64; 2]; (side + 1) * (side + 1)];
    for y in 0..side {
        let mut row = [0.0f64; 2];
        for x in 0..side {
            let value = f64::from(gray[y * side + x]);
            row = [row[0] + value, row[1] + value * value];
            let above = sums[y * (side + 1) + x + 1];
            sums[(y + 1) * (side + 1) + x + 1] = [above[0] + row[0], above[1] + row[1]];
        }
    }
    let mut flat = Vec::with_capacity(count);
    for y in 0..side {
        for x in 0..side {
            let (top, bottom) = (y.saturating_sub(RADIUS), (y + RADIUS + 1).min(side));
            let (left, right) = (x.saturating_sub(RADIUS), (x + RADIUS + 1).min(side));
            let pixels = ((bottom - top) * (right - left)) as f64;
            let sum = |part: usize| {
                let at = |y: usize, x: usize| sums[y * (side + 1) + x][part];
                (at(bottom, right) - at(top, right) - at(bottom, left) + at(top, left)) / pixels
            };
            let variance = (sum(1) - sum(0) * sum(0)).max(0.0) as f32;
            flat.push((-variance / (FLAT_LEVELS * FLAT_LEVELS)).exp());
        }
    }
    flat
}

#[cfg(test)]
mod tests {
    use super::*;

    fn photo() -> Frame {
        let mut photo = Frame::black(FrameSize::new(90, 70));
        for (at, pixel) in photo.pixels_mut().as_chunks_mut::<CHANNELS>().0.iter_mut().enumerate() {
            let (x, y) = (at % 90, at / 90);
            *pixel = [(x * 2) as u8, (y * 3) as u8, 90];
        }
        photo
    }

    /// The first view moved as the matrices say.
    fn moved(views: &Views, side: usize, channel: usize) -> Vec<f32> {
        let first = &views.pictures[channel * side * side..][..side * side];
        let product = |a: &[f32], b: &[f32]| -> Vec<f32> {
            let element = |at: usize| (0..side).map(|i| a[at / side * side + i] * b[i * side + at % side]).sum();
            (0..side * side).map(element).collect()
        };
        product(&product(&views.row_motion, first), &views.column_motion)
    }

    #[test]
    fn the_matrices_move_the_first_view_onto_the_second() {
        let side = 40;
        let mut sampler = ViewSampler::new(side, 3);
        for _ in 0..20 {
            let views = sampler.draw(&[photo()]).unwrap();
            assert_eq!(views.pictures.len(), 2 * CHANNELS * side * side);
            assert!(views.pictures.iter().all(|level| (0.0..=255.0).contains(level)));
            let mean = views.weights.iter().sum::<f32>() / (side * side) as f32;
            assert!((mean - 1.0).abs() < 1e-3, "{mean}");
            for channel in 0..CHANNELS {
                let moved = moved(&views, side, channel);
                let second = &views.pictures[(CHANNELS + channel) * side * side..][..side * side];
                for at in (0..side * side).filter(|at| views.weights[*at] > 0.0) {
                    let difference = (moved[at] - second[at]).abs();
                    assert!(difference <= NOISE_LEVELS + 1.5, "{channel} {at}: {} {}", moved[at], second[at]);
                }
            }
        }
    }

    #[test]
    fn flat_places_are_told_from_busy_ones() {
        let side = 32;
        let picture: Vec<f32> = (0..CHANNELS * side * side)
            .map(|at| if at % side < side / 2 { 100.0 } else { (at * 97 % 200) as f32 })
            .collect();
        let flat = flatness(&picture, side);
        assert!((flat[side * 16 + 4] - 1.0).abs() < 1e-3 && flat[side * 16 + 26] < 0.01);
    }

    #[test]
    fn photos_that_are_missing_are_told() {
        assert!(ViewSampler::new(40, 1).draw(&[]).is_err());
    }
}
