//! Files that are read whole: their first bytes before the rest, and no more than anyone can have meant.
//!
//! What is named by mistake may be a film, or a device that never ends. What a file is to be, and how it is called in an
//! error, is the caller's to say.

use std::fs::File;
use std::io::{Read, stdin};
use std::path::Path;

use anyhow::{Result, ensure};

/// Longer files are refused. No network is longer (it is protobuf's limit), and no picture.
const MOST_BYTES: u64 = 2 << 30;

/// So many bytes tell what a file is.
const BEGINNING: u64 = 64;

/// Opens a regular file.
///
/// # Errors
/// If it cannot be opened, or is none: a pipe may stay silent for ever.
pub fn open(path: &Path) -> Result<File> {
    ensure!(path.metadata()?.is_file(), "it is no regular file (expected one, not a pipe, a device or a folder)");
    Ok(File::open(path)?)
}

/// The bytes of a regular file, of which no more than the first are read if `check` refuses those.
///
/// # Errors
/// As [`open`] and [`read_file`].
pub fn read(path: &Path, check: impl FnOnce(&[u8]) -> Result<()>) -> Result<Vec<u8>> {
    read_file(open(path)?, check)
}

/// The same of what is open already, and may be a pipe.
///
/// # Errors
/// If they cannot be read or are too many, and those of `check`.
pub fn read_file(file: File, check: impl FnOnce(&[u8]) -> Result<()>) -> Result<Vec<u8>> {
    let length = file.metadata()?.len();
    read_at_most(MOST_BYTES, file, length, check)
}

/// The same of stdin.
///
/// # Errors
/// As [`read_file`].
pub fn read_stdin(check: impl FnOnce(&[u8]) -> Result<()>) -> Result<Vec<u8>> {
    read_at_most(MOST_BYTES, stdin().lock(), 0, check)
}

/// `length` is how many bytes are to come, 0 where that is not known.
fn read_at_most(
    most: u64,
    mut source: impl Read,
    length: u64,
    check: impl FnOnce(&[u8]) -> Result<()>,
) -> Result<Vec<u8>> {
    let refuse = |length: u64| {
        ensure!(length <= most, "it is too long (expected at most {:.1} GB)", most as f64 / 1e9);
        Ok(())
    };
    let mut bytes = Vec::new();
    source.by_ref().take(BEGINNING).read_to_end(&mut bytes)?;
    check(&bytes)?;
    refuse(length)?;
    let rest = length.saturating_sub(bytes.len() as u64);
    bytes.try_reserve_exact(usize::try_from(rest)?)?;
    source.take((most + 1).saturating_sub(bytes.len() as u64)).read_to_end(&mut bytes)?;
    refuse(bytes.len() as u64)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::repeat;

    use anyhow::bail;

    use super::*;

    /// Counts what is read of it.
    struct Counted<R>(R, u64);

    impl<R: Read> Read for Counted<R> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let count = self.0.read(buffer)?;
            self.1 += count as u64;
            Ok(count)
        }
    }

    #[test]
    fn what_its_first_bytes_refuse_is_not_read_on() {
        let mut endless = Counted(repeat(0), 0);
        let refuse = |bytes: &[u8]| bail!("begins with {:?}", &bytes[..2]);
        // Also of one that is too long: what it is says more.
        let error = read_at_most(1000, &mut endless, 5000, refuse).unwrap_err();
        assert_eq!((error.to_string().as_str(), endless.1), ("begins with [0, 0]", BEGINNING));
    }

    #[test]
    fn what_is_as_long_as_it_may_be_is_read_and_no_more() {
        for length in [0, 10, BEGINNING, 1000] {
            for known in [0, length] {
                let bytes = read_at_most(1000, repeat(7).take(length), known, |_| Ok(())).unwrap();
                assert_eq!(bytes, vec![7; length as usize]);
            }
        }
        for (known, read) in [(0, 1001), (1001, BEGINNING)] {
            let mut endless = Counted(repeat(7), 0);
            let error = read_at_most(1000, &mut endless, known, |_| Ok(())).unwrap_err().to_string();
            assert!(error.contains("it is too long"), "{error}");
            assert_eq!(endless.1, read);
        }
    }
}
