//! A network in half precision: the nodes that cost time calculate in 16-bit floats, inputs and outputs stay in 32 bits.
//!
//! Convolutions, normalizations and what lies between them are turned; sums over whole pictures, powers and roots keep 32 bits,
//! since a half ends at 65504. Casts stand only where a value goes from one kind of node to the other.

use std::collections::{HashMap, HashSet};

use anyhow::{Result, bail, ensure};
use half::f16;

use super::builder::{Attribute, node};
use super::schema::tensor_proto::DataType;
use super::schema::{NodeProto, TensorProto};
use super::{Model, floats, integer_attribute};

/// Nodes all of whose inputs turn.
const ALL_INPUTS: [&str; 24] = [
    "Add",
    "AveragePool",
    "BatchNormalization",
    "Clip",
    "Concat",
    "Conv",
    "ConvTranspose",
    "Div",
    "Elu",
    "HardSigmoid",
    "InstanceNormalization",
    "LeakyRelu",
    "MatMul",
    "Max",
    "MaxPool",
    "Min",
    "Mul",
    "Neg",
    "PRelu",
    "Relu",
    "Sigmoid",
    "Sub",
    "Sum",
    "Tanh",
];

/// Nodes whose first input alone turns: the others are shapes, scales or indices, which keep their type.
const FIRST_INPUT: [&str; 13] = [
    "DepthToSpace",
    "Expand",
    "Flatten",
    "Identity",
    "Reshape",
    "Resize",
    "Slice",
    "SpaceToDepth",
    "Squeeze",
    "Tile",
    "Transpose",
    "Unsqueeze",
    "Upsample",
];

/// The end of the names of values in half precision.
const SUFFIX: &str = "/half";

impl Model {
    /// Turns the nodes that cost time to half precision (IEEE 754 binary16). Inputs and outputs keep their types and names.
    ///
    /// How far the result is from that of 32 bits depends on the network; only a run can tell.
    ///
    /// # Errors
    /// When the graph branches or loops, or keeps weights in other files; then it is as it was.
    pub fn to_half(&self) -> Result<Self> {
        ensure!(self.external_files().is_empty(), "it keeps weights in files of their own");
        let has_branches = |node: &NodeProto| node.attribute.iter().any(|attribute| attribute.g.is_some());
        if let Some(node) = self.nodes().iter().find(|node| has_branches(node)) {
            bail!("it branches or loops ({})", node.op_type());
        }
        let mut turning = Turning::of(self);
        for node in self.nodes() {
            turning.take(node);
        }
        for output in self.outputs() {
            turning.need_float(&output.name);
        }
        let mut turned = self.clone();
        turned.graph.node = turning.nodes;
        turned.graph.value_info.clear();
        let halves = turning.half_weights;
        let read: HashSet<&str> =
            turned.graph.node.iter().flat_map(|node| &node.input).map(std::string::String::as_str).collect();
        turned.graph.initializer.retain(|tensor| read.contains(tensor.name()));
        turned.graph.input.retain(|input| {
            // Older files list weights among the inputs.
            self.initializer(input.name()).is_none() || read.contains(input.name())
        });
        turned.graph.initializer.extend(halves);
        Ok(turned)
    }
}

/// A graph on its way to half precision.
struct Turning<'a> {
    model: &'a Model,
    nodes: Vec<NodeProto>,
    half_weights: Vec<TensorProto>,
    /// Values of 32-bit floats in the graph as it was.
    floats: HashSet<&'a str>,
    /// Values that are there in half precision, by their name in the graph as it was.
    halves: HashMap<&'a str, String>,
    /// Values that nodes in half precision made, and that are not there in 32 bits yet.
    half_only: HashSet<&'a str>,
}

