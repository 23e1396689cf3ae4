//! Temporal smoothing: painted frames that hold still where the content holds still and move where it moves.
//!
//! Each painted frame is blended with the output before it, moved along the content's motion: a recursive filter along
//! motion paths, after the temporal consistency terms of Ruder et al. 2016 and Lai et al. 2018, without their
//! optimization and without looking ahead. This room takes what [`crate::motion`] found and seeks no optical flow itself.

mod detail;
mod device;
mod graph;
mod processor;
mod propagation;
mod resample;

use anyhow::{Result, bail, ensure};

use crate::frame::{Frame, FrameSize};
use crate::motion::{CarriedMotion, Motion, TimeConstants};
pub use device::{DeviceCanvas, Trial};
use processor::ProcessorCanvas;
pub use propagation::{Propagation, PropagationSettings};

/// How strongly the past holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SmootherSettings {
    /// How long the past counts.
    pub time_constants: TimeConstants,
    /// Share of the painted frames' fine detail, as amplitude, that the output shall have (ours); averaging takes some
    /// away, and what is left of it is amplified.
    pub detail: f32,
    /// The most that is added to fine detail, as a multiple of it (ours).
    pub most_gain: f32,
}

impl Default for SmootherSettings {
    fn default() -> Self {
        Self {
            time_constants: TimeConstants::of_painting(TimeConstants::DEFAULT_SECONDS),
            detail: 1.01,
            most_gain: 4.0,
        }
    }
}

/// Says where the past of each place lies and how much it weighs, and has a canvas blend it with the next frame; keeps its buffers.
pub struct Smoother {
    settings: SmootherSettings,
    canvas: Box<dyn Canvas>,
    /// Painted frames that the past of each cell of the motion's grid reaches back without a break: a past of few
    /// frames deserves little weight.
    age: Vec<f32>,
    moved_age: Vec<f32>,
    /// Time since the last painted frame, in seconds, while a frame is worked on.
    unpainted_seconds: f32,
    cells: Vec<Past>,
}

/// Side of the squares that are looked at for changes, in cells of the motion's grid.
const CHANGE_BLOCK: usize = 8;
/// How many squares away a change is felt (ours).
const CHANGE_REACH: usize = 1;
/// How much of a square, in cells, has to be doubted for a change (ours).
const LEAST_CHANGE: f32 = 6.0;

/// Where frames are blended.
pub enum Place {
    /// On so many threads of the processor.
    Processor {
        /// 1 or more.
        threads: usize,
    },
    /// On a device.
    Device(Box<DeviceCanvas>),
}

/// Where the past of a place lies, in pixels to the right and down, and how much it weighs, 0–1.
type Past = [f32; 3];

/// What lies in a frame that the past is mixed into.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    /// Its painting, whose detail is what is wanted.
    Painted,
    /// Nothing of meaning: the past is all there is.
    Nothing,
}

/// The average along the motion, and what is shown of it.
trait Canvas: Send {
    /// The size of the frames that it holds an average of; `None` without one.
    fn size(&self) -> Option<FrameSize>;

    /// Whether it can hold frames of this size.
    fn holds(&self, size: FrameSize) -> bool;

    /// Forgets everything; `painted` is the new average, and is shown as it is.
    fn begin(&mut self, painted: &Frame) -> Result<()>;

    /// Moves the average by the pasts of the cells of `grid` and mixes `frame` in, in whose place comes what is shown.
    fn blend(
        &mut self,
        frame: &mut Frame,
        source: Source,
        grid: FrameSize,
        cells: &[Past],
        settings: &SmootherSettings,
    ) -> Result<()>;

    /// Writes into `frame` what is shown of the average as it is.
    fn show(&mut self, frame: &mut Frame) -> Result<()>;
}

impl Smoother {
    /// A smoother on one thread of the processor that has seen nothing yet.
    pub fn new(settings: SmootherSettings) -> Self {
        let canvas = Box::new(ProcessorCanvas::new(1));
        Self { settings, canvas, age: Vec::new(), moved_age: Vec::new(), unpainted_seconds: 0.0, cells: Vec::new() }
    }

