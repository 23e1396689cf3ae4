//! Pictures in files: what a network paints of them, and what it leaves as it was.
//!
//! A network sees 8-bit RGB. Transparency, the bits below the eighth, the colour profile and the EXIF data are kept here
//! and put back around the painting. This room knows nothing of folders, styles or the terminal.

mod encode;
mod format;
mod leftovers;
mod whole;

use std::io::Cursor;
use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use image::codecs::tiff::TiffDecoder;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageReader, Limits};

pub use self::format::StillFormat;
use self::whole::{MAX_DECODED_BYTES, check_length_of_webp, check_size, whole_jpeg};
use crate::frame::{CHANNELS, Frame, FrameSize};

const MORE_PICTURES: &str = "of several pictures in the file (an animation, pages) the first is painted";

/// A picture and what came with it.
#[derive(Debug)]
pub struct Still {
    /// The picture upright, 8 bit: what is painted.
    pub content: Frame,
    format: StillFormat,
    /// The same in 16 bit with opacity, `[height, width, 4]`, 0–65535, where the file has more than 8 bits.
    deep: Option<Vec<u16>>,
    /// Opacity, `[height, width]`, 0–255, of 8-bit pictures that have it.
    opacity: Option<Vec<u8>>,
    profile: Option<Vec<u8>>,
    exif: Option<Vec<u8>>,
    notes: Vec<&'static str>,
}

