//! A network on its way from a file to a session with a contract.
//!
//! What the graph and its description do not say is found out here in trial runs on the processor, once, before the first
//! frame. Another device has to paint the last of them as the processor does. Frames are painted by [`super::network`].

use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};

use super::contract::{Hints, Known, NetworkContract, Origin, StyleInput};
use super::inspect::{self, Ports};
use super::network::{Location, StyleValue};
use super::pixels::{ChannelOrder, Layout, Mix, TensorFormat, ValueRange, unpack};
use super::probe;
use crate::frame::{Frame, FrameSize};
use crate::onnx::Model;
use crate::runtime::{Device, DeviceError, ModelSource, Runtime, Session, SessionOptions, Tensor};
use crate::scale::{Filter, Scaler};

/// A network on its way from a file to a session with a contract.
pub(super) struct Opening<'a> {
    pub runtime: &'static Runtime,
    pub options: &'a SessionOptions,
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
    pub session: Session,
    pub contract: NetworkContract,
    pub side_inputs: SideInputs,
    /// Mean difference of the trial picture from the processor's, in levels of 0-255; `None` on the processor.
    pub difference_levels: Option<f32>,
}

/// A device may differ by so many levels of 0-255 on average (ours): half precision does by less than one, a wrong layout or a
/// broken driver by tens.
const MOST_DIFFERENCE_LEVELS: f32 = 2.0;

/// A device paints another picture than the processor.
#[derive(Debug, thiserror::Error)]
#[error(
    "on {device} it paints another picture than on the processor: the mean difference is {levels:.1} levels (expected at most {MOST_DIFFERENCE_LEVELS})"
)]
pub struct DeviceDiffers {
    device: Device,
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
        let (mut session, form, sizes) = self.open_session(encoder.as_mut(), trial_format)?;
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
        let mut difference_levels = None;
        if !self.options.device.is_cpu() {
            session = self.open_form(&form, self.options)?;
            let picture = probe::probe_picture(probe_size)?;
            let device = &self.options.device;
            let of_device = self.trial(&mut session, encoder.as_mut())(&picture, probe_size, input_format)
                .with_context(|| format!("try it on {device}"))?;
            let levels = difference(&answer, &of_device, probe_size, &output_format);
            if levels > MOST_DIFFERENCE_LEVELS {
                return Err(DeviceDiffers { device: device.clone(), levels }.into());
            }
            difference_levels = Some(levels);
        }
        let side_inputs = self.side_inputs(&input_format, encoder.as_mut(), PAINTING_SHORT_SIDE)?;
        let contract = NetworkContract {
            image_input: self.ports.image_input.value,
            image_output: self.ports.image_output.value,
            input_format,
            output_format,
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
        Ok(Opened { session, contract, side_inputs, difference_levels })
    }

