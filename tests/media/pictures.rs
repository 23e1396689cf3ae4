//! Colours, turns, shapes, and what becomes of pictures that are not plain.

use std::path::{Path, PathBuf};

use super::{assert_same_times, copy, copy_with, test_clip};
use crate::common::{clip, ffmpeg, frame_rgb, mean_difference, packets, stream};
use impasto::media::{Cut, EncoderSettings, WriterOptions, encoders};

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
fn pixel_shape_is_kept_and_turns_with_the_picture() {
    let folder = tempfile::tempdir().unwrap();
    let input = test_clip(folder.path(), "wide.mp4", &["-vf", "setsar=32/27"]);
    // FFV1 leaves it to the container.
    let lossless = clip(
        folder.path(),
        "wide.mkv",
        &["-f", "lavfi", "-i", "testsrc2=size=160x96:rate=10:duration=1,setsar=32/27", "-c:v", "ffv1"],
    );
    for (input, name) in [(&input, "out.mp4"), (&input, "out.mkv"), (&lossless, "lossless.mp4")] {
        let output = folder.path().join(name);
        copy(input, &output);
        assert_eq!(stream(&output, "video")["sample_aspect_ratio"], "32:27", "{name}");
    }
    let rotated = rotated_copy(&input, "90");
    let output = folder.path().join("rotated-out.mp4");
    copy(&rotated, &output);
    assert_eq!(stream(&output, "video")["sample_aspect_ratio"], "27:32");
}

#[test]
fn full_range_codecs_keep_the_colors_of_limited_video() {
    let folder = tempfile::tempdir().unwrap();
    let bars =
        ["-f", "lavfi", "-i", "smptehdbars=size=320x180:rate=25", "-frames:v", "2", "-c:v", "libx264", "-crf", "1"];
    let limited = ["-vf", "scale=out_color_matrix=bt709:out_range=tv,format=yuv420p", "-colorspace", "bt709"];
    let input = clip(folder.path(), "in.mp4", &[&bars[..], &limited[..], &["-color_range", "tv"]].concat());
    for (name, codec, pixel_format) in [
        ("motion.mkv", "mjpeg", None),
        ("motion.mov", "mjpeg", None),
        ("named.mkv", "mjpeg", Some("yuvj444p")),
        ("plain.mkv", "h264", Some("yuvj420p")),
    ] {
        let output = folder.path().join(name);
        let encoder = EncoderSettings {
            codec: Some(codec.to_owned()),
            pixel_format: pixel_format.map(str::to_owned),
            ..EncoderSettings::default()
        };
        copy_with(&input, &output, Cut::default(), WriterOptions { encoder, ..WriterOptions::default() }).unwrap();
        assert_eq!(stream(&output, "video")["color_range"], "pc", "{name}");
        let difference = mean_difference(&frame_rgb(&input, 1).2, &frame_rgb(&output, 1).2);
        assert!(difference.iter().all(|levels| *levels <= 2.5), "{name}: {difference:?}");
    }
}