impl Still {
    /// Understands the bytes of a file, turned upright as its EXIF data say.
    ///
    /// # Errors
    /// If they are no picture, a damaged one, or one that is too large.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        // The errors of the crate name their cause themselves.
        Self::understand(bytes).map_err(|error| match error.downcast::<ImageError>() {
            Ok(error) => anyhow!("{error}"),
            Err(error) => error,
        })
    }

    fn understand(bytes: &[u8]) -> Result<Self> {
        ensure!(!bytes.is_empty(), "it is empty");
        let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format()?;
        let format = reader.format().and_then(StillFormat::of).context("it is no PNG, JPEG, WebP or TIFF")?;
        let mut limits = Limits::no_limits();
        limits.max_alloc = Some(MAX_DECODED_BYTES);
        reader.limits(limits);
        let mut decoder = reader.into_decoder()?;
        check_size(&decoder)?;
        let orientation = decoder.orientation()?;
        let mut notes = Vec::new();
        if leftovers::has_more_pictures(bytes, format)? {
            notes.push(MORE_PICTURES);
        }
        if format == StillFormat::Png && leftovers::has_own_colors(bytes) {
            notes.push("what it says of its colors without a profile (gAMA, cICP) is left out");
        }
        let profile = match format {
            // With limits the crate has no room for a profile that is large beside its picture.
            StillFormat::Tiff => TiffDecoder::new(Cursor::new(bytes))?.icc_profile()?,
            _ => decoder.icc_profile()?,
        };
        let profile = profile.filter(|profile| {
            let is_rgb = has_rgb_profile(profile);
            if !is_rgb {
                notes.push("a colour profile that is not of RGB is left out");
            }
            is_rgb
        });
        let mut exif = decoder.exif_metadata()?;
        if let Some(exif) = &mut exif {
            // The picture is turned already: a program that turned it again would be wrong.
            let _ = Orientation::remove_from_exif_chunk(exif);
            // It shows the picture as it was.
            leftovers::drop_thumbnail(exif);
        }
        let mut picture = match format {
            StillFormat::Jpeg => whole_jpeg(bytes)?,
            StillFormat::WebP => {
                check_length_of_webp(bytes)?;
                DynamicImage::from_decoder(decoder)?
            }
            _ => DynamicImage::from_decoder(decoder)?,
        };
        picture.apply_orientation(orientation);
        ensure!(picture.width() > 0 && picture.height() > 0, "it has no pixels");
        let size = FrameSize::new(picture.width() as usize, picture.height() as usize);
        let color = picture.color();
        let is_deep = color.bits_per_pixel() / u16::from(color.channel_count()) > 8;
        let (mut deep, mut opacity) = (None, None);
        let mut content = Frame::black(size);
        if is_deep {
            let values = picture.into_rgba16().into_raw();
            let pixels = values.as_chunks::<4>().0.iter();
            for (dst, [red, green, blue, _]) in
                content.pixels_mut().as_chunks_mut::<CHANNELS>().0.iter_mut().zip(pixels)
            {
                *dst = [*red, *green, *blue].map(to_eight_bits);
            }
            if color.has_alpha() {
                deep = Some(values);
            } else {
                // Opacity that nobody asked for must not come out.
                let opaque: Vec<u16> = values.as_chunks::<4>().0.iter().flat_map(|[r, g, b, _]| [*r, *g, *b]).collect();
                deep = Some(opaque);
            }
        } else if color.has_alpha() {
            let values = picture.into_rgba8().into_raw();
            let mut of_pixels = Vec::with_capacity(size.pixels());
            let pixels = values.as_chunks::<4>().0.iter();
            for (dst, [red, green, blue, alpha]) in
                content.pixels_mut().as_chunks_mut::<CHANNELS>().0.iter_mut().zip(pixels)
            {
                *dst = [*red, *green, *blue];
                of_pixels.push(*alpha);
            }
            opacity = Some(of_pixels);
        } else {
            content.pixels_mut().copy_from_slice(picture.into_rgb8().as_raw());
        }
        Ok(Self { content, format, deep, opacity, profile, exif, notes })
    }

    /// A picture of `size` in `format` without anything but a colour profile, to encode paintings with.
    pub fn plain(size: FrameSize, format: StillFormat, profile: Option<Vec<u8>>) -> Self {
        Self { content: Frame::black(size), format, deep: None, opacity: None, profile, exif: None, notes: Vec::new() }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// As [`read_bytes`] and [`Still::decode`].
    pub fn read(path: &Path) -> Result<Self> {
        Self::decode(&read_bytes(path)?)
    }

    /// The size of the picture in a file, upright, of which no more than the beginning is read.
    ///
    /// # Errors
    /// If it cannot be read, or is no picture.
    pub fn size_in(path: &Path) -> Result<FrameSize> {
        check_is_file(path)?;
        let reader = ImageReader::open(path)?.with_guessed_format()?;
        reader.format().and_then(StillFormat::of).context("it is no PNG, JPEG, WebP or TIFF")?;
        let mut decoder = reader.into_decoder().map_err(|error| anyhow!("{error}"))?;
        let (width, height) = decoder.dimensions();
        let mut size = FrameSize::new(width as usize, height as usize);
        if let Orientation::Rotate90
        | Orientation::Rotate270
        | Orientation::Rotate90FlipH
        | Orientation::Rotate270FlipH = decoder.orientation().map_err(|error| anyhow!("{error}"))?
        {
            size = FrameSize::new(size.height, size.width);
        }
        Ok(size)
    }

    /// How opaque each pixel is, `[height, width]`, 0–255; `None`: all is opaque.
    pub fn opacity(&self) -> Option<Vec<u8>> {
        self.has_transparency().then(|| self.opacity_of_eight_bits(true)).flatten()
    }

    /// Whether there are more pictures in the file than this one: an animation, or pages.
    pub fn has_more_pictures(&self) -> bool {
        self.notes.contains(&MORE_PICTURES)
    }

    /// Whether something shines through anywhere.
    pub fn has_transparency(&self) -> bool {
        let is_deep_opacity = |values: &Vec<u16>| values.len() == self.content.size.pixels() * (CHANNELS + 1);
        match (&self.opacity, &self.deep) {
            (Some(opacity), _) => opacity.iter().any(|&alpha| alpha < u8::MAX),
            (None, Some(values)) if is_deep_opacity(values) => {
                values.as_chunks::<4>().0.iter().any(|[.., alpha]| *alpha < u16::MAX)
            }
            _ => false,
        }
    }

    /// The ICC profile of its colours.
    pub fn profile(&self) -> Option<Vec<u8>> {
        self.profile.clone()
    }

    /// The kind of file that it came from.
    pub fn format(&self) -> StillFormat {
        self.format
    }

    /// What was changed on the way in that a person should know.
    pub fn notes(&self) -> &[&'static str] {
        &self.notes
    }
}

/// The bytes of a file that is named to be taken as a whole.
///
/// # Errors
/// If it cannot be read, or is no regular file: a pipe may stay silent for ever.
pub fn read_bytes(path: &Path) -> Result<Vec<u8>> {
    check_is_file(path)?;
    Ok(std::fs::read(path)?)
}

