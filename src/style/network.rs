//! One style network, ready to paint frames of any size.
//!
//! Opening checks everything that can be checked before the first frame: the file, the graph's inputs and outputs, the
//! choice of style, and one small run. Then it paints.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};

use super::catalog::Catalog;
use super::contract::{Hints, NetworkContract, StyleInput};
use super::form::Opened;
use super::inspect;
use super::locate::{Choice, Located, Location, NetworkChoice, NetworkMisuse, locate};
use super::opening::Opening;
use super::phases::put_into_phases;
use super::pixels::Mix;
use super::spec::{StyleChoice, StyleSpec};
use super::tables::StyleTables;
use crate::frame::{Frame, FrameSize};
use crate::runtime::{self, Assignment, Device, Precision, Providers as _, Runtime, SessionOptions, Terminator};
use crate::stills::Still;

/// How a style network is opened.
#[derive(Debug, Clone, Default)]
pub struct StyleOptions {
    /// The painting, for networks that take one; a picture file.
    pub style_image: Option<PathBuf>,
    /// What the network runs on.
    pub session: SessionOptions,
    /// Which of the bundled networks it is.
    pub network: NetworkChoice,
    /// How exactly it calculates.
    pub precision: Precision,
    /// Where pixels become floats.
    pub frame_ports: FramePorts,
    /// Bytes of the processor's memory that it may take for a frame; what needs more is painted in tiles. `None`: most of what the
    /// system has free when the first frame of a size comes.
    pub memory_limit: Option<u64>,
    /// Where styles are looked for that the catalog does not have.
    pub style_folder: Option<PathBuf>,
}

/// Where pixels become floats and floats pixels again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FramePorts {
    /// In the graph on devices whose memory frames have to be copied to, else before and behind it.
    #[default]
    Auto,
    /// In the graph.
    Always,
}

/// A style network with its style chosen.
pub struct StyleNetwork {
    title: String,
    bundled: Option<&'static str>,
    is_int8: bool,
    opened: Opened,
}

impl StyleNetwork {
    /// Opens the network of `spec`, finds out what it expects and sets its style. Blocks for 10 ms to seconds: a network
    /// without description and metadata is probed.
    ///
    /// # Errors
    /// [`NetworkMisuse`] when the network or the precision that was asked for does not go with the style. When ONNX Runtime is not to be had,
    /// the style is neither in the catalog nor in the folder of styles, the styles of a blend are of different networks, the file is no style
    /// network, or the painting is missing or unreadable. Each error names the file.
    pub fn open(spec: &StyleSpec, options: &StyleOptions) -> Result<Self> {
        let device = &options.session.device;
        let is_gpu = !device.is_cpu() && Runtime::load().is_ok_and(|runtime| runtime.is_gpu(device));
        let located = locate(spec, options.style_folder.as_deref(), options.network, is_gpu)?;
        let label = located.location.label();
        Self::open_located(spec, &located, options).with_context(|| format!("open {label}"))
    }

    fn open_located(spec: &StyleSpec, located: &Located, options: &StyleOptions) -> Result<Self> {
        let Located { location, choices, learned } = located;
        let is_int8 = located.is_int8(options)?;
        let mut model = location.read(is_int8)?;
        if !learned.is_empty() {
            let mut tables = StyleTables::find(&model)?;
            for (name, style) in learned {
                ensure!(
                    style.convolutions.is_empty() || choices.len() == 1,
                    "style '{name}' was learnt in full depth and brings convolutions of its own (expected it alone, not in a blend)"
                );
                style.add_to(&mut model, &mut tables, name).with_context(|| format!("add the style '{name}'"))?;
            }
        }
        if matches!(location, Location::Bundled(_)) && options.session.device.is_cpu() && !is_int8 {
            put_into_phases(&mut model)?;
        }
        let hints = Hints::gather(&model, location.path())?;
        let ports = inspect::find_ports(&model, &hints)?;
        let painting = match (&ports.style, &options.style_image) {
            (StyleInput::Picture { .. } | StyleInput::Embedding { .. }, None) => {
                return Err(NetworkMisuse::NoStyleImage.into());
            }
            (StyleInput::Picture { .. } | StyleInput::Embedding { .. }, Some(path)) => Some(read_picture(path)?),
            (StyleInput::Single | StyleInput::Weights { .. }, Some(path)) => {
                return Err(NetworkMisuse::StyleImage { path: path.clone() }.into());
            }
            (StyleInput::Single | StyleInput::Weights { .. }, None) => None,
        };
        let style = StyleValue::choose(&ports.style, choices, painting)?;
        let runtime = Runtime::load()?;
        let opening = Opening { runtime, options, location, model: &model, hints, ports, style };
        let bundled = match location {
            Location::Bundled(network) => Some(*network),
            Location::File(_) => None,
        };
        Ok(Self { title: spec.to_string(), bundled, is_int8, opened: opening.finish()? })
    }

    /// Opens the network once more, to paint at the same time with so many of the processor's threads: on another device, which is
    /// tried, or on the same.
    ///
    /// # Errors
    /// When the device does not run it, or paints another picture than this one does.
    pub fn beside(&self, device: &Device, threads: usize) -> Result<Self> {
        let opened = self.opened.beside(Runtime::load()?, device, threads)?;
        Ok(Self { title: self.title.clone(), bundled: self.bundled, is_int8: self.is_int8, opened })
    }

