//! `impasto video`: a clip in, a moving painting out.

mod queue;
mod resume;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Serialize;

use super::debug_view::DebugView;
use super::device::Compute;
use super::file_sink::FileSink;
use super::mask::{self, Mask, Remarks};
use super::signals::{FINISHING, given_up, stop_on_signals, unless_given_up};
use super::stages::{Chain, StageFigures, TemporalStages};
use super::style::{self, OpenStyle};
use super::{Outcome, UsageError, outputs};
use crate::cli::{EncodingArgs, MaskArgs, RunArgs, VideoArgs, VideoEngine};
use crate::console::{Console, counted};
use crate::frame::FramePool;
use crate::media::{
    self, Cut, EncoderSettings, OutputError, ReaderOptions, VideoInfo, VideoReader, VideoWriter, WriterOptions, Written,
};
use crate::output::Overwrite;
use crate::pipeline::{Control, Ending, Pipeline, PipelineStats, Sink};
pub use queue::{Clip, EndsRun};
use resume::{RunState, begin_of_run_up, skip_to};

/// Runs the command.
pub fn run(args: &VideoArgs) -> Result<Outcome> {
    let is_network = args.film.engine == VideoEngine::Network;
    if let Some(flag) = args.film.given().filter(|_| is_network) {
        return Err(
            UsageError(anyhow::anyhow!("{flag} means nothing to a network (expected --engine gatys with it)")).into()
        );
    }
    check_cut(args)?;
    if is_network {
        resume::check(args)?;
        style::parse(&style::label(args.style.style.as_deref())?)?;
    } else {
        super::film::check(args)?;
    }
    let clips = queue::clips(args)?;
    let (console, control) = (Console::new(args.quiet), Control::new());
    let mut compute = Compute::new(&args.run.device, args.run.thread_count(), console)?;
    stop_on_signals(&control, console, if is_network { FINISHING } else { super::film::FINISHING })?;
    queue::run(&clips, args, &control, console, |clip| {
        let made = match args.film.engine {
            VideoEngine::Network => make(clip, args, &mut compute, &control, console),
            VideoEngine::Gatys => super::film::make(clip, args, &mut compute, &control, console),
        };
        unless_given_up(made, &control, &clip.output, console)
    })
}

/// What a clip is painted with.
struct Opened {
    reader: VideoReader,
    pool: FramePool,
    style: OpenStyle,
    temporal: TemporalStages,
    mask: Option<Mask>,
    /// Time constant of the smoothing.
    smooth: f32,
    writer: VideoWriter,
    debug_view: Option<DebugView>,
    state: Option<RunState>,
    /// Whether another run can go on with the output, or has to paint it anew.
    can_go_on: bool,
    /// What was found of the clip and of its mask.
    notes: Vec<String>,
}

