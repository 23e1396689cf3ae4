//! Packets of a file in order, with the clock of the container mended and the damage counted.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, bail};
use ffmpeg_next as ffmpeg;

use ffmpeg::format::context::Input;
use ffmpeg::{Error, Packet, media};

use super::{Interrupt, MICROSECONDS, address, ffi, rescale, shown};

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

    /// Forgets what was counted.
    pub(super) fn clear(&self) {
        let Counters { unreadable, undecodable, concealed, missing } = &*self.counters;
        for counter in [unreadable, undecodable, concealed, missing] {
            counter.store(0, Ordering::Relaxed);
        }
    }

    /// What was found, in words; `None` if all was well.
    pub fn describe(&self) -> Option<String> {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let parts: Vec<String> = [
            (count(&self.counters.missing), "missing at the end"),
            (count(&self.counters.undecodable), "that cannot be decoded"),
            (count(&self.counters.concealed), "decoded with errors"),
        ]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} frame{} {what}", if count == 1 { "" } else { "s" }))
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
    /// What the header says of the whole file, in microseconds; `None` where FFmpeg guesses it.
    promised_duration: Option<i64>,
    discarded: Vec<usize>,
    /// Where the packets end that were read, in microseconds.
    read_until: i64,
    unreadable_in_a_row: u32,
    /// Whether the last packet is shorter than its header says.
    ends_early: bool,
    /// So many packets may still tell that something is lost.
    doubted: u32,
}

impl PacketReader {
    /// A demuxer that reports garbage this often without a packet in between is not going to recover.
    const MAX_UNREADABLE_IN_A_ROW: u32 = 1000;

    /// A leap ahead of more than this, in microseconds, within so many packets of one that the demuxer doubts is a hole. Where
    /// recordings are joined or cut, packets are doubted as well, but nothing is missing.
    const HOLE: i64 = 200_000;
    const DOUBTED_PACKETS: u32 = 100;

    pub fn open(path: &Path, interrupt: Option<&Interrupt>, damage: Damage) -> Result<Self> {
        let input = open_input(path, interrupt)?;
        let clock = Clock::new(&input);
        let promised_duration = ffi::promised_duration(&input).filter(|_| counts_time(&input));
        Ok(Self {
            input,
            path: path.to_owned(),
            interrupt: interrupt.cloned(),
            damage,
            clock,
            promised_duration,
            discarded: Vec::new(),
            read_until: i64::MIN,
            unreadable_in_a_row: 0,
            ends_early: false,
            doubted: 0,
        })
    }

    pub fn input(&self) -> &Input {
        &self.input
    }

    /// Leaves out a stream that nobody wants. Where the clock may jump all streams are read, to see the same jumps; and
    /// where a header promises a duration, to see how far the longest of them goes.
    pub fn discard(&mut self, stream: usize) {
        if !self.clock.may_jump && self.promised_duration.is_none() {
            ffi::discard_stream(&mut self.input, stream);
            self.discarded.push(stream);
        }
    }

    /// What was added to the timestamps of the file so far because its clock starts anywhere, in microseconds.
    pub fn rebased_by(&self) -> i64 {
        self.clock.offset
    }

    /// How much time the header promises and no packet has, in microseconds; to be asked at the end of the file.
    pub fn missing_time(&self) -> i64 {
        self.promised_duration.map_or(0, |promised| promised.saturating_sub(self.read_until).clamp(0, promised))
    }

    /// Begins anew at the start of the file.
    ///
    /// # Errors
    /// If the file cannot be opened again.
    pub fn rewind(&mut self) -> Result<()> {
        let discarded = std::mem::take(&mut self.discarded);
        *self = Self::open(&self.path, self.interrupt.as_ref(), self.damage.clone())?;
        discarded.into_iter().for_each(|stream| self.discard(stream));
        Ok(())
    }

    /// Goes to a key frame of stream `video` near `time` (microseconds in the clock that this reader gives out), and to where
    /// else reading has to begin for what is shown from there on. Containers that seek by the time of decoding, or to a key
    /// frame whose leading pictures cannot be decoded without those before, may lead a little behind.
    ///
    /// Where the file cannot seek, reading starts at the beginning, which is told by `false`: slower, not wrong. Where the clock may jump, times
    /// are only known by reading, which is done twice: up to `time`, then up to the key frame.
    ///
    /// # Errors
    /// If reading was interrupted, or the file cannot be opened again.
    pub fn seek(&mut self, time: i64, video: usize) -> Result<bool> {
        if !self.clock.may_jump {
            // Of pictures without timestamps only their number tells the time.
            let can_seek = !ffi::has_no_timestamps(&self.input);
            if can_seek && self.input.seek(time, ..time.saturating_add(1)).is_ok() {
                return Ok(true);
            }
            tracing::debug!("cannot seek to {time} µs, reading from the start");
            self.rewind()?;
            return Ok(false);
        }
        let before = self.packets_before(time, video)?;
        self.rewind()?;
        for _ in 0..before {
            self.next()?;
        }
        Ok(true)
    }

    /// How many packets come before all that is needed to show what comes from `time` on: the last key frame of stream
    /// `video` at or before it, and whatever of other streams is stored earlier.
    fn packets_before(&self, time: i64, video: usize) -> Result<u64> {
        let mut packets = Self::open(&self.path, self.interrupt.as_ref(), Damage::default())?;
        let (mut read, mut key_frame, mut first_wanted) = (0, 0, None);
        while let Some(packet) = packets.next()? {
            let time_base = packets.input.stream(packet.stream()).map(|stream| stream.time_base());
            let microseconds = |value: Option<i64>| Some(rescale(value?, time_base?, MICROSECONDS));
            let is_video = packet.stream() == video;
            if is_video && microseconds(packet.dts()).is_some_and(|dts| dts > time) {
                break;
            }
            if microseconds(packet.pts().or(packet.dts())).is_some_and(|shown| shown >= time) {
                first_wanted.get_or_insert(read);
            }
            if is_video && packet.is_key() && microseconds(packet.pts()).is_some_and(|shown| shown <= time) {
                key_frame = read;
            }
            read += 1;
        }
        Ok(first_wanted.map_or(key_frame, |first| key_frame.min(first)))
    }

