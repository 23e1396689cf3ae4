//! The style engine: frames of any size in, painted frames out.
//!
//! Frames whose shorter side is above the work size are painted small and brought back to size by [`super::upscale`]; the
//! network sets the style, the settings how much of it shows. Frames with next to no contrast are painted the less
//! (`contrast`): the end of a fade.

use anyhow::{Result, ensure};

use super::network::{StyleNetwork, StyleOptions};
use super::pixels::{Mix, mix_in_place};
use super::spec::StyleSpec;
use super::upscale::GuidedUpscaler;
use super::{NetworkContract, Stylizer};
use crate::contrast::bearing;
use crate::frame::{Frame, FrameSize};
use crate::runtime::{Device, Terminator};

/// How a frame is painted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StyleSettings {
    /// Share of the painted frame, 0–1 (default 1); the rest is the frame as it was.
    pub strength: f32,
    /// Keep the frame's colors and take only the painted luma (default no).
    pub keep_color: bool,
    /// The shorter side of the picture that the network sees, in pixels (default 1080). Larger frames are painted at this
    /// size and their detail is carried over.
    pub work_size: usize,
}

impl Default for StyleSettings {
    fn default() -> Self {
        Self { strength: 1.0, keep_color: false, work_size: 1080 }
    }
}

impl StyleSettings {
    /// # Errors
    /// When a value is out of its range.
    pub fn check(&self) -> Result<()> {
        ensure!((0.0..=1.0).contains(&self.strength), "strength {} is out of range (expected 0 to 1)", self.strength);
        ensure!(
            (16..=65_535).contains(&self.work_size),
            "work size {} is out of range (expected 16 to 65535 pixels)",
            self.work_size
        );
        Ok(())
    }

    fn mix(&self) -> Mix {
        Mix { strength: self.strength, keep_color: self.keep_color }
    }
}

/// A style network with settings, ready for frames.
#[derive(Debug)]
pub struct StyleEngine {
    network: StyleNetwork,
    settings: StyleSettings,
    upscaler: GuidedUpscaler,
    /// The small frame and its painting, of the last frame's work size.
    small: Option<(Frame, Frame)>,
}

impl StyleEngine {
    /// Opens the network of `spec`.
    ///
    /// # Errors
    /// As [`StyleNetwork::open`], or when a setting is out of its range.
    pub fn open(spec: &StyleSpec, options: &StyleOptions, settings: StyleSettings) -> Result<Self> {
        settings.check()?;
        Ok(Self { network: StyleNetwork::open(spec, options)?, settings, upscaler: GuidedUpscaler::new(), small: None })
    }

    /// The same once more, to paint at the same time; see [`StyleNetwork::beside`].
    ///
    /// # Errors
    /// As [`StyleNetwork::beside`].
    pub fn beside(&self, device: &Device, threads: usize) -> Result<Self> {
        let network = self.network.beside(device, threads)?;
        Ok(Self { network, settings: self.settings, upscaler: GuidedUpscaler::new(), small: None })
    }

    /// What the network expects, and where that is known from.
    pub fn contract(&self) -> &NetworkContract {
        self.network.contract()
    }

    /// The network.
    pub fn network(&self) -> &StyleNetwork {
        &self.network
    }

    /// The network, to change its style.
    pub fn network_mut(&mut self) -> &mut StyleNetwork {
        &mut self.network
    }

    /// The settings.
    pub fn settings(&self) -> StyleSettings {
        self.settings
    }

    /// Changes the settings from the next frame on.
    ///
    /// # Errors
    /// When a value is out of its range; then nothing changes.
    pub fn set_settings(&mut self, settings: StyleSettings) -> Result<()> {
        settings.check()?;
        self.settings = settings;
        Ok(())
    }

    /// Ends a run in progress, and every later one, from another thread.
    pub fn terminator(&self) -> Terminator {
        self.network.terminator()
    }

    /// Bytes of memory that the network takes for frames of `size`, roughly; `None` where its graph does not tell.
    pub fn bytes_needed(&self, size: FrameSize) -> Option<u64> {
        self.network.bytes_needed(self.work_size(size))
    }

    /// The size at which the network sees frames of `size`.
    pub fn work_size(&self, size: FrameSize) -> FrameSize {
        size.with_short_side_at_most(self.settings.work_size)
    }
}

impl Stylizer for StyleEngine {
    fn stylize(&mut self, src: &Frame, dst: &mut Frame) -> Result<()> {
        src.check_size()?;
        dst.check_size()?;
        ensure!(src.size == dst.size, "a frame of {} cannot be painted into one of {}", src.size, dst.size);
        let mut mix = self.settings.mix();
        mix.strength *= bearing(src.size, src.pixels());
        if mix.strength <= 0.0 {
            // Nothing of the painting would show: the network is not asked.
            dst.pixels_mut().copy_from_slice(src.pixels());
            return Ok(());
        }
        let work_size = self.work_size(src.size);
        if work_size == src.size {
            return self.network.stylize(src, mix, dst);
        }
        let (mut content, mut painted) = match self.small.take() {
            Some(small) if small.0.size == work_size => small,
            _ => (Frame::black(work_size), Frame::black(work_size)),
        };
        self.upscaler.downscale(src, &mut content)?;
        self.network.stylize(&content, Mix::NONE, &mut painted)?;
        self.upscaler.upscale(src, &content, &painted, dst)?;
        self.small = Some((content, painted));
        mix_in_place(src.pixels(), dst.pixels_mut(), mix);
        Ok(())
    }

    fn describe(&self) -> String {
        self.network.describe()
    }

    fn provider(&self) -> String {
        self.network.device().to_string()
    }
}