fn make(clip: &Clip, args: &VideoArgs, compute: &mut Compute, control: &Control, console: Console) -> Result<Outcome> {
    let cut = check_cut(args)?;
    let started = Instant::now();
    let opened = open(clip, args, cut, compute, control, console)?;
    let Opened { mut reader, pool, style, temporal, mut mask, smooth, mut writer, debug_view, mut state, .. } = opened;
    let (can_go_on, notes) = (opened.can_go_on, opened.notes);
    let info = reader.info().clone();
    let (damage, encoder) = (reader.damage(), writer.encoder_name().to_owned());
    let mut notes: Vec<String> = notes.iter().chain(writer.notes()).cloned().collect();
    let remarks = mask.as_ref().map(Mask::remarks).unwrap_or_default();
    let (label, network, provider) = (style.label.clone(), style.network, style.provider.clone());

    let mut seam = 0;
    if let Some(mut unattached) = state.take() {
        let frames = if can_go_on {
            let settings = resume::settings(&clip.input, args, &info, &style, &writer)?;
            unattached.attach(&mut writer, settings, console)?
        } else {
            unattached.attach_note(&mut writer)?.then_some(0)
        };
        if let Some(frames) = frames {
            (seam, state) = (frames, Some(unattached));
        }
    }
    let keep = || state.iter().for_each(|state| state.keep(console));

    let begin = begin_of_run_up(seam, smooth, f64::from(info.frame_rate));
    let pipeline = Pipeline::from_item(begin, control.clone(), args.run.queue as usize);
    let stats = pipeline.stats();
    let mut sink =
        FileSink::new(writer, cut.frames, info.time_base, console.progress(info.expected_frames), stats.clone())
            .with_debug_view(debug_view)
            .behind(seam);
    let paint = || -> Result<Option<Written>> {
        if seam > 0 {
            console.line(&format!("going on behind the {} already there", counted(seam, "frame")));
            let is_there = skip_to(&mut reader, begin, control, console)?
                && mask.as_mut().map_or(Ok(true), |mask| mask.go_to(begin, || control.is_stopped()))?;
            if !is_there {
                return sink.finish(if control.is_aborted() { Ending::Failed } else { Ending::Stopped });
            }
        }
        Ok(Chain { reader, stylizers: style.engines(), pool, temporal, mask }.run(pipeline, &mut sink)?)
    };
    let outcome = paint();
    sink.end_progress();
    let written = match outcome {
        Ok(Some(written)) => written,
        Err(error) if !control.is_aborted() => {
            drop(sink);
            keep();
            return Err(error);
        }
        Ok(None) | Err(_) => {
            let outcome = given_up(&clip.output, console);
            drop(sink);
            keep();
            return Ok(outcome);
        }
    };
    notes.extend(remarks.all());
    let seconds = started.elapsed().as_secs_f64();
    let summary = Summary {
        input: media::shown(&clip.input),
        output: written.path.display().to_string(),
        frames: written.frames,
        resumed_frames: seam,
        painted_frames: sink.painted_frames(),
        fps: written.frames.saturating_sub(seam) as f64 / seconds,
        seconds,
        width: info.size.width,
        height: info.size.height,
        style: &label,
        network,
        provider: &provider,
        encoder: &encoder,
        bytes: written.bytes,
        interrupted: sink.is_stopped(),
        damage: damage.describe(),
        notes,
        stages: stats.snapshot().iter().map(StageFigures::from).collect(),
    };
    match (&state, summary.interrupted) {
        (Some(_), true) => {}
        (Some(state), false) => state.remove(),
        (None, true) if clip.is_in_folder => {
            tracing::warn!("'{}' is not complete, and --resume will take it for complete", clip.output.display());
        }
        (None, true) => {}
        (None, false) => resume::remove_left(clip, args),
    }
    let state = state.as_ref().filter(|_| can_go_on);
    Ok(match report(&console, clip, args, &summary, sink.media_time(), &stats, state)? {
        Outcome::Interrupted => Outcome::Interrupted,
        of_clip => of_clip.or(judge_mask(&args.mask, &remarks, args.keep_going, &console)),
    })
}

