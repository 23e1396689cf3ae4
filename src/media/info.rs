//! What a video is like, wherever it comes from and goes to.

use ffmpeg_next::Rational;

use super::color::ColorTags;
use crate::frame::FrameSize;

/// What is known of a video before its frames are read.
#[derive(Debug, Clone, PartialEq)]
pub struct VideoInfo {
    /// Size of the frames as they come out: upright.
    pub size: FrameSize,
    /// Unit of the frames' timestamps, in seconds: what [`VideoWriter`](super::VideoWriter) expects them in, and what is to be given to
    /// [`MotionEstimator`](crate::motion::MotionEstimator) for the seconds of a tick.
    pub time_base: Rational,
    /// Frames a second on average; 0/1 where the file does not say.
    pub frame_rate: Rational,
    /// The slowest steady rate that has a picture at each of the timestamps, which for a steady video is its frame rate; 0/1 where
    /// the file does not say.
    pub steady_rate: Rational,
    /// Width of a pixel over its height; 0/1 where unset.
    pub sample_aspect_ratio: Rational,
    /// What the numbers of the video mean, and shall mean in the output.
    pub color: ColorTags,
    /// How many frames are to be expected, if the file gives a hint.
    pub expected_frames: Option<u64>,
    /// The decoder's name.
    pub codec: String,
    /// What was changed on the way in that a person should know.
    pub notes: Vec<String>,
}

impl VideoInfo {
    /// Progressive frames of square pixels in BT.709 at a steady rate (1 or more): for what does not come from a file.
    pub fn plain(size: FrameSize, frames_per_second: i32) -> Self {
        Self {
            size,
            time_base: Rational(1, frames_per_second),
            frame_rate: Rational(frames_per_second, 1),
            steady_rate: Rational(frames_per_second, 1),
            sample_aspect_ratio: Rational(1, 1),
            color: ColorTags::bt709(),
            expected_frames: None,
            codec: String::new(),
            notes: Vec::new(),
        }
    }
}
