//! An ONNX graph in memory: load, look at, edit, build, differentiate, save.
//!
//! This room knows the file format and nothing of pictures or of the runtime that executes a graph. The messages in
//! [`schema`] are ONNX's own, all of them, so that a graph which is loaded and saved keeps everything that the format
//! defines.

#[allow(missing_docs, clippy::all, clippy::pedantic)]
#[rustfmt::skip]
pub mod schema;

pub mod builder;
mod edit;
mod formula;
mod gradient;
mod half_precision;
mod half_weights;
pub mod shape;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
pub use builder::{Attribute, GraphBuilder, Value, node};
use half::f16;
use prost::Message as _;
use prost::encoding::{WireType, decode_key};
use schema::tensor_proto::DataType;
use schema::tensor_shape_proto::dimension::Value as DimensionValue;
use schema::{GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, type_proto};

use crate::input;

/// Why bytes are no ONNX network.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ParseError {
    /// There are no bytes.
    #[error("it is empty (expected an ONNX network)")]
    Empty,
    /// The bytes are no protobuf message of a model, or one that is cut short.
    #[error("it is not an ONNX network, or a damaged one ({0})")]
    NotOnnx(String),
    /// The message is one, but holds no nodes.
    #[error("it holds no graph (expected an ONNX network)")]
    NoGraph,
}

/// A dimension of a graph's input or output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dimension {
    /// A fixed length.
    Fixed(usize),
    /// A length that the caller chooses, by its name in the graph; empty where it has none.
    Open(String),
}

impl Dimension {
    /// The length if it is fixed.
    pub fn fixed(&self) -> Option<usize> {
        match self {
            Self::Fixed(length) => Some(*length),
            Self::Open(_) => None,
        }
    }
}

/// An input or output of a graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// Type of the elements; `None` where it is no dense tensor.
    pub element_type: Option<DataType>,
    /// The dimensions; `None` where even their number is open.
    pub shape: Option<Vec<Dimension>>,
}

/// A network as an ONNX file holds it.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    proto: ModelProto,
    graph: GraphProto,
}

/// Refuses what does not begin with a field of a model: a film that is called like a network need not be read.
fn check_beginning(mut bytes: &[u8]) -> Result<(), ParseError> {
    if bytes.is_empty() {
        return Err(ParseError::Empty);
    }
    match decode_key(&mut bytes) {
        Ok((1 | 5, WireType::Varint) | (2..=4 | 6..=8 | 14 | 20 | 25 | 26, WireType::LengthDelimited)) => Ok(()),
        Ok((field, _)) => Err(ParseError::NotOnnx(format!("it begins with a field {field}, which no model has"))),
        Err(error) => Err(ParseError::NotOnnx(error.to_string())),
    }
}

impl Model {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read or is no regular file, or as [`Model::from_bytes`].
    pub fn load(path: &Path) -> Result<Self> {
        let bytes = input::read(path, |beginning| Ok(check_beginning(beginning)?));
        let bytes = bytes.map_err(|error| match error.is::<ParseError>() {
            true => error,
            false => error.context("it cannot be read"),
        })?;
        Ok(Self::from_bytes(&bytes)?)
    }

