//! Frames through reader and writer without a network: every timestamp, stream and colour comes out as it went in.
#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)] // A test that panics fails: as it should.

mod common;

use std::path::{Path, PathBuf};

use anyhow::Result;
use common::{clip, ffmpeg, frame_rgb, frame_times, mean_difference, packets, shared, stream, streams};
use impasto::media::{Cut, EncoderSettings, ReaderOptions, VideoReader, VideoWriter, WriterOptions, Written};

/// What came of a run without a network.
struct Copied {
    written: Written,
    notes: Vec<String>,
    damage: Option<String>,
}

fn copy_with(input: &Path, output: &Path, cut: Cut, options: WriterOptions) -> Result<Copied> {
    let mut reader = VideoReader::open(input, ReaderOptions { cut, ..ReaderOptions::default() })?;
    let mut writer = VideoWriter::create(output, reader.info(), Some(&reader), &options)?;
    while let Some(frame) = reader.next_frame()? {
        writer.write(&frame)?;
    }
    let mut notes = reader.info().notes.clone();
    notes.extend_from_slice(writer.notes());
    let written = writer.finish(cut != Cut::default())?;
    Ok(Copied { written, notes, damage: reader.damage().describe() })
}

fn copy(input: &Path, output: &Path) -> Copied {
    copy_with(input, output, Cut::default(), WriterOptions::default())
        .unwrap_or_else(|error| panic!("{}: {error:#}", input.display()))
}

fn assert_same_times(input: &Path, output: &Path, tolerance: f64) {
    let (expected, actual) = (frame_times(input), frame_times(output));
    assert_eq!(actual.len(), expected.len(), "frame count of {}", input.display());
    for (index, (expected, actual)) in expected.iter().zip(&actual).enumerate() {
        assert!(
            (expected - actual).abs() <= tolerance,
            "{} frame {index}: expected {expected} s, got {actual} s",
            input.display()
        );
    }
}

/// Good clips of the extra material: (file, where matroska's millisecond clock or joined clocks allow no better).
const GOOD_CLIPS: &[&str] = &[
    "alpha_prores4444.mov",
    "alpha_qtrle.mov",
    "alpha_vp9.webm",
    "anamorphic_sar32x27.mp4",
    "anim.gif",
    "audio_flac51.mkv",
    "audio_longer.mp4",
    "audio_shorter.mp4",
    "av1.mp4",
    "fps_1.mp4",
    "fps_59940.mp4",
    "full_range.mp4",
    "gray_ffv1.mkv",
    "h264_hi10.mkv",
    "hevc10_pq.mp4",
    "interlaced_tff_mpeg2.ts",
    "mjpeg.avi",
    "multi_audio_subs.mkv",
    "notmult4_322x182.mp4",
    "odd_321x181_h264_444.mkv",
    "odd_321x181_vp9.webm",
    "rotate180.mp4",
    "rotate90.mp4",
    "scene_cut.mp4",
    "single_frame.mp4",
    "start_offset_1p5s.mkv",
    "static_image.mp4",
    "tiny_16x16.mp4",
    "vfr_dropped.mp4",
    "vfr_jitter.mkv",
];

#[test]
fn every_good_odd_clip_keeps_its_frames_and_times_in_mp4_and_mkv() {
    let Some(odd) = shared("clips/odd") else { return };
    let folder = tempfile::tempdir().unwrap();
    for name in GOOD_CLIPS {
        for extension in ["mp4", "mkv"] {
            let input = odd.join(name);
            let output = folder.path().join(format!("{name}.{extension}"));
            let copied = copy(&input, &output);
            assert_eq!(copied.damage, None, "{name}");
            assert_eq!(copied.written.frames as usize, frame_times(&input).len(), "{name}");
            println!("{name}: {:?}", copied.notes);
            // Matroska counts in milliseconds, and moves all streams if one starts before 0.
            let shift = if extension == "mkv" { 0.0225 } else { 0.0011 };
            assert_same_times(&input, &output, shift);
        }
    }
}

