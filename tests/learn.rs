//! `impasto learn` as a person uses it, on crops so small that a style takes seconds; the files that it writes, and what is
//! done with those.
#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)] // A test that panics fails: as it should.

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command as Process, Stdio};
use std::time::{Duration, Instant};

use assert_cmd::Command;
use common::{Signal, send};
use impasto::frame::{Frame, FrameSize};
use impasto::runtime::Precision;
use impasto::style::pixels::Mix;
use impasto::style::{Catalog, LearnedStyle, StyleNetwork, StyleOptions};
use predicates::prelude::PredicateBooleanExt as _;
use predicates::str::contains;
use tempfile::TempDir;

fn repository(part: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(part)
}

/// impasto in a folder that is also the home of the user's styles.
fn impasto(folder: &TempDir) -> Command {
    let mut command = Command::cargo_bin("impasto").expect("cargo builds the binary for its tests");
    command.current_dir(folder).env("XDG_DATA_HOME", folder.path().join("data"));
    command
}

/// A fit that takes seconds: small crops of small strokes.
const QUICK: [&str; 4] = ["--crop", "64", "--stroke-size", "0.3"];

fn painting() -> String {
    repository("samples/shipwreck.jpg").display().to_string()
}

fn picture(folder: &TempDir, name: &str, size: (u32, u32), pixel: impl Fn(u32, u32) -> [u8; 3]) {
    image::RgbImage::from_fn(size.0, size.1, |x, y| image::Rgb(pixel(x, y))).save(folder.path().join(name)).unwrap();
}

fn open(folder: &TempDir, name: &str) -> image::RgbImage {
    image::open(folder.path().join(name)).unwrap().into_rgb8()
}

fn bundled_count() -> usize {
    Catalog::bundled().unwrap().styles().len()
}

/// A style of the smaller network with the numbers of one that is there already.
fn style_of(index: usize) -> LearnedStyle {
    common::style_of("impasto-lite", index)
}

#[test]
fn a_style_in_full_depth_brings_its_own_convolutions_and_is_used_alone() {
    let folder = tempfile::tempdir().unwrap();
    picture(&folder, "photo.png", (96, 64), |x, y| [(2 * x) as u8, (3 * y) as u8, 90]);
    let learn = |output: &str, depth: &str| {
        let arguments = ["learn", &painting(), "-o", output, "--steps", "60", "--depth", depth, "--from", "wave"];
        let summary = impasto(&folder).args(arguments).arg("--json").args(QUICK).output().unwrap();
        assert!(summary.status.success(), "{}", String::from_utf8_lossy(&summary.stderr));
        serde_json::from_slice::<serde_json::Value>(&summary.stdout).unwrap()
    };
    let (rows, full) = (learn("rows.style", "rows"), learn("full.style", "full"));
    assert_eq!((rows["learning"]["depth"].as_str(), full["learning"]["depth"].as_str()), (Some("rows"), Some("full")));
    let number = |summary: &serde_json::Value, key: &str| summary["learning"][key].as_f64().unwrap();
    assert!((number(&rows, "start_loss") - number(&full, "start_loss")).abs() < 1e-3, "{rows} {full}");
    assert!(number(&full, "loss") < number(&rows, "loss"), "what is fitted beside helps: {rows} {full}");
    assert!(full["bytes"].as_u64().unwrap() > 80_000 && full["bytes"].as_u64().unwrap() < 200_000, "{full}");

    let (of_rows, of_full) = (LearnedStyle::load(&folder.path().join("rows.style")).unwrap(), {
        LearnedStyle::load(&folder.path().join("full.style")).unwrap()
    });
    assert!(of_rows.convolutions.is_empty());
    assert_eq!(LearnedStyle::from_bytes(&of_full.to_bytes().unwrap()).unwrap(), of_full);
    // Its convolutions count: with those of the network it paints otherwise.
    let without = of_full.clone().with_convolutions(Vec::new());
    std::fs::write(folder.path().join("without.style"), without.to_bytes().unwrap()).unwrap();
    let paint = |style: &str, output: &str| {
        impasto(&folder).args(["image", "photo.png", "-o", output, "--style", style]).assert().success();
        open(&folder, output).into_raw()
    };
    assert!(common::mean_levels(&paint("full.style", "full.png"), &paint("without.style", "without.png")) > 1.0);

    impasto(&folder)
        .args(["image", "photo.png", "-o", "blend.png", "--style", "wave:0.5,./full.style:0.5"])
        .assert()
        .code(1)
        .stderr(contains("full depth").and(contains("not in a blend")));
    impasto(&folder)
        .args(["learn", &painting(), "-o", "next.style", "--from", "full.style"])
        .assert()
        .code(1)
        .stderr(contains("full.style").and(contains("rows alone")));
    impasto(&folder).args(["styles", "show", "full.style"]).assert().success().stdout(contains("depth full"));
    let mut other = of_full;
    other.convolutions.last_mut().unwrap().shape.reverse();
    std::fs::write(folder.path().join("other.style"), other.to_bytes().unwrap()).unwrap();
    impasto(&folder)
        .args(["image", "photo.png", "-o", "other.png", "--style", "other.style"])
        .assert()
        .code(1)
        .stderr(contains("another network"));
}

