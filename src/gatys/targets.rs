//! What content and style give for an objective: features, statistics and masks, computed once before the optimization.

use std::collections::HashMap;

use anyhow::{Context as _, Result, ensure};

use super::objective::{
    ANCHOR, ANCHOR_CONFIDENCE, IMAGE, Objective, Port, Statistics, TooSmall, content_input, mask_input, style_input,
};
use super::picture::Picture;
use super::statistics::{gram, matrix_root, moments};
use super::vgg::{Layer, Pooling, Vgg};
use crate::frame::FrameSize;
use crate::onnx::{GraphBuilder, Model};
use crate::runtime::{Bindings, ModelSource, Runtime, Session, SessionOptions, Tensor};
use crate::scale::{Filter, Scaler};

/// A part of the picture and the styles that it is to have.
#[derive(Debug, Clone)]
pub struct Region {
    /// How much each pixel of the content belongs to it, `[height, width]`, 0–1; `None`: the whole picture.
    pub mask: Option<Vec<f32>>,
    /// Pictures of style and their shares, which sum to 1.
    pub styles: Vec<(Picture, f32)>,
}

/// A picture to stay near.
#[derive(Debug, Clone)]
pub struct Anchor {
    /// Of the content's size.
    pub picture: Picture,
    /// How much each pixel is to stay near, `[height, width]`, 0–1.
    pub confidence: Vec<f32>,
}

/// The values of an objective's inputs but for the picture itself.
#[derive(Debug, Clone, Default)]
pub struct Targets {
    values: HashMap<String, Tensor>,
}

impl Targets {
    /// Runs the network over content and styles. Blocks for about as long as an iteration of the optimization takes.
    ///
    /// # Errors
    /// When a picture is too small for a layer, a mask is not of the content's size or empty, or there are not as many
    /// regions as the objective has.
    pub fn new(
        vgg: &Vgg,
        objective: &Objective,
        content: &Picture,
        regions: &[Region],
        options: &SessionOptions,
    ) -> Result<Self> {
        ensure!(regions.len() == objective.regions.max(1), "{} regions for {}", regions.len(), objective.regions);
        let mut targets = Self::default();
        if objective.content_weight > 0.0 {
            let layers = &objective.content_layers;
            let features =
                features_of(vgg, objective.pooling, content, layers, options).context("look at the content")?;
            for (&layer, features) in layers.iter().zip(features) {
                targets.values.insert(content_input(layer), features);
            }
        }
        if objective.style_weight > 0.0 {
            for (index, region) in regions.iter().enumerate() {
                targets.add_style(vgg, objective, index, region, options)?;
                if objective.regions > 0 {
                    let mask = region.mask.as_ref().context("a region has no mask")?;
                    targets.add_masks(objective, index, mask, content.size)?;
                }
            }
        }
        Ok(targets)
    }

    /// Sets what to stay near.
    ///
    /// # Errors
    /// When the confidence is not of the picture's size.
    pub fn set_anchor(&mut self, anchor: Anchor) -> Result<()> {
        let size = anchor.picture.size;
        ensure!(anchor.confidence.len() == size.pixels(), "a confidence of another size than {size}");
        self.values.insert(ANCHOR.to_owned(), anchor.picture.to_tensor());
        let confidence = Tensor { shape: vec![1, 1, size.height, size.width], data: anchor.confidence };
        self.values.insert(ANCHOR_CONFIDENCE.to_owned(), confidence);
        Ok(())
    }

    /// The value of an input.
    pub fn value(&self, name: &str) -> Option<&Tensor> {
        self.values.get(name)
    }

    /// Writes the values into a graph's inputs, which stand behind `first` others in the order of `inputs`.
    ///
    /// # Errors
    /// When one is missing or of another shape.
    pub fn write(&self, inputs: &[Port], first: usize, bindings: &mut Bindings) -> Result<()> {
        for (index, (name, shape)) in inputs.iter().enumerate() {
            let value = self.values.get(name).with_context(|| format!("nothing is known for '{name}'"))?;
            let count: usize = shape.iter().product();
            ensure!(value.data.len() == count, "'{name}' has the shape {:?} (expected {shape:?})", value.shape);
            bindings.input_mut(first + index).copy_from_slice(&value.data);
        }
        Ok(())
    }