    /// Has frames blended elsewhere from now on; what was seen before is forgotten. Frames of another size than a device's canvas has
    /// stay on the processor.
    pub fn move_to(&mut self, place: Place) {
        self.canvas = match place {
            Place::Processor { threads } => Box::new(ProcessorCanvas::new(threads)),
            Place::Device(canvas) => canvas,
        };
    }

    /// Changes the settings from the next frame on.
    pub fn set_settings(&mut self, settings: SmootherSettings) {
        self.settings = settings;
    }

    /// Replaces `painted` by the smoothed frame. `motion` is that of its content since the frame before.
    ///
    /// # Errors
    /// If the frame's size is not that of its pixels, the motion's grid does not belong to such a frame, or a device fails.
    pub fn smooth(&mut self, painted: &mut Frame, motion: &Motion) -> Result<()> {
        painted.check_size()?;
        match motion {
            Motion::Duplicate if self.has_past(painted.size) => self.canvas.show(painted),
            Motion::Carried(carried) if self.has_past(painted.size) => {
                check_grid(carried)?;
                self.follow_age(carried);
                self.unpainted_seconds += carried.elapsed_seconds;
                self.weigh(carried, painted.size);
                self.unpainted_seconds = 0.0;
                self.canvas.blend(painted, Source::Painted, carried.flow.size, &self.cells, &self.settings)
            }
            _ => {
                self.age.clear();
                self.unpainted_seconds = 0.0;
                if !self.canvas.holds(painted.size) {
                    self.canvas = Box::new(ProcessorCanvas::new(1));
                }
                self.canvas.begin(painted)
            }
        }
    }

    /// Fills `dst` with the past moved along `motion`: a frame that is not painted.
    ///
    /// # Errors
    /// If there is no past for such a frame, the motion's grid does not belong to it, or a device fails.
    pub fn carry(&mut self, dst: &mut Frame, motion: &Motion) -> Result<()> {
        dst.check_size()?;
        ensure!(self.has_past(dst.size), "no painted frame of {} to carry on", dst.size);
        match motion {
            Motion::Duplicate => self.canvas.show(dst),
            Motion::Carried(carried) => {
                check_grid(carried)?;
                self.follow_age(carried);
                self.unpainted_seconds += carried.elapsed_seconds;
                let (scale_x, scale_y) = pixels_per_cell(dst.size, carried.flow.size);
                self.cells.clear();
                self.cells.extend(carried.flow.vectors.iter().map(|[u, v]| [u * scale_x, v * scale_y, 1.0]));
                self.canvas.blend(dst, Source::Nothing, carried.flow.size, &self.cells, &self.settings)
            }
            Motion::Reset => bail!("a new scene has nothing to carry on"),
        }
    }

    fn has_past(&self, size: FrameSize) -> bool {
        self.canvas.size() == Some(size)
    }

    /// Moves along how many painted frames the past reaches back.
    fn follow_age(&mut self, carried: &CarriedMotion) {
        let cells = carried.flow.size.pixels();
        if self.age.len() != cells {
            // The first frame after a new beginning is the only one there is.
            self.age.clear();
            self.age.resize(cells, 1.0);
        }
        nearest(&self.age, carried, &mut self.moved_age);
        std::mem::swap(&mut self.age, &mut self.moved_age);
        self.age.iter_mut().zip(&carried.confidence).for_each(|(age, confidence)| *age *= confidence);
        self.forget_around_changes(carried);
    }

