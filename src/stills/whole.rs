//! Whether a file holds all of its picture, and none that is too large.

use anyhow::{Context, Result, ensure};
use image::{DynamicImage, ImageDecoder, RgbImage};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::options::DecoderOptions;

use crate::frame::CHANNELS;

/// Pictures that want more memory than this are refused: 16 bits of four channels at 500 megapixels.
pub const MAX_DECODED_BYTES: u64 = 4 << 30;

/// Refuses a picture that is too large, or takes more than the `free` bytes of memory, before its pixels are allocated: the crate
/// holds those of a decoder that was taken out of its reader to no limit. A header that lies costs nothing.
pub fn check_size(decoder: &impl ImageDecoder, free: Option<u64>) -> Result<()> {
    let ((width, height), color) = (decoder.dimensions(), decoder.color_type());
    let (channels, of_pixel) = (u64::from(color.channel_count()), u64::from(color.bytes_per_pixel()));
    // Gray becomes red, green and blue.
    let of_pixel = of_pixel / channels * channels.max(CHANNELS as u64);
    let pixels = u64::from(width) * u64::from(height);
    let bytes = pixels.saturating_mul(of_pixel);
    ensure!(
        bytes <= MAX_DECODED_BYTES,
        "its size is too large: {width}×{height} takes {:.1} GB of memory (expected at most {:.1} GB)",
        bytes as f64 / 1e9,
        MAX_DECODED_BYTES as f64 / 1e9
    );
    // Beside it stand what is painted of it and the painting.
    let needed = bytes + pixels * 2 * CHANNELS as u64;
    if let Some(free) = free {
        ensure!(
            needed <= free,
            "{width}×{height} takes about {:.1} GB of memory, and {:.1} GB are available (expected a smaller picture: scale it down, or free \
             memory)",
            needed as f64 / 1e9,
            free as f64 / 1e9
        );
    }
    Ok(())
}

/// The pixels of a JPEG. The `image` crate decodes one that is cut short or damaged as well, and leaves gray what is missing.
pub fn whole_jpeg(bytes: &[u8]) -> Result<DynamicImage> {
    // Bytes between the headers that belong to nothing are harmless.
    let options = DecoderOptions::default().set_strict_mode(false).set_max_width(usize::MAX).set_max_height(usize::MAX);
    // At a mark of the end that comes too early the decoder would go on with zeros, even if it is strict; at the end of the bytes it
    // does not.
    let bytes = &bytes[..end_of_only_scan(bytes).unwrap_or(bytes.len())];
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers()?;
    decoder.set_options(options.set_strict_mode(true));
    let pixels = decoder.decode().context("it is damaged or cut short")?;
    let (width, height) = decoder.dimensions().context("it has no size")?;
    let picture = RgbImage::from_raw(u32::try_from(width)?, u32::try_from(height)?, pixels);
    Ok(picture.context("it is damaged or cut short")?.into())
}

/// Where the mark of the end stands in a JPEG that is not progressive and whose components come in one scan; `None`: it is another
/// one, or has no such mark.
fn end_of_only_scan(bytes: &[u8]) -> Option<usize> {
    let mut at = 2;
    let mut is_sequential = false;
    loop {
        // Before a mark there may be bytes of filling.
        let [0xff, mark, ..] = *bytes.get(at..)? else { return None };
        if mark == 0xff {
            at += 1;
            continue;
        }
        let length = usize::from(u16::from_be_bytes(*bytes.get(at + 2..)?.first_chunk()?));
        at += 2 + length;
        match mark {
            0xc0 | 0xc1 => is_sequential = true,
            // Other kinds of frames, but for the tables between their numbers.
            0xc2..=0xcf if !matches!(mark, 0xc4 | 0xc8 | 0xcc) => return None,
            0xda => break,
            _ => {}
        }
    }
    let scan = bytes.get(at..)?;
    // In a scan, a byte of 255 is followed by 0, or is the mark of a restart.
    let mark = scan.windows(2).position(|pair| pair[0] == 0xff && !matches!(pair[1], 0 | 0xd0..=0xd7 | 0xff))?;
    (is_sequential && scan[mark + 1] == 0xd9).then_some(at + mark)
}

/// Refuses a WebP that is shorter than it says: of an animated one only the first picture is decoded.
pub fn check_length_of_webp(bytes: &[u8]) -> Result<()> {
    let declared =
        bytes.get(4..8).and_then(|length| length.first_chunk()).map_or(0, |length| u32::from_le_bytes(*length));
    let there = bytes.len().saturating_sub(8);
    ensure!(u64::from(declared) <= there as u64, "it is cut short ({there} bytes of {declared})");
    Ok(())
}
