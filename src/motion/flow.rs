//! Dense optical flow between two pictures, and what follows from it: where it holds, and a picture moved along it.
//!
//! Flow is dense inverse search (Kroeger et al. 2016, "Fast Optical Flow using Dense Inverse Search") as OpenCV has it.
//! This file knows two pictures at a time; what happens over time is for its neighbors.

use anyhow::{Context, Result, ensure};
use multiversion::multiversion;
use opencv::boxed_ref::BoxedRef;
use opencv::core::{Mat, Ptr, Vec2f};
use opencv::prelude::{DISOpticalFlowTrait, DenseOpticalFlowTrait, MatTraitConstManual};
use opencv::video::{DISOpticalFlow, DISOpticalFlow_PRESET_FAST, DISOpticalFlow_PRESET_MEDIUM};

use crate::frame::FrameSize;

/// A picture of lightness, `[height, width]`, 0–255.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrayPicture {
    /// Width and height in pixels.
    pub size: FrameSize,
    /// Rows of pixels, top to bottom.
    pub pixels: Vec<u8>,
}

impl GrayPicture {
    /// A black picture.
    pub fn black(size: FrameSize) -> Self {
        Self { size, pixels: vec![0; size.pixels()] }
    }

    /// The lightness (BT.601 luma) of an RGB picture, `[height, width, 3]`, 0–255.
    pub fn from_rgb(rgb: &[u8], size: FrameSize) -> Self {
        let luma = |pixel: &[u8; 3]| {
            ((u32::from(pixel[0]) * 77 + u32::from(pixel[1]) * 150 + u32::from(pixel[2]) * 29 + 128) >> 8) as u8
        };
        Self { size, pixels: rgb.as_chunks::<3>().0.iter().map(luma).collect() }
    }
}

/// Where each pixel of one picture lies in another, `[height, width, 2]`: (dx, dy) in pixels, so that pixel `(x, y)` is
/// seen at `(x + dx, y + dy)`.
#[derive(Debug, Clone, PartialEq)]
pub struct FlowField {
    /// Width and height in pixels.
    pub size: FrameSize,
    /// Rows of vectors, top to bottom.
    pub vectors: Vec<[f32; 2]>,
}

impl FlowField {
    /// No motion anywhere.
    pub fn zero(size: FrameSize) -> Self {
        Self { size, vectors: vec![[0.0; 2]; size.pixels()] }
    }

    /// The vector at a place between pixels, by bilinear interpolation; the border continues outside. The field is not
    /// empty.
    #[inline(always)]
    pub fn at(&self, x: f32, y: f32) -> [f32; 2] {
        bilinear(&self.vectors, self.size, x, y)
    }
}

/// The value at a place between pixels; the border continues outside, and is where no number leads. `size` is not empty.
#[inline(always)]
fn bilinear<const CHANNELS: usize>(src: &[[f32; CHANNELS]], size: FrameSize, x: f32, y: f32) -> [f32; CHANNELS] {
    let (right_border, bottom_border) = (size.width - 1, size.height - 1);
    // `max` answers with the number where the other is none.
    let (x, y) = (x.max(0.0).min(right_border as f32), y.max(0.0).min(bottom_border as f32));
    // By way of `i32`, which a processor knows how to make.
    let (left, top) = (x as i32 as usize, y as i32 as usize);
    let (share_x, share_y) = (x - left as f32, y - top as f32);
    let right = (left + 1).min(right_border);
    let (above, below) = (top * size.width, (top + 1).min(bottom_border) * size.width);
    let corners = [src[above + left], src[above + right], src[below + left], src[below + right]];
    std::array::from_fn(|c| {
        let upper = corners[0][c] + share_x * (corners[1][c] - corners[0][c]);
        let lower = corners[2][c] + share_x * (corners[3][c] - corners[2][c]);
        upper + share_y * (lower - upper)
    })
}

/// How carefully flow is sought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlowQuality {
    /// For smoothing: about 2.5 ms at 320×180 on one core.
    Quick,
    /// For measuring: OpenCV's preset MEDIUM.
    Medium,
}

