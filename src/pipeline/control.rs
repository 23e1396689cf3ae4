//! How a run is told to end, from another thread or from a signal handler's thread.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crossbeam::channel::{Receiver, Sender, bounded};

type Hook = Box<dyn FnOnce() + Send>;

/// Ends a run: gently ([`Control::stop`]) or at once ([`Control::abort`]). Clones share the same run.
#[derive(Clone)]
pub struct Control {
    inner: Arc<Inner>,
}

struct Inner {
    stopped: AtomicBool,
    aborted: AtomicBool,
    opening: AtomicBool,
    /// Nothing is ever sent: dropping the sender wakes everyone who waits on the receiver.
    abort_sender: Mutex<Option<Sender<()>>>,
    abort_receiver: Receiver<()>,
    hooks: Mutex<Vec<Hook>>,
}

impl Default for Control {
    fn default() -> Self {
        Self::new()
    }
}

impl Control {
    /// A control that nobody has used yet.
    pub fn new() -> Self {
        let (abort_sender, abort_receiver) = bounded(0);
        Self {
            inner: Arc::new(Inner {
                stopped: AtomicBool::new(false),
                aborted: AtomicBool::new(false),
                opening: AtomicBool::new(false),
                abort_sender: Mutex::new(Some(abort_sender)),
                abort_receiver,
                hooks: Mutex::new(Vec::new()),
            }),
        }
    }

    /// Asks the source to end. What is under way is still finished.
    pub fn stop(&self) {
        self.inner.stopped.store(true, Ordering::SeqCst);
    }

    /// Ends every stage at its next frame, wakes those that wait, and calls the hooks. Does nothing the second time.
    pub fn abort(&self) {
        self.stop();
        if self.inner.aborted.swap(true, Ordering::SeqCst) {
            return;
        }
        if let Ok(mut sender) = self.inner.abort_sender.lock() {
            sender.take();
        }
        // Called outside the lock: a hook may use the control itself.
        let hooks = self.inner.hooks.lock().map(|mut hooks| std::mem::take(&mut *hooks)).unwrap_or_default();
        hooks.into_iter().for_each(|hook| hook());
    }

    /// Calls `hook` when the run is aborted; at once if it already is. For work that cannot look at a flag.
    pub fn on_abort(&self, hook: impl FnOnce() + Send + 'static) {
        if let Ok(mut hooks) = self.inner.hooks.lock()
            && !self.is_aborted()
        {
            hooks.push(Box::new(hook));
        } else {
            hook();
        }
    }

    /// Does what an abort cannot end, and what there is nothing to lose in: to open a network, which may take minutes.
    pub fn opening<T>(&self, open: impl FnOnce() -> T) -> T {
        self.inner.opening.store(true, Ordering::SeqCst);
        let opened = open();
        self.inner.opening.store(false, Ordering::SeqCst);
        opened
    }

    /// Whether [`Control::opening`] is under way.
    pub fn is_opening(&self) -> bool {
        self.inner.opening.load(Ordering::SeqCst)
    }

    /// Whether [`Control::stop`] or [`Control::abort`] was called.
    pub fn is_stopped(&self) -> bool {
        self.inner.stopped.load(Ordering::SeqCst)
    }

    /// Whether [`Control::abort`] was called.
    pub fn is_aborted(&self) -> bool {
        self.inner.aborted.load(Ordering::SeqCst)
    }

    /// Becomes ready (disconnected) on abort.
    pub(super) fn aborted(&self) -> &Receiver<()> {
        &self.inner.abort_receiver
    }
}
