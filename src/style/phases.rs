//! The end of a bundled network on a quarter of the pixels, for processors.
//!
//! The network doubles its pixels, convolves them and makes four pixels of each. A convolution of doubled pixels meets the same
//! pixel several times: its results come in four phases, each of which is a smaller convolution of the pixels themselves
//! (Shi et al. 2016, "Is the deconvolution layer the same as a convolutional layer?"). So the four become channels, nothing is
//! doubled, and there is less to multiply and to move about: 4 · 2×2 products for each pixel where there were 4 · 3×3.
//!
//! All is as before but at the border: the last convolution sees the outermost row and the one before it again where it saw
//! a reflection, so that the outermost pixels differ a little.
//!
//! The arithmetic on levels at both ends of the graph goes into the weights of the first and the last convolution.

use anyhow::{Context as _, Result, bail, ensure};

use crate::onnx::schema::NodeProto;
use crate::onnx::{Attribute, Model, node};

/// Pixels that a pixel at the end becomes, each way, beside the doubling.
const SHUFFLE: usize = 2;

/// From the picture to the first convolution.
const START: [&str; 5] = ["Div", "Sub", "SpaceToDepth", "Pad", "Conv"];
/// From the last doubling to the picture.
const END: [&str; 11] =
    ["Resize", "Pad", "Conv", "InstanceNormalization", "Relu", "Pad", "Conv", "DepthToSpace", "Mul", "Add", "Clip"];

/// The weights of a convolution, `[outputs, inputs, side, side]`, and its bias.
#[derive(Debug, Clone, PartialEq)]
struct Convolution {
    outputs: usize,
    inputs: usize,
    side: usize,
    weight: Vec<f32>,
    bias: Vec<f32>,
}

/// Puts the end of a network as `models/training` exports it into phases.
///
/// # Errors
/// When the graph is another one, which a test excludes for the bundled ones.
pub(super) fn put_into_phases(model: &mut Model) -> Result<()> {
    let half_range = take_levels(model)?;
    let doubling = model.nodes().iter().rfind(|node| node.op_type() == "Resize").context("it doubles nothing")?;
    let end = chain(model, input_of(doubling).to_owned(), END)?;
    let nodes = in_phases(model, &end, half_range)?;
    let graph = model.graph_mut();
    graph.node.retain(|node| !end.iter().any(|replaced| output_of(replaced) == output_of(node)));
    graph.node.extend(nodes);
    model.drop_unread_weights();
    Ok(())
}

/// Makes the first convolution take levels of 0–255, which the graph brought to −1 to 1 before. Gives half their range.
fn take_levels(model: &mut Model) -> Result<f32> {
    let image = model.inputs().first().context("it has no input")?.name.clone();
    let [divide, subtract, space_to_depth, _, stem] = chain(model, image.clone(), START)?;
    let half_range = divide.input.get(1).and_then(|name| model.small_constant(name)).unwrap_or_default();
    let &[half_range] = half_range.as_slice() else { bail!("its range of levels is not one number") };
    let names = Convolution::read(model, &stem)?.of_levels(half_range).add_to(model, "phases.stem")?;
    let nodes = &mut model.graph_mut().node;
    nodes.retain(|node| ![&divide, &subtract].map(output_of).contains(&output_of(node)));
    for node in nodes {
        if output_of(node) == output_of(&space_to_depth) {
            node.input = vec![image.clone()];
        } else if output_of(node) == output_of(&stem) {
            node.input.splice(1.., names.clone());
        }
    }
    Ok(half_range)
}

/// The nodes that take the place of the `end`; what they read beside the picture is added to the model.
fn in_phases(model: &mut Model, end: &[NodeProto; END.len()], half_range: f32) -> Result<Vec<NodeProto>> {
    let [doubling, pad, fuse, norm, relu, _, head, _, _, _, clip] = end;
    let pads = pad.input.get(1).context("a padding has no size")?;
    let fuse = Convolution::read(model, fuse)?.of_doubled()?;
    let head = Convolution::read(model, head)?.with_levels(half_range).on_phases()?;
    let channels = (fuse.outputs / 4) as i64;
    let [fuse_weight, fuse_bias] = fuse.add_to(model, "phases.fuse")?;
    let [head_weight, head_bias] = head.add_to(model, "phases.head")?;
    // In these shapes, 0 is the length that was there, and −1 what is left.
    model.add_indices("phases.by_phase", &[channels, 4, 0, 0])?;
    model.add_indices("phases.together", &[1, channels, -1, 0])?;
    model.add_indices("phases.apart", &[1, 4 * channels, -1, 0])?;

    let edge = [Attribute::Text("mode", "edge")];
    let mut nodes = vec![
        node("Pad", &[input_of(doubling), pads], "phases.padded", &edge),
        convolution(["phases.padded", &fuse_weight, &fuse_bias], "phases.fused", 2),
        node("Reshape", &["phases.fused", "phases.by_phase"], "phases.grid", &[]),
    ];
    let parts = cut_phases(model, &mut nodes)?;
    let shuffle = [Attribute::Int("blocksize", 2 * SHUFFLE as i64), Attribute::Text("mode", "CRD")];
    nodes.extend([
        node("Concat", &parts.each_ref().map(String::as_str), "phases.parts", &[Attribute::Int("axis", 1)]),
        // The normalization of a channel takes its four phases together.
        node("Reshape", &["phases.parts", "phases.together"], "phases.channels", &[]),
        between(norm, "phases.channels", "phases.normalized"),
        between(relu, "phases.normalized", "phases.positive"),
        node("Reshape", &["phases.positive", "phases.apart"], "phases.cells", &[]),
        node("Pad", &["phases.cells", pads], "phases.padded_cells", &edge),
        convolution(["phases.padded_cells", &head_weight, &head_bias], "phases.painted", 3),
        node("DepthToSpace", &["phases.painted"], "phases.pixels", &shuffle),
        between(clip, "phases.pixels", output_of(clip)),
    ]);
    Ok(nodes)
}

