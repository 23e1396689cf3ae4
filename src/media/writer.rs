//! From frames to a file: encoded with the input's timestamps and colours, beside the streams copied from the input.
//!
//! The file grows under a temporary name in the folder of the output and takes its own name only when it is complete.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use ffmpeg_next as ffmpeg;

use ffmpeg::color::{Primaries, Range, Space, TransferCharacteristic};
use ffmpeg::format::context::Output;
use ffmpeg::format::{Flags, Pixel};
use ffmpeg::{Dictionary, Error, Packet, Rational, codec, encoder, frame, media};

use super::color::ColorTags;
use super::copy::StreamCopier;
use super::encoder::{self as choice, EncoderSettings};
use super::filter::{FilterChain, FilterInput};
use super::reader::VideoReader;
use super::{Interrupt, MICROSECONDS, VideoInfo, ffi, rescale};
use crate::frame::{CHANNELS, Frame};
use crate::output::AtomicFile;

/// How a file is written.
#[derive(Clone, Default)]
pub struct WriterOptions {
    /// How the pictures are encoded.
    pub encoder: EncoderSettings,
    /// Leave out the sound.
    pub mute: bool,
    /// Replace a file that is already there.
    pub overwrite: bool,
    /// Asked by blocking reads of the copied streams; `true` ends them with an error.
    pub interrupt: Option<Interrupt>,
}

/// Why an output is refused before anything is written, where the caller can offer a way out.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// There is a file of this name.
    #[error("the output '{}' exists already", .0.display())]
    Exists(PathBuf),
    /// It would replace what is being read.
    #[error("the output '{}' is the input", .0.display())]
    IsInput(PathBuf),
    /// The container knows no such video.
    #[error("'{}' cannot hold {codec} video", .path.display())]
    CannotHold {
        /// The output.
        path: PathBuf,
        /// FFmpeg's name of the codec.
        codec: &'static str,
    },
}

/// What was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// The file, under its final name.
    pub path: PathBuf,
    /// Frames in it.
    pub frames: u64,
    /// Its size in bytes.
    pub bytes: u64,
}

/// Writes a video file. Dropped without [`VideoWriter::finish`], it leaves nothing behind.
pub struct VideoWriter {
    // Declared before the file on disk: it is closed before it is removed.
    output: Output,
    file: AtomicFile,
    path: PathBuf,
    encoder: encoder::video::Encoder,
    encoder_name: String,
    time_base: Rational,
    input_time_base: Rational,
    default_duration: i64,
    copier: Option<StreamCopier>,
    chain: FilterChain,
    rgb: frame::Video,
    encoded_picture: frame::Video,
    info: VideoInfo,
    notes: Vec<String>,
    frames: u64,
    last_pts: Option<i64>,
    end: i64,
}

impl VideoWriter {
    /// The video is the first stream of the output.
    const VIDEO_STREAM: usize = 0;

    /// Prepares `path` for frames like `info`; with `source` given, its other streams are copied.
    ///
    /// # Errors
    /// If the output exists (and may not be replaced), is the input, cannot be created, or the container or encoder
    /// cannot take such frames.
    pub fn create(
        path: &Path,
        info: &VideoInfo,
        source: Option<&VideoReader>,
        options: &WriterOptions,
    ) -> Result<Self> {
        super::init()?;
        check_output(path, source.map(VideoReader::path))?;
        let info = info.clone();
        let mut notes = Vec::new();
        let file = create_file(path, options.overwrite)?;
        let mut output = open_container(path, file.temporary())?;
        ffi::allow_experimental(&mut output);
        let container = output.format().name().to_owned();

        let (codec, defaults) =
            choice::find(options.encoder.codec.as_deref().unwrap_or(&default_codec(path, &output)?))?;
        if !ffi::can_hold(&output, codec.id()) {
            bail!(OutputError::CannotHold { path: path.to_owned(), codec: codec.id().name() });
        }
        let has_global_header = output.format().flags().contains(Flags::GLOBAL_HEADER);
        let opened = choice::open(&info, &options.encoder, codec, defaults, has_global_header)?;
        notes.extend(opened.note);
        add_video_stream(&mut output, &opened.encoder, &info, opened.time_base, &container)?;
        let copier = match source {
            Some(source) => Some(StreamCopier::new(source, options, &mut output, &mut notes)?),
            None => None,
        };
        write_header(&mut output, &container)
            .with_context(|| format!("'{}': the container refuses these streams", path.display()))?;

        let rgb = frame::Video::new(Pixel::RGB24, u32::try_from(info.size.width)?, u32::try_from(info.size.height)?);
        let chain = FilterChain::new(&rgb_input(&info), &to_encoder(&info, opened.pixel))?;
        Ok(Self {
            output,
            file,
            path: path.to_owned(),
            encoder: opened.encoder,
            encoder_name: codec.name().to_owned(),
            time_base: opened.time_base,
            input_time_base: info.time_base,
            default_duration: 0,
            copier,
            chain,
            rgb,
            encoded_picture: frame::Video::empty(),
            info,
            notes,
            frames: 0,
            last_pts: None,
            end: 0,
        })
    }