/// A short clip that needs nothing but ffmpeg: moving test picture, H.264, optionally with sound.
fn test_clip(folder: &Path, name: &str, more: &[&str]) -> PathBuf {
    let mut arguments = vec![
        "-f",
        "lavfi",
        "-i",
        "testsrc2=size=160x90:rate=25,gblur=2",
        "-t",
        "1",
        "-pix_fmt",
        "yuv420p",
        "-c:v",
        "libx264",
    ];
    arguments.extend_from_slice(more);
    clip(folder, name, &arguments)
}

#[test]
fn variable_frame_rate_and_a_start_offset_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let jitter = ["-vf", "setpts='(N*40+15*sin(N*1.7))/1000/TB'", "-fps_mode", "vfr", "-enc_time_base", "1/1000"];
    let input = test_clip(folder.path(), "jitter.mkv", &jitter);
    for name in ["out.mp4", "out.mkv"] {
        let output = folder.path().join(name);
        copy(&input, &output);
        assert_same_times(&input, &output, 0.0006);
    }

    let late = clip(folder.path(), "late.mkv", &["-itsoffset", "1.5", "-i", input.to_str().unwrap(), "-c", "copy"]);
    assert!(frame_times(&late)[0] > 1.4);
    let output = folder.path().join("late.mp4");
    copy(&late, &output);
    assert_same_times(&late, &output, 0.0006);
}

#[test]
fn rational_frame_rates_are_exact() {
    let folder = tempfile::tempdir().unwrap();
    let input = test_clip(folder.path(), "ntsc.mp4", &["-vf", "fps=60000/1001"]);
    let output = folder.path().join("out.mp4");
    copy(&input, &output);
    assert_eq!(stream(&output, "video")["avg_frame_rate"], "60000/1001");
    assert_eq!(stream(&output, "video")["time_base"], stream(&input, "video")["time_base"]);
    assert_same_times(&input, &output, 0.0);
}

#[test]
fn a_single_frame_makes_a_video_of_one_frame() {
    let folder = tempfile::tempdir().unwrap();
    let input = test_clip(folder.path(), "one.mp4", &["-frames:v", "1"]);
    for name in ["out.mp4", "out.mkv", "out.webm", "out.gif", "out.mov"] {
        let output = folder.path().join(name);
        assert_eq!(copy(&input, &output).written.frames, 1);
        assert_eq!(frame_times(&output).len(), 1, "{name}");
    }
}

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
fn colour_bars_come_back_within_two_levels_whatever_their_tags() {
    let folder = tempfile::tempdir().unwrap();
    let cases: [(&str, &[&str]); 5] = [
        (
            "709",
            &[
                "-vf",
                "scale=out_color_matrix=bt709:out_range=tv,format=yuv420p",
                "-colorspace",
                "bt709",
                "-color_primaries",
                "bt709",
                "-color_trc",
                "bt709",
                "-color_range",
                "tv",
            ],
        ),
        (
            "601",
            &[
                "-vf",
                "scale=out_color_matrix=smpte170m:out_range=tv,format=yuv420p",
                "-colorspace",
                "smpte170m",
                "-color_primaries",
                "smpte170m",
                "-color_trc",
                "smpte170m",
                "-color_range",
                "tv",
            ],
        ),
        (
            "full",
            &[
                "-vf",
                "scale=out_color_matrix=bt709:out_range=pc,format=yuv420p",
                "-colorspace",
                "bt709",
                "-color_range",
                "pc",
            ],
        ),
        (
            "2020",
            &[
                "-vf",
                "scale=out_color_matrix=bt2020:out_range=tv,format=yuv420p10le",
                "-colorspace",
                "bt2020nc",
                "-color_primaries",
                "bt2020",
                "-color_trc",
                "bt2020-10",
                "-color_range",
                "tv",
            ],
        ),
        ("untagged", &["-vf", "scale=out_color_matrix=smpte170m:out_range=tv,format=yuv420p"]),
    ];
    for (name, encoding) in cases {
        let mut arguments = vec![
            "-f",
            "lavfi",
            "-i",
            "smptehdbars=size=320x180:rate=25",
            "-frames:v",
            "5",
            "-c:v",
            "libx264",
            "-crf",
            "1",
        ];
        arguments.extend_from_slice(encoding);
        let input = clip(folder.path(), &format!("{name}.mp4"), &arguments);
        for extension in ["mp4", "mkv", "webm"] {
            let output = folder.path().join(format!("{name}-out.{extension}"));
            copy(&input, &output);
            let (.., before) = frame_rgb(&input, 2);
            let (.., after) = frame_rgb(&output, 2);
            let difference = mean_difference(&before, &after);
            println!("{name}.{extension}: {difference:?}");
            assert!(difference.iter().all(|levels| *levels <= 2.0), "{name}.{extension}: {difference:?}");
            let (before, after) = (stream(&input, "video"), stream(&output, "video"));
            for tag in ["color_space", "color_range", "color_primaries", "color_transfer"] {
                if let Some(expected) = before[tag].as_str() {
                    assert_eq!(after[tag], expected, "{name}.{extension}: {tag}");
                }
            }
        }
    }
}

