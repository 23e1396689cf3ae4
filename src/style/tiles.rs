//! Pictures through a network that takes one size only, or too large for the memory: overlapping tiles, blended by ramps across
//! the overlap.
//!
//! Instance normalization sees each tile alone, so neighbouring tiles differ in tone. A wide overlap turns the step into a
//! slope; a network that bears other sizes is better served without tiles.

use super::pixels::{Mix, TensorFormat, mix_in_place, to_byte, unpack};
use crate::frame::{CHANNELS, FrameSize};

/// Tiles of one size over a frame, and the sums that they are blended in.
pub(super) struct Tiles {
    tile_size: FrameSize,
    frame_size: FrameSize,
    /// One tile as a picture.
    tile: Vec<u8>,
    /// Weighted sum of the tiles that cover each pixel, `[H, W, 3]`.
    sums: Vec<f32>,
    /// Sum of their weights, `[H, W]`.
    weights: Vec<f32>,
}

impl Tiles {
    pub fn new(tile_size: FrameSize) -> Self {
        let (tile, sums, weights) = (vec![0; tile_size.bytes()], Vec::new(), Vec::new());
        Self { tile_size, frame_size: FrameSize::new(0, 0), tile, sums, weights }
    }

    /// The size of a tile.
    pub fn tile_size(&self) -> FrameSize {
        self.tile_size
    }

    /// Forgets the last frame.
    pub fn start(&mut self, frame_size: FrameSize) {
        self.frame_size = frame_size;
        self.sums.clear();
        self.sums.resize(frame_size.bytes(), 0.0);
        self.weights.clear();
        self.weights.resize(frame_size.pixels(), 0.0);
    }

    /// Top left corners (x, y) of the tiles that cover a frame.
    pub fn origins(&self, frame_size: FrameSize) -> Vec<(usize, usize)> {
        let columns = origins_along(frame_size.width, self.tile_size.width);
        let rows = origins_along(frame_size.height, self.tile_size.height);
        rows.iter().flat_map(|&y| columns.iter().map(move |&x| (x, y))).collect()
    }

    /// Adds the network's answer for the tile at `origin`.
    pub fn add(&mut self, tensor: &[f32], format: &TensorFormat, origin: (usize, usize)) {
        unpack(tensor, self.tile_size, format, Mix::NONE, &[], &mut self.tile, self.tile_size);
        self.add_tile(origin);
    }

    /// The same for an answer of bytes, `[1, H, W, 3]`.
    pub fn add_picture(&mut self, bytes: &[u8], origin: (usize, usize)) {
        if bytes.len() == self.tile.len() {
            self.tile.copy_from_slice(bytes);
        }
        self.add_tile(origin);
    }

    fn add_tile(&mut self, origin: (usize, usize)) {
        let covered = FrameSize::new(
            self.tile_size.width.min(self.frame_size.width - origin.0),
            self.tile_size.height.min(self.frame_size.height - origin.1),
        );
        let (ramp_x, ramp_y) = (ramp(self.tile_size.width), ramp(self.tile_size.height));
        for (y, row_weight) in ramp_y.iter().enumerate().take(covered.height) {
            let start = (origin.1 + y) * self.frame_size.width + origin.0;
            let tile_row = &self.tile[y * self.tile_size.width * CHANNELS..];
            let sums = self.sums[start * CHANNELS..].as_chunks_mut::<CHANNELS>().0;
            let weights = &mut self.weights[start..start + covered.width];
            let pixels = tile_row.as_chunks::<CHANNELS>().0;
            for (((sum, total), pixel), ramp) in sums.iter_mut().zip(weights).zip(pixels).zip(&ramp_x) {
                let weight = ramp * row_weight;
                *total += weight;
                for (sum, value) in sum.iter_mut().zip(pixel) {
                    *sum += weight * f32::from(*value);
                }
            }
        }
    }

    /// Writes the blended picture, mixed with the content picture.
    pub fn finish(&mut self, mix: Mix, content: &[u8], dst: &mut [u8]) {
        let pixels = dst.as_chunks_mut::<CHANNELS>().0.iter_mut();
        for ((pixel, sum), weight) in pixels.zip(self.sums.as_chunks::<CHANNELS>().0).zip(&self.weights) {
            *pixel = sum.map(|sum| to_byte(sum / weight));
        }
        mix_in_place(content, dst, mix);
    }
}

/// Share of a tile that overlaps its neighbour.
const OVERLAP: f32 = 0.3;

fn overlap(tile: usize) -> usize {
    ((tile as f32 * OVERLAP) as usize).min(tile.saturating_sub(1))
}

/// Starts of the tiles along one side, spread evenly, the last one flush with the end.
fn origins_along(length: usize, tile: usize) -> Vec<usize> {
    if length <= tile {
        return vec![0];
    }
    let steps = (length - tile).div_ceil(tile - overlap(tile));
    (0..=steps).map(|step| step * (length - tile) / steps).collect()
}

/// Weights along one side of a tile: rising over the overlap, 1 in the middle, falling over the overlap.
fn ramp(tile: usize) -> Vec<f32> {
    let width = (overlap(tile) + 1) as f32;
    (0..tile).map(|i| ((i + 1).min(tile - i) as f32 / width).min(1.0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::style::pixels::{ChannelOrder, Layout, ValueRange, pack};

    const FORMAT: TensorFormat =
        TensorFormat { layout: Layout::Nchw, channels: ChannelOrder::Rgb, range: ValueRange::Bytes };

    #[test]
    fn tiles_cover_a_side_and_overlap_enough() {
        for length in 1..200 {
            let origins = origins_along(length, 40);
            assert_eq!(origins[0], 0);
            assert!(origins.last().unwrap() + 40 >= length);
            for pair in origins.windows(2) {
                assert!(pair[1] > pair[0] && pair[1] - pair[0] <= 40 - overlap(40), "{length}: {pair:?}");
            }
        }
    }

    #[test]
    fn tiles_that_a_network_returns_unchanged_make_the_picture_again() {
        for size in [FrameSize::new(100, 70), FrameSize::new(20, 90), FrameSize::new(7, 5)] {
            let picture: Vec<u8> = (0..size.bytes()).map(|i| (i * 31 % 253) as u8).collect();
            let tile_size = FrameSize::new(40, 32);
            let mut tiles = Tiles::new(tile_size);
            tiles.start(size);
            for origin in tiles.origins(size) {
                let mut tensor = vec![0.0; tile_size.bytes()];
                pack(&picture, size, origin, &FORMAT, &mut tensor, tile_size);
                tiles.add(&tensor, &FORMAT, origin);
            }
            let mut dst = vec![0; size.bytes()];
            tiles.finish(Mix::NONE, &picture, &mut dst);
            assert_eq!(dst, picture);
        }
    }
}
