//! From the decoder's pictures to frames: converted, each with its own timestamp, those of the wanted part only.

use anyhow::{Context, Result, ensure};
use ffmpeg_next as ffmpeg;

use ffmpeg::{Rational, frame};

use super::super::filter::FilterInput;
use super::super::{MICROSECONDS, rescale, shown};
use super::{State, VideoReader};
use crate::frame::{CHANNELS, Frame, FrameSize, Timestamp};

impl VideoReader {
    pub(super) fn convert_decoded(&mut self) -> Result<()> {
        if self.decoded.is_corrupt() || self.decoded.has_decode_errors() {
            self.damage.add_concealed();
        }
        let pts = self.decoded.timestamp();
        self.decoded.set_pts(pts);
        let size = FrameSize::new(self.decoded.width() as usize, self.decoded.height() as usize);
        if size.pixels() == 0 {
            self.damage.add_undecodable();
            return Ok(());
        }
        let input = self.converter.look_at(&mut self.decoded, size, self.info.time_base);
        // What is deinterlaced depends on the pictures around it.
        let is_bare = self.is_passing_by && !self.converter.is_interlaced();
        if !self.converter.takes(&input, is_bare) {
            if self.converter.is_other_shape(&input) && !self.is_at_first() {
                self.note("the shape of its pixels changes on the way: all are shown in that of the first ones");
            }
            self.drain_converter()?;
            if is_bare {
                self.converter.open_bare(input)?;
            } else {
                self.open_converter(input)?;
            }
        }
        self.converter.put(&self.decoded)?;
        self.collect_converted()
    }

    /// The first picture decides the size and the colours of the output.
    fn open_converter(&mut self, input: FilterInput) -> Result<()> {
        let is_first = self.is_at_first();
        let conversion = self
            .converter
            .open(input, (!is_first).then_some(self.info.size))
            .with_context(|| format!("cannot convert the frames of '{}'", shown(&self.path)))?;
        if is_first {
            self.info.color = conversion.color;
        }
        conversion.notes.into_iter().for_each(|note| self.note(note));
        Ok(())
    }

    /// Whether no picture has come yet.
    fn is_at_first(&self) -> bool {
        self.frames_given == 0 && self.pending.is_empty()
    }

    pub(super) fn drain_converter(&mut self) -> Result<()> {
        self.converter.end()?;
        self.collect_converted()?;
        self.converter.forget();
        Ok(())
    }

    fn collect_converted(&mut self) -> Result<()> {
        while let Some(time_base) = self.converter.take()? {
            let timestamp = self.timestamp_of_converted(time_base);
            let time = rescale(timestamp.pts, self.info.time_base, MICROSECONDS);
            self.first_decoded.get_or_insert(time);
            self.last_timestamp = Some(timestamp);
            if self.window.end.is_some_and(|end| time >= end) {
                self.state = State::Ended;
                break;
            }
            if !self.window.contains(time) {
                continue;
            }
            if self.converter.is_bare() {
                self.passed_by += 1;
                continue;
            }
            if self.is_at_first() {
                let picture = self.converter.converted();
                self.info.size = FrameSize::new(picture.width() as usize, picture.height() as usize);
                self.info.sample_aspect_ratio = picture.aspect_ratio();
            }
            let mut frame = self.pool.take(self.info.size);
            let in_time_base = |time| rescale(time, MICROSECONDS, self.info.time_base);
            let left = self.window.end.map_or(i64::MAX, |end| (in_time_base(end) - timestamp.pts).max(1));
            frame.timestamp = Timestamp {
                pts: timestamp.pts - in_time_base(self.window.shift),
                duration: timestamp.duration.min(left),
            };
            copy_rows(self.converter.converted(), &mut frame)?;
            self.pending.push_back(frame);
        }
        Ok(())
    }

    /// The frame's own timestamp; where it has none, the one that follows the last. Where it does not grow, the next tick, so that
    /// the frames after it keep theirs; but a clock that is far behind the last frame does not catch up, and the rest follows one another.
    fn timestamp_of_converted(&self, filter_time_base: Rational) -> Timestamp {
        let (picture, time_base) = (self.converter.converted(), self.info.time_base);
        let duration = match picture.packet().duration {
            known if known > 0 && filter_time_base == time_base => known,
            _ => default_duration(self.info.frame_rate, time_base),
        };
        let second = rescale(1_000_000, MICROSECONDS, time_base);
        let pts = picture.pts().map(|pts| rescale(pts, filter_time_base, time_base));
        let pts = match (pts, self.last_timestamp) {
            (Some(pts), Some(last)) if pts <= last.pts && last.pts - pts <= second => last.pts + 1,
            (Some(pts), Some(last)) if pts > last.pts => pts,
            (Some(pts), None) => pts,
            (_, Some(last)) => last.pts + last.duration.max(1),
            (None, None) => rescale(self.sought.unwrap_or(self.origin), MICROSECONDS, time_base),
        };
        Timestamp { pts, duration }
    }
}

fn default_duration(frame_rate: Rational, time_base: Rational) -> i64 {
    if frame_rate.numerator() > 0 { rescale(1, frame_rate.invert(), time_base).max(1) } else { 0 }
}

fn copy_rows(picture: &frame::Video, frame: &mut Frame) -> Result<()> {
    let row = frame.size.width * CHANNELS;
    let stride = picture.stride(0);
    // Rows that run upwards in memory have a negative length.
    ensure!(isize::try_from(stride).is_ok_and(|stride| stride >= row as isize), "a frame has rows of {stride} bytes");
    let source = picture.data(0);
    for (target, source) in frame.pixels_mut().chunks_exact_mut(row).zip(source.chunks(stride)) {
        target.copy_from_slice(&source[..row]);
    }
    Ok(())
}
