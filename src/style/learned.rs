//! A style that was learnt, in a file of its own: `NAME.style`.
//!
//! The file is a [safetensors](https://github.com/huggingface/safetensors) file, which many programs read: a header in JSON,
//! then numbers. Each table of the network has a tensor of its name, `[channels]`, `F32`; `preview` is a small JPEG, `[bytes]`,
//! `U8`; a style that was learnt in full depth has the network's first and last convolution as `convolution/NAME`, in their shapes,
//! `F32`; and under `impasto.style` in the metadata stands a [`Description`] in JSON. The name of a style is that of its file.
//!
//! A file may come from anywhere: every length is held against the bytes that are there before anything is allocated.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};

use super::catalog::Catalog;
use super::outer::Weights;
use super::tables::{StyleRow, StyleTables};
use crate::onnx::Model;

/// The version of the file that is written here, and the only one that is read.
pub const VERSION: u32 = 1;
/// How a file ends.
pub const EXTENSION: &str = "style";

/// A larger file is no style: the tables of a large network have 20 kB.
const MOST_BYTES: u64 = 1 << 20;
/// The key of the description.
const DESCRIPTION: &str = "impasto.style";
/// The tensor that holds the preview.
const PREVIEW: &str = "preview";
/// What stands before the name of a convolution's weights.
const CONVOLUTION: &str = "convolution/";

/// How much of a network is fitted to a style.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Depth {
    /// A row in each table of normalizations.
    #[default]
    Rows,
    /// The first and the last convolution as well.
    Full,
}

impl Depth {
    /// The depths by name.
    pub const NAMES: [(&str, Self); 2] = [("rows", Self::Rows), ("full", Self::Full)];
}

impl std::fmt::Display for Depth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = Self::NAMES.iter().find(|(_, depth)| depth == self).map_or("", |(name, _)| name);
        f.write_str(name)
    }
}

/// Why bytes are no style.
#[derive(Debug, thiserror::Error)]
pub enum ParseStyleFileError {
    /// More bytes than any style has.
    #[error("it has more than {MOST_BYTES} bytes (expected a style that `impasto learn` wrote)")]
    TooLarge,
    /// No file of this kind, or one that is cut short.
    #[error("it is no style, or a damaged one ({0})")]
    Container(safetensors::SafeTensorError),
    /// A file of this kind that holds something else.
    #[error("it holds no description of a style (expected a file that `impasto learn` wrote)")]
    NoDescription,
    /// Of a later version of impasto.
    #[error("it is of version {0} (this impasto reads version {VERSION})")]
    Version(u32),
    /// The description is not as it should be.
    #[error("its description is damaged ({0})")]
    Description(String),
    /// A tensor is not as it should be.
    #[error("its numbers for '{0}' are damaged")]
    Numbers(String),
}

/// A painting that a style was learnt from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PaintingRecord {
    /// Name of its file, without folders.
    pub file: String,
    /// Checksum of the file, in hexadecimal.
    pub sha256: String,
}

/// How a style came about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Learning {
    /// What it started from: a style or a blend.
    pub start: String,
    /// What it was fitted on.
    pub photos: String,
    /// How much of the network was fitted.
    #[serde(default)]
    pub depth: Depth,
    /// Steps that were made.
    pub steps: u64,
    /// Seconds that they took.
    pub seconds: f64,
    /// Size of the strokes; 1 for the painting with a shorter side of 448 pixels.
    pub stroke_size: f32,
    /// Weight of the style in the loss; 1 by default.
    pub style_weight: f32,
    /// Loss on held-out photos where it started.
    pub start_loss: f32,
    /// Loss on held-out photos: what it came to.
    pub loss: f32,
    /// The content's part of the loss.
    pub content_loss: f32,
    /// The style's part of the loss.
    pub style_loss: f32,
}

/// What a file says of its style.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// See [`VERSION`].
    pub version: u32,
    /// Name of the network whose tables it has rows for.
    pub network: String,
    /// Checksum of that network's file, in hexadecimal.
    pub network_sha256: String,
    /// What it was learnt from.
    pub paintings: Vec<PaintingRecord>,
    /// How.
    pub learning: Learning,
}

/// A style that was learnt.
#[derive(Debug, Clone, PartialEq)]
pub struct LearnedStyle {
    /// What it is.
    pub description: Description,
    /// A row of each table, by the table's name.
    rows: HashMap<String, Vec<f32>>,
    /// The convolutions that it brings in the place of the network's; most styles bring none.
    pub convolutions: Vec<Weights>,
    /// A painted photo, JPEG.
    pub preview: Vec<u8>,
}

impl Description {
    /// The network in the binary that the style was learnt for.
    ///
    /// # Errors
    /// When it was another one.
    pub fn bundled_network(&self) -> Result<&'static str> {
        let network = Catalog::bundled()?.network_with_sha256(&self.network_sha256);
        network.map(|network| network.name.as_str()).with_context(|| {
            let hash: String = self.network_sha256.chars().take(8).collect();
            format!(
                "it was learnt for another version of the network '{}' ({hash}…), which this impasto does not have (learn it anew)",
                self.network
            )
        })
    }
}

