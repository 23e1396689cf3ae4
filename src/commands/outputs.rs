//! Files that a command is to write: refused before the work where they could not be.

use std::io::{self, ErrorKind};
use std::path::Path;

use anyhow::{Result, anyhow};

use crate::output::{self, AtomicFile};

/// Creates a file that will take the name `path`.
///
/// # Errors
/// If there is a file of that name and `overwrite` is not set, or the folder takes none.
pub fn create(path: &Path, overwrite: bool) -> Result<AtomicFile> {
    AtomicFile::create(path, overwrite).map_err(|error| refusal(path, error))
}

/// Refuses what [`create`] would refuse, and leaves nothing behind.
///
/// # Errors
/// As [`create`].
pub fn check(path: &Path, overwrite: bool) -> Result<()> {
    create(path, overwrite).map(drop)
}

/// Writes a whole file in one step.
///
/// # Errors
/// As [`create`], or if the bytes cannot be written.
pub fn write(path: &Path, bytes: &[u8], overwrite: bool) -> Result<()> {
    output::write(path, bytes, overwrite).map_err(|error| refusal(path, error))
}

fn refusal(path: &Path, error: io::Error) -> anyhow::Error {
    match error.kind() {
        ErrorKind::AlreadyExists => {
            anyhow!("the output '{}' exists already (choose another name, or -y to replace it)", path.display())
        }
        _ => anyhow::Error::new(error).context(format!("cannot write '{}'", path.display())),
    }
}

/// Whether two names are of one file; of files that are not there yet as well.
pub fn is_same(one: &Path, other: &Path) -> bool {
    let place = |path: &Path| {
        let in_folder = || Some(output::folder_of(path).canonicalize().ok()?.join(path.file_name()?));
        path.canonicalize().ok().or_else(in_folder)
    };
    matches!((place(one), place(other)), (Some(one), Some(other)) if one == other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_the_same_by_every_way_to_them_also_before_they_are_there() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("in")).unwrap();
        let at = |name: &str| folder.path().join(name);
        assert!(is_same(&at("a.png"), &at("in/../a.png")) && is_same(&at("a.png"), &at("./a.png")));
        assert!(!is_same(&at("a.png"), &at("in/a.png")) && !is_same(&at("a.png"), &at("b.png")));
        assert!(!is_same(&at("no/a.png"), &at("no/a.png")), "there is no such folder");
        std::fs::write(at("a.png"), "").unwrap();
        assert!(is_same(&at("in/../a.png"), &at("a.png")));
    }
}
