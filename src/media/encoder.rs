//! Which encoder, which pixel format, which options.

use anyhow::{Context, Result, bail, ensure};
use ffmpeg_next as ffmpeg;

use ffmpeg::codec::{self, encoder, threading};
use ffmpeg::color::{Range, Space};
use ffmpeg::format::Pixel;
use ffmpeg::{Codec, Dictionary, Rational};

use super::color::{ColorTags, is_full_range};
use super::containers::Needs;
use super::ffi;
use super::info::VideoInfo;
use super::output_error::OutputError;
use crate::frame::FrameSize;

/// How the pictures are encoded. The default is the container's usual codec at high quality.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EncoderSettings {
    /// `h264`, `hevc`, `av1`, `vp9`, `ffv1`, `prores`, …, or the name of one of FFmpeg's encoders.
    pub codec: Option<String>,
    /// Constant rate factor: lower is better and larger; the scale is the encoder's (x264: 0–51).
    pub crf: Option<f32>,
    /// The encoder's own name for speed against size.
    pub preset: Option<String>,
    /// FFmpeg's name of a pixel format.
    pub pixel_format: Option<String>,
    /// More options of the encoder.
    pub options: Vec<(String, String)>,
    /// Threads of the encoder; 0 leaves it to the encoder.
    pub threads: usize,
}

/// A codec by the name that people use: FFmpeg's encoders for it, best first, with options that give high quality.
struct KnownCodec {
    names: &'static [&'static str],
    encoders: &'static [(&'static str, &'static [(&'static str, &'static str)])],
}

const KNOWN_CODECS: &[KnownCodec] = &[
    KnownCodec {
        names: &["h264", "avc", "x264"],
        encoders: &[
            ("libx264", &[("crf", "18"), ("preset", "veryfast")]),
            ("libopenh264", &[]),
            ("h264_videotoolbox", &[]),
        ],
    },
    KnownCodec {
        names: &["hevc", "h265", "x265"],
        encoders: &[
            ("libx265", &[("crf", "20"), ("preset", "fast"), ("x265-params", "log-level=none:info=0")]),
            ("hevc_videotoolbox", &[]),
        ],
    },
    KnownCodec {
        names: &["av1"],
        encoders: &[
            ("libsvtav1", &[("crf", "28"), ("preset", "9")]),
            ("libaom-av1", &[("crf", "26"), ("cpu-used", "6"), ("row-mt", "1")]),
        ],
    },
    KnownCodec {
        names: &["vp9"],
        encoders: &[(
            "libvpx-vp9",
            &[("crf", "24"), ("b", "0"), ("deadline", "good"), ("cpu-used", "5"), ("row-mt", "1")],
        )],
    },
    KnownCodec { names: &["vp8"], encoders: &[("libvpx", &[("crf", "8"), ("b", "8M"), ("cpu-used", "4")])] },
    KnownCodec { names: &["prores"], encoders: &[("prores_ks", &[("profile", "hq")])] },
    KnownCodec { names: &["mjpeg"], encoders: &[("mjpeg", STEADY_QUALITY)] },
    KnownCodec { names: &["mpeg4"], encoders: &[("mpeg4", STEADY_QUALITY)] },
];

/// Three quantizer steps of these encoders' own; they would take 200 kbit/s for any size.
const STEADY_QUALITY: &[(&str, &str)] = &[("global_quality", "354"), ("flags", "+qscale")];

/// Encoders that only old containers ask for, with options that give high quality.
const OLD_ENCODERS: &[(&str, &[(&str, &str)])] = &[
    ("mpeg1video", STEADY_QUALITY),
    ("mpeg2video", STEADY_QUALITY),
    ("msmpeg4", STEADY_QUALITY),
    ("wmv1", STEADY_QUALITY),
    ("wmv2", STEADY_QUALITY),
    ("flv", STEADY_QUALITY),
    ("h263p", STEADY_QUALITY),
    // Its scale goes up to 10.
    ("libtheora", &[("global_quality", "944"), ("flags", "+qscale")]),
];

/// One of FFmpeg's encoders, with options that give high quality.
#[derive(Clone, Copy)]
pub struct Candidate {
    pub codec: Codec,
    pub defaults: &'static [(&'static str, &'static str)],
}

