//! The warping error over time as a picture: axes, a line for each clip.

use image::{Rgb, RgbImage};

use super::figures::{Figures, PerClip};
use crate::lettering::{text_width, write};

const WIDTH: u32 = 1200;
const HEIGHT: u32 = 480;
/// Around the curves, in pixels: left, top, right, bottom.
const MARGINS: [u32; 4] = [120, 50, 30, 60];
const BACKGROUND: Rgb<u8> = Rgb([255, 255, 255]);
const INK: Rgb<u8> = Rgb([60, 60, 60]);
const GRID: Rgb<u8> = Rgb([225, 225, 225]);
/// Gray, vermilion and blue of Okabe and Ito: told apart by people who do not see all colours.
const LINES: PerClip<Rgb<u8>> =
    PerClip { input: Rgb([130, 130, 130]), output: Rgb([213, 94, 0]), reference: Some(Rgb([0, 114, 178])) };
const NAMES: PerClip<&str> = PerClip { input: "input", output: "output", reference: Some("reference") };
const LINE_WIDTH: f32 = 2.0;

/// Draws the warping error of each pair of frames, a line for each clip; gaps where nothing was measured.
pub fn plot(figures: &Figures) -> RgbImage {
    let mut picture = RgbImage::from_pixel(WIDTH, HEIGHT, BACKGROUND);
    let pairs = figures.frames.len().saturating_sub(1);
    let errors: Vec<Option<PerClip<f64>>> =
        figures.frames.iter().take(pairs).map(|frame| frame.to_next.as_ref()?.warping_error).collect();
    let highest = errors.iter().flatten().flat_map(|errors| errors.into_values()).fold(0.0, f64::max);
    let step = nice_step(highest / 5.0);
    let top = (highest / step).ceil().max(1.0) * step;
    let last = pairs.saturating_sub(1).max(1);

    let [left, above, right, below] = MARGINS;
    let (bottom, end) = (HEIGHT - below, WIDTH - right);
    let place = |pair: usize, error: f64| {
        let x = left as f32 + (end - left) as f32 * pair as f32 / last as f32;
        (x, bottom as f32 - (bottom - above) as f32 * (error / top) as f32)
    };
    let decimals = (-step.log10().floor()).clamp(0.0, 9.0) as usize;
    for tick in 0..=(top / step).round() as u32 {
        let value = f64::from(tick) * step;
        let y = place(0, value).1 as u32;
        (left..end).for_each(|x| picture.put_pixel(x, y, if tick == 0 { INK } else { GRID }));
        let label = format!("{value:.decimals$}");
        write(&mut picture, left.saturating_sub(text_width(&label) + 10), y.saturating_sub(7), &label, INK);
    }
    let frame_step = nice_step(last as f64 / 10.0).max(1.0) as usize;
    for frame in (0..pairs).step_by(frame_step) {
        let x = place(frame, 0.0).0 as u32;
        (bottom..bottom + 6).for_each(|y| picture.put_pixel(x.min(WIDTH - 1), y, INK));
        let label = frame.to_string();
        write(&mut picture, x.saturating_sub(text_width(&label) / 2), bottom + 12, &label, INK);
    }
    (above..bottom).for_each(|y| picture.put_pixel(left, y, INK));
    write(&mut picture, (left + end) / 2 - 30, HEIGHT - 22, "frame", INK);
    write(&mut picture, left, 16, "warping error", INK);

    let mut legend = end;
    let has_reference = figures.sharpness.reference.is_some();
    let clips = [
        (has_reference, LINES.reference, NAMES.reference),
        (true, Some(LINES.output), Some(NAMES.output)),
        (true, Some(LINES.input), Some(NAMES.input)),
    ];
    for (is_shown, color, name) in clips {
        let (true, Some(color), Some(name)) = (is_shown, color, name) else { continue };
        legend = legend.saturating_sub(text_width(name) + 50);
        let y = 23.0;
        line(&mut picture, (legend as f32, y), (legend as f32 + 28.0, y), color);
        write(&mut picture, legend + 36, 16, name, color);
    }
    // The output last: it lies on top.
    let curve = |value: fn(PerClip<f64>) -> Option<f64>| -> Vec<Option<(f32, f32)>> {
        errors.iter().enumerate().map(|(pair, errors)| Some(place(pair, value((*errors)?)?))).collect()
    };
    let curves = [
        (curve(|errors| errors.reference), LINES.reference),
        (curve(|errors| Some(errors.input)), Some(LINES.input)),
        (curve(|errors| Some(errors.output)), Some(LINES.output)),
    ];
    for (points, color) in curves {
        let Some(color) = color else { continue };
        for (index, point) in points.iter().enumerate() {
            let Some(point) = *point else { continue };
            // A pair between two gaps is a dot.
            let next = points.get(index + 1).copied().flatten().unwrap_or(point);
            line(&mut picture, point, next, color);
        }
    }
    picture
}

/// 1, 2 or 5 times a power of ten, not under `step`.
fn nice_step(step: f64) -> f64 {
    if !(step.is_finite() && step > 0.0) {
        return 1.0;
    }
    let power = 10_f64.powf(step.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= step * 0.999).unwrap_or(10.0);
    factor * power
}

/// A smooth line with round ends.
fn line(picture: &mut RgbImage, from: (f32, f32), to: (f32, f32), color: Rgb<u8>) {
    let reach = LINE_WIDTH / 2.0 + 1.0;
    let low = |a: f32, b: f32| (a.min(b) - reach).max(0.0) as u32;
    let high = |a: f32, b: f32, side: u32| ((a.max(b) + reach).max(0.0) as u32).min(side - 1);
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let length = (dx * dx + dy * dy).max(1e-6);
    for y in low(from.1, to.1)..=high(from.1, to.1, HEIGHT) {
        for x in low(from.0, to.0)..=high(from.0, to.0, WIDTH) {
            let (px, py) = (x as f32 - from.0, y as f32 - from.1);
            let along = ((px * dx + py * dy) / length).clamp(0.0, 1.0);
            let distance = (px - along * dx).hypot(py - along * dy);
            let share = (LINE_WIDTH / 2.0 + 0.5 - distance).clamp(0.0, 1.0);
            let pixel = picture.get_pixel_mut(x, y);
            for (channel, ink) in pixel.0.iter_mut().zip(color.0) {
                *channel = (f32::from(*channel) * (1.0 - share) + f32::from(ink) * share).round() as u8;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_round_numbers() {
        for (step, expected) in [(0.003, 0.005), (1.0, 1.0), (14.0, 20.0), (6e-5, 1e-4), (0.0, 1.0), (f64::NAN, 1.0)] {
            assert!((nice_step(step) / expected - 1.0).abs() < 1e-9, "{step}: {}", nice_step(step));
        }
    }
}
