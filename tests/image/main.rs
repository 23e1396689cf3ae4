//! `impasto image` and `impasto styles sheet` as a person uses them: which files they write, what is in them, and what
//! they say of those that they cannot paint.
#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)] // A test that panics fails: as it should.

#[path = "../common/mod.rs"]
mod common;
mod sheets;

use std::path::Path;
use std::process::{Command as Process, Output};

use assert_cmd::Command;
use common::clip;
use image::{DynamicImage, ImageFormat};
use predicates::prelude::PredicateBooleanExt as _;
use predicates::str::contains;

fn impasto() -> Command {
    let mut command = Command::cargo_bin("impasto").expect("cargo builds the binary for its tests");
    command.arg("image");
    command
}

fn identity() -> String {
    format!("{}/tests/fixtures/identity.onnx", env!("CARGO_MANIFEST_DIR"))
}

/// A picture made by ffmpeg; the format is chosen by the name.
fn picture(folder: &Path, name: &str, pixels: &str) {
    std::fs::create_dir_all(folder.join(name).parent().unwrap()).unwrap();
    clip(folder, name, &["-f", "lavfi", "-i", "testsrc2=size=90x60,gblur=1", "-frames:v", "1", "-pix_fmt", pixels]);
}

fn open(folder: &Path, name: &str) -> DynamicImage {
    image::ImageReader::open(folder.join(name)).unwrap().with_guessed_format().unwrap().decode().unwrap()
}

fn difference(a: &DynamicImage, b: &DynamicImage) -> f64 {
    let (a, b) = (a.to_rgb8(), b.to_rgb8());
    assert_eq!(a.dimensions(), b.dimensions());
    let sum: u64 = a.as_raw().iter().zip(b.as_raw()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    sum as f64 / a.as_raw().len() as f64
}

/// Every file below a folder, by its place.
fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_photo_becomes_a_painting_of_its_size() {
    let folder = tempfile::tempdir().unwrap();
    picture(folder.path(), "photo.png", "rgb24");
    let args = ["photo.png", "-o", "painting.jpg", "--style", "great-wave"];
    impasto().current_dir(&folder).args(args).assert().success().stderr(contains("1 picture in"));
    let (photo, painting) = (open(folder.path(), "photo.png"), open(folder.path(), "painting.jpg"));
    assert!(difference(&photo, &painting) > 10.0, "the style shows");
    assert_eq!(files(folder.path()), ["painting.jpg", "photo.png"]);
}

#[test]
fn folders_keep_their_structure_and_a_bad_file_does_not_stop_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    for (name, pixels) in [("in/a.png", "rgb24"), ("in/sub/b.JPG", "yuvj444p"), ("in/sub/deep/c.tif", "rgb24")] {
        picture(folder.path(), name, pixels);
    }
    std::fs::write(folder.path().join("in/bad.png"), "no picture").unwrap();
    std::fs::write(folder.path().join("in/empty.webp"), "").unwrap();
    std::fs::write(folder.path().join("in/notes.txt"), "no picture").unwrap();
    std::fs::write(folder.path().join("in/.hidden.png"), "no picture").unwrap();
    let style = identity();
    let args = ["in", "-o", "out", "--style", &style];
    let output = impasto().current_dir(&folder).args(args).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let said = text(&output);
    assert!(said.contains("2 of 5 pictures failed"), "{said}");
    assert!(said.contains("'in/bad.png': cannot be read as a picture"), "{said}");
    assert!(said.contains("'in/empty.webp'") && said.contains("3 pictures in"), "{said}");
    let expected = ["a.png", "sub/b.JPG", "sub/deep/c.tif"];
    assert_eq!(files(&folder.path().join("out")), expected);
    for name in expected {
        let [before, after] = ["in", "out"].map(|folder_name| open(folder.path(), &format!("{folder_name}/{name}")));
        let most = if name.ends_with("JPG") { 2.0 } else { 0.0 };
        assert!(difference(&before, &after) <= most, "{name}: {}", difference(&before, &after));
    }
}

#[test]
fn paintings_in_a_folder_below_their_photos_are_not_painted_again() {
    let folder = tempfile::tempdir().unwrap();
    picture(folder.path(), "in/a.png", "rgb24");
    let style = identity();
    for _ in 0..2 {
        let output =
            impasto().current_dir(&folder).args(["in", "-o", "in/out", "-y", "--style", &style]).output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        assert_eq!(files(&folder.path().join("in")), ["a.png", "out/a.png"]);
    }
}

