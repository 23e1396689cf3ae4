//! How much there is to paint in a picture.
//!
//! The networks normalize what they see over the picture: they paint a nearly black frame as bright as day, and its grain as a
//! storm. So a picture that shows next to nothing is painted the less: a fade ends in what it fades to. The style engine paints
//! so, and motion knows that such a painting changes with the light.

use crate::frame::{CHANNELS, FrameSize};

/// The contrast, in levels of 255, from which a picture is painted as it is asked for (ours: of 807 photos one has less, and half
/// have more than 59).
const FULL: f32 = 16.0;
/// Blocks along the longer side of the picture that are told apart; grain is gone in their means.
const BLOCKS: usize = 160;

/// How much of its painting a picture bears, 0–1; `rgb` is `[height, width, 3]` of `size`.
pub fn bearing(size: FrameSize, rgb: &[u8]) -> f32 {
    (contrast(size, rgb) / FULL).min(1.0)
}

/// Standard deviation of the means of blocks, in levels of 255, of the channel that varies most.
fn contrast(size: FrameSize, rgb: &[u8]) -> f32 {
    let block = size.width.max(size.height).div_ceil(BLOCKS).max(1);
    let mut moments = [Moments::default(); CHANNELS];
    let mut sums = vec![[0_u32; CHANNELS]; size.width.div_ceil(block)];
    let row_length = size.width * CHANNELS;
    if row_length == 0 {
        return 0.0;
    }
    for rows in rgb.chunks(row_length * block) {
        sums.fill([0; CHANNELS]);
        for row in rows.chunks_exact(row_length) {
            for (sum, pixels) in sums.iter_mut().zip(row.chunks(block * CHANNELS)) {
                for [red, green, blue] in pixels.as_chunks::<CHANNELS>().0 {
                    let [of_red, of_green, of_blue] = *sum;
                    *sum = [of_red + u32::from(*red), of_green + u32::from(*green), of_blue + u32::from(*blue)];
                }
            }
        }
        for (index, of_block) in sums.iter().enumerate() {
            let pixels = block.min(size.width - index * block) * (rows.len() / row_length);
            moments.iter_mut().zip(of_block).for_each(|(moments, sum)| moments.add(f64::from(*sum), pixels as f64));
        }
    }
    moments.iter().map(Moments::variance).fold(0.0, f64::max).sqrt() as f32
}

/// Of one channel.
#[derive(Debug, Clone, Copy, Default)]
struct Moments {
    count: f64,
    sum: f64,
    squares: f64,
}

impl Moments {
    /// Adds a block of so many pixels by the sum of its levels.
    fn add(&mut self, sum: f64, pixels: f64) {
        self.count += pixels;
        self.sum += sum;
        self.squares += sum * sum / pixels;
    }

    fn variance(&self) -> f64 {
        match self.count > 0.0 {
            true => (self.squares / self.count - (self.sum / self.count).powi(2)).max(0.0),
            false => 0.0,
        }
    }
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
