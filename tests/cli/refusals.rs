//! What is wrong with arguments and files, and what is said of it.

use std::process::Command as Process;

use predicates::prelude::*;
use predicates::str::contains;

use super::{assert_refused, files, fixture, impasto, small_clip};
use crate::common::{clip, frame_times};

const PAINTING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/samples/shipwreck.jpg");

#[test]
fn wrong_arguments_are_usage_errors_that_say_what_was_expected() {
    let folder = tempfile::tempdir().unwrap();
    small_clip(folder.path());
    let cases: [(&[&str], &str); 32] = [
        (&["video", "in.mp4"], "--output"),
        (&["video", "in.mp4", "-o", "out.mp4", "--strength", "2"], "from 0 to 1"),
        (&["video", "in.mp4", "-o", "out.mp4", "--work-size", "3"], "whole number from 16 to 8192"),
        (&["video", "in.mp4", "-o", "out.mp4", "--work-size", "1080x720"], "whole number from 16 to 8192"),
        (&["video", "in.mp4", "-o", "out.mp4", "--threads", "abc"], "whole number from 1 to 1024"),
        (&["video", "in.mp4", "-o", "out.mp4", "--strength", "-1"], "from 0 to 1"),
        (&["video", "in.mp4", "-o", "out.mp4", "--smooth", "-1"], "from 0 to 60"),
        (&["video", "in.mp4", "-o", "out.mp4", "--crf", "-5"], "from 0 to 255"),
        (&["video", "in.mp4", "-o", "out.mp4", "--frames", "-1"], "whole number from 1 on"),
        (&["image", "in.png", "-o", "out.jpg", "--quality", "abc"], "whole number from 1 to 100"),
        (&["paint", "in.png", "-s", "wave", "-o", "out.jpg", "--size", "abc"], "whole number from 32 to 8192"),
        (&["paint", "in.png", "-s", "wave", "-o", "out.jpg", "--seed", "-1"], "whole number from 0 on"),
        (&["measure", "in.mp4", "in.mp4", "--style", "wave", "--loss-every", "0"], "whole number from 1 on"),
        (&["styles", "sheet", "in.mp4", "-o", "out.png", "--work-size", "-1"], "whole number from 16 to 8192"),
        (&["video", "in.mp4", "-o", "out.mp4", "--device", "gpu"], "did you mean 'auto' or 'cuda'"),
        (&["video", "in.mp4", "-o", "out.mp4", "--style", PAINTING], "makes it a style"),
        (
            &["video", "in.mp4", "-o", "out.mp4", "--style-image", "a.jpg"],
            "leave out --style-image; a painting: `impasto learn",
        ),
        (&["styles", "show", PAINTING], "is a picture and no style"),
        (&["video", "in.mp4", "-o", "out.mp4", "--debug-view", "./out.mp4"], "is the input or the output"),
        (&["video", "in.mp4", "-o", "out.txt"], "expected .mp4"),
        (&["video", "in.mp4", "-o", "out.m3u8"], "expected .mp4"),
        (&["video", "in.mp4", "-o", "out.mp3"], "cannot hold video"),
        (&["video", "in.mp4", "-o", "out.mp4", "--codec", "none"], "is no video encoder of this FFmpeg"),
        (&["video", "in.mp4", "-o", "out.mp4", "--start", "soon"], "1:30"),
        (&["video", "in.mp4", "-o", "out.mp4", "--start", "2", "--end", "1"], "not after"),
        (&["video", "in.mp4", "-o", "out.mp4", "--frames", "0"], "whole number from 1 on"),
        (&["video", "in.mp4", "-o", "out.mp4", "--encoder-option", "tune"], "KEY=VALUE"),
        (&["video", "in.mp4", "-o", "out.mp4", "--style", "gret-wave"], "did you mean 'great-wave'"),
        (&["video", "in.mp4", "-o", "out.mp4", "--style", "wave:x"], "weight 'x'"),
        (&["video", "in.mp4", "-o", "out.mp4", "--style", "wave:0,scream:0"], "sum to 0"),
        (&["video", "in.mp4", "-o", "out.mp4", "--style", "wave,,scream"], "empty part"),
        (&["bench", "--size", "big"], "640x360"),
    ];
    for (arguments, expected) in cases {
        assert_refused(folder.path(), arguments, 2, expected);
    }
}