/// Copies an MP4 file and turns its picture, in the matrix of its `tkhd` box. FFmpeg 5 takes the rotation from metadata,
/// FFmpeg 6 and later from an option that FFmpeg 5 does not know.
fn rotated_copy(plain: &Path, degrees: &str) -> PathBuf {
    let [a, b, c, d] = match degrees {
        "90" => [0, -1, 1, 0],
        "180" => [-1, 0, 0, -1],
        "flip" => [1, 0, 0, -1],
        _ => [0, 1, -1, 0],
    };
    let mut bytes = std::fs::read(plain).unwrap();
    let header = bytes.windows(4).position(|name| name == b"tkhd").unwrap();
    let matrix = [a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30];
    for (place, value) in bytes[header + 44..].as_chunks_mut::<4>().0.iter_mut().zip(matrix) {
        *place = i32::to_be_bytes(value);
    }
    let rotated = plain.with_file_name(format!("{degrees}-{}", plain.file_name().unwrap().display()));
    std::fs::write(&rotated, bytes).unwrap();
    rotated
}

#[test]
fn rotated_video_comes_out_upright() {
    let folder = tempfile::tempdir().unwrap();
    let plain = test_clip(folder.path(), "plain.mp4", &[]);
    for (degrees, size) in [("90", (90, 160)), ("180", (160, 90)), ("270", (90, 160))] {
        let rotated = rotated_copy(&plain, degrees);
        // ffmpeg stands pictures upright by itself when it decodes.
        let upright = folder.path().join(format!("{degrees}-upright.mkv"));
        ffmpeg(&["-i", rotated.to_str().unwrap(), "-c:v", "ffv1", upright.to_str().unwrap()]);
        let output = folder.path().join(format!("{degrees}-out.mp4"));
        copy(&rotated, &output);
        let (width, height, after) = frame_rgb(&output, 3);
        assert_eq!((width, height), size);
        let difference = mean_difference(&frame_rgb(&upright, 3).2, &after);
        assert!(difference.iter().all(|levels| *levels < 3.0), "{degrees}: {difference:?}");
        let output_stream = stream(&output, "video");
        assert!(!output_stream["side_data_list"].to_string().contains("rotation"), "{output_stream}");
    }
}

