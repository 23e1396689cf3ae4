//! `impasto learn`: a painting as a new style of a network that is there.

mod paintings;
mod photos;
mod setup;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use super::outputs::{self, KeptState};
use super::signals::{given_up, stop_on_signals, unless_given_up};
use super::{Outcome, UsageError};
use crate::cli::LearnArgs;
use crate::console::{Console, counted};
use crate::frame::Frame;
use crate::learn::Fitting;
use crate::learn::fitting::STEPS_A_CHECK;
use crate::learn::judge::HeldOutLoss;
use crate::output;
use crate::pipeline::Control;
use crate::scale::{Filter, Scaler};
use crate::stills::{Still, StillFormat};
use crate::style::LearnedStyle;
use crate::style::learned::{Description, EXTENSION, Learning, VERSION};
use setup::Setup;

/// Time that it may take where nothing is asked for.
const DEFAULT_MINUTES: f64 = 10.0;
/// How often the state of a run is written, so that a crash loses little.
const STATE_INTERVAL: Duration = Duration::from_secs(60);
/// Longer side of the painted photo in a style's file.
const PREVIEW_SIDE: usize = 256;
/// The painted photo takes no more bytes in a style's file.
const MOST_PREVIEW_BYTES: usize = 30_000;
/// Quality of a preview as JPEG.
const QUALITY: u8 = 92;

/// Runs the command.
pub fn run(args: &LearnArgs) -> Result<Outcome> {
    let (console, control) = (Console::new(args.quiet), Control::new());
    unless_given_up(learn(args, &control, console), &control, &args.output, console)
}

fn learn(args: &LearnArgs, control: &Control, console: Console) -> Result<Outcome> {
    check_outputs(args)?;
    stop_on_signals(control, console, "stopping: the best style so far is being saved (Ctrl-C again to give it up)")?;
    // Nothing is learnt yet that a second Ctrl-C could lose.
    let setup = control.opening(|| Setup::new(args, control, console))?;
    let Some(Setup { network, paintings, mut fitting, mut painter, start, photos, fingerprint, seconds_before, notes }) =
        setup.filter(|_| !control.is_stopped())
    else {
        console.line("interrupted: nothing was learnt yet");
        return Ok(Outcome::Interrupted);
    };
    let started = Instant::now();
    notes.iter().for_each(|note| console.note(note));
    let start_loss = fitting.start_loss();
    console.line(&format!("learning on {photos}, from {start}: {}", describe(start_loss)));

    let mut state = KeptState::new(outputs::state_of(&args.output), STATE_INTERVAL);
    let spent = || seconds_before + started.elapsed().as_secs_f64();
    let save_state = |path: &Path, fitting: &Fitting| -> Result<()> {
        let bytes = fitting.state(spent()).to_bytes(&fingerprint, &start)?;
        outputs::write(path, &bytes, true)
    };
    let budget = Budget::of(args);
    let mut step_seconds = Vec::new();
    let is_done = fit(&mut fitting, &budget, control, console, &spent, &mut step_seconds, |fitting| {
        if let Some(path) = &args.preview {
            write_picture(path, &painter.paint(fitting.best().0)?)?;
        }
        state.keep(console, |path| save_state(path, fitting));
        Ok(())
    })?;
    if control.is_aborted() {
        return Ok(given_up(&args.output, console));
    }

    let (parameters, loss) = fitting.best();
    let learning = Learning {
        start: start.clone(),
        photos,
        depth: args.depth,
        steps: fitting.steps(),
        seconds: spent(),
        stroke_size: args.stroke_size,
        style_weight: args.style_weight,
        start_loss: start_loss.total,
        loss: loss.total,
        content_loss: loss.content,
        style_loss: loss.style,
    };
    let description = Description {
        version: VERSION,
        network: network.name.clone(),
        network_sha256: network.sha256.clone(),
        paintings,
        learning,
    };
    let painted = painter.paint(parameters)?;
    if let Some(path) = &args.preview {
        write_picture(path, &painted)?;
    }
    let (row, convolutions) = network.parts(parameters);
    let style =
        LearnedStyle::new(description, &network.tables, row, preview(&painted)?).with_convolutions(convolutions);
    let bytes = style.to_bytes()?;
    outputs::write(&args.output, &bytes, args.overwrite || args.resume)?;
    let is_interrupted = control.is_stopped() && !is_done && budget.check_left(spent(), fitting.steps()).is_ok();
    if is_interrupted {
        save_state(state.path(), &fitting)?;
        console.line(&format!("interrupted: {} is the best style so far (go on with --resume)", args.output.display()));
    } else if state.path().exists() {
        std::fs::remove_file(state.path()).with_context(|| format!("remove '{}'", state.path().display()))?;
    }
    let ending = Ending { is_done, is_interrupted, step_seconds: median(step_seconds) };
    report(args, console, &style, bytes.len(), &ending)?;
    Ok(if is_interrupted { Outcome::Interrupted } else { Outcome::Done })
}

