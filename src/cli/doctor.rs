//! The arguments of `impasto doctor`.

use clap::{Args, ValueHint};

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

    /// The style whose network the engine is for [default: the bundled network]
    #[arg(long, value_name = "STYLE", requires = "build")]
    pub style: Option<String>,

    /// The GPU that the engine is for
    #[arg(long, value_name = "DEVICE", default_value = "tensorrt", requires = "build")]
    pub device: DeviceChoice,

    /// Print everything in JSON on stdout
    #[arg(long)]
    pub json: bool,
}
