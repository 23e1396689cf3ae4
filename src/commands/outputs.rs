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
    let place = |path: &Path| path.canonicalize().or_else(|_| std::path::absolute(path));
    matches!((place(one), place(other)), (Ok(one), Ok(other)) if one == other)
}
