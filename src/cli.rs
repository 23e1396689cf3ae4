//! The command line: definitions and nothing else. What the arguments mean together is checked in [`crate::commands`].

mod device;
mod doctor;
mod film;
mod image;
mod learn;
mod live;
mod mask;
mod measure;
mod paint;
mod pipe;
mod styles;

use std::fmt::Display;
use std::ops::{Bound, RangeBounds, RangeInclusive};
use std::path::PathBuf;
use std::str::FromStr;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueHint};

use crate::frame::FrameSize;
use crate::media::Time;
use crate::temporal::PropagationSettings;
pub use device::{DeviceArgs, NetworkArgs, PrecisionArgs};
pub use doctor::DoctorArgs;
pub use film::{FilmArgs, VideoEngine};
pub use image::ImageArgs;
pub use learn::LearnArgs;
pub use live::{LiveArgs, QualityMode};
pub use mask::MaskArgs;
pub use measure::MeasureArgs;
pub use paint::{PaintArgs, PaintObjectiveArgs, PaintReportArgs, PaintSearchArgs};
pub use pipe::{OutputFormat, PipeArgs};
pub use styles::{SheetArgs, StylesAddArgs, StylesArgs, StylesCommand, StylesRemoveArgs, StylesShowArgs};

/// Turns video into moving paintings
///
/// impasto stylizes video files and cameras with neural networks: each frame is repainted in the style of a painting, while
/// timestamps, sound, subtitles and colours stay as they were.
#[derive(Debug, Parser)]
#[command(name = "impasto", version, max_term_width = 110, mut_subcommands = take_negative_numbers)]
pub struct Cli {
    /// Say more about what happens; twice for everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,

    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Stylize video files
    Video(VideoArgs),
    /// Stylize a camera: in a window, into a recording, a stream, a virtual camera
    Live(LiveArgs),
    /// Stylize uncompressed video from stdin to stdout, between two ffmpeg or from VapourSynth
    Pipe(PipeArgs),
    /// Stylize pictures: files, folders, or from stdin to stdout
    Image(ImageArgs),
    /// Paint one picture in the style of any painting by optimization (Gatys et al.): minutes, and the best quality
    Paint(PaintArgs),
    /// Learn a painting as a style that is painted in real time: minutes once, then as fast as any other
    Learn(LearnArgs),
    /// Measure how steady and how sharp a painted clip is
    Measure(MeasureArgs),
    /// List the styles that there are, keep those that you learnt, or show a picture in all of them
    Styles(StylesArgs),
    /// Measure the network, each stage and the whole chain on this machine
    Bench(BenchArgs),
    /// Tell what can be used on this machine (devices, codecs, cameras, models), and what to do where something cannot
    Doctor(DoctorArgs),
    /// Print a completion script for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page (roff)
    Man,
}

/// Which style, and how it is applied.
#[derive(Debug, Args)]
pub struct StyleArgs {
    /// A style's name, a blend like wave:0.6,scream:0.4, a learnt style (.style), or the path of a network (.onnx)
    ///
    /// `impasto styles` lists the names; the first of them is the default. A network of others is described by a .toml
    /// file beside it or by its own metadata; what neither says is found out by trying and reported. NETWORK.onnx#NAME
    /// or NETWORK.onnx#2 picks one of several styles in a network.
    #[arg(short, long, value_name = "STYLE", help_heading = "Style")]
    pub style: Option<String>,

    /// How it is applied.
    #[command(flatten)]
    pub look: LookArgs,
}

/// How a style is applied.
#[derive(Debug, Clone, Args)]
pub struct LookArgs {
    /// The painting for a network that takes its style from a picture
    #[arg(long, value_name = "IMAGE", value_hint = ValueHint::FilePath, help_heading = "Style")]
    pub style_image: Option<PathBuf>,

    /// How much of the style: 0 is the input, 1 the whole style
    #[arg(long, value_name = "0..1", default_value_t = 1.0, value_parser = number(0.0..=1.0_f32), help_heading = "Style")]
    pub strength: f32,

