//! Paintings as a style is learnt from them: read, checked and brought to the size that makes the strokes.

use std::io::Cursor;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use image::{ExtendedColorType, ImageDecoder, ImageReader};

use crate::frame::{CHANNELS, Frame, FrameSize};
use crate::scale::{Filter, Scaler};
use crate::stills::{self, Still};
use crate::style::learned::PaintingRecord;

/// Shorter side of a painting at a stroke size of 1: what the bundled styles were trained with.
const SHORT_SIDE: f32 = 448.0;
/// More pixels are not looked at: they would cost gigabytes and change little.
const MOST_LOOKED_AT: f64 = 1.5e6;
/// A painting whose shorter side is less has no strokes.
const SMALLEST_SIDE: usize = 64;
/// A picture of more pixels is not even decoded.
const MOST_PIXELS: u64 = 200_000_000;
/// Deviation in levels below which a picture shows nothing.
const BLANK_LEVELS: f64 = 3.0;

/// A painting.
pub struct Painting {
    /// As it is looked at.
    pub frame: Frame,
    /// What a style says of it.
    pub record: PaintingRecord,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// Reads and checks a painting.
///
/// # Errors
/// When it cannot be read, or is none; the error names it.
pub fn read(path: &Path, stroke_size: f32) -> Result<Painting> {
    let bytes = stills::read_bytes(path).with_context(|| format!("cannot read the painting '{}'", path.display()))?;
    let understand = || -> Result<(Frame, Vec<String>)> {
        check_header(&bytes)?;
        let still = Still::decode(&bytes)?;
        ensure!(
            !still.has_transparency(),
            "it is transparent in places (expected an opaque picture: flatten it first)"
        );
        let frame = &still.content;
        ensure!(
            frame.size.short_side() >= SMALLEST_SIDE,
            "it is {} (expected at least {SMALLEST_SIDE} pixels on its shorter side)",
            frame.size
        );
        let deviation = deviation(frame);
        ensure!(deviation >= BLANK_LEVELS, "it is blank: all of it has nearly one color (expected a painting)");
        let wanted = SHORT_SIDE * stroke_size;
        let mut notes: Vec<String> = still.notes().iter().map(|note| format!("{}: {note}", path.display())).collect();
        if (frame.size.short_side() as f32) < 0.8 * wanted {
            notes.push(format!(
                "{} is {}: strokes of this size want {wanted:.0} pixels on its shorter side, so they will be smaller",
                path.display(),
                frame.size
            ));
        }
        Ok((scaled(frame, wanted)?, notes))
    };
    let (frame, notes) = understand().with_context(|| format!("'{}' is no painting to learn", path.display()))?;
    let file = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let sha256 = crate::commands::sha256(&bytes);
    Ok(Painting { frame, record: PaintingRecord { file, sha256 }, notes })
}

/// What can be told before the pixels are decoded.
fn check_header(bytes: &[u8]) -> Result<()> {
    let decoder = ImageReader::new(Cursor::new(bytes)).with_guessed_format()?.into_decoder()?;
    let (width, height) = decoder.dimensions();
    ensure!(
        u64::from(width) * u64::from(height) <= MOST_PIXELS,
        "it is {width}×{height} (expected at most {} megapixels: scale it down)",
        MOST_PIXELS / 1_000_000
    );
    let is_cmyk = matches!(decoder.original_color_type(), ExtendedColorType::Cmyk8 | ExtendedColorType::Cmyk16);
    ensure!(
        !is_cmyk && jpeg_components(bytes) != Some(4),
        "its colors are CMYK, for a printer (expected RGB: convert it with its color profile first)"
    );
    Ok(())
}

/// How many numbers a JPEG has for a pixel, as the header of its frame says: the decoder makes RGB of all of them and does not tell.
fn jpeg_components(bytes: &[u8]) -> Option<u8> {
    const FRAMES: [u8; 3] = [0xC0, 0xC1, 0xC2];
    let mut rest = bytes.strip_prefix(b"\xFF\xD8")?;
    // Segments: a marker, a length that counts itself, and what it counts.
    while let [0xFF, marker, high, low, ..] = *rest {
        let length = usize::from(u16::from_be_bytes([high, low]));
        if FRAMES.contains(&marker) {
            return rest.get(9).copied();
        }
        rest = rest.get(2 + length..)?;
    }
    None
}

/// The standard deviation over all levels, channel by channel.
fn deviation(frame: &Frame) -> f64 {
    let pixels = frame.pixels().as_chunks::<CHANNELS>().0;
    let count = pixels.len().max(1) as f64;
    let variance = |channel: usize| {
        let (sum, squares) = pixels.iter().fold((0.0, 0.0), |(sum, squares), pixel| {
            let level = f64::from(pixel[channel]);
            (sum + level, squares + level * level)
        });
        squares / count - (sum / count) * (sum / count)
    };
    (0..CHANNELS).map(variance).fold(0.0, f64::max).max(0.0).sqrt()
}

/// At most `short_side` pixels on its shorter side, never enlarged.
fn scaled(frame: &Frame, short_side: f32) -> Result<Frame> {
    let by_side = f64::from(short_side) / frame.size.short_side() as f64;
    let by_pixels = (MOST_LOOKED_AT / frame.size.pixels() as f64).sqrt();
    let factor = by_side.min(by_pixels).min(1.0);
    let side = |length: usize| ((length as f64 * factor).round() as usize).max(1);
    let size = FrameSize::new(side(frame.size.width), side(frame.size.height));
    ensure!(
        size.short_side() >= SMALLEST_SIDE / 2,
        "it is {}, too long for its other side (expected a picture of a more usual shape)",
        frame.size
    );
    let mut small = Frame::black(size);
    Scaler::new().scale_rgb(frame.size, frame.pixels(), size, small.pixels_mut(), Filter::Box)?;
    Ok(small)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_painting_is_made_small_and_never_enlarged() {
        let sizes = |width, height| scaled(&Frame::black(FrameSize::new(width, height)), 448.0).map(|frame| frame.size);
        assert_eq!(sizes(896, 1792).unwrap(), FrameSize::new(448, 896));
        assert_eq!(sizes(200, 300).unwrap(), FrameSize::new(200, 300));
        assert!(sizes(64, 200_000).is_err());
    }

    #[test]
    fn a_picture_for_a_printer_is_told_from_one_for_a_screen() {
        assert_eq!(jpeg_components(include_bytes!("../../../tests/fixtures/cmyk.jpg")), Some(4));
        assert_eq!(jpeg_components(include_bytes!("../../../samples/shipwreck.jpg")), Some(3));
        assert_eq!(jpeg_components(b"\xFF\xD8\xFF\xE0\xFF"), None);
        assert_eq!(jpeg_components(b"\x89PNG"), None);
    }

    #[test]
    fn one_color_has_no_deviation() {
        let mut frame = Frame::black(FrameSize::new(8, 8));
        assert_eq!(deviation(&frame), 0.0);
        frame.pixels_mut().iter_mut().step_by(2).for_each(|level| *level = 200);
        assert!(deviation(&frame) > 50.0);
    }
}
