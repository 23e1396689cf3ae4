//! Files that a command is to write: refused before the work where they could not be.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};

use super::UsageError;
use crate::console::Console;
use crate::output::{self, AtomicFile};
use crate::stills::StillFormat;

/// Creates a file that will take the name `path`.
///
/// # Errors
/// If there is a file of that name and `overwrite` is not set, or the folder takes none.
pub fn create(path: &Path, overwrite: bool) -> Result<AtomicFile> {
    let file = AtomicFile::create(path, overwrite).map_err(|error| refusal(path, error))?;
    if path.is_dir() {
        bail!("cannot write '{}': it is a folder (expected the name of a file)", path.display());
    }
    Ok(file)
}

/// Refuses what [`create`] would refuse, and leaves nothing behind.
///
/// # Errors
/// As [`create`].
pub fn check(path: &Path, overwrite: bool) -> Result<()> {
    create(path, overwrite).map(drop)
}

/// The format that the name of a picture asks for.
///
/// # Errors
/// [`UsageError`] where it asks for none.
pub fn picture_format(path: &Path) -> Result<StillFormat, UsageError> {
    StillFormat::of_path(path).ok_or_else(|| {
        UsageError(anyhow!("'{}' names no format (expected .png, .jpg, .webp or .tif at its end)", path.display()))
    })
}

/// Refuses the name of a picture that can only be a PNG and is called otherwise.
///
/// # Errors
/// [`UsageError`].
pub fn check_png(path: &Path, what: &str) -> Result<(), UsageError> {
    match StillFormat::of_path(path) {
        Some(StillFormat::Png) => Ok(()),
        _ => Err(UsageError(anyhow!("the {what} '{}' is no PNG (expected a name that ends in .png)", path.display()))),
    }
}

/// Writes a whole file in one step.
///
/// # Errors
/// As [`create`], or if the bytes cannot be written.
pub fn write(path: &Path, bytes: &[u8], overwrite: bool) -> Result<()> {
    output::write(path, bytes, overwrite).map_err(|error| refusal(path, error))
}

/// Where the state of a run lies whose output this is: `out.mp4` → `out.mp4.state`.
pub fn state_of(output: &Path) -> PathBuf {
    with_ending(output, ".state")
}

/// The path with more at its end.
pub fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// The state of a long run in a file, written again and again so that a crash loses little.
pub struct KeptState {
    path: PathBuf,
    interval: Duration,
    last: Instant,
    is_told: bool,
}

impl KeptState {
    /// A state that is written every `interval`, from now on.
    pub fn new(path: PathBuf, interval: Duration) -> Self {
        Self { path, interval, last: Instant::now(), is_told: false }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Has it written if it is time. The run goes on where that fails, and the first failure is told.
    pub fn keep(&mut self, console: Console, write: impl FnOnce(&Path) -> Result<()>) {
        if self.last.elapsed() < self.interval {
            return;
        }
        self.last = Instant::now();
        if let Err(error) = write(&self.path)
            && !self.is_told
        {
            self.is_told = true;
            console.warning(&format!("what is done so far is not saved meanwhile: {error:#}"));
        }
    }
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
    matches!((place(one), place(other)), (Some(one), Some(other)) if one == other)
}

/// The one name of a file by every way to it, also before it is there; `None` where there is no folder for it.
pub fn place(path: &Path) -> Option<PathBuf> {
    let in_folder = || Some(output::folder_of(path).canonicalize().ok()?.join(path.file_name()?));
    path.canonicalize().ok().or_else(in_folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_that_cannot_be_written_ends_no_run() {
        let folder = tempfile::tempdir().unwrap();
        let mut state = KeptState::new(folder.path().join("no/a.state"), Duration::ZERO);
        let mut tries = 0;
        for _ in 0..2 {
            state.keep(Console::new(true), |path| {
                tries += 1;
                write(path, b"state", true)
            });
        }
        assert_eq!((tries, state.is_told), (2, true));
        let mut early = KeptState::new(folder.path().join("a.state"), Duration::from_secs(3600));
        early.keep(Console::new(true), |path| write(path, b"state", true));
        assert!(!early.path().exists());
    }

    #[test]
    fn a_folder_is_never_the_name_of_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let refusal = check(folder.path(), true).unwrap_err();
        assert!(refusal.to_string().contains("it is a folder"), "{refusal}");
    }

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