#[test]
fn several_styles_and_patterns_make_a_file_each() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["one.png", "two.png", "other.png"] {
        picture(folder.path(), name, "rgb24");
    }
    let args =
        ["t*.png", "on?.png", "-o", "out/", "--style", "wave", "--style", "wave:0.5,scream:0.5", "--format", "jpeg"];
    impasto().current_dir(&folder).args(args).assert().success().stderr(contains("4 pictures"));
    // A style that is damaged stops neither the others nor the news of what else failed.
    std::fs::write(folder.path().join("bad.png"), "text").unwrap();
    std::fs::write(folder.path().join("bad.style"), "text").unwrap();
    let args = ["bad.png", "one.png", "-o", "some/", "--style", "wave", "--style", "bad.style"];
    let output = impasto().current_dir(&folder).args(args).output().unwrap();
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("3 of 4 pictures failed") && said.contains("'bad.png'") && said.contains("'bad.style'"),
        "{said}"
    );
    assert!(said.contains("one-wave.png: 1 picture"), "{said}");
    // One that there is not is told before anything is painted.
    for (wrong, expected) in
        [("gret-wave", "'great-wave'"), ("wave:x", "weight 'x'"), ("one.png", "a painting: `impasto learn one.png")]
    {
        let args = ["one.png", "-o", "none/", "--style", "wave", "--style", wrong];
        impasto().current_dir(&folder).args(args).assert().code(2).stderr(contains(expected));
        assert!(!folder.path().join("none").exists());
    }
    // One that fits is several as well, unless the output is named like a picture.
    for (output, painted) in [("single", "single/one.png"), ("single.png", "single.png")] {
        let style = identity();
        impasto().current_dir(&folder).args(["on?.png", "-o", output, "--style", &style]).assert().success();
        assert!(folder.path().join(painted).is_file(), "{output}");
    }
    let out = folder.path().join("out");
    let names = ["one-wave-0.5-scream-0.5.jpg", "one-wave.jpg", "two-wave-0.5-scream-0.5.jpg", "two-wave.jpg"];
    assert_eq!(files(&out), names);
    assert!(difference(&open(&out, names[0]), &open(&out, names[1])) > 3.0);
    assert!(image::guess_format(&std::fs::read(out.join(names[0])).unwrap()).unwrap() == ImageFormat::Jpeg);
}

#[test]
fn a_picture_goes_from_stdin_to_stdout() {
    let folder = tempfile::tempdir().unwrap();
    picture(folder.path(), "in.png", "rgb24");
    let bytes = std::fs::read(folder.path().join("in.png")).unwrap();
    for (more, format) in [(&[][..], ImageFormat::Png), (&["--format", "webp"], ImageFormat::WebP)] {
        let style = identity();
        let args = ["-", "-o", "-", "--style", &style];
        let output = impasto().args(args).args(more).write_stdin(bytes.clone()).output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        assert_eq!(image::guess_format(&output.stdout).unwrap(), format);
        let painted = image::load_from_memory(&output.stdout).unwrap();
        assert!(difference(&painted, &open(folder.path(), "in.png")) == 0.0);
    }
}

#[test]
fn sixteen_bits_and_transparency_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    picture(folder.path(), "deep.png", "rgb48be");
    picture(folder.path(), "clear.png", "rgba");
    // A quarter of the picture is half transparent.
    let mut clear = open(folder.path(), "clear.png").to_rgba8();
    clear.enumerate_pixels_mut().filter(|(x, y, _)| *x < 45 && *y < 30).for_each(|(.., pixel)| pixel.0[3] = 120);
    clear.save(folder.path().join("clear.png")).unwrap();
    let style = identity();
    for (input, output) in [("deep.png", "deep.tif"), ("clear.png", "clear.webp")] {
        impasto().current_dir(&folder).args([input, "-o", output, "--style", &style]).assert().success();
        let (before, after) = (open(folder.path(), input), open(folder.path(), output));
        assert_eq!(before.color(), after.color(), "{output}");
        assert_eq!(before.to_rgba16(), after.to_rgba16(), "{output}");
    }
    let args = ["clear.png", "-o", "clear.jpg", "--style", &style];
    impasto().current_dir(&folder).args(args).assert().success().stderr(contains("laid on white"));
    let args = ["deep.png", "-o", "painted.png", "--style", "wave"];
    impasto().current_dir(&folder).args(args).assert().success();
    assert!(difference(&open(folder.path(), "deep.png"), &open(folder.path(), "painted.png")) > 10.0);
}

