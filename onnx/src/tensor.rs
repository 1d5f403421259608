//! Dense float tensors as they stand in a graph's parameters.

use crate::GraphError;
use std::sync::OnceLock;

/// A dense, row-major float32 tensor with run-time dimensions.
///
/// Weights follow ONNX: convolutions OIHW (output channels, input channels per group, height, width), linear layers
/// `[outputs, inputs]`, per-channel vectors `[channels]`.
///
/// A tensor made by [`Tensor::filled`] takes no memory for its elements before they are read, so that a network whose
/// shapes alone are of interest costs nothing.
#[derive(Clone, Debug)]
pub struct Tensor {
    dims: Vec<usize>,
    /// As many elements as the dimensions say, where there are any yet; otherwise all are `fill`.
    data: OnceLock<Vec<f32>>,
    fill: f32,
}

impl Tensor {
    /// A tensor of `dims` over `data`.
    ///
    /// # Errors
    /// [`GraphError::TensorSize`] if the number of elements is not the product of the dimensions.
    pub fn new(dims: impl Into<Vec<usize>>, data: Vec<f32>) -> Result<Self, GraphError> {
        let dims = dims.into();
        match dims.iter().try_fold(1usize, |product, &dim| product.checked_mul(dim)) {
            Some(count) if count == data.len() => Ok(Self { dims, data: data.into(), fill: 0.0 }),
            _ => Err(GraphError::TensorSize { dims, count: data.len() }),
        }
    }

    /// A tensor of `dims` whose elements are all `value`.
    ///
    /// # Panics
    /// If the product of the dimensions overflows `usize`.
    pub fn filled(dims: impl Into<Vec<usize>>, value: f32) -> Self {
        let dims = dims.into();
        assert!(dims.iter().try_fold(1usize, |product, &dim| product.checked_mul(dim)).is_some(), "{dims:?}");
        Self { dims, data: OnceLock::new(), fill: value }
    }

    /// The dimensions, outermost first.
    pub fn dims(&self) -> &[usize] {
        &self.dims
    }

    /// Number of elements.
    pub fn count(&self) -> usize {
        self.dims.iter().product()
    }

    /// The elements in row-major order.
    pub fn data(&self) -> &[f32] {
        self.data.get_or_init(|| vec![self.fill; self.count()])
    }

    /// The elements in row-major order, to be changed in place.
    pub fn data_mut(&mut self) -> &mut [f32] {
        self.data();
        self.data.get_mut().map_or(&mut [], Vec::as_mut_slice)
    }
}

impl PartialEq for Tensor {
    fn eq(&self, other: &Self) -> bool {
        self.dims == other.dims && self.data() == other.data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filled_tensors_are_made_when_they_are_read() {
        let mut tensor = Tensor::filled([2, 3], 0.5);
        assert_eq!((tensor.count(), tensor.data.get()), (6, None));
        assert_eq!(tensor, Tensor::new([2, 3], vec![0.5; 6]).unwrap());
        tensor.data_mut()[4] = 1.0;
        assert_eq!(tensor.data(), [0.5, 0.5, 0.5, 0.5, 1.0, 0.5]);
        assert_ne!(tensor, Tensor::filled([2, 3], 0.5));
    }

    #[test]
    fn dimensions_and_elements_must_agree() {
        assert!(Tensor::new([2, 3], vec![0.0; 5]).is_err());
        assert!(Tensor::new([usize::MAX, 2], vec![]).is_err());
    }
}
