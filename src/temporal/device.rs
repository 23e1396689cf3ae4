//! The average along the motion on a device: a painted frame and the motion's grid go there, what is shown comes back, and the average
//! never leaves.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::detail::Gains;
use super::graph::{self, PLANES};
use super::processor::ProcessorCanvas;
use super::{Canvas, Past, SmootherSettings, Source};
use crate::frame::{CHANNELS, Frame, FrameSize};
use crate::runtime::{Bindings, Device, ModelSource, Runtime, Session, SessionOptions};

/// For frames of one size and motion on one grid.
pub struct DeviceCanvas {
    session: Session,
    bindings: Bindings,
    size: FrameSize,
    grid: FrameSize,
    gains: Gains,
    /// Whether there is an average.
    has_begun: bool,
}

/// The bound tensors, in the order of [`DeviceCanvas::open`].
const PAINTED: usize = 0;
const PASTS: usize = 1;
const GAINS: usize = 2;
const AVERAGE: usize = 3;
const SHOWN: usize = 0;
const ENERGIES: usize = 1;
const NEXT_AVERAGE: usize = 2;

impl DeviceCanvas {
    /// Opens the graph on `device`, for frames of `size` whose motion is told on `grid`. Blocks for some 100 ms.
    ///
    /// # Errors
    /// When frames are smaller than 3×3, the device cannot be had, or it does not take all of the graph.
    pub fn open(runtime: &Runtime, device: &Device, size: FrameSize, grid: FrameSize) -> Result<Self> {
        ensure!(size.width >= 3 && size.height >= 3, "frames of {size} are too small for it");
        ensure!(grid.pixels() > 0, "a grid of no cells");
        let gains = Gains::new(size);
        let bytes = graph::graph(size, grid, gains.blocks)?.to_bytes();
        let options = SessionOptions { device: device.clone(), ..SessionOptions::default() };
        let session = Session::open(runtime, ModelSource::Bytes { bytes: &bytes, weights: None }, &options)?;
        let assignment = session.assignment();
        // A node on the processor would have the average copied there and back in every frame.
        ensure!(
            assignment.device_nodes() == assignment.node_count(),
            "{device} takes {} of {} nodes only",
            assignment.device_nodes(),
            assignment.node_count()
        );
        let frame = [1, size.height, size.width, CHANNELS];
        let average = [1, CHANNELS, size.height, size.width];
        let of_blocks = |planes: usize| [1, planes, gains.blocks.height, gains.blocks.width];
        let bindings = session.bind_with_state(
            &[
                (graph::PAINTED, &frame),
                (graph::PASTS, &[1, PLANES, grid.height, grid.width]),
                (graph::GAINS, &of_blocks(1)),
            ],
            &[(graph::SHOWN, &frame), (graph::ENERGIES, &of_blocks(2))],
            &[(graph::AVERAGE, graph::NEXT_AVERAGE, &average)],
        )?;
        Ok(Self { session, bindings, size, grid, gains, has_begun: false })
    }

    /// Smooths a few frames on the device and on so many threads of the processor.
    ///
    /// # Errors
    /// When the device fails, or shows other frames than the processor.
    pub fn try_against_processor(&mut self, threads: usize) -> Result<Trial> {
        let mut frames = [Frame::black(self.size), Frame::black(self.size)];
        let mut processor = ProcessorCanvas::new(threads);
        let grid = self.grid;
        let device_ms = time_trial(self, grid, &mut frames[0])?;
        let processor_ms = time_trial(&mut processor, grid, &mut frames[1])?;
        self.has_begun = false;
        let [device, processor] = &frames;
        let levels = device.mean_difference(processor);
        ensure!(
            levels <= MOST_DIFFERENCE_LEVELS,
            "it shows other frames than the processor: the mean difference is {levels:.1} levels (expected at most \
             {MOST_DIFFERENCE_LEVELS})"
        );
        Ok(Trial { device_ms, processor_ms, levels })
    }

    /// Puts what lies in the bound inputs through the graph; the average that comes out is the next one that goes in.
    fn run(&mut self) -> Result<()> {
        self.bindings.input_mut(GAINS).copy_from_slice(&self.gains.values);
        self.session.run_bound(&mut self.bindings).context("smooth a frame on the device")?;
        self.bindings.swap(AVERAGE, NEXT_AVERAGE)
    }

    /// The planes of the motion's grid, to write to.
    fn pasts(&mut self) -> [&mut [f32]; PLANES] {
        let cells = self.grid.pixels();
        let mut planes = self.bindings.input_mut(PASTS).chunks_exact_mut(cells);
        std::array::from_fn(|_| planes.next().unwrap_or_default())
    }
}

