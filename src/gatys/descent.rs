//! Optimizers whose step is part of the graph: forward, backward and update are one run, and only the losses are read.
//!
//! Adam: Diederik P. Kingma and Jimmy Ba, 2015, with the running average of the iterates of crowsonkb's
//! style-transfer-pytorch. RMSprop: Tieleman and Hinton 2012. Plain gradient descent: for comparison. After each step the
//! picture is held to 0–1.

use anyhow::Result;

use super::objective::{IMAGE, LOSSES, ObjectiveGraph, Port, Term};
use super::picture::Picture;
use crate::frame::FrameSize;
use crate::onnx::{GraphBuilder, Model, Value};

/// Which rule makes a step of a gradient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Means of gradient and of its square, and the average of the pictures.
    Adam,
    /// The mean of the gradient's square.
    RmsProp,
    /// The gradient itself, times the number of pixels: a rate then means the same at every size.
    Gradient,
}

/// How fast Adam forgets gradients.
const FIRST_DECAY: f32 = 0.9;
/// How fast Adam and RMSprop forget squares of gradients.
const SECOND_DECAY: f32 = 0.99;
/// How fast the average forgets pictures.
pub(super) const AVERAGE_DECAY: f32 = 0.99;
/// Added to what is divided by.
const EPSILON: f32 = 1e-8;

/// The input that holds the numbers of a step.
pub const STEP: &str = "step";

/// A tensor that a step starts from and leaves changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// The picture itself.
    Image,
    /// The mean of gradients.
    First,
    /// The mean of squares of gradients.
    Second,
    /// The mean of pictures, not yet divided by the sum of its weights.
    Average,
}

impl Slot {
    /// Its input's name.
    pub fn input(self) -> &'static str {
        match self {
            Self::Image => IMAGE,
            Self::First => "first-moment",
            Self::Second => "second-moment",
            Self::Average => "average",
        }
    }

    /// Its output's name.
    pub fn output(self) -> &'static str {
        match self {
            Self::Image => "next-image",
            Self::First => "next-first-moment",
            Self::Second => "next-second-moment",
            Self::Average => "next-average",
        }
    }
}

/// A step as a graph: inputs are the slots, the targets and the numbers of the step; outputs the losses and the slots.
#[derive(Debug)]
pub struct StepGraph {
    /// The graph.
    pub model: Model,
    /// What the losses are, but for the sum at their end.
    pub terms: Vec<Term>,
    /// Inputs by name and shape: the slots first, then the targets, then the step's numbers.
    pub inputs: Vec<Port>,
    /// How many of them are targets.
    pub target_count: usize,
}

impl Rule {
    /// What a step starts from and changes, the picture first.
    pub fn slots(self) -> &'static [Slot] {
        match self {
            Self::Adam => &[Slot::Image, Slot::First, Slot::Second, Slot::Average],
            Self::RmsProp => &[Slot::Image, Slot::Second],
            Self::Gradient => &[Slot::Image],
        }
    }

    /// The numbers of step `step`, from 1: the rate, divided by what the mean of gradients lacks at first, and what the
    /// mean of squares is to be multiplied by.
    pub fn numbers(self, learning_rate: f32, step: u64) -> [f32; 2] {
        let lacking = |decay: f32| 1.0 - f64::from(decay).powf(step as f64);
        match self {
            Self::Adam => {
                let rate = f64::from(learning_rate) / lacking(FIRST_DECAY);
                [rate as f32, (1.0 / lacking(SECOND_DECAY)) as f32]
            }
            Self::RmsProp => [learning_rate, (1.0 / lacking(SECOND_DECAY)) as f32],
            Self::Gradient => [learning_rate, 1.0],
        }
    }

    /// Adds to a graph what this rule makes of `gradient`: what is to be taken off, and what the rule remembers for the next
    /// step. Its numbers come in by [`STEP`], its memory by the slots' inputs, in the gradient's shape.
    pub fn update(self, graph: &mut GraphBuilder, gradient: &Value) -> (Value, Vec<(Slot, Value)>) {
        let mut next = Vec::new();
        let numbers = graph.input(STEP, &[2]);
        let rate = graph.slice(&numbers, 0, 0, 1);
        let rate = graph.reshape(&rate, &[]);
        let direction = match self {
            Self::Gradient => gradient.clone(),
            Self::Adam | Self::RmsProp => {
                let correction = graph.slice(&numbers, 0, 1, 2);
                let correction = graph.reshape(&correction, &[]);
                let old_second = graph.input(Slot::Second.input(), &gradient.shape);
                let square = graph.square(gradient);
                let second = running_mean(graph, &old_second, &square, SECOND_DECAY);
                let corrected = graph.mul(&second, &correction);
                let root = graph.sqrt(&corrected);
                let divisor = graph.shift(&root, EPSILON);
                next.push((Slot::Second, second));
                let numerator = if self == Self::Adam {
                    let old_first = graph.input(Slot::First.input(), &gradient.shape);
                    let first = running_mean(graph, &old_first, gradient, FIRST_DECAY);
                    next.push((Slot::First, first.clone()));
                    first
                } else {
                    gradient.clone()
                };
                graph.div(&numerator, &divisor)
            }
        };
        (graph.mul(&direction, &rate), next)
    }

    /// Adds the step to an objective's graph.
    ///
    /// # Errors
    /// When the graph cannot be built.
    pub fn build(self, objective: ObjectiveGraph, size: FrameSize) -> Result<StepGraph> {
        let ObjectiveGraph { mut graph, image, gradient, losses, terms, target_inputs } = objective;
        let graph_mut = &mut graph;
        let shape = Picture::shape(size);
        graph_mut.output(LOSSES, &losses);
        // A loss is a mean over pixels: its derivative by one of them gets smaller the more there are.
        let gradient = if self == Self::Gradient { graph_mut.scale(&gradient, size.pixels() as f32) } else { gradient };
        let (step, mut next) = self.update(graph_mut, &gradient);
        let moved = graph_mut.sub(&image, &step);
        let moved = graph_mut.clip(&moved, 0.0, 1.0);
        if self == Self::Adam {
            let old_average = graph_mut.input(Slot::Average.input(), &shape);
            let average = running_mean(graph_mut, &old_average, &moved, AVERAGE_DECAY);
            next.push((Slot::Average, average));
        }
        next.push((Slot::Image, moved));
        for (slot, value) in &next {
            graph_mut.output(slot.output(), value);
        }
        let target_count = target_inputs.len();
        let slots = self.slots().iter().map(|slot| (slot.input().to_owned(), shape.to_vec()));
        let inputs = slots.chain(target_inputs).chain([(STEP.to_owned(), vec![2])]).collect();
        Ok(StepGraph { model: graph.finish()?, terms, inputs, target_count })
    }
}

/// `decay` of the old mean and the rest of what is new.
pub fn running_mean(graph: &mut GraphBuilder, old: &Value, new: &Value, decay: f32) -> Value {
    let old = graph.scale(old, decay);
    let new = graph.scale(new, 1.0 - decay);
    graph.add(&old, &new)
}

/// The sum of the weights in a running mean after `steps` steps from 0: what it is to be divided by.
pub fn average_weight(decay: f32, steps: u64) -> f32 {
    (1.0 - f64::from(decay).powf(steps as f64)) as f32
}
