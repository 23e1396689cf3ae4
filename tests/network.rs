//! The two networks that come with impasto, as a person chooses between them.
#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)] // A test that panics fails: as it should.

mod common;

use std::path::Path;

use assert_cmd::Command;
use impasto::style::{Catalog, LearnedStyle};
use predicates::prelude::PredicateBooleanExt as _;
use predicates::str::contains;
use tempfile::TempDir;

const PHOTO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/samples/castle.jpg");
const CLIP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/samples/bunny.mp4");
const PAINTING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/samples/shipwreck.jpg");
const THEIRS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/identity.onnx");

/// impasto on the processor, in a folder that is also the home of the user's styles.
fn impasto(folder: &TempDir, arguments: &[&str]) -> Command {
    let mut command = Command::cargo_bin("impasto").expect("cargo builds the binary for its tests");
    command.current_dir(folder).env("XDG_DATA_HOME", folder.path().join("data")).args(arguments);
    command
}

/// Paints the photo small into `output`.
fn image(folder: &TempDir, output: &str, arguments: &[&str]) -> Command {
    let mut command =
        impasto(folder, &["image", PHOTO, "-o", output, "-y", "-v", "--work-size", "96", "--device", "cpu"]);
    command.args(arguments);
    command
}

fn pixels(folder: &TempDir, name: &str) -> Vec<u8> {
    image::open(folder.path().join(name)).unwrap().into_rgb8().into_raw()
}

fn write(folder: &Path, name: &str, style: &LearnedStyle) {
    std::fs::write(folder.join(name), style.to_bytes().unwrap()).unwrap();
}

#[test]
fn the_processor_takes_lite_and_paints_with_full_if_asked() {
    let folder = tempfile::tempdir().unwrap();
    for (output, network, runs) in [
        ("auto.png", "auto", "impasto-lite runs on CPU"),
        ("lite.png", "lite", "impasto-lite runs on CPU"),
        ("full.png", "full", "impasto-full runs on CPU"),
    ] {
        image(&folder, output, &["--network", network]).assert().success().stderr(contains(runs));
    }
    assert_eq!(pixels(&folder, "auto.png"), pixels(&folder, "lite.png"));
    assert!(common::mean_levels(&pixels(&folder, "lite.png"), &pixels(&folder, "full.png")) > 1.0);

    let clip = ["video", CLIP, "-o", "out.mkv", "--frames", "2", "--work-size", "96", "--device", "cpu"];
    let output = impasto(&folder, &clip).args(["--network", "full", "--stats", "--json"]).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("impasto-full runs on CPU"), "{output:?}");
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["network"], "impasto-full");
}

