//! Pictures as pipes carry them: how their bytes are laid out, and the way to RGB and back.
//!
//! The conversion is the crate `yuv`'s and not FFmpeg's, because a pipe has no encoder behind which it could hide: see
//! docs/benchmarks.md. A chroma sample counts for every pixel that it covers, and is the mean of those pixels on the way
//! back, so that colours which nobody painted over come out as they came in.

use std::fmt;

use anyhow::{Context, Result, ensure};
use yuv::{
    BufferStoreMut, YuvBiPlanarImage, YuvBiPlanarImageMut, YuvConversionMode, YuvError, YuvGrayImage, YuvGrayImageMut,
    YuvPlanarImage, YuvPlanarImageMut, YuvRange, YuvStandardMatrix,
};

use crate::frame::{CHANNELS, Frame, FrameSize};

/// How many chroma samples there are for the pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sampling {
    /// One for two by two pixels.
    Yuv420,
    /// One for two pixels of a row.
    Yuv422,
    /// One for each pixel.
    Yuv444,
    /// None: gray.
    Mono,
}

/// Bits of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BitDepth {
    /// A byte.
    Eight,
    /// Two bytes, the low one first.
    Ten,
}

/// How the bytes of a picture are laid out; rows without padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PictureLayout {
    /// A plane of luma, then one each of blue and red difference. Odd sizes round up.
    Planar(Sampling, BitDepth),
    /// A plane of luma, then one of blue and red difference in turn, 4:2:0, 8 bit.
    Nv12,
    /// Red, green, blue.
    Rgb24,
    /// Blue, green, red.
    Bgr24,
}

impl PictureLayout {
    /// Layouts of raw video, by FFmpeg's names.
    pub const RAW: [(&str, Self); 4] = [
        ("rgb24", Self::Rgb24),
        ("bgr24", Self::Bgr24),
        ("yuv420p", Self::Planar(Sampling::Yuv420, BitDepth::Eight)),
        ("nv12", Self::Nv12),
    ];

    /// Bytes of a picture; `None` where they cannot be counted.
    pub fn bytes(self, size: FrameSize) -> Option<usize> {
        let pixels = size.width.checked_mul(size.height)?;
        match self {
            Self::Planar(sampling, depth) => {
                let chroma = chroma_size(sampling, size);
                let samples = pixels.checked_add(chroma.width.checked_mul(chroma.height)?.checked_mul(2)?)?;
                samples.checked_mul(if depth == BitDepth::Eight { 1 } else { 2 })
            }
            Self::Nv12 => Self::Planar(Sampling::Yuv420, BitDepth::Eight).bytes(size),
            Self::Rgb24 | Self::Bgr24 => pixels.checked_mul(CHANNELS),
        }
    }
}

/// Size of each chroma plane.
pub(super) fn chroma_size(sampling: Sampling, size: FrameSize) -> FrameSize {
    match sampling {
        Sampling::Yuv420 => FrameSize::new(size.width.div_ceil(2), size.height.div_ceil(2)),
        Sampling::Yuv422 => FrameSize::new(size.width.div_ceil(2), size.height),
        Sampling::Yuv444 => size,
        Sampling::Mono => FrameSize::new(0, 0),
    }
}

/// From YCbCr to RGB (ITU-T H.273).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Matrix {
    /// Standard definition.
    Bt601,
    /// High definition.
    Bt709,
    /// Ultra high definition, non-constant luminance.
    Bt2020,
}

impl Matrix {
    /// The matrices by name.
    pub const NAMES: [(&str, Self); 3] = [("bt601", Self::Bt601), ("bt709", Self::Bt709), ("bt2020", Self::Bt2020)];
}

/// Which numbers are black and white.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColorRange {
    /// 16 and 235 of 255.
    Limited,
    /// 0 and 255.
    Full,
}

impl ColorRange {
    /// The ranges by name.
    pub const NAMES: [(&str, Self); 2] = [("limited", Self::Limited), ("full", Self::Full)];
}

