//! Files that a command is to work on, as a person names them (files, folders, patterns), and where what comes of each goes.

use std::collections::{HashMap, HashSet};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use glob::MatchOptions;
use walkdir::WalkDir;

use super::{UsageError, outputs};

/// What is looked for in folders and by patterns.
pub struct Kind {
    /// One of them.
    pub one: &'static str,
    /// Several.
    pub several: &'static str,
    /// Which files are such, by their names.
    pub is_one: fn(&Path) -> bool,
    /// What their extensions are said to be.
    pub extensions: &'static str,
}

/// A file that was found, and its place below the folder of the output.
pub struct Found {
    pub path: PathBuf,
    pub place: PathBuf,
}

/// The files that `inputs` mean: each itself, those in and below a folder by name, or those that fit a pattern. A folder of outputs in
/// there is passed by.
///
/// # Errors
/// If a folder or pattern leads to none.
pub fn find(inputs: &[PathBuf], output: &Path, kind: &Kind) -> Result<Vec<Found>> {
    let mut found = Vec::new();
    for input in inputs {
        // A shell that lists a folder names that of the outputs in there as well.
        if inputs.len() > 1 && input.is_dir() && outputs::is_same(input, output) {
            tracing::warn!("'{}' is where outputs go: {} in there are passed by", input.display(), kind.several);
            continue;
        }
        find_one(input, output, kind, &mut found)?;
    }
    // What is named twice is meant once.
    let mut seen = HashSet::new();
    found.retain(|one: &Found| outputs::place(&one.path).is_none_or(|place| seen.insert(place)));
    ensure!(!found.is_empty(), "nothing but the outputs themselves was named (expected {})", kind.several);
    Ok(found)
}

/// Whether a name means a folder: one that is there, or one that is to be made.
pub fn is_folder(path: &Path) -> bool {
    path.is_dir() || path.as_os_str().to_string_lossy().ends_with(['/', std::path::MAIN_SEPARATOR])
}

/// Whether a name means all that fit it: no file is called so.
pub fn is_pattern(path: &Path) -> bool {
    !path.exists() && path.to_string_lossy().contains(['*', '?', '['])
}

/// Each file and where in the folder `output` what comes of it goes: to its place, with another extension if one is wanted.
///
/// # Errors
/// [`UsageError`] if the output is or looks like a file, or two would have the same name.
pub fn in_folder(
    found: Vec<Found>,
    output: &Path,
    extension: Option<&str>,
    kind: &Kind,
) -> Result<Vec<(PathBuf, PathBuf)>> {
    let Kind { one, several, .. } = kind;
    if output.is_file() {
        return Err(usage(format!(
            "the output '{}' is a file (expected a folder for several {several})",
            output.display()
        )));
    }
    if (kind.is_one)(output) && !is_folder(output) {
        let output = output.display();
        let text = format!(
            "the output '{output}' is named like a {one} (expected a folder for several {several}: '{output}/')"
        );
        return Err(usage(text));
    }
    let mut taken: HashMap<PathBuf, PathBuf> = HashMap::new();
    let mut pairs = Vec::new();
    for Found { path, place } in found {
        let mut target = output.join(place);
        if let Some(extension) = extension {
            target.set_extension(extension);
        }
        if let Some(other) = taken.insert(target.clone(), path.clone()) {
            let (a, b, target) = (other.display(), path.display(), target.display());
            return Err(usage(format!("'{a}' and '{b}' would both become '{target}' (paint them into two folders)")));
        }
        pairs.push((path, target));
    }
    Ok(pairs)
}

/// Refuses, before anything is painted, paintings that would replace a file that is to be painted. Each input comes with its paintings.
///
/// # Errors
/// With the name of the first.
pub fn refuse_as_outputs<'a>(inputs_and_paintings: &[(Option<&'a Path>, Vec<PathBuf>)]) -> Result<()> {
    let place = |input: &Option<&'a Path>| input.and_then(outputs::place);
    let inputs: HashSet<PathBuf> = inputs_and_paintings.iter().filter_map(|(input, _)| place(input)).collect();
    for (own, paintings) in inputs_and_paintings {
        for painting in paintings {
            if let Some(input) = outputs::place(painting).filter(|place| inputs.contains(place)) {
                let of = if place(own).as_ref() == Some(&input) { "its own painting" } else { "a painting of another" };
                bail!("'{}': {of} would replace it (choose another folder or name)", painting.display());
            }
        }
    }
    Ok(())
}

fn usage(text: String) -> anyhow::Error {
    UsageError(anyhow!(text)).into()
}

fn find_one(input: &Path, output: &Path, kind: &Kind, found: &mut Vec<Found>) -> Result<()> {
    let before = found.len();
    if input.is_dir() {
        // Links to folders are not followed: they could lead back.
        // Nor are paintings painted again that went into a folder in there.
        let is_shown = |entry: &walkdir::DirEntry| {
            let is_output = || entry.file_type().is_dir() && outputs::is_same(entry.path(), output);
            entry.depth() == 0 || !(entry.file_name().to_string_lossy().starts_with('.') || is_output())
        };
        for entry in WalkDir::new(input).sort_by_file_name().into_iter().filter_entry(is_shown) {
            let entry = entry.map_err(|error| {
                let folder = error.path().unwrap_or(input).display().to_string();
                let reason = error
                    .into_io_error()
                    .map_or_else(|| "its links lead in a circle".to_owned(), |error| error.to_string());
                anyhow!("cannot read the folder '{folder}': {reason}")
            })?;
            // A pipe in there may stay silent for ever.
            if entry.path().is_file() && (kind.is_one)(entry.path()) {
                let place = entry.path().strip_prefix(input).unwrap_or(entry.path()).to_owned();
                found.push(Found { path: entry.into_path(), place });
            }
        }
        if found.len() == before {
            bail!("the folder '{}' holds no {} (expected {})", input.display(), kind.several, kind.extensions);
        }
        return Ok(());
    }
    if is_pattern(input) {
        let pattern = input.to_string_lossy();
        let options = MatchOptions { require_literal_leading_dot: true, ..MatchOptions::new() };
        let paths =
            glob::glob_with(&pattern, options).map_err(|error| usage(format!("'{pattern}' is no pattern: {error}")))?;
        let outputs = folder_of_outputs_among(input, output);
        for path in paths {
            let path = path.with_context(|| format!("cannot read what fits '{pattern}'"))?;
            let is_output = || {
                outputs
                    .as_ref()
                    .is_some_and(|outputs| outputs::place(&path).is_some_and(|path| path.starts_with(outputs)))
            };
            if path.is_file() && (kind.is_one)(&path) && !is_output() {
                found.push(by_name(path));
            }
        }
        if found.len() == before {
            bail!("no {} fits '{pattern}' (expected {})", kind.one, kind.extensions);
        }
        return Ok(());
    }
    found.push(by_name(input.to_owned()));
    Ok(())
}

/// The folder of outputs, if it lies below where a pattern looks: what went there is not painted again.
fn folder_of_outputs_among(pattern: &Path, output: &Path) -> Option<PathBuf> {
    let is_plain = |part: &Component<'_>| !part.as_os_str().to_string_lossy().contains(['*', '?', '[']);
    let base: PathBuf = pattern.components().take_while(is_plain).collect();
    let base = if base.as_os_str().is_empty() { Path::new(".") } else { &base }.canonicalize().ok()?;
    output.canonicalize().ok().filter(|output| output.starts_with(&base) && *output != base)
}

fn by_name(path: PathBuf) -> Found {
    let place = path.file_name().map_or_else(|| path.clone(), PathBuf::from);
    Found { path, place }
}
