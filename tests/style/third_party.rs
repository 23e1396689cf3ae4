//! Networks that others made: each is recognized, keeps any picture's size, and paints something that is neither flat nor
//! the photo itself.

use impasto::frame::FrameSize;
use impasto::style::pixels::{ChannelOrder, ValueRange};
use impasto::style::{StyleOptions, StyleSettings};

use crate::common::shared;
use crate::{difference, open, paint, photo_of};

fn check(file: &str, channels: ChannelOrder, range: ValueRange, style_image: Option<&str>) {
    let Some(path) = shared(&format!("networks/{file}")) else { return };
    let style_image = match style_image.map(shared) {
        Some(None) => return,
        Some(image) => image,
        None => None,
    };
    let options = StyleOptions { style_image, ..StyleOptions::default() };
    let mut engine = open(&path.display().to_string(), &options, StyleSettings::default()).unwrap();
    let contract = engine.contract();
    assert_eq!(contract.input_format.channels, channels, "{file}: {:?}", contract.details());
    assert_eq!(contract.input_format.range, range, "{file}: {:?}", contract.details());
    assert_eq!(contract.output_format.range, range, "{file}: {:?}", contract.details());
    assert_eq!(contract.fixed_size, None, "{file}: {:?}", contract.details());
    let src = photo_of(FrameSize::new(161, 99));
    let dst = paint(&mut engine, &src);
    let mean = dst.pixels().iter().map(|value| f64::from(*value)).sum::<f64>() / dst.pixels().len() as f64;
    let deviation =
        dst.pixels().iter().map(|value| (f64::from(*value) - mean).abs()).sum::<f64>() / dst.pixels().len() as f64;
    assert!((30.0..225.0).contains(&mean), "{file}: mean {mean}");
    assert!(deviation > 15.0, "{file}: deviation {deviation}");
    assert!(difference(&src, &dst) > 10.0, "{file} paints nothing");
}

#[test]
fn transformer_networks_are_rgb_of_bytes() {
    for name in ["candy", "udnie"] {
        check(&format!("transformer/{name}.onnx"), ChannelOrder::Rgb, ValueRange::Bytes, None);
    }
}

#[test]
fn lengstrom_networks_are_rgb_of_bytes() {
    for name in ["wave", "scream", "udnie", "wreck"] {
        check(&format!("lengstrom/{name}.onnx"), ChannelOrder::Rgb, ValueRange::Bytes, None);
    }
}

#[test]
fn windows_ml_networks_are_bgr_of_bytes_and_bear_any_size() {
    for name in ["candy", "mosaic", "udnie", "la_muse"] {
        check(&format!("winml/{name}.onnx"), ChannelOrder::Bgr, ValueRange::Bytes, None);
    }
}

#[test]
fn an_arbitrary_style_network_takes_a_painting() {
    for painting in ["hokusai_great_wave_1831", "matisse_woman_with_a_hat_1905", "kandinsky_composition_vii_1913"] {
        let painting = format!("paintings/{painting}.jpg");
        check("microast/microast.onnx", ChannelOrder::Rgb, ValueRange::Unit, Some(&painting));
    }
}

#[test]
fn memory_is_known_ahead_of_grouped_convolutions() {
    let (Some(path), Some(painting)) =
        (shared("networks/microast/microast.onnx"), shared("paintings/hokusai_great_wave_1831.jpg"))
    else {
        return;
    };
    let options = StyleOptions { style_image: Some(painting), ..StyleOptions::default() };
    let engine = open(&path.display().to_string(), &options, StyleSettings::default()).unwrap();
    let bytes = |width, height| engine.bytes_needed(FrameSize::new(width, height)).unwrap();
    // 16 channels of floats at the picture's size, twice.
    assert!(bytes(1280, 720) - bytes(640, 720) > 640 * 720 * 2 * 16 * 4);
}
