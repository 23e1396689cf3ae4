//! A network at work: a session, what it expects, and the tensors of the size that it last painted.
//!
//! A frame is packed into a tensor that is allocated once per size, the session runs, and the answer is unpacked. Frames that do
//! not fit, because the network takes one size only or because memory is short, are painted in tiles.

use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};

use super::NetworkContract;
use super::contract::StyleInput;
use super::frame_ports::{self, FRAME, PAINTED, crop};
use super::memory::{Memory, smaller_tile};
use super::opening::SideInputs;
use super::pixels::{Mix, mix_in_place, pack, unpack};
use super::tiles::Tiles;
use crate::frame::{Frame, FrameSize};
use crate::runtime::{Bindings, Session, Terminator};

/// A network that paints in one style.
pub(super) struct Painter {
    pub session: Session,
    pub contract: Arc<NetworkContract>,
    /// In the order in which they are bound behind the picture.
    side_inputs: SideInputs,
    /// Whether frames go into the graph as bytes, see [`super::frame_ports`].
    has_frame_ports: bool,
    memory: Arc<Memory>,
    bound: Option<Bound>,
    tiles: Option<Tiles>,
}

/// The tensors of one size.
struct Bound {
    size: FrameSize,
    bindings: Bindings,
}

impl Painter {
    pub fn new(
        session: Session,
        contract: Arc<NetworkContract>,
        side_inputs: SideInputs,
        has_frame_ports: bool,
        memory: Arc<Memory>,
    ) -> Self {
        let tiles = contract.fixed_size.map(Tiles::new);
        Self { session, contract, side_inputs, has_frame_ports, memory, bound: None, tiles }
    }

    /// One that paints the same with another session.
    pub fn with_session(&self, session: Session) -> Self {
        self.with_graph(session, self.has_frame_ports)
    }

    /// One that paints the same with a session of another form of the graph.
    pub fn with_graph(&self, session: Session, has_frame_ports: bool) -> Self {
        let Self { contract, side_inputs, memory, .. } = self;
        Self::new(session, Arc::clone(contract), side_inputs.clone(), has_frame_ports, Arc::clone(memory))
    }

    /// Bytes that it takes for a picture of `size`; `None` where nobody knows.
    pub fn bytes_needed(&self, size: FrameSize) -> Option<u64> {
        self.memory.need.map(|need| need.bytes(self.contract.tensor_size(size)) as u64)
    }

    pub fn terminator(&self) -> Terminator {
        self.session.terminator()
    }

    /// The weight of each style; `None` where the network takes no weights.
    pub fn style_weights(&self) -> Option<&[f32]> {
        let StyleInput::Weights { input, .. } = &self.contract.style else { return None };
        self.side_inputs.iter().find(|(name, _)| name == input).map(|(_, tensor)| tensor.data.as_slice())
    }

    /// Changes the style from the next frame on, to these weights scaled to sum to 1.
    pub fn set_style_weights(&mut self, weights: &[f32]) -> Result<()> {
        let StyleInput::Weights { input, .. } = &self.contract.style else {
            bail!("it is a network without style weights");
        };
        let Some(index) = self.side_inputs.iter().position(|(name, _)| name == input) else { return Ok(()) };
        let tensor = &mut self.side_inputs[index].1;
        ensure!(
            tensor.data.len() == weights.len(),
            "{} style weights for a network of {} styles",
            weights.len(),
            tensor.data.len()
        );
        let sum: f32 = weights.iter().sum();
        ensure!(
            weights.iter().all(|weight| *weight >= 0.0) && sum > 0.0 && sum.is_finite(),
            "style weights {weights:?} cannot be scaled to sum to 1 (expected numbers of at least 0, one of them above 0)"
        );
        for (dst, weight) in tensor.data.iter_mut().zip(weights) {
            *dst = weight / sum;
        }
        if let Some(bound) = &mut self.bound {
            bound.bindings.input_mut(index + 1).copy_from_slice(&tensor.data);
        }
        Ok(())
    }

