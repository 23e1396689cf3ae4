//! The arguments of `impasto doctor`.

use clap::{Args, ValueHint};

use crate::runtime::ProviderLibrary;

/// `impasto doctor`.
#[derive(Debug, Args)]
#[command(after_help = "\
What can be used is marked ok, what is not there and not needed -, what is wrong !!; what is not ok comes with what to do.
Exit code: 0 where impasto can paint, 1 where it cannot.

Examples:
  impasto doctor
  impasto doctor --json
  impasto doctor --provider-library webgpu=libonnxruntime_providers_webgpu.so")]
pub struct DoctorArgs {
    /// Look at a plug-in for ONNX Runtime, too
    #[arg(long, value_name = "NAME=PATH", value_hint = ValueHint::Other)]
    pub provider_library: Option<ProviderLibrary>,

    /// Print everything in JSON on stdout
    #[arg(long)]
    pub json: bool,
}
