//! Video without a container through a pipe: y4m or raw pictures in, frames, and the same way out.
//!
//! Both ends block while the other program is not ready, and hold one picture. Nothing is allocated because a header
//! says so: a buffer grows with the bytes that have come.

use std::io::{self, BufRead, BufReader, Read, Write};

use anyhow::{Context, Result, bail, ensure};
use ffmpeg_next::Rational;

use super::color;
use super::deinterlace::{self, Deinterlacer};
use super::planes::{BitDepth, ColorRange, Matrix, PictureConverter, PictureLayout, Sampling, YuvCoding};
use super::y4m::{self, FrameLine, Interlacing, Y4mHeader};
use crate::frame::{Frame, FramePool, FrameSize, Timestamp};

/// What raw video does not say of itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RawVideo {
    /// How the bytes of a picture are laid out.
    pub layout: PictureLayout,
    /// Size of the pictures.
    pub size: FrameSize,
    /// Pictures a second.
    pub frame_rate: Rational,
}

/// How a stream is understood.
#[derive(Debug, Clone, Default)]
pub struct PipeOptions {
    /// Raw video; `None` for y4m.
    pub raw: Option<RawVideo>,
    /// From YCbCr to RGB; `None` guesses from the size, as players do.
    pub matrix: Option<Matrix>,
    /// Which numbers are black and white; `None` takes the stream's word, and limited where it has none.
    pub range: Option<ColorRange>,
    /// Where frames come from.
    pub pool: FramePool,
}

/// How the frames of a stream are framed and coded.
#[derive(Debug, Clone, PartialEq)]
pub struct PipeFormat {
    /// `None` for raw video.
    header: Option<Y4mHeader>,
    layout: PictureLayout,
    size: FrameSize,
    frame_rate: Rational,
    coding: YuvCoding,
}

/// The largest picture that is taken, as the stream has it and as RGB.
const MAX_PICTURE_BYTES: usize = 256 << 20;

/// What a stream without a frame rate is taken for: y4m's own default.
const DEFAULT_FRAME_RATE: Rational = Rational(25, 1);

impl PipeFormat {
    fn of_stream(input: &mut impl BufRead, options: &PipeOptions) -> Result<Self> {
        let mut header = match options.raw {
            None => Some(y4m::read_header(input)?),
            Some(_) => None,
        };
        let (layout, size, frame_rate) = match (&options.raw, &header) {
            (Some(raw), _) => (raw.layout, raw.size, raw.frame_rate),
            (None, Some(header)) => (header.layout(), header.size(), header.frame_rate()),
            (None, None) => bail!("the stream has no format"),
        };
        let fits =
            layout.bytes(size).is_some_and(|bytes| bytes <= MAX_PICTURE_BYTES) && size.bytes() <= MAX_PICTURE_BYTES;
        ensure!(
            fits,
            "pictures of {size} are too large for a pipe (expected at most {} million pixels)",
            MAX_PICTURE_BYTES / (3 * 1_000_000)
        );
        let stated = header.as_ref().and_then(Y4mHeader::range);
        let range = options.range.or(stated).unwrap_or(ColorRange::Limited);
        // Who reads on should take the pictures for what they were taken for here.
        if let Some(header) = header.as_mut().filter(|_| range != stated.unwrap_or(ColorRange::Limited)) {
            header.set_range(range);
        }
        let guessed = if color::is_high_definition(size) { Matrix::Bt709 } else { Matrix::Bt601 };
        let coding = YuvCoding { matrix: options.matrix.unwrap_or(guessed), range };
        let is_known = frame_rate.numerator() > 0 && frame_rate.denominator() > 0;
        let frame_rate = if is_known { frame_rate } else { DEFAULT_FRAME_RATE };
        Ok(Self { header, layout, size, frame_rate, coding })
    }

