//! Builds a graph node by node.
//!
//! Every value has a fixed shape and `f32` elements (masks are the only other kind inside, and bytes at the ends of a graph). The first node that does not fit is remembered and told by [`GraphBuilder::finish`], so that a formula reads
//! as one: `let difference = graph.sub(&a, &b); let loss = graph.mean_square(&difference);`.

use std::collections::{HashMap, HashSet};

use anyhow::{Context as _, Result, ensure};

use super::edit::port_info;
use super::schema::attribute_proto::AttributeType;
use super::schema::tensor_proto::DataType;
use super::schema::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, ValueInfoProto,
};
use super::{Model, float_attribute, floats, integer_attribute, shape};

/// The version of ONNX's operators that graphs are built with.
const OPERATOR_SET: i64 = 18;
/// The version of the file format.
const IR_VERSION: i64 = 9;

/// A tensor in a graph that is being built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// Its name in the graph.
    pub name: String,
    /// Lengths of its dimensions; empty for a scalar.
    pub shape: Vec<usize>,
}

impl Value {
    /// Elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A graph that is being built.
#[derive(Debug, Default)]
pub struct GraphBuilder {
    pub(super) nodes: Vec<NodeProto>,
    initializers: Vec<TensorProto>,
    inputs: Vec<ValueInfoProto>,
    outputs: Vec<ValueInfoProto>,
    shapes: HashMap<String, Vec<usize>>,
    integers: HashMap<String, Vec<i64>>,
    small_floats: HashMap<String, Vec<f32>>,
    /// Values that gradients take for constants.
    pub(super) detached: HashSet<String>,
    made: usize,
    error: Option<anyhow::Error>,
}

/// A node's attribute.
#[derive(Debug, Clone, Copy)]
pub enum Attribute<'a> {
    /// Whole numbers.
    Ints(&'a str, &'a [i64]),
    /// One whole number.
    Int(&'a str, i64),
    /// One number.
    Float(&'a str, f32),
    /// A word.
    Text(&'a str, &'a str),
}

impl GraphBuilder {
    /// An empty graph.
    pub fn new() -> Self {
        Self::default()
    }

    /// An input that the caller supplies, by its name.
    pub fn input(&mut self, name: &str, shape: &[usize]) -> Value {
        let value = self.named(name, shape);
        self.inputs.push(value_info(&value, DataType::Float));
        value
    }

    /// An input of bytes; what it gives are their values, 0–255.
    pub fn input_bytes(&mut self, name: &str, shape: &[usize]) -> Value {
        let bytes = self.named(name, shape);
        self.inputs.push(value_info(&bytes, DataType::Uint8));
        self.cast(&bytes, DataType::Float)
    }

    fn cast(&mut self, value: &Value, to: DataType) -> Value {
        self.push("Cast", &[value], &[Attribute::Int("to", i64::from(i32::from(to)))])
    }

    fn named(&mut self, name: &str, shape: &[usize]) -> Value {
        if self.shapes.insert(name.to_owned(), shape.to_vec()).is_some() {
            self.fail(anyhow::anyhow!("two tensors are called '{name}'"));
        }
        Value { name: name.to_owned(), shape: shape.to_vec() }
    }

    /// Makes `value` an output called `name`.
    pub fn output(&mut self, name: &str, value: &Value) -> Value {
        let named = self.named(name, &value.shape);
        self.nodes.push(node("Identity", &[&value.name], name, &[]));
        self.outputs.push(value_info(&named, DataType::Float));
        named
    }

    /// Makes `value`, 0–255, an output of bytes called `name`: the nearest whole numbers, which come back as values.
    pub fn output_bytes(&mut self, name: &str, value: &Value) -> Value {
        let half_more = self.shift(value, 0.5);
        let held = self.clip(&half_more, 0.0, 255.5);
        let bytes = self.cast(&held, DataType::Uint8);
        let named = self.named(name, &value.shape);
        self.nodes.push(node("Identity", &[&bytes.name], name, &[]));
        self.outputs.push(value_info(&named, DataType::Uint8));
        self.cast(&bytes, DataType::Float)
    }

    /// A constant; as many elements as the product of the shape.
    pub fn constant(&mut self, shape: &[usize], elements: &[f32]) -> Value {
        if shape.iter().product::<usize>() != elements.len() {
            self.fail(anyhow::anyhow!("{} elements for a constant of shape {shape:?}", elements.len()));
        }
        let raw = elements.iter().flat_map(|element| element.to_le_bytes()).collect();
        let value = self.initializer(shape, DataType::Float, raw);
        if elements.len() <= SMALL {
            self.small_floats.insert(value.name.clone(), elements.to_vec());
        }
        value
    }

    /// A constant without dimensions.
    pub fn scalar(&mut self, element: f32) -> Value {
        self.constant(&[], &[element])
    }

    /// A constant list of whole numbers, as some operators take them.
    pub fn integers(&mut self, elements: &[i64]) -> Value {
        let raw = elements.iter().flat_map(|element| element.to_le_bytes()).collect();
        let value = self.initializer(&[elements.len()], DataType::Int64, raw);
        self.integers.insert(value.name.clone(), elements.to_vec());
        value
    }

    fn initializer(&mut self, shape: &[usize], data_type: DataType, raw: Vec<u8>) -> Value {
        let name = self.unique("c");
        self.initializers.push(TensorProto {
            dims: shape.iter().map(|&length| length as i64).collect(),
            data_type: Some(data_type.into()),
            name: Some(name.clone()),
            raw_data: Some(raw),
            ..Default::default()
        });
        self.shapes.insert(name.clone(), shape.to_vec());
        Value { name, shape: shape.to_vec() }
    }

    /// Adds a node and gives its first output.
    pub fn push(&mut self, operator: &str, inputs: &[&Value], attributes: &[Attribute<'_>]) -> Value {
        let names: Vec<&str> = inputs.iter().map(|input| input.name.as_str()).collect();
        let name = self.unique("t");
        self.push_node(node(operator, &names, &name, attributes));
        Value { shape: self.shapes.get(&name).cloned().unwrap_or_default(), name }
    }

    /// Adds a node that names its inputs and its one output itself.
    fn push_node(&mut self, node: NodeProto) {
        let shape = match self.infer(&node) {
            Ok(shape) => shape,
            Err(error) => {
                self.fail(error);
                Vec::new()
            }
        };
        if let Some(output) = node.output.first() {
            self.shapes.insert(output.clone(), shape);
        }
        self.nodes.push(node);
    }

    fn infer(&self, node: &NodeProto) -> Result<Vec<usize>> {
        // A missing name stands for an optional input that is not given.
        const NOTHING: &[usize] = &[];
        let inputs = node
            .input
            .iter()
            .map(|name| {
                let shape = if name.is_empty() { Some(NOTHING) } else { self.shapes.get(name).map(Vec::as_slice) };
                Ok(shape::Input {
                    shape: shape.with_context(|| format!("no tensor is called '{name}'"))?,
                    integers: self.integers.get(name).map(Vec::as_slice),
                    floats: self.small_floats.get(name).map(Vec::as_slice),
                })
            })
            .collect::<Result<Vec<_>>>()?;
        shape::infer(node, &inputs)
    }

    /// The shape of a tensor of this graph.
    pub(super) fn shape_of(&self, name: &str) -> &[usize] {
        self.shapes.get(name).map_or(&[], Vec::as_slice)
    }

    pub(super) fn value(&self, name: &str) -> Value {
        Value { name: name.to_owned(), shape: self.shape_of(name).to_vec() }
    }

    /// The elements of a constant of integers.
    pub(super) fn integers_of(&self, name: &str) -> Option<&[i64]> {
        self.integers.get(name).map(Vec::as_slice)
    }

    /// The elements of a small constant of floats.
    pub(super) fn floats_of(&self, name: &str) -> Option<&[f32]> {
        self.small_floats.get(name).map(Vec::as_slice)
    }

    /// The elements of a constant of any length.
    pub(super) fn constant_of(&self, name: &str) -> Option<Vec<f32>> {
        self.initializers.iter().find(|tensor| tensor.name() == name).and_then(floats)
    }

    pub(super) fn fail(&mut self, error: anyhow::Error) {
        self.error.get_or_insert(error);
    }

    fn unique(&mut self, letter: &str) -> String {
        self.made += 1;
        format!("{letter}{}", self.made)
    }

    /// Puts a copy of another graph into this one. `inputs` says what its inputs are here; the values of `outputs`, which
    /// may be any of its tensors, come back in their order. Its weights come along as constants, but for those that
    /// `inputs` names: they may be replaced as well.
    ///
    /// # Errors
    /// When it has an operator that is not known here, an input is missing, or a shape does not fit.
    pub fn import(&mut self, model: &Model, inputs: &[(&str, &Value)], outputs: &[&str]) -> Result<Vec<Value>> {
        let mut names: HashMap<String, String> = HashMap::new();
        for (name, value) in inputs {
            names.insert((*name).to_owned(), value.name.clone());
        }
        for tensor in &model.graph().initializer {
            if names.contains_key(tensor.name()) {
                continue;
            }
            let value = self.import_constant(tensor)?;
            names.insert(tensor.name().to_owned(), value.name);
        }
        for original in model.nodes() {
            let mut copy = original.clone();
            copy.name = None;
            for input in copy.input.iter_mut().filter(|input| !input.is_empty()) {
                *input = names.get(input.as_str()).with_context(|| format!("nothing is given for '{input}'"))?.clone();
            }
            ensure!(copy.output.len() == 1, "operator {} gives more than one tensor", copy.op_type());
            if copy.op_type() == "Constant" {
                let value = self.import_constant_node(&copy)?;
                names.insert(copy.output[0].clone(), value.name);
                continue;
            }
            let name = self.unique("t");
            names.insert(copy.output[0].clone(), name.clone());
            copy.output[0] = name;
            self.push_node(copy);
        }
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        outputs
            .iter()
            .map(|output| {
                names.get(*output).map(|name| self.value(name)).with_context(|| format!("it has no '{output}'"))
            })
            .collect()
    }

    fn import_constant_node(&mut self, node: &NodeProto) -> Result<Value> {
        if let Some(tensor) = node.attribute.iter().find_map(|attribute| attribute.t.as_ref()) {
            return self.import_constant(tensor);
        }
        let integers = integer_attribute(node, "value_ints").or_else(|| integer_attribute(node, "value_int"));
        if let Some(integers) = integers {
            return Ok(self.integers(&integers));
        }
        if let Some(elements) = float_attribute(node, "value_floats") {
            return Ok(self.constant(&[elements.len()], &elements));
        }
        let element = float_attribute(node, "value_float").context("a constant without a number")?;
        Ok(self.constant(&[], &element))
    }

    fn import_constant(&mut self, tensor: &TensorProto) -> Result<Value> {
        let shape: Vec<usize> = tensor.dims.iter().map(|&length| usize::try_from(length)).collect::<Result<_, _>>()?;
        let elements = floats(tensor).with_context(|| format!("constant '{}' is not of numbers", tensor.name()))?;
        if tensor.data_type() == i32::from(DataType::Int64) {
            let integers: Vec<i64> = elements.iter().map(|&element| element as i64).collect();
            return Ok(self.integers(&integers));
        }
        Ok(self.constant(&shape, &elements))
    }

    /// About how many bytes a run of this graph takes at most: constants, and the values that are alive at one time when
    /// nodes run in the order in which they were added.
    pub fn peak_bytes(&self) -> u64 {
        // A damaged graph may be of any size: a tensor counts as 2⁶⁴ bytes at most, and sums are wider.
        let bytes = |name: &str| {
            let lengths = self.shape_of(name).iter().map(|&length| length as u128);
            lengths.fold(size_of::<f32>() as u128, u128::saturating_mul).min(u64::MAX.into())
        };
        let mut last_use: HashMap<&str, usize> = HashMap::new();
        for (index, node) in self.nodes.iter().enumerate() {
            node.input.iter().for_each(|input| {
                last_use.insert(input, index);
            });
        }
        let constants: u128 = self.initializers.iter().map(|tensor| bytes(tensor.name())).sum();
        let inputs: u128 = self.inputs.iter().map(|input| bytes(input.name())).sum();
        let is_made: HashSet<&str> =
            self.nodes.iter().flat_map(|node| node.output.iter().map(String::as_str)).collect();
        let (mut alive, mut peak) = (0, 0);
        for (index, node) in self.nodes.iter().enumerate() {
            alive += node.output.iter().map(|output| bytes(output)).sum::<u128>();
            peak = peak.max(alive);
            let mut dead: Vec<&str> = node.input.iter().map(String::as_str).collect();
            dead.sort_unstable();
            dead.dedup();
            let dead = dead.into_iter().filter(|name| is_made.contains(name) && last_use.get(name) == Some(&index));
            alive -= dead.map(bytes).sum::<u128>();
        }
        u64::try_from(constants + inputs + peak).unwrap_or(u64::MAX)
    }

    /// The finished graph.
    ///
    /// # Errors
    /// The first node that did not fit.
    pub fn finish(self) -> Result<Model> {
        if let Some(error) = self.error {
            return Err(error.context("build a graph"));
        }
        let graph = GraphProto {
            node: self.nodes,
            name: Some("impasto".to_owned()),
            initializer: self.initializers,
            input: self.inputs,
            output: self.outputs,
            ..Default::default()
        };
        let proto = ModelProto {
            ir_version: Some(IR_VERSION),
            producer_name: Some("impasto".to_owned()),
            opset_import: vec![OperatorSetIdProto { domain: Some(String::new()), version: Some(OPERATOR_SET) }],
            ..Default::default()
        };
        Ok(Model { proto, graph })
    }
}

/// Constants of up to so many elements are looked into while a graph is built.
const SMALL: usize = 64;

/// A node with one output.
pub fn node(operator: &str, inputs: &[&str], output: &str, attributes: &[Attribute<'_>]) -> NodeProto {
    NodeProto {
        op_type: Some(operator.to_owned()),
        input: inputs.iter().map(|&input| input.to_owned()).collect(),
        output: vec![output.to_owned()],
        attribute: attributes.iter().map(attribute).collect(),
        ..Default::default()
    }
}

fn attribute(attribute: &Attribute<'_>) -> AttributeProto {
    let typed = |name: &str, kind: AttributeType| AttributeProto {
        name: Some(name.to_owned()),
        r#type: Some(kind.into()),
        ..Default::default()
    };
    match *attribute {
        Attribute::Ints(name, ints) => AttributeProto { ints: ints.to_vec(), ..typed(name, AttributeType::Ints) },
        Attribute::Int(name, int) => AttributeProto { i: Some(int), ..typed(name, AttributeType::Int) },
        Attribute::Float(name, float) => AttributeProto { f: Some(float), ..typed(name, AttributeType::Float) },
        Attribute::Text(name, text) => {
            AttributeProto { s: Some(text.as_bytes().to_vec()), ..typed(name, AttributeType::String) }
        }
    }
}

fn value_info(value: &Value, data_type: DataType) -> ValueInfoProto {
    let lengths: Vec<Option<usize>> = value.shape.iter().copied().map(Some).collect();
    port_info((&value.name, data_type, &lengths))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_are_tensors_numbers_or_lists() {
        let mut graph = GraphBuilder::new();
        let image = graph.input("image", &[1, 3, 4, 5]);
        graph.output("out", &image);
        let mut model = graph.finish().unwrap();
        let constant = |name: &str, value| node("Constant", &[], name, &[value]);
        model.graph_mut().node = vec![
            constant("pads", Attribute::Ints("value_ints", &[0, 0, 1, 2, 0, 0, 1, 2])),
            node("Pad", &["image", "pads"], "padded", &[]),
            constant("half", Attribute::Float("value_float", 0.5)),
            node("Mul", &["padded", "half"], "out", &[]),
        ];
        let imported = |model: &Model| {
            let mut graph = GraphBuilder::new();
            let image = graph.input("image", &[1, 3, 4, 5]);
            graph.import(model, &[("image", &image)], &["out"]).map(|outputs| outputs[0].shape.clone())
        };
        assert_eq!(imported(&model).unwrap(), [1, 3, 6, 9]);
        model.graph_mut().node[2] = constant("half", Attribute::Text("value_string", "half"));
        assert!(imported(&model).unwrap_err().to_string().contains("a constant without a number"));
    }
}
