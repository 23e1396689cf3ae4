//! Styles: which there are, what their networks expect, and the engine that paints a frame.
//!
//! Knows frames and sessions; knows nothing of files of video, of stages or of the terminal. The parts in reading order:
//! [`spec`] is what a user writes, [`catalog`] what comes with impasto, `locate` which network paints a style, [`contract`] what a network expects, [`pixels`]
//! the way between frames and tensors, `phases` the form that a bundled network has on the processor, [`network`] one network ready to paint, [`upscale`] large frames by way of small
//! ones, [`engine`] all of it behind one call. [`tables`] is where a network keeps its styles, [`learned`] a style in a file of its
//! own, [`folder`] a folder of those.

pub mod catalog;
pub mod contract;
mod encoder;
pub mod engine;
mod evidence;
pub mod folder;
mod form;
mod frame_ports;
mod inspect;
pub mod learned;
mod locate;
mod memory;
pub mod network;
mod opening;
pub mod outer;
mod painter;
mod phases;
pub mod pixels;
mod probe;
pub mod spec;
pub mod tables;
mod tiles;
pub mod upscale;

use anyhow::Result;

pub use catalog::{Catalog, CatalogStyle};
pub use contract::NetworkContract;
pub use engine::{StyleEngine, StyleSettings};
pub use form::DeviceDiffers;
pub use learned::LearnedStyle;
pub use locate::{NetworkChoice, NetworkMisuse};
pub use network::{FramePorts, StyleNetwork, StyleOptions};
pub use pixels::Mix;
pub use spec::StyleSpec;
pub use tables::StyleTables;

use crate::frame::Frame;

/// What a pipeline asks of whatever paints its frames.
pub trait Stylizer: Send {
    /// Paints `src` into `dst`, which has the same size. Blocks for the time of a frame.
    ///
    /// Only pixels are written: timestamp and number of `src` are the caller's to copy, for whatever comes after.
    ///
    /// # Errors
    /// When a frame cannot be painted; the next one may be.
    fn stylize(&mut self, src: &Frame, dst: &mut Frame) -> Result<()>;

    /// What paints, in a line for people.
    fn describe(&self) -> String;

    /// The execution provider that the work runs on, for example `CPU`.
    fn provider(&self) -> String;
}

impl<S: Stylizer + ?Sized> Stylizer for &mut S {
    fn stylize(&mut self, src: &Frame, dst: &mut Frame) -> Result<()> {
        (**self).stylize(src, dst)
    }

    fn describe(&self) -> String {
        (**self).describe()
    }

    fn provider(&self) -> String {
        (**self).provider()
    }
}
