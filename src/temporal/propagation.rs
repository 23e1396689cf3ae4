//! Which frames are painted and which are carried over from the one before: where motion explains a frame well, its
//! painting follows from the last one, and the network is spared.
//!
//! Frames are painted as a whole or not at all: a network that normalizes over the picture paints a part of it
//! differently.

use super::{check_grid, nearest};
use crate::frame::FrameSize;
use crate::motion::{CarriedMotion, Motion};

/// How far a painting may be carried.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PropagationSettings {
    /// One frame in so many is painted at least; 1 paints every frame.
    pub stride: u32,
    /// Share of the picture, 0–1, that the last painted frame may leave unexplained; beyond it a frame is painted (ours).
    pub most_unexplained: f32,
    /// The same share of each square of [`Propagation::SQUARE`] cells that does not lie at the picture's edge, where something always
    /// comes into view (ours): something small that moves on its own, a ball or a bird, would be torn, and is next to nothing of the
    /// picture.
    pub most_unexplained_of_square: f32,
}

impl PropagationSettings {
    /// The stride where motion alone shall decide (ours): at 25 frames a second a painting is at most a third of a second
    /// old.
    pub const AUTO_STRIDE: u32 = 8;
}

impl Default for PropagationSettings {
    fn default() -> Self {
        Self { stride: 1, most_unexplained: 0.01, most_unexplained_of_square: 0.45 }
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
    /// Side of the squares that are looked at one by one, in cells of the motion's grid.
    pub const SQUARE: usize = 8;

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

    /// Carries the trust along; whether enough of it is left. Motion that has no value for each cell of its grid explains nothing.
    fn follows(&mut self, carried: &CarriedMotion) -> bool {
        if check_grid(carried).is_err() {
            return false;
        }
        if self.trust.len() == carried.confidence.len() {
            nearest(&self.trust, carried, &mut self.moved);
            std::mem::swap(&mut self.trust, &mut self.moved);
            self.trust.iter_mut().zip(&carried.confidence).for_each(|(trust, confidence)| *trust *= confidence);
        } else {
            self.trust.clone_from(&carried.confidence);
        }
        let unexplained = self.trust.iter().filter(is_unexplained).count();
        unexplained as f32 <= self.settings.most_unexplained * self.trust.len() as f32
            && !self.is_torn(carried.flow.size)
    }

    /// Whether too much of a single square is unexplained.
    fn is_torn(&self, grid: FrameSize) -> bool {
        const SIDE: usize = Propagation::SQUARE;
        let most = self.settings.most_unexplained_of_square * (SIDE * SIDE) as f32;
        let inside = |length: usize| (SIDE..(length + 1).saturating_sub(2 * SIDE)).step_by(SIDE);
        let unexplained = |left: usize, top: usize| {
            let rows = (top..top + SIDE).map(|y| &self.trust[y * grid.width + left..][..SIDE]);
            rows.flatten().filter(is_unexplained).count()
        };
        inside(grid.height).any(|top| inside(grid.width).any(|left| unexplained(left, top) as f32 > most))
    }
}

fn is_unexplained(trust: &&f32) -> bool {
    **trust < EXPLAINED
}

#[cfg(test)]
mod tests {
    use super::*;
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
    fn something_small_that_moves_on_its_own_is_painted() {
        let size = FrameSize::new(100, 100);
        let moves = |is_unexplained: &dyn Fn(usize, usize) -> bool| {
            let cells = (0..size.pixels()).map(|cell| (cell % size.width, cell / size.width));
            Motion::Carried(CarriedMotion {
                flow: FlowField::zero(size),
                confidence: cells.map(|(x, y)| if is_unexplained(x, y) { 0.0 } else { 1.0 }).collect(),
                elapsed_seconds: 0.04,
            })
        };
        // 36 cells both: a ball, and doubts all over.
        let ball = moves(&|x, y| (65..71).contains(&x) && (33..39).contains(&y));
        let scattered = moves(&|x, y| x % 16 == 0 && y % 18 == 0 && x < 96 && y < 108);
        assert_eq!(decide(8, &[Motion::Reset, ball]), [true, true]);
        assert_eq!(decide(8, &[Motion::Reset, scattered]), [true, false]);
    }

    #[test]
    fn motion_without_a_value_for_each_cell_explains_nothing() {
        let Motion::Carried(mut short) = carried(|_| 1.0) else { panic!("it moves") };
        short.flow.vectors.pop();
        let empty = CarriedMotion {
            flow: FlowField::zero(FrameSize::new(0, 0)),
            confidence: Vec::new(),
            elapsed_seconds: 0.04,
        };
        let motions = [Motion::Reset, Motion::Carried(empty), carried(|_| 1.0), Motion::Carried(short)];
        assert_eq!(decide(8, &motions), [true, true, false, true]);
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
