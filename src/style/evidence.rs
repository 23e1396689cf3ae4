//! What values a graph is made for, as its first and last nodes show.

use super::contract::{Known, Origin};
use super::pixels::{ChannelOrder, ValueRange};
use crate::frame::CHANNELS;
use crate::onnx::schema::NodeProto;
use crate::onnx::{Model, float_attribute};

/// What a graph's first nodes say of its input.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct InputEvidence {
    pub range: Option<Known<ValueRange>>,
    pub channels: Option<Known<ChannelOrder>>,
}

/// Follows the picture through the arithmetic that comes first: scaling and the subtraction of means.
pub(super) fn input_evidence(model: &Model, input: &str) -> InputEvidence {
    const MAX_NODES: usize = 6;
    let mut evidence = InputEvidence::default();
    let mut tensor = input.to_owned();
    for _ in 0..MAX_NODES {
        let consumers = model.consumers(&tensor);
        let [node] = consumers.as_slice() else { break };
        let Some(step) = arithmetic(model, node, &tensor) else { break };
        let spread = |values: &[f32]| values.iter().fold(0.0_f32, |max, value| max.max(value.abs()));
        let (range, reason) = match &step {
            Arithmetic::Keep => (None, String::new()),
            Arithmetic::Scale(factors) => match spread(factors) {
                factor if factor >= 100.0 => {
                    (Some(ValueRange::Unit), format!("{} multiplies by {factor}", node.op_type()))
                }
                factor if factor > 0.0 && factor <= 0.02 => {
                    (Some(ValueRange::Bytes), format!("{} divides by {:.1}", node.op_type(), 1.0 / factor))
                }
                _ => (None, String::new()),
            },
            Arithmetic::Offset(offsets) => {
                let reason = format!("{} adds {offsets:?} first", node.op_type());
                match (offsets.first().copied().unwrap_or(0.0), spread(offsets)) {
                    (_, offset) if offset > 2.0 => (Some(ValueRange::Bytes), reason),
                    (first, offset) if first < 0.0 && (0.2..0.7).contains(&offset) => (Some(ValueRange::Unit), reason),
                    (first, offset) if first > 0.0 && offset == 1.0 => (Some(ValueRange::Signed), reason),
                    _ => (None, String::new()),
                }
            }
        };
        if let (None, Some(value)) = (&evidence.range, range) {
            evidence.range = Some(Known { value, origin: Origin::Graph(reason) });
        }
        if let (None, Arithmetic::Offset(offsets)) = (&evidence.channels, &step) {
            evidence.channels = channel_order_of_means(offsets);
        }
        let Some(output) = node.output.first() else { break };
        tensor.clone_from(output);
    }
    evidence
}

/// Natural pictures are redder than blue: the means of ImageNet are 123.7, 116.8 and 103.9.
fn channel_order_of_means(offsets: &[f32]) -> Option<Known<ChannelOrder>> {
    let &[first, _, last] = offsets else { return None };
    let (first, last) = (first.abs(), last.abs());
    let distinct = (first - last).abs() > 0.05 * first.max(last);
    let value = match (distinct, first > last) {
        (false, _) => return None,
        (true, true) => ChannelOrder::Rgb,
        (true, false) => ChannelOrder::Bgr,
    };
    Some(Known {
        value,
        origin: Origin::Graph(format!("the mean of the first channel is {first}, of the last {last}")),
    })
}

/// Follows the picture back from the output to the node that bounds it: a clip, a sigmoid or a hyperbolic tangent.
pub(super) fn output_evidence(model: &Model, output: &str) -> Option<Known<ValueRange>> {
    const MAX_NODES: usize = 10;
    let (mut scale, mut offset) = (1.0_f32, 0.0_f32);
    let mut tensor = output.to_owned();
    for _ in 0..MAX_NODES {
        let node = model.producer(&tensor)?;
        let bounds = match node.op_type() {
            "Tanh" => Some((-1.0, 1.0)),
            "Sigmoid" => Some((0.0, 1.0)),
            "Clip" => clip_bounds(model, node),
            _ => None,
        };
        if let Some((low, high)) = bounds {
            let (low, high) = (low * scale + offset, high * scale + offset);
            let value = match (low.min(high), low.max(high)) {
                (low, high) if high > 100.0 && low > -50.0 => ValueRange::Bytes,
                (low, high) if low < -0.9 && (0.9..1.5).contains(&high) => ValueRange::Signed,
                (low, high) if low > -0.3 && (0.9..1.5).contains(&high) => ValueRange::Unit,
                _ => return None,
            };
            return Some(Known { value, origin: Origin::Graph(format!("{} bounds the output", node.op_type())) });
        }
        let input = node.input.iter().find(|input| model.small_constant(input).is_none())?.clone();
        let first = |values: &[f32]| values.first().copied().unwrap_or(0.0);
        match arithmetic(model, node, &input)? {
            Arithmetic::Keep => {}
            Arithmetic::Scale(factors) => scale *= first(&factors),
            Arithmetic::Offset(offsets) => offset += scale * first(&offsets),
        }
        tensor = input;
    }
    None
}

fn clip_bounds(model: &Model, node: &NodeProto) -> Option<(f32, f32)> {
    let bound = |index: usize, name: &str| {
        let value = node.input.get(index).and_then(|input| model.small_constant(input));
        value.or_else(|| float_attribute(node, name)).and_then(|values| values.first().copied())
    };
    Some((bound(1, "min")?, bound(2, "max")?))
}

/// What a node does to each channel of a picture.
enum Arithmetic {
    /// Nothing: it is renamed, cast or transposed.
    Keep,
    /// Multiplies by one factor or one for each channel.
    Scale(Vec<f32>),
    /// Adds one number or one for each channel.
    Offset(Vec<f32>),
}

/// The arithmetic of `node` on its input `tensor`; `None` for any other node.
fn arithmetic(model: &Model, node: &NodeProto, tensor: &str) -> Option<Arithmetic> {
    let other = || {
        let constant = node.input.iter().find(|input| *input != tensor)?;
        model.small_constant(constant).filter(|values| values.len() == 1 || values.len() == CHANNELS)
    };
    let is_first = node.input.first().is_some_and(|input| input == tensor);
    match node.op_type() {
        "Identity" | "Transpose" | "Cast" | "Unsqueeze" | "Squeeze" => Some(Arithmetic::Keep),
        "Mul" => Some(Arithmetic::Scale(other()?)),
        "Div" if is_first => Some(Arithmetic::Scale(other()?.iter().map(|value| 1.0 / value).collect())),
        "Add" => Some(Arithmetic::Offset(other()?)),
        "Sub" if is_first => Some(Arithmetic::Offset(other()?.iter().map(|value| -value).collect())),
        "ImageScaler" => Some(Arithmetic::Offset(float_attribute(node, "bias")?)),
        _ => None,
    }
}
