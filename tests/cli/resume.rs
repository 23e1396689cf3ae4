//! `impasto video --resume`: a run that was interrupted, in whatever way, ends like one that was not.

use std::path::{Path, PathBuf};
use std::process::{Command as Process, Output, Stdio};

use super::{assert_refused, files, impasto, interrupted_when, small_clip};
use crate::common::{Signal, clip, frame_rgb, frame_times, mean_levels, packets, send};

/// A clip with sound that takes some seconds.
fn long_clip(folder: &Path) -> PathBuf {
    let inputs = ["-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25", "-f", "lavfi", "-i", "sine", "-t", "12"];
    clip(folder, "long.mp4", &[&inputs[..], &["-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac"]].concat())
}

fn arguments<'a>(output: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["video", "long.mp4", "-o", output, "--style", "wave"], more].concat()
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    impasto().current_dir(folder).args(arguments).output().unwrap()
}

fn run_to_its_end(folder: &Path, arguments: &[&str]) -> String {
    let output = run(folder, arguments);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{arguments:?}: {text}");
    text
}

/// Starts a run and sends it a signal once its state has so many bytes.
#[cfg(unix)]
fn interrupted(folder: &Path, output: &str, more: &[&str], signal: Signal, bytes: u64) -> Output {
    let state = folder.join(format!("{output}.state"));
    let is_long = || state.metadata().is_ok_and(|state| state.len() > bytes);
    interrupted_when(folder, &arguments(output, more), signal, is_long)
}

/// How many frames the run says that it found.
fn found_frames(text: &str) -> usize {
    let line = text.lines().find_map(|line| line.strip_prefix("going on behind the ")).expect(text);
    line.split(' ').next().unwrap().parse().unwrap()
}

#[cfg(unix)]
#[test]
fn a_run_that_was_killed_goes_on_and_ends_like_one_that_was_not() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    long_clip(folder);
    let bar = "color=black:size=320x180:rate=25:duration=12,format=gray,geq=lum='if(lt(abs(X-N),60),255,0)'";
    clip(folder, "mask.mkv", &["-f", "lavfi", "-i", bar, "-c:v", "ffv1"]);
    let lossless = ["--codec", "ffv1", "--smooth", "0", "--mask", "mask.mkv"];
    run_to_its_end(folder, &arguments("whole.mkv", &lossless));
    let bytes = folder.join("whole.mkv").metadata().unwrap().len();
    interrupted(folder, "out.mkv", &lossless, Signal::KILL, bytes / 4);
    let left = files(folder);
    assert_eq!(left[1..], ["long.mp4", "mask.mkv", "out.mkv.state", "whole.mkv"]);
    assert!(left[0].starts_with(".impasto-"), "{left:?}");

    // Killed again on its way.
    let resume = [&lossless[..], &["--resume"]].concat();
    interrupted(folder, "out.mkv", &resume, Signal::KILL, bytes / 2);
    let text = run_to_its_end(folder, &arguments("out.mkv", &resume));
    assert!((60..299).contains(&found_frames(&text)), "{text}");
    assert_eq!(files(folder), ["long.mp4", "mask.mkv", "out.mkv", "whole.mkv"], "{text}");
    let [whole, out] = ["whole.mkv", "out.mkv"].map(|name| folder.join(name));
    assert_eq!(frame_times(&out), frame_times(&whole));
    assert_eq!(packets(&out, "a"), packets(&whole, "a"));
    let sums = |path: &Path| {
        let mut command = Process::new("ffmpeg");
        command.args(["-nostdin", "-v", "error", "-i"]).arg(path).args(["-map", "0:v", "-f", "framemd5", "-"]);
        command.output().unwrap().stdout
    };
    assert!(sums(&out) == sums(&whole), "pictures differ");
}

