//! The measures themselves, on pictures and masks that are given.

use crate::frame::{CHANNELS, FrameSize};
use crate::motion::flow::{FlowField, GrayPicture};

/// Below this motion, in pixels a frame, the input counts as at rest. Ours: about what the flow of a still scene jitters.
pub const STATIC_MOTION: f32 = 0.1;
/// Up to this difference of each channel, in levels of 0–255, the input counts as at rest. Ours: what an encoder at
/// ordinary quality leaves of a still scene.
pub const STATIC_DIFFERENCE: u8 = 4;

/// Warping error of a pair (Lai et al. 2018, "Learning Blind Video Temporal Consistency", section 4.2):
/// Σ M·(W(next) − frame)² / Σ M with RGB in 0–1, the mean over the channels as in the code published with it.
///
/// `frame` is `[height, width, 3]`, 0–255; `warped_next` is the next frame moved onto it, `[height, width, 3]`, 0–255;
/// `mask` is `[height, width]`, 0 or 1. `None` where the mask is empty.
pub fn warping_error(frame: &[u8], warped_next: &[f32], mask: &[f32]) -> Option<f64> {
    let (mut sum, mut weight) = (0.0, 0.0);
    let pixels = frame.as_chunks::<CHANNELS>().0.iter().zip(warped_next.as_chunks::<CHANNELS>().0);
    for ((pixel, warped), mask) in pixels.zip(mask) {
        if *mask > 0.0 {
            let squares: f32 = pixel.iter().zip(warped).map(|(now, next)| (next - f32::from(*now)).powi(2)).sum();
            sum += f64::from(mask * squares);
            weight += f64::from(*mask);
        }
    }
    (weight > 0.0).then(|| sum / (weight * CHANNELS as f64 * 255.0 * 255.0))
}

/// Where the input is at rest: `(x, y)` moves by less than [`STATIC_MOTION`], no channel changes by more than
/// [`STATIC_DIFFERENCE`], and the flow holds. `[height, width]`.
pub fn at_rest(frame: &[u8], next: &[u8], flow: &FlowField, mask: &[f32], rest: &mut Vec<bool>) {
    rest.clear();
    let pixels = frame.as_chunks::<CHANNELS>().0.iter().zip(next.as_chunks::<CHANNELS>().0);
    rest.extend(pixels.zip(&flow.vectors).zip(mask).map(|(((now, next), [u, v]), mask)| {
        *mask > 0.0
            && u * u + v * v < STATIC_MOTION * STATIC_MOTION
            && now.iter().zip(next).all(|(now, next)| now.abs_diff(*next) <= STATIC_DIFFERENCE)
    }));
}

/// Sum over the chosen pixels and the channels of the squared differences of two pictures, in levels of 0–255.
///
/// Half its mean is the two-sample (Allan) variance: for values that are independent from frame to frame the same as the
/// variance over time, but blind to slow change and without memory of more than two frames.
pub fn squared_change(frame: &[u8], next: &[u8], chosen: &[bool]) -> u64 {
    let pixels = frame.as_chunks::<CHANNELS>().0.iter().zip(next.as_chunks::<CHANNELS>().0);
    pixels
        .zip(chosen)
        .filter(|(_, chosen)| **chosen)
        .flat_map(|((now, next), _)| now.iter().zip(next))
        .map(|(now, next)| u64::from(now.abs_diff(*next)).pow(2))
        .sum()
}

/// The standard deviation over time that [`squared_change`] over so many pixels stands for, in levels of 0–255; `None`
/// for no pixels.
pub fn deviation_levels(squared_change: u64, pixels: u64) -> Option<f64> {
    (pixels > 0).then(|| (squared_change as f64 / (2.0 * (pixels * CHANNELS as u64) as f64)).sqrt())
}

