//! What an encoder gave, in a file that holds it however the program ends: an interrupted run goes on from there.

mod records;

use std::collections::{BTreeMap, VecDeque};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use ffmpeg_next as ffmpeg;
use serde::{Deserialize, Serialize};

use ffmpeg::Packet;

use super::ffi;
use crate::output::{self, bring_to_disk, folder_of};
use records::{PacketRecord, Record, Records, write_record};

/// What a run was begun with, by name: what the caller wants to find again before the run goes on.
pub type Settings = BTreeMap<String, String>;

/// The packets of one video, in the order of decoding. One program at a time has it open.
#[derive(Debug)]
pub struct Journal {
    file: LockedFile,
    path: PathBuf,
    settings: Settings,
    /// Where the first packet begins.
    begin: u64,
    /// Where the packets end that can be gone on from.
    end: u64,
    whole: Whole,
    /// Whether more follows than could be read.
    is_damaged: bool,
    /// Frames that were encoded and whose packets have not come yet, in order.
    waiting: VecDeque<FrameEnd>,
    /// Those whose packets have come, with or without gaps.
    seen: Whole,
    /// Bytes of the file.
    written: u64,
    temporary: Option<String>,
    outputs: Vec<u64>,
    /// When all of it was on the disk.
    on_disk_at: Instant,
}

/// The first frames of a video, none of which needs a later packet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Whole {
    /// How many they are.
    pub frames: u64,
    /// The last of them; `None` where there are none.
    pub last: Option<FrameEnd>,
}

/// A frame on the clocks of its encoder and of the video.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrameEnd {
    /// When it is shown, in the encoder's time base.
    pub pts: i64,
    /// When it ends, in microseconds.
    pub end: i64,
}

/// Another program has the journal open.
#[derive(Debug, thiserror::Error)]
#[error("another run is writing it at this moment")]
pub struct JournalInUse;

const VERSION: u32 = 1;
/// How much a power cut may take.
const ON_DISK_EVERY: Duration = Duration::from_secs(5);
/// That a packet is a key picture, damaged, to be decoded only, or needed by no other. Others make FFmpeg take data for pointers.
const KNOWN_FLAGS: i32 = 0b1_0111;

impl Journal {
    /// A journal without packets, which replaces a file of this name; `outputs` are the lengths that were noted in that.
    ///
    /// # Errors
    /// If it cannot be written, or another program has it open.
    pub fn create(path: &Path, settings: Settings, outputs: Vec<u64>) -> Result<Self> {
        let open = || -> Result<LockedFile> {
            if path.is_symlink() {
                // What it leads to is none of ours.
                std::fs::remove_file(path)?;
            }
            LockedFile::open(path, true)
        };
        let mut file = open().with_context(|| format!("cannot write '{}'", path.display()))?;
        let mut begin = || -> Result<u64> {
            file.0.set_len(0)?;
            let record = Record::Begin { impasto_video_state: VERSION, settings: settings.clone() };
            let mut begin = write_record(&mut file.0, &record, [&[]; 2])?;
            for bytes in &outputs {
                begin += write_record(&mut file.0, &Record::Output(*bytes), [&[]; 2])?;
            }
            Ok(begin)
        };
        let begin = begin().inspect_err(|_| {
            // A disk that is full holds half a journal, which is none.
            if let Err(error) = std::fs::remove_file(path) {
                tracing::debug!("remove '{}': {error}", path.display());
            }
        });
        let begin = begin.with_context(|| format!("cannot write '{}'", path.display()))?;
        Ok(Self { outputs, ..Self::new(file, path, settings, begin) })
    }

