//! From a small painting back to a large frame, guided by the frame's own detail.
//!
//! The painting is enlarged smoothly, and the detail that the frame lost when it was made small is added where the
//! painting follows the frame: O = up(S) + up(g)·(Y(I) − Y(up(down(I)))), with I the frame, S the small painting, Y luma
//! and g = cov(Y(S), Y(I)) / (var(Y(I)) + ε) over a small window at low resolution, within 0–1. g is the linear
//! coefficient of the guided filter (He et al. 2013, Guided Image Filtering, eq. 5, computed at low resolution as in He
//! and Sun 2015, Fast Guided Filter). The guided filter would replace the painting by its local linear fit to the frame;
//! here the painting itself is kept and only the missing detail comes from the fit, so that brush strokes survive.

use anyhow::{Context as _, Result};
use fast_image_resize as fir;
use fir::images::{Image, ImageRef};

use super::pixels::{luma, to_byte};
use crate::frame::{CHANNELS, Frame, FrameSize};

/// Radius of the window in which the painting is compared with the frame, in pixels of the small picture.
const RADIUS: usize = 3;

/// ε of the guided filter: luma variance, on the scale 0–255, below which a window counts as flat.
const EPSILON: f32 = 16.0;

/// Makes frames small and paintings large; keeps its buffers between frames.
pub struct GuidedUpscaler {
    resizer: fir::Resizer,
    /// Luma of the small frame and coefficient g, interleaved, 0–255 each.
    guide: Vec<u8>,
    /// The same at the frame's size.
    large_guide: Vec<u8>,
    moments: Vec<[f32; 4]>,
    columns: Vec<[f32; 4]>,
    coefficients: Vec<f32>,
}

impl GuidedUpscaler {
    /// An upscaler without buffers.
    pub fn new() -> Self {
        Self {
            resizer: fir::Resizer::new(),
            guide: Vec::new(),
            large_guide: Vec::new(),
            moments: Vec::new(),
            columns: Vec::new(),
            coefficients: Vec::new(),
        }
    }

    /// Scales `src` into the smaller `dst`, by the mean of the area that each pixel covers.
    ///
    /// # Errors
    /// When a size is 0.
    pub fn downscale(&mut self, src: &Frame, dst: &mut Frame) -> Result<()> {
        resize_rgb(&mut self.resizer, src, dst, fir::FilterType::Box)
    }

    /// Enlarges `painted`, the painting of `content`, into `dst` with the detail of `frame`, of which `content` is the
    /// small version. `frame` and `dst` have one size, `content` and `painted` another.
    ///
    /// # Errors
    /// When a size is 0.
    pub fn upscale(&mut self, frame: &Frame, content: &Frame, painted: &Frame, dst: &mut Frame) -> Result<()> {
        const FILTER: fir::FilterType = fir::FilterType::CatmullRom;
        self.compute_guide(content, painted);
        resize_rgb(&mut self.resizer, painted, dst, FILTER)?;
        let (small, large) = (content.size, dst.size);
        self.large_guide.resize(large.pixels() * 2, 0);
        let src = ImageRef::new(small.width as u32, small.height as u32, &self.guide, fir::PixelType::U8x2)?;
        let mut enlarged =
            Image::from_slice_u8(large.width as u32, large.height as u32, &mut self.large_guide, fir::PixelType::U8x2)?;
        let options = fir::ResizeOptions::new().resize_alg(fir::ResizeAlg::Convolution(FILTER)).use_alpha(false);
        self.resizer.resize(&src, &mut enlarged, &options).context("enlarge the detail guide")?;
        add_detail(frame.pixels(), &self.large_guide, dst.pixels_mut());
        Ok(())
    }

    /// Fills `guide` with the luma of `content` and g.
    fn compute_guide(&mut self, content: &Frame, painted: &Frame) {
        let size = content.size;
        self.moments.clear();
        let pairs = content.pixels().as_chunks::<CHANNELS>().0.iter().zip(painted.pixels().as_chunks::<CHANNELS>().0);
        self.moments.extend(pairs.map(|(content, painted)| {
            let (i, s) = (luma(content.map(f32::from)), luma(painted.map(f32::from)));
            [i, s, i * i, i * s]
        }));
        self.guide.clear();
        self.guide.extend(self.moments.iter().flat_map(|moments| [to_byte(moments[0]), 0]));
        box_mean(&mut self.moments, &mut self.columns, size, RADIUS);
        self.coefficients.clear();
        self.coefficients.extend(self.moments.iter().map(|[i, s, ii, is]| {
            let covariance = is - i * s;
            let variance = ii - i * i;
            (covariance / (variance + EPSILON)).clamp(0.0, 1.0)
        }));
        for (guide, coefficient) in self.guide.as_chunks_mut::<2>().0.iter_mut().zip(&self.coefficients) {
            guide[1] = to_byte(coefficient * 255.0);
        }
    }
}

