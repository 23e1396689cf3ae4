//! The arguments of `impasto learn`.

use std::path::PathBuf;

use super::{DeviceArgs, NetworkArgs, POSITIVE_EXACT, number, whole_number};
use clap::{Args, ValueHint};

use crate::commands::Depth;

/// `impasto learn`.
#[derive(Debug, Args)]
#[command(after_help = "\
The network's convolutions stay as they are; the new style is a scale and a shift for each of their channels, fitted with the \
losses of the network's own training. The loss that is shown is that on photos which no step sees: content (squared difference of \
VGG-16's relu3_3 / 150,000) and style (6 times the relative differences of Gram matrices). A style that is learnt paints as fast as \
one that comes with impasto, and blends with them. It belongs to the network that it is learnt for: lite, or with --network full, and by \
itself on a GPU, full.

Examples:
  impasto learn painting.jpg -o my.style
  impasto image photo.jpg -o out.png --style my.style
  impasto learn painting.jpg -o my.style --minutes 1 --preview so-far.png
  impasto learn a.jpg b.jpg -o artist.style --photos holidays --stroke-size 1.5
  impasto styles add my.style && impasto live --style wave:0.5,my:0.5")]
pub struct LearnArgs {
    /// The painting, or several of one manner (PNG, JPEG, WebP, TIFF)
    #[arg(required = true, value_name = "PAINTING", value_hint = ValueHint::FilePath)]
    pub paintings: Vec<PathBuf>,

    /// The style to write
    #[arg(short, long, value_name = "NAME.style", value_hint = ValueHint::FilePath)]
    pub output: PathBuf,

    /// Replace the output if it exists
    #[arg(short = 'y', long = "yes")]
    pub overwrite: bool,

    /// How long its steps may take, in all runs that go on from each other; it ends earlier once nothing is to be gained any
    /// more [default: 10]
    #[arg(long, value_name = "MINUTES", value_parser = number(POSITIVE_EXACT), conflicts_with = "steps")]
    pub minutes: Option<f64>,

    /// How many steps it may take, instead of a time
    #[arg(long, value_name = "COUNT", value_parser = whole_number(1_u64..=1_000_000))]
    pub steps: Option<u64>,

    /// Fit it on the photos in this folder [default: thirty photos that come with impasto]
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath, help_heading = "What it is fitted on")]
    pub photos: Option<PathBuf>,

    /// Fit it on the frames of this video: the one that is to be painted
    #[arg(long, value_name = "CLIP", value_hint = ValueHint::FilePath, conflicts_with = "photos", help_heading = "What it is fitted on")]
    pub video: Option<PathBuf>,

    /// Size of the strokes: 1 for a painting with a shorter side of 448 pixels, 2 for strokes twice as large
    #[arg(long, value_name = "0.25..4", default_value_t = 1.0, value_parser = number(0.25..=4.0_f32), help_heading = "How it is fitted")]
    pub stroke_size: f32,

    /// How much the style counts against the content
    #[arg(long, value_name = "NUMBER", default_value_t = 1.0, value_parser = number(1e-3..=1e4_f32), help_heading = "How it is fitted")]
    pub style_weight: f32,

    /// How much it counts that a photo and the same photo a little moved are painted alike; 0: not at all
    #[arg(long, value_name = "NUMBER", default_value_t = crate::commands::DEFAULT_STABILITY_WEIGHT, value_parser = number(0.0..=1e4_f32), help_heading = "How it is fitted")]
    pub stability_weight: f32,

    /// Start from this style or blend [default: the nearest blend of the network's own styles, found by trying]
    #[arg(long, value_name = "STYLE", help_heading = "How it is fitted")]
    pub from: Option<String>,

    /// How much of the network is fitted: `rows`, the scale and the shift of each channel, or `full`, the first and the last
    /// convolution as well. Full comes nearer to the painting; the file is three times as large, and the style cannot be blended
    #[arg(long, value_name = "DEPTH", default_value = "rows", value_parser = super::parse_word(Depth::NAMES.to_vec()), help_heading = "How it is fitted")]
    pub depth: Depth,

    /// Side of the crops that are looked at, in pixels: a multiple of 8
    #[arg(long, value_name = "PIXELS", default_value_t = crate::commands::DEFAULT_CROP, value_parser = whole_number(64_u32..=1024), help_heading = "How it is fitted")]
    pub crop: u32,

    /// Which crops are drawn
    #[arg(long, value_name = "NUMBER", default_value_t = 0, value_parser = whole_number(0_u64..), help_heading = "How it is fitted")]
    pub seed: u64,

    /// Go on from the state that an interrupted run left beside its output (NAME.style.state)
    #[arg(long)]
    pub resume: bool,

    /// Paint a photo that it does not learn from with the best so far, again and again, into this file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub preview: Option<PathBuf>,

    /// Which network it is learnt for.
    #[command(flatten)]
    pub network: NetworkArgs,

    /// Threads of the network [default: one a core]
    #[arg(long, value_name = "COUNT", value_parser = whole_number(1_u32..=1024))]
    pub threads: Option<u32>,

    /// What the network runs on.
    #[command(flatten)]
    pub device: DeviceArgs,

    /// Print a summary in JSON on stdout
    #[arg(long)]
    pub json: bool,

    /// Say nothing but errors
    #[arg(short, long)]
    pub quiet: bool,
}
