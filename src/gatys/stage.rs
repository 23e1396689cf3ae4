//! An optimizer at work at one size: what it runs, and what it holds.

use anyhow::{Context as _, Result};

use super::descent::{AVERAGE_DECAY, Rule, Slot, average_weight};
use super::lbfgs::Lbfgs;
use super::objective::{Losses, Term};
use super::painting::State;
use super::picture::Picture;
use super::tiles::TiledObjective;
use crate::frame::FrameSize;
use crate::runtime::{Bindings, Session};

/// A graph of the whole picture: it gives its losses, and its gradient or the next picture.
pub struct Whole {
    /// The graph.
    pub session: Session,
    /// Its tensors: the picture first; losses come out first.
    pub bindings: Bindings,
    /// What the losses are.
    pub terms: Vec<Term>,
}

/// What gives losses and gradient of a picture.
pub enum Evaluator {
    /// At once.
    Whole(Box<Whole>),
    /// In tiles.
    Tiles(Box<TiledObjective>),
}

impl Evaluator {
    /// Looks at a picture, `[3, height, width]`.
    pub fn evaluate(&mut self, planes: &[f32]) -> Result<Losses> {
        match self {
            Self::Whole(whole) => {
                let Whole { session, bindings, terms } = &mut **whole;
                bindings.input_mut(0).copy_from_slice(planes);
                session.run_bound(bindings)?;
                losses(terms, bindings.output(0))
            }
            Self::Tiles(tiles) => tiles.evaluate(planes),
        }
    }

    /// The derivative of the total at the picture that was looked at last.
    pub fn gradient(&self) -> &[f32] {
        match self {
            Self::Whole(whole) => whole.bindings.output(1),
            Self::Tiles(tiles) => tiles.gradient(),
        }
    }
}

/// An optimizer at one size.
pub enum Stage {
    Lbfgs { size: FrameSize, evaluator: Evaluator, lbfgs: Lbfgs },
    Descent { size: FrameSize, rule: Rule, whole: Box<Whole>, averaged: u64 },
}

impl Stage {
    /// One gradient and what the optimizer makes of it; the losses are those before it.
    pub fn step(&mut self, learning_rate: f32, step: u64) -> Result<Losses> {
        match self {
            Self::Lbfgs { evaluator, lbfgs, .. } => {
                let losses = evaluator.evaluate(lbfgs.trial())?;
                lbfgs.tell(losses.total, evaluator.gradient());
                Ok(losses)
            }
            Self::Descent { rule, whole, averaged, .. } => {
                let Whole { session, bindings, terms } = &mut **whole;
                let numbers = rule.numbers(learning_rate, step);
                let last = bindings.input_count() - 1;
                bindings.input_mut(last).copy_from_slice(&numbers);
                session.run_bound(bindings)?;
                let losses = losses(terms, bindings.output(0))?;
                for index in 0..rule.slots().len() {
                    bindings.swap(index, index + 1)?;
                }
                *averaged += 1;
                Ok(losses)
            }
        }
    }

    /// The picture as it would be shown now.
    pub fn result(&self) -> Picture {
        match self {
            Self::Lbfgs { size, lbfgs, .. } => Picture { size: *size, planes: lbfgs.point().to_vec() },
            Self::Descent { size, rule, whole, averaged } => {
                let bindings = &whole.bindings;
                let average = rule.slots().iter().position(|slot| *slot == Slot::Average).filter(|_| *averaged > 0);
                let planes = match average {
                    Some(index) => {
                        let weight = average_weight(AVERAGE_DECAY, *averaged);
                        bindings.input(index).iter().map(|value| value / weight).collect()
                    }
                    None => bindings.input(0).to_vec(),
                };
                Picture { size: *size, planes }
            }
        }
    }

    /// `before` with what the optimizer holds now.
    pub fn state(&self, before: &State) -> State {
        let mut state = State { picture: self.result(), ..before.clone() };
        if let Self::Descent { size, rule, whole, .. } = self {
            let bindings = &whole.bindings;
            let slots = (0..rule.slots().len()).map(|index| bindings.input(index).to_vec());
            let mut pictures = slots.map(|planes| Picture { size: *size, planes });
            if let Some(picture) = pictures.next() {
                state.picture = picture;
            }
            state.memory = pictures.collect();
        }
        state
    }
}

fn losses(terms: &[Term], values: &[f32]) -> Result<Losses> {
    let (total, weighted) = values.split_last().context("the graph gives no losses")?;
    Ok(Losses { terms: terms.iter().copied().zip(weighted.iter().copied()).collect(), total: *total })
}
