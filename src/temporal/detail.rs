//! Fine detail given back: averaging takes detail away where strokes disagree from frame to frame, and what is left of it
//! is amplified until each part of the picture has as much as it was painted with.
//!
//! An unsharp mask whose strength is controlled from what it reached in the frame before, block by block. The average
//! itself stays as it is, so that nothing feeds back into it. The mask looks one and two pixels around: one alone
//! would amplify the lattice of networks that paint two pixels at a time, two alone draws halos.

use multiversion::multiversion;
use rayon::prelude::*;

use super::processor::{BAND, LOSS, Pixel};
use super::resample::Span;
use crate::frame::{CHANNELS, Frame, FrameSize};

/// How far around the mask looks, in pixels.
const RADIUS: usize = 2;
/// Side of the blocks that share a gain, in pixels (ours).
pub(super) const BLOCK: usize = 32;
/// Share of the distance to the wanted gain that is gone in a frame (ours): slowly, so that it does not flicker itself.
const FOLLOWING: f32 = 0.35;
/// So many frames of a new scene are followed at once, and those after them the less the more there were (ours): at first the
/// average changes quickly.
const FIRST_FOLLOWED: f32 = 2.0;
/// Rows from one whose energy is measured to the next (ours).
pub(super) const ROW_STEP: usize = 4;
/// Energy of detail, in levels² a pixel, under which a block counts as flat (ours).
const FLAT: f32 = 1.0;

/// How strongly detail is amplified in each block, as what was shown before says.
pub struct Gains {
    /// Blocks of the frame.
    pub blocks: FrameSize,
    /// What is added to detail, as a multiple of it, per block.
    pub values: Vec<f32>,
    /// The same for the next frame that is mixed; one that repeats this one is shown as it was.
    next: Vec<f32>,
    /// Energy of detail of the painted frame, and what it comes to in the frame as shown.
    wanted: Vec<f32>,
    /// Frames since the scene began.
    followed: u32,
}

impl Gains {
    /// Nothing is amplified yet, in frames of `size`.
    pub fn new(size: FrameSize) -> Self {
        let blocks = FrameSize::new(size.width.div_ceil(BLOCK), size.height.div_ceil(BLOCK));
        let zeros = vec![0.0; blocks.pixels()];
        Self { blocks, values: zeros.clone(), next: zeros.clone(), wanted: zeros, followed: 0 }
    }

    /// Goes on to the next frame that is mixed.
    pub fn advance(&mut self) {
        self.values.copy_from_slice(&self.next);
    }

    /// Takes the energy of a painted frame's detail for what is wanted.
    pub fn want(&mut self, energies: &[f32]) {
        self.wanted.copy_from_slice(energies);
    }

    /// Moves the next frame's gains towards where what is shown, whose detail has these `energies`, has `share` of the wanted
    /// amplitude.
    pub fn follow(&mut self, energies: &[f32], share: f32, most: f32) {
        self.followed += 1;
        let following = FOLLOWING.max(FIRST_FOLLOWED / self.followed as f32).min(1.0);
        let energies = self.wanted.iter().zip(energies);
        for ((next, gain), (wanted, shown)) in self.next.iter_mut().zip(&self.values).zip(energies) {
            let missing = share * ((wanted + FLAT) / (shown + FLAT)).sqrt() - 1.0;
            *next = (gain + following * missing * (1.0 + gain)).clamp(0.0, most.max(0.0));
        }
    }
}

/// Amplifies detail on the processor; rows on the threads of the pool that it is called in.
pub struct DetailGain {
    size: FrameSize,
    gains: Gains,
    energies: Vec<f32>,
    columns: Vec<Span>,
    bands: Vec<Row>,
}

/// What a row needs on its way.
#[derive(Default)]
struct Row {
    /// The gains of a row between those of blocks, and of each of its pixels.
    of_blocks: Vec<[f32; 1]>,
    gains: Vec<f32>,
    sharpened: Sharpened,
}

#[derive(Default)]
struct Sharpened {
    /// The row, continued to both sides.
    padded: Vec<Pixel>,
    gain: Vec<Pixel>,
    bits: Vec<[u32; 4]>,
}

impl DetailGain {
    /// Nothing is amplified yet, in frames of `size`.
    pub fn new(size: FrameSize) -> Self {
        let gains = Gains::new(size);
        Self {
            size,
            energies: Vec::new(),
            columns: (0..size.width).map(|x| Span::new(x, BLOCK as f32, gains.blocks.width)).collect(),
            bands: Vec::new(),
            gains,
        }
    }

