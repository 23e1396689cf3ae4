//! Videos that were written by two writers, the second of which goes on with what the first one kept.

use std::path::Path;

use crate::common::{clip, frame_rgb, frame_times, mean_levels, packets, probe, stream};
use impasto::media::{Cut, EncoderSettings, Journal, ReaderOptions, Settings, VideoReader, VideoWriter, WriterOptions};

const FRAMES: usize = 75;

fn options(codec: &str, more: &[(&str, &str)]) -> WriterOptions {
    let options = more.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    WriterOptions {
        encoder: EncoderSettings { codec: Some(codec.to_owned()), options, threads: 2, ..EncoderSettings::default() },
        ..WriterOptions::default()
    }
}

/// How a run ends.
#[derive(Clone, Copy)]
enum End {
    /// With the clip.
    Whole,
    /// Killed after so many frames.
    Killed(usize),
    /// Asked to stop after so many frames.
    Stopped(usize),
}

/// Writes frames with the journal; those that it has already are passed by. Tells how many are in the output, if there is one.
fn write(input: &Path, output: &Path, options: &WriterOptions, journal: Journal, end: End) -> Option<u64> {
    let mut reader = VideoReader::open(input, ReaderOptions::default()).unwrap();
    let mut writer = VideoWriter::create(output, reader.info(), Some(&reader), options).unwrap();
    let seam = journal.frames();
    writer.go_on_with(journal).unwrap();
    while let Some(frame) = reader.next_frame().unwrap() {
        if frame.frame_index >= seam {
            writer.write(&frame).unwrap();
        }
        match end {
            End::Killed(frames) if frames == frame.frame_index as usize + 1 => return None,
            End::Stopped(frames) if frames == frame.frame_index as usize + 1 => {
                return Some(writer.finish(true).unwrap().frames);
            }
            _ => {}
        }
    }
    Some(writer.finish(false).unwrap().frames)
}

