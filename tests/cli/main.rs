//! The binary as a person uses it: what it prints, what it leaves on disk, and how it exits.
#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)] // A test that panics fails: as it should.

#[path = "../common/mod.rs"]
mod common;
mod masks;
mod others;
mod queue;
mod refusals;
mod resume;
mod signals;
mod video;

use std::path::{Path, PathBuf};
use std::process::{Command as Process, Output, Stdio};
use std::time::{Duration, Instant};

use assert_cmd::Command;
use common::{Signal, clip, send};

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

/// Starts a run, and sends it a signal as soon as it has begun.
#[cfg(unix)]
fn interrupted_when(folder: &Path, arguments: &[&str], signal: Signal, has_begun: impl Fn() -> bool) -> Output {
    let child = Process::new(assert_cmd::cargo::cargo_bin("impasto"))
        .current_dir(folder)
        .args(arguments)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while !has_begun() {
        assert!(Instant::now() < deadline, "the run does not start");
        std::thread::sleep(Duration::from_millis(5));
    }
    send(signal, &child);
    child.wait_with_output().unwrap()
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
