//! The frozen network as a part of a graph: a picture and a row of its tables in, a painted picture out.

use anyhow::{Context as _, Result, ensure};

use crate::onnx::{GraphBuilder, Model, Value};
use crate::style::{Catalog, StyleTables};

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
}

impl FrozenNetwork {
    /// A network of the catalog.
    ///
    /// # Errors
    /// When the catalog has none of this name, or it is not of the kind that learns.
    pub fn bundled(name: &str) -> Result<Self> {
        let catalog = Catalog::bundled()?;
        let network = catalog.networks().iter().find(|network| network.name == name);
        let network = network.with_context(|| format!("network '{name}' is not in the catalog"))?;
        let model = Model::from_bytes(catalog.network_bytes(name)?)?;
        Self::new(name, &network.sha256, model).with_context(|| format!("learn a style for the network '{name}'"))
    }

    fn new(name: &str, sha256: &str, model: Model) -> Result<Self> {
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
        Ok(Self { name: name.to_owned(), sha256: sha256.to_owned(), tables, multiple, model, image_input, unclipped })
    }

    /// Adds the network to a graph: `image` is `[n, 3, H, W]`, RGB, 0–255, `row` as long as a row of all tables. What comes out
    /// has the shape of `image` and is not held to 0–255.
    ///
    /// # Errors
    /// When the size does not suit the network.
    pub fn paint(&self, graph: &mut GraphBuilder, image: &Value, row: &Value) -> Result<Value> {
        let mut parts = Vec::with_capacity(self.tables.tables.len());
        let mut from = 0;
        for table in &self.tables.tables {
            let part = graph.slice(row, 0, from, from + table.channels);
            parts.push(graph.reshape(&part, &[1, table.channels]));
            from += table.channels;
        }
        let weight = graph.constant(&[1, 1], &[1.0]);
        let mut inputs = vec![(self.image_input.as_str(), image), (self.tables.style_input.as_str(), &weight)];
        inputs.extend(self.tables.tables.iter().map(|table| table.name.as_str()).zip(&parts));
        let painted = graph.import(&self.model, &inputs, &[&self.unclipped])?;
        painted.into_iter().next().context("nothing was painted")
    }
}
