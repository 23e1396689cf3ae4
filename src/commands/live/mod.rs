//! `impasto live`: a camera, painted, in a window; with outputs beside it, or instead of it.

mod figures;
mod keys;
mod look;
mod outputs;
mod quality;
mod sink;
mod source;
mod stages;
mod view;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use serde::Serialize;

use self::figures::TimesMs;
use self::look::{Look, SharedLook, StyleMenu};
use self::outputs::{Outputs, RecordingPlan, StreamSink};
use self::quality::Quality;
use self::sink::{Limits, LiveSink, LiveSinkParts};
use self::source::{CameraRecipe, CaptureRate, LiveSource};
use super::device::Compute;
use super::signals::{STOPPING, stop_on_signals};
use super::stages::{StageFigures, TemporalStages};
use super::style::{self, OpenStyle};
use super::{Outcome, UsageError, is_named_like_video};
use crate::cli::{LiveArgs, QualityMode};
use crate::console::{self, Console, counted};
use crate::frame::{FramePool, FrameSize};
use crate::media::{
    self, CameraChoice, CameraError, CameraOptions, ChooseCameraError, EncoderSettings, NoDisplay, OutputError,
    Rational, Recorder, VideoInfo, Window, camera_modes, list_cameras,
};
use crate::output::is_taken;
use crate::pipeline::{Control, Pipeline, PipelineStats, RunError};
use crate::style::StyleEngine;
use crate::style::contract::StyleInput;

pub use self::keys::help as keys_help;

/// The title of the window.
const TITLE: &str = "impasto";
/// Unit of a live picture's timestamp.
const MICROSECOND: Rational = Rational(1, 1_000_000);
/// Frames a second to plan encoders for, where a camera says nothing.
const USUAL_RATE: f64 = 30.0;
/// Bits of a stream for each pixel of each frame: 4 Mbit/s for 720p at 30 a second, more or less what platforms ask for.
const STREAM_BITS_A_PIXEL: f64 = 0.15;
/// Nothing waits between two stages: what waits grows old.
const CAPACITY: usize = 0;

