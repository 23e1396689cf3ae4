//! Motion between frames: optical flow, where it holds, scene cuts and duplicate frames.
//!
//! The only room that knows OpenCV's optical flow. It looks at content frames, never at painted ones.

pub mod flow;
