//! From a file to frames: decoded, upright, progressive, opaque, in RGB, each with its own timestamp.

mod frames;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use ffmpeg_next as ffmpeg;

use ffmpeg::codec::decoder;
use ffmpeg::{Error, Rational, frame};

use super::color::ColorTags;
use super::converter::Converter;
use super::cut::{Cut, Time, Window};
use super::info::VideoInfo;
use super::packets::{Damage, PacketReader};
use super::stream::{
    PromisedFrames, best_video_stream, check_is_readable, frame_rate_of, open_decoder, rotation_of, steady_rate_of,
    what_it_holds,
};
use super::{Interrupt, MICROSECONDS, ffi, rescale, shown};
use crate::frame::{Frame, FramePool, FrameSize, Timestamp};

/// How a file is read.
#[derive(Clone)]
pub struct ReaderOptions {
    /// Which part; all by default.
    pub cut: Cut,
    /// Threads of the decoder; 0 leaves it to FFmpeg.
    pub threads: usize,
    /// Asked by blocking reads; `true` ends them with an error.
    pub interrupt: Option<Interrupt>,
    /// Where frames come from.
    pub pool: FramePool,
    /// Whether pictures of other pixels are stretched to square ones, for where nobody is told of their shape.
    pub square_pixels: bool,
    /// Whether pictures that have opacity are given as it: white where they are opaque.
    pub opacity: bool,
}

impl Default for ReaderOptions {
    fn default() -> Self {
        Self {
            cut: Cut::default(),
            threads: 0,
            interrupt: None,
            pool: FramePool::new(),
            square_pixels: false,
            opacity: false,
        }
    }
}

/// Reads the video stream of a file, frame by frame.
pub struct VideoReader {
    path: PathBuf,
    packets: PacketReader,
    decoder: decoder::Video,
    stream: usize,
    damage: Damage,
    pool: FramePool,
    cut: Cut,
    /// When the first picture is shown, in microseconds.
    origin: i64,
    window: Window,
    /// Where reading began, unless that is the start of the file.
    sought: Option<i64>,
    /// When the first picture is shown that was decoded from there, wanted or not.
    first_decoded: Option<i64>,
    info: VideoInfo,

    decoded: frame::Video,
    converter: Converter,
    promised_frames: PromisedFrames,
    pending: VecDeque<Frame>,
    /// Whether pictures are passed by now, and how many have been that nobody has asked for.
    is_passing_by: bool,
    passed_by: u64,
    state: State,
    packets_read: u64,
    frames_given: u64,
    last_timestamp: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Reading,
    Draining,
    Ended,
}

impl VideoReader {
    /// Microseconds by which a header's duration may be longer than what the packets say: a last picture or piece of
    /// sound without a duration of its own.
    const ROUNDING_OF_DURATIONS: i64 = 1_000_000;

    /// Opens a file and decodes its first frame, so that what [`VideoReader::info`] says is what comes.
    ///
    /// # Errors
    /// If the file cannot be read, holds no video, or not one frame of the wanted part can be decoded.
    pub fn open(path: &Path, options: ReaderOptions) -> Result<Self> {
        super::init()?;
        check_is_readable(path)?;
        let damage = Damage::default();
        let mut packets = PacketReader::open(path, options.interrupt.as_ref(), damage.clone())?;
        let input = packets.input();
        let stream = best_video_stream(input)
            .with_context(|| format!("'{}' holds no video stream{}", shown(path), what_it_holds(input)))?;
        let decoder = open_decoder(&stream, options.threads)
            .with_context(|| format!("cannot decode the video of '{}'", shown(path)))?;
        let (rotation, frame_rate, steady_rate) =
            (rotation_of(&stream), frame_rate_of(&stream), steady_rate_of(&stream));
        let (time_base, start) = (stream.time_base(), stream.start_time());
        let promised_frames = PromisedFrames::of(input, &stream);
        let container_shape = ffi::container_aspect_ratio(&stream);
        let stream = stream.index();

        let rebased = packets.rebased_by();
        let origin = ffi::known_time(start)
            .map(|start| rescale(start, time_base, MICROSECONDS))
            .or_else(|| ffi::start_time(packets.input()))
            .unwrap_or(0)
            + rebased;
        let cut = options.cut.within_reach();
        let start = cut.start.map(|time| origin + time.0);
        let window = Window {
            start,
            end: cut.end.map(|time| origin + time.0),
            shift: start.map_or(0, |start| rescale(rescale(start, MICROSECONDS, time_base), time_base, MICROSECONDS)),
        };
        for other in 0..packets.input().nb_streams() as usize {
            if other != stream {
                packets.discard(other);
            }
        }
        let mut reader = Self {
            path: path.to_owned(),
            info: VideoInfo {
                size: FrameSize::new(decoder.width() as usize, decoder.height() as usize),
                time_base,
                frame_rate,
                steady_rate,
                sample_aspect_ratio: Rational(0, 1),
                color: ColorTags::of_frame(&frame::Video::empty()),
                expected_frames: None,
                codec: decoder.codec().map(|codec| codec.name().to_owned()).unwrap_or_default(),
                notes: Vec::new(),
            },
            packets,
            decoder,
            stream,
            damage,
            pool: options.pool,
            cut,
            origin,
            window,
            sought: None,
            first_decoded: None,
            decoded: frame::Video::empty(),
            converter: Converter::new(rotation, container_shape, options.square_pixels, options.opacity),
            promised_frames,
            pending: VecDeque::new(),
            is_passing_by: false,
            passed_by: 0,
            state: State::Reading,
            packets_read: 0,
            frames_given: 0,
            last_timestamp: None,
        };
        reader.info.expected_frames = reader.estimate_frames();
        if rebased != 0 {
            reader.note("the clock of the file starts at an arbitrary time: timestamps count from its start");
        }
        reader.begin()?;
        if reader.pending.is_empty() {
            match (reader.damage.describe(), reader.cut.start.is_some() || reader.cut.end.is_some()) {
                (Some(damage), _) => bail!("no frame of '{}' can be decoded ({damage})", shown(path)),
                (None, false) => bail!("'{}' holds no frames", shown(path)),
                (None, true) => bail!("'{}' has no frames in the chosen part", shown(path)),
            }
        }
        Ok(reader)
    }

