//! Pictures in files: what a network paints of them, and what it leaves as it was.
//!
//! A network sees 8-bit RGB. Transparency, the bits below the eighth, the colour profile and the EXIF data are kept here
//! and put back around the painting. This room knows nothing of folders, styles or the terminal.

mod encode;
mod format;
mod leftovers;
mod whole;

use std::fs::File;
use std::io::{BufReader, Cursor};
use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use image::codecs::tiff::TiffDecoder;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageReader, Limits};

pub use self::format::StillFormat;
use self::whole::{MAX_DECODED_BYTES, check_length_of_webp, check_size, whole_jpeg};
use crate::frame::{CHANNELS, Frame, FrameSize};
use crate::input;
use crate::memory;

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
        let format = format_of(bytes)?;
        let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format()?;
        let mut limits = Limits::no_limits();
        limits.max_alloc = Some(MAX_DECODED_BYTES);
        reader.limits(limits);
        let mut decoder = reader.into_decoder()?;
        check_size(&decoder, memory::available())?;
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
        let reader = ImageReader::new(BufReader::new(input::open(path)?)).with_guessed_format()?;
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

/// The bytes of a file that begins like a picture.
///
/// # Errors
/// If it cannot be read, is no regular file or no picture, or is longer than a picture can be meant to be.
pub fn read_bytes(path: &Path) -> Result<Vec<u8>> {
    input::read(path, |bytes| format_of(bytes).map(drop))
}

/// The same of a file that is open, and may be a pipe.
///
/// # Errors
/// As [`read_bytes`].
pub fn read_file(file: File) -> Result<Vec<u8>> {
    input::read_file(file, |bytes| format_of(bytes).map(drop))
}

/// The same of what comes through stdin.
///
/// # Errors
/// As [`read_bytes`].
pub fn read_stdin() -> Result<Vec<u8>> {
    input::read_stdin(|bytes| format_of(bytes).map(drop))
}

/// The format of a picture, as its first bytes say.
fn format_of(bytes: &[u8]) -> Result<StillFormat> {
    ensure!(!bytes.is_empty(), "it is empty");
    let format = image::guess_format(bytes).ok().and_then(StillFormat::of);
    format.context("it is no PNG, JPEG, WebP or TIFF")
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
mod tests;
