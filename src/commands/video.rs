//! `impasto video`: a clip in, a moving painting out.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Serialize;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::style::{self, OpenStyle};
use super::{Outcome, UsageError};
use crate::cli::{EncodingArgs, RunArgs, VideoArgs};
use crate::console::{self, Console, Progress};
use crate::frame::{Frame, FramePool};
use crate::media::{
    Cut, EncoderSettings, OutputError, Rational, ReaderOptions, VideoReader, VideoWriter, WriterOptions, Written,
};
use crate::motion::{Motion, MotionEstimator, MotionSettings};
use crate::pipeline::{Control, Ending, Pipeline, PipelineStats, Sink, Source, Stage, StageSnapshot};
use crate::style::Stylizer;
use crate::temporal::{Smoother, SmootherSettings};

/// Runs the command.
pub fn run(args: &VideoArgs) -> Result<Outcome> {
    let console = Console::new(args.quiet);
    let cut = check_cut(args)?;
    let control = Control::new();
    stop_on_signals(&control, console)?;
    let started = Instant::now();

    let pool = FramePool::new();
    let interrupt = {
        let control = control.clone();
        Arc::new(move || control.is_aborted())
    };
    let threads = args.run.thread_count();
    let reader_options = ReaderOptions { cut, threads, interrupt: Some(interrupt.clone()), pool: pool.clone() };
    let reader = VideoReader::open(&args.input, reader_options)?;
    // The style before the output: a wrong name is told before anything is written.
    let OpenStyle { engine, label, provider, notes: style_notes } = style::open(&args.style, threads, &control)?;
    let writer_options = WriterOptions {
        encoder: args.encoding.settings(threads),
        mute: args.mute,
        overwrite: args.overwrite,
        interrupt: Some(interrupt),
    };
    let writer = VideoWriter::create(&args.output, reader.info(), Some(&reader), &writer_options).map_err(with_hint)?;

    let info = reader.info().clone();
    for note in style_notes.iter().chain(&info.notes) {
        console.note(note);
    }
    for warning in writer.notes() {
        console.warning(warning);
    }
    let encoder = writer.encoder_name().to_owned();
    let mut notes = info.notes.clone();
    notes.extend_from_slice(writer.notes());
    let damage = reader.damage();

    let pipeline = Pipeline::new(control.clone(), args.run.queue as usize);
    let (estimator, smoother) = temporal_stages(smoothing(args), info.time_base)?;
    let is_cut = cut.end.is_some() || cut.frames.is_some();
    let progress = console.progress(info.expected_frames);
    let mut sink = FileSink::new(writer, is_cut, info.time_base, progress, pipeline.stats());
    let stats = pipeline.stats();
    let outcome = pipeline.run(|wiring| {
        let decoded = wiring.source("decode", FileSource(reader))?;
        let analyzed = wiring.stage("motion", decoded, MotionStage(estimator))?;
        let painted = wiring.stage("stylize", analyzed, StylizeStage { stylizer: engine, pool: pool.clone() })?;
        let smoothed = wiring.stage("smooth", painted, SmoothStage(smoother))?;
        wiring.sink("encode", smoothed, &mut sink)
    });
    sink.progress.end();
    let written = match outcome {
        Ok(Some(written)) => written,
        Ok(None) | Err(crate::pipeline::RunError::Aborted) => {
            console.line("interrupted: nothing was written");
            return Ok(Outcome::Interrupted);
        }
        Err(_) if control.is_aborted() => {
            console.line("interrupted: nothing was written");
            return Ok(Outcome::Interrupted);
        }
        Err(error) => return Err(error.into()),
    };
    let summary = Summary {
        input: &args.input,
        output: &written.path,
        frames: written.frames,
        fps: written.frames as f64 / started.elapsed().as_secs_f64(),
        seconds: started.elapsed().as_secs_f64(),
        width: info.size.width,
        height: info.size.height,
        style: &label,
        provider: &provider,
        encoder: &encoder,
        bytes: written.bytes,
        interrupted: control.is_stopped(),
        damage: damage.describe(),
        notes,
        stages: stats.snapshot().iter().map(StageFigures::from).collect(),
    };
    report(&console, args, &summary, sink.media_time, &stats)
}

