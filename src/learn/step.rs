//! A step as one graph: two views through the frozen network, the losses, the gradient by the row, and what Adam makes of it.

use anyhow::{Context as _, Result};

use super::loss::{PaintingTarget, StyleLoss};
use super::network::FrozenNetwork;
use super::views::Views;
use crate::frame::CHANNELS;
use crate::gatys::descent::{Rule, STEP, Slot, running_mean};
use crate::gatys::targets::open;
use crate::onnx::{GraphBuilder, Value};
use crate::runtime::{Bindings, Session, SessionOptions};

const RULE: Rule = Rule::Adam;
/// How fast the average forgets rows: it is the mean of about the last twenty.
pub(super) const AVERAGE_DECAY: f32 = 0.95;
/// A difference of the two views is of levels; the loss speaks of the whole range.
const LEVELS: f32 = 255.0;

const ROW: &str = "row";
const NEXT_ROW: &str = "next-row";
const PICTURES: &str = "pictures";
const ROW_MOTION: &str = "row-motion";
const COLUMN_MOTION: &str = "column-motion";
const WEIGHTS: &str = "weights";
const LOSSES: &str = "losses";

/// What a step is built of beside network and painting.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepSettings {
    /// Side of a view in pixels.
    pub side: usize,
    /// Weight of the style.
    pub style_weight: f32,
    /// Weight of the difference of the two views; 0 leaves the second one out of the loss.
    pub stability_weight: f32,
}

/// The losses of a view before a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepLosses {
    /// All of it.
    pub total: f32,
    /// The content's part.
    pub content: f32,
    /// The style's part.
    pub style: f32,
    /// The stability's part.
    pub stability: f32,
}

/// What a step starts from and leaves changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Memory {
    /// The row.
    pub row: Vec<f32>,
    /// Adam's mean of gradients.
    pub first: Vec<f32>,
    /// Adam's mean of their squares.
    pub second: Vec<f32>,
    /// The mean of rows, not yet divided by the sum of its weights.
    pub average: Vec<f32>,
}

/// The graph of a step, ready to run.
#[derive(Debug)]
pub struct StepRunner {
    session: Session,
    bindings: Bindings,
}

/// The slots in the order in which they are bound.
const SLOTS: [(&str, &str); 4] = [
    (ROW, NEXT_ROW),
    ("first-moment", "next-first-moment"),
    ("second-moment", "next-second-moment"),
    ("average", "next-average"),
];

impl StepRunner {
    /// Builds the graph and opens it. Blocks for seconds.
    ///
    /// # Errors
    /// When a view is too small, or ONNX Runtime is not to be had.
    pub fn new(
        network: &FrozenNetwork,
        target: &PaintingTarget,
        settings: StepSettings,
        options: &SessionOptions,
    ) -> Result<Self> {
        let side = settings.side;
        let row_shape = [network.parameter_count()];
        let mut graph = GraphBuilder::new();
        let row = graph.input(ROW, &row_shape);
        let pictures = graph.input(PICTURES, &[2, CHANNELS, side, side]);
        let painted = network.paint(&mut graph, &pictures, &row)?;
        let view = |graph: &mut GraphBuilder, both: &Value, index: usize| graph.slice(both, 0, index, index + 1);
        let photo = view(&mut graph, &pictures, 0);
        let (first, second) = (view(&mut graph, &painted, 0), view(&mut graph, &painted, 1));
        let loss = StyleLoss::build(&mut graph, &first, &photo, target, settings.style_weight)?;
        let stability = stability(&mut graph, &first, &second, settings);
        let total = graph.add(&loss.total, &stability);
        let gradient = graph.gradients(&total, std::slice::from_ref(&row))?.remove(0);
        let (step, mut next) = RULE.update(&mut graph, &gradient);
        let moved = graph.sub(&row, &step);
        let average = graph.input(Slot::Average.input(), &row_shape);
        next.push((Slot::Average, running_mean(&mut graph, &average, &moved, AVERAGE_DECAY)));
        graph.output(NEXT_ROW, &moved);
        for (slot, value) in &next {
            graph.output(slot.output(), value);
        }
        let parts = [&total, &loss.content, &loss.style, &stability].map(|part| graph.reshape(part, &[1]));
        let losses = graph.concat(&parts.each_ref(), 0);
        graph.output(LOSSES, &losses);
        let session = open(&graph.finish().context("build a step")?, options)?;
        let square = [side, side];
        let pictures_shape = [2, CHANNELS, side, side];
        let mut inputs: Vec<(&str, &[usize])> = SLOTS.iter().map(|(input, _)| (*input, row_shape.as_slice())).collect();
        inputs.extend([(PICTURES, pictures_shape.as_slice()), (ROW_MOTION, &square), (COLUMN_MOTION, &square)]);
        inputs.extend([(WEIGHTS, square.as_slice()), (STEP, &[2])]);
        let mut outputs: Vec<(&str, &[usize])> = vec![(LOSSES, &[4])];
        outputs.extend(SLOTS.iter().map(|(_, output)| (*output, row_shape.as_slice())));
        let bindings = session.bind(&inputs, &outputs)?;
        Ok(Self { session, bindings })
    }

    /// Makes step `step`, from 1, of the length `learning_rate`.
    ///
    /// # Errors
    /// When the run fails.
    pub fn step(&mut self, views: &Views, learning_rate: f32, step: u64) -> Result<StepLosses> {
        let numbers = RULE.numbers(learning_rate, step);
        let inputs = [&views.pictures, &views.row_motion, &views.column_motion, &views.weights];
        for (index, values) in inputs.into_iter().map(Vec::as_slice).chain([numbers.as_slice()]).enumerate() {
            self.bindings.input_mut(SLOTS.len() + index).copy_from_slice(values);
        }
        self.session.run_bound(&mut self.bindings)?;
        for index in 0..SLOTS.len() {
            self.bindings.swap(index, index + 1)?;
        }
        match *self.bindings.output(0) {
            [total, content, style, stability] => Ok(StepLosses { total, content, style, stability }),
            _ => anyhow::bail!("a step gave no losses"),
        }
    }

    /// What the last step left.
    pub fn memory(&self) -> Memory {
        let slot = |index: usize| self.bindings.input(index).to_vec();
        Memory { row: slot(0), first: slot(1), second: slot(2), average: slot(3) }
    }

    /// What the next step is to start from.
    pub fn set_memory(&mut self, memory: &Memory) {
        for (index, values) in [&memory.row, &memory.first, &memory.second, &memory.average].into_iter().enumerate() {
            self.bindings.input_mut(index).copy_from_slice(values);
        }
    }
}

/// The mean difference of the second view from the first one moved onto it.
fn stability(graph: &mut GraphBuilder, first: &Value, second: &Value, settings: StepSettings) -> Value {
    let side = settings.side;
    let row_motion = graph.input(ROW_MOTION, &[side, side]);
    let column_motion = graph.input(COLUMN_MOTION, &[side, side]);
    let weights = graph.input(WEIGHTS, &[side, side]);
    let moved = graph.matmul(&row_motion, first);
    let moved = graph.matmul(&moved, &column_motion);
    let difference = graph.sub(&moved, second);
    let difference = graph.abs(&difference);
    let weighted = graph.mul(&difference, &weights);
    let mean = graph.mean(&weighted);
    graph.scale(&mean, settings.stability_weight / LEVELS)
}
