//! Frames through reader and writer without a network: every timestamp, stream and colour comes out as it went in.
#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)] // A test that panics fails: as it should.

#[path = "../common/mod.rs"]
mod common;
mod faults;
mod misuse;
mod parts;
mod pictures;
mod resumed;
mod streams;
mod times;

use std::path::{Path, PathBuf};

use anyhow::Result;
use common::{clip, frame_times};
use impasto::media::{Cut, ReaderOptions, VideoReader, VideoWriter, WriterOptions, Written};

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
