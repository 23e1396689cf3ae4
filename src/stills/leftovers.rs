//! What a file holds beside the picture that is painted and that does not come out: further pictures, the thumbnail in its
//! EXIF data, and colours that a PNG describes without a profile.

use std::io::Cursor;
use std::ops::Range;

use anyhow::Result;
use image::codecs::webp::WebPDecoder;

use super::StillFormat;

/// What `gAMA` says of sRGB, which is what every program takes a PNG for that says nothing.
const GAMMA_OF_SRGB: u32 = 45_455;
/// The same of `cICP`: primaries of BT.709, the curve of sRGB, RGB, full range.
const CODES_OF_SRGB: [u8; 4] = [1, 13, 0, 1];

/// Whether more pictures follow the first: frames of an animation, or pages.
///
/// # Errors
/// If the bytes are none of the format.
pub fn has_more_pictures(bytes: &[u8], format: StillFormat) -> Result<bool> {
    Ok(match format {
        StillFormat::Png => chunks(bytes).any(|(kind, data)| kind == *b"acTL" && number(data).is_some_and(|n| n > 1)),
        StillFormat::WebP => WebPDecoder::new(Cursor::new(bytes))?.has_animation(),
        StillFormat::Tiff => {
            let next = after_first_directory(bytes).and_then(|place| bytes.get(place));
            next.is_some_and(|offset| offset.iter().any(|&byte| byte != 0))
        }
        StillFormat::Jpeg => false,
    })
}

/// Whether a PNG says by `gAMA` or `cICP` that its colours are others than those of sRGB, and no profile says it.
pub fn has_own_colors(png: &[u8]) -> bool {
    let has = |wanted: &[u8; 4]| chunks(png).any(|(kind, _)| kind == *wanted);
    // cICP goes before a profile, and either of the others before gAMA (PNG, third edition, 4.3).
    if let Some((_, codes)) = chunks(png).find(|(kind, _)| kind == b"cICP") {
        return codes != CODES_OF_SRGB;
    }
    let gamma = chunks(png).find(|(kind, _)| kind == b"gAMA").and_then(|(_, data)| number(data));
    gamma.is_some_and(|gamma| gamma.abs_diff(GAMMA_OF_SRGB) > 500) && !has(b"iCCP") && !has(b"sRGB")
}

/// Takes the thumbnail out of EXIF data: their second directory, which nothing leads to any more.
pub fn drop_thumbnail(exif: &mut [u8]) {
    if let Some(offset) = after_first_directory(exif).and_then(|place| exif.get_mut(place)) {
        offset.fill(0);
    }
}

/// The chunks of a PNG before its pixels: kinds, and what is in them.
fn chunks(png: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    let mut rest = png.get(8..).unwrap_or_default();
    std::iter::from_fn(move || {
        let length = number(rest)? as usize;
        let kind = *rest.get(4..)?.first_chunk()?;
        let data = rest.get(8..length.checked_add(8)?)?;
        // A checksum follows.
        rest = rest.get(length.checked_add(12)?..)?;
        (kind != *b"IDAT").then_some((kind, data))
    })
}

fn number(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

/// Where a TIFF, which EXIF data are as well, says what follows its first directory: an offset, 0 for nothing. `None` of one
/// that is damaged or has another layout.
fn after_first_directory(tiff: &[u8]) -> Option<Range<usize>> {
    let is_little = match tiff.get(..4)? {
        b"II*\0" => true,
        b"MM\0*" => false,
        _ => return None,
    };
    let first = *tiff.get(4..)?.first_chunk()?;
    let first = if is_little { u32::from_le_bytes(first) } else { u32::from_be_bytes(first) } as usize;
    let entries = *tiff.get(first..)?.first_chunk()?;
    let entries = if is_little { u16::from_le_bytes(entries) } else { u16::from_be_bytes(entries) } as usize;
    let at = first.checked_add(2 + 12 * entries)?;
    Some(at..at.checked_add(4)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A chunk: its kind, and what is in it.
    type Chunk<'a> = (&'a [u8; 4], &'a [u8]);

    /// A PNG of these chunks; no checksum is looked at.
    fn png(parts: &[Chunk<'_>]) -> Vec<u8> {
        let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
        for (kind, data) in parts.iter().chain([&(b"IDAT", &[][..])]) {
            bytes.extend((data.len() as u32).to_be_bytes());
            bytes.extend(*kind);
            bytes.extend(*data);
            bytes.extend([0; 4]);
        }
        bytes
    }

    #[test]
    fn animations_and_pages_are_told_from_single_pictures() {
        let animated = |frames: u8| png(&[(b"IHDR", &[0; 13]), (b"acTL", &[0, 0, 0, frames, 0, 0, 0, 0])]);
        for (bytes, expected) in [(animated(3), true), (animated(1), false), (png(&[]), false)] {
            assert_eq!(has_more_pictures(&bytes, StillFormat::Png).unwrap(), expected);
        }
        for (next, expected) in [(20, true), (0, false)] {
            let little = [b"II*\0\x08\0\0\0\x01\0".as_slice(), &[9; 12], &[next, 0, 0, 0]].concat();
            let big = [b"MM\0*\0\0\0\x08\0\x01".as_slice(), &[9; 12], &[0, 0, 0, next]].concat();
            for mut bytes in [little, big] {
                assert_eq!(has_more_pictures(&bytes, StillFormat::Tiff).unwrap(), expected);
                drop_thumbnail(&mut bytes);
                assert!(!has_more_pictures(&bytes, StillFormat::Tiff).unwrap());
                // One that is cut short is left to its decoder.
                assert!(!has_more_pictures(&bytes[..bytes.len() - 5], StillFormat::Tiff).unwrap());
                drop_thumbnail(&mut bytes[..9]);
            }
        }
    }

    #[test]
    fn colors_that_are_not_those_of_srgb_are_told() {
        let gamma = 45_455_u32.to_be_bytes();
        let linear = 100_000_u32.to_be_bytes();
        let cases: [(&[Chunk<'_>], bool); 6] = [
            (&[], false),
            (&[(b"gAMA", &gamma)], false),
            (&[(b"gAMA", &linear)], true),
            (&[(b"iCCP", b"a profile"), (b"gAMA", &linear)], false),
            (&[(b"cICP", &[9, 16, 0, 1])], true),
            (&[(b"cICP", &[1, 13, 0, 1]), (b"gAMA", &linear)], false),
        ];
        for (parts, expected) in cases {
            assert_eq!(has_own_colors(&png(parts)), expected, "{parts:?}");
        }
        assert!(!has_own_colors(b"\x89PNG") && !has_own_colors(&png(&[(b"gAMA", &linear)])[..20]));
    }
}
