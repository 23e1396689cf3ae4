//! One style network, ready to paint frames of any size.
//!
//! Opening checks everything that can be checked before the first frame: the file, the graph's inputs and outputs, the
//! choice of style, and one small run. Painting packs the frame into a tensor that is allocated once per size, runs the
//! session, and unpacks the answer.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use image::ImageDecoder as _;

use super::catalog::Catalog;
use super::contract::{Hints, Known, NetworkContract, Origin, StyleInput};
use super::inspect::{self, Ports};
use super::pixels::{ChannelOrder, Layout, Mix, TensorFormat, ValueRange, pack, unpack};
use super::probe;
use super::spec::{StyleChoice, StyleRef, StyleSpec};
use super::tiles::Tiles;
use crate::frame::{CHANNELS, Frame, FrameSize};
use crate::onnx::Model;
use crate::runtime::{Bindings, ModelSource, Provider, Runtime, Session, SessionOptions, Tensor, Terminator};
use crate::scale::{Filter, Scaler};

/// How a style network is opened.
#[derive(Debug, Clone, Default)]
pub struct StyleOptions {
    /// The painting, for networks that take one; a JPEG or PNG file.
    pub style_image: Option<PathBuf>,
    /// Threads of the session; 0 (default): as many as the machine has cores.
    pub threads: usize,
}

/// A style network with its style chosen.
pub struct StyleNetwork {
    session: Session,
    contract: NetworkContract,
    title: String,
    /// Values of the inputs beside the picture, in the order in which they are bound behind it.
    side_inputs: Vec<(String, Tensor)>,
    bound: Option<Bound>,
    tiles: Option<Tiles>,
}

/// The tensors of one size.
struct Bound {
    size: FrameSize,
    bindings: Bindings,
}

impl StyleNetwork {
    /// Opens the network of `spec`, finds out what it expects and sets its style. Blocks for 10 ms to seconds: a network
    /// without description and metadata is probed.
    ///
    /// # Errors
    /// When ONNX Runtime is not to be had, the style is not in the catalog, the styles of a blend are of different
    /// networks, the file is no style network, or the painting is missing or unreadable. Each error names the file.
    pub fn open(spec: &StyleSpec, options: &StyleOptions) -> Result<Self> {
        let (location, choices) = locate(spec)?;
        let label = location.label();
        Self::open_located(spec, &location, &choices, options).with_context(|| format!("open {label}"))
    }

    fn open_located(spec: &StyleSpec, location: &Location, choices: &[Choice], options: &StyleOptions) -> Result<Self> {
        let bytes = location.read()?;
        let model = Model::from_bytes(&bytes)?;
        let hints = Hints::gather(&model, location.path())?;
        let ports = inspect::find_ports(&model, &hints)?;
        let painting = match (&ports.style, &options.style_image) {
            (StyleInput::Picture { .. } | StyleInput::Embedding { .. }, None) => {
                bail!("this network paints in the style of any painting and needs one (give it a style image)")
            }
            (StyleInput::Picture { .. } | StyleInput::Embedding { .. }, Some(path)) => Some(read_picture(path)?),
            (StyleInput::Single | StyleInput::Weights { .. }, Some(path)) => bail!(
                "this network has its own styles and takes no style image (expected none, got '{}')",
                path.display()
            ),
            (StyleInput::Single | StyleInput::Weights { .. }, None) => None,
        };
        let style = StyleValue::choose(&ports.style, choices, painting)?;
        let runtime = Runtime::load()?;
        let session_options = SessionOptions { threads: options.threads };
        let opening = Opening { runtime, session_options, location, model: &model, bytes: &bytes, hints, ports, style };
        let (session, contract, side_inputs) = opening.finish()?;
        let tiles = contract.fixed_size.map(Tiles::new);
        Ok(Self { session, contract, title: spec.to_string(), side_inputs, bound: None, tiles })
    }

    /// What the network expects, and where that is known from.
    pub fn contract(&self) -> &NetworkContract {
        &self.contract
    }

    /// What executes the network.
    pub fn provider(&self) -> Provider {
        self.session.provider()
    }

    /// Ends a run in progress, and every later one, from another thread.
    pub fn terminator(&self) -> Terminator {
        self.session.terminator()
    }

    /// The style as it was asked for, and the contract.
    pub fn describe(&self) -> String {
        format!("{} ({})", self.title, self.contract.describe())
    }

