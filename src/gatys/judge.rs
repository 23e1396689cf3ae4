//! How much of its content a painting kept, and how much of a style it took: the losses of a style network's training, as
//! measures.
//!
//! Justin Johnson, Alexandre Alahi and Li Fei-Fei, "Perceptual Losses for Real-Time Style Transfer", 2016: VGG-16, style at
//! relu1_2, relu2_2, relu3_3 and relu4_3, content at relu2_2; both relative, as everywhere in this room.

use anyhow::{Context as _, Result, ensure};

use super::picture::Picture;
use super::statistics::{gram, relative_error};
use super::targets::open;
use super::vgg::{Layer, Pooling, Vgg};
use crate::frame::FrameSize;
use crate::onnx::{GraphBuilder, Value};
use crate::runtime::{Bindings, Session, SessionOptions};

const CONTENT_LAYER: Layer = Layer::new(2, 2);
const STYLE_LAYERS: [Layer; 4] = [Layer::new(1, 2), Layer::new(2, 2), Layer::new(3, 3), Layer::new(4, 3)];

/// What a painting kept and took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judgement {
    /// Σ(F − P)² / ΣP² at relu2_2: 0 for the content itself.
    pub content_loss: f32,
    /// The sum over the layers of ‖G − A‖² / ‖A‖²: 0 for a picture with the style's statistics; a photo has about 5.
    pub style_loss: f32,
}

/// Judges paintings of one size against one style.
#[derive(Debug)]
pub struct Judge {
    size: FrameSize,
    session: Session,
    bindings: Bindings,
}

impl Judge {
    /// Prepares to judge pictures of `size` against `style`, which is looked at in its own size, on so many threads (0: one a core).
    /// Blocks for a second.
    ///
    /// # Errors
    /// When a picture is too small, or ONNX Runtime is not to be had.
    pub fn new(style: &Picture, size: FrameSize, threads: usize) -> Result<Self> {
        let options = &SessionOptions { threads };
        let vgg = Vgg::bundled()?;
        let style_grams = {
            let mut graph = GraphBuilder::new();
            let image = graph.input("style", &Picture::shape(style.size));
            let grams = grams(vgg, &mut graph, &image)?.1;
            for (layer, gram) in STYLE_LAYERS.iter().zip(&grams) {
                graph.output(&layer.to_string(), gram);
            }
            let names = STYLE_LAYERS.map(|layer| layer.to_string());
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let model = graph.finish().context("look at the style")?;
            open(&model, options)?.run_for(&[("style", &style.to_tensor())], &names)?
        };
        let mut graph = GraphBuilder::new();
        let content = graph.input("content", &Picture::shape(size));
        let painted = graph.input("painted", &Picture::shape(size));
        let (content_features, _) = grams(vgg, &mut graph, &content)?;
        let (features, painted_grams) = grams(vgg, &mut graph, &painted)?;
        let content_loss = relative_error(&mut graph, &features, &content_features);
        let mut style_loss = graph.scalar(0.0);
        for (gram, target) in painted_grams.iter().zip(&style_grams) {
            let target = graph.constant(&target.shape, &target.data);
            let error = relative_error(&mut graph, gram, &target);
            style_loss = graph.add(&style_loss, &error);
        }
        graph.output("content-loss", &content_loss);
        graph.output("style-loss", &style_loss);
        let session = open(&graph.finish().context("judge a painting")?, options)?;
        let shape = Picture::shape(size);
        let inputs: [(&str, &[usize]); 2] = [("content", &shape), ("painted", &shape)];
        let bindings = session.bind(&inputs, &[("content-loss", &[]), ("style-loss", &[])])?;
        Ok(Self { size, session, bindings })
    }

    /// Judges a painting of a content. Blocks for about a third of an iteration of an optimization each.
    ///
    /// # Errors
    /// When one of them has another size, or the network cannot be run.
    pub fn judge(&mut self, content: &Picture, painted: &Picture) -> Result<Judgement> {
        for (index, picture) in [content, painted].into_iter().enumerate() {
            ensure!(picture.size == self.size, "a picture of {} for a judge of {}", picture.size, self.size);
            self.bindings.input_mut(index).copy_from_slice(&picture.planes);
        }
        self.session.run_bound(&mut self.bindings)?;
        let loss = |index: usize| self.bindings.output(index).first().copied().context("no loss came back");
        Ok(Judgement { content_loss: loss(0)?, style_loss: loss(1)? })
    }
}

/// Features at the content's layer, and Gram matrices at the style's.
fn grams(vgg: &Vgg, graph: &mut GraphBuilder, image: &Value) -> Result<(Value, Vec<Value>)> {
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
        let mut judge = Judge::new(&style, size, 0).unwrap();
        let unpainted = judge.judge(&content, &content).unwrap();
        assert!(unpainted.content_loss < 1e-6 && unpainted.style_loss > 0.1, "{unpainted:?}");
        let taken = judge.judge(&content, &style).unwrap();
        assert!(taken.style_loss < 1e-4 && taken.content_loss > 0.05, "{taken:?}");
        assert!(judge.judge(&content, &Picture::gray(FrameSize::new(48, 48), 0.5)).is_err());
    }
}