/// What was opened.
pub struct OpenedEncoder {
    pub encoder: encoder::video::Encoder,
    pub name: String,
    pub pixel: Pixel,
    /// Of the video, as far as the encoder can write them.
    pub color: ColorTags,
    pub time_base: Rational,
    pub note: Option<String>,
}

/// The everyday names of codecs, one each.
pub fn known_names() -> impl Iterator<Item = &'static str> {
    KNOWN_CODECS.iter().filter_map(|known| known.names.first().copied())
}

/// Finds the encoders for `wanted`, a codec's everyday name or an encoder's own: at least one, all of one codec, best first.
pub fn find(wanted: &str) -> Result<Vec<Candidate>> {
    let wanted = wanted.to_ascii_lowercase();
    if let Some(known) = KNOWN_CODECS.iter().find(|known| known.names.contains(&wanted.as_str())) {
        let candidate =
            |&(name, defaults): &_| Some(Candidate { codec: ffmpeg::encoder::find_by_name(name)?, defaults });
        let candidates: Vec<Candidate> = known.encoders.iter().filter_map(candidate).collect();
        if candidates.is_empty() {
            let names: Vec<&str> = known.encoders.iter().map(|(name, _)| *name).collect();
            let text = format!("this FFmpeg has no encoder for '{wanted}' (expected one of: {})", names.join(", "));
            bail!(OutputError::NoEncoder(text));
        }
        return Ok(candidates);
    }
    let named = if has_nul(&wanted) { None } else { ffmpeg::encoder::find_by_name(&wanted) };
    let Some(codec) = named.filter(Codec::is_video) else {
        let names: Vec<&str> = known_names().collect();
        bail!(OutputError::NoEncoder(format!(
            "'{wanted}' is no video encoder of this FFmpeg (expected one of {}, gif, ffv1, or a name from `ffmpeg -encoders`)",
            names.join(", ")
        )));
    };
    let defaults = KNOWN_CODECS
        .iter()
        .flat_map(|known| known.encoders)
        .chain(OLD_ENCODERS)
        .find_map(|(name, defaults)| (*name == wanted).then_some(*defaults))
        .unwrap_or_default();
    Ok(vec![Candidate { codec, defaults }])
}

/// Whether a text is none for FFmpeg, whose texts end at the first NUL.
fn has_nul(text: &str) -> bool {
    text.contains('\0')
}

/// Refuses a codec that this FFmpeg cannot write, whatever the container.
///
/// # Errors
/// With the names that there are.
pub fn check_codec(wanted: &str) -> Result<()> {
    super::init()?;
    find(wanted).map(drop)
}

/// Opens the first of the encoders that takes frames like `info` (one may refuse a size that the next can do); where
/// none does, the reason is the first one's.
pub fn open(
    info: &VideoInfo,
    settings: &EncoderSettings,
    candidates: &[Candidate],
    container: Needs,
) -> Result<OpenedEncoder> {
    check_clock(info)?;
    let mut reason = None;
    for candidate in candidates {
        match open_one(info, settings, *candidate, container) {
            Ok(opened) => return Ok(opened),
            Err(error) => {
                tracing::debug!("{error:#}");
                reason.get_or_insert(error);
            }
        }
    }
    Err(reason.context("no encoder to open")?)
}

/// Refuses a time base that times nothing, and rates that are none. A rate of 0 is one that nobody knows.
fn check_clock(VideoInfo { time_base, frame_rate, steady_rate, .. }: &VideoInfo) -> Result<()> {
    let is_rate = |rate: &Rational| rate.numerator() >= 0 && rate.denominator() > 0;
    ensure!(
        time_base.numerator() > 0 && time_base.denominator() > 0 && is_rate(frame_rate) && is_rate(steady_rate),
        "a video of {frame_rate} frames a second that are timed in {time_base} s cannot be written (expected both above 0, or a \
         frame rate of 0/1 where it is not known)"
    );
    Ok(())
}

