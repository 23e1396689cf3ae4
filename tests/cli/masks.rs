//! `--mask`: a style is laid on where the mask is white, and nothing happens elsewhere.

use std::path::Path;

use super::{assert_refused, files, impasto, small_clip};
use crate::common::{clip, frame_rgb, mean_levels};

const WIDTH: usize = 96;
const HEIGHT: usize = 64;
const FRAMES: usize = 10;
/// Columns of the bar that walks through a mask, one bar a frame.
const BAR: usize = 9;

/// Without loss, so that what is not painted can be compared to the last bit.
const LOSSLESS: [&str; 4] = ["--codec", "ffv1", "--pixel-format", "yuv444p"];

/// A mask with a white bar that walks from left to right.
fn bars(folder: &Path, name: &str, more: &[&str]) {
    let bar = format!(
        "color=black:size={WIDTH}x{HEIGHT}:rate=10:duration=1,format=gray,geq=lum='if(eq(floor(X/{BAR}),N),255,0)'"
    );
    clip(folder, name, &[&["-f", "lavfi", "-i", &bar], more].concat());
}

/// A still mask: white on the left half.
fn half(folder: &Path, name: &str, size: &str) {
    let half = format!("color=black:size={size},format=gray,geq=lum='if(lt(X,W/2),255,0)'");
    clip(folder, name, &["-f", "lavfi", "-i", &half, "-frames:v", "1"]);
}

fn paint(folder: &Path, output: &str, more: &[&str]) -> String {
    let arguments = [&["video", "in.mp4", "-o", output, "--style", "great-wave"], &LOSSLESS[..], more].concat();
    let output = impasto().current_dir(folder).args(&arguments).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{arguments:?}: {text}");
    text
}

/// The part of each pixel column that differs between two frames: 0 for columns that are the same.
fn changed_columns(folder: &Path, a: (&str, usize), b: (&str, usize)) -> Vec<f64> {
    let [a, b] = [a, b].map(|(name, index)| frame_rgb(&folder.join(name), index).2);
    let mut changed = vec![0.0; WIDTH];
    for (index, (a, b)) in a.chunks_exact(3).zip(b.chunks_exact(3)).enumerate() {
        changed[index % WIDTH] += f64::from(u8::from(a != b)) / HEIGHT as f64;
    }
    changed
}

/// Asserts that the style shows in the columns of `wanted` and nowhere else.
fn assert_painted(folder: &Path, output: (&str, usize), plain: (&str, usize), wanted: std::ops::Range<usize>) {
    for (column, changed) in changed_columns(folder, output, plain).into_iter().enumerate() {
        match wanted.contains(&column) {
            true => assert!(changed > 0.5, "{output:?}: column {column} of {wanted:?} is not painted: {changed}"),
            false => assert!(changed == 0.0, "{output:?}: column {column} beside {wanted:?} is changed: {changed}"),
        }
    }
}

#[test]
fn a_picture_says_where_every_frame_is_painted() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    small_clip(folder);
    half(folder, "mask.png", "96x64");
    paint(folder, "plain.mkv", &["--strength", "0"]);
    paint(folder, "out.mkv", &["--mask", "mask.png"]);
    paint(folder, "inverted.mkv", &["--mask", "mask.png", "--invert-mask", "--stride", "4"]);
    for index in [0, 5, FRAMES - 1] {
        assert_painted(folder, ("out.mkv", index), ("plain.mkv", index), 0..WIDTH / 2);
        assert_painted(folder, ("inverted.mkv", index), ("plain.mkv", index), WIDTH / 2..WIDTH);
    }
    // Of another size it is scaled, with an edge that is a little softer.
    half(folder, "large.png", "192x128");
    paint(folder, "scaled.mkv", &["--mask", "large.png"]);
    let of = |name: &str| frame_rgb(&folder.join(name), 5).2;
    assert!(mean_levels(&of("scaled.mkv"), &of("out.mkv")) < 0.5);
}