    /// Paints `src` into `dst`, which has the same size, and mixes it with `src` as `mix` says.
    pub fn paint(&mut self, src: &Frame, mix: Mix, dst: &mut Frame) -> Result<()> {
        ensure!(src.size == dst.size, "a frame of {} cannot be painted into one of {}", src.size, dst.size);
        ensure!(src.size.pixels() > 0, "a frame of {} has no pixels", src.size);
        let whole = self.contract.tensor_size(src.size);
        loop {
            // Whoever shares the memory paints at the same time.
            let painters = Arc::strong_count(&self.memory);
            let for_want_of_memory = || self.memory.tile_size(whole, painters, &self.contract);
            let tile_size = self.contract.fixed_size.or_else(for_want_of_memory);
            if self.tiles.as_ref().map(Tiles::tile_size) != tile_size {
                self.tiles = tile_size.map(Tiles::new);
            }
            let Err(error) = self.paint_in(src, mix, dst) else { return Ok(()) };
            if self.contract.fixed_size.is_some() || !is_out_of_memory(&error) {
                return Err(error);
            }
            self.bound = None;
            let last = tile_size.unwrap_or(whole);
            let Some(smaller) = smaller_tile(last, &self.contract) else {
                let short_side = last.width.min(last.height);
                return Err(error.context(format!(
                    "memory does not suffice for tiles of {last} (expected more free memory, fewer networks at one time, or a work \
                     size below {short_side})"
                )));
            };
            self.memory.limit_to(whole, smaller);
        }
    }

    /// Runs the network once more on the tensors of the last frame (of its last tile).
    pub fn run_again(&mut self) -> Result<()> {
        let Some(Bound { bindings, .. }) = &mut self.bound else { bail!("no frame was painted yet") };
        self.session.run_bound(bindings)
    }

    /// Writes `src` into the tensors of the last frame, which had the same size, as before a run.
    pub fn pack_again(&mut self, src: &Frame) -> Result<()> {
        let Self { contract, bound, has_frame_ports, .. } = self;
        let Some(Bound { size, bindings }) = bound else { bail!("no frame was painted yet") };
        write_to(bindings, *has_frame_ports, contract, (src.pixels(), src.size), (0, 0), *size);
        Ok(())
    }

    /// Reads the painting of `src` from the tensors of the last frame, which had the same size, as after a run.
    pub fn unpack_again(&mut self, src: &Frame, mix: Mix, dst: &mut Frame) -> Result<()> {
        let Self { contract, bound, has_frame_ports, .. } = self;
        let Some(Bound { size, bindings }) = bound else { bail!("no frame was painted yet") };
        read_from(bindings, *has_frame_ports, contract, *size, mix, src, dst);
        Ok(())
    }

    fn paint_in(&mut self, src: &Frame, mix: Mix, dst: &mut Frame) -> Result<()> {
        let tensor_size = match &self.tiles {
            Some(tiles) => tiles.tile_size(),
            None => self.contract.tensor_size(src.size),
        };
        self.bind(tensor_size)?;
        let Self { session, contract, bound, tiles, has_frame_ports, .. } = self;
        let Some(Bound { bindings, .. }) = bound else { bail!("no tensors are bound") };
        let (content, size) = (src.pixels(), src.size);
        let mut run = |origin: (usize, usize), bindings: &mut Bindings| {
            write_to(bindings, *has_frame_ports, contract, (content, size), origin, tensor_size);
            session.run_bound(bindings).with_context(|| format!("run the network at {tensor_size}"))
        };
        match tiles {
            Some(tiles) => {
                tiles.start(size);
                for origin in tiles.origins(size) {
                    run(origin, bindings)?;
                    match has_frame_ports {
                        true => tiles.add_picture(bindings.output_bytes(0), origin),
                        false => tiles.add(bindings.output(0), &contract.output_format, origin),
                    }
                }
                tiles.finish(mix, content, dst.pixels_mut());
            }
            None => {
                run((0, 0), bindings)?;
                read_from(bindings, *has_frame_ports, contract, tensor_size, mix, src, dst);
            }
        }
        Ok(())
    }