#[test]
fn flipped_pictures_in_rgb_come_out_upright() {
    let folder = tempfile::tempdir().unwrap();
    let plain = test_clip(folder.path(), "plain.mov", &["-c:v", "qtrle", "-pix_fmt", "rgb24"]);
    for flip in ["flip", "180"] {
        let flipped = rotated_copy(&plain, flip);
        let upright = folder.path().join("upright.mkv");
        let filters = if flip == "flip" { "vflip" } else { "vflip,hflip" };
        ffmpeg(&["-i", plain.to_str().unwrap(), "-vf", filters, "-c:v", "ffv1", upright.to_str().unwrap()]);
        let output = folder.path().join(format!("{flip}-out.mkv"));
        copy(&flipped, &output);
        let difference = mean_difference(&frame_rgb(&upright, 3).2, &frame_rgb(&output, 3).2);
        // What chroma loses at half its size.
        assert!(difference.iter().all(|levels| *levels < 8.0), "{flip}: {difference:?}");
    }
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

#[test]
fn what_a_trim_left_out_of_an_mp4_is_no_damage() {
    let folder = tempfile::tempdir().unwrap();
    let whole = test_clip(folder.path(), "whole.mp4", &["-g", "12", "-bf", "0"]);
    let mut bytes = std::fs::read(&whole).unwrap();
    let edits = bytes.windows(4).position(|name| name == b"elst").unwrap();
    // One edit of version 0; its duration is in milliseconds, FFmpeg's unit for the whole file.
    assert_eq!(bytes[edits + 4..edits + 12], [0, 0, 0, 0, 0, 0, 0, 1]);
    bytes[edits + 12..edits + 16].copy_from_slice(&400_u32.to_be_bytes());
    let trimmed = folder.path().join("trimmed.mp4");
    std::fs::write(&trimmed, bytes).unwrap();
    let copied = copy(&trimmed, &folder.path().join("out.mp4"));
    assert_eq!((copied.written.frames, copied.damage), (10, None));
}

#[test]
fn a_gif_of_more_than_a_hundred_frames_a_second_keeps_them_all() {
    let folder = tempfile::tempdir().unwrap();
    let input = test_clip(folder.path(), "fast.mp4", &["-vf", "fps=240"]);
    let output = folder.path().join("out.gif");
    assert_eq!(copy(&input, &output).written.frames, 240);
    assert_eq!(frame_times(&output).len(), 240);
}

#[test]
fn pixel_shape_is_kept_and_turns_with_the_picture() {
    let folder = tempfile::tempdir().unwrap();
    let input = test_clip(folder.path(), "wide.mp4", &["-vf", "setsar=32/27"]);
    for name in ["out.mp4", "out.mkv"] {
        let output = folder.path().join(name);
        copy(&input, &output);
        assert_eq!(stream(&output, "video")["sample_aspect_ratio"], "32:27", "{name}");
    }
    let rotated = rotated_copy(&input, "90");
    let output = folder.path().join("rotated-out.mp4");
    copy(&rotated, &output);
    assert_eq!(stream(&output, "video")["sample_aspect_ratio"], "27:32");
}

#[test]
fn odd_sizes_are_kept_in_every_container() {
    let folder = tempfile::tempdir().unwrap();
    let input = test_clip(folder.path(), "odd.mkv", &["-vf", "scale=161:91", "-pix_fmt", "yuv444p"]);
    for name in ["out.mp4", "out.mkv", "out.webm", "out.mov", "out.gif"] {
        let output = folder.path().join(name);
        let copied = copy(&input, &output);
        let video = stream(&output, "video");
        assert_eq!((video["width"].as_u64(), video["height"].as_u64()), (Some(161), Some(91)), "{name}");
        assert_eq!(copied.notes.iter().any(|note| note.contains("odd")), video["codec_name"] == "h264", "{name}");
    }
}

#[test]
fn interlaced_video_is_deinterlaced_frame_for_frame() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = [
        "-f",
        "lavfi",
        "-i",
        "testsrc2=size=320x240:rate=50",
        "-t",
        "1",
        "-vf",
        "interlace=scan=tff",
        "-c:v",
        "mpeg2video",
        "-flags",
        "+ilme+ildct",
        "-b:v",
        "4M",
    ];
    let input = clip(folder.path(), "interlaced.ts", &arguments);
    let output = folder.path().join("out.mp4");
    let copied = copy(&input, &output);
    assert!(copied.notes.iter().any(|note| note.contains("deinterlaced")), "{:?}", copied.notes);
    assert_same_times(&input, &output, 0.0011);
    assert_eq!(stream(&output, "video")["field_order"], "progressive");
}

#[test]
fn transparency_is_flattened_over_black() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = [
        "-f",
        "lavfi",
        "-i",
        "color=white:size=64x64:rate=10,format=argb,colorchannelmixer=aa=0.5",
        "-t",
        "0.3",
        "-c:v",
        "qtrle",
    ];
    let input = clip(folder.path(), "half.mov", &arguments);
    let output = folder.path().join("out.mp4");
    let copied = copy(&input, &output);
    assert!(copied.notes.iter().any(|note| note.contains("transparency")), "{:?}", copied.notes);
    let (.., pixels) = frame_rgb(&output, 0);
    let mean = pixels.iter().map(|value| f64::from(*value)).sum::<f64>() / pixels.len() as f64;
    assert!((mean - 127.5).abs() < 2.5, "{mean}");
}

