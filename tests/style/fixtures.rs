//! Tiny networks with a known answer, made by `tests/fixtures/make_networks.py`.

use std::path::Path;

use impasto::frame::{Frame, FrameSize};
use impasto::onnx::Model;
use impasto::onnx::schema::tensor_proto::DataType;
use impasto::runtime::SessionOptions;
use impasto::style::contract::{Origin, StyleInput};
use impasto::style::pixels::{ChannelOrder, Layout, ValueRange};
use impasto::style::{Mix, StyleEngine, StyleOptions, StyleSettings, Stylizer as _};

use crate::{difference, open, paint, photo, photo_of, repository};

fn fixture(file: &str) -> String {
    repository("tests/fixtures").join(file).display().to_string()
}

fn engine(file: &str) -> StyleEngine {
    open(&fixture(file), &StyleOptions::default(), StyleSettings::default()).unwrap()
}

fn error(spec: &str) -> String {
    let error = open(spec, &StyleOptions::default(), StyleSettings::default()).unwrap_err();
    format!("{error:#}")
}

#[test]
fn the_identity_returns_a_picture_of_any_size() {
    let mut engine = engine("identity.onnx");
    assert_eq!(engine.contract().multiple, 1);
    for size in [(160, 96), (33, 17), (1, 1), (7, 200)] {
        let src = photo_of(FrameSize::new(size.0, size.1));
        assert_eq!(difference(&paint(&mut engine, &src), &src), 0.0, "{size:?}");
    }
}

#[test]
fn a_network_that_takes_more_memory_than_there_is_for_a_small_picture_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut model = Model::load(&repository("models/impasto-lite.onnx")).unwrap();
    for scale in [3e5, 3e9] {
        model.set_weights("scales", &[4], &[1.0, 1.0, scale, scale]).unwrap();
        let path = folder.path().join("damaged.onnx");
        model.save(&path).unwrap();
        let error = error(&format!("{}#0", path.display()));
        assert!(error.contains("damaged.onnx") && error.contains("GB of memory, and"), "{error}");
    }
}

#[test]
fn a_size_that_is_no_multiple_is_padded_and_cropped() {
    let mut engine = engine("multiple_of_8.onnx");
    assert_eq!(engine.contract().multiple, 8);
    assert!(matches!(engine.contract().origins.iter().find(|o| o.0 == "multiple").unwrap().1, Origin::Probed(_)));
    for size in [(160, 96), (161, 97), (3, 2), (1, 8)] {
        let src = photo_of(FrameSize::new(size.0, size.1));
        assert_eq!(difference(&paint(&mut engine, &src), &src), 0.0, "{size:?}");
    }
}

#[test]
fn a_declared_size_is_opened_where_the_network_bears_it() {
    let mut engine = engine("fixed_but_open.onnx");
    assert_eq!(engine.contract().fixed_size, None);
    let src = photo();
    assert_eq!(difference(&paint(&mut engine, &src), &src), 0.0);
}

#[test]
fn a_size_that_is_really_fixed_is_met_with_tiles() {
    let mut engine = engine("fixed.onnx");
    assert_eq!(engine.contract().fixed_size, Some(FrameSize::new(48, 32)));
    for size in [(160, 96), (48, 32), (20, 90), (5, 3)] {
        let src = photo_of(FrameSize::new(size.0, size.1));
        assert_eq!(difference(&paint(&mut engine, &src), &src), 0.0, "{size:?}");
    }
}

/// The photo with each channel multiplied.
fn with_gains(src: &Frame, gains: [f32; 3]) -> Frame {
    let mut dst = Frame::black(src.size);
    for (dst, src) in dst.pixels_mut().chunks_exact_mut(3).zip(src.pixels().chunks_exact(3)) {
        for channel in 0..3 {
            dst[channel] = (f32::from(src[channel]) * gains[channel]).round() as u8;
        }
    }
    dst
}

#[test]
fn channels_last_are_recognized_by_the_shape() {
    let mut engine = engine("nhwc.onnx");
    assert_eq!(engine.contract().input_format.layout, Layout::Nhwc);
    let src = photo();
    assert!(difference(&paint(&mut engine, &src), &with_gains(&src, [1.0, 0.5, 0.25])) < 0.5);
}

