//! impasto turns video into moving paintings: neural style transfer for files.
//!
//! The modules in reading order follow a frame on its way: [`frame`], [`media`], [`runtime`], [`onnx`], [`style`],
//! [`pipeline`].

pub mod frame;
pub mod media;
pub mod onnx;
pub mod pipeline;
pub mod runtime;
pub mod style;