    /// The catalog's name of the network; `None` for a network in a file.
    pub fn bundled(&self) -> Option<&'static str> {
        self.bundled
    }

    /// Bytes of memory that it takes for a picture of `size`, roughly; `None` where its graph does not tell.
    pub fn bytes_needed(&self, size: FrameSize) -> Option<u64> {
        self.opened.painter.bytes_needed(size)
    }

    /// What the network expects, and where that is known from.
    pub fn contract(&self) -> &NetworkContract {
        &self.opened.painter.contract
    }

    /// What executes the network.
    pub fn device(&self) -> &Device {
        self.opened.painter.session.device()
    }

    /// How exactly it calculates; never [`Precision::Auto`].
    pub fn precision(&self) -> Precision {
        match (self.is_int8, self.opened.session_options.is_half) {
            (true, _) => Precision::Int8,
            (false, true) => Precision::Fp16,
            (false, false) => Precision::Fp32,
        }
    }

    /// Why half precision, which would have been faster, is not taken.
    pub fn half_refusal(&self) -> Option<&str> {
        self.opened.half_refusal.as_deref()
    }

    /// Which provider its nodes were given to; empty on the processor, which takes all of them.
    pub fn assignment(&self) -> &Assignment {
        self.opened.painter.session.assignment()
    }

    /// How far a trial picture was from the processor's in 32-bit floats: the mean difference in levels of 0-255. `None` where it is
    /// the processor's.
    pub fn difference_levels(&self) -> Option<f32> {
        self.opened.difference_levels
    }

    /// Ends a run in progress, and every later one, from another thread.
    pub fn terminator(&self) -> Terminator {
        self.opened.painter.terminator()
    }

    /// The style as it was asked for, and the contract.
    pub fn describe(&self) -> String {
        let precision = match self.precision() {
            Precision::Int8 => ", in 8-bit integers",
            Precision::Fp16 => ", in half precision",
            Precision::Fp32 | Precision::Auto => "",
        };
        format!("{} ({}{precision})", self.title, self.contract().describe())
    }

    /// The weight of each style of the network; `None` where it takes no weights.
    pub fn style_weights(&self) -> Option<&[f32]> {
        self.opened.painter.style_weights()
    }

    /// Changes the style from the next frame on to a blend by `weights`, one for each style of the network: they are scaled to sum to 1,
    /// as those of a [`StyleSpec`] are.
    ///
    /// # Errors
    /// When the network takes no weights or another number of them, one is below 0 or no number, or all are 0; then nothing changes.
    pub fn set_style_weights(&mut self, weights: &[f32]) -> Result<()> {
        self.opened.painter.set_style_weights(weights).with_context(|| format!("change the style of '{}'", self.title))
    }

    /// Paints `src` into `dst`, which has the same size, and mixes it with `src` as `mix` says. Blocks for a run.
    ///
    /// # Errors
    /// When the sizes differ or are not those of the pixels, the run fails or was terminated.
    pub fn stylize(&mut self, src: &Frame, mix: Mix, dst: &mut Frame) -> Result<()> {
        src.check_size()?;
        dst.check_size()?;
        self.opened.painter.paint(src, mix, dst)
    }

    /// Runs the network once more on the tensors of the last frame (of its last tile): to measure it alone.
    ///
    /// # Errors
    /// When no frame was painted yet, or the run fails.
    pub fn run_again(&mut self) -> Result<()> {
        self.opened.painter.run_again()
    }

    /// Converts `src` as before a run, into the tensors of the last frame, which had the same size: to measure that alone.
    ///
    /// # Errors
    /// When no frame was painted yet.
    pub fn pack_again(&mut self, src: &Frame) -> Result<()> {
        self.opened.painter.pack_again(src)
    }

    /// Converts what was painted of `src` as after a run, from the tensors of the last frame: to measure that alone.
    ///
    /// # Errors
    /// When no frame was painted yet.
    pub fn unpack_again(&mut self, src: &Frame, mix: Mix, dst: &mut Frame) -> Result<()> {
        self.opened.painter.unpack_again(src, mix, dst)
    }
}

impl std::fmt::Debug for StyleNetwork {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StyleNetwork")
            .field("title", &self.title)
            .field("contract", self.contract())
            .finish_non_exhaustive()
    }
}

impl Located {
    /// Whether the form of the network with convolutions in 8-bit integers is taken.
    fn is_int8(&self, options: &StyleOptions) -> Result<bool> {
        let has_form = match self.location {
            Location::Bundled(network) => Catalog::bundled()?.network_int8_bytes(network)?.is_some(),
            Location::File(_) => false,
        };
        let has_form = has_form && self.learned.iter().all(|(_, style)| style.convolutions.is_empty());
        let device = &options.session.device;
        match options.precision {
            Precision::Fp32 | Precision::Fp16 => Ok(false),
            Precision::Auto => Ok(has_form && device.is_cpu() && runtime::has_integer_products()),
            Precision::Int8 => {
                ensure!(
                    device.is_cpu(),
                    "8-bit integers are for the processor (expected another precision on {device})"
                );
                match has_form {
                    true => Ok(true),
                    false => Err(NetworkMisuse::NoIntegers.into()),
                }
            }
        }
    }
}

/// What goes into the input that chooses the style.
pub(super) enum StyleValue {
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

fn read_picture(path: &Path) -> Result<Frame> {
    let still = Still::read(path).with_context(|| format!("read the style image '{}'", path.display()))?;
    Ok(still.content)
}
