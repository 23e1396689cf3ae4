//! Pictures scaled to another size.
//!
//! The only room that knows the resizer, so that its pixel types are named in one place: left to choose at run time, it
//! compiles its code for every type there is. What is scaled, and why with this filter, is the caller's to say.

use anyhow::{Context as _, Result, ensure};
use fast_image_resize as fir;
use fir::images::{TypedImage, TypedImageRef};
use fir::pixels::{U8x2, U8x3};

use crate::frame::FrameSize;

/// What a pixel of the new picture is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    /// The mean of the area that it covers: for making pictures small.
    Box,
    /// A cubic through the pixels around it: for making pictures large, and sharper than [`Filter::Box`] when small.
    CatmullRom,
}

/// Scales pictures of 8 bits a channel; keeps its buffers between pictures.
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
        self.scale::<U8x3>(from, src, to, dst, filter)
    }

    /// Scales two channels, each by itself, from `src`, `[from.height, from.width, 2]`, to `dst`, `[to.height,
    /// to.width, 2]`, 0–255.
    ///
    /// # Errors
    /// When a size is 0 or a buffer too short.
    pub fn scale_pairs(
        &mut self,
        from: FrameSize,
        src: &[u8],
        to: FrameSize,
        dst: &mut [u8],
        filter: Filter,
    ) -> Result<()> {
        self.scale::<U8x2>(from, src, to, dst, filter)
    }

    fn scale<P: fir::PixelTrait>(
        &mut self,
        from: FrameSize,
        src: &[u8],
        to: FrameSize,
        dst: &mut [u8],
        filter: Filter,
    ) -> Result<()> {
        ensure!(from.pixels() > 0 && to.pixels() > 0, "a picture of {from} cannot be scaled to {to}");
        let filter = match filter {
            Filter::Box => fir::FilterType::Box,
            Filter::CatmullRom => fir::FilterType::CatmullRom,
        };
        let options = fir::ResizeOptions::new().resize_alg(fir::ResizeAlg::Convolution(filter));
        // No pixel type here has an opacity that would weigh its colors.
        let options = options.use_alpha(false);
        let mut resize = || -> Result<()> {
            let src = TypedImageRef::<P>::from_buffer(u32::try_from(from.width)?, u32::try_from(from.height)?, src)?;
            let mut dst = TypedImage::<P>::from_buffer(u32::try_from(to.width)?, u32::try_from(to.height)?, dst)?;
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
        Scaler::new().scale_pairs(FrameSize::new(2, 1), &src, FrameSize::new(1, 1), &mut dst, Filter::Box).unwrap();
        assert_eq!(dst, [60, 128]);
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