#[test]
fn a_painting_becomes_a_style_that_is_used_like_any_other() {
    let folder = tempfile::tempdir().unwrap();
    picture(
        &folder,
        "photo.png",
        (96, 64),
        |x, y| if (x / 12 + y / 9) % 2 == 0 { [200, 120, 60] } else { [40, 90, 150] },
    );
    let output = impasto(&folder)
        .args(["learn", &painting(), "-o", "My_Ship.style", "--steps", "25", "--preview", "so-far.png", "--json"])
        .args(QUICK)
        .assert()
        .success()
        .stderr(contains("My_Ship.style: "))
        .get_output()
        .stdout
        .clone();
    let summary: serde_json::Value = serde_json::from_slice(&output).unwrap();
    let number = |key: &str| summary["learning"][key].as_f64().unwrap();
    assert!(number("loss") < 0.9 * number("start_loss"), "{summary}");
    assert_eq!((summary["learning"]["steps"].as_u64(), summary["interrupted"].as_bool()), (Some(25), Some(false)));
    assert_eq!(summary["paintings"][0]["file"], "shipwreck.jpg");
    assert!(summary["bytes"].as_u64().unwrap() < 50_000, "{summary}");
    assert!(open(&folder, "so-far.png").width() > 200);
    assert!(!folder.path().join("My_Ship.style.state").exists());

    let paint = |style: &str, output: &str| {
        impasto(&folder).args(["image", "photo.png", "-o", output, "--style", style]).assert().success();
        open(&folder, output).into_raw()
    };
    let (own, wave) = (paint("My_Ship.style", "own.png"), paint("wave", "wave.png"));
    let blend = paint("wave:0.5,./My_Ship.style:0.5", "blend.png");
    assert!(common::mean_levels(&own, &wave) > 5.0 && common::mean_levels(&own, &open(&folder, "photo.png")) > 5.0);
    assert!(common::mean_levels(&blend, &own) > 1.0 && common::mean_levels(&blend, &wave) > 1.0);

    impasto(&folder).args(["styles", "add", "My_Ship.style"]).assert().success().stderr(contains("my-ship: "));
    impasto(&folder).args(["styles", "add", "My_Ship.style"]).assert().code(1).stderr(contains("-y replaces it"));
    impasto(&folder).args(["styles", "add", "-y", "My_Ship.style"]).assert().success();
    assert_eq!(paint("my ship", "named.png"), own);
    impasto(&folder).arg("styles").assert().success().stdout(contains("my-ship").and(contains("shipwreck.jpg")));
    let list = impasto(&folder).args(["styles", "--json"]).output().unwrap().stdout;
    let list: serde_json::Value = serde_json::from_slice(&list).unwrap();
    assert_eq!(list.as_array().unwrap().last().unwrap()["name"], "my-ship");
    let refused = |arguments: &[&str], expected: &str| {
        impasto(&folder).args(arguments).assert().code(2).stderr(contains(expected));
    };
    let told = format!("did you mean 'my-ship'? `impasto styles` lists all {}", bundled_count() + 1);
    refused(&["image", "photo.png", "-o", "no.png", "--style", "my-shp"], &told);
    refused(&["styles", "show", "my-shp"], &told);
    // What it carries is no painting to judge by.
    let told =
        "is a learnt style and carries no painting (expected the picture that it was learnt from: shipwreck.jpg)";
    for style in ["my-ship", "My_Ship.style"] {
        refused(&["measure", "photo.png", "photo.png", "--style", style], told);
    }
    let show = ["styles", "show", "my-ship", "--preview", "preview.jpg"];
    impasto(&folder).args(show).assert().success().stdout(contains("shipwreck.jpg").and(contains("25 steps")));
    assert_eq!(open(&folder, "preview.jpg").width().max(open(&folder, "preview.jpg").height()), 256);
    impasto(&folder).args(["styles", "show", "wave"]).assert().success().stdout(contains("Hokusai"));
    impasto(&folder)
        .args(["styles", "sheet", "photo.png", "-o", "sheet.png"])
        .assert()
        .success()
        .stderr(contains(format!("{} styles of photo.png", bundled_count() + 1)));

    // It can be learnt further from where it is.
    impasto(&folder)
        .args(["learn", &painting(), "-o", "more.style", "--from", "my-ship", "--steps", "1"])
        .args(QUICK)
        .assert()
        .success()
        .stderr(contains("from my-ship"));
    impasto(&folder).args(["styles", "remove", "my-ship"]).assert().success();
    impasto(&folder).args(["styles", "remove", "my-ship"]).assert().code(2).stderr(contains("no style 'my-ship'"));
    impasto(&folder).args(["styles", "remove", "wave"]).assert().code(2).stderr(contains("comes with impasto"));
    impasto(&folder)
        .args(["image", "photo.png", "-o", "gone.png", "--style", "my-ship"])
        .assert()
        .code(2)
        .stderr(contains("not in the catalog"));
}

