//! Whether a scene cut lies between two content frames: across it there is no motion to measure.

use crate::frame::CHANNELS;
use crate::motion::flow::FlowField;

/// What tells a cut from motion.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CutSigns {
    /// Total variation distance of the colour histograms, mean of the channels, 0–1.
    pub histogram_distance: f64,
    /// Share of the pixels whose flow holds, 0–1.
    pub reliable_share: f64,
    /// residual
    pub residual: f64,
    /// plain
    pub plain: f64,
}

impl CutSigns {
    /// Reads the signs off two frames, `[height, width, 3]`, 0–255.
    pub fn of(frame: &[u8], next: &[u8], warped_next: &[f32], flow: &FlowField, mask: &[f32]) -> Self {
        let pixels = flow.size.pixels().max(1) as f64;
        let (before, after) = (histogram(frame), histogram(next));
        let distance: u64 = before.iter().zip(&after).map(|(before, after)| before.abs_diff(*after)).sum();
        let residual: f64 = frame.iter().zip(warped_next).map(|(a, b)| f64::from((f32::from(*a) - b).abs())).sum();
        let plain: f64 = frame.iter().zip(next).map(|(a, b)| f64::from(a.abs_diff(*b))).sum();
        Self {
            histogram_distance: distance as f64 / (2.0 * CHANNELS as f64 * pixels),
            reliable_share: mask.iter().map(|mask| f64::from(*mask)).sum::<f64>() / pixels,
            residual: residual / pixels / 3.0,
            plain: plain / pixels / 3.0,
        }
    }

    /// Whether they stand for a cut.
    pub fn is_cut(self) -> bool {
        self.reliable_share < 0.3 && self.histogram_distance > 0.3
    }
}

/// Levels of 8 in each channel.
const BINS: usize = 32;

fn histogram(pixels: &[u8]) -> [u64; BINS * CHANNELS] {
    let mut counts = [0; BINS * CHANNELS];
    for pixel in pixels.as_chunks::<CHANNELS>().0 {
        for (channel, level) in pixel.iter().enumerate() {
            counts[channel * BINS + usize::from(level / 8)] += 1;
        }
    }
    counts
}
