//! What is asked of a picture, as a graph: from the picture to each loss, their weighted sum, and its gradient.
//!
//! Every loss is relative, so that weights mean the same for every layer, style and network:
//! - content at a layer: Σ(F − P)² / ΣP², P the features of the content picture;
//! - style at a layer: ‖G − A‖² / ‖A‖² with Gram matrices G = F·Fᵀ/(C·H·W), A that of the style ([`Statistics::Gram`];
//!   Gatys et al. 2016), or the squared 2-Wasserstein distance of the Gaussians with the features' means and covariances,
//!   divided by the style's mean square ([`Statistics::Moments`]);
//! - roughness: the mean of squared differences of neighbouring pixels, 0–1 (total variation in its smooth form);
//! - anchor: the mean of c·(x − a)², a picture to stay near where its confidence c asks for it (Ruder et al. 2016).

use anyhow::{Result, bail, ensure};

use super::picture::Picture;
use super::statistics::{SMALLEST_ENERGY, gram, moments, relative_error, roughness, trace, trace_of_root};
use super::vgg::{Layer, Pooling, Vgg};
use crate::frame::FrameSize;
use crate::onnx::{GraphBuilder, Model, Value};

/// Products and sums of larger weights might be no numbers.
pub const MOST_WEIGHT: f32 = 1e9;

/// What of a style's features is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Statistics {
    /// Gram matrices.
    #[default]
    Gram,
    /// Means and covariances.
    Moments,
}

impl Statistics {
    /// The statistics by name.
    pub const NAMES: [(&str, Self); 2] = [("gram", Self::Gram), ("moments", Self::Moments)];
}

/// A layer of the style, and its share among the layers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StyleLayer {
    /// Which.
    pub layer: Layer,
    /// Its share; only the ratio to those of the other layers counts.
    pub weight: f32,
}

/// Weights and layers: everything but the pictures.
#[derive(Debug, Clone, PartialEq)]
pub struct Objective {
    /// Weight of the content, at least 0.
    pub content_weight: f32,
    /// Where content is compared.
    pub content_layers: Vec<Layer>,
    /// Weight of the style, at least 0.
    pub style_weight: f32,
    /// Where style is compared.
    pub style_layers: Vec<StyleLayer>,
    /// What of a style's features is compared.
    pub statistics: Statistics,
    /// Weight of the roughness, at least 0.
    pub roughness_weight: f32,
    /// Weight of staying near the anchor, at least 0; 0 where there is none.
    pub anchor_weight: f32,
    /// How features are halved.
    pub pooling: Pooling,
    /// Parts of the picture that have styles of their own, each where its mask says; 0: the picture has one style, everywhere.
    pub regions: usize,
}

impl Default for Objective {
    fn default() -> Self {
        let style = [Layer::new(1, 1), Layer::new(2, 1), Layer::new(3, 1), Layer::new(4, 1), Layer::new(5, 1)];
        Self {
            content_weight: 1.0,
            content_layers: vec![Layer::new(4, 2)],
            style_weight: 10.0,
            style_layers: style.map(|layer| StyleLayer { layer, weight: 1.0 }).to_vec(),
            statistics: Statistics::Gram,
            roughness_weight: 1.0,
            anchor_weight: 0.0,
            pooling: Pooling::Average,
            regions: 0,
        }
    }
}

/// One term of the sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Term {
    /// Content at a layer.
    Content(Layer),
    /// Style at a layer, in a part of the picture.
    Style(Layer, usize),
    /// Differences of neighbouring pixels.
    Roughness,
    /// Distance from the anchor.
    Anchor,
}

impl std::fmt::Display for Term {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Content(layer) => write!(f, "content {layer}"),
            Self::Style(layer, 0) => write!(f, "style {layer}"),
            Self::Style(layer, region) => write!(f, "style {layer} region {region}"),
            Self::Roughness => f.write_str("roughness"),
            Self::Anchor => f.write_str("anchor"),
        }
    }
}

/// The losses of one picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Losses {
    /// Each term, already times its weight; they sum to the total.
    pub terms: Vec<(Term, f32)>,
    /// Their sum: what is minimized.
    pub total: f32,
}

impl Losses {
    /// The sum of the terms that `select` picks.
    pub fn sum(&self, select: impl Fn(Term) -> bool) -> f32 {
        self.terms.iter().filter(|(term, _)| select(*term)).fold(0.0, |sum, (_, loss)| sum + loss)
    }

