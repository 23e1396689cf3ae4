//! `impasto styles`: what there is to choose from, and the folder of one's own styles.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use serde::Serialize;

use super::{Outcome, UsageError, sheet, style};
use crate::cli::{StylesAddArgs, StylesArgs, StylesCommand, StylesRemoveArgs, StylesShowArgs};
use crate::console::{self, counted, printable};
use crate::output;
use crate::stills::{Still, StillFormat};
use crate::style::catalog::normalized;
use crate::style::folder::{self, FolderStyle};
use crate::style::learned::{Description, EXTENSION};
use crate::style::spec::StyleRef;
use crate::style::{Catalog, CatalogStyle, LearnedStyle, StyleSpec, StyleTables};

/// A style in JSON.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum StyleFigures<'a> {
    Bundled {
        name: &'a str,
        aliases: &'a [String],
        title: &'a str,
        artist: &'a str,
        year: i32,
        painting_license: &'a str,
        /// Those that paint it.
        networks: Vec<&'a str>,
    },
    Learned {
        name: String,
        /// Its path; what is no text in it is replaced.
        file: String,
        #[serde(flatten)]
        description: Option<Description>,
        /// Why it cannot be used.
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
}

impl<'a> StyleFigures<'a> {
    fn bundled(catalog: &'a Catalog, style: &'a CatalogStyle) -> Self {
        Self::Bundled {
            name: &style.name,
            aliases: &style.aliases,
            title: &style.title,
            artist: &style.artist,
            year: style.year,
            painting_license: &style.painting_license,
            networks: network_names(catalog).collect(),
        }
    }

    fn learned(style: FolderStyle) -> Self {
        match LearnedStyle::load(&style.path) {
            Ok(learned) => {
                let error = check_is_not_hidden(&style).and_then(|()| check_fits(&learned)).err();
                Self::of_file(style, Some(learned.description), error)
            }
            Err(error) => Self::of_file(style, None, Some(error)),
        }
    }

    fn of_file(style: FolderStyle, description: Option<Description>, error: Option<anyhow::Error>) -> Self {
        let error = error.map(|error| format!("{error:#}"));
        Self::Learned { name: style.name, file: style.path.display().to_string(), description, error }
    }

    fn name(&self) -> &str {
        match self {
            Self::Bundled { name, .. } => name,
            Self::Learned { name, .. } => name,
        }
    }

    fn painting(&self) -> String {
        match self {
            Self::Bundled { title, artist, year, .. } => format!("{title}, {artist} ({year})"),
            Self::Learned { description: Some(description), .. } => painting_files(description),
            Self::Learned { .. } => "?".to_owned(),
        }
    }

    fn remark(&self) -> String {
        match self {
            Self::Bundled { aliases, .. } => format!("also: {}", aliases.join(", ")),
            Self::Learned { error: Some(error), .. } => printable(&format!("cannot be used: {error}")),
            Self::Learned { .. } => "learnt".to_owned(),
        }
    }
}

/// The networks that come with impasto, each of which has all styles of the catalog.
fn network_names(catalog: &Catalog) -> impl Iterator<Item = &str> {
    catalog.networks().iter().map(|network| network.name.as_str())
}

fn painting_files(description: &Description) -> String {
    description.paintings.iter().map(|painting| printable(&painting.file)).collect::<Vec<_>>().join(", ")
}

/// Runs the command.
pub fn run(args: &StylesArgs) -> Result<Outcome> {
    match &args.command {
        Some(StylesCommand::Sheet(args)) => sheet::run(args),
        Some(StylesCommand::Add(args)) => add(args),
        Some(StylesCommand::Remove(args)) => remove(args),
        Some(StylesCommand::Show(args)) => show(args),
        None => list(args.json),
    }
}

fn list(is_json: bool) -> Result<Outcome> {
    let catalog = Catalog::bundled()?;
    let mut styles: Vec<StyleFigures<'_>> =
        catalog.styles().iter().map(|style| StyleFigures::bundled(catalog, style)).collect();
    styles.extend(own_styles().into_iter().map(StyleFigures::learned));
    let text = if is_json {
        serde_json::to_string_pretty(&styles).context("write the list")? + "\n"
    } else {
        let width = |column: fn(&StyleFigures<'_>) -> String| {
            styles.iter().map(|style| column(style).chars().count()).max().unwrap_or(0)
        };
        let (names, paintings) = (width(|style| style.name().to_owned()), width(|style| style.painting()));
        styles
            .iter()
            .map(|style| {
                let name = printable(style.name());
                format!("{name:names$}  {:paintings$}  {}\n", style.painting(), style.remark())
            })
            .collect()
    };
    console::data(&text).context("write the list to stdout")?;
    Ok(Outcome::Done)
}

