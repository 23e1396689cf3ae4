//! The stages of a stylized clip and their order: what `impasto video` runs and `impasto bench` measures.
//!
//! A stage knows the frame and its own room; the types between them say what has been done to a frame.

use anyhow::Result;
use serde::Serialize;

use super::debug_view::Views;
use super::mask::{Mask, MaskStage};
use crate::frame::{Frame, FramePool};
use crate::media::{Rational, VideoReader};
use crate::motion::{Motion, MotionEstimator, MotionSettings, TimeConstants};
use crate::pipeline::{Pipeline, RunError, Sink, Source, Stage, StageSnapshot};
use crate::style::Stylizer;
use crate::temporal::{Place, Propagation, PropagationSettings, Smoother, SmootherSettings};

/// From a clip to painted frames: what is needed for each step.
pub struct Chain<R, S> {
    /// Where frames come from.
    pub reader: R,
    /// What paints them: one at least, and all alike. Several paint different frames at the same time.
    pub stylizers: Vec<S>,
    /// Where painted frames come from.
    pub pool: FramePool,
    /// What holds them still.
    pub temporal: TemporalStages,
    /// Where they are painted, if not everywhere.
    pub mask: Option<Mask>,
}

impl<R: Source<Item = Frame>, S: Stylizer> Chain<R, S> {
    /// Runs every frame of the clip through the chain into `sink`. Blocks until the clip ends or the run is stopped.
    ///
    /// # Errors
    /// The first error of any stage.
    pub fn run<K: Sink<Input = SmoothedFrame>>(self, pipeline: Pipeline, sink: &mut K) -> Result<K::Output, RunError> {
        let TemporalStages { motion, smooth } = self.temporal;
        let keep_content = smooth.keep_views || self.mask.is_some();
        let stylize =
            self.stylizers.into_iter().map(|stylizer| StylizeStage { stylizer, pool: self.pool.clone(), keep_content });
        let stylize = stylize.collect();
        pipeline.run(|wiring| {
            let decoded = wiring.source("decode", self.reader)?;
            let analyzed = wiring.stage("motion", decoded, motion)?;
            let painted = wiring.parallel("stylize", analyzed, stylize)?;
            let smoothed = wiring.stage("smooth", painted, smooth)?;
            let masked = match self.mask {
                Some(mask) => wiring.stage("mask", smoothed, MaskStage(mask))?,
                None => smoothed,
            };
            wiring.sink("encode", masked, sink)
        })
    }
}

/// What finds motion and what uses it.
pub struct TemporalStages {
    /// Before the network, which it spares some frames.
    pub motion: MotionStage,
    /// After the network.
    pub smooth: SmoothStage,
}

impl TemporalStages {
    /// Stages that smooth over `seconds` (0: not at all) and paint one frame in `stride` at least. With `keep_views`, each
    /// frame comes out with what led to it.
    ///
    /// # Errors
    /// If optical flow cannot be prepared.
    pub fn new(seconds: f32, stride: u32, time_base: Rational, keep_views: bool) -> Result<Self> {
        if seconds <= 0.0 && stride <= 1 && !keep_views {
            return Ok(Self { motion: MotionStage(None), smooth: SmoothStage::default() });
        }
        let mut stages = Self::live(seconds, stride, time_base)?;
        stages.smooth.keep_views = keep_views;
        Ok(stages)
    }

    /// The same, smoothing where `place` says, which is asked if frames are smoothed at all.
    pub fn placed(mut self, place: impl FnOnce() -> Place) -> Self {
        if let Some(smoother) = &mut self.smooth.smoother {
            smoother.move_to(place());
        }
        self
    }

    /// Stages whose smoothing can be changed, and turned on, while they run.
    ///
    /// # Errors
    /// If optical flow cannot be prepared.
    pub fn live(seconds: f32, stride: u32, time_base: Rational) -> Result<Self> {
        let motion = MotionSettings { time_constants: TimeConstants::of_content(seconds), ..MotionSettings::default() };
        let smoother =
            SmootherSettings { time_constants: TimeConstants::of_painting(seconds), ..SmootherSettings::default() };
        let propagation = PropagationSettings { stride, ..PropagationSettings::default() };
        let analysis = Analysis {
            estimator: MotionEstimator::new(motion, f64::from(time_base))?,
            propagation: Propagation::new(propagation),
        };
        Ok(Self {
            motion: MotionStage(Some(analysis)),
            smooth: SmoothStage { smoother: Some(Smoother::new(smoother)), keep_views: false },
        })
    }
}

impl Source for VideoReader {
    type Item = Frame;

    fn next(&mut self) -> Result<Option<Frame>> {
        self.next_frame()
    }
}

/// A frame, what became of the one before, and what follows from that for the network.
pub struct AnalyzedFrame {
    /// The frame.
    pub content: Frame,
    /// What became of the one before.
    pub motion: Motion,
    /// Whether the network paints it; else it is to be carried over from the one before.
    pub is_painted: bool,
}

