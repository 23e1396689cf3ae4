//! Whether a scene cut lies between two content frames: across it there is no motion to measure.

use crate::frame::CHANNELS;
use crate::motion::flow::FlowField;

/// What tells a cut from motion and from noise.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CutSigns {
    /// Share of the pixels whose flow holds, 0–1.
    pub reliable_share: f64,
    /// What motion leaves unexplained: the mean difference, in levels of 0–255, between blocks of [`BLOCK`]² pixels of
    /// the frame and of the next one moved onto it. Grain and fine detail are gone from the blocks.
    pub unexplained_levels: f64,
}

/// Side of a block in pixels.
const BLOCK: usize = 16;
/// Below this share of pixels with a flow that holds, a pair may be a cut. Ours, as the next.
const MAX_RELIABLE_SHARE: f64 = 0.4;
/// From this on it is one: strong grain leaves 5, fast motion 8, a jump within a shot 12 and more, a cut to another shot
/// 45 to 100.
const MIN_UNEXPLAINED_LEVELS: f64 = 10.0;

impl CutSigns {
    /// Reads the signs off a frame and the next one moved onto it, `[height, width, 3]`, 0–255, and the mask of the
    /// flow, `[height, width]`, 0 or 1.
    pub fn of(frame: &[u8], warped_next: &[f32], flow: &FlowField, mask: &[f32]) -> Self {
        let width = flow.size.width.max(1);
        let blocks_across = width.div_ceil(BLOCK);
        let mut blocks = vec![[0.0_f32; CHANNELS + 1]; blocks_across * flow.size.height.div_ceil(BLOCK)];
        let pixels = frame.as_chunks::<CHANNELS>().0.iter().zip(warped_next.as_chunks::<CHANNELS>().0);
        for (index, (now, next)) in pixels.enumerate() {
            let block = &mut blocks[index / width / BLOCK * blocks_across + index % width / BLOCK];
            for channel in 0..CHANNELS {
                block[channel] += f32::from(now[channel]) - next[channel];
            }
            block[CHANNELS] += 1.0;
        }
        let differences = blocks
            .iter()
            .flat_map(|block| block[..CHANNELS].iter().map(|sum| f64::from((sum / block[CHANNELS].max(1.0)).abs())));
        Self {
            reliable_share: mask.iter().map(|mask| f64::from(*mask)).sum::<f64>() / mask.len().max(1) as f64,
            unexplained_levels: differences.sum::<f64>() / (blocks.len() * CHANNELS).max(1) as f64,
        }
    }

    /// Whether they stand for a cut: the flow is lost almost everywhere, and what it gives is another picture.
    pub fn is_cut(self) -> bool {
        self.reliable_share < MAX_RELIABLE_SHARE && self.unexplained_levels >= MIN_UNEXPLAINED_LEVELS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::FrameSize;

    #[test]
    fn a_cut_is_another_picture_under_a_lost_flow() {
        let size = FrameSize::new(40, 24);
        let flow = FlowField::zero(size);
        let signs = |level: f32, reliable: f32| {
            CutSigns::of(&vec![100; size.bytes()], &vec![level; size.bytes()], &flow, &vec![reliable; size.pixels()])
        };
        assert_eq!(signs(130.0, 0.0), CutSigns { reliable_share: 0.0, unexplained_levels: 30.0 });
        assert!(signs(130.0, 0.0).is_cut());
        assert!(!signs(130.0, 1.0).is_cut(), "a flash of light is none");
        assert!(!signs(104.0, 0.0).is_cut());
    }

    #[test]
    fn grain_is_no_cut() {
        let size = FrameSize::new(64, 64);
        let frame: Vec<u8> = (0..size.bytes()).map(|index| if index / 3 % 2 == 0 { 80 } else { 120 }).collect();
        let next: Vec<f32> = frame.iter().map(|level| 200.0 - f32::from(*level)).collect();
        let signs = CutSigns::of(&frame, &next, &FlowField::zero(size), &vec![0.0; size.pixels()]);
        assert!(signs.unexplained_levels < 1e-3 && !signs.is_cut(), "{signs:?}");
    }
}
