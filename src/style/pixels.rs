//! Between 8-bit frames and a network's tensors: one pass over memory each way.
//!
//! [`pack`] turns pixels into a tensor of the layout, channel order and value range that a network wants, padded by
//! reflection; [`unpack`] turns the answer back, cropped, rounded and mixed with the content picture. Both walk rows in
//! order with a fixed number of operations per pixel and no branches inside a row, so that the compiler vectorizes them.

use crate::frame::{CHANNELS, FrameSize};

/// The order of a picture tensor's dimensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// `[1, 3, H, W]`: one plane per channel.
    Nchw,
    /// `[1, H, W, 3]`: channels side by side.
    Nhwc,
}

impl Layout {
    /// The shape of one picture of this layout.
    pub fn shape(self, size: FrameSize) -> [usize; 4] {
        match self {
            Self::Nchw => [1, CHANNELS, size.height, size.width],
            Self::Nhwc => [1, size.height, size.width, CHANNELS],
        }
    }

    /// Which dimensions hold height and width.
    pub fn size_axes(self) -> (usize, usize) {
        match self {
            Self::Nchw => (2, 3),
            Self::Nhwc => (1, 2),
        }
    }
}

/// The order of a picture tensor's channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelOrder {
    /// Red first.
    Rgb,
    /// Blue first.
    Bgr,
}

/// Which tensor values stand for the pixel values 0–255.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ValueRange {
    /// 0–255, the pixel itself.
    Bytes,
    /// 0–1.
    Unit,
    /// −1–1.
    Signed,
    /// (pixel − mean) / std, each channel its own.
    Normalized {
        /// Subtracted, red, green, blue, on the scale 0–255.
        mean: [f32; 3],
        /// Divided by, red, green, blue, on the scale 0–255; not 0.
        std: [f32; 3],
    },
}

impl ValueRange {
    /// Scale and offset of red, green and blue: tensor value = pixel · scale + offset.
    fn scale_and_offset(self) -> [(f32, f32); 3] {
        match self {
            Self::Bytes => [(1.0, 0.0); 3],
            Self::Unit => [(1.0 / 255.0, 0.0); 3],
            Self::Signed => [(1.0 / 127.5, -1.0); 3],
            Self::Normalized { mean, std } => std::array::from_fn(|c| (1.0 / std[c], -mean[c] / std[c])),
        }
    }
}

/// How a tensor holds a picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TensorFormat {
    /// Order of the dimensions.
    pub layout: Layout,
    /// Order of the channels.
    pub channels: ChannelOrder,
    /// Range of the values.
    pub range: ValueRange,
}

impl TensorFormat {
    /// Scale and offset of the tensor's channels in their order: tensor value = pixel · scale + offset.
    pub(super) fn scales_and_offsets(&self) -> [(f32, f32); 3] {
        self.channels().map(|(_, scale, offset)| (scale, offset))
    }

    /// For the tensor's channels in their order: which pixel channel it is, its scale and its offset.
    fn channels(&self) -> [(usize, f32, f32); 3] {
        let of_rgb = self.range.scale_and_offset();
        std::array::from_fn(|index| {
            let channel = match self.channels {
                ChannelOrder::Rgb => index,
                ChannelOrder::Bgr => 2 - index,
            };
            (channel, of_rgb[channel].0, of_rgb[channel].1)
        })
    }
}

/// How a stylized picture is mixed with the content picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mix {
    /// Share of the stylized picture, 0–1: result = content + strength · (stylized − content).
    pub strength: f32,
    /// Take the stylized picture's luma only, and keep the content's colors.
    pub keep_color: bool,
}

impl Mix {
    /// The stylized picture as it is.
    pub const NONE: Self = Self { strength: 1.0, keep_color: false };
}

/// Luma of a pixel times 256, 0–65280; the weights are those of ITU-R BT.709-6, item 3.2, in 1/256.
pub(crate) fn luma_256([red, green, blue]: [u8; CHANNELS]) -> i32 {
    54 * i32::from(red) + 183 * i32::from(green) + 19 * i32::from(blue)
}

/// Pixels that are worked on together, so that their differences in luma are computed in one loop and added in another:
/// the compiler vectorizes two simple loops where it gives up on one that does both.
pub(crate) const BLOCK: usize = 64;

