//! The optimization as a whole: from small to large, one step at a time.
//!
//! The picture is optimized at a small size first and carried up, so that large forms are found where they are cheap (Gatys
//! et al. 2017, "Controlling Perceptual Factors in Neural Style Transfer", §6). The caller asks for each step, and may stop
//! after any: the picture so far is always there.

use anyhow::{Context as _, Result, bail, ensure};

use super::descent::{Rule, Slot};
use super::lbfgs::{Lbfgs, LbfgsSettings};
use super::objective::{GRADIENT, GradientGraph, IMAGE, LOSSES, Losses, Objective, TooSmall};
use super::picture::Picture;
use super::scales::scaled_mask;
pub use super::scales::{Scale, scale_schedule, style_size};
use super::stage::{Evaluator, Stage, Whole};
use super::targets::{Anchor, Region, Targets, features_of, open};
use super::tiles::TiledObjective;
use super::tiling::TILE_SIDE;
use super::vgg::Vgg;
use crate::frame::{CHANNELS, FrameSize};
use crate::runtime::SessionOptions;
use crate::scale::{Filter, Scaler};

/// Which optimizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Optimizer {
    /// L-BFGS: the fewest iterations.
    #[default]
    Lbfgs,
    /// Adam: steady, and wholly on the device.
    Adam,
    /// Plain gradient descent: for comparison.
    Gradient,
    /// RMSprop: for comparison.
    RmsProp,
}

impl Optimizer {
    /// The optimizers by name.
    pub const NAMES: [(&str, Self); 4] =
        [("lbfgs", Self::Lbfgs), ("adam", Self::Adam), ("gd", Self::Gradient), ("rmsprop", Self::RmsProp)];

    /// The learning rate where none is asked for: for pixels of 0–1. L-BFGS finds its own.
    pub fn default_learning_rate(self) -> f32 {
        match self {
            Self::Lbfgs => 1.0,
            Self::Adam => 0.02,
            Self::Gradient => 5e-6,
            Self::RmsProp => 0.01,
        }
    }

    fn rule(self) -> Option<Rule> {
        match self {
            Self::Lbfgs => None,
            Self::Adam => Some(Rule::Adam),
            Self::Gradient => Some(Rule::Gradient),
            Self::RmsProp => Some(Rule::RmsProp),
        }
    }
}

/// How a picture is painted.
#[derive(Debug, Clone, PartialEq)]
pub struct PaintSettings {
    /// What is asked of it.
    pub objective: Objective,
    /// How it is approached.
    pub optimizer: Optimizer,
    /// Length of a step; L-BFGS has none.
    pub learning_rate: f32,
    /// The sizes it is painted at, each with its number of iterations; the last one is that of the result.
    pub scales: Vec<Scale>,
    /// How large the style's strokes are: the style picture is brought to this share of the painting's size.
    pub style_scale: f32,
    /// What the network runs on.
    pub session: SessionOptions,
    /// Sizes whose gradient takes more bytes than this are looked at in tiles, where the objective and the optimizer can.
    pub whole_bytes: u64,
}

/// What became of a step.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// Which size, from 0.
    pub scale_index: usize,
    /// The size.
    pub size: FrameSize,
    /// Which iteration at this size, from 1.
    pub iteration: u64,
    /// The losses of the picture before the step.
    pub losses: Losses,
}

/// Why a painting ended before its time.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Ending {
    /// A loss was no number.
    #[error("the losses at {size} are no numbers at iteration {iteration} (a smaller learning rate may help)")]
    Diverged {
        /// At this size.
        size: FrameSize,
        /// In this iteration, from 1.
        iteration: u64,
    },
}

/// What is carried from one size to the next, and what a painting can go on from.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// Which size, from 0.
    pub scale_index: usize,
    /// Iterations done at it.
    pub iteration: u64,
    /// Steps that the means of gradients know of, over all sizes.
    pub steps: u64,
    /// The picture.
    pub picture: Picture,
    /// What else the optimizer holds, in the order of its slots behind the picture; none at the start.
    pub memory: Vec<Picture>,
}