/// Cuts the four phases to the size of the picture. They are made between the pixels, where there is one place more than there are
/// pixels each way: the second row of a pixel comes from the place after it, the first from that before it.
fn cut_phases(model: &mut Model, nodes: &mut Vec<NodeProto>) -> Result<[String; 4]> {
    model.add_indices("phases.axes", &[1, 2, 3])?;
    let mut parts: [String; 4] = Default::default();
    for (phase, (part, (y, x))) in parts.iter_mut().zip(pairs(2, 2)).enumerate() {
        let [first, last, name] = ["first", "last", "part"].map(|of| format!("phases.{of}.{phase}"));
        let end = |odd: usize| if odd == 1 { i64::MAX } else { -1 };
        model.add_indices(&first, &[phase as i64, y as i64, x as i64])?;
        model.add_indices(&last, &[phase as i64 + 1, end(y), end(x)])?;
        nodes.push(node("Slice", &["phases.grid", &first, &last, "phases.axes"], &name, &[]));
        *part = name;
    }
    Ok(parts)
}

/// The nodes of these kinds that follow each other from `tensor` on, each the only one that reads what the one before computes.
fn chain<const N: usize>(model: &Model, mut tensor: String, kinds: [&str; N]) -> Result<[NodeProto; N]> {
    let mut nodes = Vec::with_capacity(N);
    for kind in kinds {
        let consumers = model.consumers(&tensor);
        let &[node] = consumers.as_slice() else { bail!("'{tensor}' is read by {} nodes", consumers.len()) };
        ensure!(node.op_type() == kind, "'{tensor}' is read by {} (expected {kind})", node.op_type());
        tensor = output_of(node).to_owned();
        nodes.push(node.clone());
    }
    nodes.try_into().ok().context("it is another network")
}

fn input_of(node: &NodeProto) -> &str {
    node.input.first().map_or("", String::as_str)
}

fn output_of(node: &NodeProto) -> &str {
    node.output.first().map_or("", String::as_str)
}

/// The same node at another place.
fn between(node: &NodeProto, input: &str, output: &str) -> NodeProto {
    let mut moved = node.clone();
    moved.input[0] = input.to_owned();
    moved.output = vec![output.to_owned()];
    moved
}

fn convolution(inputs: [&str; 3], output: &str, side: i64) -> NodeProto {
    node("Conv", &inputs, output, &[Attribute::Ints("kernel_shape", &[side; 2]), Attribute::Ints("pads", &[0; 4])])
}

impl Convolution {
    fn read(model: &Model, node: &NodeProto) -> Result<Self> {
        let constant = |index: usize| node.input.get(index).and_then(|name| model.constant(name));
        let (shape, weight) = constant(1).context("a convolution has no weights")?;
        let (_, bias) = constant(2).context("a convolution has no bias")?;
        let &[outputs, inputs, side, width] = shape.as_slice() else { bail!("weights of the shape {shape:?}") };
        ensure!(side == width && bias.len() == outputs, "weights of the shape {shape:?}, a bias of {}", bias.len());
        Ok(Self { outputs, inputs, side, weight, bias })
    }

    fn zeros(outputs: usize, inputs: usize, side: usize, bias: Vec<f32>) -> Self {
        Self { outputs, inputs, side, weight: vec![0.0; outputs * inputs * side * side], bias }
    }

    fn index(&self, output: usize, input: usize, row: usize, column: usize) -> usize {
        ((output * self.inputs + input) * self.side + row) * self.side + column
    }

