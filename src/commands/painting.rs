//! From `--style` to a painting: that of a style of the catalog, or a picture file.

use std::borrow::Cow;
use std::io::{self, ErrorKind};
use std::path::Path;

use anyhow::{Context, Result, anyhow};

use super::UsageError;
use super::style::folder as folder_of_styles;
use super::styles::own_styles;
use crate::stills;
use crate::style::learned::EXTENSION;
use crate::style::{Catalog, LearnedStyle, folder};

/// The picture file of a painting. A file that is called like a style is meant by a path (`./great-wave`).
///
/// # Errors
/// [`UsageError`] for a name that is no style; else if the file cannot be read.
pub fn painting_bytes(style: &Path) -> Result<Cow<'static, [u8]>> {
    let catalog = Catalog::bundled()?;
    if let Ok(style) = catalog.find(&style.to_string_lossy()) {
        return Ok(catalog.painting_bytes(style)?.into());
    }
    refuse_learnt(style)?;
    let unknown = catalog.unknown(&style.to_string_lossy(), &own_styles());
    let is_name = style.extension().is_none() && style.components().count() == 1;
    match stills::read_bytes(style) {
        Ok(bytes) => Ok(bytes.into()),
        Err(error) if is_name && is_missing(&error) => {
            let nearest = unknown.nearest.map(|nearest| format!("; did you mean '{nearest}'?")).unwrap_or_default();
            Err(UsageError(anyhow!(
                "'{}' is neither a style nor a file (expected a picture, or one of the {} that `impasto styles` lists{nearest})",
                style.display(),
                unknown.count,
            ))
            .into())
        }
        Err(error) => Err(error).with_context(|| format!("cannot read the painting '{}'", style.display())),
    }
}

fn is_missing(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == ErrorKind::NotFound)
}

/// Refuses a learnt style, which carries no painting to judge by.
///
/// # Errors
/// [`UsageError`] for one; else when its file cannot be read.
pub fn refuse_learnt(style: &Path) -> Result<()> {
    let name = style.to_string_lossy();
    let path = if style.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(EXTENSION)) {
        style.to_owned()
    } else if style.exists() || Catalog::bundled()?.find(&name).is_ok() {
        return Ok(());
    } else {
        match folder_of_styles().and_then(|folder| folder::find(&folder, &name)) {
            Some(own) => own.path,
            None => return Ok(()),
        }
    };
    let learned = LearnedStyle::load(&path)?;
    let paintings: Vec<_> = learned.description.paintings.iter().map(|painting| painting.file.as_str()).collect();
    Err(UsageError(anyhow!(
        "'{name}' is a learnt style and carries no painting (expected the picture that it was learnt from: {})",
        paintings.join(", ")
    ))
    .into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_neither_a_style_nor_a_file_is_answered_with_where_styles_are_listed() {
        let error = painting_bytes(Path::new("gret-wave")).unwrap_err();
        assert!(error.is::<UsageError>());
        let text = error.to_string();
        assert!(text.contains("'gret-wave' is neither a style nor a file"), "{text}");
        assert!(text.contains("`impasto styles`") && text.ends_with("did you mean 'great-wave'?)"), "{text}");
    }

    #[test]
    fn a_file_that_is_missing_is_no_wrong_name() {
        let error = painting_bytes(Path::new("nowhere.jpg")).unwrap_err();
        assert!(!error.is::<UsageError>() && error.to_string().contains("'nowhere.jpg'"), "{error:#}");
        assert!(!painting_bytes(Path::new("great-wave")).unwrap().is_empty());
    }
}