    /// Decodes the first frame of the wanted part. A seek may have led behind where that begins (see [`PacketReader::seek`]):
    /// then it is tried again from further ahead of it, and at last from the start of the file.
    fn begin(&mut self) -> Result<()> {
        const FIRST_STEP_BACK: i64 = 2_000_000;
        let Some(start) = self.window.start else { return self.decode_first() };
        let mut step = 0;
        loop {
            self.sought = Some(start - step).filter(|target| *target > self.origin);
            match self.sought {
                Some(target) if self.packets.seek(target, self.stream)? => {}
                Some(_) => self.sought = None,
                None if step > 0 => self.packets.rewind()?,
                None => {}
            }
            self.decode_first()?;
            if self.sought.is_none() || self.first_decoded.is_some_and(|first| first <= start) {
                return Ok(());
            }
            step = (step * 8).max(FIRST_STEP_BACK);
            self.forget();
        }
    }

    fn decode_first(&mut self) -> Result<()> {
        while self.pending.is_empty() && self.state != State::Ended {
            self.advance()?;
        }
        Ok(())
    }

    /// Makes ready for packets from elsewhere.
    fn forget(&mut self) {
        self.decoder.flush();
        self.damage.clear();
        self.pending.clear();
        self.converter.forget();
        (self.last_timestamp, self.first_decoded) = (None, None);
        (self.state, self.packets_read) = (State::Reading, 0);
    }

    /// What comes.
    pub fn info(&self) -> &VideoInfo {
        &self.info
    }

    /// The file that is read.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// When the next frame is shown that is ready, counted from the first one of the file as [`Cut`] counts.
    pub fn begins_at(&self) -> Time {
        let start = self.cut.start.map_or(0, |start| start.0);
        let of_part = self.pending.front().map_or(0, |frame| frame.timestamp.pts);
        Time(start + rescale(of_part, self.info.time_base, MICROSECONDS))
    }

    /// What is wrong with the file, live while it is read.
    pub fn damage(&self) -> Damage {
        self.damage.clone()
    }

    /// Whether it comes in parts of some seconds each (HLS, DASH), as fast as they can be had.
    pub(super) fn comes_in_parts(&self) -> bool {
        ["hls", "dash"].contains(&self.packets.input().format().name())
    }

    /// A tag of the stream.
    pub(super) fn tag(&self, key: &str) -> Option<String> {
        self.packets.input().stream(self.stream)?.metadata().get(key).map(str::to_owned)
    }

    /// The stream whose pictures it gives.
    pub(super) fn stream(&self) -> usize {
        self.stream
    }

    /// The wanted part in the clock of the file.
    pub(super) fn window(&self) -> Window {
        self.window
    }

    /// Where reading began, in the clock of the file, unless that is its start.
    pub(super) fn sought(&self) -> Option<i64> {
        self.sought
    }

    /// When the wanted part ends at the latest, in the clock of the file, as far as that is known beforehand.
    pub(super) fn latest_end(&self) -> Option<i64> {
        let rate = self.info.frame_rate;
        let by_count = self.cut.frames.filter(|_| rate.numerator() > 0).and_then(|frames| {
            let length = rescale(i64::try_from(frames).ok()?, rate.invert(), MICROSECONDS);
            self.window.start.unwrap_or(self.origin).checked_add(length)
        });
        self.window.end.into_iter().chain(by_count).min()
    }

