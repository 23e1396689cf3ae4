//! `impasto measure` as a person uses it: on clips, on folders of stills, with known flow, and on what it must refuse.
#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)] // A test that panics fails: as it should.

mod common;

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use common::{clip, shared};
use serde_json::Value;

fn impasto() -> Command {
    Command::cargo_bin("impasto").expect("cargo builds the binary for its tests")
}

/// A clip without loss from one of ffmpeg's sources, 160×96 at 10 frames a second.
fn lossless(folder: &Path, name: &str, frames: u32, filters: &str) -> PathBuf {
    let source = format!("testsrc2=size=160x96:rate=10,gblur=2,{filters}");
    let count = frames.to_string();
    clip(folder, name, &["-f", "lavfi", "-i", &source, "-frames:v", &count, "-c:v", "ffv1", "-pix_fmt", "bgr0"])
}

/// The first picture of the source, again and again.
const STILL: &str = "loop=loop=-1:size=1";

fn json(folder: &Path, arguments: &[&str]) -> Value {
    let output = impasto().current_dir(folder).arg("measure").args(arguments).arg("--json").output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("a number and not {value}"))
}

/// One error line that says `expected`, and nothing on stdout.
fn assert_refused(folder: &Path, arguments: &[&str], code: i32, expected: &str) {
    let output = impasto().current_dir(folder).arg("measure").args(arguments).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
    assert!(text.contains(expected), "{arguments:?}: {text}");
    assert_eq!(text.lines().filter(|line| line.starts_with("error:")).count(), 1, "{arguments:?}: {text}");
    assert!(output.stdout.is_empty());
}

#[test]
fn a_clip_measures_itself_the_same_as_the_input() {
    let folder = tempfile::tempdir().unwrap();
    lossless(folder.path(), "in.mkv", 6, "null");
    let figures = json(folder.path(), &["in.mkv", "in.mkv", "--reference", "in.mkv"]);
    assert_eq!(figures["frame_count"], 6);
    assert_eq!(figures["pair_count"], 5);
    for measure in ["warping_error", "e_stab", "sharpness"] {
        let values = &figures[measure];
        assert_eq!(values["input"], values["output"], "{measure}");
        assert_eq!(values["input"], values["reference"], "{measure}");
    }
    for ratio in ["warping_error_over_reference", "e_stab_over_reference", "sharpness_ratio"] {
        assert_eq!(number(&figures[ratio]), 1.0, "{ratio}");
    }
    assert_eq!(figures["frames"].as_array().unwrap().len(), 6);
    assert_eq!(figures["frames"][5]["to_next"], Value::Null);
}

#[test]
fn noise_that_changes_with_every_frame_shows_in_each_measure() {
    let folder = tempfile::tempdir().unwrap();
    lossless(folder.path(), "in.mkv", 8, STILL);
    lossless(folder.path(), "weak.mkv", 8, &format!("{STILL},noise=alls=10:allf=t"));
    lossless(folder.path(), "strong.mkv", 8, &format!("{STILL},noise=alls=40:allf=t"));
    let figures = json(folder.path(), &["in.mkv", "weak.mkv", "--reference", "strong.mkv"]);
    let flicker = &figures["flicker_levels"];
    assert_eq!(number(&flicker["input"]), 0.0);
    assert!(number(&flicker["output"]) > 1.0 && number(&flicker["reference"]) > 3.0 * number(&flicker["output"]));
    let error = &figures["warping_error"];
    assert!(number(&error["input"]) < 1e-6 && number(&error["output"]) > 1e-5, "{error}");
    // At rest the two agree: E = 2σ² in squares of 255.
    let expected = 2.0 * (number(&flicker["output"]) / 255.0).powi(2);
    assert!((number(&error["output"]) / expected - 1.0).abs() < 0.02, "{error} {expected}");
    assert!(number(&figures["sharpness_ratio"]) < 0.5);
    assert_eq!(figures["sharpness_base"], "reference");
}

