//! Weights that a file keeps in half precision to be small, back in 32 bits.

use super::edit::put_floats;
use super::schema::tensor_proto::DataType;
use super::schema::{NodeProto, TensorProto};
use super::{Model, floats, integer_attribute};

impl Model {
    /// Replaces weights in half precision that nodes cast to 32-bit floats by weights in 32 bits, under the names that the casts gave
    /// them, and takes the casts away: the graph is then that of a file with weights in 32 bits. Returns how many were replaced.
    ///
    /// Weights that are read in half precision as well stay beside the new ones. Branches and loops are not looked into.
    pub fn widen_weights(&mut self) -> usize {
        let graph = &mut self.graph;
        let mut count = 0;
        let mut weights = Vec::with_capacity(graph.initializer.len());
        for tensor in std::mem::take(&mut graph.initializer) {
            let Some(elements) = half_elements(&tensor) else {
                weights.push(tensor);
                continue;
            };
            let count_before = count;
            graph.node.retain(|node| {
                let Some(output) = cast_to_float(node, tensor.name()) else { return true };
                let mut wide =
                    TensorProto { name: Some(output.to_owned()), dims: tensor.dims.clone(), ..Default::default() };
                put_floats(&mut wide, &elements);
                weights.push(wide);
                count += 1;
                false
            });
            let is_read = graph.node.iter().any(|node| node.input.iter().any(|input| input == tensor.name()));
            if is_read || count == count_before {
                weights.push(tensor);
            } else {
                // Older files list weights among the inputs.
                graph.input.retain(|input| input.name() != tensor.name());
            }
        }
        graph.initializer = weights;
        count
    }
}

/// The elements of weights in half precision that are in the file.
fn half_elements(tensor: &TensorProto) -> Option<Vec<f32>> {
    let is_half = tensor.data_type() == i32::from(DataType::Float16);
    let elements = is_half.then(|| floats(tensor)).flatten()?;
    (elements.len() as i64 == tensor.dims.iter().product::<i64>()).then_some(elements)
}

/// What `node` makes of `weights` if it casts them to 32-bit floats.
fn cast_to_float<'a>(node: &'a NodeProto, weights: &str) -> Option<&'a str> {
    let reads = node.op_type() == "Cast" && node.input.first().is_some_and(|input| input == weights);
    let to = integer_attribute(node, "to")?;
    (reads && to == [i64::from(i32::from(DataType::Float))]).then(|| node.output.first().map(String::as_str)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn halves() -> Model {
        Model::from_bytes(include_bytes!("../../models/vgg16.onnx")).unwrap()
    }

    #[test]
    fn weights_behind_casts_are_the_same_without_them() {
        let before = halves();
        let mut after = before.clone();
        assert_eq!(after.widen_weights(), before.graph().initializer.len());
        assert!(!after.nodes().iter().any(|node| node.op_type() == "Cast"));
        assert!(after.graph().initializer.iter().all(|tensor| tensor.data_type() == i32::from(DataType::Float)));
        for name in ["conv1_1.weight", "conv5_1.bias"] {
            assert!(after.initializer(name).is_some(), "{name}");
            assert_eq!(after.constant(name), before.constant(name), "{name}");
        }
        let again = after.clone();
        assert_eq!(after.widen_weights(), 0);
        assert!(after == again);
    }

    #[test]
    fn weights_that_are_read_in_half_precision_too_stay() {
        let mut model = halves();
        let reader = NodeProto {
            op_type: Some("Identity".to_owned()),
            input: vec!["conv1_1.bias.half".to_owned()],
            output: vec!["read".to_owned()],
            ..Default::default()
        };
        model.graph_mut().node.push(reader);
        model.widen_weights();
        assert!(model.initializer("conv1_1.bias").is_some() && model.initializer("conv1_1.bias.half").is_some());
        assert!(model.initializer("conv1_2.bias.half").is_none());
    }
}