/// What the numbers of a YCbCr picture mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct YuvCoding {
    /// From YCbCr to RGB.
    pub matrix: Matrix,
    /// Which numbers are black and white.
    pub range: ColorRange,
}

impl YuvCoding {
    fn for_yuv(self) -> (YuvRange, YuvStandardMatrix) {
        let range = match self.range {
            ColorRange::Limited => YuvRange::Limited,
            ColorRange::Full => YuvRange::Full,
        };
        let matrix = match self.matrix {
            Matrix::Bt601 => YuvStandardMatrix::Bt601,
            Matrix::Bt709 => YuvStandardMatrix::Bt709,
            Matrix::Bt2020 => YuvStandardMatrix::Bt2020,
        };
        (range, matrix)
    }
}

/// The most exact that the crate offers without extra code.
const MODE: YuvConversionMode = YuvConversionMode::Balanced;

type PlanarToRgb<T> =
    fn(&YuvPlanarImage<'_, T>, &mut [T], u32, YuvRange, YuvStandardMatrix) -> std::result::Result<(), YuvError>;
type RgbToPlanar8 = fn(
    &mut YuvPlanarImageMut<'_, u8>,
    &[u8],
    u32,
    YuvRange,
    YuvStandardMatrix,
    YuvConversionMode,
) -> std::result::Result<(), YuvError>;
type RgbToPlanar10 =
    fn(&mut YuvPlanarImageMut<'_, u16>, &[u16], u32, YuvRange, YuvStandardMatrix) -> std::result::Result<(), YuvError>;

/// Turns pictures of one layout and size to RGB and back; keeps its buffers between pictures.
pub struct PictureConverter {
    layout: PictureLayout,
    size: FrameSize,
    coding: YuvCoding,
    width: u32,
    height: u32,
    /// Ten-bit samples of the picture.
    samples: Vec<u16>,
    /// The picture as RGB of ten bits.
    rgb: Vec<u16>,
}

impl PictureConverter {
    /// A converter for pictures of `size`.
    ///
    /// # Errors
    /// If a side is 0 or too large to be counted.
    pub fn new(layout: PictureLayout, size: FrameSize, coding: YuvCoding) -> Result<Self> {
        ensure!(size.pixels() > 0, "pictures of {size} have no pixels");
        let (width, height) = (u32::try_from(size.width)?, u32::try_from(size.height)?);
        Ok(Self { layout, size, coding, width, height, samples: Vec::new(), rgb: Vec::new() })
    }

    fn stride(&self) -> u32 {
        self.width * CHANNELS as u32
    }

    /// Fills `frame` from `bytes`, a whole picture.
    ///
    /// # Errors
    /// If either has another size.
    pub fn decode(&mut self, bytes: &[u8], frame: &mut Frame) -> Result<()> {
        self.check(bytes.len(), frame)?;
        let (range, matrix) = self.coding.for_yuv();
        let (width, height, stride) = (self.width, self.height, self.stride());
        let pixels = frame.pixels_mut();
        match self.layout {
            PictureLayout::Rgb24 => {
                pixels.copy_from_slice(bytes);
                Ok(())
            }
            PictureLayout::Bgr24 => {
                swap_red_and_blue(bytes, pixels);
                Ok(())
            }
            PictureLayout::Nv12 => {
                let (y_plane, uv_plane) = bytes.split_at(self.size.pixels());
                let uv_stride = width.div_ceil(2) * 2;
                let picture = YuvBiPlanarImage { y_plane, y_stride: width, uv_plane, uv_stride, width, height };
                yuv::yuv_nv12_to_rgb(&picture, pixels, stride, range, matrix, MODE)
            }
            PictureLayout::Planar(Sampling::Mono, BitDepth::Eight) => {
                let picture = YuvGrayImage { y_plane: bytes, y_stride: width, width, height };
                yuv::yuv400_to_rgb(&picture, pixels, stride, range, matrix)
            }
            PictureLayout::Planar(sampling, BitDepth::Eight) => {
                let convert: PlanarToRgb<u8> = match sampling {
                    Sampling::Yuv420 | Sampling::Mono => yuv::yuv420_to_rgb,
                    Sampling::Yuv422 => yuv::yuv422_to_rgb,
                    Sampling::Yuv444 => yuv::yuv444_to_rgb,
                };
                convert(&planar(bytes, sampling, self.size, width, height), pixels, stride, range, matrix)
            }
            PictureLayout::Planar(sampling, BitDepth::Ten) => {
                self.samples.clear();
                // What stands above the ten bits is no sample.
                self.samples.extend(bytes.as_chunks::<2>().0.iter().map(|sample| u16::from_le_bytes(*sample) & 0x3ff));
                self.rgb.resize(self.size.bytes(), 0);
                let converted = if sampling == Sampling::Mono {
                    let picture = YuvGrayImage { y_plane: &self.samples, y_stride: width, width, height };
                    yuv::y010_to_rgb10(&picture, &mut self.rgb, stride, range, matrix)
                } else {
                    let convert: PlanarToRgb<u16> = match sampling {
                        Sampling::Yuv420 | Sampling::Mono => yuv::i010_to_rgb10,
                        Sampling::Yuv422 => yuv::i210_to_rgb10,
                        Sampling::Yuv444 => yuv::i410_to_rgb10,
                    };
                    let picture = planar(&self.samples, sampling, self.size, width, height);
                    convert(&picture, &mut self.rgb, stride, range, matrix)
                };
                for (byte, value) in pixels.iter_mut().zip(&self.rgb) {
                    *byte = to_eight_bits(*value);
                }
                converted
            }
        }
        .context("convert a picture to RGB")
    }

    /// Fills `bytes`, a whole picture, from `frame`.
    ///
    /// # Errors
    /// If either has another size.
    pub fn encode(&mut self, frame: &Frame, bytes: &mut [u8]) -> Result<()> {
        self.check(bytes.len(), frame)?;
        let (range, matrix) = self.coding.for_yuv();
        let (width, height, stride) = (self.width, self.height, self.stride());
        let pixels = frame.pixels();
        match self.layout {
            PictureLayout::Rgb24 => {
                bytes.copy_from_slice(pixels);
                Ok(())
            }
            PictureLayout::Bgr24 => {
                swap_red_and_blue(pixels, bytes);
                Ok(())
            }
            PictureLayout::Nv12 => {
                let (y_plane, uv_plane) = bytes.split_at_mut(self.size.pixels());
                let mut picture = YuvBiPlanarImageMut {
                    y_plane: BufferStoreMut::Borrowed(y_plane),
                    y_stride: width,
                    uv_plane: BufferStoreMut::Borrowed(uv_plane),
                    uv_stride: width.div_ceil(2) * 2,
                    width,
                    height,
                };
                yuv::rgb_to_yuv_nv12(&mut picture, pixels, stride, range, matrix, MODE)
            }
            PictureLayout::Planar(Sampling::Mono, BitDepth::Eight) => {
                let y_plane = BufferStoreMut::Borrowed(bytes);
                let mut picture = YuvGrayImageMut { y_plane, y_stride: width, width, height };
                yuv::rgb_to_yuv400(&mut picture, pixels, stride, range, matrix)
            }
            PictureLayout::Planar(sampling, BitDepth::Eight) => {
                let convert: RgbToPlanar8 = match sampling {
                    Sampling::Yuv420 | Sampling::Mono => yuv::rgb_to_yuv420,
                    Sampling::Yuv422 => yuv::rgb_to_yuv422,
                    Sampling::Yuv444 => yuv::rgb_to_yuv444,
                };
                convert(&mut planar_mut(bytes, sampling, self.size, width, height), pixels, stride, range, matrix, MODE)
            }
            PictureLayout::Planar(sampling, BitDepth::Ten) => {
                self.rgb.clear();
                self.rgb.extend(pixels.iter().map(|value| to_ten_bits(*value)));
                self.samples.resize(bytes.len() / 2, 0);
                let converted = if sampling == Sampling::Mono {
                    let y_plane = BufferStoreMut::Borrowed(&mut self.samples);
                    let mut picture = YuvGrayImageMut { y_plane, y_stride: width, width, height };
                    yuv::rgb10_to_y010(&mut picture, &self.rgb, stride, range, matrix)
                } else {
                    let convert: RgbToPlanar10 = match sampling {
                        Sampling::Yuv420 | Sampling::Mono => yuv::rgb10_to_i010,
                        Sampling::Yuv422 => yuv::rgb10_to_i210,
                        Sampling::Yuv444 => yuv::rgb10_to_i410,
                    };
                    let mut picture = planar_mut(&mut self.samples, sampling, self.size, width, height);
                    convert(&mut picture, &self.rgb, stride, range, matrix)
                };
                for (sample, value) in bytes.as_chunks_mut::<2>().0.iter_mut().zip(&self.samples) {
                    *sample = value.to_le_bytes();
                }
                converted
            }
        }
        .context("convert a picture from RGB")
    }

    fn check(&self, bytes: usize, frame: &Frame) -> Result<()> {
        frame.check_size()?;
        let size = frame.size;
        ensure!(size == self.size, "a frame of {size} does not fit into a stream of {}", self.size);
        let expected = self.layout.bytes(size);
        ensure!(expected == Some(bytes), "a picture of {size} has {bytes} bytes (expected {expected:?})");
        Ok(())
    }
}

impl fmt::Debug for PictureConverter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PictureConverter").field("layout", &self.layout).field("size", &self.size).finish()
    }
}