    /// The content's part.
    pub fn content(&self) -> f32 {
        self.sum(|term| matches!(term, Term::Content(_)))
    }

    /// The style's part.
    pub fn style(&self) -> f32 {
        self.sum(|term| matches!(term, Term::Style(..)))
    }
}

/// The graph, while it is built: the picture, and what the losses of it are.
pub struct ObjectiveGraph {
    /// The builder, to go on with.
    pub graph: GraphBuilder,
    /// `[1, 3, H, W]`, RGB, 0–1: the graph's input `image`.
    pub image: Value,
    /// The derivative of the total by the image, in its shape.
    pub gradient: Value,
    /// The terms, weighted, and their sum at the end: `[terms + 1]`.
    pub losses: Value,
    /// What the elements of `losses` are, but for the sum.
    pub terms: Vec<Term>,
    /// The other inputs, in order, by name and shape: see [`super::Targets`].
    pub target_inputs: Vec<Port>,
}

/// A graph that gives losses and gradient of the picture in its input `image`.
pub struct GradientGraph {
    /// The graph.
    pub model: Model,
    /// What the losses are, but for the sum at their end.
    pub terms: Vec<Term>,
    /// The other inputs, in order.
    pub target_inputs: Vec<Port>,
}

/// An input or output of a graph, by name and shape.
pub type Port = (String, Vec<usize>);

/// The picture that a graph starts from.
pub const IMAGE: &str = "image";
/// The output that holds the terms and their sum.
pub const LOSSES: &str = "losses";
/// The output that holds the derivative.
pub const GRADIENT: &str = "gradient";
/// The picture to stay near.
pub const ANCHOR: &str = "anchor";
/// How much each pixel is to stay near.
pub const ANCHOR_CONFIDENCE: &str = "anchor-confidence";

/// The input that holds the content's features.
pub fn content_input(layer: Layer) -> String {
    format!("content-{layer}")
}

/// The input that holds the part `part` of the style's statistics.
pub fn style_input(part: &str, layer: Layer, region: usize) -> String {
    format!("style-{part}-{layer}-{region}")
}

/// The input that holds where a region is, in the plane of a layer.
pub fn mask_input(layer: Layer, region: usize) -> String {
    format!("mask-{layer}-{region}")
}

/// The smallest side of a picture that has features at `layer` of more than a pixel.
pub fn smallest_side(layer: Layer) -> usize {
    2 << layer.halvings()
}

/// A picture has no features at a layer.
#[derive(Debug, thiserror::Error)]
#[error("a picture of {size} is too small for {layer} (expected at least {smallest_side}×{smallest_side})")]
pub struct TooSmall {
    size: FrameSize,
    layer: Layer,
    smallest_side: usize,
}

impl TooSmall {
    /// # Errors
    /// When a side of `size` is below `smallest_side`, which `layer` asks for.
    pub(super) fn check(size: FrameSize, layer: Layer, smallest_side: usize) -> Result<(), Self> {
        if size.short_side() >= smallest_side { Ok(()) } else { Err(Self { size, layer, smallest_side }) }
    }
}

impl Objective {
    /// # Errors
    /// When a weight is negative or no number, no layer is asked for, or the network lacks one.
    pub fn check(&self, vgg: &Vgg) -> Result<()> {
        let weights = [
            ("content weight", self.content_weight),
            ("style weight", self.style_weight),
            ("roughness weight", self.roughness_weight),
            ("anchor weight", self.anchor_weight),
        ];
        let layers = self.style_layers.iter().map(|style| ("weight of a style layer", style.weight));
        for (name, weight) in weights.into_iter().chain(layers) {
            ensure!(
                (0.0..=MOST_WEIGHT).contains(&weight),
                "{name} {weight} is out of range (expected 0 to {MOST_WEIGHT})"
            );
        }
        ensure!(self.content_weight + self.style_weight > 0.0, "neither content nor style is asked for (both weigh 0)");
        ensure!(self.style_weight == 0.0 || self.style_weight_sum() > 0.0, "the style layers weigh 0 in all");
        ensure!(self.content_weight == 0.0 || !self.content_layers.is_empty(), "no content layer is named");
        let twice = |layers: &[Layer]| {
            (1..layers.len()).find(|&index| layers[..index].contains(&layers[index])).map(|index| layers[index])
        };
        let style_layers: Vec<Layer> = self.style_layers.iter().map(|style| style.layer).collect();
        if let Some(layer) = twice(&self.content_layers).or_else(|| twice(&style_layers)) {
            bail!("layer {layer} is named twice (expected each once)");
        }
        for layer in self.layers() {
            vgg.channels(layer)?;
        }
        Ok(())
    }

