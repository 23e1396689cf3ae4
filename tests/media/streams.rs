//! What is copied beside the pictures, and parts of a clip.

use std::path::{Path, PathBuf};

use super::{Copied, copy, copy_with, test_clip};
use crate::common::{self, clip, ffmpeg, frame_rgb, frame_times, mean_difference, packets, stream, streams};
use impasto::media::{Cut, EncoderSettings, ReaderOptions, Time, VideoReader, VideoWriter, WriterOptions};

/// Two audio streams, subtitles, a chapter and tags.
fn clip_with_everything(folder: &Path) -> PathBuf {
    let subtitles = folder.join("s.srt");
    std::fs::write(&subtitles, "1\n00:00:00,100 --> 00:00:00,600\nhello\n").unwrap();
    let chapters = folder.join("c.txt");
    std::fs::write(
        &chapters,
        ";FFMETADATA1\ntitle=everything\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=400\ntitle=first\n\
         [CHAPTER]\nTIMEBASE=1/1000\nSTART=400\nEND=1000\ntitle=second\n",
    )
    .unwrap();
    let video = test_clip(folder, "v.mp4", &[]);
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let arguments = [
        "-i",
        &path(&video),
        "-f",
        "lavfi",
        "-i",
        "sine=frequency=440:duration=1",
        "-i",
        &path(&subtitles),
        "-i",
        &path(&chapters),
        "-map",
        "0:v",
        "-map",
        "1:a",
        "-map",
        "1:a",
        "-map",
        "2:s",
        "-map_metadata",
        "3",
        "-c:v",
        "copy",
        "-c:a:0",
        "aac",
        "-c:a:1",
        "libopus",
        "-ar",
        "48000",
        "-c:s",
        "srt",
        "-metadata:s:a:1",
        "language=deu",
    ];
    clip(folder, "everything.mkv", &arguments)
}