/// Adds its difference to the three channels of each pixel of a block, within 0–255.
#[inline(always)]
pub(crate) fn add_to_channels(block: &mut [u8], differences: &[i16; BLOCK]) {
    let mut of_values = [0; BLOCK * CHANNELS];
    for (of_pixel, difference) in of_values.as_chunks_mut::<CHANNELS>().0.iter_mut().zip(differences) {
        *of_pixel = [*difference; CHANNELS];
    }
    for (value, difference) in block.iter_mut().zip(&of_values) {
        *value = (i16::from(*value) + difference).clamp(0, 255) as u8;
    }
}

/// Where index `i` of a line of `length` samples lies when the line is continued by reflection about its end samples:
/// … 2 1 | 0 1 2 … n−1 | n−2 n−3 …
pub(crate) fn reflected(i: usize, length: usize) -> usize {
    if i < length {
        return i;
    }
    if length <= 1 {
        return 0;
    }
    let period = 2 * (length - 1);
    let phase = i % period;
    if phase < length { phase } else { period - phase }
}

/// Writes the part of a picture at `origin` (x, y) into a tensor of `dst_size`, which is padded to the right and below by
/// reflection where the picture ends.
///
/// `src` is `[src_size.height, src_size.width, 3]` RGB 0–255; `dst` is `format.layout.shape(dst_size)`. Slices that are
/// too short leave the rest of the tensor as it was.
pub fn pack(
    src: &[u8],
    src_size: FrameSize,
    origin: (usize, usize),
    format: &TensorFormat,
    dst: &mut [f32],
    dst_size: FrameSize,
) {
    let (x, y) = origin;
    let columns = src_size.width.saturating_sub(x);
    let rows = src_size.height.saturating_sub(y);
    let valid = columns.min(dst_size.width);
    if rows == 0 || valid == 0 {
        return;
    }
    let channels = format.channels();
    let src_row = |row: usize| {
        let start = ((y + reflected(row, rows)) * src_size.width + x) * CHANNELS;
        src.get(start..start + valid * CHANNELS).unwrap_or(&[])
    };
    match format.layout {
        Layout::Nchw => {
            let (plane_0, rest) = dst.split_at_mut(dst_size.pixels().min(dst.len()));
            let (plane_1, plane_2) = rest.split_at_mut(dst_size.pixels().min(rest.len()));
            let planes = plane_0
                .chunks_exact_mut(dst_size.width)
                .zip(plane_1.chunks_exact_mut(dst_size.width))
                .zip(plane_2.chunks_exact_mut(dst_size.width));
            for (row, ((row_0, row_1), row_2)) in planes.enumerate() {
                let pixels = src_row(row).as_chunks::<CHANNELS>().0;
                for (plane_row, (channel, scale, offset)) in [row_0, row_1, row_2].into_iter().zip(channels) {
                    for (value, pixel) in plane_row.iter_mut().zip(pixels) {
                        *value = f32::from(pixel[channel]) * scale + offset;
                    }
                    for column in valid..dst_size.width {
                        plane_row[column] = plane_row[reflected(column, columns)];
                    }
                }
            }
        }
        Layout::Nhwc => {
            for (row, values) in dst.chunks_exact_mut(dst_size.width * CHANNELS).enumerate() {
                let values = values.as_chunks_mut::<CHANNELS>().0;
                for (value, pixel) in values.iter_mut().zip(src_row(row).as_chunks::<CHANNELS>().0) {
                    *value = channels.map(|(channel, scale, offset)| f32::from(pixel[channel]) * scale + offset);
                }
                for column in valid..dst_size.width {
                    values[column] = values[reflected(column, columns)];
                }
            }
        }
    }
}

