//! `impasto pipe` between real programs: every layout, the lines of the README, and streams that go wrong.
#![cfg(unix)]
#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)] // A test that panics fails: as it should.

mod common;

use std::path::Path;
use std::process::{Command, Output, Stdio};

use common::{clip, ffmpeg, frame_rgb, frame_times, mean_difference, stream};

fn fixture(name: &str) -> String {
    format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// Runs a line as a person would type it, with `impasto` among the programs; the exit code is the first that is not 0.
fn shell(folder: &Path, line: &str) -> Output {
    let binary = assert_cmd::cargo::cargo_bin("impasto");
    let path = std::env::var("PATH").unwrap_or_default();
    Command::new("bash")
        .args(["-c", &format!("set -o pipefail; {line}")])
        .current_dir(folder)
        .env("PATH", format!("{}:{path}", binary.parent().unwrap().display()))
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// `impasto pipe` with a network that changes nothing.
fn identity(more: &str) -> String {
    format!("impasto pipe -q --smooth 0 --style {} {more}", fixture("identity.onnx"))
}

const PICTURES: &str = "testsrc2=size=66x50:rate=25,gblur=1";
/// Without fine colour, which every program guesses differently from 4:2:0.
const SMOOTH_PICTURES: &str = "testsrc2=size=66x50:rate=25,format=rgb24,gblur=8";

fn mean_of(bytes: &[u8], other: &[u8]) -> f64 {
    assert_eq!(bytes.len(), other.len());
    bytes.iter().zip(other).map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>() / bytes.len() as f64
}

fn until_newline(bytes: &[u8]) -> (&[u8], &[u8]) {
    bytes.split_at(bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1)
}

#[test]
fn every_layout_of_y4m_keeps_its_header_and_its_colours() {
    let folder = tempfile::tempdir().unwrap();
    let formats = [
        ("yuv420p", "", "C420mpeg2"),
        ("yuv420p", "", "C420jpeg"),
        ("yuv420p", "", "C420paldv"),
        ("yuvj420p", "", "XCOLORRANGE=FULL"),
        ("yuv422p", "", "C422"),
        ("yuv444p", "", "C444"),
        ("gray", "", "Cmono"),
        ("yuv420p10le", "-strict -1", "C420p10"),
        ("yuv422p10le", "-strict -1", "C422p10"),
        ("yuv444p10le", "-strict -1", "C444p10"),
        ("gray10le", "-strict -1", "Cmono10"),
    ];
    for (format, more, expected) in formats {
        let source = format!("-f lavfi -i {PICTURES},setsar=12/11 -frames:v 3 -pix_fmt {format} {more}");
        let made = shell(folder.path(), &format!("ffmpeg -v error -y {source} -f yuv4mpegpipe in.y4m"));
        assert!(made.status.success(), "{format}: {}", text(&made));
        let mut before = std::fs::read(folder.path().join("in.y4m")).unwrap();
        let mut header = String::from_utf8(until_newline(&before).0.to_vec()).unwrap();
        if format == "yuv420p" {
            // Where the chroma lies, FFmpeg takes from an option or from the frames, as its version goes.
            header = header
                .split(' ')
                .map(|tag| if tag.starts_with("C420") { expected } else { tag })
                .collect::<Vec<_>>()
                .join(" ");
            before = [header.as_bytes(), until_newline(&before).1].concat();
            std::fs::write(folder.path().join("in.y4m"), &before).unwrap();
        }
        assert!(header.contains(expected) && header.contains("A12:11"), "{header}");
        let output = shell(folder.path(), &format!("{} < in.y4m > out.y4m", identity("")));
        assert!(output.status.success(), "{format}: {}", text(&output));
        let after = std::fs::read(folder.path().join("out.y4m")).unwrap();
        assert_eq!(header.as_bytes(), until_newline(&after).0, "{format}");
        if format.ends_with("10le") {
            let samples = |bytes: &[u8]| -> Vec<u16> {
                let bytes = until_newline(until_newline(bytes).1).1;
                bytes.chunks_exact(2).take(66 * 50).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect()
            };
            let differences = samples(&before).into_iter().zip(samples(&after)).map(|(a, b)| f64::from(a.abs_diff(b)));
            let mean = differences.sum::<f64>() / (66.0 * 50.0);
            assert!(mean <= 3.0, "{format}: {mean} of 1023");
        } else {
            let mean = mean_of(&before, &after);
            assert!(mean <= 1.0, "{format}: {mean}");
        }
    }
}

#[test]
fn raw_video_of_every_layout_comes_back_in_it_or_in_another() {
    let folder = tempfile::tempdir().unwrap();
    for layout in ["rgb24", "bgr24", "yuv420p", "nv12"] {
        let source =
            format!("ffmpeg -v error -y -f lavfi -i {SMOOTH_PICTURES} -frames:v 4 -f rawvideo -pix_fmt {layout}");
        let raw = identity(&format!("--raw {layout} --size 66x50 --rate 30000/1001"));
        let line =
            format!("{source} in.raw && {raw} < in.raw > out.raw && {raw} --output-format y4m < in.raw > out.y4m");
        let output = shell(folder.path(), &line);
        assert!(output.status.success(), "{layout}: {}", text(&output));
        let [before, after] = ["in.raw", "out.raw"].map(|name| std::fs::read(folder.path().join(name)).unwrap());
        let mean = mean_of(&before, &after);
        assert!(mean <= 1.0, "{layout}: {mean}");
        let y4m = folder.path().join("out.y4m");
        assert_eq!(stream(&y4m, "video")["avg_frame_rate"], "30000/1001");
        assert_eq!(frame_times(&y4m).len(), 4);

        // FFmpeg takes the y4m for the same picture; its own way to YCbCr is not exact.
        let back = identity("--output-format rgb24");
        let expected =
            format!("ffmpeg -v error -y -f lavfi -i {SMOOTH_PICTURES} -frames:v 4 -f rawvideo -pix_fmt rgb24 want.raw");
        assert!(shell(folder.path(), &format!("{expected} && {back} < out.y4m > back.raw")).status.success());
        let [want, back] = ["want.raw", "back.raw"].map(|name| std::fs::read(folder.path().join(name)).unwrap());
        let difference = mean_difference(&want, &back);
        assert!(difference.iter().all(|levels| *levels <= 3.5), "{layout}: {difference:?}");
        let seen = frame_rgb(&y4m, 3).2;
        let difference = mean_difference(&want[want.len() - seen.len()..], &seen);
        assert!(difference.iter().all(|levels| *levels <= 3.5), "{layout}: {difference:?}");
    }
}

#[test]
fn the_matrix_is_asked_for_or_guessed_from_the_size() {
    let folder = tempfile::tempdir().unwrap();
    // One picture of pure colours in each matrix; RGB out tells which one was taken.
    let red = |matrix: &str, size: &str, more: &str| {
        let filters =
            format!("color=red:size={size},format=rgb24,scale=out_color_matrix={matrix}:out_range=tv,format=yuv444p");
        let run = identity(&format!("--output-format rgb24 {more}"));
        let line = format!("ffmpeg -v error -f lavfi -i {filters} -frames:v 1 -f yuv4mpegpipe - | {run}");
        let output = shell(folder.path(), &line);
        assert!(output.status.success(), "{}", text(&output));
        output.stdout[..3].to_vec()
    };
    let is_red = |pixel: Vec<u8>| pixel[0] >= 252 && pixel[1] <= 3 && pixel[2] <= 3;
    assert!(is_red(red("bt601", "64x48", "")));
    assert!(is_red(red("bt709", "1280x16", "")));
    assert!(is_red(red("bt709", "64x48", "--matrix bt709")));
    assert!(is_red(red("bt2020", "64x48", "--matrix bt2020")));
    assert!(!is_red(red("bt709", "64x48", "")));
}

#[test]
fn interlaced_video_is_deinterlaced_and_said_so() {
    let folder = tempfile::tempdir().unwrap();
    let line = format!(
        "ffmpeg -v error -f lavfi -i {PICTURES},interlace -frames:v 6 -pix_fmt yuv420p -flags +ilme+ildct \
         -f yuv4mpegpipe - | sed '1s/ I[a-z?] / It /' | impasto pipe --style {} > out.y4m",
        fixture("identity.onnx")
    );
    let output = shell(folder.path(), &line);
    assert!(output.status.success(), "{}", text(&output));
    assert!(text(&output).contains("note: interlaced: deinterlaced"), "{}", text(&output));
    let out = std::fs::read(folder.path().join("out.y4m")).unwrap();
    assert!(String::from_utf8_lossy(until_newline(&out).0).contains(" Ip "));
    assert_eq!(frame_times(&folder.path().join("out.y4m")).len(), 6);
}

#[test]
fn the_lines_of_the_readme_run() {
    let folder = tempfile::tempdir().unwrap();
    let pictures = ["-f", "lavfi", "-i", "testsrc2=size=96x64:rate=25", "-f", "lavfi", "-i", "sine=frequency=440"];
    let arguments = [&pictures[..], &["-t", "0.4", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-c:a", "aac"]].concat();
    for name in ["in.mp4", "in.mov"] {
        clip(folder.path(), name, &arguments);
    }
    clip(folder.path(), "f_%05d.png", &[&pictures[..4], &["-frames:v", "10"]].concat());
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let section = readme.split("## `impasto pipe`").nth(1).unwrap().split("\n## ").next().unwrap();
    let block = section.split("```sh\n").nth(1).unwrap().split("```").next().unwrap().replace("\\\n", " ");
    let lines: Vec<&str> = block.lines().filter(|line| line.contains("impasto pipe")).collect();
    assert!(lines.len() >= 3, "{block}");
    for line in lines {
        let line = &line.replace("--size 1280x720", "--size 96x64");
        let output = shell(folder.path(), line);
        assert!(output.status.success(), "{line}: {}", text(&output));
        assert!(!text(&output).contains("rror"), "{line}: {}", text(&output));
        let written = folder.path().join(line.split_whitespace().last().unwrap());
        assert_eq!(frame_times(&written).len(), 10, "{line}");
        let difference = mean_difference(&frame_rgb(&folder.path().join("in.mp4"), 5).2, &frame_rgb(&written, 5).2);
        assert!(difference.iter().sum::<f64>() > 10.0, "the style shows: {line}: {difference:?}");
        std::fs::remove_file(written).unwrap();
    }
}

#[test]
fn a_stream_that_goes_wrong_is_one_error_that_says_where() {
    let folder = tempfile::tempdir().unwrap();
    ffmpeg(&[
        "-f",
        "lavfi",
        "-i",
        PICTURES,
        "-frames:v",
        "5",
        "-pix_fmt",
        "yuv420p",
        "-f",
        "yuv4mpegpipe",
        folder.path().join("in.y4m").to_str().unwrap(),
    ]);
    let run = identity("");
    let cases = [
        (format!("head -c 20000 in.y4m | {run}"), 1, "inside frame 4"),
        (format!("printf '' | {run}"), 1, "the stream is empty"),
        (format!("printf 'RIFFxxxx' | {run}"), 1, "-f yuv4mpegpipe"),
        (format!("printf 'YUV4MPEG2 W65535 H65535 F25:1\\nFRAME\\n' | {run}"), 1, "too large"),
        (format!("printf 'YUV4MPEG2 W64 H64 C411\\n' | {run}"), 1, "'411'"),
        (format!("head -c 1000 /dev/zero | {run} --raw rgb24 --size 8x8 --rate 25"), 1, "inside frame 5"),
        (format!("head -c 1000 /dev/zero | {run} --raw rgb24 --size 8x8 --rate 25"), 1, "is --size 8x8 that of"),
        (format!("{run} --raw rgb24 --size 8x8 --rate 25 < /dev/null"), 1, "the stream is empty"),
        (format!("{run} --raw rgb24 < in.y4m"), 2, "--size"),
        (format!("{run} --size 8x8 < in.y4m"), 2, "--raw"),
        (format!("{run} --raw rgb25 --size 8x8 --rate 25 < in.y4m"), 2, "nv12"),
        (format!("{run} --raw rgb24 --size 8x8 --rate 0 < in.y4m"), 2, "30000/1001"),
        ("impasto pipe -s gret-wave < in.y4m".to_owned(), 2, "great-wave"),
        (format!("{run} < in.y4m > /dev/full"), 1, "cannot write the output"),
    ];
    for (line, code, expected) in cases {
        let output = shell(folder.path(), &format!("{line} | cat > /dev/null; exit ${{PIPESTATUS[-2]}}"));
        let text = text(&output);
        assert!(text.contains(expected), "{line}: {text}");
        assert!(!text.contains("panicked"), "{line}: {text}");
        assert_eq!(text.lines().filter(|line| line.starts_with("error:")).count(), 1, "{line}: {text}");
        assert_eq!(output.status.code(), Some(code), "{line}: {text}");
    }
}

#[test]
fn an_output_that_fails_is_told_while_the_input_is_silent() {
    let folder = tempfile::tempdir().unwrap();
    // More than a pipe holds: whoever writes it finds out that the reader has left, however late that does.
    let source = "ffmpeg -v quiet -f lavfi -i testsrc2=size=320x240:duration=1 -pix_fmt yuv420p -f yuv4mpegpipe -";
    // The input stays open until the program has ended.
    let line = format!(
        "mkfifo in; timeout -k 5 60 {} < in > /dev/full & exec 3> in; {source} >&3; wait $!; echo $?",
        identity("")
    );
    let output = shell(folder.path(), &line);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "1\n", "{}", text(&output));
    assert!(text(&output).contains("cannot write the output"), "{}", text(&output));
    // So is a reader that has left.
    let line = format!(
        "mkfifo left; (timeout -k 5 60 {}; echo $? > code) < left | head -c 100 > /dev/null & exec 3> left; {source} >&3; wait; cat code",
        identity("")
    );
    let output = shell(folder.path(), &line);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "0\n", "{}", text(&output));
    // And a stage in the middle that fails: by a mask of which half of a picture is missing.
    let masks = folder.path().join("masks");
    std::fs::create_dir(&masks).unwrap();
    clip(&masks, "%d.png", &["-f", "lavfi", "-i", "testsrc2=size=320x240", "-frames:v", "25"]);
    let whole = std::fs::read(masks.join("4.png")).unwrap();
    std::fs::write(masks.join("4.png"), &whole[..whole.len() / 2]).unwrap();
    let pipe = identity("--mask masks");
    let line = format!(
        "mkfifo again; timeout -k 5 60 {pipe} < again > /dev/null & exec 3> again; {source} >&3; wait $!; echo $?"
    );
    let output = shell(folder.path(), &line);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "1\n", "{}", text(&output));
    assert!(text(&output).contains("cannot read the mask 'masks/4.png'"), "{}", text(&output));
    assert_eq!(text(&output).matches("error:").count(), 1, "{}", text(&output));
}

#[test]
fn a_damaged_mask_is_told_and_ends_with_1() {
    let folder = tempfile::tempdir().unwrap();
    let source = ["-f", "lavfi", "-i", "testsrc2=size=64x48:rate=25", "-frames:v", "10"];
    let intra = ["-c:v", "libx264", "-qp", "0", "-g", "1", "-bf", "0", "-movflags", "+faststart"];
    let whole = std::fs::read(clip(folder.path(), "whole.mp4", &[&source[..], &intra[..]].concat())).unwrap();
    std::fs::write(folder.path().join("cut.mp4"), &whole[..whole.len() * 8 / 10]).unwrap();
    for (mask, code) in [("whole.mp4", "0"), ("cut.mp4", "1")] {
        let pictures =
            "ffmpeg -v quiet -f lavfi -i testsrc2=size=64x48 -frames:v 10 -f yuv4mpegpipe -pix_fmt yuv420p -";
        let line = format!("{pictures} | {} > out.y4m; echo ${{PIPESTATUS[1]}}", identity(&format!("--mask {mask}")));
        let output = shell(folder.path(), &line);
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), code, "{mask}: {}", text(&output));
        assert_eq!(text(&output).contains("is damaged"), code == "1", "{mask}: {}", text(&output));
    }
}

