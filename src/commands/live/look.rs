//! What the keys change while pictures run: read by the stages once a frame, written by whoever handles the keys.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::style::{StyleEngine, StyleSettings, Stylizer};

/// How the pictures of one moment are painted.
#[derive(Debug, Clone, PartialEq)]
pub struct Look {
    /// Share of each style of the network, summing to 1; empty where it has one style.
    pub weights: Vec<f32>,
    /// Share of the painted picture, 0–1.
    pub strength: f32,
    /// Keep the camera's colors.
    pub keep_color: bool,
    /// Time constant of smoothing, in seconds; 0: none.
    pub smoothing_seconds: f32,
    /// Left and right change places.
    pub mirror: bool,
    /// Shorter side of the picture that the network sees.
    pub work_size: usize,
}

/// What paints live pictures.
pub trait LiveStylizer: Stylizer {
    /// Paints like this from the next frame on.
    ///
    /// # Errors
    /// When a value is out of its range.
    fn apply(&mut self, look: &Look) -> Result<()>;
}

impl LiveStylizer for StyleEngine {
    fn apply(&mut self, look: &Look) -> Result<()> {
        self.set_settings(StyleSettings {
            strength: look.strength,
            keep_color: look.keep_color,
            work_size: look.work_size,
        })?;
        let network = self.network_mut();
        if network.style_weights().is_some_and(|weights| weights != look.weights) {
            network.set_style_weights(&look.weights)?;
        }
        Ok(())
    }
}

/// A style that gives way to another. Time is given, not asked for.
#[derive(Debug, Clone)]
pub struct Fade {
    from: Vec<f32>,
    to: Vec<f32>,
    /// `None`: nothing has changed yet.
    started: Option<Instant>,
}

impl Fade {
    /// How long a style takes to give way.
    pub const LENGTH: Duration = Duration::from_secs(1);

    /// Stays with these weights.
    pub fn resting(weights: Vec<f32>) -> Self {
        Self { from: weights.clone(), to: weights, started: None }
    }

    /// Goes to these weights, from wherever it is.
    pub fn start(&mut self, weights: Vec<f32>, now: Instant) {
        self.from = self.weights(now);
        self.to = weights;
        self.started = Some(now);
    }

    /// The weights at a moment.
    pub fn weights(&self, now: Instant) -> Vec<f32> {
        let passed = self.started.map_or(1.0, |started| {
            (now.saturating_duration_since(started).as_secs_f32() / Self::LENGTH.as_secs_f32()).min(1.0)
        });
        if passed >= 1.0 {
            return self.to.clone();
        }
        self.from.iter().zip(&self.to).map(|(from, to)| from + (to - from) * passed).collect()
    }
}

/// The styles that the network has, and which one is shown.
#[derive(Debug, Clone)]
pub struct StyleMenu {
    names: Vec<String>,
    current: usize,
}

impl StyleMenu {
    /// A menu of `names` (or numbers, where there are none) that starts with the largest of `weights`.
    pub fn new(names: &[String], weights: &[f32]) -> Self {
        let name = |index: usize| names.get(index).cloned().unwrap_or_else(|| format!("style {index}"));
        let largest = (0..weights.len()).max_by(|a, b| weights[*a].total_cmp(&weights[*b]));
        Self { names: (0..weights.len()).map(name).collect(), current: largest.unwrap_or_default() }
    }

    /// Goes `steps` further, round and round: the name and the weights of that style; `None` if there is only one.
    pub fn step(&mut self, steps: isize) -> Option<(&str, Vec<f32>)> {
        let count = self.names.len();
        if count < 2 {
            return None;
        }
        self.current = self.current.checked_add_signed(steps.rem_euclid(count as isize))? % count;
        let mut weights = vec![0.0; count];
        weights[self.current] = 1.0;
        Some((&self.names[self.current], weights))
    }
}

/// The settings of a run, shared between the keys and the stages.
#[derive(Debug, Clone)]
pub struct SharedLook {
    inner: Arc<Mutex<(Look, Fade)>>,
}

impl SharedLook {
    /// Starts with this look.
    pub fn new(look: Look) -> Self {
        let fade = Fade::resting(look.weights.clone());
        Self { inner: Arc::new(Mutex::new((look, fade))) }
    }

