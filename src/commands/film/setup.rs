//! From the arguments to a clip, networks and settings, and what does not go together.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, ensure};

use super::fill::{self, FillNetwork};
use super::work::WorkFolder;
use crate::cli::VideoArgs;
use crate::commands::device::Compute;
use crate::commands::mask::{self, Mask};
use crate::commands::outputs::with_ending;
use crate::commands::paint::{WHOLE_BYTES, read_style, read_vgg};
use crate::commands::style;
use crate::commands::video::{self, EndsRun, with_hint};
use crate::commands::{DEFAULT_QUEUE, DEFAULT_SMOOTHING, DEFAULT_WORK_SIZE, UsageError};
use crate::console::Console;
use crate::frame::FrameSize;
use crate::gatys::{Objective, Optimizer, PaintSettings, Picture, Vgg};
use crate::media::{Cut, ReaderOptions, VideoReader, VideoWriter, WriterOptions, is_url, shown};
use crate::output::Overwrite;
use crate::pipeline::Control;
use crate::runtime::{Runtime, SessionOptions};
use crate::stills::StillFormat;
use crate::style::StyleSpec;
use crate::style::spec::{StyleRef, StyleTerm};

/// Longer side of keyframes where none is asked for.
const KEYFRAME_SIZE: usize = 640;
/// Weight of the anchor where none is asked for.
const ANCHOR_WEIGHT: f32 = 100.0;

/// Where the keyframes of a film are kept.
pub fn work_folder(output: &Path, args: &VideoArgs) -> PathBuf {
    args.film.work_folder.clone().unwrap_or_else(|| with_ending(output, ".keyframes"))
}

/// What there is before the clip is looked at.
pub struct Prepared {
    pub style_name: String,
    pub style: Picture,
    pub reader: VideoReader,
    /// Of the keyframes.
    pub size: FrameSize,
    pub networks: Networks,
    /// What will encode the film.
    pub encoder: String,
    pub notes: Vec<String>,
}

/// Opens all that a film needs, and tells what would fail in the end before hours are spent on it.
pub fn prepare(clip: &Clip<'_>, compute: &mut Compute, console: Console) -> Result<Prepared> {
    let Clip { args, control, .. } = clip;
    let style_name = style::label(args.style.style.as_deref())?;
    refuse_blend(&style_name)?;
    let style = read_style(Path::new(&style_name)).map_err(EndsRun)?;
    let reader = clip.open()?;
    let info = reader.info();
    let size = info.size.with_long_side_at_most(args.film.keyframe_size.map_or(KEYFRAME_SIZE, |size| size as usize));
    ensure!(
        fill::is_large_enough(size),
        "'{}' would be painted at {size} (expected at least {} pixels on the shorter side)",
        clip.input.display(),
        fill::SMALLEST
    );
    let mask = clip.mask(&reader)?;
    let of_mask = mask.map(|mask| mask.notes(info.expected_frames, clip.cut != Cut::default())).unwrap_or_default();
    let mut notes: Vec<String> = info.notes.iter().chain(&of_mask).cloned().collect();
    notes.iter().for_each(|note| console.note(note));
    // There is nothing yet that a second Ctrl-C could lose.
    let networks = control.opening(|| open(args, compute, control)).map_err(EndsRun)?;
    let writer = clip.writer(&reader)?;
    writer.notes().iter().for_each(|warning| console.warning(warning));
    notes.extend(writer.notes().iter().cloned());
    let encoder = writer.encoder_name().to_owned();
    drop(writer);
    Ok(Prepared { style_name, style, reader, size, networks, encoder, notes })
}

/// What a film is painted with.
pub struct Networks {
    pub session: SessionOptions,
    /// What fills, if it was asked for.
    pub fill: Option<FillNetwork>,
    pub vgg: Vgg,
    /// Of the file of the VGG, unless it is the one that comes with impasto.
    pub vgg_sha256: Option<String>,
}

/// Opens the networks that can be opened before the clip was looked at.
fn open(args: &VideoArgs, compute: &mut Compute, control: &Control) -> Result<Networks> {
    Runtime::load()?;
    let session = compute.session_options_until_abort(control)?;
    compute.tell(false);
    let fill = args.film.fill.as_deref().map(|style| FillNetwork::open(style, &session, &args.style.look));
    let fill = fill.transpose().context("open the style that fills")?;
    let (vgg, vgg_sha256) = read_vgg(args.film.vgg.as_deref())?;
    Ok(Networks { session, fill, vgg, vgg_sha256 })
}

/// Refuses a blend of styles by name, which is no painting.
fn refuse_blend(style: &str) -> Result<(), UsageError> {
    let is_name = |term: &StyleTerm| matches!(&term.style, StyleRef::Named(name) if StillFormat::of_path(Path::new(name)).is_none());
    let is_blend = |spec: StyleSpec| spec.terms().len() > 1 && spec.terms().iter().all(is_name);
    match !Path::new(style).exists() && style.parse().is_ok_and(is_blend) {
        true => Err(UsageError(anyhow!(
            "--engine gatys paints in one style, and '{style}' is a blend (expected a painting, or a style's name)"
        ))),
        false => Ok(()),
    }
}

/// Refuses a clip that no film can be made of, and an output that is something else.
pub fn check_clip(clip: &video::Clip, args: &VideoArgs) -> Result<(), UsageError> {
    mask::refuse_as_output(&args.mask, "output", &clip.output)?;
    match is_url(&clip.input) {
        true => Err(UsageError(anyhow!(
            "'{}' is an address (expected a file with --engine gatys, which reads the clip several times: download it first)",
            shown(&clip.input)
        ))),
        false => Ok(()),
    }
}

