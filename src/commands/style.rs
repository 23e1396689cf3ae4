//! From `--style` and its companions to an engine that paints.

use std::path::PathBuf;

use anyhow::{Context, Result, anyhow};

use super::UsageError;
use super::device::Compute;
use crate::cli::{RunArgs, StyleArgs};
use crate::frame::FrameSize;
use crate::pipeline::Control;
use crate::style::catalog::UnknownStyle;
use crate::style::spec::StyleRef;
use crate::style::{
    Catalog, NetworkChoice, NetworkMisuse, StyleEngine, StyleOptions, StyleSettings, StyleSpec, Stylizer,
};

/// An engine, and what there is to say of it.
pub struct OpenStyle {
    /// Paints frames.
    pub engine: StyleEngine,
    /// Paint as well, at the same time.
    pub others: Vec<StyleEngine>,
    /// What was asked for, as asked.
    pub label: String,
    /// The catalog's name of the network; `None` for one in a file.
    pub network: Option<&'static str>,
    /// What the network runs on.
    pub provider: String,
    /// What was found out about a network of others.
    pub notes: Vec<String>,
}

impl OpenStyle {
    /// All that paint.
    pub fn engines(self) -> Vec<StyleEngine> {
        std::iter::once(self.engine).chain(self.others).collect()
    }
}

/// Opens the style; an abort of the run ends the network in the middle of a frame.
///
/// # Errors
/// [`UsageError`] for a name or a blend that is not understood; else what is wrong with the network.
pub fn open(args: &StyleArgs, compute: &mut Compute, control: &Control) -> Result<OpenStyle> {
    open_with(args, control, |spec, options, settings| Ok(vec![compute.open(spec, options, settings)?]))
}

/// Opens the style as often as frames of `size` are painted at one time; see [`Compute::open_several`].
///
/// # Errors
/// As [`open`].
pub fn open_for_clip(
    args: &StyleArgs,
    run: &RunArgs,
    size: FrameSize,
    compute: &mut Compute,
    control: &Control,
) -> Result<OpenStyle> {
    let parallel = run.parallel.map(|count| count as usize);
    open_with(args, control, |spec, options, settings| compute.open_several(spec, options, settings, size, parallel))
}

fn open_with(
    args: &StyleArgs,
    control: &Control,
    open: impl FnOnce(&StyleSpec, &StyleOptions, StyleSettings) -> Result<Vec<StyleEngine>>,
) -> Result<OpenStyle> {
    let label = label(args.style.as_deref())?;
    let spec: StyleSpec = label.parse().map_err(|error| UsageError(anyhow::Error::new(error)))?;
    let look = &args.look;
    let style_image = look.style_image.clone();
    let options = StyleOptions {
        style_image,
        style_folder: folder(),
        network: look.network.network,
        precision: look.precision.precision,
        ..StyleOptions::default()
    };
    let settings =
        StyleSettings { strength: look.strength, keep_color: look.keep_color, work_size: look.work_size as usize };
    let mut engines = open(&spec, &options, settings).map_err(misused)?;
    for terminator in engines.iter().map(StyleEngine::terminator) {
        control.on_abort(move || terminator.terminate());
    }
    let others = engines.split_off(1);
    let engine = engines.pop().context("no network was opened")?;
    let network = engine.network().bundled();
    Ok(OpenStyle { label, network, provider: engine.provider(), notes: notes(&spec, &engine), engine, others })
}

/// A style that nobody knows is an error of usage, and so is a network that does not go with the style; then with what to do.
pub fn misused(error: anyhow::Error) -> anyhow::Error {
    let hint = match error.downcast_ref::<NetworkMisuse>() {
        Some(NetworkMisuse::OtherNetwork { .. }) => "leave out --network".to_owned(),
        Some(NetworkMisuse::LearntForOther { asked, .. }) => format!(
            "leave out --network, or learn the painting anew with `impasto learn --network {}`",
            NetworkChoice::of(asked)
        ),
        Some(NetworkMisuse::NoIntegers) => "leave out --precision, or take --network lite".to_owned(),
        None if error.is::<UnknownStyle>() => return UsageError(error).into(),
        None => return error,
    };
    UsageError(anyhow!("{error:#} ({hint})")).into()
}

/// What was asked for, or the first style of the catalog.
///
/// # Errors
/// If the catalog is damaged.
pub fn label(style: Option<&str>) -> Result<String> {
    match style {
        Some(style) => Ok(style.to_owned()),
        None => Ok(Catalog::bundled()?.styles().first().context("the catalog is empty")?.name.clone()),
    }
}

/// Where the user's own styles lie: `impasto/styles` in the folder of data that the system has for its user.
pub fn folder() -> Option<PathBuf> {
    use etcetera::BaseStrategy as _;
    let strategy = etcetera::choose_base_strategy().ok()?;
    Some(strategy.data_dir().join("impasto").join("styles"))
}

/// How a network of others was understood; nothing to say of the bundled ones.
fn notes(spec: &StyleSpec, engine: &StyleEngine) -> Vec<String> {
    spec.terms()
        .iter()
        .find_map(|term| match &term.style {
            StyleRef::Network { path, .. } => {
                Some(format!("'{}': {}", path.display(), engine.contract().details().join(", ")))
            }
            StyleRef::Named(_) | StyleRef::Learned(_) => None,
        })
        .into_iter()
        .collect()
}
