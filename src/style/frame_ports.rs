//! 8-bit frames at both ends of a network's graph, for devices that memory has to be copied to.
//!
//! What [`super::pixels`] does on the processor, conversion to floats, order of channels, range, layout, and all of it back again,
//! become nodes before and behind the network. A quarter of the bytes is copied each way, and the processor has nothing to do with
//! pixels but to copy them.

use anyhow::Result;

use super::pixels::{ChannelOrder, Layout, TensorFormat, reflected};
use crate::frame::{CHANNELS, FrameSize};
use crate::onnx::schema::NodeProto;
use crate::onnx::schema::tensor_proto::DataType;
use crate::onnx::{Attribute, Model, node};

/// The input that takes frames, `[1, H, W, 3]`, RGB, `u8`.
pub(super) const FRAME: &str = "impasto.frame";
/// The output that gives them back, as [`FRAME`].
pub(super) const PAINTED: &str = "impasto.painted";

/// Operators from this version on take bounds of Clip as inputs.
const CLIP_BOUNDS_ARE_INPUTS: i64 = 11;

/// Makes a network that takes a picture at `input` and gives one at `output` take and give frames of bytes at [`FRAME`] and
/// [`PAINTED`].
///
/// # Errors
/// When it has no such input or output.
pub(super) fn add_frame_ports(
    model: &mut Model,
    (input, input_format): (&str, &TensorFormat),
    (output, output_format): (&str, &TensorFormat),
) -> Result<()> {
    let shape = [Some(1), None, None, Some(CHANNELS)];
    let mut before = Nodes { model, list: Vec::new(), prefix: "impasto.in" };
    let floats = before.push("Cast", FRAME, &[], &[Attribute::Int("to", i64::from(i32::from(DataType::Float)))]);
    let ordered = before.in_order(&floats, input_format.channels)?;
    let scaled = before.affine(&ordered, input_format.scales_and_offsets())?;
    let nodes = before.ending_in(scaled, input_format.layout, &[0, 3, 1, 2], input);
    model.put_before(input, (FRAME, DataType::Uint8, &shape), nodes)?;

    let mut behind = Nodes { model, list: Vec::new(), prefix: "impasto.out" };
    let last = match output_format.layout {
        Layout::Nchw => behind.push("Transpose", output, &[], &[Attribute::Ints("perm", &[0, 2, 3, 1])]),
        Layout::Nhwc => output.to_owned(),
    };
    // From tensor value back to pixel, and half a level more: a cast cuts off.
    let inverse = output_format.scales_and_offsets().map(|(scale, offset)| (1.0 / scale, 0.5 - offset / scale));
    let pixels = behind.affine(&last, inverse)?;
    let clipped = behind.clip(&pixels, 0.0, 255.5)?;
    let bytes = behind.push("Cast", &clipped, &[], &[Attribute::Int("to", i64::from(i32::from(DataType::Uint8)))]);
    let ordered = behind.in_order(&bytes, output_format.channels)?;
    let mut nodes = behind.list;
    nodes.push(node("Identity", &[&ordered], PAINTED, &[]));
    model.put_behind(output, (PAINTED, DataType::Uint8, &shape), nodes)
}

/// Nodes in a row, each of which takes what the one before gives.
struct Nodes<'a> {
    model: &'a mut Model,
    list: Vec<NodeProto>,
    prefix: &'static str,
}

