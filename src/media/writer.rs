//! From frames to a file: encoded with the input's timestamps and colours, beside the streams copied from the input.
//!
//! The file grows under a temporary name in the folder of the output and takes its own name only when it is complete.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use ffmpeg_next as ffmpeg;

use ffmpeg::format::context::Output;
use ffmpeg::{Dictionary, Error, Packet, codec, media};

use super::containers::{Needs, can_hold, has_chapters_last, is_mp4};
use super::copy::{StreamCopier, copy_video_metadata};
use super::encoder::{self as choice, EncoderSettings};
use super::journal::{Journal, Whole};
use super::output_error::OutputError;
use super::picture_encoder::PictureEncoder;
use super::reader::VideoReader;
use super::{Interrupt, MICROSECONDS, VideoInfo, ffi, rescale};
use crate::frame::Frame;
use crate::output::{AtomicFile, Overwrite};

/// How a file is written.
#[derive(Clone, Default)]
pub struct WriterOptions {
    /// How the pictures are encoded.
    pub encoder: EncoderSettings,
    /// Leave out the sound.
    pub mute: bool,
    /// Whether a file may be replaced that is already there.
    pub overwrite: Overwrite,
    /// Asked while other files are read: the copied streams, a journal; `true` ends that with an error.
    pub interrupt: Option<Interrupt>,
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

/// Writes a video file. It takes its name in [`VideoWriter::finish`]; dropped without that, the writer leaves nothing behind, and what had
/// the name before stays.
pub struct VideoWriter {
    // Declared before the file on disk: it is closed before it is removed.
    output: Output,
    file: AtomicFile,
    path: PathBuf,
    encoder: PictureEncoder,
    copier: Option<StreamCopier>,
    notes: Vec<String>,
    frames: u64,
    /// Where packets are kept as well.
    journal: Option<Journal>,
    /// What keeps nothing but the length of the output.
    noted_in: Option<Journal>,
    last_dts: Option<i64>,
    interrupt: Option<Interrupt>,
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
        let mut notes = Vec::new();
        let file = create_file(path, options.overwrite.clone())?;
        let mut output = open_container(path, file.temporary())?;
        ffi::allow_experimental(&mut output);

        let candidates = choice::find(options.encoder.codec.as_deref().unwrap_or(&default_codec(path, &output)?))?;
        if let Some(codec) =
            candidates.iter().map(|candidate| candidate.codec.id()).find(|codec| !can_hold(&output, *codec))
        {
            bail!(OutputError::CannotHold { path: path.to_owned(), codec: codec.name() });
        }
        let encoder = PictureEncoder::open(info, &options.encoder, &candidates, Needs::of(&output))?;
        notes.extend(encoder.note().map(str::to_owned));
        encoder.add_stream(&mut output)?;
        let copier = match source {
            Some(source) => {
                copy_video_metadata(source, &mut output, Self::VIDEO_STREAM);
                Some(StreamCopier::new(source, options, &mut output, &mut notes)?)
            }
            None => None,
        };
        if let Some(copier) = copier.as_ref().filter(|_| !has_chapters_last(&output)) {
            copier.copy_chapters(&mut output)?;
        }
        if let Err(reason) = write_header(&mut output) {
            if is_of_disk(reason) {
                return Err(reason).with_context(|| format!("cannot write '{}'", path.display()));
            }
            let codecs = output.streams().map(|stream| stream.parameters().id().name()).collect();
            bail!(OutputError::Refused { path: path.to_owned(), codecs, reason });
        }
        Ok(Self {
            output,
            file,
            path: path.to_owned(),
            encoder,
            copier,
            notes,
            frames: 0,
            journal: None,
            noted_in: None,
            last_dts: None,
            interrupt: options.interrupt.clone(),
        })
    }

    /// What a person should know: streams left out, an unusual pixel format.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// FFmpeg's name of the encoder.
    pub fn encoder_name(&self) -> &str {
        self.encoder.name()
    }

    /// What decides whether another writer can go on with a journal of this one: the encoder, its pixel format, its clock, a checksum of
    /// what it writes into headers. `None`: such a video can only be written in one go.
    pub fn encoder_identity(&self) -> Option<String> {
        self.encoder.can_follow().then(|| self.encoder.identity())
    }

