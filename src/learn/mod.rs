//! A new style for a network that is there: everything is frozen but the row that the style gets in each table.
//!
//! Dumoulin et al. 2017 ("A Learned Representation for Artistic Style", section 3.2) fit only the scales and shifts of a network
//! with conditional instance normalization to a new painting, in an eighth of the steps of a whole training. Here that is one
//! ONNX graph: two views of a photo go through the frozen network, the losses of its training are taken from what comes out,
//! their gradient goes back to the row, and Adam moves it. The parts in reading order: [`network`] the frozen network as a part
//! of graphs, [`loss`] what is asked of it, [`photos`] what it is fitted on, [`views`] two crops of a photo and how they are moved
//! against each other, `step` a step, [`judge`] the loss on photos that no step sees, [`start`] the blend of styles to begin with,
//! [`fitting`] the whole, [`state`] what an interrupted one goes on from.
//!
//! This room knows nothing of files that a user names, nor of the terminal.

pub mod fitting;
pub mod judge;
pub mod loss;
pub mod network;
pub mod photos;
pub mod start;
pub mod state;
mod step;
pub mod views;

pub use fitting::{Check, Fitting, FittingSettings, Step};
pub use judge::{Judge, Painter};
pub use loss::{PaintingTarget, StyleLoss};
pub use network::FrozenNetwork;
pub use photos::PhotoSet;
pub use state::State;
pub use step::{Memory, StepLosses};