    /// The next packet of any stream, or `None` at the end.
    pub fn next(&mut self) -> Result<Option<Packet>> {
        let mut packet = Packet::empty();
        loop {
            let (read, complaints) = ffi::read_packet(&mut self.input, &mut packet);
            if complaints.of_error && matches!(read, Ok(()) | Err(Error::Eof)) {
                self.damage.add_unreadable();
            }
            if complaints.of_packet {
                self.doubted = Self::DOUBTED_PACKETS;
            }
            match read {
                Ok(()) => {
                    self.unreadable_in_a_row = 0;
                    self.ends_early = packet.is_corrupt() && !self.clock.may_jump;
                    let leap = self.clock.mend(&self.input, &mut packet);
                    if leap > Self::HOLE && self.doubted > 0 {
                        self.damage.add_unreadable();
                        self.doubted = 0;
                    }
                    self.doubted = self.doubted.saturating_sub(1);
                    self.note_end_of(&packet);
                    return Ok(Some(packet));
                }
                Err(Error::Eof) => {
                    if std::mem::take(&mut self.ends_early) && !complaints.of_error {
                        self.damage.add_unreadable();
                    }
                    return Ok(None);
                }
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

    fn note_end_of(&mut self, packet: &Packet) {
        let time_base = self.input.stream(packet.stream()).map(|stream| stream.time_base());
        if let (Some(time_base), Some(time)) = (time_base, packet.pts().or(packet.dts())) {
            let end = rescale(time.saturating_add(packet.duration().max(0)), time_base, MICROSECONDS);
            self.read_until = self.read_until.max(end);
        }
    }
}

/// Whether a container's header says how long the file is and not how many pictures it holds.
fn counts_time(input: &Input) -> bool {
    ["matroska", "flv"].iter().any(|name| input.format().name().contains(name))
}

/// Whether a file that could be opened ends in its head: it is no matter of the disk.
fn is_of_end(error: Error) -> bool {
    matches!(error, Error::Eof | Error::Other { errno: ffmpeg::error::EIO })
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
        Err(error) if error == Error::InvalidData || path.is_file() && is_of_end(error) => bail!(
            "'{}' is not a video that FFmpeg can read, or its index is missing (a recording that was cut off \
             before it was finished?)",
            shown(path)
        ),
        Err(error) => Err(error).with_context(|| format!("cannot read '{}'", shown(path))),
    }
}

/// Mends timestamps of containers whose clock is a broadcaster's: joined recordings start over, or leap.
struct Clock {
    may_jump: bool,
    /// Added to every timestamp of the newest clock, in microseconds.
    offset: i64,
    /// Of each stream.
    positions: Vec<Position>,
}

/// How far a stream is.
#[derive(Debug, Clone, Copy, Default)]
struct Position {
    /// What was added to its last packet: streams do not leave a clock at the same packet.
    offset: i64,
    /// Where the next packet is expected, after the offset.
    expected: Option<i64>,
}

impl Position {
    /// Takes up the offset of its clock.
    fn follow(&mut self, dts: i64, newest: &mut i64) {
        let Some(expected) = self.expected else {
            self.offset = *newest;
            return;
        };
        let step = |offset: i64| dts.saturating_add(offset).saturating_sub(expected);
        let (own, common) = (step(self.offset), step(*newest));
        if self.offset != *newest && common.abs() <= own.abs().min(Clock::MAX_LEAP) {
            self.offset = *newest;
        } else if !(-Clock::MAX_STEP_BACK..=Clock::MAX_LEAP).contains(&own) {
            self.offset = self.offset.saturating_sub(own);
            *newest = self.offset;
        }
    }
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
        Self {
            may_jump,
            offset: -start.unwrap_or(0),
            positions: vec![Position::default(); input.nb_streams() as usize],
        }
    }

    /// Mends the times of `packet`, and tells how far it leaps ahead of where its stream was, in microseconds; only where clocks may
    /// jump.
    fn mend(&mut self, input: &Input, packet: &mut Packet) -> i64 {
        let time_base = input.stream(packet.stream()).map(|stream| stream.time_base());
        let Some(time_base) = time_base.filter(|_| self.may_jump) else { return 0 };
        if self.positions.len() <= packet.stream() {
            self.positions.resize(packet.stream() + 1, Position::default());
        }
        // Subtitles and data come when they come.
        let is_steady = input
            .stream(packet.stream())
            .is_some_and(|stream| matches!(stream.parameters().medium(), media::Type::Video | media::Type::Audio));
        let mut leap = 0;
        let position = &mut self.positions[packet.stream()];
        match packet.dts().filter(|_| is_steady).map(|dts| rescale(dts, time_base, MICROSECONDS)) {
            Some(dts) => {
                position.follow(dts, &mut self.offset);
                let starts = dts.saturating_add(position.offset);
                leap = position.expected.map_or(0, |expected| starts.saturating_sub(expected));
                position.expected = Some(starts + rescale(packet.duration().max(0), time_base, MICROSECONDS));
            }
            None if is_steady && position.expected.is_some() => {}
            None => position.offset = self.offset,
        }
        let offset = rescale(position.offset, MICROSECONDS, time_base);
        packet.set_pts(packet.pts().map(|pts| pts + offset));
        packet.set_dts(packet.dts().map(|dts| dts + offset));
        leap
    }
}