/// [`FlowQuality::Quick`] is OpenCV's preset FAST, but vectors are sought down to pictures of half the size, not of a quarter:
/// that takes a fifth off the warping error of what is smoothed along them. Wider steps between patches and fewer
/// rounds of refinement (FAST: 4 and 5) pay for some of it and cost a hundredth (ours; docs/temporal.md).
const QUICK_FINEST_SCALE: i32 = 1;
const QUICK_PATCH_STEP: i32 = 5;
const QUICK_REFINEMENTS: i32 = 2;

/// Estimates flow; keeps its buffers.
pub struct FlowEstimator {
    search: Ptr<DISOpticalFlow>,
    flow: Mat,
}

impl FlowEstimator {
    /// DIS needs a few patches in each direction.
    pub const MIN_SIDE: usize = 16;

    /// An estimator.
    ///
    /// # Errors
    /// If OpenCV cannot make one.
    pub fn new(quality: FlowQuality) -> Result<Self> {
        let search = match quality {
            FlowQuality::Quick => quick_search(),
            FlowQuality::Medium => DISOpticalFlow::create(DISOpticalFlow_PRESET_MEDIUM),
        };
        let search = search.context("prepare optical flow")?;
        Ok(Self { search, flow: Mat::default() })
    }

    /// Where each pixel of `from` lies in `to`, which has the same size; none where a side is under
    /// [`FlowEstimator::MIN_SIDE`].
    ///
    /// # Errors
    /// If the sizes differ or OpenCV fails.
    pub fn estimate(&mut self, from: &GrayPicture, to: &GrayPicture, flow: &mut FlowField) -> Result<()> {
        ensure!(from.size == to.size, "flow between pictures of {} and {}", from.size, to.size);
        flow.size = from.size;
        flow.vectors.clear();
        if from.size.short_side() < Self::MIN_SIDE {
            flow.vectors.resize(from.size.pixels(), [0.0; 2]);
            return Ok(());
        }
        let (first, second) = (as_mat(from)?, as_mat(to)?);
        // What an earlier call left would be taken as a first guess.
        self.flow = Mat::default();
        self.search.calc(&first, &second, &mut self.flow).context("estimate optical flow")?;
        let vectors = self.flow.data_typed::<Vec2f>().context("read optical flow")?;
        flow.vectors.extend(vectors.iter().map(|vector| [vector[0], vector[1]]));
        Ok(())
    }
}

fn quick_search() -> opencv::Result<Ptr<DISOpticalFlow>> {
    let mut search = DISOpticalFlow::create(DISOpticalFlow_PRESET_FAST)?;
    search.set_finest_scale(QUICK_FINEST_SCALE)?;
    search.set_patch_stride(QUICK_PATCH_STEP)?;
    search.set_variational_refinement_iterations(QUICK_REFINEMENTS)?;
    Ok(search)
}

fn as_mat(picture: &GrayPicture) -> Result<BoxedRef<'_, Mat>> {
    let (rows, columns) = (i32::try_from(picture.size.height)?, i32::try_from(picture.size.width)?);
    Mat::new_rows_cols_with_data(rows, columns, &picture.pixels).context("hand a picture to OpenCV")
}

/// What flow may get wrong and still hold. Lengths are in cells of the field.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FlowTolerance {
    /// Squared gradient that is no border of motion, as a share of the squared speed.
    pub gradient_of_speed: f32,
    /// Squared gradient that is never a border of motion.
    pub gradient: f32,
    /// How far outside the other picture a place may lie, in cells.
    pub outside: f32,
}

impl FlowTolerance {
    /// At full resolution, as Sundaram et al. 2010 have it.
    pub const FULL_SIZE: Self = Self { gradient_of_speed: 0.01, gradient: 0.002, outside: 0.0 };
}

/// Squared disagreement of the flow and the flow back that is always allowed, in pixels² at full resolution (Sundaram et al.
/// 2010).
const DISAGREEMENT: f32 = 0.5;

