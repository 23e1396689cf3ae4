//! A convolution on its way back: to the picture by turned kernels, to the weights by a correlation.

use anyhow::Result;

use super::{Back, Contributions};
use crate::onnx::builder::{Attribute, GraphBuilder, Value};
use crate::onnx::shape::{Window, image_shape};

impl Back<'_> {
    pub(super) fn convolution(&self, graph: &mut GraphBuilder) -> Result<Contributions> {
        let (image, weight) = (self.input(graph, 0)?, self.input(graph, 1)?);
        let [outputs, inputs, kernel_height, kernel_width] = image_shape(&weight.shape)?;
        let window = Window::of(self.node, Some([kernel_height, kernel_width]))?;
        let [batch, _, height, width] = image_shape(&image.shape)?;
        let gradient = self.whole(graph);
        let mut contributions = Vec::new();
        if self.is_variable(0) {
            let [top, left, bottom, right] = window.padding;
            let is_turnable =
                window.stride == [1, 1] && top.max(bottom) < kernel_height && left.max(right) < kernel_width;
            let flowing = if is_turnable {
                let turned = turned_kernels(graph, &weight);
                let padding = [
                    kernel_height - 1 - top,
                    kernel_width - 1 - left,
                    kernel_height - 1 - bottom,
                    kernel_width - 1 - right,
                ];
                graph.conv(&gradient, &turned, None, Window { padding, ..window })
            } else {
                let ints = |values: &[usize]| values.iter().map(|&value| value as i64).collect::<Vec<_>>();
                let (kernel, stride, pads) = (ints(&window.kernel), ints(&window.stride), ints(&window.padding));
                let extra = ints(&[window.leftover(0, height), window.leftover(1, width)]);
                let attributes = [
                    Attribute::Ints("kernel_shape", &kernel),
                    Attribute::Ints("strides", &stride),
                    Attribute::Ints("pads", &pads),
                    Attribute::Ints("output_padding", &extra),
                ];
                graph.push("ConvTranspose", &[&gradient, &weight], &attributes)
            };
            contributions.push(self.to(0, flowing));
        }
        if self.is_variable(1) {
            // The correlation of the picture with the gradient: channels take the place of the batch and back.
            let turned_image = graph.transpose(&image, &[1, 0, 2, 3]);
            let turned_gradient = graph.transpose(&gradient, &[1, 0, 2, 3]);
            let [_, _, rows, columns] = image_shape(&gradient.shape)?;
            let padding = window.padding.map(|count| count as i64);
            let padded =
                graph.pad(&turned_image, &[0, 0, padding[0], padding[1]], &[0, 0, padding[2], padding[3]], "constant");
            let spaced = space_out(graph, &turned_gradient, window.stride)?;
            let whole = Window {
                kernel: [(rows - 1) * window.stride[0] + 1, (columns - 1) * window.stride[1] + 1],
                stride: [1, 1],
                padding: [0; 4],
            };
            let product = graph.conv(&padded, &spaced, None, whole);
            let product = graph.slice(&product, 2, 0, kernel_height);
            let product = graph.slice(&product, 3, 0, kernel_width);
            debug_assert_eq!(product.shape, [inputs, outputs, kernel_height, kernel_width], "batch of {batch}");
            contributions.push(self.to(1, graph.transpose(&product, &[1, 0, 2, 3])));
        }
        if self.is_variable(2) {
            let sum = graph.sum_over(&gradient, &[0, 2, 3]);
            contributions.push(self.to(2, graph.reshape(&sum, &[outputs])));
        }
        Ok(contributions)
    }
}

/// Weights `[m, c, h, w]` as `[c, m, h, w]` with both directions of the kernel reversed.
fn turned_kernels(graph: &mut GraphBuilder, weight: &Value) -> Value {
    let turned = match (graph.constant_of(&weight.name), image_shape(&weight.shape)) {
        (Some(elements), Ok([outputs, inputs, height, width])) => {
            let plane = height * width;
            let mut turned = Vec::with_capacity(elements.len());
            for input in 0..inputs {
                for output in 0..outputs {
                    let kernel = &elements[(output * inputs + input) * plane..][..plane];
                    turned.extend(kernel.iter().rev());
                }
            }
            return graph.constant(&[inputs, outputs, height, width], &turned);
        }
        _ => graph.transpose(weight, &[1, 0, 2, 3]),
    };
    let turned = graph.reverse(&turned, 2);
    graph.reverse(&turned, 3)
}

/// Zeros between pixels, so that neighbours are `stride` apart.
fn space_out(graph: &mut GraphBuilder, image: &Value, stride: [usize; 2]) -> Result<Value> {
    if stride == [1, 1] {
        return Ok(image.clone());
    }
    let [batch, channels, height, width] = image_shape(&image.shape)?;
    let split = graph.reshape(image, &[batch, channels, height, 1, width, 1]);
    let after = [0, 0, 0, stride[0] as i64 - 1, 0, stride[1] as i64 - 1];
    let padded = graph.pad(&split, &[0; 6], &after, "constant");
    let spaced = graph.reshape(&padded, &[batch, channels, height * stride[0], width * stride[1]]);
    let spaced = graph.slice(&spaced, 2, 0, (height - 1) * stride[0] + 1);
    Ok(graph.slice(&spaced, 3, 0, (width - 1) * stride[1] + 1))
}