    /// The journal that an earlier run left.
    ///
    /// # Errors
    /// If it is none, or of another version, cannot be read, or another program has it open.
    pub fn open(path: &Path) -> Result<Self> {
        let open = || -> Result<Self> {
            let file = LockedFile::open(path, false)?;
            let mut records = Records::new(&file.0, 0)?;
            let Some((Record::Begin { impasto_video_state: VERSION, settings }, _)) = records.next()? else {
                bail!("it is no state of a video, or of another version of impasto");
            };
            let begin = records.at;
            let (mut end, mut whole, mut temporary, mut outputs) = (begin, Whole::default(), None, Vec::new());
            while let Some((record, _)) = records.next()? {
                match record {
                    Record::Begin { .. } => break,
                    Record::Temporary(name) => temporary = Some(name),
                    Record::Output(bytes) if outputs.contains(&bytes) => {}
                    Record::Output(bytes) => outputs.push(bytes),
                    Record::Packet(packet) => {
                        if let Some(found) = packet.whole {
                            (whole, end) = (found, records.at);
                        }
                    }
                }
            }
            let is_damaged = records.is_damaged();
            Ok(Self { end, whole, is_damaged, temporary, outputs, ..Self::new(file, path, settings, begin) })
        };
        open().with_context(|| format!("read '{}'", path.display()))
    }