/// How a run ended.
struct Ending {
    is_done: bool,
    is_interrupted: bool,
    step_seconds: Option<f64>,
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

fn report(args: &LearnArgs, console: Console, style: &LearnedStyle, bytes: usize, ending: &Ending) -> Result<()> {
    let learning = &style.description.learning;
    if ending.is_done {
        console.line("ended early: the loss on held-out photos has stopped falling");
    }
    console.line(&format!(
        "{}: {:.1} kB, {} in {:.0} s, loss {:.3} → {:.3}",
        args.output.display(),
        bytes as f64 / 1e3,
        counted(learning.steps, "step"),
        learning.seconds,
        learning.start_loss,
        learning.loss,
    ));
    if args.json {
        let summary = Summary {
            output: args.output.display().to_string(),
            bytes,
            description: &style.description,
            step_seconds: ending.step_seconds,
            ended_early: ending.is_done,
            interrupted: ending.is_interrupted,
        };
        super::print_summary(&summary)?;
    }
    Ok(())
}

/// How long a run may take.
enum Budget {
    Seconds(f64),
    Steps(u64),
}

impl Budget {
    fn of(args: &LearnArgs) -> Self {
        match args.steps {
            Some(steps) => Self::Steps(steps),
            None => Self::Seconds(args.minutes.unwrap_or(DEFAULT_MINUTES) * 60.0),
        }
    }

    /// How much of it is over, 0–1.
    fn progress(&self, seconds: f64, steps: u64) -> f64 {
        match self {
            Self::Seconds(budget) => seconds / budget,
            Self::Steps(budget) => steps as f64 / *budget as f64,
        }
    }

