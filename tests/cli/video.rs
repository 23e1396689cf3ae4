//! What `impasto video` does with a clip.

use std::path::Path;

use predicates::prelude::*;
use predicates::str::contains;

use super::{files, fixture, impasto, small_clip};
use crate::common::{clip, frame_rgb, frame_times, mean_difference, packets, stream, streams};

#[test]
fn a_clip_becomes_a_painting_with_its_sound() {
    let folder = tempfile::tempdir().unwrap();
    let input = small_clip(folder.path());
    let output = folder.path().join("out.mp4");
    impasto()
        .current_dir(&folder)
        .args(["video", "in.mp4", "-o", "out.mp4", "--style", "great-wave"])
        .assert()
        .success();
    assert_eq!(frame_times(&output), frame_times(&input));
    let sizes = |path: &Path| packets(path, "a:0").into_iter().map(|(_, size)| size).collect::<Vec<_>>();
    assert_eq!(sizes(&output), sizes(&input));
    let difference = mean_difference(&frame_rgb(&input, 4).2, &frame_rgb(&output, 4).2);
    assert!(difference.iter().sum::<f64>() > 30.0, "the style shows: {difference:?}");
    assert_eq!(files(folder.path()), ["in.mp4", "out.mp4"]);
}

#[test]
fn a_limit_beyond_the_end_cuts_no_sound() {
    let folder = tempfile::tempdir().unwrap();
    let inputs = ["-f", "lavfi", "-i", "testsrc2=size=96x64:rate=10:d=0.5", "-f", "lavfi", "-i", "sine=duration=2"];
    let input = clip(folder.path(), "in.mkv", &[&inputs[..], &["-pix_fmt", "yuv420p", "-c:a", "flac"]].concat());
    let last = |path: &Path| packets(path, "a:0").last().unwrap().0;
    for limit in [["--frames", "100"], ["--end", "1:00"]] {
        let arguments = ["video", "in.mkv", "-o", "out.mkv", "-y", "--strength", "0", limit[0], limit[1]];
        impasto().current_dir(&folder).args(arguments).assert().success();
        assert!((last(&folder.path().join("out.mkv")) - last(&input)).abs() < 0.1, "{limit:?}");
    }
}

