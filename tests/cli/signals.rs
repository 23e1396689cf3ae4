//! What a run leaves that is ended from outside.

use std::path::Path;
use std::process::{Command as Process, Stdio};
use std::time::{Duration, Instant};

use super::{files, interrupted_when, small_clip};
use crate::common::{Signal, clip, frame_times, send};

/// Starts a long run, waits until it writes, and sends signals.
#[cfg(unix)]
fn interrupted(folder: &Path, signals: &[Signal]) -> (std::process::Output, Vec<String>) {
    let source = "testsrc2=size=320x180:rate=25";
    clip(folder, "long.mp4", &["-f", "lavfi", "-i", source, "-t", "60", "-c:v", "libx264", "-preset", "ultrafast"]);
    // Whoever runs the tests may have been started to outlive its terminal.
    let mut command = if signals.contains(&Signal::HUP) {
        let mut command = Process::new("env");
        command.arg("--default-signal=HUP").arg(assert_cmd::cargo::cargo_bin("impasto"));
        command
    } else {
        Process::new(assert_cmd::cargo::cargo_bin("impasto"))
    };
    let child = command
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
fn ctrl_c_behind_the_last_frame_finds_the_clip_complete() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let pictures = [
        "-f",
        "lavfi",
        "-i",
        "testsrc2=size=64x48:rate=25:duration=0.4",
        "-f",
        "lavfi",
        "-i",
        "sine=sample_rate=48000:duration=600",
    ];
    let streams = ["-c:a", "pcm_s16le"];
    clip(folder, "in.mkv", &[&pictures[..], &streams].concat());
    // By then sound is copied; the pictures take no more than a hundredth of that.
    let bytes = |name: &str| folder.join(name).metadata().map_or(0, |file| file.len());
    let is_copying = || files(folder).iter().any(|name| name != "in.mkv" && bytes(name) > 5_000_000);
    let arguments = ["video", "in.mkv", "-o", "out.mkv", "--strength", "0"];
    let output = interrupted_when(folder, &arguments, Signal::INT, is_copying);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !text.contains("interrupted"), "{text}");
    assert_eq!(files(folder), ["in.mkv", "out.mkv"], "{text}");
    assert!(bytes("out.mkv") > 57_000_000, "{text}");
}

#[cfg(unix)]
#[test]
fn ctrl_c_leaves_a_playable_file_and_exits_with_130() {
    let folder = tempfile::tempdir().unwrap();
    let (output, left) = interrupted(folder.path(), &[Signal::INT]);
    assert_eq!(output.status.code(), Some(130), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(left, ["long.mp4", "out.mp4", "out.mp4.state"]);
    let frames = frame_times(&folder.path().join("out.mp4")).len();
    assert!((1..1500).contains(&frames), "{frames}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_closed_terminal_leaves_a_playable_file_and_ends_no_run_that_shall_outlive_it() {
    let folder = tempfile::tempdir().unwrap();
    // From the terminal and from its shell.
    let (output, left) = interrupted(folder.path(), &[Signal::HUP, Signal::HUP]);
    assert_eq!(output.status.code(), Some(130), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(left, ["long.mp4", "out.mp4", "out.mp4.state"]);
    assert!((1..1500).contains(&frame_times(&folder.path().join("out.mp4")).len()));

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

#[cfg(target_os = "linux")]
#[test]
fn a_second_ctrl_c_ends_a_run_whose_network_does_not_open() {
    use std::io::{BufRead as _, BufReader};
    use std::os::unix::process::ExitStatusExt as _;

    let folder = tempfile::tempdir().unwrap();
    small_clip(folder.path());
    let network = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/endless.onnx");
    let mut child = Process::new(assert_cmd::cargo::cargo_bin("impasto"))
        .current_dir(&folder)
        .args(["video", "in.mp4", "-o", "out.mp4", "--style"])
        .arg(network)
        .stderr(Stdio::piped())
        .spawn()
        .map(Running)
        .unwrap();
    let child = &mut child.0;
    // It is about to open the network when it has ONNX Runtime.
    let maps = format!("/proc/{}/maps", child.id());
    while !std::fs::read_to_string(&maps).unwrap().contains("libonnxruntime") {
        assert!(child.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(5));
    }
    send(Signal::INT, child);
    let mut said = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut said).unwrap();
    assert!(said.contains("stopping (Ctrl-C again to end at once)"), "{said}");
    send(Signal::INT, child);
    assert_eq!(child.wait().unwrap().signal(), Some(2));
    assert_eq!(files(folder.path()), ["in.mp4"]);
}

/// A program that does not outlive a test that fails.
struct Running(std::process::Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
    }
}

#[cfg(unix)]
#[test]
fn a_second_ctrl_c_ends_a_gradient_in_its_middle() {
    use std::io::{BufRead as _, BufReader, Read as _};

    let folder = tempfile::tempdir().unwrap();
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples");
    // A gradient of this size takes seconds; a second preview would be there if it had ended by itself.
    let mut child = Process::new(assert_cmd::cargo::cargo_bin("impasto"))
        .current_dir(&folder)
        .arg("paint")
        .arg(samples.join("castle.jpg"))
        .arg("--style")
        .arg(samples.join("starry-night.jpg"))
        .args(["-o", "out.png", "--size", "1024", "--start-size", "1024", "--preview-every", "1", "--device", "cpu"])
        .stderr(Stdio::piped())
        .spawn()
        .map(Running)
        .unwrap();
    let child = &mut child.0;
    let mut messages = BufReader::new(child.stderr.take().unwrap());
    let mut read_until = |text: &str| {
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            assert_ne!(messages.read_line(&mut line).unwrap(), 0, "'{text}' was not said");
        }
    };
    let deadline = Instant::now() + Duration::from_secs(120);
    while !folder.path().join("out.0001.png").exists() {
        assert!(Instant::now() < deadline, "no preview came");
        std::thread::sleep(Duration::from_millis(20));
    }
    send(Signal::INT, child);
    read_until("stopping");
    send(Signal::INT, child);
    read_until("interrupted: 'out.png' was not written");
    let mut rest = String::new();
    messages.read_to_string(&mut rest).unwrap();
    assert_eq!((child.wait().unwrap().code(), rest.as_str()), (Some(130), ""));
    assert_eq!(files(folder.path()), ["out.0001.png"]);
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