#[test]
fn sound_subtitles_chapters_and_tags_are_copied_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let input = clip_with_everything(folder.path());
    let output = folder.path().join("out.mkv");
    let copied = copy(&input, &output);
    assert_eq!(copied.notes, Vec::<String>::new());

    let codecs = |path: &Path| -> Vec<String> {
        streams(path).iter().map(|stream| stream["codec_name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(codecs(&output), codecs(&input));
    let sizes = |path: &Path, kind| packets(path, kind).into_iter().map(|(_, size)| size).collect::<Vec<_>>();
    for kind in ["a:0", "a:1", "s"] {
        assert_eq!(sizes(&output, kind), sizes(&input, kind), "{kind}");
    }
    assert_eq!(streams(&output)[2]["tags"]["language"], "deu");
    let about = common::probe(&output, &["-show_chapters", "-show_format"]);
    let titles: Vec<_> = about["chapters"].as_array().unwrap().iter().map(|c| c["tags"]["title"].clone()).collect();
    assert_eq!(titles, ["first", "second"]);
    assert_eq!(about["format"]["tags"]["title"], "everything");
}

#[test]
fn what_a_container_cannot_hold_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let input = clip_with_everything(folder.path());
    let mp4 = copy(&input, &folder.path().join("out.mp4"));
    assert_eq!(mp4.notes.len(), 1);
    assert!(mp4.notes[0].contains("subtitles stream 3 (subrip)"), "{:?}", mp4.notes);
    let webm = copy(&input, &folder.path().join("out.webm"));
    assert!(webm.notes[0].contains("audio stream 1 (aac)"), "{:?}", webm.notes);
    let gif = copy(&input, &folder.path().join("out.gif"));
    assert!(gif.notes[0].contains("audio stream 1 (aac)") && gif.notes[0].contains("opus"), "{:?}", gif.notes);
    // FFmpeg's table says that a .mov holds Opus, and its muxer that it does not.
    let mov = copy(&input, &folder.path().join("out.mov"));
    assert!(mov.notes[0].contains("audio stream 2 (opus)"), "{:?}", mov.notes);

    // Another video and a cover are not copied, and the video keeps its name.
    let cover = folder.path().join("cover.png");
    ffmpeg(&["-f", "lavfi", "-i", "color=red:size=32x32", "-frames:v", "1", cover.to_str().unwrap()]);
    let inputs = [input.to_str().unwrap(), cover.to_str().unwrap()];
    let maps = ["-map", "0:v", "-map", "0:v", "-map", "1:v", "-c", "copy", "-disposition:v:2", "attached_pic"];
    let tags = ["-metadata:s:v:0", "title=front", "-metadata:s:v:0", "language=fra"];
    let two = clip(folder.path(), "two.mp4", &[&["-i", inputs[0], "-i", inputs[1]], &maps[..], &tags[..]].concat());
    let output = folder.path().join("front.mkv");
    assert_eq!(copy(&two, &output).notes, ["left out: video stream 1 (h264), cover picture stream 3 (png)"]);
    assert_eq!(stream(&output, "video")["tags"]["language"], "fra");
}

#[test]
fn sound_that_has_lost_the_header_of_its_codec_is_left_out_and_the_rest_is_copied() {
    let folder = tempfile::tempdir().unwrap();
    for (encoder, id) in [("libvorbis", "A_VORBIS"), ("libopus", "A_OPUS"), ("flac", "A_FLAC")] {
        let picture = ["-f", "lavfi", "-i", "testsrc2=size=64x48:rate=10"];
        let sound = ["-f", "lavfi", "-i", "sine", "-t", "1", "-map", "0", "-map", "1", "-map", "1"];
        let codecs = ["-c:v", "libx264", "-c:a:0", encoder, "-c:a:1", "ac3"];
        let input = clip(folder.path(), "in.mkv", &[&picture[..], &sound, &codecs].concat());
        let mut bytes = std::fs::read(&input).unwrap();
        let position = |bytes: &[u8], wanted: &[u8]| bytes.windows(wanted.len()).position(|part| part == wanted);
        let track = position(&bytes, id.as_bytes()).unwrap();
        // CodecPrivate becomes an element that nobody knows.
        let header = track + position(&bytes[track..], b"\x63\xa2").unwrap();
        bytes[header + 1] = 0xaf;
        std::fs::write(&input, bytes).unwrap();
        let output = folder.path().join("out.mkv");
        let notes = copy(&input, &output).notes;
        let name = encoder.trim_start_matches("lib");
        let expected = format!("left out, damaged (without the header of its codec): audio stream 1 ({name})");
        assert_eq!(notes, [expected]);
        assert_eq!(stream(&output, "audio")["codec_name"], "ac3");
        std::fs::remove_file(output).unwrap();
    }
}

#[test]
fn sound_stays_in_sync_with_a_start_offset() {
    let folder = tempfile::tempdir().unwrap();
    let plain = clip_with_everything(folder.path());
    let late = clip(
        folder.path(),
        "late.mkv",
        &["-itsoffset", "1.5", "-i", plain.to_str().unwrap(), "-map", "0", "-c", "copy"],
    );
    for name in ["out.mkv", "out.mp4"] {
        let output = folder.path().join(name);
        copy(&late, &output);
        let lag = |path: &Path| packets(path, "a:0")[0].0 - frame_times(path)[0];
        assert!((lag(&late) - lag(&output)).abs() < 0.0015, "{name}: {} against {}", lag(&late), lag(&output));
    }
}

#[test]
fn subtitles_that_begin_together_stay_together() {
    let folder = tempfile::tempdir().unwrap();
    let lines: String =
        (1..=9).map(|line| format!("{line}\n00:00:00,200 --> 00:00:00,{line}50\nline {line}\n\n")).collect();
    let subtitles = folder.path().join("s.srt");
    std::fs::write(&subtitles, lines.replace(",150", ",250")).unwrap();
    let picture = ["-f", "lavfi", "-i", "testsrc2=size=96x64:rate=10:duration=1", "-i", subtitles.to_str().unwrap()];
    let input = clip(folder.path(), "in.mkv", &[&picture[..], &["-map", "0", "-map", "1", "-c:v", "libx264"]].concat());
    let output = folder.path().join("out.mkv");
    copy(&input, &output);
    let times: Vec<f64> = packets(&output, "s:0").iter().map(|packet| packet.0).collect();
    assert_eq!(times, [0.2; 9]);
}

#[test]
fn a_subtitle_that_a_cut_begins_in_is_shown_for_the_rest_of_its_time() {
    let folder = tempfile::tempdir().unwrap();
    let subtitles = folder.path().join("s.srt");
    let line =
        |number: u32, from: u32, to: u32| format!("{number}\n00:00:{from:02},000 --> 00:00:{to:02},000\nline\n\n");
    std::fs::write(&subtitles, [line(1, 0, 2), line(2, 3, 9), line(3, 9, 10)].concat()).unwrap();
    let picture = ["-f", "lavfi", "-i", "testsrc2=size=96x64:rate=10:duration=12", "-i", subtitles.to_str().unwrap()];
    for (name, codec) in [("cut.mkv", "srt"), ("cut.mp4", "mov_text")] {
        let coded = ["-map", "0", "-map", "1", "-c:v", "libx264", "-g", "10", "-c:s", codec];
        let input = clip(folder.path(), name, &[&picture[..], &coded[..]].concat());
        let output = folder.path().join(format!("out-{name}"));
        let cut = Cut { start: Some("7.5".parse().unwrap()), ..Cut::default() };
        copy_with(&input, &output, cut, WriterOptions::default()).unwrap();
        // MP4 has an empty subtitle wherever none is shown.
        let times: Vec<f64> =
            packets(&output, "s:0").iter().filter(|packet| packet.1 > 2).map(|packet| packet.0).collect();
        assert_eq!(times.len(), 2, "{name}: {times:?}");
        assert!(times[0].abs() < 0.03 && (times[1] - 1.5).abs() < 0.03, "{name}: {times:?}");
    }
}

#[test]
fn sound_that_a_transport_stream_would_call_data_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let sources = ["-f", "lavfi", "-i", "testsrc2=size=96x64:rate=10", "-f", "lavfi", "-i", "sine"];
    for (codec, is_kept) in [("flac", false), ("pcm_s16le", false), ("mp2", true), ("ac3", true)] {
        let coded = ["-t", "0.5", "-c:v", "libx264", "-c:a", codec];
        let input = clip(folder.path(), &format!("{codec}.mkv"), &[&sources[..], &coded[..]].concat());
        let output = folder.path().join(format!("{codec}.ts"));
        let notes = copy(&input, &output).notes;
        assert_eq!(notes.iter().any(|note| note.contains("left out") && note.contains(codec)), !is_kept, "{notes:?}");
        let kinds: Vec<_> = streams(&output).iter().map(|stream| stream["codec_type"].clone()).collect();
        assert_eq!(kinds, if is_kept { vec!["video", "audio"] } else { vec!["video"] }, "{codec}");
    }
}

