//! What networks run on, for every command that runs one.

use clap::{Args, ValueHint};

use crate::runtime::{DeviceChoice, ProviderLibrary};

/// What networks run on.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Speed")]
pub struct DeviceArgs {
    /// What networks run on: auto, cpu, cuda, tensorrt, openvino, webgpu, coreml or directml; cuda:1 is the second GPU
    ///
    /// auto, the default, takes the best that works: CUDA, CoreML, DirectML, OpenVINO, WebGPU, the processor. A device works if ONNX Runtime
    /// gives it nodes of the network and it paints a trial picture as the processor does. One that is asked for is taken or an
    /// error with the reason. `impasto doctor` tells which there are and what the others lack.
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<DeviceChoice>,

    /// Load a plug-in for ONNX Runtime and run networks on its device; --device NAME:N takes its device number N
    ///
    /// The file comes from packages like onnxruntime-ep-webgpu or onnxruntime-ep-openvino of PyPI. NAME is free to choose.
    #[arg(long, value_name = "NAME=PATH", value_hint = ValueHint::Other)]
    pub provider_library: Option<ProviderLibrary>,
}