/// A picture that is being painted.
pub struct Painting<'a> {
    vgg: &'a Vgg,
    settings: PaintSettings,
    content: Picture,
    regions: Vec<Region>,
    anchor: Option<Anchor>,
    state: State,
    stage: Option<Stage>,
    last_good: Picture,
}

/// What the process takes beside a graph: its libraries, and weights while a graph is opened.
const RUNTIME_BYTES: u64 = 350_000_000;
/// What ONNX Runtime takes for what is alive in a graph: values in other layouts, and gaps between them
/// (measured at 1024 and 1400 pixels: 1.2 and 1.3).
const RUNTIME_SHARE: f64 = 1.3;

/// How often the last good picture is noted.
const CHECK_INTERVAL: u64 = 10;

impl<'a> Painting<'a> {
    /// A painting of `content` that starts from `start`; both are scaled as the settings say.
    ///
    /// # Errors
    /// When the settings are not usable.
    pub fn new(
        vgg: &'a Vgg,
        settings: PaintSettings,
        content: Picture,
        regions: Vec<Region>,
        start: &Picture,
    ) -> Result<Self> {
        settings.objective.check(vgg)?;
        ensure!(
            settings.learning_rate.is_finite() && settings.learning_rate > 0.0,
            "learning rate {} is out of range (expected above 0)",
            settings.learning_rate
        );
        ensure!(
            settings.style_scale.is_finite() && settings.style_scale > 0.0,
            "style scale {} is out of range (expected above 0)",
            settings.style_scale
        );
        let first = settings.scales.first().context("no size is asked for")?;
        let picture = start.scaled(first.size)?;
        let state = State { scale_index: 0, iteration: 0, steps: 0, picture: picture.clone(), memory: Vec::new() };
        Ok(Self { vgg, settings, content, regions, anchor: None, state, stage: None, last_good: picture })
    }

    /// Sets what the picture is to stay near, where the objective gives that a weight. Before the first step.
    ///
    /// # Errors
    /// When the anchor is not of the content's size.
    pub fn set_anchor(&mut self, anchor: Anchor) -> Result<()> {
        let size = self.content.size;
        ensure!(anchor.picture.size == size, "an anchor of {} for a content of {size}", anchor.picture.size);
        self.anchor = Some(anchor);
        Ok(())
    }

    /// Goes on from a state of the same painting.
    ///
    /// # Errors
    /// When the state is not of these sizes.
    pub fn resume(&mut self, state: State) -> Result<()> {
        let scale = self.settings.scales.get(state.scale_index).context("it is at a size that is not painted")?;
        ensure!(
            scale.size == state.picture.size,
            "it is at {} (expected {}: the same content and size as before)",
            state.picture.size,
            scale.size
        );
        let slots = self.settings.optimizer.rule().map_or(1, |rule| rule.slots().len());
        ensure!(
            state.memory.is_empty() || state.memory.len() + 1 == slots,
            "it is of another optimizer (expected the same as before)"
        );
        ensure!(state.memory.iter().all(|slot| slot.size == scale.size), "it is damaged");
        self.last_good = state.picture.clone();
        self.state = state;
        self.stage = None;
        Ok(())
    }

    /// The settings.
    pub fn settings(&self) -> &PaintSettings {
        &self.settings
    }

    /// Where the painting is, to go on from later.
    pub fn state(&self) -> State {
        self.stage.as_ref().map_or_else(|| self.state.clone(), |stage| stage.state(&self.state))
    }

    /// The best picture so far; 0–1 but for what an optimizer lets over.
    pub fn picture(&self) -> Picture {
        let picture = self.stage.as_ref().map_or_else(|| self.state.picture.clone(), Stage::result);
        if picture.planes.iter().all(|value| value.is_finite()) { picture } else { self.last_good.clone() }
    }

