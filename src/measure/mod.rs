//! How steady and how sharp a painted clip is, measured against the clip that it was painted from.
//!
//! Motion is taken from the content frames only: what a style does to a picture must not decide how it is judged. This
//! room reads clips and gives figures; it changes no picture and knows nothing of styles or the terminal.

mod clips;
mod cut;
mod figures;
mod measures;
mod meter;
mod plot;
mod source;
mod stills;
mod truth;

pub use clips::measure;
pub use figures::{Figures, FrameFigures, PairFigures, PerClip, SharpnessBase};
pub use measures::{STATIC_DIFFERENCE, STATIC_MOTION};
pub use meter::Meter;
pub use plot::plot;
pub use source::FrameSource;
pub use stills::list as list_pictures;
pub use truth::{Flo, TrueFlows, read_flo};
