//! The styles that come with impasto: names, and the embedded paintings and networks that paint like them.
//!
//! What there is stands in `models/catalog.toml`; nothing here depends on how many styles that file lists.

use std::sync::OnceLock;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::folder::FolderStyle;
use crate::onnx::Model;

/// A network in the binary. Each holds all styles of the catalog.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogNetwork {
    /// What it is called.
    pub name: String,
    /// File name in `models/`.
    pub file: String,
    /// Checksum of the file, in hexadecimal.
    pub sha256: String,
    /// File of the form with convolutions in 8-bit integers, if it has one.
    pub int8: Option<String>,
    /// Checksum of that file, in hexadecimal.
    pub int8_sha256: Option<String>,
    /// How it came about.
    pub provenance: String,
    /// License of the weights.
    pub license: String,
}

/// A style in the binary.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogStyle {
    /// The name to ask for it by: lower case, words joined by hyphens.
    pub name: String,
    /// Other names.
    pub aliases: Vec<String>,
    /// Title of the painting.
    pub title: String,
    /// Who painted it.
    pub artist: String,
    /// When it was finished.
    pub year: i32,
    /// License of the painting.
    pub painting_license: String,
    /// File of the painting in `models/`, in the size and cut that the network learnt it in.
    pub painting: String,
    /// Checksum of that file, in hexadecimal.
    pub painting_sha256: String,
    /// Entry of every network's style vector, from 0.
    pub index: usize,
}

/// A name that the catalog does not have.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("style '{name}' is not in the catalog ({}`impasto styles` lists all {count})", did_you_mean(.nearest))]
pub struct UnknownStyle {
    /// What was asked for.
    pub name: String,
    /// The most similar name, if one is similar.
    pub nearest: Option<String>,
    /// How many styles there are.
    pub count: usize,
}

fn did_you_mean(nearest: &Option<String>) -> String {
    nearest.as_ref().map(|nearest| format!("did you mean '{nearest}'? ")).unwrap_or_default()
}

/// Networks and styles by name.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalog {
    networks: Vec<CatalogNetwork>,
    styles: Vec<CatalogStyle>,
}

/// A file of `models/` in the binary, by its name there.
macro_rules! embedded {
    ($($file:literal),* $(,)?) => { &[$(($file, include_bytes!(concat!("../../models/", $file)))),*] };
}

const EMBEDDED: &[(&str, &[u8])] = embedded![
    "impasto-lite.onnx",
    "impasto-lite-int8.onnx",
    "impasto-full.onnx",
    "paintings/starry-night.jpg",
    "paintings/great-wave.jpg",
    "paintings/the-scream.jpg",
    "paintings/composition-vii.jpg",
    "paintings/udnie.jpg",
    "paintings/shipwreck.jpg",
    "paintings/woman-with-a-hat.jpg",
    "paintings/water-lilies.jpg",
    "paintings/olive-trees.jpg",
    "paintings/composition-viii.jpg",
    "paintings/horse-mackerel.jpg",
    "paintings/cherry-trees.jpg",
    "paintings/self-portrait.jpg",
    "paintings/edtaonisl.jpg",
    "paintings/ink.jpg",
    "paintings/mosaic.jpg",
];

