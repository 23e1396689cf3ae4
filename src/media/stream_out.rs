//! A stream to somewhere: MPEG-TS over UDP, SRT or TCP, or RTMP, through FFmpeg, with as little delay as the encoder can.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::encoder::EncoderSettings;
use super::live_output::LiveOutput;
use super::{Interrupt, VideoInfo, without_secrets};
use crate::frame::Frame;

/// Where a stream goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamTarget {
    url: String,
    format: &'static str,
}

/// Why a text is no target of a stream.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum StreamError {
    /// No address, or none of a kind that is known.
    #[error(
        "'{0}' is no address to stream to (expected udp://, rtp://, srt:// or tcp:// and HOST:PORT, or rtmp:// or rtmps:// and HOST/APP/KEY)"
    )]
    Unknown(String),
}

/// Kinds of addresses and FFmpeg's container for each.
const KINDS: &[(&str, &str)] = &[
    ("udp://", "mpegts"),
    ("rtp://", "rtp_mpegts"),
    ("srt://", "mpegts"),
    ("tcp://", "mpegts"),
    ("rtmp://", "flv"),
    ("rtmps://", "flv"),
];

impl FromStr for StreamTarget {
    type Err = StreamError;

    fn from_str(text: &str) -> Result<Self, StreamError> {
        KINDS
            .iter()
            .find(|(scheme, format)| {
                let rest = text.get(..scheme.len()).filter(|start| start.eq_ignore_ascii_case(scheme));
                rest.is_some() && (has_port(&text[scheme.len()..]) || *format == "flv" && text.len() > scheme.len())
            })
            .map(|(_, format)| Self { url: text.to_owned(), format })
            .ok_or_else(|| StreamError::Unknown(without_secrets(text)))
    }
}

/// Whether what stands behind `://` begins with a host and its port; only RTMP has a usual one.
fn has_port(rest: &str) -> bool {
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok_and(|port| port > 0))
}

impl fmt::Display for StreamTarget {
    /// Without what nobody may read: an RTMP address ends with the key of the channel.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = without_secrets(&self.url);
        match shown.trim_end_matches("?…").rsplit_once('/') {
            Some((channel, _)) if self.format == "flv" && channel.contains("://") && !channel.ends_with('/') => {
                write!(f, "{channel}/…")
            }
            _ => f.write_str(&shown),
        }
    }
}

/// An open stream.
pub struct StreamOut {
    output: LiveOutput,
    target: StreamTarget,
    patience: Patience,
}

impl StreamOut {
    /// How long the other end may keep a picture waiting.
    const PATIENCE: Duration = Duration::from_secs(5);

    /// Opens the stream for frames like `info`, at so many bits a second. Blocks until the other end answers, for five
    /// seconds at most; UDP asks nobody.
    ///
    /// # Errors
    /// When nobody answers, or the encoder does not take such frames.
    pub fn open(target: &StreamTarget, info: &VideoInfo, bits_per_second: u64, threads: usize) -> Result<Self> {
        let patience = Patience::new(Self::PATIENCE);
        let interrupt: Interrupt = {
            let patience = patience.clone();
            Arc::new(move || patience.is_over())
        };
        let options = [("flush_packets", "1"), ("max_delay", "0"), ("flvflags", "no_duration_filesize")];
        let options = if target.format == "flv" { &options[..] } else { &options[..2] };
        let settings = settings(info, bits_per_second, threads);
        let output = LiveOutput::open(&target.url, target.format, options, info, &settings, interrupt)
            .with_context(|| format!("cannot open the stream to '{target}'"))?;
        Ok(Self { output, target: target.clone(), patience })
    }

    /// Sends a frame. Blocks while the other end does not take it, for five seconds at most.
    ///
    /// # Errors
    /// When the other end is gone or too slow; the stream is broken then.
    pub fn write(&mut self, frame: &Frame) -> Result<()> {
        self.patience.renew();
        self.output.write(frame).with_context(|| format!("the stream to '{}' has broken off", self.target))
    }

