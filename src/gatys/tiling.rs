//! Where tiles lie in a picture, what of them counts, and how pixels get into them and back.

use super::picture::Picture;
use super::vgg::Layer;
use crate::frame::FrameSize;

/// What tiles start at: the coarsest layer halves four times.
const GRID: usize = 16;
/// How far into a tile the features are touched by its edge: relu5_1 sees 66 pixels far.
const MARGIN: usize = 80;
/// Sides of a tile with its margins; about as much memory as a picture of 1024×683.
pub const TILE_SIDE: usize = 832;

/// Where a tile lies, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tile {
    /// Its left edge.
    pub left: usize,
    /// Its upper edge.
    pub top: usize,
    /// Left, top, right and bottom of the part whose features count, in the picture.
    pub core: [usize; 4],
}

/// Starts and cores of tiles of one length along a side.
fn spread(length: usize, tile: usize) -> Vec<(usize, usize, usize)> {
    // The last tile ends with the picture, and every one starts on the grid.
    let last = length.saturating_sub(tile);
    let step = tile.saturating_sub(2 * MARGIN) / GRID * GRID;
    let mut starts: Vec<usize> = (0..).map(|index| index * step).take_while(|start| *start < last).collect();
    starts.push(last);
    let borders: Vec<usize> = starts.windows(2).map(|pair| (pair[1] + MARGIN) / GRID * GRID).collect();
    (0..starts.len())
        .map(|index| {
            let from = if index == 0 { 0 } else { borders[index - 1] };
            let to = borders.get(index).copied().unwrap_or(length);
            (starts[index], from, to)
        })
        .collect()
}

/// The tiles of a picture.
pub fn lay_out(size: FrameSize, tile_size: FrameSize) -> Vec<Tile> {
    let mut tiles = Vec::new();
    for (top, core_top, core_bottom) in spread(size.height, tile_size.height) {
        for (left, core_left, core_right) in spread(size.width, tile_size.width) {
            tiles.push(Tile { left, top, core: [core_left, core_top, core_right, core_bottom] });
        }
    }
    tiles
}

/// The length of tiles for a side: the largest up to [`TILE_SIDE`] with which the last tile starts on the grid.
pub fn tile_length(length: usize, longest: usize) -> usize {
    if length <= longest { length } else { longest / GRID * GRID - GRID + length % GRID }
}

/// The plane of a layer's features.
pub fn plane(layer: Layer, size: FrameSize) -> FrameSize {
    FrameSize::new(size.width >> layer.halvings(), size.height >> layer.halvings())
}

/// 1 where a layer's features lie in the core of a tile, else 0.
pub fn mask(layer: Layer, tile: Tile, tile_size: FrameSize) -> Vec<f32> {
    let plane = plane(layer, tile_size);
    let [left, top, right, bottom] = tile.core;
    // A core that ends with the tile ends with the picture, also where that is off the grid.
    let range = |from: usize, to: usize, start: usize, length: usize, places: usize| {
        let end = if to - start == length { places } else { (to - start) >> layer.halvings() };
        (from - start) >> layer.halvings()..end
    };
    let columns = range(left, right, tile.left, tile_size.width, plane.width);
    let rows = range(top, bottom, tile.top, tile_size.height, plane.height);
    let mut mask = vec![0.0; plane.pixels()];
    for row in rows {
        mask[row * plane.width..][columns.clone()].fill(1.0);
    }
    mask
}

pub fn cut(picture: &Picture, tile: Tile, tile_size: FrameSize) -> Picture {
    let mut part = Picture::gray(tile_size, 0.0);
    cut_planes(&picture.planes, picture.size, tile, tile_size, &mut part.planes);
    part
}

/// Copies a tile out of planes of `size`.
pub fn cut_planes(planes: &[f32], size: FrameSize, tile: Tile, tile_size: FrameSize, dst: &mut [f32]) {
    for (index, row) in dst.chunks_mut(tile_size.width).enumerate() {
        row.copy_from_slice(&planes[row_start(index, tile, tile_size, size)..][..tile_size.width]);
    }
}

/// Adds the planes of a tile to those of `size`.
pub fn add_planes(src: &[f32], tile: Tile, tile_size: FrameSize, size: FrameSize, planes: &mut [f32]) {
    for (index, row) in src.chunks(tile_size.width).enumerate() {
        let dst = &mut planes[row_start(index, tile, tile_size, size)..][..tile_size.width];
        dst.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
    }
}

/// Where the row `index` of a tile's planes, counted through all of them, starts in planes of `size`.
fn row_start(index: usize, tile: Tile, tile_size: FrameSize, size: FrameSize) -> usize {
    let (channel, row) = (index / tile_size.height, index % tile_size.height);
    (channel * size.height + tile.top + row) * size.width + tile.left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_cover_a_side_once_and_keep_off_the_edges_of_tiles() {
        for length in [300, 512, 683, 1000, 1365, 2048, 4001] {
            let tile = tile_length(length, 320);
            let spread = spread(length, tile);
            assert_eq!((spread[0].1, spread[spread.len() - 1].2), (0, length));
            for (index, &(start, from, to)) in spread.iter().enumerate() {
                assert!(start % GRID == 0 && start + tile <= length, "{length}: {spread:?}");
                assert!(from < to && from >= start && to <= start + tile, "{length}: {spread:?}");
                assert!(
                    index == 0 || from - start >= 66 && from % GRID == 0 && from == spread[index - 1].2,
                    "{length}: {spread:?}"
                );
                assert!(to == length || start + tile - to >= 66, "{length}: {spread:?}");
            }
        }
    }
}