    /// Parses the bytes of a file.
    ///
    /// # Errors
    /// See [`ParseError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ParseError> {
        if bytes.is_empty() {
            return Err(ParseError::Empty);
        }
        let mut proto = ModelProto::decode(bytes).map_err(|error| ParseError::NotOnnx(error.to_string()))?;
        let graph = proto.graph.take().filter(|graph| !graph.node.is_empty()).ok_or(ParseError::NoGraph)?;
        Ok(Self { proto, graph })
    }

    /// The bytes of a file that holds this network.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut proto = self.proto.clone();
        proto.graph = Some(self.graph.clone());
        proto.encode_to_vec()
    }

    /// Writes a file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        std::fs::write(path, self.to_bytes()).with_context(|| format!("write '{}'", path.display()))
    }

    /// The graph.
    pub fn graph(&self) -> &GraphProto {
        &self.graph
    }

    /// The graph, to change it.
    pub fn graph_mut(&mut self) -> &mut GraphProto {
        &mut self.graph
    }

    /// The value of a metadata key.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.proto.metadata_props.iter().find(|entry| entry.key() == key).map(schema::StringStringEntryProto::value)
    }

    /// Inputs that a caller must supply: those without an initializer.
    pub fn inputs(&self) -> Vec<Port> {
        self.graph.input.iter().filter(|input| self.initializer(input.name()).is_none()).map(port).collect()
    }

    /// Outputs.
    pub fn outputs(&self) -> Vec<Port> {
        self.graph.output.iter().map(port).collect()
    }

    /// The nodes in the order of execution.
    pub fn nodes(&self) -> &[NodeProto] {
        &self.graph.node
    }

    /// The weights called `name`.
    pub fn initializer(&self, name: &str) -> Option<&TensorProto> {
        self.graph.initializer.iter().find(|tensor| tensor.name() == name)
    }

    /// The node that computes `tensor`; `None` for inputs and weights.
    pub fn producer(&self, tensor: &str) -> Option<&NodeProto> {
        self.graph.node.iter().find(|node| node.output.iter().any(|output| output == tensor))
    }

    /// The nodes that read `tensor`.
    pub fn consumers(&self, tensor: &str) -> Vec<&NodeProto> {
        self.graph.node.iter().filter(|node| node.input.iter().any(|input| input == tensor)).collect()
    }

    /// The elements of a constant (an initializer or the output of a `Constant` node) of at most 1024 elements, as
    /// `f32`; `None` where `name` is no such constant.
    pub fn small_constant(&self, name: &str) -> Option<Vec<f32>> {
        const MAX_ELEMENTS: i64 = 1024;
        if let Some(tensor) = self.initializer(name) {
            return (tensor.dims.iter().product::<i64>() <= MAX_ELEMENTS).then(|| floats(tensor)).flatten();
        }
        let node = self.producer(name).filter(|node| node.op_type() == "Constant")?;
        node.attribute.iter().find_map(|attribute| match attribute.name() {
            "value" => {
                let tensor = attribute.t.as_ref()?;
                (tensor.dims.iter().product::<i64>() <= MAX_ELEMENTS).then(|| floats(tensor)).flatten()
            }
            "value_float" => Some(vec![attribute.f()]),
            "value_floats" => Some(attribute.floats.clone()),
            _ => None,
        })
    }

    /// Shape and elements of the weights called `name`, as `f32`, also behind a node that casts them; `None` where there
    /// are none, or they are no numbers.
    pub fn constant(&self, name: &str) -> Option<(Vec<usize>, Vec<f32>)> {
        let tensor = self.initializer(name).or_else(|| {
            let cast = self.producer(name).filter(|node| node.op_type() == "Cast")?;
            self.initializer(cast.input.first()?)
        })?;
        let shape = tensor.dims.iter().map(|&length| usize::try_from(length).ok()).collect::<Option<Vec<_>>>()?;
        let elements = floats(tensor)?;
        (shape.iter().product::<usize>() == elements.len()).then_some((shape, elements))
    }

    /// Files beside the network that hold some of its weights, relative to the network's folder.
    pub fn external_files(&self) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> = self
            .graph
            .initializer
            .iter()
            .flat_map(|tensor| &tensor.external_data)
            .filter(|entry| entry.key() == "location")
            .map(|entry| PathBuf::from(entry.value()))
            .collect();
        files.sort();
        files.dedup();
        files
    }

    /// Forgets what the graph says of the shapes of its outputs and of what lies between: some exporters leave those of the
    /// picture that they traced with.
    pub fn forget_output_shapes(&mut self) {
        self.graph.value_info.clear();
        for dimensions in self.graph.output.iter_mut().filter_map(dimensions_mut) {
            for dimension in dimensions {
                dimension.value = None;
            }
        }
    }

    /// Opens the batch, height and width of the image input `name` and forgets every shape that was derived from them.
    ///
    /// The batch becomes 1. `height_axis` and `width_axis` count the input's dimensions from 0. Transposed convolutions
    /// that name the size of their output are given the padding that most likely leads to it; the number of those is
    /// returned. Whether the nodes bear another size, and still compute the same, only a run can tell.
    pub fn make_size_dynamic(&mut self, name: &str, height_axis: usize, width_axis: usize) -> usize {
        let is_input = |value: &&mut ValueInfoProto| value.name() == name;
        if let Some(dimensions) = self.graph.input.iter_mut().find(is_input).and_then(dimensions_mut) {
            for (axis, dimension) in dimensions.iter_mut().enumerate() {
                if axis == height_axis {
                    dimension.value = Some(DimensionValue::DimParam("height".to_owned()));
                } else if axis == width_axis {
                    dimension.value = Some(DimensionValue::DimParam("width".to_owned()));
                } else if axis == 0 {
                    dimension.value = Some(DimensionValue::DimValue(1));
                }
            }
        }
        self.forget_output_shapes();
        self.graph
            .node
            .iter_mut()
            .filter(|node| node.op_type() == "ConvTranspose")
            .filter_map(free_output_shape)
            .count()
    }
}

