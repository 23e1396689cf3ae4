//! The binary as a person uses it: what it prints, what it leaves on disk, and how it exits.
#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)] // A test that panics fails: as it should.

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command as Process, Stdio};
use std::time::{Duration, Instant};

use assert_cmd::Command;
use common::{Signal, clip, frame_rgb, frame_times, mean_difference, packets, send, stream, streams};
use predicates::prelude::*;
use predicates::str::contains;

fn impasto() -> Command {
    Command::cargo_bin("impasto").expect("cargo builds the binary for its tests")
}

fn fixture(name: &str) -> String {
    format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// Moving test picture with a tone, 96×64, one second.
fn small_clip(folder: &Path) -> PathBuf {
    let arguments = [
        "-f",
        "lavfi",
        "-i",
        "testsrc2=size=96x64:rate=10,gblur=2",
        "-f",
        "lavfi",
        "-i",
        "sine=frequency=440",
        "-t",
        "1",
        "-c:v",
        "libx264",
        "-pix_fmt",
        "yuv420p",
        "-c:a",
        "aac",
    ];
    clip(folder, "in.mp4", &arguments)
}

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// One error line that says `expected`, the exit code, and nothing new on disk.
fn assert_refused(folder: &Path, arguments: &[&str], code: i32, expected: &str) {
    let before = files(folder);
    let output = impasto().current_dir(folder).args(arguments).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
    assert!(text.contains(expected), "{arguments:?}: {text}");
    assert!(!text.contains("panicked"), "{text}");
    assert_eq!(text.lines().filter(|line| line.starts_with("error:")).count(), 1, "{arguments:?}: {text}");
    assert_eq!(files(folder), before, "{arguments:?}");
    assert!(output.stdout.is_empty());
}

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

#[test]
fn wrong_arguments_are_usage_errors_that_say_what_was_expected() {
    let folder = tempfile::tempdir().unwrap();
    small_clip(folder.path());
    let cases: [(&[&str], &str); 30] = [
        (&["video", "in.mp4"], "--output"),
        (&["video", "in.mp4", "-o", "out.mp4", "--strength", "2"], "from 0 to 1"),
        (&["video", "in.mp4", "-o", "out.mp4", "--work-size", "3"], "whole number from 16 to 8192"),
        (&["video", "in.mp4", "-o", "out.mp4", "--work-size", "1080x720"], "whole number from 16 to 8192"),
        (&["video", "in.mp4", "-o", "out.mp4", "--threads", "abc"], "whole number from 1 to 1024"),
        (&["video", "in.mp4", "-o", "out.mp4", "--strength", "-1"], "from 0 to 1"),
        (&["video", "in.mp4", "-o", "out.mp4", "--smooth", "-1"], "from 0 to 60"),
        (&["video", "in.mp4", "-o", "out.mp4", "--crf", "-5"], "from 0 to 255"),
        (&["video", "in.mp4", "-o", "out.mp4", "--frames", "-1"], "whole number from 1 on"),
        (&["image", "in.png", "-o", "out.jpg", "--quality", "abc"], "whole number from 1 to 100"),
        (&["paint", "in.png", "-s", "wave", "-o", "out.jpg", "--size", "abc"], "whole number from 32 to 8192"),
        (&["paint", "in.png", "-s", "wave", "-o", "out.jpg", "--seed", "-1"], "whole number from 0 on"),
        (&["measure", "in.mp4", "in.mp4", "--style", "wave", "--loss-every", "0"], "whole number from 1 on"),
        (&["styles", "sheet", "in.mp4", "-o", "out.png", "--work-size", "-1"], "whole number from 16 to 8192"),
        (&["video", "in.mp4", "-o", "out.mp4", "--device", "gpu"], "did you mean 'auto' or 'cuda'"),
        (&["video", "in.mp4", "-o", "out.mp4", "--style", "a.jpg"], "`impasto learn a.jpg -o my.style`"),
        (&["video", "in.mp4", "-o", "out.mp4", "--style", "my/a.PNG"], "`impasto learn my/a.PNG -o my.style`"),
        (
            &["video", "in.mp4", "-o", "out.mp4", "--style-image", "a.jpg"],
            "leave out --style-image; a painting: `impasto learn",
        ),
        (&["styles", "show", "a.jpg"], "`impasto learn a.jpg -o my.style`"),
        (&["styles", "show", "my/a.jpg"], "'my/a.jpg' is a picture and no style"),
        (&["video", "in.mp4", "-o", "out.mp4", "--debug-view", "./out.mp4"], "is the input or the output"),
        (&["video", "in.mp4", "-o", "out.mp4", "--start", "soon"], "1:30"),
        (&["video", "in.mp4", "-o", "out.mp4", "--start", "2", "--end", "1"], "not after"),
        (&["video", "in.mp4", "-o", "out.mp4", "--frames", "0"], "whole number from 1 on"),
        (&["video", "in.mp4", "-o", "out.mp4", "--encoder-option", "tune"], "KEY=VALUE"),
        (&["video", "in.mp4", "-o", "out.mp4", "--style", "gret-wave"], "did you mean 'great-wave'"),
        (&["video", "in.mp4", "-o", "out.mp4", "--style", "wave:x"], "weight 'x'"),
        (&["video", "in.mp4", "-o", "out.mp4", "--style", "wave:0,scream:0"], "sum to 0"),
        (&["video", "in.mp4", "-o", "out.mp4", "--style", "wave,,scream"], "empty part"),
        (&["bench", "--size", "big"], "640x360"),
    ];
    for (arguments, expected) in cases {
        assert_refused(folder.path(), arguments, 2, expected);
    }
}

#[test]
fn files_that_cannot_be_used_are_named_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let input = small_clip(folder.path());
    let write = |name: &str, content: &[u8]| std::fs::write(folder.path().join(name), content).unwrap();
    write("empty.mp4", b"");
    write("text.mp4", &b"this is no video\n".repeat(50));
    write("broken.onnx", b"this is no network");
    write("empty.onnx", b"");
    write("exists.mp4", b"precious");
    std::fs::create_dir(folder.path().join("folder")).unwrap();
    let sound = ["-i", input.to_str().unwrap(), "-vn", "-c:a", "copy"];
    clip(folder.path(), "sound.m4a", &sound);
    let no_index = std::fs::read(&input).unwrap();
    write("cut.mp4", &no_index[..no_index.len() / 2]);

    let out = ["-o", "out.mp4"];
    let cases: [(&[&str], &str); 20] = [
        (&["missing.mp4", "-o", "out.mp4"], "'missing.mp4': No such file"),
        (&["folder", "-o", "out.mp4"], "'folder' is a directory"),
        (&["empty.mp4", "-o", "out.mp4"], "'empty.mp4' is empty"),
        (&["text.mp4", "-o", "out.mp4"], "'text.mp4' is not a video"),
        (&["cut.mp4", "-o", "out.mp4"], "cut off"),
        (&["sound.m4a", "-o", "out.mp4"], "'sound.m4a' holds no video stream"),
        (&["in.mp4", "-o", "in.mp4"], "is the input"),
        (&["in.mp4", "-o", "in.mp4", "-y"], "is the input"),
        (&["in.mp4", "-o", "exists.mp4"], "-y to replace it"),
        (&["in.mp4", "-o", "folder"], "is a directory"),
        (&["in.mp4", "-o", "nowhere/out.mp4"], "'nowhere/out.mp4'"),
        (&["in.mp4", "-o", "out.txt"], "expected .mp4"),
        (&["in.mp4", "-o", "out.m3u8"], "expected .mp4"),
        (&["in.mp4", "-o", "out.webm", "--codec", "h264"], "--codec"),
        (&["in.mp4", "-o", "out.mp4", "--preset", "warp"], "preset=warp"),
        (&["in.mp4", "-o", "/dev/null", "-y"], "'/dev/null'"),
        (&["in.mp4", "-o", "out.mp4", "--crf", "60"], "encoder 'libx264' (expected 0 to 51)"),
        (&["in.mp4", "-o", "out.mp4", "--style", "missing.onnx"], "missing.onnx"),
        (&["in.mp4", "-o", "out.mp4", "--style", "broken.onnx"], "broken.onnx"),
        (&["in.mp4", "-o", "out.mp4", "--style", "empty.onnx"], "empty.onnx"),
    ];
    for (arguments, expected) in cases {
        let mut all = vec!["video"];
        all.extend_from_slice(arguments);
        assert_refused(folder.path(), &all, 1, expected);
    }
    let classifier = fixture("classifier.onnx");
    assert_refused(folder.path(), &["video", "in.mp4", out[0], out[1], "--style", &classifier], 1, "classifier.onnx");
    assert_eq!(std::fs::read(folder.path().join("exists.mp4")).unwrap(), b"precious");
}