/// The pixels of the next frame that nothing of this one moves to: newly visible, seen from `flow` and `mask` of this
/// frame, `[height, width]` each. A pixel covers the four around the place that it moves to. What remains and is nowhere
/// three pixels wide is left out: holes between the pixels of a surface that comes nearer, and slivers that no one sees.
pub fn newly_visible(flow: &FlowField, mask: &[f32], visible: &mut Vec<bool>) {
    let FrameSize { width, height } = flow.size;
    visible.clear();
    visible.resize(flow.size.pixels(), true);
    for (index, (vector, mask)) in flow.vectors.iter().zip(mask).enumerate() {
        if *mask == 0.0 {
            continue;
        }
        let (x, y) = ((index % width) as f32 + vector[0], (index / width) as f32 + vector[1]);
        for y in [y.floor(), y.ceil()] {
            for x in [x.floor(), x.ceil()] {
                if x >= 0.0 && y >= 0.0 && x < width as f32 && y < height as f32 {
                    visible[y as usize * width + x as usize] = false;
                }
            }
        }
    }
    // An opening: what a square of 3×3 pixels fits into.
    let eroded = joined(visible, flow.size, |neighbors| neighbors.iter().all(|row| row.iter().all(|visible| *visible)));
    *visible = joined(&eroded, flow.size, |neighbors| neighbors.iter().any(|row| row.contains(&true)));
}

/// What `join` makes of the 3×3 neighborhood of each pixel, which ends at the border.
fn joined(map: &[bool], size: FrameSize, join: impl Fn([&[bool]; 3]) -> bool) -> Vec<bool> {
    let FrameSize { width, height } = size;
    let part = |x: usize, y: usize| &map[y * width + x.saturating_sub(1)..y * width + (x + 2).min(width)];
    let pixels = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    pixels.map(|(x, y)| join([part(x, y.saturating_sub(1)), part(x, y), part(x, (y + 1).min(height - 1))])).collect()
}

/// Sum over the chosen pixels and the channels of the differences of two pictures, in levels of 0–255.
pub fn absolute_difference(first: &[u8], second: &[u8], chosen: &[bool]) -> u64 {
    let pixels = first.as_chunks::<CHANNELS>().0.iter().zip(second.as_chunks::<CHANNELS>().0);
    pixels
        .zip(chosen)
        .filter(|(_, chosen)| **chosen)
        .flat_map(|((first, second), _)| first.iter().zip(second))
        .map(|(first, second)| u64::from(first.abs_diff(*second)))
        .sum()
}

/// Mean over pixels and channels of `first` minus `second`, in levels of 0–255; 0 for empty pictures.
pub fn mean_difference(first: &[u8], second: &[u8]) -> f64 {
    let difference: i64 = first.iter().zip(second).map(|(first, second)| i64::from(*first) - i64::from(*second)).sum();
    difference as f64 / first.len().max(1) as f64
}

