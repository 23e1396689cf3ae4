//! What an encoder gave, in a file that holds it however the program ends: an interrupted run goes on from there.
//!
//! Records follow each other: a line with a checksum and JSON, and behind that of a packet its bytes. What is cut off or damaged
//! ends the file, as if it had never been written.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use ffmpeg_next as ffmpeg;
use serde::{Deserialize, Serialize};

use ffmpeg::Packet;

use super::ffi;
use crate::output::{self, folder_of};

/// What a run was begun with, by name: what the caller wants to find again before the run goes on.
pub type Settings = BTreeMap<String, String>;

/// The packets of one video, in the order of decoding. One program at a time has it open.
#[derive(Debug)]
pub struct Journal {
    file: File,
    path: PathBuf,
    settings: Settings,
    /// Where the first packet begins.
    begin: u64,
    /// Where the packets end that can be gone on from.
    end: u64,
    whole: Whole,
    /// Frames that were encoded and whose packets have not come yet, in order.
    waiting: VecDeque<FrameEnd>,
    latest: Option<FrameEnd>,
    packets_of_frames: u64,
    /// Bytes of the file.
    written: u64,
    temporary: Option<String>,
    output_bytes: Option<u64>,
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

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Record {
    /// The first one.
    Begin { impasto_video_state: u32, settings: Settings },
    /// An unfinished output, which a program that was killed could not remove.
    Temporary(String),
    /// An output that was finished although it is not the whole video: its size in bytes.
    Output(u64),
    /// What the encoder gave.
    Packet(PacketRecord),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PacketRecord {
    pts: Option<i64>,
    dts: Option<i64>,
    duration: i64,
    flags: i32,
    /// Set if all frames until here are complete.
    whole: Option<Whole>,
    /// Length of the data that follows the line.
    bytes: u64,
    /// Length of what the packet brings for the header of the file, behind that: some encoders know it only now.
    header_bytes: u64,
}

const VERSION: u32 = 1;
/// That a packet is a key picture, damaged, to be decoded only, or needed by no other. Others make FFmpeg take data for pointers.
const KNOWN_FLAGS: i32 = 0b1_0111;
/// No packet is larger, in bytes.
const LARGEST_PACKET: u64 = 1 << 30;
/// No line of ours is longer, in bytes.
const LONGEST_LINE: u64 = 1 << 16;

impl Journal {
    /// A journal without packets. A file of this name is replaced.
    ///
    /// # Errors
    /// If it cannot be written, or another program has it open.
    pub fn create(path: &Path, settings: Settings) -> Result<Self> {
        let create = || -> Result<(File, u64)> {
            if path.is_symlink() {
                // What it leads to is none of ours.
                std::fs::remove_file(path)?;
            }
            let mut file = open_alone(path, true)?;
            file.set_len(0)?;
            let begin = write_record(
                &mut file,
                &Record::Begin { impasto_video_state: VERSION, settings: settings.clone() },
                &[],
            )?;
            Ok((file, begin))
        };
        let (file, begin) = create().with_context(|| format!("cannot write '{}'", path.display()))?;
        Ok(Self::new(file, path, settings, begin))
    }

    /// The journal that an earlier run left.
    ///
    /// # Errors
    /// If it is none, or of another version, cannot be read, or another program has it open.
    pub fn open(path: &Path) -> Result<Self> {
        let open = || -> Result<Self> {
            let file = open_alone(path, false)?;
            let mut records = Records::new(&file, 0)?;
            let Some((Record::Begin { impasto_video_state: VERSION, settings }, _)) = records.next()? else {
                bail!("it is no state of a video, or of another version of impasto");
            };
            let begin = records.at;
            let mut journal = Self::new(file.try_clone()?, path, settings, begin);
            while let Some((record, _)) = records.next()? {
                match record {
                    Record::Begin { .. } => break,
                    Record::Temporary(name) => journal.temporary = Some(name),
                    Record::Output(bytes) => journal.output_bytes = Some(bytes),
                    Record::Packet(PacketRecord { whole: Some(whole), .. }) => {
                        (journal.whole, journal.end) = (whole, records.at);
                    }
                    Record::Packet(_) => {}
                }
            }
            Ok(journal)
        };
        open().with_context(|| format!("read '{}'", path.display()))
    }

    fn new(file: File, path: &Path, settings: Settings, begin: u64) -> Self {
        Self {
            file,
            path: path.to_owned(),
            settings,
            begin,
            end: begin,
            whole: Whole::default(),
            waiting: VecDeque::new(),
            latest: None,
            packets_of_frames: 0,
            written: begin,
            temporary: None,
            output_bytes: None,
        }
    }

    /// What the run was begun with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The frames that need not be encoded again.
    pub fn whole(&self) -> Whole {
        self.whole
    }

    /// Whether a file is the output that an interrupted run finished with the packets of this journal, by its size.
    pub fn is_output(&self, path: &Path) -> bool {
        self.output_bytes.is_some() && path.metadata().ok().map(|found| found.len()) == self.output_bytes
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

    /// Notes beside the packets of a finished journal what output was made of them.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn note_output(path: &Path, bytes: u64) -> Result<()> {
        let write = || write_record(&mut OpenOptions::new().append(true).open(path)?, &Record::Output(bytes), &[]);
        write().with_context(|| format!("cannot write '{}'", path.display())).map(drop)
    }

    /// Gives all packets that can be gone on from, in order; leaves off where the next one is written.
    ///
    /// # Errors
    /// The first error of `take`, or if the file cannot be read.
    pub(super) fn replay(&self, mut take: impl FnMut(Packet) -> Result<()>) -> Result<()> {
        let mut records = Records::new(&self.file, self.begin)?;
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
        (&self.file).seek(SeekFrom::End(0)).with_context(|| format!("read '{}'", self.path.display()))?;
        Ok(())
    }

    /// Makes ready for packets of a run whose unfinished output is `temporary`: they follow those that can be gone on from.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(super) fn begin(&mut self, temporary: &Path) -> Result<()> {
        self.remove_leftover();
        let mut begin = || -> io::Result<()> {
            self.file.set_len(self.end)?;
            self.file.seek(SeekFrom::Start(self.end))?;
            let name = temporary.file_name().map(|name| name.to_string_lossy().into_owned());
            self.written = self.end;
            for record in self.output_bytes.map(Record::Output).into_iter().chain(name.map(Record::Temporary)) {
                self.written += write_record(&mut self.file, &record, &[])?;
            }
            Ok(())
        };
        begin().with_context(|| format!("cannot write '{}'", self.path.display()))?;
        (self.latest, self.packets_of_frames) = (self.whole.last, self.whole.frames);
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
        match write_record(&mut self.file, &record, &[data, &header].concat()) {
            Ok(length) => self.written += length,
            Err(error) => {
                // A disk that is full takes no half of it back by itself.
                if let Err(error) = self.file.set_len(self.written) {
                    tracing::debug!("cut '{}': {error}", self.path.display());
                }
                return Err(error).with_context(|| format!("cannot write '{}'", self.path.display()));
            }
        }
        if let Some(whole) = whole {
            self.whole = whole;
        }
        Ok(())
    }

    /// The frames that are complete with a packet of this time, if no frame among them is still to come.
    fn whole_with(&mut self, pts: Option<i64>) -> Option<Whole> {
        // Not every packet shows a frame.
        let index = self.waiting.iter().position(|frame| Some(frame.pts) == pts)?;
        let frame = self.waiting.remove(index)?;
        self.packets_of_frames += 1;
        let latest = self.latest.filter(|latest| latest.pts > frame.pts).unwrap_or(frame);
        self.latest = Some(latest);
        let is_whole = self.waiting.front().is_none_or(|first| first.pts > latest.pts);
        is_whole.then_some(Whole { frames: self.packets_of_frames, last: Some(latest) })
    }
}

/// Opens a file that no other program has open in this way.
fn open_alone(path: &Path, create: bool) -> Result<File> {
    let file = OpenOptions::new().read(true).write(true).create(create).truncate(false).open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => bail!(JournalInUse),
        // Some file systems have no locks.
        Err(TryLockError::Error(error)) => {
            tracing::debug!("lock '{}': {error}", path.display());
            Ok(file)
        }
    }
}

