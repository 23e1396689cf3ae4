//! Files and addresses as cameras, through FFmpeg: a file in its own time, over and over; a stream as it comes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::pace::Pace;
use super::{CameraOptions, CameraPicture, Capture};
use crate::frame::{Frame, FramePool};
use crate::media::{Interrupt, ReaderOptions, VideoReader, shown};

/// A file that is played.
pub struct Clip {
    path: PathBuf,
    reader: VideoReader,
    pool: FramePool,
    /// `None`: a stream sets its own pace.
    pace: Option<Pace>,
    /// Whether it is a stream without an end, which is not played over.
    is_endless: bool,
    has_pictures: bool,
    stop: Arc<AtomicBool>,
}

/// Opens a file to be played over and over.
pub fn open_clip(path: &Path, options: &CameraOptions, stop: &Arc<AtomicBool>) -> Result<Clip> {
    let reader = open(path, &options.pool, stop)?;
    Ok(Clip {
        path: path.to_owned(),
        reader,
        pool: options.pool.clone(),
        pace: Some(Pace::default()),
        is_endless: false,
        has_pictures: false,
        stop: Arc::clone(stop),
    })
}

/// Opens a stream. One with an end is a file that lies elsewhere, and played like one.
pub fn open_url(url: &str, options: &CameraOptions, stop: &Arc<AtomicBool>) -> Result<Clip> {
    let mut clip = open_clip(Path::new(url), options, stop)?;
    clip.is_endless = clip.reader.info().expected_frames.is_none();
    if clip.is_endless && !clip.reader.comes_in_parts() {
        clip.pace = None;
    }
    Ok(clip)
}

fn open(path: &Path, pool: &FramePool, stop: &Arc<AtomicBool>) -> Result<VideoReader> {
    // A camera that is given up is told to stop.
    let stop = Arc::clone(stop);
    let interrupt: Interrupt = Arc::new(move || stop.load(Ordering::SeqCst));
    // One thread: each further one of a decoder holds a picture back.
    let options = ReaderOptions {
        threads: 1,
        interrupt: Some(interrupt),
        pool: pool.clone(),
        square_pixels: true,
        ..ReaderOptions::default()
    };
    VideoReader::open(path, options)
}

impl Clip {
    fn next_in_file(&mut self) -> Result<Option<Frame>> {
        let frame = self.reader.next_frame()?;
        if frame.is_some() || self.is_endless {
            return Ok(frame);
        }
        ensure!(self.has_pictures, "'{}' holds no pictures", shown(&self.path));
        self.has_pictures = false;
        if let Some(pace) = &mut self.pace {
            pace.start_over();
        }
        self.reader = open(&self.path, &self.pool, &self.stop)?;
        self.reader.next_frame()
    }
}

impl Capture for Clip {
    fn next(&mut self) -> Result<Option<CameraPicture>> {
        let Some(frame) = self.next_in_file()? else {
            ensure!(self.stop.load(Ordering::SeqCst), "the stream has ended");
            return Ok(None);
        };
        self.has_pictures = true;
        let Some(pace) = &mut self.pace else { return Ok(Some((frame, Instant::now()))) };
        let seconds = |ticks: i64| ticks as f64 * f64::from(self.reader.info().time_base);
        let start = seconds(frame.timestamp.pts);
        let due = pace.due(start, seconds(frame.timestamp.pts + frame.timestamp.duration.max(0)), Instant::now());
        if !sleep_until(due, &self.stop) {
            return Ok(None);
        }
        Ok(Some((frame, Instant::now())))
    }

    fn frame_rate(&self) -> Option<f64> {
        Some(f64::from(self.reader.info().frame_rate)).filter(|rate| rate.is_finite() && *rate > 0.0)
    }
}

/// Whether the time has come; `false`: told to stop before.
fn sleep_until(due: Instant, stop: &AtomicBool) -> bool {
    const STEP: Duration = Duration::from_millis(50);
    while !stop.load(Ordering::SeqCst) {
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        thread::sleep(left.min(STEP));
    }
    false
}