#[test]
fn pairs_across_a_cut_are_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let other = "gradients=size=160x96:rate=10:c0=orange:c1=white:seed=1";
    let arguments = [
        "-f",
        "lavfi",
        "-i",
        "testsrc2=size=160x96:rate=10:d=0.5,gblur=2",
        "-f",
        "lavfi",
        "-i",
        &format!("{other}:d=0.5"),
        "-filter_complex",
        "[0]format=gbrp[a];[1]format=gbrp[b];[a][b]concat",
        "-c:v",
        "ffv1",
    ];
    clip(folder.path(), "in.mkv", &arguments);
    let figures = json(folder.path(), &["in.mkv", "in.mkv"]);
    assert_eq!(figures["pairs_across_cuts"], 1);
    assert_eq!(figures["pair_count"], 8);
    assert_eq!(figures["frames"][4]["to_next"]["cut"], true);
    assert_eq!(figures["frames"][4]["to_next"]["warping_error"], Value::Null);
    assert_eq!(figures["sharpness_base"], "input");
}

#[test]
fn folders_of_stills_measure_as_the_clip_they_make() {
    let folder = tempfile::tempdir().unwrap();
    let path = lossless(folder.path(), "in.mkv", 12, "null");
    std::fs::create_dir(folder.path().join("stills")).unwrap();
    // Not padded: frame_9 comes before frame_10.
    clip(folder.path(), "stills/frame_%d.png", &["-i", path.to_str().unwrap(), "-pix_fmt", "rgb24"]);
    let figures = json(folder.path(), &["in.mkv", "stills"]);
    let errors = &figures["warping_error"];
    assert_eq!(errors["input"], errors["output"]);
    assert_eq!(figures["frame_count"], 12);
}

#[test]
fn photos_that_lie_on_their_side_measure_as_their_paintings_do() {
    use image::ImageEncoder as _;
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    std::fs::create_dir(at.join("photos")).unwrap();
    // EXIF data that say "rotate by 90 degrees": big-endian TIFF, one entry, orientation 6.
    let exif = b"MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    for index in 0..3 {
        let picture = image::RgbImage::from_fn(120, 80, |x, y| {
            image::Rgb([(x * 2 + index * 8) as u8, (y * 3) as u8, if (x / 8 + y / 8) % 2 == 0 { 40 } else { 200 }])
        });
        let mut file = std::fs::File::create(at.join(format!("photos/{index}.jpg"))).unwrap();
        let mut encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut file, 98);
        encoder.set_exif_metadata(exif.to_vec()).unwrap();
        encoder.write_image(picture.as_raw(), 120, 80, image::ExtendedColorType::Rgb8).unwrap();
    }
    let identity = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/identity.onnx");
    let painted = ["image", "photos", "-o", "painted", "--format", "png", "--style", identity, "-q"];
    assert!(impasto().current_dir(at).args(painted).output().unwrap().status.success());
    let figures = json(at, &["photos", "painted"]);
    assert_eq!((&figures["width"], &figures["height"]), (&Value::from(80), &Value::from(120)));
    assert_eq!(figures["sharpness"]["input"], figures["sharpness"]["output"]);
}