fn check_is_file(path: &Path) -> Result<()> {
    ensure!(path.metadata()?.is_file(), "it is no regular file (expected one, not a pipe, a device or a folder)");
    Ok(())
}

/// Whether a profile describes RGB (ICC.1:2022, 7.2.6): only then does it fit the painting.
fn has_rgb_profile(profile: &[u8]) -> bool {
    profile.get(16..20) == Some(b"RGB ")
}

/// 0–65535 to the nearest of 0–255.
fn to_eight_bits(value: u16) -> u8 {
    ((u32::from(value) + 128) / 257) as u8
}

#[cfg(test)]
mod tests {
    use image::codecs::jpeg::JpegEncoder;
    use image::codecs::png::PngEncoder;
    use image::codecs::webp::WebPEncoder;
    use image::{ExtendedColorType, ImageEncoder as _};

    use super::encode::MOST_JPEG_EXIF_BYTES;
    use super::*;

    const SIZE: FrameSize = FrameSize::new(24, 16);

    /// A header of a profile, which is all that is looked at.
    fn profile(space: &[u8; 4]) -> Vec<u8> {
        let mut profile = vec![0; 128];
        profile[16..20].copy_from_slice(space);
        profile
    }

    fn still(deep: Option<Vec<u16>>, opacity: Option<Vec<u8>>) -> Still {
        let mut content = Frame::black(SIZE);
        match &deep {
            Some(values) => {
                let channels = values.len() / SIZE.pixels();
                for (pixel, values) in content.pixels_mut().chunks_exact_mut(3).zip(values.chunks_exact(channels)) {
                    pixel.iter_mut().zip(values).for_each(|(byte, value)| *byte = to_eight_bits(*value));
                }
            }
            None => content.pixels_mut().iter_mut().enumerate().for_each(|(i, value)| *value = (i / 5) as u8),
        }
        let format = StillFormat::Png;
        Still { content, format, deep, opacity, profile: Some(profile(b"RGB ")), exif: None, notes: Vec::new() }
    }

    fn same(frame: &Frame) -> Frame {
        let mut copy = Frame::black(frame.size);
        copy.pixels_mut().copy_from_slice(frame.pixels());
        copy
    }

    fn through(still: &Still, painted: &Frame, format: StillFormat) -> (Still, Vec<&'static str>) {
        let mut file = Cursor::new(Vec::new());
        let notes = still.encode(painted, format, 95, &mut file).unwrap();
        let back = Still::decode(file.get_ref()).unwrap();
        assert_eq!(back.format(), format);
        (back, notes)
    }

    /// What its TIFF says of the fourth channel; 2: it is opacity.
    fn extra_samples(still: &Still) -> Option<u32> {
        let mut file = Cursor::new(Vec::new());
        still.encode(&still.content, StillFormat::Tiff, 95, &mut file).unwrap();
        file.set_position(0);
        tiff::decoder::Decoder::new(file).unwrap().get_tag_u32(tiff::tags::Tag::ExtraSamples).ok()
    }

    #[test]
    fn an_untouched_picture_comes_back_with_opacity_and_profile() {
        let opacity: Vec<u8> = (0..SIZE.pixels()).map(|i| (i % 256) as u8).collect();
        let still = still(None, Some(opacity.clone()));
        for format in [StillFormat::Png, StillFormat::WebP, StillFormat::Tiff] {
            let (back, notes) = through(&still, &same(&still.content), format);
            assert_eq!(back.content.pixels(), still.content.pixels(), "{format:?}");
            assert_eq!(back.opacity.as_ref(), Some(&opacity), "{format:?}");
            assert_eq!(back.profile, still.profile, "{format:?}");
            assert!(notes.is_empty(), "{notes:?}");
        }
        assert_eq!(extra_samples(&still), Some(2));
        let (back, notes) = through(&still, &same(&still.content), StillFormat::Jpeg);
        assert!(back.opacity.is_none() && notes.len() == 1, "{notes:?}");
        assert_eq!(back.profile, still.profile);
        // What is transparent is white.
        assert!(back.content.pixels()[0] > 240);
    }