    /// Where something comes or goes, the network paints tens of pixels around it anew, though nothing changes there in the content: what
    /// was painted there before must not outlast it as it does where all stands still.
    fn forget_around_changes(&mut self, carried: &CarriedMotion) {
        let FrameSize { width, height } = carried.flow.size;
        let [moving, _] = self.settings.time_constants.shares(carried.elapsed_seconds);
        let longest = moving / (1.0 - moving);
        let (columns, rows) = (width.div_ceil(CHANGE_BLOCK), height.div_ceil(CHANGE_BLOCK));
        let mut doubt = vec![0.0; columns * rows];
        for (y, row) in carried.confidence.chunks_exact(width).enumerate() {
            for (x, confidence) in row.iter().enumerate() {
                doubt[y / CHANGE_BLOCK * columns + x / CHANGE_BLOCK] += 1.0 - confidence;
            }
        }
        let around = |at: usize, end: usize| at.saturating_sub(CHANGE_REACH)..(at + CHANGE_REACH + 1).min(end);
        for (y, row) in self.age.chunks_exact_mut(width).enumerate() {
            let near_rows = around(y / CHANGE_BLOCK, rows);
            for (column, ages) in row.chunks_mut(CHANGE_BLOCK).enumerate() {
                let near = |y: usize| &doubt[y * columns..][around(column, columns)];
                if near_rows.clone().flat_map(near).any(|doubt| *doubt > LEAST_CHANGE) {
                    ages.iter_mut().for_each(|age| *age = age.min(longest));
                }
            }
        }
    }

    /// Says for each cell where its past lies and how much it weighs against the frame of `size` that is painted now.
    fn weigh(&mut self, carried: &CarriedMotion, size: FrameSize) {
        let [moving, still] = self.settings.time_constants.shares(self.unpainted_seconds);
        let (scale_x, scale_y) = pixels_per_cell(size, carried.flow.size);
        self.cells.clear();
        let cells = carried.flow.vectors.iter().zip(&carried.confidence).zip(&mut self.age);
        self.cells.extend(cells.map(|((&[u, v], &confidence), age)| {
            // At first every frame counts alike; later the time constant decides.
            let longest = if [u, v] == [0.0; 2] { still } else { moving };
            let weight = confidence * (*age / (*age + 1.0)).min(longest);
            *age += 1.0;
            [u * scale_x, v * scale_y, weight]
        }));
    }
}

fn pixels_per_cell(frame: FrameSize, grid: FrameSize) -> (f32, f32) {
    (frame.width as f32 / grid.width as f32, frame.height as f32 / grid.height as f32)
}

fn check_grid(carried: &CarriedMotion) -> Result<()> {
    let (grid, vectors, confidences) = (carried.flow.size, carried.flow.vectors.len(), carried.confidence.len());
    ensure!(
        grid.pixels() > 0 && vectors == grid.pixels() && confidences == grid.pixels(),
        "motion on a grid of {grid} with {vectors} vectors and {confidences} confidences"
    );
    Ok(())
}

