//! Figures of features and pictures, as parts of a graph: what losses are made of.

use crate::onnx::{GraphBuilder, Value};

/// What may be divided by: a black picture has no features.
pub const SMALLEST_ENERGY: f32 = 1e-12;

/// Σ(a − target)² / Σ target².
pub fn relative_error(graph: &mut GraphBuilder, a: &Value, target: &Value) -> Value {
    let difference = graph.sub(a, target);
    let error = graph.mean_square(&difference);
    let energy = graph.mean_square(target);
    let energy = graph.shift(&energy, SMALLEST_ENERGY);
    graph.div(&error, &energy)
}

/// The mean over both directions of squared differences of neighbours in `[1, 3, H, W]`.
pub fn roughness(graph: &mut GraphBuilder, image: &Value) -> Value {
    let mut parts = Vec::new();
    for axis in [2, 3] {
        let length = image.shape[axis];
        let low = graph.slice(image, axis, 0, length - 1);
        let high = graph.slice(image, axis, 1, length);
        let difference = graph.sub(&high, &low);
        parts.push(graph.mean_square(&difference));
    }
    graph.add(&parts[0], &parts[1])
}

/// The Gram matrix `[C, C]` of features `[C, N]`, divided by C·N.
pub fn gram(graph: &mut GraphBuilder, features: &Value) -> Value {
    let turned = graph.transpose_matrix(features);
    let product = graph.matmul(features, &turned);
    graph.scale(&product, 1.0 / features.len() as f32)
}

/// Mean `[C, 1]` and covariance `[C, C]` of features `[C, N]`; of a region's features, which were multiplied by its mask `[1, N]` of
/// mean square 1, each pixel counts by the mask's square.
pub fn moments(graph: &mut GraphBuilder, features: &Value, mask: Option<&Value>) -> (Value, Value) {
    let count = features.shape.last().copied().unwrap_or(1) as f32;
    let by_mask = |graph: &mut GraphBuilder, value: &Value| mask.map_or(value.clone(), |mask| graph.mul(value, mask));
    let weighted = by_mask(graph, features);
    let sum = graph.sum_over(&weighted, &[1]);
    let mean = graph.scale(&sum, 1.0 / count);
    let masked_mean = by_mask(graph, &mean);
    let centered = graph.sub(features, &masked_mean);
    let turned = graph.transpose_matrix(&centered);
    let product = graph.matmul(&centered, &turned);
    let covariance = graph.scale(&product, 1.0 / count);
    (mean, covariance)
}

fn identity(graph: &mut GraphBuilder, side: usize) -> Value {
    let elements: Vec<f32> = (0..side * side).map(|at| if at % (side + 1) == 0 { 1.0 } else { 0.0 }).collect();
    graph.constant(&[side, side], &elements)
}

/// The sum of the diagonal.
pub fn trace(graph: &mut GraphBuilder, matrix: &Value) -> Value {
    let identity = identity(graph, matrix.shape[0]);
    let diagonal = graph.mul(matrix, &identity);
    graph.sum(&diagonal)
}

/// Steps of the Newton–Schulz iteration: enough for a condition of 10⁴ in `f32`.
const ROOT_STEPS: usize = 12;
/// Share of the mean eigenvalue that is added to each, so that the root of a singular matrix is found.
const ROOT_DAMPING: f32 = 1e-4;

/// The root of a positive matrix and the inverse of that root, by the coupled Newton–Schulz iteration (Higham, Functions of
/// Matrices, 2008, §6.7), from ROOT_DAMPING more than it.
pub fn matrix_root(graph: &mut GraphBuilder, matrix: &Value) -> (Value, Value) {
    let side = matrix.shape[0];
    let identity = identity(graph, side);
    let trace = trace(graph, matrix);
    let damping = graph.scale(&trace, ROOT_DAMPING / side as f32);
    let damping = graph.shift(&damping, SMALLEST_ENERGY);
    let damping = graph.mul(&identity, &damping);
    let damped = graph.add(matrix, &damping);
    let square = graph.square(&damped);
    let square = graph.sum(&square);
    let norm = graph.sqrt(&square);
    let mut root = graph.div(&damped, &norm);
    let mut inverse = identity.clone();
    let triple = graph.scale(&identity, 3.0);
    for _ in 0..ROOT_STEPS {
        let product = graph.matmul(&inverse, &root);
        let rest = graph.sub(&triple, &product);
        let step = graph.scale(&rest, 0.5);
        root = graph.matmul(&root, &step);
        inverse = graph.matmul(&step, &inverse);
    }
    let scale = graph.sqrt(&norm);
    (graph.mul(&root, &scale), graph.div(&inverse, &scale))
}