    /// The same frames as y4m. RGB becomes 4:4:4.
    ///
    /// # Errors
    /// If y4m has no such layout.
    pub fn to_y4m(&self) -> Result<Self> {
        if self.header.is_some() {
            return Ok(self.clone());
        }
        let sampling = match self.layout {
            PictureLayout::Nv12 | PictureLayout::Planar(..) => Sampling::Yuv420,
            PictureLayout::Rgb24 | PictureLayout::Bgr24 => Sampling::Yuv444,
        };
        let layout = PictureLayout::Planar(sampling, BitDepth::Eight);
        let header = Y4mHeader::new(self.size, self.frame_rate, layout, self.coding.range);
        Ok(Self { header: Some(header.context("y4m has no such pictures")?), layout, ..self.clone() })
    }

    /// The same frames as raw video.
    pub fn to_raw(&self, layout: PictureLayout) -> Self {
        Self { header: None, layout, ..self.clone() }
    }

    /// Size of the frames.
    pub fn size(&self) -> FrameSize {
        self.size
    }

    /// Unit of the timestamps, in seconds: one frame.
    pub fn time_base(&self) -> Rational {
        self.frame_rate.invert()
    }
}

/// Reads the frames of a pipe.
pub struct PipeReader<R> {
    input: BufReader<R>,
    format: PipeFormat,
    converter: PictureConverter,
    deinterlacer: Option<Deinterlacer>,
    /// What ended the stream: told when the deinterlacer has given out what it held.
    trouble: Option<anyhow::Error>,
    notes: Vec<&'static str>,
    pool: FramePool,
    /// A picture as it came.
    picture: Vec<u8>,
    picture_bytes: usize,
    pictures_read: u64,
    frames_given: u64,
    has_ended: bool,
}

impl<R: Read> PipeReader<R> {
    /// A first picture is not asked for more memory than this before its bytes come.
    const FIRST_GROWTH_BYTES: usize = 1 << 16;

    /// Reads the header, if there is one. Blocks until it has come, or the first bytes of raw video.
    ///
    /// # Errors
    /// If the stream is empty, is not what it should be, or holds pictures that are not understood or too large.
    pub fn new(input: R, options: PipeOptions) -> Result<Self> {
        let mut input = BufReader::new(input);
        let mut format = PipeFormat::of_stream(&mut input, &options)?;
        let is_empty = options.raw.is_some() && input.fill_buf().context("cannot read the stream")?.is_empty();
        ensure!(!is_empty, "the stream is empty");
        let mut notes = Vec::new();
        let mut deinterlacer = None;
        if let Some(header) = format.header.as_mut().filter(|header| header.interlacing() != Interlacing::Progressive) {
            if deinterlace::is_available() {
                deinterlacer = Some(Deinterlacer::new(format.layout, format.size, header.interlacing())?);
                header.set_progressive();
                notes.push("interlaced: deinterlaced, one frame for each frame");
            } else {
                notes.push("interlaced, and this FFmpeg has no deinterlacer (bwdif): left as it is");
            }
        }
        Ok(Self {
            input,
            converter: PictureConverter::new(format.layout, format.size, format.coding)?,
            picture_bytes: format.layout.bytes(format.size).context("the pictures are too large")?,
            format,
            deinterlacer,
            trouble: None,
            notes,
            pool: options.pool,
            picture: Vec::new(),
            pictures_read: 0,
            frames_given: 0,
            has_ended: false,
        })
    }

    /// How the frames are framed and coded; deinterlaced ones as progressive.
    pub fn format(&self) -> &PipeFormat {
        &self.format
    }

    /// What is changed on the way in that a person should know.
    pub fn notes(&self) -> &[&'static str] {
        &self.notes
    }

    /// The next frame, or `None` at the end. Blocks until a whole picture has come.
    ///
    /// # Errors
    /// If the stream cannot be read, or ends inside a frame: then an [`io::Error`] of [`io::ErrorKind::UnexpectedEof`].
    pub fn next_frame(&mut self) -> Result<Option<Frame>> {
        if !self.next_picture()? {
            return Ok(None);
        }
        let mut frame = self.pool.take(self.format.size);
        self.converter.decode(&self.picture, &mut frame)?;
        frame.frame_index = self.frames_given;
        frame.timestamp = Timestamp { pts: i64::try_from(self.frames_given)?, duration: 1 };
        self.frames_given += 1;
        Ok(Some(frame))
    }

