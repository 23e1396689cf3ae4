//! The second network of a pair: from a painting to the numbers that stand for its style; and paintings as tensors.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use super::contract::Hints;
use super::pixels::{ChannelOrder, Layout, TensorFormat, ValueRange};
use super::{evidence, inspect, probe};
use crate::frame::{Frame, FrameSize};
use crate::onnx::Model;
use crate::runtime::{ModelSource, Runtime, Session, SessionOptions, Tensor};
use crate::scale::{Filter, Scaler};

/// The second network of a pair: from a painting to the numbers that stand for its style.
pub(super) struct Encoder {
    session: Session,
    input: String,
    output: String,
    layout: Layout,
    size: Option<FrameSize>,
    channels: Option<ChannelOrder>,
    range: Option<ValueRange>,
}

impl Encoder {
    pub fn open(runtime: &Runtime, path: &Path, shape: &[usize], options: &SessionOptions) -> Result<Self> {
        let model = Model::load(path)?;
        let hints = Hints::gather(&model, Some(path))?;
        let (input, layout, size) = inspect::find_encoder_input(&model, &hints)?;
        let session = Session::open(runtime, ModelSource::File(path), options).context("ONNX Runtime refuses it")?;
        let count: usize = shape.iter().product();
        let fits = |output: &&crate::runtime::TensorInfo| {
            let lengths: Option<Vec<usize>> = output.shape.iter().copied().collect();
            let product =
                |lengths: Vec<usize>| lengths.iter().try_fold(1usize, |product, length| product.checked_mul(*length));
            lengths.is_none_or(|lengths| product(lengths) == Some(count))
        };
        let output = session
            .outputs()
            .iter()
            .find(fits)
            .map(|output| output.name.clone())
            .with_context(|| format!("no output has the {count} elements that the style input takes"))?;
        let evidence = evidence::input_evidence(&model, &input);
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
    pub fn encode(
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
pub(super) const PAINTING_SHORT_SIDE: usize = 512;

/// The same in trial runs, whose pictures are small too.
pub(super) const TRIAL_PAINTING_SHORT_SIDE: usize = 128;

/// Both sides of a painting are cut down to a multiple of it.
const PAINTING_MULTIPLE: usize = 16;

/// A painting at the size that an input takes.
pub(super) fn painting_tensor(
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
