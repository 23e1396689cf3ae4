//! impasto turns video into moving paintings: neural style transfer for files.
//!
//! The modules in reading order follow a frame on its way: [`frame`], [`media`], [`runtime`], [`onnx`], [`style`],
//! [`pipeline`], then [`cli`], [`commands`] and [`console`] of the binary. [`stills`] are pictures in files. [`measure`]
//! judges what comes out. [`gatys`] optimizes one picture, [`learn`] fits a new style.
//!
//! # One picture
//!
//! Networks and styles come with the crate; [`style::Catalog`] lists them.
//!
//! ```no_run
//! use impasto::frame::{Frame, FrameSize};
//! use impasto::style::{StyleEngine, StyleOptions, StyleSettings, Stylizer};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! impasto::runtime::forbid_telemetry(); // While there is one thread.
//!
//! let (width, height) = (640, 360);
//! // Rows of red, green, blue, top to bottom.
//! let rgb: Vec<u8> = (0..width * height * 3).map(|value| (value % 251) as u8).collect();
//! let mut content = Frame::black(FrameSize::new(width, height));
//! content.pixels_mut().copy_from_slice(&rgb);
//!
//! let style = "great-wave:0.7,scream:0.3".parse()?;
//! let mut engine = StyleEngine::open(&style, &StyleOptions::default(), StyleSettings::default())?;
//! let mut painted = Frame::black(content.size);
//! engine.stylize(&content, &mut painted)?;
//! let painted_rgb: &[u8] = painted.pixels();
//! # Ok(())
//! # }
//! ```
//!
//! # A clip
//!
//! The same that `impasto video` does, one frame after the other; [`pipeline`] gives each step a thread of its own.
//!
//! ```no_run
//! use std::path::Path;
//!
//! use impasto::frame::FramePool;
//! use impasto::media::{ReaderOptions, VideoReader, VideoWriter, WriterOptions};
//! use impasto::motion::{MotionEstimator, MotionSettings};
//! use impasto::style::{StyleEngine, StyleOptions, StyleSettings, Stylizer};
//! use impasto::temporal::{Smoother, SmootherSettings};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! impasto::runtime::forbid_telemetry();
//!
//! let mut reader = VideoReader::open(Path::new("in.mp4"), ReaderOptions::default())?;
//! let info = reader.info().clone();
//! let style = "great-wave".parse()?;
//! let mut engine = StyleEngine::open(&style, &StyleOptions::default(), StyleSettings::default())?;
//! let mut motion = MotionEstimator::new(MotionSettings::default(), f64::from(info.time_base))?;
//! let mut smoother = Smoother::new(SmootherSettings::default());
//! // With the reader given, sound, subtitles, chapters and tags are copied from its file.
//! let mut writer = VideoWriter::create(Path::new("out.mp4"), &info, Some(&reader), &WriterOptions::default())?;
//!
//! let pool = FramePool::new();
//! while let Some(content) = reader.next_frame()? {
//!     let motion = motion.analyze(&content)?;
//!     let mut painted = pool.take(content.size);
//!     engine.stylize(&content, &mut painted)?;
//!     painted.timestamp = content.timestamp;
//!     painted.frame_index = content.frame_index;
//!     smoother.smooth(&mut painted, &motion)?;
//!     writer.write(&painted)?;
//! }
//! // Where an error came first, the writer is dropped, and nothing is left.
//! let written = writer.finish(false)?;
//! println!("{} frames in '{}'", written.frames, written.path.display());
//! # Ok(())
//! # }
//! ```
//!
//! # What it needs
//!
//! To build: FFmpeg's libraries and OpenCV with their headers, pkg-config, and clang for its bindings.
//!
//! To run a network: ONNX Runtime 1.24 or newer, which is not linked but loaded when the first network is opened. It is looked for
//! where `ORT_DYLIB_PATH` says, and if that is not set, beside the running binary, in `../lib/impasto` seen from there, in `.runtime`
//! of the binary's folder or any above, and where the system has its libraries ([`runtime::LibrarySearch`]).
//!
//! # What it does to the process
//!
//! - [`runtime::Runtime::load`], and so whatever opens a network, sets the variable `ORT_DISABLE_TELEMETRY` where it is not set. As
//!   no other thread may read the environment meanwhile, call [`runtime::forbid_telemetry`] before you start any: then nothing is set later.
//! - [`media`] keeps FFmpeg from writing to the terminal, for all of the process.
//! - [`motion`] sets the threads that OpenCV takes for itself to one.
//! - The encoder SVT-AV1 prints its settings unless the variable `SVT_LOG` is `0`; the binary sets that, the library does not.
//! - What happened that is no error is told through `tracing`.

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