/// Says how it went, on stderr for people and on stdout for programs.
fn report(
    console: &Console,
    args: &VideoArgs,
    summary: &Summary<'_>,
    media_time: Duration,
    stats: &PipelineStats,
) -> Result<Outcome> {
    if args.stats {
        console.stages(&stats.snapshot());
    }
    console.line(&format!(
        "{}: {} frames of {}×{} in {:.1} s ({:.1} fps, {:.2}×), {} on {}",
        summary.output.display(),
        summary.frames,
        summary.width,
        summary.height,
        summary.seconds,
        summary.fps,
        media_time.as_secs_f64() / summary.seconds,
        summary.style,
        summary.provider,
    ));
    if args.json {
        let text = serde_json::to_string(summary).context("write the summary")?;
        console::data(&format!("{text}\n")).context("write the summary to stdout")?;
    }
    if summary.interrupted {
        console.line("interrupted: the file holds what was done until then");
        return Ok(Outcome::Interrupted);
    }
    if let Some(damage) = &summary.damage {
        let text = format!("'{}' is damaged: {damage}", summary.input.display());
        if args.keep_going {
            console.warning(&text);
        } else {
            console.error_line(&format!("{text} (what could be decoded is in the output; --keep-going accepts that)"));
            return Ok(Outcome::Damaged);
        }
    }
    Ok(Outcome::Done)
}

/// Without style there is nothing to hold still: the input comes out as it is.
fn smoothing(args: &VideoArgs) -> f32 {
    if args.style.strength > 0.0 { args.style.smooth } else { 0.0 }
}

/// What smooths over `seconds`; nothing for 0.
pub fn temporal_stages(seconds: f32, time_base: Rational) -> Result<(Option<MotionEstimator>, Option<Smoother>)> {
    if seconds <= 0.0 {
        return Ok((None, None));
    }
    let motion = MotionSettings { content_time_constant_seconds: seconds, ..MotionSettings::default() };
    let smoother = SmootherSettings { time_constant_seconds: seconds, ..SmootherSettings::default() };
    Ok((Some(MotionEstimator::new(motion, f64::from(time_base))?), Some(Smoother::new(smoother))))
}

fn check_cut(args: &VideoArgs) -> Result<Cut> {
    if let (Some(start), Some(end)) = (args.start, args.end)
        && end <= start
    {
        return Err(UsageError(anyhow::anyhow!("--end {end} is not after --start {start}")).into());
    }
    Ok(Cut { start: args.start, end: args.end, frames: args.frames })
}

/// First Ctrl-C: stop and finish the file. Second: give up.
fn stop_on_signals(control: &Control, console: Console) -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("listen for Ctrl-C")?;
    let control = control.clone();
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for _ in signals.forever() {
                if control.is_stopped() {
                    control.abort();
                } else {
                    control.stop();
                    console.line("stopping: the file is being finished (Ctrl-C again to give it up)");
                }
            }
        })
        .context("start a thread")?;
    Ok(())
}

/// Adds the flag that cures an error of the library.
fn with_hint(error: anyhow::Error) -> anyhow::Error {
    let hint = match error.downcast_ref::<OutputError>() {
        Some(OutputError::Exists(_)) => "choose another name, or -y to replace it",
        Some(OutputError::IsInput(_)) => "choose another name",
        Some(OutputError::CannotHold { .. }) => "choose another --codec or another extension",
        None => return error,
    };
    anyhow::anyhow!("{error:#} ({hint})")
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
        self.threads.map_or_else(
            || std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get),
            |threads| threads as usize,
        )
    }
}

/// The reader as the pipeline's source.
pub struct FileSource(pub VideoReader);

impl Source for FileSource {
    type Item = Frame;

    fn next(&mut self) -> Result<Option<Frame>> {
        self.0.next_frame()
    }
}

/// A frame, and what became of the one before.
pub struct AnalyzedFrame {
    content: Frame,
    motion: Motion,
}

impl AnalyzedFrame {
    /// The content taken for its painting: to measure smoothing without a network.
    pub fn into_painted(self) -> PaintedFrame {
        PaintedFrame { painted: self.content, motion: self.motion }
    }
}

/// A painted frame, and the motion of its content.
pub struct PaintedFrame {
    painted: Frame,
    motion: Motion,
}

/// Motion as the pipeline's stage. Where nothing is smoothed nobody asks for motion.
pub struct MotionStage(pub Option<MotionEstimator>);

