//! From frames to packets: converted to the encoder's format with the video's matrix and range, and encoded.

use anyhow::{Context, Result, bail};
use ffmpeg_next as ffmpeg;

use ffmpeg::color::{Primaries, Range, Space, TransferCharacteristic};
use ffmpeg::format::Pixel;
use ffmpeg::format::context::Output;
use ffmpeg::{Error, Packet, Rational, codec, encoder, frame};

use super::color::ColorTags;
use super::containers::{Needs, is_mp4};
use super::encoder::{self as choice, Candidate, EncoderSettings};
use super::filter::{FilterChain, FilterInput};
use super::journal::FrameEnd;
use super::{MICROSECONDS, VideoInfo, ffi, rescale};
use crate::frame::{CHANNELS, Frame};

/// An open encoder and the way to it.
pub struct PictureEncoder {
    encoder: encoder::video::Encoder,
    name: String,
    time_base: Rational,
    default_duration: i64,
    chain: FilterChain,
    rgb: frame::Video,
    converted: frame::Video,
    info: VideoInfo,
    note: Option<String>,
    /// The first frame that this encoder took.
    first_pts: Option<i64>,
    /// The last one, or what came before its first.
    last_pts: Option<i64>,
    end: i64,
    widest_gap: i64,
}

impl PictureEncoder {
    /// Opens the first of `candidates` that takes frames like `info`.
    ///
    /// # Errors
    /// If none of them can take such frames, or knows a setting.
    pub fn open(
        info: &VideoInfo,
        settings: &EncoderSettings,
        candidates: &[Candidate],
        container: Needs,
    ) -> Result<Self> {
        let opened = choice::open(info, settings, candidates, container)?;
        let info = VideoInfo { color: opened.color, ..info.clone() };
        let rgb = frame::Video::new(Pixel::RGB24, u32::try_from(info.size.width)?, u32::try_from(info.size.height)?);
        let chain = FilterChain::new(&rgb_input(&info), &to_encoder(&info, opened.pixel))?;
        Ok(Self {
            encoder: opened.encoder,
            name: opened.name,
            time_base: opened.time_base,
            default_duration: 0,
            chain,
            rgb,
            converted: frame::Video::empty(),
            info,
            note: opened.note,
            first_pts: None,
            last_pts: None,
            end: 0,
            widest_gap: 0,
        })
    }

    /// FFmpeg's name of the encoder.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What a person should know: an unusual pixel format.
    pub fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// Unit of the packets' timestamps, in seconds.
    pub fn time_base(&self) -> Rational {
        self.time_base
    }

    /// Where the last frame ends, in microseconds.
    pub fn end_of_last(&self) -> i64 {
        self.end
    }

    /// The longest time without a frame between two, in microseconds.
    pub fn widest_gap(&self) -> i64 {
        self.widest_gap
    }

    /// The last frame; `None` if there was none.
    pub fn last(&self) -> Option<FrameEnd> {
        self.last_pts.map(|pts| FrameEnd { pts, end: self.end })
    }

    /// Lets the first frame follow one that another encoder took.
    pub fn follow(&mut self, last: FrameEnd) {
        (self.last_pts, self.end) = (Some(last.pts), last.end);
    }

    /// Whether its packets can follow those of another encoder of the same settings. Some number all pictures of a file, begin with the
    /// head of the file, or lead to pictures in memory.
    pub fn can_follow(&self) -> bool {
        !matches!(self.codec(), codec::Id::GIF | codec::Id::APNG | codec::Id::DIRAC | codec::Id::WRAPPED_AVFRAME)
    }

    /// What decides whether packets of two encoders can stand in one video, in a line.
    pub fn identity(&self) -> String {
        let header = crc32fast::hash(ffi::extradata(&self.encoder));
        let pixel = self.encoder.format().descriptor().map_or("unknown", |descriptor| descriptor.name());
        format!("{} {pixel} {} {header:08x}", self.name, self.time_base)
    }

    fn codec(&self) -> codec::Id {
        self.encoder.codec().map_or(codec::Id::None, |codec| codec.id())
    }

    /// Adds the video as a stream of `output`.
    ///
    /// # Errors
    /// If the container refuses.
    pub fn add_stream(&self, output: &mut Output) -> Result<()> {
        let container = output.format().name().to_owned();
        add_video_stream(output, &self.encoder, &self.info, self.time_base, &container)
    }

    /// Takes a frame. Blocks while it is encoded, or waits behind others.
    ///
    /// # Errors
    /// If the frame has another size, or encoding fails.
    pub fn put(&mut self, picture: &Frame) -> Result<()> {
        self.put_at(picture, picture.timestamp.pts)
    }

    /// Takes a frame that is shown at `pts` (in the time base of its video), whatever its timestamp says.
    ///
    /// # Errors
    /// As [`PictureEncoder::put`].
    pub fn put_at(&mut self, picture: &Frame, pts: i64) -> Result<()> {
        picture.check_size()?;
        if picture.size != self.info.size {
            bail!("a frame of {} does not fit into a video of {}", picture.size, self.info.size);
        }
        let input_time_base = self.info.time_base;
        let begin = rescale(pts, input_time_base, MICROSECONDS);
        self.widest_gap = self.widest_gap.max(self.last_pts.map_or(0, |_| begin.saturating_sub(self.end)));
        self.end = rescale(pts.saturating_add(picture.timestamp.duration), input_time_base, MICROSECONDS);
        self.default_duration = rescale(picture.timestamp.duration, input_time_base, self.time_base);
        ffi::make_writable(&mut self.rgb).context("convert a frame")?;
        fill_rows(picture, &mut self.rgb);
        // Two timestamps that fall together in a coarser clock would be refused: the later one moves by one tick.
        let pts = rescale(pts, input_time_base, self.time_base);
        let pts = self.last_pts.map_or(pts, |last| pts.max(last.saturating_add(1)));
        self.last_pts = Some(pts);
        self.first_pts.get_or_insert(pts);
        self.rgb.set_pts(Some(pts));
        self.chain.put_kept(&self.rgb).context("convert a frame")?;
        self.encode_converted()
    }

