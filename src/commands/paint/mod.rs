//! `impasto paint`: one picture in the style of any painting, by optimization.

mod heatmap;
mod report;
mod setup;
mod state;
mod sweep;

use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use super::outputs::{self, KeptState};
use super::signals::{STOPPING, given_up, stop_on_signals, unless_given_up};
use super::{Outcome, UsageError};
use crate::cli::{PaintArgs, PaintSearchArgs};
use crate::console::{Console, counted};
use crate::frame::Frame;
use crate::gatys::objective::TooSmall;
use crate::gatys::{Ending, Losses, Optimizer, Painting, Picture, Progress};
use crate::output::folder_of;
use crate::pipeline::Control;
use crate::stills::Still;
use crate::style::pixels::{Mix, mix_in_place};
use report::Trace;
use setup::Setup;
pub use setup::{WHOLE_BYTES, check_memory, read_style, read_vgg};
use sweep::Sweep;

/// How much time a painting may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// To try things out.
    Fast,
    /// Worth looking at.
    Good,
    /// As good as it gets.
    Best,
}

impl Preset {
    /// The presets by name.
    pub const NAMES: [(&str, Self); 3] = [("fast", Self::Fast), ("good", Self::Good), ("best", Self::Best)];

    fn size(self) -> u32 {
        match self {
            Self::Fast => 384,
            Self::Good => 512,
            Self::Best => 768,
        }
    }

    fn iterations(self) -> u64 {
        match self {
            Self::Fast => 40,
            Self::Good => 100,
            Self::Best => 250,
        }
    }
}

/// How the content's colours are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepColor {
    /// Lightness is painted, colours stay.
    Luminance,
    /// The style gets the content's mean and covariance of colours before anything else.
    Match,
}

impl KeepColor {
    /// The ways by name.
    pub const NAMES: [(&str, Self); 2] = [("luminance", Self::Luminance), ("match", Self::Match)];
}

/// What is said to the first Ctrl-C.
const SAVING: &str = "stopping: the painting so far is being saved (Ctrl-C again to give it up)";

/// How often the state of a run is written, so that a crash loses little.
const STATE_INTERVAL: Duration = Duration::from_secs(60);

/// Runs the command.
pub fn run(args: &PaintArgs) -> Result<Outcome> {
    let (console, control) = (Console::new(args.quiet), Control::new());
    unless_given_up(paint(args, &control, console), &control, &args.output, console)
}

fn paint(args: &PaintArgs, control: &Control, console: Console) -> Result<Outcome> {
    let started = Instant::now();
    check_search(&args.search)?;
    check_outputs(args)?;
    let sweep = args.report.sweep.as_deref().map(Sweep::parse).transpose()?;
    stop_on_signals(control, console, if sweep.is_some() { STOPPING } else { SAVING })?;
    // Nothing is painted yet that a second Ctrl-C could lose.
    let setup = control.opening(|| Setup::read(args, control, console))?;
    if control.is_stopped() {
        console.line("interrupted: nothing was painted yet");
        return Ok(Outcome::Interrupted);
    }
    setup.notes.iter().for_each(|note| console.note(note));
    if let Some(sweep) = &sweep {
        return sweep.run(args, &setup, control, console);
    }
    let mut painting = setup.painting(&setup.settings)?;
    let size = args.search.size.unwrap_or_else(|| args.preset.size());
    check_memory(&painting, size, "--size", console).with_context(|| format!("paint '{}'", args.content.display()))?;
    let fingerprint = setup.fingerprint();
    if let Some(resume) = &args.search.resume {
        state::resume(&mut painting, resume, &fingerprint)?;
    }
    let mut trace = Trace::default();
    // A painting that is gone on with has the previews of before.
    let before = iterations_before(&painting);
    let mut previews = args.report.preview_every.map_or(0, |every| before / every);
    check_previews(args, previews + 1)?;
    let mut state = KeptState::new(outputs::state_of(&args.output), STATE_INTERVAL);
    let ended = optimize(&mut painting, control, console, |progress, painting| {
        trace.push(progress, started.elapsed().as_secs_f64());
        if args.report.preview_every.is_some_and(|every| (before + trace.len() as u64).is_multiple_of(every)) {
            previews += 1;
            save(args, &setup, &painting.picture(), &preview_path(&args.output, previews), args.overwrite)?;
        }
        state.keep(console, |path| state::save(path, &painting.state(), &fingerprint));
        Ok(())
    });
    let diverged = match &ended {
        Err(error) if error.is::<Ending>() => true,
        Err(_) => return ended.map(|_| Outcome::Done),
        Ok(()) => false,
    };
    if control.is_aborted() {
        return Ok(given_up(&args.output, console));
    }
    let picture = painting.picture();
    save(args, &setup, &picture, &args.output, may_overwrite(args))?;
    trace.write(&args.report)?;
    if diverged {
        console.line(&format!("the last good picture is saved as '{}'", args.output.display()));
        return ended.map(|()| Outcome::Done);
    }
    if control.is_stopped() {
        state::save(state.path(), &painting.state(), &fingerprint)?;
        console.line(&format!(
            "interrupted: {} is the painting so far (go on with --resume {})",
            args.output.display(),
            state.path().display()
        ));
    } else if state.path().exists() {
        std::fs::remove_file(state.path()).with_context(|| format!("remove '{}'", state.path().display()))?;
    }
    if let Some(path) = &args.report.heatmap {
        match heatmap::write(path, &setup, &picture) {
            Err(_) if control.is_aborted() => drop(given_up(path, console)),
            written => written?,
        }
    }
    let summary = Summary {
        content: args.content.display().to_string(),
        styles: &args.styles,
        output: args.output.display().to_string(),
        width: picture.size.width,
        height: picture.size.height,
        iterations: before + trace.len() as u64,
        seconds: started.elapsed().as_secs_f64(),
        total_loss: trace.last().map(|losses| losses.total),
        content_loss: trace.last().map(Losses::content),
        style_loss: trace.last().map(Losses::style),
        interrupted: control.is_stopped(),
    };
    if args.report.json {
        super::print_summary(&summary)?;
    }
    console.line(&format!(
        "{}: {}, {} in {:.1} s{}",
        args.output.display(),
        picture.size,
        counted(trace.len() as u64, "iteration"),
        summary.seconds,
        trace.last().map(|losses| format!(", {}", describe(losses))).unwrap_or_default()
    ));
    Ok(if control.is_stopped() { Outcome::Interrupted } else { Outcome::Done })
}