#[cfg(unix)]
#[test]
fn what_ctrl_c_left_is_gone_on_with_and_replaced_with_the_smoothing_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    long_clip(folder);
    let fine = ["--crf", "6"];
    let output = interrupted(folder, "out.mp4", &fine, Signal::INT, 1_500_000);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{text}");
    assert!(text.contains("'out.mp4.state' is for --resume to go on from there"), "{text}");
    let out = folder.join("out.mp4");
    let done = frame_times(&out).len();
    assert!((1..300).contains(&done), "{done}");

    // Damage hides what stands behind it, that the output is the run's own among that.
    let state = folder.join("out.mp4.state");
    let kept = std::fs::read(&state).unwrap();
    let mut flipped = kept.clone();
    flipped[kept.len() / 2] ^= 1;
    std::fs::write(&state, flipped).unwrap();
    let resume = arguments("out.mp4", &["--resume", "--crf", "6"]);
    assert_refused(folder, &resume, 1, "'out.mp4.state' is damaged behind its first ");
    std::fs::write(&state, kept).unwrap();

    // Nothing happens to it by the way, nor for another painting.
    let short = |more: &[&'static str]| arguments("out.mp4", &[more, &fine].concat());
    assert_refused(folder, &short(&[]), 1, "'out.mp4.state' is what an interrupted run left (expected --resume");
    for (more, expected) in [
        (["--smooth", "0.1"], "--smooth was 0.2 and is 0.1"),
        (["--preset", "slow"], "--preset was not set and is slow"),
        (["--frames", "299"], "--frames was not set and is 299"),
        (["--style", "the-scream"], "--style was wave and is the-scream"),
        (["--mask", "long.mp4"], "--mask was not set and is "),
        (["--pixel-format", "yuv444p"], "--pixel-format was not set and is yuv444p"),
    ] {
        let mut arguments = short(&["--resume"]);
        match more {
            ["--style", style] => arguments[5] = style,
            _ => arguments.extend(more),
        }
        assert_refused(folder, &arguments, 1, expected);
    }
    std::fs::copy(folder.join("long.mp4"), folder.join("copy.mp4")).unwrap();
    let mut arguments_of_copy = short(&["--resume"]);
    arguments_of_copy[1] = "copy.mp4";
    let before = std::fs::read(&out).unwrap();
    std::fs::write(&out, "something else").unwrap();
    assert_refused(folder, &arguments_of_copy, 1, "'out.mp4' exists already");
    std::fs::write(&out, before).unwrap();

    // The clip is known by its content.
    let text = run_to_its_end(folder, &[&arguments_of_copy[..], &["--stats"]].concat());
    assert!((1..=done).contains(&found_frames(&text)), "{text}");
    let done = found_frames(&text);
    assert_eq!(files(folder), ["copy.mp4", "long.mp4", "out.mp4"]);
    run_to_its_end(folder, &arguments("whole.mp4", &fine));
    let whole = folder.join("whole.mp4");
    assert_eq!(frame_times(&out), frame_times(&whole));
    assert_eq!(packets(&out, "a"), packets(&whole, "a"));
    for frame in [done - 1, done, done + 1] {
        let [of_one, of_two] = [&whole, &out].map(|path| frame_rgb(path, frame.min(299)).2);
        let difference = mean_levels(&of_one, &of_two);
        assert!(difference < 2.0, "frame {frame} behind {done} differs by {difference} levels");
    }
}

/// What a run says that meets the end of its disk: a limit on the size of files, in KiB.
fn run_on_full_disk(folder: &Path, kilobytes: u32, arguments: &[&str]) -> String {
    let script = format!("ulimit -f {kilobytes}; exec \"$@\"");
    let mut command = Process::new("bash");
    command.current_dir(folder).args(["-c", &script, "bash"]).arg(assert_cmd::cargo::cargo_bin("impasto"));
    let output = command.args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("too large"), "{text}");
    text
}

