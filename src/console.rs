//! The only code that writes to the terminal: progress, notes and errors on stderr, data on stdout.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::pipeline::StageSnapshot;

/// Writes for people to stderr, unless they asked for quiet.
#[derive(Debug, Clone, Copy)]
pub struct Console {
    is_quiet: bool,
}

impl Console {
    /// A console; `is_quiet` leaves errors only.
    pub fn new(is_quiet: bool) -> Self {
        Self { is_quiet }
    }

    /// Something worth knowing.
    pub fn note(&self, text: &str) {
        self.line(&format!("note: {text}"));
    }

    /// Something that may not be what the user wants.
    pub fn warning(&self, text: &str) {
        self.line(&format!("warning: {text}"));
    }

    /// What makes the run a failure although there is a result; shown even when quiet.
    pub fn error_line(&self, text: &str) {
        write_stderr(&format!("error: {text}"));
    }

    /// A plain line.
    pub fn line(&self, text: &str) {
        if !self.is_quiet {
            write_stderr(text);
        }
    }

    /// Progress over `total` frames, if known.
    pub fn progress(&self, total: Option<u64>) -> Progress {
        Progress::new(self.is_quiet, total, "frames")
    }

    /// Progress over `total` pictures.
    pub fn progress_of_pictures(&self, total: u64) -> Progress {
        Progress::new(self.is_quiet, Some(total), "pictures")
    }

    /// Progress towards `total`, in units that only say how far it is.
    pub fn progress_of_cost(&self, total: u64) -> Progress {
        Progress::new(self.is_quiet, Some(total), "")
    }

    /// What each stage did with its time.
    pub fn stages(&self, stages: &[StageSnapshot]) {
        self.line("stage        frames     busy  a frame   waiting for input   for output");
        stages.iter().for_each(|stage| self.line(&stage_line(stage)));
        if stages.iter().any(|stage| stage.workers > 1) {
            self.line("×: threads side by side; busy and waiting are the mean of theirs, a frame is the pace of all");
        }
    }
}

fn stage_line(stage: &StageSnapshot) -> String {
    let name = match stage.workers {
        1 => stage.name.to_owned(),
        workers => format!("{} ×{workers}", stage.name),
    };
    let a_frame = stage.busy.as_secs_f64() * 1e3 / stage.items.max(1) as f64;
    format!(
        "{name:<10} {:>8} {:>7.2}s {a_frame:>6.2}ms {:>18.2}s {:>11.2}s",
        stage.items,
        stage.busy.as_secs_f64(),
        stage.waiting_for_input.as_secs_f64(),
        stage.waiting_for_output.as_secs_f64(),
    )
}

/// The one error of a run.
pub fn error(error: &anyhow::Error) {
    write_stderr(&format!("error: {error:#}"));
}

