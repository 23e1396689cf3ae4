//! The shape of what a node computes, from the shapes of what it reads.
//!
//! Shapes are fixed numbers here: a graph is built for one size of picture. That keeps every gradient a matter of known
//! paddings and counts, and lets memory be told before anything runs.

use anyhow::{Context as _, Result, bail, ensure};

use super::schema::NodeProto;
use super::{integer_attribute, string_attribute};

/// What a node reads: the shape, and the elements of constant integers and small constant floats.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// Lengths of the dimensions.
    pub shape: &'a [usize],
    /// Elements, if it is a constant of integers.
    pub integers: Option<&'a [i64]>,
    /// Elements, if it is a small constant of floats.
    pub floats: Option<&'a [f32]>,
}

/// The shape that two shapes give together when both are repeated along their dimensions of length 1.
///
/// # Errors
/// When a dimension has two lengths, neither of them 1.
pub fn broadcast(a: &[usize], b: &[usize]) -> Result<Vec<usize>> {
    let rank = a.len().max(b.len());
    let length = |shape: &[usize], axis: usize| (axis + shape.len()).checked_sub(rank).map_or(1, |axis| shape[axis]);
    (0..rank)
        .map(|axis| match (length(a, axis), length(b, axis)) {
            (a, b) if a == b || b == 1 => Ok(a),
            (1, b) => Ok(b),
            _ => bail!("shapes {a:?} and {b:?} do not go together"),
        })
        .collect()
}

/// Axes counted from the front, whether they were given from the front or, negative, from the back.
///
/// # Errors
/// When there is no such axis.
pub fn absolute_axes(axes: &[i64], rank: usize) -> Result<Vec<usize>> {
    axes.iter()
        .map(|&axis| {
            let from_front = if axis < 0 { axis + rank as i64 } else { axis };
            usize::try_from(from_front)
                .ok()
                .filter(|&axis| axis < rank)
                .with_context(|| format!("axis {axis} of a tensor of {rank} dimensions"))
        })
        .collect()
}

/// The window of a convolution or a pooling over height and width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Rows and columns that it covers.
    pub kernel: [usize; 2],
    /// Rows and columns from one to the next.
    pub stride: [usize; 2],
    /// Rows and columns of zeros at the top, left, bottom, right.
    pub padding: [usize; 4],
}

impl Window {
    /// The window of a node, to differentiate it; a convolution's kernel is that of its weights, `kernel`.
    ///
    /// # Errors
    /// When it is not over two dimensions, dilated, grouped or padded automatically.
    pub fn of(node: &NodeProto, kernel: Option<[usize; 2]>) -> Result<Self> {
        let ints = |name: &str| integer_attribute(node, name);
        ensure!(ints("dilations").is_none_or(|all| all.iter().all(|&one| one == 1)), "the window is dilated");
        ensure!(ints("group").is_none_or(|group| group == [1]), "the convolution is grouped");
        Self::spanned(node, kernel)
    }

    /// The window of a node, to count how often it fits: a dilated kernel with the rows and columns that it leaves out.
    ///
    /// # Errors
    /// When it is not over two dimensions, or padded automatically.
    fn spanned(node: &NodeProto, kernel: Option<[usize; 2]>) -> Result<Self> {
        let ints = |name: &str| integer_attribute(node, name);
        ensure!(
            string_attribute(node, "auto_pad").is_none_or(|pad| pad == "NOTSET"),
            "padding is not given in numbers"
        );
        ensure!(ints("ceil_mode").is_none_or(|mode| mode == [0]), "the pooling rounds up");
        let lengths = |values: Vec<i64>| values.into_iter().map(|value| usize::try_from(value).unwrap_or(0)).collect();
        let two =
            |values: Vec<usize>| <[usize; 2]>::try_from(values).ok().context("the window is not of two dimensions");
        let kernel = match kernel {
            Some(kernel) => kernel,
            None => two(lengths(ints("kernel_shape").context("the pooling has no size")?))?,
        };
        let stride = ints("strides").map_or(Ok([1; 2]), |values| two(lengths(values)))?;
        let dilation = ints("dilations").map_or(Ok([1; 2]), |values| two(lengths(values)))?;
        let all = kernel.iter().chain(&stride).chain(&dilation);
        ensure!(all.copied().all(|length| length > 0), "the window is empty");
        let span = |axis: usize| (kernel[axis] - 1).saturating_mul(dilation[axis]).saturating_add(1);
        let kernel = [span(0), span(1)];
        let padding: Vec<usize> = ints("pads").map_or_else(|| vec![0; 4], lengths);
        let padding = <[usize; 4]>::try_from(padding).ok().context("the padding is not of two dimensions")?;
        Ok(Self { kernel, stride, padding })
    }

