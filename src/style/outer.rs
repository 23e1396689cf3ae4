//! The first and the last convolution of a network: what sees the picture and what makes the pixels.
//!
//! A style is a row in each of a network's tables, and where those few numbers are not enough it brings these two along.
//! The rest of the network stays that of all styles.

use anyhow::{Context as _, Result, ensure};

use crate::onnx::Model;

/// Weights of a network, by name.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    /// Their name in the graph.
    pub name: String,
    /// Their shape: `[outputs, inputs, rows, columns]`, or `[outputs]` for a bias.
    pub shape: Vec<usize>,
    /// Their values, as many as the shape tells.
    pub elements: Vec<f32>,
}

/// The kernels of the first and the last convolution, and their biases where no normalization takes them away again.
///
/// # Errors
/// When the network has fewer than two convolutions, or their weights are not in the graph.
pub fn outer_convolutions(model: &Model) -> Result<Vec<Weights>> {
    let convolutions: Vec<_> = model.nodes().iter().filter(|node| node.op_type() == "Conv").collect();
    let (Some(first), Some(last)) = (convolutions.first(), convolutions.last()) else {
        anyhow::bail!("it has no convolutions");
    };
    ensure!(convolutions.len() > 1, "it has one convolution only");
    let mut found = Vec::new();
    for node in [first, last] {
        let is_normalized = node.output.first().is_some_and(|output| {
            model.consumers(output).iter().any(|reader| reader.op_type() == "InstanceNormalization")
        });
        for name in node.input.iter().skip(1).take(if is_normalized { 1 } else { 2 }) {
            let (shape, elements) =
                model.constant(name).with_context(|| format!("its weights '{name}' are not in the graph"))?;
            found.push(Weights { name: name.clone(), shape, elements });
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outer_convolutions_of_the_bundled_network_are_found() {
        let model = Model::from_bytes(include_bytes!("../../models/impasto-lite.onnx")).unwrap();
        let found = outer_convolutions(&model).unwrap();
        let names: Vec<&str> = found.iter().map(|weights| weights.name.as_str()).collect();
        assert_eq!(names, ["stem.conv.weight", "head.weight", "head.bias"]);
        assert!(found.iter().all(|weights| weights.shape.iter().product::<usize>() == weights.elements.len()));
    }

    #[test]
    fn a_network_without_convolutions_is_refused() {
        let model = Model::from_bytes(include_bytes!("../../tests/fixtures/identity.onnx")).unwrap();
        assert!(outer_convolutions(&model).unwrap_err().to_string().contains("no convolutions"));
    }
}
