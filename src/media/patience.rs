//! How long something that blocks may take, as seen by whoever asks it to end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Runs out after a while, unless it is renewed. Clones share it.
#[derive(Debug, Clone)]
pub struct Patience {
    started: Instant,
    allowed: Duration,
    /// Milliseconds after `started`.
    over_at: Arc<AtomicU64>,
}

impl Patience {
    /// Patience for `allowed` from now on.
    pub fn new(allowed: Duration) -> Self {
        let patience = Self { started: Instant::now(), allowed, over_at: Arc::default() };
        patience.renew();
        patience
    }

    /// Begins anew.
    pub fn renew(&self) {
        let over_at = self.started.elapsed().saturating_add(self.allowed);
        self.over_at.store(u64::try_from(over_at.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Whether it has run out.
    pub fn is_over(&self) -> bool {
        self.started.elapsed().as_millis() > u128::from(self.over_at.load(Ordering::Relaxed))
    }
}