#[test]
fn blue_first_is_recognized_by_the_means() {
    let mut engine = engine("bgr.onnx");
    let format = engine.contract().input_format;
    assert_eq!((format.channels, format.range), (ChannelOrder::Bgr, ValueRange::Bytes));
    let src = photo();
    assert!(difference(&paint(&mut engine, &src), &with_gains(&src, [1.0, 1.0, 0.5])) < 0.5);
}

#[test]
fn ranges_are_found_by_the_graph_and_by_trial() {
    for (file, range) in [("signed.onnx", ValueRange::Signed), ("unit.onnx", ValueRange::Unit)] {
        let engine = engine(file);
        let contract = engine.contract();
        assert_eq!((contract.input_format.range, contract.output_format.range), (range, range), "{file}");
    }
    let src = photo();
    assert_eq!(difference(&paint(&mut engine("unit.onnx"), &src), &src), 0.0);
}

#[test]
fn a_frame_whose_size_is_not_that_of_its_pixels_is_refused() {
    let mut engine = engine("unit.onnx");
    let whole = Frame::black(FrameSize::new(64, 48));
    let mut broken = Frame::black(FrameSize::new(8, 8));
    broken.size = whole.size;
    assert!(engine.stylize(&broken, &mut whole.clone()).is_err());
    assert!(engine.stylize(&whole, &mut broken).is_err());
    assert!(engine.network_mut().stylize(&broken, Mix::NONE, &mut whole.clone()).is_err());
    engine.stylize(&whole, &mut whole.clone()).unwrap();
}