    /// Writes what `journal` holds and keeps there what is encoded from now on: the next frame is the one that follows.
    /// Blocks while it does.
    ///
    /// # Errors
    /// If the journal cannot be read, or anything cannot be written.
    pub fn go_on_with(&mut self, mut journal: Journal) -> Result<()> {
        journal.begin(self.file.temporary())?;
        journal.replay(|mut packet| {
            ensure!(!self.interrupt.as_ref().is_some_and(|interrupt| interrupt()), "interrupted");
            self.write_packet(&mut packet)
        })?;
        let Whole { frames, last } = journal.whole();
        if let Some(last) = last {
            self.encoder.follow(last);
        }
        (self.frames, self.journal) = (frames, Some(journal));
        Ok(())
    }

    /// Notes in `journal` how long the output is before it takes its name, and keeps nothing else there.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn note_in(&mut self, mut journal: Journal) -> Result<()> {
        journal.begin(self.file.temporary())?;
        self.noted_in = Some(journal);
        Ok(())
    }

    /// Encodes one frame and writes what is ready, with the copied streams up to the same time. Blocks while it does. The frame is shown
    /// when its timestamp says, in the time base of the [`VideoInfo`] that the writer was created with.
    ///
    /// # Errors
    /// If encoding or writing fails: a full disk, say.
    pub fn write(&mut self, picture: &Frame) -> Result<()> {
        self.encode(picture).map_err(|error| self.explain(error))
    }

    fn encode(&mut self, picture: &Frame) -> Result<()> {
        self.encoder.put(picture)?;
        self.frames += 1;
        if let (Some(journal), Some(frame)) = (&mut self.journal, self.encoder.last()) {
            journal.put(frame);
        }
        self.write_packets()
    }

    /// Adds to an error what may have led to it: FFmpeg only says that something is not possible.
    fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        const HOUR: i64 = 3_600_000_000;
        let of_disk = error.chain().filter_map(|cause| cause.downcast_ref()).any(|error| is_of_disk(*error));
        match self.encoder.widest_gap() {
            gap if gap < HOUR || of_disk || self.output.format().name() == "matroska" => error,
            gap => error.context(format!(
                "the timestamps of the input jump by {:.1} hours, which not every container takes (.mkv does)",
                gap as f64 / HOUR as f64
            )),
        }
    }

    /// Drains the encoder, ends the file and gives it its name. `is_cut_short`: the copied streams end with the last
    /// picture; else they run to their own end.
    ///
    /// # Errors
    /// If there was no frame, or anything cannot be written; then the name is not taken.
    pub fn finish(self, is_cut_short: bool) -> Result<Written> {
        self.finish_noting(is_cut_short, |_| Ok(()))
    }

    /// The same, which tells `note` how long the file is before it takes its name: whatever happens behind that, it is known.
    ///
    /// # Errors
    /// As [`VideoWriter::finish`], and that of `note`.
    pub fn finish_noting(mut self, is_cut_short: bool, note: impl FnOnce(u64) -> Result<()>) -> Result<Written> {
        ensure!(self.frames > 0, "there is no frame to write to '{}' (expected at least one)", self.path.display());
        // What an encoder held back it gives at times of its own when it ends: another one could not follow. No other run begins meanwhile.
        let mut journal = self.journal.take().or(self.noted_in.take());
        self.encoder.end().and_then(|()| self.write_packets()).map_err(|error| self.explain(error))?;
        let cannot_write = || format!("cannot write '{}'", self.path.display());
        if let Some(copier) = &mut self.copier {
            if is_cut_short {
                copier.end_at(self.encoder.end_of_last());
            }
            copier.copy_until(&mut self.output, None).with_context(cannot_write)?;
            if has_chapters_last(&self.output) {
                copier.copy_chapters(&mut self.output)?;
            }
        }
        self.output.write_trailer().with_context(cannot_write)?;
        let Self { output, file, path, frames, .. } = self;
        drop(output);
        let bytes = file.temporary().metadata().with_context(|| format!("cannot write '{}'", path.display()))?.len();
        note(bytes)?;
        if let Some(Err(error)) = journal.as_mut().map(|journal| journal.note_output(bytes)) {
            tracing::warn!("whoever goes on with this run will have to allow that the output is replaced: {error:#}");
        }
        file.commit().with_context(|| format!("cannot give the finished file its name '{}'", path.display()))?;
        Ok(Written { path, frames, bytes })
    }

    /// Writes the packets that the encoder has ready.
    fn write_packets(&mut self) -> Result<()> {
        let mut packet = Packet::empty();
        while self.encoder.take(&mut packet)? {
            if let Some(journal) = &mut self.journal
                && let Err(error) = journal.write(&packet)
            {
                tracing::warn!("from here on nothing is kept for a run that goes on with this one: {error:#}");
                self.journal = None;
            }
            self.write_packet(&mut packet)?;
        }
        Ok(())
    }

    /// Writes a packet of the video, in the encoder's time base, after the copied streams up to its time.
    fn write_packet(&mut self, packet: &mut Packet) -> Result<()> {
        let time_base = self.encoder.time_base();
        let cannot_write = || format!("cannot write '{}'", self.path.display());
        let time = packet.dts().or(packet.pts()).map(|dts| rescale(dts, time_base, MICROSECONDS));
        if let Some(copier) = &mut self.copier {
            copier.copy_until(&mut self.output, Some(time.unwrap_or(0))).with_context(cannot_write)?;
        }
        packet.set_stream(Self::VIDEO_STREAM);
        if let Some(stream) = self.output.stream(Self::VIDEO_STREAM) {
            packet.rescale_ts(time_base, stream.time_base());
        }
        // A second encoder looks ahead from its first frame on, as if none had been before.
        let least = self.last_dts.map(|last| last.saturating_add(1)).filter(|_| packet.dts().is_some());
        packet.set_dts(packet.dts().max(least));
        // On a coarse clock two frames may have come to lie on one tick: muxers take none that is shown before it is decoded.
        packet.set_pts(packet.pts().max(packet.dts().filter(|_| packet.pts().is_some())));
        self.last_dts = packet.dts().or(self.last_dts);
        packet.write_interleaved(&mut self.output).with_context(cannot_write)
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

fn create_file(path: &Path, overwrite: Overwrite) -> Result<AtomicFile> {
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
        // Lists of further files, which would lie anywhere.
        "m3u8" | "mpd" | "ism" => Err(Error::MuxerNotFound),
        _ => ffmpeg::format::output(&address),
    };
    match opened {
        Ok(output) => Ok(output),
        Err(Error::InvalidData | Error::MuxerNotFound | Error::Other { errno: ffmpeg::error::EINVAL }) => {
            bail!(OutputError::NotVideo(path.to_owned()))
        }
        Err(error) => Err(error).with_context(|| format!("cannot create the output '{}'", path.display())),
    }
}

