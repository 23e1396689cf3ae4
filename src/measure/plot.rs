//! A measure over time as a picture: a line for each clip.

use image::{Rgb, RgbImage};

use super::figures::PerClip;
use crate::chart::{Axis, COLORS, Curve, draw};

/// Gray for what was given, vermilion for what is judged, blue for what it is compared with.
const LINES: PerClip<Rgb<u8>> = PerClip { input: COLORS[6], output: COLORS[0], reference: Some(COLORS[1]) };

/// Draws a measure, given for each frame from 0 on: a line for each clip; gaps where nothing was measured.
pub fn plot(measure: &str, values: &[Option<PerClip<f64>>]) -> RgbImage {
    let curve = |name: &str, color: Rgb<u8>, value: fn(PerClip<f64>) -> Option<f64>| Curve {
        name: name.to_owned(),
        color,
        values: values.iter().map(|values| value((*values)?)).collect(),
    };
    let reference = LINES.reference.filter(|_| values.iter().flatten().any(|values| values.reference.is_some()));
    let mut curves: Vec<Curve> =
        reference.map(|color| curve("reference", color, |values| values.reference)).into_iter().collect();
    curves.push(curve("input", LINES.input, |values| Some(values.input)));
    // The output last: it lies on top.
    curves.push(curve("output", LINES.output, |values| Some(values.output)));
    draw(measure, "frame", Axis::Linear, &curves)
}
