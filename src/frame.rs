//! What travels between the stages: a picture, its size and its place in time.
//!
//! This room knows nothing of files, networks or threads. Every other room may use it.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex};

/// Number of bytes in one pixel: red, green, blue.
pub const CHANNELS: usize = 3;

/// Width and height of a picture in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FrameSize {
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

impl FrameSize {
    /// A size of `width` × `height` pixels.
    pub const fn new(width: usize, height: usize) -> Self {
        Self { width, height }
    }

    /// Pixels in the picture.
    pub const fn pixels(self) -> usize {
        self.width * self.height
    }

    /// Bytes of an RGB picture of this size.
    pub const fn bytes(self) -> usize {
        self.pixels() * CHANNELS
    }

    /// The shorter side: what "720p" counts, whichever way the camera was held.
    pub fn short_side(self) -> usize {
        self.width.min(self.height)
    }

    /// This size scaled down so that its shorter side is at most `short_side`; never enlarged, never under 1 pixel.
    pub fn with_short_side_at_most(self, short_side: usize) -> Self {
        let current = self.short_side();
        if current <= short_side || current == 0 {
            return self;
        }
        let scale = |length: usize| ((length * short_side + current / 2) / current).max(1);
        Self::new(scale(self.width), scale(self.height))
    }

    /// This size scaled down so that its longer side is at most `long_side`; never enlarged, never under 1 pixel.
    pub fn with_long_side_at_most(self, long_side: usize) -> Self {
        let current = self.width.max(self.height);
        if current <= long_side || current == 0 {
            return self;
        }
        let scale = |length: usize| ((length * long_side + current / 2) / current).max(1);
        Self::new(scale(self.width), scale(self.height))
    }

    /// The smallest size of the shape of `other` that this one fits into.
    pub fn in_shape_of(self, other: Self) -> Self {
        let wide = (self.height * other.width).div_ceil(other.height.max(1));
        let high = (self.width * other.height).div_ceil(other.width.max(1));
        Self::new(self.width.max(wide), self.height.max(high))
    }

    /// Both sides rounded up to a multiple of `multiple` (≥ 1).
    pub fn rounded_up(self, multiple: usize) -> Self {
        let multiple = multiple.max(1);
        Self::new(self.width.next_multiple_of(multiple), self.height.next_multiple_of(multiple))
    }
}

impl fmt::Display for FrameSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}×{}", self.width, self.height)
    }
}

/// Why a text is no size.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("size '{0}' is not WIDTHxHEIGHT in pixels (expected for example 640x360)")]
pub struct ParseFrameSizeError(String);

impl FromStr for FrameSize {
    type Err = ParseFrameSizeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (width, height) = text.split_once(['x', 'X', '×'])?;
            let side = |text: &str| text.parse::<usize>().ok().filter(|side| (1..=65_535).contains(side));
            Some(Self::new(side(width)?, side(height)?))
        };
        parse().ok_or_else(|| ParseFrameSizeError(text.to_owned()))
    }
}

/// When a frame is shown and for how long, both in the time base of the video stream that it came from
/// ([`VideoInfo::time_base`](crate::media::VideoInfo::time_base)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timestamp {
    /// Presentation timestamp.
    pub pts: i64,
    /// How long the frame stays; 0 where the source does not say.
    pub duration: i64,
}

/// A picture: 8-bit RGB, rows of packed pixels without padding, top to bottom, `[height, width, 3]`, 0–255.
///
/// The pixels live in a buffer of a [`FramePool`] and return to it when the frame is dropped. A frame that is made from another one,
/// its painting say, gets that one's timestamp and number from whoever makes it.
#[derive(Debug)]
pub struct Frame {
    /// Width and height in pixels: those that the frame was made with (see [`Frame::check_size`]).
    pub size: FrameSize,
    /// When the frame is shown.
    pub timestamp: Timestamp,
    /// Counts the frames of the run from 0, without holes.
    pub frame_index: u64,
    buffer: Vec<u8>,
    pool: Option<Arc<PoolShelf>>,
}

impl Frame {
    /// A black frame outside any pool: for tests, stills and benches.
    pub fn black(size: FrameSize) -> Self {
        Self { size, timestamp: Timestamp::default(), frame_index: 0, buffer: vec![0; size.bytes()], pool: None }
    }

    /// Refuses a frame whose size was changed to one that its pixels do not make.
    ///
    /// # Errors
    /// With the size and the bytes.
    pub fn check_size(&self) -> Result<(), FrameSizeError> {
        let FrameSize { width, height } = self.size;
        let expected = width.checked_mul(height).and_then(|pixels| pixels.checked_mul(CHANNELS));
        match self.buffer.len() {
            bytes if expected == Some(bytes) => Ok(()),
            bytes => Err(FrameSizeError { size: self.size, bytes }),
        }
    }

    /// The pixels, `[height, width, 3]`, RGB, 0–255.
    pub fn pixels(&self) -> &[u8] {
        &self.buffer
    }

    /// The pixels to write to, `[height, width, 3]`, RGB, 0–255.
    pub fn pixels_mut(&mut self) -> &mut [u8] {
        &mut self.buffer
    }

