//! The command line: definitions and nothing else. What the arguments mean together is checked in [`crate::commands`].

mod device;
mod doctor;
mod film;
mod learn;
mod live;
mod paint;
mod styles;

use std::num::NonZeroU64;
use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueHint};

use crate::frame::FrameSize;
use crate::media::{ColorRange, Matrix, PictureLayout, Rational, Time};
use crate::stills::StillFormat;
use crate::temporal::PropagationSettings;
pub use device::{DeviceArgs, PrecisionArgs};
pub use doctor::DoctorArgs;
pub use film::{FilmArgs, VideoEngine};
pub use learn::LearnArgs;
pub use live::{LiveArgs, QualityMode};
pub use paint::{PaintArgs, PaintObjectiveArgs, PaintReportArgs, PaintSearchArgs};
pub use styles::{SheetArgs, StylesAddArgs, StylesArgs, StylesCommand, StylesRemoveArgs, StylesShowArgs};

/// Turns video into moving paintings
///
/// impasto stylizes video files and cameras with neural networks: each frame is repainted in the style of a painting, while
/// timestamps, sound, subtitles and colours stay as they were.
#[derive(Debug, Parser)]
#[command(name = "impasto", version, disable_help_subcommand = true, max_term_width = 110)]
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
    /// Stylize a video file
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

    /// The painting for a network that takes its style from a picture
    #[arg(long, value_name = "IMAGE", value_hint = ValueHint::FilePath, help_heading = "Style")]
    pub style_image: Option<PathBuf>,

    /// How much of the style: 0 is the input, 1 the whole style
    #[arg(long, value_name = "0..1", default_value_t = 1.0, value_parser = parse_fraction, help_heading = "Style")]
    pub strength: f32,

    /// Keep the colours of the input: only lightness is painted
    #[arg(long, help_heading = "Style")]
    pub keep_color: bool,

    /// Shorter side, in pixels, of the picture that the network sees
    ///
    /// Smaller is faster and paints with broader strokes. Larger frames are scaled down to it and back up, guided by
    /// the detail of the input; the output keeps the input's size.
    #[arg(long, value_name = "PIXELS", default_value_t = crate::commands::DEFAULT_WORK_SIZE, value_parser = clap::value_parser!(u32).range(16..=8192), help_heading = "Style")]
    pub work_size: u32,

    /// How exactly the network calculates.
    #[command(flatten)]
    pub precision: PrecisionArgs,
}

/// What holds painted frames together over time.
#[derive(Debug, Args)]
pub struct TemporalArgs {
    /// Hold painted frames still where the scene holds still: time constant in seconds, 0 turns it off
    #[arg(long, value_name = "SECONDS", default_value_t = crate::commands::DEFAULT_SMOOTHING, value_parser = parse_seconds, help_heading = "Time")]
    pub smooth: f32,

    /// Paint as little as one frame in N (or auto) and carry it along the motion where that explains the frames between
    ///
    /// A frame that motion does not explain, a new scene first of all, is painted all the same. Calm clips take less than
    /// half the time. 1 paints every frame.
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
    #[arg(long, value_name = "NUMBER", value_parser = parse_crf, help_heading = "Encoding")]
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
  impasto video in.mp4 -o out.mp4 --engine gatys --style painting.jpg")]
pub struct VideoArgs {
    /// The video to stylize: any file that FFmpeg reads
    #[arg(value_hint = ValueHint::FilePath)]
    pub input: PathBuf,

    /// The file to write; its extension chooses the container (.mp4, .mkv, .mov, .webm, .gif)
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: PathBuf,

    /// Replace the output if it exists
    #[arg(short = 'y', long = "yes")]
    pub overwrite: bool,

    /// Which style.
    #[command(flatten)]
    pub style: StyleArgs,

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
    #[arg(long, value_name = "COUNT", help_heading = "Part", value_parser = clap::value_parser!(u64).range(1..))]
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

    /// Exit with 0 even if the input is damaged, once what can be decoded is stylized
    #[arg(long)]
    pub keep_going: bool,

    /// Show what each stage did with its time
    #[arg(long)]
    pub stats: bool,

    /// Say nothing but errors
    #[arg(short, long)]
    pub quiet: bool,

    /// Print one summary in JSON on stdout
    #[arg(long)]
    pub json: bool,
}

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

/// `impasto image`.
#[derive(Debug, Args)]
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
    #[arg(long, value_name = "1..100", default_value_t = 92, value_parser = clap::value_parser!(u8).range(1..=100))]
    pub quality: u8,

