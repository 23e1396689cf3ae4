//! The threads between source and sink: who waits for whom, who ends when, and whose error is shown.
//!
//! One named thread a stage, the sink on the calling thread, bounded channels between them. The rules:
//!
//! 1. A stage owns its receiver and its sender. The end of the stream is a dropped sender.
//! 2. A failed send means that downstream has left: the stage ends without an error of its own.
//! 3. The first error wins, with the name of its stage and the number of its frame; later ones are logged, and so are all
//!    that come after an abort, which is what the run failed of.
//! 4. [`Control::stop`] ends the source and drains the rest, so that the file is finished. [`Control::abort`] ends
//!    every stage at its next frame, and wakes those that wait on a channel.
//! 5. [`Sink::finish`] is called once on every path, but where a thread cannot be started; every thread is joined before
//!    [`Pipeline::run`] returns.
//! 6. A live source does not wait: the edge behind it keeps the freshest item ([`Wiring::live_source`]), and what was
//!    overwritten is counted. It is the only place of a run where items are lost.
//! 7. Several workers may share a stage ([`Wiring::parallel`]): its items come out in order, and credits bound how many
//!    are under way.
//!
//! This room knows the traits, not what a stage does.

mod branch;
mod control;
mod edge;
mod parallel;
mod stats;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use crossbeam::channel::{Sender, select};

pub use branch::{Branch, Offered};
pub use control::Control;
pub use edge::Flow;
use edge::{Put, Received};
use stats::StageStats;
pub use stats::{PipelineStats, StageSnapshot};

/// Where items come from.
pub trait Source: Send {
    /// What it makes.
    type Item: Send;

    /// The next item, or `None` at the end.
    ///
    /// # Errors
    /// Whatever keeps the source from going on; the run fails with it.
    fn next(&mut self) -> Result<Option<Self::Item>>;
}

/// One item in, one item out, in order.
pub trait Stage: Send {
    /// What it takes.
    type Input: Send;
    /// What it makes.
    type Output: Send;

    /// Turns one item into another.
    ///
    /// # Errors
    /// Whatever keeps the stage from going on; the run fails with it.
    fn process(&mut self, item: Self::Input) -> Result<Self::Output>;
}

impl<S: Stage> Stage for &mut S {
    type Input = S::Input;
    type Output = S::Output;

    fn process(&mut self, item: Self::Input) -> Result<Self::Output> {
        (**self).process(item)
    }
}

/// Where items end. Runs on the thread that called [`Pipeline::run`].
pub trait Sink {
    /// What it takes.
    type Input: Send;
    /// What it returns when all is done.
    type Output;

    /// Takes one item.
    ///
    /// # Errors
    /// Whatever keeps the sink from going on; the run fails with it.
    fn write(&mut self, item: Self::Input) -> Result<()>;

    /// How long to wait for an item before [`Sink::idle`] is called; `None`: as long as it takes.
    fn patience(&self) -> Option<Duration> {
        None
    }

    /// Called when no item has come for as long as [`Sink::patience`] says.
    ///
    /// # Errors
    /// Whatever keeps the sink from going on; the run fails with it.
    fn idle(&mut self) -> Result<()> {
        Ok(())
    }

    /// Ends the output; called once on every path, after the last [`Sink::write`].
    ///
    /// # Errors
    /// Whatever keeps the output from being complete.
    fn finish(&mut self, ending: Ending) -> Result<Self::Output>;
}

/// How a run came to its end, as the sink is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The source had no more.
    Complete,
    /// Somebody asked to stop: what is there is finished properly.
    Stopped,
    /// A stage failed or the run was aborted: what is there is thrown away.
    Failed,
}

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A stage returned an error.
    #[error("{stage} failed{}", at_frame(*.item))]
    Stage {
        /// Name of the stage.
        stage: &'static str,
        /// The item that it was at, counted from 0; `None` while finishing.
        item: Option<u64>,
        /// What the stage said.
        source: anyhow::Error,
    },
    /// A stage panicked: a bug of ours.
    #[error("{stage} panicked{}: {message} (this is a bug in impasto; please report it)", at_frame(*.item))]
    Panicked {
        /// Name of the stage.
        stage: &'static str,
        /// The item that it was at, counted from 0.
        item: Option<u64>,
        /// What the panic said.
        message: String,
    },
    /// A thread could not be started.
    #[error("cannot start a thread")]
    Thread(#[source] std::io::Error),
    /// [`Control::abort`] was called, before anything failed.
    #[error("aborted")]
    Aborted,
}

fn at_frame(item: Option<u64>) -> String {
    item.map(|item| format!(" at frame {item}")).unwrap_or_default()
}

/// What a run shares between its threads.
struct Shared {
    control: Control,
    /// The number of the first item, for people.
    first_item: u64,
    first_error: Mutex<Option<RunError>>,
    stats: PipelineStats,
}