    /// Changes the style to the weights of `weights`, one for each style of the network, from the next frame on.
    ///
    /// # Errors
    /// When the network takes no weights or another number of them.
    pub fn set_style_weights(&mut self, weights: &[f32]) -> Result<()> {
        let StyleInput::Weights { input, .. } = &self.contract.style else {
            bail!("'{}' is a network without style weights", self.title);
        };
        let Some(index) = self.side_inputs.iter().position(|(name, _)| name == input) else { return Ok(()) };
        let tensor = &mut self.side_inputs[index].1;
        ensure!(
            tensor.data.len() == weights.len(),
            "{} style weights for a network of {} styles",
            weights.len(),
            tensor.data.len()
        );
        tensor.data.copy_from_slice(weights);
        if let Some(bound) = &mut self.bound {
            bound.bindings.input_mut(index + 1).copy_from_slice(weights);
        }
        Ok(())
    }

    /// Paints `src` into `dst`, which has the same size, and mixes it with `src` as `mix` says. Blocks for a run.
    ///
    /// # Errors
    /// When the sizes differ, the run fails or was terminated.
    pub fn stylize(&mut self, src: &Frame, mix: Mix, dst: &mut Frame) -> Result<()> {
        ensure!(src.size == dst.size, "a frame of {} cannot be painted into one of {}", src.size, dst.size);
        ensure!(src.size.pixels() > 0, "a frame of {} has no pixels", src.size);
        let tensor_size = self.contract.tensor_size(src.size);
        self.bind(tensor_size)?;
        let Self { session, contract, bound, tiles, .. } = self;
        let Some(Bound { bindings, .. }) = bound else { bail!("no tensors are bound") };
        let mut run = |origin: (usize, usize), bindings: &mut Bindings| {
            pack(src.pixels(), src.size, origin, &contract.input_format, bindings.input_mut(0), tensor_size);
            session.run_bound(bindings).with_context(|| format!("run the network at {tensor_size}"))
        };
        match tiles {
            Some(tiles) => {
                tiles.start(src.size);
                for origin in tiles.origins(src.size) {
                    run(origin, bindings)?;
                    tiles.add(bindings.output(0), &contract.output_format, origin);
                }
                tiles.finish(mix, src.pixels(), dst.pixels_mut());
            }
            None => {
                run((0, 0), bindings)?;
                let (content, size) = (src.pixels(), src.size);
                unpack(bindings.output(0), tensor_size, &contract.output_format, mix, content, dst.pixels_mut(), size);
            }
        }
        Ok(())
    }

    /// Runs the network once more on the tensors of the last frame (of its last tile): to measure it alone.
    ///
    /// # Errors
    /// When no frame was painted yet, or the run fails.
    pub fn run_again(&mut self) -> Result<()> {
        let Some(Bound { bindings, .. }) = &mut self.bound else { bail!("no frame was painted yet") };
        self.session.run_bound(bindings)
    }

    /// Allocates the tensors of `size` unless they are at hand.
    fn bind(&mut self, size: FrameSize) -> Result<()> {
        if self.bound.as_ref().is_some_and(|bound| bound.size == size) {
            return Ok(());
        }
        self.bound = None;
        let image_shape = self.contract.input_format.layout.shape(size);
        let output_shape = self.contract.output_format.layout.shape(size);
        let mut inputs: Vec<(&str, &[usize])> = vec![(&self.contract.image_input, &image_shape)];
        inputs.extend(self.side_inputs.iter().map(|(name, tensor)| (name.as_str(), tensor.shape.as_slice())));
        let mut bindings = self.session.bind(&inputs, &[(&self.contract.image_output, &output_shape)])?;
        for (index, (_, tensor)) in self.side_inputs.iter().enumerate() {
            bindings.input_mut(index + 1).copy_from_slice(&tensor.data);
        }
        self.bound = Some(Bound { size, bindings });
        Ok(())
    }
}

impl std::fmt::Debug for StyleNetwork {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StyleNetwork")
            .field("title", &self.title)
            .field("contract", &self.contract)
            .finish_non_exhaustive()
    }
}

/// Where a network's file is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Location {
    Bundled { network: String },
    File(PathBuf),
}

/// A style of a network and its share.
struct Choice {
    /// `None`: the network has only one.
    style: Option<StyleChoice>,
    weight: f32,
}

