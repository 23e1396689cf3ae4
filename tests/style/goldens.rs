//! The bundled styles on a small photo, against pictures that were looked at.
//!
//! After a change that is meant to change them: `IMPASTO_BLESS=1 cargo test --test style goldens`, and look again.

use impasto::runtime::{Precision, has_integer_products};
use impasto::style::{Catalog, NetworkChoice, StyleOptions, StyleSettings};

use crate::{difference, open, paint, photo, read, repository};

/// Mean absolute difference, in levels of 255, that another processor's arithmetic may make.
const TOLERANCE: f64 = 2.0;

fn check(name: &str, spec: &str, settings: StyleSettings) {
    check_with(NetworkChoice::Lite, name, spec, settings);
}

fn check_with(network: NetworkChoice, name: &str, spec: &str, settings: StyleSettings) {
    let options = StyleOptions { precision: Precision::Fp32, network, ..StyleOptions::default() };
    let mut engine = open(spec, &options, settings).unwrap();
    let painted = paint(&mut engine, &photo());
    let save = |path: &std::path::Path| {
        let (width, height) = (painted.size.width as u32, painted.size.height as u32);
        image::save_buffer(path, painted.pixels(), width, height, image::ColorType::Rgb8).unwrap();
    };
    let golden = repository("tests/goldens").join(format!("{name}.png"));
    if std::env::var_os("IMPASTO_BLESS").is_some() {
        save(&golden);
        return;
    }
    assert!(golden.is_file(), "{} is not there (bless it: IMPASTO_BLESS=1)", golden.display());
    let difference = difference(&painted, &read(&golden));
    if difference > TOLERANCE {
        let dump = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.png"));
        save(&dump);
        panic!("{name} differs by {difference:.2} levels (at most {TOLERANCE}); compare {}", dump.display());
    }
}

#[test]
fn every_style_of_the_catalog_paints_its_golden() {
    for style in Catalog::bundled().unwrap().styles() {
        check(&style.name, &style.name, StyleSettings::default());
    }
}

#[test]
fn the_larger_network_paints_its_goldens() {
    for style in ["starry-night", "edtaonisl"] {
        check_with(NetworkChoice::Full, &format!("full-{style}"), style, StyleSettings::default());
    }
}

#[test]
fn eight_bit_integers_paint_what_floats_do() {
    if !has_integer_products() {
        println!("skipped: this processor has no products of 8-bit integers, and auto does not take them");
        return;
    }
    for style in Catalog::bundled().unwrap().styles() {
        let painted = |precision: Precision| {
            let wanted = if precision == Precision::Fp32 { precision } else { Precision::Int8 };
            let options = StyleOptions { precision, ..StyleOptions::default() };
            let mut engine = open(&style.name, &options, StyleSettings::default()).unwrap();
            assert_eq!(engine.network().precision(), wanted, "{}", style.name);
            paint(&mut engine, &photo())
        };
        let (floats, integers) = (painted(Precision::Fp32), painted(Precision::Int8));
        let difference = difference(&floats, &integers);
        assert!(difference > 0.0 && difference < 4.0, "{}: {difference:.2} levels", style.name);
        assert_eq!(integers.pixels(), painted(Precision::Auto).pixels(), "{}", style.name);
    }
}

#[test]
fn eight_bit_integers_are_for_bundled_networks() {
    let options = StyleOptions { precision: Precision::Int8, ..StyleOptions::default() };
    let spec = format!("{}#0", repository("tests/fixtures/weights.onnx").display());
    let error = format!("{:#}", open(&spec, &options, StyleSettings::default()).unwrap_err());
    assert!(error.contains("weights.onnx") && error.contains("no form in 8-bit integers"), "{error}");
}

#[test]
fn a_blend_kept_colors_and_a_small_work_size_paint_their_goldens() {
    check("blend", "great-wave:0.6,the-scream:0.4", StyleSettings::default());
    check("keep-color", "the-scream", StyleSettings { keep_color: true, ..Default::default() });
    check("work-size", "great-wave", StyleSettings { work_size: 48, ..Default::default() });
}