impl LearnedStyle {
    /// A style with a row for `tables`.
    pub fn new(description: Description, tables: &StyleTables, row: &[f32], preview: Vec<u8>) -> Self {
        let mut rest = row;
        let mut rows = HashMap::new();
        for table in &tables.tables {
            let (own, others) = rest.split_at(table.channels.min(rest.len()));
            rows.insert(table.name.clone(), own.to_vec());
            rest = others;
        }
        Self { description, rows, convolutions: Vec::new(), preview }
    }

    /// The same with convolutions that take the place of the network's.
    pub fn with_convolutions(self, mut convolutions: Vec<Weights>) -> Self {
        convolutions.sort_by(|a, b| a.name.cmp(&b.name));
        Self { convolutions, ..self }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read, or as [`LearnedStyle::from_bytes`]; the error names the file.
    pub fn load(path: &Path) -> Result<Self> {
        let read = || -> Result<Self> {
            let metadata = std::fs::metadata(path).context("it cannot be read")?;
            ensure!(metadata.is_file(), "it cannot be read: it is no regular file");
            if metadata.len() > MOST_BYTES {
                return Err(ParseStyleFileError::TooLarge.into());
            }
            Ok(Self::from_bytes(&std::fs::read(path).context("it cannot be read")?)?)
        };
        read().with_context(|| format!("open the style '{}'", path.display()))
    }

    /// Understands the bytes of a file.
    ///
    /// # Errors
    /// See [`ParseStyleFileError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ParseStyleFileError> {
        if bytes.len() as u64 > MOST_BYTES {
            return Err(ParseStyleFileError::TooLarge);
        }
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(ParseStyleFileError::Container)?;
        let text = header.metadata().as_ref().and_then(|entries| entries.get(DESCRIPTION));
        let text = text.ok_or(ParseStyleFileError::NoDescription)?;
        let damaged = |error: serde_json::Error| ParseStyleFileError::Description(error.to_string());
        // The version first: a later one may have other fields.
        let value: serde_json::Value = serde_json::from_str(text).map_err(damaged)?;
        let version = value.get("version").and_then(serde_json::Value::as_u64).unwrap_or_default();
        if version != u64::from(VERSION) {
            return Err(ParseStyleFileError::Version(u32::try_from(version).unwrap_or(u32::MAX)));
        }
        let description: Description = serde_json::from_value(value).map_err(damaged)?;
        let tensors = SafeTensors::deserialize(bytes).map_err(ParseStyleFileError::Container)?;
        let mut rows = HashMap::new();
        let (mut convolutions, mut preview) = (Vec::new(), Vec::new());
        for (name, tensor) in tensors.iter() {
            if let (PREVIEW, Dtype::U8, [_]) = (name, tensor.dtype(), tensor.shape()) {
                preview = tensor.data().to_vec();
                continue;
            }
            let damaged = || ParseStyleFileError::Numbers(name.to_owned());
            if tensor.dtype() != Dtype::F32 {
                return Err(damaged());
            }
            let numbers = tensor.data().as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes));
            let elements: Vec<f32> = numbers.collect();
            if !elements.iter().all(|number| number.is_finite()) {
                return Err(damaged());
            }
            match (name.strip_prefix(CONVOLUTION), tensor.shape()) {
                (Some(own), shape) => {
                    convolutions.push(Weights { name: own.to_owned(), shape: shape.to_vec(), elements });
                }
                (None, [_]) => {
                    rows.insert(name.to_owned(), elements);
                }
                (None, _) => return Err(damaged()),
            }
        }
        convolutions.sort_by(|a: &Weights, b| a.name.cmp(&b.name));
        Ok(Self { description, rows, convolutions, preview })
    }

    /// The bytes of a file that holds it.
    ///
    /// # Errors
    /// When it cannot be written down.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let description = serde_json::to_string(&self.description).context("describe a style")?;
        let bytes = |numbers: &[f32]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>();
        let rows = self.rows.iter().map(|(name, row)| (name.clone(), vec![row.len()], bytes(row)));
        let convolutions = self
            .convolutions
            .iter()
            .map(|weights| (format!("{CONVOLUTION}{}", weights.name), weights.shape.clone(), bytes(&weights.elements)));
        let numbers: Vec<(String, Vec<usize>, Vec<u8>)> = rows.chain(convolutions).collect();
        let mut tensors = Vec::with_capacity(numbers.len() + 1);
        for (name, shape, bytes) in &numbers {
            tensors.push((name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes)?));
        }
        tensors.push((PREVIEW, TensorView::new(Dtype::U8, vec![self.preview.len()], &self.preview)?));
        let metadata = HashMap::from([(DESCRIPTION.to_owned(), description)]);
        Ok(safetensors::serialize(tensors, Some(metadata))?)
    }

    /// Makes it a style of a network: puts its convolutions in the place of the network's, if it brings any, and its row behind the
    /// others in every table. The index that it then has.
    ///
    /// # Errors
    /// When it is of another network.
    pub fn add_to(&self, model: &mut Model, tables: &mut StyleTables, name: &str) -> Result<usize> {
        for weights in &self.convolutions {
            let replaced = model.set_weights(&weights.name, &weights.shape, &weights.elements);
            replaced.context("it is of another network")?;
        }
        tables.append(model, name, &self.row(tables)?)
    }

    /// The row of all tables of a network.
    ///
    /// # Errors
    /// When it has no row for a table, or one of another length: it is of another network.
    pub fn row(&self, tables: &StyleTables) -> Result<StyleRow> {
        let mut all = Vec::with_capacity(tables.row_length());
        for table in &tables.tables {
            let row = self.rows.get(&table.name).filter(|row| row.len() == table.channels);
            all.extend(row.with_context(|| {
                format!("it has no {} numbers for '{}': it is of another network", table.channels, table.name)
            })?);
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::Model;
    use proptest::prelude::*;

    fn tables() -> StyleTables {
        StyleTables::find(&Model::from_bytes(include_bytes!("../../models/impasto-lite.onnx")).unwrap()).unwrap()
    }

    fn style() -> LearnedStyle {
        let learning = Learning {
            start: "great-wave".to_owned(),
            photos: "30 photos".to_owned(),
            depth: Depth::Rows,
            steps: 7,
            seconds: 1.5,
            stroke_size: 1.0,
            style_weight: 1.0,
            start_loss: 3.0,
            loss: 2.0,
            content_loss: 0.5,
            style_loss: 1.5,
        };
        let description = Description {
            version: VERSION,
            network: "impasto-lite".to_owned(),
            network_sha256: "00".to_owned(),
            paintings: vec![PaintingRecord { file: "a.jpg".to_owned(), sha256: "11".to_owned() }],
            learning,
        };
        let tables = tables();
        let row: Vec<f32> = (0..tables.row_length()).map(|index| index as f32).collect();
        LearnedStyle::new(description, &tables, &row, vec![1, 2, 3])
    }

    #[test]
    fn a_style_comes_back_as_it_was_and_is_small() {
        let style = style();
        let bytes = style.to_bytes().unwrap();
        assert!(bytes.len() < 10_000, "{}", bytes.len());
        let read = LearnedStyle::from_bytes(&bytes).unwrap();
        assert_eq!(read, style);
        let row = read.row(&tables()).unwrap();
        assert!(row.iter().enumerate().all(|(index, number)| *number == index as f32));
    }

    #[test]
    fn a_file_that_is_cut_short_or_something_else_is_told() {
        let bytes = style().to_bytes().unwrap();
        for length in [0, 7, 8, 100, bytes.len() - 1] {
            let error = LearnedStyle::from_bytes(&bytes[..length]).unwrap_err();
            assert!(matches!(error, ParseStyleFileError::Container(_)), "{length}: {error}");
        }
        let empty: [(&str, TensorView<'_>); 0] = [];
        let other = safetensors::serialize(empty, None).unwrap();
        assert!(matches!(LearnedStyle::from_bytes(&other), Err(ParseStyleFileError::NoDescription)));
        let huge = vec![0; MOST_BYTES as usize + 1];
        assert!(matches!(LearnedStyle::from_bytes(&huge), Err(ParseStyleFileError::TooLarge)));
        // A header that claims more than there is.
        let mut lying = bytes;
        lying[..8].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(LearnedStyle::from_bytes(&lying).is_err());
    }

    #[test]
    fn another_version_and_numbers_that_are_none_are_told() {
        let mut style = style();
        style.description.version = 9;
        let error = LearnedStyle::from_bytes(&style.to_bytes().unwrap()).unwrap_err();
        assert!(error.to_string().contains("version 9"), "{error}");
        style.description.version = VERSION;
        style.rows.insert("stem.norm.gamma".to_owned(), vec![f32::NAN]);
        let error = LearnedStyle::from_bytes(&style.to_bytes().unwrap()).unwrap_err();
        assert!(error.to_string().contains("stem.norm.gamma"), "{error}");
        style.rows.insert("stem.norm.gamma".to_owned(), vec![0.0]);
        assert!(style.row(&tables()).unwrap_err().to_string().contains("another network"));
    }

    proptest! {
        #[test]
        fn a_file_that_is_changed_anywhere_is_an_error_or_harmless(
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
            length in any::<prop::sample::Index>(),
        ) {
            let mut bytes = style().to_bytes().unwrap();
            for (at, value) in changes {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            if let Ok(style) = LearnedStyle::from_bytes(&bytes) {
                let _ = style.row(&tables());
            }
            let _ = LearnedStyle::from_bytes(&bytes[..length.index(bytes.len())]);
        }

        #[test]
        fn any_bytes_are_an_error_and_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(LearnedStyle::from_bytes(&bytes).is_err());
        }
    }
}