/// The styles in the user's folder.
pub fn own_styles() -> Vec<FolderStyle> {
    style::folder().map(|folder| folder::list(&folder)).unwrap_or_default()
}

fn own_folder() -> Result<PathBuf> {
    style::folder().context("this system tells no folder for the data of its user (expected HOME to be set)")
}

fn add(args: &StylesAddArgs) -> Result<Outcome> {
    let folder = own_folder()?;
    let mut checked = Vec::new();
    for file in &args.files {
        let style = LearnedStyle::load(file)?;
        check_fits(&style).with_context(|| format!("'{}' cannot be used", file.display()))?;
        let stem = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let name = check_name(&stem, file)?;
        let bytes = std::fs::read(file).with_context(|| format!("cannot read '{}'", file.display()))?;
        let target =
            folder::find(&folder, &name).map_or_else(|| folder.join(format!("{name}.{EXTENSION}")), |taken| taken.path);
        if let Some((other, ..)) = checked.iter().find(|(_, taken, _)| *taken == target) {
            bail!("two of the files would be the style '{other}' (rename '{}')", file.display());
        }
        if output::is_taken(&target) && !args.overwrite {
            bail!("there is a style '{name}' in '{}' already (-y replaces it)", folder.display());
        }
        checked.push((name, target, bytes));
    }
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot create the folder '{}'", folder.display()))?;
    for (name, target, bytes) in checked {
        output::write(&target, &bytes, args.overwrite)
            .with_context(|| format!("cannot write '{}'", target.display()))?;
        console::Console::new(false).line(&format!("{name}: {}", target.display()));
    }
    Ok(Outcome::Done)
}

/// Refuses a style with a name that means another one, wherever it is asked for.
pub fn check_is_not_hidden(style: &FolderStyle) -> Result<()> {
    if let Ok(bundled) = Catalog::bundled()?.find(&style.name) {
        bail!("the bundled style '{}' hides it (rename its file '{}')", bundled.name, style.path.display());
    }
    let taken = style.path.parent().and_then(|folder| folder::find(folder, &style.name));
    if let Some(taken) = taken.filter(|taken| taken.path != style.path) {
        let (file, hidden) = (taken.path.display(), style.path.display());
        bail!("'{file}' has the same name and hides it (rename its file '{hidden}')");
    }
    Ok(())
}

/// Whether the network that a style was learnt for is there and takes it.
fn check_fits(style: &LearnedStyle) -> Result<()> {
    let network = style.description.bundled_network()?;
    style.row(&StyleTables::find(&Catalog::bundled()?.network_model(network)?)?).map(|_| ())
}

/// The name that a file gives its style, if it can be asked for by it.
fn check_name(stem: &str, file: &Path) -> Result<String> {
    let name = normalized(stem);
    let is_named = || {
        name.parse::<StyleSpec>()
            .is_ok_and(|spec| matches!(spec.terms(), [term] if matches!(&term.style, StyleRef::Named(_))))
    };
    let is_usable = name.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '.')) && is_named();
    if !is_usable {
        bail!("'{}' gives no name to ask for (expected letters, digits and hyphens: rename it)", file.display());
    }
    if let Ok(bundled) = Catalog::bundled()?.find(&name) {
        bail!("'{name}' is a style that comes with impasto, '{}' (rename the file)", bundled.name);
    }
    Ok(name)
}