    #[test]
    fn sixteen_bits_come_back_to_the_last_where_nothing_was_painted() {
        for channels in [3, 4] {
            let values: Vec<u16> = (0..SIZE.pixels() * channels).map(|i| (i * 7919 % 65_536) as u16).collect();
            let still = still(Some(values.clone()), None);
            for format in [StillFormat::Png, StillFormat::Tiff] {
                let (back, notes) = through(&still, &same(&still.content), format);
                assert_eq!(back.deep.as_ref(), Some(&values), "{format:?} {channels}");
                assert!(notes.is_empty(), "{notes:?}");
            }
            assert_eq!(extra_samples(&still), (channels == 4).then_some(2));
            let (back, notes) = through(&still, &same(&still.content), StillFormat::WebP);
            assert_eq!((back.deep, back.opacity.is_some()), (None, channels == 4));
            assert_eq!(notes.len(), 1, "{notes:?}");
        }
    }

    #[test]
    fn what_is_painted_over_sixteen_bits_is_what_was_painted_in_eight() {
        let values: Vec<u16> = (0..SIZE.pixels() * 3).map(|i| (i * 7919 % 65_536) as u16).collect();
        let still = still(Some(values), None);
        let mut painted = same(&still.content);
        painted.pixels_mut().iter_mut().for_each(|value| *value = 255 - *value);
        let (back, _) = through(&still, &painted, StillFormat::Tiff);
        let worst = back.content.pixels().iter().zip(painted.pixels()).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        assert!(worst <= 1, "{worst}");
    }

    #[test]
    fn a_picture_that_lies_on_its_side_is_turned_once() {
        // A JPEG with an EXIF block that says "rotate by 90 degrees": big-endian TIFF, one entry, orientation 6.
        let exif = b"MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0".to_vec();
        let mut file = Vec::new();
        let mut encoder = JpegEncoder::new_with_quality(&mut file, 95);
        encoder.set_exif_metadata(exif).unwrap();
        // Left half black, right half white: turned clockwise, the upper half is black.
        let pixels: Vec<u8> = (0..16 * 8).map(|i| if i % 16 < 8 { 0 } else { 255 }).flat_map(|v| [v; 3]).collect();
        encoder.write_image(&pixels, 16, 8, ExtendedColorType::Rgb8).unwrap();
        let still = Still::decode(&file).unwrap();
        assert_eq!(still.content.size, FrameSize::new(8, 16));
        assert!(still.content.pixels()[..24].iter().all(|value| *value < 20));
        for format in [StillFormat::Jpeg, StillFormat::Png, StillFormat::WebP] {
            let (back, _) = through(&still, &same(&still.content), format);
            assert_eq!(back.content.size, still.content.size, "{format:?}");
            assert!(back.exif.is_some(), "{format:?}");
        }
    }

    #[test]
    fn the_thumbnail_of_what_was_there_before_does_not_come_out() {
        // One entry, and a second directory at the end of the first.
        let exif = b"MM\0\x2a\0\0\0\x08\0\x01\x01\x0f\0\x02\0\0\0\x02a\0\0\0\0\0\0\x1a\0\0\0\0\0\0".to_vec();
        let mut file = Vec::new();
        let mut encoder = JpegEncoder::new_with_quality(&mut file, 95);
        encoder.set_exif_metadata(exif.clone()).unwrap();
        encoder.write_image(&[7; 12], 2, 2, ExtendedColorType::Rgb8).unwrap();
        let kept = Still::decode(&file).unwrap().exif.unwrap();
        assert_eq!((&kept[..22], &kept[22..26]), (&exif[..22], &[0; 4][..]));
    }

    #[test]
    fn profiles_of_other_spaces_are_left_out_and_noted() {
        let mut file = Vec::new();
        let mut encoder = PngEncoder::new(&mut file);
        encoder.set_icc_profile(profile(b"GRAY")).unwrap();
        encoder.write_image(&[0, 255], 2, 1, ExtendedColorType::L8).unwrap();
        let still = Still::decode(&file).unwrap();
        assert_eq!((still.profile.is_none(), still.notes().len()), (true, 1));
        assert_eq!(still.content.pixels(), [0, 0, 0, 255, 255, 255]);
    }

