//! A network on its way from a file to a session with a contract.
//!
//! What the graph and its description do not say is found out here in trial runs on the processor, once, before the first
//! frame. [`super::form`] opens it on the device, and frames are painted by [`super::painter`].

use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};

use super::contract::{Hints, Known, NetworkContract, Origin, StyleInput};
use super::encoder::{Encoder, PAINTING_SHORT_SIDE, TRIAL_PAINTING_SHORT_SIDE, painting_tensor};
use super::evidence;
use super::form::{Graph, Opened};
use super::inspect::Ports;
use super::locate::Location;
use super::memory::{self, Memory, Need};
use super::network::{StyleOptions, StyleValue};
use super::painter::Painter;
use super::pixels::{ChannelOrder, TensorFormat, ValueRange};
use super::probe;
use crate::frame::FrameSize;
use crate::onnx::Model;
use crate::runtime::{Runtime, Session, Tensor};

/// A network on its way from a file to a session with a contract.
pub(super) struct Opening<'a> {
    pub runtime: &'static Runtime,
    pub options: &'a StyleOptions,
    pub location: &'a Location,
    pub model: &'a Model,
    pub hints: Hints,
    pub ports: Ports,
    pub style: StyleValue,
}

/// About what networks are tried with.
const SMALL_PICTURE: FrameSize = FrameSize { width: 256, height: 128 };