#[test]
fn a_picture_above_the_work_size_keeps_its_size_and_its_detail() {
    let folder = tempfile::tempdir().unwrap();
    clip(
        folder.path(),
        "in.png",
        &["-f", "lavfi", "-i", "testsrc2=size=1500x1200", "-frames:v", "1", "-pix_fmt", "rgb24"],
    );
    let style = identity();
    let args = ["in.png", "-o", "out.png", "--work-size", "300", "--style", &style];
    impasto().current_dir(&folder).args(args).assert().success();
    let lost = difference(&open(folder.path(), "in.png"), &open(folder.path(), "out.png"));
    assert!(lost < 4.0, "{lost}");
}

#[test]
fn nothing_is_replaced_unless_asked() {
    let folder = tempfile::tempdir().unwrap();
    picture(folder.path(), "in.png", "rgb24");
    std::fs::write(folder.path().join("out.png"), "precious").unwrap();
    let style = identity();
    let args = ["in.png", "-o", "out.png", "--style", &style];
    impasto().current_dir(&folder).args(args).assert().code(1).stderr(contains("-y to replace it"));
    assert_eq!(std::fs::read(folder.path().join("out.png")).unwrap(), b"precious");
    impasto().current_dir(&folder).args(args).arg("-y").assert().success();
    assert!(difference(&open(folder.path(), "in.png"), &open(folder.path(), "out.png")) == 0.0);
    let itself = ["in.png", "-o", ".", "--style", &style, "-y"];
    impasto().current_dir(&folder).args(itself).assert().code(1).stderr(contains("would replace it"));
    assert_eq!(files(folder.path()), ["in.png", "out.png"]);
    // Nor is one picture replaced by the painting of another.
    let before = open(folder.path(), "in.png");
    std::fs::write(folder.path().join("in-wave.png"), "a photo as well").unwrap();
    let both = [".", "-o", ".", "--style", "wave", "--style", "scream", "-y"];
    impasto()
        .current_dir(&folder)
        .args(both)
        .assert()
        .code(1)
        .stderr(contains("a painting of another would replace it"));
    assert_eq!(files(folder.path()), ["in-wave.png", "in.png", "out.png"]);
    assert_eq!(open(folder.path(), "in.png"), before);
    assert_eq!(std::fs::read(folder.path().join("in-wave.png")).unwrap(), b"a photo as well");
}

#[test]
fn a_photo_that_is_cut_short_is_told_and_not_painted() {
    let folder = tempfile::tempdir().unwrap();
    picture(folder.path(), "whole.jpg", "yuvj420p");
    let bytes = std::fs::read(folder.path().join("whole.jpg")).unwrap();
    std::fs::write(folder.path().join("cut.jpg"), &bytes[..bytes.len() * 2 / 3]).unwrap();
    // The mark of the end alone makes no whole picture of it.
    std::fs::write(folder.path().join("marked.jpg"), [&bytes[..bytes.len() * 2 / 3], &[0xff, 0xd9]].concat()).unwrap();
    let style = identity();
    for name in ["cut.jpg", "marked.jpg"] {
        let args = [name, "-o", "out.png", "--style", &style];
        impasto().current_dir(&folder).args(args).assert().code(1).stderr(contains("it is damaged or cut short"));
    }
    assert_eq!(files(folder.path()), ["cut.jpg", "marked.jpg", "whole.jpg"]);
}

#[test]
fn what_cannot_be_done_is_said_in_one_line_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.png", "b/a.png", "empty/x.txt", "b/c.png"] {
        if name.ends_with("png") {
            picture(folder.path(), name, "rgb24");
        } else {
            std::fs::create_dir_all(folder.path().join("empty")).unwrap();
        }
    }
    let before = files(folder.path());
    let cases: [(&[&str], i32, &str); 17] = [
        (&["a.png"], 2, "--output"),
        (&["-o", "out.png"], 2, "INPUTS"),
        (&["missing.png", "-o", "out.png"], 1, "'missing.png': cannot be read: No such file"),
        (&["a.png", "-o", "out.txt"], 2, "expected .png, .jpg, .webp or .tif"),
        (&["a.png", "-o", "nowhere/out.png"], 1, "nowhere/out.png"),
        (&["a.png", "b/c.png", "-o", "a.png"], 2, "is a file"),
        (&["a.png", "b", "-o", "out"], 2, "would both become"),
        (&["a.png", "b/c.png", "-o", "both.png"], 2, "expected a folder for several pictures: 'both.png/'"),
        (&["b", "-o", "-"], 2, "expected one"),
        (&["empty", "-o", "out"], 1, "holds no pictures"),
        (&["x*.png", "-o", "out"], 1, "no picture fits 'x*.png'"),
        (&["-", "a.png", "-o", "out"], 2, "no other inputs"),
        (&["a.png", "-o", "out.png", "--style", "gret-wave"], 2, "great-wave"),
        (&["a.png", "-o", "out.png", "--style", "nowhere.jpg"], 1, "cannot read 'nowhere.jpg': no such file"),
        (&["a.png", "-o", "out.png", "--style", "wave", "--style", "wave"], 2, "each style once"),
        (&["a.png", "-o", "out.png", "--format", "gif"], 2, "webp"),
        (&["a.png", "-o", "out.jpg", "--quality", "0"], 2, "--quality"),
    ];
    for (arguments, code, expected) in cases {
        let output = impasto().current_dir(&folder).args(arguments).write_stdin("").output().unwrap();
        let said = text(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(expected) && !said.contains("panicked"), "{arguments:?}: {said}");
        assert_eq!(said.lines().filter(|line| line.starts_with("error:")).count(), 1, "{arguments:?}: {said}");
        assert_eq!(files(folder.path()), before, "{arguments:?}");
    }
}