    /// A picture with detail everywhere, as JPEG.
    fn jpeg() -> Vec<u8> {
        let mut file = Vec::new();
        let pixels: Vec<u8> = (0..64 * 48 * 3).map(|i| (i * 7919 % 251) as u8).collect();
        JpegEncoder::new_with_quality(&mut file, 90).write_image(&pixels, 64, 48, ExtendedColorType::Rgb8).unwrap();
        file
    }

    #[test]
    fn a_jpeg_without_all_of_its_pixels_is_refused_and_others_are_not() {
        let whole = jpeg();
        for length in [whole.len() / 2, whole.len() * 4 / 5, whole.len() - 200] {
            let error = Still::decode(&whole[..length]).unwrap_err().to_string();
            assert!(error.contains("cut short"), "{length}: {error}");
        }
        let pixels = Still::decode(&whole).unwrap().content;
        // What comes after the end is nobody's, and all is there without the marker of the end.
        let longer = [whole.as_slice(), b"\0\0more\xff"].concat();
        for bytes in [&longer[..], &whole[..whole.len() - 2]] {
            assert_eq!(Still::decode(bytes).unwrap().content.pixels(), pixels.pixels());
        }
    }

    #[test]
    fn a_webp_that_is_shorter_than_it_says_is_refused() {
        let mut file = Vec::new();
        WebPEncoder::new_lossless(&mut file).write_image(&[7; 12], 2, 2, ExtendedColorType::Rgb8).unwrap();
        assert!(Still::decode(&file).is_ok());
        // As of an animation whose later pictures are missing.
        let length = file.len() as u32 + 100;
        file[4..8].copy_from_slice(&length.to_le_bytes());
        assert!(Still::decode(&file).unwrap_err().to_string().contains("cut short"));
    }

    #[test]
    fn exif_data_that_no_jpeg_holds_are_left_out_and_noted() {
        let mut still = still(None, None);
        for (length, is_kept) in [(MOST_JPEG_EXIF_BYTES, true), (MOST_JPEG_EXIF_BYTES + 1, false)] {
            let mut exif = b"MM\0\x2a\0\0\0\x08\0\0\0\0\0\0".to_vec();
            exif.resize(length, 0);
            still.exif = Some(exif);
            let (back, notes) = through(&still, &same(&still.content), StillFormat::Jpeg);
            assert_eq!((back.exif.is_some(), notes.is_empty()), (is_kept, is_kept), "{notes:?}");
            let (back, notes) = through(&still, &same(&still.content), StillFormat::Png);
            assert!(back.exif.is_some() && notes.is_empty(), "{notes:?}");
        }
    }

    #[test]
    fn what_is_no_picture_is_refused() {
        for bytes in [&b""[..], b"no picture", b"\x89PNG\r\n\x1a\nno more", b"GIF89a"] {
            assert!(Still::decode(bytes).is_err());
        }
    }

    #[test]
    fn a_small_file_that_declares_a_huge_picture_is_refused() {
        let chunk = |kind: &[u8; 4], data: &[u8]| {
            let covered = [kind.as_slice(), data].concat();
            let crc = !covered.iter().fold(u32::MAX, |crc, byte| {
                (0..8)
                    .fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
            });
            [&(data.len() as u32).to_be_bytes(), covered.as_slice(), &crc.to_be_bytes()].concat()
        };
        let refusal = |bits: u8, color: u8| {
            let header = chunk(b"IHDR", &[0, 0, 0xff, 0xff, 0, 0, 0xff, 0xff, bits, color, 0, 0, 0]);
            // Zlib with an empty last block.
            let pixels = chunk(b"IDAT", &[0x78, 0x01, 0x03, 0x00, 0x00, 0x00, 0x00, 0x01]);
            let file = [b"\x89PNG\r\n\x1a\n".as_slice(), &header, &pixels, &chunk(b"IEND", &[])].concat();
            Still::decode(&file).unwrap_err().to_string()
        };
        // 16 bits of red, green, blue and opacity, and one bit of gray.
        for ((bits, color), gigabytes) in [((16, 6), "34.4 GB"), ((1, 0), "12.9 GB")] {
            let text = refusal(bits, color);
            assert!(text.starts_with(&format!("its size is too large: 65535×65535 takes {gigabytes}")), "{text}");
        }
    }
}
