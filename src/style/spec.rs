//! What a user writes to choose a style.
//!
//! ```text
//! great-wave                      a style of the catalog, or an alias: wave
//! wave:0.6,scream:0.4             a blend; the weights are scaled to sum to 1
//! my.style                        a style that was learnt (`impasto learn`), blended as those of its network
//! path/to/network.onnx            a network of one's own
//! network.onnx#3                  the style at index 3, from 0, of a network that holds several
//! network.onnx#mosaic             the same by name, where the network names its styles
//! network.onnx#3:0.5,network.onnx#7:0.5
//! ```
//!
//! Parsing looks at the text only: whether a name or a file exists turns out when the network is opened.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// A style, or a blend of several styles of one network.
#[derive(Debug, Clone, PartialEq)]
pub struct StyleSpec {
    terms: Vec<StyleTerm>,
}

/// One style of a blend.
#[derive(Debug, Clone, PartialEq)]
pub struct StyleTerm {
    /// Which style.
    pub style: StyleRef,
    /// Its share, 0–1; the shares of a spec sum to 1.
    pub weight: f32,
}

/// Where a style is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StyleRef {
    /// A name for the catalog, or for the user's folder of styles.
    Named(String),
    /// A style in a file of its own.
    Learned(PathBuf),
    /// A network in a file.
    Network {
        /// The ONNX file.
        path: PathBuf,
        /// Which of its styles; `None` where it holds one.
        choice: Option<StyleChoice>,
    },
}

/// One style of a network that holds several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StyleChoice {
    /// Entry of the style vector, from 0.
    Index(usize),
    /// A name that the network gives its style.
    Name(String),
}

/// Why a text is no style.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum ParseStyleError {
    /// Nothing, or nothing between two commas.
    #[error("style '{0}' has an empty part (expected NAME, NAME:WEIGHT,NAME:WEIGHT, MY.style or NETWORK.onnx)")]
    Empty(String),
    /// A weight that is no number or not in range.
    #[error(
        "weight '{weight}' of style '{style}' is not usable (expected a number from 0 to 1000000000, for example {style}:0.5)"
    )]
    Weight {
        /// The style.
        style: String,
        /// The text after the colon.
        weight: String,
    },
    /// All weights are 0.
    #[error("the weights of '{0}' sum to 0 (expected at least one above 0)")]
    NoWeight(String),
}

impl StyleSpec {
    /// One style with the whole weight.
    pub fn single(style: StyleRef) -> Self {
        Self { terms: vec![StyleTerm { style, weight: 1.0 }] }
    }

    /// The style in a file, whatever its name holds: of a text, commas, colons and hashes are read. `None`: it is not called like a
    /// learnt style or a network.
    pub fn of_file(path: &Path) -> Option<Self> {
        let name = path.to_string_lossy();
        let style = match (is_learned(&name), is_network(&name)) {
            (true, _) => StyleRef::Learned(path.to_owned()),
            (_, true) => StyleRef::Network { path: path.to_owned(), choice: None },
            _ => return None,
        };
        Some(Self::single(style))
    }

    /// The styles and their shares; at least one, the shares sum to 1.
    pub fn terms(&self) -> &[StyleTerm] {
        &self.terms
    }
}

/// Sums of larger weights might be no numbers.
const MOST_WEIGHT: f32 = 1e9;

impl FromStr for StyleSpec {
    type Err = ParseStyleError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut terms = Vec::new();
        for part in text.split(',') {
            let (style, weight) = split_weight(part.trim());
            if style.is_empty() {
                return Err(ParseStyleError::Empty(text.to_owned()));
            }
            let weight = match weight {
                None => 1.0,
                Some(weight) => weight
                    .trim()
                    .parse::<f32>()
                    .ok()
                    .filter(|weight| (0.0..=MOST_WEIGHT).contains(weight))
                    .ok_or_else(|| ParseStyleError::Weight { style: style.to_owned(), weight: weight.to_owned() })?,
            };
            terms.push(StyleTerm { style: style_ref(style), weight });
        }
        let sum: f32 = terms.iter().map(|term| term.weight).sum();
        if sum <= 0.0 || !sum.is_finite() {
            return Err(ParseStyleError::NoWeight(text.to_owned()));
        }
        for term in &mut terms {
            term.weight /= sum;
        }
        Ok(Self { terms })
    }
}

/// Splits `style:weight` at the last colon, unless a path goes on behind it (`C:\networks\a.onnx`).
fn split_weight(part: &str) -> (&str, Option<&str>) {
    match part.rsplit_once(':') {
        Some((style, weight)) if !weight.contains(['/', '\\']) => (style.trim(), Some(weight)),
        _ => (part, None),
    }
}

fn style_ref(text: &str) -> StyleRef {
    if is_learned(text) {
        return StyleRef::Learned(PathBuf::from(text));
    }
    let (file, choice) = match text.rsplit_once('#') {
        Some((file, choice)) if is_path(file) => (file, Some(choice)),
        _ => (text, None),
    };
    if !is_path(file) {
        return StyleRef::Named(text.to_owned());
    }
    let choice = choice.map(|choice| match choice.parse() {
        Ok(index) => StyleChoice::Index(index),
        Err(_) => StyleChoice::Name(choice.to_owned()),
    });
    StyleRef::Network { path: PathBuf::from(file), choice }
}