/// Writes the top left part of a tensor as a picture, mixed with the content picture.
///
/// `src` is `format.layout.shape(src_size)`; `content` and `dst` are `[dst_size.height, dst_size.width, 3]` RGB 0–255,
/// with `dst_size` at most `src_size`. `content` is read only where `mix` asks for it.
pub fn unpack(
    src: &[f32],
    src_size: FrameSize,
    format: &TensorFormat,
    mix: Mix,
    content: &[u8],
    dst: &mut [u8],
    dst_size: FrameSize,
) {
    // From tensor value back to pixel: (value − offset) / scale, in the order red, green, blue.
    let mut inverse = [(0, 0.0, 0.0); 3];
    for (index, (channel, scale, offset)) in format.channels().into_iter().enumerate() {
        inverse[channel] = (index, 1.0 / scale, -offset / scale);
    }
    let row_bytes = dst_size.width * CHANNELS;
    if row_bytes == 0 {
        return;
    }
    for (row, dst_row) in dst.chunks_exact_mut(row_bytes).take(dst_size.height).enumerate() {
        let pixels = dst_row.as_chunks_mut::<CHANNELS>().0;
        match format.layout {
            Layout::Nchw => {
                let [red, green, blue] = inverse.map(|(index, ..)| {
                    let start = (index * src_size.height + row) * src_size.width;
                    src.get(start..start + dst_size.width).unwrap_or(&[])
                });
                for (pixel, ((&red, &green), &blue)) in pixels.iter_mut().zip(red.iter().zip(green).zip(blue)) {
                    let values = [red, green, blue];
                    *pixel = std::array::from_fn(|c| to_byte(values[c] * inverse[c].1 + inverse[c].2));
                }
            }
            Layout::Nhwc => {
                let start = row * src_size.width * CHANNELS;
                let values = src.get(start..start + row_bytes).unwrap_or(&[]).as_chunks::<CHANNELS>().0;
                for (pixel, value) in pixels.iter_mut().zip(values) {
                    *pixel = inverse.map(|(index, scale, offset)| to_byte(value[index] * scale + offset));
                }
            }
        }
        if let Some(content_row) = content.get(row * row_bytes..(row + 1) * row_bytes) {
            mix_in_place(content_row, dst_row, mix);
        }
    }
}

/// Mixes a stylized picture with the content picture in place; both are `[H, W, 3]` RGB 0–255 of the same size.
pub fn mix_in_place(content: &[u8], stylized: &mut [u8], mix: Mix) {
    match mix {
        Mix { strength, keep_color: false } if strength >= 1.0 => {}
        Mix { strength, keep_color: false } => {
            for (value, content) in stylized.iter_mut().zip(content) {
                let (stylized, content) = (f32::from(*value), f32::from(*content));
                *value = to_byte(content + strength * (stylized - content));
            }
        }
        Mix { strength, keep_color: true } => {
            let strength_256 = (strength * 256.0).round() as i32;
            for (block, content) in stylized.chunks_mut(BLOCK * CHANNELS).zip(content.chunks(BLOCK * CHANNELS)) {
                let mut differences = [0; BLOCK];
                let pixels = block.as_chunks::<CHANNELS>().0.iter().zip(content.as_chunks::<CHANNELS>().0);
                for (difference, (stylized, content)) in differences.iter_mut().zip(pixels) {
                    let luma_difference = luma_256(*stylized) - luma_256(*content);
                    *difference = ((luma_difference * strength_256 + (1 << 15)) >> 16) as i16;
                }
                if let Some(block) = block.get_mut(..content.len()) {
                    block.copy_from_slice(content);
                    add_to_channels(block, &differences);
                }
            }
        }
    }
}

/// Mixes a stylized picture with the content picture in place, each pixel by its weight: result = content +
/// weight / 255 · (stylized − content), rounded. Pictures are `[H, W, 3]` RGB 0–255, weights `[H, W]`, 0–255.
pub fn mix_by_weights(content: &[u8], weights: &[u8], stylized: &mut [u8]) {
    let contents = content.chunks(BLOCK * CHANNELS);
    for ((block, content), weights) in stylized.chunks_mut(BLOCK * CHANNELS).zip(contents).zip(weights.chunks(BLOCK)) {
        let mut of_values = [0_u8; BLOCK * CHANNELS];
        for (of_pixel, weight) in of_values.as_chunks_mut::<CHANNELS>().0.iter_mut().zip(weights) {
            *of_pixel = [*weight; CHANNELS];
        }
        for ((value, content), weight) in block.iter_mut().zip(content).zip(&of_values) {
            let weight = u16::from(*weight);
            let sum = u16::from(*value) * weight + u16::from(*content) * (255 - weight) + 128;
            // A 255th, rounded: exact up to 255².
            *value = ((sum + (sum >> 8)) >> 8) as u8;
        }
    }
}

