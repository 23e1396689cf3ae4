//! Changes to a graph in memory that leave what it computes otherwise as it was: more rows in a matrix of weights, a longer
//! input, nodes at its ends, a line of metadata.

use anyhow::{Context as _, Result, ensure};

use super::schema::tensor_proto::DataType;
use super::schema::tensor_shape_proto::dimension::Value as DimensionValue;
use super::schema::{
    GraphProto, NodeProto, OperatorSetIdProto, StringStringEntryProto, TensorProto, TensorShapeProto, TypeProto,
    ValueInfoProto, tensor_shape_proto, type_proto,
};
use super::{Model, dimensions_mut, floats};

impl Model {
    /// Adds a row at the end of the matrix of weights called `name`.
    ///
    /// # Errors
    /// When there is no such matrix, or its rows have another length.
    pub fn append_row(&mut self, name: &str, row: &[f32]) -> Result<()> {
        let tensor = self.graph.initializer.iter_mut().find(|tensor| tensor.name() == name);
        let tensor = tensor.with_context(|| format!("there are no weights '{name}'"))?;
        let &[rows, length] = tensor.dims.as_slice() else {
            anyhow::bail!("weights '{name}' have the shape {:?} (expected a matrix)", tensor.dims);
        };
        ensure!(length == row.len() as i64, "a row of {} for '{name}', whose rows have {length}", row.len());
        let mut elements = floats(tensor).with_context(|| format!("weights '{name}' are no numbers"))?;
        ensure!(elements.len() as i64 == rows * length, "weights '{name}' are not in the file");
        elements.extend(row);
        tensor.dims = vec![rows + 1, length];
        put_floats(tensor, &elements);
        Ok(())
    }

    /// Gives the weights called `name` other values.
    ///
    /// # Errors
    /// When there are no such weights, or they have another shape.
    pub fn set_weights(&mut self, name: &str, shape: &[usize], elements: &[f32]) -> Result<()> {
        let tensor = self.graph.initializer.iter_mut().find(|tensor| tensor.name() == name);
        let tensor = tensor.with_context(|| format!("there are no weights '{name}'"))?;
        ensure!(
            tensor.dims.iter().copied().eq(shape.iter().map(|&length| length as i64))
                && shape.iter().product::<usize>() == elements.len(),
            "weights of the shape {shape:?} for '{name}', which has {:?}",
            tensor.dims
        );
        put_floats(tensor, elements);
        Ok(())
    }

    /// Gives dimension `axis` of the input called `name` the length `length`.
    ///
    /// # Errors
    /// When there is no such input or dimension.
    pub fn set_input_length(&mut self, name: &str, axis: usize, length: usize) -> Result<()> {
        let input = self.graph.input.iter_mut().find(|input| input.name() == name).and_then(dimensions_mut);
        let dimension = input.and_then(|dimensions| dimensions.get_mut(axis));
        let dimension = dimension.with_context(|| format!("there is no dimension {axis} of an input '{name}'"))?;
        dimension.value = Some(DimensionValue::DimValue(length as i64));
        // Shapes that were derived from the old length hold no more.
        self.graph.value_info.clear();
        Ok(())
    }

    /// Puts nodes before the input called `name`, which they compute from an input called `new` that takes its place: a tensor of
    /// `element_type` with dimensions of these lengths, `None` for those that the caller chooses.
    ///
    /// # Errors
    /// When there is no such input.
    pub fn put_before(
        &mut self,
        name: &str,
        new: (&str, DataType, &[Option<usize>]),
        nodes: Vec<NodeProto>,
    ) -> Result<()> {
        replace_port(&mut self.graph.input, name, new)?;
        self.graph.node.splice(..0, nodes);
        Ok(())
    }

    /// Puts nodes behind the output called `name`, from which they compute an output called `new` that takes its place; see
    /// [`Model::put_before`].
    ///
    /// # Errors
    /// When there is no such output.
    pub fn put_behind(
        &mut self,
        name: &str,
        new: (&str, DataType, &[Option<usize>]),
        nodes: Vec<NodeProto>,
    ) -> Result<()> {
        replace_port(&mut self.graph.output, name, new)?;
        self.graph.node.extend(nodes);
        Ok(())
    }

    /// Adds weights of 32-bit floats.
    ///
    /// # Errors
    /// When there are weights of that name, or the number of elements does not fit the shape.
    pub fn add_weights(&mut self, name: &str, shape: &[usize], elements: &[f32]) -> Result<()> {
        ensure!(self.initializer(name).is_none(), "there are weights '{name}' already");
        ensure!(shape.iter().product::<usize>() == elements.len(), "{} elements for {shape:?}", elements.len());
        let mut tensor = TensorProto {
            name: Some(name.to_owned()),
            dims: shape.iter().map(|&length| length as i64).collect(),
            ..Default::default()
        };
        put_floats(&mut tensor, elements);
        self.graph.initializer.push(tensor);
        Ok(())
    }