#[test]
fn high_dynamic_range_is_tone_mapped_and_tagged_as_such() {
    let folder = tempfile::tempdir().unwrap();
    for transfer in ["smpte2084", "arib-std-b67"] {
        let arguments = [
            "-f",
            "lavfi",
            "-i",
            "testsrc2=size=160x90:rate=10",
            "-t",
            "0.4",
            "-vf",
            &format!("format=yuv420p10le,setparams=color_primaries=bt2020:color_trc={transfer}:colorspace=bt2020nc"),
            "-c:v",
            "libx264",
        ];
        let input = clip(folder.path(), &format!("{transfer}.mkv"), &arguments);
        let output = folder.path().join(format!("{transfer}.mp4"));
        let copied = copy(&input, &output);
        assert!(copied.notes.iter().any(|note| note.contains("tone-mapped")), "{:?}", copied.notes);
        let video = stream(&output, "video");
        for tag in ["color_space", "color_primaries", "color_transfer"] {
            assert_eq!(video[tag], "bt709", "{tag}");
        }
    }
}

#[test]
fn a_change_of_size_or_clock_in_the_middle_keeps_every_frame() {
    let folder = tempfile::tempdir().unwrap();
    let make = |name, size: &str| {
        let source = format!("testsrc2=size={size}:rate=25");
        clip(
            folder.path(),
            name,
            &["-f", "lavfi", "-i", &source, "-t", "0.8", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-f", "mpegts"],
        )
    };
    let (first, second) = (make("1.ts", "160x90"), make("2.ts", "320x180"));
    let input = folder.path().join("joined.ts");
    std::fs::write(&input, [std::fs::read(first).unwrap(), std::fs::read(second).unwrap()].concat()).unwrap();
    let output = folder.path().join("out.mp4");
    let copied = copy(&input, &output);
    assert_eq!((copied.written.frames, copied.damage), (40, None));
    let times = frame_times(&output);
    assert_eq!(times.len(), 40);
    for pair in times.windows(2) {
        assert!((pair[1] - pair[0] - 0.04).abs() < 0.025, "{times:?}");
    }
}

#[test]
fn a_truncated_file_gives_what_it_holds_and_says_how_much_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let whole = test_clip(folder.path(), "whole.mp4", &["-movflags", "+faststart", "-bf", "0"]);
    let bytes = std::fs::read(&whole).unwrap();
    let input = folder.path().join("cut.mp4");
    std::fs::write(&input, &bytes[..bytes.len() * 6 / 10]).unwrap();
    let output = folder.path().join("out.mp4");
    let copied = copy(&input, &output);
    let damage = copied.damage.unwrap();
    assert!(damage.contains("missing at the end"), "{damage}");
    assert!((3..25).contains(&copied.written.frames), "{}", copied.written.frames);
    assert_eq!(frame_times(&output).len() as u64, copied.written.frames);
}

#[test]
fn flipped_bits_are_counted_and_the_rest_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let whole = test_clip(folder.path(), "whole.mp4", &["-movflags", "+faststart"]);
    let mut bytes = std::fs::read(&whole).unwrap();
    let start = bytes.len() / 3;
    for step in 0..40 {
        let at = start + step * (bytes.len() - start) / 40;
        bytes[at] ^= 0xff;
    }
    let input = folder.path().join("flipped.mp4");
    std::fs::write(&input, bytes).unwrap();
    let copied = copy(&input, &folder.path().join("out.mp4"));
    assert!(copied.damage.is_some());
    assert!(copied.written.frames >= 10, "{}", copied.written.frames);
}

#[test]
fn damaged_clips_of_the_extra_material_are_reported() {
    let Some(odd) = shared("clips/odd") else { return };
    let folder = tempfile::tempdir().unwrap();
    for name in ["truncated_faststart.mp4", "corrupt_bits.mp4"] {
        let copied = copy(&odd.join(name), &folder.path().join(name));
        println!("{name}: {:?}", copied.damage);
        assert!(copied.damage.is_some(), "{name}");
        assert!(copied.written.frames > 10, "{name}");
    }
    let copied = copy(&odd.join("resolution_change.ts"), &folder.path().join("resolution_change.mp4"));
    assert_eq!((copied.written.frames, copied.damage), (40, None));
}