impl Default for GuidedUpscaler {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for GuidedUpscaler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GuidedUpscaler").finish_non_exhaustive()
    }
}

/// Adds g·(Y(I) − Y(up(down(I)))) to each channel of `dst`.
fn add_detail(frame: &[u8], guide: &[u8], dst: &mut [u8]) {
    let frame = frame.as_chunks::<CHANNELS>().0;
    let guide = guide.as_chunks::<2>().0;
    for ((pixel, frame), [smooth_luma, coefficient]) in
        dst.as_chunks_mut::<CHANNELS>().0.iter_mut().zip(frame).zip(guide)
    {
        let detail = luma(frame.map(f32::from)) - f32::from(*smooth_luma);
        let added = detail * f32::from(*coefficient) * (1.0 / 255.0);
        *pixel = pixel.map(|value| to_byte(f32::from(value) + added));
    }
}

/// Replaces every element by the mean of the window of `radius` around it, smaller at the borders.
fn box_mean(values: &mut [[f32; 4]], scratch: &mut Vec<[f32; 4]>, size: FrameSize, radius: usize) {
    let (width, height) = (size.width, size.height);
    scratch.clear();
    scratch.resize(values.len(), [0.0; 4]);
    for (src, dst) in values.chunks_exact(width).zip(scratch.chunks_exact_mut(width)) {
        let mut sum = [0.0; 4];
        for value in &src[..radius.min(width)] {
            add(&mut sum, value, 1.0);
        }
        for x in 0..width {
            if x + radius < width {
                add(&mut sum, &src[x + radius], 1.0);
            }
            if x > radius {
                add(&mut sum, &src[x - radius - 1], -1.0);
            }
            let count = (x + radius).min(width - 1) - x.saturating_sub(radius) + 1;
            dst[x] = sum.map(|sum| sum / count as f32);
        }
    }
    let mut sums = vec![[0.0; 4]; width];
    for row in scratch.chunks_exact(width).take(radius.min(height)) {
        sums.iter_mut().zip(row).for_each(|(sum, value)| add(sum, value, 1.0));
    }
    for y in 0..height {
        if y + radius < height {
            let row = &scratch[(y + radius) * width..][..width];
            sums.iter_mut().zip(row).for_each(|(sum, value)| add(sum, value, 1.0));
        }
        if y > radius {
            let row = &scratch[(y - radius - 1) * width..][..width];
            sums.iter_mut().zip(row).for_each(|(sum, value)| add(sum, value, -1.0));
        }
        let count = (y + radius).min(height - 1) - y.saturating_sub(radius) + 1;
        for (value, sum) in values[y * width..][..width].iter_mut().zip(&sums) {
            *value = sum.map(|sum| sum / count as f32);
        }
    }
}

fn add(sum: &mut [f32; 4], value: &[f32; 4], sign: f32) {
    for (sum, value) in sum.iter_mut().zip(value) {
        *sum += sign * value;
    }
}

/// Scales an RGB picture into another of any size.
pub(super) fn resize_rgb(
    resizer: &mut fir::Resizer,
    src: &Frame,
    dst: &mut Frame,
    filter: fir::FilterType,
) -> Result<()> {
    let (from, to) = (src.size, dst.size);
    let src = ImageRef::new(from.width as u32, from.height as u32, src.pixels(), fir::PixelType::U8x3)?;
    let mut dst = Image::from_slice_u8(to.width as u32, to.height as u32, dst.pixels_mut(), fir::PixelType::U8x3)?;
    let options = fir::ResizeOptions::new().resize_alg(fir::ResizeAlg::Convolution(filter));
    resizer.resize(&src, &mut dst, &options).with_context(|| format!("scale a picture from {from} to {to}"))
}
