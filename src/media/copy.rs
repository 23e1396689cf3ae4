//! Sound, subtitles and attachments: taken from the input packet by packet, without re-encoding.
//!
//! The copier reads the input a second time, on the sink's side, and keeps pace with the pictures that are written:
//! stages never carry packets, and memory stays bounded.

use anyhow::{Context, Result};
use ffmpeg_next as ffmpeg;

use ffmpeg::format::context::{Input, Output};
use ffmpeg::format::stream::Disposition;
use ffmpeg::{Dictionary, Packet, Rational, codec, media};

use super::containers::{self, is_mp4};
use super::cut::Window;
use super::packets::{Damage, PacketReader};
use super::reader::VideoReader;
use super::writer::WriterOptions;
use super::{MICROSECONDS, ffi, rescale};

/// So many packets of a stream in a row behind the end of a cut are no stray timestamps: nothing more of it is taken.
const PACKETS_PAST_THE_END: u32 = 32;

/// How long before the start of a cut subtitles are looked for that are still shown, in microseconds.
const LONGEST_SUBTITLE: i64 = 15_000_000;

/// Copies what is not pictures.
pub struct StreamCopier {
    packets: PacketReader,
    /// By index of the input's stream.
    routes: Vec<Option<Route>>,
    held: Option<Packet>,
    window: Window,
    /// Where chapters end at the latest, on the input's clock.
    chapters_end: Option<i64>,
    /// Whether the output can say that packets are there to be decoded and not to be heard, as a trimmed MP4 does.
    can_hide: bool,
    is_finished: bool,
}

struct Route {
    output: usize,
    last_dts: Option<i64>,
    kind: media::Type,
    /// Packets in a row behind the end of a cut.
    past_the_end: u32,
}

impl StreamCopier {
    /// Adds a stream to `output` for each of the input's that it can hold; the rest is named in `notes`.
    pub fn new(
        source: &VideoReader,
        options: &WriterOptions,
        output: &mut Output,
        notes: &mut Vec<String>,
    ) -> Result<Self> {
        let window = source.window();
        let mut packets = PacketReader::open(source.path(), options.interrupt.as_ref(), Damage::default())?;
        let mut routes = Vec::new();
        let mut left_out = Vec::new();
        let mut damaged = Vec::new();
        let mut not_copied = Vec::new();
        let count = packets.input().nb_streams() as usize;
        for index in 0..count {
            let route = add_stream(packets.input(), index, options.mute, output, &mut left_out, &mut damaged)?;
            if route.is_none() && index != source.stream() {
                not_copied.extend(name_of_other(packets.input(), index));
            }
            if route.is_none() {
                packets.discard(index);
            }
            routes.push(route);
        }
        if !left_out.is_empty() {
            notes.push(format!("left out, {} cannot hold it: {}", output.format().name(), left_out.join(", ")));
        }
        if !damaged.is_empty() {
            notes.push(format!("left out, damaged (without the header of its codec): {}", damaged.join(", ")));
        }
        if !not_copied.is_empty() {
            notes.push(format!("left out: {}", not_copied.join(", ")));
        }
        if let Some(start) = source.sought() {
            let has_subtitles = routes.iter().flatten().any(Route::is_subtitles);
            let before = if has_subtitles { LONGEST_SUBTITLE } else { 0 };
            packets.seek(start.saturating_sub(before), source.stream())?;
        }
        copy_metadata(packets.input(), output);
        let is_finished = routes.iter().all(Option::is_none);
        let can_hide = is_mp4(output.format().name());
        let chapters_end = source.latest_end();
        Ok(Self { packets, routes, held: None, window, chapters_end, can_hide, is_finished })
    }

    /// Takes over the chapters, as far as the output goes: what is known of that.
    pub fn copy_chapters(&self, output: &mut Output) -> Result<()> {
        let Window { start: first, shift, .. } = self.window;
        for chapter in self.packets.input().chapters() {
            let time = |value: i64| rescale(value, chapter.time_base(), MICROSECONDS);
            let start = first.map_or(time(chapter.start()), |first| first.max(time(chapter.start())));
            let end = self.chapters_end.map_or(time(chapter.end()), |last| last.min(time(chapter.end())));
            if start >= end {
                continue;
            }
            let metadata = chapter.metadata();
            let title = metadata.get("title").unwrap_or_default();
            output
                .add_chapter(chapter.id(), MICROSECONDS, start - shift, end - shift, title)
                .context("copy the chapters")?;
        }
        Ok(())
    }

