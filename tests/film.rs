//! `impasto video --engine gatys` as a person uses it, on clips so small that a film takes seconds.
#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)] // A test that panics fails: as it should.

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command as Process, Stdio};
use std::time::{Duration, Instant};

use assert_cmd::Command;
use common::{Signal, clip, frame_rgb, frame_times, mean_difference, send, stream, streams, style_of};
use predicates::str::contains;
use tempfile::TempDir;

/// Six frames that pan over a photo, then four over another, with sound; and a painting.
struct Material {
    folder: TempDir,
}

const FRAMES: usize = 10;

impl Material {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let sample = |name: &str| format!("{}/samples/{name}", env!("CARGO_MANIFEST_DIR"));
        let (first, second) = (sample("red-panda.jpg"), sample("castle.jpg"));
        let pan = |input: usize, frames: usize| {
            format!(
                "[{input}:v]scale=140:-2,crop=96:64:x=n*2:y=10,trim=end_frame={frames},setpts=PTS-STARTPTS[v{input}]"
            )
        };
        let graph = format!("{};{};[v0][v1]concat,format=yuv420p[v]", pan(0, 6), pan(1, 4));
        let mut arguments = vec!["-loop", "1", "-r", "10", "-i", &first, "-loop", "1", "-r", "10", "-i", &second];
        arguments.extend([
            "-f",
            "lavfi",
            "-i",
            "sine=duration=1",
            "-filter_complex",
            &graph,
            "-map",
            "[v]",
            "-map",
            "2:a",
        ]);
        arguments.extend(["-c:v", "ffv1", "-c:a", "flac", "-shortest"]);
        clip(folder.path(), "in.mkv", &arguments);
        image::RgbImage::from_fn(80, 80, |x, y| {
            image::Rgb(if (x + y) / 6 % 2 == 0 { [250, 220, 30] } else { [20, 30, 120] })
        })
        .save(folder.path().join("stripes.png"))
        .unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn arguments<'a>(&self, output: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        let mut arguments = vec!["video", "in.mkv", "-o", output, "--codec", "ffv1", "--engine", "gatys"];
        let usual = [
            ("--style", "stripes.png"),
            ("--keyframes", "3"),
            ("--iterations", "4"),
            ("--threads", "1"),
            ("--fill", "wave"),
        ];
        arguments
            .extend(usual.iter().filter(|(flag, _)| !more.contains(flag)).flat_map(|(flag, value)| [*flag, *value]));
        arguments.extend(more);
        arguments
    }

    fn film(&self, output: &str, more: &[&str]) -> Command {
        let mut command = Command::cargo_bin("impasto").expect("cargo builds the binary for its tests");
        command.current_dir(self.folder.path()).args(self.arguments(output, more));
        command
    }

    fn frame(&self, name: &str, index: usize) -> Vec<u8> {
        frame_rgb(&self.path(name), index).2
    }

    fn difference(&self, a: (&str, usize), b: (&str, usize)) -> f64 {
        mean_difference(&self.frame(a.0, a.1), &self.frame(b.0, b.1)).iter().sum::<f64>() / 3.0
    }
}

fn kept(folder: &Path, ending: &str) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.ends_with(ending)).collect();
    names.sort();
    names
}

#[test]
fn a_film_has_the_clips_frames_times_and_sound() {
    let material = Material::new();
    let mut command = Command::cargo_bin("impasto").unwrap();
    let arguments = material.arguments("out.mkv", &["--json"]);
    // Without a word on it, the style that fills is found by trying.
    command
        .current_dir(material.folder.path())
        .args(arguments.iter().filter(|word| !["--fill", "wave"].contains(word)));
    let output = command.assert().success().get_output().stdout.clone();
    let summary: serde_json::Value = serde_json::from_slice(&output).unwrap();
    // Frames 0 and 3, the new scene's first, and 3 frames later.
    assert_eq!((&summary["keyframes"], &summary["frames"]), (&4.into(), &FRAMES.into()), "{summary}");
    let out = material.path("out.mkv");
    assert_eq!(frame_times(&out), frame_times(&material.path("in.mkv")));
    assert_eq!(stream(&out, "audio")["codec_name"], "flac");
    assert!(!material.path("out.mkv.keyframes").exists(), "the work folder is removed");
    for index in 0..FRAMES {
        let painted = material.difference(("in.mkv", index), ("out.mkv", index));
        assert!(painted > 4.0, "frame {index} is not painted: {painted}");
    }
    // Carried along the motion, the painting changes about as much as the content, across keyframes as between them.
    for index in [0, 1, 2, 3, 4, 6, 7, 8] {
        let content = material.difference(("in.mkv", index), ("in.mkv", index + 1));
        let film = material.difference(("out.mkv", index), ("out.mkv", index + 1));
        assert!(film < 2.0 * content + 2.0, "frame {index} to the next: {film} for {content}");
    }
}

