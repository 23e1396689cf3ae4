//! How much memory a network takes for a picture, and how large a tile fits where that is too much.

use std::sync::Mutex;

use super::NetworkContract;
use super::opening::SideInputs;
use crate::frame::FrameSize;
use crate::onnx::{GraphBuilder, Model};
use crate::runtime::Tensor;

/// What a network needs, and what it may have; shared by all its painters.
#[derive(Debug)]
pub(super) struct Memory {
    /// Of the processor's memory; `None` where the graph does not tell, and on devices, which say themselves when theirs is full.
    pub need: Option<Need>,
    /// Bytes that all painters may take together; `None`: what the system has free.
    limit: Option<u64>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The size that was looked at last, and the tiles for it.
    decided: Option<(FrameSize, Option<FrameSize>)>,
    /// Bytes that are taken already: they are not free, and serve the next size as well.
    taken: f64,
    is_told: bool,
}

/// Bytes of a network at work.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Need {
    per_pixel: f64,
    fixed: f64,
}

/// Of the free memory a network may take so much: the rest is for frames, decoder, encoder and whatever else runs.
const SHARE_OF_FREE_MEMORY: f64 = 0.8;

/// ONNX Runtime takes more than the tensors that are alive at one time: buffers of convolutions, and gaps between tensors.
/// Measured on three networks at up to 3840×2160: 1.3 to 1.7 times.
const TAKEN_OVER_NEEDED: f64 = 1.7;

/// Tiles are not cut smaller than this, in pixels of a side: strokes would not fit.
const SMALLEST_TILE: usize = 192;

impl Need {
    /// For a picture of `size`.
    pub fn bytes(&self, size: FrameSize) -> f64 {
        (self.fixed + self.per_pixel * size.pixels() as f64) * TAKEN_OVER_NEEDED
    }

    /// Of a network whose inputs beside the picture have these shapes. Two sizes tell what grows with the picture: larger ones than a
    /// painting has that the network looks at first, which would hide it.
    pub fn of(model: &Model, contract: &NetworkContract, side_inputs: &SideInputs) -> Option<Self> {
        let bytes = |size: FrameSize| -> Option<(f64, f64)> {
            let picture = (contract.image_input.as_str(), contract.input_format.layout.shape(size));
            let (bytes, is_all) = bytes_of_tensors(model, picture, &contract.image_output, side_inputs);
            is_all.then_some((size.pixels() as f64, bytes as f64))
        };
        let of = |side: usize| {
            let side = side.max(contract.minimum);
            bytes(FrameSize::new(side, side).rounded_up(contract.multiple))
        };
        let (small, large) = (of(2048)?, of(4096)?);
        let per_pixel = (large.1 - small.1) / (large.0 - small.0).max(1.0);
        Some(Self { per_pixel, fixed: (small.1 - per_pixel * small.0).max(0.0) })
    }
}

/// About how many bytes the tensors take that are alive at one time, with an image input of this name and shape, as far as the graph
/// tells; and whether it tells all.
pub(super) fn bytes_of_tensors(
    model: &Model,
    (image_input, shape): (&str, [usize; 4]),
    image_output: &str,
    side_inputs: &SideInputs,
) -> (u64, bool) {
    let mut graph = GraphBuilder::new();
    let image = graph.input("picture", &shape);
    let value = |(name, tensor): &(String, Tensor)| (name.clone(), graph.input(name, &tensor.shape));
    let others: Vec<_> = side_inputs.iter().map(value).collect();
    let mut inputs = vec![(image_input, &image)];
    inputs.extend(others.iter().map(|(name, value)| (name.as_str(), value)));
    let imported = graph.import(model, &inputs, &[image_output]);
    let is_all = imported.map_err(|error| tracing::debug!("memory is not known ahead: {error:#}")).is_ok();
    (graph.peak_bytes(), is_all)
}

impl Memory {
    pub fn new(need: Option<Need>, limit: Option<u64>) -> Self {
        Self { need, limit, state: Mutex::default() }
    }

    /// The size of the tiles that a picture of `size` has to be cut into when so many painters work at one time; `None` if it fits, or
    /// if nobody knows.
    pub fn tile_size(&self, size: FrameSize, painters: usize, contract: &NetworkContract) -> Option<FrameSize> {
        let mut state = self.state.lock().ok()?;
        if let Some((_, tile_size)) = state.decided.filter(|(decided, _)| *decided == size) {
            return tile_size;
        }
        let need = self.need?;
        let free = match self.limit {
            Some(limit) => limit as f64,
            None => crate::memory::available()? as f64 * SHARE_OF_FREE_MEMORY + state.taken,
        };
        let taken = |size: FrameSize| need.bytes(size) * painters as f64;
        tracing::debug!(%size, painters, needed = taken(size), free, "memory");
        let mut tile = size;
        while taken(tile) > free
            && let Some(smaller) = smaller_tile(tile, contract)
        {
            tile = smaller;
        }
        state.taken = taken(tile).max(state.taken);
        state.decide(size, (tile != size).then_some(tile));
        state.decided.and_then(|(_, tile_size)| tile_size)
    }