    /// Keep the colours of the input: only lightness is painted
    #[arg(long, help_heading = "Style")]
    pub keep_color: bool,

    /// Shorter side, in pixels, of the picture that the network sees
    ///
    /// Smaller is faster and paints with broader strokes. Larger pictures are scaled down to it and back up, guided
    /// by their detail; the output keeps the input's size.
    #[arg(long, value_name = "PIXELS", default_value_t = crate::commands::DEFAULT_WORK_SIZE, value_parser = whole_number(16_u32..=8192), help_heading = "Style")]
    pub work_size: u32,

    /// Which network.
    #[command(flatten)]
    pub network: NetworkArgs,

    /// How exactly the network calculates.
    #[command(flatten)]
    pub precision: PrecisionArgs,
}

/// What holds painted frames together over time.
#[derive(Debug, Args)]
pub struct TemporalArgs {
    /// Hold painted frames still where the scene holds still: time constant in seconds, 0 turns it off
    #[arg(long, value_name = "SECONDS", default_value_t = crate::commands::DEFAULT_SMOOTHING, value_parser = number(0.0..=60.0_f32), help_heading = "Time")]
    pub smooth: f32,

    /// Paint as little as one frame in N (or auto) and carry it along the motion where that explains the frames between
    ///
    /// A frame that motion does not explain, a new scene first of all, is painted all the same. Calm clips take less than
    /// half the time. 1 paints every frame that differs from the one before.
    #[arg(long, value_name = "auto|N", default_value = "1", value_parser = parse_stride, help_heading = "Time")]
    pub stride: u32,
}

/// How the pictures are encoded.
#[derive(Debug, Args)]
pub struct EncodingArgs {
    /// h264, hevc, av1, vp9, prores, ffv1, gif, or the name of one of FFmpeg's encoders
    ///
    /// Default: h264, or what the container is made for (vp9 in .webm, gif in .gif).
    #[arg(long, value_name = "CODEC", help_heading = "Encoding")]
    pub codec: Option<String>,

    /// Constant rate factor: lower is better and larger (h264: 0 to 51, default 18)
    #[arg(long, value_name = "NUMBER", value_parser = number(0.0..=255.0_f32), help_heading = "Encoding")]
    pub crf: Option<f32>,

    /// The encoder's preset: speed against size (h264: ultrafast to veryslow, default veryfast)
    #[arg(long, value_name = "NAME", help_heading = "Encoding")]
    pub preset: Option<String>,

    /// FFmpeg's name of a pixel format (default: yuv420p where it fits)
    #[arg(long, value_name = "NAME", help_heading = "Encoding")]
    pub pixel_format: Option<String>,

    /// One more option of the encoder, as `ffmpeg -h encoder=NAME` lists them; can be given several times
    #[arg(long = "encoder-option", value_name = "KEY=VALUE", value_parser = parse_key_value, help_heading = "Encoding")]
    pub encoder_options: Vec<(String, String)>,
}

/// `impasto video`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  impasto video in.mp4 -o out.mp4 --style great-wave
  impasto video in.mp4 -o out.mkv --style wave:0.6,scream:0.4 --keep-color
  impasto video in.mov -o out.webm --start 0:30 --end 1:00 --strength 0.7
  impasto video in.mp4 -o out.mp4 --style candy.onnx --work-size 480
  impasto video in.mp4 -o out.mp4 --style great-wave --mask person.mp4 --invert-mask
  impasto video in.mp4 -o out.mp4 --style great-wave --resume
  impasto video holidays -o painted --extension mp4 --style great-wave
  impasto video in.mp4 -o out.mp4 --engine gatys --style painting.jpg")]
pub struct VideoArgs {
    /// The video to stylize, any file that FFmpeg reads; or several, folders with all that is in them, patterns like '*.mp4'
    #[arg(required = true, value_hint = ValueHint::AnyPath)]
    pub inputs: Vec<PathBuf>,

