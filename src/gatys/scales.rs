//! The sizes of a painting: the schedule from small to large, and what goes along with a size.

use anyhow::Result;

use super::picture::Picture;
use crate::frame::{CHANNELS, FrameSize};

/// A size, and how long it is painted at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scale {
    /// Width and height in pixels.
    pub size: FrameSize,
    /// Gradients that are computed.
    pub iterations: u64,
}

/// Ratio of one size to the next: √2, twice the pixels.
const SCALE_STEP: f64 = std::f64::consts::SQRT_2;

/// The schedule of sizes with the shape of `content` up to a longer side of `longest`, from a longer side of `smallest` on, and where
/// the shorter side has `least_short` pixels.
pub fn scale_schedule(
    content: FrameSize,
    (smallest, longest): (usize, usize),
    least_short: usize,
    (first, later): (u64, u64),
) -> Vec<Scale> {
    let side = content.width.max(content.height).max(1) as f64;
    let scaled = |length: usize, to: f64| ((length as f64 * to / side).round() as usize).max(1);
    let size = |to: f64| FrameSize::new(scaled(content.width, to), scaled(content.height, to));
    let mut sides = vec![longest as f64];
    let is_usable = |to: &f64| *to >= smallest as f64 - 1.0 && size(*to).short_side() >= least_short;
    while let Some(next) = sides.last().map(|last| last / SCALE_STEP).filter(is_usable) {
        sides.push(next);
    }
    let iterations = |index: usize| if index == 0 { first } else { later };
    sides.iter().rev().enumerate().map(|(index, &to)| Scale { size: size(to), iterations: iterations(index) }).collect()
}

/// The size that a style picture is looked at in: `scale` times the painting's, by area, and never enlarged.
pub fn style_size(style: FrameSize, painting: FrameSize, scale: f32) -> FrameSize {
    let factor = f64::from(scale) * (painting.pixels() as f64 / style.pixels().max(1) as f64).sqrt();
    if factor >= 1.0 {
        return style;
    }
    let scaled = |length: usize| ((length as f64 * factor).round() as usize).max(1);
    FrameSize::new(scaled(style.width), scaled(style.height))
}

/// A mask `[height, width]`, 0–1, at another size.
///
/// # Errors
/// When a size is 0.
pub fn scaled_mask(mask: &[f32], from: FrameSize, to: FrameSize) -> Result<Vec<f32>> {
    let gray = Picture { size: from, planes: mask.repeat(CHANNELS) };
    let mut planes = gray.scaled(to)?.planes;
    planes.truncate(to.pixels());
    planes.iter_mut().for_each(|value| *value = value.clamp(0.0, 1.0));
    Ok(planes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_begins_where_a_flat_picture_is_high_enough() {
        let sizes = |content: FrameSize| -> Vec<String> {
            let scales = scale_schedule(content, (128, 512), 32, (20, 10));
            assert!(scales.iter().enumerate().all(|(i, scale)| scale.iterations == if i == 0 { 20 } else { 10 }));
            scales.iter().map(|scale| scale.size.to_string()).collect()
        };
        assert_eq!(sizes(FrameSize::new(800, 600)), ["128×96", "181×136", "256×192", "362×272", "512×384"]);
        assert_eq!(sizes(FrameSize::new(900, 200)), ["181×40", "256×57", "362×80", "512×114"]);
        assert_eq!(sizes(FrameSize::new(200, 1600)), ["32×256", "45×362", "64×512"]);
        // The size that was asked for stays, and says itself what is wrong with it.
        assert_eq!(sizes(FrameSize::new(2000, 100)), ["512×26"]);
    }
}
