//! From `--style` to a painting: that of a style of the catalog, or a picture file.

use std::borrow::Cow;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result, anyhow};

use super::UsageError;
use crate::style::Catalog;

/// The picture file of a painting. A file that is called like a style is meant by a path (`./great-wave`).
///
/// # Errors
/// [`UsageError`] for a name that is no style; else if the file cannot be read.
pub fn painting_bytes(style: &Path) -> Result<Cow<'static, [u8]>> {
    let catalog = Catalog::bundled()?;
    let unknown = match catalog.find(&style.to_string_lossy()) {
        Ok(style) => return Ok(catalog.painting_bytes(style)?.into()),
        Err(unknown) => unknown,
    };
    let is_name = style.extension().is_none() && style.components().count() == 1;
    match std::fs::read(style) {
        Ok(bytes) => Ok(bytes.into()),
        Err(error) if is_name && error.kind() == ErrorKind::NotFound => {
            let nearest = unknown.nearest.map(|nearest| format!("; did you mean '{nearest}'?")).unwrap_or_default();
            Err(UsageError(anyhow!(
                "'{}' is neither a style nor a file (expected a picture, or one of the {} that `impasto styles` lists{nearest})",
                style.display(),
                unknown.count,
            ))
            .into())
        }
        Err(error) => Err(error).with_context(|| format!("read the painting '{}'", style.display())),
    }
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
