//! Reverse-mode differentiation: from a graph that computes a loss to one that computes the loss and its gradient.
//!
//! The backward pass is made of ordinary operators, so that it runs wherever the forward pass does. A convolution goes
//! back as a convolution with turned kernels (or a transposed one where it strides), a rectifier as a product with the
//! sign of what it let through, and so on: one rule an operator, all in [`rule`]. See Griewank and Walther, Evaluating
//! Derivatives, 2008, for the method. Every rule is held against central differences in the tests.
//!
//! A gradient on the way may be smaller than its tensor where it is the same along a dimension; it is expanded where an
//! operator needs it whole.

mod convolution;

use std::collections::{HashMap, HashSet};

use anyhow::{Context as _, Result, bail, ensure};

use super::builder::{Attribute, GraphBuilder, Value};
use super::schema::NodeProto;
use super::shape::{Window, absolute_axes, block_size, image_shape};
use super::{float_attribute, integer_attribute, string_attribute};

impl GraphBuilder {
    /// The gradients of the scalar `loss` with respect to each of `inputs`, in their order and shapes.
    ///
    /// # Errors
    /// When the loss is no scalar, does not depend on an input, or an operator between them has no gradient here.
    pub fn gradients(&mut self, loss: &Value, inputs: &[Value]) -> Result<Vec<Value>> {
        ensure!(loss.len() == 1, "a gradient is of one number, not of {}", loss.len());
        let nodes = self.nodes.clone();
        let mut variable: HashSet<&str> = inputs.iter().map(|input| input.name.as_str()).collect();
        for node in &nodes {
            if node.input.iter().any(|input| variable.contains(input.as_str())) {
                let outputs = node.output.iter().map(String::as_str);
                variable.extend(outputs.filter(|output| !self.detached.contains(*output)));
            }
        }
        let producers: HashMap<&str, &NodeProto> =
            nodes.iter().flat_map(|node| node.output.iter().map(move |output| (output.as_str(), node))).collect();
        let mut parts: HashMap<String, Vec<Value>> = HashMap::new();
        let one = self.scalar(1.0);
        let seed = self.reshape(&one, &loss.shape);
        parts.insert(loss.name.clone(), vec![seed]);
        for node in nodes.iter().rev() {
            let Some(output) = node.output.first().filter(|output| variable.contains(output.as_str())) else {
                continue;
            };
            if inputs.iter().any(|input| input.name == *output) {
                continue;
            }
            let Some(flowing) = parts.remove(output) else { continue };
            let gradient = self.total(flowing);
            let back = Back { node, gradient, variable: &variable, producers: &producers };
            let contributions =
                back.rule(self).with_context(|| format!("differentiate operator {}", node.op_type()))?;
            for (input, contribution) in contributions {
                parts.entry(input).or_default().push(contribution);
            }
        }
        inputs
            .iter()
            .map(|input| {
                let flowing = parts.remove(&input.name);
                let total =
                    self.total(flowing.with_context(|| format!("the loss does not depend on '{}'", input.name))?);
                Ok(self.expand(&total, &input.shape))
            })
            .collect()
    }

    fn total(&mut self, parts: Vec<Value>) -> Value {
        let mut parts = parts.into_iter();
        let Some(first) = parts.next() else { return self.scalar(0.0) };
        parts.fold(first, |sum, part| self.add(&sum, &part))
    }

    /// Sums a gradient of what was broadcast over the dimensions along which `shape` was repeated.
    fn unbroadcast(&mut self, gradient: &Value, whole: &[usize], shape: &[usize]) -> Value {
        if whole == shape {
            return gradient.clone();
        }
        let gradient = self.expand(gradient, whole);
        let added = whole.len() - shape.len();
        let axes: Vec<usize> =
            (0..whole.len()).filter(|&axis| axis < added || (shape[axis - added] == 1 && whole[axis] != 1)).collect();
        let sum = self.sum_over(&gradient, &axes);
        self.reshape(&sum, shape)
    }
}

/// One node on the way back, and the gradient that flows into its output.
struct Back<'a> {
    node: &'a NodeProto,
    gradient: Value,
    variable: &'a HashSet<&'a str>,
    producers: &'a HashMap<&'a str, &'a NodeProto>,
}

/// What flows on into the inputs that the loss is differentiated by.
type Contributions = Vec<(String, Value)>;