/// Energies of detail: of the painted frame, and of what is shown.
fn energies<'a>(bindings: &'a Bindings, gains: &Gains) -> (&'a [f32], &'a [f32]) {
    bindings.output(ENERGIES).split_at(gains.blocks.pixels())
}

impl Canvas for DeviceCanvas {
    fn size(&self) -> Option<FrameSize> {
        self.has_begun.then_some(self.size)
    }

    fn holds(&self, size: FrameSize) -> bool {
        size == self.size
    }

    fn begin(&mut self, painted: &Frame) -> Result<()> {
        self.gains = Gains::new(self.size);
        self.bindings.input_bytes_mut(PAINTED).copy_from_slice(painted.pixels());
        self.pasts().into_iter().for_each(|plane| plane.fill(0.0));
        self.run()?;
        let Self { bindings, gains, .. } = self;
        gains.want(energies(bindings, gains).0);
        self.has_begun = true;
        Ok(())
    }

    fn blend(
        &mut self,
        frame: &mut Frame,
        source: Source,
        grid: FrameSize,
        cells: &[Past],
        settings: &SmootherSettings,
    ) -> Result<()> {
        ensure!(grid == self.grid, "motion on a grid of {grid} (expected {})", self.grid);
        if source == Source::Painted {
            self.bindings.input_bytes_mut(PAINTED).copy_from_slice(frame.pixels());
        }
        let [right, down, weight, loss] = self.pasts();
        for (index, &past) in cells.iter().enumerate() {
            [right[index], down[index], weight[index]] = past;
        }
        loss.copy_from_slice(weight);
        self.gains.advance();
        self.run()?;
        frame.pixels_mut().copy_from_slice(self.bindings.output_bytes(SHOWN));
        let Self { bindings, gains, .. } = self;
        let (painted, shown) = energies(bindings, gains);
        if source == Source::Painted {
            gains.want(painted);
        }
        gains.follow(shown, settings.detail, settings.most_gain);
        Ok(())
    }

    fn show(&mut self, frame: &mut Frame) -> Result<()> {
        let [right, down, weight, _] = self.pasts();
        right.fill(0.0);
        down.fill(0.0);
        weight.fill(1.0);
        self.run()?;
        frame.pixels_mut().copy_from_slice(self.bindings.output_bytes(SHOWN));
        Ok(())
    }
}

/// What a trial came to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trial {
    /// Milliseconds a frame on the device, copies there and back included.
    pub device_ms: f32,
    /// The same on the processor.
    pub processor_ms: f32,
    /// Mean difference of the last frame from the processor's, in levels of 0–255.
    pub levels: f32,
}

impl Trial {
    /// Whether the device is worth it.
    pub fn is_faster(&self) -> bool {
        self.device_ms < self.processor_ms
    }
}

/// A device may differ by so many levels on average (ours): both compute in 32-bit floats and round at the end.
const MOST_DIFFERENCE_LEVELS: f32 = 0.5;
/// Frames of a trial, of which the last are timed.
const TRIAL_FRAMES: usize = 6;
const TIMED_FRAMES: usize = 3;

/// Smooths made-up frames; `frame` is the last of them at the end. Milliseconds a frame, without those of making it up.
fn time_trial(canvas: &mut dyn Canvas, grid: FrameSize, frame: &mut Frame) -> Result<f32> {
    let settings = SmootherSettings::default();
    let mut spent = Duration::ZERO;
    for index in 0..TRIAL_FRAMES {
        paint_trial(frame, index);
        let cells = trial_cells(grid, index);
        let start = Instant::now();
        match index {
            0 => canvas.begin(frame)?,
            _ => canvas.blend(frame, Source::Painted, grid, &cells, &settings)?,
        }
        if index + TIMED_FRAMES >= TRIAL_FRAMES {
            spent += start.elapsed();
        }
    }
    Ok(spent.as_secs_f32() * 1e3 / TIMED_FRAMES as f32)
}

/// Strokes, and what boils in them.
fn paint_trial(frame: &mut Frame, index: usize) {
    let width = frame.size.width;
    for (place, pixel) in frame.pixels_mut().as_chunks_mut::<CHANNELS>().0.iter_mut().enumerate() {
        let (x, y) = (place % width, place / width);
        let boiling = (x * 7 + y * 13 + index * 29) % 23;
        *pixel = [x * 3 + y, x + y * 2, x / 2 + y * 5].map(|stroke| (stroke % 180 + 3 * boiling) as u8);
    }
}