#[test]
fn sound_that_a_trim_hides_stays_hidden() {
    let folder = tempfile::tempdir().unwrap();
    let sources =
        ["-f", "lavfi", "-i", "testsrc2=size=96x64:rate=25:duration=4", "-f", "lavfi", "-i", "sine=duration=4"];
    let coded = ["-c:v", "libx264", "-g", "100", "-pix_fmt", "yuv420p", "-c:a", "aac"];
    let whole = clip(folder.path(), "whole.mp4", &[&sources[..], &coded[..]].concat());
    let trimmed = clip(folder.path(), "in.mp4", &["-ss", "2.5", "-i", whole.to_str().unwrap(), "-c", "copy"]);
    let first = |path: &Path| packets(path, "a:0")[0].0;
    assert!(first(&trimmed) < -0.9, "{}", first(&trimmed));
    for name in ["out.mkv", "out.ts", "out.avi", "out.flv", "out.mp4", "out.m4v", "out.mov"] {
        let output = folder.path().join(name);
        assert_eq!(copy(&trimmed, &output).written.frames, 37, "{name}");
        let (picture, sound) = (frame_times(&output)[0], first(&output));
        if name.contains(".m") && !name.contains("mkv") {
            assert!(picture.abs() < 0.001 && (sound - first(&trimmed)).abs() < 0.001, "{name}: {picture}, {sound}");
        } else {
            // A transport stream and FLV begin later; of AAC, a packet is given to the decoder before its time.
            assert!((picture - sound).abs() < 0.1, "{name}: {picture}, {sound}");
        }
    }
}

