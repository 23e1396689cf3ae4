//! The video stream of a file: which one it is, what its container says of it, and its decoder.
//!
//! It says what stands in the way of reading, but reads no packet: that is the reader's.

use std::path::Path;

use anyhow::{Context, Result, bail};
use ffmpeg_next as ffmpeg;

use ffmpeg::codec::{self, decoder, packet, threading};
use ffmpeg::format::context::Input;
use ffmpeg::format::stream::Disposition;
use ffmpeg::{Rational, Stream, media};

use super::ffi;

/// Opens what the operating system can say better than FFmpeg.
pub fn check_is_readable(path: &Path) -> Result<()> {
    if super::is_url(path) {
        return Ok(());
    }
    let metadata = std::fs::metadata(path).with_context(|| format!("cannot read '{}'", path.display()))?;
    if metadata.is_dir() {
        bail!("'{}' is a directory (expected a video file)", path.display());
    }
    if !metadata.is_file() {
        bail!("'{}' is not a regular file (a video is read twice: once for pictures, once for sound)", path.display());
    }
    if metadata.len() == 0 {
        bail!("'{}' is empty", path.display());
    }
    std::fs::File::open(path).with_context(|| format!("cannot read '{}'", path.display()))?;
    Ok(())
}

/// The video stream that FFmpeg thinks best; a cover picture is none.
pub fn best_video_stream(input: &Input) -> Option<Stream<'_>> {
    let is_cover = |stream: &Stream<'_>| stream.disposition().contains(Disposition::ATTACHED_PIC);
    input.streams().best(media::Type::Video).filter(|stream| !is_cover(stream)).or_else(|| {
        input.streams().find(|stream| stream.parameters().medium() == media::Type::Video && !is_cover(stream))
    })
}

/// The kinds of streams in a file without video, to be put behind an error.
pub fn what_it_holds(input: &Input) -> String {
    let kinds: Vec<&str> = input
        .streams()
        .map(|stream| match stream.parameters().medium() {
            media::Type::Audio => "sound",
            media::Type::Subtitle => "subtitles",
            media::Type::Video => "a cover picture",
            _ => "data",
        })
        .collect();
    if kinds.is_empty() { String::new() } else { format!(" (only {})", kinds.join(", ")) }
}

/// Opens the decoder of a stream on `threads` threads; 0 leaves their number to FFmpeg.
pub fn open_decoder(stream: &Stream<'_>, threads: usize) -> Result<decoder::Video> {
    let parameters = stream.parameters();
    let id = parameters.id();
    let mut context = codec::Context::from_parameters(parameters)?;
    context.set_threading(threading::Config { count: threads, ..threading::Config::kind(threading::Type::Frame) });
    let mut decoder = context.decoder();
    decoder.set_packet_time_base(stream.time_base());
    // FFmpeg's own VP8 and VP9 decoders leave out the alpha channel that WebM carries beside the pictures.
    let has_alpha = ["alpha_mode", "ALPHA_MODE"].iter().any(|key| stream.metadata().get(key) == Some("1"));
    let with_alpha = match id {
        codec::Id::VP8 if has_alpha => ffmpeg::decoder::find_by_name("libvpx"),
        codec::Id::VP9 if has_alpha => ffmpeg::decoder::find_by_name("libvpx-vp9"),
        _ => None,
    };
    let codec = with_alpha
        .or_else(|| ffmpeg::decoder::find(id))
        .with_context(|| format!("this FFmpeg has no decoder for {}", id.name()))?;
    Ok(decoder.open_as(codec)?.video()?)
}

/// Frames a second on average; 0/1 where the file does not say.
pub fn frame_rate_of(stream: &Stream<'_>) -> Rational {
    let average = stream.avg_frame_rate();
    if is_rate(average) { average } else { steady_rate_of(stream) }
}

/// The slowest steady rate that has a picture at each timestamp, as FFmpeg saw it in the beginning; 0/1 where it does not say.
pub fn steady_rate_of(stream: &Stream<'_>) -> Rational {
    Some(stream.rate()).filter(|rate| is_rate(*rate)).unwrap_or(Rational(0, 1))
}

fn is_rate(rate: Rational) -> bool {
    rate.numerator() > 0 && rate.denominator() > 0
}

/// How many pictures of a stream a file says that it holds, as it is opened; 0 where it does not say.
#[derive(Debug, Clone, Copy)]
pub struct PromisedFrames {
    in_header: u64,
    in_index: u64,
}

impl PromisedFrames {
    pub fn of(input: &Input, stream: &Stream<'_>) -> Self {
        let frames = u64::try_from(stream.frames()).unwrap_or(0);
        match (ffi::index_entries(stream), input.format().name()) {
            // A trimmed MP4 holds more pictures than its edit list shows, and the index is of those.
            (entries, name) if entries > 0 && name.contains("mov") => {
                Self { in_header: frames.min(entries), in_index: frames.min(entries) }
            }
            // The header of an AVI counts moments too whose picture was left out, and its index does not.
            (entries, "avi") => Self { in_header: frames, in_index: entries },
            _ => Self { in_header: frames, in_index: 0 },
        }
    }

    /// For an estimate.
    pub fn most(self) -> u64 {
        self.in_header
    }

    /// How many are missing in a file that holds `there`. The index of an AVI stands at its end: where it has fewer
    /// than that, it is missing too, and its entries are those of the packets that were looked at.
    pub fn missing(self, there: u64) -> u64 {
        let promised = if self.in_index >= there { self.in_index } else { self.in_header };
        promised.saturating_sub(there)
    }
}

/// The filters that stand a picture upright, from the display matrix of its stream (a multiple of 90°, or mirrored).
pub fn rotation_of(stream: &Stream<'_>) -> Option<&'static str> {
    let side_data = stream.side_data().find(|data| data.kind() == packet::side_data::Type::DisplayMatrix)?;
    let entries: Vec<i32> =
        side_data.data().as_chunks::<4>().0.iter().map(|bytes| i32::from_ne_bytes(*bytes)).collect();
    // [a b; c d]: the picture's x axis goes to (a, b), its y axis to (c, d).
    let &[a, b, _, c, d, ..] = entries.as_slice() else { return None };
    match (a.signum(), b.signum(), c.signum(), d.signum()) {
        // Alone it only turns the order of rows around, which the filters behind it may hand on.
        (1, 0, 0, -1) => Some("vflip,copy"),
        (-1, 0, 0, 1) => Some("hflip"),
        (-1, 0, 0, -1) => Some("vflip,hflip"),
        (0, 1, -1, 0) => Some("transpose=clock"),
        (0, -1, 1, 0) => Some("transpose=cclock"),
        (0, 1, 1, 0) => Some("transpose=cclock_flip"),
        (0, -1, -1, 0) => Some("transpose=clock_flip"),
        _ => None,
    }
}
