//! Why an output is refused: what the caller can offer a way out of.

use std::path::PathBuf;

use ffmpeg_next::Error;

/// Why an output is refused before anything is written, where the caller can offer a way out.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// There is a file of this name.
    #[error("the output '{}' exists already", .0.display())]
    Exists(PathBuf),
    /// It would replace what is being read.
    #[error("the output '{}' is the input", .0.display())]
    IsInput(PathBuf),
    /// Its extension is of no container that is written.
    #[error("'{}' does not end like a video that can be written (expected .mp4, .mkv, .mov, .webm or .gif)", .0.display())]
    NotVideo(PathBuf),
    /// Its extension is of a container that has no pictures.
    #[error("'{}' cannot hold video (expected .mp4, .mkv, .mov, .webm or .gif)", .0.display())]
    SoundOnly(PathBuf),
    /// It is to be a recording, and no Matroska.
    #[error("a recording is a .mkv, which plays even if the program is killed (got '{}')", .0.display())]
    NotMatroska(PathBuf),
    /// The codec is none that this FFmpeg can write.
    #[error("{0}")]
    NoEncoder(String),
    /// The container knows no such video.
    #[error("'{}' cannot hold {codec} video", .path.display())]
    CannotHold {
        /// The output.
        path: PathBuf,
        /// FFmpeg's name of the codec.
        codec: &'static str,
    },
    /// The container knows all of these, but not as they are: a sample rate, a size, so many of them.
    #[error("'{}' cannot hold these streams ({}): {reason}", .path.display(), .codecs.join(", "))]
    Refused {
        /// The output.
        path: PathBuf,
        /// FFmpeg's names of the codecs.
        codecs: Vec<&'static str>,
        /// What FFmpeg says.
        reason: Error,
    },
}

impl OutputError {
    /// Whether the names that were asked for are wrong, whatever the files are.
    pub fn is_of_names(&self) -> bool {
        use OutputError::{NoEncoder, NotMatroska, NotVideo, SoundOnly};
        matches!(self, NotVideo(_) | SoundOnly(_) | NotMatroska(_) | NoEncoder(_))
    }
}
