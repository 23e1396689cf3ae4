//! The stages of a stylized clip and their order: what `impasto video` runs and `impasto bench` measures.
//!
//! A stage knows the frame and its own room; the types between them say what has been done to a frame.

use std::time::Duration;

use anyhow::{Result, bail};
use serde::Serialize;

use crate::console::Progress;
use crate::frame::{Frame, FramePool};
use crate::media::{Rational, VideoReader, VideoWriter, Written};
use crate::motion::{Motion, MotionEstimator, MotionSettings};
use crate::pipeline::{Ending, Pipeline, PipelineStats, RunError, Sink, Source, Stage, StageSnapshot};
use crate::style::Stylizer;
use crate::temporal::{Smoother, SmootherSettings};

/// From a clip to painted frames: what is needed for each step.
pub struct Chain<S> {
    /// Where frames come from.
    pub reader: VideoReader,
    /// What paints them.
    pub stylizer: S,
    /// Where painted frames come from.
    pub pool: FramePool,
    /// What holds them still.
    pub temporal: TemporalStages,
}

impl<S: Stylizer> Chain<S> {
    /// Runs every frame of the clip through the chain into `sink`. Blocks until the clip ends or the run is stopped.
    ///
    /// # Errors
    /// The first error of any stage.
    pub fn run(self, pipeline: Pipeline, sink: &mut FileSink) -> Result<Option<Written>, RunError> {
        let TemporalStages { motion, smooth } = self.temporal;
        let stylize = StylizeStage { stylizer: self.stylizer, pool: self.pool };
        pipeline.run(|wiring| {
            let decoded = wiring.source("decode", FileSource(self.reader))?;
            let analyzed = wiring.stage("motion", decoded, motion)?;
            let painted = wiring.stage("stylize", analyzed, stylize)?;
            let smoothed = wiring.stage("smooth", painted, smooth)?;
            wiring.sink("encode", smoothed, sink)
        })
    }
}

/// What finds motion and what uses it.
pub struct TemporalStages {
    /// Before the network.
    pub motion: MotionStage,
    /// After the network.
    pub smooth: SmoothStage,
}

impl TemporalStages {
    /// Stages that smooth over `seconds`; for 0 frames pass as they are.
    pub fn new(seconds: f32, time_base: Rational) -> Result<Self> {
        if seconds <= 0.0 {
            return Ok(Self { motion: MotionStage(None), smooth: SmoothStage(None) });
        }
        let motion = MotionSettings { content_time_constant_seconds: seconds, ..MotionSettings::default() };
        let smoother = SmootherSettings { time_constant_seconds: seconds, ..SmootherSettings::default() };
        Ok(Self {
            motion: MotionStage(Some(MotionEstimator::new(motion, f64::from(time_base))?)),
            smooth: SmoothStage(Some(Smoother::new(smoother))),
        })
    }
}

/// The reader as the pipeline's source.
struct FileSource(VideoReader);

impl Source for FileSource {
    type Item = Frame;

    fn next(&mut self) -> Result<Option<Frame>> {
        self.0.next_frame()
    }
}

/// A frame, and what became of the one before.
pub struct AnalyzedFrame {
    content: Frame,
    motion: Motion,
}

impl AnalyzedFrame {
    /// The content taken for its painting: to measure smoothing without a network.
    pub fn into_painted(self) -> PaintedFrame {
        PaintedFrame { painted: self.content, motion: self.motion }
    }
}

/// A painted frame, and the motion of its content.
pub struct PaintedFrame {
    painted: Frame,
    motion: Motion,
}

/// Motion as the pipeline's stage. Where nothing is smoothed nobody asks for motion.
pub struct MotionStage(Option<MotionEstimator>);

impl Stage for MotionStage {
    type Input = Frame;
    type Output = AnalyzedFrame;