#[test]
fn muted_video_has_no_sound() {
    let folder = tempfile::tempdir().unwrap();
    let input = clip_with_everything(folder.path());
    let output = folder.path().join("out.mkv");
    copy_with(&input, &output, Cut::default(), WriterOptions { mute: true, ..WriterOptions::default() }).unwrap();
    let kinds: Vec<_> = streams(&output).iter().map(|stream| stream["codec_type"].clone()).collect();
    assert_eq!(kinds, ["video", "subtitle"]);
}

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
fn packets_with_nothing_in_them_end_no_copy() {
    let folder = tempfile::tempdir().unwrap();
    let source = ["-f", "lavfi", "-i", "testsrc2=size=160x90:rate=25", "-f", "lavfi", "-i", "sine", "-t", "1"];
    // The last packet of FLAC in NUT is empty.
    let input = clip(folder.path(), "in.nut", &[&source[..], &["-c:v", "ffv1", "-c:a", "flac"]].concat());
    for name in ["out.mkv", "out.mp4"] {
        let output = folder.path().join(name);
        assert_eq!((copy(&input, &output).written.frames, packets(&output, "a:0").len()), (25, 10), "{name}");
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
fn chapters_end_with_a_clip_that_is_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let input = clip_with_everything(folder.path());
    for name in ["out.mp4", "out.mov", "out.m4v", "out.mkv"] {
        let output = folder.path().join(name);
        let mut reader = VideoReader::open(&input, ReaderOptions::default()).unwrap();
        let mut writer = VideoWriter::create(&output, reader.info(), Some(&reader), &WriterOptions::default()).unwrap();
        for _ in 0..12 {
            writer.write(&reader.next_frame().unwrap().unwrap()).unwrap();
        }
        writer.finish(true).unwrap();
        let about = common::probe(&output, &["-show_chapters", "-show_format"]);
        let number = |value: &serde_json::Value| -> f64 { value.as_str().unwrap().parse().unwrap() };
        let chapters = about["chapters"].as_array().unwrap();
        let titles: Vec<_> = chapters.iter().map(|chapter| chapter["tags"]["title"].clone()).collect();
        assert_eq!(titles, ["first", "second"], "{name}");
        assert!((number(&chapters[1]["end_time"]) - 0.48).abs() < 0.03, "{name}: {chapters:?}");
        // The subtitle that was shown goes on until 0.6.
        assert!(number(&about["format"]["duration"]) < 0.65, "{name}: {}", about["format"]);
    }
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
fn sound_that_a_program_stream_or_ogg_cannot_hold_is_left_out_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let sources =
        ["-f", "lavfi", "-i", "testsrc2=size=96x64:rate=25:duration=1", "-f", "lavfi", "-i", "sine=duration=1"];
    let coded = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-c:a", "aac"];
    let input = clip(folder.path(), "in.mkv", &[&sources[..], &coded[..]].concat());
    for name in ["out.mpg", "out.vob", "out.ogv"] {
        let output = folder.path().join(name);
        let copied = copy(&input, &output);
        assert_eq!(copied.written.frames, 25, "{name}");
        assert!(copied.notes.iter().any(|note| note.contains("left out") && note.contains("audio")), "{name}");
    }
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
