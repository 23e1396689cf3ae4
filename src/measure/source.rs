//! Where the frames of a clip come from: a video file, or a folder of stills.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, ensure};

use super::stills;
use crate::frame::{Frame, FrameSize};
use crate::media::{ReaderOptions, VideoReader};

/// A clip, frame by frame.
pub struct FrameSource {
    path: PathBuf,
    size: FrameSize,
    kind: Kind,
    frames_given: u64,
}

enum Kind {
    Video(Box<VideoReader>),
    Stills(std::vec::IntoIter<PathBuf>),
}

impl FrameSource {
    /// Opens a video file, or a folder of PNG and JPEG pictures, which come by name; numbers within names count as
    /// numbers.
    ///
    /// # Errors
    /// If there is no such file, or it holds no frames that can be read.
    pub fn open(path: &Path) -> Result<Self> {
        let (size, kind) = if path.is_dir() {
            let pictures = stills::list(path, stills::EXTENSIONS)?;
            ensure!(
                !pictures.is_empty(),
                "the folder '{}' holds no pictures (expected .{})",
                path.display(),
                stills::EXTENSIONS.join(", .")
            );
            (stills::read(&pictures[0])?.size, Kind::Stills(pictures.into_iter()))
        } else {
            let reader = VideoReader::open(path, ReaderOptions::default())?;
            (reader.info().size, Kind::Video(Box::new(reader)))
        };
        Ok(Self { path: path.to_owned(), size, kind, frames_given: 0 })
    }

    /// The file or folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Size of the frames.
    pub fn size(&self) -> FrameSize {
        self.size
    }

    /// How many frames have come.
    pub fn frames_given(&self) -> u64 {
        self.frames_given
    }

    /// How many frames there are in all, if that is known or can be guessed.
    pub fn expected_frames(&self) -> Option<u64> {
        match &self.kind {
            Kind::Video(reader) => reader.info().expected_frames,
            Kind::Stills(paths) => Some(self.frames_given + paths.len() as u64),
        }
    }

    /// What was changed on the way in that a person should know.
    pub fn notes(&self) -> &[String] {
        match &self.kind {
            Kind::Video(reader) => &reader.info().notes,
            Kind::Stills(_) => &[],
        }
    }

    /// What could not be read or decoded so far, if anything.
    pub fn damage(&self) -> Option<String> {
        match &self.kind {
            Kind::Video(reader) => reader.damage().describe(),
            Kind::Stills(_) => None,
        }
    }

    /// When a frame of this source is shown; 0 for stills.
    pub fn media_time(&self, frame: &Frame) -> Duration {
        match &self.kind {
            Kind::Video(reader) => {
                let seconds = frame.timestamp.pts as f64 * f64::from(reader.info().time_base);
                Duration::try_from_secs_f64(seconds).unwrap_or_default()
            }
            Kind::Stills(_) => Duration::ZERO,
        }
    }

    /// The next frame, or `None` at the end. Blocks while it is read and decoded.
    ///
    /// # Errors
    /// If it cannot be read, or its size is not that of the first.
    pub fn next_frame(&mut self) -> Result<Option<Frame>> {
        let frame = match &mut self.kind {
            Kind::Video(reader) => reader.next_frame()?,
            Kind::Stills(paths) => match paths.next() {
                Some(path) => {
                    let frame = stills::read(&path)?;
                    ensure!(
                        frame.size == self.size,
                        "the picture '{}' is {} (expected {} as the first of its folder)",
                        path.display(),
                        frame.size,
                        self.size
                    );
                    Some(frame)
                }
                None => None,
            },
        };
        self.frames_given += u64::from(frame.is_some());
        Ok(frame)
    }

    /// Reads to the end for the sake of the count: how many frames there are in all.
    ///
    /// # Errors
    /// If a frame cannot be read.
    pub fn count_all(&mut self) -> Result<u64> {
        match &mut self.kind {
            Kind::Video(_) => while self.next_frame()?.is_some() {},
            Kind::Stills(paths) => self.frames_given += paths.by_ref().count() as u64,
        }
        Ok(self.frames_given)
    }
}