fn is_learned(text: &str) -> bool {
    text.to_lowercase().ends_with(".style")
}

/// A path has a folder or ends in `.onnx`; a name has neither.
fn is_path(text: &str) -> bool {
    text.contains(['/', '\\']) || is_network(text)
}

fn is_network(text: &str) -> bool {
    text.to_lowercase().ends_with(".onnx")
}

impl fmt::Display for StyleSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, term) in self.terms.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            write!(f, "{}", term.style)?;
            if self.terms.len() > 1 {
                write!(f, ":{:.3}", term.weight)?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for StyleRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => f.write_str(name),
            Self::Learned(path) => write!(f, "{}", path.display()),
            Self::Network { path, choice: None } => write!(f, "{}", path.display()),
            Self::Network { path, choice: Some(choice) } => write!(f, "{}#{choice}", path.display()),
        }
    }
}

impl fmt::Display for StyleChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index(index) => write!(f, "{index}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> StyleSpec {
        text.parse().unwrap()
    }

    fn network(path: &str, choice: Option<StyleChoice>) -> StyleRef {
        StyleRef::Network { path: path.into(), choice }
    }

    #[test]
    fn a_name_is_a_style_of_weight_one() {
        assert_eq!(parse("great-wave"), StyleSpec::single(StyleRef::Named("great-wave".to_owned())));
    }

    #[test]
    fn the_weights_of_a_blend_are_scaled_to_sum_to_one() {
        let spec = parse(" wave : 3 , scream:1");
        let weights: Vec<f32> = spec.terms().iter().map(|term| term.weight).collect();
        assert_eq!(weights, [0.75, 0.25]);
        assert_eq!(spec.terms()[0].style, StyleRef::Named("wave".to_owned()));
        assert_eq!(spec.to_string(), "wave:0.750,scream:0.250");
    }

    #[test]
    fn a_blend_without_weights_is_even() {
        assert_eq!(parse("wave,scream").terms()[1].weight, 0.5);
    }

    #[test]
    fn paths_are_told_from_names() {
        assert_eq!(parse("a/b.onnx").terms()[0].style, network("a/b.onnx", None));
        assert_eq!(parse("b.ONNX").terms()[0].style, network("b.ONNX", None));
        assert_eq!(parse("./candy").terms()[0].style, network("./candy", None));
        assert_eq!(parse(r"C:\nets\b.onnx").terms()[0].style, network(r"C:\nets\b.onnx", None));
        assert_eq!(parse(r"C:\nets\b.onnx:0.5").terms()[0].style, network(r"C:\nets\b.onnx", None));
    }

    #[test]
    fn a_file_of_a_style_is_told_from_a_network() {
        let spec = parse("wave:0.5,my/own.style:0.5");
        assert_eq!(spec.terms()[1].style, StyleRef::Learned("my/own.style".into()));
        assert_eq!(parse("a.STYLE").terms()[0].style, StyleRef::Learned("a.STYLE".into()));
        assert_eq!(parse("style").terms()[0].style, StyleRef::Named("style".to_owned()));
    }

    #[test]
    fn of_a_file_every_letter_of_its_name_counts() {
        let of = |path: &str| StyleSpec::of_file(Path::new(path)).unwrap().terms()[0].style.clone();
        assert_eq!(of("a, b/net#1.onnx"), network("a, b/net#1.onnx", None));
        assert_eq!(of("my:0.5, own.style"), StyleRef::Learned("my:0.5, own.style".into()));
        assert_eq!(StyleSpec::of_file(Path::new("a/great-wave")), None);
    }

    #[test]
    fn a_style_of_a_network_is_chosen_by_index_or_name() {
        assert_eq!(parse("n.onnx#3").terms()[0].style, network("n.onnx", Some(StyleChoice::Index(3))));
        let spec = parse("n.onnx#mosaic:0.5,n.onnx#0:0.5");
        assert_eq!(spec.terms()[0].style, network("n.onnx", Some(StyleChoice::Name("mosaic".to_owned()))));
        assert_eq!(spec.terms()[1].style, network("n.onnx", Some(StyleChoice::Index(0))));
    }

    #[test]
    fn what_is_no_style_is_refused() {
        assert_eq!("".parse::<StyleSpec>(), Err(ParseStyleError::Empty(String::new())));
        assert!(matches!("a,,b".parse::<StyleSpec>(), Err(ParseStyleError::Empty(_))));
        for text in ["a:-1", "a:nan", "a:inf", "a:x", "a:"] {
            assert!(matches!(text.parse::<StyleSpec>(), Err(ParseStyleError::Weight { .. })), "{text}");
        }
        assert!(matches!("a:0,b:0".parse::<StyleSpec>(), Err(ParseStyleError::NoWeight(_))));
        assert!(matches!("a:3e38,b:3e38".parse::<StyleSpec>(), Err(ParseStyleError::Weight { .. })));
    }
}