impl<'a> Turning<'a> {
    fn of(model: &'a Model) -> Self {
        let is_float = |kind: Option<i32>| kind == Some(DataType::Float.into());
        let weights = model.graph.initializer.iter().filter(|tensor| is_float(tensor.data_type)).map(TensorProto::name);
        let inputs = model.graph.input.iter().filter(|input| {
            matches!(input.r#type.as_ref().and_then(|kind| kind.value.as_ref()),
                Some(super::type_proto::Value::TensorType(tensor)) if is_float(tensor.elem_type))
        });
        let floats = weights.chain(inputs.map(super::ValueInfoProto::name)).collect();
        Self {
            model,
            nodes: Vec::new(),
            half_weights: Vec::new(),
            floats,
            halves: HashMap::new(),
            half_only: HashSet::new(),
        }
    }

    fn take(&mut self, node: &'a NodeProto) {
        let given = || node.input.iter().enumerate().filter(|(_, input)| !input.is_empty());
        let mut turned = given().filter(|&(index, _)| turns(node, index)).map(|(_, input)| input.as_str()).peekable();
        let all_turn = turned.peek().is_some() && turned.all(|input| self.floats.contains(input));
        if !all_turn || self.would_lose_a_constant(node) {
            self.keep(node);
            return;
        }
        let mut node_in_half = node.clone();
        for (index, input) in given() {
            match turns(node, index) {
                true => node_in_half.input[index] = self.half(input),
                false => self.need_float(input),
            }
        }
        // Of what is behind the first, the indices of a MaxPool are integers.
        let floats = if node.op_type() == "MaxPool" { 1 } else { node.output.len() };
        let outputs = node_in_half.output.iter_mut().zip(&node.output).take(floats);
        for (turned, output) in outputs.filter(|(_, name)| !name.is_empty()) {
            *turned = format!("{output}{SUFFIX}");
            self.halves.insert(output, turned.clone());
            self.half_only.insert(output);
            self.floats.insert(output);
        }
        self.nodes.push(node_in_half);
    }

    /// Whether a number that is there to keep another from 0, as the epsilon of a normalization does, would be 0 in half precision.
    fn would_lose_a_constant(&self, node: &NodeProto) -> bool {
        matches!(node.op_type(), "Add" | "Sub" | "Max" | "Div")
            && node
                .input
                .iter()
                .filter_map(|input| self.model.small_constant(input))
                .any(|elements| elements.iter().any(|&element| element != 0.0 && f16::from_f32(element) == f16::ZERO))
    }

    /// Adds a node that stays as it is.
    fn keep(&mut self, node: &'a NodeProto) {
        let mut has_floats = false;
        for input in node.input.iter().filter(|input| !input.is_empty()) {
            has_floats |= self.floats.contains(input.as_str());
            self.need_float(input);
        }
        if makes_floats(self.model, node, has_floats) {
            self.floats.extend(node.output.iter().map(String::as_str));
        }
        self.nodes.push(node.clone());
    }

    /// The name of a value in half precision.
    fn half(&mut self, name: &'a str) -> String {
        if let Some(half) = self.halves.get(name) {
            return half.clone();
        }
        let half = format!("{name}{SUFFIX}");
        let weights = self.model.initializer(name);
        match weights.and_then(|tensor| Some((tensor, floats(tensor)?))) {
            Some((tensor, elements)) => self.half_weights.push(TensorProto {
                name: Some(half.clone()),
                data_type: Some(DataType::Float16.into()),
                raw_data: Some(elements.iter().flat_map(|&element| in_range(element).to_le_bytes()).collect()),
                float_data: Vec::new(),
                ..tensor.clone()
            }),
            None => self.nodes.push(cast(name, &half, DataType::Float16)),
        }
        self.halves.insert(name, half.clone());
        half
    }

    /// Sees to it that a value is there in 32 bits.
    fn need_float(&mut self, name: &str) {
        if self.half_only.remove(name)
            && let Some(half) = self.halves.get(name)
        {
            self.nodes.push(cast(half, name, DataType::Float));
        }
    }
}