fn open_one(
    info: &VideoInfo,
    settings: &EncoderSettings,
    Candidate { codec, defaults }: Candidate,
    container: Needs,
) -> Result<OpenedEncoder> {
    let name = codec.name().to_owned();
    let (pixel, mut note) = choose_pixel_format(codec, info.size, settings.pixel_format.as_deref())?;
    let color = match codec.id() {
        // JFIF knows nothing but BT.601 in full range, whatever the video was.
        codec::Id::MJPEG => ColorTags { matrix: Space::BT470BG, range: Range::JPEG, ..info.color },
        // They cannot say that it is full.
        codec::Id::MPEG1VIDEO
        | codec::Id::MPEG2VIDEO
        | codec::Id::MPEG4
        | codec::Id::MSMPEG4V2
        | codec::Id::MSMPEG4V3
        | codec::Id::WMV1
        | codec::Id::WMV2
        | codec::Id::FLV1
        | codec::Id::H263
        | codec::Id::H263P
        | codec::Id::THEORA => ColorTags { range: Range::MPEG, ..info.color },
        _ if is_full_range(pixel) => ColorTags { range: Range::JPEG, ..info.color },
        _ => info.color,
    };

    if codec.id() == codec::Id::GIF && f64::from(info.frame_rate) > 50.0 {
        note = Some("players show a GIF at 50 pictures a second at most: it will play slower".to_owned());
    }

    let mut context = codec::Context::new_with_codec(codec);
    context.set_threading(threading::Config {
        count: settings.threads,
        ..threading::Config::kind(threading::Type::Frame)
    });
    if container.has_global_header {
        context.set_flags(codec::Flags::GLOBAL_HEADER);
    }
    let mut video = context.encoder().video().with_context(|| format!("'{name}' is no video encoder"))?;
    video.set_width(u32::try_from(info.size.width)?);
    video.set_height(u32::try_from(info.size.height)?);
    video.set_format(pixel);
    let time_base = encoder_time_base(codec.id(), info, container);
    video.set_time_base(time_base);
    if info.frame_rate.numerator() > 0 {
        video.set_frame_rate(Some(info.frame_rate));
    }
    video.set_aspect_ratio(info.sample_aspect_ratio);
    if !ffi::is_rgb(pixel) {
        video.set_colorspace(color.matrix);
        video.set_color_range(color.range);
    }
    video.set_color_primaries(color.primaries);
    video.set_color_transfer_characteristic(color.transfer);

    let options = options(&codec, settings, defaults)?;
    let text: Vec<String> = options.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let encoder = video.open_with(options.into_iter().collect::<Dictionary<'_>>()).with_context(|| {
        format!(
            "encoder '{name}' does not accept {} frames in {} with {}",
            info.size,
            pixel_name(pixel),
            text.join(" ")
        )
    })?;
    Ok(OpenedEncoder { encoder, name, pixel, color, time_base, note })
}

/// The input's own time base, so that every timestamp is kept; but MPEG-4 part 2 counts at most to 65535, GIF in hundredths, and
/// some codecs and containers (AVI) count pictures.
fn encoder_time_base(codec: codec::Id, info: &VideoInfo, container: Needs) -> Rational {
    const FINEST_OF_MPEG4: Rational = Rational(1, 60_000);
    const ONE_OF_GIF: Rational = Rational(1, 100);
    let counted = match codec {
        codec::Id::GIF => return ONE_OF_GIF,
        codec::Id::MPEG1VIDEO | codec::Id::MPEG2VIDEO | codec::Id::THEORA | codec::Id::WRAPPED_AVFRAME => {
            Some(info.frame_rate)
        }
        _ => Some(info.steady_rate).filter(|_| container.counts_pictures),
    };
    let time_base = counted.filter(|rate| rate.numerator() > 0).map_or(info.time_base, |rate| rate.invert());
    if codec == codec::Id::MPEG4 && time_base.denominator() > 65_535 { FINEST_OF_MPEG4 } else { time_base }
}

fn pixel_name(pixel: Pixel) -> &'static str {
    pixel.descriptor().map_or("unknown", |descriptor| descriptor.name())
}