    /// One gradient; `None` when all are done. Blocks for it.
    ///
    /// # Errors
    /// [`Ending::Diverged`]; [`Painting::picture`] is the last good one then. Else when a graph cannot be run.
    pub fn step(&mut self) -> Result<Option<Progress>> {
        let Some(&scale) = self.settings.scales.get(self.state.scale_index) else { return Ok(None) };
        if self.state.iteration >= scale.iterations {
            return self.next_scale();
        }
        if self.stage.is_none() {
            self.stage = Some(self.open_stage(scale)?);
        }
        let Some(stage) = &mut self.stage else { bail!("no stage is open") };
        let losses = stage.step(self.settings.learning_rate, self.state.steps + 1)?;
        self.state.iteration += 1;
        self.state.steps += 1;
        let iteration = self.state.iteration;
        if !losses.total.is_finite() && !matches!(stage, Stage::Lbfgs { .. }) || iteration == 1 && losses.total.is_nan()
        {
            return Err(Ending::Diverged { size: scale.size, iteration }.into());
        }
        if iteration % CHECK_INTERVAL == 1 {
            self.last_good = self.picture();
        }
        Ok(Some(Progress { scale_index: self.state.scale_index, size: scale.size, iteration, losses }))
    }

    /// Where the content's loss lives: the squared difference of features at each place, summed over the layers, each
    /// relative to its energy; `[height, width]`. Blocks for less than an iteration.
    ///
    /// # Errors
    /// When the network cannot be run.
    pub fn content_heat(&self, picture: &Picture) -> Result<Vec<f32>> {
        let Objective { content_layers, pooling, .. } = &self.settings.objective;
        let options = self.settings.session.clone();
        let features = |picture: &Picture| features_of(self.vgg, *pooling, picture, content_layers, &options);
        let wanted = features(&self.content.scaled(picture.size)?)?;
        let mut heat = vec![0.0; picture.size.pixels()];
        for (found, wanted) in features(picture)?.iter().zip(&wanted) {
            let &[_, _, height, width] = wanted.shape.as_slice() else { bail!("features of shape {:?}", wanted.shape) };
            let energy: f32 = wanted.data.iter().map(|value| value * value).sum::<f32>().max(f32::MIN_POSITIVE);
            let mut plane = vec![0.0; height * width];
            let channels = found.data.chunks(height * width).zip(wanted.data.chunks(height * width));
            for (found, wanted) in channels {
                let values = plane.iter_mut().zip(found).zip(wanted);
                values.for_each(|((sum, found), wanted)| *sum += (found - wanted).powi(2) / energy);
            }
            let small = FrameSize::new(width, height);
            let scaled = Scaler::new().scale_plane(small, &plane, picture.size, Filter::CatmullRom)?;
            heat.iter_mut().zip(scaled).for_each(|(sum, value)| *sum += value.max(0.0));
        }
        Ok(heat)
    }

    /// Where the style's loss pulls: the mean over a pixel's channels of the derivative's magnitude, `[height, width]`.
    /// Blocks for an iteration.
    ///
    /// # Errors
    /// When the style weighs nothing, or the graph cannot be run.
    pub fn style_heat(&self, picture: &Picture) -> Result<Vec<f32>> {
        let mut settings = self.settings.clone();
        settings.objective.roughness_weight = 0.0;
        settings.objective.content_weight = 0.0;
        let content = self.content.clone();
        settings.scales = vec![Scale { size: picture.size, iterations: 1 }];
        settings.optimizer = Optimizer::Lbfgs;
        let mut painting = Painting::new(self.vgg, settings, content, self.regions.clone(), picture)?;
        painting.step()?;
        let Some(Stage::Lbfgs { evaluator, .. }) = &painting.stage else { bail!("no gradient was computed") };
        let planes: Vec<&[f32]> = evaluator.gradient().chunks(picture.size.pixels().max(1)).collect();
        let magnitude = |index: usize| planes.iter().map(|plane| plane[index].abs()).sum::<f32>() / CHANNELS as f32;
        Ok((0..picture.size.pixels()).map(magnitude).collect())
    }

