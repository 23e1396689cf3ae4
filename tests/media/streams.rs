//! What is copied beside the pictures.

use std::path::Path;

use super::{clip_with_everything, copy, copy_with};
use crate::common::{self, clip, ffmpeg, frame_times, packets, stream, streams};
use impasto::media::{Cut, ReaderOptions, VideoReader, VideoWriter, WriterOptions};

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
