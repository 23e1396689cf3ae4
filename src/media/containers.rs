//! What containers hold, beyond what FFmpeg's tables say of them.

use ffmpeg_next as ffmpeg;

use ffmpeg::codec::Id;
use ffmpeg::format::Flags;
use ffmpeg::format::context::Output;
use ffmpeg::media::Type;

use super::ffi;

/// Muxers that take anything of a kind and then refuse it in their header, or call it data; and what they do hold.
const HELD: &[(&[&str], Type, &[Id])] = &[
    (
        &["mpegts"],
        Type::Audio,
        &[
            Id::MP1,
            Id::MP2,
            Id::MP3,
            Id::AAC,
            Id::AAC_LATM,
            Id::AC3,
            Id::EAC3,
            Id::DTS,
            Id::TRUEHD,
            Id::OPUS,
            Id::S302M,
            Id::PCM_BLURAY,
        ],
    ),
    (PROGRAM_STREAMS, Type::Audio, &[Id::MP1, Id::MP2, Id::MP3, Id::AC3, Id::DTS, Id::PCM_S16BE, Id::PCM_DVD]),
    (PROGRAM_STREAMS, Type::Subtitle, &[Id::DVD_SUBTITLE]),
    (OGG, Type::Audio, &[Id::VORBIS, Id::OPUS, Id::FLAC, Id::SPEEX]),
    (OGG, Type::Subtitle, &[]),
];

const PROGRAM_STREAMS: &[&str] = &["mpeg", "vcd", "svcd", "vob", "dvd"];
const OGG: &[&str] = &["ogg", "ogv", "oga"];

/// Whether the container can hold the codec.
pub fn can_hold(output: &Output, codec: Id) -> bool {
    let format = output.format();
    let muxer = format.name();
    let held = HELD.iter().find(|(muxers, kind, _)| *kind == codec.medium() && muxers.contains(&muxer));
    let is_refused = match muxer {
        "mov" => matches!(codec, Id::FLAC | Id::OPUS | Id::TRUEHD),
        "flv" => codec.name().starts_with("pcm_") && !matches!(codec, Id::PCM_U8 | Id::PCM_S16LE),
        _ => held.is_some_and(|(.., codecs)| !codecs.contains(&codec)),
    };
    !is_refused && ffi::takes(output, codec)
}

/// Whether a muxer writes MP4 or one of its kin, by its name.
pub fn is_mp4(muxer: &str) -> bool {
    ["mov", "mp4", "ipod", "3gp", "3g2", "psp", "f4v", "ismv"].contains(&muxer)
}

/// Whether chapters can be written at the end, when it is known where that is; others have them in their header.
pub fn has_chapters_last(output: &Output) -> bool {
    ["mov", "mp4", "ipod", "matroska", "webm"].contains(&output.format().name())
}

/// What a container asks of its codecs.
#[derive(Debug, Clone, Copy, Default)]
pub struct Needs {
    /// What all packets share stands in its header.
    pub has_global_header: bool,
    /// It has a picture at every tick of its clock: one that ticks faster is full of empty pictures.
    pub counts_pictures: bool,
}

impl Needs {
    /// What `output` asks.
    pub fn of(output: &Output) -> Self {
        let format = output.format();
        Self {
            has_global_header: format.flags().contains(Flags::GLOBAL_HEADER),
            counts_pictures: ["avi", "mxf"].contains(&format.name()),
        }
    }
}