    /// Mean difference of all values from those of a frame of the same size, in levels of 0–255.
    pub fn mean_difference(&self, other: &Self) -> f32 {
        let levels: u64 = self.buffer.iter().zip(&other.buffer).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
        levels as f32 / self.buffer.len().max(1) as f32
    }
}

/// A frame whose size is not that of its pixels.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "a frame of {size} cannot have {bytes} bytes of pixels (expected {CHANNELS} for each pixel: the size that it was made with)"
)]
pub struct FrameSizeError {
    size: FrameSize,
    bytes: usize,
}

impl Clone for Frame {
    /// A copy outside any pool.
    fn clone(&self) -> Self {
        let Self { size, timestamp, frame_index, ref buffer, .. } = *self;
        Self { size, timestamp, frame_index, buffer: buffer.clone(), pool: None }
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        if let Some(shelf) = self.pool.take() {
            shelf.put_back(std::mem::take(&mut self.buffer));
        }
    }
}

/// Hands out frames whose buffers are used again, so that a steady state allocates nothing.
///
/// Cloning is cheap and gives a handle to the same pool. Taking a frame never blocks: what bounds memory is the
/// capacity of the channels, not the pool.
#[derive(Debug, Clone, Default)]
pub struct FramePool {
    shelf: Arc<PoolShelf>,
}

#[derive(Debug, Default)]
struct PoolShelf {
    buffers: Mutex<Vec<Vec<u8>>>,
}

impl PoolShelf {
    /// More idle buffers than this are freed: a run has a handful of frames in flight.
    const MAX_IDLE: usize = 16;

    fn put_back(&self, buffer: Vec<u8>) {
        if let Ok(mut buffers) = self.buffers.lock()
            && buffers.len() < Self::MAX_IDLE
        {
            buffers.push(buffer);
        }
    }
}

impl FramePool {
    /// An empty pool.
    pub fn new() -> Self {
        Self::default()
    }

    /// A frame of `size` with unspecified pixels (old ones or black): the taker writes all of them.
    pub fn take(&self, size: FrameSize) -> Frame {
        let mut buffer = self.shelf.buffers.lock().ok().and_then(|mut buffers| buffers.pop()).unwrap_or_default();
        buffer.resize(size.bytes(), 0);
        Frame { size, timestamp: Timestamp::default(), frame_index: 0, buffer, pool: Some(Arc::clone(&self.shelf)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_frame_gives_its_buffer_to_the_next() {
        let pool = FramePool::new();
        let size = FrameSize::new(4, 2);
        let first = pool.take(size);
        let address = first.pixels().as_ptr();
        drop(first);
        assert_eq!(pool.take(size).pixels().as_ptr(), address);
    }

    #[test]
    fn a_size_that_the_pixels_do_not_make_is_told() {
        let mut frame = Frame::black(FrameSize::new(4, 2));
        assert_eq!(frame.check_size(), Ok(()));
        for size in [FrameSize::new(4, 3), FrameSize::new(0, 0), FrameSize::new(usize::MAX, 2)] {
            frame.size = size;
            let error = frame.check_size().unwrap_err().to_string();
            assert!(error.contains(&size.to_string()) && error.contains("24 bytes"), "{error}");
        }
    }

    #[test]
    fn a_size_fits_into_that_of_another_shape() {
        let of = |width, height| FrameSize::new(320, 180).in_shape_of(FrameSize::new(width, height));
        assert_eq!(of(1920, 1080), FrameSize::new(320, 180));
        assert_eq!(of(800, 600), FrameSize::new(320, 240));
        assert_eq!(of(2560, 1080), FrameSize::new(427, 180));
        assert_eq!(of(1080, 1920), FrameSize::new(320, 569));
    }

    #[test]
    fn a_recycled_buffer_takes_the_new_size() {
        let pool = FramePool::new();
        drop(pool.take(FrameSize::new(8, 8)));
        assert_eq!(pool.take(FrameSize::new(3, 5)).pixels().len(), 45);
    }

    #[test]
    fn the_working_size_keeps_the_aspect_and_never_enlarges() {
        assert_eq!(FrameSize::new(3840, 2160).with_short_side_at_most(1080), FrameSize::new(1920, 1080));
        assert_eq!(FrameSize::new(1080, 1920).with_short_side_at_most(540), FrameSize::new(540, 960));
        assert_eq!(FrameSize::new(320, 180).with_short_side_at_most(1080), FrameSize::new(320, 180));
        assert_eq!(FrameSize::new(5000, 1).with_short_side_at_most(1), FrameSize::new(5000, 1));
    }

    #[test]
    fn sizes_are_read_from_text_or_refused_with_an_example() {
        assert_eq!("640x360".parse(), Ok(FrameSize::new(640, 360)));
        for text in ["", "640", "0x5", "-1x5", "axb", "640x360x3", "99999999x2"] {
            let error = text.parse::<FrameSize>().unwrap_err().to_string();
            assert!(error.contains("640x360"), "{error}");
        }
    }
}
