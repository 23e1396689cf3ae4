//! What FFmpeg's and OpenCV's libraries of this machine can do, as far as it matters here.

use anyhow::{Context, Result};
use ffmpeg_next as ffmpeg;

use super::containers::Needs;
use super::encoder::{self, EncoderSettings};
use super::{VideoInfo, ffi};
use crate::frame::FrameSize;

/// Encoders of hardware that take frames from memory: an option of the user, tried before it is believed.
const HARDWARE_ENCODERS: &[&str] = &[
    "h264_nvenc",
    "hevc_nvenc",
    "av1_nvenc",
    "h264_qsv",
    "hevc_qsv",
    "h264_amf",
    "hevc_amf",
    "h264_videotoolbox",
    "hevc_videotoolbox",
];

/// Decoders without which common clips cannot be read, by the names of their codecs.
const COMMON_DECODERS: &[(&str, ffmpeg::codec::Id)] = &[
    ("h264", ffmpeg::codec::Id::H264),
    ("hevc", ffmpeg::codec::Id::HEVC),
    ("av1", ffmpeg::codec::Id::AV1),
    ("vp9", ffmpeg::codec::Id::VP9),
    ("vp8", ffmpeg::codec::Id::VP8),
    ("mpeg4", ffmpeg::codec::Id::MPEG4),
    ("mpeg2", ffmpeg::codec::Id::MPEG2VIDEO),
    ("prores", ffmpeg::codec::Id::PRORES),
    ("dnxhd", ffmpeg::codec::Id::DNXHD),
    ("mjpeg", ffmpeg::codec::Id::MJPEG),
];

/// What encodes or decodes a codec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodecAbility {
    /// The codec's everyday name.
    pub codec: &'static str,
    /// What FFmpeg has for it.
    pub found: Option<String>,
}

/// An encoder of hardware that FFmpeg was built with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HardwareEncoder {
    /// FFmpeg's name.
    pub name: &'static str,
    /// Why it does not open on this machine.
    pub trouble: Option<String>,
}

/// The version of FFmpeg's libraries, as its package calls it.
pub fn ffmpeg_version() -> String {
    ffi::version()
}

/// The version of OpenCV.
///
/// # Errors
/// When OpenCV does not say.
pub fn opencv_version() -> Result<String> {
    opencv::core::get_version_string().context("ask OpenCV for its version")
}

/// The codecs that can be asked for by name, with the encoder that each would get.
pub fn encoders() -> Vec<CodecAbility> {
    let found = |codec| Some(encoder::find(codec).ok()?.first()?.codec.name().to_owned());
    encoder::known_names().map(|codec| CodecAbility { codec, found: found(codec) }).collect()
}

/// The usual codecs, with what decodes them.
pub fn decoders() -> Vec<CodecAbility> {
    let found = |id| ffmpeg::decoder::find(id).map(|decoder| decoder.name().to_owned());
    COMMON_DECODERS.iter().map(|&(codec, id)| CodecAbility { codec, found: found(id) }).collect()
}

/// The encoders of hardware that this FFmpeg has, each opened once. Blocks for a second where there are several.
pub fn hardware_encoders() -> Vec<HardwareEncoder> {
    if super::init().is_err() {
        return Vec::new();
    }
    let in_build = HARDWARE_ENCODERS.iter().filter_map(|name| Some((*name, ffmpeg::encoder::find_by_name(name)?)));
    let trial = |(name, codec)| {
        let info = VideoInfo::plain(FrameSize::new(640, 360), 25);
        let candidate = encoder::Candidate { codec, defaults: &[] };
        let opened = encoder::open(&info, &EncoderSettings::default(), &[candidate], Needs::default());
        HardwareEncoder { name, trouble: opened.err().map(|error| error.root_cause().to_string()) }
    };
    in_build.map(trial).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_libraries_that_the_tests_run_with_can_do_the_usual() {
        super::super::init().unwrap();
        assert!(!ffmpeg_version().is_empty());
        assert!(opencv_version().unwrap().starts_with(['4', '5']));
        let of = |abilities: Vec<CodecAbility>, codec| {
            abilities.into_iter().find(|ability| ability.codec == codec).unwrap().found
        };
        assert!(of(encoders(), "h264").is_some());
        assert_eq!(of(decoders(), "h264").as_deref(), Some("h264"));
        assert!(of(decoders(), "prores").is_some());
    }

    #[test]
    fn an_encoder_of_hardware_that_is_not_there_has_a_reason() {
        for encoder in hardware_encoders() {
            assert!(encoder.trouble.is_none_or(|trouble| !trouble.is_empty()), "{}", encoder.name);
        }
    }
}
