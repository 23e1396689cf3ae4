//! A network in the form that its device wants: with pixels that become floats in the graph, in half precision, or as it is.
//!
//! Whatever is not the plain graph on the processor has to paint a trial picture as that does.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};

use super::frame_ports::add_frame_ports;
use super::network::FramePorts;
use super::opening::Opening;
use super::painter::Painter;
use super::pixels::Mix;
use super::{NetworkContract, probe};
use crate::frame::{Frame, FrameSize};
use crate::onnx::Model;
use crate::runtime::{Device, DeviceError, ModelSource, Precision, Runtime, Session, SessionOptions, WeightFiles};

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
        /// The weights that the graph keeps in other files, if it does.
        weights: Option<WeightFiles>,
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
            Self::Bytes { bytes, weights } => ModelSource::Bytes { bytes, weights: weights.as_ref() },
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

/// How far a painter is from what is expected, in levels of 0-255.
///
/// # Errors
/// When it does not run, or is too far.
fn checked(trial: &Trial, painter: &mut Painter, is_half: bool) -> Result<f32> {
    let device = painter.session.device().clone();
    let mut painted = Frame::black(trial.picture.size);
    painter.paint(&trial.picture, Mix::NONE, &mut painted).with_context(|| format!("try it on {device}"))?;
    let levels = trial.expected.mean_difference(&painted);
    match levels > MOST_DIFFERENCE_LEVELS {
        true => Err(DeviceDiffers { device, is_half, levels }.into()),
        false => Ok(levels),
    }
}

impl Opening<'_> {
    /// Opens the graph on the device, in the first of the variants that paints as `reference` does.
    pub fn choose_variant(&self, mut reference: Painter, graph: Graph, size: FrameSize) -> Result<Opened> {
        let options = &self.options.session;
        let (session_options, variants) = (options.clone(), self.variants());
        if options.device.is_cpu() && variants == [Variant { is_half: false, has_frame_ports: false }] {
            let painter = reference;
            return Ok(Opened {
                painter,
                graph,
                session_options,
                difference_levels: None,
                half_refusal: None,
                trial: None,
            });
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

    /// A graph of which these are the bytes, with weights where the network has them.
    pub fn graph_from(&self, bytes: &[u8]) -> Graph {
        let names = self.model.external_files();
        let folder = self.location.path().and_then(folder_of).filter(|_| !names.is_empty());
        Graph::Bytes { bytes: bytes.into(), weights: folder.map(|folder| WeightFiles { folder, names }) }
    }
}

/// Where a file lies; that of a bare name is empty, which is no folder to ONNX Runtime.
fn folder_of(file: &Path) -> Option<PathBuf> {
    let folder = file.parent()?;
    Some(if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_name_lies_in_the_working_folder() {
        assert_eq!(folder_of(Path::new("net.onnx")), Some(".".into()));
        assert_eq!(folder_of(Path::new("nets/net.onnx")), Some("nets".into()));
        assert_eq!(folder_of(Path::new("/net.onnx")), Some("/".into()));
    }

    #[test]
    fn a_device_is_compared_in_levels_of_the_picture() {
        let size = FrameSize::new(4, 2);
        let gray = |level: u8| {
            let mut frame = Frame::black(size);
            frame.pixels_mut().fill(level);
            frame
        };
        assert!(gray(127).mean_difference(&gray(127)) <= f32::EPSILON);
        let levels = gray(127).mean_difference(&gray(153));
        assert!((levels - 26.0).abs() < 1e-3, "{levels}");
        let error = DeviceDiffers { device: Device::CPU, is_half: false, levels }.to_string();
        assert!(error.starts_with("on CPU it paints") && error.contains("26.0 levels (expected at most 2)"), "{error}");
        let error = DeviceDiffers { device: Device::CPU, is_half: true, levels }.to_string();
        assert!(error.starts_with("on CPU in half precision") && error.contains("in 32-bit floats:"), "{error}");
    }
}
