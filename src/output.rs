//! Files that take their name only when they are complete.
//!
//! Whoever finds a file under the final name can rely on it, however the run ended. What is written into a file, and
//! what a person is told when it cannot be, is the caller's to say.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempPath;

/// File systems take no longer names, in bytes.
const LONGEST_NAME: usize = 255;

/// How temporary names begin.
const PREFIX: &str = ".impasto-";

/// Whether a file of this name may be one that a program left that was killed.
pub fn is_temporary(name: &str) -> bool {
    name.starts_with(PREFIX) && !name.contains(['/', '\\'])
}

/// Whether a file may be replaced that is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Overwrite {
    /// None.
    #[default]
    Never,
    /// Any.
    Always,
    /// One of so many bytes: what earlier runs have left.
    OfSizes(Vec<u64>),
}

impl Overwrite {
    /// Whether what has the name `path` may be replaced, if there is anything.
    fn allows(&self, path: &Path) -> bool {
        match self {
            Self::Always => true,
            Self::OfSizes(sizes) if path.metadata().is_ok_and(|there| sizes.contains(&there.len())) => true,
            Self::Never | Self::OfSizes(_) => !is_taken(path),
        }
    }
}

impl From<bool> for Overwrite {
    fn from(overwrite: bool) -> Self {
        if overwrite { Self::Always } else { Self::Never }
    }
}

/// A file that grows under a temporary name. Dropped without [`AtomicFile::commit`], it leaves nothing behind.
#[derive(Debug)]
pub struct AtomicFile {
    temporary: TempPath,
    path: PathBuf,
    overwrite: Overwrite,
}

impl AtomicFile {
    /// Creates an empty file in the folder of `path`, with the same extension and a name of its own.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] if there is a file of the final name that may not be replaced; else if it is a device or a
    /// pipe, if its name is too long or has a NUL in it, or if the folder takes no files.
    pub fn create(path: &Path, overwrite: impl Into<Overwrite>) -> io::Result<Self> {
        let overwrite = overwrite.into();
        if path.metadata().is_ok_and(|there| !there.is_file() && !there.is_dir()) {
            // To take its name would be to remove it: /dev/null, say.
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "it is a device or a pipe (expected the name of a file)",
            ));
        }
        if path.as_os_str().as_encoded_bytes().contains(&0) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the name is not usable (expected one without NUL)",
            ));
        }
        if path.file_name().is_some_and(|name| name.len() > LONGEST_NAME) {
            let text = format!("the name is too long (expected at most {LONGEST_NAME} bytes)");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        if !overwrite.allows(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let suffix = path.extension().map(|extension| format!(".{}", extension.to_string_lossy())).unwrap_or_default();
        let mut builder = tempfile::Builder::new();
        builder.prefix(PREFIX).suffix(&suffix);
        #[cfg(unix)]
        {
            // The user's umask decides, as for any other file.
            use std::os::unix::fs::PermissionsExt;
            builder.permissions(std::fs::Permissions::from_mode(0o666));
        }
        let folder = folder_of(path);
        if !folder.is_dir() {
            let text = format!("there is no folder '{}'", folder.display());
            return Err(io::Error::new(io::ErrorKind::NotFound, text));
        }
        let temporary = builder.tempfile_in(folder).map_err(without_path)?.into_temp_path();
        Ok(Self { temporary, path: path.to_owned(), overwrite })
    }

    /// Where to write.
    pub fn temporary(&self) -> &Path {
        &self.temporary
    }

    /// Gives the file its final name, once all that was written to it is on the disk.
    ///
    /// # Errors
    /// If it cannot be written to the disk or renamed, or a file of the final name has appeared meanwhile that may not be replaced.
    pub fn commit(self) -> io::Result<()> {
        let Self { temporary, path, overwrite } = self;
        // After a power cut the name would be there, and the file empty.
        bring_to_disk(&std::fs::OpenOptions::new().write(true).open(&temporary)?)?;
        if overwrite != Overwrite::Never && overwrite.allows(&path) {
            temporary.persist(path)?;
        } else {
            temporary.persist_noclobber(path)?;
        }
        Ok(())
    }
}

