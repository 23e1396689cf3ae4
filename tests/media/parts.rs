//! Parts of a clip, and clips that are joined.

use std::path::Path;

use super::{Copied, clip_with_everything, copy, copy_with, test_clip};
use crate::common::{self, clip, frame_rgb, frame_times, mean_difference, packets, stream};
use impasto::media::{Cut, EncoderSettings, ReaderOptions, Time, VideoReader, WriterOptions};

#[test]
fn a_cut_keeps_the_frames_and_the_sound_between_its_ends_and_starts_at_zero() {
    let folder = tempfile::tempdir().unwrap();
    let input = clip_with_everything(folder.path());
    let output = folder.path().join("out.mkv");
    let cut = Cut { start: Some("0.2".parse().unwrap()), end: Some("0.6".parse().unwrap()), frames: None };
    let copied = copy_with(&input, &output, cut, WriterOptions::default()).unwrap();
    assert_eq!(copied.written.frames, 10);
    let times = frame_times(&output);
    assert!((times[0] - 0.0).abs() < 0.03 && (times[9] - times[0] - 0.36).abs() < 0.002, "{times:?}");
    let sound = packets(&output, "a:0");
    assert!(sound[0].0 < 0.05 && sound.last().unwrap().0 < 0.4, "{sound:?}");
    let (.., expected) = frame_rgb(&input, 5);
    let (.., first) = frame_rgb(&output, 0);
    let difference = mean_difference(&expected, &first);
    assert!(difference.iter().all(|levels| *levels < 3.0), "{difference:?}");

    let first_three = Cut { frames: Some(3), ..Cut::default() };
    let output = folder.path().join("three.mkv");
    assert_eq!(copy_with(&input, &output, first_three, WriterOptions::default()).unwrap().written.frames, 3);
    assert!(packets(&output, "a:0").last().unwrap().0 < 0.15);
}

#[test]
fn a_cut_beyond_the_end_is_an_error_that_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let input = test_clip(folder.path(), "in.mp4", &[]);
    let cut = Cut { start: Some("100".parse().unwrap()), ..Cut::default() };
    let error = VideoReader::open(&input, ReaderOptions { cut, ..ReaderOptions::default() }).err().unwrap();
    assert!(error.to_string().contains("no frames in the chosen part"), "{error:#}");
}

#[test]
fn a_part_of_a_transport_stream_starts_where_it_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    for (name, gop) in [("short.ts", "50"), ("long.ts", "250")] {
        let sound = ["-f", "lavfi", "-i", "sine=frequency=440:duration=8", "-c:a", "mp2", "-t", "8", "-g", gop];
        let more = ["-f", "lavfi", "-i", "testsrc2=size=160x90:rate=25,gblur=2", "-c:v", "libx264"];
        let input =
            clip(folder.path(), name, &[&sound[..4], &more[..], &sound[4..], &["-pix_fmt", "yuv420p"]].concat());
        let cut = Cut { start: Some("5.1".parse().unwrap()), ..Cut::default() };
        let output = folder.path().join(format!("{name}.mkv"));
        let copied = copy_with(&input, &output, cut, WriterOptions::default()).unwrap();
        assert_eq!(copied.written.frames, 72, "{name}");
        assert!(frame_times(&output)[0] < 0.05 && packets(&output, "a:0")[0].0 < 0.05, "{name}");
        let difference = mean_difference(&frame_rgb(&input, 128).2, &frame_rgb(&output, 0).2);
        assert!(difference.iter().all(|levels| *levels < 3.0), "{name}: {difference:?}");
    }
}

/// Copies in FFV1, so that pictures can be compared exactly.
fn lossless(input: &Path, output: &Path, cut: Cut) -> Copied {
    let encoder = EncoderSettings { codec: Some("ffv1".to_owned()), ..EncoderSettings::default() };
    copy_with(input, output, cut, WriterOptions { encoder, ..WriterOptions::default() }).unwrap()
}

