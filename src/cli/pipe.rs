//! The arguments of `impasto pipe`.

use clap::Args;
use clap::builder::TypedValueParser;

use super::{MaskArgs, RunArgs, StyleArgs, TemporalArgs, parse_word};
use crate::frame::FrameSize;
use crate::media::{ColorRange, Matrix, PictureLayout, Rational};

/// `impasto pipe`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ffmpeg -v error -i in.mov -f yuv4mpegpipe - | impasto pipe --style scream | ffmpeg -i - -i in.mov -map 0:v -map 1:a? out.mkv
  vspipe -c y4m script.vpy - | impasto pipe --style great-wave | ffplay -
  ffmpeg -v error -i in.mp4 -f rawvideo -pix_fmt rgb24 - | impasto pipe --raw rgb24 --size 640x360 --rate 25 --output-format y4m | ffmpeg -i - out.mp4")]
pub struct PipeArgs {
    /// Which style.
    #[command(flatten)]
    pub style: StyleArgs,

    /// Where it is laid on.
    #[command(flatten)]
    pub mask: MaskArgs,

    /// What holds frames together.
    #[command(flatten)]
    pub temporal: TemporalArgs,

    /// The input is raw video of this layout and no y4m
    #[arg(long, value_name = "LAYOUT", value_parser = parse_raw_layout(), requires_all = ["size", "rate"], help_heading = "Stream")]
    pub raw: Option<PictureLayout>,

    /// Size of the pictures of raw video
    #[arg(long, value_name = "WxH", requires = "raw", help_heading = "Stream")]
    pub size: Option<FrameSize>,

    /// Frames a second of raw video: 25 or 30000/1001
    #[arg(long, value_name = "N/D", requires = "raw", value_parser = parse_rate, help_heading = "Stream")]
    pub rate: Option<Rational>,

    /// How the frames are written: y4m, or raw video of a layout [default: as they come in]
    #[arg(long, value_name = "FORMAT", value_parser = parse_output_format(), help_heading = "Stream")]
    pub output_format: Option<OutputFormat>,

    /// Which YCbCr the pictures are, as no stream says [default: bt709 from 1280 columns or 577 lines up, else bt601]
    #[arg(long, value_name = "MATRIX", value_parser = parse_matrix(), help_heading = "Stream")]
    pub matrix: Option<Matrix>,

    /// Whether black is 16 or 0 [default: what the header says, else limited]
    #[arg(long, value_name = "RANGE", value_parser = parse_range(), help_heading = "Stream")]
    pub range: Option<ColorRange>,

    /// How the work is spread.
    #[command(flatten)]
    pub run: RunArgs,

    /// Show what each stage did with its time
    #[arg(long)]
    pub stats: bool,

    /// Say nothing but errors
    #[arg(short, long)]
    pub quiet: bool,
}

/// How a pipe's frames are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputFormat {
    /// With a header and a line before each frame.
    Y4m,
    /// Nothing but pictures.
    Raw(PictureLayout),
}

fn parse_raw_layout() -> impl TypedValueParser<Value = PictureLayout> {
    parse_word(PictureLayout::RAW.to_vec())
}

fn parse_output_format() -> impl TypedValueParser<Value = OutputFormat> {
    let raw = PictureLayout::RAW.into_iter().map(|(name, layout)| (name, OutputFormat::Raw(layout)));
    parse_word(std::iter::once(("y4m", OutputFormat::Y4m)).chain(raw).collect())
}

fn parse_matrix() -> impl TypedValueParser<Value = Matrix> {
    parse_word(Matrix::NAMES.to_vec())
}

fn parse_range() -> impl TypedValueParser<Value = ColorRange> {
    parse_word(ColorRange::NAMES.to_vec())
}

fn parse_rate(text: &str) -> Result<Rational, String> {
    let (numerator, denominator) = text.split_once(['/', ':']).unwrap_or((text, "1"));
    match (numerator.parse::<i32>(), denominator.parse::<i32>()) {
        (Ok(numerator), Ok(denominator)) if numerator > 0 && denominator > 0 => Ok(Rational(numerator, denominator)),
        _ => Err("expected frames a second, for example 25 or 30000/1001".to_owned()),
    }
}