/// Whether a node takes its input `index` in half precision.
fn turns(node: &NodeProto, index: usize) -> bool {
    let is_standard = node.domain().is_empty() || node.domain() == "ai.onnx";
    match node.op_type() {
        _ if !is_standard => false,
        // The picture and what it is filled with.
        "Pad" => index == 0 || index == 2,
        operator => ALL_INPUTS.contains(&operator) || (index == 0 && FIRST_INPUT.contains(&operator)),
    }
}

/// Whether a node that stays as it is makes 32-bit floats.
fn makes_floats(model: &Model, node: &NodeProto, has_floats: bool) -> bool {
    match node.op_type() {
        "Cast" => integer_attribute(node, "to") == Some(vec![i64::from(i32::from(DataType::Float))]),
        "Constant" => {
            let value = node.attribute.iter().find_map(|attribute| attribute.t.as_ref());
            value.map_or_else(
                || node.attribute.iter().any(|attribute| matches!(attribute.name(), "value_float" | "value_floats")),
                |tensor| tensor.data_type() == i32::from(DataType::Float),
            )
        }
        "DequantizeLinear" => {
            node.input.get(1).and_then(|scale| model.initializer(scale)).map(TensorProto::data_type)
                == Some(DataType::Float.into())
        }
        "ReduceMean" | "ReduceSum" | "ReduceMax" | "ReduceMin" | "Pow" | "Sqrt" | "Exp" | "Log" | "Reciprocal"
        | "Abs" | "GlobalAveragePool" | "Softmax" => has_floats,
        // What is not known is not turned: the nodes behind it stay in 32 bits.
        _ => false,
    }
}

fn cast(from: &str, to: &str, kind: DataType) -> NodeProto {
    node("Cast", &[from], to, &[Attribute::Int("to", i64::from(i32::from(kind)))])
}

