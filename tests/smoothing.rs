//! Temporal smoothing as a person uses it, held to what it promises: how still a noisy scene gets, that nothing drifts, that
//! no ghost stays where something comes into view, and what carrying frames along saves.
#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)] // A test that panics fails: as it should.

mod common;

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use common::{clip, frame_rgb, shared};
use impasto::media::{ReaderOptions, VideoReader};
use impasto::motion::{MotionEstimator, MotionSettings};
use impasto::runtime::{Device, Runtime};
use impasto::temporal::{DeviceCanvas, Place, Smoother, SmootherSettings};
use serde_json::Value;

fn impasto(folder: &Path) -> Command {
    let mut command = Command::cargo_bin("impasto").expect("cargo builds the binary for its tests");
    command.current_dir(folder);
    command
}

/// What a command prints in JSON.
fn json(folder: &Path, arguments: &[&str]) -> Value {
    let output = impasto(folder).args(arguments).args(["--json", "-q"]).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("a number and not {value}"))
}

/// Paints `input` without loss; more arguments say how.
fn paint(folder: &Path, input: &str, output: &str, more: &[&str]) -> Value {
    let mut arguments = vec!["video", input, "-o", output, "--codec", "ffv1", "--pixel-format", "bgr0"];
    arguments.extend_from_slice(more);
    json(folder, &arguments)
}

/// A photo under a still camera whose sensor has noise of so many levels, without loss.
fn still_camera(folder: &Path, name: &str, size: &str, frames: usize, noise: u32) -> PathBuf {
    let photo = format!("{}/samples/castle.jpg", env!("CARGO_MANIFEST_DIR"));
    let filters = format!("scale={size}:flags=area,format=gbrp,noise=alls={noise}:allf=t");
    let count = frames.to_string();
    let arguments = ["-loop", "1", "-framerate", "25", "-i", &photo, "-frames:v", &count, "-vf", &filters];
    clip(folder, name, &[&arguments[..], &["-c:v", "ffv1", "-pix_fmt", "bgr0"]].concat())
}

/// Root of the mean, over all values, of the variance over time of the frames that `places` tells.
fn deviation_over_time(path: &Path, places: std::ops::Range<usize>) -> f64 {
    let count = places.len() as f64;
    let (mut sums, mut squares) = (Vec::new(), Vec::new());
    for place in places {
        let (_, _, pixels) = frame_rgb(path, place);
        sums.resize(pixels.len(), 0.0);
        squares.resize(pixels.len(), 0.0);
        for ((sum, square), level) in sums.iter_mut().zip(&mut squares).zip(pixels) {
            *sum += f64::from(level);
            *square += f64::from(level).powi(2);
        }
    }
    let variances = sums.iter().zip(&squares).map(|(sum, square)| square / count - (sum / count).powi(2));
    (variances.sum::<f64>() / sums.len() as f64).sqrt()
}

#[test]
fn a_still_scene_with_sensor_noise_holds_still() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    still_camera(at, "in.mkv", "320:208", 60, 6);
    paint(at, "in.mkv", "each.mkv", &["--smooth", "0"]);
    paint(at, "in.mkv", "smoothed.mkv", &[]);
    // The first second is where the average begins.
    let deviation = |name: &str| deviation_over_time(&at.join(name), 30..60);
    let (each, smoothed) = (deviation("each.mkv"), deviation("smoothed.mkv"));
    println!("{smoothed:.3} of {each:.3} levels");
    // Less than a seventh, or less than what rounding to whole levels makes of a picture that moves slowly.
    let rounding = 1.0 / 12f64.sqrt();
    assert!(smoothed < (0.15 * each).max(rounding) && smoothed < 0.25 * each, "{smoothed} of {each}");
    let figures = json(at, &["measure", "in.mkv", "smoothed.mkv", "--reference", "each.mkv"]);
    let sharpness = number(&figures["sharpness_ratio"]);
    assert!((0.92..1.1).contains(&sharpness), "still and as sharp as painted: {sharpness}");
}