    /// A style's name, a blend like wave:0.6,scream:0.4, a learnt style (.style), or the path of a network (.onnx); can be
    /// given several times
    ///
    /// `impasto styles` lists the names; the first of them is the default. The same words as for `impasto video`.
    #[arg(short, long = "style", value_name = "STYLE", help_heading = "Style")]
    pub styles: Vec<String>,

    /// The painting for a network that takes its style from a picture
    #[arg(long, value_name = "IMAGE", value_hint = ValueHint::FilePath, help_heading = "Style")]
    pub style_image: Option<PathBuf>,

    /// How much of the style: 0 is the input, 1 the whole style
    #[arg(long, value_name = "0..1", default_value_t = 1.0, value_parser = parse_fraction, help_heading = "Style")]
    pub strength: f32,

    /// Keep the colours of the input: only lightness is painted
    #[arg(long, help_heading = "Style")]
    pub keep_color: bool,

    /// Shorter side, in pixels, of the picture that the network sees
    ///
    /// Smaller is faster and paints with broader strokes. Larger pictures are scaled down to it and back up, guided by
    /// their detail.
    #[arg(long, value_name = "PIXELS", default_value_t = crate::commands::DEFAULT_WORK_SIZE, value_parser = clap::value_parser!(u32).range(16..=8192), help_heading = "Style")]
    pub work_size: u32,

    /// How exactly the network calculates.
    #[command(flatten)]
    pub precision: PrecisionArgs,

    /// Threads of the network [default: one a core]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1024), help_heading = "Speed")]
    pub threads: Option<u32>,

    /// What the network runs on.
    #[command(flatten)]
    pub device: DeviceArgs,
}

/// `impasto measure`.
#[derive(Debug, Args)]
#[command(after_help = "\
Measured are: the warping error (Lai et al. 2018), the mean squared difference (RGB in 0-1) of each frame and the next \
one moved onto it by the input's motion, where that motion is certain; e_stab, its square root; flicker, the standard \
deviation over time (levels of 0-255) where the input is at rest; sharpness, the variance of the Laplacian. With a \
reference also the drift, the mean of output minus reference; with known flow as well the ghost, how far the two differ \
where something comes into view. Pairs of \
frames across a scene cut of the input are left out. A blurred clip is steady: look at the sharpness too.

Examples:
  impasto measure in.mp4 painted.mp4
  impasto measure in.mp4 painted.mp4 --reference frame-by-frame.mp4 --plot error.png
  impasto measure in.mp4 painted.mp4 --style great-wave --loss-every 1 --csv
  impasto measure clean/alley_1 painted/alley_1 --flow flow/alley_1 --json")]
pub struct MeasureArgs {
    /// What was painted: a video file, or a folder of PNG or JPEG pictures, taken by name (frame_9 before frame_10)
    #[arg(value_hint = ValueHint::AnyPath)]
    pub input: PathBuf,

    /// What was made of it, frame by frame in the same size: a file or folder as well
    #[arg(value_hint = ValueHint::AnyPath)]
    pub output: PathBuf,

    /// What the output is compared with: the same clip painted another way, usually each frame for itself
    #[arg(long, value_name = "CLIP", value_hint = ValueHint::AnyPath)]
    pub reference: Option<PathBuf>,

    /// The style that was wanted: tell how much of it the clip took, and how much of its content it kept
    ///
    /// The name of a style (`impasto styles` lists them) or a picture of a painting. Losses of VGG-16's features. Style: relative
    /// errors of the Gram matrices, summed over four layers; a photo has about 5. Content: relative error at relu2_2.
    #[arg(long, value_name = "STYLE|IMAGE", value_hint = ValueHint::FilePath)]
    pub style: Option<PathBuf>,

    /// Judge the style on one frame in so many: 1 for every frame [default: 24 frames at most, evenly over the clip]
    ///
    /// At 640x360 on two cores each takes 1.2 seconds, or 1.9 with a reference.
    #[arg(long, value_name = "FRAMES", requires = "style")]
    pub loss_every: Option<NonZeroU64>,

    /// What judges the style.
    #[command(flatten)]
    pub device: DeviceArgs,

    /// Take the input's motion from .flo files (Middlebury, MPI Sintel) instead of estimating it
    ///
    /// One file, by name, from each frame to the next. Masks named "occlusions" and "invalid" are used where they lie:
    /// as folders of pictures named like the flows, in DIR or as in MPI Sintel (occlusions/SCENE for flow/SCENE), or as
    /// occlusions.png and invalid.png beside a single flow. White does not count.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub flow: Option<PathBuf>,

