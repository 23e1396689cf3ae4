//! Where in a painting its losses live: how far the content's features are off, and how much each pixel pulls at the style.

use std::io::Cursor;
use std::path::Path;

use anyhow::{Context, Result};
use image::{ImageFormat, Rgb, RgbImage};

use super::setup::Setup;
use crate::commands::outputs;
use crate::frame::CHANNELS;
use crate::gatys::Picture;
use crate::lettering::{LINE_HEIGHT, write as write_letters};

const MARGIN: u32 = 12;
const BACKGROUND: Rgb<u8> = Rgb([255; 3]);
const INK: Rgb<u8> = Rgb([40; 3]);
/// This share of pixels is brighter than the scale goes: a few stand out, and the rest is to be seen as well.
const CLIPPED_SHARE: f64 = 0.01;

/// Draws the painting, and the losses of content and of style on it, side by side.
///
/// # Errors
/// When the network cannot be run or the file not be written.
pub fn write(path: &Path, setup: &Setup, picture: &Picture) -> Result<()> {
    let painting = setup.painting(&setup.settings)?;
    let mut heats = Vec::new();
    if setup.settings.objective.content_weight > 0.0 {
        heats.push(("content", painting.content_heat(picture)?));
    }
    if setup.settings.objective.style_weight > 0.0 {
        heats.push(("style", painting.style_heat(picture)?));
    }
    let (width, height) = (picture.size.width as u32, picture.size.height as u32);
    let columns = 1 + heats.len() as u32;
    let size = (columns * (width + MARGIN) + MARGIN, height + 3 * MARGIN / 2 + LINE_HEIGHT + MARGIN);
    let mut sheet = RgbImage::from_pixel(size.0, size.1, BACKGROUND);
    let mut place = |column: u32, name: &str, pixel: &dyn Fn(usize) -> Rgb<u8>| {
        let left = MARGIN + column * (width + MARGIN);
        for index in 0..width * height {
            sheet.put_pixel(left + index % width, MARGIN + index / width, pixel(index as usize));
        }
        write_letters(&mut sheet, left, MARGIN + height + MARGIN / 2, name, INK);
    };
    let frame = picture.to_frame();
    let pixels = frame.pixels().as_chunks::<CHANNELS>().0;
    place(0, "painting", &|index| Rgb(pixels[index]));
    for (column, (name, values)) in (1..).zip(&heats) {
        let mut sorted = values.clone();
        sorted.sort_unstable_by(f32::total_cmp);
        let at = ((sorted.len() as f64 * (1.0 - CLIPPED_SHARE)) as usize).min(sorted.len().saturating_sub(1));
        let most = sorted.get(at).copied().unwrap_or(0.0).max(f32::MIN_POSITIVE);
        place(column, name, &|index| heat(values[index] / most));
    }
    let mut bytes = Cursor::new(Vec::new());
    sheet.write_to(&mut bytes, ImageFormat::Png).context("draw the heat map")?;
    outputs::write(path, bytes.get_ref(), true)
}

/// Black, violet, orange, yellow, white: each brighter than the one before.
fn heat(share: f32) -> Rgb<u8> {
    const STOPS: [[f32; 3]; 5] =
        [[0.0, 0.0, 0.0], [90.0, 20.0, 110.0], [220.0, 80.0, 40.0], [250.0, 200.0, 60.0], [255.0, 255.0, 240.0]];
    let at = share.clamp(0.0, 1.0) * (STOPS.len() - 1) as f32;
    let low = (at as usize).min(STOPS.len() - 2);
    let between = at - low as f32;
    Rgb([0, 1, 2]
        .map(|channel| (STOPS[low][channel] * (1.0 - between) + STOPS[low + 1][channel] * between).round() as u8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_heat_is_brighter() {
        let brightness = |share: f32| heat(share).0.iter().map(|&value| u32::from(value)).sum::<u32>();
        let all: Vec<u32> = (0..=20).map(|step| brightness(step as f32 / 20.0)).collect();
        assert!(all.windows(2).all(|pair| pair[0] < pair[1]), "{all:?}");
        assert_eq!(heat(7.0), heat(1.0));
    }
}