/// What does not go together.
pub fn check(args: &VideoArgs) -> Result<()> {
    let usage = |text: &str| Err(UsageError(anyhow!("{text}")).into());
    if args.style.look.style_image.is_some() {
        return usage("--style-image is for networks (expected the painting as --style with --engine gatys)");
    }
    if args.temporal.stride != 1 || args.temporal.smooth != DEFAULT_SMOOTHING {
        return usage(
            "--stride and --smooth are for networks (--keyframes and --anchor-weight are what --engine gatys has)",
        );
    }
    if args.style.look.work_size != DEFAULT_WORK_SIZE {
        return usage("--work-size is for networks (expected --keyframe-size with --engine gatys)");
    }
    if args.debug_view.is_some() || args.stats {
        return usage("--debug-view and --stats are for networks (expected neither with --engine gatys)");
    }
    if args.run.parallel.is_some() || args.run.queue != DEFAULT_QUEUE {
        return usage("--parallel and --queue are for networks (expected neither with --engine gatys)");
    }
    if args.style.look.strength == 0.0 {
        return usage("--strength 0 shows nothing of the keyframes (expected more with --engine gatys)");
    }
    Ok(())
}

/// The clip, to be read from its beginning as often as needed.
pub struct Clip<'a> {
    pub input: &'a Path,
    pub output: &'a Path,
    pub args: &'a VideoArgs,
    pub cut: Cut,
    pub threads: usize,
    pub control: Control,
}

impl Clip<'_> {
    fn interrupt(&self) -> Arc<dyn Fn() -> bool + Send + Sync> {
        let control = self.control.clone();
        Arc::new(move || control.is_aborted())
    }

    fn reader_options(&self) -> ReaderOptions {
        ReaderOptions {
            cut: self.cut,
            threads: self.threads,
            interrupt: Some(self.interrupt()),
            ..ReaderOptions::default()
        }
    }

    pub fn open(&self) -> Result<VideoReader> {
        VideoReader::open(self.input, self.reader_options())
    }

    /// Where its keyframes are kept.
    pub fn work_folder(&self) -> PathBuf {
        work_folder(self.output, self.args)
    }

    /// Where the film is painted, if not everywhere.
    pub fn mask(&self, reader: &VideoReader) -> Result<Option<Mask>> {
        Mask::for_reader(&self.args.mask, reader, &self.reader_options())
    }

    pub fn writer(&self, reader: &VideoReader) -> Result<VideoWriter> {
        let options = WriterOptions {
            encoder: self.args.encoding.settings(self.threads),
            mute: self.args.mute,
            overwrite: match self.args.overwrite {
                true => Overwrite::Always,
                false => Overwrite::OfSizes(WorkFolder::unfinished_bytes(&self.work_folder())),
            },
            interrupt: Some(self.interrupt()),
        };
        VideoWriter::create(self.output, reader.info(), Some(reader), &options).map_err(with_hint)
    }
}

pub fn settings(args: &VideoArgs, session: SessionOptions) -> PaintSettings {
    let usual = Objective::default();
    PaintSettings {
        objective: Objective {
            content_weight: args.film.content_weight.unwrap_or(usual.content_weight),
            style_weight: args.film.style_weight.unwrap_or(usual.style_weight),
            anchor_weight: args.film.anchor_weight.unwrap_or(ANCHOR_WEIGHT),
            ..usual
        },
        optimizer: Optimizer::Lbfgs,
        learning_rate: Optimizer::Lbfgs.default_learning_rate(),
        scales: Vec::new(),
        style_scale: args.film.style_scale.unwrap_or(1.0),
        session,
        whole_bytes: WHOLE_BYTES,
    }
}

/// A text that is another one for another clip, painting or setting that a keyframe depends on.
pub fn fingerprint(
    input: &Path,
    args: &VideoArgs,
    size: FrameSize,
    settings: &PaintSettings,
    style: &Picture,
    fill: Option<&FillNetwork>,
    vgg_sha256: Option<&str>,
) -> Result<String> {
    let mut hasher = DefaultHasher::new();
    let input = input.canonicalize().with_context(|| format!("find '{}'", input.display()))?;
    let found = input.metadata().with_context(|| format!("look at '{}'", input.display()))?;
    (&input, found.len(), found.modified().ok()).hash(&mut hasher);
    style.planes.iter().for_each(|value| value.to_bits().hash(&mut hasher));
    let film = &args.film;
    if let Some(fill) = &film.fill {
        for file in style::files(&style::parse(fill)?) {
            std::fs::read(&file).with_context(|| format!("cannot read '{}'", file.display()))?.hash(&mut hasher);
        }
    }
    let part = (args.start, args.end, args.frames);
    let settings = PaintSettings { session: SessionOptions::default(), ..settings.clone() };
    // Where the style that fills is yet to be found, `auto` stays a word, and is the same on every device.
    let precision = fill.map_or(args.style.look.precision.precision, FillNetwork::precision);
    let fill = (&film.fill, args.style.look.network.network, precision);
    format!("{part:?} {size} {settings:?} {:?} {:?} {fill:?} {vgg_sha256:?}", film.keyframes, film.iterations)
        .hash(&mut hasher);
    Ok(format!("{:016x}", hasher.finish()))
}
