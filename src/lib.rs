//! impasto turns video into moving paintings: neural style transfer for files.
//!
//! The modules in reading order follow a frame on its way: [`frame`], [`runtime`], [`onnx`], [`style`].

pub mod frame;
pub mod onnx;
pub mod runtime;
pub mod style;
