//! From a small painting back to a large frame, guided by the frame's own detail.
//!
//! The painting is enlarged smoothly, and the detail that the frame lost when it was made small is added where the
//! painting follows the frame: O = up(S) + up(g)·(Y(I) − Y(up(down(I)))), with I the frame, S the small painting, Y luma
//! and g = cov(Y(S), Y(I)) / (var(Y(I)) + ε) over a small window at low resolution, within 0–1. g is the linear
//! coefficient of the guided filter (He et al. 2013, Guided Image Filtering, eq. 5, computed at low resolution as in He
//! and Sun 2015, Fast Guided Filter). The guided filter would replace the painting by its local linear fit to the frame;
//! here the painting itself is kept and only the missing detail comes from the fit, so that brush strokes survive.
//!
//! Enlarging goes strip by strip, so that its own memory does not grow with the frame. Each strip sees the rows around it:
//! strips have no seams.

use anyhow::{Context as _, Result, ensure};

use super::pixels::{BLOCK, add_to_channels, luma_256, to_byte};
use crate::frame::{CHANNELS, Frame, FrameSize};
use crate::scale::{Filter, Scaler};

/// Radius of the window in which the painting is compared with the frame, in pixels of the small picture.
const RADIUS: usize = 3;

/// ε of the guided filter: luma variance, on the scale 0–255, below which a window counts as flat.
const EPSILON: f32 = 16.0;

/// Pixels of the frame that are enlarged together.
const STRIP_PIXELS: usize = 1 << 20;

/// Makes frames small and paintings large; keeps its buffers between frames.
pub struct GuidedUpscaler {
    scaler: Scaler,
    /// Luma of the small frame and coefficient g, interleaved, 0–255 each.
    guide: Vec<u8>,
    /// The same at the frame's size, of one strip.
    large_guide: Vec<u8>,
    /// Of each pixel, then of the window around it: means of I, S, I² and I·S, with I and S lumas less 128.
    moments: Vec<[f32; 4]>,
    /// The same, of windows of one row.
    row_moments: Vec<[f32; 4]>,
    /// Sums of a window's rows.
    column_sums: Vec<[f32; 4]>,
}

impl GuidedUpscaler {
    /// An upscaler without buffers.
    pub fn new() -> Self {
        Self {
            scaler: Scaler::new(),
            guide: Vec::new(),
            large_guide: Vec::new(),
            moments: Vec::new(),
            row_moments: Vec::new(),
            column_sums: Vec::new(),
        }
    }

    /// Scales `src` into the smaller `dst`, by the mean of the area that each pixel covers.
    ///
    /// # Errors
    /// When a size is 0.
    pub fn downscale(&mut self, src: &Frame, dst: &mut Frame) -> Result<()> {
        self.scaler.scale_rgb(src.size, src.pixels(), dst.size, dst.pixels_mut(), Filter::Box)
    }

    /// Enlarges `painted`, the painting of `content`, into `dst` with the detail of `frame`, of which `content` is the
    /// small version. `frame` and `dst` have one size, `content` and `painted` another.
    ///
    /// # Errors
    /// When sizes do not match or one is 0.
    pub fn upscale(&mut self, frame: &Frame, content: &Frame, painted: &Frame, dst: &mut Frame) -> Result<()> {
        ensure!(
            frame.size == dst.size && content.size == painted.size,
            "a painting of {} of a frame of {} cannot be enlarged into {}",
            painted.size,
            frame.size,
            dst.size
        );
        self.upscale_in_strips(frame, content, painted, dst, STRIP_PIXELS)
    }

    fn upscale_in_strips(
        &mut self,
        frame: &Frame,
        content: &Frame,
        painted: &Frame,
        dst: &mut Frame,
        strip_pixels: usize,
    ) -> Result<()> {
        ensure!(dst.size.pixels() > 0, "a painting cannot be enlarged into {}", dst.size);
        self.compute_guide(content, painted);
        let (small, large) = (painted.size, dst.size);
        let rows = (strip_pixels / large.width).clamp(1, large.height);
        let strip_bytes = rows * large.width * CHANNELS;
        let strips = frame.pixels().chunks(strip_bytes).zip(dst.pixels_mut().chunks_mut(strip_bytes));
        for (index, (frame, dst)) in strips.enumerate() {
            let rows = index * rows..((index + 1) * rows).min(large.height);
            self.large_guide.resize(rows.len() * large.width * 2, 0);
            let filter = Filter::CatmullRom;
            self.scaler.scale_rgb_rows(small, painted.pixels(), large, rows.clone(), dst, filter)?;
            self.scaler
                .scale_pairs_rows(small, &self.guide, large, rows, &mut self.large_guide, filter)
                .context("enlarge the detail guide")?;
            add_detail(frame, &self.large_guide, dst);
        }
        Ok(())
    }

