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
const AVERAGE_DECAY: f32 = 0.99;
/// Added to what is divided by.
const EPSILON: f32 = 1e-8;

/// The input that holds the numbers of a step.
const STEP: &str = "step";

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

    /// Adds the step to an objective's graph.
    ///
    /// # Errors
    /// When the graph cannot be built.
    pub fn build(self, objective: ObjectiveGraph, size: FrameSize) -> Result<StepGraph> {
        let ObjectiveGraph { mut graph, image, gradient, losses, terms, target_inputs } = objective;
        let graph_mut = &mut graph;
        let shape = Picture::shape(size);
        graph_mut.output(LOSSES, &losses);
        let slot = |graph: &mut GraphBuilder, slot: Slot| graph.input(slot.input(), &shape);
        let mean = |graph: &mut GraphBuilder, old: &Value, new: &Value, decay: f32| {
            let old = graph.scale(old, decay);
            let new = graph.scale(new, 1.0 - decay);
            graph.add(&old, &new)
        };
        let mut next: Vec<(Slot, Value)> = Vec::new();
        let numbers = graph_mut.input(STEP, &[2]);
        let rate = graph_mut.slice(&numbers, 0, 0, 1);
        let rate = graph_mut.reshape(&rate, &[]);
        let direction = match self {
            // A loss is a mean over pixels: its derivative by one of them gets smaller the more there are.
            Self::Gradient => graph_mut.scale(&gradient, size.pixels() as f32),
            Self::Adam | Self::RmsProp => {
                let correction = graph_mut.slice(&numbers, 0, 1, 2);
                let correction = graph_mut.reshape(&correction, &[]);
                let old_second = slot(graph_mut, Slot::Second);
                let square = graph_mut.square(&gradient);
                let second = mean(graph_mut, &old_second, &square, SECOND_DECAY);
                let corrected = graph_mut.mul(&second, &correction);
                let root = graph_mut.sqrt(&corrected);
                let divisor = graph_mut.shift(&root, EPSILON);
                next.push((Slot::Second, second));
                let numerator = if self == Self::Adam {
                    let old_first = slot(graph_mut, Slot::First);
                    let first = mean(graph_mut, &old_first, &gradient, FIRST_DECAY);
                    next.push((Slot::First, first.clone()));
                    first
                } else {
                    gradient
                };
                graph_mut.div(&numerator, &divisor)
            }
        };
        let step = graph_mut.mul(&direction, &rate);
        let moved = graph_mut.sub(&image, &step);
        let moved = graph_mut.clip(&moved, 0.0, 1.0);
        if self == Self::Adam {
            let old_average = slot(graph_mut, Slot::Average);
            let average = mean(graph_mut, &old_average, &moved, AVERAGE_DECAY);
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

/// The sum of the weights in an average of `steps` pictures: what it is to be divided by.
pub fn average_weight(steps: u64) -> f32 {
    (1.0 - f64::from(AVERAGE_DECAY).powf(steps as f64)) as f32
}
