//! `impasto video --engine gatys`: a film from optimized keyframes.
//!
//! Three looks at a clip, each of which can be interrupted and gone on with: which frames are keyframes, painting them, and
//! carrying what lies between.

mod fill;
mod painter;
mod work;
mod write;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use serde::Serialize;

use super::device::Compute;
use super::mask::{self, Mask};
use super::outputs::with_ending;
use super::paint::{WHOLE_BYTES, read_style, read_vgg};
use super::video::{self, check_cut, judge_damage, with_hint};
use super::{DEFAULT_SMOOTHING, DEFAULT_WORK_SIZE, Outcome, UsageError};
use crate::cli::VideoArgs;
use crate::console::Console;
use crate::film::{Planner, PlannerSettings, Spacing};
use crate::frame::{Frame, FrameSize};
use crate::gatys::{Objective, Optimizer, PaintSettings, Picture, Vgg};
use crate::media::{Cut, ReaderOptions, VideoReader, VideoWriter, WriterOptions, is_url, shown};
use crate::pipeline::Control;
use crate::runtime::{Runtime, SessionOptions};
use crate::stills::StillFormat;
use crate::style::StyleSpec;
use crate::style::spec::{StyleRef, StyleTerm};
use crate::style::upscale::GuidedUpscaler;
use fill::FillNetwork;
use painter::{Painted, Painter};
use work::{Plan, PlannedKeyframe, WorkFolder};
use write::Film;

/// Longer side of keyframes where none is asked for.
const KEYFRAME_SIZE: usize = 640;
/// Gradients for a keyframe and pass where no number is asked for.
const ITERATIONS: u64 = 60;
/// Weight of the anchor where none is asked for.
const ANCHOR_WEIGHT: f32 = 100.0;

/// What is said to the first Ctrl-C.
pub const FINISHING: &str = "stopping: what is finished is kept (Ctrl-C again to end at once)";

/// Makes a film of a clip.
pub fn make(
    clip: &video::Clip,
    args: &VideoArgs,
    compute: &mut Compute,
    control: &Control,
    console: Console,
) -> Result<Outcome> {
    let video::Clip { input, output } = clip;
    check_clip(clip, args)?;
    let cut = check_cut(args)?;
    let started = Instant::now();
    let clip = Clip { input, output, args, cut, threads: args.run.thread_count(), control: control.clone() };
    let Prepared { style_name, style, reader, size, networks, encoder, notes } = prepare(&clip, compute, console)?;
    let info = reader.info().clone();
    let Networks { session, fill: asked_fill, vgg, vgg_sha256 } = networks;
    let settings = settings(args, session.clone());
    settings.objective.check(&vgg).map_err(UsageError)?;

    let folder = args.film.work_folder.clone().unwrap_or_else(|| with_ending(output, ".keyframes"));
    let fingerprint = fingerprint(input, args, size, &settings, &style, vgg_sha256.as_deref())?;
    let (work, plan) = WorkFolder::open(&folder, &fingerprint)?;
    let plan = match plan {
        Some(plan) => Some(plan),
        None => plan_keyframes(&clip, reader, &work, size, console)?,
    };
    let begun = match plan {
        Some(plan) => {
            let fill = match asked_fill {
                Some(fill) => Some(fill),
                None => {
                    let first = plan.keyframes.first().context("the clip has no frame")?.frame;
                    let content = work.content(first, size)?;
                    FillNetwork::nearest(&style, &content, &session, &args.style.look, control, console)?
                }
            };
            fill.map(|fill| (plan, fill))
        }
        None => None,
    };
    let Some((plan, mut fill)) = begun.filter(|_| !control.is_stopped()) else {
        console.line("interrupted: no keyframe was painted yet");
        return Ok(Outcome::Interrupted);
    };
    console.line(&format!(
        "{} keyframes for {} frames of {size}; {} paints what they do not show",
        plan.keyframes.len(),
        plan.frames,
        fill.label
    ));
    let passes = args.film.passes.unwrap_or(1);
    let iterations = args.film.iterations.unwrap_or(ITERATIONS);
    let painter = Painter { vgg: &vgg, style, settings, iterations, passes, size, work: &work, plan: &plan };
    let painted = painter.run(&mut fill, control, console)?;
    if !painted.is_complete {
        console.line(&format!(
            "interrupted: finished keyframes are kept in '{}' (the same command goes on from there)",
            folder.display()
        ));
        return Ok(Outcome::Interrupted);
    }
    let film = Film { clip: &clip, work: &work, plan: &plan, last_pass: passes - 1, size };
    let carrying = Instant::now();
    let Some((written, damage)) = film.write(&mut fill, console)? else {
        console.line(&format!("interrupted: nothing was written; the keyframes are kept in '{}'", folder.display()));
        return Ok(Outcome::Interrupted);
    };
    let is_whole = !control.is_stopped();
    let summary = Summary {
        input: input.display().to_string(),
        output: written.path.display().to_string(),
        frames: written.frames,
        keyframes: plan.keyframes.len(),
        seconds: started.elapsed().as_secs_f64(),
        seconds_a_keyframe: each(painted.elapsed, painted.count),
        seconds_a_frame_between: each(carrying.elapsed(), written.frames),
        width: info.size.width,
        height: info.size.height,
        style: &style_name,
        fill: &fill.label,
        provider: session.device.to_string(),
        encoder: &encoder,
        bytes: written.bytes,
        interrupted: !is_whole,
        damage: damage.clone(),
        notes,
    };
    report(args, &summary, &painted, console)?;
    if !is_whole {
        console.line(&format!(
            "interrupted: the file holds what was done until then; the keyframes are kept in '{}'",
            folder.display()
        ));
        return Ok(Outcome::Interrupted);
    }
    if args.film.work_folder.is_none() {
        work.remove()?;
    }
    Ok(judge_damage(input, damage.as_deref(), args.keep_going, &console))
}