    /// Has pictures of `size` cut into tiles of `tile_size` from now on: memory did not suffice for more.
    pub fn limit_to(&self, size: FrameSize, tile_size: FrameSize) {
        if let Ok(mut state) = self.state.lock() {
            state.decide(size, Some(tile_size));
        }
    }
}

impl State {
    /// Remembers the tiles for pictures of `size`, and says the first time that there are some.
    fn decide(&mut self, size: FrameSize, tile_size: Option<FrameSize>) {
        self.decided = Some((size, tile_size));
        let Some(tile_size) = tile_size else { return };
        if !std::mem::replace(&mut self.is_told, true) {
            // A whole picture of as many pixels as a tile.
            let share = (tile_size.pixels() as f64 / size.pixels().max(1) as f64).sqrt();
            let fitting = (size.width.min(size.height) as f64 * share) as usize / 8 * 8;
            tracing::warn!(
                "a picture of {size} does not fit into memory and is painted in tiles of {tile_size}, which may differ a little in tone \
                 (a work size of {fitting} fits without)"
            );
        }
    }
}

/// The next smaller tile: half as long on its longer side; `None` if that is too small for strokes or for the network.
pub(super) fn smaller_tile(size: FrameSize, contract: &NetworkContract) -> Option<FrameSize> {
    let halved = match size.width >= size.height {
        true => FrameSize::new(size.width / 2, size.height),
        false => FrameSize::new(size.width, size.height / 2),
    };
    let tile = (halved.short_side() >= SMALLEST_TILE).then(|| contract.tensor_size(halved));
    // The network may want as much as before.
    tile.filter(|tile| tile.pixels() < size.pixels())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::style::contract::StyleInput;
    use crate::style::pixels::{ChannelOrder, Layout, TensorFormat, ValueRange};

    fn contract() -> NetworkContract {
        let format = TensorFormat { layout: Layout::Nchw, channels: ChannelOrder::Rgb, range: ValueRange::Bytes };
        NetworkContract {
            image_input: "image".to_owned(),
            image_output: "stylized".to_owned(),
            input_format: format,
            output_format: format,
            multiple: 8,
            minimum: 16,
            fixed_size: None,
            style: StyleInput::Single,
            strength_input: None,
            origins: Vec::new(),
        }
    }

    const SIZE: FrameSize = FrameSize { width: 1920, height: 1080 };

    #[test]
    fn tiles_are_halved_on_their_longer_side_and_end_before_strokes_do_not_fit() {
        let sizes = std::iter::successors(Some(SIZE), |size| smaller_tile(*size, &contract()));
        let sizes: Vec<String> = sizes.map(|size| size.to_string()).collect();
        assert_eq!(sizes, ["1920×1080", "960×1080", "960×544", "480×544", "480×272", "240×272"]);
    }

    #[test]
    fn tiles_end_where_the_network_takes_none_that_are_smaller() {
        for contract in [
            NetworkContract { minimum: 1024, ..contract() },
            NetworkContract { multiple: 1000, ..contract() },
            NetworkContract { fixed_size: Some(SIZE), ..contract() },
        ] {
            let sizes = std::iter::successors(Some(contract.tensor_size(SIZE)), |size| smaller_tile(*size, &contract));
            let pixels: Vec<usize> = sizes.take(10).map(FrameSize::pixels).collect();
            assert!(pixels.len() < 10 && pixels.is_sorted_by(|a, b| a > b), "{pixels:?}");
        }
        let memory = Memory::new(Some(Need { per_pixel: 1e9, fixed: 0.0 }), Some(1));
        let contract = NetworkContract { minimum: 512, ..contract() };
        assert_eq!(memory.tile_size(SIZE, 1, &contract), Some(FrameSize::new(512, 512)));
    }

    #[test]
    fn what_memory_did_not_hold_once_is_cut_from_then_on() {
        let memory = Memory::new(None, None);
        assert_eq!(memory.tile_size(SIZE, 1, &contract()), None);
        let tile = FrameSize::new(960, 1080);
        memory.limit_to(SIZE, tile);
        assert_eq!(memory.tile_size(SIZE, 1, &contract()), Some(tile));
        assert_eq!(memory.tile_size(FrameSize::new(640, 360), 1, &contract()), None);
    }

    #[test]
    fn the_more_paint_at_one_time_the_smaller_the_tiles() {
        let need = Need { per_pixel: 100.0 / TAKEN_OVER_NEEDED, fixed: 0.0 };
        let of = |painters| Memory::new(Some(need), Some(250_000_000)).tile_size(SIZE, painters, &contract());
        assert_eq!([1, 2, 3].map(of), [None, Some(FrameSize::new(960, 1080)), Some(FrameSize::new(960, 544))]);
    }
}
