//! `impasto video` with several clips.

use std::path::Path;

use super::{assert_refused, files, impasto, interrupted_when, small_clip};
use crate::common::{Signal, clip, frame_times, probe};

/// Three clips, one of them in a folder of its own, one that is none, and a text.
fn material(folder: &Path) {
    std::fs::create_dir_all(folder.join("in/deep")).unwrap();
    let one = small_clip(folder);
    let at = |name: &str| folder.join("in").join(name);
    std::fs::rename(&one, at("a.mp4")).unwrap();
    clip(folder, "in/b.ts", &["-i", at("a.mp4").to_str().unwrap(), "-c", "copy"]);
    std::fs::copy(at("a.mp4"), at("deep/c.mp4")).unwrap();
    std::fs::write(at("deep/broken.mkv"), "no clip").unwrap();
    std::fs::write(at("notes.txt"), "no clip either").unwrap();
}

/// Runs `impasto video` and gives back its exit code and what it says.
fn run(folder: &Path, arguments: &[&str]) -> (i32, String) {
    let output = impasto().current_dir(folder).arg("video").args(arguments).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(!text.contains("panicked"), "{text}");
    (output.status.code().unwrap(), text)
}

fn all_files(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in walk(folder) {
        names.push(entry.strip_prefix(folder).unwrap().to_str().unwrap().to_owned());
    }
    names.sort();
    names
}

fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[test]
fn a_folder_is_painted_into_another_and_what_fails_does_not_stop_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    material(folder);
    let (code, text) = run(folder, &["in", "-o", "out", "--style", "wave"]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("2 of 4: 'in/b.ts'"), "{text}");
    assert!(text.contains("error: 'in/deep/broken.mkv' is not painted: "), "{text}");
    assert!(text.contains("3 of 4 videos painted, 1 failed: 'in/deep/broken.mkv'"), "{text}");
    assert_eq!(all_files(&folder.join("out")), ["a.mp4", "b.ts", "deep/c.mp4"]);
    for name in ["a.mp4", "b.ts", "deep/c.mp4"] {
        assert_eq!(frame_times(&folder.join("out").join(name)).len(), 10, "{name}");
    }

    // Painted a second time, what is there is left alone, unless it is wanted anew.
    let time = |name: &str| folder.join("out").join(name).metadata().unwrap().modified().unwrap();
    let before = time("a.mp4");
    let refusal =
        "the output 'out/a.mp4' and 2 more exist already (choose another folder, --resume to paint what is missing";
    assert_refused(folder, &["video", "in", "-o", "out"], 1, refusal);
    std::fs::remove_file(folder.join("out/b.ts")).unwrap();
    std::fs::remove_file(folder.join("in/deep/broken.mkv")).unwrap();
    let (code, text) = run(folder, &["in", "-o", "out", "--style", "wave", "--resume"]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("1 of 3 videos painted, 2 passed by, as they are there already"), "{text}");
    assert_eq!((all_files(&folder.join("out")).len(), time("a.mp4")), (3, before));
    let (code, text) = run(folder, &["in", "-o", "out", "--style", "wave", "-y"]);
    assert!(code == 0 && text.contains("3 of 3 videos painted"), "{text}");
    assert!(time("a.mp4") > before);
}

#[test]
fn outputs_get_the_extension_that_is_wanted_and_programs_a_line_for_each() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    material(folder);
    let arguments = ["video", "in/*.*", "in/deep/c.mp4", "-o", "out/", "--extension", ".mkv", "--json", "-q"];
    let output = impasto().current_dir(folder).args(arguments).args(["--strength", "0"]).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let outputs: Vec<_> = lines.iter().map(|line| line["output"].as_str().unwrap()).collect();
    assert_eq!(outputs, ["out/a.mkv", "out/b.mkv", "out/c.mkv"]);
    let format = probe(&folder.join("out/b.mkv"), &["-show_entries", "format=format_name"]);
    assert!(format["format"]["format_name"].as_str().unwrap().contains("matroska"), "{format}");

    // A single clip goes into a folder as well, which may lie among the clips.
    let (code, text) = run(folder, &["in/a.mp4", "-o", "in/painted/", "--strength", "0"]);
    assert!(code == 0 && text.starts_with("in/painted/a.mp4: 10 frames"), "{text}");
    std::fs::remove_file(folder.join("in/deep/broken.mkv")).unwrap();
    let (_, text) = run(folder, &["in", "-o", "in/painted", "--strength", "0", "--resume"]);
    assert!(text.contains("2 of 3 videos painted, 1 passed by"), "what was painted is not painted again: {text}");
}

