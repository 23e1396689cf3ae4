//! The arguments that say where a style is laid on.

use std::path::PathBuf;

use clap::{Args, ValueHint};

/// Where a style is laid on.
#[derive(Debug, Clone, Args)]
pub struct MaskArgs {
    /// Lay the style on where this is white, and leave the rest as it was; gray mixes
    ///
    /// A picture for all frames; or a clip, or a folder of pictures in the order of their names, with one for each frame. Of
    /// pictures with transparency it is the opacity that counts. Masks of another size are scaled.
    #[arg(long, value_name = "FILE|FOLDER", value_hint = ValueHint::AnyPath, help_heading = "Style")]
    pub mask: Option<PathBuf>,

    /// Lay the style on where the mask is black
    #[arg(long, requires = "mask", help_heading = "Style")]
    pub invert_mask: bool,
}