/// Where the flow of a picture holds (1) and where it does not (0), after Sundaram et al. 2010 as used by Ruder et al.
/// 2016: neither outside the other picture nor on the borders of motion.
#[multiversion(targets("x86_64+avx2"))]
pub fn coherence(flow: &FlowField, tolerance: &FlowTolerance, mask: &mut Vec<f32>) {
    let FrameSize { width, height } = flow.size;
    mask.clear();
    mask.resize(flow.size.pixels(), 0.0);
    let squared = |[u, v]: [f32; 2]| u * u + v * v;
    let (left_border, top_border) = (-tolerance.outside, -tolerance.outside);
    let right_border = width.saturating_sub(1) as f32 + tolerance.outside;
    let bottom_border = height.saturating_sub(1) as f32 + tolerance.outside;
    for (y, mask) in mask.chunks_exact_mut(width.max(1)).enumerate() {
        let line = |y: usize| &flow.vectors[y * width..][..width];
        let (above, here, below) = (line(y.saturating_sub(1)), line(y), line((y + 1).min(height - 1)));
        for (x, mask) in mask.iter_mut().enumerate() {
            let [u, v] = here[x];
            let (left, right) = (here[x.saturating_sub(1)], here[(x + 1).min(width - 1)]);
            let across = [right[0] - left[0], right[1] - left[1]];
            let along = [below[x][0] - above[x][0], below[x][1] - above[x][1]];
            let is_border = 0.25 * (squared(across) + squared(along))
                > tolerance.gradient_of_speed * squared([u, v]) + tolerance.gradient;
            let (there_x, there_y) = (x as f32 + u, y as f32 + v);
            let is_inside =
                there_x >= left_border && there_y >= top_border && there_x <= right_border && there_y <= bottom_border;
            *mask = f32::from(u8::from(is_inside && !is_border));
        }
    }
}

/// As [`coherence`] at full resolution, and the flow back must not contradict (Sundaram et al. 2010; Lai et al. 2018): what
/// is hidden in the other picture does not count.
///
/// `flow` and `reverse` are of the same size.
pub fn reliability(flow: &FlowField, reverse: &FlowField, mask: &mut Vec<f32>) {
    coherence(flow, &FlowTolerance::FULL_SIZE, mask);
    for (index, mask) in mask.iter_mut().enumerate().filter(|(_, mask)| **mask > 0.0) {
        *mask = f32::from(u8::from(agrees(flow, reverse, index)));
    }
}

/// What leads out of the picture by less, in pixels, is taken for its border: flow is not as exact as that (ours).
const OUTSIDE: f32 = 0.6;

/// Where a picture's flow leads into the other picture (1) and the flow back does not contradict it, else 0.
///
/// `flow` and `reverse` are of the same size.
pub fn agreement(flow: &FlowField, reverse: &FlowField, mask: &mut Vec<f32>) {
    let (right, bottom) = (flow.size.width.saturating_sub(1) as f32, flow.size.height.saturating_sub(1) as f32);
    let width = flow.size.width.max(1);
    mask.clear();
    mask.extend(flow.vectors.iter().enumerate().map(|(index, [u, v])| {
        let (x, y) = ((index % width) as f32 + u, (index / width) as f32 + v);
        let is_inside = (-OUTSIDE..=right + OUTSIDE).contains(&x) && (-OUTSIDE..=bottom + OUTSIDE).contains(&y);
        f32::from(u8::from(is_inside && agrees(flow, reverse, index)))
    }));
}

/// Whether the flow back from where the vector at `index` leads comes back there.
fn agrees(flow: &FlowField, reverse: &FlowField, index: usize) -> bool {
    let squared = |[u, v]: [f32; 2]| u * u + v * v;
    let (width, [u, v]) = (flow.size.width.max(1), flow.vectors[index]);
    let back = reverse.at((index % width) as f32 + u, (index / width) as f32 + v);
    squared([u + back[0], v + back[1]]) < 0.01 * (squared([u, v]) + squared(back)) + DISAGREEMENT
}