    /// Goes on to the next frame that is mixed.
    pub fn advance(&mut self) {
        self.gains.advance();
    }

    /// Takes the detail of `painted` for what is wanted.
    pub fn want(&mut self, painted: &Frame) {
        energy(painted, self.gains.blocks, &mut self.energies);
        self.gains.want(&self.energies);
    }

    /// Moves the next frame's gains towards where `shown` has `share` of the wanted amplitude of detail.
    pub fn follow(&mut self, shown: &Frame, share: f32, most: f32) {
        energy(shown, self.gains.blocks, &mut self.energies);
        self.gains.follow(&self.energies, share, most);
    }

    /// Writes the average, `[height, width, 4]`, into `frame` with its detail amplified.
    pub fn show(&mut self, average: &[Pixel], frame: &mut Frame) {
        let FrameSize { width, height } = self.size;
        let line = |place: usize| &average[place.saturating_sub(2).min(height - 1) * width..][..width];
        let Self { gains, columns, bands, .. } = self;
        bands.resize_with(height.div_ceil(BAND), Row::default);
        let of_bands = frame.pixels_mut().par_chunks_mut((width * CHANNELS * BAND).max(1)).zip(bands).enumerate();
        of_bands.for_each(|(band, (rows, row))| {
            for (y, dst) in (band * BAND..).zip(rows.chunks_exact_mut(width * CHANNELS)) {
                row.set_gains(y, gains, columns);
                let around = [line(y), line(y + 1), line(y + 3), line(y + 4)];
                let dst = dst.as_chunks_mut::<CHANNELS>().0;
                sharpen(line(y + 2), around, &row.gains, &mut row.sharpened, dst);
            }
        });
    }
}

impl Row {
    /// Sets the gains of the pixels of row `y`, between those of its blocks.
    fn set_gains(&mut self, y: usize, Gains { blocks, values, .. }: &Gains, columns: &[Span]) {
        let span = Span::new(y, BLOCK as f32, blocks.height);
        let line = |y: usize| &values[y * blocks.width..][..blocks.width];
        self.of_blocks.clear();
        self.of_blocks.extend(line(span.first).iter().zip(line(span.second)).map(|(a, b)| span.mix([*a], [*b])));
        self.gains.clear();
        let gain = |span: &Span| span.mix(self.of_blocks[span.first], self.of_blocks[span.second])[0];
        self.gains.extend(columns.iter().map(gain));
    }
}

/// Writes the row `here`; the rows two and one above and one and two below are `around`. All are equally wide. `gains`
/// and `sharpened` have a place for each value of a row.
#[multiversion(targets("x86_64+avx2"))]
fn sharpen(
    here: &[Pixel],
    around: [&[Pixel]; 4],
    gains: &[f32],
    sharpened: &mut Sharpened,
    dst: &mut [[u8; CHANNELS]],
) {
    let width = here.len();
    let Sharpened { padded, gain, bits } = sharpened;
    padded.resize(width + 2 * RADIUS, Pixel::default());
    padded[..RADIUS].fill(here[0]);
    padded[RADIUS..][..width].copy_from_slice(here);
    padded[RADIUS + width..].fill(here[width - 1]);
    gain.resize(width, Pixel::default());
    for ((dst, pixel), gain) in gain.iter_mut().zip(here).zip(gains) {
        *dst = [gain * pixel[LOSS]; 4];
    }
    bits.resize(width, [0; 4]);

    let count = width * 4;
    let bits_of_row = &mut bits.as_flattened_mut()[..count];
    let gain = &gain.as_flattened()[..count];
    let row: [&[f32]; 5] = std::array::from_fn(|by| &padded.as_flattened()[by * 4..][..count]);
    let column = around.map(|row| &row.as_flattened()[..count]);
    for index in 0..count {
        let value = row[2][index];
        let in_row = (row[0][index] + row[1][index]) + (row[3][index] + row[4][index]);
        let in_column = (column[0][index] + column[1][index]) + (column[2][index] + column[3][index]);
        let amplified = value + gain[index] * (value - 0.125 * (in_row + in_column));
        // Adding 2²³ rounds and leaves the whole part in the lowest bits, for many values at once.
        bits_of_row[index] = (amplified.clamp(0.0, 255.0) + 8_388_608.0).to_bits();
    }
    for (dst, [red, green, blue, _]) in dst.iter_mut().zip(&*bits) {
        *dst = [*red as u8, *green as u8, *blue as u8];
    }
}

