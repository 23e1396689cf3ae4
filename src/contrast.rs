//! How much there is to paint in a picture.
//!
//! The networks normalize what they see over the picture: they paint a nearly black frame as bright as day, and its grain as a
//! storm. So a picture that shows next to nothing is painted the less: a fade ends in what it fades to. The style engine paints
//! so, and motion knows that such a painting changes with the light.

use crate::frame::{CHANNELS, FrameSize};

/// The contrast, in levels of 255, from which a picture is painted as it is asked for (ours: of 807 photos one has less, and half
/// have more than 57).
const FULL: f32 = 16.0;
/// Blocks along the longer side of the picture that are told apart; grain is gone in their means.
const BLOCKS: usize = 80;
/// Rows of a block that are looked at: frames are many, and GPUs quick.
const ROWS: usize = 2;

/// How much of its painting a picture bears, 0–1; `rgb` is `[height, width, 3]` of `size`.
pub fn bearing(size: FrameSize, rgb: &[u8]) -> f32 {
    (contrast(size, rgb) / FULL).min(1.0)
}

/// Standard deviation of the means of blocks, in levels of 255, of the channel that varies most.
fn contrast(size: FrameSize, rgb: &[u8]) -> f32 {
    let block = size.width.max(size.height).div_ceil(BLOCKS).max(1);
    let deviations = deviations(size, rgb, block, ROWS);
    let squares = |channel: usize| deviations.iter().map(|block| block[channel].powi(2)).sum::<f32>();
    let widest = (0..CHANNELS).map(squares).fold(0.0, f32::max);
    (widest / deviations.len().max(1) as f32).sqrt()
}

/// By how much the means of square blocks deviate from the mean of them all, channel by channel. `values` are `[height, width, 3]` of
/// `size`; blocks have a side of `block` (1 or more), of which about `rows` rows are looked at.
pub fn deviations<T>(size: FrameSize, values: &[T], block: usize, rows: usize) -> Vec<[f32; CHANNELS]>
where
    T: Copy + Into<f32>,
{
    let mut means = Vec::new();
    let row_length = (size.width * CHANNELS).max(1);
    for band in values.chunks(row_length * block) {
        let first = means.len();
        means.resize(first + size.width.div_ceil(block), [0.0; CHANNELS]);
        let mut height = 0;
        for row in band.chunks_exact(row_length).step_by(block.div_ceil(rows)) {
            height += 1;
            for (sum, pixels) in means[first..].iter_mut().zip(row.chunks(block * CHANNELS)) {
                for [red, green, blue] in pixels.as_chunks::<CHANNELS>().0 {
                    *sum = [sum[0] + (*red).into(), sum[1] + (*green).into(), sum[2] + (*blue).into()];
                }
            }
        }
        for (index, sum) in means[first..].iter_mut().enumerate() {
            let pixels = block.min(size.width - index * block) * height;
            sum.iter_mut().for_each(|sum| *sum /= pixels as f32);
        }
    }
    let all: [f32; CHANNELS] =
        std::array::from_fn(|channel| means.iter().map(|mean| mean[channel]).sum::<f32>() / means.len().max(1) as f32);
    means.iter().map(|mean| std::array::from_fn(|channel| mean[channel] - all[channel])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `measure` says of a gray picture of `width` × `height`.
    fn of(
        measure: fn(FrameSize, &[u8]) -> f32,
        width: usize,
        height: usize,
        level: impl Fn(usize, usize) -> u8,
    ) -> f32 {
        let levels = (0..width * height).flat_map(|index| [level(index % width, index / width); CHANNELS]);
        measure(FrameSize::new(width, height), &levels.collect::<Vec<u8>>())
    }

    #[test]
    fn the_contrast_of_two_halves_is_half_their_difference() {
        for (width, height) in [(64, 40), (333, 257), (1001, 2), (1, 500)] {
            let is_first = |x, y| if width > 1 { x * 2 < width } else { y * 2 < height };
            let halves = |x, y| if is_first(x, y) { 40 } else { 60 };
            let found = of(contrast, width, height, halves);
            assert!((9.0..=10.5).contains(&found), "{found} of {width}×{height}");
        }
        assert_eq!(of(contrast, 1, 1, |_, _| 200), 0.0);
        assert_eq!(of(contrast, 0, 0, |_, _| 0), 0.0);
    }

    #[test]
    fn what_has_contrast_bears_all_and_the_end_of_a_fade_nothing() {
        let faded = |light: f32| of(bearing, 320, 180, |x, _| (x as f32 * 0.7 * light) as u8);
        assert_eq!((faded(1.0), faded(0.0)), (1.0, 0.0));
        assert!(faded(0.1) < 0.7 && faded(0.05) < faded(0.1), "{} {}", faded(0.1), faded(0.05));
    }

    #[test]
    fn grain_is_nothing_to_paint() {
        let grain = of(bearing, 1280, 720, |x, y| (20 + (x * 7919 + y * 104_729) % 16) as u8);
        assert!(grain < 0.2, "{grain}");
    }
}