impl Stage for MotionStage {
    type Input = Frame;
    type Output = AnalyzedFrame;

    fn process(&mut self, content: Frame) -> Result<AnalyzedFrame> {
        let motion = match &mut self.0 {
            Some(estimator) => estimator.analyze(&content)?,
            None => Motion::Reset,
        };
        Ok(AnalyzedFrame { content, motion })
    }
}

/// Smoothing as the pipeline's stage.
pub struct SmoothStage(pub Option<Smoother>);

impl Stage for SmoothStage {
    type Input = PaintedFrame;
    type Output = Frame;

    fn process(&mut self, PaintedFrame { mut painted, motion }: PaintedFrame) -> Result<Frame> {
        if let Some(smoother) = &mut self.0 {
            smoother.smooth(&mut painted, &motion)?;
        }
        Ok(painted)
    }
}

/// A style as the pipeline's stage.
pub struct StylizeStage<S> {
    /// The style.
    pub stylizer: S,
    /// Where stylized frames come from.
    pub pool: FramePool,
}

impl<S: Stylizer> Stage for StylizeStage<S> {
    type Input = AnalyzedFrame;
    type Output = PaintedFrame;

    fn process(&mut self, AnalyzedFrame { content, motion }: AnalyzedFrame) -> Result<PaintedFrame> {
        let mut painted = self.pool.take(content.size);
        painted.timestamp = content.timestamp;
        painted.frame_index = content.frame_index;
        self.stylizer.stylize(&content, &mut painted)?;
        Ok(PaintedFrame { painted, motion })
    }
}

/// The writer as the pipeline's sink, with the progress shown.
pub struct FileSink {
    writer: Option<VideoWriter>,
    progress: Progress,
    stats: PipelineStats,
    is_cut: bool,
    time_base: Rational,
    media_time: Duration,
    frames: u64,
}

impl FileSink {
    /// A sink that ends the copied streams with the last frame if `is_cut`.
    pub fn new(
        writer: VideoWriter,
        is_cut: bool,
        time_base: Rational,
        progress: Progress,
        stats: PipelineStats,
    ) -> Self {
        Self { writer: Some(writer), progress, stats, is_cut, time_base, media_time: Duration::ZERO, frames: 0 }
    }
}

impl Sink for FileSink {
    type Input = Frame;
    /// `None`: there was nothing to write.
    type Output = Option<Written>;

    fn write(&mut self, frame: Frame) -> Result<()> {
        let Some(writer) = &mut self.writer else { bail!("the output is finished already") };
        writer.write(&frame)?;
        self.frames += 1;
        let ticks = frame.timestamp.pts + frame.timestamp.duration;
        self.media_time = Duration::try_from_secs_f64(ticks as f64 * f64::from(self.time_base)).unwrap_or_default();
        let slowest = self.stats.slowest();
        self.progress.update(self.frames, self.media_time, slowest.map(|stage| stage.name));
        Ok(())
    }

    fn finish(&mut self, ending: Ending) -> Result<Option<Written>> {
        // Dropped, a writer takes its unfinished file with it.
        let Some(writer) = self.writer.take().filter(|_| ending != Ending::Failed && self.frames > 0) else {
            return Ok(None);
        };
        writer.finish(self.is_cut || ending == Ending::Stopped).map(Some)
    }
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Summary<'a> {
    input: &'a Path,
    output: &'a Path,
    frames: u64,
    fps: f64,
    seconds: f64,
    width: usize,
    height: usize,
    style: &'a str,
    provider: &'a str,
    encoder: &'a str,
    bytes: u64,
    interrupted: bool,
    damage: Option<String>,
    notes: Vec<String>,
    stages: Vec<StageFigures>,
}

/// A stage in JSON.
#[derive(Debug, Serialize)]
pub struct StageFigures {
    name: &'static str,
    frames: u64,
    busy_seconds: f64,
    waiting_for_input_seconds: f64,
    waiting_for_output_seconds: f64,
}

impl From<&StageSnapshot> for StageFigures {
    fn from(stage: &StageSnapshot) -> Self {
        Self {
            name: stage.name,
            frames: stage.items,
            busy_seconds: stage.busy.as_secs_f64(),
            waiting_for_input_seconds: stage.waiting_for_input.as_secs_f64(),
            waiting_for_output_seconds: stage.waiting_for_output.as_secs_f64(),
        }
    }
}
