//! From `--style` and its companions to an engine that paints.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};

use super::UsageError;
use super::device::Compute;
use super::styles::own_styles;
use crate::cli::{RunArgs, StyleArgs};
use crate::frame::FrameSize;
use crate::pipeline::Control;
use crate::stills::StillFormat;
use crate::style::catalog::UnknownStyle;
use crate::style::folder::{find, find_all};
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

/// A style, blend or network as it is written, where what it names can be a style: paths are looked at when they are opened.
///
/// # Errors
/// [`UsageError`] for a text that is not understood, a name that no style has, and a picture; else for a picture that is not there.
pub fn parse(text: &str) -> Result<StyleSpec> {
    let path = Path::new(text);
    let file = path.is_file().then(|| StyleSpec::of_file(path)).flatten();
    let spec = match file {
        Some(spec) => spec,
        None => text.parse().map_err(|error| UsageError(anyhow::Error::new(error)))?,
    };
    for term in spec.terms() {
        match &term.style {
            StyleRef::Network { path, .. } => {
                check_picture_exists(path)?;
                refuse_painting(path)?;
            }
            StyleRef::Named(name) => {
                check_picture_exists(Path::new(name))?;
                let catalog = Catalog::bundled()?;
                let is_own = || folder().is_some_and(|folder| find(&folder, name).is_some());
                if catalog.find(name).is_err() && !is_own() {
                    return Err(unknown_style(&catalog.unknown(name, &own_styles())).into());
                }
            }
            StyleRef::Learned(_) => {}
        }
    }
    Ok(spec)
}

fn open_with(
    args: &StyleArgs,
    control: &Control,
    open: impl FnOnce(&StyleSpec, &StyleOptions, StyleSettings) -> Result<Vec<StyleEngine>>,
) -> Result<OpenStyle> {
    let label = label(args.style.as_deref())?;
    let spec = parse(&label)?;
    spec.terms().iter().for_each(|term| warn_of_namesakes(&term.style));
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
    let mut engines = control.opening(|| open(&spec, &options, settings)).map_err(misused)?;
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
        Some(NetworkMisuse::NoIntegers) => {
            "leave out --precision, or take styles of --network lite that are not learnt in full depth".to_owned()
        }
        Some(NetworkMisuse::NoStyleImage) => "add --style-image PAINTING.jpg".to_owned(),
        Some(NetworkMisuse::StyleImage { path }) => format!("leave out --style-image; {}", uses_of_painting(path)),
        None => match error.downcast_ref::<UnknownStyle>() {
            Some(unknown) => return unknown_style(unknown).into(),
            None => return error,
        },
    };
    UsageError(anyhow!("{error:#} ({hint})")).into()
}

/// The error for a name that is no style: a painting is not misspelt.
pub fn unknown_style(unknown: &UnknownStyle) -> UsageError {
    let path = Path::new(&unknown.name);
    UsageError(match is_picture(path) {
        true => anyhow!("style '{}' is not in the catalog ({})", unknown.name, uses_of_painting(path)),
        false => anyhow!("{unknown}"),
    })
}

/// Refuses the path of a picture where a style or a network is expected.
///
/// # Errors
/// [`UsageError`], with what can be done with a painting.
pub fn refuse_painting(path: &Path) -> Result<(), UsageError> {
    match is_picture(path) {
        true => Err(UsageError(anyhow!("'{}' is a picture and no style ({})", path.display(), uses_of_painting(path)))),
        false => Ok(()),
    }
}

/// What could be done with a painting is of no use for one that is misspelt.
///
/// # Errors
/// For the path of a picture that is not there.
pub fn check_picture_exists(path: &Path) -> Result<()> {
    ensure!(!is_picture(path) || path.exists(), "cannot read '{}': no such file", path.display());
    Ok(())
}

fn is_picture(path: &Path) -> bool {
    StillFormat::of_path(path).is_some()
}

fn uses_of_painting(path: &Path) -> String {
    format!(
        "a painting: `impasto learn {} -o my.style` makes it a style, `impasto paint` or `impasto video --engine gatys` takes it as it is",
        path.display()
    )
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

/// The files that a style is made of: networks and learnt styles, also those of one's own that are given by name.
pub fn files(spec: &StyleSpec) -> Vec<PathBuf> {
    let folder = folder();
    let of_term = |style: &StyleRef| match style {
        StyleRef::Network { path, .. } | StyleRef::Learned(path) => Some(path.clone()),
        StyleRef::Named(name) => find(folder.as_deref()?, name).map(|style| style.path),
    };
    spec.terms().iter().filter_map(|term| of_term(&term.style)).collect()
}

/// Says which of several styles of one's own is taken that have one name.
fn warn_of_namesakes(style: &StyleRef) {
    let StyleRef::Named(name) = style else { return };
    if Catalog::bundled().is_ok_and(|catalog| catalog.find(name).is_ok()) {
        return;
    }
    let found = folder().map(|folder| find_all(&folder, name)).unwrap_or_default();
    if let [taken, hidden, ..] = found.as_slice() {
        let (taken, hidden) = (taken.path.display(), hidden.path.display());
        tracing::warn!(
            "the style '{name}' is '{taken}', and hides '{hidden}', which has the same name (rename one of them)"
        );
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_where_a_style_is_expected_is_answered_with_what_takes_it() {
        let unknown = |name: &str| unknown_style(&Catalog::bundled().unwrap().find(name).unwrap_err()).to_string();
        for name in ["painting.jpg", "great-wave.PNG", "a.tiff", "b.webp"] {
            let error = unknown(name);
            assert!(error.contains(&format!("`impasto learn {name} -o my.style`")), "{error}");
            assert!(error.contains("`impasto paint`") && error.contains("--engine gatys"), "{error}");
            assert!(!error.contains("did you mean"), "{error}");
        }
        assert!(unknown("gret-wave").contains("did you mean 'great-wave'"));
        assert!(refuse_painting(Path::new("my/painting.jpg")).unwrap_err().to_string().contains("`impasto learn"));
        assert!(refuse_painting(Path::new("my/network")).is_ok());
    }
}
