//! The arguments of `impasto doctor`.

use clap::{Args, ValueHint};

use super::parse_word;
use crate::commands::NetworkChoice;
use crate::frame::FrameSize;
use crate::runtime::{DeviceChoice, ProviderLibrary};

/// `impasto doctor`.
#[derive(Debug, Args)]
#[command(after_help = "\
What can be used is marked ok, what is not there and not needed -, what is wrong !!; what is not ok comes with what to do.
Exit code: 0 where impasto can paint, 1 where it cannot.

Examples:
  impasto doctor
  impasto doctor --json
  impasto doctor --build 1920x1080
  impasto doctor --provider-library webgpu=libonnxruntime_providers_webgpu.so")]
pub struct DoctorArgs {
    /// Look at a plug-in for ONNX Runtime, too
    #[arg(long, value_name = "NAME=PATH", value_hint = ValueHint::Other)]
    pub provider_library: Option<ProviderLibrary>,

    /// Have TensorRT build its engine for frames of this size now, so that no clip has to wait for it; then nothing else is looked at
    #[arg(long, value_name = "WIDTHxHEIGHT", conflicts_with_all = ["json", "provider_library"])]
    pub build: Option<FrameSize>,

    /// The style whose network the engine is for [default: a style that comes with impasto]
    #[arg(long, value_name = "STYLE", requires = "build")]
    pub style: Option<String>,

    /// Which of impasto's two networks the engine is for: auto, lite or full; auto takes full, as clips do with TensorRT
    #[arg(long, value_name = "NETWORK", default_value = "auto", value_parser = parse_word(NetworkChoice::NAMES.to_vec()), requires = "build")]
    pub network: NetworkChoice,

    /// The GPU that the engine is for
    #[arg(long, value_name = "DEVICE", default_value = "tensorrt", requires = "build")]
    pub device: DeviceChoice,

    /// Print everything in JSON on stdout
    #[arg(long)]
    pub json: bool,
}
