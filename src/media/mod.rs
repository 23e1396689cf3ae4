//! Files through FFmpeg's libraries: reading frames with their timestamps and colours, writing them back, and copying
//! the streams that are not pictures; and uncompressed video through pipes.
//!
//! This is the only room that knows FFmpeg. It knows nothing of stages, styles or the terminal: what a person should
//! hear comes back as notes.

mod abilities;
mod camera;
mod color;
mod containers;
mod converter;
mod copy;
mod cut;
mod deinterlace;
mod encoder;
mod ffi;
mod filter;
mod info;
mod journal;
mod live_output;
mod output_error;
mod packets;
mod picture_encoder;
mod pipe;
mod planes;
mod reader;
mod recorder;
mod stream;
mod stream_out;
mod to_rgb;
#[cfg(target_os = "linux")]
mod v4l2;
#[cfg(target_os = "linux")]
mod virtual_camera;
mod window;
mod writer;
mod y4m;

use std::path::Path;
use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result, bail};
/// FFmpeg's types, of which some stand in [`ColorTags`] and [`OutputError`].
pub use ffmpeg_next as ffmpeg;

pub use abilities::{
    CodecAbility, HardwareEncoder, decoders, encoders, ffmpeg_version, hardware_encoders, opencv_version,
};
pub use camera::{
    Camera, CameraChoice, CameraDevice, CameraError, CameraMode, CameraOptions, CameraPicture, ChooseCameraError,
    camera_modes, list_cameras,
};
pub use color::ColorTags;
pub use cut::{Cut, ParseTimeError, Time};
pub use encoder::{EncoderSettings, check_codec};
pub use ffmpeg::Rational;
pub use info::VideoInfo;
pub use journal::{Journal, JournalInUse, Settings};
pub use output_error::OutputError;
pub use packets::Damage;
pub use pipe::{PipeFormat, PipeOptions, PipeReader, PipeWriter, RawVideo, ReaderLeft};
pub use planes::{BitDepth, ColorRange, Matrix, PictureLayout, Sampling};
pub use reader::{ReaderOptions, VideoReader};
pub use recorder::Recorder;
pub use stream_out::{StreamError, StreamOut, StreamTarget};
#[cfg(target_os = "linux")]
pub use virtual_camera::VirtualCamera;
pub use window::{NoDisplay, Window, check_display};
pub use writer::{VideoWriter, WriterOptions, Written};
pub use y4m::NotY4m;

pub use crate::output::Overwrite;

/// Asked now and then by a blocking read; `true` ends it.
pub type Interrupt = Arc<dyn Fn() -> bool + Send + Sync>;

/// Prepares FFmpeg once a process: registers error texts and keeps it from writing to the terminal.
///
/// # Errors
/// If FFmpeg's libraries cannot be initialized: at every call.
pub fn init() -> Result<()> {
    static INITIALIZED: OnceLock<Result<(), ffmpeg::Error>> = OnceLock::new();
    let initialized = INITIALIZED.get_or_init(|| {
        let result = ffmpeg::init();
        ffmpeg::log::set_level(ffmpeg::log::Level::Quiet);
        ffi::listen_to_messages();
        result
    });
    initialized.context("initialize FFmpeg")
}

/// Whether `path` is an address like `https://…` and no file; a text in which one stands, as a GStreamer pipeline, is none.
pub fn is_url(path: &Path) -> bool {
    let scheme = path.to_str().and_then(|text| text.split_once("://")).map(|(scheme, _)| scheme);
    scheme.is_some_and(|scheme| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.' | '_'))
    })
}

/// A file or an address as it may stand in a terminal: cameras and streams in a network often have their password in it, before
/// the host or behind a question mark.
pub fn shown(path: &Path) -> String {
    path.to_str().map_or_else(|| path.display().to_string(), without_secrets)
}

fn without_secrets(address: &str) -> String {
    let Some((scheme, rest)) = address.split_once("://") else { return address.to_owned() };
    let (rest, query) = rest.split_once('?').map_or((rest, ""), |(rest, _)| (rest, "?…"));
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (user, host) = authority.rsplit_once('@').map_or(("", authority), |(_, host)| ("…@", host));
    format!("{scheme}://{user}{host}{path}{query}")
}

/// What FFmpeg is told to open: files are marked as such, so that a colon in a name is no protocol.
fn address(path: &Path) -> Result<String> {
    match path.to_str() {
        Some(text) if text.contains('\0') => bail!("the path {text:?} is not usable (expected one without NUL)"),
        Some(text) if is_url(path) => Ok(text.to_owned()),
        Some(text) => Ok(format!("file:{text}")),
        None => bail!("the path '{}' is not valid UTF-8 (rename the file)", path.display()),
    }
}

const MICROSECONDS: Rational = Rational(1, 1_000_000);

/// `value` of time base `from`, in time base `to`, to the nearest.
fn rescale(value: i64, from: Rational, to: Rational) -> i64 {
    use ffmpeg::Rescale;
    value.rescale(from, to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        for (address, expected) in [
            ("rtsp://me:secret@cam/live", "rtsp://…@cam/live"),
            ("http://cam/video?user=me&password=secret@a/b", "http://cam/video?…"),
            ("srt://10.0.0.1:9?passphrase=secret", "srt://10.0.0.1:9?…"),
            ("udp://127.0.0.1:5000", "udp://127.0.0.1:5000"),
            ("what?/really@home.mp4", "what?/really@home.mp4"),
        ] {
            assert_eq!(shown(Path::new(address)), expected);
        }
    }
}
