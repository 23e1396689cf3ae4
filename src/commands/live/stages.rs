//! The stages of live pictures: those of a clip, told anew before each frame how it is to be painted.
//!
//! Motion and painting share a thread, so that the frame that is painted next is chosen when the network is free and not
//! a whole painting earlier: with the drop in front of them and no queue behind, a picture is never older than the
//! camera's period, its own motion, painting and smoothing, and what is left of the smoothing before.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::look::{LiveStylizer, Look, SharedLook};
use crate::commands::stages::{
    AnalyzedFrame, MotionStage, PaintedFrame, SmoothStage, SmoothedFrame, StylizeStage, TemporalStages,
};
use crate::frame::{CHANNELS, Frame, FramePool, FrameSize};
use crate::motion::Motion;
use crate::pipeline::Stage;

/// A picture of the camera, its timestamp in microseconds since the first one.
pub struct CapturedFrame {
    /// The picture.
    pub frame: Frame,
    /// When the program got it.
    pub captured_at: Instant,
}

/// A painted picture on its way to be smoothed.
pub struct LivePainted {
    painted: PaintedFrame,
    captured_at: Instant,
    smoothing_seconds: f32,
    times: StageTimes,
}

/// A picture as it is shown.
pub struct ShownFrame {
    /// The picture, and the camera's.
    pub smoothed: SmoothedFrame,
    /// When the program got the camera's.
    pub captured_at: Instant,
    /// What it took.
    pub times: StageTimes,
}

/// What a picture took on the threads that it went through.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StageTimes {
    /// The network, with packing, unpacking and scaling.
    pub painting: Duration,
    /// Everything on the network's thread.
    pub before_smoothing: Duration,
    /// Smoothing.
    pub smoothing: Duration,
}

impl StageTimes {
    /// What sets the pace.
    pub fn slowest(self) -> Duration {
        self.before_smoothing.max(self.smoothing)
    }
}

/// Motion and style, on one thread.
pub struct LivePaintStage<S> {
    motion: MotionStage,
    stylize: StylizeStage<S>,
    look: SharedLook,
    last: Option<Look>,
    frame_index: u64,
}

/// Both stages of a run that starts with this look.
pub fn stages<S: LiveStylizer>(
    temporal: TemporalStages,
    stylizer: S,
    pool: FramePool,
    look: SharedLook,
) -> (LivePaintStage<S>, LiveSmoothStage) {
    let TemporalStages { motion, smooth } = temporal;
    let stylize = StylizeStage { stylizer, pool, keep_content: true };
    (LivePaintStage { motion, stylize, look, last: None, frame_index: 0 }, LiveSmoothStage { smooth })
}

impl<S: LiveStylizer> Stage for LivePaintStage<S> {
    type Input = CapturedFrame;
    type Output = LivePainted;

    fn process(&mut self, CapturedFrame { mut frame, captured_at }: CapturedFrame) -> Result<LivePainted> {
        let begin = Instant::now();
        let look = self.look.at(captured_at);
        frame.frame_index = self.frame_index;
        self.frame_index += 1;
        if look.mirror {
            mirror(&mut frame);
        }
        // What was painted differently is no past to hold on to.
        let is_changed = self.last.as_ref() != Some(&look);
        if is_changed {
            self.stylize.stylizer.apply(&look)?;
            self.motion.set_time_constant(look.smoothing_seconds);
        }
        let analyzed = self.analyze(frame, &look, is_changed)?;
        let painting_begin = Instant::now();
        let painted = self.stylize.process(analyzed)?;
        let times = StageTimes {
            painting: painting_begin.elapsed(),
            before_smoothing: begin.elapsed(),
            smoothing: Duration::ZERO,
        };
        let smoothing_seconds = look.smoothing_seconds;
        self.last = Some(look);
        Ok(LivePainted { painted, captured_at, smoothing_seconds, times })
    }
}

impl<S: LiveStylizer> LivePaintStage<S> {
    /// Works once through pictures that nobody sees: first times take longest. Blocks for about as long as five paintings.
    ///
    /// # Errors
    /// When a picture of this size cannot be painted.
    pub fn warm_up(&mut self, size: FrameSize) -> Result<()> {
        let mut gray = Frame::black(size);
        gray.pixels_mut().fill(128);
        gray.timestamp.pts = 1;
        self.motion.find(&Frame::black(size))?;
        self.motion.find(&gray)?;
        self.stylize.stylizer.stylize(&gray, &mut Frame::black(size))
    }

