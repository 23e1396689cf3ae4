//! One network in several forms: with pixels that become floats in the graph, in half precision, twice at one time, and in tiles
//! because memory is short. All of them have to paint the picture that the plain form paints.

use impasto::frame::{Frame, FrameSize};
use impasto::runtime::{Device, Precision, SessionOptions};
use impasto::style::{Catalog, FramePorts, NetworkChoice, StyleEngine, StyleOptions, StyleSettings, Stylizer as _};

use crate::common::shared;
use crate::{difference, open, paint, photo, photo_of, repository};

fn engine(spec: &str, options: StyleOptions) -> StyleEngine {
    let options = StyleOptions { session: SessionOptions::with_threads(2), ..options };
    open(spec, &options, StyleSettings::default()).unwrap_or_else(|error| panic!("{spec}: {error:#}"))
}

fn exact() -> StyleOptions {
    StyleOptions { precision: Precision::Fp32, ..StyleOptions::default() }
}

fn largest_difference(a: &Frame, b: &Frame) -> u8 {
    a.pixels().iter().zip(b.pixels()).map(|(a, b)| a.abs_diff(*b)).max().unwrap()
}

/// Networks of every layout, order of channels and range; all take one size only or any.
fn specs() -> Vec<String> {
    let fixtures = ["identity", "bgr", "nhwc", "unit", "signed", "multiple_of_8", "fixed", "fixed_but_open", "weights"]
        .map(|name| {
            let style = if name == "weights" { "#1" } else { "" };
            format!("{}{style}", repository(&format!("tests/fixtures/{name}.onnx")).display())
        });
    let others = ["lengstrom/wave", "transformer/candy", "winml/mosaic"];
    let others = others.iter().filter_map(|name| shared(&format!("networks/{name}.onnx")));
    let others = others.map(|path| path.display().to_string());
    let blend = "starry-night:0.5,great-wave:0.5".to_owned();
    fixtures.into_iter().chain(others).chain(["the-scream".to_owned(), blend]).collect()
}

#[test]
fn pixels_become_floats_in_the_graph_as_they_do_before_it() {
    let src = photo_of(FrameSize::new(163, 101));
    for spec in specs() {
        let before = paint(&mut engine(&spec, exact()), &src);
        let mut inside = engine(&spec, StyleOptions { frame_ports: FramePorts::Always, ..exact() });
        assert!(inside.network().difference_levels().is_some(), "{spec} was not compared");
        let inside = paint(&mut inside, &src);
        assert!(largest_difference(&before, &inside) <= 1, "{spec}: {}", largest_difference(&before, &inside));
    }
}

#[test]
fn strength_and_kept_colors_hold_where_pixels_become_floats_in_the_graph() {
    let src = photo();
    let settings = StyleSettings { strength: 0.6, keep_color: true, ..StyleSettings::default() };
    let mut paintings = [FramePorts::Auto, FramePorts::Always].map(|frame_ports| {
        let mut engine = engine("great-wave", StyleOptions { frame_ports, ..exact() });
        engine.set_settings(settings).unwrap();
        let weights = engine.network().style_weights().unwrap().to_vec();
        let first = paint(&mut engine, &src);
        // And the style can be changed between two frames.
        let turned: Vec<f32> = weights.iter().copied().cycle().skip(1).take(weights.len()).collect();
        engine.network_mut().set_style_weights(&turned).unwrap();
        (first, paint(&mut engine, &src))
    });
    let [before, inside] = &mut paintings;
    assert!(largest_difference(&before.0, &inside.0) <= 1);
    assert!(largest_difference(&before.1, &inside.1) <= 1);
    assert!(difference(&before.0, &before.1) > 3.0);
}

#[test]
fn half_precision_paints_within_two_levels_or_is_refused_with_the_reason() {
    let src = photo_of(FrameSize::new(200, 120));
    for spec in specs() {
        let exactly = paint(&mut engine(&spec, exact()), &src);
        let mut half = engine(&spec, StyleOptions { precision: Precision::Fp16, ..StyleOptions::default() });
        assert_eq!(half.network().precision(), Precision::Fp16);
        assert!(half.describe().contains("half precision"), "{}", half.describe());
        let difference = difference(&exactly, &paint(&mut half, &src));
        assert!(difference <= 2.0, "{spec}: {difference:.2} levels");
    }
    // Its values leave the range of halves on the way, and come back.
    let options = StyleOptions { precision: Precision::Fp16, ..StyleOptions::default() };
    let spec = repository("tests/fixtures/beyond_half.onnx").display().to_string();
    let error = open(&spec, &options, StyleSettings::default()).unwrap_err();
    let error = format!("{error:#}");
    assert!(error.contains("half precision") && error.contains("expected at most 2"), "{error}");
    assert_eq!(difference(&paint(&mut engine(&spec, exact()), &src), &src), 0.0);
}

