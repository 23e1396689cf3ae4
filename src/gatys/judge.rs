//! How much of its content a painting kept, and how much of a style it took: the losses of a style network's training, as
//! measures.
//!
//! Justin Johnson, Alexandre Alahi and Li Fei-Fei, "Perceptual Losses for Real-Time Style Transfer", 2016: VGG-16, style at
//! relu1_2, relu2_2, relu3_3 and relu4_3, content at relu2_2; both relative, as everywhere in this room.

use anyhow::{Context as _, Result, ensure};

use super::objective::{TooSmall, smallest_side};
use super::picture::Picture;
use super::statistics::{SMALLEST_ENERGY, gram, relative_error};
use super::targets::open;
use super::vgg::{Layer, Pooling, Vgg};
use crate::frame::FrameSize;
use crate::onnx::{GraphBuilder, Value};
use crate::runtime::{Bindings, Session, SessionOptions};

const CONTENT_LAYER: Layer = Layer::new(2, 2);
const STYLE_LAYERS: [Layer; 4] = [Layer::new(1, 2), Layer::new(2, 2), Layer::new(3, 3), Layer::new(4, 3)];

/// What a picture shows and how it is painted, as far as a judge sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Impression {
    /// The sum over the layers of ‖G − A‖² / ‖A‖²: 0 for a picture with the style's statistics; a photo has about 5.
    pub style_loss: f32,
    /// At relu2_2.
    features: Vec<f32>,
}

impl Impression {
    /// Σ(F − P)² / ΣP² at relu2_2, F the features of this painting and P those of its `content`: 0 for the content itself. Both
    /// have to come from the same judge.
    pub fn content_loss(&self, content: &Self) -> f32 {
        let (mut error, mut energy) = (0.0, f64::from(SMALLEST_ENERGY));
        for (painted, content) in self.features.iter().zip(&content.features) {
            error += f64::from(painted - content).powi(2);
            energy += f64::from(*content).powi(2);
        }
        (error / energy) as f32
    }
}

/// Judges pictures of one size against one style.
#[derive(Debug)]
pub struct Judge {
    size: FrameSize,
    session: Session,
    bindings: Bindings,
}

impl Judge {
    /// Prepares to judge pictures of `size` against `style`, which is looked at in its own size. Blocks for a second.
    ///
    /// # Errors
    /// When a picture is too small, or ONNX Runtime is not to be had.
    pub fn new(style: &Picture, size: FrameSize, options: &SessionOptions) -> Result<Self> {
        let vgg = Vgg::bundled()?;
        for (size, what) in [(style.size, "look at the style"), (size, "judge a painting")] {
            for layer in [CONTENT_LAYER].into_iter().chain(STYLE_LAYERS) {
                // A pixel of features is enough.
                TooSmall::check(size, layer, smallest_side(layer) / 2).context(what)?;
            }
        }
        let style_grams = {
            let mut graph = GraphBuilder::new();
            let image = graph.input("style", &Picture::shape(style.size));
            let grams = features_and_grams(vgg, &mut graph, &image)?.1;
            for (layer, gram) in STYLE_LAYERS.iter().zip(&grams) {
                graph.output(&layer.to_string(), gram);
            }
            let names = STYLE_LAYERS.map(|layer| layer.to_string());
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let model = graph.finish().context("look at the style")?;
            open(&model, options)?.run_for(&[("style", &style.to_tensor())], &names)?
        };
        let mut graph = GraphBuilder::new();
        let image = graph.input("picture", &Picture::shape(size));
        let (features, grams) = features_and_grams(vgg, &mut graph, &image)?;
        let mut style_loss = graph.scalar(0.0);
        for (gram, target) in grams.iter().zip(&style_grams) {
            let target = graph.constant(&target.shape, &target.data);
            let error = relative_error(&mut graph, gram, &target);
            style_loss = graph.add(&style_loss, &error);
        }
        graph.output("features", &features);
        graph.output("style-loss", &style_loss);
        let session = open(&graph.finish().context("judge a painting")?, options)?;
        let bindings = session
            .bind(&[("picture", &Picture::shape(size))], &[("features", &features.shape), ("style-loss", &[])])?;
        Ok(Self { size, session, bindings })
    }

    /// Looks at a picture. Blocks for about a third of an iteration of an optimization.
    ///
    /// # Errors
    /// When it has another size, or the network cannot be run.
    pub fn look(&mut self, picture: &Picture) -> Result<Impression> {
        ensure!(picture.size == self.size, "a picture of {} for a judge of {}", picture.size, self.size);
        self.bindings.input_mut(0).copy_from_slice(&picture.planes);
        self.session.run_bound(&mut self.bindings)?;
        let style_loss = self.bindings.output(1).first().copied().context("no loss came back")?;
        Ok(Impression { style_loss, features: self.bindings.output(0).to_vec() })
    }
}

/// Features at the content's layer, and Gram matrices at the style's.
fn features_and_grams(vgg: &Vgg, graph: &mut GraphBuilder, image: &Value) -> Result<(Value, Vec<Value>)> {
    let layers: Vec<Layer> = [CONTENT_LAYER].into_iter().chain(STYLE_LAYERS).collect();
    let mut features = vgg.features(graph, image, &layers, Pooling::Max)?;
    let content = features.remove(0);
    let grams = features
        .into_iter()
        .map(|features| {
            let (channels, count) = (features.shape[1], features.shape[2] * features.shape[3]);
            let flat = graph.reshape(&features, &[channels, count]);
            gram(graph, &flat)
        })
        .collect();
    Ok((content, grams))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_kept_costs_nothing_and_a_style_taken_neither() {
        let size = FrameSize::new(64, 48);
        let (content, style) = (Picture::noise(size, 1), Picture::gray(size, 0.7));
        let mut judge = Judge::new(&style, size, &SessionOptions::default()).unwrap();
        let [unpainted, taken] = [&content, &style].map(|picture| judge.look(picture).unwrap());
        assert!(unpainted.content_loss(&unpainted) == 0.0 && unpainted.style_loss > 0.1, "{}", unpainted.style_loss);
        assert!(taken.style_loss < 1e-4, "{}", taken.style_loss);
        assert!(taken.content_loss(&unpainted) > 0.05, "{}", taken.content_loss(&unpainted));
        assert!(judge.look(&Picture::gray(FrameSize::new(48, 48), 0.5)).is_err());
    }
}
