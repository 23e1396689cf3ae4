//! What a network expects of its input and promises of its output.
//!
//! A network says it in a description beside its file, in its ONNX metadata, or not at all: then trial runs find it
//! out. The description has the file's name with `.toml` at the end (`candy.onnx`, `candy.toml`); every key may be
//! left out, and a key that is not listed here is an error:
//!
//! ```toml
//! input = "image"            # name of the picture input
//! output = "stylized"        # name of the picture output
//! layout = "NCHW"            # or "NHWC"
//! channels = "RGB"           # or "BGR"
//! range = "0-255"            # of input and output; or "0-1", "-1-1"
//! input_range = "0-1"        # where they differ; or { mean = [123.68, 116.779, 103.939], std = [1, 1, 1] }:
//! output_range = "0-255"     #   red, green, blue on the scale 0–255, value = (pixel - mean) / std
//! multiple = 8               # height and width must be multiples of it
//! minimum = 16               # the smallest height and width
//! fixed_size = "720x720"     # the only size that works; larger pictures are cut into tiles
//! style_input = "weights"    # name of the input that chooses the style
//! styles = ["a", "b"]        # names of the entries of a vector of style weights
//! strength_input = "alpha"   # name of a scalar input that is set to 1
//! encoder = "predict.onnx"   # network beside this one that computes `style_input` from a painting
//! ```
//!
//! In ONNX metadata the same keys are prefixed with `impasto.`, and `styles` is separated by commas. Of the metadata
//! that Windows ML defines, `Image.BitmapPixelFormat` and `Image.NominalPixelRange` are understood.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use super::pixels::{ChannelOrder, Layout, TensorFormat, ValueRange};
use crate::frame::FrameSize;
use crate::onnx::Model;

/// Where a part of a contract comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The description beside the network.
    Description,
    /// The network's ONNX metadata.
    Metadata,
    /// The graph itself: shapes, names, constants.
    Graph(String),
    /// Trial runs.
    Probed(String),
    /// Nothing said otherwise.
    Assumed,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Description => f.write_str("description"),
            Self::Metadata => f.write_str("metadata"),
            Self::Graph(reason) => write!(f, "graph: {reason}"),
            Self::Probed(reason) => write!(f, "probed: {reason}"),
            Self::Assumed => f.write_str("assumed"),
        }
    }
}

/// How a network is told which style to paint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StyleInput {
    /// It has one style.
    Single,
    /// By a vector with a weight for each of its styles.
    Weights {
        /// Name of the input.
        input: String,
        /// Shape of the input, `[n]` or `[1, n]`.
        shape: Vec<usize>,
        /// Names of the styles, `n` of them, or none.
        names: Vec<String>,
    },
    /// By a picture, in the format of the content picture.
    Picture {
        /// Name of the input.
        input: String,
        /// The only size that the input takes, where it takes one.
        fixed_size: Option<FrameSize>,
    },
    /// By numbers that another network computes from a picture.
    Embedding {
        /// Name of the input.
        input: String,
        /// Shape of the input.
        shape: Vec<usize>,
        /// File of the other network.
        encoder: PathBuf,
    },
}

/// What a network expects of its input and promises of its output.
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkContract {
    /// Name of the picture input.
    pub image_input: String,
    /// Name of the picture output.
    pub image_output: String,
    /// How the input holds the picture.
    pub input_format: TensorFormat,
    /// How the output holds it.
    pub output_format: TensorFormat,
    /// Height and width are multiples of it; at least 1.
    pub multiple: usize,
    /// The smallest height and width.
    pub minimum: usize,
    /// The only size that works, if there is only one.
    pub fixed_size: Option<FrameSize>,
    /// How the style is chosen.
    pub style: StyleInput,
    /// A scalar input (and its shape) that is set to 1: how much of the style to apply.
    pub strength_input: Option<(String, Vec<usize>)>,
    /// Where the parts come from, by the names of the description's keys.
    pub origins: Vec<(&'static str, Origin)>,
}

impl NetworkContract {
    /// The size of the tensor for a picture of `size`: the fixed one, or `size` padded to multiple and minimum.
    pub fn tensor_size(&self, size: FrameSize) -> FrameSize {
        self.fixed_size.unwrap_or_else(|| {
            let minimum = self.minimum;
            FrameSize::new(size.width.max(minimum), size.height.max(minimum)).rounded_up(self.multiple)
        })
    }

    /// The contract in a line, for example `NCHW RGB 0–255 → 0–255, sizes in multiples of 8, 4 styles`.
    pub fn describe(&self) -> String {
        let (input, output) = (&self.input_format, &self.output_format);
        let size = match self.fixed_size {
            Some(size) => format!("tiles of {size}"),
            None if self.multiple == 1 => "any size".to_owned(),
            None => format!("sizes in multiples of {}", self.multiple),
        };
        let style = match &self.style {
            StyleInput::Single => "1 style".to_owned(),
            StyleInput::Weights { shape, .. } => format!("{} styles", shape.iter().product::<usize>()),
            StyleInput::Picture { .. } | StyleInput::Embedding { .. } => "any painting as style".to_owned(),
        };
        format!("{} {} {} → {}, {size}, {style}", input.layout, input.channels, input.range, output.range)
    }

    /// Each part as `key value (origin)`, in the order of the description's keys.
    pub fn details(&self) -> Vec<String> {
        let value_of = |key: &str| match key {
            "input" => self.image_input.clone(),
            "output" => self.image_output.clone(),
            "layout" => self.input_format.layout.to_string(),
            "channels" => self.input_format.channels.to_string(),
            "input_range" => self.input_format.range.to_string(),
            "output_range" => self.output_format.range.to_string(),
            "multiple" => self.multiple.to_string(),
            "minimum" => self.minimum.to_string(),
            "fixed_size" => self.fixed_size.map_or_else(|| "none".to_owned(), |size| size.to_string()),
            _ => String::new(),
        };
        self.origins.iter().map(|(key, origin)| format!("{key} {} ({origin})", value_of(key))).collect()
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nchw => "NCHW",
            Self::Nhwc => "NHWC",
        })
    }
}