impl Nodes<'_> {
    fn push(&mut self, operator: &str, input: &str, more: &[&str], attributes: &[Attribute<'_>]) -> String {
        let output = format!("{}.{}", self.prefix, self.list.len());
        let inputs: Vec<&str> = std::iter::once(input).chain(more.iter().copied()).collect();
        self.list.push(node(operator, &inputs, &output, attributes));
        output
    }

    fn constant(&mut self, name: &str, shape: &[usize], elements: &[f32]) -> Result<String> {
        let name = format!("{}.{name}", self.prefix);
        self.model.add_weights(&name, shape, elements)?;
        Ok(name)
    }

    /// Turns the channels of `[1, H, W, 3]` round where blue is first.
    fn in_order(&mut self, value: &str, channels: ChannelOrder) -> Result<String> {
        if channels == ChannelOrder::Rgb {
            return Ok(value.to_owned());
        }
        let blue_first = format!("{}.order", self.prefix);
        self.model.add_indices(&blue_first, &[2, 1, 0])?;
        Ok(self.push("Gather", value, &[&blue_first], &[Attribute::Int("axis", 3)]))
    }

    /// Scales and shifts each channel of `[1, H, W, 3]`.
    fn affine(&mut self, value: &str, of_channels: [(f32, f32); CHANNELS]) -> Result<String> {
        let mut value = value.to_owned();
        let scales = of_channels.map(|(scale, _)| scale);
        if scales != [1.0; CHANNELS] {
            let scales = self.constant("scale", &[CHANNELS], &scales)?;
            value = self.push("Mul", &value, &[&scales], &[]);
        }
        let offsets = of_channels.map(|(_, offset)| offset);
        if offsets != [0.0; CHANNELS] {
            let offsets = self.constant("offset", &[CHANNELS], &offsets)?;
            value = self.push("Add", &value, &[&offsets], &[]);
        }
        Ok(value)
    }

    fn clip(&mut self, value: &str, least: f32, most: f32) -> Result<String> {
        if self.model.operator_set() < CLIP_BOUNDS_ARE_INPUTS {
            return Ok(self.push("Clip", value, &[], &[Attribute::Float("min", least), Attribute::Float("max", most)]));
        }
        let (least, most) = (self.constant("least", &[], &[least])?, self.constant("most", &[], &[most])?);
        Ok(self.push("Clip", value, &[&least, &most], &[]))
    }

    /// The nodes, and one that gives `[1, H, W, 3]` the layout and the name of the network's input.
    fn ending_in(mut self, value: String, layout: Layout, to_planes: &[i64], name: &str) -> Vec<NodeProto> {
        self.list.push(match layout {
            Layout::Nchw => node("Transpose", &[&value], name, &[Attribute::Ints("perm", to_planes)]),
            Layout::Nhwc => node("Identity", &[&value], name, &[]),
        });
        self.list
    }
}

/// Writes the part of a picture at `origin` (x, y) into one of `dst_size`, padded to the right and below by reflection as
/// [`super::pixels::pack`] does.
pub(super) fn pad(src: &[u8], src_size: FrameSize, origin: (usize, usize), dst: &mut [u8], dst_size: FrameSize) {
    let (x, y) = origin;
    let (columns, rows) = (src_size.width.saturating_sub(x), src_size.height.saturating_sub(y));
    let valid = columns.min(dst_size.width);
    if rows == 0 || valid == 0 {
        return;
    }
    for (row, line) in dst.chunks_exact_mut(dst_size.width * CHANNELS).enumerate() {
        let start = ((y + reflected(row, rows)) * src_size.width + x) * CHANNELS;
        let Some(pixels) = src.get(start..start + valid * CHANNELS) else { return };
        line[..valid * CHANNELS].copy_from_slice(pixels);
        let line = line.as_chunks_mut::<CHANNELS>().0;
        for column in valid..dst_size.width {
            line[column] = line[reflected(column, columns)];
        }
    }
}

/// Writes the top left part of a picture of `src_size` into one of `dst_size`, which is not larger.
pub(super) fn crop(src: &[u8], src_size: FrameSize, dst: &mut [u8], dst_size: FrameSize) {
    if src_size.width * dst_size.width == 0 {
        return;
    }
    let lines = src.chunks_exact(src_size.width * CHANNELS);
    for (dst, src) in dst.chunks_exact_mut(dst_size.width * CHANNELS).zip(lines) {
        dst.copy_from_slice(&src[..dst_size.width * CHANNELS]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::style::pixels::{TensorFormat, ValueRange, pack};

    #[test]
    fn a_part_of_a_picture_is_padded_as_floats_are() {
        let (size, padded) = (FrameSize::new(7, 5), FrameSize::new(12, 9));
        let picture: Vec<u8> = (0..size.bytes()).map(|i| (i * 31 % 253) as u8).collect();
        let format = TensorFormat { layout: Layout::Nhwc, channels: ChannelOrder::Rgb, range: ValueRange::Bytes };
        for origin in [(0, 0), (3, 2), (6, 4)] {
            let (mut floats, mut bytes) = (vec![0.0; padded.bytes()], vec![0; padded.bytes()]);
            pack(&picture, size, origin, &format, &mut floats, padded);
            pad(&picture, size, origin, &mut bytes, padded);
            assert!(floats.iter().zip(&bytes).all(|(float, byte)| *float == f32::from(*byte)), "{origin:?}");
        }
        let mut padded_picture = vec![0; padded.bytes()];
        pad(&picture, size, (0, 0), &mut padded_picture, padded);
        let mut cropped = vec![0; size.bytes()];
        crop(&padded_picture, padded, &mut cropped, size);
        assert_eq!(cropped, picture);
    }
}