#[test]
fn the_numbers_of_a_bundled_style_paint_what_that_style_paints() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("copy.style");
    std::fs::write(&path, style_of(1).to_bytes().unwrap()).unwrap();
    let mut frame = Frame::black(FrameSize::new(64, 48));
    frame.pixels_mut().iter_mut().enumerate().for_each(|(at, level)| *level = (at * 37 % 251) as u8);
    let paint = |style: &str, precision: Precision| {
        let options = StyleOptions { precision, ..StyleOptions::default() };
        let mut network = StyleNetwork::open(&style.parse().unwrap(), &options).unwrap();
        let mut painted = Frame::black(frame.size);
        network.stylize(&frame, Mix::NONE, &mut painted).unwrap();
        painted
    };
    let copy = path.display();
    for precision in [Precision::Auto, Precision::Fp32] {
        let (own, bundled) = (paint(&copy.to_string(), precision), paint("great-wave", precision));
        assert!(common::mean_levels(own.pixels(), bundled.pixels()) < 0.05, "{precision:?}");
        let mixed = paint(&format!("{copy}:0.5,scream:0.5"), precision);
        let expected = paint("great-wave:0.5,scream:0.5", precision);
        assert!(common::mean_levels(mixed.pixels(), expected.pixels()) < 0.05, "{precision:?}");
        assert!(common::mean_levels(mixed.pixels(), bundled.pixels()) > 1.0, "{precision:?}");
    }
    // Three terms are added up in another order: 8-bit integers round the last bit of a sum to other integers, floats do not.
    let mixed = paint(&format!("{copy}:0.25,scream:0.25,{copy}:0.5"), Precision::Fp32);
    let expected = paint("great-wave:0.75,scream:0.25", Precision::Fp32);
    assert!(common::mean_levels(mixed.pixels(), expected.pixels()) < 0.05);
    assert!(common::mean_levels(mixed.pixels(), paint("great-wave", Precision::Fp32).pixels()) > 1.0);
}