#[test]
fn a_clip_and_a_folder_say_it_for_each_frame() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    small_clip(folder);
    bars(folder, "mask.mkv", &["-c:v", "ffv1"]);
    // What is black and white is so for a lossy encoder as well.
    bars(folder, "lossy.mp4", &["-vf", "scale=192x128:flags=neighbor", "-crf", "20", "-pix_fmt", "yuv420p"]);
    std::fs::create_dir(folder.join("masks")).unwrap();
    bars(folder, "masks/%d.png", &[]);
    paint(folder, "plain.mkv", &["--strength", "0"]);
    for mask in ["mask.mkv", "masks"] {
        let text = paint(folder, "out.mkv", &["-y", "--mask", mask]);
        assert!(!text.contains("mask"), "nothing is to be said: {text}");
        for index in 0..FRAMES {
            assert_painted(folder, ("out.mkv", index), ("plain.mkv", index), index * BAR..(index + 1) * BAR);
        }
    }
    paint(folder, "lossy.mkv", &["--mask", "lossy.mp4"]);
    let far = changed_columns(folder, ("lossy.mkv", 5), ("plain.mkv", 5));
    let bar = 5 * BAR;
    assert!(far[..bar - 4].iter().chain(&far[bar + BAR + 4..]).all(|changed| *changed == 0.0), "{far:?}");

    // The parts that are wanted belong together.
    paint(folder, "part.mkv", &["--mask", "mask.mkv", "--start", "0.3", "--frames", "4"]);
    for index in 0..4 {
        let bar = (index + 3) * BAR;
        assert_painted(folder, ("part.mkv", index), ("plain.mkv", index + 3), bar..bar + BAR);
    }
}

#[test]
fn of_pictures_with_transparency_the_opacity_counts() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    small_clip(folder);
    let photo = "testsrc2=size=96x64:rate=10:duration=1,format=rgba,geq=r='r(X,Y)':g='g(X,Y)':b='b(X,Y)':a='if(lt(X,W/2),255,0)'";
    let cut_out = |name: &str, more: &[&str]| clip(folder, name, &[&["-f", "lavfi", "-i", photo], more].concat());
    cut_out("one.png", &["-frames:v", "1"]);
    std::fs::create_dir(folder.join("folder")).unwrap();
    cut_out("folder/%d.png", &[]);
    cut_out("clip.mov", &["-c:v", "qtrle"]);
    paint(folder, "plain.mkv", &["--strength", "0"]);
    for mask in ["one.png", "folder", "clip.mov"] {
        let text = paint(folder, "out.mkv", &["-y", "--mask", mask]);
        assert!(text.contains("transparency: white is what is opaque"), "{text}");
        assert_painted(folder, ("out.mkv", 5), ("plain.mkv", 5), 0..WIDTH / 2);
    }
}

#[cfg(unix)]
#[test]
fn a_mask_that_is_a_pipe_is_refused_and_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    small_clip(folder);
    rustix::fs::mkfifoat(rustix::fs::CWD, folder.join("mask.png"), rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR)
        .unwrap();
    let arguments = ["video", "in.mp4", "-o", "out.mp4", "--mask", "mask.png"];
    assert_refused(folder, &arguments, 1, "cannot read the mask 'mask.png': it is no regular file");
    half(folder, "1.png", "96x64");
    std::fs::create_dir(folder.join("masks")).unwrap();
    std::fs::rename(folder.join("1.png"), folder.join("masks/1.png")).unwrap();
    std::fs::rename(folder.join("mask.png"), folder.join("masks/2.png")).unwrap();
    let arguments = ["video", "in.mp4", "-o", "out.mp4", "--mask", "masks"];
    assert_refused(folder, &arguments, 1, "cannot read the mask 'masks/2.png': it is no regular file");
    assert_refused(folder, &["measure", "masks", "masks"], 1, "'masks/2.png': it is no regular file");
}