    /// Windows along the height (`axis` 0) or the width (1) of `length`.
    ///
    /// # Errors
    /// When not even one fits.
    pub fn count(&self, axis: usize, length: usize) -> Result<usize> {
        let padded = length + self.padding[axis] + self.padding[axis + 2];
        let room = padded.checked_sub(self.kernel[axis]);
        Ok(room.with_context(|| format!("a window of {} does not fit into {padded}", self.kernel[axis]))?
            / self.stride[axis]
            + 1)
    }

    /// Rows and columns at the end of a picture that no window reaches: the output padding of the transpose.
    pub fn leftover(&self, axis: usize, length: usize) -> usize {
        (length + self.padding[axis] + self.padding[axis + 2]).saturating_sub(self.kernel[axis]) % self.stride[axis]
    }
}

/// Batch, channels, height, width.
///
/// # Errors
/// When there are not four dimensions.
pub fn image_shape(shape: &[usize]) -> Result<[usize; 4]> {
    <[usize; 4]>::try_from(shape).ok().with_context(|| format!("shape {shape:?} is not that of pictures"))
}

/// The shape of what `node` computes.
///
/// # Errors
/// When the inputs do not fit, or the operator is not known here.
pub fn infer(node: &NodeProto, inputs: &[Input<'_>]) -> Result<Vec<usize>> {
    infer_operator(node, inputs).with_context(|| format!("operator {}", node.op_type()))
}

fn infer_operator(node: &NodeProto, inputs: &[Input<'_>]) -> Result<Vec<usize>> {
    let input = |index: usize| inputs.get(index).context("an input is missing");
    let shape = |index: usize| input(index).map(|input| input.shape);
    let integers = |index: usize| input(index)?.integers.context("an input is not a constant of integers");
    // Older versions of operators have as an attribute what later ones read as an input; `None` where it is neither.
    let listed = |name: &str, index: usize| match (integer_attribute(node, name), inputs.get(index)) {
        (Some(list), _) => Ok(Some(list)),
        (None, Some(_)) => integers(index).map(|list| Some(list.to_vec())),
        (None, None) => Ok(None),
    };
    Ok(match node.op_type() {
        "Relu"
        | "Sign"
        | "Sqrt"
        | "Abs"
        | "Neg"
        | "Exp"
        | "Clip"
        | "Identity"
        | "Cast"
        | "InstanceNormalization"
        | "Tanh"
        | "Sigmoid"
        | "LeakyRelu"
        | "Elu"
        | "QuantizeLinear"
        | "DequantizeLinear" => shape(0)?.to_vec(),
        "Add" | "Sub" | "Mul" | "Div" | "Pow" | "Greater" | "GreaterOrEqual" | "Less" | "LessOrEqual" | "Equal"
        | "And" => broadcast(shape(0)?, shape(1)?)?,
        "Where" => broadcast(&broadcast(shape(0)?, shape(1)?)?, shape(2)?)?,
        "MatMul" => matrix_product(shape(0)?, shape(1)?)?,
        "Transpose" => {
            let order = integer_attribute(node, "perm").context("the order of dimensions is not given")?;
            let order = absolute_axes(&order, shape(0)?.len())?;
            ensure!(order.len() == shape(0)?.len(), "{} dimensions in an order of {}", shape(0)?.len(), order.len());
            order.into_iter().map(|axis| Ok(shape(0)?[axis])).collect::<Result<_>>()?
        }
        "Reshape" => reshaped(shape(0)?, integers(1)?)?,
        "Expand" => {
            let to: Vec<usize> = integers(1)?.iter().map(|&length| usize::try_from(length).unwrap_or(0)).collect();
            broadcast(shape(0)?, &to)?
        }
        "Squeeze" => match listed("axes", 1)? {
            Some(axes) => {
                let axes = absolute_axes(&axes, shape(0)?.len())?;
                ensure!(axes.iter().all(|&axis| inputs[0].shape[axis] == 1), "a dimension to drop is longer than 1");
                without_axes(shape(0)?, &axes)
            }
            None => shape(0)?.iter().copied().filter(|&length| length != 1).collect(),
        },
        "ReduceMean" | "ReduceSum" | "ReduceProd" => {
            let rank = shape(0)?.len();
            let axes = listed("axes", 1)?.unwrap_or_else(|| (0..rank as i64).collect());
            let axes = absolute_axes(&axes, rank)?;
            if integer_attribute(node, "keepdims").is_none_or(|keep| keep == [1]) {
                let mut kept = shape(0)?.to_vec();
                axes.iter().for_each(|&axis| kept[axis] = 1);
                kept
            } else {
                without_axes(shape(0)?, &axes)
            }
        }
        "Conv" => convolved(node, shape(0)?, shape(1)?)?,
        "ConvTranspose" => transposed_convolution(node, shape(0)?, shape(1)?)?,
        "MaxPool" | "AveragePool" => {
            let [batch, channels, height, width] = image_shape(shape(0)?)?;
            let window = Window::spanned(node, None)?;
            vec![batch, channels, window.count(0, height)?, window.count(1, width)?]
        }
        "GlobalAveragePool" | "GlobalMaxPool" => {
            let [batch, channels, ..] = image_shape(shape(0)?)?;
            vec![batch, channels, 1, 1]
        }
        "Shape" => vec![shape(0)?.len()],
        "Pad" => {
            let pads = listed("pads", 1)?.context("the padding is not given")?;
            ensure!(pads.len() == 2 * shape(0)?.len(), "{} paddings for {} dimensions", pads.len(), shape(0)?.len());
            let (before, after) = pads.split_at(pads.len() / 2);
            let lengths = shape(0)?.iter().zip(before.iter().zip(after));
            lengths
                .map(|(&length, (&before, &after))| {
                    usize::try_from(length as i64 + before + after).ok().filter(|&length| length > 0)
                })
                .collect::<Option<_>>()
                .context("more is cut away than there is")?
        }
        "Slice" => {
            let starts = listed("starts", 1)?.context("the starts of a slice are not given")?;
            let ends = listed("ends", 2)?.context("the ends of a slice are not given")?;
            // Without them all axes are meant, and every element.
            let axes = listed("axes", 3)?.unwrap_or_else(|| (0..starts.len() as i64).collect());
            let axes = absolute_axes(&axes, shape(0)?.len())?;
            let steps = listed("steps", 4)?.unwrap_or_else(|| vec![1; starts.len()]);
            ensure!(
                [ends.len(), axes.len(), steps.len()] == [starts.len(); 3],
                "the ends of a slice do not fit its starts"
            );
            let mut sliced = shape(0)?.to_vec();
            for (index, &axis) in axes.iter().enumerate() {
                sliced[axis] = slice_length(sliced[axis], starts[index], ends[index], steps[index])?;
            }
            sliced
        }
        "Concat" => {
            let axis = integer_attribute(node, "axis").context("the axis is not given")?;
            let axis = absolute_axes(&axis, shape(0)?.len())?[0];
            let mut joined = shape(0)?.to_vec();
            joined[axis] = inputs.iter().map(|input| input.shape.get(axis).copied().unwrap_or(0)).sum();
            joined
        }
        "GridSample" => {
            let [batch, channels, ..] = image_shape(shape(0)?)?;
            let [_, height, width, coordinates] = image_shape(shape(1)?)?;
            ensure!(coordinates == 2, "places of {coordinates} coordinates");
            vec![batch, channels, height, width]
        }
        "Resize" if inputs.len() > 3 => {
            let sizes = integers(3)?;
            ensure!(sizes.len() == shape(0)?.len(), "{} lengths for {} dimensions", sizes.len(), shape(0)?.len());
            sizes.iter().map(|&length| Ok(usize::try_from(length)?)).collect::<Result<_>>()?
        }
        "Resize" => {
            let scales = input(2)?.floats.context("the scales are not constant")?;
            ensure!(scales.len() == shape(0)?.len(), "{} scales for {} dimensions", scales.len(), shape(0)?.len());
            shape(0)?.iter().zip(scales).map(|(&length, &scale)| (length as f32 * scale) as usize).collect()
        }
        "DepthToSpace" | "SpaceToDepth" => {
            let [batch, channels, height, width] = image_shape(shape(0)?)?;
            let block = block_size(node)?;
            if node.op_type() == "DepthToSpace" {
                ensure!(channels % (block * block) == 0, "{channels} channels in blocks of {block}");
                vec![batch, channels / (block * block), height * block, width * block]
            } else {
                ensure!(height % block == 0 && width % block == 0, "{width}×{height} in blocks of {block}");
                vec![batch, channels * block * block, height / block, width / block]
            }
        }
        _ => bail!("it is not one that can be built on (expected an operator of a style or feature network)"),
    })
}

/// Larger blocks are in no network, and the square of 2³² is 0 to whoever divides by it.
const MOST_BLOCK_SIZE: i64 = 1024;

/// The side of the blocks that depth and space are exchanged in.
///
/// # Errors
/// When it is not given, or no network has such blocks.
pub fn block_size(node: &NodeProto) -> Result<usize> {
    let size = integer_attribute(node, "blocksize").and_then(|size| size.first().copied());
    let size = size.context("the size of blocks is not given")?;
    ensure!((1..=MOST_BLOCK_SIZE).contains(&size), "blocks of {size} (expected 1 to {MOST_BLOCK_SIZE})");
    Ok(usize::try_from(size)?)
}

fn without_axes(shape: &[usize], axes: &[usize]) -> Vec<usize> {
    shape.iter().enumerate().filter(|(axis, _)| !axes.contains(axis)).map(|(_, &length)| length).collect()
}

fn matrix_product(a: &[usize], b: &[usize]) -> Result<Vec<usize>> {
    ensure!(a.len() >= 2 && b.len() >= 2, "matrices of shapes {a:?} and {b:?}");
    let (batch_a, &[rows, inner_a]) = a.split_at(a.len() - 2) else { bail!("a matrix of shape {a:?}") };
    let (batch_b, &[inner_b, columns]) = b.split_at(b.len() - 2) else { bail!("a matrix of shape {b:?}") };
    ensure!(inner_a == inner_b, "matrices of shapes {a:?} and {b:?} cannot be multiplied");
    let mut product = broadcast(batch_a, batch_b)?;
    product.extend([rows, columns]);
    Ok(product)
}

fn reshaped(from: &[usize], to: &[i64]) -> Result<Vec<usize>> {
    let count: usize = from.iter().product();
    let mut shape = Vec::with_capacity(to.len());
    for (axis, &length) in to.iter().enumerate() {
        shape.push(match length {
            0 => *from.get(axis).context("there is no such dimension to keep")?,
            -1 => 0,
            length => usize::try_from(length)?,
        });
    }
    let known: usize = shape.iter().zip(to).filter(|(_, to)| **to != -1).map(|(&length, _)| length).product();
    if let Some(open) = to.iter().position(|&length| length == -1) {
        shape[open] = count.checked_div(known).unwrap_or(0);
    }
    ensure!(shape.iter().product::<usize>() == count, "shape {from:?} cannot become {to:?}");
    Ok(shape)
}

fn convolved(node: &NodeProto, image: &[usize], weight: &[usize]) -> Result<Vec<usize>> {
    let [batch, channels, height, width] = image_shape(image)?;
    let [outputs, inputs, kernel_height, kernel_width] = image_shape(weight)?;
    let groups = groups(node)?;
    ensure!(
        inputs.checked_mul(groups) == Some(channels) && outputs % groups == 0,
        "{channels} channels in {groups} groups for weights of {inputs}"
    );
    if string_attribute(node, "auto_pad").is_some_and(|pad| pad.starts_with("SAME")) {
        let strides = integer_attribute(node, "strides").unwrap_or_else(|| vec![1; 2]);
        let length = |axis: usize, length: usize| {
            let stride =
                strides.get(axis).and_then(|&stride| usize::try_from(stride).ok()).filter(|stride| *stride > 0);
            stride.map(|stride| length.div_ceil(stride)).context("the convolution has no stride")
        };
        return Ok(vec![batch, outputs, length(0, height)?, length(1, width)?]);
    }
    let window = Window::spanned(node, Some([kernel_height, kernel_width]))?;
    Ok(vec![batch, outputs, window.count(0, height)?, window.count(1, width)?])
}

fn transposed_convolution(node: &NodeProto, image: &[usize], weight: &[usize]) -> Result<Vec<usize>> {
    let [batch, channels, height, width] = image_shape(image)?;
    let [inputs, outputs, kernel_height, kernel_width] = image_shape(weight)?;
    let groups = groups(node)?;
    ensure!(
        channels == inputs && inputs % groups == 0,
        "{channels} channels in {groups} groups for weights of {inputs}"
    );
    let window = Window::spanned(node, Some([kernel_height, kernel_width]))?;
    let extra = integer_attribute(node, "output_padding").unwrap_or_else(|| vec![0; 2]);
    let length = |axis: usize, length: usize| {
        let extra = extra.get(axis).and_then(|&extra| usize::try_from(extra).ok()).unwrap_or(0);
        let steps = length.saturating_sub(1).saturating_mul(window.stride[axis]);
        let whole = steps.saturating_add(window.kernel[axis]).saturating_add(extra);
        whole.checked_sub(window.padding[axis] + window.padding[axis + 2]).context("more padding than picture")
    };
    Ok(vec![batch, outputs.saturating_mul(groups), length(0, height)?, length(1, width)?])
}

/// Into how many parts that know nothing of each other a convolution divides its channels.
fn groups(node: &NodeProto) -> Result<usize> {
    let groups = integer_attribute(node, "group").map_or(Some(1), |groups| usize::try_from(*groups.first()?).ok());
    groups.filter(|&groups| groups > 0).context("the convolution has no groups")
}

fn slice_length(length: usize, start: i64, end: i64, step: i64) -> Result<usize> {
    ensure!(length > 0, "nothing is left");
    let length = length as i64;
    let absolute = |at: i64| if at < 0 { at.saturating_add(length) } else { at };
    let count = match step {
        1.. => {
            let (start, end) = (absolute(start).clamp(0, length), absolute(end).clamp(0, length));
            (end - start + step - 1).div_euclid(step)
        }
        0 => bail!("a step of 0"),
        _ => {
            // Backwards, an end before the first element is written as a number far below 0.
            let (start, end) = (absolute(start).clamp(0, length - 1), absolute(end).clamp(-1, length - 1));
            (start - end - step - 1).div_euclid(-step)
        }
    };
    usize::try_from(count).ok().filter(|&count| count > 0).context("nothing is left")
}

#[cfg(test)]
mod tests;