impl Location {
    fn label(&self) -> String {
        match self {
            Self::Bundled { network } => format!("the bundled network '{network}'"),
            Self::File(path) => format!("the style network '{}'", path.display()),
        }
    }

    fn path(&self) -> Option<&Path> {
        match self {
            Self::Bundled { .. } => None,
            Self::File(path) => Some(path),
        }
    }

    fn read(&self) -> Result<Cow<'static, [u8]>> {
        match self {
            Self::Bundled { network } => Ok(Cow::Borrowed(Catalog::bundled()?.network_bytes(network)?)),
            Self::File(path) => Ok(Cow::Owned(std::fs::read(path).context("it cannot be read")?)),
        }
    }
}

/// The one network that all styles of `spec` are of, and the choice among its styles.
fn locate(spec: &StyleSpec) -> Result<(Location, Vec<Choice>)> {
    let mut located: Option<(Location, &StyleRef)> = None;
    let mut choices = Vec::new();
    for term in spec.terms() {
        let (location, style) = match &term.style {
            StyleRef::Named(name) => {
                let style = Catalog::bundled()?.find(name)?;
                (Location::Bundled { network: style.network.clone() }, Some(StyleChoice::Index(style.index)))
            }
            StyleRef::Network { path, choice } => (Location::File(path.clone()), choice.clone()),
        };
        match &located {
            Some((first, first_style)) if *first != location => bail!(
                "styles '{first_style}' and '{}' are of different networks (only styles of one network can be blended)",
                term.style
            ),
            Some(_) => {}
            None => located = Some((location, &term.style)),
        }
        choices.push(Choice { style, weight: term.weight });
    }
    let (location, _) = located.context("no style was named")?;
    Ok((location, choices))
}

/// What goes into the input that chooses the style.
enum StyleValue {
    Nothing,
    Weights(Vec<f32>),
    Painting(Frame),
}

impl StyleValue {
    fn choose(style: &StyleInput, choices: &[Choice], painting: Option<Frame>) -> Result<Self> {
        let chosen = choices.iter().find_map(|choice| choice.style.as_ref());
        match (style, painting) {
            (StyleInput::Weights { shape, names, .. }, _) => Self::weights(shape.iter().product(), names, choices),
            (_, _) if chosen.is_some() => bail!(
                "it has one style, so '#{}' is too much (expected the file's name alone)",
                chosen.map(ToString::to_string).unwrap_or_default()
            ),
            (_, Some(painting)) => Ok(Self::Painting(painting)),
            (_, None) => Ok(Self::Nothing),
        }
    }

    fn weights(count: usize, names: &[String], choices: &[Choice]) -> Result<Self> {
        let mut weights = vec![0.0; count];
        for choice in choices {
            let index = match &choice.style {
                Some(StyleChoice::Index(index)) => Some(*index),
                Some(StyleChoice::Name(name)) => names.iter().position(|known| known.eq_ignore_ascii_case(name)),
                None if count == 1 => Some(0),
                None => bail!(
                    "it holds {count} styles (choose one by adding #0 to #{} to the file's name{})",
                    count - 1,
                    if names.is_empty() { String::new() } else { format!(", or by name: {}", names.join(", ")) }
                ),
            };
            let weight = index.and_then(|index| weights.get_mut(index)).with_context(|| {
                let style = choice.style.as_ref().map(ToString::to_string).unwrap_or_default();
                let names = if names.is_empty() { String::new() } else { format!(" or one of {}", names.join(", ")) };
                format!("it has no style '{style}' (expected #0 to #{}{names})", count.saturating_sub(1))
            })?;
            *weight += choice.weight;
        }
        Ok(Self::Weights(weights))
    }
}

/// A network on its way from a file to a session with a contract.
struct Opening<'a> {
    runtime: &'static Runtime,
    session_options: SessionOptions,
    location: &'a Location,
    model: &'a Model,
    bytes: &'a [u8],
    hints: Hints,
    ports: Ports,
    style: StyleValue,
}

type SideInputs = Vec<(String, Tensor)>;