impl Catalog {
    /// What the binary carries.
    ///
    /// # Errors
    /// When the embedded catalog is malformed, which a test excludes.
    pub fn bundled() -> Result<&'static Self> {
        static CATALOG: OnceLock<Catalog> = OnceLock::new();
        if let Some(catalog) = CATALOG.get() {
            return Ok(catalog);
        }
        let catalog = toml::from_str(include_str!("../../models/catalog.toml")).context("read the bundled catalog")?;
        Ok(CATALOG.get_or_init(|| catalog))
    }

    /// All styles, in the catalog's order.
    pub fn styles(&self) -> &[CatalogStyle] {
        &self.styles
    }

    /// All networks.
    pub fn networks(&self) -> &[CatalogNetwork] {
        &self.networks
    }

    /// A style by its name or an alias; letter case, spaces and underscores do not matter.
    ///
    /// # Errors
    /// When there is none; the error proposes the most similar name.
    pub fn find(&self, name: &str) -> Result<&CatalogStyle, UnknownStyle> {
        let wanted = normalized(name);
        if let Some(style) = self.styles.iter().find(|style| names(style).any(|name| name == wanted)) {
            return Ok(style);
        }
        Err(self.unknown(name, &[]))
    }

    /// The error for a name that neither the catalog nor the user's `own` styles have.
    pub fn unknown(&self, name: &str, own: &[FolderStyle]) -> UnknownStyle {
        const SIMILAR: f64 = 0.75;
        let wanted = normalized(name);
        let bundled = self.styles.iter().flat_map(|style| names(style).map(move |name| (name, &style.name)));
        let own_names = own.iter().map(|style| (style.name.clone(), &style.name));
        let nearest = bundled
            .chain(own_names)
            .map(|(name, style)| (strsim::jaro_winkler(&name, &wanted), style))
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .filter(|(similarity, _)| *similarity >= SIMILAR)
            .map(|(_, style)| style.clone());
        UnknownStyle { name: name.to_owned(), nearest, count: self.styles.len() + own.len() }
    }

    /// A network by the checksum of its file.
    pub fn network_with_sha256(&self, sha256: &str) -> Option<&CatalogNetwork> {
        self.networks.iter().find(|network| network.sha256 == sha256)
    }

    /// The bytes of a network's ONNX file.
    ///
    /// # Errors
    /// When the catalog names a network that is not in the binary, which a test excludes.
    pub fn network_bytes(&self, name: &str) -> Result<&'static [u8]> {
        embedded(&self.network(name)?.file)
    }

    /// The graph of a network, with all of its weights in 32 bits, however its file keeps them.
    ///
    /// # Errors
    /// As [`Catalog::network_bytes`], or when the file is damaged.
    pub fn network_model(&self, name: &str) -> Result<Model> {
        let mut model = Model::from_bytes(self.network_bytes(name)?)?;
        model.widen_weights();
        Ok(model)
    }

    /// The bytes of the form of a network with convolutions in 8-bit integers; `None` where it has none.
    ///
    /// # Errors
    /// As [`Catalog::network_bytes`].
    pub fn network_int8_bytes(&self, name: &str) -> Result<Option<&'static [u8]>> {
        self.network(name)?.int8.as_deref().map(embedded).transpose()
    }

    fn network(&self, name: &str) -> Result<&CatalogNetwork> {
        let network = self.networks.iter().find(|network| network.name == name);
        network.with_context(|| format!("network '{name}' is not in the catalog"))
    }

    /// The painting that a style was learnt from, as JPEG.
    ///
    /// # Errors
    /// When the catalog names a painting that is not in the binary, which a test excludes.
    pub fn painting_bytes(&self, style: &CatalogStyle) -> Result<&'static [u8]> {
        embedded(&style.painting)
    }
}

fn embedded(file: &str) -> Result<&'static [u8]> {
    let found = EMBEDDED.iter().find(|(embedded, _)| *embedded == file);
    found.map(|(_, bytes)| *bytes).with_context(|| format!("'{file}' is not in the binary"))
}

/// What a style may be asked for by.
fn names(style: &CatalogStyle) -> impl Iterator<Item = String> {
    std::iter::once(&style.name).chain(&style.aliases).map(|name| normalized(name))
}