#[test]
fn a_mask_that_ends_early_is_held_and_one_of_another_length_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    small_clip(folder);
    bars(folder, "short.mkv", &["-c:v", "ffv1", "-frames:v", "4"]);
    paint(folder, "plain.mkv", &["--strength", "0"]);
    let text = paint(folder, "out.mkv", &["--mask", "short.mkv"]);
    assert!(text.contains("the mask 'short.mkv' has about 4 frames and the clip 10"), "{text}");
    assert!(text.contains("the mask 'short.mkv' ends after 4 frames: the last one is taken for the rest"), "{text}");
    assert_painted(folder, ("out.mkv", 2), ("plain.mkv", 2), 2 * BAR..3 * BAR);
    assert_painted(folder, ("out.mkv", 9), ("plain.mkv", 9), 3 * BAR..4 * BAR);

    // A clip of one picture is a picture, whatever part is wanted; and the part that is wanted takes nothing from the mask.
    bars(folder, "one.gif", &["-frames:v", "1"]);
    let text = paint(folder, "one.mkv", &["--mask", "one.gif", "--start", "0.5"]);
    assert!(!text.contains("mask"), "{text}");
    assert_painted(folder, ("one.mkv", 2), ("plain.mkv", 7), 0..BAR);
    bars(folder, "slow.mkv", &["-c:v", "ffv1", "-vf", "settb=1/5,setpts=N", "-r", "5"]);
    let text = paint(folder, "slow-out.mkv", &["--mask", "slow.mkv", "--end", "0.6"]);
    assert!(!text.contains("mask"), "{text}");
    assert_painted(folder, ("slow-out.mkv", 5), ("plain.mkv", 5), 5 * BAR..6 * BAR);
    let arguments = ["video", "in.mp4", "-o", "json.mkv", "-q", "--json", "--mask", "short.mkv"];
    let output = impasto().current_dir(folder).args(arguments).output().unwrap();
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(summary["notes"].to_string().contains("ends after 4 frames"), "{summary}");
}

#[test]
fn a_damaged_mask_is_reported_like_a_damaged_clip() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    small_clip(folder);
    bars(folder, "whole.mp4", &["-c:v", "libx264", "-qp", "0", "-g", "1", "-bf", "0", "-movflags", "+faststart"]);
    let bytes = std::fs::read(folder.join("whole.mp4")).unwrap();
    std::fs::write(folder.join("cut.mp4"), &bytes[..bytes.len() * 9 / 10]).unwrap();
    let arguments = ["video", "in.mp4", "-o", "out.mkv", "--style", "wave", "--mask", "cut.mp4"];
    let run = |more: &[&str]| {
        let output = impasto().current_dir(folder).args(arguments).args(more).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, text) = run(&[]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("error: the mask 'cut.mp4' is damaged: ") && text.contains("--keep-going accepts"), "{text}");
    assert_eq!(files(folder), ["cut.mp4", "in.mp4", "out.mkv", "whole.mp4"]);
    let (code, text) = run(&["-y", "--keep-going"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("warning: the mask 'cut.mp4' is damaged") && !text.contains("error"), "{text}");
}

