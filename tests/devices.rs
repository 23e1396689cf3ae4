//! What networks run on, as a person asks for it: on a machine with nothing but a processor, and with faked libraries.
#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)] // A test that panics fails: as it should.

mod common;

use std::path::Path;

use assert_cmd::Command;
use impasto::runtime::{Provider, Runtime};
use predicates::prelude::*;
use predicates::str::contains;
use tempfile::TempDir;

fn impasto() -> Command {
    Command::cargo_bin("impasto").expect("cargo builds the binary for its tests")
}

fn image(folder: &Path, arguments: &[&str]) -> Command {
    let photo = concat!(env!("CARGO_MANIFEST_DIR"), "/samples/castle.jpg");
    let mut command = impasto();
    command.current_dir(folder).args(["image", photo, "-o", "out.png", "-y", "--work-size", "96"]).args(arguments);
    command
}

/// A provider of this system that the library in use does not have.
fn provider_that_is_not_in_the_build() -> Option<Provider> {
    let there = Runtime::load().unwrap().providers();
    [Provider::Cuda, Provider::OpenVino, Provider::WebGpu].into_iter().find(|provider| !there.contains(provider))
}

#[test]
fn the_processor_is_said_to_be_used_only_to_those_who_ask() {
    let folder = TempDir::new().unwrap();
    let said = contains("impasto-lite runs on CPU");
    image(folder.path(), &["--device", "cpu"]).assert().success().stderr(said.clone().not());
    image(folder.path(), &["--device", "cpu", "-v"]).assert().success().stderr(said);
    assert!(folder.path().join("out.png").is_file());
}

#[test]
fn a_device_that_the_build_does_not_have_is_an_error_and_nothing_is_painted() {
    let Some(provider) = provider_that_is_not_in_the_build() else {
        return println!("skipped: the ONNX Runtime in use has every provider of this system");
    };
    let folder = TempDir::new().unwrap();
    let expected = contains(format!("has no {provider}")).and(contains("onnxruntime")).and(contains("PyPI"));
    image(folder.path(), &["--device", provider.word()]).assert().code(1).stderr(expected);
    assert!(!folder.path().join("out.png").exists());
}

#[test]
fn every_command_that_runs_a_network_refuses_a_device_that_nobody_knows() {
    let folder = TempDir::new().unwrap();
    let photo = concat!(env!("CARGO_MANIFEST_DIR"), "/samples/castle.jpg");
    let clip = concat!(env!("CARGO_MANIFEST_DIR"), "/samples/bunny.mp4");
    let commands: &[&[&str]] = &[
        &["image", photo, "-o", "o.png"],
        &["video", clip, "-o", "o.mp4"],
        &["video", clip, "-o", "o.mp4", "--engine", "gatys", "--style", photo],
        &["live", "--camera", clip, "--no-window"],
        &["paint", photo, "--style", photo, "-o", "o.png"],
        &["learn", photo, "-o", "o.style"],
        &["measure", clip, clip, "--style", photo],
        &["styles", "sheet", photo, "-o", "o.png"],
        &["bench"],
        &["pipe"],
    ];
    for arguments in commands {
        let mut command = impasto();
        command.current_dir(folder.path()).args(*arguments).args(["--device", "cdua"]);
        command.assert().code(2).stderr(contains("there is no device 'cdua' (did you mean 'cuda'?"));
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_device_without_a_network_to_run_on_it_is_refused() {
    let clip = concat!(env!("CARGO_MANIFEST_DIR"), "/samples/bunny.mp4");
    let refused = impasto().args(["measure", clip, clip, "--device", "cpu"]).assert();
    refused.code(2).stderr(contains("expected --style with them"));
}

#[test]
fn a_number_that_a_device_cannot_have_is_refused() {
    let folder = TempDir::new().unwrap();
    for (device, expected) in [("cpu:1", "expected cpu alone"), ("cuda:first", "for example cuda:1")] {
        image(folder.path(), &["--device", device]).assert().code(2).stderr(contains(expected));
    }
}

#[test]
fn a_provider_library_is_refused_with_the_reason() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("text.so"), "not a library").unwrap();
    for (library, expected) in [("x=missing.so", "there is no provider library"), ("x=text.so", "cannot be loaded")] {
        image(folder.path(), &["--provider-library", library]).assert().code(1).stderr(contains(expected));
    }
    for (arguments, expected) in [
        (&["--provider-library", "missing.so"][..], "NAME=PATH"),
        (&["--provider-library", "x=missing.so", "--device", "cuda"][..], "expected --device x"),
    ] {
        image(folder.path(), arguments).assert().code(2).stderr(contains(expected));
    }
}

