//! Curves as a picture: axes with round numbers, a line for each series, a legend.

use image::{Rgb, RgbImage};

use crate::lettering::{LINE_HEIGHT, text_width, write};

const WIDTH: u32 = 1200;
const HEIGHT: u32 = 480;
/// Around the curves, in pixels: left, top, right, bottom.
const MARGINS: [u32; 4] = [120, 50, 30, 60];
const BACKGROUND: Rgb<u8> = Rgb([255, 255, 255]);
const INK: Rgb<u8> = Rgb([60, 60, 60]);
const GRID: Rgb<u8> = Rgb([225, 225, 225]);
/// Of Okabe and Ito: told apart by people who do not see all colours.
pub const COLORS: [Rgb<u8>; 8] = [
    Rgb([213, 94, 0]),
    Rgb([0, 114, 178]),
    Rgb([0, 158, 115]),
    Rgb([204, 121, 167]),
    Rgb([230, 159, 0]),
    Rgb([86, 180, 233]),
    Rgb([130, 130, 130]),
    Rgb([0, 0, 0]),
];
const LINE_WIDTH: f32 = 2.0;
const DOT_WIDTH: f32 = 8.0;
/// Where the legend's first row starts.
const LEGEND_TOP: u32 = 16;

/// A line of a chart.
#[derive(Debug, Clone)]
pub struct Curve {
    /// What the legend calls it.
    pub name: String,
    /// Its color.
    pub color: Rgb<u8>,
    /// A value for each place from 0 on; `None` leaves a gap.
    pub values: Vec<Option<f64>>,
}

/// How values are laid out upwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Axis {
    /// From 0.
    Linear,
    /// In powers of ten, over at most six of them; what is not above 0 is left out.
    Logarithmic,
}

/// The range of the upward axis and its ticks, in what is drawn (logarithms on a logarithmic axis).
struct Range {
    low: f64,
    high: f64,
    ticks: Vec<(f64, String)>,
}

/// Draws curves; the later ones lie on top.
pub fn draw(title: &str, along: &str, axis: Axis, curves: &[Curve]) -> RgbImage {
    let mut picture = RgbImage::from_pixel(WIDTH, HEIGHT, BACKGROUND);
    let count = curves.iter().map(|curve| curve.values.len()).max().unwrap_or(0);
    let last = count.saturating_sub(1).max(1);
    let drawn = |value: f64| match axis {
        Axis::Linear => Some(value).filter(|value| value.is_finite()),
        Axis::Logarithmic => Some(value.log10()).filter(|value| value.is_finite()),
    };
    let values = curves.iter().flat_map(|curve| &curve.values).flatten().filter_map(|&value| drawn(value));
    let (lowest, highest) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
    let range = match axis {
        Axis::Linear => linear_range(highest.max(0.0)),
        Axis::Logarithmic => logarithmic_range(lowest, highest),
    };
    let [left, above, right, below] = MARGINS;
    let (bottom, end) = (HEIGHT - below, WIDTH - right);
    let legend = legend_places(curves, left + text_width(title) + 50, end);
    let above = above + legend.iter().map(|(_, y)| y - LEGEND_TOP).max().unwrap_or(0);
    let place = |at: usize, value: f64| {
        let x = left as f32 + (end - left) as f32 * at as f32 / last as f32;
        let share = ((value - range.low) / (range.high - range.low)).clamp(0.0, 1.0) as f32;
        (x, bottom as f32 - (bottom - above) as f32 * share)
    };
    for (index, (value, label)) in range.ticks.iter().enumerate() {
        let y = place(0, *value).1 as u32;
        (left..end).for_each(|x| picture.put_pixel(x, y, if index == 0 { INK } else { GRID }));
        write(&mut picture, left.saturating_sub(text_width(label) + 10), y.saturating_sub(7), label, INK);
    }
    let step = nice_step(last as f64 / 10.0).max(1.0) as usize;
    for at in (0..count).step_by(step) {
        let x = place(at, range.low).0 as u32;
        (bottom..bottom + 6).for_each(|y| picture.put_pixel(x.min(WIDTH - 1), y, INK));
        let label = at.to_string();
        write(&mut picture, x.saturating_sub(text_width(&label) / 2), bottom + 12, &label, INK);
    }
    (above..bottom).for_each(|y| picture.put_pixel(left, y, INK));
    write(&mut picture, ((left + end) / 2).saturating_sub(text_width(along) / 2), HEIGHT - 22, along, INK);
    write(&mut picture, left, 16, title, INK);

    for (curve, (x, y)) in curves.iter().zip(legend) {
        let middle = y as f32 + 7.0;
        line(&mut picture, (x as f32, middle), (x as f32 + 28.0, middle), LINE_WIDTH, curve.color);
        write(&mut picture, x + 36, y, &curve.name, curve.color);
    }
    for curve in curves {
        let points: Vec<Option<(f32, f32)>> = curve
            .values
            .iter()
            .enumerate()
            .map(|(at, value)| value.and_then(drawn).map(|value| place(at, value)))
            .collect();
        join(&mut picture, &points, curve.color);
    }
    picture
}