    /// Says that no more frames come: what the encoder holds back can be taken.
    ///
    /// # Errors
    /// If encoding fails.
    pub fn end(&mut self) -> Result<()> {
        if self.first_pts.is_none() {
            // Some encoders wait for ever for what to end.
            return Ok(());
        }
        self.chain.end().context("convert the last frames")?;
        self.encode_converted()?;
        self.encoder.send_eof().context("drain the encoder")
    }

    /// Fills `packet` with what is ready; `false`: nothing is.
    ///
    /// # Errors
    /// If encoding fails.
    pub fn take(&mut self, packet: &mut Packet) -> Result<bool> {
        if self.first_pts.is_none() {
            return Ok(false);
        }
        match self.encoder.receive_packet(packet) {
            Ok(()) => {}
            Err(Error::Eof | Error::Other { errno: ffmpeg::error::EAGAIN }) => return Ok(false),
            Err(error) => return Err(error).context("encode a frame"),
        }
        if packet.duration() <= 0 {
            packet.set_duration(self.default_duration);
        }
        packet.set_dts(self.possible_dts(packet));
        Ok(true)
    }

    /// When a packet is decoded: not behind its own picture, nor longer before the first one than all are shown. x265 reckons it from
    /// pictures that a very short video does not have.
    fn possible_dts(&self, packet: &Packet) -> Option<i64> {
        let (Some(dts), Some(pts), Some(first), Some(last)) =
            (packet.dts(), packet.pts(), self.first_pts, self.last_pts)
        else {
            return packet.dts();
        };
        Some(dts.max(first.saturating_sub(last.saturating_sub(first))).min(pts))
    }

    fn encode_converted(&mut self) -> Result<()> {
        while self.chain.take(&mut self.converted).context("convert a frame")?.is_some() {
            // The chain leaves some tags as they were on RGB; encoders write what the frame says.
            self.converted.set_color_space(self.info.color.matrix);
            self.converted.set_color_range(self.info.color.range);
            self.converted.set_color_primaries(self.info.color.primaries);
            self.converted.set_color_transfer_characteristic(self.info.color.transfer);
            self.converted.set_kind(ffmpeg::picture::Type::None);
            self.encoder.send_frame(&self.converted).context("encode a frame")?;
        }
        Ok(())
    }
}

impl Drop for PictureEncoder {
    /// An encoder of SVT-AV1 that never had a frame waits for ever when it is closed: it gets one.
    fn drop(&mut self) {
        if self.first_pts.is_some() || self.name != "libsvtav1" {
            return;
        }
        if self.put_at(&Frame::black(self.info.size), 0).and_then(|()| self.end()).is_ok() {
            let mut packet = Packet::empty();
            while self.take(&mut packet).is_ok_and(|is_there| is_there) {}
        }
    }
}

fn add_video_stream(
    output: &mut Output,
    encoder: &encoder::video::Encoder,
    info: &VideoInfo,
    time_base: Rational,
    container: &str,
) -> Result<()> {
    let mut stream = output.add_stream_with(encoder).context("add the video to the output")?;
    stream.set_time_base(time_base);
    if info.frame_rate.numerator() > 0 {
        stream.set_avg_frame_rate(info.frame_rate);
    }
    let stream = stream.index();
    if info.sample_aspect_ratio.numerator() > 0 {
        ffi::set_sample_aspect_ratio(output, stream, info.sample_aspect_ratio);
    }
    // Apple's players know HEVC in MP4 only under this name. Others' tags are the encoder's: of some codecs they tell the kind.
    if is_mp4(container) && encoder.id() == codec::Id::HEVC {
        ffi::set_codec_tag(output, stream, *b"hvc1");
    }
    Ok(())
}

fn rgb_input(info: &VideoInfo) -> FilterInput {
    FilterInput {
        size: info.size,
        pixel: Pixel::RGB24,
        // Timestamps pass through the chain as they are.
        time_base: Rational(1, 1000),
        sample_aspect_ratio: info.sample_aspect_ratio,
        color: ColorTags {
            matrix: Space::Unspecified,
            range: Range::Unspecified,
            primaries: Primaries::Unspecified,
            transfer: TransferCharacteristic::Unspecified,
        },
    }
}

fn to_encoder(info: &VideoInfo, pixel: Pixel) -> String {
    let name = pixel.descriptor().map_or("yuv420p", |descriptor| descriptor.name());
    if pixel == Pixel::PAL8 {
        // Each picture has its own palette: a stylized clip has more colours than 256 in all.
        return "split[a][b];[a]palettegen=stats_mode=single:reserve_transparent=0[p];\
                [b][p]paletteuse=new=1:dither=sierra2_4a"
            .to_owned();
    }
    if ffi::is_rgb(pixel) {
        return format!("format={name}");
    }
    format!(
        "scale=flags=area+accurate_rnd+full_chroma_inp:in_range=pc:out_color_matrix={}:out_range={},format={name}",
        info.color.matrix_name().unwrap_or("bt709"),
        info.color.range_name(),
    )
}

fn fill_rows(picture: &Frame, target: &mut frame::Video) {
    let row = picture.size.width * CHANNELS;
    let stride = target.stride(0);
    for (source, target) in picture.pixels().chunks_exact(row).zip(target.data_mut(0).chunks_mut(stride)) {
        target[..row].copy_from_slice(source);
    }
}