#[test]
fn files_that_are_no_usable_style_are_told() {
    let folder = tempfile::tempdir().unwrap();
    picture(&folder, "photo.png", (64, 64), |x, y| [x as u8, y as u8, 0]);
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    let bytes = style_of(0).to_bytes().unwrap();
    write("cut.style", &bytes[..bytes.len() / 2]);
    write("text.style", b"not a style");
    write("empty.style", b"");
    write("large.style", &vec![0; 2 << 20]);
    let mut other = style_of(0);
    other.description.network_sha256 = "cafe0123".repeat(8);
    write("other.style", &other.to_bytes().unwrap());
    let mut late = style_of(0);
    late.description.version = 7;
    write("late.style", &late.to_bytes().unwrap());
    let cases = [
        ("cut.style", "damaged one"),
        ("text.style", "damaged one"),
        ("empty.style", "damaged one"),
        ("large.style", "more than"),
        ("other.style", "another version of the network 'impasto-lite' (cafe0123…)"),
        ("late.style", "version 7"),
        ("missing.style", "cannot be read"),
    ];
    for (name, expected) in cases {
        impasto(&folder)
            .args(["image", "photo.png", "-o", "out.png", "--style", name])
            .assert()
            .code(1)
            .stderr(contains(expected).and(contains(name)).and(contains("panicked").not()));
    }
    impasto(&folder).args(["styles", "add", "cut.style"]).assert().code(1).stderr(contains("cut.style"));
    // The cause is told once.
    let told = impasto(&folder).args(["styles", "add", "text.style"]).assert().code(1);
    let told = String::from_utf8_lossy(&told.get_output().stderr).into_owned();
    assert_eq!(told.matches("header").count(), 1, "{told}");
    let outdated = impasto(&folder).args(["styles", "add", "other.style"]).assert().code(1);
    outdated.stderr(contains("'other.style' cannot be used").and(contains("another version of the network")));
    let named = ["styles", "show", "other.style", "--preview", "look.png"];
    impasto(&folder).args(named).assert().code(2).stderr(contains("expected .jpg"));
    write("fog.style", &bytes);
    impasto(&folder).args(["styles", "add", "fog.style"]).assert().success();
    // Described as in the list, by its name and by its path.
    for style in ["fog", "./fog.style"] {
        let shown = impasto(&folder).args(["styles", "show", style, "--json"]).assert().success();
        let shown: serde_json::Value = serde_json::from_slice(&shown.get_output().stdout).unwrap();
        assert!(shown["name"] == "fog" && shown["network"] == "impasto-lite", "{shown}");
        assert!(shown["file"].as_str().unwrap().ends_with("fog.style") && shown.get("error").is_none(), "{shown}");
    }
    write("large.onnx", &vec![0; 2 << 20]);
    let network = impasto(&folder).args(["styles", "show", "./large.onnx"]).assert().code(2);
    network.stderr(contains("'./large.onnx' is a network and no style that was learnt"));
    impasto(&folder).args(["styles", "remove", "fog", "fog"]).assert().success();
    write("Great Wave.style", &bytes);
    impasto(&folder)
        .args(["styles", "add", "Great Wave.style"])
        .assert()
        .code(1)
        .stderr(contains("comes with impasto"));
    write("my.onnx.style", &bytes);
    impasto(&folder).args(["styles", "add", "my.onnx.style"]).assert().code(1).stderr(contains("no name to ask for"));
    write("My Fog.style", &bytes);
    write("my_fog.style", &bytes);
    let both = ["styles", "add", "-y", "My Fog.style", "my_fog.style"];
    impasto(&folder).args(both).assert().code(1).stderr(contains("two of the files would be the style 'my-fog'"));
    let mut hostile = style_of(0);
    hostile.description.paintings[0].file = "\u{1b}[2Jpainting".to_owned();
    write("hostile.style", &hostile.to_bytes().unwrap());
    let shown = impasto(&folder).args(["styles", "show", "hostile.style"]).assert().success();
    shown.stdout(contains("[2Jpainting").and(contains("\u{1b}").not()));
    let from = ["learn", &painting(), "-o", "new.style", "--from", "other.style", "--steps", "1"];
    impasto(&folder).args(from).args(QUICK).assert().code(1).stderr(contains("another version of the network"));
    write("new.style.state", b"what is left");
    let anew = ["learn", &painting(), "-o", "new.style", "--steps", "1"];
    impasto(&folder).args(anew).assert().code(1).stderr(contains("expected --resume to go on with it"));
    // One that cannot be used is listed as such and keeps nothing from working.
    std::fs::create_dir_all(folder.path().join("data/impasto/styles")).unwrap();
    write("data/impasto/styles/outdated.style", &other.to_bytes().unwrap());
    impasto(&folder).arg("styles").assert().success().stdout(contains("another version of the network"));
    write("data/impasto/styles/broken.style", b"x");
    impasto(&folder).arg("styles").assert().success().stdout(contains("broken").and(contains("cannot be used")));
    impasto(&folder)
        .args(["styles", "sheet", "photo.png", "-o", "sheet.png"])
        .assert()
        .success()
        .stderr(contains("left out: 'outdated': it was learnt for another version"))
        .stderr(contains("left out: 'broken': ").and(contains(format!("{} styles", bundled_count()))));
}