/// Into 0–255; not a number becomes 0, where `clamp` would let it pass.
#[allow(clippy::manual_clamp)]
#[inline(always)]
fn clamped(value: f32) -> f32 {
    value.max(0.0).min(255.0)
}

/// Clamped and rounded to the nearest integer, ties to even.
///
/// Adding 2²³ leaves the rounded integer in the low bits of the number. A cast would do the same but is compiled to
/// scalar code with checks.
#[inline(always)]
pub(crate) fn to_byte(value: f32) -> u8 {
    const TWO_POW_23: f32 = 8_388_608.0;
    (clamped(value) + TWO_POW_23).to_bits() as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FORMAT: TensorFormat =
        TensorFormat { layout: Layout::Nchw, channels: ChannelOrder::Rgb, range: ValueRange::Bytes };

    fn picture(size: FrameSize) -> Vec<u8> {
        (0..size.bytes()).map(|i| (i * 37 % 251) as u8).collect()
    }

    #[test]
    fn weights_mix_as_numbers_would() {
        let levels: Vec<u8> = (0..=255).collect();
        let weights = &levels;
        for content in levels.iter().step_by(5) {
            for stylized in levels.iter().step_by(3) {
                let mut mixed = vec![*stylized; weights.len() * CHANNELS];
                mix_by_weights(&vec![*content; mixed.len()], weights, &mut mixed);
                for (pixel, weight) in mixed.as_chunks::<CHANNELS>().0.iter().zip(weights) {
                    let (from, to) = (f64::from(*content), f64::from(*stylized));
                    let expected = (from + f64::from(*weight) / 255.0 * (to - from)).round() as u8;
                    assert_eq!(*pixel, [expected; CHANNELS], "{content} to {stylized} by {weight}");
                }
            }
        }
    }

    fn formats() -> Vec<TensorFormat> {
        let ranges = [
            ValueRange::Bytes,
            ValueRange::Unit,
            ValueRange::Signed,
            ValueRange::Normalized { mean: [123.68, 116.779, 103.939], std: [1.0; 3] },
            ValueRange::Normalized { mean: [123.675, 116.28, 103.53], std: [58.395, 57.12, 57.375] },
        ];
        let mut formats = Vec::new();
        for layout in [Layout::Nchw, Layout::Nhwc] {
            for channels in [ChannelOrder::Rgb, ChannelOrder::Bgr] {
                formats.extend(ranges.map(|range| TensorFormat { layout, channels, range }));
            }
        }
        formats
    }

    #[test]
    fn bytes_are_rounded_to_the_nearest_and_clamped() {
        for (value, expected) in
            [(0.0, 0), (0.4, 0), (0.6, 1), (254.6, 255), (255.0, 255), (300.0, 255), (-7.0, 0), (127.49, 127)]
        {
            assert_eq!(to_byte(value), expected, "{value}");
        }
        assert_eq!(to_byte(f32::NAN), 0);
        assert_eq!(to_byte(f32::INFINITY), 255);
        assert_eq!(to_byte(f32::NEG_INFINITY), 0);
    }

    #[test]
    fn reflection_repeats_the_line_without_its_ends() {
        let line: Vec<usize> = (0..10).map(|i| reflected(i, 4)).collect();
        assert_eq!(line, [0, 1, 2, 3, 2, 1, 0, 1, 2, 3]);
        assert_eq!(reflected(7, 1), 0);
        assert_eq!((0..5).map(|i| reflected(i, 2)).collect::<Vec<_>>(), [0, 1, 0, 1, 0]);
    }

    #[test]
    fn planes_are_in_the_asked_channel_order_and_range() {
        let size = FrameSize::new(2, 1);
        let src = [10, 20, 30, 40, 50, 255];
        let mut dst = [0.0; 6];
        pack(&src, size, (0, 0), &FORMAT, &mut dst, size);
        assert_eq!(dst, [10.0, 40.0, 20.0, 50.0, 30.0, 255.0]);
        let format = TensorFormat { layout: Layout::Nhwc, channels: ChannelOrder::Bgr, range: ValueRange::Signed };
        pack(&src, size, (0, 0), &format, &mut dst, size);
        assert_eq!(dst[3], 1.0);
        assert!((dst[0] - (30.0 / 127.5 - 1.0)).abs() < 1e-6);
    }

    #[test]
    fn the_padding_mirrors_the_picture() {
        let size = FrameSize::new(3, 2);
        let src: Vec<u8> = (0..6).flat_map(|i| [i, i, i]).collect();
        let padded = FrameSize::new(5, 4);
        let mut dst = vec![0.0; padded.bytes()];
        pack(&src, size, (0, 0), &FORMAT, &mut dst, padded);
        #[rustfmt::skip]
        assert_eq!(dst[..20], [
            0.0, 1.0, 2.0, 1.0, 0.0,
            3.0, 4.0, 5.0, 4.0, 3.0,
            0.0, 1.0, 2.0, 1.0, 0.0,
            3.0, 4.0, 5.0, 4.0, 3.0,
        ]);
    }

    #[test]
    fn a_window_starts_at_its_origin() {
        let size = FrameSize::new(4, 4);
        let src: Vec<u8> = (0..16).flat_map(|i| [i, i, i]).collect();
        let window = FrameSize::new(2, 2);
        let mut dst = vec![0.0; window.bytes()];
        pack(&src, size, (2, 1), &FORMAT, &mut dst, window);
        assert_eq!(dst[..4], [6.0, 7.0, 10.0, 11.0]);
    }

    #[test]
    fn every_format_gives_the_picture_back() {
        let size = FrameSize::new(13, 7);
        let padded = FrameSize::new(16, 8);
        let src = picture(size);
        for format in formats() {
            let mut tensor = vec![0.0; padded.bytes()];
            pack(&src, size, (0, 0), &format, &mut tensor, padded);
            let mut dst = vec![0; size.bytes()];
            unpack(&tensor, padded, &format, Mix::NONE, &src, &mut dst, size);
            assert_eq!(dst, src, "{format:?}");
        }
    }

    #[test]
    fn strength_zero_is_the_content_and_half_is_the_middle() {
        let size = FrameSize::new(2, 1);
        let content = [10, 20, 30, 40, 50, 60];
        let tensor = [110.0, 140.0, 120.0, 150.0, 130.0, 160.0];
        let mut dst = [0; 6];
        unpack(&tensor, size, &FORMAT, Mix { strength: 0.0, keep_color: false }, &content, &mut dst, size);
        assert_eq!(dst, content);
        unpack(&tensor, size, &FORMAT, Mix { strength: 0.5, keep_color: false }, &content, &mut dst, size);
        assert_eq!(dst, [60, 70, 80, 90, 100, 110]);
        unpack(&tensor, size, &FORMAT, Mix { strength: 0.0, keep_color: true }, &content, &mut dst, size);
        assert_eq!(dst, content);
    }

    #[test]
    fn kept_colors_have_the_luma_of_the_style_and_the_differences_of_the_content() {
        let size = FrameSize::new(1, 1);
        let content = [100, 60, 80];
        let stylized = [90.0, 90.0, 90.0];
        let mut dst = [0; 3];
        unpack(&stylized, size, &FORMAT, Mix { strength: 1.0, keep_color: true }, &content, &mut dst, size);
        assert!((luma_256(dst) - 256 * 90).abs() <= 256);
        assert_eq!(i16::from(dst[0]) - i16::from(dst[1]), 40);
        assert_eq!(i16::from(dst[2]) - i16::from(dst[1]), 20);
    }

    proptest! {
        #[test]
        fn any_size_survives_padding_and_cropping(width in 1usize..40, height in 1usize..40, multiple in 1usize..20) {
            let size = FrameSize::new(width, height);
            let padded = size.rounded_up(multiple);
            let src = picture(size);
            let mut tensor = vec![-1.0; padded.bytes()];
            pack(&src, size, (0, 0), &FORMAT, &mut tensor, padded);
            prop_assert!(tensor.iter().all(|value| *value >= 0.0));
            let mut dst = vec![0; size.bytes()];
            unpack(&tensor, padded, &FORMAT, Mix::NONE, &src, &mut dst, size);
            prop_assert_eq!(dst, src);
        }
    }
}
