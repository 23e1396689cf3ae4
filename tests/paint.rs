//! `impasto paint` as a person uses it, on pictures so small that a painting takes a second.
#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)] // A test that panics fails: as it should.

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command as Process, Stdio};
use std::time::{Duration, Instant};

use assert_cmd::Command;
use common::{Signal, send, wait_until_caught};
use predicates::prelude::PredicateBooleanExt as _;
use predicates::str::contains;
use tempfile::TempDir;

/// A folder with a content of 96×64 and styles, all made here.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let save = |name: &str, size: (u32, u32), pixel: &dyn Fn(u32, u32) -> [u8; 3]| {
        image::RgbImage::from_fn(size.0, size.1, |x, y| image::Rgb(pixel(x, y)))
            .save(folder.path().join(name))
            .unwrap();
    };
    save("content.png", (96, 64), &|x, y| {
        let inside = (x as i32 - 48).pow(2) + (y as i32 - 32).pow(2) < 400;
        if inside { [220, 60, 40] } else { [40 + x as u8, 120, 90 + y as u8] }
    });
    save("stripes.png", (80, 80), &|x, y| if (x + y) / 6 % 2 == 0 { [250, 220, 30] } else { [20, 30, 120] });
    save("checks.png", (80, 80), &|x, y| if (x / 8 + y / 8) % 2 == 0 { [240, 240, 240] } else { [180, 20, 30] });
    save("left.png", (96, 64), &|x, _| if x < 48 { [255; 3] } else { [0; 3] });
    save("right.png", (48, 32), &|x, _| if x < 24 { [0; 3] } else { [255; 3] });
    folder
}

/// `impasto paint content.png` in a folder, with few iterations.
fn paint(folder: &TempDir, arguments: &[&str]) -> Command {
    let mut command = Command::cargo_bin("impasto").expect("cargo builds the binary for its tests");
    command.current_dir(folder).args(["paint", "content.png"]);
    for (option, value) in [("--size", "64"), ("--start-size", "64"), ("--iterations", "5")] {
        if !arguments.contains(&option) {
            command.args([option, value]);
        }
    }
    command.args(arguments);
    command
}

fn trace(folder: &TempDir, name: &str) -> Vec<serde_json::Value> {
    serde_json::from_slice(&std::fs::read(folder.path().join(name)).unwrap()).unwrap()
}

fn open(folder: &TempDir, name: &str) -> image::RgbImage {
    image::open(folder.path().join(name)).unwrap().into_rgb8()
}

#[test]
fn a_painting_has_the_shape_of_the_content_and_the_losses_fall() {
    let folder = folder();
    let arguments = [
        "--style",
        "stripes.png",
        "-o",
        "out.png",
        "--trace",
        "t.json",
        "--plot",
        "p.png",
        "--heatmap",
        "h.png",
        "--iterations",
        "20",
    ];
    paint(&folder, &arguments).assert().success().stderr(contains("out.png: 64×43, 40 iterations"));
    let painting = open(&folder, "out.png");
    assert_eq!(painting.dimensions(), (64, 43));
    let losses: Vec<f64> = trace(&folder, "t.json").iter().map(|row| row["total"].as_f64().unwrap()).collect();
    assert_eq!(losses.len(), 40);
    assert!(losses[39] < 0.5 * losses[0], "{losses:?}");
    let terms = trace(&folder, "t.json")[39]["terms"].as_object().unwrap().clone();
    assert_eq!(terms.len(), 7, "{terms:?}");
    let sum: f64 = terms.values().map(|term| term.as_f64().unwrap()).sum();
    assert!((sum - losses[39]).abs() < 1e-3 * losses[39], "{sum} {}", losses[39]);
    assert!(open(&folder, "p.png").pixels().any(|pixel| pixel.0 == [213, 94, 0]), "no curve was drawn");
    let heat = open(&folder, "h.png");
    assert!(
        heat.width() > 3 * 64 && heat.pixels().any(|pixel| pixel.0[0] > 200 && pixel.0[2] < 100),
        "no heat was drawn"
    );
    assert!(!folder.path().join("out.png.state").exists());
}

