//! The arguments of `impasto image`.

use std::path::PathBuf;

use clap::builder::TypedValueParser;
use clap::{Args, ValueHint};

use super::{DeviceArgs, LookArgs, MaskArgs, parse_word, whole_number};
use crate::stills::StillFormat;

const MASK: &str = "\
Lay the style on where this is white, and leave the rest as it was; gray mixes

One picture for all. Of a picture with transparency it is the opacity that counts. Masks of another size are scaled.";

/// `impasto image`.
#[derive(Debug, Args)]
#[command(mut_arg("mask", |mask| mask.value_name("IMAGE").value_hint(ValueHint::FilePath).long_help(MASK)))]
#[command(after_help = "\
Examples:
  impasto image photo.jpg -o painting.png --style great-wave
  impasto image photo.jpg -o paintings/ --style wave --style scream --style starry-night
  impasto image holidays -o painted --style great-wave --strength 0.7
  convert photo.heic png:- | impasto image - -o - > painting.png")]
pub struct ImageArgs {
    /// Pictures (PNG, JPEG, WebP, TIFF), folders with all that is in them, patterns like 'img_*.png', or - for stdin
    #[arg(required = true, value_hint = ValueHint::AnyPath)]
    pub inputs: Vec<PathBuf>,

    /// The file to write, whose extension chooses the format; or a folder; or - for stdout
    ///
    /// For several pictures, and with a / at its end, it is a folder: pictures keep their names, and below a folder
    /// their places. Several styles are told apart by their names: photo-great-wave.jpg.
    #[arg(short, long, value_name = "FILE|FOLDER", value_hint = ValueHint::AnyPath)]
    pub output: PathBuf,

    /// Replace outputs that exist
    #[arg(short = 'y', long = "yes")]
    pub overwrite: bool,

    /// Say nothing but errors
    #[arg(short, long)]
    pub quiet: bool,

    /// png, jpeg, webp or tiff [default: by the output's extension, in a folder and on stdout as the input]
    #[arg(long, value_name = "FORMAT", value_parser = parse_still_format())]
    pub format: Option<StillFormat>,

    /// Quality of JPEG: higher is better and larger
    #[arg(long, value_name = "1..100", default_value_t = 92, value_parser = whole_number(1_u8..=100))]
    pub quality: u8,

    /// A style's name, a blend like wave:0.6,scream:0.4, a learnt style (.style), or the path of a network (.onnx); can be
    /// given several times
    ///
    /// `impasto styles` lists the names; the first of them is the default. The same words as for `impasto video`.
    #[arg(short, long = "style", value_name = "STYLE", help_heading = "Style")]
    pub styles: Vec<String>,

    /// How it is applied.
    #[command(flatten)]
    pub look: LookArgs,

    /// Where it is laid on.
    #[command(flatten)]
    pub mask: MaskArgs,

    /// Threads of the network [default: one a core]
    #[arg(long, value_name = "COUNT", value_parser = whole_number(1_u32..=1024), help_heading = "Speed")]
    pub threads: Option<u32>,

    /// What the network runs on.
    #[command(flatten)]
    pub device: DeviceArgs,
}

fn parse_still_format() -> impl TypedValueParser<Value = StillFormat> {
    parse_word(StillFormat::NAMES.to_vec())
}
