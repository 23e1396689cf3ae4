//! Style networks from the outside: fixtures whose answer is known, the bundled network against its goldens, and every
//! third-party network that is at hand. They need ONNX Runtime (see `Runtime::load` for where it is looked for).

// Helpers of tests may fail like tests.
#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;
mod fixtures;
mod forms;
mod goldens;
mod third_party;

use std::path::{Path, PathBuf};

use impasto::frame::{Frame, FrameSize};
use impasto::style::{StyleEngine, StyleOptions, StyleSettings, StyleSpec, Stylizer as _};

/// A file of this repository.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &Path) -> Frame {
    let picture = image::open(path).unwrap().into_rgb8();
    let mut frame = Frame::black(FrameSize::new(picture.width() as usize, picture.height() as usize));
    frame.pixels_mut().copy_from_slice(picture.as_raw());
    frame
}

fn photo() -> Frame {
    read(&repository("tests/pictures/machu-picchu.png"))
}

/// The top left part of the photo, which is repeated where `size` is larger.
fn photo_of(size: FrameSize) -> Frame {
    let photo = photo();
    let mut frame = Frame::black(size);
    for (index, pixel) in frame.pixels_mut().chunks_exact_mut(3).enumerate() {
        let (x, y) = (index % size.width % photo.size.width, index / size.width % photo.size.height);
        let start = (y * photo.size.width + x) * 3;
        pixel.copy_from_slice(&photo.pixels()[start..start + 3]);
    }
    frame
}

fn open(spec: &str, options: &StyleOptions, settings: StyleSettings) -> anyhow::Result<StyleEngine> {
    let spec: StyleSpec = spec.parse()?;
    StyleEngine::open(&spec, options, settings)
}

fn paint(engine: &mut StyleEngine, src: &Frame) -> Frame {
    let mut dst = Frame::black(src.size);
    engine.stylize(src, &mut dst).unwrap();
    dst
}

/// Mean absolute difference of the bytes, 0–255.
fn difference(a: &Frame, b: &Frame) -> f64 {
    assert_eq!(a.size, b.size);
    f64::from(a.mean_difference(b))
}