    /// What a person should know: streams left out, an unusual pixel format.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// FFmpeg's name of the encoder.
    pub fn encoder_name(&self) -> &str {
        &self.encoder_name
    }

    /// Encodes one frame and writes what is ready, with the copied streams up to the same time. Blocks while it does.
    ///
    /// # Errors
    /// If encoding or writing fails: a full disk, say.
    pub fn write(&mut self, picture: &Frame) -> Result<()> {
        if picture.size != self.info.size {
            bail!("a frame of {} does not fit into a video of {}", picture.size, self.info.size);
        }
        self.end = rescale(picture.timestamp.pts + picture.timestamp.duration, self.input_time_base, MICROSECONDS);
        self.default_duration = rescale(picture.timestamp.duration, self.input_time_base, self.time_base);
        ffi::make_writable(&mut self.rgb).context("convert a frame")?;
        fill_rows(picture, &mut self.rgb);
        // Two timestamps that fall together in a coarser clock would be refused: the later one moves by one tick.
        let pts = rescale(picture.timestamp.pts, self.input_time_base, self.time_base);
        let pts = self.last_pts.map_or(pts, |last| pts.max(last + 1));
        self.last_pts = Some(pts);
        self.rgb.set_pts(Some(pts));
        self.chain.put_kept(&self.rgb).context("convert a frame")?;
        self.encode_converted()?;
        self.frames += 1;
        self.write_packets()
    }

    /// Drains the encoder, ends the file and gives it its name. `is_cut_short`: the copied streams end with the last
    /// picture; else they run to their own end.
    ///
    /// # Errors
    /// If anything cannot be written; then nothing stands under the final name.
    pub fn finish(mut self, is_cut_short: bool) -> Result<Written> {
        self.chain.end().context("convert the last frames")?;
        self.encode_converted()?;
        self.encoder.send_eof().context("drain the encoder")?;
        self.write_packets()?;
        if let Some(copier) = &mut self.copier {
            if is_cut_short {
                copier.end_at(self.end);
            }
            copier.copy_until(&mut self.output, None)?;
        }
        self.output.write_trailer().with_context(|| self.cannot_write())?;
        let Self { output, file, path, frames, .. } = self;
        drop(output);
        file.commit().with_context(|| format!("cannot give the finished file its name '{}'", path.display()))?;
        let bytes = std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
        Ok(Written { path, frames, bytes })
    }

    fn cannot_write(&self) -> String {
        format!("cannot write '{}'", self.path.display())
    }

    fn encode_converted(&mut self) -> Result<()> {
        while self.chain.take(&mut self.encoded_picture).context("convert a frame")?.is_some() {
            // The chain leaves some tags as they were on RGB; encoders write what the frame says.
            self.encoded_picture.set_color_space(self.info.color.matrix);
            self.encoded_picture.set_color_range(self.info.color.range);
            self.encoded_picture.set_color_primaries(self.info.color.primaries);
            self.encoded_picture.set_color_transfer_characteristic(self.info.color.transfer);
            self.encoded_picture.set_kind(ffmpeg::picture::Type::None);
            self.encoder.send_frame(&self.encoded_picture).context("encode a frame")?;
        }
        Ok(())
    }

