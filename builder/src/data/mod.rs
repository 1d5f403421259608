//! Data sets: pixels and labels.

use crate::tensor::Tensor;
use skipstone_onnx::Normalization;

/// Labelled images of one size.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// Channels, height, width of an image.
    pub dims: [usize; 3],
    /// Pixels 0..=255, `[image][row][column][channel]`.
    pub pixels: Vec<u8>,
    /// Class of each image, below `class_names.len()`.
    pub labels: Vec<u16>,
    /// Names of the classes.
    pub class_names: Vec<String>,
}

impl Dataset {
    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are no images.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Pixels of one image, `[row][column][channel]`.
    pub fn image(&self, index: usize) -> &[u8] {
        let len = self.dims.iter().product::<usize>();
        &self.pixels[index * len..][..len]
    }

    /// The chosen images as a normalized batch, `[N, H, W, C]`.
    pub fn batch(&self, indices: &[usize], normalization: &Normalization) -> Tensor {
        let [channels, height, width] = self.dims;
        let mut data = Vec::with_capacity(indices.len() * channels * height * width);
        for &index in indices {
            data.extend(self.image(index).iter().enumerate().map(|(i, &pixel)| {
                let channel = i % channels;
                (f32::from(pixel) / 255.0 - normalization.mean[channel]) / normalization.std[channel]
            }));
        }
        Tensor::new([indices.len(), height, width, channels], data)
    }
}
