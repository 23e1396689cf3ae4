//! Which cells of the picture stand still: where standing still explains the content as well as moving does, nothing moves.
//!
//! Flow makes vectors up from noise: they alone do not tell rest from motion. docs/temporal.md, step 3.

use super::boxes::quantile;
use super::flow::FlowField;

/// How rest is told from motion. Lengths are in cells of the grid, levels are of 255.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RestRule {
    /// Where standing still explains the content as well as moving does, within so many levels beyond noise, nothing
    /// moves (ours).
    pub tolerance: f32,
    /// Share of the picture, 0–1, that deviates by noise alone even where much moves (ours): from it the noise is read that
    /// standing still may leave more than moving, since flow fits noise.
    pub quiet_share: f32,
    /// How much more it may leave, as a multiple of what the quiet share deviates by, squared (ours).
    pub noise: f32,
    /// What moves by more than this, in cells, does not begin to stand still whatever explains it: in a pan, flat places
    /// would otherwise stay behind (ours).
    pub fastest: f32,
    /// Share of the picture, 0–1, that has to stand still for the camera to be at rest (ours): what stood still then goes on
    /// doing so, however fast the vectors that flow makes up from noise.
    pub resting_share: f32,
    /// Share of the picture, 0–1, that has to be explained by standing still, whatever the vectors, for all that is explained so to
    /// stand still (ours): where a picture shows little but noise, hardly a vector is slow. In a pan whatever has structure is not.
    pub explained_share: f32,
}

impl Default for RestRule {
    fn default() -> Self {
        Self { tolerance: 0.5, quiet_share: 0.1, noise: 10.0, fastest: 0.75, resting_share: 0.5, explained_share: 0.97 }
    }
}

impl RestRule {
    /// Brings `is_still`, which says of each cell whether it stood still so far, up to date: `moving` and `still` are the
    /// squared deviations of the content from its past, in levels², moved along the flow and standing still. All have a value
    /// for each cell.
    pub fn apply(&self, flow: &FlowField, moving: &[f32], still: &[f32], is_still: &mut [bool]) {
        let noise = quantile(moving, self.quiet_share);
        let tolerance = self.tolerance.powi(2) + self.noise * noise;
        let fastest = self.fastest.powi(2);
        let cells = || {
            let is_slow = |[u, v]: [f32; 2]| u * u + v * v < fastest;
            flow.vectors.iter().zip(moving.iter().zip(still)).map(move |(vector, (moving, still))| {
                // How much more standing still leaves than moving.
                (is_slow(*vector), still - moving)
            })
        };
        let resting = cells().filter(|(is_slow, excess)| *is_slow && *excess <= tolerance).count();
        let is_at_rest = resting as f32 >= self.resting_share * flow.vectors.len() as f32;
        let explained = cells().filter(|(_, excess)| *excess <= tolerance).count();
        let nothing_moves = explained as f32 >= self.explained_share * flow.vectors.len() as f32;

        for (is_still, (is_slow, excess)) in is_still.iter_mut().zip(cells()) {
            let may_be_still = is_slow || nothing_moves || (is_at_rest && *is_still);
            *is_still = may_be_still && excess <= tolerance;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::FrameSize;

    const SIZE: FrameSize = FrameSize::new(40, 20);
    const SLOW: [f32; 2] = [0.1, 0.0];
    const FAST: [f32; 2] = [2.0, -1.0];
    /// What moving leaves in every cell, in levels².
    const MOVING: f32 = 1.0;

    /// Which cells stand still, of a picture whose first half stood still so far. `cell` gives the vector of a cell and what
    /// standing still leaves there, in levels².
    fn still_after(cell: impl Fn(usize) -> ([f32; 2], f32)) -> Vec<bool> {
        let cells: Vec<_> = (0..SIZE.pixels()).map(cell).collect();
        let flow = FlowField { size: SIZE, vectors: cells.iter().map(|(vector, _)| *vector).collect() };
        let still: Vec<f32> = cells.iter().map(|(_, still)| *still).collect();
        let mut is_still: Vec<bool> = (0..SIZE.pixels()).map(|cell| cell < SIZE.pixels() / 2).collect();
        RestRule::default().apply(&flow, &vec![MOVING; SIZE.pixels()], &still, &mut is_still);
        is_still
    }

    fn share(is_still: &[bool]) -> f32 {
        is_still.iter().filter(|is_still| **is_still).count() as f32 / is_still.len() as f32
    }

    #[test]
    fn what_is_slow_and_explained_by_standing_still_stands_still() {
        assert_eq!(share(&still_after(|_| (SLOW, MOVING))), 1.0);
        assert_eq!(share(&still_after(|_| (SLOW, 100.0))), 0.0, "it moves slowly");
    }

    #[test]
    fn under_a_camera_at_rest_what_stood_still_goes_on_whatever_flow_says() {
        // 60 % are slow: the camera rests. Flow makes vectors up in the rest, half of which stood still before. Five of a hundred move.
        let is_still = still_after(|cell| match cell % 20 {
            19 => (FAST, 100.0),
            place => (if place % 10 < 6 { SLOW } else { FAST }, MOVING),
        });
        let (before, new) = is_still.split_at(SIZE.pixels() / 2);
        assert_eq!(share(before), 0.95);
        assert_eq!(share(new), 0.6, "what is fast does not begin to stand still");
    }

    #[test]
    fn under_a_camera_that_moves_nothing_fast_stands_still() {
        // 40 % are slow: in a pan, flat places are explained by standing still and must not stay behind. Things are not.
        let is_still = still_after(|cell| match cell % 20 {
            19 => (FAST, 100.0),
            place => (if place % 10 < 4 { SLOW } else { FAST }, MOVING),
        });
        assert_eq!(share(&is_still), 0.4);
    }

    #[test]
    fn what_moves_away_under_a_camera_at_rest_stops_standing_still() {
        // A tenth is crossed by something: standing still no longer explains it, however slow its vectors.
        for vector in [SLOW, FAST] {
            let is_still = still_after(|cell| if cell % 10 == 0 { (vector, 100.0) } else { (SLOW, MOVING) });
            assert!(is_still.iter().step_by(10).all(|is_still| !is_still));
            assert_eq!(share(&is_still), 0.9);
        }
    }

    #[test]
    fn in_noise_that_standing_still_explains_all_over_nothing_moves() {
        // Flow makes fast vectors up everywhere; something small passes.
        let is_still = still_after(|cell| (FAST, if cell % 50 == 0 { 100.0 } else { MOVING }));
        assert_eq!(share(&is_still), 0.98);
    }
}