    fn style_weight_sum(&self) -> f32 {
        self.style_layers.iter().map(|style| style.weight).sum()
    }

    /// The content's layers and the weight of each.
    pub(super) fn content_shares(&self) -> Vec<(Layer, f32)> {
        let share = self.content_weight / self.content_layers.len().max(1) as f32;
        self.content_layers.iter().filter(|_| self.content_weight > 0.0).map(|&layer| (layer, share)).collect()
    }

    /// The style's layers and the weight of each in each region.
    pub(super) fn style_shares(&self) -> Vec<(Layer, f32)> {
        let scale = self.style_weight / self.style_weight_sum() / self.regions.max(1) as f32;
        let layers = self.style_layers.iter().filter(|style| self.style_weight > 0.0 && style.weight > 0.0);
        layers.map(|style| (style.layer, style.weight * scale)).collect()
    }

    /// All layers that are compared, each once.
    pub fn layers(&self) -> Vec<Layer> {
        let shares = self.content_shares().into_iter().chain(self.style_shares());
        let mut layers: Vec<Layer> = shares.map(|(layer, _)| layer).collect();
        layers.sort_unstable();
        layers.dedup();
        layers
    }

    fn deepest(&self) -> Layer {
        self.layers().last().copied().unwrap_or(Layer::new(1, 1))
    }

    /// The smallest side of a picture that it can be asked of.
    pub fn smallest_side(&self) -> usize {
        smallest_side(self.deepest())
    }

    /// Builds the graph for pictures of `size`, up to the losses and the gradient.
    ///
    /// # Errors
    /// When the picture is too small for the deepest layer, or the network lacks a layer.
    pub fn build(&self, vgg: &Vgg, size: FrameSize) -> Result<ObjectiveGraph> {
        let mut graph = GraphBuilder::new();
        let image = graph.input(IMAGE, &Picture::shape(size));
        let layers = self.layers();
        TooSmall::check(size, self.deepest(), self.smallest_side())?;
        let features = vgg.features(&mut graph, &image, &layers, self.pooling)?;
        let of = |layer: Layer| layers.iter().position(|known| *known == layer).map(|index| features[index].clone());
        let mut terms = Terms { graph, found: Vec::new(), losses: Vec::new(), target_inputs: Vec::new() };
        for (layer, share) in self.content_shares() {
            let Some(features) = of(layer) else { continue };
            let target = terms.target(content_input(layer), &features.shape);
            let error = relative_error(&mut terms.graph, &features, &target);
            terms.push(Term::Content(layer), &error, share);
        }
        for (layer, share) in self.style_shares() {
            let Some(features) = of(layer) else { continue };
            for region in 0..self.regions.max(1) {
                let (masked, mask) = terms.masked(&features, layer, region, self.regions);
                let error = match self.statistics {
                    Statistics::Gram => terms.gram_error(&masked, layer, region),
                    Statistics::Moments => terms.moments_error(&masked, mask.as_ref(), layer, region),
                };
                terms.push(Term::Style(layer, region), &error, share);
            }
        }
        if self.roughness_weight > 0.0 {
            let roughness = roughness(&mut terms.graph, &image);
            terms.push(Term::Roughness, &roughness, self.roughness_weight);
        }
        if self.anchor_weight > 0.0 {
            let anchor = terms.target(ANCHOR.to_owned(), &image.shape);
            let confidence = terms.target(ANCHOR_CONFIDENCE.to_owned(), &[1, 1, size.height, size.width]);
            let difference = terms.graph.sub(&image, &anchor);
            let square = terms.graph.square(&difference);
            let weighted = terms.graph.mul(&square, &confidence);
            let distance = terms.graph.mean(&weighted);
            terms.push(Term::Anchor, &distance, self.anchor_weight);
        }
        terms.finish(image)
    }

