//! Where a stylized clip ends: the writer as the pipeline's sink.

use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::debug_view::DebugView;
use super::stages::SmoothedFrame;
use crate::console::Progress;
use crate::media::{Rational, VideoWriter, Written};
use crate::pipeline::{Ending, PipelineStats, Sink};

/// The writer as the pipeline's sink, with the progress shown.
pub struct FileSink {
    writer: Option<VideoWriter>,
    debug_view: Option<DebugView>,
    progress: Progress,
    stats: PipelineStats,
    most_frames: Option<u64>,
    time_base: Rational,
    /// Timestamp of the first frame.
    start: Option<i64>,
    media_time: Duration,
    /// Frames that were there before, and are not written again.
    seam: u64,
    frames: u64,
    painted_frames: u64,
    is_stopped: bool,
}

impl FileSink {
    /// A sink that ends the copied streams with the last frame if `most_frames` have come by then.
    pub fn new(
        writer: VideoWriter,
        most_frames: Option<u64>,
        time_base: Rational,
        progress: Progress,
        stats: PipelineStats,
    ) -> Self {
        Self {
            writer: Some(writer),
            debug_view: None,
            progress,
            stats,
            most_frames,
            time_base,
            start: None,
            media_time: Duration::ZERO,
            seam: 0,
            frames: 0,
            painted_frames: 0,
            is_stopped: false,
        }
    }

    /// Writes what led to each frame as well.
    pub fn with_debug_view(self, debug_view: Option<DebugView>) -> Self {
        Self { debug_view, ..self }
    }

    /// Goes on behind the first `seam` frames, which the writer has: where they come again, they are for the smoothing only.
    pub fn behind(self, seam: u64) -> Self {
        Self { seam, frames: seam, ..self }
    }

    /// Takes the progress off the screen.
    pub fn end_progress(&mut self) {
        self.progress.end();
    }

    /// How long what this run wrote plays.
    pub fn media_time(&self) -> Duration {
        self.media_time
    }

    /// Whether the run was stopped before all frames had come: what was written is not complete.
    pub fn is_stopped(&self) -> bool {
        self.is_stopped
    }

    /// How many of the frames the network painted in this run.
    pub fn painted_frames(&self) -> u64 {
        self.painted_frames
    }
}

impl Sink for FileSink {
    type Input = SmoothedFrame;
    /// `None`: there was nothing to write.
    type Output = Option<Written>;

    fn write(&mut self, SmoothedFrame { frame, content, is_painted, views }: SmoothedFrame) -> Result<()> {
        if frame.frame_index < self.seam {
            self.progress.update_with(self.seam, || "running up to where the run stopped".to_owned());
            return Ok(());
        }
        if self.start.is_none() {
            // What was there before took no time.
            self.progress.begin_at(self.seam);
        }
        let Some(writer) = &mut self.writer else { bail!("the output is finished already") };
        writer.write(&frame)?;
        if let (Some(debug_view), Some(content), Some(views)) = (&mut self.debug_view, &content, &views) {
            debug_view.write(content, views, &frame).context("write the debug view")?;
        }
        self.frames += 1;
        self.painted_frames += u64::from(is_painted);
        let start = *self.start.get_or_insert(frame.timestamp.pts);
        let ticks = frame.timestamp.pts + frame.timestamp.duration - start;
        self.media_time = Duration::try_from_secs_f64(ticks as f64 * f64::from(self.time_base)).unwrap_or_default();
        let slowest = self.stats.slowest();
        self.progress.update(self.frames, self.media_time, slowest.map(|stage| stage.name));
        Ok(())
    }

    fn finish(&mut self, ending: Ending) -> Result<Option<Written>> {
        self.is_stopped = ending == Ending::Stopped;
        let debug_view = self.debug_view.take();
        // Dropped, a writer takes its unfinished file with it.
        let Some(writer) = self.writer.take().filter(|_| ending != Ending::Failed && self.frames > 0) else {
            return Ok(None);
        };
        let is_cut_short = ending == Ending::Stopped || self.most_frames.is_some_and(|most| self.frames >= most);
        let written = writer.finish(is_cut_short)?;
        if let Some(debug_view) = debug_view {
            debug_view.finish().context("finish the debug view")?;
        }
        Ok(Some(written))
    }
}