impl Back<'_> {
    fn input(&self, graph: &GraphBuilder, index: usize) -> Result<Value> {
        let name = self.node.input.get(index).filter(|name| !name.is_empty()).context("an input is missing")?;
        Ok(graph.value(name))
    }

    fn output(&self, graph: &GraphBuilder) -> Value {
        graph.value(self.node.output.first().map_or("", String::as_str))
    }

    fn is_variable(&self, index: usize) -> bool {
        self.node.input.get(index).is_some_and(|name| self.variable.contains(name.as_str()))
    }

    /// The gradient in the shape of the node's output.
    fn whole(&self, graph: &mut GraphBuilder) -> Value {
        let shape = self.output(graph).shape;
        graph.expand(&self.gradient, &shape)
    }

    fn to(&self, index: usize, gradient: Value) -> (String, Value) {
        (self.node.input[index].clone(), gradient)
    }

    /// The one rule of each operator.
    fn rule(&self, graph: &mut GraphBuilder) -> Result<Contributions> {
        let gradient = &self.gradient;
        let single = |value: Value| Ok(vec![self.to(0, value)]);
        match self.node.op_type() {
            "Identity" => single(gradient.clone()),
            "Add" | "Sub" | "Mul" | "Div" => self.arithmetic(graph),
            "Relu" => {
                // What was let through is positive, what was held back is 0: the sign is the mask.
                let output = self.output(graph);
                let mask = graph.sign(&output);
                single(graph.mul(gradient, &mask))
            }
            "Abs" => {
                let input = self.input(graph, 0)?;
                let sign = graph.sign(&input);
                single(graph.mul(gradient, &sign))
            }
            "Sqrt" => {
                let output = self.output(graph);
                let double = graph.scale(&output, 2.0);
                single(graph.div(gradient, &double))
            }
            "Clip" => {
                let input = self.input(graph, 0)?;
                let (low, high) = (self.input(graph, 1)?, self.input(graph, 2)?);
                let above = graph.push("GreaterOrEqual", &[&input, &low], &[]);
                let below = graph.push("LessOrEqual", &[&input, &high], &[]);
                let inside = graph.push("And", &[&above, &below], &[]);
                let zero = graph.scalar(0.0);
                single(graph.select(&inside, gradient, &zero))
            }
            "MatMul" => self.matrix_product(graph),
            "Transpose" => {
                let order = integer_attribute(self.node, "perm").context("the order of dimensions is not given")?;
                let order = absolute_axes(&order, order.len())?;
                let mut inverse = vec![0; order.len()];
                order.iter().enumerate().for_each(|(to, &from)| inverse[from] = to);
                let whole = self.whole(graph);
                single(graph.transpose(&whole, &inverse))
            }
            "Reshape" | "Squeeze" => {
                let shape = self.input(graph, 0)?.shape;
                let whole = self.whole(graph);
                single(graph.reshape(&whole, &shape))
            }
            "Expand" => {
                let shape = self.input(graph, 0)?.shape;
                let whole = self.output(graph).shape;
                single(graph.unbroadcast(gradient, &whole, &shape))
            }
            "ReduceSum" | "ReduceMean" => {
                let input = self.input(graph, 0)?;
                let axes = self.input(graph, 1)?.name;
                let axes = absolute_axes(graph.integers_of(&axes).unwrap_or(&[]), input.shape.len())?;
                let mut kept = input.shape.clone();
                axes.iter().for_each(|&axis| kept[axis] = 1);
                let count = input.len() / kept.iter().product::<usize>().max(1);
                let whole = self.whole(graph);
                let kept = graph.reshape(&whole, &kept);
                let is_mean = self.node.op_type() == "ReduceMean";
                single(if is_mean { graph.scale(&kept, 1.0 / count as f32) } else { kept })
            }
            "Conv" => self.convolution(graph),
            "AveragePool" => {
                let input = self.input(graph, 0)?;
                let window = self.tiling_window()?;
                let whole = self.whole(graph);
                // Scaled while it is small: the runtime folds the factor into a convolution before it.
                let scaled = graph.scale(&whole, 1.0 / (window.kernel[0] * window.kernel[1]) as f32);
                let spread = graph.repeat_pixels(&scaled, window.kernel);
                single(fit_plane(graph, &spread, &input.shape)?)
            }
            "MaxPool" => {
                let (input, output) = (self.input(graph, 0)?, self.output(graph));
                let window = self.tiling_window()?;
                let whole = self.whole(graph);
                // Several equal largest values of a window share its gradient alike.
                let largest = graph.repeat_pixels(&output, window.kernel);
                let covered = cover_plane(graph, &input, &largest.shape)?;
                let is_largest = graph.push("Equal", &[&covered, &largest], &[]);
                let (zero, one) = (graph.scalar(0.0), graph.scalar(1.0));
                let mask = graph.select(&is_largest, &one, &zero);
                let share = graph.average_pool(&mask, window);
                let count = graph.scale(&share, (window.kernel[0] * window.kernel[1]) as f32);
                let shared = graph.div(&whole, &count);
                let spread = graph.repeat_pixels(&shared, window.kernel);
                let routed = graph.mul(&spread, &mask);
                single(fit_plane(graph, &routed, &input.shape)?)
            }
            "Resize" => {
                let is_plain = string_attribute(self.node, "mode").is_none_or(|mode| mode == "nearest")
                    && string_attribute(self.node, "coordinate_transformation_mode") == Some("asymmetric")
                    && string_attribute(self.node, "nearest_mode") == Some("floor");
                let scales = self.input(graph, 2)?.name;
                let scales = graph.floats_of(&scales).context("the scales are not constant")?.to_vec();
                let &[1.0, 1.0, rows, columns] = scales.as_slice() else { bail!("more than the plane is resized") };
                ensure!(
                    is_plain && rows >= 1.0 && columns >= 1.0 && rows.fract() == 0.0 && columns.fract() == 0.0,
                    "pixels are not repeated a whole number of times"
                );
                let kernel = [rows as usize, columns as usize];
                let whole = self.whole(graph);
                let mean = graph.average_pool(&whole, Window { kernel, stride: kernel, padding: [0; 4] });
                single(graph.scale(&mean, rows * columns))
            }
            "Pad" => self.padding(graph).and_then(single),
            "Slice" => self.slicing(graph).and_then(single),
            "InstanceNormalization" => self.instance_normalization(graph),
            "DepthToSpace" | "SpaceToDepth" => self.depth_and_space(graph).and_then(single),
            _ => bail!("it has no gradient here"),
        }
    }

    fn arithmetic(&self, graph: &mut GraphBuilder) -> Result<Contributions> {
        let (a, b) = (self.input(graph, 0)?, self.input(graph, 1)?);
        let whole = self.output(graph).shape;
        let gradient = &self.gradient;
        let mut contributions = Vec::new();
        if self.is_variable(0) {
            let flowing = match self.node.op_type() {
                "Mul" => graph.mul(gradient, &b),
                "Div" => graph.div(gradient, &b),
                _ => gradient.clone(),
            };
            contributions.push(self.to(0, graph.unbroadcast(&flowing, &whole, &a.shape)));
        }
        if self.is_variable(1) {
            let flowing = match self.node.op_type() {
                "Mul" => graph.mul(gradient, &a),
                "Sub" => graph.scale(gradient, -1.0),
                "Div" => {
                    // −a/b² = −(a/b)/b, and a/b is at hand.
                    let quotient = self.output(graph);
                    let slope = graph.div(&quotient, &b);
                    let slope = graph.scale(&slope, -1.0);
                    graph.mul(gradient, &slope)
                }
                _ => gradient.clone(),
            };
            contributions.push(self.to(1, graph.unbroadcast(&flowing, &whole, &b.shape)));
        }
        Ok(contributions)
    }

    fn matrix_product(&self, graph: &mut GraphBuilder) -> Result<Contributions> {
        let (a, b) = (self.input(graph, 0)?, self.input(graph, 1)?);
        let gradient = self.whole(graph);
        if self.is_product_with_own_transpose(&a, &b) {
            // A·Aᵀ, a Gram matrix: both factors at once, (D + Dᵀ)·A, for half of the multiplications.
            let turned = graph.transpose_matrix(&gradient);
            let symmetric = graph.add(&gradient, &turned);
            return Ok(vec![self.to(0, graph.matmul(&symmetric, &a))]);
        }
        let batch = |shape: &[usize], last: [usize; 2]| {
            let mut product = shape[..shape.len() - 2].to_vec();
            product.extend(last);
            product
        };
        let mut contributions = Vec::new();
        if self.is_variable(0) {
            let turned = graph.transpose_matrix(&b);
            let product = graph.matmul(&gradient, &turned);
            let whole = batch(&gradient.shape, [a.shape[a.shape.len() - 2], a.shape[a.shape.len() - 1]]);
            contributions.push(self.to(0, graph.unbroadcast(&product, &whole, &a.shape)));
        }
        if self.is_variable(1) {
            let turned = graph.transpose_matrix(&a);
            let product = graph.matmul(&turned, &gradient);
            let whole = batch(&gradient.shape, [b.shape[b.shape.len() - 2], b.shape[b.shape.len() - 1]]);
            contributions.push(self.to(1, graph.unbroadcast(&product, &whole, &b.shape)));
        }
        Ok(contributions)
    }

    fn is_product_with_own_transpose(&self, a: &Value, b: &Value) -> bool {
        let Some(producer) = self.producers.get(b.name.as_str()) else { return false };
        let rank = a.shape.len();
        let mut swapped: Vec<i64> = (0..rank as i64).collect();
        swapped.swap(rank - 2, rank - 1);
        producer.op_type() == "Transpose"
            && producer.input[0] == a.name
            && integer_attribute(producer, "perm").is_some_and(|order| order == swapped)
    }

    /// The pooling's window, which must lay the picture out in tiles.
    fn tiling_window(&self) -> Result<Window> {
        let window = Window::of(self.node, None)?;
        ensure!(window.kernel == window.stride && window.padding == [0; 4], "its windows overlap or are padded");
        Ok(window)
    }

    /// y = γ·x̂ + β with x̂ = (x − mean)/σ over each plane: dx = γ/σ · (dy − mean(dy) − x̂ · mean(dy · x̂)).
    fn instance_normalization(&self, graph: &mut GraphBuilder) -> Result<Contributions> {
        let (input, scale) = (self.input(graph, 0)?, self.input(graph, 1)?);
        let channels = image_shape(&input.shape)?[1];
        let epsilon = float_attribute(self.node, "epsilon").and_then(|value| value.first().copied()).unwrap_or(1e-5);
        let gradient = self.whole(graph);
        let mean = graph.plane_mean(&input);
        let centered = graph.sub(&input, &mean);
        let square = graph.square(&centered);
        let variance = graph.plane_mean(&square);
        let variance = graph.shift(&variance, epsilon);
        let deviation = graph.sqrt(&variance);
        let normalized = graph.div(&centered, &deviation);
        let product = graph.mul(&gradient, &normalized);
        let mut contributions = Vec::new();
        if self.is_variable(0) {
            let gradient_mean = graph.plane_mean(&gradient);
            let product_mean = graph.plane_mean(&product);
            let along = graph.mul(&normalized, &product_mean);
            let rest = graph.sub(&gradient, &gradient_mean);
            let rest = graph.sub(&rest, &along);
            let scale = graph.reshape(&scale, &[1, channels, 1, 1]);
            let slope = graph.div(&scale, &deviation);
            contributions.push(self.to(0, graph.mul(&rest, &slope)));
        }
        for (index, flowing) in [(1, product), (2, gradient)] {
            if self.is_variable(index) {
                let sum = graph.sum_over(&flowing, &[0, 2, 3]);
                contributions.push(self.to(index, graph.reshape(&sum, &[channels])));
            }
        }
        Ok(contributions)
    }

    /// What was copied into the border goes back to where it was copied from, axis by axis.
    fn padding(&self, graph: &mut GraphBuilder) -> Result<Value> {
        let input = self.input(graph, 0)?;
        let pads = self.input(graph, 1)?.name;
        let pads = graph.integers_of(&pads).context("the padding is not constant")?.to_vec();
        ensure!(pads.iter().all(|&count| count >= 0), "it cuts away");
        let pads: Vec<usize> = pads.into_iter().map(|count| count as usize).collect();
        let (before, after) = pads.split_at(pads.len() / 2);
        let mode = string_attribute(self.node, "mode").unwrap_or("constant");
        let mut flowing = self.whole(graph);
        for axis in (0..input.shape.len()).filter(|&axis| before[axis] + after[axis] > 0) {
            let length = input.shape[axis];
            let (start, end) = (before[axis], before[axis] + length);
            let whole = end + after[axis];
            let mut parts = vec![graph.slice(&flowing, axis, start, end)];
            for (from, to, is_front) in [(0, start, true), (end, whole, false)] {
                if mode == "constant" || from == to {
                    continue;
                }
                let border = graph.slice(&flowing, axis, from, to);
                let count = to - from;
                let (moved, at) = match mode {
                    "edge" => (graph.sum_over(&border, &[axis]), if is_front { 0 } else { length - 1 }),
                    "reflect" => (graph.reverse(&border, axis), if is_front { 1 } else { length - 1 - count }),
                    _ => bail!("padding by '{mode}' has no gradient here"),
                };
                let mut lead = vec![0; input.shape.len()];
                let mut trail = lead.clone();
                lead[axis] = at as i64;
                trail[axis] = (length - at - moved.shape[axis]) as i64;
                parts.push(graph.pad(&moved, &lead, &trail, "constant"));
            }
            flowing = graph.total(parts);
        }
        Ok(flowing)
    }

    /// What was cut away has no influence.
    fn slicing(&self, graph: &mut GraphBuilder) -> Result<Value> {
        let input = self.input(graph, 0)?;
        let one = |graph: &GraphBuilder, index: usize| -> Result<i64> {
            let name = self.input(graph, index)?.name;
            match graph.integers_of(&name) {
                Some(&[value]) => Ok(value),
                _ => bail!("more than one axis is cut"),
            }
        };
        let axis = absolute_axes(&[one(graph, 3)?], input.shape.len())?[0];
        ensure!(one(graph, 4)? == 1 && one(graph, 1)? >= 0, "it does not run forwards from a given element");
        let flowing = self.whole(graph);
        let (mut before, mut after) = (vec![0; input.shape.len()], vec![0; input.shape.len()]);
        before[axis] = one(graph, 1)?;
        after[axis] = input.shape[axis] as i64 - flowing.shape[axis] as i64 - before[axis];
        Ok(graph.pad(&flowing, &before, &after, "constant"))
    }

    fn depth_and_space(&self, graph: &mut GraphBuilder) -> Result<Value> {
        let block = block_size(self.node)?;
        let gradient = self.whole(graph);
        let input = self.input(graph, 0)?;
        let [batch, channels, height, width] = image_shape(&input.shape)?;
        if self.node.op_type() == "SpaceToDepth" {
            // SpaceToDepth is the inverse of DepthToSpace in the mode DCR.
            let attributes = [Attribute::Int("blocksize", block as i64), Attribute::Text("mode", "DCR")];
            return Ok(graph.push("DepthToSpace", &[&gradient], &attributes));
        }
        if string_attribute(self.node, "mode").is_none_or(|mode| mode == "DCR") {
            return Ok(graph.push("SpaceToDepth", &[&gradient], &[Attribute::Int("blocksize", block as i64)]));
        }
        // Mode CRD: [n, c, h, b, w, b] back to [n, c, b, b, h, w].
        let depth = channels / (block * block);
        let split = graph.reshape(&gradient, &[batch, depth, height, block, width, block]);
        let moved = graph.transpose(&split, &[0, 1, 3, 5, 2, 4]);
        Ok(graph.reshape(&moved, &input.shape))
    }
}

/// Rows and columns that no window of a pooling reached get a gradient of 0.
fn fit_plane(graph: &mut GraphBuilder, image: &Value, shape: &[usize]) -> Result<Value> {
    let ([_, _, rows, columns], [_, _, height, width]) = (image_shape(&image.shape)?, image_shape(shape)?);
    Ok(graph.pad(image, &[0; 4], &[0, 0, (height - rows) as i64, (width - columns) as i64], "constant"))
}

/// The rows and columns of a picture that windows of a pooling reached.
fn cover_plane(graph: &mut GraphBuilder, image: &Value, shape: &[usize]) -> Result<Value> {
    let ([_, _, rows, columns], [_, _, height, width]) = (image_shape(shape)?, image_shape(&image.shape)?);
    if [rows, columns] == [height, width] {
        return Ok(image.clone());
    }
    let covered = graph.slice(image, 2, 0, rows);
    Ok(graph.slice(&covered, 3, 0, columns))
}