    fn add_style(
        &mut self,
        vgg: &Vgg,
        objective: &Objective,
        region: usize,
        Region { styles, .. }: &Region,
        options: &SessionOptions,
    ) -> Result<()> {
        ensure!(!styles.is_empty(), "region {region} has no style");
        let layers: Vec<Layer> = objective.layers();
        let style_layers: Vec<Layer> =
            objective.style_layers.iter().map(|style| style.layer).filter(|layer| layers.contains(layer)).collect();
        let parts: &[&str] = match objective.statistics {
            Statistics::Gram => &["gram"],
            Statistics::Moments => &["mean", "covariance"],
        };
        for (picture, share) in styles {
            let found = statistics_of(vgg, objective, picture, &style_layers, options).context("look at the style")?;
            let names = style_layers.iter().flat_map(|&layer| parts.iter().map(move |part| (layer, part)));
            for ((layer, part), mut value) in names.zip(found) {
                value.data.iter_mut().for_each(|element| *element *= share);
                match self.values.get_mut(&style_input(part, layer, region)) {
                    Some(sum) => sum.data.iter_mut().zip(&value.data).for_each(|(sum, element)| *sum += element),
                    None => {
                        self.values.insert(style_input(part, layer, region), value);
                    }
                }
            }
        }
        if objective.statistics == Statistics::Moments {
            for layer in style_layers {
                let covariance = self.values.remove(&style_input("covariance", layer, region));
                let root = root_of(&covariance.context("a covariance is missing")?, options)?;
                self.values.insert(style_input("root", layer, region), root);
            }
        }
        Ok(())
    }

    fn add_masks(&mut self, objective: &Objective, region: usize, mask: &[f32], size: FrameSize) -> Result<()> {
        ensure!(mask.len() == size.pixels(), "a mask of {} pixels for a picture of {size}", mask.len());
        for style in &objective.style_layers {
            let small = FrameSize::new(size.width >> style.layer.halvings(), size.height >> style.layer.halvings());
            let mut plane = Scaler::new().scale_plane(size, mask, small, Filter::Box)?;
            let mean_square = plane.iter().map(|value| value * value).sum::<f32>() / plane.len().max(1) as f32;
            ensure!(mean_square > 0.0, "region {region} has no pixels at {}", style.layer);
            plane.iter_mut().for_each(|value| *value /= mean_square.sqrt());
            let plane = Tensor { shape: vec![1, small.pixels()], data: plane };
            self.values.insert(mask_input(style.layer, region), plane);
        }
        Ok(())
    }
}

/// Opens a graph that was built here.
///
/// # Errors
/// When ONNX Runtime is not to be had or refuses it.
pub fn open(model: &Model, options: &SessionOptions) -> Result<Session> {
    let bytes = model.to_bytes();
    Session::open(Runtime::load()?, ModelSource::Bytes { bytes: &bytes, weights: None }, options)
}

/// The features of a picture at `layers`, `[1, C, h, w]` each.
///
/// # Errors
/// When the picture is too small or the network lacks a layer.
pub fn features_of(
    vgg: &Vgg,
    pooling: Pooling,
    picture: &Picture,
    layers: &[Layer],
    options: &SessionOptions,
) -> Result<Vec<Tensor>> {
    run_features(vgg, pooling, picture, layers, options, |_, features| vec![features])
}

/// The statistics of a picture at `layers`: a Gram matrix each, or mean and covariance.
fn statistics_of(
    vgg: &Vgg,
    objective: &Objective,
    picture: &Picture,
    layers: &[Layer],
    options: &SessionOptions,
) -> Result<Vec<Tensor>> {
    run_features(vgg, objective.pooling, picture, layers, options, |graph, features| {
        let &[_, channels, height, width] = features.shape.as_slice() else { return Vec::new() };
        let flat = graph.reshape(&features, &[channels, height * width]);
        match objective.statistics {
            Statistics::Gram => vec![gram(graph, &flat)],
            Statistics::Moments => {
                let (mean, covariance) = moments(graph, &flat, None);
                vec![mean, covariance]
            }
        }
    })
}

fn run_features(
    vgg: &Vgg,
    pooling: Pooling,
    picture: &Picture,
    layers: &[Layer],
    options: &SessionOptions,
    reduce: impl Fn(&mut GraphBuilder, crate::onnx::Value) -> Vec<crate::onnx::Value>,
) -> Result<Vec<Tensor>> {
    if let Some(deepest) = layers.iter().max() {
        // One pixel is enough for a statistic.
        TooSmall::check(picture.size, *deepest, 1 << deepest.halvings())?;
    }
    let mut graph = GraphBuilder::new();
    let image = graph.input(IMAGE, &Picture::shape(picture.size));
    let features = vgg.features(&mut graph, &image, layers, pooling)?;
    let mut names = Vec::new();
    for features in features {
        for value in reduce(&mut graph, features) {
            let name = format!("output{}", names.len());
            graph.output(&name, &value);
            names.push(name);
        }
    }
    let model = graph.finish().with_context(|| format!("at a size of {}", picture.size))?;
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    open(&model, options)?.run_for(&[(IMAGE, &picture.to_tensor())], &names)
}

/// The root of a covariance `[C, C]`.
fn root_of(covariance: &Tensor, options: &SessionOptions) -> Result<Tensor> {
    let mut graph = GraphBuilder::new();
    let input = graph.input("covariance", &covariance.shape);
    let (root, _) = matrix_root(&mut graph, &input);
    graph.output("root", &root);
    open(&graph.finish()?, options)?.run(&[("covariance", covariance)], "root")
}