#[test]
fn a_reader_that_closes_early_is_no_error() {
    let folder = tempfile::tempdir().unwrap();
    // Without an end: it must come from the reader.
    let endless = "ffmpeg -v quiet -f lavfi -i testsrc2=size=320x180 -pix_fmt yuv420p -f yuv4mpegpipe -";
    for bytes in [1, 100_000, 1_000_000] {
        let line = format!("{endless} | {} | head -c {bytes} | wc -c; echo ${{PIPESTATUS[1]}}", identity(""));
        let output = shell(folder.path(), &line);
        assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{bytes}\n0\n"), "{}", text(&output));
        assert!(!text(&output).contains("rror"), "{}", text(&output));
    }
}

#[test]
fn slow_programs_on_either_side_do_not_block_it_for_good() {
    let folder = tempfile::tempdir().unwrap();
    let source = "ffmpeg -v error -f lavfi -i testsrc2=size=320x180 -frames:v 20 -pix_fmt yuv420p -f yuv4mpegpipe -";
    for queue in [0, 2] {
        let run = identity(&format!("--queue {queue}"));
        let line = format!(
            "{source} > in.y4m; (head -c 200000; sleep 0.3; cat) < in.y4m | {run} | (head -c 99; sleep 0.3; cat) | wc -c"
        );
        let output = shell(folder.path(), &line);
        let expected = std::fs::metadata(folder.path().join("in.y4m")).unwrap().len();
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), expected.to_string(), "{}", text(&output));
    }
}