/// Runs the command.
pub fn run(args: &LiveArgs) -> Result<Outcome> {
    if args.list_cameras && args.json {
        return Err(usage(anyhow!(
            "--list-cameras is a list for people (`impasto doctor --json` has the cameras in JSON)"
        )));
    }
    if args.list_cameras {
        console::data(&cameras_text()).context("write to stdout")?;
        return Ok(Outcome::Done);
    }
    let console = Console::new(args.quiet);
    // A file that is not there will not come by waiting.
    let parse = match args.reconnect && !is_file_name(&args.camera) {
        true => CameraChoice::parse_patiently,
        false => CameraChoice::parse,
    };
    let choice = parse(&args.camera, &list_cameras()).map_err(with_file_hint)?;
    check(args, &choice)?;
    let control = Control::new();
    stop_on_signals(&control, console, STOPPING)?;
    let pool = FramePool::new();
    let threads = super::thread_count(args.threads);

    // The style before the camera: whose light need not go on for a name that is wrong.
    let mut compute = Compute::new(&args.device, threads, console)?;
    let OpenStyle { engine, label, network, provider, notes, .. } = style::open(&args.style, &mut compute, &control)?;
    notes.iter().for_each(|note| console.note(note));
    let options = CameraOptions {
        size: args.size,
        frame_rate: args.fps,
        timeout: Duration::from_secs_f32(args.camera_timeout),
        pool: pool.clone(),
    };
    let recipe = CameraRecipe { choice, options, reconnect: args.reconnect };
    let duration = args.duration.map(Duration::from_secs_f32);
    let Some(camera) = recipe.open(duration, &control, console).map_err(|error| with_camera_hint(error, args))? else {
        return Ok(Outcome::Interrupted);
    };
    let (size, said_rate) = (camera.size(), camera.frame_rate());
    console.note(&format!(
        "camera: {}, {size}{}",
        recipe.choice,
        said_rate.map(|rate| format!(" at {rate:.4} fps")).unwrap_or_default()
    ));
    let temporal = TemporalStages::live(args.temporal.smooth, args.temporal.stride, MICROSECOND)?;
    let temporal = temporal.placed(|| compute.place(size));
    compute.tell(args.stats);
    let rate = args.fps.or(said_rate).unwrap_or(USUAL_RATE);
    let window = match args.no_window {
        true => None,
        false => Some(Window::open(TITLE, size).map_err(with_hint)?),
    };
    let (outputs, plan) = open_outputs(args, size, rate, threads, control.clone(), console)?;

    let (look, menu) = first_look(args, &engine, size);
    let shared = SharedLook::new(look);
    let pipeline = Pipeline::new(control.clone(), CAPACITY);
    let stats = pipeline.stats();
    let trouble = source::Trouble::default();
    let camera_rate = CaptureRate::default();
    let quality = (args.quality == QualityMode::Auto)
        .then(|| Quality::new(rate, (args.style.look.work_size as usize).min(size.short_side())));
    let parts = LiveSinkParts {
        window,
        outputs,
        plan,
        look: shared.clone(),
        menu,
        provider: provider.clone(),
        style: label,
        quality,
        control: control.clone(),
        console,
        stats: stats.clone(),
        trouble: Arc::clone(&trouble),
        camera_rate: camera_rate.clone(),
        limits: Limits { frames: args.frames, duration },
    };
    let mut sink = LiveSink::new(parts, args.overlay);
    let (mut paint, smooth) = stages::stages(temporal, engine, pool, shared);
    paint.warm_up(size)?;
    let camera_label = recipe.choice.to_string();
    let source = LiveSource::new(camera, recipe, control.clone(), console, trouble, camera_rate.clone());
    let outcome = pipeline.run(|wiring| {
        let captured = wiring.live_source("camera", source)?;
        let painted = wiring.stage("paint", captured, paint)?;
        let smoothed = wiring.stage("smooth", painted, smooth)?;
        wiring.sink("show", smoothed, &mut sink)
    });
    let mut camera_error = None;
    match outcome {
        _ if control.is_aborted() => return Ok(Outcome::Interrupted),
        Ok(()) => {}
        // What was painted until then is worth a report.
        Err(RunError::Stage { stage: "camera", source, .. }) => camera_error = Some(with_lost_hint(source)),
        Err(error) => return Err(error.into()),
    }
    let summary = Summary::new((&camera_label, size, &camera_rate), (network, &provider), &sink, &stats);
    report(&console, args, &summary, &stats)?;
    if let Some(error) = camera_error {
        return Err(error);
    }
    Ok(if !sink.outputs().failed.is_empty() { Outcome::Damaged } else { Outcome::Done })
}

/// The cameras of this machine with their modes, in lines for people.
pub fn cameras_text() -> String {
    let cameras = list_cameras();
    if cameras.is_empty() {
        return "no cameras found\n".to_owned();
    }
    let mut text = String::new();
    for camera in cameras {
        text.push_str(&format!("{}  {}  ({})\n", camera.index, camera.name, camera.path.display()));
        for mode in camera_modes(&camera) {
            text.push_str(&format!("     {mode}\n"));
        }
    }
    text
}

fn usage(error: impl Into<anyhow::Error>) -> anyhow::Error {
    UsageError(error.into()).into()
}

