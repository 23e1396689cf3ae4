//! A network on its way from a file to a session with a contract.
//!
//! What the graph and its description do not say is found out here in trial runs on the processor, once, before the first
//! frame. Another device has to paint the last of them as the processor does. Frames are painted by [`super::network`].

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};

use super::contract::{Hints, Known, NetworkContract, Origin, StyleInput};
use super::inspect::{self, Ports};
use super::frame_ports::add_frame_ports;
use super::memory::{Memory, Need};
use super::network::{FramePorts, Location, StyleOptions, StyleValue};
use super::painter::Painter;
use super::pixels::{ChannelOrder, Layout, Mix, TensorFormat, ValueRange};
use super::probe;
use crate::frame::{Frame, FrameSize};
use crate::onnx::Model;
use crate::runtime::{Device, DeviceError, ModelSource, Precision, Runtime, Session, SessionOptions, Tensor};
use crate::scale::{Filter, Scaler};

/// A network on its way from a file to a session with a contract.
pub(super) struct Opening<'a> {
    pub runtime: &'static Runtime,
    pub options: &'a StyleOptions,
    pub location: &'a Location,
    pub model: &'a Model,
    pub bytes: &'a [u8],
    pub hints: Hints,
    pub ports: Ports,
    pub style: StyleValue,
}

/// Values of the inputs beside the picture, by name.
pub(super) type SideInputs = Vec<(String, Tensor)>;

/// A network that is ready to run.
pub(super) struct Opened {
    pub painter: Painter,
    /// What further sessions are opened from.
    pub graph: Graph,
    pub session_options: SessionOptions,
    /// Mean difference of the trial picture from the processor's in 32-bit floats, in levels of 0-255; `None` where that was not
    /// asked.
    pub difference_levels: Option<f32>,
    /// Why half precision, which would have been faster, is not taken.
    pub half_refusal: Option<String>,
    /// A picture and its painting by the processor; `None` where no device was tried.
    trial: Option<Trial>,
}

/// What another device has to paint, and how.
#[derive(Clone)]
struct Trial {
    picture: Frame,
    expected: Frame,
}

/// A network's graph as sessions are opened from it.
#[derive(Clone)]
pub(super) enum Graph {
    File(PathBuf),
    Bytes {
        bytes: Arc<[u8]>,
        /// Where weights lie that the graph keeps in other files, if it does.
        folder: Option<PathBuf>,
    },
}

impl Opened {
    /// The same once more, to paint at the same time.
    pub fn beside(&self, runtime: &Runtime, device: &Device, threads: usize) -> Result<Self> {
        let session_options = SessionOptions { device: device.clone(), threads, ..self.session_options.clone() };
        let session = self.graph.open(runtime, &session_options)?;
        let Self { painter, graph, half_refusal, trial, .. } = self;
        let mut painter = painter.with_session(session);
        let mut difference_levels = self.difference_levels;
        if let Some(trial) = trial.as_ref().filter(|_| *device != self.session_options.device) {
            difference_levels = Some(checked(trial, &mut painter, session_options.is_half)?);
        }
        let (graph, half_refusal, trial) = (graph.clone(), half_refusal.clone(), trial.clone());
        Ok(Self { painter, graph, session_options, difference_levels, half_refusal, trial })
    }
}

/// What is done to a graph for a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Variant {
    is_half: bool,
    has_frame_ports: bool,
}

impl Graph {
    pub fn open(&self, runtime: &Runtime, options: &SessionOptions) -> Result<Session> {
        let source = match self {
            Self::File(path) => ModelSource::File(path),
            Self::Bytes { bytes, folder } => ModelSource::Bytes { bytes, folder: folder.as_deref() },
        };
        Session::open(runtime, source, options).map_err(|error| match error.is::<DeviceError>() {
            true => error,
            false => error.context("ONNX Runtime refuses it"),
        })
    }
}

/// A device, or half precision, may differ by so many levels of 0-255 on average (ours): half precision does by less than one, a
/// wrong layout or a broken driver by tens.
const MOST_DIFFERENCE_LEVELS: f32 = 2.0;

