//! Tensors as the rest of the program sees them: what a session says of one, and one in the processor's memory.

use ort::value::{TensorElementType, ValueType};

/// Type of a tensor's elements, as far as impasto tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ElementType {
    /// 32-bit floating point.
    F32,
    /// Unsigned 8-bit integers.
    U8,
    /// Any other.
    Other,
}

/// What a session says of one of its inputs or outputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Its name in the graph.
    pub name: String,
    /// The type of its elements.
    pub element_type: ElementType,
    /// Its shape; `None` where a dimension is left open.
    pub shape: Vec<Option<usize>>,
}

impl TensorInfo {
    pub(super) fn of(name: &str, value_type: &ValueType) -> Self {
        let (element_type, shape) = match value_type {
            ValueType::Tensor { ty, shape, .. } => (
                match ty {
                    TensorElementType::Float32 => ElementType::F32,
                    TensorElementType::Uint8 => ElementType::U8,
                    _ => ElementType::Other,
                },
                shape.iter().map(|&length| usize::try_from(length).ok()).collect(),
            ),
            ValueType::Sequence(_) | ValueType::Map { .. } | ValueType::Optional(_) => (ElementType::Other, Vec::new()),
        };
        Self { name: name.to_owned(), element_type, shape }
    }
}

/// An `f32` tensor in the processor's memory, rows last.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// The length of each dimension; empty for a scalar.
    pub shape: Vec<usize>,
    /// The elements, the last dimension contiguous; as many as the product of the shape.
    pub data: Vec<f32>,
}

impl Tensor {
    /// A tensor of zeros.
    pub fn zeros(shape: &[usize]) -> Self {
        Self { shape: shape.to_vec(), data: vec![0.0; shape.iter().product()] }
    }

    /// A tensor without dimensions.
    pub fn scalar(value: f32) -> Self {
        Self { shape: Vec::new(), data: vec![value] }
    }
}