#[test]
fn files_that_cannot_be_used_are_named_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let input = small_clip(folder.path());
    let write = |name: &str, content: &[u8]| std::fs::write(folder.path().join(name), content).unwrap();
    write("empty.mp4", b"");
    write("text.mp4", &b"this is no video\n".repeat(50));
    write("broken.onnx", b"this is no network");
    write("empty.onnx", b"");
    write("exists.mp4", b"precious");
    std::fs::create_dir(folder.path().join("folder")).unwrap();
    let sound = ["-i", input.to_str().unwrap(), "-vn", "-c:a", "copy"];
    clip(folder.path(), "sound.m4a", &sound);
    let pcm = ["-i", input.to_str().unwrap(), "-c:v", "copy", "-c:a", "pcm_s16le", "-ar", "48000"];
    clip(folder.path(), "pcm.mov", &pcm);
    let no_index = std::fs::read(&input).unwrap();
    write("cut.mp4", &no_index[..no_index.len() / 2]);

    let out = ["-o", "out.mp4"];
    let cases: [(&[&str], &str); 18] = [
        (&["missing.mp4", "-o", "out.mp4"], "'missing.mp4': No such file"),
        (&["folder", "-o", "out.mp4"], "the folder 'folder' holds no videos"),
        (&["empty.mp4", "-o", "out.mp4"], "'empty.mp4' is empty"),
        (&["text.mp4", "-o", "out.mp4"], "'text.mp4' is not a video"),
        (&["cut.mp4", "-o", "out.mp4"], "cut off"),
        (&["sound.m4a", "-o", "out.mp4"], "'sound.m4a' holds no video stream"),
        (&["in.mp4", "-o", "in.mp4"], "is the input"),
        (&["in.mp4", "-o", "in.mp4", "-y"], "is the input"),
        (&["in.mp4", "-o", "exists.mp4"], "-y to replace it"),
        (&["in.mp4", "-o", "nowhere/out.mp4"], "'nowhere/out.mp4'"),
        (&["in.mp4", "-o", "out.webm", "--codec", "h264"], "--codec"),
        (&["pcm.mov", "-o", "out.flv"], "pcm_s16le): Function not implemented (choose another extension"),
        (&["in.mp4", "-o", "/dev/null", "-y"], "'/dev/null'"),
        (&["in.mp4", "-o", "out.mp4", "--crf", "60"], "encoder 'libx264' (expected 0 to 51)"),
        (
            &["in.mp4", "-o", "out.mp4", "--preset", "quick"],
            "encoder 'libx264' has no preset 'quick' (expected ultrafast, ",
        ),
        (&["in.mp4", "-o", "out.mp4", "--style", "missing.onnx"], "missing.onnx"),
        (&["in.mp4", "-o", "out.mp4", "--style", "broken.onnx"], "broken.onnx"),
        (&["in.mp4", "-o", "out.mp4", "--style", "empty.onnx"], "empty.onnx"),
    ];
    for (arguments, expected) in cases {
        let mut all = vec!["video"];
        all.extend_from_slice(arguments);
        assert_refused(folder.path(), &all, 1, expected);
    }
    let classifier = fixture("classifier.onnx");
    assert_refused(folder.path(), &["video", "in.mp4", out[0], out[1], "--style", &classifier], 1, "classifier.onnx");
    assert_eq!(std::fs::read(folder.path().join("exists.mp4")).unwrap(), b"precious");
}