    /// Fills `guide` with the luma of `content` and g.
    fn compute_guide(&mut self, content: &Frame, painted: &Frame) {
        self.moments.clear();
        self.guide.clear();
        let pairs = content.pixels().as_chunks::<CHANNELS>().0.iter().zip(painted.pixels().as_chunks::<CHANNELS>().0);
        for (content, painted) in pairs {
            let (luma_of_content, luma_of_painted) = (luma_256(*content), luma_256(*painted));
            self.guide.extend([((luma_of_content + 128) >> 8) as u8, 0]);
            // Variances are small differences of large numbers unless the numbers are centered.
            let centered = |luma_256: i32| (luma_256 - (128 << 8)) as f32 / 256.0;
            let (i, s) = (centered(luma_of_content), centered(luma_of_painted));
            self.moments.push([i, s, i * i, i * s]);
        }
        self.window_means(content.size, RADIUS);
        for (guide, [i, s, ii, is]) in self.guide.as_chunks_mut::<2>().0.iter_mut().zip(&self.moments) {
            let covariance = is - i * s;
            let variance = ii - i * i;
            guide[1] = to_byte(255.0 * covariance / (variance + EPSILON));
        }
    }

    /// Replaces every moment by its mean over the window of `radius` around it, which is smaller at the borders.
    fn window_means(&mut self, size: FrameSize, radius: usize) {
        let Self { moments, row_moments, column_sums, .. } = self;
        let (width, height) = (size.width.max(1), size.height.max(1));
        row_moments.resize(moments.len(), [0.0; 4]);
        for (src, dst) in moments.chunks_exact(width).zip(row_moments.chunks_exact_mut(width)) {
            let mut sum = [0.0; 4];
            src.iter().take(radius).for_each(|value| add(&mut sum, value, 1.0));
            for (x, mean) in dst.iter_mut().enumerate() {
                if let Some(entering) = src.get(x + radius) {
                    add(&mut sum, entering, 1.0);
                }
                if let Some(leaving) = x.checked_sub(radius + 1).and_then(|x| src.get(x)) {
                    add(&mut sum, leaving, -1.0);
                }
                let reciprocal = 1.0 / window_length(x, width, radius);
                *mean = sum.map(|sum| sum * reciprocal);
            }
        }
        column_sums.clear();
        column_sums.resize(width, [0.0; 4]);
        let row_of = |y: usize| row_moments.get(y * width..(y + 1) * width).unwrap_or(&[]);
        let add_row = |sums: &mut [[f32; 4]], y: usize, sign: f32| {
            sums.iter_mut().zip(row_of(y)).for_each(|(sum, value)| add(sum, value, sign));
        };
        (0..radius).for_each(|y| add_row(column_sums, y, 1.0));
        for (y, dst) in moments.chunks_exact_mut(width).enumerate() {
            add_row(column_sums, y + radius, 1.0);
            if let Some(leaving) = y.checked_sub(radius + 1) {
                add_row(column_sums, leaving, -1.0);
            }
            let reciprocal = 1.0 / window_length(y, height, radius);
            dst.iter_mut().zip(&*column_sums).for_each(|(mean, sum)| *mean = sum.map(|sum| sum * reciprocal));
        }
    }
}

/// How many samples of a line of `length` lie within `radius` of sample `i`.
fn window_length(i: usize, length: usize, radius: usize) -> f32 {
    ((i + radius).min(length - 1) + 1 - i.saturating_sub(radius)) as f32
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
    let blocks = frame.chunks(BLOCK * CHANNELS).zip(guide.chunks(BLOCK * 2));
    for (block, (frame, guide)) in dst.chunks_mut(BLOCK * CHANNELS).zip(blocks) {
        let mut differences = [0; BLOCK];
        let pixels = frame.as_chunks::<CHANNELS>().0.iter().zip(guide.as_chunks::<2>().0);
        for (difference, (frame, [smooth_luma, coefficient])) in differences.iter_mut().zip(pixels) {
            let detail_256 = luma_256(*frame) - 256 * i32::from(*smooth_luma);
            *difference = ((detail_256 * i32::from(*coefficient) + (1 << 15)) >> 16) as i16;
        }
        add_to_channels(block, &differences);
    }
}

