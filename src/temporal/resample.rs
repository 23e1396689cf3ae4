//! Values between pixels: the past moved by cubic convolution, and cells of a coarse grid stretched over pixels.

use super::Pixel;
use crate::frame::FrameSize;

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

    /// The value between those of the two cells.
    #[inline]
    pub fn mix<const N: usize>(&self, first: [f32; N], second: [f32; N]) -> [f32; N] {
        std::array::from_fn(|i| first[i] + self.share * (second[i] - first[i]))
    }
}

/// The picture at a place between pixels by cubic convolution (Catmull-Rom; Keys 1981), which keeps detail that repeated
/// bilinear resampling would blur away. The border is continued outside.
#[inline]
pub fn sample(picture: &[Pixel], size: FrameSize, x: f32, y: f32) -> Pixel {
    let (x, y) = (x.max(0.0).min((size.width - 1) as f32), y.max(0.0).min((size.height - 1) as f32));
    let (left, top) = (x as usize, y as usize);
    let (horizontal, vertical) = (cubic(x - left as f32), cubic(y - top as f32));
    let mut columns = [Pixel::default(); 4];
    if left >= 1 && left + 2 < size.width && top >= 1 && top + 2 < size.height {
        for (i, weight) in vertical.into_iter().enumerate() {
            let row = &picture[(top + i - 1) * size.width + left - 1..][..4];
            for (column, pixel) in columns.iter_mut().zip(row) {
                add_scaled(column, weight, pixel);
            }
        }
    } else {
        let near = |place: usize, i: usize, end: usize| (place + i).saturating_sub(1).min(end - 1);
        for (i, weight) in vertical.into_iter().enumerate() {
            let row = near(top, i, size.height) * size.width;
            for (j, column) in columns.iter_mut().enumerate() {
                add_scaled(column, weight, &picture[row + near(left, j, size.width)]);
            }
        }
    }
    let mut sum = Pixel::default();
    for (column, weight) in columns.iter().zip(horizontal) {
        add_scaled(&mut sum, weight, column);
    }
    sum
}

#[inline]
fn add_scaled(sum: &mut Pixel, weight: f32, pixel: &Pixel) {
    for (sum, value) in sum.iter_mut().zip(pixel) {
        *sum += weight * value;
    }
}

/// Weights of the four samples around a place that lies `t` (0–1) after the second.
#[inline]
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

    #[test]
    fn a_ramp_stays_a_ramp_between_pixels_and_the_border_is_continued() {
        let size = FrameSize::new(9, 7);
        let picture: Vec<Pixel> = (0..size.pixels())
            .map(|index| [(index % size.width) as f32, (index / size.width) as f32, 5.0, 1.0])
            .collect();
        for (x, y) in [(3.25, 2.5), (4.0, 3.0), (5.9, 4.1)] {
            let [red, green, blue, _] = sample(&picture, size, x, y);
            assert!((red - x).abs() < 1e-4 && (green - y).abs() < 1e-4 && (blue - 5.0).abs() < 1e-4, "{x} {y}");
        }
        let corner = sample(&picture, size, 99.0, -99.0);
        assert!((corner[0] - 8.0).abs() < 1e-4 && corner[1].abs() < 1e-4, "{corner:?}");
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