#[cfg(unix)]
#[test]
fn files_and_folders_without_permission_are_named() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let input = small_clip(folder.path());
    let secret = folder.path().join("secret.mp4");
    std::fs::copy(&input, &secret).unwrap();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o000)).unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o555)).unwrap();
    let before = files(folder.path());
    for (input, output, expected) in [
        ("secret.mp4", "out.mp4", "'secret.mp4': Permission denied"),
        ("in.mp4", "out.mp4", "'out.mp4': Permission denied"),
    ] {
        // Permissions do not count for root: then the binary runs as nobody.
        let mut command = if is_root() {
            let mut command = Process::new("setpriv");
            command.args(["--reuid", "65534", "--clear-groups"]).arg(assert_cmd::cargo::cargo_bin("impasto"));
            command
        } else {
            Process::new(assert_cmd::cargo::cargo_bin("impasto"))
        };
        let run = command.current_dir(&folder).args(["video", input, "-o", output]).output().unwrap();
        let text = String::from_utf8_lossy(&run.stderr);
        assert_eq!(run.status.code(), Some(1), "{text}");
        assert!(text.contains(expected), "{text}");
    }
    assert_eq!(files(folder.path()), before);
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[cfg(unix)]
fn is_root() -> bool {
    Process::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n")
}

#[test]
fn an_output_that_outgrows_its_disk_is_an_error_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    small_clip(folder.path());
    let before = files(folder.path());
    // A limit on the size of files stands in for a full disk: the write fails in the same place.
    let script = format!(
        "trap '' XFSZ; ulimit -f 8; exec '{}' video in.mp4 -o out.mkv --crf 1 --style wave",
        assert_cmd::cargo::cargo_bin("impasto").display()
    );
    let output = Process::new("bash").current_dir(&folder).args(["-c", &script]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("'out.mkv'") && text.contains("too large"), "{text}");
    assert_eq!(files(folder.path()), before);
}