    /// Writes the packets that the encoder has ready, each after the copied streams up to its time.
    fn write_packets(&mut self) -> Result<()> {
        let mut packet = Packet::empty();
        loop {
            match self.encoder.receive_packet(&mut packet) {
                Ok(()) => {}
                Err(Error::Eof | Error::Other { errno: ffmpeg::error::EAGAIN }) => return Ok(()),
                Err(error) => return Err(error).context("encode a frame"),
            }
            let time = packet.dts().or(packet.pts()).map(|dts| rescale(dts, self.time_base, MICROSECONDS));
            if let Some(copier) = &mut self.copier {
                copier.copy_until(&mut self.output, Some(time.unwrap_or(0)))?;
            }
            if packet.duration() <= 0 {
                packet.set_duration(self.default_duration);
            }
            packet.set_stream(Self::VIDEO_STREAM);
            if let Some(stream) = self.output.stream(Self::VIDEO_STREAM) {
                packet.rescale_ts(self.time_base, stream.time_base());
            }
            packet.write_interleaved(&mut self.output).with_context(|| self.cannot_write())?;
        }
    }
}

fn check_output(path: &Path, input: Option<&Path>) -> Result<()> {
    if path.is_dir() {
        bail!("the output '{}' is a directory (expected a file name)", path.display());
    }
    if let (Ok(output), Some(Ok(input))) = (path.canonicalize(), input.map(Path::canonicalize))
        && output == input
    {
        bail!(OutputError::IsInput(path.to_owned()));
    }
    Ok(())
}

fn create_file(path: &Path, overwrite: bool) -> Result<AtomicFile> {
    AtomicFile::create(path, overwrite).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => OutputError::Exists(path.to_owned()).into(),
        _ => anyhow::Error::new(error).context(format!("cannot create the output '{}'", path.display())),
    })
}

fn open_container(path: &Path, temporary: &Path) -> Result<Output> {
    let address = super::address(temporary)?;
    let opened = match extension(path).as_str() {
        // FFmpeg's guess for .gif is right; but a picture extension would give one file a frame.
        "png" | "jpg" | "jpeg" | "bmp" | "tif" | "tiff" | "webp" | "ppm" => Err(Error::MuxerNotFound),
        _ => ffmpeg::format::output(&address),
    };
    match opened {
        Ok(output) => Ok(output),
        Err(Error::InvalidData | Error::MuxerNotFound | Error::Other { errno: ffmpeg::error::EINVAL }) => bail!(
            "'{}' does not end like a video that can be written (expected .mp4, .mkv, .mov, .webm or .gif)",
            path.display()
        ),
        Err(error) => Err(error).with_context(|| format!("cannot create the output '{}'", path.display())),
    }
}

fn extension(path: &Path) -> String {
    path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase()).unwrap_or_default()
}

fn default_codec(path: &Path, output: &Output) -> Result<String> {
    Ok(match extension(path).as_str() {
        "mp4" | "m4v" | "mov" | "mkv" | "ts" | "m2ts" | "mts" | "flv" => "h264".to_owned(),
        "webm" => "vp9".to_owned(),
        "gif" => "gif".to_owned(),
        _ => match output.format().codec(path, media::Type::Video) {
            // Files of sound hold a cover picture at most.
            codec::Id::None | codec::Id::PNG => {
                bail!("'{}' cannot hold video (expected .mp4, .mkv, .mov, .webm or .gif)", path.display())
            }
            codec => codec.name().to_owned(),
        },
    })
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
    // Apple's players know HEVC in MP4 only under this name.
    let is_mp4 = container.contains("mp4") || container.contains("mov");
    let tag = (is_mp4 && encoder.id() == codec::Id::HEVC).then_some(*b"hvc1");
    ffi::set_codec_tag(output, stream, tag);
    Ok(())
}

fn write_header(output: &mut Output, container: &str) -> Result<(), Error> {
    let mut options = Dictionary::new();
    if container.contains("mp4") || container.contains("mov") {
        // The index goes to the front, so that a browser can start before it has the whole file.
        options.set("movflags", "+faststart");
    }
    output.write_header_with(options).map(|_| ())
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