    /// The same on levels of 0–255 instead of −1 to 1.
    fn of_levels(mut self, half_range: f32) -> Self {
        for (bias, weights) in self.bias.iter_mut().zip(self.weight.chunks_exact(self.inputs * self.side * self.side)) {
            *bias -= weights.iter().sum::<f32>();
        }
        self.weight.iter_mut().for_each(|weight| *weight /= half_range);
        self
    }

    /// The same with results in levels of 0–255 instead of −1 to 1.
    fn with_levels(mut self, half_range: f32) -> Self {
        self.weight.iter_mut().for_each(|weight| *weight *= half_range);
        self.bias.iter_mut().for_each(|bias| *bias = *bias * half_range + half_range);
        self
    }

    /// Of 3×3 doubled pixels, as one of 2×2 pixels with results `4·o + 2·y + x`. Where the pixels are those before and after a place
    /// between two, the one at row y of four (and column x) belongs to the pixel after the place if y is 0, to that before it if it is 1.
    fn of_doubled(&self) -> Result<Self> {
        ensure!(self.side == 3, "a convolution of doubled pixels has {0}×{0} weights (expected 3×3)", self.side);
        let bias = self.bias.iter().flat_map(|&bias| [bias; 4]).collect();
        let mut phases = Self::zeros(4 * self.outputs, self.inputs, 2, bias);
        for (output, input) in pairs(self.outputs, self.inputs) {
            for ((y, x), (row, column)) in pairs(2, 2).flat_map(|phase| pairs(3, 3).map(move |tap| (phase, tap))) {
                let index = phases.index(4 * output + 2 * y + x, input, (1 - y + row) / 2, (1 - x + column) / 2);
                phases.weight[index] += self.weight[self.index(output, input, row, column)];
            }
        }
        Ok(phases)
    }

    /// Of 5×5 pixels, each of whose results `4·c + 2·v + u` are four pixels of a color `c`, as one of 3×3 cells of four pixels
    /// (inputs `4·i + 2·y + x`) whose results are sixteen.
    fn on_phases(&self) -> Result<Self> {
        ensure!(self.side == 5, "the last convolution has {0}×{0} weights (expected 5×5)", self.side);
        ensure!(self.outputs.is_multiple_of(SHUFFLE * SHUFFLE), "the last convolution has {} results", self.outputs);
        // Where result `4·c + 2·v + u` of the pixel at row y and column x of a cell goes: rows of both, columns of both.
        let place = |output: usize, y: usize, x: usize| {
            let (color, v, u) = (output / 4, output / 2 % 2, output % 2);
            16 * color + 4 * (2 * y + v) + 2 * x + u
        };
        let mut phases = Self::zeros(4 * self.outputs, 4 * self.inputs, 3, vec![0.0; 4 * self.outputs]);
        for (output, (y, x)) in (0..self.outputs).flat_map(|output| pairs(2, 2).map(move |pixel| (output, pixel))) {
            phases.bias[place(output, y, x)] = self.bias[output];
            for (input, (row, column)) in (0..self.inputs).flat_map(|input| pairs(5, 5).map(move |tap| (input, tap))) {
                let (down, right) = (y + row, x + column);
                let phase = 4 * input + 2 * (down % 2) + right % 2;
                let index = phases.index(place(output, y, x), phase, down / 2, right / 2);
                phases.weight[index] += self.weight[self.index(output, input, row, column)];
            }
        }
        Ok(phases)
    }

    /// Adds its weights and its bias; gives their names.
    fn add_to(&self, model: &mut Model, name: &str) -> Result<[String; 2]> {
        let names = [format!("{name}.weight"), format!("{name}.bias")];
        model.add_weights(&names[0], &[self.outputs, self.inputs, self.side, self.side], &self.weight)?;
        model.add_weights(&names[1], &[self.outputs], &self.bias)?;
        Ok(names)
    }
}