#[test]
fn nothing_drifts_in_a_minute_of_a_still_camera() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    still_camera(at, "in.mkv", "96:64", 60 * 25, 6);
    paint(at, "in.mkv", "each.mkv", &["--smooth", "0"]);
    paint(at, "in.mkv", "smoothed.mkv", &[]);
    let figures = json(at, &["measure", "in.mkv", "smoothed.mkv", "--reference", "each.mkv"]);
    let drift = number(&figures["drift_levels"]);
    println!("{drift:.3} levels");
    assert!(drift.abs() < 1.0, "{drift}");
    let sharpness = |frame: usize| {
        let sharpness = &figures["frames"][frame]["sharpness"];
        number(&sharpness["output"]) / number(&sharpness["reference"])
    };
    let (early, late) = (sharpness(100), sharpness(1499));
    assert!((late / early - 1.0).abs() < 0.1, "sharpness drifts from {early} to {late}");
}

#[test]
fn no_ghost_stays_where_something_comes_into_view() {
    let Some(pairs) = shared("flow") else { return };
    for scene in ["alley_2_clean_f0002", "clean_easy_f0002", "final_easy_f0002"] {
        let truth = pairs.join(scene);
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        for (index, name) in ["frame_t-1.png", "frame_t+0.png", "frame_t+1.png"].iter().enumerate() {
            std::fs::copy(truth.join(name), at.join(format!("{index}.png"))).unwrap();
        }
        clip(at, "in.mkv", &["-i", at.join("%d.png").to_str().unwrap(), "-c:v", "ffv1", "-pix_fmt", "bgr0"]);
        paint(at, "in.mkv", "each.mkv", &["--smooth", "0"]);
        paint(at, "in.mkv", "smoothed.mkv", &[]);
        // The true flow leads from the second frame to the third.
        for name in ["in", "each", "smoothed"] {
            std::fs::create_dir(at.join(name)).unwrap();
            let (from, to) = (at.join(format!("{name}.mkv")), format!("{name}/%d.png"));
            clip(at, &to, &["-i", from.to_str().unwrap(), "-vf", "select=gte(n\\,1)", "-pix_fmt", "rgb24"]);
        }
        let truth = truth.to_str().unwrap();
        let figures = json(at, &["measure", "in", "smoothed", "--reference", "each", "--flow", truth]);
        let ghost = number(&figures["ghost_levels"]);
        println!("{scene}: {ghost:.2} levels");
        assert!(ghost < 3.0, "{scene}: {ghost}");
    }
}

#[test]
fn a_calm_clip_is_painted_less_often_than_not_and_flickers_less() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    still_camera(at, "in.mkv", "320:208", 40, 4);
    paint(at, "in.mkv", "each.mkv", &["--smooth", "0"]);
    let summary = paint(at, "in.mkv", "carried.mkv", &["--stride", "auto"]);
    assert_eq!(summary["frames"], 40);
    let painted = number(&summary["painted_frames"]);
    assert!(painted <= 20.0, "{painted} of 40");
    let figures = json(at, &["measure", "in.mkv", "carried.mkv", "--reference", "each.mkv"]);
    assert_eq!(figures["frame_count"], 40);
    assert!(number(&figures["warping_error_over_reference"]) < 0.6, "{}", figures["warping_error_over_reference"]);
}

/// The graph that smooths on GPUs, run by ONNX Runtime on the processor: what follows from one frame to the next must not drift apart.
#[test]
fn a_clip_is_smoothed_as_a_graph_as_it_is_row_by_row() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/bunny.mp4");
    let mut reader = VideoReader::open(&path, ReaderOptions::default()).unwrap();
    let (size, settings) = (reader.info().size, MotionSettings::default());
    let mut estimator = MotionEstimator::new(settings, f64::from(reader.info().time_base)).unwrap();
    let mut smoothers = [0, 1].map(|_| Smoother::new(SmootherSettings::default()));
    let canvas = DeviceCanvas::open(Runtime::load().unwrap(), &Device::CPU, size, settings.grid(size)).unwrap();
    smoothers[1].move_to(Place::Device(Box::new(canvas)));
    let mut changed = 0.0_f32;
    for index in 0..40 {
        let content = reader.next_frame().unwrap().expect("the clip is longer");
        let motion = estimator.analyze(&content).unwrap();
        let mut frames = [content.clone(), content.clone()];
        for (smoother, frame) in smoothers.iter_mut().zip(&mut frames) {
            smoother.smooth(frame, &motion).unwrap();
        }
        let difference = frames[0].mean_difference(&frames[1]);
        assert!(difference < 0.05, "frame {index}: {difference} levels on average");
        changed = changed.max(frames[0].mean_difference(&content));
    }
    assert!(changed > 0.5, "it did nothing: {changed}");
}