#[test]
fn a_part_of_a_joined_recording_is_counted_in_pictures_whatever_its_clocks_say() {
    let folder = tempfile::tempdir().unwrap();
    let make = |name: &str, color: &str, start: &str| {
        let source =
            format!("testsrc2=size=160x90:rate=25,gblur=2,drawbox=color={color}:width=60:height=40:thickness=fill");
        let sound = ["-f", "lavfi", "-i", "sine", "-c:a", "mp2", "-t", "3", "-output_ts_offset", start];
        let video = ["-f", "lavfi", "-i", &source, "-c:v", "libx264", "-g", "25", "-pix_fmt", "yuv420p"];
        std::fs::read(clip(folder.path(), name, &[&video[..4], &sound[..4], &video[4..], &sound[4..]].concat()))
            .unwrap()
    };
    let (early, late) = (make("early.ts", "red", "0"), make("late.ts", "blue", "100"));
    for (name, parts) in [("back.ts", [&late, &early]), ("ahead.ts", [&early, &late]), ("again.ts", [&early, &early])] {
        let input = folder.path().join(name);
        std::fs::write(&input, [&parts[0][..], &parts[1][..]].concat()).unwrap();
        let whole = folder.path().join(format!("{name}.whole.mkv"));
        assert_eq!(lossless(&input, &whole, Cut::default()).written.frames, 150, "{name}");
        for first in [12, 62, 80, 130] {
            let cut = Cut { start: Some(Time(first * 40_000)), end: Some(Time((first + 15) * 40_000)), frames: None };
            let output = folder.path().join(format!("{name}.{first}.mkv"));
            let copied = lossless(&input, &output, cut);
            assert_eq!(copied.written.frames, 15, "{name} from {first}");
            assert!(frame_times(&output)[0] < 0.05 && packets(&output, "a:0")[0].0 < 0.07, "{name} from {first}");
            assert!(frame_rgb(&whole, first as usize) == frame_rgb(&output, 0), "{name} from {first}");
        }
    }
}

#[test]
fn streams_of_joined_recordings_leave_a_clock_one_by_one() {
    let folder = tempfile::tempdir().unwrap();
    // Pictures lag behind the sound: that of the second part comes before the last pictures of the first.
    let sources =
        ["-f", "lavfi", "-itsoffset", "0.3", "-i", "testsrc2=size=160x90:rate=25,gblur=2", "-f", "lavfi", "-i", "sine"];
    let codecs =
        ["-c:v", "libx264", "-g", "25", "-pix_fmt", "yuv420p", "-c:a", "mp2", "-t", "12", "-pes_payload_size", "0"];
    let part = std::fs::read(clip(folder.path(), "part.ts", &[&sources[..], &codecs[..]].concat())).unwrap();
    let input = folder.path().join("joined.ts");
    std::fs::write(&input, [&part[..], &part[..]].concat()).unwrap();
    let output = folder.path().join("joined.mkv");
    let frames = lossless(&input, &output, Cut::default()).written.frames;
    let times = frame_times(&output);
    assert_eq!(times.len() as u64, frames);
    let widest = times.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max);
    // The times begin where the file's do, 1.4 s.
    assert!(widest < 1.0 && *times.last().unwrap() < 26.0, "{widest} in {:?}", times.last());
}

#[test]
fn a_part_begins_with_the_picture_that_is_asked_for_wherever_key_frames_are() {
    let folder = tempfile::tempdir().unwrap();
    let source = "testsrc2=size=160x90:rate=25:duration=4,gblur=2";
    let open_gop = ["-c:v", "libx264", "-g", "25", "-bf", "3", "-x264-params", "open-gop=1:scenecut=0"];
    let closed_gop = ["-c:v", "libx264", "-g", "25", "-bf", "3"];
    let mpeg2 = ["-c:v", "mpeg2video", "-g", "12", "-bf", "2", "-q:v", "2"];
    let cases: [(&str, &[&str]); 6] = [
        ("closed.flv", &closed_gop),
        ("open.flv", &open_gop),
        ("open.mp4", &open_gop),
        ("open.mkv", &open_gop),
        ("open.mpg", &mpeg2),
        ("raw.h264", &closed_gop),
    ];
    for (name, encoding) in cases {
        let input =
            clip(folder.path(), name, &[&["-f", "lavfi", "-i", source, "-pix_fmt", "yuv420p"][..], encoding].concat());
        let whole = folder.path().join(format!("{name}.whole.mkv"));
        lossless(&input, &whole, Cut::default());
        for first in [3, 23, 25, 49, 63, 97] {
            let cut = Cut { start: Some(Time(first * 40_000 - 5_000)), ..Cut::default() };
            let output = folder.path().join(format!("{name}.{first}.mkv"));
            let copied = lossless(&input, &output, cut);
            assert_eq!((copied.written.frames, copied.damage), (100 - first as u64, None), "{name} from {first}");
            assert!(frame_rgb(&whole, first as usize) == frame_rgb(&output, 0), "{name} from {first}");
        }
    }
}