/// Values of the inputs beside the picture, by name.
pub(super) type SideInputs = Vec<(String, Tensor)>;
impl Opening<'_> {
    /// Opens the session and finds out what is not known, in trial runs.
    pub fn finish(self) -> Result<Opened> {
        let input_evidence = evidence::input_evidence(self.model, &self.ports.image_input.value);
        let output_evidence = evidence::output_evidence(self.model, &self.ports.image_output.value);
        let channels = self
            .hints
            .channels
            .clone()
            .or(input_evidence.channels)
            .unwrap_or(Known { value: ChannelOrder::Rgb, origin: Origin::Assumed });
        let input_range = self.hints.input_range.clone().or(input_evidence.range);
        let output_range = self.hints.output_range.clone().or(output_evidence);
        let layout = self.ports.layout.value;
        // Good enough to find sizes: they do not depend on values.
        let range = input_range.as_ref().map_or(ValueRange::Bytes, |known| known.value);
        let trial_format = TensorFormat { layout, channels: channels.value, range };

        let mut encoder = self.open_encoder()?;
        self.refuse_beyond_memory(encoder.as_mut(), trial_format)?;
        let (mut session, graph, sizes) = self.open_session(encoder.as_mut(), trial_format)?;
        let probe_size = sizes.fixed_size.as_ref().map_or_else(
            || {
                FrameSize::new(160.max(sizes.minimum.value), 96.max(sizes.minimum.value))
                    .rounded_up(sizes.multiple.value)
            },
            |fixed| fixed.value,
        );
        let mut trial = self.trial(&mut session, encoder.as_mut());
        let ranges = probe::find_ranges(&mut trial, (layout, channels.value), probe_size, input_range, output_range)
            .with_context(|| format!("try it on a picture of {probe_size}"))?;
        let input_format = TensorFormat { range: ranges.input.value, ..trial_format };
        let answer = trial(&probe::probe_picture(probe_size)?, probe_size, input_format)
            .with_context(|| format!("try it on a picture of {probe_size}"))?;
        drop(trial);
        let shape = layout.shape(probe_size);
        ensure!(
            answer.shape == shape,
            "output '{}' has shape {:?} for an input of {shape:?} (expected the same shape)",
            self.ports.image_output.value,
            answer.shape
        );
        ensure!(
            answer.data.iter().all(|value| value.is_finite()),
            "output '{}' has values that are no numbers (NaN or infinite)",
            self.ports.image_output.value
        );
        let output_format = TensorFormat { range: ranges.output.value, ..trial_format };
        let side_inputs = self.side_inputs(&input_format, encoder.as_mut(), PAINTING_SHORT_SIDE)?;
        let ports = &self.ports;
        let contract = NetworkContract {
            image_input: ports.image_input.value.clone(),
            image_output: ports.image_output.value.clone(),
            input_format,
            output_format,
            multiple: sizes.multiple.value,
            minimum: sizes.minimum.value,
            fixed_size: sizes.fixed_size.as_ref().map(|known| known.value),
            style: ports.style.clone(),
            strength_input: ports.strength_input.clone(),
            origins: [
                Some(("input", ports.image_input.origin.clone())),
                Some(("output", ports.image_output.origin.clone())),
                Some(("layout", ports.layout.origin.clone())),
                Some(("channels", channels.origin)),
                Some(("input_range", ranges.input.origin)),
                Some(("output_range", ranges.output.origin)),
                Some(("multiple", sizes.multiple.origin)),
                Some(("minimum", sizes.minimum.origin)),
                sizes.fixed_size.map(|known| ("fixed_size", known.origin.clone())),
            ]
            .into_iter()
            .flatten()
            .collect(),
        };
        let contract = Arc::new(contract);
        let is_asked = contract.fixed_size.is_none() && self.options.session.device.is_cpu();
        let need = is_asked.then(|| Need::of(self.model, &contract, &side_inputs)).flatten();
        let memory = Memory::new(need, self.options.memory_limit);
        let reference = Painter::new(session, contract, side_inputs, false, Arc::new(memory));
        self.choose_variant(reference, graph, probe_size)
    }

    /// Refuses a network that a small picture is too much for: a damaged one would take all memory where it is tried.
    fn refuse_beyond_memory(&self, encoder: Option<&mut Encoder>, format: TensorFormat) -> Result<()> {
        let size = self.hints.fixed_size.as_ref().map_or(SMALL_PICTURE, |known| known.value);
        let Some(free) = crate::memory::available() else { return Ok(()) };
        let side_inputs = self.side_inputs(&format, encoder, TRIAL_PAINTING_SHORT_SIDE)?;
        let picture = (self.ports.image_input.value.as_str(), format.layout.shape(size));
        let (needed, _) = memory::bytes_of_tensors(self.model, picture, &self.ports.image_output.value, &side_inputs);
        ensure!(
            needed <= free,
            "for a picture of {size} it takes {:.1} GB of memory, and {:.1} GB are free (is it damaged?)",
            needed as f64 / 1e9,
            free as f64 / 1e9
        );
        Ok(())
    }

    fn open_session(&self, mut encoder: Option<&mut Encoder>, format: TensorFormat) -> Result<(Session, Graph, Sizes)> {
        let one = |value| Known { value, origin: Origin::Assumed };
        if let Some(fixed) = &self.hints.fixed_size {
            let (session, graph) = self.open_as_it_is()?;
            let sizes = Sizes { multiple: one(1), minimum: one(1), fixed_size: Some(fixed.clone()) };
            return Ok((session, graph, sizes));
        }
        let (mut session, graph) = match self.ports.declared_size {
            None if self.has_stale_output(format) => {
                let mut model = self.model.clone();
                model.forget_output_shapes();
                let graph = self.graph_from(&model.to_bytes());
                (graph.open(self.runtime, &self.options.session.on_cpu())?, graph)
            }
            None => self.open_as_it_is()?,
            Some(declared) => match self.open_with_size_opened(format, declared, encoder.as_deref_mut()) {
                Ok((session, graph)) => (session, graph),
                Err(error) => {
                    tracing::debug!("opening the declared size failed: {error:#}");
                    self.open_as_it_is()?
                }
            },
        };
        let mut trial = self.trial(&mut session, encoder.as_deref_mut());
        let least = self.hints.minimum.as_ref().map(|known| known.value);
        let multiple = match &self.hints.multiple {
            Some(known) => Some(known.clone()),
            None => probe::find_multiple(&mut trial, format, least).map(|value| Known {
                value,
                origin: Origin::Probed("the smallest of 1 to 64 that keeps the picture's size".to_owned()),
            }),
        };
        let minimum = match (&multiple, &self.hints.minimum) {
            (_, Some(known)) => Some(known.clone()),
            (Some(multiple), None) => probe::find_minimum(&mut trial, format, multiple.value)
                .map(|value| Known { value, origin: Origin::Probed("the smallest that runs".to_owned()) }),
            (None, None) => None,
        };
        drop(trial);
        match (multiple, minimum, self.ports.declared_size) {
            (Some(multiple), Some(minimum), _) => Ok((session, graph, Sizes { multiple, minimum, fixed_size: None })),
            (_, _, Some(declared)) => {
                let origin = Origin::Graph("declared, and no other size runs".to_owned());
                let fixed_size = Some(Known { value: declared, origin });
                let sizes = Sizes { multiple: one(1), minimum: one(1), fixed_size };
                let (session, graph) = self.open_as_it_is()?;
                Ok((session, graph, sizes))
            }
            (_, _, None) => {
                let least = least.unwrap_or(1);
                let size = FrameSize::new(SMALL_PICTURE.width.max(least), SMALL_PICTURE.height.max(least));
                let answer = self.trial(&mut session, encoder)(&probe::probe_picture(size)?, size, format)
                    .with_context(|| format!("try it on a picture of {size}"))?;
                bail!(
                    "output '{}' has shape {:?} for an input of {:?} (expected the same shape)",
                    self.ports.image_output.value,
                    answer.shape,
                    format.layout.shape(size)
                )
            }
        }
    }

    /// Whether a network that takes any size declares one for what comes out.
    fn has_stale_output(&self, format: TensorFormat) -> bool {
        let outputs = self.model.outputs();
        let output = outputs.iter().find(|port| port.name == self.ports.image_output.value);
        let (height, width) = format.layout.size_axes();
        output.and_then(|port| port.shape.as_ref()).is_some_and(|shape| {
            [height, width].into_iter().any(|axis| shape.get(axis).is_some_and(|length| length.fixed().is_some()))
        })
    }

    fn open_as_it_is(&self) -> Result<(Session, Graph)> {
        let graph = match self.location {
            Location::File(path) => Graph::File(path.clone()),
            Location::Bundled(_) => self.graph_from(&self.model.to_bytes()),
        };
        Ok((graph.open(self.runtime, &self.options.session.on_cpu())?, graph))
    }

    /// Opens the network with its declared size opened; fails if it then computes something else at that size.
    fn open_with_size_opened(
        &self,
        format: TensorFormat,
        declared: FrameSize,
        mut encoder: Option<&mut Encoder>,
    ) -> Result<(Session, Graph)> {
        let (height_axis, width_axis) = format.layout.size_axes();
        let mut model = self.model.clone();
        let rewritten = model.make_size_dynamic(&self.ports.image_input.value, height_axis, width_axis);
        let graph = self.graph_from(&model.to_bytes());
        let mut session = graph.open(self.runtime, &self.options.session.on_cpu())?;
        if rewritten > 0 {
            let picture = probe::probe_picture(declared)?;
            let opened = self.trial(&mut session, encoder.as_deref_mut())(&picture, declared, format)?;
            let original = self.trial(&mut self.open_as_it_is()?.0, encoder)(&picture, declared, format)?;
            let largest = original.data.iter().fold(0.0_f32, |max, value| max.max(value.abs()));
            let same = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-3 * largest;
            ensure!(
                opened.shape == original.shape && opened.data.iter().zip(&original.data).all(same),
                "with its size opened the network computes another picture"
            );
        }
        Ok((session, graph))
    }

    fn open_encoder(&self) -> Result<Option<Encoder>> {
        let StyleInput::Embedding { encoder, shape, .. } = &self.ports.style else { return Ok(None) };
        Encoder::open(self.runtime, encoder, shape, &self.options.session.on_cpu())
            .with_context(|| format!("open the encoder '{}'", encoder.display()))
            .map(Some)
    }

    /// A way to run the network on any picture.
    fn trial<'a>(
        &'a self,
        session: &'a mut Session,
        mut encoder: Option<&'a mut Encoder>,
    ) -> impl FnMut(&[u8], FrameSize, TensorFormat) -> Result<Tensor> + 'a {
        move |picture, size, format| {
            let image = probe::tensor_of(picture, size, &format);
            let side_inputs = self.side_inputs(&format, encoder.as_deref_mut(), TRIAL_PAINTING_SHORT_SIDE)?;
            let mut inputs = vec![(self.ports.image_input.value.as_str(), &image)];
            inputs.extend(side_inputs.iter().map(|(name, tensor)| (name.as_str(), tensor)));
            session.run(&inputs, &self.ports.image_output.value)
        }
    }

    /// The values of the inputs beside the picture, for a picture in `format`.
    fn side_inputs(
        &self,
        format: &TensorFormat,
        encoder: Option<&mut Encoder>,
        painting_short_side: usize,
    ) -> Result<SideInputs> {
        let mut inputs = Vec::new();
        match (&self.ports.style, &self.style, encoder) {
            (StyleInput::Weights { input, shape, .. }, StyleValue::Weights(weights), _) => {
                inputs.push((input.clone(), Tensor { shape: shape.clone(), data: weights.clone() }));
            }
            (StyleInput::Picture { input, fixed_size }, StyleValue::Painting(painting), _) => {
                inputs.push((input.clone(), painting_tensor(painting, *fixed_size, painting_short_side, format)?));
            }
            (StyleInput::Embedding { input, shape, .. }, StyleValue::Painting(painting), Some(encoder)) => {
                inputs.push((input.clone(), encoder.encode(painting, shape, painting_short_side, format)?));
            }
            _ => {}
        }
        if let Some((input, shape)) = &self.ports.strength_input {
            inputs.push((input.clone(), Tensor { shape: shape.clone(), data: vec![1.0] }));
        }
        Ok(inputs)
    }
}

/// The sizes that a network takes.
struct Sizes {
    multiple: Known<usize>,
    minimum: Known<usize>,
    fixed_size: Option<Known<FrameSize>>,
}