#[test]
fn a_terminal_on_either_side_is_refused_with_a_hint() {
    let folder = tempfile::tempdir().unwrap();
    for (redirection, expected) in [("> out.y4m", "stdin is a terminal"), ("< /dev/zero", "stdout is a terminal")] {
        // `script` gives the command a terminal; what it says on stderr lands in a file.
        let line = format!("script -qec 'impasto pipe {redirection} 2> says; echo $? > code' /dev/null > /dev/null");
        let output = shell(folder.path(), &line);
        assert!(output.status.success(), "{}", text(&output));
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        assert!(read("says").contains(expected) && read("says").contains("ffmpeg"), "{}", read("says"));
        assert_eq!(read("code"), "2\n");
    }
}

#[test]
fn ctrl_c_finishes_what_came_in_and_exits_with_130() {
    let folder = tempfile::tempdir().unwrap();
    let line = format!(
        "ffmpeg -v quiet -f lavfi -i testsrc2=size=320x180 -pix_fmt yuv420p -f yuv4mpegpipe - | \
         (sh -c 'echo $$ > pid; exec {}') | (head -c 100000 > first; kill -INT $(cat pid); cat > rest); \
         echo ${{PIPESTATUS[1]}}; cat first rest > out.y4m",
        identity("").replace("-q ", "")
    );
    let output = shell(folder.path(), &line);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "130\n", "{}", text(&output));
    assert!(text(&output).contains("stopping"), "{}", text(&output));
    assert!(frame_times(&folder.path().join("out.y4m")).len() > 1);
}

