//! Values joined over the 3×3 cells around each: what a cell of the motion's grid and its neighbors have in common.

use multiversion::multiversion;

use crate::frame::{CHANNELS, FrameSize};

/// What is joined over 3×3 neighborhoods, with the buffers that it takes.
#[derive(Default)]
pub struct Boxes {
    difference: Vec<f32>,
    horizontal: Vec<f32>,
    sums: Vec<f32>,
}

/// Joins three rows of equal length, value by value.
pub type Join = fn(&mut [f32], [&[f32]; 3]);

/// Their sum.
#[multiversion(targets("x86_64+avx2"))]
pub fn sum(dst: &mut [f32], [first, second, third]: [&[f32]; 3]) {
    for (((dst, first), second), third) in dst.iter_mut().zip(first).zip(second).zip(third) {
        *dst = first + second + third;
    }
}

/// The least of them.
#[multiversion(targets("x86_64+avx2"))]
pub fn least(dst: &mut [f32], [first, second, third]: [&[f32]; 3]) {
    for (((dst, first), second), third) in dst.iter_mut().zip(first).zip(second).zip(third) {
        *dst = first.min(*second).min(*third);
    }
}

impl Boxes {
    /// Mean squared difference over the channels and a 3×3 box, in levels², `[height, width]`. Noise averages out in the
    /// box: the difference is taken after it.
    pub fn deviation(&mut self, rgb: &[u8], other: &[f32], size: FrameSize, squared: &mut Vec<f32>) {
        let mut difference = std::mem::take(&mut self.difference);
        difference.resize(rgb.len(), 0.0);
        subtract(rgb, other, &mut difference);
        let mut sums = std::mem::take(&mut self.sums);
        self.join(&difference, size, CHANNELS, sum, &mut sums);
        squared.resize(size.pixels(), 0.0);
        mean_square(&sums, squared);
        (self.difference, self.sums) = (difference, sums);
    }

    /// Joins the values of each 3×3 neighborhood, `step` values a pixel; the border is continued outside.
    pub fn join(&mut self, map: &[f32], size: FrameSize, step: usize, join: Join, joined: &mut Vec<f32>) {
        let length = size.width * step;
        joined.resize(map.len(), 0.0);
        self.horizontal.resize(map.len(), 0.0);
        if map.is_empty() {
            return;
        }
        let last = length - step;
        for (src, dst) in map.chunks_exact(length).zip(self.horizontal.chunks_exact_mut(length)) {
            if size.width == 1 {
                join(dst, [src; 3]);
                continue;
            }
            join(&mut dst[..step], [&src[..step], &src[..step], &src[step..2 * step]]);
            join(&mut dst[step..last], [&src[..last - step], &src[step..last], &src[2 * step..]]);
            join(&mut dst[last..], [&src[last - step..last], &src[last..], &src[last..]]);
        }
        for (y, dst) in joined.chunks_exact_mut(length).enumerate() {
            let line = |y: usize| &self.horizontal[y * length..][..length];
            join(dst, [line(y.saturating_sub(1)), line(y), line((y + 1).min(size.height - 1))]);
        }
    }
}

#[multiversion(targets("x86_64+avx2"))]
fn subtract(rgb: &[u8], other: &[f32], difference: &mut [f32]) {
    for ((difference, level), other) in difference.iter_mut().zip(rgb).zip(other) {
        *difference = f32::from(*level) - other;
    }
}

/// From sums over nine cells to the mean square over the channels.
#[multiversion(targets("x86_64+avx2"))]
fn mean_square(sums: &[f32], squared: &mut [f32]) {
    for (squared, [red, green, blue]) in squared.iter_mut().zip(sums.as_chunks::<CHANNELS>().0) {
        *squared = (red * red + green * green + blue * blue) * (1.0 / (81.0 * CHANNELS as f32));
    }
}

/// The value that `share` of all values, 0–1, lie under; 0 of nothing. One value in eight tells as much as all of them.
pub fn quantile(values: &[f32], share: f32) -> f32 {
    let mut sorted: Vec<f32> = values.iter().step_by(8).copied().collect();
    let place = (sorted.len() as f32 * share) as usize;
    if place < sorted.len() { *sorted.select_nth_unstable_by(place, f32::total_cmp).1 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_reaches_its_neighbors_and_the_border_is_continued() {
        let size = FrameSize::new(4, 3);
        let mut map = vec![0.0; 12];
        map[0] = 1.0;
        let (mut boxes, mut joined) = (Boxes::default(), Vec::new());
        boxes.join(&map, size, 1, sum, &mut joined);
        // The corner counts for the cells outside as well: twice along each side.
        assert_eq!(joined, [4.0, 2.0, 0.0, 0.0, 2.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        map[0] = -1.0;
        boxes.join(&map, size, 1, least, &mut joined);
        assert_eq!(joined, [-1.0, -1.0, 0.0, 0.0, -1.0, -1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn a_column_and_nothing_at_all_are_joined() {
        let (mut boxes, mut joined) = (Boxes::default(), Vec::new());
        boxes.join(&[1.0, 2.0, 3.0], FrameSize::new(1, 3), 1, sum, &mut joined);
        assert_eq!(joined, [12.0, 18.0, 24.0]);
        boxes.join(&[], FrameSize::new(0, 0), 1, sum, &mut joined);
        assert!(joined.is_empty());
    }

    #[test]
    fn grain_deviates_less_than_a_change_of_the_same_size() {
        let size = FrameSize::new(8, 8);
        let levels = vec![100; size.bytes()];
        let (mut boxes, mut squared) = (Boxes::default(), Vec::new());
        boxes.deviation(&levels, &vec![94.0; size.bytes()], size, &mut squared);
        assert!(squared.iter().all(|squared| (squared - 36.0).abs() < 1e-3), "{squared:?}");
        let grain: Vec<f32> = (0..size.bytes()).map(|index| if index / 3 % 2 == 0 { 94.0 } else { 106.0 }).collect();
        boxes.deviation(&levels, &grain, size, &mut squared);
        assert!(squared[9] < 5.0, "{}", squared[9]);
    }

    #[test]
    fn a_quantile_has_its_share_below() {
        let values: Vec<f32> = (0..800).map(|value| value as f32).collect();
        assert_eq!((quantile(&values, 0.5), quantile(&values, 0.1), quantile(&[], 0.5)), (400.0, 80.0, 0.0));
    }
}