impl AnalyzedFrame {
    /// The content taken for its painting: to measure smoothing without a network.
    pub fn into_painted(self) -> PaintedFrame {
        let Self { content, motion, .. } = self;
        PaintedFrame { content: None, painted: content, is_painted: true, motion }
    }
}

/// A painted frame, and the motion of its content.
pub struct PaintedFrame {
    /// Where somebody will want to see it.
    pub content: Option<Frame>,
    /// The painting.
    pub painted: Frame,
    /// Else the painted frame is yet to be carried over from the one before.
    pub is_painted: bool,
    /// What became of the content before.
    pub motion: Motion,
}

/// A frame as it is shown.
pub struct SmoothedFrame {
    /// The picture.
    pub frame: Frame,
    /// The frame of the clip, where somebody will want to see it.
    pub content: Option<Frame>,
    /// Whether the network painted it.
    pub is_painted: bool,
    /// What led to it, if that was asked for.
    pub views: Option<Views>,
}

/// Motion as the pipeline's stage. Where nothing needs it, it is not sought.
///
/// It also says which frames are painted: that depends on the frames before, which those who paint side by side do not see.
pub struct MotionStage(Option<Analysis>);

struct Analysis {
    estimator: MotionEstimator,
    propagation: Propagation,
}

impl MotionStage {
    /// Compares with content averaged over so many seconds: the smoother's time constant.
    pub fn set_time_constant(&mut self, seconds: f32) {
        if let Some(analysis) = &mut self.0 {
            analysis.estimator.set_time_constants(TimeConstants::of_content(seconds));
        }
    }

    /// One frame in so many is painted at least.
    pub fn stride(&self) -> u32 {
        self.0.as_ref().map_or(1, |analysis| analysis.propagation.stride())
    }

    /// What became of the frame before.
    ///
    /// # Errors
    /// If optical flow fails.
    pub fn find(&mut self, content: &Frame) -> Result<Motion> {
        match &mut self.0 {
            Some(analysis) => analysis.estimator.analyze(content),
            None => Ok(Motion::Reset),
        }
    }

    /// Says whether the frame of this motion is to be painted; the next call takes that as done.
    pub fn judge(&mut self, content: Frame, motion: Motion) -> AnalyzedFrame {
        let is_painted = self.0.as_mut().is_none_or(|analysis| analysis.propagation.is_painted(&motion));
        AnalyzedFrame { content, motion, is_painted }
    }
}

impl Stage for MotionStage {
    type Input = Frame;
    type Output = AnalyzedFrame;

    fn process(&mut self, content: Frame) -> Result<AnalyzedFrame> {
        let motion = self.find(&content)?;
        Ok(self.judge(content, motion))
    }
}

/// A style as the pipeline's stage. Each frame is painted by itself: it does not matter which ones came before.
pub struct StylizeStage<S> {
    /// What paints.
    pub stylizer: S,
    /// Where painted frames come from.
    pub pool: FramePool,
    /// Whether somebody wants to see the content beside its painting.
    pub keep_content: bool,
}

impl<S: Stylizer> Stage for StylizeStage<S> {
    type Input = AnalyzedFrame;
    type Output = PaintedFrame;

    fn process(&mut self, AnalyzedFrame { content, motion, is_painted }: AnalyzedFrame) -> Result<PaintedFrame> {
        let mut painted = self.pool.take(content.size);
        painted.timestamp = content.timestamp;
        painted.frame_index = content.frame_index;
        if is_painted {
            self.stylizer.stylize(&content, &mut painted)?;
        }
        let content = self.keep_content.then_some(content);
        Ok(PaintedFrame { content, painted, is_painted, motion })
    }
}

/// Smoothing as the pipeline's stage.
#[derive(Default)]
pub struct SmoothStage {
    smoother: Option<Smoother>,
    keep_views: bool,
}

impl SmoothStage {
    /// Smooths over so many seconds, if it smooths.
    pub fn set_time_constant(&mut self, seconds: f32) {
        if let Some(smoother) = &mut self.smoother {
            let time_constants = TimeConstants::of_painting(seconds);
            smoother.set_settings(SmootherSettings { time_constants, ..SmootherSettings::default() });
        }
    }
}

impl Stage for SmoothStage {
    type Input = PaintedFrame;
    type Output = SmoothedFrame;

    fn process(&mut self, frame: PaintedFrame) -> Result<SmoothedFrame> {
        let PaintedFrame { content, painted: mut frame, is_painted, motion } = frame;
        let unsmoothed = (self.keep_views && is_painted).then(|| frame.clone());
        if let Some(smoother) = &mut self.smoother {
            if is_painted {
                smoother.smooth(&mut frame, &motion)?;
            } else {
                smoother.carry(&mut frame, &motion)?;
            }
        }
        let views = self.keep_views.then_some(Views { motion, painted: unsmoothed });
        Ok(SmoothedFrame { frame, content, is_painted, views })
    }
}