/// Some places stand still, others move by parts of a pixel and by pixels, and some have no past.
fn trial_cells(grid: FrameSize, index: usize) -> Vec<Past> {
    let cell = |place: usize| {
        let (x, y) = (place % grid.width, place / grid.width);
        let speed = ((x / 16 + y / 16 + index) % 4) as f32 * 0.7;
        [speed, -0.5 * speed, if (x / 8 + y / 8) % 7 == 0 { 0.0 } else { 0.8 }]
    };
    (0..grid.pixels()).map(cell).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::motion::flow::FlowField;
    use crate::motion::{CarriedMotion, Motion};
    use crate::temporal::{Place, Smoother};

    const SIZE: FrameSize = FrameSize::new(150, 101);
    const GRID: FrameSize = FrameSize::new(40, 27);

    /// The graph, run by ONNX Runtime on the processor.
    fn canvas() -> DeviceCanvas {
        DeviceCanvas::open(Runtime::load().unwrap(), &Device::CPU, SIZE, GRID).unwrap()
    }

    fn on_device() -> Smoother {
        let mut smoother = Smoother::new(SmootherSettings::default());
        smoother.move_to(Place::Device(Box::new(canvas())));
        smoother
    }

    fn carried(index: usize) -> Motion {
        let pasts = trial_cells(GRID, index);
        let (scale_x, scale_y) = super::super::pixels_per_cell(SIZE, GRID);
        let vectors = pasts.iter().map(|[u, v, _]| [u / scale_x, v / scale_y]).collect();
        Motion::Carried(CarriedMotion {
            flow: FlowField { size: GRID, vectors },
            confidence: pasts.iter().map(|past| past[2]).collect(),
            elapsed_seconds: 0.04,
        })
    }

    fn most_levels(a: &Frame, b: &Frame) -> u8 {
        a.pixels().iter().zip(b.pixels()).map(|(a, b)| a.abs_diff(*b)).max().unwrap()
    }

    #[test]
    fn a_scene_comes_out_as_on_the_processor_frame_by_frame() {
        let mut on_device = on_device();
        let mut on_processor = Smoother::new(SmootherSettings::default());
        // A scene with a frame that comes twice, frames that are not painted, and a cut to another.
        let motions = [
            (Motion::Reset, true),
            (Motion::Duplicate, true),
            (carried(1), true),
            (carried(2), true),
            (Motion::Duplicate, true),
            (carried(3), false),
            (Motion::Duplicate, false),
            (carried(4), true),
            (Motion::Reset, true),
            (carried(5), true),
            (carried(6), true),
        ];
        let mut smoothing = 0.0_f32;
        for (index, (motion, is_painted)) in motions.iter().enumerate() {
            let mut painted = Frame::black(SIZE);
            paint_trial(&mut painted, index);
            let mut frames = [painted.clone(), painted.clone()];
            let smoothers = [&mut on_device, &mut on_processor];
            for (smoother, frame) in smoothers.into_iter().zip(&mut frames) {
                match is_painted {
                    true => smoother.smooth(frame, motion).unwrap(),
                    false => smoother.carry(frame, motion).unwrap(),
                }
            }
            let (mean, most) = (frames[0].mean_difference(&frames[1]), most_levels(&frames[0], &frames[1]));
            assert!(mean < 0.02 && most <= 1, "frame {index}: {mean} levels on average, {most} at most");
            smoothing = smoothing.max(frames[0].mean_difference(&painted));
        }
        assert!(smoothing > 5.0, "it did nothing");
    }

    #[test]
    fn a_trial_finds_it_like_the_processor_and_leaves_no_past() {
        let mut canvas = canvas();
        let trial = canvas.try_against_processor(2).unwrap();
        assert!(trial.levels < 0.02 && trial.device_ms > 0.0 && trial.processor_ms > 0.0, "{trial:?}");
        assert_eq!(canvas.size(), None);
    }

    #[test]
    fn frames_of_another_size_are_smoothed_on_the_processor() {
        let mut smoother = on_device();
        let other = FrameSize::new(64, 48);
        let mut frame = Frame::black(other);
        paint_trial(&mut frame, 0);
        smoother.smooth(&mut frame, &Motion::Reset).unwrap();
        smoother.smooth(&mut frame, &Motion::Duplicate).unwrap();
        assert!(smoother.has_past(other) && !smoother.has_past(SIZE));
    }

    #[test]
    fn motion_of_another_grid_and_frames_without_a_middle_are_refused() {
        let mut smoother = on_device();
        smoother.smooth(&mut Frame::black(SIZE), &Motion::Reset).unwrap();
        let motion = Motion::Carried(CarriedMotion {
            flow: FlowField::zero(FrameSize::new(5, 4)),
            confidence: vec![1.0; 20],
            elapsed_seconds: 0.04,
        });
        let error = smoother.smooth(&mut Frame::black(SIZE), &motion).unwrap_err().to_string();
        assert!(error.contains("5×4 (expected 40×27)"), "{error}");
        let flat = FrameSize::new(100, 2);
        assert!(DeviceCanvas::open(Runtime::load().unwrap(), &Device::CPU, flat, GRID).is_err());
    }
}
