//! What ends a run from outside: Ctrl-C, a request to terminate, a terminal that is closed.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use super::Outcome;
use crate::console::Console;
use crate::pipeline::Control;

/// The signals that end a run. A closed terminal ends none that was started to outlive it (`nohup`).
pub(super) fn that_end() -> Vec<i32> {
    let mut signals = vec![SIGINT, SIGTERM];
    signals.extend((!is_hangup_ignored()).then_some(SIGHUP));
    signals
}

/// Whether the program was started with the signal of a closed terminal ignored. Where the system does not say, it was not.
fn is_hangup_ignored() -> bool {
    let ignored = std::fs::read_to_string("/proc/self/status").ok().and_then(|status| {
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?.trim().to_owned();
        u64::from_str_radix(&mask, 16).ok()
    });
    ignored.is_some_and(|mask| mask & (1 << (SIGHUP - 1)) != 0)
}

/// What is said to the first Ctrl-C while a file is written.
pub(super) const FINISHING: &str = "stopping: the file is being finished (Ctrl-C again to give it up)";

/// What is said to it where there is nothing to finish: while a network is opened, of live pictures, or of a sheet.
pub(super) const STOPPING: &str = "stopping (Ctrl-C again to end at once)";

/// First Ctrl-C: stop, saying so. Second: give up; while a network is being opened, which nothing else ends, the system
/// ends the process, and also at the first request to terminate.
pub(super) fn stop_on_signals(control: &Control, console: Console, stopping: &'static str) -> Result<()> {
    let mut signals = Signals::new(that_end()).context("listen for Ctrl-C")?;
    let control = control.clone();
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for signal in signals.forever() {
                // A closed terminal tells once, and its shell again: that is no second wish.
                if control.is_stopped() && signal == SIGHUP {
                    continue;
                }
                // Ctrl-C is asked for twice, as it says; whoever sends the other signal does not read.
                if control.is_opening() && (control.is_stopped() || signal == SIGTERM) {
                    if let Err(error) = emulate_default_handler(signal) {
                        tracing::debug!("signal {signal}: {error}");
                    }
                } else if control.is_stopped() {
                    control.abort();
                } else {
                    control.stop();
                    console.line(if control.is_opening() { STOPPING } else { stopping });
                }
            }
        })
        .context("start a thread")?;
    Ok(())
}

/// What a run that writes `output` comes to: where it was given up, what failed because of that is no error.
pub(super) fn unless_given_up(
    result: Result<Outcome>,
    control: &Control,
    output: &Path,
    console: Console,
) -> Result<Outcome> {
    match result {
        Err(_) if control.is_aborted() => Ok(given_up(output, console)),
        other => other,
    }
}

/// The end of a run whose output is not wanted any more.
pub(super) fn given_up(output: &Path, console: Console) -> Outcome {
    console.line(&format!("interrupted: '{}' was not written", output.display()));
    Outcome::Interrupted
}

/// A file that outgrows the limit of its user becomes an error of the write, like a full disk, and ends nothing without a word.
pub(super) fn outlive_file_limits() {
    let ignored = Arc::new(AtomicBool::new(false));
    if let Err(error) = signal_hook::flag::register(SIGXFSZ, ignored) {
        tracing::debug!("listen for the limit of files: {error}");
    }
}
