//! An encoder and a muxer for pictures that come as they come: what a recording and a stream have in common.

use anyhow::{Context, Result};
use ffmpeg_next as ffmpeg;

use ffmpeg::{Dictionary, Packet};

use super::containers::Needs;
use super::encoder::{self as choice, EncoderSettings};
use super::ffi::{self, InterruptibleOutput};
use super::picture_encoder::PictureEncoder;
use super::{Interrupt, VideoInfo};
use crate::frame::Frame;

/// Encodes frames and writes them as they are ready. The first frame is at time 0.
pub struct LiveOutput {
    muxer: InterruptibleOutput,
    encoder: PictureEncoder,
    /// Timestamp of the first frame.
    origin: Option<i64>,
    frames: u64,
}

impl LiveOutput {
    const VIDEO_STREAM: usize = 0;

    /// Opens `address` for frames like `info`, in FFmpeg's container `format` with these options. Blocks while the other
    /// end answers, as long as `interrupt` says `false`.
    ///
    /// # Errors
    /// If the address cannot be opened, or the encoder or the container does not take such frames.
    pub fn open(
        address: &str,
        format: &str,
        container_options: &[(&str, &str)],
        info: &VideoInfo,
        settings: &EncoderSettings,
        interrupt: Interrupt,
    ) -> Result<Self> {
        super::init()?;
        let mut muxer = ffi::open_output(address, format, interrupt)?;
        let candidates = choice::find(settings.codec.as_deref().unwrap_or("h264"))?;
        let encoder = PictureEncoder::open(info, settings, &candidates, Needs::of(&muxer.output))?;
        encoder.add_stream(&mut muxer.output)?;
        let options: Dictionary<'_> = container_options.iter().copied().collect();
        muxer.output.write_header_with(options).context("the container refuses the video")?;
        Ok(Self { muxer, encoder, origin: None, frames: 0 })
    }

    /// Frames so far.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Encodes a frame and writes what is ready. Blocks while the other end takes it.
    ///
    /// # Errors
    /// If encoding or writing fails.
    pub fn write(&mut self, frame: &Frame) -> Result<()> {
        let origin = *self.origin.get_or_insert(frame.timestamp.pts);
        self.encoder.put_at(frame, frame.timestamp.pts.saturating_sub(origin))?;
        self.frames += 1;
        self.write_packets()
    }

    /// Drains the encoder and ends the container.
    ///
    /// # Errors
    /// If writing fails.
    pub fn finish(mut self) -> Result<()> {
        self.encoder.end()?;
        self.write_packets()?;
        self.muxer.output.write_trailer().context("end the video")
    }

    fn write_packets(&mut self) -> Result<()> {
        let mut packet = Packet::empty();
        while self.encoder.take(&mut packet)? {
            packet.set_stream(Self::VIDEO_STREAM);
            if let Some(stream) = self.muxer.output.stream(Self::VIDEO_STREAM) {
                packet.rescale_ts(self.encoder.time_base(), stream.time_base());
            }
            packet.write_interleaved(&mut self.muxer.output).context("write a picture")?;
        }
        Ok(())
    }
}
