//! Latency and other times of a run, of any length, in little memory.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde::Serialize;

/// How often each duration occurred.
#[derive(Debug)]
pub struct Times {
    buckets: Vec<u64>,
    count: u64,
    longest: Duration,
}

/// What is said of durations, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct TimesMs {
    /// Half are shorter.
    pub median: f64,
    /// 19 of 20 are shorter.
    pub p95: f64,
    /// None is longer.
    pub max: f64,
}

impl Times {
    const BUCKETS_A_MILLISECOND: usize = 4;
    /// Longer ones are known by the longest only.
    const LONGEST_MS: usize = 4000;

    /// Nothing yet.
    pub fn new() -> Self {
        Self { buckets: vec![0; Self::LONGEST_MS * Self::BUCKETS_A_MILLISECOND], count: 0, longest: Duration::ZERO }
    }

    /// Counts one.
    pub fn add(&mut self, time: Duration) {
        let bucket = (time.as_secs_f64() * 1e3 * Self::BUCKETS_A_MILLISECOND as f64) as usize;
        if let Some(bucket) = self.buckets.get_mut(bucket) {
            *bucket += 1;
        }
        self.count += 1;
        self.longest = self.longest.max(time);
    }

    /// In figures; `None` where nothing was counted.
    pub fn summary(&self) -> Option<TimesMs> {
        let max = self.longest.as_secs_f64() * 1e3;
        (self.count > 0).then(|| TimesMs {
            median: self.quantile(0.5).min(max),
            p95: self.quantile(0.95).min(max),
            max,
        })
    }

    fn quantile(&self, share: f64) -> f64 {
        let wanted = (self.count as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return (bucket as f64 + 0.5) / Self::BUCKETS_A_MILLISECOND as f64;
            }
        }
        self.longest.as_secs_f64() * 1e3
    }
}

/// What happened within the last second, for the overlay.
#[derive(Debug, Default)]
pub struct LastSecond {
    shown: VecDeque<(Instant, Duration)>,
}

impl LastSecond {
    const LENGTH: Duration = Duration::from_secs(1);

    /// A frame was shown at `now`, so long after its capture.
    pub fn add(&mut self, now: Instant, latency: Duration) {
        self.shown.push_back((now, latency));
        while self.shown.front().is_some_and(|(then, _)| now.saturating_duration_since(*then) > Self::LENGTH) {
            self.shown.pop_front();
        }
    }

    /// Frames a second and their mean latency.
    pub fn rate_and_latency(&self) -> Option<(f64, Duration)> {
        let ((first, _), (last, _)) = (self.shown.front()?, self.shown.back()?);
        let seconds = last.saturating_duration_since(*first).as_secs_f64();
        let sum: Duration = self.shown.iter().map(|(_, latency)| *latency).sum();
        let mean = sum / u32::try_from(self.shown.len()).ok()?;
        Some(((self.shown.len() - 1) as f64 / seconds.max(1e-3), mean))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_a_bucket() {
        let mut times = Times::new();
        assert_eq!(times.summary(), None);
        (1..=100).for_each(|ms| times.add(Duration::from_millis(ms)));
        times.add(Duration::from_secs(9));
        let TimesMs { median, p95, max } = times.summary().unwrap();
        assert!((median - 51.0).abs() < 0.3 && (p95 - 96.0).abs() < 0.3, "{median} {p95}");
        assert_eq!(max, 9000.0);
    }

    #[test]
    fn the_rate_is_that_of_the_last_second() {
        let start = Instant::now();
        let mut last = LastSecond::default();
        for frame in 0..100 {
            last.add(start + Duration::from_millis(40 * frame), Duration::from_millis(frame));
        }
        let (rate, latency) = last.rate_and_latency().unwrap();
        assert!((rate - 25.0).abs() < 0.1 && latency > Duration::from_millis(80), "{rate} {latency:?}");
    }
}