    /// Whether a file begins like a journal, if perhaps a damaged one or of another version; one without a byte does.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn begins(path: &Path) -> io::Result<bool> {
        let mut begin = Vec::new();
        File::open(path)?.take(records::BEGIN.end as u64).read_to_end(&mut begin)?;
        let name = begin.get(records::BEGIN.start..).unwrap_or_default();
        Ok(begin.is_empty() || !name.is_empty() && records::BEGIN_NAME.starts_with(name))
    }

    fn new(file: LockedFile, path: &Path, settings: Settings, begin: u64) -> Self {
        Self {
            file,
            path: path.to_owned(),
            settings,
            begin,
            end: begin,
            whole: Whole::default(),
            is_damaged: false,
            waiting: VecDeque::new(),
            seen: Whole::default(),
            written: begin,
            temporary: None,
            outputs: Vec::new(),
            on_disk_at: Instant::now(),
        }
    }

    /// What the run was begun with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// How many frames need not be encoded again.
    pub fn frames(&self) -> u64 {
        self.whole.frames
    }

    /// Whether something behind those frames could not be read, as of a run that was killed: what it was is not known.
    pub fn is_damaged(&self) -> bool {
        self.is_damaged
    }

    /// The lengths of the outputs that interrupted runs left: what has one of them is not complete.
    pub fn outputs(&self) -> &[u64] {
        &self.outputs
    }

    /// The frames that need not be encoded again.
    pub(super) fn whole(&self) -> Whole {
        self.whole
    }

    /// Removes the unfinished output of a run that was killed.
    pub fn remove_leftover(&mut self) {
        // Whoever has the journal has no run beside it that still writes; a name that leads elsewhere is none of ours.
        let name = self.temporary.take().filter(|name| output::is_temporary(name));
        if let Some(name) = name
            && let Err(error) = std::fs::remove_file(folder_of(&self.path).join(&name))
        {
            tracing::debug!("remove '{name}': {error}");
        }
    }

    /// Notes behind the packets how long the output is that is made of them: the run that goes on may replace it.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn note_output(&mut self, bytes: u64) -> Result<()> {
        let mut write = || {
            self.file.0.seek(SeekFrom::End(0))?;
            write_record(&mut self.file.0, &Record::Output(bytes), [&[]; 2])
        };
        write().with_context(|| format!("cannot write '{}'", self.path.display()))?;
        self.outputs.push(bytes);
        Ok(())
    }

    /// Gives all packets that can be gone on from, in order; leaves off where the next one is written.
    ///
    /// # Errors
    /// The first error of `take`, or if the file cannot be read.
    pub(super) fn replay(&self, mut take: impl FnMut(Packet) -> Result<()>) -> Result<()> {
        let mut records = Records::new(&self.file.0, self.begin)?;
        while records.at < self.end {
            let Some((record, bytes)) = records.next()? else {
                bail!("'{}' has changed meanwhile", self.path.display());
            };
            if let Record::Packet(record) = record {
                let (data, header) = bytes.split_at(bytes.len() - usize::try_from(record.header_bytes)?);
                let mut packet = Packet::copy(data);
                ffi::set_new_extradata(&mut packet, header).context("go on with a packet")?;
                packet.set_pts(record.pts);
                packet.set_dts(record.dts);
                packet.set_duration(record.duration);
                ffi::set_packet_flags(&mut packet, record.flags & KNOWN_FLAGS);
                take(packet)?;
            }
        }
        (&self.file.0).seek(SeekFrom::End(0)).with_context(|| format!("read '{}'", self.path.display()))?;
        Ok(())
    }

    /// Makes ready for packets of a run whose unfinished output is `temporary`: they follow those that can be gone on from.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(super) fn begin(&mut self, temporary: &Path) -> Result<()> {
        self.remove_leftover();
        let mut begin = || -> io::Result<()> {
            self.file.0.set_len(self.end)?;
            self.file.0.seek(SeekFrom::Start(self.end))?;
            let name = temporary.file_name().map(|name| name.to_string_lossy().into_owned());
            self.written = self.end;
            for record in self.outputs.iter().copied().map(Record::Output).chain(name.map(Record::Temporary)) {
                self.written += write_record(&mut self.file.0, &record, [&[]; 2])?;
            }
            Ok(())
        };
        begin().with_context(|| format!("cannot write '{}'", self.path.display()))?;
        self.seen = self.whole;
        Ok(())
    }

    /// Says that a frame was given to the encoder.
    pub(super) fn put(&mut self, frame: FrameEnd) {
        self.waiting.push_back(frame);
    }

    /// Keeps a packet.
    ///
    /// # Errors
    /// If the file cannot be written; it ends with the packet before then, and takes no other one.
    pub(super) fn write(&mut self, packet: &Packet) -> Result<()> {
        let whole = self.whole_with(packet.pts());
        let (data, header) = (packet.data().unwrap_or_default(), ffi::new_extradata(packet));
        let record = Record::Packet(PacketRecord {
            pts: packet.pts(),
            dts: packet.dts(),
            duration: packet.duration(),
            flags: ffi::packet_flags(packet),
            whole,
            bytes: data.len() as u64,
            header_bytes: header.len() as u64,
        });
        match write_record(&mut self.file.0, &record, [data, &header]) {
            Ok(length) => self.written += length,
            Err(error) => {
                // A disk that is full takes no half of it back by itself.
                if let Err(error) = self.file.0.set_len(self.written) {
                    tracing::debug!("cut '{}': {error}", self.path.display());
                }
                return Err(error).with_context(|| format!("cannot write '{}'", self.path.display()));
            }
        }
        if let Some(whole) = whole {
            self.whole = whole;
        }
        // The system would take its time with it, and a power cut what it has not brought there.
        if self.on_disk_at.elapsed() >= ON_DISK_EVERY {
            bring_to_disk(&self.file.0).with_context(|| format!("cannot write '{}'", self.path.display()))?;
            self.on_disk_at = Instant::now();
        }
        Ok(())
    }

    /// The frames that are complete with a packet of this time, if no frame among them is still to come.
    fn whole_with(&mut self, pts: Option<i64>) -> Option<Whole> {
        // Not every packet shows a frame.
        let index = self.waiting.iter().position(|frame| Some(frame.pts) == pts)?;
        let frame = self.waiting.remove(index)?;
        let last = self.seen.last.filter(|last| last.pts > frame.pts).unwrap_or(frame);
        self.seen = Whole { frames: self.seen.frames + 1, last: Some(last) };
        let is_whole = self.waiting.front().is_none_or(|first| first.pts > last.pts);
        is_whole.then_some(self.seen)
    }
}

/// A file that no other program has open in this way.
#[derive(Debug)]
struct LockedFile(File);

impl LockedFile {
    fn open(path: &Path, create: bool) -> Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create(create).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!(JournalInUse),
            // Some file systems have no locks.
            Err(TryLockError::Error(error)) => tracing::debug!("lock '{}': {error}", path.display()),
        }
        Ok(Self(file))
    }
}

impl Drop for LockedFile {
    /// A program that is being started beside has the file open for a moment as well, and the lock would live as long.
    fn drop(&mut self) {
        if let Err(error) = self.0.unlock() {
            tracing::debug!("unlock a journal: {error}");
        }
    }
}

#[cfg(test)]
mod tests;