/// What there is before the clip is looked at.
struct Prepared {
    style_name: String,
    style: Picture,
    reader: VideoReader,
    /// Of the keyframes.
    size: FrameSize,
    networks: Networks,
    /// What will encode the film.
    encoder: String,
    notes: Vec<String>,
}

/// Opens all that a film needs, and tells what would fail in the end before hours are spent on it.
fn prepare(clip: &Clip<'_>, compute: &mut Compute, console: Console) -> Result<Prepared> {
    let Clip { args, control, .. } = clip;
    let style_name = super::style::label(args.style.style.as_deref())?;
    refuse_blend(&style_name)?;
    let style = read_style(Path::new(&style_name))?;
    let reader = clip.open()?;
    let info = reader.info();
    let size = info.size.with_long_side_at_most(args.film.keyframe_size.map_or(KEYFRAME_SIZE, |size| size as usize));
    ensure!(
        fill::is_large_enough(size),
        "'{}' would be painted at {size} (expected at least {} pixels on the shorter side)",
        clip.input.display(),
        fill::SMALLEST
    );
    let mask = clip.mask(&reader)?;
    let of_mask = mask.map(|mask| mask.notes(info.expected_frames)).unwrap_or_default();
    info.notes.iter().chain(&of_mask).for_each(|note| console.note(note));
    // There is nothing yet that a second Ctrl-C could lose.
    let networks = control.opening(|| open(args, compute, control))?;
    let writer = clip.writer(&reader)?;
    writer.notes().iter().for_each(|warning| console.warning(warning));
    let notes = info.notes.iter().chain(writer.notes()).cloned().collect();
    let encoder = writer.encoder_name().to_owned();
    drop(writer);
    Ok(Prepared { style_name, style, reader, size, networks, encoder, notes })
}

/// What a film is painted with.
struct Networks {
    session: SessionOptions,
    /// What fills, if it was asked for.
    fill: Option<FillNetwork>,
    vgg: Vgg,
    /// Of the file of the VGG, unless it is the one that comes with impasto.
    vgg_sha256: Option<String>,
}

/// Opens the networks that can be opened before the clip was looked at.
fn open(args: &VideoArgs, compute: &mut Compute, control: &Control) -> Result<Networks> {
    Runtime::load()?;
    let session = compute.session_options_until_abort(control)?;
    compute.tell(false);
    let fill = args.film.fill.as_deref().map(|style| FillNetwork::open(style, &session, &args.style.look));
    let fill = fill.transpose().context("open the style that fills")?;
    let (vgg, vgg_sha256) = read_vgg(args.film.vgg.as_deref())?;
    Ok(Networks { session, fill, vgg, vgg_sha256 })
}