/// The planes of a picture; `samples` holds all of them.
fn planar<T: Copy + fmt::Debug>(
    samples: &[T],
    sampling: Sampling,
    size: FrameSize,
    width: u32,
    height: u32,
) -> YuvPlanarImage<'_, T> {
    let chroma = chroma_size(sampling, size);
    let (y_plane, chroma_planes) = samples.split_at(size.pixels());
    let (u_plane, v_plane) = chroma_planes.split_at(chroma.pixels());
    let stride = if chroma.width == size.width { width } else { width.div_ceil(2) };
    YuvPlanarImage { y_plane, y_stride: width, u_plane, u_stride: stride, v_plane, v_stride: stride, width, height }
}

/// The planes of a picture to write to; `samples` holds all of them.
fn planar_mut<T: Copy + fmt::Debug>(
    samples: &mut [T],
    sampling: Sampling,
    size: FrameSize,
    width: u32,
    height: u32,
) -> YuvPlanarImageMut<'_, T> {
    let chroma = chroma_size(sampling, size);
    let (y_plane, chroma_planes) = samples.split_at_mut(size.pixels());
    let (u_plane, v_plane) = chroma_planes.split_at_mut(chroma.pixels());
    let stride = if chroma.width == size.width { width } else { width.div_ceil(2) };
    YuvPlanarImageMut {
        y_plane: BufferStoreMut::Borrowed(y_plane),
        y_stride: width,
        u_plane: BufferStoreMut::Borrowed(u_plane),
        u_stride: stride,
        v_plane: BufferStoreMut::Borrowed(v_plane),
        v_stride: stride,
        width,
        height,
    }
}

fn swap_red_and_blue(src: &[u8], dst: &mut [u8]) {
    let pixels = src.as_chunks::<CHANNELS>().0.iter();
    for (dst, [first, second, third]) in dst.as_chunks_mut::<CHANNELS>().0.iter_mut().zip(pixels) {
        *dst = [*third, *second, *first];
    }
}

/// 0–1023 to the nearest of 0–255.
fn to_eight_bits(value: u16) -> u8 {
    ((u32::from(value.min(1023)) * 255 + 511) / 1023) as u8
}

/// 0–255 to the nearest of 0–1023.
fn to_ten_bits(value: u8) -> u16 {
    ((u32::from(value) * 1023 + 127) / 255) as u16
}

#[cfg(test)]
mod tests;
