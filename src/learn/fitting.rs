//! A style while it is fitted: step after step, judged now and then on held-out photos, the best kept.
//!
//! The caller asks for each step and says how much of the time is over; it may stop after any: the best row so far is always there.

use anyhow::{Context as _, Result, ensure};

use super::judge::{HeldOutLoss, Judge};
use super::loss::PaintingTarget;
use super::network::FrozenNetwork;
use super::photos::PhotoSet;
use super::state::State;
use super::step::{AVERAGE_DECAY, Memory, StepLosses, StepRunner, StepSettings};
use super::views::ViewSampler;
use crate::gatys::descent::average_weight;
use crate::runtime::SessionOptions;
use crate::style::tables::StyleRow;

/// Side of the crops in pixels where nothing else is asked for.
pub const DEFAULT_SIDE: usize = 192;
/// Weight of the stability term where nothing else is asked for.
pub const DEFAULT_STABILITY_WEIGHT: f32 = 10.0;
/// Steps from one judgement to the next.
pub const STEPS_A_CHECK: u64 = 25;

/// Length of a step at the beginning.
const PEAK_RATE: f32 = 0.05;
/// Steps over which the length rises to that.
const WARMUP_STEPS: f32 = 10.0;
/// The length at the end, as a share of the one at the beginning.
const LAST_RATE: f32 = 0.05;
/// Share by which a loss must fall to count as a gain.
const LEAST_GAIN: f32 = 0.002;
/// Judgements without a gain before steps get shorter.
const PATIENCE: u32 = 6;
/// How much shorter.
const SHORTENING: f32 = 0.4;
/// Steps that would be shorter than this share end the fit: nothing is to be gained any more.
const SHORTEST: f32 = 0.06;

/// How a style is fitted.
#[derive(Debug, Clone, PartialEq)]
pub struct FittingSettings {
    /// Side of the crops in pixels, a multiple of the network's.
    pub side: usize,
    /// Weight of the style (default 1).
    pub style_weight: f32,
    /// Weight of the stability term (default 10).
    pub stability_weight: f32,
    /// Which crops are drawn.
    pub seed: u64,
    /// What the networks run on.
    pub session: SessionOptions,
}

impl Default for FittingSettings {
    fn default() -> Self {
        Self {
            side: DEFAULT_SIDE,
            style_weight: 1.0,
            stability_weight: DEFAULT_STABILITY_WEIGHT,
            seed: 0,
            session: SessionOptions::default(),
        }
    }
}

/// A step that was made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// Which, from 1.
    pub step: u64,
    /// The losses of its crop before it.
    pub losses: StepLosses,
}

/// A judgement.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Check {
    /// The losses of the mean of the last rows.
    pub loss: HeldOutLoss,
    /// Whether it is the best so far.
    pub is_best: bool,
    /// Whether nothing is to be gained any more.
    pub is_done: bool,
}

/// A style while it is fitted.
#[derive(Debug)]
pub struct Fitting {
    runner: StepRunner,
    judge: Judge,
    sampler: ViewSampler,
    photos: PhotoSet,
    settings: FittingSettings,
    state: State,
}

impl Fitting {
    /// Prepares a fit that starts from a row. Blocks for seconds.
    ///
    /// # Errors
    /// When a setting is out of its range, the row is of another network, or ONNX Runtime is not to be had.
    pub fn new(
        network: &FrozenNetwork,
        target: &PaintingTarget,
        photos: PhotoSet,
        mut judge: Judge,
        start: StyleRow,
        settings: &FittingSettings,
    ) -> Result<Self> {
        settings.check(network)?;
        ensure!(start.len() == network.parameter_count(), "a start of {} numbers", start.len());
        let step_settings = StepSettings {
            side: settings.side,
            style_weight: settings.style_weight,
            stability_weight: settings.stability_weight,
        };
        let mut runner =
            StepRunner::new(network, target, step_settings, &settings.session).context("prepare the steps")?;
        let start_loss = judge.judge(&start)?;
        let zeros = vec![0.0; start.len()];
        let memory = Memory { row: start.clone(), first: zeros.clone(), second: zeros.clone(), average: zeros };
        runner.set_memory(&memory);
        let state = State {
            step: 0,
            seconds: 0.0,
            start_loss,
            best: start,
            best_loss: start_loss,
            checks_without_gain: 0,
            rate_share: 1.0,
            memory,
        };
        let sampler = ViewSampler::new(settings.side, settings.seed);
        Ok(Self { runner, judge, sampler, photos, settings: settings.clone(), state })
    }