#[test]
fn a_size_that_an_encoder_refuses_goes_to_the_next_of_its_codec() {
    let folder = tempfile::tempdir().unwrap();
    let encoders = encoders().into_iter().find(|ability| ability.codec == "av1").unwrap();
    if encoders.found.is_none() {
        println!("skipped: this FFmpeg has no encoder for AV1");
        return;
    }
    let encoder = EncoderSettings { codec: Some("av1".to_owned()), ..EncoderSettings::default() };
    for (name, size) in [("odd.mkv", "161:91"), ("tiny.mkv", "16:16")] {
        let input = test_clip(folder.path(), name, &["-vf", &format!("scale={size}"), "-pix_fmt", "yuv444p"]);
        let output = folder.path().join(format!("out-{name}"));
        let options = WriterOptions { encoder: encoder.clone(), ..WriterOptions::default() };
        copy_with(&input, &output, Cut::default(), options).unwrap();
        let video = stream(&output, "video");
        assert_eq!(format!("{}:{}", video["width"], video["height"]), size);
        assert_eq!(video["codec_name"], "av1");
    }
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
fn codecs_with_several_kinds_can_be_decoded_again() {
    let folder = tempfile::tempdir().unwrap();
    let input = test_clip(folder.path(), "in.mp4", &[]);
    for (name, codec, options) in [
        ("ut.mkv", "utvideo", &[][..]),
        ("ut.avi", "utvideo", &[]),
        ("raw.avi", "rawvideo", &[]),
        ("proxy.mov", "prores", &[("profile", "proxy")]),
        ("magic.mkv", "magicyuv", &[]),
    ] {
        let options = options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let encoder = EncoderSettings { codec: Some(codec.to_owned()), options, ..EncoderSettings::default() };
        let output = folder.path().join(name);
        copy_with(&input, &output, Cut::default(), WriterOptions { encoder, ..WriterOptions::default() }).unwrap();
        let difference = mean_difference(&frame_rgb(&input, 3).2, &frame_rgb(&output, 3).2);
        assert!(difference.iter().all(|levels| *levels < 3.0), "{name}: {difference:?}");
    }
    assert_eq!(stream(&folder.path().join("proxy.mov"), "video")["codec_tag_string"], "apco");
}

#[test]
fn every_container_has_a_codec_that_takes_any_clip() {
    let folder = tempfile::tempdir().unwrap();
    let input = test_clip(folder.path(), "in.mp4", &[]);
    for name in
        ["out.mpg", "out.vob", "out.ts", "out.wmv", "out.asf", "out.ogv", "out.3gp", "out.avi", "out.flv", "out.nut"]
    {
        let output = folder.path().join(name);
        assert_eq!(copy(&input, &output).written.frames, 25, "{name}");
        // In a program stream the last picture may have no time of its own.
        let mut times: Vec<f64> = packets(&output, "v:0").iter().map(|packet| packet.0).collect();
        times.sort_by(f64::total_cmp);
        assert!(times.len() >= 24 && (times[23] - times[0] - 0.92).abs() < 0.01, "{name}: {times:?}");
        let difference = mean_difference(&frame_rgb(&input, 12).2, &frame_rgb(&output, 12).2);
        println!("{name}: {difference:?}");
        assert!(difference.iter().all(|levels| *levels < 4.0), "{name}: {difference:?}");
    }
}

#[test]
fn full_range_becomes_limited_where_a_codec_cannot_say_so() {
    let folder = tempfile::tempdir().unwrap();
    let full = ["-vf", "scale=out_range=pc,format=yuv420p", "-color_range", "pc"];
    let bars =
        ["-f", "lavfi", "-i", "smptehdbars=size=320x180:rate=25", "-frames:v", "2", "-c:v", "libx264", "-crf", "1"];
    let input = clip(folder.path(), "in.mp4", &[&bars[..], &full[..]].concat());
    let output = folder.path().join("out.avi");
    copy(&input, &output);
    let difference = mean_difference(&frame_rgb(&input, 1).2, &frame_rgb(&output, 1).2);
    assert!(difference.iter().all(|levels| *levels < 3.0), "{difference:?}");
}

#[test]
fn high_dynamic_range_of_an_odd_size_is_tone_mapped() {
    let folder = tempfile::tempdir().unwrap();
    let tags = "format=yuv420p10le,setparams=color_primaries=bt2020:color_trc=smpte2084:colorspace=bt2020nc:range=tv";
    let source = ["-f", "lavfi", "-i", "testsrc=size=161x91:rate=25", "-frames:v", "2", "-vf", tags, "-c:v", "ffv1"];
    let input = clip(folder.path(), "in.mkv", &source);
    let copied = copy(&input, &folder.path().join("out.mkv"));
    assert_eq!(copied.written.frames, 2);
    assert!(copied.notes.iter().any(|note| note.contains("high dynamic range")), "{:?}", copied.notes);
    let video = stream(&folder.path().join("out.mkv"), "video");
    assert_eq!((video["width"].as_u64(), video["height"].as_u64()), (Some(161), Some(91)));
}