/// Lines from point to point, with gaps; a point between two gaps is a dot.
fn join(picture: &mut RgbImage, points: &[Option<(f32, f32)>], color: Rgb<u8>) {
    let at = |index: usize| points.get(index).copied().flatten();
    for index in 0..points.len() {
        let Some(point) = at(index) else { continue };
        match (index.checked_sub(1).and_then(at), at(index + 1)) {
            (_, Some(next)) => line(picture, point, next, LINE_WIDTH, color),
            (None, None) => line(picture, point, point, DOT_WIDTH, color),
            (Some(_), None) => {}
        }
    }
}

/// Upper left corners of the entries of a legend, from right to left in as many rows as it takes.
fn legend_places(curves: &[Curve], left: u32, right: u32) -> Vec<(u32, u32)> {
    let (mut x, mut y) = (right, LEGEND_TOP);
    curves
        .iter()
        .map(|curve| {
            let width = text_width(&curve.name) + 50;
            if x < left + width && x < right {
                (x, y) = (right, y + LINE_HEIGHT + 4);
            }
            x = x.saturating_sub(width);
            (x, y)
        })
        .collect()
}

fn linear_range(highest: f64) -> Range {
    let step = nice_step(highest / 5.0);
    let high = (highest / step).ceil().max(1.0) * step;
    let decimals = (-step.log10().floor()).clamp(0.0, 9.0) as usize;
    let ticks = (0..=(high / step).round() as u32).map(|tick| f64::from(tick) * step);
    Range { low: 0.0, high, ticks: ticks.map(|value| (value, format!("{value:.decimals$}"))).collect() }
}

fn logarithmic_range(lowest: f64, highest: f64) -> Range {
    const MOST_POWERS: f64 = 6.0;
    let high = if highest.is_finite() { highest.ceil() } else { 0.0 };
    let low = if lowest.is_finite() { lowest.floor().max(high - MOST_POWERS).min(high - 1.0) } else { high - 1.0 };
    let ticks = (0..=(high - low).round() as u32).map(|tick| low + f64::from(tick));
    let label = |power: f64| match power as i32 {
        power @ -4..0 => format!("{:.*}", -power as usize, 10f64.powi(power)),
        power @ 0..5 => format!("{:.0}", 10f64.powi(power)),
        power => format!("1e{power}"),
    };
    Range { low, high, ticks: ticks.map(|power| (power, label(power))).collect() }
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
fn line(picture: &mut RgbImage, from: (f32, f32), to: (f32, f32), width: f32, color: Rgb<u8>) {
    let reach = width / 2.0 + 1.0;
    let low = |a: f32, b: f32| (a.min(b) - reach).max(0.0) as u32;
    let high = |a: f32, b: f32, side: u32| ((a.max(b) + reach).max(0.0) as u32).min(side - 1);
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let length = (dx * dx + dy * dy).max(1e-6);
    for y in low(from.1, to.1)..=high(from.1, to.1, HEIGHT) {
        for x in low(from.0, to.0)..=high(from.0, to.0, WIDTH) {
            let (px, py) = (x as f32 - from.0, y as f32 - from.1);
            let along = ((px * dx + py * dy) / length).clamp(0.0, 1.0);
            let distance = (px - along * dx).hypot(py - along * dy);
            let share = (width / 2.0 + 0.5 - distance).clamp(0.0, 1.0);
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

    #[test]
    fn powers_of_ten_are_written_out_where_they_are_short() {
        let labels: Vec<String> = logarithmic_range(-2.5, 1.2).ticks.into_iter().map(|(_, label)| label).collect();
        assert_eq!(labels, ["0.001", "0.01", "0.1", "1", "10", "100"]);
        assert_eq!(logarithmic_range(f64::INFINITY, f64::NEG_INFINITY).ticks.len(), 2);
        assert_eq!(logarithmic_range(-30.0, 0.0).low, -6.0);
    }

    #[test]
    fn a_curve_is_drawn_where_its_values_are() {
        let curve = |values: &[Option<f64>]| Curve { name: "a".to_owned(), color: COLORS[0], values: values.to_vec() };
        let rising = draw("t", "x", Axis::Linear, &[curve(&[Some(0.0), Some(1.0)])]);
        let color_at = |picture: &RgbImage, x: u32, y: u32| *picture.get_pixel(x, y) == COLORS[0];
        assert!(
            color_at(&rising, MARGINS[0], HEIGHT - MARGINS[3]) && color_at(&rising, WIDTH - MARGINS[2], MARGINS[1])
        );
        let gap = draw("t", "x", Axis::Logarithmic, &[curve(&[Some(1.0), None, Some(0.0), Some(10.0)])]);
        assert!(color_at(&gap, MARGINS[0], HEIGHT - MARGINS[3]) && color_at(&gap, WIDTH - MARGINS[2], MARGINS[1]));
        // What stands alone is large enough to be seen.
        let alone = draw("t", "x", Axis::Linear, &[curve(&[None, Some(1.0)])]);
        assert!((-3..=3).all(|dx| color_at(&alone, (WIDTH - MARGINS[2]).saturating_add_signed(dx), MARGINS[1])));
    }
}
