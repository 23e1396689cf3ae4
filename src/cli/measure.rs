//! The arguments of `impasto measure`.

use std::num::NonZeroU64;
use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::{DeviceArgs, whole_number};

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
    #[arg(long, value_name = "FRAMES", value_parser = whole_number(NonZeroU64::MIN..), requires = "style")]
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