#[test]
fn every_command_that_paints_in_a_style_has_the_choice() {
    let folder = tempfile::tempdir().unwrap();
    let commands: &[&[&str]] = &[
        &["image", PHOTO, "-o", "o.png"],
        &["video", CLIP, "-o", "o.mp4"],
        &["live", "--camera", CLIP, "--no-window"],
        &["learn", PAINTING, "-o", "o.style"],
        &["styles", "sheet", PHOTO, "-o", "o.png"],
        &["bench"],
        &["pipe"],
        &["doctor", "--build", "640x360"],
    ];
    for arguments in commands {
        let refused = impasto(&folder, arguments).args(["--network", "huge"]).assert().code(2);
        refused.stderr(contains("auto, lite, full"));
    }
    // A network of others is painted by itself.
    let own = ["--style", THEIRS, "--network", "full"];
    for arguments in commands.iter().filter(|arguments| !matches!(arguments[0], "learn" | "styles" | "pipe" | "doctor"))
    {
        let refused = impasto(&folder, arguments).args(own).assert().code(2);
        refused.stderr(
            contains("identity.onnx").and(contains("is itself a network")).and(contains("leave out --network")),
        );
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    image(&folder, "own.png", &["--style", THEIRS, "--network", "auto"]).assert().success();
}

#[test]
fn full_has_no_form_in_8_bit_integers() {
    let folder = tempfile::tempdir().unwrap();
    image(&folder, "lite.png", &["--precision", "int8"]).assert().success();
    let refused = image(&folder, "full.png", &["--precision", "int8", "--network", "full"]).assert().code(2);
    refused.stderr(contains("'impasto-full': it has no form in 8-bit integers").and(contains("--network lite")));
    image(&folder, "auto.png", &["--network", "full"]).assert().success();
    image(&folder, "exact.png", &["--network", "full", "--precision", "fp32"]).assert().success();
    assert_eq!(pixels(&folder, "auto.png"), pixels(&folder, "exact.png"));
    assert!(!folder.path().join("full.png").exists());
}

#[test]
fn a_learnt_style_takes_the_network_that_it_was_learnt_for() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "full.style", &common::style_of("impasto-full", 1));
    write(folder.path(), "lite.style", &common::style_of("impasto-lite", 1));
    let painted = |output: &str, arguments: &[&str], runs: &str| {
        image(&folder, output, arguments).assert().success().stderr(contains(format!("{runs} runs on CPU")));
        pixels(&folder, output)
    };
    let own = painted("own.png", &["--style", "full.style"], "impasto-full");
    let bundled = painted("bundled.png", &["--style", "great-wave", "--network", "full"], "impasto-full");
    assert!(common::mean_levels(&own, &bundled) < 0.05);
    painted("asked.png", &["--style", "full.style", "--network", "full"], "impasto-full");
    painted("lite.png", &["--style", "lite.style"], "impasto-lite");
    // Styles that come with impasto go along.
    let blend = painted("blend.png", &["--style", "scream:0.5,full.style:0.5"], "impasto-full");
    let expected = painted("expected.png", &["--style", "scream:0.5,wave:0.5", "--network", "full"], "impasto-full");
    assert!(common::mean_levels(&blend, &expected) < 0.05);

    for (style, other, of) in [("full.style", "lite", "impasto-full"), ("lite.style", "full", "impasto-lite")] {
        let refused = image(&folder, "no.png", &["--style", style, "--network", other]).assert().code(2);
        let (learnt, advice) = (format!("'{style}' was learnt for '{of}'"), format!("impasto learn --network {other}"));
        refused.stderr(contains(learnt).and(contains("leave out --network")).and(contains(advice)));
    }
    image(&folder, "no.png", &["--style", "full.style,lite.style"]).assert().code(1).stderr(
        contains("'full.style' was learnt for 'impasto-full' and 'lite.style' for 'impasto-lite'")
            .and(contains("anew")),
    );
    assert!(!folder.path().join("no.png").exists());

    // A sheet of one network leaves out what is of the other.
    impasto(&folder, &["styles", "add", "full.style", "lite.style"]).assert().success();
    let sheet =
        ["styles", "sheet", PHOTO, "-o", "sheet.png", "--work-size", "32", "--device", "cpu", "--network", "lite"];
    let count = Catalog::bundled().unwrap().styles().len() + 1;
    let left_out = contains("left out: 'full': it was learnt for 'impasto-full'");
    impasto(&folder, &sheet).assert().success().stderr(left_out.and(contains(format!("{count} styles of"))));
}

#[test]
fn a_style_is_learnt_for_the_network_that_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let learn = |output: &str, arguments: &[&str]| {
        let mut command = impasto(&folder, &["learn", PAINTING, "-o", output, "--steps", "2", "--crop", "64"]);
        command.args(["--stroke-size", "0.3", "--device", "cpu"]).args(arguments);
        command.assert()
    };
    learn("full.style", &["--network", "full", "--from", "wave"]).success();
    learn("auto.style", &["--from", "wave"]).success();
    let network = |name: &str| LearnedStyle::load(&folder.path().join(name)).unwrap().description.network;
    assert_eq!([network("full.style"), network("auto.style")], ["impasto-full", "impasto-lite"]);
    image(&folder, "out.png", &["--style", "full.style"])
        .assert()
        .success()
        .stderr(contains("impasto-full runs on CPU"));
    impasto(&folder, &["styles", "show", "full.style"]).assert().success().stdout(contains("impasto-full\n"));

    let refused = learn("next.style", &["--from", "full.style"]).code(2);
    refused.stderr(contains("'full.style' was learnt for 'impasto-full'").and(contains("--network full")));
    assert!(!folder.path().join("next.style").exists());
}

#[test]
fn the_doctor_looks_at_both_networks() {
    let folder = tempfile::tempdir().unwrap();
    let output = impasto(&folder, &["doctor"]).assert().success().get_output().stdout.clone();
    let text = String::from_utf8(output).unwrap();
    for network in ["network impasto-lite", "network impasto-full"] {
        let line = text.lines().find(|line| line.contains(network)).unwrap();
        assert!(line.contains("as it should be"), "{line}");
    }
}