/// A name as names are compared: in lower case, words joined by hyphens.
pub fn normalized(name: &str) -> String {
    name.trim().to_lowercase().replace([' ', '_'], "-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest as _, Sha256};

    fn hexadecimal_sha256(bytes: &[u8]) -> String {
        Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn the_catalog_and_the_embedded_files_agree() {
        let catalog = Catalog::bundled().unwrap();
        let int8_forms = catalog.networks().iter().filter(|network| network.int8.is_some()).count();
        assert_eq!(catalog.networks().len() + int8_forms + catalog.styles().len(), EMBEDDED.len());
        for style in catalog.styles() {
            let bytes = catalog.painting_bytes(style).unwrap();
            assert_eq!(hexadecimal_sha256(bytes), style.painting_sha256, "{}", style.painting);
        }
        for network in catalog.networks() {
            let bytes = catalog.network_bytes(&network.name).unwrap();
            assert_eq!(hexadecimal_sha256(bytes), network.sha256, "{}", network.file);
            let int8 = catalog.network_int8_bytes(&network.name).unwrap();
            assert_eq!(int8.map(hexadecimal_sha256), network.int8_sha256, "{:?}", network.int8);
            let model = catalog.network_model(&network.name).unwrap();
            assert!(!model.nodes().iter().any(|node| node.op_type() == "Cast"), "{} keeps casts", network.file);
            if let Some(int8) = int8 {
                // A style that was learnt fits both forms.
                let int8 = Model::from_bytes(int8).unwrap();
                let tables = |model| {
                    let mut tables = crate::style::StyleTables::find(model).unwrap().tables;
                    tables.sort_by(|a, b| a.name.cmp(&b.name));
                    tables
                };
                assert!(tables(&int8) == tables(&model), "the styles of the two forms differ");
                assert_eq!(int8.metadata("impasto.styles"), model.metadata("impasto.styles"));
            }
            let names: Vec<&str> = model.metadata("impasto.styles").unwrap().split(',').collect();
            // A style that was learnt stands behind those that the catalog lists.
            let listed: Vec<&str> = catalog.styles().iter().map(|style| style.name.as_str()).collect();
            assert_eq!(names, listed, "{}", network.file);
            assert_eq!(crate::style::StyleTables::find(&model).unwrap().style_count, listed.len(), "{}", network.file);
        }
    }

    #[test]
    fn styles_are_in_the_order_of_their_indices_and_no_two_share_a_name() {
        let catalog = Catalog::bundled().unwrap();
        let mut names = Vec::new();
        for (index, style) in catalog.styles().iter().enumerate() {
            assert_eq!(style.index, index, "{}", style.name);
            assert_eq!(style.name, normalized(&style.name));
            names.extend(std::iter::once(&style.name).chain(&style.aliases).map(|name| normalized(name)));
        }
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn names_and_aliases_are_found_in_any_letter_case() {
        let catalog = Catalog::bundled().unwrap();
        for name in ["great-wave", "Great Wave", "WAVE", "great_wave"] {
            assert_eq!(catalog.find(name).unwrap().name, "great-wave");
        }
        assert_eq!(catalog.find("scream").unwrap().name, "the-scream");
        assert_eq!(catalog.find("starry").unwrap().name, "starry-night");
    }

    #[test]
    fn a_misspelt_name_is_answered_with_the_nearest() {
        let catalog = Catalog::bundled().unwrap();
        let count = catalog.styles().len();
        assert_eq!(
            catalog.find("gret-wave").unwrap_err().to_string(),
            format!(
                "style 'gret-wave' is not in the catalog (did you mean 'great-wave'? `impasto styles` lists all {count})"
            )
        );
        assert_eq!(
            catalog.find("xyzzy").unwrap_err().to_string(),
            format!("style 'xyzzy' is not in the catalog (`impasto styles` lists all {count})")
        );
        let own = [FolderStyle { name: "my-style".to_owned(), path: "my-style.style".into() }];
        let unknown = catalog.unknown("My_Styl", &own);
        assert_eq!((unknown.nearest.as_deref(), unknown.count), (Some("my-style"), count + 1));
        assert_eq!(catalog.unknown("gret-wave", &own).nearest.as_deref(), Some("great-wave"));
    }
}
