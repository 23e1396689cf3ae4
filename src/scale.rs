//! Pictures scaled to another size.
//!
//! The only room that knows the resizer, so that its pixel types are named in one place: left to choose at run time, it
//! compiles its code for every type there is. What is scaled, and why with this filter, is the caller's to say.

use std::ops::Range;

use anyhow::{Context as _, Result, ensure};
use fast_image_resize as fir;
use fir::images::{TypedImage, TypedImageRef};
use fir::pixels::{F32, U8x2, U8x3};

use crate::frame::FrameSize;

/// What a pixel of the new picture is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    /// The mean of the area that it covers: for making pictures small.
    Box,
    /// A cubic through the pixels around it: for making pictures large, and sharper than [`Filter::Box`] when small.
    CatmullRom,
}

impl Filter {
    fn options(self) -> fir::ResizeOptions {
        let filter = match self {
            Self::Box => fir::FilterType::Box,
            Self::CatmullRom => fir::FilterType::CatmullRom,
        };
        // No pixel type here has an opacity that would weigh its colors.
        fir::ResizeOptions::new().resize_alg(fir::ResizeAlg::Convolution(filter)).use_alpha(false)
    }
}

/// Scales pictures of 8 bits a channel, and planes of numbers; keeps its buffers between pictures.
pub struct Scaler {
    resizer: fir::Resizer,
}

impl Scaler {
    /// A scaler without buffers.
    pub fn new() -> Self {
        Self { resizer: fir::Resizer::new() }
    }

    /// Scales RGB from `src`, `[from.height, from.width, 3]`, to `dst`, `[to.height, to.width, 3]`, 0–255.
    ///
    /// # Errors
    /// When a size is 0 or a buffer too short.
    pub fn scale_rgb(
        &mut self,
        from: FrameSize,
        src: &[u8],
        to: FrameSize,
        dst: &mut [u8],
        filter: Filter,
    ) -> Result<()> {
        self.scale::<U8x3>(from, src, to, 0..to.height, dst, filter)
    }

    /// The rows `rows` of what [`Scaler::scale_rgb`] gives, to `dst`, `[rows.len(), to.width, 3]`.
    ///
    /// # Errors
    /// When a size is 0, a buffer too short, or there are no such rows.
    pub fn scale_rgb_rows(
        &mut self,
        from: FrameSize,
        src: &[u8],
        to: FrameSize,
        rows: Range<usize>,
        dst: &mut [u8],
        filter: Filter,
    ) -> Result<()> {
        self.scale::<U8x3>(from, src, to, rows, dst, filter)
    }

    /// Scales two channels, each by itself, from `src`, `[from.height, from.width, 2]`, to the size `to`, and writes the
    /// rows `rows` of the result to `dst`, `[rows.len(), to.width, 2]`, 0–255.
    ///
    /// # Errors
    /// When a size is 0, a buffer too short, or there are no such rows.
    pub fn scale_pairs_rows(
        &mut self,
        from: FrameSize,
        src: &[u8],
        to: FrameSize,
        rows: Range<usize>,
        dst: &mut [u8],
        filter: Filter,
    ) -> Result<()> {
        self.scale::<U8x2>(from, src, to, rows, dst, filter)
    }

    /// Scales one channel of numbers from `src`, `[from.height, from.width]`, to the size `to`.
    ///
    /// # Errors
    /// When a size is 0 or there are not as many numbers as pixels.
    pub fn scale_plane(&mut self, from: FrameSize, src: &[f32], to: FrameSize, filter: Filter) -> Result<Vec<f32>> {
        ensure!(from.pixels() > 0 && to.pixels() > 0, "a picture of {from} cannot be scaled to {to}");
        let mut resize = || -> Result<Vec<f32>> {
            let pixels: Vec<F32> = src.iter().map(|&value| F32::new(value)).collect();
            let src = TypedImageRef::new(u32::try_from(from.width)?, u32::try_from(from.height)?, &pixels)?;
            let mut dst = TypedImage::<F32>::new(u32::try_from(to.width)?, u32::try_from(to.height)?);
            self.resizer.resize_typed(&src, &mut dst, &filter.options())?;
            Ok(dst.pixels().iter().map(|pixel| pixel.0).collect())
        };
        resize().with_context(|| format!("scale a picture from {from} to {to}"))
    }

