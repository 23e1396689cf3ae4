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

/// The schedule of sizes with the shape of `content` up to a longer side of `longest`, from a longer side of `smallest` on.
pub fn scale_schedule(content: FrameSize, longest: usize, smallest: usize, first: u64, later: u64) -> Vec<Scale> {
    let side = content.width.max(content.height).max(1) as f64;
    let mut sides = vec![longest as f64];
    while let Some(next) = sides.last().map(|last| last / SCALE_STEP).filter(|next| *next >= smallest as f64 - 1.0) {
        sides.push(next);
    }
    let scaled = |length: usize, to: f64| ((length as f64 * to / side).round() as usize).max(1);
    sides
        .iter()
        .rev()
        .enumerate()
        .map(|(index, &to)| Scale {
            size: FrameSize::new(scaled(content.width, to), scaled(content.height, to)),
            iterations: if index == 0 { first } else { later },
        })
        .collect()
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
