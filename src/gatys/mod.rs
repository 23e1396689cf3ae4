//! Optimization of a picture until its features are those of a content and of a style: the method of Gatys et al. 2016.
//!
//! Leon A. Gatys, Alexander S. Ecker and Matthias Bethge, "Image Style Transfer Using Convolutional Neural Networks". The
//! gradient is an ONNX graph that is built here, so that it runs wherever ONNX Runtime does. The parts in reading order:
//! [`vgg`] the features, [`picture`] a picture of numbers, [`objective`] what is asked of it, as a graph, [`targets`] what
//! content and style give for it, [`lbfgs`] and [`descent`] how it is approached, [`painting`] the whole from small to
//! large; [`tiles`] the same
//! gradient for pictures that do not fit into memory; [`judge`] the same losses as measures of a painting; [`match_colors`]
//! colours of one picture given to another.

mod colors;
pub mod descent;
pub mod judge;
pub mod lbfgs;
pub mod objective;
pub mod painting;
pub mod picture;
pub(crate) mod random;
mod scales;
mod stage;
pub(crate) mod statistics;
pub mod targets;
pub mod tiles;
mod tiling;
mod torch_file;
pub mod vgg;

pub use colors::match_colors;
pub use judge::{Impression, Judge};
pub use objective::{Losses, Objective, Statistics, StyleLayer};
pub use painting::{Ending, Optimizer, PaintSettings, Painting, Progress};
pub use picture::Picture;
pub use targets::Targets;
pub use vgg::{Layer, Pooling, Vgg};
