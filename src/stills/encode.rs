//! A painting written with what came with the picture.

use std::io::{BufWriter, Seek, Write};

use anyhow::{Result, bail, ensure};
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::codecs::tiff::TiffEncoder;
use image::codecs::webp::WebPEncoder;
use image::{ExtendedColorType, ImageEncoder};
use tiff::encoder::TiffValue;
use tiff::encoder::colortype::{ColorType, RGBA8, RGBA16};
use tiff::tags::{ExtraSamples, Tag};

use super::{Still, StillFormat, to_eight_bits};
use crate::frame::{CHANNELS, Frame, FrameSize};

/// A segment of a JPEG has 65,535 bytes at most, and eight of them say that it is EXIF data and how long.
pub const MOST_JPEG_EXIF_BYTES: usize = 65_527;

const NO_EXIF: &str = "the format holds no EXIF data: left out";

impl Still {
    /// Writes `painted`, of the size of the content, with what came with the content and `format` can hold. Of 16-bit
    /// pictures the bits below the eighth are the content's: what the painting leaves comes out to the last bit. `quality`
    /// is JPEG's, 1–100. What had to be left out comes back.
    ///
    /// # Errors
    /// If the sizes differ or the output cannot be written.
    pub fn encode(
        &self,
        painted: &Frame,
        format: StillFormat,
        quality: u8,
        output: impl Write + Seek,
    ) -> Result<Vec<&'static str>> {
        painted.check_size()?;
        self.content.check_size()?;
        let size = self.content.size;
        ensure!(painted.size == size, "a painting of {} is none of a picture of {size}", painted.size);
        let mut notes = Vec::new();
        let has_opacity = self.opacity.is_some()
            || self.deep.as_ref().is_some_and(|values| values.len() == size.pixels() * (CHANNELS + 1));
        if has_opacity && !format.holds_transparency() {
            notes.push("JPEG holds no transparency: laid on white");
        }
        let keeps_opacity = has_opacity && format.holds_transparency();
        if self.deep.is_some() && !format.holds_sixteen_bits() {
            notes.push("the format holds 8 of the picture's 16 bits");
        }
        let output = BufWriter::new(output);
        match &self.deep {
            Some(values) if format.holds_sixteen_bits() => {
                let mixed = self.deep_painting(values, painted);
                let bytes: Vec<u8> = mixed.into_iter().flat_map(u16::to_ne_bytes).collect();
                let color = if keeps_opacity { ExtendedColorType::Rgba16 } else { ExtendedColorType::Rgb16 };
                self.write(&bytes, color, format, quality, output, &mut notes)?;
            }
            _ => {
                let opacity = self.opacity_of_eight_bits(has_opacity);
                match opacity {
                    None => {
                        self.write(painted.pixels(), ExtendedColorType::Rgb8, format, quality, output, &mut notes)?;
                    }
                    Some(opacity) if keeps_opacity => {
                        let pixels = painted.pixels().as_chunks::<CHANNELS>().0.iter().zip(opacity);
                        let bytes: Vec<u8> = pixels.flat_map(|([r, g, b], alpha)| [*r, *g, *b, alpha]).collect();
                        self.write(&bytes, ExtendedColorType::Rgba8, format, quality, output, &mut notes)?;
                    }
                    Some(opacity) => {
                        let pixels = painted.pixels().as_chunks::<CHANNELS>().0.iter().zip(opacity);
                        let bytes: Vec<u8> = pixels
                            .flat_map(|(pixel, alpha)| {
                                let alpha = u32::from(alpha);
                                pixel.map(|value| ((u32::from(value) * alpha + 255 * (255 - alpha) + 127) / 255) as u8)
                            })
                            .collect();
                        self.write(&bytes, ExtendedColorType::Rgb8, format, quality, output, &mut notes)?;
                    }
                }
            }
        }
        Ok(notes)
    }

    /// The painting in 16 bit: the content plus 257 times what the painting changed, as many channels as `values` has.
    fn deep_painting(&self, values: &[u16], painted: &Frame) -> Vec<u16> {
        let channels = values.len() / self.content.size.pixels();
        let mut mixed = values.to_vec();
        let contents = self.content.pixels().as_chunks::<CHANNELS>().0.iter();
        let paintings = painted.pixels().as_chunks::<CHANNELS>().0.iter();
        for ((pixel, content), painted) in mixed.chunks_exact_mut(channels).zip(contents).zip(paintings) {
            for ((value, content), painted) in pixel.iter_mut().zip(content).zip(painted) {
                let change = 257 * (i32::from(*painted) - i32::from(*content));
                *value = (i32::from(*value) + change).clamp(0, 65_535) as u16;
            }
        }
        mixed
    }

    pub(super) fn opacity_of_eight_bits(&self, has_opacity: bool) -> Option<Vec<u8>> {
        match (&self.opacity, &self.deep) {
            (Some(opacity), _) => Some(opacity.clone()),
            (None, Some(values)) if has_opacity => {
                Some(values.as_chunks::<4>().0.iter().map(|[.., alpha]| to_eight_bits(*alpha)).collect())
            }
            _ => None,
        }
    }

    fn write(
        &self,
        bytes: &[u8],
        color: ExtendedColorType,
        format: StillFormat,
        quality: u8,
        mut output: BufWriter<impl Write + Seek>,
        notes: &mut Vec<&'static str>,
    ) -> Result<()> {
        let fits = |exif: &&Vec<u8>| format != StillFormat::Jpeg || exif.len() <= MOST_JPEG_EXIF_BYTES;
        let exif = self.exif.as_ref().filter(fits);
        if exif.is_none() && self.exif.is_some() {
            notes.push("a JPEG holds no EXIF data of more than 64 kB: left out");
        }
        match format {
            StillFormat::Png => self.write_with(PngEncoder::new(&mut output), bytes, color, exif, notes)?,
            StillFormat::Jpeg => {
                self.write_with(JpegEncoder::new_with_quality(&mut output, quality), bytes, color, exif, notes)?;
            }
            StillFormat::WebP => self.write_with(WebPEncoder::new_lossless(&mut output), bytes, color, exif, notes)?,
            StillFormat::Tiff if color == ExtendedColorType::Rgba8 => {
                self.write_tiff::<RGBA8>(bytes, &mut output, exif, notes)?;
            }
            StillFormat::Tiff if color == ExtendedColorType::Rgba16 => {
                let samples: Vec<u16> = bytes.as_chunks().0.iter().map(|bytes| u16::from_ne_bytes(*bytes)).collect();
                self.write_tiff::<RGBA16>(&samples, &mut output, exif, notes)?;
            }
            StillFormat::Tiff => self.write_with(TiffEncoder::new(&mut output), bytes, color, exif, notes)?,
        }
        output.flush()?;
        Ok(())
    }

    /// Writes a TIFF that says that its fourth channel is opacity, which `image` would leave open.
    fn write_tiff<C: ColorType>(
        &self,
        samples: &[C::Inner],
        output: impl Write + Seek,
        exif: Option<&Vec<u8>>,
        notes: &mut Vec<&'static str>,
    ) -> Result<()>
    where
        [C::Inner]: TiffValue,
    {
        let FrameSize { width, height } = self.content.size;
        let mut encoder = tiff::encoder::TiffEncoder::new(output)?;
        let mut picture = encoder.new_image::<C>(u32::try_from(width)?, u32::try_from(height)?)?;
        picture.encoder().write_tag(Tag::ExtraSamples, ExtraSamples::UnassociatedAlpha.to_u16())?;
        if let Some(profile) = &self.profile {
            picture.encoder().write_tag(Tag::IccProfile, profile.as_slice())?;
        }
        notes.extend(exif.map(|_| NO_EXIF));
        picture.write_data(samples)?;
        Ok(())
    }

    fn write_with(
        &self,
        mut encoder: impl ImageEncoder,
        bytes: &[u8],
        color: ExtendedColorType,
        exif: Option<&Vec<u8>>,
        notes: &mut Vec<&'static str>,
    ) -> Result<()> {
        if let Some(profile) = &self.profile
            && encoder.set_icc_profile(profile.clone()).is_err()
        {
            bail!("the format holds no colour profile");
        }
        if let Some(exif) = exif
            && encoder.set_exif_metadata(exif.clone()).is_err()
        {
            notes.push(NO_EXIF);
        }
        let FrameSize { width, height } = self.content.size;
        encoder.write_image(bytes, u32::try_from(width)?, u32::try_from(height)?, color)?;
        Ok(())
    }
}
