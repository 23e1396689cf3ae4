//! A film from optimized keyframes: a few frames are painted by optimization, and what lies between is carried along
//! the motion.
//!
//! After Manuel Ruder, Alexey Dosovitskiy and Thomas Brox, "Artistic Style Transfer for Videos", 2016: a keyframe starts from
//! the one before, moved along the motion, and is held to it where the motion is sure. Between keyframes nothing is
//! optimized. The parts in reading order: [`track`] where a picture is seen in another one, [`planner`] which frames are
//! keyframes, [`keyframe`] what one starts from and stays near, [`carrier`] the frames between.

pub mod carrier;
pub mod keyframe;
pub mod planner;
pub mod track;

pub use carrier::{Carried, Carrier, Filler};
pub use keyframe::Neighbor;
pub use planner::{Keyframe, Links, Planner, PlannerSettings, Spacing};
pub use track::{Track, Tracker};