    /// Refuses to go on where nothing of it is left.
    fn check_left(&self, seconds: f64, steps: u64) -> Result<()> {
        if self.progress(seconds, steps) < 1.0 {
            return Ok(());
        }
        let text = match self {
            Self::Seconds(budget) => format!(
                "{:.1} minutes of {:.1} are spent (expected a larger --minutes, which counts all runs together)",
                seconds / 60.0,
                budget / 60.0
            ),
            Self::Steps(budget) => {
                format!(
                    "{steps} steps of {budget} are made (expected a larger --steps, which counts all runs together)"
                )
            }
        };
        Err(UsageError(anyhow::anyhow!("there is nothing to go on with: {text}")).into())
    }
}

/// Parts in which progress is counted.
const PARTS: f64 = 10_000.0;

/// Steps until the time is over, nothing is to be gained any more (then the answer is yes), or somebody stops it. `each` is
/// called after every judgement.
fn fit(
    fitting: &mut Fitting,
    budget: &Budget,
    control: &Control,
    console: Console,
    spent: &dyn Fn() -> f64,
    step_seconds: &mut Vec<f64>,
    mut each: impl FnMut(&Fitting) -> Result<()>,
) -> Result<bool> {
    let first = budget.progress(spent(), fitting.steps());
    let mut display = console.progress_of_cost(((1.0 - first).max(0.0) * PARTS) as u64);
    let mut is_done = false;
    let mut steps_since_check = 0;
    let mut run = || -> Result<()> {
        loop {
            let progress = budget.progress(spent(), fitting.steps());
            let is_over = progress >= 1.0 || control.is_stopped();
            if control.is_aborted() {
                return Ok(());
            }
            if steps_since_check >= STEPS_A_CHECK || (is_over && steps_since_check > 0) {
                let check = fitting.check()?;
                steps_since_check = 0;
                tracing::info!(
                    "step {}: held-out {}{}",
                    fitting.steps(),
                    describe(check.loss),
                    if check.is_best { ", the best so far" } else { "" }
                );
                is_done = check.is_done;
                each(fitting)?;
            }
            if is_over || is_done {
                return Ok(());
            }
            let started = Instant::now();
            let step = fitting.step(progress as f32)?;
            step_seconds.push(started.elapsed().as_secs_f64());
            steps_since_check += 1;
            let text = format!("step {}  {}", step.step, describe(fitting.best().1));
            display.update_cost(((progress - first) * PARTS) as u64, &text);
        }
    };
    let result = run();
    display.end();
    result.map(|()| is_done)
}

fn describe(loss: HeldOutLoss) -> String {
    format!("loss {:.3} (content {:.3}, style {:.3})", loss.total, loss.content, loss.style)
}

/// Refuses, before anything is learnt, files that could not be written.
fn check_outputs(args: &LearnArgs) -> Result<()> {
    let shown = args.output.display();
    if !args.output.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(EXTENSION)) {
        let text = format!("'{shown}' does not end like a style (expected a name that ends in .{EXTENSION})");
        return Err(UsageError(anyhow::anyhow!(text)).into());
    }
    if output::is_taken(&args.output) && !args.overwrite && !args.resume {
        bail!("'{shown}' exists already (choose another name, -y to replace it, or --resume to go on with it)");
    }
    if let Some(preview) = &args.preview {
        outputs::picture_format(preview)?;
    }
    let state = outputs::state_of(&args.output);
    if state.exists() && !args.overwrite && !args.resume {
        bail!(
            "'{}' is what an interrupted run left (expected --resume to go on with it, or -y to begin anew)",
            state.display()
        );
    }
    for path in [Some(&args.output), args.preview.as_ref()].into_iter().flatten() {
        if args.paintings.iter().any(|painting| outputs::is_same(painting, path)) {
            bail!("'{}' would replace a painting (choose another name)", path.display());
        }
    }
    // Whoever goes on with a style has it there already; what it painted for a look may be anything else by now.
    outputs::check(&args.output, args.overwrite || args.resume)?;
    if let Some(preview) = &args.preview {
        outputs::check(preview, args.overwrite)?;
    }
    outputs::check(&state, true)
}

fn write_picture(path: &Path, frame: &Frame) -> Result<()> {
    let bytes = encode(frame, outputs::picture_format(path)?, QUALITY)?;
    outputs::write(path, &bytes, true)
}

fn encode(frame: &Frame, format: StillFormat, quality: u8) -> Result<Vec<u8>> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    Still::plain(frame.size, format, None)
        .encode(frame, format, quality, &mut bytes)
        .context("encode the painted photo")?;
    Ok(bytes.into_inner())
}

/// A painted photo as small as a style's file wants it.
fn preview(painted: &Frame) -> Result<Vec<u8>> {
    let mut small = Frame::black(painted.size.with_long_side_at_most(PREVIEW_SIDE));
    Scaler::new().scale_rgb(painted.size, painted.pixels(), small.size, small.pixels_mut(), Filter::Box)?;
    for quality in [85, 70, 50, 30] {
        let bytes = encode(&small, StillFormat::Jpeg, quality)?;
        if bytes.len() <= MOST_PREVIEW_BYTES {
            return Ok(bytes);
        }
    }
    Ok(Vec::new())
}

/// What was learnt, for programs.
#[derive(Debug, Serialize)]
struct Summary<'a> {
    output: String,
    bytes: usize,
    #[serde(flatten)]
    description: &'a Description,
    /// The median.
    step_seconds: Option<f64>,
    ended_early: bool,
    interrupted: bool,
}
