//! From arguments to a fit that is ready for its first step.

use std::hash::{DefaultHasher, Hash, Hasher};

use anyhow::{Context, Result, bail};

use super::{Budget, LearnArgs, UsageError, outputs, paintings, photos};
use crate::commands::device::Compute;
use crate::commands::styles::own_styles;
use crate::commands::{sha256, style, thread_count};
use crate::console::Console;
use crate::learn::{Fitting, FittingSettings, FrozenNetwork, Judge, Painter, PaintingTarget, PhotoSet, State, start};
use crate::pipeline::Control;
use crate::runtime::{Providers as _, Runtime, SessionOptions};
use crate::style::learned::PaintingRecord;
use crate::style::spec::StyleRef;
use crate::style::tables::StyleRow;
use crate::style::{Catalog, LearnedStyle, NetworkChoice, folder};

/// Everything that a run needs.
pub struct Setup {
    /// Whose style it will be.
    pub network: FrozenNetwork,
    /// What is learnt.
    pub paintings: Vec<PaintingRecord>,
    /// The fit.
    pub fitting: Fitting,
    /// Paints a held-out photo.
    pub painter: Painter,
    /// What the fit began with, in words.
    pub start: String,
    /// What it is fitted on, in words.
    pub photos: String,
    /// Another one for other paintings, photos or settings.
    pub fingerprint: String,
    /// How long the runs before this one took.
    pub seconds_before: f64,
    /// What was found that is worth knowing.
    pub notes: Vec<String>,
}

impl Setup {
    /// Reads and checks what the arguments name, and prepares the fit. Blocks for some seconds, and as long as a video takes to be read;
    /// `None` when that was stopped.
    ///
    /// # Errors
    /// [`UsageError`] for arguments that do not go together; else the file, what is wrong with it and what to do.
    pub fn new(args: &LearnArgs, control: &Control, console: Console) -> Result<Option<Self>> {
        let mut settings = FittingSettings {
            side: args.crop as usize,
            style_weight: args.style_weight,
            stability_weight: args.stability_weight,
            seed: args.seed,
            session: SessionOptions::default(),
        };
        let (mut frames, mut records, mut notes) = (Vec::new(), Vec::new(), Vec::new());
        for path in &args.paintings {
            let painting = paintings::read(path, args.stroke_size)?;
            frames.push(painting.frame);
            records.push(painting.record);
            notes.extend(painting.notes);
        }
        let mut compute = Compute::new(&args.device, thread_count(args.threads), console)?;
        let options = compute.session_options_until_abort(control)?;
        compute.tell(false);
        settings.session = options.clone();
        let is_gpu = Runtime::load()?.is_gpu(&options.device);
        let network = FrozenNetwork::bundled(args.network.network.on(is_gpu), args.depth)?;
        settings.check(&network).map_err(UsageError)?;
        let from = args.from.as_deref().map(|from| row_of(from, &network)).transpose()?;
        let photos = match (&args.photos, &args.video) {
            (Some(folder), _) => photos::of_folder(folder, settings.side, console)?,
            (None, Some(clip)) => match photos::of_video(clip, settings.side, control, console)? {
                Some(frames) => frames,
                None => return Ok(None),
            },
            (None, None) => PhotoSet::bundled()?,
        };
        let description = photos.description.clone();
        let fingerprint = fingerprint(args, &network, &records, &photos);
        let resumed = args.resume.then(|| read_state(args, &fingerprint)).transpose()?;
        if let Some((state, start)) = &resumed {
            Budget::of(args).check_left(state.seconds, state.step)?;
            if let Some(other) = args.from.as_ref().filter(|from| *from != start) {
                let text = format!(
                    "the interrupted run began from '{start}' and not from '{other}' (expected the same --from, or none)"
                );
                return Err(UsageError(anyhow::anyhow!(text)).into());
            }
        }

        let target = PaintingTarget::new(&frames, &options)?;
        let held_out = &photos.held_out;
        let painter = Painter::new(&network, held_out.first().context("no photo is held out")?, &options)?;
        let mut judge = Judge::new(&network, &target, settings.style_weight, held_out, settings.side, &options)?;
        let (row, start, state) = match (resumed, from) {
            (Some((state, start)), _) => (state.best.clone(), start, Some(state)),
            (None, Some(row)) => (network.parameters(&row), args.from.clone().unwrap_or_default(), None),
            (None, None) => {
                let found = start::find(&mut judge, &network)?;
                (network.parameters(&found.row), blend_name(&found.shares)?, None)
            }
        };
        let mut fitting = Fitting::new(&network, &target, photos, judge, row, &settings)?;
        let seconds_before = state.as_ref().map_or(0.0, |state| state.seconds);
        if let Some(state) = state {
            fitting
                .resume(state)
                .with_context(|| format!("go on from '{}'", outputs::state_of(&args.output).display()))?;
        }
        Ok(Some(Self {
            network,
            paintings: records,
            fitting,
            painter,
            start,
            photos: description,
            fingerprint,
            seconds_before,
            notes,
        }))
    }
}

