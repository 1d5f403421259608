//! Batches of float32 tensors.

mod buffer;

pub(crate) use buffer::Buffer;

/// A dense float32 tensor of a batch: feature maps `[N, H, W, C]` (NHWC), vectors `[N, features]`.
///
/// The channels lie innermost, unlike in ONNX files (NCHW), because kernels vectorize over them.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    dims: Vec<usize>,
    data: Buffer,
}

impl Tensor {
    /// A tensor of `dims` over `data`.
    ///
    /// # Panics
    /// If the number of elements is not the product of the dimensions.
    pub fn new(dims: impl Into<Vec<usize>>, data: Vec<f32>) -> Self {
        Self::within(dims, data.into())
    }

    /// A tensor of `dims` in memory that is there.
    ///
    /// # Panics
    /// As [`Tensor::new`].
    pub(crate) fn within(dims: impl Into<Vec<usize>>, data: Buffer) -> Self {
        let dims = dims.into();
        assert_eq!(dims.iter().product::<usize>(), data.len(), "dimensions {dims:?}");
        Self { dims, data }
    }

    /// A tensor of zeros.
    pub fn zeros(dims: impl Into<Vec<usize>>) -> Self {
        let dims = dims.into();
        let count = dims.iter().product();
        Self { dims, data: Buffer::zeros(count) }
    }

    /// The dimensions, the batch first.
    pub fn dims(&self) -> &[usize] {
        &self.dims
    }

    /// Images in the batch.
    pub fn batch(&self) -> usize {
        self.dims[0]
    }

    /// The elements, innermost dimension first.
    pub fn data(&self) -> &[f32] {
        &self.data
    }

    /// The elements, to be changed in place.
    pub fn data_mut(&mut self) -> &mut [f32] {
        &mut self.data
    }

    /// The elements of image `index`.
    pub fn image(&self, index: usize) -> &[f32] {
        let len = self.data.len() / self.dims[0];
        &self.data[index * len..][..len]
    }

    /// The elements, taken out.
    pub fn into_data(self) -> Vec<f32> {
        self.data.into()
    }

    /// The memory, taken out.
    pub(crate) fn into_buffer(self) -> Buffer {
        self.data
    }
}
