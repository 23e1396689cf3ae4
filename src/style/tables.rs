//! Where a style is in a network with conditional instance normalization: a row in each of its tables.
//!
//! Vincent Dumoulin, Jonathon Shlens and Manjunath Kudlur, "A Learned Representation for Artistic Style", 2017, section 2.2:
//! the convolutions are the same for all styles; a style is a scale and a shift for each channel of each normalization. In
//! the graph the vector of style weights is multiplied with tables `[styles, channels]`, and what comes out are the scale
//! and the bias of an InstanceNormalization. So a style that was learnt is one more row in every table, and a picture costs
//! what it did before.

use anyhow::{Context as _, Result, bail, ensure};

use crate::onnx::Model;

/// One table of a network.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// Its name in the graph.
    pub name: String,
    /// Numbers in a row.
    pub channels: usize,
    /// `[styles, channels]`.
    elements: Vec<f32>,
}

/// All tables of a network.
#[derive(Debug, Clone, PartialEq)]
pub struct StyleTables {
    /// The input that holds the weights of the styles, `[1, styles]`.
    pub style_input: String,
    /// Rows of every table.
    pub style_count: usize,
    /// The tables in the graph's order.
    pub tables: Vec<Table>,
}

/// A row of every table, one behind another: all that a style is.
pub type StyleRow = Vec<f32>;

impl StyleTables {
    /// Finds the tables of a network.
    ///
    /// # Errors
    /// When the network keeps its styles in another way.
    pub fn find(model: &Model) -> Result<Self> {
        let inputs = model.inputs();
        let found = inputs.iter().find_map(|input| Some((&input.name, tables_of(model, &input.name)?)));
        let (style_input, tables) =
            found.context("it has no tables of styles (expected conditional instance normalization)")?;
        let rows = |table: &Table| table.elements.len() / table.channels.max(1);
        let style_count = tables.first().map_or(0, rows);
        if let Some(other) = tables.iter().find(|table| rows(table) != style_count) {
            bail!("table '{}' has {} rows (expected {style_count}, as the others)", other.name, rows(other));
        }
        Ok(Self { style_input: style_input.clone(), style_count, tables })
    }

    /// Numbers in a row of all tables.
    pub fn row_length(&self) -> usize {
        self.tables.iter().map(|table| table.channels).sum()
    }

    /// The row of the style at `index`.
    pub fn row(&self, index: usize) -> Option<StyleRow> {
        (index < self.style_count).then(|| {
            let rows = self.tables.iter().map(|table| &table.elements[index * table.channels..][..table.channels]);
            rows.flatten().copied().collect()
        })
    }

    /// Adds a style to `model`, whose tables these are, and says at which index.
    ///
    /// # Errors
    /// When the row has another length than the tables.
    pub fn append(&mut self, model: &mut Model, name: &str, row: &[f32]) -> Result<usize> {
        ensure!(row.len() == self.row_length(), "a style of {} numbers (expected {})", row.len(), self.row_length());
        let mut rest = row;
        for table in &mut self.tables {
            let (own, others) = rest.split_at(table.channels);
            model.append_row(&table.name, own)?;
            table.elements.extend(own);
            rest = others;
        }
        self.style_count += 1;
        model.set_input_length(&self.style_input, 1, self.style_count)?;
        if let Some(names) = model.metadata(STYLE_NAMES).map(str::to_owned) {
            // A comma would make two names of one.
            model.set_metadata(STYLE_NAMES, &format!("{names},{}", name.replace(',', "-")));
        }
        Ok(self.style_count - 1)
    }
}

/// The metadata key under which a network names its styles.
const STYLE_NAMES: &str = "impasto.styles";

/// The tables that `input` is multiplied with; `None` where it is used for anything else.
fn tables_of(model: &Model, input: &str) -> Option<Vec<Table>> {
    let consumers = model.consumers(input);
    if consumers.is_empty() {
        return None;
    }
    let table = |node: &crate::onnx::schema::NodeProto| {
        let name = node.input.get(1).filter(|_| node.op_type() == "MatMul" && node.input[0] == input)?;
        let (shape, elements) = model.constant(name).filter(|(shape, _)| shape.len() == 2 && !shape.contains(&0))?;
        let is_read_by_normalization = {
            let flattened = model.consumers(node.output.first()?);
            let flattened = flattened.iter().find(|node| matches!(node.op_type(), "Squeeze" | "Reshape"))?;
            let readers = model.consumers(flattened.output.first()?);
            readers.iter().any(|node| node.op_type() == "InstanceNormalization")
        };
        is_read_by_normalization.then(|| Table { name: name.clone(), channels: shape[1], elements })
    };
    consumers.into_iter().map(table).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_of_the_bundled_network_are_found() {
        let model = Model::from_bytes(include_bytes!("../../models/impasto-lite.onnx")).unwrap();
        let tables = StyleTables::find(&model).unwrap();
        assert_eq!((tables.style_input.as_str(), tables.tables.len()), ("style", 24));
        assert_eq!(tables.tables[0].name, "stem.norm.gamma");
        assert_eq!(tables.row(1).unwrap().len(), tables.row_length());
        assert_eq!(tables.row(tables.style_count), None);
    }

    #[test]
    fn a_style_that_is_added_is_the_last_one() {
        let mut model = Model::from_bytes(include_bytes!("../../models/impasto-lite.onnx")).unwrap();
        let mut tables = StyleTables::find(&model).unwrap();
        let (count, row) = (tables.style_count, tables.row(2).unwrap());
        assert_eq!(tables.append(&mut model, "my, own", &row).unwrap(), count);
        let found = StyleTables::find(&Model::from_bytes(&model.to_bytes()).unwrap()).unwrap();
        assert_eq!(found, tables);
        assert_eq!(found.row(count), Some(row));
        assert!(model.metadata("impasto.styles").unwrap().ends_with(",my- own"));
        assert!(tables.append(&mut model, "short", &[1.0]).is_err());
    }

    #[test]
    fn a_network_without_tables_is_refused() {
        let bytes = include_bytes!("../../tests/fixtures/weights.onnx");
        let error = StyleTables::find(&Model::from_bytes(bytes).unwrap()).unwrap_err();
        assert!(error.to_string().contains("no tables of styles"), "{error}");
    }
}