fn remove(args: &StylesRemoveArgs) -> Result<Outcome> {
    let folder = own_folder()?;
    let found = args
        .names
        .iter()
        .map(|name| {
            folder::find(&folder, name.strip_suffix(".style").unwrap_or(name)).ok_or_else(|| {
                let is_bundled = Catalog::bundled().is_ok_and(|catalog| catalog.find(name).is_ok());
                let reason = if is_bundled { " (it comes with impasto and stays)" } else { "" };
                UsageError(anyhow!("there is no style '{name}' in '{}'{reason}", folder.display()))
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    for (index, style) in found.iter().enumerate() {
        if found[..index].contains(style) {
            continue;
        }
        std::fs::remove_file(&style.path).with_context(|| format!("cannot remove '{}'", style.path.display()))?;
        console::Console::new(false).line(&format!("{}: removed", style.name));
    }
    Ok(Outcome::Done)
}

fn show(args: &StylesShowArgs) -> Result<Outcome> {
    if let Some(preview) = &args.preview
        && StillFormat::of_path(preview) != Some(StillFormat::Jpeg)
    {
        let text = format!("the preview is a JPEG, and '{}' is not named like one (expected .jpg)", preview.display());
        return Err(UsageError(anyhow!(text)).into());
    }
    refuse_network(&args.style)?;
    let is_file = args.style.to_lowercase().ends_with(".style") || args.style.contains(['/', '\\']);
    let catalog = Catalog::bundled()?;
    if !is_file && let Ok(style) = catalog.find(&args.style) {
        if args.preview.is_some() {
            bail!("'{}' comes with impasto and carries no preview (`impasto styles sheet` shows it)", style.name);
        }
        let text = if args.json {
            serde_json::to_string_pretty(&StyleFigures::bundled(catalog, style)).context("describe the style")? + "\n"
        } else {
            format!(
                "{}: {}, {} ({})\n  networks  {}\n  also      {}\n  painting  {}\n",
                style.name,
                style.title,
                style.artist,
                style.year,
                network_names(catalog).collect::<Vec<_>>().join(", "),
                style.aliases.join(", "),
                style.painting_license
            )
        };
        console::data(&text).context("write to stdout")?;
        return Ok(Outcome::Done);
    }
    let own = if is_file { in_file(Path::new(&args.style)) } else { find_own(&args.style)? };
    let path = &own.path;
    style::refuse_painting(path)?;
    let style = LearnedStyle::load(path)?;
    if let Some(preview) = &args.preview {
        if style.preview.is_empty() {
            bail!("'{}' carries no preview", path.display());
        }
        Still::decode(&style.preview)
            .with_context(|| format!("the preview that '{}' carries cannot be used", path.display()))?;
        if output::is_taken(preview) {
            bail!("the output '{}' exists already (choose another name)", preview.display());
        }
        output::write(preview, &style.preview, false)
            .with_context(|| format!("cannot write '{}'", preview.display()))?;
    }
    let text = if args.json {
        let error = check_fits(&style).err();
        let figures = StyleFigures::of_file(own, Some(style.description), error);
        serde_json::to_string_pretty(&figures).context("describe the style")? + "\n"
    } else {
        describe(path, &style.description)
    };
    console::data(&text).context("write to stdout")?;
    Ok(Outcome::Done)
}

/// A network has no description that could be shown.
fn refuse_network(style: &str) -> Result<(), UsageError> {
    let is_network = Path::new(style).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("onnx"));
    match is_network {
        true => Err(UsageError(anyhow!(
            "'{style}' is a network and no style that was learnt (expected a .style file; `impasto image --style {style}` paints with it)"
        ))),
        false => Ok(()),
    }
}

fn in_file(path: &Path) -> FolderStyle {
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    FolderStyle { name: normalized(&stem), path: path.to_owned() }
}

fn find_own(name: &str) -> Result<FolderStyle> {
    if let Some(style) = style::folder().and_then(|folder| folder::find(&folder, name)) {
        return Ok(style);
    }
    style::check_picture_exists(Path::new(name))?;
    Err(style::unknown_style(&Catalog::bundled()?.unknown(name, &own_styles())).into())
}

fn describe(path: &Path, description: &Description) -> String {
    let Description { network, paintings, learning, .. } = description;
    let is_known = description.bundled_network().is_ok();
    let mut text = format!("{}\n", printable(&path.display().to_string()));
    for painting in paintings {
        text += &format!("  painting  {} (sha256 {})\n", printable(&painting.file), printable(&painting.sha256));
    }
    let network = printable(network);
    text += &format!(
        "  network   {network}{}\n  learnt    from {} on {}, {} in {:.0} s\n  settings  depth {}, stroke size {}, style weight {}\n  loss      {:.3} → {:.3} on held-out photos (content {:.3}, style {:.3})\n",
        if is_known { "" } else { ", of another version than this impasto has: it cannot be used" },
        printable(&learning.start),
        printable(&learning.photos),
        counted(learning.steps, "step"),
        learning.seconds,
        learning.depth,
        learning.stroke_size,
        learning.style_weight,
        learning.start_loss,
        learning.loss,
        learning.content_loss,
        learning.style_loss,
    );
    text
}