/// Replaces the `output_shape` of a transposed convolution by the `output_padding` that leads to it without other
/// padding: output = stride · (input − 1) + dilation · (kernel − 1) + 1 + output padding.
fn free_output_shape(node: &mut NodeProto) -> Option<()> {
    let output_shape = integer_attribute(node, "output_shape")?;
    let kernel = integer_attribute(node, "kernel_shape")?;
    let ones = || vec![1; kernel.len()];
    let strides = integer_attribute(node, "strides").unwrap_or_else(ones);
    let dilations = integer_attribute(node, "dilations").unwrap_or_else(ones);
    let output_padding: Vec<i64> = output_shape
        .iter()
        .zip(&kernel)
        .zip(strides.iter().zip(&dilations))
        .map(|((output, kernel), (stride, dilation))| {
            (output - dilation * (kernel - 1) - 1).checked_rem_euclid(*stride).unwrap_or(0)
        })
        .collect();
    let replaced = ["output_shape", "output_padding", "auto_pad", "pads"];
    node.attribute.retain(|attribute| !replaced.contains(&attribute.name()));
    node.attribute.push(schema::AttributeProto {
        name: Some("output_padding".to_owned()),
        r#type: Some(schema::attribute_proto::AttributeType::Ints.into()),
        ints: output_padding,
        ..Default::default()
    });
    Some(())
}

/// An attribute of a node as floats, whether it is one or a list.
pub fn float_attribute(node: &NodeProto, name: &str) -> Option<Vec<f32>> {
    let attribute = node.attribute.iter().find(|attribute| attribute.name() == name)?;
    if attribute.floats.is_empty() { attribute.f.map(|value| vec![value]) } else { Some(attribute.floats.clone()) }
}

/// An attribute of a node as integers, whether it is one or a list.
pub fn integer_attribute(node: &NodeProto, name: &str) -> Option<Vec<i64>> {
    let attribute = node.attribute.iter().find(|attribute| attribute.name() == name)?;
    if attribute.ints.is_empty() { attribute.i.map(|value| vec![value]) } else { Some(attribute.ints.clone()) }
}

/// An attribute of a node as text.
pub fn string_attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a str> {
    let attribute = node.attribute.iter().find(|attribute| attribute.name() == name)?;
    attribute.s.as_deref().and_then(|bytes| std::str::from_utf8(bytes).ok())
}

fn dimensions_mut(value: &mut ValueInfoProto) -> Option<&mut Vec<schema::tensor_shape_proto::Dimension>> {
    match value.r#type.as_mut()?.value.as_mut()? {
        type_proto::Value::TensorType(tensor) => tensor.shape.as_mut().map(|shape| &mut shape.dim),
        _ => None,
    }
}

fn port(value: &ValueInfoProto) -> Port {
    let tensor = match value.r#type.as_ref().and_then(|kind| kind.value.as_ref()) {
        Some(type_proto::Value::TensorType(tensor)) => Some(tensor),
        _ => None,
    };
    let dimension = |dimension: &schema::tensor_shape_proto::Dimension| match &dimension.value {
        Some(DimensionValue::DimValue(length)) if *length > 0 => {
            Dimension::Fixed(usize::try_from(*length).unwrap_or(0))
        }
        Some(DimensionValue::DimParam(name)) => Dimension::Open(name.clone()),
        _ => Dimension::Open(String::new()),
    };
    Port {
        name: value.name().to_owned(),
        element_type: tensor.and_then(|tensor| DataType::try_from(tensor.elem_type()).ok()),
        shape: tensor.and_then(|tensor| tensor.shape.as_ref()).map(|shape| shape.dim.iter().map(dimension).collect()),
    }
}