    /// Allocates the tensors of `size` unless they are at hand.
    fn bind(&mut self, size: FrameSize) -> Result<()> {
        if self.bound.as_ref().is_some_and(|bound| bound.size == size) {
            return Ok(());
        }
        self.bound = None;
        let Self { contract, .. } = &*self;
        let (input, output, input_shape, output_shape) = match self.has_frame_ports {
            true => {
                let shape = super::pixels::Layout::Nhwc.shape(size);
                (FRAME, PAINTED, shape, shape)
            }
            false => (
                contract.image_input.as_str(),
                contract.image_output.as_str(),
                contract.input_format.layout.shape(size),
                contract.output_format.layout.shape(size),
            ),
        };
        let mut inputs: Vec<(&str, &[usize])> = vec![(input, &input_shape)];
        inputs.extend(self.side_inputs.iter().map(|(name, tensor)| (name.as_str(), tensor.shape.as_slice())));
        let mut bindings = self.session.bind_for_stream(&inputs, &[(output, &output_shape)])?;
        for (index, (_, tensor)) in self.side_inputs.iter().enumerate() {
            bindings.input_mut(index + 1).copy_from_slice(&tensor.data);
        }
        self.bound = Some(Bound { size, bindings });
        Ok(())
    }
}

/// Writes the part of a picture at `origin` into the first input, which is `tensor_size`.
fn write_to(
    bindings: &mut Bindings,
    has_frame_ports: bool,
    contract: &NetworkContract,
    (content, size): (&[u8], FrameSize),
    origin: (usize, usize),
    tensor_size: FrameSize,
) {
    match has_frame_ports {
        true => frame_ports::pad(content, size, origin, bindings.input_bytes_mut(0), tensor_size),
        false => pack(content, size, origin, &contract.input_format, bindings.input_mut(0), tensor_size),
    }
}

/// Reads what was painted of the whole of `src` from the first output, which is `tensor_size`, into `dst`, and mixes them.
fn read_from(
    bindings: &Bindings,
    has_frame_ports: bool,
    contract: &NetworkContract,
    tensor_size: FrameSize,
    mix: Mix,
    src: &Frame,
    dst: &mut Frame,
) {
    let (content, size) = (src.pixels(), src.size);
    if has_frame_ports {
        crop(bindings.output_bytes(0), tensor_size, dst.pixels_mut(), size);
        mix_in_place(content, dst.pixels_mut(), mix);
    } else {
        unpack(bindings.output(0), tensor_size, &contract.output_format, mix, content, dst.pixels_mut(), size);
    }
}

/// What ONNX Runtime and NVIDIA's libraries say where memory is short, in lower case.
const SIGNS_OF_FULL_MEMORY: [&str; 5] =
    ["failed to allocate memory", "bad_alloc", "out of memory", "out_of_memory", "alloc_failed"];

/// Whether a run failed for want of memory, of the processor's or of a GPU's.
fn is_out_of_memory(error: &anyhow::Error) -> bool {
    let text = format!("{error:#}").to_lowercase();
    SIGNS_OF_FULL_MEMORY.iter().any(|sign| text.contains(sign))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_memory_is_told_from_other_errors() {
        for full in [
            "Non-zero status code returned while running Conv node. Status Message: bfc_arena.cc:376 AllocateRawInternal \
             Failed to allocate memory for requested buffer of size 12441600000",
            "std::bad_alloc",
            "CUDA failure 2: out of memory ; GPU=0",
            "CUDNN failure 4: CUDNN_STATUS_ALLOC_FAILED",
        ] {
            assert!(is_out_of_memory(&anyhow::anyhow!(full).context("run the network at 640×360")), "{full}");
        }
        for other in ["Exiting due to terminate flag being set to true.", "Got invalid dimensions for input: image"] {
            assert!(!is_out_of_memory(&anyhow::anyhow!(other)), "{other}");
        }
    }
}