/// A stage in JSON.
#[derive(Debug, Serialize)]
pub struct StageFigures {
    name: &'static str,
    /// Threads that share the work; the times are the mean of theirs.
    workers: u32,
    frames: u64,
    busy_seconds: f64,
    waiting_for_input_seconds: f64,
    waiting_for_output_seconds: f64,
}

impl From<&StageSnapshot> for StageFigures {
    fn from(stage: &StageSnapshot) -> Self {
        Self {
            name: stage.name,
            workers: stage.workers,
            frames: stage.items,
            busy_seconds: stage.busy.as_secs_f64(),
            waiting_for_input_seconds: stage.waiting_for_input.as_secs_f64(),
            waiting_for_output_seconds: stage.waiting_for_output.as_secs_f64(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::frame::{FrameSize, Timestamp};
    use crate::pipeline::{Control, Ending};

    const SIZE: FrameSize = FrameSize::new(64, 48);
    const FRAMES: u64 = 24;

    /// Waves that drift, with a cut and a frame that comes twice.
    struct Waves(u64);

    impl Source for Waves {
        type Item = Frame;

        fn next(&mut self) -> Result<Option<Frame>> {
            let index = self.0;
            self.0 += 1;
            let mut frame = Frame::black(SIZE);
            let (time, cut) = (if index == 9 { 8 } else { index } as f32, if index < 15 { 0.2 } else { 0.5 });
            for (position, pixel) in frame.pixels_mut().as_chunks_mut::<3>().0.iter_mut().enumerate() {
                let (x, y) = ((position % SIZE.width) as f32 + time * 0.5, (position / SIZE.width) as f32);
                *pixel =
                    [(x * cut).sin(), (y * cut).cos(), ((x + y) * 0.1).sin()].map(|wave| (wave * 90.0 + 128.0) as u8);
            }
            frame.frame_index = index;
            frame.timestamp = Timestamp { pts: index as i64, duration: 1 };
            Ok((index < FRAMES).then_some(frame))
        }
    }

    /// Paints the negative; what takes longest is not what came first.
    struct Negative;

    impl Stylizer for Negative {
        fn stylize(&mut self, src: &Frame, dst: &mut Frame) -> Result<()> {
            std::thread::sleep(Duration::from_millis(3 - src.frame_index % 4));
            dst.pixels_mut().iter_mut().zip(src.pixels()).for_each(|(dst, src)| *dst = 255 - src);
            Ok(())
        }

        fn describe(&self) -> String {
            "negative".to_owned()
        }

        fn provider(&self) -> String {
            "none".to_owned()
        }
    }

    #[derive(Default)]
    struct Frames(Vec<(u64, bool, Vec<u8>)>);

    impl Sink for Frames {
        type Input = SmoothedFrame;
        type Output = Vec<(u64, bool, Vec<u8>)>;

        fn write(&mut self, SmoothedFrame { frame, is_painted, .. }: SmoothedFrame) -> Result<()> {
            self.0.push((frame.frame_index, is_painted, frame.pixels().to_vec()));
            Ok(())
        }

        fn finish(&mut self, _: Ending) -> Result<Self::Output> {
            Ok(std::mem::take(&mut self.0))
        }
    }

    fn paint(seconds: f32, stride: u32, workers: usize) -> Vec<(u64, bool, Vec<u8>)> {
        let temporal = TemporalStages::new(seconds, stride, Rational(1, 25), false).unwrap();
        let stylizers = (0..workers).map(|_| Negative).collect();
        let chain = Chain { reader: Waves(0), stylizers, pool: FramePool::new(), temporal, mask: None };
        chain.run(Pipeline::new(Control::new(), 2), &mut Frames::default()).unwrap()
    }

    #[test]
    fn frames_do_not_tell_how_many_networks_painted_them() {
        for (seconds, stride) in [(0.0, 1), (0.2, 1), (0.2, 4), (0.0, 8)] {
            let expected = paint(seconds, stride, 1);
            assert_eq!(expected.len() as u64, FRAMES);
            let painted = expected.iter().filter(|(_, is_painted, _)| *is_painted).count() as u64;
            match (seconds > 0.0, stride) {
                (false, 1) => assert_eq!(painted, FRAMES),
                (_, 1) => assert_eq!(painted, FRAMES - 1, "all but the frame that comes twice"),
                _ => assert!((2..FRAMES / 2).contains(&painted), "{painted}"),
            }
            for workers in 2..=3 {
                assert!(paint(seconds, stride, workers) == expected, "{workers} at {seconds} s, stride {stride}");
            }
        }
    }
}