/// Everything that ffmpeg says of a file while it decodes it.
fn complaints(path: &Path) -> String {
    let output = std::process::Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-i"])
        .arg(path)
        .args(["-fps_mode", "passthrough", "-enc_time_base", "-1", "-f", "null", "-"])
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Interrupted in each of these ways, a video is like one that was written in one go.
fn assert_goes_on(folder: &Path, input: &Path, name: &str, options: &WriterOptions, ends: &[End]) {
    let (whole, output, state) = (folder.join(format!("whole-{name}")), folder.join(name), folder.join("a.state"));
    let journal = || Journal::create(&state, Settings::new(), Vec::new()).unwrap();
    assert_eq!(write(input, &whole, options, journal(), End::Whole), Some(FRAMES as u64), "{name}");
    let mut journal = journal();
    let mut seams = Vec::new();
    for end in ends {
        let in_output = write(input, &output, options, journal, *end);
        assert_eq!(output.exists(), in_output.is_some());
        let bytes = output.metadata().ok().map(|output| output.len());
        let _ = std::fs::remove_file(&output);
        journal = Journal::open(&state).unwrap();
        assert!(bytes.is_none_or(|bytes| journal.outputs().contains(&bytes)), "what took the name is known for ours");
        seams.push(journal.frames() as usize);
    }
    assert!(seams[seams.len() - 1] > 0 && seams.is_sorted(), "{name}: {seams:?} frames are kept");
    assert_eq!(write(input, &output, options, journal, End::Whole), Some(FRAMES as u64), "{name}");

    assert_eq!(frame_times(&output), frame_times(&whole), "{name}");
    assert_eq!(packets(&output, "a"), packets(&whole, "a"), "{name}");
    for key in ["codec_name", "profile", "time_base", "r_frame_rate", "avg_frame_rate", "start_time", "duration"] {
        assert_eq!(stream(&output, "video")[key], stream(&whole, "video")[key], "{name}: {key}");
    }
    assert_eq!(complaints(&output), "", "{name}");
    let around = seams.iter().filter(|seam| **seam > 0).flat_map(|seam| [seam - 1, *seam, seam + 1]);
    for frame in around.chain([0, FRAMES - 1]) {
        let [of_input, painted] = [input, &output].map(|path| frame_rgb(path, frame).2);
        let difference = mean_levels(&of_input, &painted);
        assert!(difference < 6.0, "{name}: frame {frame} differs from the input's by {difference} levels");
    }
}

#[test]
fn a_video_of_two_writers_is_like_one_of_one() {
    let folder = tempfile::tempdir().unwrap();
    let inputs = ["-f", "lavfi", "-i", "testsrc2=size=160x90:rate=25,gblur=2", "-f", "lavfi", "-i", "sine"];
    let encoders = ["-t", "3", "-pix_fmt", "yuv420p", "-c:v", "libx264", "-c:a", "aac"];
    let input = clip(folder.path(), "in.mp4", &[&inputs[..], &encoders].concat());
    for (name, codec, more) in [
        ("h264.mp4", "h264", &[][..]),
        ("short.mkv", "h264", &[("bf", "5"), ("rc-lookahead", "4")]),
        ("open.mp4", "hevc", &[("g", "20")]),
        ("av1.mkv", "av1", &[]),
        ("header.mkv", "libaom-av1", &[("cpu-used", "8"), ("lag-in-frames", "5")]),
        ("vp9.webm", "vp9", &[("lag-in-frames", "8")]),
        ("mpeg4.avi", "mpeg4", &[]),
        ("mpeg2.mkv", "mpeg2video", &[("bf", "2")]),
        ("transport.ts", "h264", &[("bf", "3"), ("rc-lookahead", "4")]),
        ("theora.ogv", "libtheora", &[]),
        ("ffv1.mkv", "ffv1", &[]),
        ("prores.mov", "prores", &[]),
    ] {
        assert_goes_on(folder.path(), &input, name, &options(codec, more), &[End::Killed(57), End::Killed(66)]);
    }
}

#[test]
fn times_of_a_variable_rate_stay_across_a_seam() {
    let folder = tempfile::tempdir().unwrap();
    let source = "testsrc2=size=160x90:rate=25:duration=6,gblur=2,select='not(mod(n\\,2))+lt(mod(n\\,7)\\,1)',setpts='PTS+mod(N\\,3)*80'";
    let arguments = ["-f", "lavfi", "-i", source, "-fps_mode", "passthrough", "-frames:v", "75", "-bf", "3"];
    let input = clip(folder.path(), "in.mkv", &arguments);
    for name in ["out.mp4", "out.mkv"] {
        let more = [("bf", "4"), ("rc-lookahead", "3")];
        let ends = [End::Killed(20), End::Stopped(43), End::Killed(51)];
        assert_goes_on(folder.path(), &input, name, &options("h264", &more), &ends);
    }
}

#[test]
fn an_encoder_that_ended_early_is_followed_on_a_clock_that_counts_frames() {
    let folder = tempfile::tempdir().unwrap();
    let source = "testsrc2=size=160x90:rate=25:duration=3,gblur=2";
    let input = clip(folder.path(), "in.avi", &["-f", "lavfi", "-i", source, "-c:v", "mpeg4", "-q:v", "2"]);
    for (name, codec, more) in [
        ("h264.mp4", "h264", &[][..]),
        ("h264.mkv", "h264", &[]),
        ("hevc.mp4", "hevc", &[]),
        ("mpeg2.ts", "mpeg2video", &[("bf", "2")]),
    ] {
        let ends = [1, 3, 4, 60].map(End::Stopped);
        assert_goes_on(folder.path(), &input, name, &options(codec, more), &ends);
    }
}

#[test]
fn threads_make_no_other_encoder_and_some_can_never_be_followed() {
    let folder = tempfile::tempdir().unwrap();
    let input = clip(folder.path(), "in.mp4", &["-f", "lavfi", "-i", "testsrc2=size=160x90:rate=25:duration=1"]);
    let reader = VideoReader::open(&input, ReaderOptions::default()).unwrap();
    let identity = |name: &str, options: WriterOptions| {
        VideoWriter::create(&folder.path().join(name), reader.info(), Some(&reader), &options)
            .unwrap()
            .encoder_identity()
    };
    for codec in ["h264", "hevc", "av1", "vp9"] {
        let [one, two] = [1, 2].map(|threads| {
            let mut options = options(codec, &[]);
            options.encoder.threads = threads;
            identity("a.mkv", options)
        });
        assert!(one.is_some() && one == two, "{codec}: {one:?} {two:?}");
        let other = WriterOptions {
            encoder: EncoderSettings { pixel_format: Some("yuv420p10le".to_owned()), ..options(codec, &[]).encoder },
            ..WriterOptions::default()
        };
        assert_ne!(identity("a.mkv", other), one, "{codec}");
    }
    for name in ["a.gif", "a.y4m", "a.drc"] {
        assert_eq!(identity(name, WriterOptions::default()), None, "{name}");
    }
}

#[test]
fn options_of_ones_own_for_x265_leave_its_silence() {
    let folder = tempfile::tempdir().unwrap();
    let source = format!("testsrc2=size=160x90:rate=25,trim=end_frame={FRAMES}");
    let input = clip(folder.path(), "in.mp4", &["-f", "lavfi", "-i", &source, "-pix_fmt", "yuv420p"]);
    let reader = VideoReader::open(&input, ReaderOptions::default()).unwrap();
    let identity = |threads: usize| {
        let mut options = options("hevc", &[("x265-params", "keyint=10:min-keyint=10")]);
        options.encoder.threads = threads;
        let output = folder.path().join("out.mkv");
        VideoWriter::create(&output, reader.info(), Some(&reader), &options).unwrap().encoder_identity().unwrap()
    };
    assert_eq!(identity(1), identity(2), "a header with all options in it would tell how many threads there are");
    let options = options("hevc", &[("x265-params", "keyint=10:min-keyint=10")]);
    let output = folder.path().join("out.mkv");
    let journal = Journal::create(&folder.path().join("a.state"), Settings::new(), Vec::new()).unwrap();
    write(&input, &output, &options, journal, End::Whole);
    let bytes = std::fs::read(&output).unwrap();
    assert!(!bytes.windows(6).any(|bytes| bytes == b"(build"), "x265 says nothing of itself");
    let flags = probe(&output, &["-select_streams", "v", "-show_entries", "packet=flags"]);
    let keys =
        flags["packets"].as_array().unwrap().iter().filter(|packet| packet["flags"].as_str().unwrap().starts_with('K'));
    assert_eq!(keys.count(), FRAMES.div_ceil(10), "what was asked for is done");
}

/// Index, time and pixels.
type Told = (u64, i64, Vec<u8>);

/// What comes of a clip whose first `passed` frames are passed by, and its damage.
fn rest(input: &Path, cut: Cut, passed: usize) -> (Vec<Told>, Option<String>) {
    let mut reader = VideoReader::open(input, ReaderOptions { cut, ..ReaderOptions::default() }).unwrap();
    for _ in 0..passed {
        assert!(reader.pass_by().unwrap());
    }
    let mut frames = Vec::new();
    while let Some(frame) = reader.next_frame().unwrap() {
        frames.push((frame.frame_index, frame.timestamp.pts, frame.pixels().to_vec()));
    }
    assert!(!reader.pass_by().unwrap());
    (frames, reader.damage().describe())
}

#[test]
fn behind_frames_that_were_passed_by_all_is_as_it_would_have_been() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let source = "testsrc2=size=160x90:rate=25:duration=1";
    let make = |name: &str, more: &[&str]| clip(folder, name, &[&["-f", "lavfi", "-i", source], more].concat());
    let plain = make("plain.mp4", &["-pix_fmt", "yuv420p"]);
    let small = make("small.ts", &["-vf", "scale=96:64", "-pix_fmt", "yuv420p"]);
    let large = make("large.ts", &["-pix_fmt", "yuv420p"]);
    let joined = folder.join("joined.ts");
    std::fs::write(&joined, [std::fs::read(large).unwrap(), std::fs::read(small).unwrap()].concat()).unwrap();
    let mut damaged = std::fs::read(make("d.ts", &["-pix_fmt", "yuv420p", "-g", "5"])).unwrap();
    let middle = damaged.len() / 3;
    damaged[middle..middle + 4000].fill(0x55);
    std::fs::write(folder.join("damaged.ts"), damaged).unwrap();
    let interlaced = ["-vf", "interlace", "-c:v", "mpeg2video", "-flags", "+ildct+ilme", "-b:v", "4M"];
    let part = Cut { start: Some("0.2".parse().unwrap()), end: Some("0.8".parse().unwrap()), frames: Some(12) };
    for (input, cut) in [
        (&plain, Cut::default()),
        (&plain, part),
        (&joined, Cut::default()),
        (&folder.join("damaged.ts"), Cut::default()),
        (&make("fields.ts", &interlaced), Cut::default()),
        (
            &make("uneven.mkv", &["-vf", "setpts=PTS*(1+mod(N\\,3))", "-fps_mode", "vfr", "-pix_fmt", "yuv420p"]),
            Cut::default(),
        ),
        (&make("clear.mov", &["-vf", "format=rgba,colorchannelmixer=aa=0.5", "-c:v", "qtrle"]), Cut::default()),
    ] {
        let (whole, damage) = rest(input, cut, 0);
        assert!(whole.len() > 10, "{}", input.display());
        for passed in [1, 2, 9, whole.len()] {
            let (behind, also) = rest(input, cut, passed);
            assert!(behind == whole[passed..], "{} behind {passed}", input.display());
            assert_eq!(also, damage, "{}", input.display());
        }
    }
}