impl Shared {
    fn fail(&self, error: RunError) {
        match self.first_error.lock() {
            // What was ended in the middle by an abort: the run says so itself.
            _ if self.control.is_aborted() => tracing::debug!("after the abort: {error:#}"),
            Ok(mut slot) if slot.is_none() => *slot = Some(error),
            // Networks that fail together.
            _ => tracing::debug!("after the first error: {error:#}"),
        }
    }

    fn has_failed(&self) -> bool {
        self.first_error.lock().map_or(true, |slot| slot.is_some())
    }

    /// Runs one step of a stage; an error or a panic is recorded and gives `None`.
    fn guard<T>(&self, stage: &'static str, item: Option<u64>, step: impl FnOnce() -> Result<T>) -> Option<T> {
        let item = item.map(|item| self.first_item + item);
        match catch_unwind(AssertUnwindSafe(step)) {
            Ok(Ok(value)) => Some(value),
            Ok(Err(source)) => {
                self.fail(RunError::Stage { stage, item, source });
                None
            }
            Err(payload) => {
                self.fail(RunError::Panicked { stage, item, message: panic_message(payload.as_ref()) });
                None
            }
        }
    }
}

fn panic_message(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "no message".to_owned()
    }
}

/// One run: how deep the channels are, who may stop it, and what its stages did.
pub struct Pipeline {
    shared: Arc<Shared>,
    capacity: usize,
}

impl Pipeline {
    /// Items that wait between two stages unless asked otherwise: one being taken and one ready, so that a short
    /// hiccup of a stage does not starve the next; more only costs memory and latency.
    pub const DEFAULT_CAPACITY: usize = 2;
    /// More are taken for this many: room for them all is made beforehand.
    pub const MOST_CAPACITY: usize = 1 << 16;

    /// A run with channels of `capacity` items (0: a stage hands over only when the next one takes), [`Pipeline::MOST_CAPACITY`] at most.
    pub fn new(control: Control, capacity: usize) -> Self {
        Self::from_item(0, control, capacity)
    }

    /// The same where the source goes on with an item of this number: errors count from there.
    pub fn from_item(first_item: u64, control: Control, capacity: usize) -> Self {
        let shared = Shared { control, first_item, first_error: Mutex::new(None), stats: PipelineStats::default() };
        Self { shared: Arc::new(shared), capacity: capacity.min(Self::MOST_CAPACITY) }
    }

    /// A handle to the statistics, live while the run goes on.
    pub fn stats(&self) -> PipelineStats {
        self.shared.stats.clone()
    }

    /// Starts the stages that `wire` asks for and returns when every thread has ended.
    ///
    /// Blocks until the source ends, a stage fails, or [`Control`] says so.
    ///
    /// # Errors
    /// The first error of any stage, or [`RunError::Aborted`].
    pub fn run<'env, T>(
        self,
        wire: impl for<'scope> FnOnce(&Wiring<'scope, 'env>) -> Result<Option<T>, RunError>,
    ) -> Result<T, RunError> {
        let outcome =
            thread::scope(|scope| wire(&Wiring { scope, shared: Arc::clone(&self.shared), capacity: self.capacity }));
        let first_error = self.shared.first_error.lock().ok().and_then(|mut slot| slot.take());
        match (first_error, outcome) {
            (Some(error), _) => Err(error),
            (None, Err(error)) => Err(error),
            (None, Ok(Some(value))) => Ok(value),
            (None, Ok(None)) => Err(RunError::Aborted),
        }
    }
}

/// Connects sources, stages and a sink inside [`Pipeline::run`].
pub struct Wiring<'scope, 'env: 'scope> {
    scope: &'scope thread::Scope<'scope, 'env>,
    shared: Arc<Shared>,
    capacity: usize,
}