#[cfg(unix)]
#[test]
fn files_and_folders_without_permission_are_named() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let input = small_clip(folder.path());
    let secret = folder.path().join("secret.mp4");
    std::fs::copy(&input, &secret).unwrap();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o000)).unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o555)).unwrap();
    let before = files(folder.path());
    for (input, output, expected) in [
        ("secret.mp4", "out.mp4", "'secret.mp4': Permission denied"),
        ("in.mp4", "out.mp4", "'out.mp4': Permission denied"),
    ] {
        // Permissions do not count for root, unless what makes it so is taken away.
        let mut command = if is_root() {
            let mut command = Process::new("setpriv");
            command.arg("--bounding-set=-dac_override,-dac_read_search").arg(assert_cmd::cargo::cargo_bin("impasto"));
            command
        } else {
            Process::new(assert_cmd::cargo::cargo_bin("impasto"))
        };
        let run = command.current_dir(&folder).args(["video", input, "-o", output]).output().unwrap();
        let text = String::from_utf8_lossy(&run.stderr);
        assert_eq!(run.status.code(), Some(1), "{text}");
        assert!(text.contains(expected), "{text}");
    }
    assert_eq!(files(folder.path()), before);
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[cfg(unix)]
fn is_root() -> bool {
    Process::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n")
}

#[test]
fn an_output_that_outgrows_its_disk_is_an_error_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    small_clip(folder.path());
    let before = files(folder.path());
    // A limit on the size of files stands in for a full disk: the write fails in the same place.
    let script = format!(
        "ulimit -f 8; exec '{}' video in.mp4 -o out.mkv --crf 1 --style wave",
        assert_cmd::cargo::cargo_bin("impasto").display()
    );
    let output = Process::new("bash").current_dir(&folder).args(["-c", &script]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("'out.mkv'") && text.contains("too large"), "{text}");
    assert_eq!(files(folder.path()), before);
}

#[test]
fn a_damaged_clip_is_stylized_as_far_as_it_goes_and_reported() {
    let folder = tempfile::tempdir().unwrap();
    let whole = clip(
        folder.path(),
        "whole.mp4",
        &[
            "-f",
            "lavfi",
            "-i",
            "testsrc2=size=96x64:rate=25",
            "-t",
            "1",
            "-c:v",
            "libx264",
            "-bf",
            "0",
            "-movflags",
            "+faststart",
        ],
    );
    let bytes = std::fs::read(&whole).unwrap();
    std::fs::write(folder.path().join("cut.mp4"), &bytes[..bytes.len() * 7 / 10]).unwrap();
    let arguments = ["video", "cut.mp4", "-o", "out.mp4", "--style", "wave"];
    impasto()
        .current_dir(&folder)
        .args(arguments)
        .assert()
        .code(1)
        .stderr(contains("damaged").and(contains("missing at the end")));
    let frames = frame_times(&folder.path().join("out.mp4")).len();
    assert!((5..25).contains(&frames), "{frames}");
    let mut arguments = arguments.to_vec();
    arguments.extend(["-y", "--keep-going"]);
    impasto()
        .current_dir(&folder)
        .args(arguments)
        .assert()
        .success()
        .stderr(contains("warning").and(contains("missing")));
}

#[test]
fn without_onnx_runtime_it_says_how_to_get_it() {
    let folder = tempfile::tempdir().unwrap();
    small_clip(folder.path());
    std::fs::write(folder.path().join("fake.so"), "no library").unwrap();
    for (path, expected) in [("/nowhere/libonnxruntime.so", "ORT_DYLIB_PATH"), ("fake.so", "fake.so")] {
        impasto()
            .current_dir(&folder)
            .env("ORT_DYLIB_PATH", path)
            .args(["video", "in.mp4", "-o", "out.mp4"])
            .assert()
            .code(1)
            .stderr(contains(expected).and(contains("panicked").not()));
    }
    assert_eq!(files(folder.path()), ["fake.so", "in.mp4"]);
}
