//! One stage, several workers: where a step is too slow for one thread and its items do not depend on each other.
//!
//! Whoever is free takes the next item, so that a slow worker, or items that cost more than others, hold nobody up: dealing
//! in turn would give a worker all that is dear wherever that comes at regular distances. An item's number is settled as it is
//! taken; [`super::edge::reordered`] puts the results back into that order for the stage after. There is no thread but
//! the workers', and before a worker takes an item it needs a credit, which comes back when the stage after has taken that
//! item's result: so what is under way, done or not, is one item a worker and the queue's capacity.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use anyhow::anyhow;
use crossbeam::channel::Sender;

use super::edge::{self, Done, Flow, Received};
use super::{Port, RunError, Stage, Wiring};

impl<'scope> Wiring<'scope, '_> {
    /// Starts one thread for each of `stages`, which share the items of `input`; they come out in order. With one it is
    /// [`Wiring::stage`].
    ///
    /// `stages` must not depend on which items they get: each is given any of them, in order but with holes.
    ///
    /// # Errors
    /// [`RunError::Thread`] if a thread cannot be started, [`RunError::Stage`] if there are no stages.
    pub fn parallel<S: Stage + 'scope>(
        &self,
        name: &'static str,
        input: Flow<S::Input>,
        mut stages: Vec<S>,
    ) -> Result<Flow<S::Output>, RunError>
    where
        S::Input: 'scope,
        S::Output: 'scope,
    {
        if stages.len() <= 1 {
            let source = || anyhow!("there is nobody to do the work (expected a worker at least)");
            let stage = stages.pop().ok_or_else(|| RunError::Stage { stage: name, item: None, source: source() })?;
            return self.stage(name, input, stage);
        }
        let workers = stages.len();
        let (credits, done, flow) = edge::reordered(workers + self.capacity);
        let port = self.port(name, u32::try_from(workers).unwrap_or(u32::MAX));
        let input = Arc::new(Mutex::new(Numbered { input, next: 0 }));
        for (index, stage) in stages.into_iter().enumerate() {
            let worker = Worker {
                stage,
                port: port.clone(),
                input: Arc::clone(&input),
                credits: credits.clone(),
                done: done.clone(),
            };
            self.spawn(format!("{name}-{}", index + 1), move || worker.run())?;
        }
        Ok(flow)
    }
}

/// What the workers take from, one at a time.
struct Numbered<T> {
    input: Flow<T>,
    next: u64,
}

struct Worker<S: Stage> {
    stage: S,
    port: Port,
    input: Arc<Mutex<Numbered<S::Input>>>,
    credits: Sender<()>,
    done: Sender<Done<S::Output>>,
}

impl<S: Stage> Worker<S> {
    fn run(mut self) {
        while self.port.send(&self.credits, ()) {
            let Some((number, value)) = self.take() else { break };
            let processed = self.port.work(Some(number), || self.stage.process(value));
            let has_failed = processed.is_none();
            if !has_failed {
                self.port.stats.add_item();
            }
            // A failure is passed on as well: the stage after must not wait for what will not come.
            if !self.port.send(&self.done, (number, processed)) || has_failed {
                break;
            }
        }
    }

    /// The next item and its number, or `None` if the stream has ended or the run is aborted.
    fn take(&self) -> Option<(u64, S::Input)> {
        let start = Instant::now();
        let mut numbered = self.input.lock().ok()?;
        self.port.stats.add_waiting_for_input(start.elapsed());
        let Received::Item(value) = self.port.receive(&mut numbered.input, None) else { return None };
        let number = numbered.next;
        numbered.next += 1;
        Some((number, value))
    }
}