fn add(sum: &mut [f32; 4], value: &[f32; 4], sign: f32) {
    for (sum, value) in sum.iter_mut().zip(value) {
        *sum += sign * value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(size: FrameSize, of: impl Fn(usize, usize) -> [u8; CHANNELS]) -> Frame {
        let mut frame = Frame::black(size);
        for (index, pixel) in frame.pixels_mut().as_chunks_mut::<CHANNELS>().0.iter_mut().enumerate() {
            *pixel = of(index % size.width, index / size.width);
        }
        frame
    }

    fn stripes(x: usize, y: usize) -> [u8; CHANNELS] {
        if (x / 3 + y / 5).is_multiple_of(2) { [200, 180, 160] } else { [60, 80, 40] }
    }

    fn enlarge(frame: &Frame, paint: impl Fn(&[u8]) -> Vec<u8>) -> Frame {
        let mut upscaler = GuidedUpscaler::new();
        let mut content = Frame::black(FrameSize::new(frame.size.width / 3, frame.size.height / 3));
        upscaler.downscale(frame, &mut content).unwrap();
        let mut painted = Frame::black(content.size);
        painted.pixels_mut().copy_from_slice(&paint(content.pixels()));
        let mut dst = Frame::black(frame.size);
        upscaler.upscale(frame, &content, &painted, &mut dst).unwrap();
        dst
    }

    #[test]
    fn a_painting_that_is_the_frame_gets_its_detail_back() {
        let frame = filled(FrameSize::new(120, 90), stripes);
        let enlarged = enlarge(&frame, <[u8]>::to_vec);
        assert!(enlarged.mean_difference(&frame) < 8.0, "{}", enlarged.mean_difference(&frame));
    }

    #[test]
    fn strips_have_no_seams() {
        let frame = filled(FrameSize::new(121, 97), stripes);
        let mut upscaler = GuidedUpscaler::new();
        let mut content = Frame::black(FrameSize::new(37, 30));
        upscaler.downscale(&frame, &mut content).unwrap();
        let painted = filled(content.size, |x, y| [(x * 31 % 256) as u8, (y * 17 % 256) as u8, (x * y % 256) as u8]);
        let mut enlarge = |strip_pixels: usize| {
            let mut dst = Frame::black(frame.size);
            upscaler.upscale_in_strips(&frame, &content, &painted, &mut dst, strip_pixels).unwrap();
            dst
        };
        let whole = enlarge(usize::MAX);
        for strip_pixels in [1, 121 * 10, 121 * 60] {
            let strips = enlarge(strip_pixels);
            assert!(whole.mean_difference(&strips) < 0.02, "{strip_pixels}: {}", whole.mean_difference(&strips));
            let worst = whole.pixels().iter().zip(strips.pixels()).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
            assert!(worst <= 2, "{strip_pixels}: {worst}");
        }
    }

    #[test]
    fn a_flat_painting_stays_flat() {
        let frame = filled(FrameSize::new(120, 90), stripes);
        let enlarged = enlarge(&frame, |content| vec![90; content.len()]);
        assert!(enlarged.pixels().iter().all(|value| value.abs_diff(90) <= 1));
    }

    #[test]
    fn a_painting_that_turns_light_to_dark_gets_no_detail_of_the_wrong_sign() {
        let frame = filled(FrameSize::new(120, 90), stripes);
        let negative = |content: &[u8]| content.iter().map(|value| 255 - value).collect::<Vec<u8>>();
        let enlarged = enlarge(&frame, negative);
        let mut smooth = Frame::black(frame.size);
        let mut upscaler = GuidedUpscaler::new();
        let mut content = Frame::black(FrameSize::new(40, 30));
        upscaler.downscale(&frame, &mut content).unwrap();
        let mut painted = Frame::black(content.size);
        painted.pixels_mut().copy_from_slice(&negative(content.pixels()));
        let (from, to) = (painted.size, smooth.size);
        Scaler::new().scale_rgb(from, painted.pixels(), to, smooth.pixels_mut(), Filter::CatmullRom).unwrap();
        assert!(enlarged.mean_difference(&smooth) < 0.01);
    }

    #[test]
    fn window_means_are_those_of_a_plain_sum() {
        let size = FrameSize::new(9, 7);
        let value = |x: usize, y: usize| (x * 13 + y * 29) as f32 % 17.0;
        let mut upscaler = GuidedUpscaler::new();
        for y in 0..size.height {
            upscaler.moments.extend((0..size.width).map(|x| [value(x, y); 4]));
        }
        upscaler.window_means(size, 3);
        for y in 0..size.height {
            for x in 0..size.width {
                let (mut sum, mut count) = (0.0, 0.0);
                for v in y.saturating_sub(3)..(y + 4).min(size.height) {
                    for u in x.saturating_sub(3)..(x + 4).min(size.width) {
                        sum += value(u, v);
                        count += 1.0;
                    }
                }
                let mean = upscaler.moments[y * size.width + x][0];
                assert!((mean - sum / count).abs() < 1e-4, "({x}, {y}): {mean}");
            }
        }
    }
}