    fn process(&mut self, content: Frame) -> Result<AnalyzedFrame> {
        let motion = match &mut self.0 {
            Some(estimator) => estimator.analyze(&content)?,
            None => Motion::Reset,
        };
        Ok(AnalyzedFrame { content, motion })
    }
}

/// Smoothing as the pipeline's stage.
pub struct SmoothStage(Option<Smoother>);

impl Stage for SmoothStage {
    type Input = PaintedFrame;
    type Output = Frame;

    fn process(&mut self, PaintedFrame { mut painted, motion }: PaintedFrame) -> Result<Frame> {
        if let Some(smoother) = &mut self.0 {
            smoother.smooth(&mut painted, &motion)?;
        }
        Ok(painted)
    }
}

/// A style as the pipeline's stage.
struct StylizeStage<S> {
    stylizer: S,
    pool: FramePool,
}

impl<S: Stylizer> Stage for StylizeStage<S> {
    type Input = AnalyzedFrame;
    type Output = PaintedFrame;

    fn process(&mut self, AnalyzedFrame { content, motion }: AnalyzedFrame) -> Result<PaintedFrame> {
        let mut painted = self.pool.take(content.size);
        painted.timestamp = content.timestamp;
        painted.frame_index = content.frame_index;
        self.stylizer.stylize(&content, &mut painted)?;
        Ok(PaintedFrame { painted, motion })
    }
}

/// The writer as the pipeline's sink, with the progress shown.
pub struct FileSink {
    writer: Option<VideoWriter>,
    progress: Progress,
    stats: PipelineStats,
    is_cut: bool,
    time_base: Rational,
    media_time: Duration,
    frames: u64,
}

impl FileSink {
    /// A sink that ends the copied streams with the last frame if `is_cut`.
    pub fn new(
        writer: VideoWriter,
        is_cut: bool,
        time_base: Rational,
        progress: Progress,
        stats: PipelineStats,
    ) -> Self {
        Self { writer: Some(writer), progress, stats, is_cut, time_base, media_time: Duration::ZERO, frames: 0 }
    }

    /// Takes the progress off the screen.
    pub fn end_progress(&mut self) {
        self.progress.end();
    }

    /// Where the last written frame ends in the clip.
    pub fn media_time(&self) -> Duration {
        self.media_time
    }
}

impl Sink for FileSink {
    type Input = Frame;
    /// `None`: there was nothing to write.
    type Output = Option<Written>;

    fn write(&mut self, frame: Frame) -> Result<()> {
        let Some(writer) = &mut self.writer else { bail!("the output is finished already") };
        writer.write(&frame)?;
        self.frames += 1;
        let ticks = frame.timestamp.pts + frame.timestamp.duration;
        self.media_time = Duration::try_from_secs_f64(ticks as f64 * f64::from(self.time_base)).unwrap_or_default();
        let slowest = self.stats.slowest();
        self.progress.update(self.frames, self.media_time, slowest.map(|stage| stage.name));
        Ok(())
    }

    fn finish(&mut self, ending: Ending) -> Result<Option<Written>> {
        // Dropped, a writer takes its unfinished file with it.
        let Some(writer) = self.writer.take().filter(|_| ending != Ending::Failed && self.frames > 0) else {
            return Ok(None);
        };
        writer.finish(self.is_cut || ending == Ending::Stopped).map(Some)
    }
}

/// A stage in JSON.
#[derive(Debug, Serialize)]
pub struct StageFigures {
    name: &'static str,
    frames: u64,
    busy_seconds: f64,
    waiting_for_input_seconds: f64,
    waiting_for_output_seconds: f64,
}

impl From<&StageSnapshot> for StageFigures {
    fn from(stage: &StageSnapshot) -> Self {
        Self {
            name: stage.name,
            frames: stage.items,
            busy_seconds: stage.busy.as_secs_f64(),
            waiting_for_input_seconds: stage.waiting_for_input.as_secs_f64(),
            waiting_for_output_seconds: stage.waiting_for_output.as_secs_f64(),
        }
    }
}