    /// Opens the session on the processor and finds out which sizes it takes.
    fn open_session(&self, mut encoder: Option<&mut Encoder>, format: TensorFormat) -> Result<(Session, Form, Sizes)> {
        let one = |value| Known { value, origin: Origin::Assumed };
        if let Some(fixed) = &self.hints.fixed_size {
            let session = self.open_as_it_is()?;
            let sizes = Sizes { multiple: one(1), minimum: one(1), fixed_size: Some(fixed.clone()) };
            return Ok((session, Form::AsItIs, sizes));
        }
        let (mut session, form) = match self.ports.declared_size {
            None => (self.open_as_it_is()?, Form::AsItIs),
            Some(declared) => match self.open_with_size_opened(format, declared, encoder.as_deref_mut()) {
                Ok((session, form)) => (session, form),
                Err(error) => {
                    tracing::debug!("opening the declared size failed: {error:#}");
                    (self.open_as_it_is()?, Form::AsItIs)
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
            (Some(multiple), Some(minimum), _) => Ok((session, form, Sizes { multiple, minimum, fixed_size: None })),
            (_, _, Some(declared)) => {
                let origin = Origin::Graph("declared, and no other size runs".to_owned());
                let fixed_size = Some(Known { value: declared, origin });
                let sizes = Sizes { multiple: one(1), minimum: one(1), fixed_size };
                Ok((self.open_as_it_is()?, Form::AsItIs, sizes))
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
        self.open_form(&Form::AsItIs, &self.options.on_cpu())
    }

    fn open_form(&self, form: &Form, options: &SessionOptions) -> Result<Session> {
        let source = match (form, self.location) {
            (Form::SizeOpened(bytes), _) => ModelSource::Bytes { bytes, folder: self.weights_folder() },
            (Form::AsItIs, Location::File(path)) => ModelSource::File(path),
            (Form::AsItIs, Location::Bundled { .. }) => ModelSource::Bytes { bytes: self.bytes, folder: None },
        };
        Session::open(self.runtime, source, options).map_err(|error| match error.is::<DeviceError>() {
            true => error,
            false => error.context("ONNX Runtime refuses it"),
        })
    }

    /// Where weights lie that the graph keeps in other files, if it does.
    fn weights_folder(&self) -> Option<&Path> {
        self.location.path().and_then(Path::parent).filter(|_| !self.model.external_files().is_empty())
    }

    /// Opens the network with its declared size opened; fails if it then computes something else at that size.
    fn open_with_size_opened(
        &self,
        format: TensorFormat,
        declared: FrameSize,
        mut encoder: Option<&mut Encoder>,
    ) -> Result<(Session, Form)> {
        let (height_axis, width_axis) = format.layout.size_axes();
        let mut model = self.model.clone();
        let rewritten = model.make_size_dynamic(&self.ports.image_input.value, height_axis, width_axis);
        let form = Form::SizeOpened(model.to_bytes());
        let mut session = self.open_form(&form, &self.options.on_cpu())?;
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
        Ok((session, form))
    }

    fn open_encoder(&self) -> Result<Option<Encoder>> {
        let StyleInput::Embedding { encoder, shape, .. } = &self.ports.style else { return Ok(None) };
        Encoder::open(self.runtime, encoder, shape, &self.options.on_cpu())
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

/// Which graph a session is opened from.
enum Form {
    AsItIs,
    /// The bytes of the one whose declared size is open.
    SizeOpened(Vec<u8>),
}

/// Mean difference of two pictures of `size` in levels of 0-255; infinite where the second has another shape or values that are no
/// numbers.
fn difference(a: &Tensor, b: &Tensor, size: FrameSize, format: &TensorFormat) -> f32 {
    if a.shape != b.shape || !b.data.iter().all(|value| value.is_finite()) {
        return f32::INFINITY;
    }
    let painted = |tensor: &Tensor| {
        let (content, mut picture) = (vec![0; size.bytes()], vec![0; size.bytes()]);
        unpack(&tensor.data, size, format, Mix::NONE, &content, &mut picture, size);
        picture
    };
    let levels = painted(a).iter().zip(&painted(b)).map(|(a, b)| u64::from(a.abs_diff(*b))).sum::<u64>();
    levels as f32 / size.bytes() as f32
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

    fn gray(level: f32, size: FrameSize) -> Tensor {
        Tensor { shape: Layout::Nchw.shape(size).to_vec(), data: vec![level; size.bytes()] }
    }

    #[test]
    fn a_device_is_compared_in_levels_of_the_picture_and_no_number_never_passes() {
        let size = FrameSize::new(4, 2);
        let format = TensorFormat { layout: Layout::Nchw, channels: ChannelOrder::Rgb, range: ValueRange::Unit };
        let levels = |of_device: &Tensor| difference(&gray(0.5, size), of_device, size, &format);
        assert!(levels(&gray(0.5, size)) <= f32::EPSILON);
        let other = levels(&gray(0.6, size));
        assert!((24.0..=27.0).contains(&other), "{other}");
        assert!(levels(&gray(f32::NAN, size)) > MOST_DIFFERENCE_LEVELS);
        assert!(levels(&gray(0.5, FrameSize::new(2, 4))) > MOST_DIFFERENCE_LEVELS);
        let error = DeviceDiffers { device: Device::CPU, levels: other }.to_string();
        assert!(error.contains("levels (expected at most 2)"), "{error}");
    }
}