#[test]
fn larger_clips_are_enlarged_and_strength_and_colors_are_the_clips() {
    let material = Material::new();
    let arguments = ["--keyframe-size", "64", "--keep-color", "--frames", "4", "--mute"];
    material.film("out.mkv", &arguments).assert().success().stderr(contains("wave paints what they do not show"));
    let out = material.path("out.mkv");
    assert_eq!((streams(&out).len(), frame_times(&out).len()), (1, 4));
    let (width, height, pixels) = frame_rgb(&out, 2);
    assert_eq!((width, height), (96, 64));
    let original = material.frame("in.mkv", 2);
    let chroma = |pixels: &[u8]| {
        let differences = pixels.as_chunks::<3>().0.iter().map(|[red, _, blue]| f64::from(*red) - f64::from(*blue));
        differences.sum::<f64>() / (pixels.len() / 3) as f64
    };
    assert!((chroma(&pixels) - chroma(&original)).abs() < 4.0, "{} {}", chroma(&pixels), chroma(&original));
}

#[test]
fn a_film_is_laid_on_where_its_mask_is_white() {
    let material = Material::new();
    let half = image::GrayImage::from_fn(96, 64, |x, _| image::Luma([if x < 48 { 255 } else { 0 }]));
    half.save(material.path("mask.png")).unwrap();
    material.film("out.mkv", &["--frames", "2", "--mask", "mask.png"]).assert().success();
    for index in 0..2 {
        let [content, out] = ["in.mkv", "out.mkv"].map(|name| material.frame(name, index));
        let mean_of = |columns: std::ops::Range<usize>| {
            let part = |pixels: &[u8]| {
                pixels.chunks_exact(96 * 3).flat_map(|row| row[columns.start * 3..columns.end * 3].to_vec()).collect()
            };
            let [content, out]: [Vec<u8>; 2] = [part(&content), part(&out)];
            mean_difference(&content, &out).iter().sum::<f64>() / 3.0
        };
        // Colors are shared by two pixels, and smoothed between them when they are read.
        assert!(mean_of(0..48) > 8.0 && mean_of(50..96) < 1.0, "{} {}", mean_of(0..48), mean_of(50..96));
    }
}

#[test]
fn a_run_that_was_interrupted_goes_on_to_the_same_film() {
    let material = Material::new();
    let arguments = ["--iterations", "6"];
    material.film("whole.mkv", &arguments).assert().success();
    let folder = material.path("parts.mkv.keyframes");
    let child = Process::new(assert_cmd::cargo::cargo_bin("impasto"))
        .current_dir(material.folder.path())
        .args(material.arguments("parts.mkv", &arguments))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let begin = Instant::now();
    while kept(&folder, "-painted-1.png").is_empty() {
        assert!(begin.elapsed() < Duration::from_secs(120), "no keyframe was finished");
        std::thread::sleep(Duration::from_millis(5));
    }
    send(Signal::INT, &child);
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert!(stderr.contains("the same command goes on from there"), "{stderr}");
    assert!(!material.path("parts.mkv").exists());
    let finished = kept(&folder, "-painted-1.png").len();
    assert!((1..4).contains(&finished), "{finished}");

    // Another film does not take these keyframes.
    material.film("parts.mkv", &["--iterations", "7"]).assert().code(1).stderr(contains("another film"));
    let output = material.film("parts.mkv", &[arguments.as_slice(), &["--json"]].concat()).assert().success();
    assert!(
        String::from_utf8_lossy(&output.get_output().stderr).contains(&format!("{} painted in this run", 4 - finished))
    );
    for index in 0..FRAMES {
        assert_eq!(material.frame("parts.mkv", index), material.frame("whole.mkv", index), "frame {index}");
    }
    assert!(!folder.exists());
}

#[test]
fn passes_go_over_all_keyframes_and_a_named_folder_stays() {
    let material = Material::new();
    material.film("out.mkv", &["--passes", "2", "--work-folder", "work"]).assert().success();
    let names = ["00000000", "00000003", "00000006", "00000009"];
    for pass in ["1", "2"] {
        let ending = format!("-painted-{pass}.png");
        assert_eq!(kept(&material.path("work"), &ending), names.map(|name| format!("{name}{ending}")));
    }
    let file = |pass: &str| std::fs::read(material.path(&format!("work/00000003-painted-{pass}.png"))).unwrap();
    assert_ne!(file("1"), file("2"));
    // All is there: only the frames between are made again.
    let again = material.film("out.mkv", &["--passes", "2", "--work-folder", "work", "-y"]).assert().success();
    assert!(String::from_utf8_lossy(&again.get_output().stderr).contains(" 0 painted in this run"));

    // What Ctrl-C left of the film itself is replaced as it is gone on with; the whole film is not, nor what is another file.
    let arguments = ["--passes", "2", "--work-folder", "work"];
    let refused = || material.film("out.mkv", &arguments).assert().code(1).stderr(contains("-y to replace it"));
    refused();
    let bytes = material.path("out.mkv").metadata().unwrap().len();
    std::fs::write(material.path("work/output-bytes"), (bytes - 1).to_string()).unwrap();
    refused();
    std::fs::write(material.path("work/output-bytes"), bytes.to_string()).unwrap();
    material.film("out.mkv", &arguments).assert().success();
    refused();
}

