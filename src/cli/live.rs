//! The arguments of `impasto live`.

use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};

use super::DeviceArgs;
use super::{EncodingArgs, POSITIVE, POSITIVE_EXACT, StyleArgs, TemporalArgs, number, whole_number};
use crate::frame::FrameSize;
use crate::media::StreamTarget;

/// `impasto live`.
#[derive(Debug, Args)]
#[command(after_help = crate::commands::live_keys_help())]
pub struct LiveArgs {
    /// A camera's number, device path, name or part of its name; an address (RTSP, HTTP); a GStreamer pipeline; a video file
    ///
    /// A file is played over and over in its own time.
    #[arg(long, value_name = "CAMERA", default_value = "0", value_hint = ValueHint::AnyPath, help_heading = "Camera")]
    pub camera: String,

    /// List the cameras of this machine with their modes, and end
    #[arg(long, help_heading = "Camera")]
    pub list_cameras: bool,

    /// Ask the camera for pictures of this size
    #[arg(long, value_name = "WxH", help_heading = "Camera")]
    pub size: Option<FrameSize>,

    /// Ask the camera for so many frames a second; also what --quality auto holds
    #[arg(long, value_name = "NUMBER", value_parser = number(POSITIVE_EXACT), help_heading = "Camera")]
    pub fps: Option<f64>,

    /// Wait for a camera that is not there, or not there any more, and go on
    #[arg(long, help_heading = "Camera")]
    pub reconnect: bool,

    /// How long a camera may give no picture before it counts as lost
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0, value_parser = number(POSITIVE), help_heading = "Camera")]
    pub camera_timeout: f32,

    /// Left and right change places
    #[arg(long, help_heading = "Camera")]
    pub mirror: bool,

    /// Which style.
    #[command(flatten)]
    pub style: StyleArgs,

    /// What holds frames together.
    #[command(flatten)]
    pub temporal: TemporalArgs,

    /// full: the working size stays; auto: it shrinks as far as the frame rate needs, and grows again
    #[arg(long, value_name = "MODE", value_enum, default_value_t = QualityMode::Full, help_heading = "Speed")]
    pub quality: QualityMode,

    /// Threads of the network, and of the encoders each [default: one a core]
    #[arg(long, value_name = "COUNT", value_parser = whole_number(1_u32..=1024), help_heading = "Speed")]
    pub threads: Option<u32>,

    /// What the network runs on.
    #[command(flatten)]
    pub device: DeviceArgs,

    /// Open no window: for machines without a screen
    #[arg(long, help_heading = "Window")]
    pub no_window: bool,

    /// Show figures over the picture from the start (key: o)
    #[arg(long, help_heading = "Window")]
    pub overlay: bool,

    /// Record what is painted; the file plays even if the program is killed
    #[arg(long, value_name = "FILE.mkv", value_hint = ValueHint::FilePath, help_heading = "Outputs")]
    pub record: Option<PathBuf>,

    /// Replace the recording if it exists
    #[arg(short = 'y', long = "yes", requires = "record", help_heading = "Outputs")]
    pub overwrite: bool,

    /// Give the pictures to a v4l2loopback device, from which meeting programs take them
    #[arg(long, value_name = "/dev/videoN", value_hint = ValueHint::FilePath, help_heading = "Outputs")]
    pub virtual_camera: Option<PathBuf>,

    /// Stream to udp://, srt://, tcp://, rtp:// (MPEG-TS), rtmp:// or rtmps:// (H.264 without delay)
    #[arg(long, value_name = "URL", help_heading = "Outputs")]
    pub stream: Option<StreamTarget>,

    /// Rate of the stream [default: by size and frame rate]
    #[arg(long, value_name = "KBIT/S", requires = "stream", value_parser = whole_number(50_u32..=1_000_000), help_heading = "Outputs")]
    pub stream_bitrate: Option<u32>,

    /// How the recording is encoded.
    #[command(flatten)]
    pub encoding: EncodingArgs,

    /// End after so many seconds, counted from the first picture; with --reconnect the first one is waited for no longer than that
    #[arg(long, value_name = "SECONDS", value_parser = number(POSITIVE), help_heading = "End")]
    pub duration: Option<f32>,

    /// End after so many frames
    #[arg(long, value_name = "COUNT", value_parser = whole_number(1_u64..), help_heading = "End")]
    pub frames: Option<u64>,

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

/// How the working size is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum QualityMode {
    /// As asked for.
    Full,
    /// As large as the frame rate allows.
    Auto,
}
