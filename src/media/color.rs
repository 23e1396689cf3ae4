//! Which colours a stream's numbers mean, and how they travel to RGB and back.
//!
//! The matrix, range, primaries and transfer of the input are read, guessed by size only where unset, used both ways,
//! and written into the output, so that a player shows input and output alike. ITU-T H.273 names the values.

use ffmpeg_next as ffmpeg;

use ffmpeg::color::{Primaries, Range, Space, TransferCharacteristic};
use ffmpeg::format::Pixel;
use ffmpeg::frame;

use super::ffi;
use crate::frame::FrameSize;

/// The colour tags of a video stream (ITU-T H.273).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ColorTags {
    /// From YCbCr to RGB.
    pub matrix: Space,
    /// Whether black is 16 or 0.
    pub range: Range,
    /// Which red, green and blue.
    pub primaries: Primaries,
    /// From light to number.
    pub transfer: TransferCharacteristic,
}

impl ColorTags {
    pub(super) fn of_frame(decoded: &frame::Video) -> Self {
        Self {
            matrix: decoded.color_space(),
            range: decoded.color_range(),
            primaries: decoded.color_primaries(),
            transfer: decoded.color_transfer_characteristic(),
        }
    }

    /// Fills what is unset by the size of the picture, as players do: up to 576 lines and under 1280 columns is
    /// standard definition (BT.601), the rest BT.709.
    pub(super) fn or_guessed(self, size: FrameSize, pixel: Pixel) -> Self {
        let (matrix, primaries) = match size.height {
            _ if is_high_definition(size) => (Space::BT709, Primaries::BT709),
            576 => (Space::BT470BG, Primaries::BT470BG),
            480 => (Space::SMPTE170M, Primaries::SMPTE170M),
            _ => (Space::SMPTE170M, Primaries::BT709),
        };
        Self {
            // A picture that came as RGB leaves as YCbCr, whose matrix is ours to choose.
            matrix: if self.matrix == Space::Unspecified || self.matrix == Space::RGB || ffi::is_rgb(pixel) {
                matrix
            } else {
                self.matrix
            },
            range: match self.range {
                _ if ffi::is_rgb(pixel) => Range::MPEG,
                Range::Unspecified if is_full_range(pixel) => Range::JPEG,
                Range::Unspecified => Range::MPEG,
                known => known,
            },
            primaries: match self.primaries {
                Primaries::Unspecified | Primaries::Reserved0 | Primaries::Reserved => primaries,
                known => known,
            },
            transfer: match self.transfer {
                TransferCharacteristic::Unspecified
                | TransferCharacteristic::Reserved0
                | TransferCharacteristic::Reserved => TransferCharacteristic::BT709,
                known => known,
            },
        }
    }

    /// High dynamic range: PQ (SMPTE ST 2084) or HLG (ARIB STD-B67).
    pub(super) fn is_high_dynamic_range(self) -> bool {
        matches!(self.transfer, TransferCharacteristic::SMPTE2084 | TransferCharacteristic::ARIB_STD_B67)
    }

    /// Limited-range BT.709: what a high-dynamic-range picture becomes, and what fits video of no other colours.
    pub fn bt709() -> Self {
        Self {
            matrix: Space::BT709,
            range: Range::MPEG,
            primaries: Primaries::BT709,
            transfer: TransferCharacteristic::BT709,
        }
    }

    /// The matrix by the name that FFmpeg's `scale` filter knows; `None` where it cannot convert it.
    pub(super) fn matrix_name(self) -> Option<&'static str> {
        Some(match self.matrix {
            Space::BT709 => "bt709",
            Space::BT470BG | Space::SMPTE170M => "smpte170m",
            Space::FCC => "fcc",
            Space::SMPTE240M => "smpte240m",
            Space::BT2020NCL | Space::BT2020CL => "bt2020",
            _ => return None,
        })
    }

    /// The range by the name that FFmpeg's `scale` filter knows.
    pub(super) fn range_name(self) -> &'static str {
        if self.range == Range::JPEG { "pc" } else { "tv" }
    }
}

/// Whether a pixel format says by its name that black is 0.
pub(super) fn is_full_range(pixel: Pixel) -> bool {
    matches!(pixel, Pixel::YUVJ411P | Pixel::YUVJ420P | Pixel::YUVJ422P | Pixel::YUVJ440P | Pixel::YUVJ444P)
}

/// Whether players take a picture that does not say so for high definition.
pub(super) fn is_high_definition(size: FrameSize) -> bool {
    size.width >= 1280 || size.height > 576
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNSET: ColorTags = ColorTags {
        matrix: Space::Unspecified,
        range: Range::Unspecified,
        primaries: Primaries::Unspecified,
        transfer: TransferCharacteristic::Unspecified,
    };

    #[test]
    fn unset_tags_are_guessed_by_size() {
        let guessed = |width, height| UNSET.or_guessed(FrameSize::new(width, height), Pixel::YUV420P);
        assert_eq!(guessed(1920, 1080).matrix, Space::BT709);
        assert_eq!(guessed(1280, 544).matrix, Space::BT709);
        assert_eq!(guessed(720, 576).matrix, Space::BT470BG);
        assert_eq!(guessed(640, 360).matrix, Space::SMPTE170M);
        assert_eq!(guessed(640, 360).range, Range::MPEG);
        assert_eq!(UNSET.or_guessed(FrameSize::new(640, 360), Pixel::YUVJ420P).range, Range::JPEG);
    }

    #[test]
    fn set_tags_are_kept_whatever_the_size() {
        let set = ColorTags { matrix: Space::BT709, range: Range::JPEG, ..UNSET };
        let kept = set.or_guessed(FrameSize::new(320, 180), Pixel::YUV420P);
        assert_eq!((kept.matrix, kept.range), (Space::BT709, Range::JPEG));
    }

    #[test]
    fn rgb_input_leaves_as_limited_range_ycbcr() {
        let set = ColorTags { matrix: Space::RGB, range: Range::JPEG, ..UNSET };
        let tags = set.or_guessed(FrameSize::new(1920, 1080), Pixel::RGB24);
        assert_eq!((tags.matrix, tags.range), (Space::BT709, Range::MPEG));
    }
}
