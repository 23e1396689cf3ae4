//! The gradient of every operator against central differences, in `f32` as it is used.
//!
//! A loss is the sum of what the operator gives, weighted by random numbers. Its slope along each element of each input is
//! measured by moving that element by ±`STEP`, and may differ from the gradient by `TOLERANCE` of the largest slope: about
//! what is left of `f32` after a difference over such a step.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)] // A test that panics fails: as it should.

use impasto::onnx::builder::Attribute;
use impasto::onnx::shape::Window;
use impasto::onnx::{GraphBuilder, Model, Value};
use impasto::runtime::{ModelSource, Runtime, Session, SessionOptions, Tensor};

const STEP: f32 = 0.01;
const TOLERANCE: f32 = 0.003;

/// Numbers between −1 and 1, none within 0.05 of a kink at 0 or ±0.5.
fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut numbers = Vec::with_capacity(count);
    while numbers.len() < count {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let number = (state >> 40) as f32 / (1 << 23) as f32 - 1.0;
        if [-0.5, 0.0, 0.5].iter().all(|kink: &f32| (number - kink).abs() > 0.05) {
            numbers.push(number);
        }
    }
    numbers
}

fn session(model: &Model) -> Session {
    let options = SessionOptions::with_threads(1);
    let bytes = model.to_bytes();
    let source = ModelSource::Bytes { bytes: &bytes, weights: None };
    Session::open(Runtime::load().unwrap(), source, &options).unwrap()
}

/// Holds the gradient of `operator` with respect to inputs of `shapes` against central differences.
fn check(shapes: &[&[usize]], operator: impl Fn(&mut GraphBuilder, &[Value]) -> Value) {
    let inputs = shapes.iter().enumerate().map(|(index, shape)| Tensor {
        shape: shape.to_vec(),
        data: numbers(shape.iter().product(), index as u64 + 1),
    });
    check_at(inputs.collect(), operator);
}

fn check_at(tensors: Vec<Tensor>, operator: impl Fn(&mut GraphBuilder, &[Value]) -> Value) {
    check_within(tensors, STEP, TOLERANCE, operator);
}

fn check_within(
    mut tensors: Vec<Tensor>,
    step: f32,
    tolerance: f32,
    operator: impl Fn(&mut GraphBuilder, &[Value]) -> Value,
) {
    let mut graph = GraphBuilder::new();
    let names: Vec<String> = (0..tensors.len()).map(|index| format!("input{index}")).collect();
    let inputs: Vec<Value> =
        names.iter().zip(&tensors).map(|(name, tensor)| graph.input(name, &tensor.shape)).collect();
    let result = operator(&mut graph, &inputs);
    let weights = numbers(result.len(), 77);
    let weights = graph.constant(&result.shape.clone(), &weights);
    let weighted = graph.mul(&result, &weights);
    let loss = graph.sum(&weighted);
    let gradients = graph.gradients(&loss, &inputs).unwrap();
    graph.output("loss", &loss);
    for (index, gradient) in gradients.iter().enumerate() {
        graph.output(&format!("gradient{index}"), gradient);
    }
    let mut session = session(&graph.finish().unwrap());
    let mut run = |tensors: &[Tensor], output: &str| {
        let named: Vec<(&str, &Tensor)> = names.iter().map(String::as_str).zip(tensors).collect();
        session.run(&named, output).unwrap()
    };
    for index in 0..tensors.len() {
        let gradient = run(&tensors, &format!("gradient{index}"));
        assert_eq!(gradient.shape, tensors[index].shape);
        let slopes: Vec<f32> = (0..tensors[index].data.len())
            .map(|element| {
                let at = tensors[index].data[element];
                tensors[index].data[element] = at + step;
                let above = run(&tensors, "loss").data[0];
                tensors[index].data[element] = at - step;
                let below = run(&tensors, "loss").data[0];
                tensors[index].data[element] = at;
                (above - below) / (2.0 * step)
            })
            .collect();
        let largest = slopes.iter().fold(0.0f32, |largest, slope| largest.max(slope.abs()));
        assert!(largest > 0.0, "input {index} has no influence: nothing was tested");
        for (element, (slope, gradient)) in slopes.iter().zip(&gradient.data).enumerate() {
            let difference = (slope - gradient).abs();
            assert!(
                difference <= tolerance * largest + 1e-4,
                "input {index}, element {element}: gradient {gradient}, slope {slope}, largest {largest}"
            );
        }
    }
}

const PLAIN: Window = Window { kernel: [3, 3], stride: [1, 1], padding: [1; 4] };