#[test]
fn files_that_are_no_video_give_one_clear_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let sound = clip(folder.path(), "sound.m4a", &["-f", "lavfi", "-i", "sine=duration=0.2", "-c:a", "aac"]);
    let cases = [
        (folder.path().join("missing.mp4"), "No such file"),
        (folder.path().to_owned(), "is a directory"),
        (file("empty.mp4", b""), "is empty"),
        (file("text.mp4", &b"plain text\n".repeat(100)), "not a video"),
        (sound, "no video stream (only sound)"),
    ];
    for (path, expected) in cases {
        let error = VideoReader::open(&path, ReaderOptions::default()).err().unwrap();
        let text = format!("{error:#}");
        assert!(text.contains(expected) && text.contains(path.to_str().unwrap()), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }
}

#[test]
fn an_output_that_cannot_be_written_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let input = test_clip(folder.path(), "in.mp4", &[]);
    let before = std::fs::read_dir(folder.path()).unwrap().count();
    let existing = folder.path().join("in.mp4");
    let cases = [
        (existing, EncoderSettings::default(), "is the input"),
        (folder.path().join("nowhere/out.mp4"), EncoderSettings::default(), "there is no folder"),
        (folder.path().join("out.xyz"), EncoderSettings::default(), "expected .mp4"),
        (folder.path().join("out.png"), EncoderSettings::default(), "expected .mp4"),
        (folder.path().join("out.mp3"), EncoderSettings::default(), "cannot hold video"),
        (folder.path().join("out"), EncoderSettings::default(), "expected .mp4"),
        (
            folder.path().join("out.mp4"),
            EncoderSettings { codec: Some("nonsense".to_owned()), ..EncoderSettings::default() },
            "no video encoder",
        ),
        (
            folder.path().join("out.webm"),
            EncoderSettings { codec: Some("h264".to_owned()), ..EncoderSettings::default() },
            "cannot hold h264",
        ),
        (
            folder.path().join("out.mp4"),
            EncoderSettings { options: vec![("nonsense".to_owned(), "1".to_owned())], ..EncoderSettings::default() },
            "no option 'nonsense'",
        ),
        (
            folder.path().join("out.mp4"),
            EncoderSettings { preset: Some("nonsense".to_owned()), ..EncoderSettings::default() },
            "preset=nonsense",
        ),
        (
            folder.path().join("out.mp4"),
            EncoderSettings { pixel_format: Some("pal8".to_owned()), ..EncoderSettings::default() },
            "pixel format 'pal8'",
        ),
    ];
    for (output, encoder, expected) in cases {
        let error = copy_with(&input, &output, Cut::default(), WriterOptions { encoder, ..WriterOptions::default() });
        let text = format!("{:#}", error.err().unwrap());
        assert!(text.contains(expected), "{expected}: {text}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), before, "{expected}");
    }
}

#[test]
fn an_existing_output_is_replaced_only_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    let input = test_clip(folder.path(), "in.mp4", &[]);
    let output = folder.path().join("out.mp4");
    std::fs::write(&output, "precious").unwrap();
    let refused = copy_with(&input, &output, Cut::default(), WriterOptions::default());
    assert!(refused.err().unwrap().to_string().contains("exists"));
    assert_eq!(std::fs::read(&output).unwrap(), b"precious");
    copy_with(&input, &output, Cut::default(), WriterOptions { overwrite: true, ..WriterOptions::default() }).unwrap();
    assert_eq!(frame_times(&output).len(), 25);
}

#[test]
fn names_with_colons_and_spaces_are_files() {
    let folder = tempfile::tempdir().unwrap();
    let input = test_clip(folder.path(), "in.mp4", &[]);
    let strange = folder.path().join("a: b #1 %d.mp4");
    std::fs::rename(&input, &strange).unwrap();
    let output = folder.path().join("http:out 100%.mp4");
    copy(&strange, &output);
    assert_eq!(frame_times(&output).len(), 25);
}