    /// The file to write; its extension chooses the container (.mp4, .mkv, .mov, .webm, .gif); or a folder
    ///
    /// For several videos, and with a / at its end, it is a folder: videos keep their names, and below a folder their places.
    #[arg(short, long, value_name = "FILE|FOLDER", value_hint = ValueHint::AnyPath)]
    pub output: PathBuf,

    /// The extension of outputs in a folder, which chooses their container [default: that of each video]
    #[arg(long, value_name = "EXTENSION", value_parser = parse_extension, help_heading = "Encoding")]
    pub extension: Option<String>,

    /// Replace the output if it exists
    #[arg(short = 'y', long = "yes")]
    pub overwrite: bool,

    /// Go on where a run of the same command was interrupted; begin where there is nothing to go on with
    ///
    /// Until the output is complete, OUTPUT.state keeps what is encoded: Ctrl-C, an error, a crash or a power cut leave it
    /// there. Only some seconds before the seam are painted again. Films (--engine gatys) go on by themselves. Of several videos
    /// those whose outputs are complete are passed by.
    #[arg(long)]
    pub resume: bool,

    /// Which style.
    #[command(flatten)]
    pub style: StyleArgs,

    /// Where it is laid on.
    #[command(flatten)]
    pub mask: MaskArgs,

    /// What holds frames together.
    #[command(flatten)]
    pub temporal: TemporalArgs,

    /// Films from optimized keyframes.
    #[command(flatten)]
    pub film: FilmArgs,

    /// How it is encoded.
    #[command(flatten)]
    pub encoding: EncodingArgs,

    /// Leave out what comes before this time, counted from the first frame (12.5, 1:30, 0:01:30.25)
    #[arg(long, value_name = "TIME", help_heading = "Part")]
    pub start: Option<Time>,

    /// Leave out what comes from this time on
    #[arg(long, value_name = "TIME", help_heading = "Part")]
    pub end: Option<Time>,

    /// Stop after this many frames
    #[arg(long, value_name = "COUNT", help_heading = "Part", value_parser = whole_number(1_u64..))]
    pub frames: Option<u64>,

    /// Leave out the sound
    #[arg(long, help_heading = "Part")]
    pub mute: bool,

    /// How the work is spread.
    #[command(flatten)]
    pub run: RunArgs,

    /// Write a second video for tuning: input, flow, confidence / painted, smoothed, difference
    ///
    /// Flow as colors (hue: where a place comes from; full color: 12 cells of 320 and more), confidence white, the painted
    /// frame before smoothing (black where it was carried), the output, and the difference of the two fourfold.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub debug_view: Option<PathBuf>,

    /// Exit with 0 even if the input or its mask is damaged, once what can be decoded is stylized
    #[arg(long)]
    pub keep_going: bool,

    /// Show what each stage did with its time
    #[arg(long)]
    pub stats: bool,

    /// Say nothing but errors
    #[arg(short, long)]
    pub quiet: bool,

    /// Print a summary in JSON on stdout, on a line for each video
    #[arg(long)]
    pub json: bool,
}

/// How the work is spread.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Threads of the network, and of the decoder, the smoothing and the encoder each [default: one a core]
    #[arg(long, value_name = "COUNT", value_parser = whole_number(1_u32..=1024), help_heading = "Speed")]
    pub threads: Option<u32>,

    /// Networks that paint at one time on each device [default: three on a GPU; on the processor one for each core, up to 4, as far
    /// as memory goes]
    ///
    /// They share the threads, and each takes memory of its own. Frames come out in their order.
    #[arg(long, value_name = "COUNT", value_parser = whole_number(1_u32..=64), help_heading = "Speed")]
    pub parallel: Option<u32>,

    /// Frames that may wait between two stages
    #[arg(long, value_name = "FRAMES", default_value_t = crate::commands::DEFAULT_QUEUE, value_parser = whole_number(0_u32..=64), help_heading = "Speed")]
    pub queue: u32,

    /// What the network runs on.
    #[command(flatten)]
    pub device: DeviceArgs,
}

