//! The frozen network as a part of a graph: a picture and the parameters of a style in, a painted picture out.
//!
//! Parameters are a row of the network's tables and, in full depth, how far the first and the last convolution are from what they
//! were: in units of a part of their size, so that a step of one length suits all.

use anyhow::{Context as _, Result, ensure};

use crate::onnx::{GraphBuilder, Model, Value};
use crate::style::learned::Depth;
use crate::style::outer::{Weights, outer_convolutions};
use crate::style::{Catalog, StyleTables};

/// What a parameter of 1 adds to a weight, as a share of the root mean square of all of its kind.
const UNIT: f32 = 0.2;

/// A network whose tables take another row.
#[derive(Debug, Clone)]
pub struct FrozenNetwork {
    /// Its name in the catalog.
    pub name: String,
    /// Checksum of its file, in hexadecimal.
    pub sha256: String,
    /// Where its styles are.
    pub tables: StyleTables,
    /// Height and width of pictures are multiples of it.
    pub multiple: usize,
    model: Model,
    image_input: String,
    /// What it computes before it holds the result to 0–255: a gradient must not end there.
    unclipped: String,
    /// What is fitted beside the row, and the unit of each.
    outer: Vec<(Weights, f32)>,
}

impl FrozenNetwork {
    /// A network of the catalog, of which so much will be fitted.
    ///
    /// # Errors
    /// When the catalog has none of this name, or it is not of the kind that learns.
    pub fn bundled(name: &str, depth: Depth) -> Result<Self> {
        let catalog = Catalog::bundled()?;
        let network = catalog.networks().iter().find(|network| network.name == name);
        let network = network.with_context(|| format!("network '{name}' is not in the catalog"))?;
        let model = catalog.network_model(name)?;
        Self::new(name, &network.sha256, model, depth)
            .with_context(|| format!("learn a style for the network '{name}'"))
    }

    fn new(name: &str, sha256: &str, model: Model, depth: Depth) -> Result<Self> {
        let tables = StyleTables::find(&model)?;
        for (key, expected) in [("impasto.layout", "NCHW"), ("impasto.channels", "RGB"), ("impasto.range", "0-255")] {
            let found = model.metadata(key).unwrap_or("nothing");
            ensure!(found == expected, "its metadata '{key}' is {found} (expected {expected})");
        }
        let image = model.inputs().into_iter().find(|input| input.name != tables.style_input);
        let image_input = image.context("it has no input for a picture")?.name;
        let output = model.outputs().first().map(|output| output.name.clone()).context("it has no output")?;
        let clip = model.producer(&output).filter(|node| node.op_type() == "Clip");
        let unclipped = clip.and_then(|node| node.input.first()).cloned().unwrap_or(output);
        let multiple = model.metadata("impasto.multiple").and_then(|text| text.parse().ok()).unwrap_or(1);
        let outer = match depth {
            Depth::Rows => Vec::new(),
            Depth::Full => outer_convolutions(&model)?,
        };
        let outer = outer.into_iter().map(|weights| {
            let squares: f32 = weights.elements.iter().map(|element| element * element).sum();
            let unit = UNIT * (squares / weights.elements.len().max(1) as f32).sqrt();
            (weights, unit)
        });
        Ok(Self {
            name: name.to_owned(),
            sha256: sha256.to_owned(),
            tables,
            multiple,
            model,
            image_input,
            unclipped,
            outer: outer.collect(),
        })
    }

    /// How many numbers are fitted.
    pub fn parameter_count(&self) -> usize {
        self.tables.row_length() + self.outer.iter().map(|(weights, _)| weights.elements.len()).sum::<usize>()
    }

    /// The parameters of a row with the convolutions as they are.
    pub fn parameters(&self, row: &[f32]) -> Vec<f32> {
        let mut parameters = row.to_vec();
        parameters.resize(self.parameter_count(), 0.0);
        parameters
    }

    /// The row among the parameters, and the convolutions that they make: none but in full depth.
    pub fn parts<'a>(&self, parameters: &'a [f32]) -> (&'a [f32], Vec<Weights>) {
        let (row, mut rest) = parameters.split_at(self.tables.row_length().min(parameters.len()));
        let mut convolutions = Vec::with_capacity(self.outer.len());
        for (weights, unit) in &self.outer {
            let (own, others) = rest.split_at(weights.elements.len().min(rest.len()));
            let elements = weights.elements.iter().zip(own).map(|(element, distance)| element + unit * distance);
            convolutions.push(Weights { elements: elements.collect(), ..weights.clone() });
            rest = others;
        }
        (row, convolutions)
    }

    /// Adds the network to a graph: `image` is `[n, 3, H, W]`, RGB, 0–255, `parameters` are
    /// [`FrozenNetwork::parameter_count`] numbers. What comes out has the shape of `image` and is not held to 0–255.
    ///
    /// # Errors
    /// When the size does not suit the network.
    pub fn paint(&self, graph: &mut GraphBuilder, image: &Value, parameters: &Value) -> Result<Value> {
        let mut parts = Vec::with_capacity(self.tables.tables.len());
        let mut from = 0;
        for table in &self.tables.tables {
            let part = graph.slice(parameters, 0, from, from + table.channels);
            parts.push(graph.reshape(&part, &[1, table.channels]));
            from += table.channels;
        }
        let mut convolutions = Vec::with_capacity(self.outer.len());
        for (weights, unit) in &self.outer {
            let length = weights.elements.len();
            let distance = graph.slice(parameters, 0, from, from + length);
            let distance = graph.scale(&distance, *unit);
            let distance = graph.reshape(&distance, &weights.shape);
            let start = graph.constant(&weights.shape, &weights.elements);
            convolutions.push(graph.add(&start, &distance));
            from += length;
        }
        let weight = graph.constant(&[1, 1], &[1.0]);
        let mut inputs = vec![(self.image_input.as_str(), image), (self.tables.style_input.as_str(), &weight)];
        inputs.extend(self.tables.tables.iter().map(|table| table.name.as_str()).zip(&parts));
        inputs.extend(self.outer.iter().map(|(weights, _)| weights.name.as_str()).zip(&convolutions));
        let painted = graph.import(&self.model, &inputs, &[&self.unclipped])?;
        painted.into_iter().next().context("nothing was painted")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_a_row_and_in_full_depth_the_way_from_the_convolutions() {
        let [rows, full] =
            [Depth::Rows, Depth::Full].map(|depth| FrozenNetwork::bundled("impasto-lite", depth).unwrap());
        let row = rows.tables.row(1).unwrap();
        assert_eq!(rows.parameters(&row), row);
        assert_eq!(rows.parts(&row), (row.as_slice(), Vec::new()));

        let mut parameters = full.parameters(&row);
        assert_eq!(parameters.len(), full.parameter_count());
        let (own, before) = full.parts(&parameters);
        assert_eq!((own, before.as_slice()), (row.as_slice(), outer_convolutions(&full.model).unwrap().as_slice()));
        parameters[row.len() + 5] = 1.0;
        let (_, after) = full.parts(&parameters);
        let size = |weights: &Weights| {
            let squares: f32 = weights.elements.iter().map(|element| element * element).sum();
            (squares / weights.elements.len() as f32).sqrt()
        };
        let moved = after[0].elements[5] - before[0].elements[5];
        assert!((moved - UNIT * size(&before[0])).abs() < 1e-4 * size(&before[0]), "{moved}");
        assert_eq!(after[1..], before[1..]);
    }
}