#[test]
fn a_style_of_ones_own_with_the_name_of_a_bundled_one_is_said_to_be_hidden() {
    let folder = tempfile::tempdir().unwrap();
    picture(&folder, "photo.png", (64, 64), |x, y| [x as u8, y as u8, 0]);
    std::fs::create_dir_all(folder.path().join("data/impasto/styles")).unwrap();
    // Another name of 'great-wave'.
    let file = folder.path().join("data/impasto/styles/wave.style");
    std::fs::write(file, style_of(3).to_bytes().unwrap()).unwrap();
    let hidden = || contains("the bundled style 'great-wave' hides it (rename its file");
    impasto(&folder).arg("styles").assert().success().stdout(contains("cannot be used: ").and(hidden()));
    impasto(&folder).args(["styles", "--json"]).assert().success().stdout(contains("\"error\": ").and(hidden()));
    impasto(&folder).arg("doctor").assert().stdout(hidden());
    let sheet = impasto(&folder).args(["styles", "sheet", "photo.png", "-o", "sheet.png"]).assert().success();
    sheet.stderr(contains("left out: 'wave': ").and(hidden()).and(contains(format!("{} styles", bundled_count()))));
}

#[test]
fn of_two_styles_with_one_name_it_is_said_which_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    picture(&folder, "photo.png", (64, 64), |x, y| [x as u8, y as u8, 0]);
    std::fs::create_dir_all(folder.path().join("data/impasto/styles")).unwrap();
    for name in ["My Fog", "my-fog"] {
        let file = folder.path().join(format!("data/impasto/styles/{name}.style"));
        std::fs::write(file, style_of(3).to_bytes().unwrap()).unwrap();
    }
    let hidden =
        contains("My Fog.style' has the same name and hides it (rename its file '").and(contains("my-fog.style'"));
    impasto(&folder).arg("styles").assert().success().stdout(hidden);
    let painted = impasto(&folder).args(["image", "photo.png", "-o", "o.png", "--style", "my fog"]).assert().success();
    painted.stderr(contains("My Fog.style', and hides '").and(contains("my-fog.style', which has the same name")));
}