/// yuv420p where the encoder and the size allow it, since everything plays it; else the nearest that keeps the size.
fn choose_pixel_format(codec: Codec, size: FrameSize, wanted: Option<&str>) -> Result<(Pixel, Option<String>)> {
    let supported: Vec<Pixel> =
        codec.video().ok().and_then(|video| video.formats()).map(Iterator::collect).unwrap_or_default();
    if let Some(wanted) = wanted {
        return match wanted.parse::<Pixel>() {
            Ok(pixel) if supported.is_empty() || supported.contains(&pixel) => Ok((pixel, None)),
            _ => {
                let names: Vec<&str> = supported.iter().map(|pixel| pixel_name(*pixel)).collect();
                bail!(
                    "pixel format '{wanted}' is not one of encoder '{}' (expected {})",
                    codec.name(),
                    names.join(", ")
                )
            }
        };
    }
    // H.264 and HEVC crop in whole chroma samples: an odd size needs a format without chroma subsampling.
    let is_odd = size.width % 2 == 1 || size.height % 2 == 1;
    let must_be_even = matches!(codec.id(), codec::Id::H264 | codec::Id::HEVC);
    let preferred: &[Pixel] =
        if is_odd && must_be_even { &[Pixel::YUV444P] } else { &[Pixel::YUV420P, Pixel::YUVJ420P, Pixel::YUV444P] };
    let chosen = match preferred.iter().find(|pixel| supported.contains(pixel)) {
        Some(pixel) => *pixel,
        None => supported.first().copied().unwrap_or(Pixel::YUV420P),
    };
    let note = (is_odd && must_be_even)
        .then(|| format!("the size {size} is odd: encoded as {}, which some players do not know", pixel_name(chosen)));
    Ok((chosen, note))
}

/// The largest quality number that an encoder knows: x264 and x265 take any, and mean this.
fn most_crf(encoder: &str) -> f32 {
    match encoder {
        "libx264" | "libx265" => 51.0,
        "libsvtav1" | "libaom-av1" | "libvpx" | "libvpx-vp9" => 63.0,
        _ => 255.0,
    }
}

/// The presets of x264 and x265, which also take their numbers, and say themselves that they do not know one.
const PRESETS: [&str; 10] =
    ["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo"];

fn check_preset(encoder: &str, preset: &str) -> Result<()> {
    let is_known = PRESETS.contains(&preset) || matches!(preset.as_bytes(), [digit] if digit.is_ascii_digit());
    let has_them = encoder.starts_with("libx264") || encoder == "libx265";
    ensure!(is_known || !has_them, "encoder '{encoder}' has no preset '{preset}' (expected {})", PRESETS.join(", "));
    Ok(())
}

/// Defaults, then what the user set; an option that the encoder does not have is an error.
fn options(codec: &Codec, settings: &EncoderSettings, defaults: &[(&str, &str)]) -> Result<Vec<(String, String)>> {
    let mut asked: Vec<(String, String)> = Vec::new();
    if let Some(crf) = settings.crf {
        let most = most_crf(codec.name());
        ensure!(
            (0.0..=most).contains(&crf),
            "crf {crf} is out of the range of encoder '{}' (expected 0 to {most})",
            codec.name()
        );
        asked.push(("crf".to_owned(), crf.to_string()));
    }
    if let Some(preset) = &settings.preset {
        asked.push(("preset".to_owned(), preset.clone()));
    }
    asked.extend(settings.options.iter().cloned());
    for (key, value) in &asked {
        if key == "preset" {
            check_preset(codec.name(), value)?;
        }
        ensure!(!has_nul(value), "option '{key}' is {value:?} (expected a text without NUL)");
        if !ffi::encoder_has_option(codec, key) {
            bail!(
                "encoder '{}' has no option '{key}' (`ffmpeg -h encoder={}` lists what it has)",
                codec.name(),
                codec.name()
            );
        }
    }
    // A rate asked for in another way than by quality: the default quality must not stand against it.
    let rate_is_asked = asked.iter().any(|(key, _)| matches!(key.as_str(), "b" | "qp" | "global_quality" | "lossless"));
    let mut options: Vec<(String, String)> = defaults
        .iter()
        .filter(|(key, _)| !(rate_is_asked && *key == "crf"))
        .filter(|(key, _)| !asked.iter().any(|(asked, _)| asked == key))
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    for (key, value) in asked {
        // A list of options of its own: what it does not name stays as it is by default.
        let of_default = defaults.iter().find(|(default, _)| key.ends_with("-params") && *default == key);
        let value = of_default.map_or(value.clone(), |(_, of_default)| format!("{of_default}:{value}"));
        options.push((key, value));
    }
    Ok(options)
}