/// Appends a record in one piece; gives its length.
fn write_record(file: &mut File, record: &Record, bytes: &[u8]) -> io::Result<u64> {
    let mut body = serde_json::to_vec(record)?;
    body.push(b'\n');
    body.extend_from_slice(bytes);
    let mut all = format!("{:08x} ", crc32fast::hash(&body)).into_bytes();
    all.append(&mut body);
    file.write_all(&all)?;
    Ok(all.len() as u64)
}

/// Reads records until one is not as it was written.
struct Records<'a> {
    reader: BufReader<&'a File>,
    /// Where the next one begins.
    at: u64,
    length: u64,
    line: Vec<u8>,
    bytes: Vec<u8>,
}

impl<'a> Records<'a> {
    fn new(mut file: &'a File, at: u64) -> io::Result<Self> {
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(at))?;
        Ok(Self { reader: BufReader::with_capacity(1 << 18, file), at, length, line: Vec::new(), bytes: Vec::new() })
    }

    fn next(&mut self) -> Result<Option<(Record, &[u8])>> {
        self.line.clear();
        self.bytes.clear();
        (&mut self.reader).take(LONGEST_LINE).read_until(b'\n', &mut self.line)?;
        let Some((checksum, body)) = self.line.split_at_checked(9) else { return Ok(None) };
        let checksum =
            str::from_utf8(checksum).ok().and_then(|text| u32::from_str_radix(text.strip_suffix(' ')?, 16).ok());
        let (Some(checksum), Ok(record)) = (checksum, serde_json::from_slice::<Record>(body)) else { return Ok(None) };
        let end_of_line = self.at + self.line.len() as u64;
        let bytes = match &record {
            Record::Packet(packet) => packet.bytes.saturating_add(packet.header_bytes),
            _ => 0,
        };
        // Checked before anything of that length is allocated.
        if bytes > self.length.saturating_sub(end_of_line).min(LARGEST_PACKET) {
            return Ok(None);
        }
        (&mut self.reader).take(bytes).read_to_end(&mut self.bytes)?;
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(body);
        hasher.update(&self.bytes);
        if self.bytes.len() as u64 != bytes || hasher.finalize() != checksum {
            return Ok(None);
        }
        self.at = end_of_line + bytes;
        Ok(Some((record, &self.bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(pts: i64) -> FrameEnd {
        FrameEnd { pts, end: (pts + 1) * 40_000 }
    }

    fn flags(pts: i64) -> i32 {
        [1, 2, 4, 16, 17][pts.rem_euclid(5) as usize]
    }

    fn packet(pts: i64, dts: i64) -> Packet {
        let mut packet = Packet::copy(format!("packet {pts}\n").as_bytes());
        packet.set_pts(Some(pts));
        packet.set_dts(Some(dts));
        packet.set_duration(1);
        ffi::set_packet_flags(&mut packet, flags(pts));
        ffi::set_new_extradata(&mut packet, &b"header"[..pts.rem_euclid(3) as usize]).unwrap();
        packet
    }

    /// A journal of a run in which packets came in this order, and six frames had been encoded.
    fn left(path: &Path, order: &[i64]) -> Whole {
        let mut journal = Journal::create(path, Settings::from([("style".to_owned(), "wave".to_owned())])).unwrap();
        journal.begin(&path.with_file_name(".impasto-a.mp4")).unwrap();
        (0..6).for_each(|pts| journal.put(frame(pts)));
        order.iter().zip(-2..).for_each(|(pts, dts)| journal.write(&packet(*pts, dts)).unwrap());
        journal.whole()
    }

    fn replayed(journal: &Journal) -> Vec<Packet> {
        let mut packets = Vec::new();
        let keep = |packet| {
            packets.push(packet);
            Ok(())
        };
        journal.replay(keep).unwrap();
        packets
    }

    #[test]
    fn packets_come_back_up_to_where_no_frame_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.state");
        assert_eq!(left(&path, &[0, 4, 2, 1, 3, 5]), Whole { frames: 6, last: Some(frame(5)) });
        assert_eq!(left(&path, &[0, 4, 2, 1]), Whole { frames: 1, last: Some(frame(0)) });
        assert_eq!(left(&path, &[0, 4, 2, 1, 3]), Whole { frames: 5, last: Some(frame(4)) });
        let mut journal = Journal::open(&path).unwrap();
        assert_eq!(journal.settings()["style"], "wave");
        assert_eq!(journal.whole(), Whole { frames: 5, last: Some(frame(4)) });
        for (index, (packet, pts)) in replayed(&journal).iter().zip([0, 4, 2, 1, 3]).enumerate() {
            assert_eq!((packet.pts(), packet.dts()), (Some(pts), Some(index as i64 - 2)));
            assert_eq!((packet.duration(), ffi::packet_flags(packet)), (1, flags(pts)));
            assert_eq!(packet.data(), Some(format!("packet {pts}\n").as_bytes()));
            assert_eq!(ffi::new_extradata(packet), &b"header"[..pts as usize % 3]);
        }

        // The next run follows.
        journal.begin(&folder.path().join(".impasto-b.mp4")).unwrap();
        (5..7).for_each(|pts| journal.put(frame(pts)));
        journal.write(&packet(5, 3)).unwrap();
        assert_eq!(journal.whole(), Whole { frames: 6, last: Some(frame(5)) });
        drop(journal);
        let packets = replayed(&Journal::open(&path).unwrap());
        assert_eq!(packets.iter().map(|packet| packet.pts().unwrap()).collect::<Vec<_>>(), [0, 4, 2, 1, 3, 5]);
    }

    #[test]
    fn packets_without_a_frame_of_their_own_are_kept_and_not_counted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.state");
        assert_eq!(left(&path, &[0, 100, 1]), Whole { frames: 2, last: Some(frame(1)) });
        assert_eq!(replayed(&Journal::open(&path).unwrap()).len(), 3);
    }

    #[test]
    fn what_is_cut_off_or_damaged_counts_as_never_written() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("a.state"), folder.path().join("b.state"));
        let order = [0, 2, 1, 3];
        left(&path, &order);
        let bytes = std::fs::read(&path).unwrap();
        let begin = Journal::open(&path).unwrap().begin as usize;
        let whole_after = |packets: usize| [0, 1, 1, 3, 4][packets];
        let mut seen = [false; 5];
        for place in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[place] ^= 4;
            for damaged in [&bytes[..place], &flipped] {
                std::fs::write(&other, damaged).unwrap();
                match Journal::open(&other) {
                    Ok(journal) => {
                        assert!(place >= begin);
                        let frames = journal.whole().frames as usize;
                        let packets = replayed(&journal);
                        assert_eq!(whole_after(packets.len()), frames);
                        assert!(packets.iter().zip(order).all(|(packet, pts)| packet.pts() == Some(pts)));
                        seen[frames] = true;
                    }
                    Err(error) => {
                        assert!(place < begin, "{error:#}");
                        assert!(format!("{error:#}").contains("no state of a video"), "{error:#}");
                    }
                }
            }
        }
        assert_eq!(seen, [true, true, false, true, false], "the last byte is missing or wrong at least");
    }

    #[test]
    fn a_length_that_is_not_there_costs_no_memory() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.state");
        left(&path, &[0]);
        let whole = Some(Whole { frames: 9, last: Some(frame(8)) });
        let record =
            PacketRecord { pts: None, dts: None, duration: 0, flags: 0, whole, bytes: u64::MAX, header_bytes: 1 };
        write_record(&mut OpenOptions::new().append(true).open(&path).unwrap(), &Record::Packet(record), b"few")
            .unwrap();
        assert_eq!(Journal::open(&path).unwrap().whole().frames, 1);
    }

    #[test]
    fn one_program_has_it_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.state");
        let journal = Journal::create(&path, Settings::new()).unwrap();
        for refusal in [Journal::open(&path).unwrap_err(), Journal::create(&path, Settings::new()).unwrap_err()] {
            assert!(refusal.is::<JournalInUse>(), "{refusal:#}");
        }
        drop(journal);
        Journal::open(&path).unwrap();
    }

    #[test]
    fn an_unfinished_output_is_removed_and_no_other_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.state");
        left(&path, &[0]);
        for (name, is_ours) in [(".impasto-a.mp4", true), (".impasto-b.mp4", false), ("clip.mp4", false)] {
            std::fs::write(folder.path().join(name), "").unwrap();
            Journal::open(&path).unwrap().remove_leftover();
            assert_eq!(folder.path().join(name).exists(), !is_ours, "{name}");
        }
        let mut journal = Journal::open(&path).unwrap();
        journal.temporary = Some("clip.mp4".to_owned());
        journal.remove_leftover();
        assert!(folder.path().join("clip.mp4").exists());
    }

    #[test]
    fn a_finished_output_is_known_by_its_size_in_later_runs_too() {
        let folder = tempfile::tempdir().unwrap();
        let (path, output) = (folder.path().join("a.state"), folder.path().join("a.mp4"));
        left(&path, &[0]);
        std::fs::write(&output, "output").unwrap();
        assert!(!Journal::open(&path).unwrap().is_output(&output));
        Journal::note_output(&path, 6).unwrap();
        for _ in 0..2 {
            let mut journal = Journal::open(&path).unwrap();
            assert!(journal.is_output(&output) && !journal.is_output(&path));
            assert!(!journal.is_output(&folder.path().join("none.mp4")));
            journal.begin(&folder.path().join(".impasto-b.mp4")).unwrap();
        }
    }
}
