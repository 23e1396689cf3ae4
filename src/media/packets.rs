//! Packets of a file in order, with the clock of the container mended and the damage counted.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, bail};
use ffmpeg_next as ffmpeg;

use ffmpeg::format::context::Input;
use ffmpeg::{Error, Packet};

use super::{Interrupt, MICROSECONDS, address, ffi, rescale};

/// What was wrong with a file, counted while it is read. Clones share the counters.
#[derive(Debug, Clone, Default)]
pub struct Damage {
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct Counters {
    unreadable: AtomicU64,
    undecodable: AtomicU64,
    concealed: AtomicU64,
    missing: AtomicU64,
}

impl Damage {
    pub(super) fn add_unreadable(&self) {
        self.counters.unreadable.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn add_undecodable(&self) {
        self.counters.undecodable.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn add_concealed(&self) {
        self.counters.concealed.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn add_missing(&self, frames: u64) {
        self.counters.missing.fetch_add(frames, Ordering::Relaxed);
    }

    /// What was found, in words; `None` if all was well.
    pub fn describe(&self) -> Option<String> {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let parts: Vec<String> = [
            (count(&self.counters.missing), "missing at the end", "missing at the end"),
            (count(&self.counters.undecodable), "that cannot be decoded", "that cannot be decoded"),
            (count(&self.counters.concealed), "decoded with errors", "decoded with errors"),
        ]
        .into_iter()
        .filter(|(count, ..)| *count > 0)
        .map(|(count, one, many)| if count == 1 { format!("1 frame {one}") } else { format!("{count} frames {many}") })
        .chain(match count(&self.counters.unreadable) {
            0 => None,
            1 => Some("1 unreadable place".to_owned()),
            count => Some(format!("{count} unreadable places")),
        })
        .collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }
}

/// Reads a file's packets.
pub struct PacketReader {
    input: Input,
    path: PathBuf,
    interrupt: Option<Interrupt>,
    damage: Damage,
    clock: Clock,
    unreadable_in_a_row: u32,
}

impl PacketReader {
    /// A demuxer that reports garbage this often without a packet in between is not going to recover.
    const MAX_UNREADABLE_IN_A_ROW: u32 = 1000;
    /// How far before a time a key frame is looked for first, in microseconds; then twice as far, and so on.
    const FIRST_STEP_BACK: i64 = 1_000_000;

    pub fn open(path: &Path, interrupt: Option<&Interrupt>, damage: Damage) -> Result<Self> {
        let input = open_input(path, interrupt)?;
        let clock = Clock::new(&input);
        Ok(Self { input, path: path.to_owned(), interrupt: interrupt.cloned(), damage, clock, unreadable_in_a_row: 0 })
    }

    pub fn input(&self) -> &Input {
        &self.input
    }

    /// Leaves out a stream that nobody wants. Where the clock may jump all streams are read, to see the same jumps.
    pub fn discard(&mut self, stream: usize) {
        if !self.clock.may_jump {
            ffi::discard_stream(&mut self.input, stream);
        }
    }

    /// What was added to the timestamps of the file so far because its clock starts anywhere, in microseconds.
    pub fn rebased_by(&self) -> i64 {
        self.clock.offset
    }

    /// Goes to a key frame of stream `video` at or before `time` (microseconds in the clock that this reader gives out).
    /// Where the file cannot seek, reading starts at the beginning: slower, not wrong.
    pub fn seek(&mut self, time: i64, video: usize) -> Result<()> {
        let time = time - self.clock.offset;
        if !self.clock.may_jump {
            self.seek_near(time);
            return Ok(());
        }
        // Demuxers of such containers go to a time, wherever the next key frame is.
        let start = ffi::start_time(&self.input).unwrap_or(0);
        let (mut target, mut step) = (time, Self::FIRST_STEP_BACK);
        while target > start && self.seek_near(target) {
            if self.next_key_frame(video).is_some_and(|key| key <= time) && self.seek_near(target) {
                return Ok(());
            }
            target -= step;
            step *= 2;
        }
        self.input = open_input(&self.path, self.interrupt.as_ref())?;
        self.clock.forget_positions();
        Ok(())
    }

    fn seek_near(&mut self, time: i64) -> bool {
        let result = self.input.seek(time, ..time.saturating_add(1));
        match &result {
            Ok(()) => self.clock.forget_positions(),
            Err(error) => tracing::debug!("cannot seek to {time} µs, reading from the start: {error}"),
        }
        result.is_ok()
    }

    /// Reads on to a stream's next key frame and says when it is shown, in microseconds of the file.
    fn next_key_frame(&mut self, stream: usize) -> Option<i64> {
        let time_base = self.input.stream(stream)?.time_base();
        let mut packet = Packet::empty();
        while packet.read(&mut self.input).is_ok() {
            if packet.stream() == stream && packet.is_key() {
                return packet.pts().or(packet.dts()).map(|time| rescale(time, time_base, MICROSECONDS));
            }
        }
        None
    }

    /// The next packet of any stream, or `None` at the end.
    pub fn next(&mut self) -> Result<Option<Packet>> {
        let mut packet = Packet::empty();
        loop {
            match packet.read(&mut self.input) {
                Ok(()) => {
                    self.unreadable_in_a_row = 0;
                    self.clock.mend(&self.input, &mut packet);
                    return Ok(Some(packet));
                }
                Err(Error::Eof) => return Ok(None),
                Err(Error::Exit) => bail!("reading was interrupted"),
                Err(error) => {
                    self.damage.add_unreadable();
                    self.unreadable_in_a_row += 1;
                    let is_final = !matches!(error, Error::InvalidData | Error::Other { errno: ffmpeg::error::EAGAIN });
                    if is_final || self.unreadable_in_a_row >= Self::MAX_UNREADABLE_IN_A_ROW {
                        tracing::debug!("reading ends early: {error}");
                        return Ok(None);
                    }
                }
            }
        }
    }
}

fn open_input(path: &Path, interrupt: Option<&Interrupt>) -> Result<Input> {
    let address = address(path)?;
    let opened = match interrupt {
        Some(interrupt) => {
            let interrupt = Arc::clone(interrupt);
            ffmpeg::format::input_with_interrupt(&address, move || interrupt())
        }
        None => ffmpeg::format::input(&address),
    };
    match opened {
        Ok(input) => Ok(input),
        Err(Error::InvalidData) => bail!(
            "'{}' is not a video that FFmpeg can read, or its index is missing (a recording that was cut off \
             before it was finished?)",
            path.display()
        ),
        Err(error) => Err(error).with_context(|| format!("cannot read '{}'", path.display())),
    }
}

/// Mends timestamps of containers whose clock is a broadcaster's: joined recordings start over, or leap.
struct Clock {
    may_jump: bool,
    /// Added to every timestamp, in microseconds.
    offset: i64,
    /// Per stream, where the next packet is expected, in microseconds after the offset.
    expected: Vec<Option<i64>>,
}

impl Clock {
    /// A step back of more than this, or a leap ahead of more than the other, is a new clock (FFmpeg's own limits).
    const MAX_STEP_BACK: i64 = 100_000;
    const MAX_LEAP: i64 = 10_000_000;
    /// A clock that starts later than this says nothing about the clip: it starts at 0 instead.
    const MAX_START: i64 = 10_000_000;

    fn new(input: &Input) -> Self {
        let may_jump = ffi::has_discontinuous_timestamps(input);
        let start = ffi::start_time(input).filter(|start| may_jump && *start > Self::MAX_START);
        Self { may_jump, offset: -start.unwrap_or(0), expected: vec![None; input.nb_streams() as usize] }
    }

    fn forget_positions(&mut self) {
        self.expected.fill(None);
    }

    fn mend(&mut self, input: &Input, packet: &mut Packet) {
        if !self.may_jump {
            return;
        }
        let Some(time_base) = input.stream(packet.stream()).map(|stream| stream.time_base()) else { return };
        if self.expected.len() <= packet.stream() {
            self.expected.resize(packet.stream() + 1, None);
        }
        if let Some(dts) = packet.dts().map(|dts| rescale(dts, time_base, MICROSECONDS)) {
            let expected = self.expected[packet.stream()];
            if let Some(expected) = expected {
                let step = dts + self.offset - expected;
                if !(-Self::MAX_STEP_BACK..=Self::MAX_LEAP).contains(&step) {
                    self.offset -= step;
                    // The other streams jump with this one: what they expected is of the old clock.
                    self.forget_positions();
                }
            }
            let duration = rescale(packet.duration().max(0), time_base, MICROSECONDS);
            self.expected[packet.stream()] = Some(dts + self.offset + duration);
        }
        let offset = rescale(self.offset, MICROSECONDS, time_base);
        packet.set_pts(packet.pts().map(|pts| pts + offset));
        packet.set_dts(packet.dts().map(|dts| dts + offset));
    }
}