    /// Writes all packets whose decoding time is at most `limit` (microseconds on the output's clock); all there are
    /// if `None`.
    pub fn copy_until(&mut self, output: &mut Output, limit: Option<i64>) -> Result<()> {
        while !self.is_finished {
            let packet = match self.held.take() {
                Some(packet) => packet,
                None => match self.packets.next()? {
                    Some(packet) => packet,
                    None => {
                        self.is_finished = true;
                        break;
                    }
                },
            };
            let mut packet = packet;
            let Some(Some(route)) = self.routes.get_mut(packet.stream()) else { continue };
            let Some(time_base) = self.packets.input().stream(packet.stream()).map(|stream| stream.time_base()) else {
                continue;
            };
            // Some containers hold packets with nothing in them, which no muxer takes.
            let is_nothing = packet.size() == 0 && packet.side_data().next().is_none();
            if is_nothing || !self.can_hide && ffi::is_hidden(&packet) {
                continue;
            }
            // A packet without any time belongs where it stands.
            let time = |value: Option<i64>| value.map(|value| rescale(value, time_base, MICROSECONDS));
            let dts = time(packet.dts().or(packet.pts())).map(|dts| dts - self.window.shift);
            if limit.zip(dts).is_some_and(|(limit, dts)| dts > limit) {
                self.held = Some(packet);
                return Ok(());
            }
            if let Some(start) = self.window.start.filter(|_| route.is_subtitles()) {
                begin_not_before(rescale(start, MICROSECONDS, time_base), &mut packet);
            }
            if let Some(pts) = time(packet.pts().or(packet.dts())) {
                let is_past = self.window.end.is_some_and(|end| pts >= end);
                route.past_the_end = if is_past { route.past_the_end + 1 } else { 0 };
                if !self.window.contains(pts) {
                    // Sound comes all along, and tells when there is nothing more to come; reading on might take minutes.
                    self.is_finished = is_past && self.is_past_the_end();
                    continue;
                }
            }
            route.write(packet, time_base, self.window.shift, output)?;
        }
        Ok(())
    }

    /// Whether all of the sound, of which there is some, lies behind.
    fn is_past_the_end(&self) -> bool {
        let mut sound = self.routes.iter().flatten().filter(|route| route.kind == media::Type::Audio).peekable();
        sound.peek().is_some() && sound.all(|route| route.past_the_end >= PACKETS_PAST_THE_END)
    }

    /// Takes nothing from `end` on (microseconds on the output's clock): for a clip that stops before its file does.
    pub fn end_at(&mut self, end: i64) {
        let end = end.saturating_add(self.window.shift);
        for known in [&mut self.window.end, &mut self.chapters_end] {
            *known = Some(known.map_or(end, |known| known.min(end)));
        }
    }
}

impl Route {
    fn is_subtitles(&self) -> bool {
        self.kind == media::Type::Subtitle
    }

    fn write(&mut self, mut packet: Packet, time_base: Rational, shift: i64, output: &mut Output) -> Result<()> {
        let Some(output_time_base) = output.stream(self.output).map(|stream| stream.time_base()) else { return Ok(()) };
        let shift = rescale(shift, MICROSECONDS, time_base);
        packet.set_pts(packet.pts().or(packet.dts()).map(|pts| pts - shift));
        packet.set_dts(packet.dts().or(packet.pts()).map(|dts| dts - shift));
        packet.rescale_ts(time_base, output_time_base);
        // Subtitles may begin together.
        let least_step = i64::from(!self.is_subtitles());
        // Muxers refuse a step back; where two clocks were joined a packet may overlap the one before.
        if let (Some(dts), Some(last)) = (packet.dts(), self.last_dts)
            && dts < last + least_step
        {
            let next = last + least_step;
            packet.set_dts(Some(next));
            packet.set_pts(packet.pts().map(|pts| pts.max(next)));
        }
        self.last_dts = packet.dts().or(self.last_dts);
        packet.set_stream(self.output);
        packet.set_position(-1);
        packet.write_interleaved(output).context("write the copied sound and subtitles")
    }
}