#[cfg(unix)]
#[test]
fn a_full_disk_keeps_what_is_painted() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    long_clip(folder);
    let text = run_on_full_disk(folder, 800, &arguments("out.mkv", &[]));
    assert!(text.contains("'out.mkv'"), "{text}");
    assert!(text.contains("frames are kept in 'out.mkv.state' (--resume goes on from there)"), "{text}");
    assert_eq!(files(folder), ["long.mp4", "out.mkv.state"]);
    let text = run_to_its_end(folder, &arguments("out.mkv", &["--resume"]));
    assert!(found_frames(&text) > 1, "{text}");
    assert_eq!(frame_times(&folder.join("out.mkv")).len(), 300);
    assert_eq!(files(folder), ["long.mp4", "out.mkv"]);

    // All is painted, and the sound that follows finds no room.
    let inputs =
        ["-f", "lavfi", "-i", "testsrc2=size=160x90:rate=25:duration=1", "-f", "lavfi", "-i", "sine=duration=20"];
    clip(folder, "long.mkv", &[&inputs[..], &["-c:v", "libx264", "-c:a", "pcm_s16le"]].concat());
    let sound = |more: &[&'static str]| {
        [&["video", "long.mkv", "-o", "sound.mkv", "--style", "wave", "--codec", "mpeg4"], more].concat()
    };
    let text = run_on_full_disk(folder, 1000, &sound(&[]));
    assert!(text.contains("25 frames are kept"), "{text}");
    assert_eq!(found_frames(&run_to_its_end(folder, &sound(&["--resume"]))), 25);
    assert_eq!(frame_times(&folder.join("sound.mkv")).len(), 25);
    assert_eq!(packets(&folder.join("sound.mkv"), "a"), packets(&folder.join("long.mkv"), "a"));
}

#[cfg(unix)]
#[test]
fn a_network_that_is_described_otherwise_is_another_one() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    long_clip(folder);
    std::fs::copy(super::fixture("identity.onnx"), folder.join("n.onnx")).unwrap();
    std::fs::write(folder.join("n.toml"), "channels = \"RGB\"\n").unwrap();
    let with = |more: &[&'static str]| [&["video", "long.mp4", "-o", "o.mkv", "--style", "n.onnx"], more].concat();
    run_on_full_disk(folder, 400, &with(&[]));
    std::fs::write(folder.join("n.toml"), "channels = \"BGR\"\n").unwrap();
    assert_refused(folder, &with(&["--resume"]), 1, "is of another run: what is known of the network was");
    std::fs::write(folder.join("n.toml"), "channels = \"RGB\"\n").unwrap();
    assert!(found_frames(&run_to_its_end(folder, &with(&["--resume"]))) > 1);
}

#[cfg(unix)]
#[test]
fn a_network_that_calculates_less_exactly_is_another_one() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    long_clip(folder);
    run_on_full_disk(folder, 400, &arguments("o.mkv", &["--device", "cpu"]));
    let with = |precision| arguments("o.mkv", &["--device", "cpu", "--resume", "--precision", precision]);
    // What `auto` takes here it does not take everywhere.
    let has_integer_products = impasto::runtime::has_integer_products();
    let (own, other) = if has_integer_products { ("int8", "fp32") } else { ("fp32", "int8") };
    let expected = format!("is of another run: --precision was {own} and is {other}");
    assert_refused(folder, &with(other), 1, &expected);
    assert!(found_frames(&run_to_its_end(folder, &with(own))) > 1);
}