#[test]
fn a_damaged_clip_is_stylized_as_far_as_it_goes_and_reported() {
    let folder = tempfile::tempdir().unwrap();
    let whole = clip(
        folder.path(),
        "whole.mp4",
        &[
            "-f",
            "lavfi",
            "-i",
            "testsrc2=size=96x64:rate=25",
            "-t",
            "1",
            "-c:v",
            "libx264",
            "-bf",
            "0",
            "-movflags",
            "+faststart",
        ],
    );
    let bytes = std::fs::read(&whole).unwrap();
    std::fs::write(folder.path().join("cut.mp4"), &bytes[..bytes.len() * 7 / 10]).unwrap();
    let arguments = ["video", "cut.mp4", "-o", "out.mp4", "--style", "wave"];
    impasto()
        .current_dir(&folder)
        .args(arguments)
        .assert()
        .code(1)
        .stderr(contains("damaged").and(contains("missing at the end")));
    let frames = frame_times(&folder.path().join("out.mp4")).len();
    assert!((5..25).contains(&frames), "{frames}");
    let mut arguments = arguments.to_vec();
    arguments.extend(["-y", "--keep-going"]);
    impasto()
        .current_dir(&folder)
        .args(arguments)
        .assert()
        .success()
        .stderr(contains("warning").and(contains("missing")));
}