    /// The graph from a picture to losses and gradient, complete: input `image` and the targets, outputs `losses` and
    /// `gradient`.
    ///
    /// # Errors
    /// As [`Objective::build`].
    pub fn build_gradient(&self, vgg: &Vgg, size: FrameSize) -> Result<GradientGraph> {
        let mut built = self.build(vgg, size)?;
        built.graph.output(LOSSES, &built.losses);
        built.graph.output(GRADIENT, &built.gradient);
        Ok(GradientGraph { model: built.graph.finish()?, terms: built.terms, target_inputs: built.target_inputs })
    }
}

/// Terms while they are gathered.
struct Terms {
    graph: GraphBuilder,
    found: Vec<Term>,
    /// Scalars, weighted.
    losses: Vec<Value>,
    target_inputs: Vec<Port>,
}

impl Terms {
    fn target(&mut self, name: String, shape: &[usize]) -> Value {
        let value = self.graph.input(&name, shape);
        self.target_inputs.push((name, shape.to_vec()));
        value
    }

    fn push(&mut self, term: Term, error: &Value, weight: f32) {
        let weighted = self.graph.scale(error, weight);
        self.losses.push(self.graph.reshape(&weighted, &[]));
        self.found.push(term);
    }

    /// Features `[1, C, H, W]` as `[C, H·W]`, those outside the region at 0, and the region's mask, whose mean square is 1.
    fn masked(&mut self, features: &Value, layer: Layer, region: usize, regions: usize) -> (Value, Option<Value>) {
        let &[_, channels, height, width] = features.shape.as_slice() else { return (features.clone(), None) };
        let flat = self.graph.reshape(features, &[channels, height * width]);
        if regions == 0 {
            return (flat, None);
        }
        let mask = self.target(mask_input(layer, region), &[1, height * width]);
        (self.graph.mul(&flat, &mask), Some(mask))
    }

    fn gram_error(&mut self, features: &Value, layer: Layer, region: usize) -> Value {
        let gram = gram(&mut self.graph, features);
        let target = self.target(style_input("gram", layer, region), &gram.shape);
        relative_error(&mut self.graph, &gram, &target)
    }

    /// W² = ‖µ − m‖² + tr(Σ + S − 2·(√S·Σ·√S)^½), m and S the style's; relative to ‖m‖² + tr S.
    fn moments_error(&mut self, features: &Value, mask: Option<&Value>, layer: Layer, region: usize) -> Value {
        let (mean, covariance) = moments(&mut self.graph, features, mask);
        let style_mean = self.target(style_input("mean", layer, region), &mean.shape);
        let style_root = self.target(style_input("root", layer, region), &covariance.shape);
        let graph = &mut self.graph;
        let difference = graph.sub(&mean, &style_mean);
        let difference = graph.square(&difference);
        let mean_distance = graph.sum(&difference);
        let trace = trace(graph, &covariance);
        // The trace of S = √S·√S is the sum of the squares of its root.
        let style_square = graph.square(&style_root);
        let style_trace = graph.sum(&style_square);
        let inner = graph.matmul(&style_root, &covariance);
        let inner = graph.matmul(&inner, &style_root);
        let common = trace_of_root(graph, &inner);
        let common = graph.scale(&common, -2.0);
        let covariance_distance = graph.add(&trace, &style_trace);
        let covariance_distance = graph.add(&covariance_distance, &common);
        let distance = graph.add(&mean_distance, &covariance_distance);
        let style_mean_square = graph.square(&style_mean);
        let style_mean_square = graph.sum(&style_mean_square);
        let energy = graph.add(&style_mean_square, &style_trace);
        let energy = graph.shift(&energy, SMALLEST_ENERGY);
        graph.div(&distance, &energy)
    }

    fn finish(mut self, image: Value) -> Result<ObjectiveGraph> {
        let graph = &mut self.graph;
        let Some((first, rest)) = self.losses.split_first() else { anyhow::bail!("nothing is asked for") };
        let total = rest.iter().fold(first.clone(), |sum, loss| graph.add(&sum, loss));
        let gradient = graph.gradients(&total, std::slice::from_ref(&image))?.remove(0);
        let single: Vec<Value> =
            self.losses.iter().chain([&total]).map(|loss| self.graph.reshape(loss, &[1])).collect();
        let single: Vec<&Value> = single.iter().collect();
        let losses = self.graph.concat(&single, 0);
        Ok(ObjectiveGraph {
            graph: self.graph,
            image,
            gradient,
            losses,
            terms: self.found,
            target_inputs: self.target_inputs,
        })
    }
}
