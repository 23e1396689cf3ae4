//! A recording that plays whenever the program ends: Matroska, brought to the disk every second.
//!
//! The file grows under a temporary name until its first second is on the disk, and then takes its own name while it
//! grows on: whatever stands under that name plays, after a power failure too. What is lost then is the last second and
//! what the encoder held, and the index, which players make up for.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::encoder::EncoderSettings;
use super::live_output::LiveOutput;
use super::output_error::OutputError;
use super::{VideoInfo, Written};
use crate::frame::Frame;
use crate::output::{AtomicFile, bring_to_disk};

/// Writes a recording.
pub struct Recorder {
    // Declared before the file: it is closed before an unplayable one is removed.
    output: LiveOutput,
    /// Until the first second is on the disk.
    unnamed: Option<Unnamed>,
    path: PathBuf,
    disk: Disk,
}

/// What of the file is on the disk.
struct Disk {
    file: File,
    bytes: u64,
    at: Instant,
}

struct Unnamed {
    file: AtomicFile,
    /// Bytes of the container's head, once it is on the disk.
    head: Option<u64>,
}

impl Recorder {
    /// A second of video, written in one piece.
    const CLUSTER: &str = "1000";

    /// Refuses what would be no Matroska.
    ///
    /// # Errors
    /// [`OutputError::NotMatroska`].
    pub fn check_name(path: &Path) -> Result<(), OutputError> {
        match path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("mkv")) {
            true => Ok(()),
            false => Err(OutputError::NotMatroska(path.to_owned())),
        }
    }

    /// Prepares `path` for frames like `info`.
    ///
    /// # Errors
    /// As [`Recorder::check_name`], [`OutputError::Exists`], or when the folder or the encoder refuses.
    pub fn create(path: &Path, info: &VideoInfo, settings: &EncoderSettings, overwrite: bool) -> Result<Self> {
        Self::check_name(path)?;
        let file = AtomicFile::create(path, overwrite).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => OutputError::Exists(path.to_owned()).into(),
            _ => anyhow::Error::new(error).context(format!("cannot create the recording '{}'", path.display())),
        })?;
        let address = super::address(file.temporary())?;
        let options = [("cluster_time_limit", Self::CLUSTER), ("flush_packets", "1")];
        let output = LiveOutput::open(&address, "matroska", &options, info, settings, Arc::new(|| false))
            .with_context(|| format!("cannot create the recording '{}'", path.display()))?;
        let disk = OpenOptions::new()
            .write(true)
            .open(file.temporary())
            .with_context(|| format!("open the recording '{}'", path.display()))?;
        let disk = Disk { file: disk, bytes: 0, at: Instant::now() };
        Ok(Self { output, unnamed: Some(Unnamed { file, head: None }), path: path.to_owned(), disk })
    }

    /// Where it lies while it has no name yet.
    pub fn temporary(&self) -> Option<&Path> {
        self.unnamed.as_ref().map(|unnamed| unnamed.file.temporary())
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a frame. Blocks while it is encoded.
    ///
    /// # Errors
    /// When encoding or writing fails: a full disk, say. What was written until then plays.
    pub fn write(&mut self, frame: &Frame) -> Result<()> {
        self.output.write(frame).with_context(|| format!("cannot write the recording '{}'", self.path.display()))?;
        if let Some(unnamed) = &mut self.unnamed {
            let bytes = unnamed.bytes();
            match unnamed.head {
                None if bytes > 0 => unnamed.head = Some(bytes),
                Some(head) if bytes > head => self.name()?,
                _ => {}
            }
        }
        self.disk.keep_up().with_context(|| format!("cannot write the recording '{}'", self.path.display()))
    }

    /// Ends the recording. Without a single frame there is no file.
    ///
    /// # Errors
    /// When writing fails; then what has a name already plays, and what has none yet is no file.
    pub fn finish(self) -> Result<Option<Written>> {
        let frames = self.output.frames();
        let Self { output, path, unnamed, disk } = self;
        output.finish().with_context(|| format!("cannot write the recording '{}'", path.display()))?;
        match unnamed.filter(|_| frames > 0) {
            Some(unnamed) => unnamed.name(&path)?,
            None => {
                bring_to_disk(&disk.file).with_context(|| format!("cannot write the recording '{}'", path.display()))?
            }
        }
        let bytes = std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
        Ok((frames > 0).then_some(Written { path, frames, bytes }))
    }

    fn name(&mut self) -> Result<()> {
        self.unnamed.take().map_or(Ok(()), |unnamed| unnamed.name(&self.path))
    }
}

impl Disk {
    /// Brings there what has been written, once a second.
    fn keep_up(&mut self) -> io::Result<()> {
        if self.at.elapsed() < Duration::from_secs(1) {
            return Ok(());
        }
        let bytes = self.file.metadata()?.len();
        if bytes > self.bytes {
            bring_to_disk(&self.file)?;
        }
        (self.bytes, self.at) = (bytes, Instant::now());
        Ok(())
    }
}

impl Unnamed {
    /// Bytes of the file on the disk.
    fn bytes(&self) -> u64 {
        std::fs::metadata(self.file.temporary()).map_or(0, |metadata| metadata.len())
    }

    fn name(self, path: &Path) -> Result<()> {
        self.file.commit().with_context(|| format!("cannot give the recording its name '{}'", path.display()))
    }
}
