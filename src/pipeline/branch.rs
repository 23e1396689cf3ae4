//! A sink beside the sink: on a thread of its own, and losing items rather than holding the run up.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, SyncSender, TrySendError};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use anyhow::{Result, anyhow};

use super::{Ending, Pipeline, Sink, named_thread, panic_message};

/// Feeds a [`Sink`] that works on a thread of its own.
pub struct Branch<T, O> {
    name: &'static str,
    sender: Option<SyncSender<T>>,
    /// How it ends: said before the sender is dropped; of a branch that is dropped without a word, nothing.
    ending: Arc<OnceLock<Ending>>,
    thread: JoinHandle<Result<O>>,
    lost: u64,
}

/// What became of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offered {
    /// It waits for its turn.
    Taken,
    /// The sink is too slow: the item is lost.
    Lost,
    /// The sink has failed; [`Branch::finish`] says why.
    Failed,
}

impl<T: Send + 'static, O: Send + 'static> Branch<T, O> {
    /// Starts the thread; `capacity` items ([`Pipeline::MOST_CAPACITY`] at most) may wait for `sink`, which is finished on every path.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn start<S>(name: &'static str, capacity: usize, mut sink: S) -> std::io::Result<Self>
    where
        S: Sink<Input = T, Output = O> + Send + 'static,
    {
        let thread = named_thread(name.to_owned())?;
        let (sender, receiver) = mpsc::sync_channel(capacity.min(Pipeline::MOST_CAPACITY));
        let ending = Arc::new(OnceLock::new());
        let said = Arc::clone(&ending);
        let thread = thread.spawn(move || {
            let mut first_error = None;
            for item in &receiver {
                match catch_unwind(AssertUnwindSafe(|| sink.write(item))) {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => first_error = Some(error),
                    Err(panic) => first_error = Some(panicked(name, panic.as_ref())),
                }
                if first_error.is_some() {
                    break;
                }
            }
            // Whoever offers must see that nobody takes any more.
            drop(receiver);
            let ending = match &first_error {
                Some(_) => Ending::Failed,
                None => said.get().copied().unwrap_or(Ending::Failed),
            };
            let finished = catch_unwind(AssertUnwindSafe(|| sink.finish(ending)))
                .unwrap_or_else(|panic| Err(panicked(name, panic.as_ref())));
            match first_error {
                Some(error) => Err(error),
                None => finished,
            }
        })?;
        Ok(Self { name, sender: Some(sender), ending, thread, lost: 0 })
    }

    /// Hands an item over if there is room. Never waits.
    pub fn offer(&mut self, item: T) -> Offered {
        let Some(sender) = &self.sender else { return Offered::Failed };
        match sender.try_send(item) {
            Ok(()) => Offered::Taken,
            Err(TrySendError::Full(_)) => {
                self.lost += 1;
                Offered::Lost
            }
            Err(TrySendError::Disconnected(_)) => Offered::Failed,
        }
    }

    /// Items that found no room.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// What was asked for as a name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Has the sink work off what waits and finish. Does not wait for that.
    pub fn end(&mut self, ending: Ending) {
        self.ending.get_or_init(|| ending);
        self.sender = None;
    }

    /// Whether the sink has finished.
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Ends it, unless that was done, and waits until it has finished.
    ///
    /// # Errors
    /// The first error of the sink.
    pub fn finish(mut self, ending: Ending) -> Result<O> {
        self.end(ending);
        self.thread.join().unwrap_or_else(|panic| Err(panicked(self.name, panic.as_ref())))
    }
}

fn panicked(name: &str, panic: &(dyn std::any::Any + Send)) -> anyhow::Error {
    anyhow!("{name} panicked: {} (this is a bug in impasto; please report it)", panic_message(panic))
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::bail;

    type Finished = (Vec<u32>, Ending);

    /// Takes an item when it is allowed to.
    struct Gated {
        allowed: mpsc::Receiver<()>,
        written: Vec<u32>,
    }

    impl Sink for Gated {
        type Input = u32;
        type Output = Finished;

        fn write(&mut self, item: u32) -> Result<()> {
            let _ = self.allowed.recv();
            match item {
                13 => bail!("the disk is full"),
                14 => panic!("oh"),
                _ => self.written.push(item),
            }
            Ok(())
        }

        fn finish(&mut self, ending: Ending) -> Result<Finished> {
            Ok((std::mem::take(&mut self.written), ending))
        }
    }

    fn gated(capacity: usize) -> (mpsc::Sender<()>, Branch<u32, Finished>) {
        let (gate, allowed) = mpsc::channel();
        (gate, Branch::start("test", capacity, Gated { allowed, written: Vec::new() }).unwrap())
    }

    #[test]
    fn a_stalled_sink_loses_items_and_holds_nobody_up() {
        let (gate, mut branch) = gated(2);
        // One may already be in the sink's hands: of a hundred, three at most are kept.
        let kept = (0..100).filter(|item| branch.offer(*item) == Offered::Taken).count();
        assert!((2..=3).contains(&kept), "{kept}");
        assert_eq!(branch.lost(), 100 - kept as u64);
        drop(gate);
        let (written, ending) = branch.finish(Ending::Stopped).unwrap();
        assert_eq!((written.len(), ending), (kept, Ending::Stopped));
    }

    #[test]
    fn the_first_error_is_told_at_the_end_and_noticed_before() {
        for (item, expected) in [(13, "the disk is full"), (14, "test panicked: oh")] {
            let (gate, mut branch) = gated(8);
            branch.offer(item);
            drop(gate);
            while branch.offer(1) != Offered::Failed {
                std::thread::yield_now();
            }
            let error = branch.finish(Ending::Complete).unwrap_err();
            assert!(error.to_string().starts_with(expected), "{error}");
        }
    }
}