/// Whether the disk is to blame, and no container.
fn is_of_disk(error: Error) -> bool {
    let Error::Other { errno } = error else { return false };
    let kind = io::Error::from_raw_os_error(errno).kind();
    matches!(kind, ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge)
}

fn extension(path: &Path) -> String {
    path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase()).unwrap_or_default()
}

fn default_codec(path: &Path, output: &Output) -> Result<String> {
    Ok(match extension(path).as_str() {
        "mp4" | "m4v" | "mov" | "mkv" | "ts" | "m2ts" | "mts" | "flv" => "h264".to_owned(),
        "3gp" | "3g2" => "h264".to_owned(),
        "mpg" | "mpeg" | "vob" => "mpeg2video".to_owned(),
        "webm" => "vp9".to_owned(),
        "gif" => "gif".to_owned(),
        _ => match output.format().codec(path, media::Type::Video) {
            // Files of sound hold a cover picture at most.
            codec::Id::None | codec::Id::PNG => bail!(OutputError::SoundOnly(path.to_owned())),
            // A codec and its encoder may have two names.
            codec => {
                ffmpeg::encoder::find(codec).map_or_else(|| codec.name().to_owned(), |known| known.name().to_owned())
            }
        },
    })
}

fn write_header(output: &mut Output) -> Result<(), Error> {
    let mut options = Dictionary::new();
    if is_mp4(output.format().name()) {
        // The index goes to the front, so that a browser can start before it has the whole file.
        options.set("movflags", "+faststart");
    }
    output.write_header_with(options).map(|_| ())
}