/// Iterations that a painting has seen at all its sizes.
fn iterations_before(painting: &Painting<'_>) -> u64 {
    let state = painting.state();
    let sizes = painting.settings().scales.iter().take(state.scale_index);
    sizes.map(|scale| scale.iterations).sum::<u64>() + state.iteration
}

/// Adds what helps where strokes are too small: the picture itself was seen to be large enough when its memory was reckoned.
fn with_hint(error: anyhow::Error) -> anyhow::Error {
    match error.is::<TooSmall>() {
        true => anyhow::anyhow!("{error:#} (a larger --style-scale or --start-size helps)"),
        false => error,
    }
}

/// Steps until all is done, somebody stops it or `each` fails.
fn optimize(
    painting: &mut Painting<'_>,
    control: &Control,
    console: Console,
    mut each: impl FnMut(&Progress, &Painting<'_>) -> Result<()>,
) -> Result<()> {
    let scales = painting.settings().scales.clone();
    // An iteration costs as much as it has pixels.
    let cost = |scale: &crate::gatys::painting::Scale, iterations: u64| scale.size.pixels() as u64 * iterations;
    let total: u64 = scales.iter().map(|scale| cost(scale, scale.iterations)).sum();
    let mut display = console.progress_of_cost(total);
    let result = loop {
        if control.is_stopped() {
            break Ok(());
        }
        let progress = match painting.step() {
            Ok(Some(progress)) => progress,
            Ok(None) => break Ok(()),
            Err(error) => break Err(with_hint(error)),
        };
        let before: u64 = scales[..progress.scale_index].iter().map(|scale| cost(scale, scale.iterations)).sum();
        let scale = &scales[progress.scale_index];
        let text = format!(
            "size {} of {} ({})  {}/{}  {}",
            progress.scale_index + 1,
            scales.len(),
            progress.size,
            progress.iteration,
            scale.iterations,
            describe(&progress.losses)
        );
        display.update_cost(before + cost(scale, progress.iteration), &text);
        if let Err(error) = each(&progress, painting) {
            break Err(error);
        }
    };
    display.end();
    result
}

pub fn describe(losses: &Losses) -> String {
    format!("loss {:.4} (content {:.4}, style {:.4})", losses.total, losses.content(), losses.style())
}

/// Refuses what would change nothing.
fn check_search(search: &PaintSearchArgs) -> Result<(), UsageError> {
    if search.optimizer == Optimizer::Lbfgs && search.learning_rate.is_some() {
        let text =
            "--learning-rate means nothing to lbfgs, which finds its own (expected --optimizer adam, gd or rmsprop)";
        return Err(UsageError(anyhow::anyhow!(text)));
    }
    if search.seed.is_some() && search.init != "noise" {
        return Err(UsageError(anyhow::anyhow!("--seed means nothing without noise (expected --init noise)")));
    }
    Ok(())
}

/// Refuses, before anything is painted, files that could not be written.
fn check_outputs(args: &PaintArgs) -> Result<()> {
    let report = &args.report;
    for (path, what) in [(&report.plot, "plot"), (&report.heatmap, "heat map")] {
        path.as_deref().map_or(Ok(()), |path| outputs::check_png(path, what))?;
    }
    if let Some(trace) = &report.trace {
        Trace::format(trace)?;
    }
    outputs::picture_format(&args.output)?;
    let all = [Some(&args.output), report.trace.as_ref(), report.plot.as_ref(), report.heatmap.as_ref()];
    let all: Vec<&PathBuf> = all.into_iter().flatten().collect();
    for (index, path) in all.iter().enumerate() {
        if all[..index].iter().any(|other| outputs::is_same(other, path)) {
            let text = format!("'{}' is to be written twice (expected a name for each output)", path.display());
            return Err(UsageError(anyhow::anyhow!(text)).into());
        }
        outputs::check(path, if index == 0 { may_overwrite(args) } else { args.overwrite })?;
    }
    for input in inputs(args) {
        if all.iter().any(|path| outputs::is_same(&input, path)) || is_preview_of(args, &input) {
            bail!("'{}' would be replaced by what is painted of it (choose another output)", input.display());
        }
    }
    if let Some(taken) = all.iter().skip(1).find(|path| is_preview_of(args, path)) {
        let text = format!("'{}' is the name of a preview as well (expected a name for each output)", taken.display());
        return Err(UsageError(anyhow::anyhow!(text)).into());
    }
    let state = outputs::state_of(&args.output);
    if state.exists() && args.search.resume.is_none() && report.sweep.is_none() && !args.overwrite {
        bail!(
            "'{state}' is what an interrupted run left (expected --resume {state} to go on with it, or -y to begin anew)",
            state = state.display()
        );
    }
    if report.sweep.is_none() {
        outputs::check(&state, true)?;
    }
    // Which ones a painting that is gone on with will have is known once its state is read.
    if args.search.resume.is_none() { check_previews(args, 1) } else { Ok(()) }
}

/// Refuses to replace a preview with the number `first` or a higher one.
fn check_previews(args: &PaintArgs, first: u64) -> Result<()> {
    if args.report.preview_every.is_none() || args.overwrite {
        return Ok(());
    }
    let mut previews = (first..=MOST_PREVIEWS).map(|index| preview_path(&args.output, index));
    match previews.find(|path| path.exists()) {
        Some(taken) => {
            bail!("the preview '{}' exists already (choose another output, or -y to replace it)", taken.display())
        }
        None => Ok(()),
    }
}

/// Files that the painting is made from.
fn inputs(args: &PaintArgs) -> Vec<PathBuf> {
    let styles = args.styles.iter().filter_map(|style| setup::parse_style(style).ok()).map(|(path, _)| path);
    let init = Path::new(&args.search.init);
    let others = args.objective.masks.iter().chain(&args.objective.vgg).cloned();
    let all = std::iter::once(args.content.clone()).chain(styles).chain(others).chain([init.to_owned()]);
    all.filter(|path| path.exists()).collect()
}

/// Whether a preview may be called so.
fn is_preview_of(args: &PaintArgs, path: &Path) -> bool {
    let mut previews = (1..=MOST_PREVIEWS).map(|index| preview_path(&args.output, index));
    args.report.preview_every.is_some()
        && outputs::is_same(folder_of(path), folder_of(&args.output))
        && previews.any(|preview| preview.file_name() == path.file_name())
}

/// Whoever goes on with a painting has it there already.
fn may_overwrite(args: &PaintArgs) -> bool {
    let is_own = |state: &PathBuf| outputs::is_same(state, &outputs::state_of(&args.output));
    args.overwrite || args.search.resume.as_ref().is_some_and(is_own)
}

/// Previews with a higher number are not looked for.
const MOST_PREVIEWS: u64 = 9999;

/// `out.png` → `out.0003.png`.
fn preview_path(output: &Path, index: u64) -> PathBuf {
    let extension = output.extension().map(|extension| extension.to_string_lossy().into_owned()).unwrap_or_default();
    output.with_extension(format!("{index:04}.{extension}"))
}

/// Quality of JPEG.
const QUALITY: u8 = 95;

fn save(args: &PaintArgs, setup: &Setup, picture: &Picture, path: &Path, overwrite: bool) -> Result<()> {
    let bytes = encode(&finished(args, setup, picture)?, path, setup.profile.clone())?;
    outputs::write(path, &bytes, overwrite)
}

/// The picture as it is shown: in 8 bits, with the content's colours if they are to stay.
fn finished(args: &PaintArgs, setup: &Setup, picture: &Picture) -> Result<Frame> {
    let mut frame = picture.to_frame();
    if args.objective.keep_color == Some(KeepColor::Luminance) {
        let content = setup.content.scaled(picture.size)?.to_frame();
        mix_in_place(content.pixels(), frame.pixels_mut(), Mix { strength: 1.0, keep_color: true });
    }
    Ok(frame)
}

fn encode(frame: &Frame, path: &Path, profile: Option<Vec<u8>>) -> Result<Vec<u8>> {
    let mut bytes = Cursor::new(Vec::new());
    let format = outputs::picture_format(path)?;
    Still::plain(frame.size, format, profile)
        .encode(frame, format, QUALITY, &mut bytes)
        .with_context(|| format!("encode '{}'", path.display()))?;
    Ok(bytes.into_inner())
}

/// What was painted, for programs.
#[derive(Debug, Serialize)]
struct Summary<'a> {
    content: String,
    styles: &'a [String],
    output: String,
    width: usize,
    height: usize,
    iterations: u64,
    seconds: f64,
    total_loss: Option<f32>,
    content_loss: Option<f32>,
    style_loss: Option<f32>,
    interrupted: bool,
}