#[test]
fn what_does_not_go_together_is_refused_before_anything_is_painted() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    material(folder);
    std::fs::create_dir(folder.join("empty")).unwrap();
    std::fs::create_dir(folder.join("masks")).unwrap();
    std::fs::create_dir(folder.join("same")).unwrap();
    std::fs::copy(folder.join("in/a.mp4"), folder.join("same/a.mp4")).unwrap();
    std::fs::write(folder.join("file"), "").unwrap();
    for (arguments, code, expected) in [
        (&["in", "-o", "in", "-y"][..], 1, "'in/a.mp4': its own painting would replace it"),
        (
            &["in/a.mp4", "in/deep/c.mp4", "-o", "out.mp4"],
            2,
            "named like a video (expected a folder for several videos: 'out.mp4/')",
        ),
        (&["in", "-o", "file"], 2, "the output 'file' is a file (expected a folder for several videos)"),
        (&["in/a.mp4", "in/b.ts", "in/deep", "-o", "out", "--style", "no-style"], 2, "no-style"),
        (&["in/a.mp4", "in/b.ts", "-o", "out", "--extension", "m/kv"], 2, "expected the ending of a file's name"),
        (&["in/a.mp4", "-o", "out.mp4", "--extension", "mkv"], 2, "--extension is for outputs in a folder"),
        (&["in/a.mp4", "same/a.mp4", "-o", "out"], 2, "would both become 'out/a.mp4'"),
        (&["in", "-o", "in/../in", "--extension", "mkv"], 2, "the outputs would lie among the clips of 'in'"),
        (&["in", "-o", "out", "--codec", "none"], 2, "'none' is no video encoder of this FFmpeg"),
        (&["in", "-o", "out", "--mask", "missing.png"], 1, "cannot read the mask 'missing.png'"),
        (&["in", "-o", "out", "--debug-view", "view.mp4"], 2, "--debug-view is for one video (expected none for 4)"),
        (
            &["in", "-o", "out", "--mask", "masks"],
            2,
            "the mask 'masks' is for one video (expected a picture for several)",
        ),
        (&["in", "-o", "out", "--engine", "gatys", "--work-folder", "w"], 2, "--work-folder is for one video"),
        (&["empty", "-o", "out"], 1, "the folder 'empty' holds no videos (expected .mp4, .mkv"),
        (&["in/*.webm", "-o", "out"], 1, "no video fits 'in/*.webm'"),
        (&["in/a.mp4", "-", "-o", "out"], 2, "'-' is none"),
        (&["in/a.mp4", "http://host/b.mp4?c=[d]", "-o", "out"], 2, "has no name for a folder"),
    ] {
        assert_refused(folder, &[&["video"], arguments].concat(), code, expected);
    }
    assert!(!files(folder).contains(&"out".to_owned()), "nothing was begun");
}

#[test]
fn what_is_to_blame_is_told_once_or_with_the_clip_that_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    material(folder);
    std::fs::write(folder.join("net.onnx"), "no network").unwrap();
    let (code, text) = run(folder, &["in", "-o", "out", "--style", "net.onnx"]);
    assert_eq!((code, text.matches("error:").count()), (1, 1), "{text}");
    assert!(text.contains("'net.onnx'") && !text.contains("2 of 4"), "{text}");
    let (code, text) = run(folder, &["in", "-o", "out", "--crf", "99"]);
    assert_eq!((code, text.matches("error:").count()), (1, 1), "{text}");
    assert!(text.contains("0 of 4 videos painted, 4 failed") && !text.contains("3 of 4"), "{text}");

    // A folder that cannot be made, a clip that is damaged, and one that is not told twice.
    std::fs::create_dir(folder.join("blocked")).unwrap();
    std::fs::write(folder.join("blocked/deep"), "no folder").unwrap();
    let a = folder.join("in/a.mp4");
    clip(folder, "in/b.mp4", &["-i", a.to_str().unwrap(), "-c", "copy", "-movflags", "+faststart"]);
    let whole = std::fs::read(folder.join("in/b.mp4")).unwrap();
    std::fs::write(folder.join("in/b.mp4"), &whole[..whole.len() * 7 / 10]).unwrap();
    std::fs::remove_file(folder.join("in/b.ts")).unwrap();
    std::fs::remove_file(folder.join("in/deep/broken.mkv")).unwrap();
    let (code, text) = run(folder, &["in", "in/deep/../a.mp4", "-o", "blocked", "--strength", "0"]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("cannot create the folder 'blocked/deep'"), "{text}");
    assert!(text.contains("2 of 3 videos painted, 1 damaged: 'in/b.mp4', 1 failed: 'in/deep/c.mp4'"), "{text}");
}