/// Variance of the Laplacian (Pech-Pacheco et al. 2000, "Diatom autofocusing in brightfield microscopy") of lightness:
/// four neighbors minus four times the middle, all pixels but the border's. 0 for pictures under 3×3.
pub fn sharpness(picture: &GrayPicture) -> f64 {
    let FrameSize { width, height } = picture.size;
    if width < 3 || height < 3 {
        return 0.0;
    }
    let (mut sum, mut squares) = (0_i64, 0_i64);
    let row = |y: usize| &picture.pixels[y * width..(y + 1) * width];
    for y in 1..height - 1 {
        let (above, here, below) = (row(y - 1), row(y), row(y + 1));
        for x in 1..width - 1 {
            let around = [above[x], below[x], here[x - 1], here[x + 1]].map(i32::from).iter().sum::<i32>();
            let laplacian = i64::from(around - 4 * i32::from(here[x]));
            sum += laplacian;
            squares += laplacian * laplacian;
        }
    }
    let count = ((width - 2) * (height - 2)) as f64;
    squares as f64 / count - (sum as f64 / count).powi(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_warping_error_is_the_mean_square_over_masked_pixels_and_channels() {
        let frame = [0, 0, 0, 255, 255, 255];
        let warped = [51.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        let error = warping_error(&frame, &warped, &[1.0, 0.0]).unwrap();
        assert!((error - 0.04 / 3.0).abs() < 1e-9, "{error}");
        assert_eq!(warping_error(&frame, &warped, &[0.0, 0.0]), None);
    }

    #[test]
    fn rest_needs_little_motion_little_change_and_a_flow_that_holds() {
        let size = FrameSize::new(4, 1);
        let flow = FlowField { size, vectors: vec![[0.09, 0.0], [0.08, 0.08], [0.0, 0.0], [0.0, 0.0]] };
        let (frame, mut next) = ([100; 12], [104; 12]);
        next[7] = 105;
        let mut rest = Vec::new();
        at_rest(&frame, &next, &flow, &[1.0, 1.0, 1.0, 0.0], &mut rest);
        assert_eq!(rest, [true, false, false, false]);
    }

    #[test]
    fn values_that_alternate_by_two_levels_deviate_by_the_square_root_of_two() {
        let change = squared_change(&[10; 6], &[12; 6], &[true, false]);
        assert_eq!(change, 12);
        assert_eq!(deviation_levels(change, 1), Some(2.0_f64.sqrt()));
        assert_eq!(deviation_levels(0, 0), None);
    }

    #[test]
    fn what_nothing_moves_to_is_newly_visible() {
        let size = FrameSize::new(12, 8);
        let mut flow = FlowField::zero(size);
        let mut mask = vec![1.0; size.pixels()];
        // The four columns from 2 on move out of sight; of what they leave nothing is hidden.
        for index in (0..size.pixels()).filter(|index| (2..6).contains(&(index % size.width))) {
            flow.vectors[index] = [0.0, -99.0];
        }
        let mut visible = Vec::new();
        newly_visible(&flow, &mask, &mut visible);
        let columns = |visible: &[bool]| -> Vec<usize> {
            (0..size.width).filter(|x| visible.iter().skip(*x).step_by(size.width).all(|visible| *visible)).collect()
        };
        assert_eq!(columns(&visible), [2, 3, 4, 5]);
        assert_eq!(visible.iter().filter(|visible| **visible).count(), 4 * size.height);

        // What is masked moves nowhere: it covers nothing. Two columns are a sliver.
        mask.iter_mut().enumerate().filter(|(index, _)| index % size.width == 6).for_each(|(_, mask)| *mask = 0.0);
        newly_visible(&flow, &mask, &mut visible);
        assert_eq!(columns(&visible), [2, 3, 4, 5, 6]);
        mask.fill(1.0);
        mask.iter_mut().enumerate().filter(|(index, _)| index % size.width > 9).for_each(|(_, mask)| *mask = 0.0);
        newly_visible(&FlowField::zero(size), &mask, &mut visible);
        assert_eq!(columns(&visible), [10, 11], "beyond the border anything may be");
        mask.fill(1.0);
        mask[5 * size.width + 4] = 0.0;
        newly_visible(&FlowField::zero(size), &mask, &mut visible);
        assert!(visible.iter().all(|visible| !visible), "a hole is no ground");
    }

    #[test]
    fn differences_are_counted_over_channels_and_chosen_pixels() {
        assert_eq!(absolute_difference(&[1, 2, 3, 9, 9, 9], &[2, 2, 0, 0, 0, 0], &[true, false]), 4);
        assert_eq!(mean_difference(&[1, 2, 3], &[2, 2, 0]), 2.0 / 3.0);
        assert_eq!(mean_difference(&[], &[]), 0.0);
    }

    #[test]
    fn a_checkerboard_is_sharp_and_a_ramp_is_not() {
        let size = FrameSize::new(10, 10);
        let picture = |value: fn(usize) -> u8| GrayPicture { size, pixels: (0..100).map(value).collect() };
        assert_eq!(sharpness(&picture(|index| (index % 10 * 20) as u8)), 0.0);
        // ±4·100 by turns, as many of each.
        assert_eq!(sharpness(&picture(|index| if (index / 10 + index) % 2 == 0 { 0 } else { 100 })), 160_000.0);
        assert_eq!(sharpness(&GrayPicture::black(FrameSize::new(2, 9))), 0.0);
    }
}