/// tr(M^½) with its gradient ½·M^(−½), which the iteration finds as well: nothing is differentiated through its steps.
pub fn trace_of_root(graph: &mut GraphBuilder, matrix: &Value) -> Value {
    let constant = graph.detach(matrix);
    let (root, inverse) = matrix_root(graph, &constant);
    let value = trace(graph, &root);
    // ½·⟨M^(−½), M − detached M⟩ is 0 and has the gradient.
    let difference = graph.sub(matrix, &constant);
    let along = graph.mul(&inverse, &difference);
    let along = graph.sum(&along);
    let along = graph.scale(&along, 0.5);
    graph.add(&value, &along)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gatys::targets::open;
    use crate::runtime::{SessionOptions, Tensor};

    const CHANNELS: usize = 3;
    const COUNT: usize = 40;

    /// Channels around 4, 5 and 6 with noise of up to 0.5; the second half is far from the first.
    fn features() -> Tensor {
        let noise = |index: usize| ((index * 7919 + 13) % 101) as f32 / 101.0 - 0.5;
        let value = |index: usize| (index / COUNT) as f32 + if index % COUNT < COUNT / 2 { 4.0 } else { -9.0 };
        let data = (0..CHANNELS * COUNT).map(|index| value(index) + noise(index)).collect();
        Tensor { shape: vec![CHANNELS, COUNT], data }
    }

    /// Mean, covariance, their sum weighted by numbers, and its gradient by the features before the mask.
    fn moments_of(features: &Tensor, mask: Option<&[f32]>) -> Vec<Tensor> {
        let mut graph = GraphBuilder::new();
        let input = graph.input("features", &features.shape);
        let mask = mask.map(|mask| graph.constant(&[1, mask.len()], mask));
        let masked = mask.as_ref().map_or(input.clone(), |mask| graph.mul(&input, mask));
        let (mean, covariance) = moments(&mut graph, &masked, mask.as_ref());
        let parts = [&mean, &covariance].map(|part| {
            let weights: Vec<f32> = (0..part.len()).map(|index| 1.0 + (index % 4) as f32).collect();
            let weights = graph.constant(&part.shape, &weights);
            let weighted = graph.mul(part, &weights);
            graph.sum(&weighted)
        });
        let loss = graph.add(&parts[0], &parts[1]);
        let gradient = graph.gradients(&loss, std::slice::from_ref(&input)).unwrap().remove(0);
        let names = ["mean", "covariance", "loss", "gradient"];
        for (name, value) in names.iter().zip([&mean, &covariance, &loss, &gradient]) {
            graph.output(name, value);
        }
        let mut session = open(&graph.finish().unwrap(), &SessionOptions::with_threads(1)).unwrap();
        session.run_for(&[("features", features)], &names).unwrap()
    }

    #[test]
    fn a_region_has_the_moments_that_it_has_alone() {
        let whole = features();
        let half = |row: &[f32]| row[..COUNT / 2].to_vec();
        let alone =
            Tensor { shape: vec![CHANNELS, COUNT / 2], data: whole.data.chunks(COUNT).flat_map(half).collect() };
        let mask: Vec<f32> = (0..COUNT).map(|index| if index < COUNT / 2 { 2f32.sqrt() } else { 0.0 }).collect();
        let (masked, alone) = (moments_of(&whole, Some(&mask)), moments_of(&alone, None));
        for (masked, alone) in masked.iter().zip(&alone).take(2) {
            assert_eq!(masked.shape, alone.shape);
            for (a, b) in masked.data.iter().zip(&alone.data) {
                assert!((a - b).abs() < 1e-4, "{a} {b}");
            }
        }
        assert!((alone[0].data[0] - 4.0).abs() < 0.1 && alone[1].data[0] < 0.2, "{alone:?}");
    }

    #[test]
    fn the_gradient_through_a_soft_mask_is_the_slope() {
        const STEP: f32 = 0.05;
        let mut features = features();
        let mask: Vec<f32> = (0..COUNT).map(|index| index as f32 / COUNT as f32).collect();
        let scale = (mask.iter().map(|value| value * value).sum::<f32>() / COUNT as f32).sqrt();
        let mask: Vec<f32> = mask.iter().map(|value| value / scale).collect();
        let gradient = moments_of(&features, Some(&mask)).remove(3).data;
        let largest = gradient.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        for index in [3, 27, 39, 64, 119] {
            let mut loss = |by: f32| {
                features.data[index] += by;
                moments_of(&features, Some(&mask)).remove(2).data[0]
            };
            let slope = (loss(STEP) - loss(-2.0 * STEP)) / (2.0 * STEP);
            features.data[index] += STEP;
            assert!((slope - gradient[index]).abs() < 0.01 * largest, "{index}: {slope} {}", gradient[index]);
        }
    }
}