    fn analyze(&mut self, content: Frame, look: &Look, is_changed: bool) -> Result<AnalyzedFrame> {
        let is_spared = self.motion.stride() > 1;
        // Without style there is nothing to hold still.
        let is_needed = (look.smoothing_seconds > 0.0 || is_spared) && look.strength > 0.0;
        let found = if is_needed { self.motion.find(&content)? } else { Motion::Reset };
        let motion = if is_changed { Motion::Reset } else { found };
        Ok(self.motion.judge(content, motion))
    }
}

/// Smoothing, as strong as it was asked for when the picture was painted.
pub struct LiveSmoothStage {
    smooth: SmoothStage,
}

impl Stage for LiveSmoothStage {
    type Input = LivePainted;
    type Output = ShownFrame;

    fn process(&mut self, item: LivePainted) -> Result<ShownFrame> {
        let LivePainted { painted, captured_at, smoothing_seconds, mut times } = item;
        let begin = Instant::now();
        self.smooth.set_time_constant(smoothing_seconds);
        let smoothed = self.smooth.process(painted)?;
        times.smoothing = begin.elapsed();
        Ok(ShownFrame { smoothed, captured_at, times })
    }
}

fn mirror(frame: &mut Frame) {
    let width = frame.size.width;
    for row in frame.pixels_mut().as_chunks_mut::<CHANNELS>().0.chunks_exact_mut(width) {
        row.reverse();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc;

    use super::*;
    use crate::media::Rational;
    use crate::pipeline::{Control, Ending, Pipeline, Sink, Source};
    use crate::style::Stylizer;

    const SIZE: FrameSize = FrameSize::new(16, 12);

    /// Paints everything in one gray, its weight of the second style; says when it begins and waits for permission.
    struct Fake {
        gray: u8,
        begun: mpsc::Sender<()>,
        allowed: mpsc::Receiver<()>,
    }

    /// Waits for nobody.
    fn fake() -> Fake {
        Fake { gray: 0, begun: mpsc::channel().0, allowed: mpsc::channel().1 }
    }

    impl Stylizer for Fake {
        fn stylize(&mut self, _: &Frame, dst: &mut Frame) -> Result<()> {
            let _ = self.begun.send(());
            let _ = self.allowed.recv();
            dst.pixels_mut().fill(self.gray);
            Ok(())
        }

        fn describe(&self) -> String {
            "fake".to_owned()
        }

        fn provider(&self) -> String {
            "none".to_owned()
        }
    }

    impl LiveStylizer for Fake {
        fn apply(&mut self, look: &Look) -> Result<()> {
            self.gray = (look.weights[1] * 200.0) as u8;
            Ok(())
        }
    }

    fn look() -> Look {
        Look {
            weights: vec![1.0, 0.0],
            strength: 1.0,
            keep_color: false,
            smoothing_seconds: 0.2,
            mirror: false,
            work_size: 1080,
        }
    }

    fn temporal() -> TemporalStages {
        TemporalStages::live(0.2, 1, Rational(1, 1_000_000)).unwrap()
    }

    fn picture(index: i64, gray: u8) -> Frame {
        let mut frame = Frame::black(SIZE);
        frame.pixels_mut().fill(gray);
        frame.timestamp.pts = index * 40_000;
        frame
    }

    #[test]
    fn a_change_of_style_is_painted_though_the_camera_shows_the_same() {
        let shared = SharedLook::new(look());
        let (mut paint, mut smooth) = stages(temporal(), fake(), FramePool::new(), shared.clone());
        let start = Instant::now();
        let mut show = |index: u32| {
            let captured_at = start + Duration::from_millis(40) * index;
            let captured = CapturedFrame { frame: picture(i64::from(index), 90), captured_at };
            let shown = smooth.process(paint.process(captured).unwrap()).unwrap();
            (shown.smoothed.frame.pixels()[0], shown.smoothed.is_painted)
        };
        assert_eq!(show(0), (0, true));
        assert_eq!(show(1), (0, false), "the same picture need not be painted again");
        shared.fade_to(vec![0.0, 1.0], start + Duration::from_millis(80));
        let grays: Vec<u8> = (2..30).map(|index| show(index).0).collect();
        assert!(grays.windows(2).all(|pair| pair[0] <= pair[1]), "{grays:?}");
        assert!((90..=110).contains(&grays[12]), "half of the way after half a second: {grays:?}");
        assert_eq!(grays.last(), Some(&200));
    }

    #[test]
    fn mirrored_pictures_change_sides() {
        let shared = SharedLook::new(Look { mirror: true, smoothing_seconds: 0.0, ..look() });
        let (mut paint, mut smooth) = stages(temporal(), fake(), FramePool::new(), shared);
        let mut frame = picture(0, 0);
        frame.pixels_mut()[..3].copy_from_slice(&[1, 2, 3]);
        let shown =
            smooth.process(paint.process(CapturedFrame { frame, captured_at: Instant::now() }).unwrap()).unwrap();
        let content = shown.smoothed.content.unwrap();
        assert_eq!(content.pixels()[(SIZE.width - 1) * 3..][..3], [1, 2, 3]);
    }

    /// Gives a picture each time that it is asked to.
    struct Scripted {
        pictures: mpsc::Receiver<i64>,
        given: mpsc::Sender<i64>,
    }

    impl Source for Scripted {
        type Item = CapturedFrame;

        fn next(&mut self) -> Result<Option<CapturedFrame>> {
            // The picture before lies in its place now.
            let Ok(index) = self.pictures.recv() else { return Ok(None) };
            let _ = self.given.send(index);
            Ok(Some(CapturedFrame { frame: picture(index, 0), captured_at: Instant::now() }))
        }
    }

    struct Shown<'a>(&'a Mutex<Vec<(u64, i64)>>);

    impl Sink for Shown<'_> {
        type Input = ShownFrame;
        type Output = ();

        fn write(&mut self, shown: ShownFrame) -> Result<()> {
            let frame = shown.smoothed.frame;
            self.0.lock().unwrap().push((frame.frame_index, frame.timestamp.pts / 40_000));
            Ok(())
        }

        fn finish(&mut self, _: Ending) -> Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_slow_network_gets_the_freshest_picture_and_the_others_are_counted() {
        let (gate, allowed) = mpsc::channel();
        let (begun, has_begun) = mpsc::channel();
        let (pictures, script) = mpsc::channel();
        let (given, is_given) = mpsc::channel();
        let fake = Fake { gray: 0, begun, allowed };
        let (paint, smooth) = stages(temporal(), fake, FramePool::new(), SharedLook::new(look()));
        let pipeline = Pipeline::new(Control::new(), 0);
        let stats = pipeline.stats();
        let seen = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            let run = scope.spawn(|| {
                let mut sink = Shown(&seen);
                pipeline.run(|wiring| {
                    let captured = wiring.live_source("camera", Scripted { pictures: script, given })?;
                    let painted = wiring.stage("paint", captured, paint)?;
                    let smoothed = wiring.stage("smooth", painted, smooth)?;
                    wiring.sink("show", smoothed, &mut sink)
                })
            });
            pictures.send(0).unwrap();
            has_begun.recv().unwrap();
            // The network is busy with picture 0 until it is let go: the camera goes on.
            for index in 1..=10 {
                pictures.send(index).unwrap();
            }
            drop(pictures);
            assert_eq!(is_given.iter().count(), 11);
            drop(gate);
            run.join().unwrap().unwrap();
        });
        let seen = seen.into_inner().unwrap();
        let captured: Vec<i64> = seen.iter().map(|(_, captured)| *captured).collect();
        let indices: Vec<u64> = seen.iter().map(|(index, _)| *index).collect();
        // The last picture may have found its place only after the network had taken the one before it.
        assert!(captured == [0, 10] || captured == [0, 9, 10], "{captured:?}");
        assert_eq!(indices, (0..seen.len() as u64).collect::<Vec<_>>(), "shown pictures are counted without holes");
        assert_eq!(stats.snapshot()[0].lost, 11 - seen.len() as u64);
    }
}