#[test]
fn the_table_csv_and_plot_say_what_they_measure() {
    let folder = tempfile::tempdir().unwrap();
    lossless(folder.path(), "in.mkv", 4, "null");
    lossless(folder.path(), "out.mkv", 4, "negate");
    let run = |arguments: &[&str]| {
        let output = impasto().current_dir(&folder).args(["measure", "in.mkv", "out.mkv"]).args(arguments).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let table = run(&["--plot", "error.png", "-q"]);
    for expected in ["4 frames of 160×96, 3 pairs measured", "warping error", "e_stab", "flicker, levels", "sharpness"]
    {
        assert!(table.contains(expected), "{table}");
    }
    let plot = image::open(folder.path().join("error.png")).unwrap().into_rgb8();
    let vermilion = plot.pixels().filter(|pixel| pixel.0 == [213, 94, 0]).count();
    assert!(vermilion > 100, "the output's curve is drawn: {vermilion}");
    for name in ["in.mkv", "out.mkv"] {
        lossless(folder.path(), &format!("short-{name}"), 2, if name == "in.mkv" { "null" } else { "negate" });
    }
    let short = ["measure", "short-in.mkv", "short-out.mkv", "--plot", "short.png"];
    let output = impasto().current_dir(&folder).args(short).output().unwrap();
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.contains("2 frames of 160×96, 1 pair measured"), "{table}");
    let csv = run(&["--csv"]);
    let lines: Vec<_> = csv.lines().collect();
    assert!(lines[0].starts_with("frame,cut_follows,reliable_share,static_share,input_warping_error,"), "{csv}");
    assert_eq!(lines.len(), 5);
    let columns = lines[0].split(',').count();
    assert!(lines.iter().all(|line| line.split(',').count() == columns), "{csv}");
    assert!(lines[1].starts_with("0,false,0."), "{csv}");
    assert!(run(&["--per-frame"]).contains("output_warping_error"));

    assert_refused(folder.path(), &["in.mkv", "out.mkv", "--plot", "error.png"], 1, "-y to replace it");
    assert_refused(folder.path(), &["in.mkv", "out.mkv", "--plot", "error.svg"], 2, "ends in .png");
    assert_refused(folder.path(), &["in.mkv", "out.mkv", "--plot", "none/error.png"], 1, "there is no folder 'none'");
    run(&["--plot", "error.png", "-y", "-q"]);
    // What is measured is not replaced by what is drawn of it.
    clip(folder.path(), "paint.png", &["-f", "lavfi", "-i", "testsrc2=size=64x64", "-frames:v", "1"]);
    let arguments = ["in.mkv", "out.mkv", "--style", "paint.png", "--plot", "./paint.png", "-y"];
    assert_refused(folder.path(), &arguments, 1, "would replace 'paint.png'");
}

#[test]
fn style_and_content_are_judged_frame_by_frame() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    lossless(at, "in.mkv", 20, "null");
    // The style is a frame of the clip turned to its negative: the negative clip has it, the clip itself has not.
    lossless(at, "out.mkv", 20, "negate");
    let still = at.join("out.mkv");
    clip(at, "painting.png", &["-i", still.to_str().unwrap(), "-frames:v", "1"]);
    let arguments = ["in.mkv", "out.mkv", "--reference", "in.mkv", "--style", "painting.png"];
    let figures = json(at, &arguments);
    let (style, content) = (&figures["style_loss"], &figures["content_loss"]);
    assert!(number(&style["output"]) < 0.6 * number(&style["input"]), "{style}");
    assert_eq!(style["input"], style["reference"]);
    assert!(number(&content["output"]) > 0.1, "{content}");
    assert_eq!(number(&content["reference"]), 0.0);
    let judged = |figures: &Value| -> Vec<u64> {
        let frames = figures["judged_frames"].as_array().unwrap();
        frames.iter().map(|frame| frame["frame"].as_u64().unwrap()).collect()
    };
    assert_eq!(judged(&figures), (0..20).collect::<Vec<_>>(), "all of a short clip");
    assert_eq!(figures["style"], "painting.png");
    let some = json(at, &[&arguments[..], &["--loss-every", "8", "--plot", "some.png"]].concat());
    assert_eq!((judged(&some), &some["loss_every"]), (vec![0, 8, 16], &Value::from(8)));
    let plot = image::open(at.join("some.png")).unwrap().into_rgb8();
    assert_eq!(plot.height(), 3 * 480);
    for (chart, rows) in [(1, 480..960), (2, 960..1440)] {
        let vermilion = rows.flat_map(|y| (0..1200).map(move |x| (x, y)));
        let vermilion = vermilion.filter(|&(x, y)| plot.get_pixel(x, y).0 == [213, 94, 0]).count();
        assert!(vermilion > 100, "the output's curve is drawn in chart {chart}: {vermilion}");
    }

    let run = |more: &[&str]| {
        let output =
            impasto().current_dir(&folder).arg("measure").args(arguments).args(more).arg("-q").output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let csv = run(&["--csv", "--loss-every", "8"]);
    let columns: Vec<_> = csv.lines().next().unwrap().split(',').collect();
    let place = columns.iter().position(|column| *column == "output_style_loss").unwrap();
    let cells: Vec<_> = csv.lines().skip(1).map(|line| line.split(',').nth(place).unwrap()).collect();
    assert!(cells[1].is_empty() && cells[8].parse::<f64>().is_ok(), "{csv}");
    let table = run(&["--per-frame"]);
    for expected in ["style loss", "content loss", "style and content of every frame"] {
        assert!(table.contains(expected), "{table}");
    }
    assert!(json(at, &["in.mkv", "out.mkv"]).get("style_loss").is_none());
}