impl<'scope> Wiring<'scope, '_> {
    /// Starts the thread of a source.
    ///
    /// # Errors
    /// [`RunError::Thread`] if the thread cannot be started.
    pub fn source<S: Source + 'scope>(&self, name: &'static str, mut source: S) -> Result<Flow<S::Item>, RunError>
    where
        S::Item: 'scope,
    {
        let (sender, flow) = edge::queue(self.capacity);
        let port = self.port(name, 1);
        self.spawn(name, move || {
            port.draw_from(&mut source, |port, value| port.send(&sender, value));
            // The source goes before the sender: whoever sees the end of the stream may rely on it being closed.
            drop(source);
        })?;
        Ok(flow)
    }

    /// Starts the thread of a source that does not wait for the stage behind it: that one gets the freshest item, and
    /// [`StageSnapshot::lost`] counts those that it never saw.
    ///
    /// # Errors
    /// [`RunError::Thread`] if the thread cannot be started.
    pub fn live_source<S: Source + 'scope>(&self, name: &'static str, mut source: S) -> Result<Flow<S::Item>, RunError>
    where
        S::Item: 'scope,
    {
        let (sender, flow) = edge::freshest();
        let port = self.port(name, 1);
        self.spawn(name, move || {
            port.draw_from(&mut source, |port, value| match sender.put(value) {
                Put::Kept => true,
                Put::Replaced => {
                    port.stats.add_lost();
                    true
                }
                Put::Left => false,
            });
            drop(source);
        })?;
        Ok(flow)
    }

    /// Starts the thread of a stage that takes from `input`.
    ///
    /// # Errors
    /// [`RunError::Thread`] if the thread cannot be started.
    pub fn stage<S: Stage + 'scope>(
        &self,
        name: &'static str,
        mut input: Flow<S::Input>,
        mut stage: S,
    ) -> Result<Flow<S::Output>, RunError>
    where
        S::Input: 'scope,
        S::Output: 'scope,
    {
        let (sender, flow) = edge::queue(self.capacity);
        let port = self.port(name, 1);
        self.spawn(name, move || {
            for item in 0.. {
                let Received::Item(value) = port.receive(&mut input, None) else { break };
                let Some(processed) = port.work(Some(item), || stage.process(value)) else { break };
                port.stats.add_item();
                if !port.send(&sender, processed) {
                    break;
                }
            }
        })?;
        Ok(flow)
    }

    /// Runs a sink on this thread until its input ends, then finishes it. `None`: the run failed or was aborted,
    /// and [`Pipeline::run`] says why.
    ///
    /// # Errors
    /// None of its own; the signature fits the closure of [`Pipeline::run`].
    pub fn sink<S: Sink>(
        &self,
        name: &'static str,
        mut input: Flow<S::Input>,
        sink: &mut S,
    ) -> Result<Option<S::Output>, RunError> {
        let port = self.port(name, 1);
        let mut item = 0;
        loop {
            let worked = match port.receive(&mut input, sink.patience()) {
                Received::Item(value) => {
                    let worked = port.work(Some(item), || sink.write(value));
                    if worked.is_some() {
                        port.stats.add_item();
                    }
                    item += 1;
                    worked
                }
                Received::Nothing => port.work(Some(item), || sink.idle()),
                Received::End => break,
            };
            if worked.is_none() {
                break;
            }
        }
        // Upstream must see that nobody takes any more before this thread waits for it in `finish` or at the join.
        drop(input);
        let ending = if self.shared.has_failed() || self.shared.control.is_aborted() {
            Ending::Failed
        } else if self.shared.control.is_stopped() {
            Ending::Stopped
        } else {
            Ending::Complete
        };
        let output = port.work(None, || sink.finish(ending));
        Ok(output.filter(|_| ending != Ending::Failed))
    }

    fn port(&self, name: &'static str, workers: u32) -> Port {
        Port { name, stats: self.shared.stats.register(name, workers), shared: Arc::clone(&self.shared) }
    }

    fn spawn(&self, name: impl Into<String>, body: impl FnOnce() + Send + 'scope) -> Result<(), RunError> {
        let thread = named_thread(name.into()).map_err(RunError::Thread)?;
        thread.spawn_scoped(self.scope, body).map(|_| ()).map_err(RunError::Thread)
    }
}

/// A thread to be of this name, which the system takes without NUL only.
fn named_thread(name: String) -> std::io::Result<thread::Builder> {
    if name.contains('\0') {
        let text = format!("{name:?} is no name of a thread (expected one without NUL)");
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, text));
    }
    Ok(thread::Builder::new().name(name))
}

/// What every stage does around its work: wait for input, work, wait for room, and keep the times.
#[derive(Clone)]
struct Port {
    name: &'static str,
    stats: Arc<StageStats>,
    shared: Arc<Shared>,
}

impl Port {
    /// Takes one item after the other from `source` and gives it to `deliver`, until that says `false` or the run ends.
    fn draw_from<S: Source>(&self, source: &mut S, mut deliver: impl FnMut(&Self, S::Item) -> bool) {
        let control = self.shared.control.clone();
        for item in 0.. {
            if control.is_stopped() || control.is_aborted() {
                break;
            }
            let Some(Some(value)) = self.work(Some(item), || source.next()) else { break };
            self.stats.add_item();
            if !deliver(self, value) {
                break;
            }
        }
    }

    /// The next item, or that the stream has ended or the run is aborted.
    fn receive<T>(&self, input: &mut Flow<T>, patience: Option<Duration>) -> Received<T> {
        let start = Instant::now();
        let received = input.receive(&self.shared.control, patience);
        self.stats.add_waiting_for_input(start.elapsed());
        if self.shared.control.is_aborted() { Received::End } else { received }
    }

    /// Whether the item was taken; `false`: downstream has left or the run is aborted.
    fn send<T>(&self, sender: &Sender<T>, item: T) -> bool {
        let start = Instant::now();
        let sent = select! {
            send(sender, item) -> sent => sent.is_ok(),
            recv(self.shared.control.aborted()) -> _ => false,
        };
        self.stats.add_waiting_for_output(start.elapsed());
        sent
    }

    fn work<T>(&self, item: Option<u64>, step: impl FnOnce() -> Result<T>) -> Option<T> {
        let start = Instant::now();
        let done = self.shared.guard(self.name, item, step);
        self.stats.add_busy(start.elapsed());
        done
    }
}