#[test]
fn a_folder_may_be_called_like_a_picture_and_a_network_by_any_letters() {
    let folder = tempfile::tempdir().unwrap();
    picture(folder.path(), "a.png", "rgb24");
    picture(folder.path(), "b.png", "rgb24");
    let network = "net#1, my:own.onnx";
    std::fs::copy(identity(), folder.path().join(network)).unwrap();
    impasto().current_dir(&folder).args(["a.png", "b.png", "-o", "both.png/", "--style", network]).assert().success();
    assert_eq!(files(&folder.path().join("both.png")), ["a.png", "b.png"]);
}

#[cfg(unix)]
#[test]
fn what_waits_for_a_silent_pipe_ends_at_the_second_ctrl_c() {
    let folder = tempfile::tempdir().unwrap();
    picture(folder.path(), "a.png", "rgb24");
    let pipe = folder.path().join("pipe.png");
    assert!(Process::new("mkfifo").arg(&pipe).status().unwrap().success());
    // A network in a pipe could be read once only.
    for name in ["pipe.onnx", "pipe.style"] {
        let file = folder.path().join(name);
        assert!(Process::new("mkfifo").arg(&file).status().unwrap().success());
        let style = format!("./{name}");
        let refused = impasto().current_dir(&folder).args(["a.png", "-o", "o.png", "--style", &style]).output();
        let said = text(&refused.unwrap());
        assert!(said.contains(name) && said.contains("no regular file"), "{said}");
        std::fs::remove_file(file).unwrap();
    }
    let mut child = Process::new(assert_cmd::cargo::cargo_bin("impasto"))
        .current_dir(&folder)
        .args(["image", "pipe.png", "-o", "out.png", "--style", "wave", "--device", "cpu"])
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // Opens when the program reads it, which then waits for what never comes.
    let never_written = std::fs::OpenOptions::new().write(true).open(&pipe).unwrap();
    common::send(common::Signal::INT, &child);
    let mut said = String::new();
    let mut messages = std::io::BufReader::new(child.stderr.take().unwrap());
    std::io::BufRead::read_line(&mut messages, &mut said).unwrap();
    assert!(said.contains("stopping (Ctrl-C again to end at once)"), "{said}");
    common::send(common::Signal::INT, &child);
    assert!(!child.wait().unwrap().success());
    drop(never_written);
    assert_eq!(files(folder.path()), ["a.png", "pipe.png"]);
}