/// A PNG of this size without any pixels.
fn png_header(width: u32, height: u32) -> Vec<u8> {
    let mut chunk = b"IHDR".to_vec();
    chunk.extend(width.to_be_bytes());
    chunk.extend(height.to_be_bytes());
    chunk.extend([8, 2, 0, 0, 0]);
    let crc = chunk.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 })
    });
    let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\x0d".to_vec();
    bytes.extend(chunk);
    bytes.extend((!crc).to_be_bytes());
    bytes.extend(b"\0\0\0\0IDAT\x35\xaf\x06\x1e");
    bytes
}

#[test]
fn pictures_that_are_no_paintings_and_arguments_that_do_not_fit_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    picture(&folder, "blank.png", (100, 100), |x, _| [200, 200, 200 + (x % 2) as u8]);
    picture(&folder, "tiny.png", (300, 40), |x, y| [x as u8, y as u8 * 3, 0]);
    image::RgbaImage::from_fn(100, 100, |x, y| image::Rgba([x as u8, y as u8, 0, 100 + (x % 2) as u8]))
        .save(folder.path().join("clear.png"))
        .unwrap();
    std::fs::write(folder.path().join("huge.png"), png_header(30_000, 30_000)).unwrap();
    std::fs::write(folder.path().join("text.png"), "not a picture").unwrap();
    std::fs::write(folder.path().join("empty.png"), "").unwrap();
    std::fs::create_dir(folder.path().join("few")).unwrap();
    for name in ["few/a.png", "few/b.png"] {
        picture(&folder, name, (200, 200), |x, y| [x as u8, y as u8, 0]);
    }
    picture(&folder, "few/small.png", (20, 20), |x, y| [x as u8, y as u8, 0]);
    std::fs::write(folder.path().join("few/broken.png"), "no").unwrap();
    std::fs::write(folder.path().join("taken.style"), "mine").unwrap();
    let cmyk = repository("tests/fixtures/cmyk.jpg").display().to_string();
    let good = painting();
    let cases: [(&[&str], i32, &str); 18] = [
        (&["blank.png"], 1, "it is blank"),
        (&["tiny.png"], 1, "at least 64 pixels"),
        (&["clear.png"], 1, "transparent"),
        (&["huge.png"], 1, "at most 200 megapixels"),
        (&["text.png"], 1, "cannot read the painting 'text.png': it is no PNG"),
        (&["empty.png"], 1, "it is empty"),
        (&["missing.png"], 1, "missing.png"),
        (&[&cmyk], 1, "CMYK"),
        (&[&good, "--photos", "few"], 1, "2 usable photos are too few"),
        (&[&good, "--photos", "nowhere"], 1, "no folder"),
        (&[&good, "--video", "text.png"], 1, "text.png"),
        (&[&good, "--from", "gret-wave"], 2, "did you mean 'great-wave'"),
        (&[&good, "--from", "a.onnx"], 2, "is a network"),
        (&[&good, "--crop", "70"], 2, "multiple of 8"),
        (&[&good, "--resume"], 1, "there is no 'out.style.state'"),
        (&[&good, "--minutes", "1", "--steps", "3"], 2, "cannot be used with"),
        (&[&good, "--minutes", "0.0005"], 2, "from 0.001 to 86400"),
        (&[&good, "--stability-weight", "100000"], 2, "from 0 to 10000"),
    ];
    for (arguments, code, expected) in cases {
        impasto(&folder)
            .args(["learn", "-o", "out.style"])
            .args(arguments)
            .assert()
            .code(code)
            .stderr(contains(expected).and(contains("panicked").not()));
    }
    impasto(&folder).args(["learn", &good, "-o", "out.png"]).assert().code(2).stderr(contains(".style"));
    impasto(&folder).args(["learn", &good, "-o", "taken.style"]).assert().code(1).stderr(contains("exists already"));
    // The name of its state would be too long.
    let long = format!("{}.style", "n".repeat(245));
    impasto(&folder).args(["learn", &good, "-o", &long]).assert().code(1).stderr(contains("name is too long"));
    impasto(&folder).args(["learn", &good, "-o", "no/out.style"]).assert().code(1).stderr(contains("no folder 'no'"));
    let preview = ["learn", &good, "-o", "out.style", "--preview", "taken.png"];
    std::fs::write(folder.path().join("taken.png"), "mine").unwrap();
    impasto(&folder).args(preview).assert().code(1).stderr(contains("'taken.png' exists already"));
    assert!(!folder.path().join("out.style").exists());
    assert_eq!(std::fs::read_to_string(folder.path().join("taken.style")).unwrap(), "mine");
}