/// Starts a long run, waits until it writes, and sends signals.
#[cfg(unix)]
fn interrupted(folder: &Path, signals: &[Signal]) -> (std::process::Output, Vec<String>) {
    let source = "testsrc2=size=320x180:rate=25";
    clip(folder, "long.mp4", &["-f", "lavfi", "-i", source, "-t", "60", "-c:v", "libx264", "-preset", "ultrafast"]);
    let child = Process::new(assert_cmd::cargo::cargo_bin("impasto"))
        .current_dir(folder)
        .args(["video", "long.mp4", "-o", "out.mp4", "--style", "wave"])
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let is_writing = || {
        files(folder).iter().any(|name| {
            name.starts_with(".impasto-") && std::fs::metadata(folder.join(name)).is_ok_and(|file| file.len() > 1000)
        })
    };
    while !is_writing() {
        assert!(Instant::now() < deadline, "the run does not start");
        std::thread::sleep(Duration::from_millis(20));
    }
    for signal in signals {
        send(*signal, &child);
        std::thread::sleep(Duration::from_millis(30));
    }
    let output = child.wait_with_output().unwrap();
    (output, files(folder))
}

#[cfg(unix)]
#[test]
fn ctrl_c_leaves_a_playable_file_and_exits_with_130() {
    let folder = tempfile::tempdir().unwrap();
    let (output, left) = interrupted(folder.path(), &[Signal::INT]);
    assert_eq!(output.status.code(), Some(130), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(left, ["long.mp4", "out.mp4"]);
    let frames = frame_times(&folder.path().join("out.mp4")).len();
    assert!((1..1500).contains(&frames), "{frames}");
}

#[cfg(unix)]
#[test]
fn a_closed_terminal_leaves_a_playable_file_and_ends_no_run_that_shall_outlive_it() {
    let folder = tempfile::tempdir().unwrap();
    // From the terminal and from its shell.
    let (output, left) = interrupted(folder.path(), &[Signal::HUP, Signal::HUP]);
    assert_eq!(output.status.code(), Some(130), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(left, ["long.mp4", "out.mp4"]);
    assert!((1..1500).contains(&frame_times(&folder.path().join("out.mp4")).len()));

    if !cfg!(target_os = "linux") {
        println!("skipped: this system does not say which signals a program was started without");
        return;
    }
    let child = Process::new("sh")
        .current_dir(&folder)
        .args(["-c", "trap '' HUP; exec \"$0\" video long.mp4 -o short.mp4 --frames 30 --work-size 64"])
        .arg(assert_cmd::cargo::cargo_bin("impasto"))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(300));
    send(Signal::HUP, &child);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(frame_times(&folder.path().join("short.mp4")).len(), 30);
}

#[cfg(unix)]
#[test]
fn a_second_ctrl_c_ends_a_run_whose_network_does_not_open() {
    use std::io::{BufRead as _, BufReader};
    use std::os::unix::process::ExitStatusExt as _;

    let folder = tempfile::tempdir().unwrap();
    small_clip(folder.path());
    let network = folder.path().join("net.onnx");
    assert!(Process::new("mkfifo").arg(&network).status().unwrap().success());
    let mut child = Process::new(assert_cmd::cargo::cargo_bin("impasto"))
        .current_dir(&folder)
        .args(["video", "in.mp4", "-o", "out.mp4", "--style", "net.onnx"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Opens when the program reads it, which then waits for what never comes.
    let never_written = std::fs::OpenOptions::new().write(true).open(&network).unwrap();
    send(Signal::INT, &child);
    let mut said = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut said).unwrap();
    assert!(said.contains("stopping (Ctrl-C again to end at once)"), "{said}");
    send(Signal::INT, &child);
    assert_eq!(child.wait().unwrap().signal(), Some(2));
    drop(never_written);
    assert_eq!(files(folder.path()), ["in.mp4", "net.onnx"]);
}

#[test]
fn without_onnx_runtime_it_says_how_to_get_it() {
    let folder = tempfile::tempdir().unwrap();
    small_clip(folder.path());
    std::fs::write(folder.path().join("fake.so"), "no library").unwrap();
    for (path, expected) in [("/nowhere/libonnxruntime.so", "ORT_DYLIB_PATH"), ("fake.so", "fake.so")] {
        impasto()
            .current_dir(&folder)
            .env("ORT_DYLIB_PATH", path)
            .args(["video", "in.mp4", "-o", "out.mp4"])
            .assert()
            .code(1)
            .stderr(contains(expected).and(contains("panicked").not()));
    }
    assert_eq!(files(folder.path()), ["fake.so", "in.mp4"]);
}

#[test]
fn the_catalogue_is_listed_for_people_and_programs() {
    impasto().arg("styles").assert().success().stdout(contains("great-wave").and(contains("Hokusai")));
    let output = impasto().args(["styles", "--json"]).output().unwrap();
    let styles: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let wave = styles.as_array().unwrap().iter().find(|style| style["name"] == "great-wave").unwrap();
    assert_eq!(wave["year"], 1831);
    assert_eq!(wave["networks"], serde_json::json!(["impasto-lite", "impasto-full"]));
    impasto().args(["styles", "show", "wave"]).assert().success().stdout(contains("impasto-lite, impasto-full"));
}

#[test]
fn the_bench_measures_the_network_each_stage_and_the_chain() {
    let output = impasto()
        .args(["bench", "--size", "64x48", "--frames", "3", "--json", "--style", &fixture("identity.onnx")])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let figures: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let names: Vec<_> = figures["timings"].as_array().unwrap().iter().map(|timing| timing["name"].clone()).collect();
    assert_eq!(names, ["decode", "motion", "pack", "network", "unpack", "stylize", "smooth", "encode", "chain"]);
    assert!(figures["timings"].as_array().unwrap().iter().all(|timing| timing["fps"].as_f64().unwrap() > 0.0));
    assert!(figures["chain_over_network"].as_f64().unwrap() > 0.0);

    let folder = tempfile::tempdir().unwrap();
    small_clip(folder.path());
    impasto()
        .current_dir(&folder)
        .args(["bench", "--clip", "in.mp4", "--frames", "3"])
        .assert()
        .success()
        .stdout(contains("chain"));
    assert_eq!(files(folder.path()), ["in.mp4"]);
}

#[cfg(unix)]
#[test]
fn a_bench_that_is_interrupted_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let child = Process::new(assert_cmd::cargo::cargo_bin("impasto"))
        .env("TMPDIR", folder.path())
        .args(["bench", "--size", "640x360", "--frames", "3000"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let folders =
        || std::fs::read_dir(folder.path()).unwrap().flatten().map(|entry| entry.path()).filter(|path| path.is_dir());
    while folders().all(|folder| files(&folder).is_empty()) {
        assert!(Instant::now() < deadline, "the bench does not start");
        std::thread::sleep(Duration::from_millis(20));
    }
    send(Signal::INT, &child);
    let output = child.wait_with_output().unwrap();
    assert!(!output.status.success());
    assert_eq!(folders().count(), 0);
}

#[test]
fn completions_and_the_manual_come_from_the_same_definitions() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        impasto().args(["completions", shell]).assert().success().stdout(contains("keep-color"));
    }
    impasto().arg("man").assert().success().stdout(contains(".TH").and(contains("keep\\-color")));
    impasto().args(["video", "--help"]).assert().success().stdout(contains("--work-size").and(contains("Examples")));
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let script =
        format!("set -o pipefail; '{}' man | head -c 10 >/dev/null", assert_cmd::cargo::cargo_bin("impasto").display());
    let output = Process::new("bash").args(["-c", &script]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
