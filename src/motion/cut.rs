//! Whether a picture has anything in common with the one before, however little contrast both have.
//!
//! Confidence counts in levels: two dark scenes, or two in fog, deviate by so few that each seems to explain the other.

use crate::contrast::deviations;
use crate::frame::{CHANNELS, FrameSize};

/// When a picture is a new scene. Pictures are compared by the means of square blocks, in which grain is gone, and by what
/// they correlate: light may change within a scene.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CutRule {
    /// Side of a block, in cells of the grid (ours).
    pub block: usize,
    /// Deviation of the blocks from their mean, in levels of 255, under which a picture is flat and has no scene that could
    /// be another (ours).
    pub least_contrast: f32,
    /// The correlation with the past, −1–1, under which a picture has nothing to do with it (ours: of 70 clips and photos, two correlate
    /// by 0.03 in the median, and by 0.5 in one of a hundred; frames of a clip, not even moved, by 0.78 at least).
    pub least_correlation: f32,
}

impl Default for CutRule {
    fn default() -> Self {
        Self { block: 8, least_contrast: 1.5, least_correlation: 0.6 }
    }
}

impl CutRule {
    /// Whether `rgb` is of another scene than the past of its content, `moved` to where that would be seen now, both
    /// `[height, width, 3]` of `size`.
    pub fn is_cut(&self, rgb: &[u8], moved: &[f32], size: FrameSize) -> bool {
        let now = deviations(size, rgb, self.block, self.block);
        let past = deviations(size, moved, self.block, self.block);
        let least = self.least_contrast.powi(2);
        let (of_now, of_past) = (mean_product(&now, &now), mean_product(&past, &past));
        of_now.min(of_past) >= least && mean_product(&now, &past) < self.least_correlation * (of_now * of_past).sqrt()
    }
}

fn mean_product(some: &[[f32; CHANNELS]], others: &[[f32; CHANNELS]]) -> f32 {
    let products = some.as_flattened().iter().zip(others.as_flattened()).map(|(one, other)| one * other);
    products.sum::<f32>() / some.as_flattened().len().max(1) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: FrameSize = FrameSize::new(96, 64);

    /// A scene of its own for each `seed`, around 20 levels, with grain that differs from `grain` to `grain`.
    fn scene(seed: f32, contrast: f32, grain: u32) -> Vec<u8> {
        let mut state = grain.wrapping_mul(747_796_405).wrapping_add(1);
        let pixel = |index: usize| {
            let (x, y) = ((index % SIZE.width) as f32, (index / SIZE.width) as f32);
            20.0 + contrast * ((x * 0.05 + seed).sin() + (y * 0.09 * seed).cos())
        };
        let values = (0..SIZE.pixels()).flat_map(|index| [pixel(index); CHANNELS]);
        values
            .map(|value| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (value + (state >> 30) as f32) as u8
            })
            .collect()
    }

    fn is_cut(now: &[u8], past: &[u8]) -> bool {
        let past: Vec<f32> = past.iter().map(|level| f32::from(*level)).collect();
        CutRule::default().is_cut(now, &past, SIZE)
    }

    #[test]
    fn a_dark_scene_is_told_from_another_and_not_from_itself_in_other_light() {
        assert!(is_cut(&scene(4.0, 6.0, 1), &scene(1.0, 6.0, 2)));
        assert!(!is_cut(&scene(1.0, 6.0, 1), &scene(1.0, 6.0, 2)));
        assert!(!is_cut(&scene(1.0, 3.0, 1), &scene(1.0, 9.0, 2)), "a fade");
    }

    #[test]
    fn what_is_flat_but_for_grain_has_no_scene() {
        assert!(!is_cut(&scene(4.0, 0.0, 1), &scene(1.0, 0.0, 2)));
        assert!(!is_cut(&scene(4.0, 6.0, 1), &scene(1.0, 0.0, 2)), "one of both is enough");
    }
}