/// What no camera could cure.
fn check(args: &LiveArgs, choice: &CameraChoice) -> Result<()> {
    if let (CameraChoice::Clip(clip), Some(record)) = (choice, &args.record)
        && crate::commands::outputs::is_same(clip, record)
    {
        return Err(anyhow!("the recording '{}' is the camera's clip (choose another name)", record.display()));
    }
    if let Some(record) = &args.record {
        Recorder::check_name(record)?;
        args.encoding.codec.as_deref().map_or(Ok(()), media::check_codec)?;
        if !args.overwrite && is_taken(record) {
            return Err(with_hint(OutputError::Exists(record.clone()).into()));
        }
    }
    if !choice.has_modes() && (args.size.is_some() || args.fps.is_some() && args.quality != QualityMode::Auto) {
        let text = format!(
            "'{choice}' has the size and the rate that it has (--size and --fps ask a camera or a GStreamer pipeline)"
        );
        return Err(usage(anyhow!(text)));
    }
    if args.no_window && args.overlay {
        return Err(usage(anyhow!("--overlay is of no use with --no-window")));
    }
    if args.no_window && args.record.is_none() && args.encoding.settings(0) != EncoderSettings::default() {
        let text = "--codec and the other options of encoding are those of a recording (expected --record FILE.mkv beside them)";
        return Err(usage(anyhow!(text)));
    }
    #[cfg(not(target_os = "linux"))]
    if args.virtual_camera.is_some() {
        return Err(usage(anyhow!("--virtual-camera needs Linux and its v4l2loopback")));
    }
    Ok(())
}

fn open_outputs(
    args: &LiveArgs,
    size: FrameSize,
    rate: f64,
    threads: usize,
    control: Control,
    console: Console,
) -> Result<(Outputs, RecordingPlan)> {
    let info = VideoInfo {
        time_base: MICROSECOND,
        frame_rate: Rational((rate * 1000.0).round() as i32, 1000),
        steady_rate: Rational(0, 1),
        ..VideoInfo::plain(size, 1)
    };
    let mut outputs = Outputs::new(console, control);
    let mut plan = RecordingPlan {
        path: args.record.clone(),
        settings: args.encoding.settings(threads),
        info: info.clone(),
        overwrite: args.overwrite,
        recordings: 0,
    };
    if args.record.is_some() {
        outputs.record(plan.open_next().map_err(with_hint)?)?;
    }
    #[cfg(target_os = "linux")]
    if let Some(device) = &args.virtual_camera {
        let camera = crate::media::VirtualCamera::open(device, size)?;
        outputs.add("virtual camera", outputs::VirtualCameraSink { camera, frames: 0 })?;
    }
    if let Some(target) = &args.stream {
        let usual = size.pixels() as f64 * rate * STREAM_BITS_A_PIXEL;
        let bits_per_second = args.stream_bitrate.map_or(usual as u64, |kilobits| u64::from(kilobits) * 1000);
        outputs.add("stream", StreamSink::open(target.clone(), info, bits_per_second, threads, console)?)?;
    }
    Ok((outputs, plan))
}

fn first_look(args: &LiveArgs, engine: &StyleEngine, size: FrameSize) -> (Look, StyleMenu) {
    let weights = engine.network().style_weights().unwrap_or_default().to_vec();
    let menu = match &engine.contract().style {
        StyleInput::Weights { names, .. } => StyleMenu::new(names, &weights),
        _ => StyleMenu::new(&[], &weights),
    };
    let look = Look {
        weights,
        strength: args.style.look.strength,
        keep_color: args.style.look.keep_color,
        smoothing_seconds: args.temporal.smooth,
        mirror: args.mirror,
        work_size: (args.style.look.work_size as usize).min(size.short_side().max(16)),
    };
    (look, menu)
}

/// Adds the flag that cures an error of the library.
fn with_hint(error: anyhow::Error) -> anyhow::Error {
    if error.is::<NoDisplay>() {
        return anyhow!("{error:#} (--no-window paints without one, for --record, --stream and --virtual-camera)");
    }
    match error.downcast_ref::<OutputError>() {
        Some(OutputError::Exists(_)) => anyhow!("{error:#} (choose another name, or -y to replace it)"),
        _ => error,
    }
}

fn with_camera_hint(error: CameraError, args: &LiveArgs) -> anyhow::Error {
    let error = anyhow::Error::new(error);
    match args.duration {
        Some(seconds) if args.reconnect => {
            anyhow!("{error:#} (it did not come in the {seconds} s of --duration; --list-cameras shows what there is)")
        }
        _ => anyhow!("{error:#} (--list-cameras shows what there is, --reconnect waits for a camera)"),
    }
}

