//! Files that are damaged, no video or cannot be written.

use super::{copy, copy_with, test_clip};
use crate::common::{clip, frame_times, shared};
use impasto::media::{Cut, EncoderSettings, ReaderOptions, VideoReader, WriterOptions};

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
fn a_truncated_file_of_any_container_that_promises_a_length_says_how_much_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let sources = ["-f", "lavfi", "-i", "testsrc2=size=160x90:rate=25", "-f", "lavfi", "-i", "sine", "-t", "8"];
    for (name, video, sound) in [
        ("clip.mkv", "libx264", "aac"),
        ("clip.webm", "libvpx", "libopus"),
        ("clip.flv", "libx264", "aac"),
        ("clip.avi", "mpeg4", "mp3"),
    ] {
        let codecs = ["-c:v", video, "-b:v", "400k", "-g", "25", "-pix_fmt", "yuv420p", "-c:a", sound];
        let whole = clip(folder.path(), name, &[&sources[..], &codecs[..]].concat());
        let copied = copy(&whole, &folder.path().join(format!("{name}.mp4")));
        assert_eq!((copied.written.frames, copied.damage), (200, None), "{name}");

        let bytes = std::fs::read(&whole).unwrap();
        let cut = folder.path().join(format!("cut.{name}"));
        std::fs::write(&cut, &bytes[..bytes.len() * 6 / 10]).unwrap();
        let copied = copy(&cut, &folder.path().join(format!("cut.{name}.mp4")));
        let damage = copied.damage.unwrap();
        let missing: u64 = damage.split(' ').next().unwrap().parse().unwrap();
        assert!(damage.contains("missing at the end"), "{name}: {damage}");
        assert!(copied.written.frames.abs_diff(200 - missing) <= 2, "{name}: {} and {damage}", copied.written.frames);
    }
}

#[test]
fn a_hole_in_the_middle_of_a_file_is_told_in_every_container() {
    let folder = tempfile::tempdir().unwrap();
    let sources = ["-f", "lavfi", "-i", "testsrc2=size=160x90:rate=25", "-f", "lavfi", "-i", "sine", "-t", "8"];
    for (name, video, sound) in [
        ("clip.mkv", "mjpeg", "aac"),
        ("clip.webm", "libvpx", "libopus"),
        ("clip.flv", "libx264", "aac"),
        ("clip.ts", "libx264", "mp2"),
    ] {
        let codecs = ["-c:v", video, "-b:v", "400k", "-g", "25", "-pix_fmt", "yuv420p", "-c:a", sound];
        let strict = ["-strict", "unofficial"];
        let whole = clip(folder.path(), name, &[&sources[..], &codecs[..], &strict[..]].concat());
        let copied = copy(&whole, &folder.path().join(format!("{name}.mp4")));
        assert_eq!((copied.written.frames, copied.damage), (200, None), "{name}");

        let mut bytes = std::fs::read(&whole).unwrap();
        let middle = bytes.len() * 4 / 10..bytes.len() * 7 / 10;
        bytes[middle].fill(0);
        let holed = folder.path().join(format!("holed.{name}"));
        std::fs::write(&holed, bytes).unwrap();
        let copied = copy(&holed, &folder.path().join(format!("holed.{name}.mp4")));
        let damage = copied.damage.unwrap_or_default();
        assert!(damage.contains("unreadable place"), "{name}: {damage}");
        assert!((100..170).contains(&copied.written.frames), "{name}: {}", copied.written.frames);
    }
}

#[test]
fn a_file_that_is_cut_off_in_its_head_is_no_matter_of_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let whole = test_clip(folder.path(), "whole.mkv", &[]);
    let bytes = std::fs::read(&whole).unwrap();
    let input = folder.path().join("head.mkv");
    std::fs::write(&input, &bytes[..400]).unwrap();
    let error = VideoReader::open(&input, ReaderOptions::default()).err().unwrap().to_string();
    assert!(error.contains("head.mkv") && error.contains("was cut off"), "{error}");
}

#[test]
fn sound_that_outlasts_the_pictures_and_pictures_left_out_are_no_damage() {
    let folder = tempfile::tempdir().unwrap();
    let picture = "testsrc2=size=160x90:rate=25:duration=8";
    let sources = ["-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", "sine=duration=9"];
    let codecs = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-c:a", "mp3"];
    for (name, left_out, frames) in [
        ("long.mkv", "select=lt(n\\,100)", 100),
        ("long.flv", "select=lt(n\\,100)", 100),
        ("dropped.avi", "select=not(between(n\\,40\\,90))*lt(n\\,170)", 119),
    ] {
        let select = ["-vf", left_out, "-fps_mode", "passthrough"];
        let input = clip(folder.path(), name, &[&sources[..], &select[..], &codecs[..]].concat());
        let copied = copy(&input, &folder.path().join(format!("{name}.mp4")));
        assert_eq!((copied.written.frames, copied.damage), (frames, None), "{name}");
    }
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
            "has no preset 'nonsense'",
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
    copy_with(&input, &output, Cut::default(), WriterOptions { overwrite: true.into(), ..WriterOptions::default() })
        .unwrap();
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