fn read_state(args: &LearnArgs, fingerprint: &str) -> Result<(State, String)> {
    let path = outputs::state_of(&args.output);
    if !path.exists() {
        bail!(
            "there is no '{}' to go on from (expected what an interrupted run leaves beside its output)",
            path.display()
        );
    }
    let read = || State::from_bytes(&std::fs::read(&path)?, fingerprint);
    read().with_context(|| format!("go on from '{}'", path.display()))
}

/// The row of a style or a blend, as it is asked for.
fn row_of(text: &str, network: &FrozenNetwork) -> Result<StyleRow> {
    let spec = style::parse(text)?;
    let catalog = Catalog::bundled()?;
    let mut sum = vec![0.0; network.tables.row_length()];
    for term in spec.terms() {
        let learned = |path: &std::path::Path| -> Result<StyleRow> {
            let style = LearnedStyle::load(path)?;
            if !style.convolutions.is_empty() {
                bail!(
                    "'{}' was learnt in full depth and brings convolutions of its own (expected a style of rows alone to start from)",
                    path.display()
                );
            }
            let of = &style.description.network;
            if *of != network.name {
                let text = format!(
                    "'{}' was learnt for '{of}' (expected a style of '{}' to start from, or --network {})",
                    path.display(),
                    network.name,
                    NetworkChoice::of(of)
                );
                return Err(UsageError(anyhow::anyhow!(text)).into());
            }
            style.description.bundled_network().with_context(|| format!("start from '{}'", path.display()))?;
            style.row(&network.tables).with_context(|| format!("start from '{}'", path.display()))
        };
        let row = match &term.style {
            StyleRef::Named(name) => match catalog.find(name) {
                Ok(style) => {
                    network.tables.row(style.index).with_context(|| format!("the network has no style '{name}'"))?
                }
                Err(_) => {
                    let own = style::folder().and_then(|path| folder::find(&path, name));
                    let own = own.ok_or_else(|| style::unknown_style(&catalog.unknown(name, &own_styles())))?;
                    learned(&own.path)?
                }
            },
            StyleRef::Learned(path) => learned(path)?,
            StyleRef::Network { path, .. } => {
                let text = format!("'{}' is a network (expected a style to start from)", path.display());
                return Err(UsageError(anyhow::anyhow!(text)).into());
            }
        };
        sum.iter_mut().zip(row).for_each(|(sum, number)| *sum += term.weight * number);
    }
    Ok(sum)
}

/// A blend of a network's styles as a user would write it.
fn blend_name(shares: &[f32]) -> Result<String> {
    let catalog = Catalog::bundled()?;
    let name = |index: usize| {
        let style = catalog.styles().iter().find(|style| style.index == index);
        style.map_or_else(|| format!("#{index}"), |style| style.name.clone())
    };
    let parts: Vec<(usize, f32)> = shares.iter().copied().enumerate().filter(|(_, share)| *share > 0.0).collect();
    Ok(match parts.as_slice() {
        [(index, _)] => name(*index),
        parts => {
            parts.iter().map(|(index, share)| format!("{}:{share:.3}", name(*index))).collect::<Vec<_>>().join(",")
        }
    })
}

fn fingerprint(args: &LearnArgs, network: &FrozenNetwork, paintings: &[PaintingRecord], photos: &PhotoSet) -> String {
    let mut hasher = DefaultHasher::new();
    photos.photos.iter().chain(&photos.held_out).for_each(|photo| photo.pixels().hash(&mut hasher));
    let photos = hasher.finish();
    let hashes: Vec<&str> = paintings.iter().map(|painting| painting.sha256.as_str()).collect();
    let text = format!(
        "{} {hashes:?} {photos} {} {} {} {} {} {}",
        network.sha256, args.depth, args.stroke_size, args.style_weight, args.stability_weight, args.crop, args.seed
    );
    sha256(text.as_bytes()).chars().take(32).collect()
}
