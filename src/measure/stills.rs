//! Pictures in files, and folders of them in the order of their numbers.

use std::cmp::Ordering;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::frame::Frame;
use crate::stills::Still;

/// Extensions of the stills that can be read.
pub const EXTENSIONS: &[&str] = &["png", "jpg", "jpeg"];

/// The files of a folder with one of the extensions, whatever their case, by name; numbers within names count as
/// numbers. Hidden files are left out.
///
/// # Errors
/// If the folder cannot be read.
pub fn list(folder: &Path, extensions: &[&str]) -> Result<Vec<PathBuf>> {
    let read = || -> std::io::Result<Vec<PathBuf>> {
        std::fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect()
    };
    let mut paths = read().with_context(|| format!("cannot read the folder '{}'", folder.display()))?;
    paths.retain(|path| {
        let is_hidden = name(path).starts_with('.');
        let has_extension = |extension: &str| extensions.iter().any(|known| known.eq_ignore_ascii_case(extension));
        !is_hidden && path.extension().is_some_and(|extension| has_extension(&extension.to_string_lossy()))
    });
    paths.sort_by(|a, b| by_name(&name(a), &name(b)));
    Ok(paths)
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Text by its characters, runs of digits by their value: frame_9 before frame_10.
fn by_name(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a, b);
    loop {
        let (Some(first), Some(second)) = (left.chars().next(), right.chars().next()) else {
            return left.len().cmp(&right.len()).then_with(|| a.cmp(b));
        };
        let order = if first.is_ascii_digit() && second.is_ascii_digit() {
            let (number, other) = (take_digits(&mut left), take_digits(&mut right));
            number.len().cmp(&other.len()).then_with(|| number.cmp(other))
        } else {
            left = &left[first.len_utf8()..];
            right = &right[second.len_utf8()..];
            first.cmp(&second)
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

/// Takes the digits at the front; gives them without leading zeros.
fn take_digits<'a>(text: &mut &'a str) -> &'a str {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    *text = rest;
    digits.trim_start_matches('0')
}

/// Reads a picture as 8-bit RGB, turned upright; transparency is left aside.
///
/// # Errors
/// If the file cannot be read or is no picture.
pub fn read(path: &Path) -> Result<Frame> {
    Still::read(path)
        .map(|still| still.content)
        .with_context(|| format!("cannot read the picture '{}'", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_names_count_as_numbers() {
        let mut names = ["b1", "frame_10.png", "frame_9.png", "frame_009b.png", "frame_09.png", "a", "frame_"];
        names.sort_by(|a, b| by_name(a, b));
        assert_eq!(names, ["a", "b1", "frame_", "frame_09.png", "frame_9.png", "frame_009b.png", "frame_10.png"]);
    }

    #[test]
    fn only_pictures_that_show_are_listed() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["2.PNG", "10.jpg", ".1.png", "notes.txt", "1.jpeg", "png"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let listed: Vec<_> = list(folder.path(), EXTENSIONS).unwrap().iter().map(|path| name(path)).collect();
        assert_eq!(listed, ["1.jpeg", "2.PNG", "10.jpg"]);
    }
}