    /// About how many bytes of memory the largest size takes, and whether it is looked at in tiles.
    ///
    /// # Errors
    /// When its graph cannot be built.
    pub fn peak_bytes(&self) -> Result<(u64, bool)> {
        let last = self.settings.scales.last().context("no size is asked for")?;
        let is_tiled = self.is_tiled(last.size)?;
        let size = if is_tiled { TiledObjective::tile_size(last.size, TILE_SIDE) } else { last.size };
        let optimizer = match self.settings.optimizer {
            Optimizer::Lbfgs => 2 * LbfgsSettings::default().history + 5,
            Optimizer::Adam | Optimizer::Gradient | Optimizer::RmsProp => 10,
        };
        let picture = (last.size.pixels() * CHANNELS * size_of::<f32>()) as u64;
        let graph = self.graph_bytes(size)?;
        // The first pass over tiles has a graph of its own, and keeps what it took (measured: 1.6 times).
        let graph = if is_tiled { graph * 5 / 3 } else { graph };
        Ok((RUNTIME_BYTES + graph + picture * optimizer as u64, is_tiled))
    }

    /// Refuses strokes so small that a style has no features, before anything is painted.
    ///
    /// # Errors
    /// [`TooSmall`] where a style has none at the smallest size.
    pub fn check_strokes(&self) -> Result<()> {
        let PaintSettings { objective, scales, style_scale, .. } = &self.settings;
        let deepest = objective.style_shares().into_iter().map(|(layer, _)| layer).max();
        let (Some(deepest), Some(first)) = (deepest, scales.first()) else { return Ok(()) };
        for (picture, _) in self.regions.iter().flat_map(|region| &region.styles) {
            let size = style_size(picture.size, first.size, *style_scale);
            TooSmall::check(size, deepest, 1 << deepest.halvings())?;
        }
        Ok(())
    }

    fn targets(&self, content: &Picture, regions: &[Region], options: &SessionOptions) -> Result<Targets> {
        let mut targets = Targets::new(self.vgg, &self.settings.objective, content, regions, options)?;
        if let Some(Anchor { picture, confidence }) = &self.anchor {
            let confidence = scaled_mask(confidence, picture.size, content.size)?;
            targets.set_anchor(Anchor { picture: picture.scaled(content.size)?, confidence })?;
        }
        Ok(targets)
    }

    fn graph_bytes(&self, size: FrameSize) -> Result<u64> {
        let graph = self.settings.objective.build(self.vgg, size)?;
        Ok((graph.graph.peak_bytes() as f64 * RUNTIME_SHARE) as u64)
    }

    fn is_tiled(&self, size: FrameSize) -> Result<bool> {
        let can = self.settings.optimizer == Optimizer::Lbfgs && TiledObjective::can(&self.settings.objective);
        let is_larger = size.width.max(size.height) > TILE_SIDE;
        Ok(can && is_larger && self.graph_bytes(size)? > self.settings.whole_bytes)
    }

    fn next_scale(&mut self) -> Result<Option<Progress>> {
        let mut state = self.state();
        state.picture = self.picture();
        self.stage = None;
        let Some(next) = self.settings.scales.get(state.scale_index + 1) else {
            self.state = state;
            self.last_good = self.state.picture.clone();
            return Ok(None);
        };
        state.scale_index += 1;
        state.iteration = 0;
        state.picture = state.picture.scaled(next.size)?;
        let slots = self.settings.optimizer.rule().map_or(&[][..], |rule| &rule.slots()[1..]);
        for (slot, memory) in slots.iter().zip(&mut state.memory) {
            *memory = match slot {
                Slot::Image | Slot::First => memory.scaled(next.size)?,
                Slot::Second => {
                    // A cubic overshoots, and a mean of squares is never negative.
                    let mut scaled = memory.scaled(next.size)?;
                    scaled.planes.iter_mut().for_each(|value| *value = value.max(0.0));
                    scaled
                }
                // The picture starts from the average, which starts anew.
                Slot::Average => Picture::gray(next.size, 0.0),
            };
        }
        self.last_good = state.picture.clone();
        self.state = state;
        self.step()
    }