/// Opens all that the run needs, the output last but one: what is wrong with the rest is told before anything is written.
fn open(
    clip: &Clip,
    args: &VideoArgs,
    cut: Cut,
    compute: &mut Compute,
    control: &Control,
    console: Console,
) -> Result<Opened> {
    let pool = FramePool::new();
    let interrupt = {
        let control = control.clone();
        Arc::new(move || control.is_aborted())
    };
    let threads = args.run.thread_count();
    let reader_options = ReaderOptions {
        cut,
        threads,
        interrupt: Some(interrupt.clone()),
        pool: pool.clone(),
        ..ReaderOptions::default()
    };
    mask::refuse_as_output(&args.mask, "output", &clip.output)?;
    if let Some(debug_view) = &args.debug_view {
        mask::refuse_as_output(&args.mask, "debug view", debug_view)?;
    }
    let reader = VideoReader::open(&clip.input, reader_options.clone())?;
    let info = reader.info();
    let mask = Mask::for_reader(&args.mask, &reader, &reader_options)?;
    let state = RunState::of_run(clip, args)?;
    let style = style::open_for_clip(&args.style, &args.run, info.size, compute, control).map_err(EndsRun)?;
    let writer_options = WriterOptions {
        encoder: args.encoding.settings(threads),
        mute: args.mute,
        overwrite: if args.overwrite { Overwrite::Always } else { state.overwrite() },
        interrupt: Some(interrupt),
    };
    let writer = VideoWriter::create(&clip.output, info, Some(&reader), &writer_options)
        .map_err(|error| with_hint(state.explain(error)))?;
    // Two videos that grow at one time would have to stop at one frame.
    let can_go_on = args.debug_view.is_none() && writer.encoder_identity().is_some();
    if args.resume && !can_go_on && !clip.is_in_folder {
        return Err(resume::in_one_go(&clip.output).into());
    }
    let debug_view = match &args.debug_view {
        Some(path) => Some(open_debug_view(clip, args, path, info, threads)?),
        None => None,
    };
    // Without style there is nothing to hold still: the input comes out as it is.
    let (smooth, stride) =
        if args.style.look.strength > 0.0 { (args.temporal.smooth, args.temporal.stride) } else { (0.0, 1) };
    let temporal =
        TemporalStages::new(smooth, stride, info.time_base, debug_view.is_some())?.placed(|| compute.place(info.size));
    compute.tell(args.stats);
    let of_mask = mask.as_ref().map(|mask| mask.notes(info.expected_frames, cut != Cut::default()));
    let notes: Vec<String> = info.notes.iter().cloned().chain(of_mask.into_iter().flatten()).collect();
    for note in style.notes.iter().chain(&notes) {
        console.note(note);
    }
    for warning in writer.notes() {
        console.warning(warning);
    }
    let state = (can_go_on || clip.is_in_folder).then_some(state);
    Ok(Opened { reader, pool, style, temporal, mask, smooth, writer, debug_view, state, can_go_on, notes })
}

/// Says how it went, on stderr for people and on stdout for programs.
fn report(
    console: &Console,
    clip: &Clip,
    args: &VideoArgs,
    summary: &Summary<'_>,
    media_time: Duration,
    stats: &PipelineStats,
    state: Option<&RunState>,
) -> Result<Outcome> {
    if args.stats {
        console.stages(&stats.snapshot());
    }
    let mut parts = Vec::new();
    if summary.resumed_frames > 0 {
        parts.push(format!("{} of an earlier run", summary.resumed_frames));
    }
    match summary.frames - summary.resumed_frames - summary.painted_frames {
        0 => {}
        carried => parts.push(format!("{carried} repeated or carried along the motion, not painted")),
    }
    let parts = if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) };
    console.line(&format!(
        "{}: {}{parts} of {}×{} in {:.1} s ({:.1} fps, {:.2}×), {} on {}",
        summary.output,
        counted(summary.frames, "frame"),
        summary.width,
        summary.height,
        summary.seconds,
        summary.fps,
        media_time.as_secs_f64() / summary.seconds,
        summary.style,
        summary.provider,
    ));
    if args.json {
        super::print_summary(summary).map_err(EndsRun)?;
    }
    if summary.interrupted {
        let way_on = state.map(|state| format!(" ('{}' is for --resume to go on from there)", state.path().display()));
        console.line(&format!("interrupted: the file holds what was done until then{}", way_on.unwrap_or_default()));
        return Ok(Outcome::Interrupted);
    }
    Ok(judge_damage(&clip.input, summary.damage.as_deref(), args.keep_going, console))
}

/// Says how the input is damaged, if it is; an error unless that was accepted beforehand.
pub(super) fn judge_damage(input: &Path, damage: Option<&str>, keep_going: bool, console: &Console) -> Outcome {
    let Some(damage) = damage else { return Outcome::Done };
    let text = format!("'{}' is damaged: {damage}", media::shown(input));
    if keep_going {
        console.warning(&text);
        return Outcome::Done;
    }
    console.error_line(&format!("{text} (what could be decoded is in the output; --keep-going accepts that)"));
    Outcome::Damaged
}