/// Moves `src` along `flow` into `dst`: `dst(x, y) = src((x, y) + flow(x, y))`, bilinear, border continued. Both are
/// `[height, width, CHANNELS]` of the size of the flow.
#[multiversion(targets("x86_64+avx2"))]
pub fn warp<const CHANNELS: usize>(src: &[f32], flow: &FlowField, dst: &mut [f32]) {
    let width = flow.size.width.max(1);
    let src = src.as_chunks::<CHANNELS>().0;
    let rows = dst.as_chunks_mut::<CHANNELS>().0.chunks_exact_mut(width);
    for (y, (dst, vectors)) in rows.zip(flow.vectors.chunks_exact(width)).enumerate() {
        for (x, (dst, [u, v])) in dst.iter_mut().zip(vectors).enumerate() {
            *dst = bilinear(src, flow.size, x as f32 + u, y as f32 + v);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Smooth waves, moved by (dx, dy).
    fn waves(size: FrameSize, dx: f32, dy: f32) -> GrayPicture {
        let mut picture = GrayPicture::black(size);
        for (index, pixel) in picture.pixels.iter_mut().enumerate() {
            let (x, y) = ((index % size.width) as f32 - dx, (index / size.width) as f32 - dy);
            let value = (x * 0.21 + y * 0.08).sin() + (x * 0.05 - y * 0.17).sin() + (x * 0.4 + y * 0.33).cos() * 0.5;
            *pixel = (127.5 + value * 45.0) as u8;
        }
        picture
    }

    #[test]
    fn flow_points_from_the_first_picture_into_the_second() {
        let size = FrameSize::new(160, 96);
        for quality in [FlowQuality::Quick, FlowQuality::Medium] {
            let mut flow = FlowField::zero(size);
            let mut estimator = FlowEstimator::new(quality).unwrap();
            estimator.estimate(&waves(size, 0.0, 0.0), &waves(size, 3.0, -2.0), &mut flow).unwrap();
            let [u, v] = flow.vectors[48 * 160 + 80];
            assert!((u - 3.0).abs() < 0.5 && (v + 2.0).abs() < 0.5, "{quality:?}: {u} {v}");
        }
    }

    #[test]
    fn a_border_that_leads_out_by_the_noise_of_flow_agrees() {
        let size = FrameSize::new(6, 4);
        let field = |vector: [f32; 2]| FlowField { size, vectors: vec![vector; size.pixels()] };
        let mut mask = Vec::new();
        for noise in [[-0.1, 0.0], [0.1, 0.1], [0.0, -0.5]] {
            agreement(&field(noise), &field(noise.map(|value: f32| -value)), &mut mask);
            assert_eq!(mask, [1.0; 24], "{noise:?}");
        }
        agreement(&field([-2.0, 0.0]), &field([2.0, 0.0]), &mut mask);
        assert_eq!(mask[..6], [0.0, 0.0, 1.0, 1.0, 1.0, 1.0]);
    }

    #[test]
    fn tiny_pictures_have_no_flow() {
        let size = FrameSize::new(8, 8);
        let mut flow = FlowField::zero(FrameSize::new(1, 1));
        let mut estimator = FlowEstimator::new(FlowQuality::Quick).unwrap();
        estimator.estimate(&waves(size, 0.0, 0.0), &waves(size, 1.0, 0.0), &mut flow).unwrap();
        assert_eq!(flow, FlowField::zero(size));
    }

    #[test]
    fn flows_that_contradict_each_other_or_leave_the_picture_are_not_reliable() {
        let size = FrameSize::new(20, 20);
        let constant = |u: f32| FlowField { size, vectors: vec![[u, 0.0]; size.pixels()] };
        let mut mask = Vec::new();
        reliability(&constant(3.0), &constant(-3.0), &mut mask);
        assert_eq!((mask[5], mask[18]), (1.0, 0.0), "the right border moves out of sight");
        reliability(&constant(3.0), &constant(0.0), &mut mask);
        assert!(mask.iter().all(|reliable| *reliable == 0.0));
    }

    #[test]
    fn warping_along_whole_pixels_is_a_shift() {
        let size = FrameSize::new(6, 1);
        let flow = FlowField { size, vectors: vec![[2.0, 0.0]; 6] };
        let mut moved = [0.0; 6];
        warp::<1>(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0], &flow, &mut moved);
        assert_eq!(moved, [2.0, 3.0, 4.0, 5.0, 5.0, 5.0]);
    }
}
