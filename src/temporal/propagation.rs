//! Which frames are painted and which are carried over from the one before: where motion explains a frame well, its
//! painting follows from the last one, and the network is spared.
//!
//! Frames are painted as a whole or not at all: a network that normalizes over the picture paints a part of it
//! differently.

use super::nearest;
use crate::motion::{CarriedMotion, Motion};

/// How far a painting may be carried.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PropagationSettings {
    /// One frame in so many is painted at least; 1 paints every frame.
    pub stride: u32,
    /// Share of the picture, 0–1, that the last painted frame may leave unexplained; beyond it a frame is painted (ours).
    pub most_unexplained: f32,
}

impl PropagationSettings {
    /// The stride where motion alone shall decide (ours): at 25 frames a second a painting is at most a third of a second
    /// old.
    pub const AUTO_STRIDE: u32 = 8;
}

impl Default for PropagationSettings {
    fn default() -> Self {
        Self { stride: 1, most_unexplained: 0.01 }
    }
}

/// Trust in a cell under which it counts as unexplained.
const EXPLAINED: f32 = 0.5;

/// Decides frame by frame.
pub struct Propagation {
    settings: PropagationSettings,
    /// Frames since the last painted one.
    age: u32,
    /// How far the last painted frame is to be believed in each cell of the motion's grid, 0–1.
    trust: Vec<f32>,
    moved: Vec<f32>,
}

impl Propagation {
    /// Nothing has been painted yet.
    pub fn new(settings: PropagationSettings) -> Self {
        Self { settings, age: 0, trust: Vec::new(), moved: Vec::new() }
    }

    /// One frame in so many is painted at least.
    pub fn stride(&self) -> u32 {
        self.settings.stride
    }

    /// Whether the frame of this motion is to be painted; the next call takes that as done.
    pub fn is_painted(&mut self, motion: &Motion) -> bool {
        let is_explained = match motion {
            Motion::Reset => false,
            // The same content has the same painting.
            Motion::Duplicate => return false,
            Motion::Carried(carried) => self.age + 1 < self.settings.stride && self.follows(carried),
        };
        if is_explained {
            self.age += 1;
        } else {
            self.age = 0;
            self.trust.clear();
        }
        !is_explained
    }

    /// Carries the trust along; whether enough of it is left.
    fn follows(&mut self, carried: &CarriedMotion) -> bool {
        if self.trust.len() == carried.confidence.len() {
            nearest(&self.trust, carried, &mut self.moved);
            std::mem::swap(&mut self.trust, &mut self.moved);
            self.trust.iter_mut().zip(&carried.confidence).for_each(|(trust, confidence)| *trust *= confidence);
        } else {
            self.trust.clone_from(&carried.confidence);
        }
        let unexplained = self.trust.iter().filter(|trust| **trust < EXPLAINED).count();
        unexplained as f32 <= self.settings.most_unexplained * self.trust.len() as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::FrameSize;
    use crate::motion::flow::FlowField;

    const SIZE: FrameSize = FrameSize::new(20, 10);

    fn carried(believed: impl Fn(usize) -> f32) -> Motion {
        Motion::Carried(CarriedMotion {
            flow: FlowField::zero(SIZE),
            confidence: (0..SIZE.pixels()).map(believed).collect(),
            elapsed_seconds: 0.04,
        })
    }

    fn decide(stride: u32, motions: &[Motion]) -> Vec<bool> {
        let mut propagation = Propagation::new(PropagationSettings { stride, ..PropagationSettings::default() });
        motions.iter().map(|motion| propagation.is_painted(motion)).collect()
    }

    #[test]
    fn one_frame_in_a_stride_is_painted_where_all_is_explained() {
        let mut motions = vec![Motion::Reset];
        motions.extend((0..6).map(|_| carried(|_| 1.0)));
        assert_eq!(decide(3, &motions), [true, false, false, true, false, false, true]);
        assert_eq!(decide(1, &motions), [true; 7]);
    }

    #[test]
    fn what_motion_does_not_explain_is_painted_at_once() {
        let hole = carried(|cell| if cell < 20 { 0.0 } else { 1.0 });
        let motions = [Motion::Reset, carried(|_| 1.0), hole, carried(|_| 1.0), Motion::Reset, carried(|_| 1.0)];
        assert_eq!(decide(8, &motions), [true, false, true, false, true, false]);
    }

    #[test]
    fn small_doubts_add_up() {
        let mut motions = vec![Motion::Reset];
        motions.extend((0..4).map(|_| carried(|_| 0.8)));
        // 0.8³ is more than a half, 0.8⁴ is less.
        assert_eq!(decide(8, &motions), [true, false, false, false, true]);
    }

    #[test]
    fn a_duplicate_is_never_painted() {
        let motions = [Motion::Reset, Motion::Duplicate, carried(|_| 1.0), Motion::Duplicate];
        assert_eq!(decide(1, &motions), [true, false, true, false]);
    }
}
