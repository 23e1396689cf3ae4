//! What networks run on, for every command that runs one.

use clap::{Args, ValueHint};

use super::parse_word;
use crate::commands::NetworkChoice;
use crate::runtime::{DeviceChoice, Precision, ProviderLibrary};

/// What networks run on.
#[derive(Debug, Clone, Default, Args)]
pub struct DeviceArgs {
    /// What networks run on: auto, cpu, cuda, tensorrt, openvino, webgpu, coreml or directml; cuda:1 is the second GPU, cuda:0,1
    /// both at one time, for clips
    ///
    /// auto, the default, takes the best that works: CUDA, CoreML, DirectML, OpenVINO, WebGPU, the processor. A device works if ONNX Runtime
    /// gives it nodes of the network and it paints a trial picture as the processor does. One that is asked for is taken or an
    /// error with the reason. `impasto doctor` tells which there are and what the others lack.
    #[arg(long, value_name = "DEVICE", help_heading = "Speed")]
    pub device: Option<DeviceChoice>,

    /// Load a plug-in for ONNX Runtime and run networks on its device; --device NAME:N takes its device number N
    ///
    /// The file comes from packages like onnxruntime-ep-webgpu or onnxruntime-ep-openvino of PyPI. NAME is free to choose.
    #[arg(long, value_name = "NAME=PATH", value_hint = ValueHint::Other, help_heading = "Speed")]
    pub provider_library: Option<ProviderLibrary>,
}

/// Which of the bundled networks, for the commands that paint or learn with one.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct NetworkArgs {
    /// Which of impasto's two networks: auto, lite or full
    ///
    /// Both have all styles. lite is made for processors; full has seven times the work for a pixel, and is made for GPUs. auto, the default,
    /// takes full where networks run on a GPU (CUDA, TensorRT, CoreML, DirectML, WebGPU, or a plug-in that says so) and lite elsewhere; a
    /// learnt style takes the network that it was learnt for.
    #[arg(long, value_name = "NETWORK", default_value = "auto", value_parser = parse_word(NetworkChoice::NAMES.to_vec()), help_heading = "Speed")]
    pub network: NetworkChoice,
}

/// How exactly a network calculates, for the commands that paint with one.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct PrecisionArgs {
    /// How exactly a network calculates: auto, fp32, fp16 or int8
    ///
    /// int8 takes the convolutions of lite in 8-bit integers: twice as fast on a processor with VNNI, and 1 to 3 of 255 levels away; full,
    /// networks of others and styles in full depth have no such form. fp16 takes floats of 16 bits, which GPUs are fast at. auto takes
    /// int8 on such a processor, and fp16 with CUDA and TensorRT where it paints the same picture within 2 levels.
    #[arg(long, value_name = "PRECISION", default_value = "auto", value_parser = parse_word(Precision::NAMES.to_vec()), help_heading = "Speed")]
    pub precision: Precision,
}