    /// How a picture that was taken at `moment` is painted.
    pub fn at(&self, moment: Instant) -> Look {
        let inner = self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (look, fade) = &*inner;
        Look { weights: fade.weights(moment), ..look.clone() }
    }

    /// Changes everything but the style, and returns what has become of it.
    pub fn change(&self, change: impl FnOnce(&mut Look)) -> Look {
        let mut inner = self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        change(&mut inner.0);
        inner.0.clone()
    }

    /// Fades to another style.
    pub fn fade_to(&self, weights: Vec<f32>, now: Instant) {
        let mut inner = self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        inner.1.start(weights, now);
    }
}

/// Strength goes in tenths.
pub fn stepped_strength(strength: f32, steps: i32) -> f32 {
    (((strength * 10.0).round() + steps as f32) / 10.0).clamp(0.0, 1.0)
}

/// Time constants to choose from, in seconds: each about twice as long as the one before.
const SMOOTHINGS: [f32; 7] = [0.0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6];

/// The next longer or shorter time constant.
pub fn stepped_smoothing(seconds: f32, is_longer: bool) -> f32 {
    let next = if is_longer {
        SMOOTHINGS.iter().find(|step| **step > seconds + 1e-3)
    } else {
        SMOOTHINGS.iter().rev().find(|step| **step < seconds - 1e-3)
    };
    next.copied().unwrap_or(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: f32) -> Duration {
        Duration::from_secs_f32(seconds)
    }

    #[test]
    fn a_style_gives_way_over_a_second_and_can_be_turned_around_on_the_way() {
        let start = Instant::now();
        let mut fade = Fade::resting(vec![1.0, 0.0, 0.0]);
        assert_eq!(fade.weights(start), [1.0, 0.0, 0.0]);
        fade.start(vec![0.0, 1.0, 0.0], start);
        assert_eq!(fade.weights(start), [1.0, 0.0, 0.0]);
        let quarter = fade.weights(start + seconds(0.25));
        assert!((quarter[0] - 0.75).abs() < 1e-6 && (quarter[1] - 0.25).abs() < 1e-6, "{quarter:?}");
        fade.start(vec![0.0, 0.0, 1.0], start + seconds(0.5));
        let after = fade.weights(start + seconds(1.0));
        assert!(after.iter().zip([0.25, 0.25, 0.5]).all(|(a, b)| (a - b).abs() < 1e-6), "{after:?}");
        assert_eq!(fade.weights(start + seconds(1.5)), [0.0, 0.0, 1.0]);
    }

    #[test]
    fn the_menu_goes_round_from_the_style_that_is_shown() {
        let names = ["a", "b", "c"].map(str::to_owned);
        let mut menu = StyleMenu::new(&names, &[0.2, 0.1, 0.7]);
        assert_eq!(menu.step(1).unwrap(), ("a", vec![1.0, 0.0, 0.0]));
        assert_eq!(menu.step(-1).unwrap().0, "c");
        assert_eq!(menu.step(-1).unwrap().0, "b");
        assert!(StyleMenu::new(&[], &[]).step(1).is_none());
        assert_eq!(StyleMenu::new(&[], &[1.0, 0.0]).step(1).unwrap().0, "style 1");
    }

    #[test]
    fn steps_end_at_the_ends() {
        assert_eq!([stepped_strength(0.55, 1), stepped_strength(1.0, 1), stepped_strength(0.0, -1)], [0.7, 1.0, 0.0]);
        assert_eq!(stepped_smoothing(0.2, true), 0.4);
        assert_eq!(stepped_smoothing(0.3, false), 0.2);
        assert_eq!([stepped_smoothing(0.0, false), stepped_smoothing(9.0, true)], [0.0, 9.0]);
    }

    #[test]
    fn the_stages_see_what_the_keys_have_changed() {
        let look = Look {
            weights: vec![1.0, 0.0],
            strength: 1.0,
            keep_color: false,
            smoothing_seconds: 0.2,
            mirror: false,
            work_size: 1080,
        };
        let shared = SharedLook::new(look);
        let stages = shared.clone();
        let now = Instant::now();
        shared.change(|look| look.strength = 0.5);
        shared.fade_to(vec![0.0, 1.0], now);
        let seen = stages.at(now + seconds(0.5));
        assert_eq!((seen.strength, seen.weights), (0.5, vec![0.5, 0.5]));
    }
}
