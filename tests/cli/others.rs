//! Catalogue, bench, completions, manual.

use std::process::Command as Process;

use predicates::prelude::*;
use predicates::str::contains;

use super::{files, fixture, impasto, small_clip};

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
        .args([
            "bench",
            "--size",
            "64x48",
            "--frames",
            "3",
            "--json",
            "--codec",
            "ffv1",
            "--style",
            &fixture("identity.onnx"),
        ])
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

#[test]
fn completions_and_the_manual_come_from_the_same_definitions() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        impasto().args(["completions", shell]).assert().success().stdout(contains("keep-color"));
    }
    impasto().arg("man").assert().success().stdout(contains(".TH").and(contains("keep\\-color")));
    impasto().args(["video", "--help"]).assert().success().stdout(contains("--work-size").and(contains("Examples")));
}

#[test]
fn nothing_is_collected_or_kept_beside_the_output() {
    let folder = tempfile::tempdir().unwrap();
    let (home, temporary) = (folder.path().join("home"), folder.path().join("tmp"));
    std::fs::create_dir(&home).unwrap();
    std::fs::create_dir(&temporary).unwrap();
    small_clip(folder.path());
    impasto()
        .current_dir(&folder)
        .env_remove("ORT_DISABLE_TELEMETRY")
        .env_remove("XDG_CACHE_HOME")
        .envs([("HOME", &home), ("TMPDIR", &temporary)])
        .args(["video", "in.mp4", "-o", "out.mkv", "--frames", "2"])
        .assert()
        .success();
    assert_eq!((files(&home), files(&temporary)), (Vec::new(), Vec::new()));
    assert_eq!(files(folder.path()), ["home", "in.mp4", "out.mkv", "tmp"]);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let script =
        format!("set -o pipefail; '{}' man | head -c 10 >/dev/null", assert_cmd::cargo::cargo_bin("impasto").display());
    let output = Process::new("bash").args(["-c", &script]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