#[test]
fn what_is_no_mask_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    small_clip(folder);
    half(folder, "mask.png", "96x64");
    half(folder, "tall.png", "64x96");
    let plain = |name: &str, color: &str| {
        clip(folder, name, &["-f", "lavfi", "-i", &format!("color={color}:size=96x64,format=rgba"), "-frames:v", "1"]);
    };
    plain("black.png", "black");
    std::fs::write(folder.join("text.png"), "no picture").unwrap();
    std::fs::create_dir(folder.join("empty")).unwrap();
    std::fs::copy(folder.join("in.mp4"), folder.join("mask.mp4")).unwrap();
    for (name, second) in [("broken", "text.png"), ("mixed", "tall.png")] {
        std::fs::create_dir(folder.join(name)).unwrap();
        std::fs::copy(folder.join("mask.png"), folder.join(name).join("1.png")).unwrap();
        std::fs::copy(folder.join(second), folder.join(name).join("2.png")).unwrap();
    }
    bars(folder, "short.mkv", &["-c:v", "ffv1", "-frames:v", "4"]);
    bars(folder, "nearly.mkv", &["-c:v", "ffv1", "-vf", "settb=1001/10000,setpts=N", "-r", "10000/1001"]);
    bars(folder, "fast.mkv", &["-c:v", "ffv1", "-vf", "settb=1/25,setpts=N", "-r", "25"]);
    bars(folder, "several.png", &["-f", "apng"]);
    let with = |more: &[&'static str]| [&["video", "in.mp4", "-o", "out.mp4", "--mask"], more].concat();
    for (more, code, expected) in [
        (&["tall.png"][..], 1, "the mask 'tall.png' is 64×96 and the content 96×64 (expected the same shape)"),
        (&["black.png"], 1, "the mask 'black.png' is black (expected white where the style is to be)"),
        (&["several.png"], 1, "the mask 'several.png' holds several pictures"),
        (&["broken"], 1, "cannot read the mask 'broken/2.png'"),
        (&["mixed"], 1, "the mask 'mixed/2.png' is 64×96 and the content 96×64 (expected the same shape)"),
        (&["http://user:secret@localhost:1/a.png"], 1, "'http://…@localhost:1/a.png'"),
        (&["short.mkv", "--start", "0.5"], 1, "does the mask end before --start?"),
        (&["nearly.mkv", "--start", "0.5"], 1, "has 9.99 frames a second and the clip 10.00 frames a second"),
        (&["fast.mkv", "--start", "0.5"], 1, "has 25.00 frames a second and the clip 10.00 frames a second"),
        (&["text.png"], 1, "cannot read the mask 'text.png'"),
        (&["missing.png"], 1, "cannot read the mask 'missing.png'"),
        (&["missing.mp4"], 1, "'missing.mp4'"),
        (&["empty"], 1, "the folder 'empty' holds no pictures"),
        (&["empty", "--start", "0.2"], 2, "the pictures of the mask 'empty' have no times"),
    ] {
        assert_refused(folder, &with(more), code, expected);
    }
    let as_output = ["video", "in.mp4", "-o", "./mask.mp4", "-y", "--mask", "mask.mp4"];
    assert_refused(folder, &as_output, 2, "the output './mask.mp4' is the mask");
    let as_view = ["video", "in.mp4", "-o", "out.mp4", "-y", "--mask", "mask.mp4", "--debug-view", "mask.mp4"];
    assert_refused(folder, &as_view, 2, "the debug view 'mask.mp4' is the mask");
    assert_refused(folder, &["video", "in.mp4", "-o", "out.mp4", "--invert-mask"], 2, "--mask");
    let of_picture = ["image", "mask.png", "-o", "out.png", "--mask", "mask.mp4"];
    assert_refused(folder, &of_picture, 2, "the mask 'mask.mp4' is no picture in a file (expected one for all)");
    assert_refused(folder, &["image", "tall.png", "-o", "mask.png", "-y", "--mask", "mask.png"], 2, "is the mask");
    assert!(files(folder).iter().all(|name| !name.starts_with("out")));
}

#[test]
fn pictures_and_pipes_take_masks_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    small_clip(folder);
    half(folder, "mask.png", "96x64");
    clip(folder, "photo.png", &["-i", folder.join("in.mp4").to_str().unwrap(), "-frames:v", "1"]);
    let arguments = ["image", "photo.png", "-o", "out.png", "--style", "great-wave", "--mask", "mask.png"];
    impasto().current_dir(folder).args(arguments).assert().success();
    assert_painted(folder, ("out.png", 0), ("photo.png", 0), 0..WIDTH / 2);

    clip(folder, "in.y4m", &["-i", folder.join("in.mp4").to_str().unwrap(), "-pix_fmt", "yuv444p", "-strict", "-1"]);
    bars(folder, "mask.mkv", &["-c:v", "ffv1"]);
    let pipe = |name: &str, more: &[&str]| {
        let mut command = impasto();
        command.current_dir(folder).args(["pipe", "-q", "--style", "great-wave"]).args(more);
        let output = command.pipe_stdin(folder.join("in.y4m")).unwrap().output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        std::fs::write(folder.join(name), output.stdout).unwrap();
    };
    pipe("plain.y4m", &["--strength", "0"]);
    pipe("out.y4m", &["--mask", "mask.mkv"]);
    for index in [0, 7] {
        assert_painted(folder, ("out.y4m", index), ("plain.y4m", index), index * BAR..(index + 1) * BAR);
    }
}