/// Waits until what was written to a file is on the disk, where the file system can tell.
///
/// # Errors
/// If it cannot be written there: a disk of the network that is full, say.
pub fn bring_to_disk(file: &File) -> io::Result<()> {
    match file.sync_all() {
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(()),
        result => result,
    }
}

/// The error of the system alone: the name of a temporary file, which `tempfile` adds to its text, would tell nobody anything.
fn without_path(error: io::Error) -> io::Error {
    let text = error.to_string();
    match text.split_once(" at path ") {
        Some((system, _)) => io::Error::new(error.kind(), system),
        None => error,
    }
}

/// Writes a whole file in one step.
///
/// # Errors
/// As [`AtomicFile::create`] and [`AtomicFile::commit`], or if the bytes cannot be written.
pub fn write(path: &Path, bytes: &[u8], overwrite: bool) -> io::Result<()> {
    let file = AtomicFile::create(path, overwrite)?;
    std::fs::write(file.temporary(), bytes)?;
    file.commit()
}

/// Whether there is something of this name; a link counts wherever it leads.
pub fn is_taken(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// The folder that a file lies in.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_file_has_its_name_only_when_it_is_complete() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        let file = AtomicFile::create(&path, false).unwrap();
        std::fs::write(file.temporary(), "all of it").unwrap();
        assert!(!is_taken(&path));
        file.commit().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "all of it");
        assert_eq!(names(folder.path()), ["a.png"]);
    }

    #[test]
    fn what_is_no_file_is_never_replaced_and_long_names_are_told_before() {
        if cfg!(unix) {
            let refusal = AtomicFile::create(Path::new("/dev/null"), true).unwrap_err();
            assert!(refusal.to_string().contains("a device or a pipe"), "{refusal}");
        }
        let folder = tempfile::tempdir().unwrap();
        let name = |length: usize| folder.path().join(format!("{}.png", "n".repeat(length - 4)));
        let refusal = AtomicFile::create(&name(256), false).unwrap_err();
        assert!(refusal.to_string().contains("too long"), "{refusal}");
        AtomicFile::create(&name(255), false).unwrap().commit().unwrap();
    }

    #[test]
    fn an_abandoned_file_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        drop(AtomicFile::create(&folder.path().join("a.png"), false).unwrap());
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn a_file_is_replaced_only_if_asked_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        let early = AtomicFile::create(&path, false).unwrap();
        std::fs::write(&path, "old").unwrap();
        assert_eq!(early.commit().unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(AtomicFile::create(&path, false).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
        AtomicFile::create(&path, true).unwrap().commit().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "");
        assert_eq!(names(folder.path()), ["a.png"]);
    }

    #[test]
    fn what_an_earlier_run_left_is_replaced_and_nothing_that_took_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        let left = || Overwrite::OfSizes(vec![7, 3]);
        std::fs::write(&path, "old").unwrap();
        let (first, second) = (AtomicFile::create(&path, left()).unwrap(), AtomicFile::create(&path, left()).unwrap());
        first.commit().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "");
        assert_eq!(second.commit().unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(AtomicFile::create(&path, left()).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        std::fs::remove_file(&path).unwrap();
        AtomicFile::create(&path, left()).unwrap().commit().unwrap();
        assert_eq!(names(folder.path()), ["a.png"]);
    }

    #[test]
    #[cfg(unix)]
    fn a_file_may_be_read_by_whom_the_umask_lets() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (plain, path) = (folder.path().join("plain"), folder.path().join("a.png"));
        std::fs::write(&plain, "").unwrap();
        AtomicFile::create(&path, false).unwrap().commit().unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode();
        assert_eq!(mode(&path), mode(&plain));
    }
}
