//! `--quality auto`: the largest working size at which pictures come as often as asked. A function of measured times.

/// Chooses among working sizes.
#[derive(Debug)]
pub struct Quality {
    /// Shorter sides, largest first.
    steps: Vec<usize>,
    at: usize,
    /// Time that a frame may take, in seconds.
    budget: f64,
    /// Times since the last change, without those that the change itself made long.
    times: Vec<f64>,
    unsettled: usize,
    /// Frames with room that each size needs before it is tried; doubled each time that it proved too large.
    patience: Vec<usize>,
    roomy: usize,
    /// Frames since the last step up.
    since_raised: Option<usize>,
}

/// Frames right after a change that say nothing: tensors are allocated anew.
const UNSETTLED: usize = 2;
/// Frames of which the middle one counts.
const WINDOW: usize = 9;
/// Share of the budget that a larger size may be expected to take.
const ROOM: f64 = 0.8;
/// Frames with room that a first step up needs.
const PATIENCE: usize = 45;
const MOST_PATIENCE: usize = PATIENCE * 32;
/// A step up that does not hold for so many frames was one too many.
const TRIAL: usize = 150;
/// Each size has about this share of the pixels of the one before.
const PIXELS_A_STEP: f64 = 0.75;
/// No picture is painted smaller than this.
const SMALLEST: usize = 96;
/// Networks take sizes in multiples of a few pixels.
const MULTIPLE: usize = 4;

impl Quality {
    /// Holds `frames_per_second` with working sizes (shorter sides) up to `largest`.
    pub fn new(frames_per_second: f64, largest: usize) -> Self {
        let mut steps = vec![largest];
        let mut side = largest as f64;
        loop {
            side *= PIXELS_A_STEP.sqrt();
            let step = (side / MULTIPLE as f64).round() as usize * MULTIPLE;
            if step < SMALLEST.min(largest) || steps.last() == Some(&step) {
                break;
            }
            steps.push(step);
        }
        Self {
            patience: vec![PATIENCE; steps.len()],
            steps,
            at: 0,
            budget: 1.0 / frames_per_second.max(1e-3),
            times: Vec::new(),
            unsettled: UNSETTLED,
            roomy: 0,
            since_raised: None,
        }
    }

    /// Takes the time that the slowest stage needed for a frame, in seconds; the new working size, if it changes.
    pub fn observe(&mut self, seconds: f64) -> Option<usize> {
        if self.unsettled > 0 {
            self.unsettled -= 1;
            return None;
        }
        if let Some(frames) = &mut self.since_raised {
            *frames += 1;
            if *frames > TRIAL {
                self.since_raised = None;
                self.patience[self.at] = PATIENCE;
            }
        }
        self.times.push(seconds);
        if self.times.len() < WINDOW {
            return None;
        }
        let middle = median(&self.times);
        self.times.remove(0);
        if middle > self.budget {
            return self.lower(middle);
        }
        let larger = self.at.checked_sub(1)?;
        // Time goes with the pixels.
        let expected = middle * (self.steps[larger] as f64 / self.steps[self.at] as f64).powi(2);
        self.roomy = if expected <= self.budget * ROOM { self.roomy + 1 } else { 0 };
        if self.roomy < self.patience[larger] {
            return None;
        }
        self.since_raised = Some(0);
        Some(self.go_to(larger))
    }

    /// The first smaller size that may be expected to do; at least one step.
    fn lower(&mut self, seconds: f64) -> Option<usize> {
        if self.at + 1 == self.steps.len() {
            return None;
        }
        if self.since_raised.take().is_some() {
            // The size before did hold.
            self.patience[self.at] = (self.patience[self.at] * 2).min(MOST_PATIENCE);
            return Some(self.go_to(self.at + 1));
        }
        let side = self.steps[self.at] as f64;
        let fits = |step: &usize| seconds * (*step as f64 / side).powi(2) <= self.budget;
        let smaller = &self.steps[self.at + 1..];
        let found = smaller.iter().position(fits).unwrap_or(smaller.len() - 1);
        Some(self.go_to(self.at + 1 + found))
    }

    fn go_to(&mut self, step: usize) -> usize {
        self.at = step;
        self.times.clear();
        self.unsettled = UNSETTLED;
        self.roomy = 0;
        self.steps[step]
    }
}

fn median(times: &[f64]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs frames on a machine that needs so many seconds for a million pixels of a square.
    fn run(
        quality: &mut Quality,
        size: &mut usize,
        frames: usize,
        seconds_a_megapixel: impl Fn(usize) -> f64,
    ) -> usize {
        let mut changes = 0;
        for frame in 0..frames {
            let seconds = seconds_a_megapixel(frame) * (*size * *size) as f64 / 1e6;
            if let Some(new) = quality.observe(seconds) {
                *size = new;
                changes += 1;
            }
        }
        changes
    }

    #[test]
    fn a_slow_machine_gets_a_smaller_size_at_once_and_keeps_it() {
        let (mut quality, mut size) = (Quality::new(30.0, 720), 720);
        // 720² in 124 ms: 30 fps need a quarter of the pixels.
        let changes = run(&mut quality, &mut size, 12, |_| 0.24);
        assert_eq!(changes, 1);
        assert!(0.24 * (size * size) as f64 / 1e6 <= 1.0 / 30.0, "{size}");
        assert!(size >= 320, "{size} is smaller than need be");
        assert_eq!(run(&mut quality, &mut size, 3000, |_| 0.24), 0);
    }

    #[test]
    fn room_is_used_step_by_step_up_to_the_largest_size() {
        let (mut quality, mut size) = (Quality::new(30.0, 720), 720);
        run(&mut quality, &mut size, 50, |_| 0.5);
        let small = size;
        assert!(small < 360, "{small}");
        run(&mut quality, &mut size, 2000, |_| 0.01);
        assert_eq!(size, 720);
    }

    #[test]
    fn a_size_at_the_edge_is_tried_less_and_less_often() {
        // Larger sizes are worse than their pixels say: each trial fails.
        let (mut quality, mut size) = (Quality::new(25.0, 480), 480);
        let mut trials = Vec::new();
        for frame in 0..20_000 {
            let seconds = if size >= 416 { 0.06 } else { 0.02 };
            if let Some(new) = quality.observe(seconds) {
                size = new;
                trials.extend((size >= 416).then_some(frame));
            }
        }
        let gaps: Vec<usize> = trials.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!((5..20).contains(&trials.len()), "{trials:?}");
        assert!(gaps.windows(2).all(|pair| pair[0] <= pair[1]), "{gaps:?}");
        assert!(size >= 300, "{size} is smaller than need be");
    }

    #[test]
    fn a_single_hiccup_changes_nothing() {
        let (mut quality, mut size) = (Quality::new(30.0, 360), 360);
        let changes = run(&mut quality, &mut size, 1000, |frame| if frame % 20 == 7 { 5.0 } else { 0.1 });
        assert_eq!((changes, size), (0, 360));
    }

    #[test]
    fn the_smallest_size_is_the_end() {
        let (mut quality, mut size) = (Quality::new(60.0, 360), 360);
        run(&mut quality, &mut size, 500, |_| 100.0);
        assert!((SMALLEST..SMALLEST * 5 / 4).contains(&size), "{size}");
        assert!(Quality::new(30.0, 50).steps.iter().all(|step| *step <= 50));
    }
}