#[test]
fn every_optimizer_and_statistic_lowers_the_losses() {
    let folder = folder();
    // Plain descent is slow; what it loses it must lose all the same.
    let cases: [(&[&str], f64); 4] = [
        (&["--optimizer", "adam"], 0.95),
        (&["--optimizer", "rmsprop", "--init", "noise"], 0.95),
        (&["--optimizer", "gd", "--init", "noise", "--learning-rate", "0.0003"], 0.999),
        (&["--statistics", "moments", "--pooling", "max"], 0.95),
    ];
    for (choice, share) in cases {
        let mut arguments = vec!["--style", "stripes.png", "-o", "out.png", "--trace", "t.json", "-y", "-q"];
        arguments.extend(choice);
        paint(&folder, &arguments).assert().success();
        let losses: Vec<f64> = trace(&folder, "t.json").iter().map(|row| row["total"].as_f64().unwrap()).collect();
        assert!(losses[9] < share * losses[0], "{choice:?}: {losses:?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_one_others() {
    let folder = folder();
    let run = |name: &str, seed: &str| {
        paint(&folder, &["--style", "stripes.png", "--init", "noise", "--seed", seed, "-o", name, "-q"])
            .assert()
            .success();
        std::fs::read(folder.path().join(name)).unwrap()
    };
    let first = run("a.png", "1");
    assert_eq!(first, run("b.png", "1"));
    assert_ne!(first, run("c.png", "2"));
}

#[test]
fn one_mask_holds_its_style_to_its_place() {
    let folder = folder();
    let painted = |name: &str, masks: &[&str]| {
        let mut arguments =
            vec!["--style", "stripes.png", "--iterations", "20", "--content-weight", "0.01", "-o", name, "-q"];
        arguments.extend(masks);
        paint(&folder, &arguments).assert().success();
        open(&folder, name).into_raw()
    };
    let (whole, left) = (painted("whole.png", &[]), painted("left-only.png", &["--mask", "left.png"]));
    let content = image::imageops::resize(&open(&folder, "content.png"), 64, 43, image::imageops::FilterType::Triangle);
    let changed = |pixels: &[u8], columns: std::ops::Range<usize>| -> f64 {
        let of = |index: usize| f64::from(pixels[index].abs_diff(content.as_raw()[index]));
        let places: Vec<usize> = (0..pixels.len()).filter(|index| columns.contains(&(index / 3 % 64))).collect();
        places.iter().map(|&index| of(index)).sum::<f64>() / places.len() as f64
    };
    // The network looks a little beyond the border of the mask.
    let (inside, outside) = (changed(&left, 0..24), changed(&left, 56..64));
    println!("inside {inside}, outside {outside}, without a mask {}", changed(&whole, 56..64));
    assert!(inside > 2.0 * outside && changed(&whole, 56..64) > 1.4 * outside);
}

#[test]
fn masks_give_each_style_its_place() {
    let folder = folder();
    let arguments =
        ["--style", "stripes.png", "--style", "checks.png", "--content-weight", "0.01", "--iterations", "20"];
    let masks = ["--mask", "left.png", "--mask", "right.png", "-o", "out.png"];
    let mut command = Command::cargo_bin("impasto").unwrap();
    command.current_dir(&folder).args(["paint", "content.png", "--size", "96", "--start-size", "96"]);
    command.args(arguments).args(masks).assert().success();
    let painting = open(&folder, "out.png");
    // The stripes are yellow and blue, the checks white and red.
    let yellow = |columns: std::ops::Range<u32>| {
        let pixels = columns.flat_map(|x| (8..56).map(move |y| (x, y)));
        let differences = pixels
            .map(|(x, y)| painting.get_pixel(x, y).0)
            .map(|[red, green, _]| i32::from(green) - i32::from(red) / 2);
        let values: Vec<i32> = differences.collect();
        f64::from(values.iter().sum::<i32>()) / values.len() as f64
    };
    let (left, right) = (open(&folder, "left.png"), open(&folder, "right.png"));
    assert_eq!((left.width(), right.width()), (96, 48));
    let blue = |columns: std::ops::Range<u32>| {
        let pixels: Vec<[u8; 3]> =
            columns.flat_map(|x| (8..56).map(move |y| (x, y))).map(|(x, y)| painting.get_pixel(x, y).0).collect();
        pixels.iter().filter(|[red, _, blue]| *blue > red.saturating_add(30)).count() as f64 / pixels.len() as f64
    };
    assert!(blue(4..40) > blue(56..92) + 0.1, "{} {} {} {}", blue(4..40), blue(56..92), yellow(4..40), yellow(56..92));
}

#[test]
fn colors_of_the_content_are_kept_either_way() {
    let folder = folder();
    let chroma = |picture: &image::RgbImage| {
        let sum = |channel: usize| picture.pixels().map(|pixel| f64::from(pixel.0[channel])).sum::<f64>();
        let count = f64::from(picture.width() * picture.height());
        [(sum(0) - sum(1)) / count, (sum(2) - sum(1)) / count]
    };
    let content = chroma(&open(&folder, "content.png"));
    let distance = |name: &str| {
        let found = chroma(&open(&folder, name));
        (found[0] - content[0]).hypot(found[1] - content[1])
    };
    paint(&folder, &["--style", "stripes.png", "-o", "plain.png", "-q", "--iterations", "20"]).assert().success();
    for way in ["luminance", "match"] {
        let name = format!("{way}.png");
        paint(&folder, &["--style", "stripes.png", "--keep-color", way, "-o", &name, "-q", "--iterations", "20"])
            .assert()
            .success();
        assert!(distance(&name) < 0.6 * distance("plain.png"), "{way}: {} {}", distance(&name), distance("plain.png"));
    }
}

#[test]
fn a_sweep_is_one_sheet_of_every_combination() {
    let folder = folder();
    let sweep = "style-weight=1,100; style-scale=0.5,1,2";
    paint(&folder, &["--style", "stripes.png", "-o", "sheet.png", "--sweep", sweep, "--iterations", "1"])
        .assert()
        .success()
        .stderr(contains("6 of 6: style-weight 100 style-scale 2"));
    let sheet = open(&folder, "sheet.png");
    assert!(sheet.width() > 3 * 64 && sheet.height() > 2 * 43, "{:?}", sheet.dimensions());
}

#[test]
fn previews_are_numbered() {
    let folder = folder();
    paint(&folder, &["--style", "stripes.png", "-o", "out.png", "--preview-every", "4", "-q"]).assert().success();
    for (name, is_there) in [("out.0001.png", true), ("out.0002.png", true), ("out.0003.png", false)] {
        assert_eq!(folder.path().join(name).exists(), is_there, "{name}");
    }
}

#[test]
fn what_cannot_be_painted_is_told_with_the_file_and_what_to_do() {
    let folder = folder();
    std::fs::write(folder.path().join("text.png"), "a text").unwrap();
    image::RgbImage::new(1, 1).save(folder.path().join("tiny.png")).unwrap();
    image::RgbaImage::from_pixel(64, 64, image::Rgba([9, 9, 9, 99])).save(folder.path().join("glass.png")).unwrap();
    image::RgbImage::new(64, 64).save(folder.path().join("black.png")).unwrap();
    std::fs::write(folder.path().join("taken.png"), "mine").unwrap();
    std::fs::write(folder.path().join("seen.0002.png"), "mine").unwrap();
    std::fs::copy(folder.path().join("stripes.png"), folder.path().join("r.0002.png")).unwrap();
    image::RgbImage::from_fn(300, 32, |x, y| image::Rgb([x as u8, y as u8, 9]))
        .save(folder.path().join("wide.png"))
        .unwrap();
    let long = format!("{}.png", "n".repeat(248));
    let cases: &[(&[&str], i32, &str)] = &[
        (&["--style", "stripes.png", "-o", &long], 1, "name is too long"),
        (&["--style", "stripes.png", "-o", "o.png", "--sweep", "style-scale=1,0"], 2, "expected numbers above 0"),
        (&["--style", "stripes.png", "-o", "o.png", "--sweep", "iterations=1,0.5"], 2, "expected whole numbers"),
        (&["--style", "stripes.png", "-o", "o.png", "--sweep", "tv=1,2", "--json"], 2, "cannot be used with"),
        (&["--style", "stripes.png", "-o", "o.png", "--learning-rate", "0.1"], 2, "means nothing to lbfgs"),
        (&["--style", "stripes.png", "-o", "o.png", "--seed", "3"], 2, "expected --init noise"),
        (&["--style", "nothing.png", "-o", "o.png"], 1, "nothing.png"),
        (&["--style", "stripes.png:2", "-o", "o.png", "--mask", "left.png"], 2, "means nothing with --mask"),
        (&["--style", "r.0002.png", "-o", "r.png", "--preview-every", "9", "-y"], 1, "'r.0002.png' would be replaced"),
        (&["--style", "stripes.png", "-o", "stripes.png", "-y"], 1, "'stripes.png' would be replaced"),
        (
            &["--style", "stripes.png", "-o", "o.png", "--mask", "left.png", "--heatmap", "left.png", "-y"],
            1,
            "'left.png' would be replaced",
        ),
        (
            &["--style", "stripes.png", "-o", "o.png", "--preview-every", "9", "--heatmap", "o.0007.png"],
            2,
            "the name of a preview as well",
        ),
        (&["--style", "text.png", "-o", "o.png"], 1, "text.png"),
        (&["--style", "tiny.png", "-o", "o.png"], 1, "'tiny.png' is 1×1 (expected at least 32"),
        (&["--style", "glass.png", "-o", "o.png"], 1, "flatten it first"),
        (&["--style", "stripes.png", "-o", "taken.png"], 1, "-y to replace it"),
        (&["--style", "stripes.png", "-o", "content.png", "-y"], 1, "would be replaced by what is painted of it"),
        (&["--style", "stripes.png", "-o", "no/o.png"], 1, "there is no folder 'no'"),
        (&["--style", "stripes.png", "-o", "o.png", "--plot", "./o.png"], 2, "written twice"),
        (&["--style", "stripes.png", "-o", "seen.png", "--preview-every", "9"], 1, "'seen.0002.png' exists already"),
        (&["--style", "stripes.png", "-o", "o.bmp"], 2, "expected .png, .jpg"),
        (&["--style", "stripes.png:x", "-o", "o.png"], 2, "weight 'x'"),
        (&["--style", "stripes.png", "-o", "o.png", "--style-weight=-1"], 2, "from 0 to"),
        (&["--style", "stripes.png", "-o", "o.png", "--tv=nan"], 2, "from 0 to"),
        (&["--style", "stripes.png", "-o", "o.png", "--content-layers", "conv1"], 2, "relu4_2"),
        (&["--style", "stripes.png", "-o", "o.png", "--content-layers", "relu5_4"], 2, "no layer relu5_4"),
        (
            &["--style", "stripes.png", "-o", "o.png", "--style-layers", "relu1_1,relu1_1:2"],
            2,
            "relu1_1 is named twice",
        ),
        (&["--style", "stripes.png", "-o", "o.png", "--style-weight", "1e30"], 2, "from 0 to"),
        (&["--style", "stripes.png", "-o", "o.png", "--content-weight=0", "--style-weight=0"], 2, "both weigh 0"),
        (
            &["--style", "stripes.png", "-o", "o.png", "--mask", "left.png", "--mask", "right.png"],
            2,
            "2 masks for 1 style (expected",
        ),
        (&["--style", "stripes.png", "-o", "o.png", "--mask", "stripes.png"], 1, "expected the same shape"),
        (&["--style", "stripes.png", "-o", "o.png", "--vgg", "stripes.png"], 1, "stripes.png"),
        (&["--style", "stripes.png", "-o", "o.png", "--trace", "t.txt"], 2, ".csv or .json"),
        (&["--style", "stripes.png", "-o", "o.png", "--plot", "p.jpg"], 2, ".png"),
        (&["--style", "stripes.png", "-o", "o.png", "--sweep", "brush=1"], 2, "cannot be varied"),
        (&["--style", "stripes.png", "-o", "o.png", "--resume", "text.png"], 1, "no state of a painting"),
        (&["--style", "stripes.png", "-o", "o.png", "--size", "8192"], 1, "expected at most --size"),
        (&["--style", "stripes.png", "-o", "o.png", "--optimizer", "gd", "--learning-rate", "0"], 2, "above 0"),
    ];
    for (arguments, code, expected) in cases {
        paint(&folder, arguments).assert().code(*code).stderr(contains(*expected));
    }
    // Nothing is painted for a sheet that cannot be finished.
    let sweep = ["--style", "stripes.png", "-o", "o.png", "--sweep", "style-scale=1,0.01"];
    paint(&folder, &sweep).assert().code(1).stderr(contains("too small for relu5_1").and(contains("1 of 2").not()));
    let mut wide = Command::cargo_bin("impasto").unwrap();
    wide.current_dir(&folder).args(["paint", "wide.png", "--style", "stripes.png", "-o", "o.png", "--size", "100"]);
    wide.assert().code(1).stderr(contains("'wide.png'").and(contains("a larger --size helps")));
    std::fs::write(folder.path().join("o.png.state"), "what is left").unwrap();
    let left = ["--style", "stripes.png", "-o", "o.png"];
    paint(&folder, &left).assert().code(1).stderr(contains("expected --resume o.png.state to go on with it"));
    std::fs::remove_file(folder.path().join("o.png.state")).unwrap();
    assert_eq!(std::fs::read(folder.path().join("taken.png")).unwrap(), b"mine");
    assert!(!folder.path().join("o.png").exists());
    paint(&folder, &["--style", "stripes.png", "-o", "o.png", "--mask", "black.png"]).assert().code(1);
}

#[cfg(unix)]
#[test]
fn ctrl_c_before_the_first_gradient_replaces_nothing() {
    use std::io::{BufRead as _, BufReader};

    let folder = folder();
    std::fs::write(folder.path().join("out.png"), "a good one").unwrap();
    // A gradient of this size takes longer than a signal does.
    let mut child = Process::new(assert_cmd::cargo::cargo_bin("impasto"))
        .current_dir(&folder)
        .args(["paint", "content.png", "--style", "stripes.png", "-o", "out.png", "-y", "--device", "cpu"])
        .args(["--size", "1024", "--start-size", "1024"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut messages = BufReader::new(child.stderr.take().unwrap());
    wait_until_caught(Signal::INT, &child);
    send(Signal::INT, &child);
    let mut said = String::new();
    messages.read_line(&mut said).unwrap();
    assert!(said.contains("stopping"), "{said}");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    messages.read_line(&mut said).unwrap();
    assert!(said.contains("interrupted: nothing was painted yet"), "{said}");
    assert_eq!(std::fs::read(folder.path().join("out.png")).unwrap(), b"a good one");
}

#[test]
fn ctrl_c_saves_the_painting_and_a_state_to_go_on_from() {
    let folder = folder();
    let arguments =
        ["paint", "content.png", "--style", "stripes.png", "-o", "out.png", "--size", "96", "--iterations", "400"];
    let mut child = Process::new(assert_cmd::cargo::cargo_bin("impasto"))
        .current_dir(&folder)
        .args(arguments)
        .args(["--preview-every", "3"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let started = Instant::now();
    while !folder.path().join("out.0001.png").exists() {
        assert!(started.elapsed() < Duration::from_secs(60), "no preview came");
        std::thread::sleep(Duration::from_millis(20));
    }
    send(Signal::INT, &child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(open(&folder, "out.png").dimensions(), (96, 64));
    let state = folder.path().join("out.png.state");
    assert!(state.exists());

    let resume = |more: &[&str]| {
        let mut command = Command::cargo_bin("impasto").unwrap();
        command.current_dir(&folder).args(arguments).args(["--resume", "out.png.state"]).args(more);
        command
    };
    resume(&["--style-weight", "3"]).assert().code(1).stderr(contains("another painting"));
    // The rest is done by a run that is stopped as well: it goes on, and does not start anew.
    let header = std::fs::read(&state).unwrap();
    let line = String::from_utf8_lossy(&header[..header.iter().position(|&byte| byte == b'\n').unwrap()]).into_owned();
    let header: serde_json::Value = serde_json::from_str(&line).unwrap();
    let done = header["iteration"].as_u64().unwrap();
    assert!(done >= 3, "{line}");
    let short = line.replace(&format!("\"iteration\":{done}"), "\"iteration\":799");
    let bytes = std::fs::read(&state).unwrap();
    std::fs::write(&state, [short.as_bytes(), &bytes[line.len()..]].concat()).unwrap();
    std::fs::write(folder.path().join("t.csv"), "the first part's").unwrap();
    std::fs::write(folder.path().join("h.png"), "of something else").unwrap();
    resume(&["--heatmap", "h.png"]).assert().code(1).stderr(contains("'h.png' exists already"));
    std::fs::write(folder.path().join("out.0008.png"), "of something else").unwrap();
    let previews = ["--preview-every", "100"];
    resume(&previews).assert().code(1).stderr(contains("preview 'out.0008.png' exists already"));
    std::fs::remove_file(folder.path().join("out.0008.png")).unwrap();
    resume(&["--trace", "t.csv"]).assert().code(1).stderr(contains("'t.csv' exists already"));
    // Previews are numbered on, and the whole is counted.
    let last = resume(&["--preview-every", "100", "--json"]).assert().success();
    let last = last.stderr(contains("96×64, 1 iteration in"));
    let summary: serde_json::Value = serde_json::from_slice(&last.get_output().stdout).unwrap();
    assert_eq!(summary["iterations"], 800);
    assert!(folder.path().join("out.0008.png").exists());
    assert!(!state.exists(), "a finished painting needs no state");
}

#[test]
fn a_flat_picture_begins_at_a_size_that_has_features_and_tiny_strokes_are_refused() {
    let folder = folder();
    image::RgbImage::from_fn(360, 72, |x, y| image::Rgb([x as u8, y as u8, 90]))
        .save(folder.path().join("flat.png"))
        .unwrap();
    let flat = |arguments: &[&str]| {
        let mut command = Command::cargo_bin("impasto").unwrap();
        command.current_dir(&folder).args(["paint", "flat.png", "--style", "stripes.png", "-o", "flat-out.png"]);
        command.args(["--size", "180", "--iterations", "2"]).args(arguments).assert()
    };
    // 128×26 and 90×18 would have no features at relu5_1.
    flat(&[]).success().stderr(contains("180×36, 4 iterations"));
    let refused = flat(&["--style-scale", "0.1", "-y"]).failure();
    refused.stderr(contains(
        "is too small for relu5_1 (expected at least 16×16) (a larger --style-scale or --start-size helps)",
    ));
}

/// Where the tests of the repository's own samples lie.
fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("samples").join(name)
}

#[test]
fn a_state_is_not_left_where_nothing_was_interrupted_and_samples_can_be_painted() {
    let folder = folder();
    let style = sample("starry-night.jpg");
    let mut command = Command::cargo_bin("impasto").unwrap();
    command.current_dir(&folder).arg("paint").arg(sample("castle.jpg")).arg("--style").arg(style);
    command.args(["-o", "castle.jpg", "--size", "96", "--iterations", "2", "--json"]);
    let output = command.assert().success().get_output().stdout.clone();
    let summary: serde_json::Value = serde_json::from_slice(&output).unwrap();
    assert_eq!(summary["width"], 96);
    assert!(summary["style_loss"].as_f64().unwrap() > 0.0);
    assert_eq!(open(&folder, "castle.jpg").width(), 96);
    assert!(!folder.path().join("castle.jpg.state").exists());
}
