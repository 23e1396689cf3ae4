//! impasto turns video into moving paintings: neural style transfer for files.
//!
//! The modules in reading order follow a frame on its way: [`frame`], [`media`], [`runtime`], [`onnx`], [`style`],
//! [`pipeline`], then [`cli`], [`commands`] and [`console`] of the binary. [`stills`] are pictures in files. [`measure`]
//! judges what comes out. [`gatys`] optimizes one picture, [`learn`] fits a new style.

mod chart;
pub mod cli;
pub mod commands;
pub mod console;
mod contrast;
pub mod film;
pub mod frame;
pub mod gatys;
mod input;
pub mod learn;
mod lettering;
pub mod measure;
pub mod media;
mod memory;
pub mod motion;
pub mod onnx;
mod output;
pub mod pipeline;
pub mod runtime;
mod scale;
pub mod stills;
pub mod style;
pub mod temporal;