    fn open_stage(&self, Scale { size, .. }: Scale) -> Result<Stage> {
        let options = self.settings.session.clone();
        let objective = &self.settings.objective;
        let content = self.content.scaled(size)?;
        let mut regions = Vec::with_capacity(self.regions.len());
        for region in &self.regions {
            let styles = region.styles.iter().map(|(picture, share)| {
                Ok((picture.scaled(style_size(picture.size, size, self.settings.style_scale))?, *share))
            });
            let mask = match &region.mask {
                Some(mask) => Some(scaled_mask(mask, self.content.size, size)?),
                None => None,
            };
            regions.push(Region { mask, styles: styles.collect::<Result<_>>()? });
        }
        match self.settings.optimizer.rule() {
            None if self.is_tiled(size)? => {
                let options = &options;
                let tiled = TiledObjective::new(self.vgg, objective, &content, &regions, TILE_SIDE, options)?;
                let lbfgs = Lbfgs::new(self.state.picture.planes.clone(), LbfgsSettings::default());
                Ok(Stage::Lbfgs { size, evaluator: Evaluator::Tiles(Box::new(tiled)), lbfgs })
            }
            None => {
                let targets = self.targets(&content, &regions, &options)?;
                let GradientGraph { model, terms, target_inputs } = objective.build_gradient(self.vgg, size)?;
                let session = open(&model, &options)?;
                let shape = Picture::shape(size);
                let mut bound: Vec<(&str, &[usize])> = vec![(IMAGE, &shape)];
                bound.extend(target_inputs.iter().map(|(name, shape)| (name.as_str(), shape.as_slice())));
                let losses = [terms.len() + 1];
                let mut bindings = session.bind(&bound, &[(LOSSES, &losses), (GRADIENT, &shape)])?;
                targets.write(&target_inputs, 1, &mut bindings)?;
                let lbfgs = Lbfgs::new(self.state.picture.planes.clone(), LbfgsSettings::default());
                Ok(Stage::Lbfgs {
                    size,
                    evaluator: Evaluator::Whole(Box::new(Whole { session, bindings, terms })),
                    lbfgs,
                })
            }
            Some(rule) => {
                let targets = self.targets(&content, &regions, &options)?;
                let graph = rule.build(objective.build(self.vgg, size)?, size)?;
                let session = open(&graph.model, &options)?;
                let inputs: Vec<(&str, &[usize])> =
                    graph.inputs.iter().map(|(name, shape)| (name.as_str(), shape.as_slice())).collect();
                let (shape, losses) = (Picture::shape(size), [graph.terms.len() + 1]);
                let mut outputs: Vec<(&str, &[usize])> = vec![(LOSSES, &losses)];
                outputs.extend(rule.slots().iter().map(|slot| (slot.output(), shape.as_slice())));
                let mut bindings = session.bind(&inputs, &outputs)?;
                let slots = rule.slots().len();
                targets.write(&graph.inputs[slots..slots + graph.target_count], slots, &mut bindings)?;
                bindings.input_mut(0).copy_from_slice(&self.state.picture.planes);
                for (index, memory) in self.state.memory.iter().enumerate() {
                    bindings.input_mut(index + 1).copy_from_slice(&memory.planes);
                }
                let whole = Box::new(Whole { session, bindings, terms: graph.terms });
                Ok(Stage::Descent { size, rule, whole, averaged: self.state.iteration })
            }
        }
    }
}

impl std::fmt::Debug for Painting<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Painting").field("settings", &self.settings).finish_non_exhaustive()
    }
}