#[test]
fn arithmetic_with_and_without_repetition() {
    check(&[&[2, 3], &[2, 3]], |graph, inputs| graph.add(&inputs[0], &inputs[1]));
    check(&[&[2, 3], &[3]], |graph, inputs| graph.sub(&inputs[0], &inputs[1]));
    check(&[&[1, 3], &[2, 1]], |graph, inputs| graph.mul(&inputs[0], &inputs[1]));
    check(&[&[], &[2, 2]], |graph, inputs| graph.mul(&inputs[0], &inputs[1]));
    check(&[&[2, 3]], |graph, inputs| graph.square(&inputs[0]));
    check(&[&[2, 3], &[1, 3]], |graph, inputs| {
        let far_from_zero = graph.shift(&inputs[1], 2.0);
        graph.div(&inputs[0], &far_from_zero)
    });
}

#[test]
fn functions_of_one_element() {
    check(&[&[3, 4]], |graph, inputs| graph.relu(&inputs[0]));
    check(&[&[3, 4]], |graph, inputs| graph.abs(&inputs[0]));
    check(&[&[3, 4]], |graph, inputs| graph.clip(&inputs[0], -0.5, 0.5));
    check(&[&[3, 4]], |graph, inputs| {
        let positive = graph.shift(&inputs[0], 2.0);
        graph.sqrt(&positive)
    });
}

#[test]
fn matrices() {
    check(&[&[2, 3], &[3, 4]], |graph, inputs| graph.matmul(&inputs[0], &inputs[1]));
    check(&[&[2, 2, 3], &[2, 3, 2]], |graph, inputs| graph.matmul(&inputs[0], &inputs[1]));
    check(&[&[2, 2, 3], &[3, 2]], |graph, inputs| graph.matmul(&inputs[0], &inputs[1]));
    check(&[&[3, 5]], |graph, inputs| {
        let turned = graph.transpose_matrix(&inputs[0]);
        graph.matmul(&inputs[0], &turned)
    });
}

#[test]
fn shapes_that_change() {
    check(&[&[2, 3, 4]], |graph, inputs| graph.transpose(&inputs[0], &[2, 0, 1]));
    check(&[&[2, 6]], |graph, inputs| graph.reshape(&inputs[0], &[3, 4]));
    check(&[&[2, 6]], |graph, inputs| graph.slice(&inputs[0], 1, 2, 5));
    check(&[&[1, 3]], |graph, inputs| graph.expand(&inputs[0], &[2, 3]));
    check(&[&[1, 3]], |graph, inputs| {
        let axes = graph.integers(&[0]);
        graph.push("Squeeze", &[&inputs[0], &axes], &[])
    });
}

#[test]
fn sums_and_means() {
    check(&[&[2, 3]], |graph, inputs| graph.sum(&inputs[0]));
    check(&[&[2, 3]], |graph, inputs| graph.mean_square(&inputs[0]));
    check(&[&[2, 3, 2]], |graph, inputs| graph.sum_over(&inputs[0], &[0, 2]));
    check(&[&[1, 2, 3, 3]], |graph, inputs| {
        let mean = graph.plane_mean(&inputs[0]);
        graph.sub(&inputs[0], &mean)
    });
}

#[test]
fn convolutions_by_picture_weight_and_bias() {
    let bias_too = |window: Window| {
        move |graph: &mut GraphBuilder, inputs: &[Value]| graph.conv(&inputs[0], &inputs[1], Some(&inputs[2]), window)
    };
    check(&[&[1, 2, 5, 4], &[3, 2, 3, 3], &[3]], bias_too(PLAIN));
    check(&[&[2, 2, 4, 4], &[2, 2, 3, 3], &[2]], bias_too(Window { padding: [0; 4], ..PLAIN }));
    check(&[&[1, 2, 6, 6], &[3, 2, 3, 3], &[3]], bias_too(Window { stride: [2, 2], ..PLAIN }));
    check(&[&[1, 2, 7, 6], &[3, 2, 3, 3], &[3]], bias_too(Window { stride: [2, 2], padding: [0; 4], ..PLAIN }));
    let wide = Window { kernel: [5, 3], stride: [1, 1], padding: [2, 1, 2, 1] };
    check(&[&[1, 1, 6, 5], &[2, 1, 5, 3], &[2]], bias_too(wide));
}

#[test]
fn a_convolution_with_constant_weights_turns_them_once() {
    check(&[&[1, 2, 5, 4]], |graph, inputs| {
        let weight = graph.constant(&[3, 2, 3, 3], &numbers(54, 9));
        graph.conv(&inputs[0], &weight, None, PLAIN)
    });
}

#[test]
fn poolings_also_of_what_they_do_not_cover() {
    let halves = Window { kernel: [2, 2], stride: [2, 2], padding: [0; 4] };
    for shape in [[1, 2, 4, 6], [1, 2, 5, 7]] {
        check(&[&shape], |graph, inputs| graph.average_pool(&inputs[0], halves));
        // A ladder in disorder: no step makes another element the largest.
        let count: usize = shape.iter().product();
        let ladder = (0..count).map(|index| (index * 23 % count) as f32 * 0.05 - 1.0).collect();
        let tensor = Tensor { shape: shape.to_vec(), data: ladder };
        check_at(vec![tensor], |graph, inputs| graph.max_pool(&inputs[0], halves));
    }
}