#[test]
fn a_style_is_judged_by_its_name_and_one_that_is_none_is_told_the_names() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    lossless(at, "in.mkv", 2, "null");
    let painted = ["video", "in.mkv", "-o", "out.mkv", "--style", "the-scream", "--codec", "ffv1", "-q"];
    assert!(impasto().current_dir(at).args(painted).output().unwrap().status.success());
    let style_loss = |style: &str| number(&json(at, &["in.mkv", "out.mkv", "--style", style])["style_loss"]["output"]);
    let own = style_loss("the-scream");
    assert_eq!(own, style_loss("Munch"), "aliases and letter case");
    // What was painted in a style is nearer to its painting than to another, and named files are still pictures.
    let wave = style_loss("great-wave");
    std::fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/models/paintings/great-wave.jpg"), at.join("wave.jpg"))
        .unwrap();
    assert!(own < wave, "{own} {wave}");
    assert_eq!(wave, style_loss("wave.jpg"));

    let nearest = "that `impasto styles` lists; did you mean 'great-wave'?)";
    let refused = |style: &str, code: i32, expected: &str| {
        assert_refused(at, &["in.mkv", "out.mkv", "--style", style], code, expected);
    };
    refused("gret-wave", 2, nearest);
    refused("none.jpg", 1, "read the painting 'none.jpg'");
    refused("none", 2, "'none' is neither a style nor a file (expected a picture, or one of the");
    refused("in.mkv", 1, "cannot read the painting 'in.mkv'");
    image::RgbaImage::from_pixel(64, 64, image::Rgba([9, 9, 9, 99])).save(at.join("glass.png")).unwrap();
    refused("glass.png", 1, "'glass.png' is transparent in places");
    assert_refused(at, &["in.mkv", "out.mkv", "--loss-every", "2"], 2, "--style");
}

#[test]
fn clips_that_do_not_belong_together_are_refused_with_both_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    lossless(at, "five.mkv", 5, "null");
    lossless(at, "seven.mkv", 7, "null");
    lossless(at, "small.mkv", 5, "scale=80:48");
    lossless(at, "tiny.mkv", 5, "scale=16:8");
    lossless(at, "one.mkv", 1, "null");
    std::fs::create_dir(at.join("empty")).unwrap();
    assert_refused(at, &["five.mkv", "seven.mkv"], 1, "'seven.mkv' has 7 frames and 'five.mkv' has 5");
    assert_refused(at, &["five.mkv", "five.mkv", "--reference", "seven.mkv"], 1, "'seven.mkv' has 7 frames");
    assert_refused(at, &["five.mkv", "small.mkv"], 1, "'small.mkv' is 80×48 and 'five.mkv' is 160×96");
    assert_refused(at, &["tiny.mkv", "tiny.mkv"], 1, "'tiny.mkv' is 16×8 (expected at least 16 pixels a side");
    assert_refused(at, &["one.mkv", "one.mkv"], 1, "'one.mkv' has 1 frame (expected at least 2");
    assert_refused(at, &["five.mkv", "none.mkv"], 1, "none.mkv");
    assert_refused(at, &["empty", "five.mkv"], 1, "the folder 'empty' holds no pictures (expected .png, .jpg, .jpeg)");
    assert_refused(at, &["five.mkv", "five.mkv", "--flow", "empty"], 1, "'empty' holds no flow (expected .flo files)");
    assert_refused(at, &["five.mkv", "five.mkv", "--flow", "none"], 1, "cannot read the folder 'none'");
}

