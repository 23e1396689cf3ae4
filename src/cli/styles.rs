//! The arguments of `impasto styles` and what it does beside listing.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

use super::{DeviceArgs, NetworkArgs, PrecisionArgs};
use super::{number, whole_number};
use crate::media::Time;

/// `impasto styles`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct StylesArgs {
    /// Print the list in JSON
    #[arg(long)]
    pub json: bool,

    /// What to do instead of listing
    #[command(subcommand)]
    pub command: Option<StylesCommand>,
}

/// What `impasto styles` does beside listing.
#[derive(Debug, Subcommand)]
pub enum StylesCommand {
    /// Paint a picture in every style and lay the paintings side by side, to choose from
    Sheet(SheetArgs),
    /// Keep learnt styles in the folder of styles, where they are found by name
    Add(StylesAddArgs),
    /// Delete a style from the folder of styles
    Remove(StylesRemoveArgs),
    /// Tell what a style is: its painting, its network, how it was learnt
    Show(StylesShowArgs),
}

/// `impasto styles sheet`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  impasto styles sheet photo.jpg -o sheet.png
  impasto styles sheet in.mp4 --at 1:30 -o sheet.png --strengths 0.3,0.6,1")]
pub struct SheetArgs {
    /// A picture (PNG, JPEG, WebP, TIFF) or a video
    #[arg(value_hint = ValueHint::FilePath)]
    pub input: PathBuf,

    /// The picture to write
    #[arg(short, long, value_name = "FILE.png", value_hint = ValueHint::FilePath)]
    pub output: PathBuf,

    /// Replace the output if it exists
    #[arg(short = 'y', long = "yes")]
    pub overwrite: bool,

    /// How much of each style: a row of paintings for each strength
    #[arg(long, value_name = "0..1,...", default_value = "1", value_delimiter = ',', value_parser = number(0.0..=1.0_f32))]
    pub strengths: Vec<f32>,

    /// Which frame of a video, by its time [default: the middle one]
    #[arg(long, value_name = "TIME")]
    pub at: Option<Time>,

    /// Keep the colours of the input: only lightness is painted
    #[arg(long)]
    pub keep_color: bool,

    /// Shorter side, in pixels, of the picture that the network sees: as it will be used
    #[arg(long, value_name = "PIXELS", default_value_t = crate::commands::DEFAULT_WORK_SIZE, value_parser = whole_number(16_u32..=8192))]
    pub work_size: u32,

    /// Which network.
    #[command(flatten)]
    pub network: NetworkArgs,

    /// How exactly the network calculates.
    #[command(flatten)]
    pub precision: PrecisionArgs,

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

/// `impasto styles add`.
#[derive(Debug, Args)]
pub struct StylesAddArgs {
    /// Styles that `impasto learn` wrote
    #[arg(required = true, value_name = "NAME.style", value_hint = ValueHint::FilePath)]
    pub files: Vec<PathBuf>,

    /// Replace styles of the same name
    #[arg(short = 'y', long = "yes")]
    pub overwrite: bool,
}

/// `impasto styles remove`.
#[derive(Debug, Args)]
pub struct StylesRemoveArgs {
    /// Names of styles in the folder
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
}

/// `impasto styles show`.
#[derive(Debug, Args)]
pub struct StylesShowArgs {
    /// The name of a style, or a .style file
    #[arg(value_name = "STYLE", value_hint = ValueHint::FilePath)]
    pub style: String,

    /// Print it in JSON
    #[arg(long)]
    pub json: bool,

    /// Write the painted photo that a learnt style carries: a JPEG file
    #[arg(long, value_name = "FILE.jpg", value_hint = ValueHint::FilePath)]
    pub preview: Option<PathBuf>,
}