    /// List each frame in the table, too
    #[arg(long)]
    pub per_frame: bool,

    /// Print everything, in all and frame by frame, in JSON on stdout
    #[arg(long, conflicts_with_all = ["csv", "per_frame"])]
    pub json: bool,

    /// Print a line a frame in CSV on stdout
    #[arg(long, conflicts_with = "per_frame")]
    pub csv: bool,

    /// Draw the warping error over time into this picture, and the losses if a style is judged
    #[arg(long, value_name = "FILE.png", value_hint = ValueHint::FilePath)]
    pub plot: Option<PathBuf>,

    /// Replace the picture if it exists
    #[arg(short = 'y', long = "yes", requires = "plot")]
    pub overwrite: bool,

    /// Say nothing but errors
    #[arg(short, long)]
    pub quiet: bool,
}

/// How the work is spread.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Threads of the network, and of the decoder and the encoder each [default: one a core]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1024), help_heading = "Speed")]
    pub threads: Option<u32>,

    /// Frames that may wait between two stages
    #[arg(long, value_name = "FRAMES", default_value_t = crate::commands::DEFAULT_QUEUE, value_parser = clap::value_parser!(u32).range(0..=64), help_heading = "Speed")]
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
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(2..=100_000))]
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

fn parse_fraction(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(value) if (0.0..=1.0).contains(&value) => Ok(value),
        _ => Err("expected a number from 0 to 1".to_owned()),
    }
}

fn parse_seconds(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(value) if (0.0..=60.0).contains(&value) => Ok(value),
        _ => Err("expected a number of seconds from 0 to 60".to_owned()),
    }
}

/// A number above 0, up to a day in seconds.
fn parse_positive<N: std::str::FromStr + Into<f64> + Copy>(text: &str) -> Result<N, String> {
    match text.parse::<N>() {
        Ok(value) if (1e-3..=86_400.0).contains(&value.into()) => Ok(value),
        _ => Err("expected a number above 0".to_owned()),
    }
}

fn parse_stride(text: &str) -> Result<u32, String> {
    match text.parse() {
        _ if text == "auto" => Ok(PropagationSettings::AUTO_STRIDE),
        Ok(stride @ 1..=250) => Ok(stride),
        _ => Err("expected auto or a number of frames from 1 to 250".to_owned()),
    }
}

fn parse_crf(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(value) if (0.0..=255.0).contains(&value) => Ok(value),
        _ => Err("expected a number from 0 to 255".to_owned()),
    }
}

/// A word of a list, for what it stands.
fn parse_word<T: Copy + Send + Sync + 'static>(words: Vec<(&'static str, T)>) -> impl TypedValueParser<Value = T> {
    let names = PossibleValuesParser::new(words.iter().map(|(name, _)| *name));
    names.try_map(move |given| {
        words.iter().find(|(name, _)| *name == given).map(|(_, value)| *value).ok_or("expected one of the list")
    })
}

fn parse_raw_layout() -> impl TypedValueParser<Value = PictureLayout> {
    parse_word(PictureLayout::RAW.to_vec())
}

fn parse_matrix() -> impl TypedValueParser<Value = Matrix> {
    parse_word(Matrix::NAMES.to_vec())
}

fn parse_range() -> impl TypedValueParser<Value = ColorRange> {
    parse_word(ColorRange::NAMES.to_vec())
}

fn parse_output_format() -> impl TypedValueParser<Value = OutputFormat> {
    let raw = PictureLayout::RAW.into_iter().map(|(name, layout)| (name, OutputFormat::Raw(layout)));
    parse_word(std::iter::once(("y4m", OutputFormat::Y4m)).chain(raw).collect())
}

fn parse_still_format() -> impl TypedValueParser<Value = StillFormat> {
    parse_word(StillFormat::NAMES.to_vec())
}

fn parse_rate(text: &str) -> Result<Rational, String> {
    let (numerator, denominator) = text.split_once(['/', ':']).unwrap_or((text, "1"));
    match (numerator.parse::<i32>(), denominator.parse::<i32>()) {
        (Ok(numerator), Ok(denominator)) if numerator > 0 && denominator > 0 => Ok(Rational(numerator, denominator)),
        _ => Err("expected frames a second, for example 25 or 30000/1001".to_owned()),
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