#[test]
fn keyframes_are_of_the_filling_style_and_its_precision() {
    let material = Material::new();
    let own = material.path("data/impasto/styles");
    std::fs::create_dir_all(&own).unwrap();
    let write = |index| {
        std::fs::write(own.join("fog.style"), style_of("impasto-lite", index).to_bytes().unwrap()).unwrap();
    };
    let film = |precision: &str| {
        let arguments = ["--frames", "1", "--iterations", "1", "--work-folder", "work", "-y", "--fill", "fog"];
        let mut command = material.film("out.mkv", &[&arguments[..], &["--precision", precision]].concat());
        command.env("XDG_DATA_HOME", material.path("data")).assert()
    };
    write(0);
    film("fp32").success();
    film("fp32").success();
    film("int8").code(1).stderr(contains("another film, or of other settings"));
    write(1);
    film("fp32").code(1).stderr(contains("another film, or of other settings"));
}

#[test]
fn films_of_a_folder_are_passed_by_where_they_are_whole() {
    let material = Material::new();
    let in_folder = |more: &[&str]| {
        let arguments = [&["--frames", "2", "--iterations", "1"], more].concat();
        let mut command = material.film("out/", &arguments);
        command.assert().success().get_output().stderr.clone()
    };
    in_folder(&["--work-folder", "work"]);
    for more in [&["--resume", "--work-folder", "work"][..], &["--resume"]] {
        let text = String::from_utf8(in_folder(more)).unwrap();
        assert!(text.contains("0 of 1 videos painted, 1 passed by"), "{text}");
    }
}

#[test]
fn every_frame_can_be_a_keyframe() {
    let material = Material::new();
    let arguments = ["--keyframes", "1", "--frames", "3", "--iterations", "2", "--work-folder", "work"];
    material.film("out.mkv", &arguments).assert().success();
    assert_eq!(kept(&material.path("work"), "-painted-1.png").len(), 3);
}

#[test]
fn what_does_not_go_together_or_cannot_be_read_is_told() {
    let material = Material::new();
    std::fs::write(material.path("taken.mkv"), b"x").unwrap();
    let mut network = Command::cargo_bin("impasto").unwrap();
    network.current_dir(material.folder.path()).args(["video", "in.mkv", "-o", "out.mkv", "--keyframes", "3"]);
    network.assert().code(2).stderr(contains("--keyframes means nothing to a network"));
    let usage: [(&[&str], &str); 11] = [
        (&["--smooth", "1"], "--stride and --smooth are for networks"),
        (&["--stride", "2"], "--stride and --smooth are for networks"),
        (&["--work-size", "360"], "--work-size is for networks (expected --keyframe-size"),
        (&["--debug-view", "view.mkv"], "--debug-view and --stats are for networks"),
        (&["--parallel", "2"], "--parallel and --queue are for networks"),
        (&["--queue", "9"], "--parallel and --queue are for networks"),
        (&["--strength", "0"], "--strength 0 shows nothing of the keyframes"),
        (&["--anchor-weight=-1"], "from 0 to"),
        (&["--style", "wave:0.5,scream:0.5"], "'wave:0.5,scream:0.5' is a blend"),
        (&["--fill", "nobody"], "nobody"),
        (&["--fill", "their.onnx", "--network", "full"], "'their.onnx' is itself a network"),
    ];
    for (arguments, text) in usage {
        material.film("out.mkv", arguments).assert().code(2).stderr(contains(text));
    }
    let errors: [(&str, &[&str], &str); 4] = [
        ("out.mkv", &["--style", "nowhere.jpg"], "nowhere.jpg"),
        ("out.mkv", &["--style", "in.mkv"], "in.mkv"),
        ("taken.mkv", &[], "-y to replace it"),
        ("out.mkv", &["--work-folder", "."], "no work folder of a film"),
    ];
    for (output, arguments, text) in errors {
        material.film(output, arguments).assert().code(1).stderr(contains(text));
        assert!(!material.path("out.mkv").exists());
    }
    assert_eq!(std::fs::read(material.path("taken.mkv")).unwrap(), b"x");
}