impl Opening<'_> {
    fn finish(self) -> Result<(Session, NetworkContract, SideInputs)> {
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
        let (mut session, sizes) = self.open_session(encoder.as_mut(), trial_format)?;
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
        let side_inputs = self.side_inputs(&input_format, encoder.as_mut(), PAINTING_SHORT_SIDE)?;
        let contract = NetworkContract {
            image_input: self.ports.image_input.value,
            image_output: self.ports.image_output.value,
            input_format,
            output_format: TensorFormat { range: ranges.output.value, ..trial_format },
            multiple: sizes.multiple.value,
            minimum: sizes.minimum.value,
            fixed_size: sizes.fixed_size.as_ref().map(|known| known.value),
            style: self.ports.style,
            strength_input: self.ports.strength_input,
            origins: [
                Some(("input", self.ports.image_input.origin)),
                Some(("output", self.ports.image_output.origin)),
                Some(("layout", self.ports.layout.origin)),
                Some(("channels", channels.origin)),
                Some(("input_range", ranges.input.origin)),
                Some(("output_range", ranges.output.origin)),
                Some(("multiple", sizes.multiple.origin)),
                Some(("minimum", sizes.minimum.origin)),
                sizes.fixed_size.map(|known| ("fixed_size", known.origin)),
            ]
            .into_iter()
            .flatten()
            .collect(),
        };
        Ok((session, contract, side_inputs))
    }

    /// Opens the session and finds out which sizes it takes.
    fn open_session(&self, mut encoder: Option<&mut Encoder>, format: TensorFormat) -> Result<(Session, Sizes)> {
        let one = |value| Known { value, origin: Origin::Assumed };
        if let Some(fixed) = &self.hints.fixed_size {
            let session = self.open_as_it_is()?;
            return Ok((session, Sizes { multiple: one(1), minimum: one(1), fixed_size: Some(fixed.clone()) }));
        }
        let mut session = match self.ports.declared_size {
            None => self.open_as_it_is()?,
            Some(declared) => match self.open_with_size_opened(format, declared, encoder.as_deref_mut()) {
                Ok(session) => session,
                Err(error) => {
                    tracing::debug!("opening the declared size failed: {error:#}");
                    self.open_as_it_is()?
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
            (Some(multiple), Some(minimum), _) => Ok((session, Sizes { multiple, minimum, fixed_size: None })),
            (_, _, Some(declared)) => {
                let origin = Origin::Graph("declared, and no other size runs".to_owned());
                let fixed_size = Some(Known { value: declared, origin });
                Ok((self.open_as_it_is()?, Sizes { multiple: one(1), minimum: one(1), fixed_size }))
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
        let source = match self.location {
            Location::File(path) => ModelSource::File(path),
            Location::Bundled { .. } => ModelSource::Bytes { bytes: self.bytes, folder: None },
        };
        Session::open(self.runtime, source, &self.session_options).context("ONNX Runtime refuses it")
    }

    /// Opens the network with its declared size opened; fails if it then computes something else at that size.
    fn open_with_size_opened(
        &self,
        format: TensorFormat,
        declared: FrameSize,
        mut encoder: Option<&mut Encoder>,
    ) -> Result<Session> {
        let (height_axis, width_axis) = format.layout.size_axes();
        let mut model = self.model.clone();
        let rewritten = model.make_size_dynamic(&self.ports.image_input.value, height_axis, width_axis);
        let folder = self.location.path().and_then(Path::parent).filter(|_| !model.external_files().is_empty());
        let source = ModelSource::Bytes { bytes: &model.to_bytes(), folder };
        let mut session = Session::open(self.runtime, source, &self.session_options)?;
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
        Ok(session)
    }

    fn open_encoder(&self) -> Result<Option<Encoder>> {
        let StyleInput::Embedding { encoder, shape, .. } = &self.ports.style else { return Ok(None) };
        Encoder::open(self.runtime, encoder, shape, &self.session_options)
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

/// Reads a JPEG or PNG file, turned upright.
fn read_picture(path: &Path) -> Result<Frame> {
    let read = || -> Result<Frame> {
        let mut decoder = image::ImageReader::open(path)?.with_guessed_format()?.into_decoder()?;
        let orientation = decoder.orientation()?;
        let mut picture = image::DynamicImage::from_decoder(decoder)?;
        picture.apply_orientation(orientation);
        let picture = picture.into_rgb8();
        let mut frame = Frame::black(FrameSize::new(picture.width() as usize, picture.height() as usize));
        frame.pixels_mut().copy_from_slice(picture.as_raw());
        ensure!(frame.pixels().len() >= CHANNELS, "it has no pixels");
        Ok(frame)
    };
    read().with_context(|| format!("read the style image '{}'", path.display()))
}