/// `impasto bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// Measure on this clip instead of synthetic frames
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub clip: Option<PathBuf>,

    /// Size of the synthetic frames
    #[arg(long, value_name = "WxH", default_value = "640x360", conflicts_with = "clip")]
    pub size: FrameSize,

    /// Frames to measure (default: 100 synthetic ones, or the whole clip)
    #[arg(long, value_name = "COUNT", value_parser = whole_number(2_u64..=100_000))]
    pub frames: Option<u64>,

    /// Which style.
    #[command(flatten)]
    pub style: StyleArgs,

    /// What holds frames together.
    #[command(flatten)]
    pub temporal: TemporalArgs,

    /// How it is encoded.
    #[command(flatten)]
    pub encoding: EncodingArgs,

    /// How the work is spread.
    #[command(flatten)]
    pub run: RunArgs,

    /// Print the figures in JSON on stdout
    #[arg(long)]
    pub json: bool,
}

/// A negative number after an option is its value, so that whoever reads it tells which numbers it takes.
fn take_negative_numbers(command: clap::Command) -> clap::Command {
    let with_values = |arg: clap::Arg| {
        let is_option = !arg.is_positional() && arg.get_action().takes_values();
        if is_option { arg.allow_negative_numbers(true) } else { arg }
    };
    command.mut_args(with_values).mut_subcommands(take_negative_numbers)
}

/// A whole number in a range.
fn whole_number<N>(
    range: impl RangeBounds<N> + Clone + Send + Sync + 'static,
) -> impl Fn(&str) -> Result<N, String> + Clone + Send + Sync + 'static
where
    N: FromStr + PartialOrd + Display,
{
    move |text: &str| match text.parse() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => Err(match (range.start_bound(), range.end_bound()) {
            (Bound::Included(from), Bound::Included(to)) => format!("expected a whole number from {from} to {to}"),
            (Bound::Included(from), _) => format!("expected a whole number from {from} on"),
            _ => "expected a whole number".to_owned(),
        }),
    }
}

/// A number in a range.
fn number<N>(range: RangeInclusive<N>) -> impl Fn(&str) -> Result<N, String> + Clone + Send + Sync + 'static
where
    N: FromStr + PartialOrd + Display + Clone + Send + Sync + 'static,
{
    move |text: &str| match text.parse() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => Err(format!("expected a number from {} to {}", range.start(), range.end())),
    }
}

/// Seconds and what is counted like them: from a millisecond to a day.
const POSITIVE: RangeInclusive<f32> = 1e-3..=86_400.0;
/// The same for what is reckoned with more exactly.
const POSITIVE_EXACT: RangeInclusive<f64> = 1e-3..=86_400.0;

fn parse_stride(text: &str) -> Result<u32, String> {
    match text.parse() {
        _ if text == "auto" => Ok(PropagationSettings::AUTO_STRIDE),
        Ok(stride @ 1..=250) => Ok(stride),
        _ => Err("expected auto or a number of frames from 1 to 250".to_owned()),
    }
}

/// A word of a list, for what it stands.
fn parse_word<T: Copy + Send + Sync + 'static>(words: Vec<(&'static str, T)>) -> impl TypedValueParser<Value = T> {
    let names = PossibleValuesParser::new(words.iter().map(|(name, _)| *name));
    names.try_map(move |given| {
        words.iter().find(|(name, _)| *name == given).map(|(_, value)| *value).ok_or("expected one of the list")
    })
}

fn parse_extension(text: &str) -> Result<String, String> {
    let extension = text.strip_prefix('.').unwrap_or(text);
    match !extension.is_empty() && extension.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        true => Ok(extension.to_owned()),
        false => Err("expected the ending of a file's name, for example mp4".to_owned()),
    }
}

fn parse_key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE, for example tune=animation".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definitions_are_consistent() {
        Cli::command().debug_assert();
    }
}