/// Data on stdout. A reader that has gone away is no error.
///
/// # Errors
/// If stdout cannot be written for another reason.
pub fn data(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

fn write_stderr(text: &str) {
    // Names of files, tensors and styles are others' texts. Where stderr cannot be written there is nowhere left to say so.
    let lines: Vec<String> = text.split('\n').map(printable).collect();
    let _ = writeln!(io::stderr().lock(), "{}", lines.join("\n"));
}

/// A text of others on one line, without what a terminal would obey.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\t' { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// How many there are of what is called by a word: `1 frame`, `2 frames`.
pub fn counted(count: u64, word: &str) -> String {
    format!("{count} {word}{}", if count == 1 { "" } else { "s" })
}

/// A bar on a terminal, a line now and then elsewhere, nothing when quiet.
pub struct Progress {
    display: Display,
    total: Option<u64>,
    /// What is counted.
    unit: &'static str,
    started: Instant,
    /// What was done before that.
    begun_at: u64,
}

enum Display {
    Bar(ProgressBar),
    Lines { last: Instant },
    Nothing,
}

impl Progress {
    /// How often a line is written where there is no terminal.
    const LINE_INTERVAL: Duration = Duration::from_secs(5);

    fn new(is_quiet: bool, total: Option<u64>, unit: &'static str) -> Self {
        let started = Instant::now();
        let display = if is_quiet {
            Display::Nothing
        } else if io::stderr().is_terminal() {
            let target = ProgressDrawTarget::stderr_with_hz(10);
            let bar = ProgressBar::with_draw_target(total, target);
            let template = match total {
                Some(_) if unit.is_empty() => "{bar:28}  {msg}".to_owned(),
                Some(_) => format!("{{bar:28}} {{pos}} of {{len}} {unit}  {{msg}}"),
                None => format!("{{spinner}} {{pos}} {unit}  {{msg}}"),
            };
            if let Ok(style) = ProgressStyle::with_template(&template) {
                bar.set_style(style);
            }
            Display::Bar(bar)
        } else {
            Display::Lines { last: started }
        };
        Self { display, total, unit, started, begun_at: 0 }
    }

    /// Says that so many are done already: they took no time.
    pub fn begin_at(&mut self, done: u64) {
        (self.begun_at, self.started) = (done, Instant::now());
    }

    /// Shows that `frames` are done, that they last `media_time` (zero: not known), and which stage sets the pace.
    pub fn update(&mut self, frames: u64, media_time: Duration, slowest: Option<&str>) {
        if !self.is_due() {
            return;
        }
        let rate_unit = if self.unit == "frames" { "fps" } else { "a second" };
        let (done, total) =
            (frames.saturating_sub(self.begun_at), self.total.map(|total| total.saturating_sub(self.begun_at)));
        let message = rates(done, total, self.started.elapsed(), media_time, slowest, rate_unit);
        self.show(frames, message);
    }

    /// Shows that `frames` are done and what `message` says, if it is time to.
    pub fn update_with(&mut self, frames: u64, message: impl FnOnce() -> String) {
        if self.is_due() {
            self.show(frames, message());
        }
    }

    /// Shows that `cost` of the total is spent, with what there is to say and the time left.
    pub fn update_cost(&mut self, cost: u64, text: &str) {
        let left = time_left(cost, self.total, self.started.elapsed());
        self.update_with(cost, || match left {
            Some(left) => format!("{text}  ETA {}", clock(left)),
            None => text.to_owned(),
        });
    }

    fn is_due(&self) -> bool {
        match &self.display {
            Display::Bar(_) => true,
            Display::Lines { last } => last.elapsed() >= Self::LINE_INTERVAL,
            Display::Nothing => false,
        }
    }

    fn show(&mut self, frames: u64, message: String) {
        match &mut self.display {
            Display::Bar(bar) => {
                // A guess that was too low must not show "140 of 132".
                if self.total.is_some_and(|total| frames > total) {
                    bar.set_length(frames);
                }
                bar.set_message(message);
                bar.set_position(frames);
            }
            Display::Lines { last } => {
                *last = Instant::now();
                if self.unit.is_empty() {
                    write_stderr(&message);
                    return;
                }
                let of_total = self.total.map(|total| format!(" of {total}")).unwrap_or_default();
                write_stderr(&format!("{frames}{of_total} {}  {message}", self.unit));
            }
            Display::Nothing => {}
        }
    }

    /// Takes the bar away.
    pub fn end(&mut self) {
        if let Display::Bar(bar) = &self.display {
            bar.finish_and_clear();
        }
        self.display = Display::Nothing;
    }
}

fn rates(
    frames: u64,
    total: Option<u64>,
    elapsed: Duration,
    media_time: Duration,
    slowest: Option<&str>,
    rate_unit: &str,
) -> String {
    let seconds = elapsed.as_secs_f64().max(1e-9);
    let fps = frames as f64 / seconds;
    let mut parts = vec![format!("{fps:.1} {rate_unit}")];
    if !media_time.is_zero() {
        parts.push(format!("{:.2}×", media_time.as_secs_f64() / seconds));
    }
    if let Some(left) = time_left(frames, total, elapsed) {
        parts.push(format!("ETA {}", clock(left)));
    }
    if let Some(slowest) = slowest {
        parts.push(format!("slowest: {slowest}"));
    }
    parts.join("  ")
}

/// Seconds until `total` is reached at the pace so far.
fn time_left(done: u64, total: Option<u64>, elapsed: Duration) -> Option<u64> {
    let total = total.filter(|total| *total > done && done > 0)?;
    Some(((total - done) as f64 * elapsed.as_secs_f64() / done as f64).round() as u64)
}

fn clock(seconds: u64) -> String {
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, minutes, seconds) => format!("{minutes}:{seconds:02}"),
        (hours, minutes, seconds) => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_others_do_not_command_the_terminal() {
        assert_eq!(printable("name\u{1b}[31m\u{7}\tend"), "name\u{fffd}[31m\u{fffd}\tend");
    }

    #[test]
    fn rates_tell_speed_time_left_and_the_slowest_stage() {
        let text = rates(50, Some(150), Duration::from_secs(10), Duration::from_secs(2), Some("stylize"), "fps");
        assert_eq!(text, "5.0 fps  0.20×  ETA 0:20  slowest: stylize");
        let without_total = rates(50, None, Duration::from_secs(10), Duration::from_secs(2), None, "fps");
        assert_eq!(without_total, "5.0 fps  0.20×");
    }

    #[test]
    fn one_is_no_plural() {
        assert_eq!([0, 1, 2].map(|count| counted(count, "frame")), ["0 frames", "1 frame", "2 frames"]);
    }

    #[test]
    fn long_times_show_hours() {
        assert_eq!([59, 61, 3661].map(clock), ["0:59", "1:01", "1:01:01"]);
    }

    #[test]
    fn a_stage_of_several_threads_says_how_many() {
        let stage = StageSnapshot {
            name: "stylize",
            workers: 2,
            items: 100,
            lost: 0,
            busy: Duration::from_secs(5),
            waiting_for_input: Duration::ZERO,
            waiting_for_output: Duration::from_millis(500),
        };
        assert_eq!(stage_line(&stage), "stylize ×2      100    5.00s  50.00ms               0.00s        0.50s");
        assert!(stage_line(&StageSnapshot { workers: 1, ..stage }).starts_with("stylize         100 "));
    }
}