fn floats(tensor: &TensorProto) -> Option<Vec<f32>> {
    let raw = tensor.raw_data();
    match DataType::try_from(tensor.data_type()).ok()? {
        DataType::Float if tensor.float_data.is_empty() => {
            Some(raw.as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect())
        }
        DataType::Float => Some(tensor.float_data.clone()),
        DataType::Double if tensor.double_data.is_empty() => {
            Some(raw.as_chunks::<8>().0.iter().map(|&bytes| f64::from_le_bytes(bytes) as f32).collect())
        }
        DataType::Double => Some(tensor.double_data.iter().map(|&value| value as f32).collect()),
        DataType::Uint8 if tensor.int32_data.is_empty() => Some(raw.iter().map(|&byte| f32::from(byte)).collect()),
        DataType::Int8 if tensor.int32_data.is_empty() => {
            Some(raw.iter().map(|&byte| f32::from(byte.cast_signed())).collect())
        }
        DataType::Int32 if tensor.int32_data.is_empty() => {
            Some(raw.as_chunks::<4>().0.iter().map(|&bytes| i32::from_le_bytes(bytes) as f32).collect())
        }
        DataType::Uint8 | DataType::Int8 | DataType::Int32 => {
            Some(tensor.int32_data.iter().map(|&value| value as f32).collect())
        }
        DataType::Int64 if tensor.int64_data.is_empty() => {
            Some(raw.as_chunks::<8>().0.iter().map(|&bytes| i64::from_le_bytes(bytes) as f32).collect())
        }
        DataType::Int64 => Some(tensor.int64_data.iter().map(|&value| value as f32).collect()),
        DataType::Float16 if tensor.int32_data.is_empty() => {
            Some(raw.as_chunks::<2>().0.iter().map(|&bytes| f16::from_le_bytes(bytes).to_f32()).collect())
        }
        DataType::Float16 => Some(tensor.int32_data.iter().map(|&bits| f16::from_bits(bits as u16).to_f32()).collect()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundled() -> Vec<u8> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/impasto-lite.onnx");
        std::fs::read(path).unwrap()
    }

    #[test]
    fn what_does_not_begin_like_a_network_is_refused_before_the_rest_is_read() {
        assert_eq!(check_beginning(&bundled()[..64]), Ok(()));
        // A model whose fields come in another order: its opset first.
        assert_eq!(check_beginning(&[0x42, 2, 0x10, 17]), Ok(()));
        assert_eq!(check_beginning(&[]), Err(ParseError::Empty));
        for bytes in [&[0; 64][..], b"\x89PNG\r\n\x1a\n", b"\0\0\0\x20ftypisom", b"text", &[0x08 | 2]] {
            let begins = check_beginning(bytes);
            assert!(matches!(begins, Err(ParseError::NotOnnx(_))), "{bytes:?}: {begins:?}");
        }
    }

    #[test]
    fn a_network_that_is_loaded_and_saved_keeps_every_byte() {
        let bytes = bundled();
        assert_eq!(Model::from_bytes(&bytes).unwrap().to_bytes(), bytes);
    }

    #[test]
    fn inputs_outputs_metadata_and_constants_are_read() {
        let model = Model::from_bytes(&bundled()).unwrap();
        let inputs = model.inputs();
        assert_eq!(inputs.len(), 2);
        assert_eq!(inputs[0].name, "image");
        assert_eq!(inputs[0].element_type, Some(DataType::Float));
        let styles = model.metadata("impasto.styles").unwrap().split(',').count();
        assert_eq!(inputs[1].shape.as_ref().unwrap()[1], Dimension::Fixed(styles));
        assert_eq!(model.outputs()[0].name, "stylized");
        assert_eq!(model.metadata("impasto.layout"), Some("NCHW"));
        assert_eq!(model.metadata("impasto.nothing"), None);
        assert_eq!(model.consumers("image")[0].op_type(), "Div");
        assert_eq!(model.small_constant("half"), Some(vec![127.5]));
        assert_eq!(model.small_constant("image"), None);
    }

    #[test]
    fn bytes_that_are_no_network_are_refused_with_the_reason() {
        assert_eq!(Model::from_bytes(&[]), Err(ParseError::Empty));
        assert!(matches!(Model::from_bytes(b"a text, not a network\n"), Err(ParseError::NotOnnx(_))));
        let bytes = bundled();
        assert!(matches!(Model::from_bytes(&bytes[..bytes.len() / 2]), Err(ParseError::NotOnnx(_))));
        assert_eq!(Model::from_bytes(&[0x08, 0x07]), Err(ParseError::NoGraph));
    }

    #[test]
    fn a_fixed_size_is_opened_and_derived_shapes_are_forgotten() {
        let mut model = Model::from_bytes(&bundled()).unwrap();
        let input = &mut model.graph_mut().input[0];
        for dimension in dimensions_mut(input).unwrap() {
            dimension.value = Some(DimensionValue::DimValue(720));
        }
        assert_eq!(model.make_size_dynamic("image", 2, 3), 0);
        let shape = model.inputs()[0].shape.clone().unwrap();
        assert_eq!(shape[0], Dimension::Fixed(1));
        assert_eq!(shape[1], Dimension::Fixed(720));
        assert_eq!(shape[2], Dimension::Open("height".to_owned()));
        assert_eq!(shape[3], Dimension::Open("width".to_owned()));
        assert!(model.outputs()[0].shape.as_ref().unwrap().iter().all(|dimension| dimension.fixed().is_none()));
        assert!(model.graph().value_info.is_empty());
    }

    #[test]
    fn a_named_output_size_becomes_an_output_padding() {
        let ints = |name: &str, ints: &[i64]| schema::AttributeProto {
            name: Some(name.to_owned()),
            ints: ints.to_vec(),
            ..Default::default()
        };
        let mut node = NodeProto {
            attribute: vec![ints("kernel_shape", &[3, 3]), ints("strides", &[2, 2]), ints("output_shape", &[362, 361])],
            ..Default::default()
        };
        assert_eq!(free_output_shape(&mut node), Some(()));
        assert_eq!(integer_attribute(&node, "output_padding"), Some(vec![1, 0]));
        assert_eq!(integer_attribute(&node, "output_shape"), None);
        assert_eq!(free_output_shape(&mut node), None);
    }
}