/// Refuses a blend of styles by name, which is no painting.
fn refuse_blend(style: &str) -> Result<(), UsageError> {
    let is_name = |term: &StyleTerm| matches!(&term.style, StyleRef::Named(name) if StillFormat::of_path(Path::new(name)).is_none());
    let is_blend = |spec: StyleSpec| spec.terms().len() > 1 && spec.terms().iter().all(is_name);
    match !Path::new(style).exists() && style.parse().is_ok_and(is_blend) {
        true => Err(UsageError(anyhow!(
            "--engine gatys paints in one style, and '{style}' is a blend (expected a painting, or a style's name)"
        ))),
        false => Ok(()),
    }
}

/// Refuses a clip that no film can be made of, and an output that is something else.
fn check_clip(clip: &video::Clip, args: &VideoArgs) -> Result<(), UsageError> {
    mask::refuse_as_output(&args.mask, &clip.output)?;
    match is_url(&clip.input) {
        true => Err(UsageError(anyhow!(
            "'{}' is an address (expected a file with --engine gatys, which reads the clip several times: download it first)",
            shown(&clip.input)
        ))),
        false => Ok(()),
    }
}

/// What does not go together.
pub fn check(args: &VideoArgs) -> Result<()> {
    let usage = |text: &str| Err(UsageError(anyhow!("{text}")).into());
    if args.style.look.style_image.is_some() {
        return usage("--style-image is for networks (expected the painting as --style with --engine gatys)");
    }
    if args.temporal.stride != 1 || args.temporal.smooth != DEFAULT_SMOOTHING {
        return usage(
            "--stride and --smooth are for networks (--keyframes and --anchor-weight are what --engine gatys has)",
        );
    }
    if args.style.look.work_size != DEFAULT_WORK_SIZE {
        return usage("--work-size is for networks (expected --keyframe-size with --engine gatys)");
    }
    if args.debug_view.is_some() || args.stats {
        return usage("--debug-view and --stats are for networks (expected neither with --engine gatys)");
    }
    Ok(())
}

/// The clip, to be read from its beginning as often as needed.
struct Clip<'a> {
    input: &'a Path,
    output: &'a Path,
    args: &'a VideoArgs,
    cut: Cut,
    threads: usize,
    control: Control,
}

impl Clip<'_> {
    fn interrupt(&self) -> Arc<dyn Fn() -> bool + Send + Sync> {
        let control = self.control.clone();
        Arc::new(move || control.is_aborted())
    }

    fn reader_options(&self) -> ReaderOptions {
        ReaderOptions {
            cut: self.cut,
            threads: self.threads,
            interrupt: Some(self.interrupt()),
            ..ReaderOptions::default()
        }
    }

    fn open(&self) -> Result<VideoReader> {
        VideoReader::open(self.input, self.reader_options())
    }

    /// Where the film is painted, if not everywhere.
    fn mask(&self, reader: &VideoReader) -> Result<Option<Mask>> {
        Mask::for_clip(&self.args.mask, reader.info().size, &self.reader_options())
    }

    fn writer(&self, reader: &VideoReader) -> Result<VideoWriter> {
        let options = WriterOptions {
            encoder: self.args.encoding.settings(self.threads),
            mute: self.args.mute,
            overwrite: self.args.overwrite.into(),
            interrupt: Some(self.interrupt()),
        };
        VideoWriter::create(self.output, reader.info(), Some(reader), &options).map_err(with_hint)
    }
}

fn settings(args: &VideoArgs, session: SessionOptions) -> PaintSettings {
    let usual = Objective::default();
    PaintSettings {
        objective: Objective {
            content_weight: args.film.content_weight.unwrap_or(usual.content_weight),
            style_weight: args.film.style_weight.unwrap_or(usual.style_weight),
            anchor_weight: args.film.anchor_weight.unwrap_or(ANCHOR_WEIGHT),
            ..usual
        },
        optimizer: Optimizer::Lbfgs,
        learning_rate: Optimizer::Lbfgs.default_learning_rate(),
        scales: Vec::new(),
        style_scale: args.film.style_scale.unwrap_or(1.0),
        session,
        whole_bytes: WHOLE_BYTES,
    }
}