    /// Makes a step; `progress` is how much of the planned time is over, 0–1.
    ///
    /// # Errors
    /// When a run fails, or the losses are no numbers.
    pub fn step(&mut self, progress: f32) -> Result<Step> {
        let step = self.state.step + 1;
        let views = self.sampler.draw(&self.photos.photos)?;
        let losses = self.runner.step(&views, learning_rate(step, progress) * self.state.rate_share, step)?;
        ensure!(losses.total.is_finite(), "the losses are no numbers at step {step}");
        self.state.step = step;
        Ok(Step { step, losses })
    }

    /// Judges the mean of the last rows, and keeps it if it is the best.
    ///
    /// # Errors
    /// When a run fails.
    pub fn check(&mut self) -> Result<Check> {
        let weight = average_weight(AVERAGE_DECAY, self.state.step);
        ensure!(weight > 0.0, "no step was made yet");
        let memory = self.runner.memory();
        let row: StyleRow = memory.average.iter().map(|number| number / weight).collect();
        let loss = self.judge.judge(&row)?;
        ensure!(loss.total.is_finite(), "the losses are no numbers");
        let state = &mut self.state;
        let is_best = loss.total < state.best_loss.total;
        if loss.total < state.best_loss.total * (1.0 - LEAST_GAIN) {
            state.checks_without_gain = 0;
        } else {
            state.checks_without_gain += 1;
        }
        if is_best {
            state.best = row;
            state.best_loss = loss;
        }
        if state.checks_without_gain >= PATIENCE {
            state.checks_without_gain = 0;
            state.rate_share *= SHORTENING;
        }
        Ok(Check { loss, is_best, is_done: state.rate_share < SHORTEST })
    }

    /// What the fit can go on from; `seconds` is how long it took so far.
    pub fn state(&self, seconds: f64) -> State {
        State { memory: self.runner.memory(), seconds, ..self.state.clone() }
    }

    /// Goes on from a state.
    ///
    /// # Errors
    /// When it is of another network.
    pub fn resume(&mut self, state: State) -> Result<()> {
        let length = self.state.best.len();
        let memory = &state.memory;
        let rows = [&state.best, &memory.row, &memory.first, &memory.second, &memory.average];
        ensure!(rows.iter().all(|row| row.len() == length), "it is of another network");
        self.runner.set_memory(memory);
        // Other crops than those that were drawn before.
        self.sampler = ViewSampler::new(self.settings.side, self.settings.seed ^ state.step);
        self.state = state;
        Ok(())
    }

    /// The best row so far and its losses.
    pub fn best(&self) -> (&[f32], HeldOutLoss) {
        (&self.state.best, self.state.best_loss)
    }

    /// The losses where the fit started.
    pub fn start_loss(&self) -> HeldOutLoss {
        self.state.start_loss
    }

    /// Steps so far.
    pub fn steps(&self) -> u64 {
        self.state.step
    }
}

impl FittingSettings {
    /// # Errors
    /// When a value is out of its range.
    pub fn check(&self, network: &FrozenNetwork) -> Result<()> {
        ensure!(
            self.side >= 64 && self.side.is_multiple_of(network.multiple),
            "crops of {} pixels (expected at least 64, and a multiple of {})",
            self.side,
            network.multiple
        );
        for (name, weight) in [("style weight", self.style_weight), ("stability weight", self.stability_weight)] {
            ensure!(weight.is_finite() && weight >= 0.0, "{name} {weight} is out of range (expected at least 0)");
        }
        Ok(())
    }
}

/// A short rise, then half a cosine down over the planned time.
fn learning_rate(step: u64, progress: f32) -> f32 {
    let rise = (step as f32 / WARMUP_STEPS).min(1.0);
    let fall = 0.5 * (1.0 + (std::f32::consts::PI * progress.clamp(0.0, 1.0)).cos());
    PEAK_RATE * rise * (LAST_RATE + (1.0 - LAST_RATE) * fall)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_rise_to_their_full_length_and_get_shorter_until_the_end() {
        assert!(learning_rate(1, 0.0) < 0.2 * PEAK_RATE);
        assert!((learning_rate(10, 0.0) - PEAK_RATE).abs() < 1e-6);
        assert!(learning_rate(500, 0.5) < 0.6 * PEAK_RATE);
        assert!((learning_rate(500, 1.0) - LAST_RATE * PEAK_RATE).abs() < 1e-6);
        assert_eq!(learning_rate(500, 2.0), learning_rate(500, 1.0));
    }
}
