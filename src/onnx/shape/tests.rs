//! Shapes of operators, and what is refused.

use super::*;
use crate::onnx::Attribute;

#[test]
fn shapes_are_broadcast_from_the_back() {
    assert_eq!(broadcast(&[2, 3, 4], &[3, 1]).unwrap(), [2, 3, 4]);
    assert_eq!(broadcast(&[], &[5]).unwrap(), [5]);
    assert!(broadcast(&[2], &[3]).is_err());
}

#[test]
fn a_reshape_fills_in_the_open_length() {
    assert_eq!(reshaped(&[1, 6, 4], &[0, -1]).unwrap(), [1, 24]);
    assert!(reshaped(&[1, 6, 4], &[5, -1]).is_err());
}

#[test]
fn slices_run_both_ways() {
    assert_eq!(slice_length(5, 1, 4, 1).unwrap(), 3);
    assert_eq!(slice_length(5, 3, 0, -1).unwrap(), 3);
    assert_eq!(slice_length(5, -1, i64::MIN, -1).unwrap(), 5);
    assert!(slice_length(5, 4, 4, 1).is_err());
    assert!(slice_length(0, -1, i64::MIN, -1).is_err());
}

#[test]
fn a_slice_takes_all_axes_and_every_element_unless_it_says_otherwise() {
    let node = crate::onnx::node("Slice", &[], "out", &[]);
    let list = |integers: &'static [i64]| Input { shape: &[2], integers: Some(integers), floats: None };
    let picture = Input { shape: &[4, 9], integers: None, floats: None };
    let ends = [list(&[1, 0]), list(&[-1, i64::MAX]), list(&[1, 0]), list(&[2, 1])];
    let shape = |given: usize| infer(&node, &[&[picture], &ends[..given]].concat()).unwrap();
    assert_eq!([shape(2), shape(3), shape(4)], [[2, 9], [4, 7], [4, 4]]);
    assert!(infer(&node, &[picture, list(&[1, 0]), list(&[3])]).is_err());
}

#[test]
fn blocks_that_nobody_could_divide_by_are_refused() {
    let picture = Input { shape: &[1, 4, 6, 8], integers: None, floats: None };
    let shape = |operator: &str, size: i64| {
        infer(&crate::onnx::node(operator, &[], "out", &[Attribute::Int("blocksize", size)]), &[picture])
    };
    assert_eq!(shape("DepthToSpace", 2).unwrap(), [1, 1, 12, 16]);
    assert_eq!(shape("SpaceToDepth", 2).unwrap(), [1, 16, 3, 4]);
    for (operator, size) in [("DepthToSpace", 1 << 32), ("SpaceToDepth", 1 << 32), ("SpaceToDepth", 0)] {
        let error = format!("{:#}", shape(operator, size).unwrap_err());
        assert!(error.contains(&format!("operator {operator}: blocks of {size} (expected 1 to")), "{error}");
    }
}

#[test]
fn a_window_of_stride_two_leaves_a_row_of_an_even_picture() {
    let window = Window { kernel: [3, 3], stride: [2, 2], padding: [1; 4] };
    assert_eq!([window.count(0, 8).unwrap(), window.leftover(0, 8)], [4, 1]);
    assert_eq!([window.count(0, 9).unwrap(), window.leftover(0, 9)], [5, 0]);
    assert!(Window { padding: [0; 4], ..window }.count(0, 2).is_err());
}

#[test]
fn groups_and_gaps_count_for_the_shape_and_have_no_gradient() {
    fn of(shape: &[usize]) -> Input<'_> {
        Input { shape, integers: None, floats: None }
    }
    let node = |operator: &str, group: i64| {
        let attributes = [Attribute::Int("group", group), Attribute::Ints("dilations", &[2, 1])];
        crate::onnx::node(operator, &["image", "weight"], "out", &attributes)
    };
    let image = of(&[1, 4, 9, 8]);
    assert_eq!(infer(&node("Conv", 4), &[image, of(&[8, 1, 3, 3])]).unwrap(), [1, 8, 5, 6]);
    assert_eq!(infer(&node("ConvTranspose", 2), &[image, of(&[4, 3, 3, 3])]).unwrap(), [1, 6, 13, 10]);
    for (group, weight) in [(4, [8, 4, 3, 3]), (4, [6, 1, 3, 3]), (1, [8, 1, 3, 3]), (0, [8, 4, 3, 3])] {
        assert!(infer(&node("Conv", group), &[image, of(&weight)]).is_err(), "{group} {weight:?}");
    }
    assert!(Window::of(&node("Conv", 1), Some([3, 3])).unwrap_err().to_string().contains("dilated"));
    let grouped = crate::onnx::node("Conv", &[], "out", &[Attribute::Int("group", 4)]);
    assert!(Window::of(&grouped, Some([3, 3])).unwrap_err().to_string().contains("grouped"));
}

#[test]
fn operators_of_older_versions_have_lists_as_attributes() {
    let shape = |operator: &str, attributes: &[Attribute<'_>]| {
        let image = Input { shape: &[1, 4, 6, 1], integers: None, floats: None };
        infer(&crate::onnx::node(operator, &["image"], "out", attributes), &[image]).unwrap()
    };
    let ints = Attribute::Ints;
    assert_eq!(shape("Squeeze", &[ints("axes", &[-1])]), [1, 4, 6]);
    assert_eq!(shape("Squeeze", &[]), [4, 6]);
    assert_eq!(shape("ReduceMean", &[ints("axes", &[2, 3])]), [1, 4, 1, 1]);
    assert_eq!(shape("ReduceProd", &[ints("axes", &[0]), Attribute::Int("keepdims", 0)]), [4, 6, 1]);
    assert_eq!(shape("ReduceSum", &[]), [1, 1, 1, 1]);
    assert_eq!(shape("Pad", &[ints("pads", &[0, 0, 1, 2, 0, 0, 3, 4])]), [1, 4, 10, 7]);
    assert_eq!(shape("Slice", &[ints("starts", &[1, 2]), ints("ends", &[3, -1]), ints("axes", &[1, 2])]), [1, 2, 3, 1]);
    assert_eq!(shape("GlobalAveragePool", &[]), [1, 4, 1, 1]);
    assert_eq!(shape("Shape", &[]), [4]);
}

#[test]
fn a_convolution_that_pads_by_itself_keeps_what_its_stride_leaves() {
    let attributes = [Attribute::Text("auto_pad", "SAME_UPPER"), Attribute::Ints("strides", &[2, 1])];
    let node = crate::onnx::node("Conv", &["image", "weight"], "out", &attributes);
    let of = |shape| Input { shape, integers: None, floats: None };
    assert_eq!(infer(&node, &[of(&[1, 3, 9, 8]), of(&[4, 3, 3, 3])]).unwrap(), [1, 4, 5, 8]);
    let attributes = [Attribute::Text("auto_pad", "VALID")];
    let node = crate::onnx::node("Conv", &["image", "weight"], "out", &attributes);
    assert!(infer(&node, &[of(&[1, 3, 9, 8]), of(&[4, 3, 3, 3])]).is_err());
}