    fn scale<P: fir::PixelTrait>(
        &mut self,
        from: FrameSize,
        src: &[u8],
        to: FrameSize,
        rows: Range<usize>,
        dst: &mut [u8],
        filter: Filter,
    ) -> Result<()> {
        ensure!(rows.start < rows.end && rows.end <= to.height, "a picture of {to} has no rows {rows:?}");
        ensure!(from.pixels() > 0 && to.pixels() > 0, "a picture of {from} cannot be scaled to {to}");
        let options = filter.options();
        // The rows around the part are still seen: it has no borders of its own.
        let row_height = from.height as f64 / to.height as f64;
        let top = rows.start as f64 * row_height;
        let height = (rows.len() as f64 * row_height).min(from.height as f64 - top);
        let options = options.crop(0.0, top, from.width as f64, height);
        let mut resize = || -> Result<()> {
            let src = TypedImageRef::<P>::from_buffer(u32::try_from(from.width)?, u32::try_from(from.height)?, src)?;
            let mut dst = TypedImage::<P>::from_buffer(u32::try_from(to.width)?, u32::try_from(rows.len())?, dst)?;
            Ok(self.resizer.resize_typed(&src, &mut dst, &options)?)
        };
        resize().with_context(|| format!("scale a picture from {from} to {to}"))
    }
}

impl Default for Scaler {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Scaler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scaler").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_is_the_mean_of_its_area() {
        let src = [0, 10, 20, 100, 30, 20, 0, 10, 20, 100, 30, 20];
        let mut dst = [0; 3];
        Scaler::new().scale_rgb(FrameSize::new(2, 2), &src, FrameSize::new(1, 1), &mut dst, Filter::Box).unwrap();
        assert_eq!(dst, [50, 20, 20]);
    }

    #[test]
    fn the_channels_of_a_pair_do_not_weigh_each_other() {
        let mut dst = [0; 2];
        let src = [100, 0, 20, 255];
        Scaler::new()
            .scale_pairs_rows(FrameSize::new(2, 1), &src, FrameSize::new(1, 1), 0..1, &mut dst, Filter::Box)
            .unwrap();
        assert_eq!(dst, [60, 128]);
    }

    #[test]
    fn rows_are_those_of_the_whole() {
        let (from, to) = (FrameSize::new(13, 11), FrameSize::new(40, 57));
        let src: Vec<u8> = (0..from.bytes()).map(|i| (i * 67 % 256) as u8).collect();
        let mut scaler = Scaler::new();
        for filter in [Filter::Box, Filter::CatmullRom] {
            let mut whole = vec![0; to.bytes()];
            scaler.scale_rgb(from, &src, to, &mut whole, filter).unwrap();
            for rows in [0..1, 0..20, 20..41, 41..57, 56..57] {
                let mut part = vec![0; rows.len() * 40 * 3];
                scaler.scale_rgb_rows(from, &src, to, rows.clone(), &mut part, filter).unwrap();
                let expected = &whole[rows.start * 120..rows.end * 120];
                let worst = part.iter().zip(expected).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
                assert!(worst <= 1, "{filter:?} {rows:?}: {worst}");
            }
            assert!(scaler.scale_rgb_rows(from, &src, to, 50..58, &mut [0; 960], filter).is_err());
        }
    }

    #[test]
    fn nothing_and_short_buffers_are_refused() {
        let mut scaler = Scaler::new();
        let (none, one, two) = (FrameSize::new(0, 1), FrameSize::new(1, 1), FrameSize::new(2, 1));
        let mut dst = [0; 3];
        let error = scaler.scale_rgb(none, &[], one, &mut dst, Filter::Box).unwrap_err();
        assert!(error.to_string().contains("0×1"), "{error}");
        assert!(scaler.scale_rgb(two, &[0; 3], one, &mut dst, Filter::Box).is_err());
        assert!(scaler.scale_rgb(one, &[0; 3], two, &mut dst, Filter::Box).is_err());
    }
}
