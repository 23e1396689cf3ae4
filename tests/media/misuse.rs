//! What a program may ask of reader and writer that makes no video: an error, and whatever was there stays.

use std::path::Path;

use impasto::frame::{Frame, FrameSize};
use impasto::media::{VideoInfo, VideoWriter, WriterOptions};

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
