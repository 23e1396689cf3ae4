//! The arguments of `impasto video` for films from optimized keyframes.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::paint::{WEIGHTS, parse_above_zero};
use super::{number, parse_word, whole_number};
use crate::film::Spacing;
use crate::gatys::Objective;

/// What paints the frames of a clip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VideoEngine {
    /// A style network, frame by frame.
    Network,
    /// Optimized keyframes, and what lies between carried along the motion.
    Gatys,
}

impl VideoEngine {
    const NAMES: [(&str, Self); 2] = [("network", Self::Network), ("gatys", Self::Gatys)];
}

/// How a film is made from optimized keyframes.
#[derive(Debug, Args)]
pub struct FilmArgs {
    /// What paints: network, or gatys: keyframes like `impasto paint`, all between carried along the motion; takes hours
    ///
    /// --style is then any painting: a picture file, or the name of a bundled style for its painting. --smooth, --stride and --work-size are
    /// the network's.
    #[arg(long, value_name = "ENGINE", default_value = "network", value_parser = parse_word(VideoEngine::NAMES.to_vec()), help_heading = "Style")]
    pub engine: VideoEngine,

    /// Frames from one keyframe to the next; auto: when a fifth of the picture is new, 16 at most [default: auto]
    ///
    /// Each scene begins with one in any case. 1 paints every frame (Ruder et al. 2016).
    #[arg(long, value_name = "auto|N", value_parser = parse_spacing, help_heading = "Optimized keyframes (--engine gatys)")]
    pub keyframes: Option<Spacing>,

    /// Gradients for a keyframe and pass; the first of a scene takes as many at each size, twice at the smallest [default: 60]
    #[arg(long, value_name = "COUNT", value_parser = whole_number(1_u64..=100_000), help_heading = "Optimized keyframes (--engine gatys)")]
    pub iterations: Option<u64>,

    /// Goes over all keyframes so many times, forward and backward in turn [default: 1]
    #[arg(long, value_name = "COUNT", value_parser = whole_number(1_u64..=100), help_heading = "Optimized keyframes (--engine gatys)")]
    pub passes: Option<u64>,

    /// Longer side of keyframes in pixels; larger clips are enlarged, guided by their detail [default: 640]
    #[arg(long, value_name = "PIXELS", value_parser = whole_number(32_u32..=8192), help_heading = "Optimized keyframes (--engine gatys)")]
    pub keyframe_size: Option<u32>,

    /// Weight of the content [default: 1]
    #[arg(long, value_name = "NUMBER", value_parser = number(WEIGHTS), help_heading = "Optimized keyframes (--engine gatys)")]
    pub content_weight: Option<f32>,

    /// Weight of the style
    #[arg(long, help = format!("Weight of the style [default: {}]", Objective::default().style_weight), value_name = "NUMBER", value_parser = number(WEIGHTS), help_heading = "Optimized keyframes (--engine gatys)")]
    pub style_weight: Option<f32>,

    /// Weight of staying near the keyframe before where the motion is sure [default: 100]
    #[arg(long, value_name = "NUMBER", value_parser = number(WEIGHTS), help_heading = "Optimized keyframes (--engine gatys)")]
    pub anchor_weight: Option<f32>,

    /// Size of the style's strokes: 1 for the painting at the size of the keyframes [default: 1]
    #[arg(long, value_name = "NUMBER", value_parser = parse_above_zero, help_heading = "Optimized keyframes (--engine gatys)")]
    pub style_scale: Option<f32>,

    /// Paints what no keyframe shows, in the keyframes' colours [default: the bundled style that is nearest to the painting]
    #[arg(long, value_name = "STYLE", help_heading = "Optimized keyframes (--engine gatys)")]
    pub fill: Option<String>,

    /// Another VGG, as for `impasto paint`
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Optimized keyframes (--engine gatys)")]
    pub vgg: Option<PathBuf>,

    /// Where finished keyframes are kept; a run that was interrupted goes on from there [default: OUTPUT.keyframes, removed at the end]
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath, help_heading = "Optimized keyframes (--engine gatys)")]
    pub work_folder: Option<PathBuf>,
}

impl FilmArgs {
    /// A flag that was given and means nothing without `--engine gatys`.
    pub fn given(&self) -> Option<&'static str> {
        let flags = [
            ("--keyframes", self.keyframes.is_some()),
            ("--iterations", self.iterations.is_some()),
            ("--passes", self.passes.is_some()),
            ("--keyframe-size", self.keyframe_size.is_some()),
            ("--content-weight", self.content_weight.is_some()),
            ("--style-weight", self.style_weight.is_some()),
            ("--anchor-weight", self.anchor_weight.is_some()),
            ("--style-scale", self.style_scale.is_some()),
            ("--fill", self.fill.is_some()),
            ("--vgg", self.vgg.is_some()),
            ("--work-folder", self.work_folder.is_some()),
        ];
        flags.into_iter().find(|(_, is_given)| *is_given).map(|(flag, _)| flag)
    }
}

fn parse_spacing(text: &str) -> Result<Spacing, String> {
    match text.parse() {
        _ if text == "auto" => Ok(Spacing::Auto),
        Ok(frames @ 1..=10_000) => Ok(Spacing::Every(frames)),
        _ => Err("expected auto or a number of frames from 1 to 10000".to_owned()),
    }
}