    /// Fills `picture` with the next progressive one.
    fn next_picture(&mut self) -> Result<bool> {
        loop {
            let Some(deinterlacer) = &mut self.deinterlacer else { return Ok(self.read_picture()?.is_some()) };
            if deinterlacer.take(&mut self.picture)? {
                return Ok(true);
            }
            if self.has_ended {
                return self.trouble.take().map_or(Ok(false), Err);
            }
            let line = self.read_picture().unwrap_or_else(|error| {
                self.trouble = Some(error);
                None
            });
            self.has_ended = line.is_none();
            let Some(deinterlacer) = &mut self.deinterlacer else { continue };
            match line {
                Some(line) => deinterlacer.put(&self.picture, line.interlacing)?,
                None => deinterlacer.end()?,
            }
        }
    }

    /// Fills `picture` with the next one as it comes; what is said of it, or `None` at the end.
    fn read_picture(&mut self) -> Result<Option<FrameLine>> {
        let index = self.pictures_read;
        let is_y4m = self.format.header.is_some();
        let line = match is_y4m {
            true => y4m::read_frame_line(&mut self.input, index)?,
            false => Some(FrameLine { interlacing: Interlacing::Progressive }),
        };
        if line.is_none() {
            return Ok(None);
        }
        let wanted = self.picture_bytes;
        let mut filled = 0;
        while filled < wanted {
            if filled == self.picture.len() {
                let length = (filled * 2).clamp(Self::FIRST_GROWTH_BYTES, wanted.max(Self::FIRST_GROWTH_BYTES));
                self.picture.resize(length.min(wanted), 0);
            }
            match self.input.read(&mut self.picture[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error).with_context(|| format!("cannot read frame {index} of the stream")),
            }
        }
        if filled == 0 && !is_y4m {
            return Ok(None);
        }
        if filled < wanted {
            let text = format!("the stream ends inside frame {index}, after {filled} of its {wanted} bytes");
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text).into());
        }
        self.pictures_read += 1;
        Ok(line)
    }
}

/// Whoever read the output has closed it: often on purpose, as `head` does.
#[derive(Debug, thiserror::Error)]
#[error("the reader of the output has gone away")]
pub struct ReaderLeft;

/// Writes frames into a pipe.
pub struct PipeWriter<W> {
    output: W,
    converter: PictureConverter,
    /// A picture with the line before it: one write for both.
    bytes: Vec<u8>,
    /// Where the picture begins.
    picture_start: usize,
    picture_bytes: usize,
}

impl<W: Write> PipeWriter<W> {
    /// Writes the header, if the format has one.
    ///
    /// # Errors
    /// [`ReaderLeft`], or if the output cannot be written.
    pub fn new(output: W, format: &PipeFormat) -> Result<Self> {
        let converter = PictureConverter::new(format.layout, format.size, format.coding)?;
        let picture_bytes = format.layout.bytes(format.size).context("the pictures are too large")?;
        let mut writer = Self { output, converter, bytes: Vec::new(), picture_start: 0, picture_bytes };
        if let Some(header) = &format.header {
            writer.bytes = header.to_line();
            writer.write_out()?;
            writer.bytes.clear();
            y4m::write_frame_line(&mut writer.bytes);
        }
        writer.picture_start = writer.bytes.len();
        Ok(writer)
    }

    /// Writes one frame. Blocks until the reader has taken it, but for what the pipe holds.
    ///
    /// # Errors
    /// [`ReaderLeft`], or if the frame has another size or the output cannot be written.
    pub fn write(&mut self, frame: &Frame) -> Result<()> {
        // Not before there is a frame: the header's word is not enough.
        self.bytes.resize(self.picture_start + self.picture_bytes, 0);
        self.converter.encode(frame, &mut self.bytes[self.picture_start..])?;
        self.write_out()
    }

    fn write_out(&mut self) -> Result<()> {
        match self.output.write_all(&self.bytes).and_then(|()| self.output.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(ReaderLeft.into()),
            result => result.context("cannot write the output"),
        }
    }
}

#[cfg(test)]
mod tests;
