//! What each stage did with its time: the figures behind `--stats`, the progress line and the bench.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Live counters of all stages of a run, in the order in which they were wired. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct PipelineStats {
    stages: Arc<Mutex<Vec<Arc<StageStats>>>>,
}

impl PipelineStats {
    pub(super) fn register(&self, name: &'static str, workers: u32) -> Arc<StageStats> {
        let stats = Arc::new(StageStats { name, workers, ..StageStats::default() });
        if let Ok(mut stages) = self.stages.lock() {
            stages.push(Arc::clone(&stats));
        }
        stats
    }

    /// The counters now, source first.
    pub fn snapshot(&self) -> Vec<StageSnapshot> {
        self.stages.lock().map(|stages| stages.iter().map(|stage| stage.snapshot()).collect()).unwrap_or_default()
    }

    /// The stage that worked longest, as the mean of its workers: the one that sets the pace.
    pub fn slowest(&self) -> Option<StageSnapshot> {
        self.snapshot().into_iter().max_by_key(|stage| stage.busy)
    }
}

/// What one stage did so far. Where several workers share it, its times are the mean of a worker's: they compare with the
/// run's and with those of other stages, and `busy` over `items` is the pace of them all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StageSnapshot {
    /// The stage's name.
    pub name: &'static str,
    /// Threads that share the work.
    pub workers: u32,
    /// Items done, by all workers together.
    pub items: u64,
    /// Of these, how many a live source had to throw away because the stage after it was not ready.
    pub lost: u64,
    /// Time spent working.
    pub busy: Duration,
    /// Time spent waiting for the stage before.
    pub waiting_for_input: Duration,
    /// Time spent waiting for the stage after.
    pub waiting_for_output: Duration,
}

#[derive(Debug, Default)]
pub(super) struct StageStats {
    name: &'static str,
    workers: u32,
    items: AtomicU64,
    lost: AtomicU64,
    busy_ns: AtomicU64,
    waiting_for_input_ns: AtomicU64,
    waiting_for_output_ns: AtomicU64,
}

impl StageStats {
    pub(super) fn add_item(&self) {
        self.items.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn add_lost(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn add_busy(&self, time: Duration) {
        add(&self.busy_ns, time);
    }

    pub(super) fn add_waiting_for_input(&self, time: Duration) {
        add(&self.waiting_for_input_ns, time);
    }

    pub(super) fn add_waiting_for_output(&self, time: Duration) {
        add(&self.waiting_for_output_ns, time);
    }

    fn snapshot(&self) -> StageSnapshot {
        let workers = self.workers.max(1);
        let time = |counter: &AtomicU64| Duration::from_nanos(counter.load(Ordering::Relaxed)) / workers;
        StageSnapshot {
            name: self.name,
            workers,
            items: self.items.load(Ordering::Relaxed),
            lost: self.lost.load(Ordering::Relaxed),
            busy: time(&self.busy_ns),
            waiting_for_input: time(&self.waiting_for_input_ns),
            waiting_for_output: time(&self.waiting_for_output_ns),
        }
    }
}

fn add(counter: &AtomicU64, time: Duration) {
    counter.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_workers_are_as_busy_as_their_mean_and_set_the_pace_by_it() {
        let stats = PipelineStats::default();
        let (decode, stylize) = (stats.register("decode", 1), stats.register("stylize", 3));
        decode.add_busy(Duration::from_millis(700));
        (0..3).for_each(|_| {
            stylize.add_item();
            stylize.add_busy(Duration::from_millis(600));
            stylize.add_waiting_for_input(Duration::from_millis(100));
            stylize.add_waiting_for_output(Duration::from_millis(200));
        });
        let expected = StageSnapshot {
            name: "stylize",
            workers: 3,
            items: 3,
            lost: 0,
            busy: Duration::from_millis(600),
            waiting_for_input: Duration::from_millis(100),
            waiting_for_output: Duration::from_millis(200),
        };
        assert_eq!(stats.snapshot()[1], expected);
        assert_eq!(stats.slowest().unwrap().name, "decode");
    }
}