/// The nearest half; what is beyond the largest becomes the largest instead of infinite.
fn in_range(element: f32) -> f16 {
    f16::from_f32(element.clamp(f16::MIN.to_f32(), f16::MAX.to_f32()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::GraphBuilder;
    use crate::runtime::{ModelSource, Runtime, Session, SessionOptions, Tensor};

    fn run(model: &Model, inputs: &[(&str, &Tensor)], output: &str) -> Tensor {
        let bytes = model.to_bytes();
        let source = ModelSource::Bytes { bytes: &bytes, weights: None };
        let runtime = Runtime::load().unwrap();
        Session::open(runtime, source, &SessionOptions::default()).unwrap().run(inputs, output).unwrap()
    }

    #[test]
    fn the_bundled_network_paints_nearly_the_same_in_half_precision() {
        let model = Model::from_bytes(include_bytes!("../../models/impasto-lite.onnx")).unwrap();
        let half = model.to_half().unwrap();
        assert_eq!((half.inputs(), half.outputs()), (model.inputs(), model.outputs()));
        let kinds = |model: &Model, kind: DataType| {
            model.graph.initializer.iter().filter(|tensor| tensor.data_type() == i32::from(kind)).count()
        };
        let left = kinds(&half, DataType::Float);
        assert_eq!(
            (left, kinds(&half, DataType::Float16) + left),
            (1, kinds(&model, DataType::Float)),
            "the scales of Resize"
        );
        let casts = half.nodes().iter().filter(|node| node.op_type() == "Cast").count();
        assert_eq!(casts, 3, "picture and style in, painting out");
        let image: Vec<f32> = (0..3 * 48 * 64).map(|i| ((i * 37) % 256) as f32).collect();
        let image = Tensor { shape: vec![1, 3, 48, 64], data: image };
        let mut style = Tensor::zeros(&[1, model.inputs()[1].shape.as_ref().unwrap()[1].fixed().unwrap()]);
        style.data[0] = 1.0;
        let inputs = [("image", &image), ("style", &style)];
        let (exact, near) = (run(&model, &inputs, "stylized"), run(&half, &inputs, "stylized"));
        let difference: f32 = exact.data.iter().zip(&near.data).map(|(a, b)| (a - b).abs()).sum();
        let mean = difference / exact.data.len() as f32;
        assert!(mean > 0.0 && mean < 1.0, "{mean} levels");
    }

    #[test]
    fn what_half_precision_cannot_hold_stays_in_32_bits() {
        let mut graph = GraphBuilder::new();
        let input = graph.input("x", &[4]);
        let large = graph.push("Mul", &[&input, &input], &[]);
        let root = graph.push("Sqrt", &[&large], &[]);
        let twice = graph.push("Add", &[&root, &root], &[]);
        graph.output("y", &twice);
        let model = graph.finish().unwrap();
        let half = model.to_half().unwrap();
        let x = Tensor { shape: vec![4], data: vec![0.5, 1.0, 100.0, 200.0] };
        assert_eq!(run(&half, &[("x", &x)], "y").data, [1.0, 2.0, 200.0, 400.0]);
        let of_root = half.nodes().iter().find(|node| node.op_type() == "Sqrt").unwrap();
        assert!(!of_root.input[0].ends_with(SUFFIX) && !of_root.output[0].ends_with(SUFFIX));
        let sums = half.nodes().iter().filter(|node| node.op_type() == "Add");
        assert!(sums.flat_map(|node| &node.input).all(|input| input.ends_with(SUFFIX)));
    }

    #[test]
    fn where_a_maximum_lay_stays_a_whole_number() {
        let mut graph = GraphBuilder::new();
        let image = graph.input("x", &[1, 1, 2, 2]);
        let window = [Attribute::Ints("kernel_shape", &[2, 2]), Attribute::Ints("strides", &[2, 2])];
        let small = graph.push("MaxPool", &[&image], &window);
        graph.output("y", &small);
        let mut model = graph.finish().unwrap();
        // The builder knows nodes of one output.
        model.graph.node[0].output.push("indices".to_owned());
        let half = model.to_half().unwrap();
        let pool = half.nodes().iter().find(|node| node.op_type() == "MaxPool").unwrap();
        assert!(pool.output[0].ends_with(SUFFIX) && pool.output[1] == "indices", "{:?}", pool.output);
    }

    #[test]
    fn an_epsilon_that_a_half_cannot_hold_still_keeps_from_dividing_by_zero() {
        for is_node in [false, true] {
            let mut graph = GraphBuilder::new();
            let variance = graph.input("x", &[2]);
            let epsilon = graph.constant(&[1], &[1e-9]);
            let kept = graph.add(&variance, &epsilon);
            let root = graph.push("Sqrt", &[&kept], &[]);
            let normal = graph.push("Div", &[&variance, &root], &[]);
            graph.output("y", &normal);
            let mut model = graph.finish().unwrap();
            if is_node {
                // As exporters write it that know no initializers for constants.
                let tensor = model.graph.initializer.remove(0);
                let constant = NodeProto {
                    op_type: Some("Constant".to_owned()),
                    output: vec![tensor.name().to_owned()],
                    attribute: vec![crate::onnx::schema::AttributeProto {
                        name: Some("value".to_owned()),
                        r#type: Some(crate::onnx::schema::attribute_proto::AttributeType::Tensor.into()),
                        t: Some(TensorProto { name: None, ..tensor }),
                        ..Default::default()
                    }],
                    ..Default::default()
                };
                model.graph.node.insert(0, constant);
            }
            let x = Tensor { shape: vec![2], data: vec![0.0, 4.0] };
            assert_eq!(run(&model.to_half().unwrap(), &[("x", &x)], "y").data, [0.0, 2.0]);
        }
    }

    #[test]
    fn weights_beyond_the_range_of_halves_stay_finite() {
        assert_eq!(in_range(1e9), f16::MAX);
        assert_eq!(in_range(-1e9), f16::MIN);
        assert_eq!(in_range(0.5).to_f32(), 0.5);
    }
}