#[test]
fn equal_largest_elements_share_a_gradient() {
    let mut graph = GraphBuilder::new();
    let input = graph.input("input", &[1, 1, 2, 2]);
    let halves = Window { kernel: [2, 2], stride: [2, 2], padding: [0; 4] };
    let largest = graph.max_pool(&input, halves);
    let loss = graph.sum(&largest);
    let gradient = graph.gradients(&loss, &[input]).unwrap();
    graph.output("gradient", &gradient[0]);
    let mut session = session(&graph.finish().unwrap());
    let tensor = Tensor { shape: vec![1, 1, 2, 2], data: vec![1.0, 1.0, 0.0, -1.0] };
    assert_eq!(session.run(&[("input", &tensor)], "gradient").unwrap().data, [0.5, 0.5, 0.0, 0.0]);
}

#[test]
fn repeated_pixels() {
    check(&[&[1, 2, 3, 2]], |graph, inputs| graph.repeat_pixels(&inputs[0], [2, 3]));
}

#[test]
fn paddings_go_back_to_where_they_came_from() {
    for mode in ["constant", "reflect", "edge"] {
        check(&[&[1, 2, 4, 5]], |graph, inputs| graph.pad(&inputs[0], &[0, 0, 2, 1], &[0, 0, 1, 3], mode));
    }
}

#[test]
fn normalized_instances_by_picture_scale_and_shift() {
    check(&[&[2, 3, 3, 4], &[3], &[3]], |graph, inputs| {
        let inputs: Vec<&Value> = inputs.iter().collect();
        graph.push("InstanceNormalization", &inputs, &[Attribute::Float("epsilon", 1e-5)])
    });
}

#[test]
fn depth_and_space() {
    let block = Attribute::Int("blocksize", 2);
    check(&[&[1, 2, 4, 6]], |graph, inputs| graph.push("SpaceToDepth", &[&inputs[0]], &[block]));
    for mode in ["DCR", "CRD"] {
        let mode = Attribute::Text("mode", mode);
        check(&[&[1, 8, 2, 3]], |graph, inputs| graph.push("DepthToSpace", &[&inputs[0]], &[block, mode]));
    }
}

#[test]
fn a_tensor_that_is_used_twice_gets_both_gradients() {
    check(&[&[1, 2, 4, 4]], |graph, inputs| {
        let rectified = graph.relu(&inputs[0]);
        let square = graph.square(&rectified);
        graph.add(&square, &rectified)
    });
}

#[test]
fn the_bundled_network_is_differentiated_by_its_style() {
    let bytes = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/models/impasto-lite.onnx")).unwrap();
    let model = Model::from_bytes(&bytes).unwrap();
    let image = Tensor {
        shape: vec![1, 3, 48, 48],
        data: numbers(3 * 48 * 48, 5).into_iter().map(|number| 127.5 + 100.0 * number).collect(),
    };
    let styles = model.metadata("impasto.styles").unwrap().split(',').count();
    let weights = (1..=styles).map(|style| 2.0 * style as f32 / (styles * (styles + 1)) as f32).collect();
    let style = Tensor { shape: vec![1, styles], data: weights };
    // Rectifiers inside have kinks that a long step would cross.
    check_within(vec![style], 0.001, 0.01, |graph, inputs| {
        let image = graph.constant(&image.shape, &image.data);
        let bindings = [("image", &image), ("style", &inputs[0])];
        let stylized = graph.import(&model, &bindings, &["stylized"]).unwrap();
        graph.scale(&stylized[0], 1.0 / 255.0)
    });
}

#[test]
fn what_cannot_be_built_or_differentiated_is_said() {
    let mut graph = GraphBuilder::new();
    let a = graph.input("a", &[2, 3]);
    let b = graph.input("b", &[2, 3]);
    let product = graph.matmul(&a, &b);
    let loss = graph.sum(&product);
    let text = format!("{:#}", graph.finish().unwrap_err());
    assert!(text.contains("MatMul") && text.contains("cannot be multiplied"), "{text}");

    let mut graph = GraphBuilder::new();
    let a = graph.input("a", &[2, 3]);
    let b = graph.input("b", &[2, 3]);
    let sum = graph.sum(&a);
    assert!(format!("{:#}", graph.gradients(&sum, &[b]).unwrap_err()).contains("does not depend on 'b'"));
    assert!(graph.gradients(&a, std::slice::from_ref(&a)).is_err(), "{loss:?}");
    let exponential = graph.push("Exp", &[&a], &[]);
    let sum = graph.sum(&exponential);
    assert!(format!("{:#}", graph.gradients(&sum, &[a]).unwrap_err()).contains("Exp"));
}