#[test]
fn the_doctor_tells_how_everything_is_and_what_to_do() {
    let home = TempDir::new().unwrap();
    let styles = home.path().join("impasto/styles");
    std::fs::create_dir_all(&styles).unwrap();
    std::fs::write(styles.join("broken.style"), "no style").unwrap();
    let doctor = impasto().arg("doctor").env("XDG_DATA_HOME", home.path()).assert().success();
    let text = String::from_utf8(doctor.get_output().stdout.clone()).unwrap();
    for part in ["impasto can paint", "runs impasto-lite", "h264", "OpenCV", "VGG-16", "VGG-19", "own styles"] {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
    let lines: Vec<&str> = text.lines().collect();
    for (index, line) in lines.iter().enumerate() {
        if line.starts_with("  !!") || line.starts_with("  - ") {
            assert!(lines[index + 1].trim().starts_with('→'), "nothing is said of what to do: {line}");
        }
    }
    assert!(lines.iter().any(|line| line.starts_with("  !!  broken ")), "{text}");
    assert!(text.contains("impasto styles remove broken"), "{text}");
}

#[test]
fn the_doctor_tells_programs_the_same() {
    let doctor = impasto().args(["doctor", "--json"]).assert().success();
    let report: serde_json::Value = serde_json::from_slice(&doctor.get_output().stdout).unwrap();
    assert_eq!(report["can_paint"], true);
    let sections = report["sections"].as_array().unwrap();
    let checks: Vec<&serde_json::Value> =
        sections.iter().flat_map(|section| section["checks"].as_array().unwrap()).collect();
    let state = |name: &str| checks.iter().find(|check| check["name"] == name).unwrap()["state"].clone();
    for name in ["library", "CPU", "FFmpeg", "OpenCV", "paintings", "VGG-16", "photos"] {
        assert_eq!(state(name), "ok", "{name}");
    }
    for check in checks {
        assert_eq!(check["state"] == "ok", check.get("advice").is_none(), "{check}");
    }
}

#[test]
fn without_onnx_runtime_the_doctor_says_what_to_do_and_fails() {
    let doctor = impasto().arg("doctor").env("ORT_DYLIB_PATH", "/no/such/file.so").assert().code(1);
    doctor.stdout(
        contains("!!  library")
            .and(contains("/no/such/file.so"))
            .and(contains("cannot paint"))
            .and(contains("make setup")),
    );
}

#[test]
fn several_networks_paint_a_clip_as_one_does() {
    let folder = TempDir::new().unwrap();
    let clip = concat!(env!("CARGO_MANIFEST_DIR"), "/samples/bunny.mp4");
    for parallel in ["1", "3"] {
        let output = format!("{parallel}.mkv");
        let said =
            if parallel == "1" { "impasto-lite runs on CPU\n" } else { "impasto-lite runs on CPU, 3 at one time" };
        impasto()
            .current_dir(folder.path())
            .args(["video", clip, "-o", &output, "--codec", "ffv1", "--precision", "fp32", "--frames", "9"])
            .args(["--parallel", parallel, "--stats", "--device", "cpu"])
            .assert()
            .success()
            .stderr(contains(said));
    }
    let frame = |file: &str, index| common::frame_rgb(&folder.path().join(file), index).2;
    for index in [0, 4, 8] {
        let difference = common::mean_difference(&frame("1.mkv", index), &frame("3.mkv", index));
        assert!(difference.iter().all(|levels| *levels < 0.05), "frame {index}: {difference:?}");
    }
}

#[test]
fn several_devices_are_for_clips() {
    let folder = TempDir::new().unwrap();
    image(folder.path(), &["--device", "cuda:0,1"]).assert().code(2).stderr(contains("one device at a time"));
    image(folder.path(), &["--device", "cuda:1,1"]).assert().code(2).stderr(contains("named twice"));
    image(folder.path(), &["--device", "cpu:0,1"]).assert().code(2).stderr(contains("cpu alone"));
    assert!(!folder.path().join("out.png").exists());
}

#[test]
fn only_tensorrt_has_engines_to_build_ahead() {
    let build = |arguments: &[&str]| impasto().args(["doctor", "--build"]).args(arguments).assert();
    build(&["640x360", "--device", "cpu"]).code(2).stderr(contains("expected --device tensorrt"));
    build(&["640"]).code(2).stderr(contains("640x360"));
    if Runtime::load().unwrap().providers().contains(&Provider::TensorRt) {
        return println!("skipped: the ONNX Runtime in use has TensorRT");
    }
    build(&["640x360"]).code(1).stderr(contains("has no TensorRT").and(contains("make gpu")));
}

#[test]
fn half_precision_can_be_asked_for_on_the_processor() {
    let folder = TempDir::new().unwrap();
    image(folder.path(), &["--precision", "fp32"]).assert().success();
    let exact = common::frame_rgb(&folder.path().join("out.png"), 0).2;
    image(folder.path(), &["--precision", "fp16"]).assert().success();
    let half = common::frame_rgb(&folder.path().join("out.png"), 0).2;
    let difference = common::mean_difference(&exact, &half);
    assert!(difference.iter().all(|levels| *levels < 2.0), "{difference:?}");
}
