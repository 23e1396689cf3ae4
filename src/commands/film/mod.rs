//! `impasto video --engine gatys`: a film from optimized keyframes.
//!
//! Three looks at a clip, each of which can be interrupted and gone on with: which frames are keyframes, painting them, and
//! carrying what lies between.

mod fill;
mod painter;
mod setup;
mod work;
mod write;

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Serialize;

use super::device::Compute;
use super::video::{self, EndsRun, check_cut, judge_damage, judge_mask};
use super::{Outcome, UsageError};
use crate::cli::VideoArgs;
use crate::console::{Console, counted};
use crate::film::{Planner, PlannerSettings, Spacing};
use crate::frame::{Frame, FrameSize};
use crate::media::VideoReader;
use crate::pipeline::Control;
use crate::style::upscale::GuidedUpscaler;
use fill::FillNetwork;
use painter::{Painted, Painter};
use setup::{Clip, Networks, Prepared, check_clip, fingerprint, prepare, settings};
pub use setup::{check, work_folder};
pub use work::WorkFolder;
use work::{Plan, PlannedKeyframe};
use write::{Film, WrittenFilm};

/// Gradients for a keyframe and pass where no number is asked for.
const ITERATIONS: u64 = 60;

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
    let video::Clip { input, output, is_in_folder } = clip;
    let again = if *is_in_folder { "the same command with --resume" } else { "the same command" };
    check_clip(clip, args)?;
    let cut = check_cut(args)?;
    let started = Instant::now();
    let clip = Clip { input, output, args, cut, threads: args.run.thread_count(), control: control.clone() };
    let Prepared { style_name, style, reader, size, networks, encoder, mut notes } = prepare(&clip, compute, console)?;
    let info = reader.info().clone();
    let Networks { session, fill: asked_fill, vgg, vgg_sha256 } = networks;
    let settings = settings(args, session.clone());
    settings.objective.check(&vgg).map_err(UsageError)?;

    let folder = clip.work_folder();
    let fingerprint = fingerprint(input, args, size, &settings, &style, asked_fill.as_ref(), vgg_sha256.as_deref())?;
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
        "{} for {} of {size}; {} paints what they do not show",
        counted(plan.keyframes.len() as u64, "keyframe"),
        counted(plan.frames, "frame"),
        fill.label
    ));
    let passes = args.film.passes.unwrap_or(1);
    let iterations = args.film.iterations.unwrap_or(ITERATIONS);
    let painter = Painter { vgg: &vgg, style, settings, iterations, passes, size, work: &work, plan: &plan };
    let painted = painter.run(&mut fill, control, console)?;
    if !painted.is_complete {
        console.line(&format!(
            "interrupted: finished keyframes are kept in '{}' ({again} goes on from there)",
            folder.display()
        ));
        return Ok(Outcome::Interrupted);
    }
    let film = Film { clip: &clip, work: &work, plan: &plan, last_pass: passes - 1, size };
    let carrying = Instant::now();
    let Some(WrittenFilm { file: written, damage, remarks, is_stopped }) = film.write(&mut fill, console)? else {
        console.line(&format!("interrupted: nothing was written; the keyframes are kept in '{}'", folder.display()));
        return Ok(Outcome::Interrupted);
    };
    let is_whole = !is_stopped;
    notes.extend(remarks.all());
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
    if is_whole && args.film.work_folder.is_none() {
        work.remove()?;
    } else if is_whole {
        work.forget_outputs()?;
    }
    report(args, &summary, &painted, console)?;
    if !is_whole {
        console.line(&format!(
            "interrupted: the file holds what was done until then; the keyframes are kept in '{}' ({again} goes on from there)",
            folder.display()
        ));
        return Ok(Outcome::Interrupted);
    }
    let of_clip = judge_damage(input, damage.as_deref(), args.keep_going, &console);
    Ok(of_clip.or(judge_mask(&args.mask, &remarks, args.keep_going, &console)))
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
        "{}: {} of {}×{} in {:.0} s; {}, {} painted in this run{}; {:.2} s for each frame carried",
        summary.output,
        counted(summary.frames, "frame"),
        summary.width,
        summary.height,
        summary.seconds,
        counted(summary.keyframes as u64, "keyframe"),
        painted.count,
        time(summary.seconds_a_keyframe),
        summary.seconds_a_frame_between.unwrap_or_default(),
    ));
    if args.json {
        super::print_summary(summary).map_err(EndsRun)?;
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