/// Tells of a file that is not there: no camera is called so.
fn with_file_hint(error: ChooseCameraError) -> anyhow::Error {
    match &error {
        ChooseCameraError::Absent { wanted, .. } if is_file_name(wanted) => {
            usage(anyhow!("there is no file '{wanted}', and no camera of this name (--list-cameras shows those)"))
        }
        _ => usage(error),
    }
}

/// Whether a text has a folder or the extension of a video.
fn is_file_name(text: &str) -> bool {
    text.contains(std::path::is_separator) || is_named_like_video(Path::new(text))
}

fn with_lost_hint(error: anyhow::Error) -> anyhow::Error {
    anyhow!("{error:#} (--reconnect waits until it is back)")
}

fn report(console: &Console, args: &LiveArgs, summary: &Summary<'_>, stats: &PipelineStats) -> Result<()> {
    if args.stats {
        console.stages(&stats.snapshot());
    }
    let times = match (&summary.latency_ms, &summary.painting_ms) {
        (Some(latency), Some(painting)) => format!(
            "; latency {:.0} ms (95 %: {:.0} ms), painting {:.0} ms (95 %: {:.0} ms)",
            latency.median, latency.p95, painting.median, painting.p95
        ),
        _ => String::new(),
    };
    console.line(&format!(
        "{} in {:.1} s ({:.1} fps){}, {} dropped{times}; {} on {}",
        counted(summary.frames, "frame"),
        summary.seconds,
        summary.fps,
        summary.camera_fps.map(|fps| format!(" of {fps:.1} fps that the camera gave")).unwrap_or_default(),
        summary.dropped,
        summary.style,
        summary.provider
    ));
    for lost in &summary.lost {
        console.warning(&format!(
            "the output '{}' lacks {}: it was too slow, or broken off",
            lost.output,
            counted(lost.frames, "frame")
        ));
    }
    if args.json {
        super::print_summary(summary)?;
    }
    Ok(())
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Summary<'a> {
    camera: &'a str,
    width: usize,
    height: usize,
    /// Measured; none of fewer than two pictures.
    camera_fps: Option<f64>,
    captured: u64,
    dropped: u64,
    frames: u64,
    painted_frames: u64,
    fps: f64,
    seconds: f64,
    latency_ms: Option<TimesMs>,
    painting_ms: Option<TimesMs>,
    style: &'a str,
    work_size: usize,
    /// The catalog's name of the network; none for one in a file.
    network: Option<&'a str>,
    provider: &'a str,
    recordings: Vec<String>,
    lost: Vec<Lost>,
    stages: Vec<StageFigures>,
}

/// Frames that an output was too slow for, or that came while it was broken off.
#[derive(Debug, Serialize)]
struct Lost {
    output: &'static str,
    frames: u64,
}

impl<'a> Summary<'a> {
    fn new(
        (camera, size, rate_of_camera): (&'a str, FrameSize, &CaptureRate),
        (network, provider): (Option<&'a str>, &'a str),
        sink: &'a LiveSink,
        stats: &PipelineStats,
    ) -> Self {
        let stages = stats.snapshot();
        let (captured, dropped) = stages.first().map_or((0, 0), |camera| (camera.items, camera.lost));
        let seconds = sink.elapsed.as_secs_f64();
        let rate = |count: u64| count.saturating_sub(1) as f64 / seconds.max(1e-3);
        Self {
            camera,
            width: size.width,
            height: size.height,
            camera_fps: rate_of_camera.frames_per_second(),
            captured,
            dropped,
            frames: sink.frames,
            painted_frames: sink.painted_frames,
            fps: rate(sink.frames),
            seconds,
            latency_ms: sink.latency.summary(),
            painting_ms: sink.painting.summary(),
            style: sink.style(),
            work_size: sink.work_size(),
            network,
            provider,
            recordings: sink.outputs().recordings.iter().map(|written| written.path.display().to_string()).collect(),
            lost: sink.outputs().lost.iter().map(|&(output, frames)| Lost { output, frames }).collect(),
            stages: stages.iter().map(StageFigures::from).collect(),
        }
    }
}