#[test]
fn speed_counts_from_the_first_frame() {
    let folder = tempfile::tempdir().unwrap();
    let input = small_clip(folder.path());
    clip(folder.path(), "late.mkv", &["-i", input.to_str().unwrap(), "-c", "copy", "-output_ts_offset", "1000"]);
    let output = impasto()
        .current_dir(&folder)
        .args(["video", "late.mkv", "-o", "out.mkv", "--strength", "0"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let speed = said.split_once(" fps, ").and_then(|(_, rest)| rest.split_once('×')).unwrap().0.parse::<f64>().unwrap();
    let rate =
        said.split_once(" fps, ").and_then(|(before, _)| before.rsplit_once('(')).unwrap().1.parse::<f64>().unwrap();
    assert!((rate / speed / 10.0 - 1.0).abs() < 0.2, "a second has ten frames: {said}");
}

#[test]
fn what_changes_on_the_way_is_told_with_the_name_of_the_clip() {
    let folder = tempfile::tempdir().unwrap();
    let part = |name: &str, size: &str| {
        let source = format!("testsrc2=size={size}:rate=10:duration=1");
        let part = clip(folder.path(), name, &["-f", "lavfi", "-i", &source, "-pix_fmt", "yuv420p"]);
        std::fs::read(part).unwrap()
    };
    std::fs::write(folder.path().join("in.ts"), [part("a.ts", "160x96"), part("b.ts", "96x64")].concat()).unwrap();
    impasto()
        .current_dir(&folder)
        .args(["video", "in.ts", "-o", "out.mkv", "--strength", "0", "--smooth", "0"])
        .assert()
        .stderr(
            contains("WARN")
                .not()
                .and(contains("warning: 'in.ts': the size of the pictures changes: all are scaled to the first one's")),
        );
}

#[test]
fn an_identity_network_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let input = small_clip(folder.path());
    for extension in ["mp4", "mkv", "webm", "mov"] {
        let output = format!("out.{extension}");
        let arguments = [
            "video",
            "in.mp4",
            "-o",
            &output,
            "--style",
            &fixture("identity.onnx"),
            "--mute",
            "--crf",
            "8",
            "--smooth",
            "0",
        ];
        impasto().current_dir(&folder).args(arguments).assert().success();
        let output = folder.path().join(&output);
        let difference = mean_difference(&frame_rgb(&input, 5).2, &frame_rgb(&output, 5).2);
        assert!(difference.iter().all(|levels| *levels <= 2.0), "{extension}: {difference:?}");
        assert_eq!(streams(&output).len(), 1);
    }
}

#[test]
fn strength_zero_gives_the_input_and_keep_color_keeps_its_chroma() {
    let folder = tempfile::tempdir().unwrap();
    let input = small_clip(folder.path());
    let paint = |output: &str, more: &[&str]| {
        let mut arguments = vec!["video", "in.mp4", "-o", output, "--style", "scream", "--crf", "6"];
        arguments.extend_from_slice(more);
        impasto().current_dir(&folder).args(arguments).assert().success();
        frame_rgb(&folder.path().join(output), 5).2
    };
    let content = frame_rgb(&input, 5).2;
    let untouched = mean_difference(&content, &paint("zero.mp4", &["--strength", "0"]));
    assert!(untouched.iter().all(|levels| *levels <= 2.0), "{untouched:?}");

    let chroma_error = |painted: &[u8]| {
        let chroma = |pixel: &[u8]| {
            let [red, green, blue] = [pixel[0], pixel[1], pixel[2]].map(f64::from);
            let luma = 0.2126 * red + 0.7152 * green + 0.0722 * blue;
            (blue - luma, red - luma)
        };
        let sum: f64 = content
            .chunks(3)
            .zip(painted.chunks(3))
            .map(|(a, b)| (chroma(a).0 - chroma(b).0).abs() + (chroma(a).1 - chroma(b).1).abs())
            .sum();
        sum / (content.len() / 3) as f64
    };
    let kept = chroma_error(&paint("kept.mp4", &["--keep-color"]));
    let painted = chroma_error(&paint("painted.mp4", &[]));
    assert!(kept < painted * 0.6, "{kept} against {painted}");
}

#[test]
fn smoothing_steadies_a_still_scene_with_grain_and_starts_anew_at_a_cut() {
    let folder = tempfile::tempdir().unwrap();
    // One second of a still picture with grain, then one of another: the cut is at frame 25.
    let noisy = |source: &str| {
        format!("{source}=size=160x96:rate=25,trim=end_frame=1,loop=24:1,setpts=N/25/TB,noise=alls=12:allf=t")
    };
    let graph = format!("{}[a];{}[b];[a][b]concat=n=2,format=yuv420p", noisy("testsrc2"), noisy("smptehdbars"));
    let arguments = ["-f", "lavfi", "-i", &graph, "-r", "25", "-c:v", "libx264", "-crf", "4"];
    clip(folder.path(), "in.mkv", &arguments);
    let paint = |output: &str, smooth: &str| {
        let arguments = ["video", "in.mkv", "-o", output, "--style", "starry", "--codec", "ffv1", "--smooth", smooth];
        impasto().current_dir(&folder).args(arguments).assert().success();
        folder.path().join(output)
    };
    let (each, smoothed) = (paint("each.mkv", "0"), paint("smoothed.mkv", "0.2"));
    assert_eq!(frame_times(&smoothed), frame_times(&folder.path().join("in.mkv")));

    let step = |path: &Path| {
        let steps = [18, 19, 20].map(|index| mean_difference(&frame_rgb(path, index).2, &frame_rgb(path, index + 1).2));
        steps.iter().flatten().sum::<f64>() / 9.0
    };
    assert!(step(&smoothed) < 0.35 * step(&each), "{} against {}", step(&smoothed), step(&each));
    let ghost = mean_difference(&frame_rgb(&each, 25).2, &frame_rgb(&smoothed, 25).2);
    assert!(ghost.iter().all(|levels| *levels < 0.5), "the first frame after the cut: {ghost:?}");
}

#[test]
fn a_smaller_work_size_keeps_the_size_of_the_output() {
    let folder = tempfile::tempdir().unwrap();
    small_clip(folder.path());
    let arguments = ["video", "in.mp4", "-o", "out.mp4", "--style", "wave:0.5,scream:0.5", "--work-size", "32"];
    impasto().current_dir(&folder).args(arguments).assert().success();
    let video = stream(&folder.path().join("out.mp4"), "video");
    assert_eq!((video["width"].as_u64(), video["height"].as_u64()), (Some(96), Some(64)));
}

#[test]
fn json_is_one_summary_on_stdout_and_quiet_is_quiet() {
    let folder = tempfile::tempdir().unwrap();
    small_clip(folder.path());
    let output = impasto()
        .current_dir(&folder)
        .args(["video", "in.mp4", "-o", "out.mkv", "--style", "starry", "--json", "--quiet", "--frames", "4"])
        .output()
        .unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["frames"], 4);
    assert_eq!(summary["style"], "starry");
    assert_eq!(summary["provider"], "CPU");
    assert_eq!(summary["network"], "impasto-lite");
    assert_eq!(summary["output"], "out.mkv");
    assert_eq!(summary["interrupted"], false);
    assert!(summary["fps"].as_f64().unwrap() > 0.0);
    let stages: Vec<_> = summary["stages"].as_array().unwrap().iter().map(|stage| stage["name"].clone()).collect();
    assert_eq!(stages, ["decode", "motion", "stylize", "smooth", "encode"]);
}

#[test]
fn quiet_is_quiet_whatever_the_encoder_has_to_say() {
    let folder = tempfile::tempdir().unwrap();
    small_clip(folder.path());
    if !impasto::media::encoders().iter().any(|ability| ability.found.as_deref() == Some("libsvtav1")) {
        println!("skipped: this FFmpeg has no SVT-AV1");
        return;
    }
    let arguments = ["video", "in.mp4", "-o", "out.mkv", "--codec", "libsvtav1", "--quiet", "--frames", "2"];
    impasto().current_dir(&folder).args(arguments).assert().success().stderr("");
}

#[test]
fn stats_show_every_stage() {
    let folder = tempfile::tempdir().unwrap();
    small_clip(folder.path());
    impasto()
        .current_dir(&folder)
        .args(["video", "in.mp4", "-o", "out.mkv", "--stats", "--frames", "2", "--queue", "0", "--threads", "1"])
        .assert()
        .success()
        .stderr(contains("decode").and(contains("stylize")).and(contains("encode")).and(contains("waiting")));
}
