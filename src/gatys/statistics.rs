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

/// Mean `[C, 1]` and covariance `[C, C]` of features `[C, N]`.
pub fn moments(graph: &mut GraphBuilder, features: &Value) -> (Value, Value) {
    let count = features.shape.last().copied().unwrap_or(1) as f32;
    let sum = graph.sum_over(features, &[1]);
    let mean = graph.scale(&sum, 1.0 / count);
    let centered = graph.sub(features, &mean);
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