/// Every pair of indices below these lengths.
fn pairs(rows: usize, columns: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..rows).flat_map(move |row| (0..columns).map(move |column| (row, column)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::style::Catalog;

    /// Channels of `height` × `width`.
    struct Planes {
        height: usize,
        width: usize,
        values: Vec<f32>,
    }

    impl Planes {
        fn random(channels: usize, height: usize, width: usize) -> Self {
            let values = numbers(channels * height * width, 7);
            Self { height, width, values }
        }

        /// The nearest pixel's value where there is none.
        fn at(&self, channel: usize, row: isize, column: isize) -> f32 {
            let clamped = |index: isize, length: usize| index.clamp(0, length as isize - 1) as usize;
            let (row, column) = (clamped(row, self.height), clamped(column, self.width));
            self.values[(channel * self.height + row) * self.width + column]
        }
    }

    fn numbers(count: usize, seed: u32) -> Vec<f32> {
        let states =
            std::iter::successors(Some(seed), |state| Some(state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223)));
        states.skip(1).take(count).map(|state| (state >> 8) as f32 / (1 << 23) as f32 - 1.0).collect()
    }

    fn random(outputs: usize, inputs: usize, side: usize) -> Convolution {
        let weight = numbers(outputs * inputs * side * side, 11);
        Convolution { outputs, inputs, side, weight, bias: numbers(outputs, 13) }
    }

    /// One result; `at` gives an input's value at a row and a column counted from the window's first.
    fn result(convolution: &Convolution, output: usize, at: impl Fn(usize, usize, usize) -> f32) -> f32 {
        let taps = pairs(convolution.side, convolution.side);
        let products = taps.flat_map(|(row, column)| (0..convolution.inputs).map(move |input| (input, row, column)));
        let sum: f32 = products
            .map(|(input, row, column)| {
                convolution.weight[convolution.index(output, input, row, column)] * at(input, row, column)
            })
            .sum();
        sum + convolution.bias[output]
    }

    #[test]
    fn a_convolution_of_doubled_pixels_comes_in_four_phases() {
        let (pixels, convolution) = (Planes::random(3, 4, 5), random(2, 3, 3));
        let phases = convolution.of_doubled().unwrap();
        for ((row, column), output) in pairs(8, 10).flat_map(|place| (0..2).map(move |output| (place, output))) {
            let (row, column) = (row as isize, column as isize);
            let expected = result(&convolution, output, |input, down, right| {
                let (row, column) = (row + down as isize - 1, column + right as isize - 1);
                pixels.at(input, row.div_euclid(2), column.div_euclid(2))
            });
            let (y, x) = (row % 2, column % 2);
            // The place that makes it: before its pixel, or after it.
            let (place_row, place_column) = (row / 2 + y, column / 2 + x);
            let found = result(&phases, 4 * output + (2 * y + x) as usize, |input, down, right| {
                pixels.at(input, place_row + down as isize - 1, place_column + right as isize - 1)
            });
            assert!((expected - found).abs() < 1e-5, "{row}, {column}: {found}, not {expected}");
        }
    }

    #[test]
    fn a_convolution_of_cells_gives_the_pixels_of_their_four() {
        let (pixels, convolution) = (Planes::random(2, 12, 14), random(4, 2, 5));
        let cells = convolution.on_phases().unwrap();
        // The cell in the middle, whose window lies inside.
        let (cell_row, cell_column) = (3, 3);
        for ((y, x), (v, u)) in pairs(2, 2).flat_map(|pixel| pairs(2, 2).map(move |part| (pixel, part))) {
            let (row, column) = (2 * cell_row + y, 2 * cell_column + x);
            let expected = result(&convolution, 2 * v + u, |input, down, right| {
                pixels.at(input, (row + down) as isize - 2, (column + right) as isize - 2)
            });
            let found = result(&cells, 4 * (2 * y + v) + 2 * x + u, |input, down, right| {
                let (row, column) =
                    (2 * (cell_row + down - 1) + input / 2 % 2, 2 * (cell_column + right - 1) + input % 2);
                pixels.at(input / 4, row as isize, column as isize)
            });
            assert!((expected - found).abs() < 1e-5, "{y}, {x}, {v}, {u}: {found}, not {expected}");
        }
    }

    #[test]
    fn levels_go_into_the_weights() {
        let (pixels, convolution) = (Planes::random(2, 3, 3), random(1, 2, 3));
        let at = |input: usize, row: usize, column: usize| pixels.at(input, row as isize, column as isize);
        let expected = result(&convolution, 0, |input, row, column| at(input, row, column) / 127.5 - 1.0);
        let found = result(&convolution.clone().of_levels(127.5), 0, at);
        assert!((expected - found).abs() < 1e-5, "{found}, not {expected}");
        let expected = result(&convolution, 0, at) * 127.5 + 127.5;
        let found = result(&convolution.with_levels(127.5), 0, at);
        assert!((expected - found).abs() < 1e-3, "{found}, not {expected}");
    }

    #[test]
    fn bundled_networks_have_the_graph_for_it_and_nothing_is_left_over() {
        let catalog = Catalog::bundled().unwrap();
        for network in catalog.networks() {
            let mut model = catalog.network_model(&network.name).unwrap();
            put_into_phases(&mut model).unwrap();
            let last = model.nodes().iter().filter(|node| node.op_type() == "Resize").count();
            assert_eq!(last, 1, "{}: the doubling in the middle is left alone", network.name);
            let unread = |name: &str| model.consumers(name).is_empty();
            assert!(!model.graph().initializer.iter().any(|tensor| unread(tensor.name())), "{}", network.name);
            assert!(put_into_phases(&mut model).is_err(), "{}: once is enough", network.name);
        }
    }
}