    /// The next frame, or `None` at the end. Blocks while the file is read and decoded.
    ///
    /// Damage ends nothing: what can be decoded comes, and [`VideoReader::damage`] counts the rest.
    ///
    /// # Errors
    /// If reading was interrupted, or FFmpeg fails in a way that is no property of the file.
    pub fn next_frame(&mut self) -> Result<Option<Frame>> {
        self.is_passing_by = false;
        while self.pending.is_empty() && !self.has_ended() {
            self.advance()?;
        }
        let frame = self.pending.pop_front().filter(|_| !self.has_given_all());
        Ok(frame.map(|mut frame| {
            frame.frame_index = self.frames_given;
            self.frames_given += 1;
            frame
        }))
    }

    /// Passes by the next frame: it is decoded and counted as if it came, and not converted. `false` at the end.
    ///
    /// # Errors
    /// As [`VideoReader::next_frame`].
    pub fn pass_by(&mut self) -> Result<bool> {
        self.is_passing_by = true;
        while self.pending.is_empty() && self.passed_by == 0 && !self.has_ended() {
            self.advance()?;
        }
        if self.has_given_all() || self.pending.is_empty() && self.passed_by == 0 {
            return Ok(false);
        }
        if self.pending.pop_front().is_none() {
            self.passed_by -= 1;
        }
        self.frames_given += 1;
        Ok(true)
    }

    fn has_given_all(&self) -> bool {
        self.cut.frames.is_some_and(|frames| self.frames_given >= frames)
    }

    fn has_ended(&self) -> bool {
        self.state == State::Ended || self.has_given_all()
    }

    /// One step of work: take a frame from the decoder, or feed it a packet.
    fn advance(&mut self) -> Result<()> {
        match self.decoder.receive_frame(&mut self.decoded) {
            Ok(()) => self.convert_decoded(),
            Err(Error::Eof) => {
                self.drain_converter()?;
                self.state = State::Ended;
                Ok(())
            }
            Err(Error::Other { errno: ffmpeg::error::EAGAIN }) => self.feed_decoder(),
            Err(Error::InvalidData) => {
                self.damage.add_undecodable();
                Ok(())
            }
            Err(error) => Err(error).with_context(|| format!("cannot decode '{}'", shown(&self.path))),
        }
    }

    fn feed_decoder(&mut self) -> Result<()> {
        if self.state == State::Draining {
            // A decoder that wants more after the end has nothing more to give.
            self.state = State::Ended;
            return self.drain_converter();
        }
        let Some(packet) = self.packets.next()? else {
            self.note_missing_frames();
            self.state = State::Draining;
            // A decoder with threads may only now report what was wrong with an earlier packet.
            if self.decoder.send_eof().is_err() {
                self.damage.add_undecodable();
            }
            return Ok(());
        };
        if packet.stream() != self.stream {
            return Ok(());
        }
        self.packets_read += 1;
        match self.decoder.send_packet(&packet) {
            Ok(()) | Err(Error::Eof) => Ok(()),
            Err(error @ (Error::Bug | Error::Other { errno: ffmpeg::error::ENOMEM })) => {
                Err(error).with_context(|| format!("cannot decode '{}'", shown(&self.path)))
            }
            Err(_) => {
                self.damage.add_undecodable();
                Ok(())
            }
        }
    }

    /// A file whose index promises more pictures than it holds, or whose header promises more time, was cut off.
    fn note_missing_frames(&mut self) {
        let missing_time = self.packets.missing_time();
        if missing_time > Self::ROUNDING_OF_DURATIONS {
            let frames = missing_time as f64 / 1e6 * f64::from(self.info.frame_rate);
            self.damage.add_missing(frames.round().max(1.0) as u64);
        } else if self.window.start.is_none() {
            self.damage.add_missing(self.promised_frames.missing(self.packets_read));
        }
    }

    fn note(&mut self, text: &str) {
        if !self.info.notes.iter().any(|note| note == text) {
            self.info.notes.push(text.to_owned());
            if self.frames_given > 0 {
                tracing::warn!("'{}': {text}", shown(&self.path));
            }
        }
    }

    fn estimate_frames(&self) -> Option<u64> {
        let (rate, origin) = (f64::from(self.info.frame_rate), self.origin);
        let whole = Some(self.promised_frames.most()).filter(|frames| *frames > 0);
        let duration = ffi::known_time(self.packets.input().duration()).filter(|duration| *duration > 0);
        let in_part = if self.cut.start.is_none() && self.cut.end.is_none() && whole.is_some() {
            whole
        } else {
            let start = self.window.start.unwrap_or(origin);
            // Matroska counts from 0, wherever its pictures start.
            let counts_from_0 = self.packets.input().format().name().contains("matroska");
            let end_of_file = duration.map(|duration| match counts_from_0 && duration > origin {
                true => duration,
                false => origin + duration,
            });
            let end = match (self.window.end, end_of_file) {
                (Some(wanted), Some(there)) => Some(wanted.min(there)),
                (wanted, there) => wanted.or(there),
            };
            end.filter(|_| rate > 0.0).map(|end| (((end - start).max(0) as f64 / 1e6) * rate).round() as u64)
        };
        match (in_part, self.cut.frames) {
            (Some(part), Some(wanted)) => Some(part.min(wanted)),
            (part, wanted) => part.or(wanted),
        }
    }
}
