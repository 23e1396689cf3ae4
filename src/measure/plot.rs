//! The warping error over time as a picture: a line for each clip.

use image::{Rgb, RgbImage};

use super::figures::{Figures, PerClip};
use crate::chart::{Axis, COLORS, Curve, draw};

/// Gray for what was given, vermilion for what is judged, blue for what it is compared with.
const LINES: PerClip<Rgb<u8>> = PerClip { input: COLORS[6], output: COLORS[0], reference: Some(COLORS[1]) };

/// Draws the warping error of each pair of frames, a line for each clip; gaps where nothing was measured.
pub fn plot(figures: &Figures) -> RgbImage {
    let pairs = figures.frames.len().saturating_sub(1);
    let errors: Vec<Option<PerClip<f64>>> =
        figures.frames.iter().take(pairs).map(|frame| frame.to_next.as_ref()?.warping_error).collect();
    let curve = |name: &str, color: Rgb<u8>, value: fn(PerClip<f64>) -> Option<f64>| Curve {
        name: name.to_owned(),
        color,
        values: errors.iter().map(|errors| value((*errors)?)).collect(),
    };
    let reference = LINES.reference.filter(|_| figures.sharpness.reference.is_some());
    let mut curves: Vec<Curve> =
        reference.map(|color| curve("reference", color, |errors| errors.reference)).into_iter().collect();
    curves.push(curve("input", LINES.input, |errors| Some(errors.input)));
    // The output last: it lies on top.
    curves.push(curve("output", LINES.output, |errors| Some(errors.output)));
    draw("warping error", "frame", Axis::Linear, &curves)
}