#[test]
#[cfg(unix)]
fn ctrl_c_keeps_the_best_so_far_and_a_resumed_run_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let mut child = Process::new(assert_cmd::cargo::cargo_bin("impasto"))
        .current_dir(&folder)
        .args(["learn", &painting(), "-o", "a.style", "--minutes", "30", "--from", "ink"])
        .args(QUICK)
        .stderr(Stdio::from(std::fs::File::create(&log).unwrap()))
        .spawn()
        .unwrap();
    let started = Instant::now();
    // A line of progress comes once steps are made.
    while !std::fs::read_to_string(&log).unwrap().contains("step ") {
        assert!(started.elapsed() < Duration::from_secs(300), "{}", std::fs::read_to_string(&log).unwrap());
        assert!(child.try_wait().unwrap().is_none(), "{}", std::fs::read_to_string(&log).unwrap());
        std::thread::sleep(Duration::from_millis(50));
    }
    send(Signal::INT, &child);
    assert_eq!(child.wait().unwrap().code(), Some(130), "{}", std::fs::read_to_string(&log).unwrap());
    let style = LearnedStyle::load(&folder.path().join("a.style")).unwrap();
    let learning = &style.description.learning;
    assert!(learning.steps > 0 && learning.loss <= learning.start_loss, "{learning:?}");

    let go_on = |more: u64, arguments: &[&str]| {
        let mut command = impasto(&folder);
        let steps = (learning.steps + more).to_string();
        command
            .args(["learn", &painting(), "-o", "a.style", "--resume", "--steps", &steps])
            .args(QUICK)
            .args(arguments);
        command.assert()
    };
    go_on(2, &["--style-weight", "2"]).code(1).stderr(contains("another style"));
    // Of as many steps as are made already nothing is left to do, and the state stays.
    go_on(0, &[]).code(2).stderr(contains("expected a larger --steps"));
    assert!(folder.path().join("a.style.state").exists());
    std::fs::write(folder.path().join("look.png"), "mine").unwrap();
    go_on(2, &["--preview", "look.png"]).code(1).stderr(contains("'look.png' exists already"));
    go_on(2, &["--from", "wave"]).code(2).stderr(contains("began from 'ink' and not from 'wave'"));
    go_on(2, &["--from", "ink"]).success();
    let longer = LearnedStyle::load(&folder.path().join("a.style")).unwrap().description.learning;
    assert_eq!(longer.steps, learning.steps + 2);
    assert!(longer.loss <= learning.loss && longer.seconds > learning.seconds && longer.start == learning.start);
    assert!(!folder.path().join("a.style.state").exists());
}

#[test]
fn a_style_is_fitted_on_the_photos_of_a_folder_or_the_frames_of_a_video() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("photos/more")).unwrap();
    for (index, name) in ["a.png", "b.jpg", "more/c.png", "d.png"].into_iter().enumerate() {
        picture(&folder, &format!("photos/{name}"), (160, 120), |x, y| {
            [(x * (index as u32 + 1)) as u8, (y * 2) as u8, (x * y / 90) as u8]
        });
    }
    let clip = repository("samples/bunny.mp4").display().to_string();
    for (arguments, expected) in [(["--photos", "photos"], "4 photos of 'photos'"), (["--video", &clip], "frames of ")]
    {
        impasto(&folder)
            .args(["learn", &painting(), "-o", "out.style", "-y", "--steps", "2"])
            .args(QUICK)
            .args(arguments)
            .assert()
            .success()
            .stderr(contains(format!("learning on {expected}")).or(contains(expected)));
    }
}
