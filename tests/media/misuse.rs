//! What a program may ask of reader and writer that makes no video: an error, and whatever was there stays.

use std::path::Path;

use impasto::frame::{Frame, FrameSize, Timestamp};
use impasto::media::{
    Cut, EncoderSettings, Rational, ReaderOptions, Time, VideoInfo, VideoReader, VideoWriter, WriterOptions,
    check_codec,
};

const SIZE: FrameSize = FrameSize::new(64, 48);

fn writer(output: &Path, info: &VideoInfo) -> VideoWriter {
    let options = WriterOptions { overwrite: true.into(), ..WriterOptions::default() };
    VideoWriter::create(output, info, None, &options).unwrap()
}

#[test]
fn a_video_without_frames_is_an_error_and_replaces_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out.mp4");
    std::fs::write(&output, "there before").unwrap();
    let error = writer(&output, &VideoInfo::plain(SIZE, 25)).finish(false).unwrap_err().to_string();
    assert!(error.contains("no frame") && error.contains("out.mp4"), "{error}");
    assert_eq!(std::fs::read(&output).unwrap(), b"there before");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_frame_that_does_not_fit_its_size_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = writer(&folder.path().join("out.mp4"), &VideoInfo::plain(SIZE, 25));
    let mut frame = Frame::black(FrameSize::new(8, 8));
    frame.size = SIZE;
    let error = writer.write(&frame).unwrap_err().to_string();
    assert!(error.contains("64×48") && error.contains("192 bytes"), "{error}");
}

#[test]
fn no_timestamp_is_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["out.mp4", "out.mkv"] {
        for pts in [i64::MIN, i64::MIN + 1, i64::MAX - 1, i64::MAX] {
            for duration in [i64::MIN, 1, i64::MAX] {
                let mut writer = writer(&folder.path().join(name), &VideoInfo::plain(SIZE, 25));
                let mut frame = Frame::black(SIZE);
                // Whether FFmpeg takes them is its to say.
                let written = [0, pts, pts, 1].into_iter().try_for_each(|pts| {
                    frame.timestamp = Timestamp { pts, duration };
                    writer.write(&frame)
                });
                let _ = written.and_then(|()| writer.finish(false).map(drop));
            }
        }
    }
}

#[test]
fn a_part_may_begin_and_end_at_any_time() {
    let folder = tempfile::tempdir().unwrap();
    let input = super::test_clip(folder.path(), "in.mp4", &["-t", "0.4"]);
    let frames = |start: i64, end: i64| -> Result<u64, String> {
        let cut = Cut { start: Some(Time(start)), end: Some(Time(end)), frames: None };
        let options = ReaderOptions { cut, ..ReaderOptions::default() };
        let mut reader = VideoReader::open(&input, options).map_err(|error| error.to_string())?;
        let mut frames = 0;
        while let Some(frame) = reader.next_frame().unwrap() {
            assert_eq!(frame.timestamp.pts == 0, frames == 0, "the part starts at zero");
            frames += 1;
        }
        Ok(frames)
    };
    assert_eq!(frames(i64::MIN, i64::MAX), Ok(10));
    assert_eq!(frames(-1_000_000, 200_000), Ok(5));
    for (start, end) in [(i64::MAX, i64::MAX), (i64::MIN, i64::MIN), (0, -1)] {
        let error = frames(start, end).unwrap_err();
        assert!(error.contains("no frames in the chosen part"), "{start} to {end}: {error}");
    }
}

#[test]
fn what_ends_in_the_middle_for_ffmpeg_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let info = VideoInfo::plain(SIZE, 25);
    let nul = || Some("x\0y".to_owned());
    let with_options = |options: &[(&str, &str)]| EncoderSettings {
        options: options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        ..EncoderSettings::default()
    };
    for encoder in [
        EncoderSettings { codec: nul(), ..EncoderSettings::default() },
        EncoderSettings { preset: nul(), ..EncoderSettings::default() },
        EncoderSettings { pixel_format: nul(), ..EncoderSettings::default() },
        with_options(&[("tu\0ne", "film")]),
        with_options(&[("tune", "fi\0lm")]),
    ] {
        let options = WriterOptions { encoder, ..WriterOptions::default() };
        assert!(VideoWriter::create(&folder.path().join("out.mp4"), &info, None, &options).is_err());
    }
    assert!(check_codec("h264\0").is_err());
    for path in ["a\0b.mp4", "http://127.0.0.1:9/\0"] {
        assert!(VideoReader::open(Path::new(path), ReaderOptions::default()).is_err());
        assert!(VideoWriter::create(Path::new(path), &info, None, &WriterOptions::default()).is_err());
    }
}

#[test]
fn numbers_that_no_encoder_takes_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = |info: &VideoInfo, crf: Option<f32>| {
        let options = WriterOptions {
            encoder: EncoderSettings { crf, ..EncoderSettings::default() },
            ..WriterOptions::default()
        };
        let error = VideoWriter::create(&folder.path().join("out.mp4"), info, None, &options).err().unwrap();
        format!("{error:#}")
    };
    let plain = VideoInfo::plain(SIZE, 25);
    for crf in [-5.0, 99.0, f32::NAN] {
        let error = error(&plain, Some(crf));
        assert!(error.starts_with(&format!("crf {crf} is out of the range")) && error.contains("0 to 51"), "{error}");
    }
    let still = VideoInfo { time_base: Rational(0, 1), ..plain.clone() };
    for info in [VideoInfo::plain(SIZE, 0), VideoInfo::plain(SIZE, -5), still] {
        let error = error(&info, None);
        assert!(error.contains(&format!("timed in {} s", info.time_base)) && error.contains("above 0"), "{error}");
    }
    let unknown = VideoInfo { frame_rate: Rational(0, 1), steady_rate: Rational(0, 1), ..plain };
    assert!(VideoWriter::create(&folder.path().join("out.mp4"), &unknown, None, &WriterOptions::default()).is_ok());
}