#[test]
fn a_network_beside_another_paints_the_same() {
    let src = photo();
    for precision in [Precision::Fp32, Precision::Fp16] {
        let options = StyleOptions { precision, frame_ports: FramePorts::Always, ..StyleOptions::default() };
        let mut first = engine("water-lilies", options);
        let mut second = first.beside(&Device::CPU, 1).unwrap();
        let (a, b) = std::thread::scope(|scope| {
            let a = scope.spawn(|| paint(&mut first, &src));
            let b = scope.spawn(|| paint(&mut second, &src));
            (a.join().unwrap(), b.join().unwrap())
        });
        assert!(largest_difference(&a, &b) <= 1, "{}", largest_difference(&a, &b));
        assert_eq!(first.network().precision(), second.network().precision());
    }
}

/// The bundled networks run on a quarter of the pixels towards their end; a file of the same network runs as it is.
#[test]
fn bundled_networks_paint_what_their_files_do() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = Catalog::bundled().unwrap();
    for (network, choice) in [("impasto-lite", NetworkChoice::Lite), ("impasto-full", NetworkChoice::Full)] {
        let file = folder.path().join("network.onnx");
        std::fs::write(&file, catalog.network_bytes(network).unwrap()).unwrap();
        for (index, size) in [(0, FrameSize::new(163, 101)), (14, FrameSize::new(640, 360))] {
            let src = photo_of(size);
            let style = &catalog.styles()[index].name;
            let bundled = paint(&mut engine(style, StyleOptions { network: choice, ..exact() }), &src);
            let plain = paint(&mut engine(&format!("{}#{index}", file.display()), exact()), &src);
            let apart = difference(&bundled, &plain);
            println!("{network}, {style}, {size}: {apart:.3} levels");
            assert!(apart > 0.0 && apart < 0.5, "{network}, {style}, {size}: {apart:.2} levels");
        }
    }
}

/// Mean step from each column to the next, over all rows and channels.
fn steps(frame: &Frame) -> Vec<f64> {
    let (width, height) = (frame.size.width, frame.size.height);
    let at = |x: usize, y: usize, c: usize| i32::from(frame.pixels()[(y * width + x) * 3 + c]);
    let step = |x: usize| {
        let sum: i32 = (0..height).flat_map(|y| (0..3).map(move |c| (at(x + 1, y, c) - at(x, y, c)).abs())).sum();
        f64::from(sum) / (height * 3) as f64
    };
    (0..width - 1).map(step).collect()
}

#[test]
fn what_does_not_fit_into_memory_is_painted_in_tiles_without_seams() {
    let src = photo_of(FrameSize::new(960, 400));
    let mut whole = engine("starry-night", exact());
    let needed = whole.bytes_needed(src.size).unwrap();
    // A third of it: tiles of a quarter of the picture.
    let mut tiled = engine("starry-night", StyleOptions { memory_limit: Some(needed / 3), ..exact() });
    let mut roomy = engine("starry-night", StyleOptions { memory_limit: Some(needed + needed / 10), ..exact() });
    let (whole, tiled) = (paint(&mut whole, &src), paint(&mut tiled, &src));
    assert_eq!(whole.pixels(), paint(&mut roomy, &src).pixels());
    let apart = difference(&whole, &tiled);
    assert!(apart > 0.0, "it was not painted in tiles");
    assert!(apart < 12.0, "{apart:.1} levels from the whole");
    // Nowhere is a step between two columns that the whole picture does not have there.
    let (of_whole, of_tiled) = (steps(&whole), steps(&tiled));
    let mean = of_whole.iter().sum::<f64>() / of_whole.len() as f64;
    for (x, (whole, tiled)) in of_whole.iter().zip(&of_tiled).enumerate() {
        assert!(tiled - whole < 0.5 * mean, "column {x}: {tiled:.1}, in the whole {whole:.1}, in the mean {mean:.1}");
    }
}

#[test]
fn two_that_share_the_memory_are_painted_in_tiles_where_one_is_not() {
    let src = photo_of(FrameSize::new(960, 400));
    let needed = engine("starry-night", exact()).bytes_needed(src.size).unwrap();
    let mut first = engine("starry-night", StyleOptions { memory_limit: Some(needed * 3 / 2), ..exact() });
    let whole = paint(&mut engine("starry-night", exact()), &src);
    let second = first.beside(&Device::CPU, 1).unwrap();
    let tiled = paint(&mut first, &src);
    assert!(difference(&whole, &tiled) > 0.0);
    drop(second);
}

#[test]
fn memory_is_known_ahead_and_grows_with_the_picture() {
    for precision in [Precision::Fp32, Precision::Auto] {
        let engine = engine("starry-night", StyleOptions { precision, ..StyleOptions::default() });
        let bytes = |width, height| engine.bytes_needed(FrameSize::new(width, height)).unwrap() as f64;
        let ratio = bytes(1280, 720) / bytes(640, 360);
        assert!((2.5..4.1).contains(&ratio), "{ratio}");
    }
}