/// Mean squared Laplacian of the green channel in each block, in levels². One row in four tells as much as all of them.
fn energy(frame: &Frame, blocks: FrameSize, energies: &mut Vec<f32>) {
    let FrameSize { width, height } = frame.size;
    energies.clear();
    energies.resize(blocks.pixels(), 0.0);
    let pixels = frame.pixels().as_chunks::<CHANNELS>().0;
    let line = |y: usize| &pixels[y * width..][..width];
    // Rows and columns at the border count as if they were there: the same for both frames.
    let samples = 16.0 * (BLOCK * BLOCK / ROW_STEP) as f32;
    energies.par_chunks_exact_mut(blocks.width.max(1)).enumerate().for_each(|(block_row, energies)| {
        let rows = block_row * BLOCK + 1..((block_row + 1) * BLOCK).min(height.saturating_sub(1));
        for y in rows.step_by(ROW_STEP) {
            let (above, here, below) = (line(y - 1), line(y), line(y + 1));
            for (block, energy) in energies.iter_mut().enumerate() {
                let columns = (block * BLOCK).max(1)..((block + 1) * BLOCK).min(width - 1);
                let mut sum = 0;
                for x in columns {
                    let green = |pixel: [u8; CHANNELS]| i32::from(pixel[1]);
                    let around = green(above[x]) + green(below[x]) + green(here[x - 1]) + green(here[x + 1]);
                    let laplacian = 4 * green(here[x]) - around;
                    sum += laplacian * laplacian;
                }
                *energy += sum as f32;
            }
        }
        energies.iter_mut().for_each(|energy| *energy /= samples);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: FrameSize = FrameSize::new(96, 64);

    fn checkered(contrast: impl Fn(usize) -> f32) -> (Vec<Pixel>, Frame) {
        let average: Vec<Pixel> = (0..SIZE.pixels())
            .map(|index| {
                let (x, y) = (index % SIZE.width, index / SIZE.width);
                let value = 128.0 + if (x / 2 + y / 2) % 2 == 0 { contrast(x) } else { -contrast(x) };
                [value, value, value, 1.0]
            })
            .collect();
        let mut frame = Frame::black(SIZE);
        for (pixel, average) in frame.pixels_mut().as_chunks_mut::<CHANNELS>().0.iter_mut().zip(&average) {
            *pixel = [average[0] as u8; CHANNELS];
        }
        (average, frame)
    }

    #[test]
    fn each_part_of_the_picture_gets_its_own_detail_back() {
        // Averaging has halved the detail on the left and nothing on the right.
        let (average, _) = checkered(|x| if x < 48 { 20.0 } else { 40.0 });
        let (_, painted) = checkered(|_| 40.0);
        let mut gain = DetailGain::new(SIZE);
        let mut shown = Frame::black(SIZE);
        for _ in 0..60 {
            gain.advance();
            gain.want(&painted);
            gain.show(&average, &mut shown);
            gain.follow(&shown, 1.0, 3.0);
        }
        let mut energies = [Vec::new(), Vec::new()];
        for (frame, energies) in [&painted, &shown].into_iter().zip(&mut energies) {
            energy(frame, FrameSize::new(3, 2), energies);
        }
        for (wanted, shown) in energies[0].iter().zip(&energies[1]) {
            assert!((shown / wanted - 1.0).abs() < 0.25, "{shown} of {wanted}");
        }
        assert!(gain.gains.values[0] > 0.3 && gain.gains.values[2] < 0.1, "{:?}", gain.gains.values);
    }

    #[test]
    fn a_flat_picture_and_a_picture_of_one_pixel_stay_as_they_are() {
        for size in [SIZE, FrameSize::new(1, 1)] {
            let mut painted = Frame::black(size);
            painted.pixels_mut().fill(90);
            let average = vec![[90.0, 90.0, 90.0, 1.0]; size.pixels()];
            let mut gain = DetailGain::new(size);
            let mut shown = Frame::black(size);
            gain.want(&painted);
            gain.show(&average, &mut shown);
            gain.follow(&shown, 1.0, 3.0);
            assert_eq!(shown.pixels(), painted.pixels());
        }
    }

    #[test]
    fn levels_are_rounded_and_kept_in_range() {
        let level = |value: f32| {
            let row = [[value, value, value, 1.0]];
            let mut dst = [[7; CHANNELS]];
            sharpen(&row, [&row; 4], &[1.0], &mut Sharpened::default(), &mut dst);
            dst[0][0]
        };
        assert_eq!([-5.0, 0.4, 0.6, 100.5, 254.6, 300.0].map(level), [0, 0, 1, 100, 255, 255]);
    }
}
