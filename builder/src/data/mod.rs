//! Data sets: pixels and labels.

mod augment;
mod cifar;
mod digits;
mod spec;

pub use augment::Augmentation;
pub(crate) use augment::stream;
pub use spec::{Source, Spec, SpecError, Split};

use crate::files::FileError;
use crate::tensor::Tensor;
use skipstone_onnx::Normalization;
use std::path::PathBuf;

/// A data set that cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A file or folder that cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The folder of a data set is not there.
    #[error("{path} is not a folder: give the folder that holds {holds}", path = path.display())]
    NotAFolder {
        /// The folder asked for.
        path: PathBuf,
        /// The files that it should hold.
        holds: &'static str,
    },
    /// A file whose contents are not what they should be.
    #[error("{path}: {reason}", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong and where.
        reason: String,
    },
}

/// Loads the images that `spec` names; `default` is the split where it names none.
///
/// # Errors
/// [`DataError`] naming the file or folder.
pub fn load(spec: &Spec, default: Split) -> Result<Dataset, DataError> {
    let split = spec.split.unwrap_or(default);
    match &spec.source {
        Source::Digits => Ok(digits::load(split)),
        Source::Cifar10(folder) => cifar::load(folder, split),
    }
}

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