/// Moves a map of cells along the flow, each cell from the one that its vector leads to.
fn nearest(src: &[f32], carried: &CarriedMotion, dst: &mut Vec<f32>) {
    let FrameSize { width, height } = carried.flow.size;
    dst.resize(src.len(), 0.0);
    let rows = dst.chunks_exact_mut(width).zip(carried.flow.vectors.chunks_exact(width));
    for (y, (dst, vectors)) in rows.enumerate() {
        for (x, (dst, [u, v])) in dst.iter_mut().zip(vectors).enumerate() {
            let place = |at: usize, by: f32, end: usize| ((at as f32 + by + 0.5).max(0.0) as i32 as usize).min(end - 1);
            *dst = src[place(y, *v, height) * width + place(x, *u, width)];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::CHANNELS;
    use crate::motion::flow::FlowField;

    const SIZE: FrameSize = FrameSize::new(32, 24);

    fn painted(seed: u32, of: impl Fn(usize, usize) -> f32, grain: f32) -> Frame {
        let mut frame = Frame::black(SIZE);
        let mut state = seed.wrapping_mul(747_796_405).wrapping_add(1);
        for (index, pixel) in frame.pixels_mut().as_chunks_mut::<CHANNELS>().0.iter_mut().enumerate() {
            for channel in pixel {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let noise = (state >> 8) as f32 / (1 << 24) as f32 - 0.5;
                *channel = (of(index % SIZE.width, index / SIZE.width) + noise * 2.0 * grain) as u8;
            }
        }
        frame
    }

    /// Everything is believed and moves by `u` pixels to the left, that is: was `u` pixels to the right.
    fn all_moves(u: f32) -> Motion {
        Motion::Carried(CarriedMotion {
            flow: FlowField { size: SIZE, vectors: vec![[u, 0.0]; SIZE.pixels()] },
            confidence: vec![1.0; SIZE.pixels()],
            elapsed_seconds: 0.04,
        })
    }

    fn smoother() -> Smoother {
        Smoother::new(SmootherSettings::default())
    }

    #[test]
    fn what_was_painted_around_something_that_left_does_not_outlast_it() {
        let mut smoother = smoother();
        smoother.smooth(&mut painted(0, |_, _| 80.0, 0.0), &Motion::Reset).unwrap();
        for _ in 0..30 {
            smoother.smooth(&mut painted(0, |_, _| 80.0, 0.0), &all_moves(0.0)).unwrap();
        }
        // The first eight columns change; the painting changes everywhere.
        let confidence = (0..SIZE.pixels()).map(|cell| if cell % SIZE.width < 8 { 0.0 } else { 1.0 }).collect();
        let Motion::Carried(carried) = all_moves(0.0) else { unreachable!() };
        let mut frame = painted(0, |_, _| 180.0, 0.0);
        smoother.smooth(&mut frame, &Motion::Carried(CarriedMotion { confidence, ..carried })).unwrap();
        for _ in 0..10 {
            frame = painted(0, |_, _| 180.0, 0.0);
            smoother.smooth(&mut frame, &all_moves(0.0)).unwrap();
        }
        let level = |x: usize| frame.pixels()[(12 * SIZE.width + x) * CHANNELS];
        assert!(level(12) > 145, "near: {}", level(12));
        assert!(level(28) < 125, "far: {}", level(28));
    }

    #[test]
    fn without_a_past_a_frame_passes_unchanged() {
        let mut smoother = smoother();
        for seed in 0..3 {
            let frame = painted(seed, |_, _| 100.0, 50.0);
            let mut smoothed = painted(seed, |_, _| 100.0, 50.0);
            smoother.smooth(&mut smoothed, &Motion::Reset).unwrap();
            assert_eq!(smoothed.pixels(), frame.pixels());
        }
    }

    #[test]
    fn a_duplicate_repeats_the_output() {
        let mut smoother = smoother();
        let mut first = painted(1, |x, _| x as f32 * 4.0, 20.0);
        smoother.smooth(&mut first, &Motion::Reset).unwrap();
        let mut second = painted(2, |x, _| x as f32 * 4.0, 20.0);
        smoother.smooth(&mut second, &Motion::Duplicate).unwrap();
        assert_eq!(second.pixels(), first.pixels());
    }

    #[test]
    fn a_duplicate_in_the_middle_of_a_scene_repeats_the_output_however_detail_is_given_back() {
        let mut smoother = smoother();
        let mut frame = painted(1, |x, _| x as f32 * 4.0, 60.0);
        smoother.smooth(&mut frame, &Motion::Reset).unwrap();
        for seed in 2..8 {
            let mut frame = painted(seed, |x, _| x as f32 * 4.0, 60.0);
            smoother.smooth(&mut frame, &all_moves(0.0)).unwrap();
            for _ in 0..2 {
                let mut again = painted(seed + 100, |_, _| 0.0, 0.0);
                smoother.smooth(&mut again, &Motion::Duplicate).unwrap();
                assert_eq!(again.pixels(), frame.pixels());
            }
        }
    }

    #[test]
    fn a_carried_frame_does_not_tell_what_lay_in_its_buffer() {
        let carried = [0, 1, 2].map(|seed| {
            let mut smoother = smoother();
            let mut first = painted(9, |x, y| (x * 5 + y * 3) as f32, 40.0);
            smoother.smooth(&mut first, &Motion::Reset).unwrap();
            let mut frames = Vec::new();
            for _ in 0..3 {
                let mut next = painted(seed, |_, _| 128.0, 127.0);
                smoother.carry(&mut next, &all_moves(0.3)).unwrap();
                frames.push(next.pixels().to_vec());
            }
            frames
        });
        assert!(carried.iter().all(|frame| *frame == carried[0]));
    }

    #[test]
    fn frames_do_not_tell_how_many_threads_smoothed_them() {
        let size = FrameSize::new(40, 100);
        let grid = FrameSize::new(20, 50);
        let motion = Motion::Carried(CarriedMotion {
            flow: FlowField { size: grid, vectors: (0..1000).map(|cell| [cell as f32 * 1e-3, 0.4]).collect() },
            confidence: (0..1000).map(|cell| (cell % 7) as f32 / 6.0).collect(),
            elapsed_seconds: 0.04,
        });
        let smoothed = [1, 2, 5].map(|threads| {
            let mut smoother = smoother();
            smoother.move_to(Place::Processor { threads });
            let frame = |seed: usize| {
                let mut frame = Frame::black(size);
                let values = frame.pixels_mut().iter_mut().enumerate();
                values.for_each(|(index, value)| *value = (index * 37 + seed * 91 + index / 120 * 11) as u8);
                frame
            };
            smoother.smooth(&mut frame(0), &Motion::Reset).unwrap();
            let frames = (1..4).map(|seed| {
                let mut frame = frame(seed);
                smoother.smooth(&mut frame, &motion).unwrap();
                frame.pixels().to_vec()
            });
            frames.collect::<Vec<_>>()
        });
        assert!(smoothed.iter().all(|frames| *frames == smoothed[0]));
    }

    #[test]
    fn flicker_of_a_still_picture_falls_to_a_fraction_and_its_brightness_does_not_drift() {
        let mut smoother = smoother();
        let (mut sums, mut squares) = ([0.0_f64; 2], [0.0_f64; 2]);
        let mut brightness = [0.0_f64; 2];
        let pixel = (12 * SIZE.width + 16) * CHANNELS;
        let frames = 200_u32;
        for index in 0..frames {
            let mut frame = painted(index, |x, y| 80.0 + x as f32 + y as f32, 20.0);
            let motion = if index == 0 { Motion::Reset } else { all_moves(0.0) };
            let before = f64::from(frame.pixels()[pixel]);
            brightness[0] += frame.pixels().iter().map(|value| f64::from(*value)).sum::<f64>();
            smoother.smooth(&mut frame, &motion).unwrap();
            brightness[1] += frame.pixels().iter().map(|value| f64::from(*value)).sum::<f64>();
            if index >= 60 {
                for (which, value) in [before, f64::from(frame.pixels()[pixel])].into_iter().enumerate() {
                    sums[which] += value;
                    squares[which] += value * value;
                }
            }
        }
        let count = f64::from(frames - 60);
        let deviation = |which: usize| (squares[which] / count - (sums[which] / count).powi(2)).sqrt();
        assert!(deviation(1) < 0.35 * deviation(0), "{} against {}", deviation(1), deviation(0));
        let drift = (brightness[1] - brightness[0]) / (f64::from(frames) * SIZE.bytes() as f64);
        assert!(drift.abs() < 0.5, "{drift}");
    }

    #[test]
    fn the_past_moves_with_the_content() {
        let mut smoother = smoother();
        let edge = |at: usize| move |x: usize, _| if x < at { 200.0 } else { 50.0 };
        let mut first = painted(0, edge(20), 0.0);
        smoother.smooth(&mut first, &Motion::Reset).unwrap();
        let mut second = painted(0, edge(17), 0.0);
        let expected = second.pixels().to_vec();
        smoother.smooth(&mut second, &all_moves(3.0)).unwrap();
        for (index, (smoothed, expected)) in second.pixels().iter().zip(&expected).enumerate() {
            assert!(smoothed.abs_diff(*expected) <= 2, "at {index}: {smoothed} against {expected}");
        }
    }

    #[test]
    fn what_is_not_believed_leaves_no_ghost() {
        let mut smoother = smoother();
        let mut first = painted(0, |_, _| 250.0, 0.0);
        smoother.smooth(&mut first, &Motion::Reset).unwrap();
        let mut second = painted(1, |_, _| 60.0, 30.0);
        let expected = second.pixels().to_vec();
        let Motion::Carried(mut carried) = all_moves(0.0) else { panic!("it moves") };
        carried.confidence.fill(0.0);
        smoother.smooth(&mut second, &Motion::Carried(carried)).unwrap();
        assert_eq!(second.pixels(), expected);
    }

    #[test]
    fn a_frame_that_is_not_painted_is_the_past_moved_along() {
        let mut smoother = smoother();
        let edge = |at: usize| move |x: usize, _| if x < at { 200.0 } else { 50.0 };
        smoother.smooth(&mut painted(0, edge(20), 0.0), &Motion::Reset).unwrap();
        for at in [17, 14] {
            let mut carried = Frame::black(SIZE);
            smoother.carry(&mut carried, &all_moves(3.0)).unwrap();
            let expected = painted(0, edge(at), 0.0);
            for (index, (carried, expected)) in carried.pixels().iter().zip(expected.pixels()).enumerate() {
                assert!(carried.abs_diff(*expected) <= 4, "at {index}: {carried} against {expected}");
            }
        }
    }

    #[test]
    fn there_is_nothing_to_carry_into_a_new_scene() {
        let mut smoother = smoother();
        assert!(smoother.carry(&mut Frame::black(SIZE), &all_moves(0.0)).is_err());
        smoother.smooth(&mut painted(0, |_, _| 9.0, 0.0), &Motion::Reset).unwrap();
        assert!(smoother.carry(&mut Frame::black(SIZE), &Motion::Reset).is_err());
        assert!(smoother.carry(&mut Frame::black(FrameSize::new(8, 8)), &Motion::Duplicate).is_err());
    }

    #[test]
    fn a_limit_of_gain_that_is_none_gives_no_detail_back() {
        for most_gain in [0.0, -1.0, f32::NAN] {
            let mut smoother = Smoother::new(SmootherSettings { most_gain, ..SmootherSettings::default() });
            for seed in 0..3 {
                let mut frame = painted(seed, |x, _| x as f32 * 4.0, 60.0);
                let motion = if seed == 0 { Motion::Reset } else { all_moves(0.0) };
                smoother.smooth(&mut frame, &motion).unwrap();
            }
        }
    }

    #[test]
    fn a_frame_whose_size_is_not_that_of_its_pixels_is_refused() {
        let mut smoother = smoother();
        smoother.smooth(&mut painted(0, |_, _| 9.0, 0.0), &Motion::Reset).unwrap();
        let mut frame = Frame::black(FrameSize::new(8, 8));
        frame.size = SIZE;
        assert!(smoother.smooth(&mut frame, &all_moves(0.0)).is_err());
        assert!(smoother.smooth(&mut frame, &Motion::Reset).is_err());
        assert!(smoother.carry(&mut frame, &all_moves(0.0)).is_err());
    }

    #[test]
    fn motion_of_another_grid_is_refused() {
        let mut smoother = smoother();
        smoother.smooth(&mut painted(0, |_, _| 9.0, 0.0), &Motion::Reset).unwrap();
        let Motion::Carried(mut carried) = all_moves(0.0) else { panic!("it moves") };
        carried.confidence.pop();
        assert!(smoother.smooth(&mut painted(0, |_, _| 9.0, 0.0), &Motion::Carried(carried)).is_err());
    }
}