#[test]
fn a_signal_ends_it_while_the_input_is_silent() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = format!("timeout -k 5 60 sh -c 'echo $$ > pid; exec {}'", identity("").replace("-q ", ""));
    let source = "ffmpeg -v quiet -f lavfi -i testsrc2=size=320x240:duration=1 -pix_fmt yuv420p -f yuv4mpegpipe -";
    for signal in ["INT", "TERM"] {
        // The input stays open until the program has ended.
        let line = format!(
            "rm -f in; mkfifo in; {pipe} < in > out.y4m & exec 3> in; {source} >&3; \
             until [ $(stat -c %s out.y4m) -gt 1000000 ]; do sleep 0.05; done; kill -{signal} $(cat pid); wait $!; echo $?"
        );
        let output = shell(folder.path(), &line);
        assert_eq!(String::from_utf8_lossy(&output.stdout), "130\n", "{signal}: {}", text(&output));
        assert!(text(&output).contains("stopping") && !text(&output).contains("error"), "{}", text(&output));
        assert!(frame_times(&folder.path().join("out.y4m")).len() > 8);
        // And before anything has come: as soon as it catches SIGINT and SIGTERM.
        let line = format!(
            "rm -f in pid; mkfifo in; {pipe} < in > nothing & exec 3> in; until [ -s pid ]; do sleep 0.05; done; \
             until grep -q 'SigCgt:.*[4-7c-f]..[2367abef]$' /proc/$(cat pid)/status; do sleep 0.05; done; \
             kill -{signal} $(cat pid); wait $!; echo $?"
        );
        let output = shell(folder.path(), &line);
        assert_eq!(String::from_utf8_lossy(&output.stdout), "130\n", "{signal}: {}", text(&output));
        assert!(!text(&output).contains("error"), "{}", text(&output));
    }
}