#[cfg(unix)]
#[test]
fn ctrl_c_on_the_way_back_leaves_what_is_there_in_a_file_that_plays_and_two_runs_do_not_meet() {
    use std::io::{BufRead as _, BufReader};

    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    long_clip(folder);
    interrupted(folder, "out.mp4", &[], Signal::KILL, 800_000);
    let resume = arguments("out.mp4", &["--resume"]);
    let mut child = Process::new(assert_cmd::cargo::cargo_bin("impasto"))
        .current_dir(folder)
        .args(&resume)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    let mut messages = BufReader::new(child.stderr.take().unwrap());
    while !said.contains("going on behind the") {
        assert_ne!(messages.read_line(&mut said).unwrap(), 0, "{said}");
    }
    send(Signal::STOP, &child);
    for more in [&["--resume"][..], &["-y"], &[]] {
        let output = run(folder, &arguments("out.mp4", more));
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && text.contains("another run is writing it"), "{text}");
        assert!(!text.contains("delete it") && !text.contains("interrupted run"), "{text}");
    }
    send(Signal::CONT, &child);
    send(Signal::INT, &child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let frames = frame_times(&folder.join("out.mp4")).len();
    assert!(frames >= found_frames(&said), "{frames} of {said}");
    run_to_its_end(folder, &resume);
    assert_eq!(frame_times(&folder.join("out.mp4")).len(), 300);
    assert_eq!(files(folder), ["long.mp4", "out.mp4"]);
}

#[test]
fn without_something_to_go_on_with_a_run_begins_and_what_is_no_state_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    small_clip(folder);
    let with = |more: &[&'static str]| [&["video", "in.mp4", "--style", "wave"], more].concat();
    assert_refused(folder, &with(&["-o", "a.gif", "--resume"]), 2, "'a.gif' can only be written in one go");
    assert_refused(folder, &with(&["-o", "a.y4m", "--mute", "--resume"]), 2, "'a.y4m' can only be written in one go");
    assert_refused(folder, &with(&["-o", "a.mp4", "--resume", "--debug-view", "b.mp4"]), 2, "--debug-view");
    let text = run_to_its_end(folder, &with(&["-o", "a.mp4", "--resume"]));
    assert!(!text.contains("going on"), "{text}");
    assert_eq!(files(folder), ["a.mp4", "in.mp4"]);
    assert_refused(folder, &with(&["-o", "a.mp4", "--resume"]), 1, "'a.mp4' exists already");

    let state = folder.join("b.mp4.state");
    for damaged in ["", "0123abcd {\"begin\":{\"impasto_video_state\":99"] {
        std::fs::write(&state, damaged).unwrap();
        assert_refused(folder, &with(&["-o", "b.mp4", "--resume"]), 1, "'b.mp4.state': it is no state of a video");
        assert_refused(
            folder,
            &with(&["-o", "b.mp4"]),
            1,
            "'b.mp4.state' is what an interrupted run left (expected -y to begin anew)",
        );
        run_to_its_end(folder, &with(&["-o", "b.mp4", "-y"]));
        assert_eq!(files(folder), ["a.mp4", "b.mp4", "in.mp4"]);
    }
    // What never was a state is not replaced, and nothing is said of runs that were interrupted.
    std::fs::write(&state, "0123abcd of somebody").unwrap();
    for more in [&[][..], &["-y"], &["--resume"]] {
        let arguments = with(&[&["-o", "c.mp4"][..], more].concat());
        std::fs::rename(&state, folder.join("c.mp4.state")).unwrap();
        assert_refused(folder, &arguments, 1, "'c.mp4.state'");
        std::fs::rename(folder.join("c.mp4.state"), &state).unwrap();
        assert_eq!(std::fs::read_to_string(&state).unwrap(), "0123abcd of somebody");
    }
    std::fs::write(&state, "").unwrap();
    run_to_its_end(folder, &with(&["-o", "b.mp4", "-y", "--debug-view", "d.mp4"]));
    assert_eq!(files(folder), ["a.mp4", "b.mp4", "d.mp4", "in.mp4"]);

    // A run whose state would have too long a name is none that cannot be done.
    let name = format!("{}.mp4", "n".repeat(250));
    let text = run_to_its_end(folder, &["video", "in.mp4", "--style", "wave", "-o", &name]);
    assert!(text.contains("this run cannot be resumed"), "{text}");
}
