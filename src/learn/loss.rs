//! What is asked of a painted photo: the losses with which the network itself was trained (docs/networks.md).
//!
//! Total = content + style + 0.002·TV + 0.001·outside, as in `models/training/impasto_train/losses.py`:
//! - content: MSE of VGG-16's relu3_3 / 1.5e5 (Johnson et al. 2016, section 3.2);
//! - style: 6·weight·Σ w·‖G − S‖² / ‖S‖², w = 1, 1, 1, 0.3 at relu1_2, relu2_2, relu3_3, relu4_3, with Gram matrices G and S of the
//!   photo and the painting (Gatys et al. 2016);
//! - TV: mean difference of neighbouring pixels in levels; outside: mean square of what is not within 0–255.

use anyhow::{Context as _, Result, ensure};

use crate::frame::Frame;
use crate::gatys::statistics::{gram, relative_error};
use crate::gatys::targets::open;
use crate::gatys::{Layer, Picture, Pooling, Vgg};
use crate::onnx::{GraphBuilder, Value};
use crate::runtime::{SessionOptions, Tensor};

const STYLE_LAYERS: [(Layer, f32); 4] =
    [(Layer::new(1, 2), 1.0), (Layer::new(2, 2), 1.0), (Layer::new(3, 3), 1.0), (Layer::new(4, 3), 0.3)];
const CONTENT_LAYER: Layer = Layer::new(3, 3);
/// As in training: where the largest of four counts.
const POOLING: Pooling = Pooling::Max;
const CONTENT_DIVISOR: f32 = 1.5e5;
const STYLE_FACTOR: f32 = 6.0;
const ROUGHNESS_FACTOR: f32 = 0.002;
const OUTSIDE_FACTOR: f32 = 1e-3;
/// What VGG takes for 1.
const LEVELS: f32 = 255.0;

/// Gram matrices of paintings.
#[derive(Debug, Clone)]
pub struct PaintingTarget {
    grams: Vec<Tensor>,
}

impl PaintingTarget {
    /// Looks at paintings in their own size; several count alike. Blocks for about a second each.
    ///
    /// # Errors
    /// When there is none, or one is too small.
    pub fn new(paintings: &[Frame], options: &SessionOptions) -> Result<Self> {
        ensure!(!paintings.is_empty(), "there is no painting");
        let mut sum: Option<Vec<Tensor>> = None;
        for painting in paintings {
            let grams = grams_of(&Picture::from_frame(painting), options).context("look at the painting")?;
            match &mut sum {
                None => sum = Some(grams),
                Some(sum) => {
                    for (sum, gram) in sum.iter_mut().zip(grams) {
                        sum.data.iter_mut().zip(gram.data).for_each(|(sum, element)| *sum += element);
                    }
                }
            }
        }
        let mut grams = sum.unwrap_or_default();
        let share = 1.0 / paintings.len() as f32;
        grams.iter_mut().flat_map(|gram| &mut gram.data).for_each(|element| *element *= share);
        Ok(Self { grams })
    }
}

fn grams_of(picture: &Picture, options: &SessionOptions) -> Result<Vec<Tensor>> {
    let mut graph = GraphBuilder::new();
    let image = graph.input("painting", &Picture::shape(picture.size));
    let layers = STYLE_LAYERS.map(|(layer, _)| layer);
    let features = Vgg::bundled()?.features(&mut graph, &image, &layers, POOLING)?;
    let names = layers.map(|layer| layer.to_string());
    for (name, features) in names.iter().zip(&features) {
        let gram = gram_of(&mut graph, features);
        graph.output(name, &gram);
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    open(&graph.finish()?, options)?.run_for(&[("painting", &picture.to_tensor())], &names)
}

/// The losses of one painted photo, as parts of a graph: scalars.
#[derive(Debug, Clone)]
pub struct StyleLoss {
    /// The sum of all.
    pub total: Value,
    /// The content's part of it.
    pub content: Value,
    /// The style's part of it.
    pub style: Value,
}

impl StyleLoss {
    /// Adds the losses to a graph: `painted` and `photo` are `[1, 3, H, W]`, RGB, 0–255, `painted` not held to that range.
    ///
    /// # Errors
    /// When the pictures are too small.
    pub fn build(
        graph: &mut GraphBuilder,
        painted: &Value,
        photo: &Value,
        target: &PaintingTarget,
        style_weight: f32,
    ) -> Result<Self> {
        let vgg = Vgg::bundled()?;
        let content_features = features(vgg, graph, photo, &[CONTENT_LAYER])?.remove(0);
        let clipped = graph.clip(painted, 0.0, LEVELS);
        let beyond = graph.sub(&clipped, painted);
        // Held to the range, with the gradient of what was not: a pixel at its end must find the way back.
        let constant = graph.detach(&beyond);
        let seen = graph.add(painted, &constant);
        let layers = STYLE_LAYERS.map(|(layer, _)| layer);
        let found = features(vgg, graph, &seen, &layers)?;
        let mut style = graph.scalar(0.0);
        let mut content = graph.scalar(0.0);
        for (((layer, weight), features), target) in STYLE_LAYERS.iter().zip(&found).zip(&target.grams) {
            let gram = gram_of(graph, features);
            let target = graph.constant(&target.shape, &target.data);
            let error = relative_error(graph, &gram, &target);
            let error = graph.scale(&error, STYLE_FACTOR * style_weight * weight);
            style = graph.add(&style, &error);
            if *layer == CONTENT_LAYER {
                let difference = graph.sub(features, &content_features);
                let error = graph.mean_square(&difference);
                content = graph.scale(&error, 1.0 / CONTENT_DIVISOR);
            }
        }
        let roughness = total_variation(graph, painted);
        let roughness = graph.scale(&roughness, ROUGHNESS_FACTOR);
        let outside = graph.mean_square(&beyond);
        let outside = graph.scale(&outside, OUTSIDE_FACTOR);
        let mut total = graph.add(&content, &style);
        for part in [roughness, outside] {
            total = graph.add(&total, &part);
        }
        Ok(Self { total, content, style })
    }
}

fn features(vgg: &Vgg, graph: &mut GraphBuilder, image: &Value, layers: &[Layer]) -> Result<Vec<Value>> {
    let unit = graph.scale(image, 1.0 / LEVELS);
    vgg.features(graph, &unit, layers, POOLING)
}

fn gram_of(graph: &mut GraphBuilder, features: &Value) -> Value {
    let (channels, count) = (features.shape[1], features.shape[2] * features.shape[3]);
    let flat = graph.reshape(features, &[channels, count]);
    gram(graph, &flat)
}

/// The mean over both directions of |differences| of neighbours.
fn total_variation(graph: &mut GraphBuilder, image: &Value) -> Value {
    let mut sum = graph.scalar(0.0);
    for axis in [2, 3] {
        let length = image.shape[axis];
        let low = graph.slice(image, axis, 0, length - 1);
        let high = graph.slice(image, axis, 1, length);
        let difference = graph.sub(&high, &low);
        let difference = graph.abs(&difference);
        let mean = graph.mean(&difference);
        sum = graph.add(&sum, &mean);
    }
    sum
}