/// A subtitle that is still shown at `start` (in the packet's time base) begins there.
fn begin_not_before(start: i64, packet: &mut Packet) {
    let Some(shown) = packet.pts().or(packet.dts()) else { return };
    let end = shown.saturating_add(packet.duration());
    if shown < start && end > start {
        packet.set_pts(Some(start));
        packet.set_dts(Some(start));
        packet.set_duration(end - start);
    }
}

fn add_stream(
    input: &Input,
    index: usize,
    mute: bool,
    output: &mut Output,
    left_out: &mut Vec<String>,
    damaged: &mut Vec<String>,
) -> Result<Option<Route>> {
    let Some(stream) = input.stream(index) else { return Ok(None) };
    let parameters = stream.parameters();
    let (codec, medium) = (parameters.id(), parameters.medium());
    let kind = match medium {
        media::Type::Audio if mute => return Ok(None),
        media::Type::Audio => "audio",
        media::Type::Subtitle => "subtitles",
        media::Type::Attachment => "attachment",
        _ => return Ok(None),
    };
    let can_hold = match medium {
        media::Type::Attachment => output.format().name().contains("matroska"),
        _ => codec != codec::Id::None && containers::can_hold(output, codec),
    };
    if !can_hold {
        left_out.push(format!("{kind} stream {index} ({})", codec.name()));
        return Ok(None);
    }
    if lacks_header(&parameters)? {
        damaged.push(format!("{kind} stream {index} ({})", codec.name()));
        return Ok(None);
    }
    let mut added = output.add_stream(ffmpeg::encoder::find(codec::Id::None)).context("add a stream to the output")?;
    added.set_parameters(parameters);
    added.set_time_base(stream.time_base());
    added.set_metadata(stream.metadata().iter().collect::<Dictionary<'_>>());
    let added = added.index();
    ffi::set_codec_tag(output, added, [0; 4]);
    ffi::set_disposition(output, added, ffi::disposition_bits(&stream));
    Ok(Some(Route { output: added, last_dts: None, kind: medium, past_the_end: 0 }))
}

/// Whether a stream has lost what nobody can decode it without: a muxer would refuse the whole file.
fn lacks_header(parameters: &codec::Parameters) -> Result<bool> {
    let is_needed = matches!(parameters.id(), codec::Id::VORBIS | codec::Id::FLAC | codec::Id::OPUS | codec::Id::ALAC);
    if !is_needed {
        return Ok(false);
    }
    let context = codec::Context::from_parameters(parameters.clone()).context("look at a stream")?;
    Ok(ffi::extradata(&context.encoder()).is_empty())
}

/// A stream that is never copied.
fn name_of_other(input: &Input, index: usize) -> Option<String> {
    let stream = input.stream(index)?;
    let parameters = stream.parameters();
    let is_cover = stream.disposition().contains(Disposition::ATTACHED_PIC);
    let kind = match parameters.medium() {
        media::Type::Audio | media::Type::Subtitle | media::Type::Attachment => return None,
        media::Type::Video if is_cover => "cover picture",
        media::Type::Video => "video",
        // In MP4 the names of chapters, which are copied.
        _ if parameters.id() == codec::Id::BIN_DATA && input.nb_chapters() > 0 => return None,
        _ => "data",
    };
    Some(format!("{kind} stream {index} ({})", parameters.id().name()))
}

/// Tags of the video stream that hold for its painting as well.
const TAGS_OF_THE_VIDEO: &[&str] = &["language", "title"];

/// Takes over what the input calls its video.
pub fn copy_video_metadata(source: &VideoReader, output: &mut Output, stream: usize) {
    let tags = TAGS_OF_THE_VIDEO.iter().filter_map(|tag| Some(((*tag).to_owned(), source.tag(tag)?)));
    if let Some(mut stream) = output.stream_mut(stream) {
        stream.set_metadata(tags.collect());
    }
}

/// Tags that describe the old file and not its content.
const TAGS_OF_THE_FILE: &[&str] = &["major_brand", "minor_version", "compatible_brands", "encoder", "duration"];

fn copy_metadata(input: &Input, output: &mut Output) {
    let metadata: Vec<(String, String)> = input
        .metadata()
        .iter()
        .filter(|(key, _)| !TAGS_OF_THE_FILE.contains(&key.to_ascii_lowercase().as_str()))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    output.set_metadata(metadata.into_iter().collect());
}