/// A text that is another one for another clip, painting or setting that a keyframe depends on.
fn fingerprint(
    input: &Path,
    args: &VideoArgs,
    size: FrameSize,
    settings: &PaintSettings,
    style: &Picture,
    vgg_sha256: Option<&str>,
) -> Result<String> {
    let mut hasher = DefaultHasher::new();
    let input = input.canonicalize().with_context(|| format!("find '{}'", input.display()))?;
    let found = input.metadata().with_context(|| format!("look at '{}'", input.display()))?;
    (&input, found.len(), found.modified().ok()).hash(&mut hasher);
    style.planes.iter().for_each(|value| value.to_bits().hash(&mut hasher));
    let film = &args.film;
    if let Some(file) = film.fill.as_deref().filter(|fill| Path::new(fill).is_file()) {
        std::fs::read(file).with_context(|| format!("cannot read '{file}'"))?.hash(&mut hasher);
    }
    let part = (args.start, args.end, args.frames);
    let settings = PaintSettings { session: SessionOptions::default(), ..settings.clone() };
    let fill = (&film.fill, args.style.look.network.network);
    format!("{part:?} {size} {settings:?} {:?} {:?} {fill:?} {vgg_sha256:?}", film.keyframes, film.iterations)
        .hash(&mut hasher);
    Ok(format!("{:016x}", hasher.finish()))
}

/// Looks at the whole clip; `None` when interrupted.
fn plan_keyframes(
    clip: &Clip<'_>,
    mut reader: VideoReader,
    work: &WorkFolder,
    size: FrameSize,
    console: Console,
) -> Result<Option<Plan>> {
    let info = reader.info().clone();
    let spacing = clip.args.film.keyframes.unwrap_or(Spacing::Auto);
    let mut planner = Planner::new(PlannerSettings::new(spacing), f64::from(info.time_base))?;
    let mut display = console.progress(info.expected_frames);
    let mut plan = Plan { frames: 0, keyframes: Vec::new() };
    let mut scaler = GuidedUpscaler::new();
    let result = loop {
        if clip.control.is_stopped() {
            break Ok(None);
        }
        let mut next = || -> Result<bool> {
            let Some(frame) = reader.next_frame()? else { return Ok(false) };
            plan.frames += 1;
            if let Some(keyframe) = planner.add(small(&mut scaler, &frame, size)?)? {
                work.write_keyframe(&keyframe)?;
                let is_new_scene = keyframe.links.is_none();
                plan.keyframes.push(PlannedKeyframe { frame: keyframe.frame_index, is_new_scene });
            }
            Ok(true)
        };
        match next() {
            Ok(true) => display.update_with(plan.frames, || "looking for keyframes".to_owned()),
            Ok(false) => break Ok(Some(())),
            Err(_) if clip.control.is_aborted() => break Ok(None),
            Err(error) => break Err(error),
        }
    };
    display.end();
    let Some(()) = result? else { return Ok(None) };
    work.write_plan(&plan)?;
    Ok(Some(plan))
}

/// A frame at the size of the film.
fn small(scaler: &mut GuidedUpscaler, frame: &Frame, size: FrameSize) -> Result<Frame> {
    if frame.size == size {
        return Ok(frame.clone());
    }
    let mut small = Frame::black(size);
    scaler.downscale(frame, &mut small)?;
    small.timestamp = frame.timestamp;
    small.frame_index = frame.frame_index;
    Ok(small)
}

fn each(elapsed: Duration, count: u64) -> Option<f64> {
    (count > 0).then(|| elapsed.as_secs_f64() / count as f64)
}

fn report(args: &VideoArgs, summary: &Summary<'_>, painted: &Painted, console: Console) -> Result<()> {
    let time = |seconds: Option<f64>| seconds.map(|seconds| format!(", {seconds:.1} s each")).unwrap_or_default();
    console.line(&format!(
        "{}: {} frames of {}×{} in {:.0} s; {} keyframes, {} painted in this run{}; {:.2} s for each frame carried",
        summary.output,
        summary.frames,
        summary.width,
        summary.height,
        summary.seconds,
        summary.keyframes,
        painted.count,
        time(summary.seconds_a_keyframe),
        summary.seconds_a_frame_between.unwrap_or_default(),
    ));
    if args.json {
        super::print_summary(summary)?;
    }
    Ok(())
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Summary<'a> {
    input: String,
    output: String,
    frames: u64,
    keyframes: usize,
    seconds: f64,
    /// With all passes that this run painted, each counted; nothing if all were there.
    seconds_a_keyframe: Option<f64>,
    seconds_a_frame_between: Option<f64>,
    width: usize,
    height: usize,
    style: &'a str,
    fill: &'a str,
    provider: String,
    encoder: &'a str,
    bytes: u64,
    interrupted: bool,
    damage: Option<String>,
    notes: Vec<String>,
}