impl fmt::Display for ChannelOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rgb => "RGB",
            Self::Bgr => "BGR",
        })
    }
}

impl fmt::Display for ValueRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes => f.write_str("0–255"),
            Self::Unit => f.write_str("0–1"),
            Self::Signed => f.write_str("−1–1"),
            Self::Normalized { mean, std } => write!(f, "(0–255 − {mean:?}) / {std:?}"),
        }
    }
}

/// A part of a contract and where it comes from.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Known<T> {
    pub value: T,
    pub origin: Origin,
}

/// What a network's description and metadata say; `None` is for others to find out.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Hints {
    pub input: Option<Known<String>>,
    pub output: Option<Known<String>>,
    pub layout: Option<Known<Layout>>,
    pub channels: Option<Known<ChannelOrder>>,
    pub input_range: Option<Known<ValueRange>>,
    pub output_range: Option<Known<ValueRange>>,
    pub multiple: Option<Known<usize>>,
    pub minimum: Option<Known<usize>>,
    pub fixed_size: Option<Known<FrameSize>>,
    pub style_input: Option<String>,
    pub styles: Option<Vec<String>>,
    pub strength_input: Option<String>,
    pub encoder: Option<PathBuf>,
}

/// Refuses a fixed size whose tensors nobody could hold.
pub(super) fn check_size(size: FrameSize) -> Result<()> {
    const LONGEST_SIDE: usize = 65_535;
    const MOST_PIXELS: usize = 100_000_000;
    if size.width.max(size.height) > LONGEST_SIDE || size.pixels() > MOST_PIXELS {
        bail!("{size} is not usable (expected sides of at most {LONGEST_SIDE} and at most 100 megapixels)");
    }
    Ok(())
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Description {
    input: Option<String>,
    output: Option<String>,
    layout: Option<String>,
    channels: Option<String>,
    range: Option<String>,
    input_range: Option<RangeText>,
    output_range: Option<RangeText>,
    multiple: Option<usize>,
    minimum: Option<usize>,
    fixed_size: Option<String>,
    style_input: Option<String>,
    styles: Option<Vec<String>>,
    strength_input: Option<String>,
    encoder: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(
    untagged,
    deny_unknown_fields,
    expecting = "expected \"0-255\", \"0-1\", \"-1-1\" or { mean = [r, g, b], std = [r, g, b] }"
)]
enum RangeText {
    Named(String),
    Normalized { mean: [f32; 3], std: Option<[f32; 3]> },
}

impl Hints {
    /// Reads the description beside `path`, then the metadata for what the description leaves open.
    pub fn gather(model: &Model, path: Option<&Path>) -> Result<Self> {
        let mut hints = Self::default();
        if let Some(file) = path.map(|path| path.with_extension("toml")).filter(|file| file.is_file()) {
            let text = std::fs::read_to_string(&file).with_context(|| format!("read '{}'", file.display()))?;
            let mut description: Description = toml::from_str(&text)
                .with_context(|| format!("read the network's description '{}'", file.display()))?;
            if let (Some(encoder), Some(folder)) = (&mut description.encoder, file.parent()) {
                *encoder = folder.join(&encoder);
            }
            hints
                .fill(description, &Origin::Description)
                .with_context(|| format!("read the network's description '{}'", file.display()))?;
        }
        hints.fill(metadata(model)?, &Origin::Metadata).context("read the network's metadata impasto.*")?;
        hints.fill_from_windows_ml(model);
        Ok(hints)
    }

    /// Takes over what is still open.
    fn fill(&mut self, description: Description, origin: &Origin) -> Result<()> {
        fn fill<T>(slot: &mut Option<Known<T>>, value: Option<T>, origin: &Origin) {
            if let (None, Some(value)) = (&slot, value) {
                *slot = Some(Known { value, origin: origin.clone() });
            }
        }
        let Description { range, input_range, output_range, .. } = &description;
        let range = range.as_deref().map(named_range).transpose()?;
        let of_text = |text: &Option<RangeText>| text.as_ref().map(RangeText::parse).transpose();
        fill(&mut self.input_range, of_text(input_range)?.or(range), origin);
        fill(&mut self.output_range, of_text(output_range)?.or(range), origin);
        fill(&mut self.input, description.input, origin);
        fill(&mut self.output, description.output, origin);
        fill(&mut self.layout, description.layout.as_deref().map(parse_layout).transpose()?, origin);
        fill(&mut self.channels, description.channels.as_deref().map(parse_channels).transpose()?, origin);
        for (key, value) in [("multiple", description.multiple), ("minimum", description.minimum)] {
            if let Some(value) = value.filter(|value| !(1..=4096).contains(value)) {
                bail!("{key} = {value} is not usable (expected 1 to 4096)");
            }
        }
        fill(&mut self.multiple, description.multiple, origin);
        fill(&mut self.minimum, description.minimum, origin);
        let fixed_size = description.fixed_size.map(|size| size.parse()).transpose().context("read fixed_size")?;
        fixed_size.map_or(Ok(()), check_size).context("read fixed_size")?;
        fill(&mut self.fixed_size, fixed_size, origin);
        self.style_input = self.style_input.take().or(description.style_input);
        self.styles = self.styles.take().or(description.styles);
        self.strength_input = self.strength_input.take().or(description.strength_input);
        self.encoder = self.encoder.take().or(description.encoder);
        Ok(())
    }

    /// `Image.*` as Windows ML defines it; what it does not list is left open.
    fn fill_from_windows_ml(&mut self, model: &Model) {
        let channels = match model.metadata("Image.BitmapPixelFormat") {
            Some("Bgr8" | "Bgra8") => Some(ChannelOrder::Bgr),
            Some("Rgb8" | "Rgba8") => Some(ChannelOrder::Rgb),
            _ => None,
        };
        let range = match model.metadata("Image.NominalPixelRange") {
            Some("NominalRange_0_255") => Some(ValueRange::Bytes),
            Some("Normalized_0_1") => Some(ValueRange::Unit),
            Some("Normalized_1_1") => Some(ValueRange::Signed),
            _ => None,
        };
        if self.channels.is_none() {
            self.channels = channels.map(|value| Known { value, origin: Origin::Metadata });
        }
        if self.input_range.is_none() {
            self.input_range = range.map(|value| Known { value, origin: Origin::Metadata });
        }
    }
}

fn metadata(model: &Model) -> Result<Description> {
    let text = |key: &str| model.metadata(&format!("impasto.{key}")).map(str::to_owned);
    let number = |key: &str| {
        text(key)
            .map(|value| {
                value.parse::<usize>().with_context(|| format!("impasto.{key} = '{value}' is not a whole number"))
            })
            .transpose()
    };
    Ok(Description {
        input: text("input"),
        output: text("output"),
        layout: text("layout"),
        channels: text("channels"),
        range: text("range"),
        input_range: text("input_range").map(RangeText::Named),
        output_range: text("output_range").map(RangeText::Named),
        multiple: number("multiple")?,
        minimum: number("minimum")?,
        fixed_size: text("fixed_size"),
        style_input: text("style_input"),
        styles: text("styles").map(|styles| styles.split(',').map(|style| style.trim().to_owned()).collect()),
        strength_input: text("strength_input"),
        encoder: None,
    })
}

impl RangeText {
    fn parse(&self) -> Result<ValueRange> {
        match self {
            Self::Named(name) => named_range(name),
            Self::Normalized { mean, std } => {
                let std = std.unwrap_or([1.0; 3]);
                let usable = |value: &f32| value.is_finite();
                if !mean.iter().all(usable) || !std.iter().all(|value| usable(value) && *value != 0.0) {
                    bail!("mean {mean:?}, std {std:?} are not usable (expected finite numbers, std not 0)");
                }
                Ok(ValueRange::Normalized { mean: *mean, std })
            }
        }
    }
}

fn named_range(name: &str) -> Result<ValueRange> {
    match name {
        "0-255" => Ok(ValueRange::Bytes),
        "0-1" => Ok(ValueRange::Unit),
        "-1-1" => Ok(ValueRange::Signed),
        _ => bail!("range '{name}' is not known (expected \"0-255\", \"0-1\", \"-1-1\" or mean and std)"),
    }
}

fn parse_layout(name: &str) -> Result<Layout> {
    match name.to_ascii_uppercase().as_str() {
        "NCHW" => Ok(Layout::Nchw),
        "NHWC" => Ok(Layout::Nhwc),
        _ => bail!("layout '{name}' is not known (expected NCHW or NHWC)"),
    }
}

fn parse_channels(name: &str) -> Result<ChannelOrder> {
    match name.to_ascii_uppercase().as_str() {
        "RGB" => Ok(ChannelOrder::Rgb),
        "BGR" => Ok(ChannelOrder::Bgr),
        _ => bail!("channels '{name}' are not known (expected RGB or BGR)"),
    }
}