/// A device paints another picture than the processor does in 32-bit floats.
#[derive(Debug, thiserror::Error)]
#[error(
    "on {device}{} it paints another picture than on the processor{}: the mean difference is {levels:.1} levels (expected at most \
     {MOST_DIFFERENCE_LEVELS})",
    if *.is_half { " in half precision" } else { "" },
    if *.is_half { " in 32-bit floats" } else { "" }
)]
pub struct DeviceDiffers {
    device: Device,
    is_half: bool,
    levels: f32,
}

impl Opening<'_> {
    /// Opens the session and finds out what is not known, in trial runs.
    pub fn finish(self) -> Result<Opened> {
        let input_evidence = inspect::input_evidence(self.model, &self.ports.image_input.value);
        let output_evidence = inspect::output_evidence(self.model, &self.ports.image_output.value);
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
        let need = match contract.fixed_size {
            Some(_) => None,
            None => Need::of(self.model, &contract, &side_inputs),
        };
        let is_processors = self.options.session.device.is_cpu();
        let memory = Memory::new(need, self.options.memory_limit, is_processors);
        let reference = Painter::new(session, contract, side_inputs, false, Arc::new(memory));
        self.choose_variant(reference, graph, probe_size)
    }

    /// Opens the graph on the device, in the first of the variants that paints as `reference` does.
    fn choose_variant(&self, mut reference: Painter, graph: Graph, size: FrameSize) -> Result<Opened> {
        let options = &self.options.session;
        let (session_options, variants) = (options.clone(), self.variants());
        if options.device.is_cpu() && variants == [Variant { is_half: false, has_frame_ports: false }] {
            let painter = reference;
            return Ok(Opened { painter, graph, session_options, difference_levels: None, half_refusal: None, trial: None });
        }
        let mut picture = Frame::black(size);
        picture.pixels_mut().copy_from_slice(&probe::probe_picture(size)?);
        let mut expected = Frame::black(size);
        reference.paint(&picture, Mix::NONE, &mut expected)?;
        let trial = Trial { picture, expected };
        let (last, better) = variants.split_last().context("there is no way to run it")?;
        let mut half_refusal = None;
        for variant in better {
            match self.try_variant(*variant, &graph, &reference, &trial) {
                Ok(opened) => return Ok(opened),
                Err(error) => half_refusal = Some(format!("{error:#}")),
            }
        }
        let opened = self.try_variant(*last, &graph, &reference, &trial)?;
        Ok(Opened { half_refusal, ..opened })
    }

    /// The variants of the graph that are taken, the best first.
    fn variants(&self) -> Vec<Variant> {
        let is_nvidia = self.options.session.device.is_nvidia();
        let has_frame_ports = match self.options.frame_ports {
            FramePorts::Auto => is_nvidia,
            FramePorts::Always => true,
        };
        let halves: &[bool] = match self.options.precision {
            Precision::Fp16 => &[true],
            Precision::Auto if is_nvidia => &[true, false],
            Precision::Auto | Precision::Fp32 | Precision::Int8 => &[false],
        };
        halves.iter().map(|&is_half| Variant { is_half, has_frame_ports }).collect()
    }

    fn try_variant(&self, variant: Variant, graph: &Graph, reference: &Painter, trial: &Trial) -> Result<Opened> {
        let Variant { is_half, has_frame_ports } = variant;
        let graph = self.graph_of(variant, graph, &reference.contract)?;
        let session_options = SessionOptions { is_half, ..self.options.session.clone() };
        let mut painter = reference.with_graph(graph.open(self.runtime, &session_options)?, has_frame_ports);
        let difference_levels = Some(checked(trial, &mut painter, is_half)?);
        let trial = Some(trial.clone());
        Ok(Opened { painter, graph, session_options, difference_levels, half_refusal: None, trial })
    }

    fn graph_of(&self, variant: Variant, graph: &Graph, contract: &NetworkContract) -> Result<Graph> {
        if !variant.is_half && !variant.has_frame_ports {
            return Ok(graph.clone());
        }
        let mut model = match graph {
            Graph::File(_) => self.model.clone(),
            Graph::Bytes { bytes, .. } => Model::from_bytes(bytes)?,
        };
        if variant.is_half {
            model = model.to_half().context("turn it to half precision")?;
        }
        if variant.has_frame_ports {
            let input = (contract.image_input.as_str(), &contract.input_format);
            add_frame_ports(&mut model, input, (contract.image_output.as_str(), &contract.output_format))?;
        }
        Ok(self.graph_from(&model.to_bytes()))
    }

    fn graph_from(&self, bytes: &[u8]) -> Graph {
        let has_files = !self.model.external_files().is_empty();
        let folder = self.location.path().and_then(Path::parent).filter(|_| has_files).map(Path::to_owned);
        Graph::Bytes { bytes: bytes.into(), folder }
    }

    /// Opens the session on the processor and finds out which sizes it takes.
    fn open_session(&self, mut encoder: Option<&mut Encoder>, format: TensorFormat) -> Result<(Session, Graph, Sizes)> {
        let one = |value| Known { value, origin: Origin::Assumed };
        if let Some(fixed) = &self.hints.fixed_size {
            let session = self.open_as_it_is()?;
            let sizes = Sizes { multiple: one(1), minimum: one(1), fixed_size: Some(fixed.clone()) };
            return Ok((session, self.as_it_is(), sizes));
        }
        let (mut session, graph) = match self.ports.declared_size {
            None => (self.open_as_it_is()?, self.as_it_is()),
            Some(declared) => match self.open_with_size_opened(format, declared, encoder.as_deref_mut()) {
                Ok((session, graph)) => (session, graph),
                Err(error) => {
                    tracing::debug!("opening the declared size failed: {error:#}");
                    (self.open_as_it_is()?, self.as_it_is())
                }
            },
        };
        let mut trial = self.trial(&mut session, encoder.as_deref_mut());
        let multiple = match &self.hints.multiple {
            Some(known) => Some(known.clone()),
            None => probe::find_multiple(&mut trial, format).map(|value| Known {
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
                Ok((self.open_as_it_is()?, self.as_it_is(), sizes))
            }
            (_, _, None) => {
                let size = FrameSize::new(256, 128);
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

    fn open_as_it_is(&self) -> Result<Session> {
        self.as_it_is().open(self.runtime, &self.options.session.on_cpu())
    }

    fn as_it_is(&self) -> Graph {
        match self.location {
            Location::File(path) => Graph::File(path.clone()),
            Location::Bundled { .. } => self.graph_from(self.bytes),
        }
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
            let original = self.trial(&mut self.open_as_it_is()?, encoder)(&picture, declared, format)?;
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

/// How far a painter is from what is expected, in levels of 0-255.
///
/// # Errors
/// When it does not run, or is too far.
fn checked(trial: &Trial, painter: &mut Painter, is_half: bool) -> Result<f32> {
    let device = painter.session.device().clone();
    let mut painted = Frame::black(trial.picture.size);
    painter.paint(&trial.picture, Mix::NONE, &mut painted).with_context(|| format!("try it on {device}"))?;
    let levels = difference(&trial.expected, &painted);
    match levels > MOST_DIFFERENCE_LEVELS {
        true => Err(DeviceDiffers { device, is_half, levels }.into()),
        false => Ok(levels),
    }
}

/// Mean difference of two pictures of one size in levels of 0-255.
fn difference(a: &Frame, b: &Frame) -> f32 {
    let levels = a.pixels().iter().zip(b.pixels()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum::<u64>();
    levels as f32 / a.pixels().len().max(1) as f32
}

/// The sizes that a network takes.
struct Sizes {
    multiple: Known<usize>,
    minimum: Known<usize>,
    fixed_size: Option<Known<FrameSize>>,
}

/// The second network of a pair: from a painting to the numbers that stand for its style.
struct Encoder {
    session: Session,
    input: String,
    output: String,
    layout: Layout,
    size: Option<FrameSize>,
    channels: Option<ChannelOrder>,
    range: Option<ValueRange>,
}

impl Encoder {
    fn open(runtime: &Runtime, path: &Path, shape: &[usize], options: &SessionOptions) -> Result<Self> {
        let model = Model::load(path)?;
        let hints = Hints::gather(&model, Some(path))?;
        let (input, layout, size) = inspect::find_encoder_input(&model, &hints)?;
        let session = Session::open(runtime, ModelSource::File(path), options).context("ONNX Runtime refuses it")?;
        let count: usize = shape.iter().product();
        let fits = |output: &&crate::runtime::TensorInfo| {
            let lengths: Option<Vec<usize>> = output.shape.iter().copied().collect();
            lengths.is_none_or(|lengths| lengths.iter().product::<usize>() == count)
        };
        let output = session
            .outputs()
            .iter()
            .find(fits)
            .map(|output| output.name.clone())
            .with_context(|| format!("no output has the {count} elements that the style input takes"))?;
        let evidence = inspect::input_evidence(&model, &input);
        Ok(Self {
            session,
            input,
            output,
            layout,
            size,
            channels: hints.channels.or(evidence.channels).map(|known| known.value),
            range: hints.input_range.or(evidence.range).map(|known| known.value),
        })
    }

    /// The numbers of `painting` in `shape`; what the encoder does not say of its input is as in `format`.
    fn encode(
        &mut self,
        painting: &Frame,
        shape: &[usize],
        painting_short_side: usize,
        format: &TensorFormat,
    ) -> Result<Tensor> {
        let format = TensorFormat {
            layout: self.layout,
            channels: self.channels.unwrap_or(format.channels),
            range: self.range.unwrap_or(format.range),
        };
        let picture = painting_tensor(painting, self.size, painting_short_side, &format)?;
        let code = self.session.run(&[(&self.input, &picture)], &self.output).context("encode the style image")?;
        ensure!(
            code.data.len() == shape.iter().product::<usize>(),
            "the encoder returns {:?} (expected as many numbers as {shape:?})",
            code.shape
        );
        Ok(Tensor { shape: shape.to_vec(), data: code.data })
    }
}

/// The shorter side of a painting as the networks see it: it sets the size of the strokes.
const PAINTING_SHORT_SIDE: usize = 512;

/// The same in trial runs, whose pictures are small too.
const TRIAL_PAINTING_SHORT_SIDE: usize = 128;

/// Both sides of a painting are cut down to a multiple of it.
const PAINTING_MULTIPLE: usize = 16;

fn painting_tensor(
    painting: &Frame,
    fixed_size: Option<FrameSize>,
    short_side: usize,
    format: &TensorFormat,
) -> Result<Tensor> {
    let size = fixed_size.unwrap_or_else(|| {
        let size = painting.size.with_short_side_at_most(short_side);
        let multiple = |side: usize| (side / PAINTING_MULTIPLE).max(1) * PAINTING_MULTIPLE;
        FrameSize::new(multiple(size.width), multiple(size.height))
    });
    let scaled = resized(painting, size)?;
    Ok(probe::tensor_of(scaled.pixels(), size, format))
}

fn resized(picture: &Frame, size: FrameSize) -> Result<Frame> {
    let mut scaled = Frame::black(size);
    Scaler::new().scale_rgb(picture.size, picture.pixels(), size, scaled.pixels_mut(), Filter::CatmullRom)?;
    Ok(scaled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_compared_in_levels_of_the_picture() {
        let size = FrameSize::new(4, 2);
        let gray = |level: u8| {
            let mut frame = Frame::black(size);
            frame.pixels_mut().fill(level);
            frame
        };
        assert!(difference(&gray(127), &gray(127)) <= f32::EPSILON);
        let levels = difference(&gray(127), &gray(153));
        assert!((levels - 26.0).abs() < 1e-3, "{levels}");
        let error = DeviceDiffers { device: Device::CPU, is_half: false, levels }.to_string();
        assert!(error.starts_with("on CPU it paints") && error.contains("26.0 levels (expected at most 2)"), "{error}");
        let error = DeviceDiffers { device: Device::CPU, is_half: true, levels }.to_string();
        assert!(error.starts_with("on CPU in half precision") && error.contains("in 32-bit floats:"), "{error}");
    }
}