#[test]
fn patterns_leave_out_what_is_hidden_and_what_was_painted() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    material(folder);
    std::fs::copy(folder.join("in/a.mp4"), folder.join("in/.impasto-left.mp4")).unwrap();
    let arguments = ["in/**/*.mp4", "-o", "in/painted", "--strength", "0", "--resume"];
    let (code, text) = run(folder, &arguments);
    assert!(code == 0 && text.contains("2 of 2 videos painted"), "{text}");
    let (code, text) = run(folder, &arguments);
    assert!(code == 0 && text.contains("0 of 2 videos painted, 2 passed by"), "{text}");
    // A shell that puts in the names of a folder names that of the outputs as well.
    let listed = ["in/a.mp4", "in/deep/c.mp4", "in/painted", "-o", "in/painted", "--strength", "0", "--resume"];
    let (code, text) = run(folder, &listed);
    assert!(code == 0 && text.contains("of 2 videos painted, 2 passed by"), "{text}");
    assert!(text.contains("'in/painted' is where outputs go: videos in there are passed by"), "{text}");
}

#[cfg(unix)]
#[test]
fn a_clip_that_cannot_be_gone_on_with_is_painted_anew() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::create_dir(folder.join("in")).unwrap();
    let source = "testsrc2=size=320x180:rate=25:duration=6";
    clip(folder, "in/a.gif", &["-f", "lavfi", "-i", source]);
    clip(folder, "in/b.mp4", &["-f", "lavfi", "-i", "testsrc2=size=96x64:rate=10:duration=1", "-pix_fmt", "yuv420p"]);
    let arguments = ["video", "in", "-o", "out", "--style", "wave", "--resume"];
    let has_begun = || {
        let begun = |path: std::path::PathBuf| path.metadata().is_ok_and(|file| file.len() > 50_000);
        folder.join("out").exists() && walk(&folder.join("out")).into_iter().any(begun)
    };
    let output = interrupted_when(folder, &arguments, Signal::INT, has_begun);
    assert_eq!(output.status.code(), Some(130), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(all_files(&folder.join("out")), ["a.gif", "a.gif.state"]);
    let frames = || frame_times(&folder.join("out/a.gif")).len();
    assert!((1..150).contains(&frames()), "{}", frames());
    // A run that comes to nothing makes no whole of it.
    std::fs::create_dir(folder.join("masks")).unwrap();
    clip(folder, "masks/%d.png", &["-f", "lavfi", "-i", source, "-frames:v", "150"]);
    let whole = std::fs::read(folder.join("masks/9.png")).unwrap();
    std::fs::write(folder.join("masks/9.png"), &whole[..whole.len() / 2]).unwrap();
    let (code, text) = run(folder, &["in/a.gif", "-o", "out/", "-y", "--mask", "masks"]);
    assert!(code == 1 && text.contains("cannot read the mask 'masks/9.png'"), "{text}");
    // Nor does one over a note that nobody can read.
    std::fs::write(folder.join("out/a.gif.state"), "0123abcd {\"begin\":{").unwrap();
    let (code, text) = run(folder, &["in/a.gif", "-o", "out/", "-y", "--mask", "masks"]);
    assert!(code == 1 && all_files(&folder.join("out")).contains(&"a.gif.state".to_owned()), "{text}");
    let (code, text) = run(folder, &arguments[1..]);
    assert!(code == 0 && text.contains("2 of 2 videos painted"), "{text}");
    assert_eq!((all_files(&folder.join("out")), frames()), (vec!["a.gif".to_owned(), "b.mp4".to_owned()], 150));
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_the_queue_and_the_same_command_goes_on_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::create_dir(folder.join("in")).unwrap();
    let one = clip(
        folder,
        "in/a.mp4",
        &[
            "-f",
            "lavfi",
            "-i",
            "testsrc2=size=320x180:rate=25",
            "-t",
            "6",
            "-preset",
            "ultrafast",
            "-pix_fmt",
            "yuv420p",
        ],
    );
    for name in ["b.mp4", "c.mp4"] {
        std::fs::copy(&one, folder.join("in").join(name)).unwrap();
    }
    let arguments = ["video", "in", "-o", "out", "--style", "wave", "--resume"];
    let state = folder.join("out/b.mp4.state");
    let has_begun = || state.metadata().is_ok_and(|state| state.len() > 100_000);
    let output = interrupted_when(folder, &arguments, Signal::INT, has_begun);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{text}");
    assert!(text.contains("1 of 3 videos painted"), "{text}");
    assert_eq!(all_files(&folder.join("out")), ["a.mp4", "b.mp4", "b.mp4.state"]);

    let (code, text) = run(folder, &arguments[1..]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("2 of 3: 'in/b.mp4'") && text.contains("going on behind the "), "{text}");
    assert!(text.contains("2 of 3 videos painted, 1 passed by"), "{text}");
    assert_eq!(all_files(&folder.join("out")), ["a.mp4", "b.mp4", "c.mp4"]);
    for name in ["a.mp4", "b.mp4", "c.mp4"] {
        assert_eq!(frame_times(&folder.join("out").join(name)).len(), 150, "{name}");
    }
}
