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
mod tests;