#[cfg(unix)]
#[test]
fn pictures_that_are_pipes_are_passed_by_or_refused_and_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["in/a.png", "b.png"] {
        picture(folder.path(), name, "rgb24");
    }
    let make_pipe = |name: &str| {
        assert!(Process::new("mkfifo").arg(folder.path().join(name)).status().unwrap().success());
    };
    make_pipe("in/pipe.png");
    std::os::unix::fs::symlink("../b.png", folder.path().join("in/link.png")).unwrap();
    let impasto = || {
        let mut command = Command::cargo_bin("impasto").expect("cargo builds the binary for its tests");
        command.current_dir(&folder).timeout(std::time::Duration::from_secs(60));
        command
    };
    let style = identity();
    impasto().args(["image", "in", "-o", "out", "--style", &style]).assert().success();
    assert_eq!(files(&folder.path().join("out")), ["a.png", "link.png"]);
    std::fs::remove_file(folder.path().join("in/link.png")).unwrap();
    make_pipe("p.png");
    let of_painting = format!("{}/tests/fixtures/style_picture.onnx", env!("CARGO_MANIFEST_DIR"));
    let cases: [&[&str]; 7] = [
        &["paint", "p.png", "-o", "out.png", "--style", "wave"],
        &["paint", "in/a.png", "-o", "out.png", "--style", "p.png"],
        &["paint", "in/a.png", "-o", "out.png", "--style", "wave", "--vgg", "p.png"],
        &["learn", "p.png", "-o", "out.style"],
        &["measure", "in", "in", "--style", "p.png"],
        &["styles", "sheet", "p.png", "-o", "out.png"],
        &["image", "in/a.png", "-o", "out.png", "--style", &of_painting, "--style-image", "p.png"],
    ];
    std::fs::remove_file(folder.path().join("in/pipe.png")).unwrap();
    std::fs::copy(folder.path().join("in/a.png"), folder.path().join("in/b.png")).unwrap();
    for arguments in cases {
        let refused = impasto().args(arguments).assert().code(1);
        refused.stderr(contains("'p.png'").and(contains("no regular file")));
    }
}

#[cfg(unix)]
#[test]
fn what_is_long_and_no_picture_is_refused_before_it_is_read() {
    let folder = tempfile::tempdir().unwrap();
    picture(folder.path(), "a.png", "rgb24");
    picture(folder.path(), "long.png", "rgb24");
    // No disk holds that much: all of it are holes.
    let stretch = |name: &str| {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(folder.path().join(name)).unwrap();
        file.set_len(64 << 30).unwrap();
    };
    ["film.mp4", "zeros.png", "zeros.onnx", "long.png"].into_iter().for_each(stretch);
    let before = files(folder.path());
    let no_picture = "it is no PNG, JPEG, WebP or TIFF";
    let cases: [(&[&str], &str); 8] = [
        (
            &["image", "film.mp4", "-o", "o.png"],
            "cannot be read as a picture (`impasto video` takes clips): it is no PNG",
        ),
        (&["image", "/dev/zero", "-o", "o.png"], no_picture),
        (&["image", "a.png", "-o", "o.png", "--mask", "zeros.png"], no_picture),
        (&["image", "long.png", "-o", "o.png"], "it is too long (expected at most 2.1 GB)"),
        (&["image", "a.png", "-o", "o.png", "--style", "zeros.onnx"], "it is not an ONNX network"),
        (&["paint", "zeros.png", "-o", "o.png", "--style", "wave"], no_picture),
        (&["paint", "a.png", "-o", "o.png", "--style", "film.mp4"], no_picture),
        (&["learn", "film.mp4", "-o", "o.style"], no_picture),
    ];
    for (arguments, expected) in cases {
        let mut command = Command::cargo_bin("impasto").expect("cargo builds the binary for its tests");
        command.current_dir(&folder).args(arguments).timeout(std::time::Duration::from_secs(60));
        command.assert().code(1).stderr(contains(expected));
    }
    let endless = std::fs::File::open("/dev/zero").unwrap();
    let child = Process::new(assert_cmd::cargo::cargo_bin("impasto"))
        .current_dir(&folder)
        .args(["image", "-", "-o", "o.png"])
        .stdin(endless)
        .stderr(std::process::Stdio::piped())
        .spawn();
    let said = text(&child.unwrap().wait_with_output().unwrap());
    assert!(said.contains("cannot read stdin as a picture: it is no PNG"), "{said}");
    assert_eq!(files(folder.path()), before);
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_after_the_picture_and_leaves_no_half_ones() {
    let folder = tempfile::tempdir().unwrap();
    picture(folder.path(), "in/0.png", "rgb24");
    for index in 1..400 {
        std::fs::copy(folder.path().join("in/0.png"), folder.path().join(format!("in/{index}.png"))).unwrap();
    }
    let child = Process::new(assert_cmd::cargo::cargo_bin("impasto"))
        .current_dir(&folder)
        .args(["image", "in", "-o", "out", "-q", "--style", "wave"])
        .spawn()
        .unwrap();
    let out = folder.path().join("out");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !out.exists() || files(&out).len() < 3 {
        assert!(std::time::Instant::now() < deadline, "the run does not start");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let kill = format!("kill -INT {}", child.id());
    assert!(Process::new("sh").args(["-c", &kill]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let painted = files(&out);
    assert!(painted.len() < 400 && painted.iter().all(|name| name.ends_with(".png") && !name.starts_with('.')));
    assert!(painted.iter().all(|name| open(&out, name).width() == 90));
}