#[test]
fn a_style_of_several_is_chosen_by_index_name_or_blend() {
    let src = photo();
    for (choice, gains) in [("#0", [1.0, 0.0, 0.0]), ("#blue", [0.0, 0.0, 1.0]), ("#GREEN", [0.0, 1.0, 0.0])] {
        let mut engine = engine(&format!("weights.onnx{choice}"));
        assert_eq!(difference(&paint(&mut engine, &src), &with_gains(&src, gains)), 0.0, "{choice}");
    }
    let file = fixture("weights.onnx");
    let blend = format!("{file}#red:3,{file}#2:1");
    let mut engine = open(&blend, &StyleOptions::default(), StyleSettings::default()).unwrap();
    assert!(difference(&paint(&mut engine, &src), &with_gains(&src, [0.75, 0.0, 0.25])) < 0.5);
    engine.network_mut().set_style_weights(&[0.0, 1.0, 0.0]).unwrap();
    assert_eq!(difference(&paint(&mut engine, &src), &with_gains(&src, [0.0, 1.0, 0.0])), 0.0);
    engine.network_mut().set_style_weights(&[3.0, 0.0, 1.0]).unwrap();
    assert_eq!(engine.network().style_weights(), Some([0.75, 0.0, 0.25].as_slice()));
    assert!(difference(&paint(&mut engine, &src), &with_gains(&src, [0.75, 0.0, 0.25])) < 0.5);
    for wrong in [&[1.0][..], &[0.0; 3], &[f32::NAN, 1.0, 0.0], &[f32::INFINITY, 0.0, 0.0], &[2.0, -1.0, 0.0]] {
        assert!(engine.network_mut().set_style_weights(wrong).is_err(), "{wrong:?}");
    }
    assert_eq!(engine.network().style_weights(), Some([0.75, 0.0, 0.25].as_slice()));
    match &engine.contract().style {
        StyleInput::Weights { names, .. } => assert_eq!(names, &["red", "green", "blue"]),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_style_that_is_not_there_is_refused_with_those_that_are() {
    let message = error(&fixture("weights.onnx"));
    assert!(message.contains("3 styles") && message.contains("red, green, blue"), "{message}");
    let message = error(&fixture("weights.onnx#3"));
    assert!(message.contains("no style '3'") && message.contains("#0 to #2"), "{message}");
    let message = error(&fixture("weights.onnx#mauve"));
    assert!(message.contains("no style 'mauve'"), "{message}");
    let message = error(&fixture("identity.onnx#1"));
    assert!(message.contains("has one style"), "{message}");
}

#[test]
fn styles_of_different_networks_are_not_blended() {
    let message = error(&format!("{},{}", fixture("identity.onnx"), fixture("unit.onnx")));
    assert!(message.contains("different networks"), "{message}");
    let message = error(&format!("wave,{}", fixture("unit.onnx")));
    assert!(message.contains("different networks"), "{message}");
}

#[test]
fn a_painting_is_fed_where_the_network_takes_one() {
    let path = repository("tests/pictures/machu-picchu.png");
    let options =
        StyleOptions { style_image: Some(path), session: SessionOptions::with_threads(1), ..Default::default() };
    let mut engine = open(&fixture("style_picture.onnx"), &options, StyleSettings::default()).unwrap();
    assert!(matches!(engine.contract().style, StyleInput::Picture { .. }));
    let src = photo();
    let dst = paint(&mut engine, &src);
    for channel in 0..3 {
        let values = || src.pixels().iter().skip(channel).step_by(3).map(|value| f64::from(*value));
        let mean = values().sum::<f64>() / src.size.pixels() as f64;
        for (painted, content) in dst.pixels().iter().skip(channel).step_by(3).zip(values()) {
            assert!((f64::from(*painted) - (content + mean) / 2.0).abs() < 1.0, "channel {channel}");
        }
    }
}

#[test]
fn a_missing_superfluous_or_unreadable_painting_is_refused() {
    let message = error(&fixture("style_picture.onnx"));
    assert!(message.contains("any painting") && message.contains("style image"), "{message}");
    for (file, image, part) in [
        ("identity.onnx", "tests/pictures/machu-picchu.png", "takes no style image"),
        ("style_picture.onnx", "no/such.png", "no/such.png"),
        ("style_picture.onnx", "Cargo.toml", "Cargo.toml"),
    ] {
        let options = StyleOptions {
            style_image: Some(repository(image)),
            session: SessionOptions::with_threads(1),
            ..Default::default()
        };
        let error = open(&fixture(file), &options, StyleSettings::default()).unwrap_err();
        assert!(format!("{error:#}").contains(part), "{error:#}");
    }
}

#[test]
fn what_is_no_style_network_is_refused_in_one_sentence() {
    for (file, parts) in [
        ("classifier.onnx", ["'probabilities'", "[1, 10]", "classifier"]),
        ("rank_3.onnx", ["'image'", "[3, height, width]", "four dimensions"]),
        ("gray.onnx", ["'image'", "1 channels", "expected 3"]),
        ("half_precision.onnx", ["'image'", "FLOAT16", "32 bits"]),
        ("half_size.onnx", ["'stylized'", "expected the same shape", "[1, 3, 64, 128]"]),
        ("unknown_input.onnx", ["'volume'", "[1, 5, 5]", "encoder"]),
        ("not_a_number.onnx", ["'stylized'", "NaN", "no numbers"]),
    ] {
        let message = error(&fixture(file));
        for part in parts.into_iter().chain([file]) {
            assert!(message.contains(part), "{part} is not in: {message}");
        }
        assert!(!message.contains('\n'), "{message}");
    }
}

#[test]
fn a_file_that_is_broken_empty_text_or_missing_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = std::fs::read(repository("models/impasto-lite.onnx")).unwrap();
    for (name, content, part) in [
        ("broken.onnx", &bytes[..bytes.len() / 3], "damaged"),
        ("empty.onnx", &[][..], "empty"),
        ("text.onnx", b"this is a text\n".as_slice(), "not an ONNX network"),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        let message = error(&path.display().to_string());
        assert!(message.contains(part) && message.contains(name), "{message}");
    }
    let message = error(&folder.path().join("missing.onnx").display().to_string());
    assert!(message.contains("missing.onnx") && message.contains("cannot be read"), "{message}");
    let message = error(&folder.path().display().to_string());
    assert!(message.contains("cannot be read"), "{message}");
}

#[test]
fn a_description_beside_the_network_has_the_first_word() {
    let folder = tempfile::tempdir().unwrap();
    let network = folder.path().join("net.onnx");
    std::fs::copy(fixture("weights.onnx"), &network).unwrap();
    let describe = |text: &str| std::fs::write(folder.path().join("net.toml"), text).unwrap();
    describe("channels = \"BGR\"\nstyles = [\"a\", \"b\", \"c\"]\nmultiple = 4\nminimum = 8\n");
    let spec = format!("{}#a", network.display());
    let mut engine = open(&spec, &StyleOptions::default(), StyleSettings::default()).unwrap();
    let src = photo();
    assert_eq!(difference(&paint(&mut engine, &src), &with_gains(&src, [0.0, 0.0, 1.0])), 0.0);
    let details = engine.contract().details().join("\n");
    for part in ["channels BGR (description)", "input_range 0–255 (metadata)", "multiple 4 (description)"] {
        assert!(details.contains(part), "{part} is not in: {details}");
    }
    for (text, part) in [
        ("chanels = \"BGR\"\n", "chanels"),
        ("channels = \"GRB\"\n", "GRB"),
        ("input_range = \"0-100\"\n", "0-100"),
        ("input_range = { mean = [1, 2, 3], std = [1, 0, 1] }\n", "std"),
        ("input_range = { mean = [1, 2, 3], sdt = [1, 1, 1] }\n", "expected \"0-255\", \"0-1\", \"-1-1\" or { mean"),
        ("input_range = { mean = [1, 2] }\n", "or { mean = [r, g, b], std = [r, g, b] }"),
        ("style_input = \"image\"\n", "is its picture"),
        ("multiple = 0\n", "multiple"),
        ("fixed_size = \"big\"\n", "big"),
        ("style_input = \"nothing\"\n", "style"),
        ("styles = [\"a\"]\n", "1 styles"),
        ("not toml", "net.toml"),
    ] {
        describe(text);
        let message = error(&spec);
        assert!(message.contains(part) && message.contains("net."), "{part} is not in: {message}");
    }
}

#[test]
fn strength_and_kept_colors_apply_to_small_and_large_frames_alike() {
    let src = photo();
    let spec = fixture("weights.onnx#red");
    for work_size in [1080, 48] {
        let settings = |strength, keep_color| StyleSettings { strength, keep_color, work_size };
        let mut engine = open(&spec, &StyleOptions::default(), settings(0.0, false)).unwrap();
        assert_eq!(difference(&paint(&mut engine, &src), &src), 0.0);
        engine.set_settings(settings(0.5, false)).unwrap();
        let half = paint(&mut engine, &src);
        engine.set_settings(settings(1.0, false)).unwrap();
        let whole = paint(&mut engine, &src);
        for ((half, whole), src) in half.pixels().iter().zip(whole.pixels()).zip(src.pixels()) {
            assert!(u16::from(*half).abs_diff((u16::from(*whole) + u16::from(*src)) / 2) <= 1);
        }
    }
}

#[test]
fn settings_out_of_range_are_refused() {
    let mut engine = engine("identity.onnx");
    for settings in [
        StyleSettings { strength: 1.5, ..Default::default() },
        StyleSettings { strength: f32::NAN, ..Default::default() },
        StyleSettings { work_size: 0, ..Default::default() },
    ] {
        assert!(engine.set_settings(settings).is_err());
        assert_eq!(engine.settings(), StyleSettings::default());
    }
}

#[test]
fn a_frame_of_another_size_is_refused() {
    let mut engine = engine("identity.onnx");
    let mut dst = Frame::black(FrameSize::new(8, 8));
    assert!(engine.stylize(&photo(), &mut dst).is_err());
}

#[test]
fn what_a_graph_says_of_the_size_of_its_output_does_not_count_where_it_takes_any() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("traced.onnx");
    let mut model = Model::load(Path::new(&fixture("identity.onnx"))).unwrap();
    let traced = [Some(1), Some(3), Some(720), Some(720)];
    model.put_behind("stylized", ("stylized", DataType::Float, &traced), Vec::new()).unwrap();
    model.save(&path).unwrap();
    let mut engine = open(path.to_str().unwrap(), &StyleOptions::default(), StyleSettings::default()).unwrap();
    let src = photo();
    assert!(difference(&paint(&mut engine, &src), &src) < 0.01);
}

#[test]
fn a_terminated_network_fails_at_once() {
    let mut engine = engine("identity.onnx");
    engine.terminator().terminate();
    let src = photo();
    let mut dst = Frame::black(src.size);
    assert!(engine.stylize(&src, &mut dst).is_err());
}