    /// Sends what the encoder holds and takes leave.
    ///
    /// # Errors
    /// When the other end is gone.
    pub fn finish(self) -> Result<()> {
        self.patience.renew();
        let Self { output, target, .. } = self;
        output.finish().with_context(|| format!("the stream to '{target}' has broken off"))
    }
}

/// No picture waits in the encoder for the next ones, the rate is held within a second, and whoever joins waits two
/// seconds at most for a whole picture.
fn settings(info: &VideoInfo, bits_per_second: u64, threads: usize) -> EncoderSettings {
    let frames_per_second = f64::from(info.frame_rate);
    let frames_per_second = if frames_per_second.is_finite() { frames_per_second.max(1.0) } else { 30.0 };
    let rate = bits_per_second.to_string();
    let options = [
        ("tune", "zerolatency".to_owned()),
        ("b", rate.clone()),
        ("maxrate", rate.clone()),
        ("bufsize", rate),
        ("g", format!("{}", (2.0 * frames_per_second).ceil())),
    ];
    EncoderSettings {
        codec: Some("h264".to_owned()),
        preset: Some("superfast".to_owned()),
        options: options.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
        threads,
        ..EncoderSettings::default()
    }
}

/// How long something that blocks may take: runs out after a while, unless it is renewed. Clones share it.
#[derive(Debug, Clone)]
struct Patience {
    started: Instant,
    allowed: Duration,
    /// Milliseconds after `started`.
    over_at: Arc<AtomicU64>,
}

impl Patience {
    /// Patience for `allowed` from now on.
    fn new(allowed: Duration) -> Self {
        let patience = Self { started: Instant::now(), allowed, over_at: Arc::default() };
        patience.renew();
        patience
    }

    /// Begins anew.
    fn renew(&self) {
        let over_at = self.started.elapsed().saturating_add(self.allowed);
        self.over_at.store(u64::try_from(over_at.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Whether it has run out.
    fn is_over(&self) -> bool {
        self.started.elapsed().as_millis() > u128::from(self.over_at.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::FrameSize;

    fn target(text: &str) -> StreamTarget {
        text.parse().unwrap()
    }

    #[test]
    fn the_address_decides_the_container() {
        for (url, format) in [
            ("udp://127.0.0.1:5000", "mpegts"),
            ("srt://host:9000?mode=caller", "mpegts"),
            ("RTMP://live.example/app/key", "flv"),
        ] {
            assert_eq!(target(url).format, format);
        }
        let without_port = "srt://host?passphrase=secret".parse::<StreamTarget>().unwrap_err().to_string();
        assert!(!without_port.contains("secret") && without_port.contains("HOST:PORT"), "{without_port}");
        for text in ["", "udp://", "udp://127.0.0.1", "tcp://host/9", "127.0.0.1:5000", "ftp://host/x", "out.mkv"] {
            assert_eq!(text.parse::<StreamTarget>(), Err(StreamError::Unknown(text.to_owned())));
        }
    }

    #[test]
    fn the_key_of_a_channel_is_not_shown() {
        assert_eq!(target("rtmp://live.example/app/secret").to_string(), "rtmp://live.example/app/…");
        assert_eq!(target("rtmp://live.example/app/secret?sig=a/b").to_string(), "rtmp://live.example/app/…");
        assert_eq!(target("srt://127.0.0.1:9?passphrase=secret").to_string(), "srt://127.0.0.1:9?…");
        assert_eq!(target("udp://127.0.0.1:5000").to_string(), "udp://127.0.0.1:5000");
    }

    #[test]
    fn a_stream_that_nobody_takes_is_an_error_that_hides_the_key() {
        let info = VideoInfo::plain(FrameSize::new(64, 48), 25);
        let error = StreamOut::open(&target("rtmp://127.0.0.1:9/app/secret"), &info, 1_000_000, 1).err().unwrap();
        let text = format!("{error:#}");
        assert!(text.starts_with("cannot open the stream to 'rtmp://127.0.0.1:9/app/…'"), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }
}