/// The same of the mask, of which it was said where it was found.
pub(super) fn judge_mask(mask: &MaskArgs, remarks: &Remarks, keep_going: bool, console: &Console) -> Outcome {
    let (Some(damage), Some(mask), false) = (remarks.damage(), &mask.mask, keep_going) else { return Outcome::Done };
    let mask = media::shown(mask);
    console.error_line(&format!("the mask '{mask}' is damaged: {damage} (it may not fit; --keep-going accepts that)"));
    Outcome::Damaged
}

fn open_debug_view(clip: &Clip, args: &VideoArgs, path: &Path, info: &VideoInfo, threads: usize) -> Result<DebugView> {
    for other in [&clip.input, &clip.output] {
        if outputs::is_same(path, other) {
            let text = format!("the debug view '{}' is the input or the output (choose another name)", path.display());
            return Err(UsageError(anyhow::anyhow!(text)).into());
        }
    }
    DebugView::create(path, info, threads, args.overwrite).map_err(with_hint).context("open the debug view")
}

pub(super) fn check_cut(args: &VideoArgs) -> Result<Cut> {
    if let (Some(start), Some(end)) = (args.start, args.end)
        && end <= start
    {
        return Err(UsageError(anyhow::anyhow!("--end {end} is not after --start {start}")).into());
    }
    Ok(Cut { start: args.start, end: args.end, frames: args.frames })
}

/// Adds the flag that cures an error of the library.
pub(super) fn with_hint(error: anyhow::Error) -> anyhow::Error {
    let hint = match error.downcast_ref::<OutputError>() {
        Some(OutputError::Exists(_)) => "choose another name, or -y to replace it",
        Some(OutputError::IsInput(_)) => "choose another name",
        Some(OutputError::CannotHold { .. }) => "choose another --codec or another extension",
        Some(OutputError::Refused { path, .. }) if is_matroska(path) => "--mute if it is the sound",
        Some(OutputError::Refused { .. }) => "choose another extension, as .mkv, or --mute if it is the sound",
        Some(_) | None => return error,
    };
    anyhow::anyhow!("{error:#} ({hint})")
}

fn is_matroska(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("mkv"))
}

impl EncodingArgs {
    /// The settings for the library.
    pub fn settings(&self, threads: usize) -> EncoderSettings {
        EncoderSettings {
            codec: self.codec.clone(),
            crf: self.crf,
            preset: self.preset.clone(),
            pixel_format: self.pixel_format.clone(),
            options: self.encoder_options.clone(),
            threads,
        }
    }
}

impl RunArgs {
    /// Threads asked for, or one a core.
    pub fn thread_count(&self) -> usize {
        super::thread_count(self.threads)
    }
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Summary<'a> {
    input: String,
    output: String,
    frames: u64,
    /// Those of them that an earlier run painted.
    resumed_frames: u64,
    /// Those that this run painted.
    painted_frames: u64,
    /// Of this run.
    fps: f64,
    seconds: f64,
    width: usize,
    height: usize,
    style: &'a str,
    /// The catalog's name of the network; none for one in a file.
    network: Option<&'a str>,
    provider: &'a str,
    encoder: &'a str,
    bytes: u64,
    interrupted: bool,
    damage: Option<String>,
    notes: Vec<String>,
    stages: Vec<StageFigures>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_that_refuses_streams_is_not_recommended() {
        let hint = |path: &str| {
            let reason = ffmpeg_next::Error::InvalidData;
            with_hint(OutputError::Refused { path: path.into(), codecs: vec!["h264"], reason }.into()).to_string()
        };
        assert!(hint("a.mp4").contains("as .mkv") && hint("a.mp4").contains("--mute"), "{}", hint("a.mp4"));
        assert!(!hint("a.MKV").contains("as .mkv") && hint("a.MKV").contains("--mute"), "{}", hint("a.MKV"));
    }
}
