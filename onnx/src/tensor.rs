//! Dense float tensors as they stand in a graph's parameters.

use crate::GraphError;

/// A dense, row-major float32 tensor with run-time dimensions.
///
/// Weights follow ONNX: convolutions OIHW (output channels, input channels per group, height, width), linear layers
/// `[outputs, inputs]`, per-channel vectors `[channels]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    dims: Vec<usize>,
    data: Vec<f32>,
}

impl Tensor {
    /// A tensor of `dims` over `data`.
    ///
    /// # Errors
    /// [`GraphError::TensorSize`] if the number of elements is not the product of the dimensions.
    pub fn new(dims: impl Into<Vec<usize>>, data: Vec<f32>) -> Result<Self, GraphError> {
        let dims = dims.into();
        match dims.iter().try_fold(1usize, |product, &dim| product.checked_mul(dim)) {
            Some(count) if count == data.len() => Ok(Self { dims, data }),
            _ => Err(GraphError::TensorSize { dims, count: data.len() }),
        }
    }

    /// A tensor of `dims` whose elements are all `value`.
    ///
    /// # Panics
    /// If the product of the dimensions overflows `usize`.
    pub fn filled(dims: impl Into<Vec<usize>>, value: f32) -> Self {
        let dims = dims.into();
        let count = dims.iter().product();
        Self { dims, data: vec![value; count] }
    }

    /// The dimensions, outermost first.
    pub fn dims(&self) -> &[usize] {
        &self.dims
    }

    /// The elements in row-major order.
    pub fn data(&self) -> &[f32] {
        &self.data
    }

    /// The elements in row-major order, to be changed in place.
    pub fn data_mut(&mut self) -> &mut [f32] {
        &mut self.data
    }
}