/// A `.flo` file of one vector everywhere.
fn write_flo(path: &Path, width: i32, height: i32, vector: [f32; 2]) {
    let mut bytes = b"PIEH".to_vec();
    bytes.extend([width, height].into_iter().flat_map(i32::to_le_bytes));
    bytes.extend((0..width * height).flat_map(|_| vector).flat_map(f32::to_le_bytes));
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn known_flow_must_fit_the_clips() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    lossless(at, "in.mkv", 3, STILL);
    std::fs::create_dir(at.join("flow")).unwrap();
    write_flo(&at.join("flow/1.flo"), 160, 96, [0.0, 0.0]);
    assert_refused(at, &["in.mkv", "in.mkv", "--flow", "flow"], 1, "holds 1 flows (expected 2 for 3 frames");
    write_flo(&at.join("flow/2.flo"), 160, 95, [0.0, 0.0]);
    assert_refused(at, &["in.mkv", "in.mkv", "--flow", "flow"], 1, "is 160×95 (expected 160×96 as the clips)");
    write_flo(&at.join("flow/2.flo"), 160, 96, [0.0, 0.0]);
    let figures = json(at, &["in.mkv", "in.mkv", "--flow", "flow"]);
    assert_eq!(number(&figures["warping_error"]["output"]), 0.0);
    assert_eq!(number(&figures["reliable_share"]), 1.0);
    write_flo(&at.join("flow/3.flo"), 160, 96, [0.0, 0.0]);
    assert_refused(at, &["in.mkv", "in.mkv", "--flow", "flow"], 1, "holds 3 flows (expected 2 for 3 frames");
}

#[test]
fn true_flow_explains_the_motion_of_rendered_scenes() {
    let Some(pairs) = shared("flow") else { return };
    for scene in ["alley_2_clean_f0002", "clean_easy_f0002", "final_easy_f0002"] {
        let scene = pairs.join(scene);
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        for part in ["frames", "still", "turned"] {
            std::fs::create_dir(at.join(part)).unwrap();
        }
        for name in ["frame_t+0.png", "frame_t+1.png"] {
            std::fs::copy(scene.join(name), at.join("frames").join(name)).unwrap();
        }
        // The same two pictures in the wrong order: the flow then points the wrong way.
        std::fs::copy(scene.join("frame_t+1.png"), at.join("turned/0.png")).unwrap();
        std::fs::copy(scene.join("frame_t+0.png"), at.join("turned/1.png")).unwrap();
        let first = image::open(at.join("frames/frame_t+0.png")).unwrap();
        write_flo(&at.join("still/0.flo"), first.width() as i32, first.height() as i32, [0.0, 0.0]);
        let truth = scene.to_str().unwrap();
        let error = |clip: &str, more: &[&str]| {
            let mut arguments = vec![clip, clip, "-q"];
            arguments.extend_from_slice(more);
            number(&json(at, &arguments)["warping_error"]["output"])
        };
        let with_truth = error("frames", &["--flow", truth]);
        let without = error("frames", &["--flow", "still"]);
        let turned = error("turned", &["--flow", truth]);
        let estimated = error("frames", &[]);
        println!("{truth}: true {with_truth:.6} estimated {estimated:.6} none {without:.6} turned {turned:.6}");
        assert!(with_truth * 4.0 < without, "{with_truth} {without}");
        assert!(with_truth * 4.0 < turned, "{with_truth} {turned}");
        assert!(estimated < 2.0 * with_truth, "{estimated} {with_truth}");
    }
}