    /// Adds a list of indices (64-bit integers).
    ///
    /// # Errors
    /// When there are weights of that name.
    pub fn add_indices(&mut self, name: &str, indices: &[i64]) -> Result<()> {
        ensure!(self.initializer(name).is_none(), "there are weights '{name}' already");
        self.graph.initializer.push(TensorProto {
            name: Some(name.to_owned()),
            dims: vec![indices.len() as i64],
            data_type: Some(DataType::Int64.into()),
            int64_data: indices.to_vec(),
            ..Default::default()
        });
        Ok(())
    }

    /// Forgets weights that no node reads any more; of graphs without graphs inside.
    pub fn drop_unread_weights(&mut self) {
        let GraphProto { node, initializer, .. } = &mut self.graph;
        initializer.retain(|tensor| node.iter().any(|node| node.input.iter().any(|input| input == tensor.name())));
    }

    /// The version of ONNX's operators that it is written in.
    pub fn operator_set(&self) -> i64 {
        let is_standard = |set: &&OperatorSetIdProto| set.domain().is_empty() || set.domain() == "ai.onnx";
        self.proto.opset_import.iter().find(is_standard).map_or(1, OperatorSetIdProto::version)
    }

    /// Sets the value of a metadata key.
    pub fn set_metadata(&mut self, key: &str, value: &str) {
        let entries = &mut self.proto.metadata_props;
        match entries.iter_mut().find(|entry| entry.key() == key) {
            Some(entry) => entry.value = Some(value.to_owned()),
            None => entries.push(StringStringEntryProto { key: Some(key.to_owned()), value: Some(value.to_owned()) }),
        }
    }
}

fn replace_port(ports: &mut [ValueInfoProto], name: &str, new: (&str, DataType, &[Option<usize>])) -> Result<()> {
    let port = ports.iter_mut().find(|port| port.name() == name);
    *port.with_context(|| format!("there is no input or output '{name}'"))? = port_info(new);
    Ok(())
}

/// An input or output of a name, with elements of a type and dimensions of these lengths, `None` for those that are open.
pub(super) fn port_info((name, element_type, lengths): (&str, DataType, &[Option<usize>])) -> ValueInfoProto {
    let dimension = |length: &Option<usize>| tensor_shape_proto::Dimension {
        value: length.map(|length| DimensionValue::DimValue(length as i64)),
        ..Default::default()
    };
    let tensor = type_proto::Tensor {
        elem_type: Some(element_type.into()),
        shape: Some(TensorShapeProto { dim: lengths.iter().map(dimension).collect() }),
    };
    let kind = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
    ValueInfoProto { name: Some(name.to_owned()), r#type: Some(kind), ..Default::default() }
}

pub(super) fn put_floats(tensor: &mut TensorProto, elements: &[f32]) {
    tensor.data_type = Some(DataType::Float.into());
    tensor.raw_data = Some(elements.iter().flat_map(|element| element.to_le_bytes()).collect());
    tensor.float_data.clear();
    tensor.double_data.clear();
    tensor.int32_data.clear();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::Dimension;

    fn bundled() -> Model {
        Model::from_bytes(include_bytes!("../../models/impasto-lite.onnx")).unwrap()
    }

    #[test]
    fn a_row_stands_behind_the_others() {
        let mut model = bundled();
        let (shape, before) = model.constant("stem.norm.gamma").unwrap();
        let row: Vec<f32> = (0..shape[1]).map(|index| index as f32).collect();
        model.append_row("stem.norm.gamma", &row).unwrap();
        let (longer, after) = Model::from_bytes(&model.to_bytes()).unwrap().constant("stem.norm.gamma").unwrap();
        assert_eq!(longer, [shape[0] + 1, shape[1]]);
        assert_eq!(after, [before, row].concat());
    }

    #[test]
    fn weights_get_other_values() {
        let mut model = bundled();
        let (shape, mut elements) = model.constant("stem.conv.weight").unwrap();
        elements[3] = 7.0;
        model.set_weights("stem.conv.weight", &shape, &elements).unwrap();
        let read = Model::from_bytes(&model.to_bytes()).unwrap();
        assert_eq!(read.constant("stem.conv.weight"), Some((shape, elements)));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut model = bundled();
        assert!(model.set_weights("stem.conv.bias", &[1], &[1.0]).is_err());
        assert!(model.set_weights("nothing", &[1], &[1.0]).is_err());
        assert!(model.append_row("stem.norm.gamma", &[1.0]).is_err());
        assert!(model.append_row("stem.conv.bias", &[1.0]).is_err());
        assert!(model.append_row("nothing", &[1.0]).is_err());
        assert!(model.set_input_length("style", 2, 5).is_err());
        assert!(model.set_input_length("nothing", 0, 5).is_err());
    }

    #[test]
    fn an_input_gets_another_length_and_metadata_another_value() {
        let mut model = bundled();
        model.set_input_length("style", 1, 9).unwrap();
        model.set_metadata("impasto.layout", "other");
        model.set_metadata("new", "value");
        let style = model.inputs().into_iter().find(|input| input.name == "style").unwrap();
        assert_eq!(style.shape.unwrap()[1], Dimension::Fixed(9));
        assert_eq!([model.metadata("impasto.layout"), model.metadata("new")], [Some("other"), Some("value")]);
    }
}
