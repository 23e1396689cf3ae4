//! Frames through reader and writer without a network: every timestamp, stream and colour comes out as it went in.
#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)] // A test that panics fails: as it should.

#[path = "../common/mod.rs"]
mod common;
mod faults;
mod misuse;
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