#[test]
fn subtitles_that_come_seldom_are_no_new_clock() {
    let folder = tempfile::tempdir().unwrap();
    // Two screens of a Blu-ray's subtitles, both empty, at 1 s and 14 s of its clock of 90 kHz.
    let segment = |seconds: u32, kind: u8, data: &[u8]| {
        let mut bytes = b"PG".to_vec();
        bytes.extend((seconds * 90_000).to_be_bytes());
        bytes.extend([0, 0, 0, 0, kind, 0, data.len() as u8]);
        bytes.extend(data);
        bytes
    };
    let screen = |seconds: u32| {
        [segment(seconds, 0x16, &[0, 96, 0, 64, 16, 0, 0, 128, 0, 0, 0]), segment(seconds, 0x80, &[])].concat()
    };
    let subtitles = folder.path().join("s.sup");
    std::fs::write(&subtitles, [screen(1), screen(14)].concat()).unwrap();
    let picture = ["-f", "lavfi", "-i", "testsrc2=size=96x64:rate=10:duration=18", "-i", subtitles.to_str().unwrap()];
    let coded = ["-map", "0", "-map", "1", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-c:s", "copy"];
    let input = clip(folder.path(), "in.m2ts", &[&picture[..], &coded[..]].concat());
    let shown = packets(&input, "s:0");
    assert!(shown.last().unwrap().0 - shown[0].0 > 12.0, "{shown:?}");
    let output = folder.path().join("out.mkv");
    assert_eq!(copy(&input, &output).written.frames, 180);
    let times = frame_times(&output);
    assert!((times[179] - times[0] - 17.9).abs() < 0.01, "{times:?}");
}

#[test]
fn chapters_and_the_last_picture_end_with_the_part() {
    let folder = tempfile::tempdir().unwrap();
    let input = clip_with_everything(folder.path());
    let output = folder.path().join("out.mp4");
    let cut = Cut { frames: Some(5), ..Cut::default() };
    copy_with(&input, &output, cut, WriterOptions::default()).unwrap();
    let about = common::probe(&output, &["-show_chapters", "-show_format"]);
    let chapters = about["chapters"].as_array().unwrap();
    let end: f64 = chapters[0]["end_time"].as_str().unwrap().parse().unwrap();
    assert!(chapters.len() == 1 && end < 0.25, "{chapters:?}");
    let seconds: f64 = about["format"]["duration"].as_str().unwrap().parse().unwrap();
    assert!(seconds < 0.3, "{seconds}");

    let slow = clip(folder.path(), "slow.mp4", &["-f", "lavfi", "-i", "testsrc2=size=96x64:rate=1/4:duration=12"]);
    let cut = Cut { end: Some("5".parse().unwrap()), ..Cut::default() };
    let output = folder.path().join("slow-out.mp4");
    assert_eq!(copy_with(&slow, &output, cut, WriterOptions::default()).unwrap().written.frames, 2);
    assert_eq!(stream(&output, "video")["duration"], "5.000000");
}

#[test]
fn a_coarse_clock_moves_no_picture_against_its_sound() {
    let folder = tempfile::tempdir().unwrap();
    let sources =
        ["-f", "lavfi", "-i", "testsrc2=size=96x64:rate=2:duration=4", "-f", "lavfi", "-i", "sine=duration=4"];
    let input = clip(folder.path(), "in.avi", &[&sources[..], &["-c:v", "mjpeg", "-c:a", "pcm_s16le"]].concat());
    let output = folder.path().join("out.mkv");
    let cut = Cut { start: Some("1.2".parse().unwrap()), ..Cut::default() };
    copy_with(&input, &output, cut, WriterOptions::default()).unwrap();
    // Sound from 1.2 s on, and the picture of 1.5 s.
    let lag = frame_times(&output)[0] - packets(&output, "a:0")[0].0;
    assert!((0.25..0.31).contains(&lag), "{lag}");
}

#[test]
fn a_part_needs_no_reading_of_what_comes_behind_it() {
    let folder = tempfile::tempdir().unwrap();
    let pictures =
        ["-f", "lavfi", "-i", "testsrc2=size=640x360:rate=25:duration=4", "-f", "lavfi", "-i", "sine=duration=4"];
    let input = clip(folder.path(), "in.mkv", &[&pictures[..], &["-c:v", "rawvideo", "-c:a", "aac"]].concat());
    let bytes = input.metadata().unwrap().len();
    for part in ["--frames 3", "--end 0.1"] {
        // What a process and those that it has waited for have read.
        let line = format!(
            "\"$IMPASTO\" video -q {} -o {} -y --strength 0 {part} && sed -n 's/rchar: //p' /proc/$$/io",
            input.display(),
            folder.path().join("out.mkv").display()
        );
        let output = std::process::Command::new("sh")
            .args(["-c", &line])
            .env("IMPASTO", assert_cmd::cargo::cargo_bin("impasto"))
            .output()
            .unwrap();
        let read: u64 = String::from_utf8_lossy(&output.stdout).trim().parse().unwrap_or_else(|_| {
            panic!("{part}: {}", String::from_utf8_lossy(&output.stderr));
        });
        assert!(read < bytes / 2, "{part}: {read} of {bytes} bytes were read");
        assert!(!packets(&folder.path().join("out.mkv"), "a:0").is_empty(), "{part}: the sound is missing");
    }
}
