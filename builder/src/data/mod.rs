//! Data sets: pixels and labels.

pub mod augment;
mod cifar;
mod digits;
mod folder;
mod idx;
mod image_set;
mod notes;
mod picture;
pub(crate) mod preprocessing;
mod sampling;
mod spec;
mod split;

pub use augment::Augmentation;
pub(crate) use augment::stream;
pub use image_set::ImageSet;
pub use notes::{Named, Notes};
pub use sampling::Sampling;
pub use spec::{Source, Spec, SpecError};
pub use split::Split;

use crate::files::FileError;
use crate::tensor::Tensor;
use skipstone_onnx::{ChannelOrder, Graph, Normalization, Preprocessing};
use std::path::{Path, PathBuf};

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
    /// Fashion-MNIST was not given a folder and is not installed.
    #[error(
        "Fashion-MNIST is not installed in {path}: run `apt-get install dataset-fashion-mnist` or name its folder, \
         `fashion-mnist:DIR`", path = path.display()
    )]
    NotInstalled {
        /// Where Debian's package puts it.
        path: PathBuf,
    },
    /// More pixels than memory.
    #[error(
        "{path}: {count} images of {size} pixels need more memory than there is: choose a smaller --input",
        path = path.display(), size = format!("{}x{}x{}", dims[0], dims[1], dims[2])
    )]
    TooLarge {
        /// The folder.
        path: PathBuf,
        /// Number of images.
        count: usize,
        /// Channels, height, width.
        dims: [usize; 3],
    },
}

/// How to load a data set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Channels (1 or 3), height, width at which the images of a folder are loaded; [`Spec::dims`] where there are
    /// none. The other sets have one size.
    pub dims: Option<[usize; 3]>,
    /// How images become pixels. Of sets of one size the order of the channels alone.
    pub preprocessing: Preprocessing,
    /// Whether a file that cannot be read, or an image smaller than `dims`, is an error.
    pub strict: bool,
}

/// Loads the images that `spec` names; `default` is the split where it names none. Strict, because it returns no notes.
///
/// # Errors
/// [`DataError`] naming the file or folder.
pub fn load(spec: &Spec, default: Split) -> Result<Dataset, DataError> {
    load_with(spec, default, &Options { strict: true, ..Options::default() }).map(|(set, _)| set)
}

/// Loads the images that `spec` names as `options` ask, and says what was left out or enlarged; `default` is the split
/// where `spec` names none.
///
/// # Errors
/// [`DataError`] naming the file or folder.
pub fn load_with(spec: &Spec, default: Split, options: &Options) -> Result<(Dataset, Notes), DataError> {
    let (set, notes) = open(spec, default, options, usize::MAX, &mut |_, _| {})?;
    Ok((set.into_dataset()?, notes))
}

/// As [`load_with`], with at most `cache` bytes of a folder's pixels in memory: the images that have no room are
/// decoded each time they are asked for. Other sets are in memory. `progress` gets the number of a folder's files that
/// have been looked at, and of all.
///
/// # Errors
/// [`DataError`] naming the file or folder.
pub fn open(
    spec: &Spec,
    default: Split,
    options: &Options,
    cache: usize,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<(ImageSet, Notes), DataError> {
    let split = spec.split.unwrap_or(default);
    let mut set = match &spec.source {
        Source::Digits => digits::load(split),
        Source::Cifar10(folder) => cifar::CIFAR10.load(folder, split)?,
        Source::Cifar100(folder) => cifar::CIFAR100.load(folder, split)?,
        Source::Mnist(folder) => idx::mnist(folder, split)?,
        Source::FashionMnist(folder) => idx::fashion(folder.as_deref(), split)?,
        Source::Folder(folder) => {
            let dims = options.dims.unwrap_or(spec.dims());
            let (set, files, notes) = folder::open(folder, split, dims, options, cache, progress)?;
            return Ok((ImageSet::new(set, files), notes));
        }
    };
    if set.dims[0] == 3 && options.preprocessing.channels == ChannelOrder::Bgr {
        set.pixels.as_chunks_mut::<3>().0.iter_mut().for_each(|pixel| pixel.reverse());
    }
    Ok((set.into(), Notes::default()))
}

/// The pixels of one PNG or JPEG file, `[row][column][channel]`, treated as those of a folder: turned upright and made
/// `dims` (channels, 1 or 3; height; width) as `preprocessing` says.
///
/// # Errors
/// [`DataError::Malformed`] naming the file.
pub fn read_image(path: &Path, dims: [usize; 3], preprocessing: &Preprocessing) -> Result<Vec<u8>, DataError> {
    let preprocessing = folder::check_input(path, dims, preprocessing)?;
    let mut pixels = vec![0; dims.iter().product()];
    let bytes = crate::files::read(path).map_err(|error| error.source.to_string());
    bytes
        .and_then(|bytes| picture::prepare(&picture::decode(&bytes)?, dims, preprocessing, &mut pixels))
        .map_err(|reason| DataError::Malformed { path: path.to_path_buf(), reason })?;
    Ok(pixels)
}

/// Labelled images of one size.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// Channels, height, width of an image.
    pub dims: [usize; 3],
    /// Pixels 0..=255, `[image][row][column][channel]`, the channels in the order of the network that they are for.
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

    /// At most `count` images, spread evenly over the set.
    pub fn spread(&self, count: usize) -> Self {
        let count = count.min(self.len());
        let indices = || (0..count).map(|index| index * self.len() / count);
        Self {
            dims: self.dims,
            pixels: indices().flat_map(|index| self.image(index)).copied().collect(),
            labels: indices().map(|index| self.labels[index]).collect(),
            class_names: self.class_names.clone(),
        }
    }

    /// The chosen images as the input of a network, `[N, H, W, C]`.
    ///
    /// # Panics
    /// If the graph does not say how pixels are normalized.
    pub fn batch_for(&self, graph: &Graph, indices: &[usize]) -> Tensor {
        let normalization = graph.metadata.normalization.as_ref().expect("the graph says how pixels are normalized");
        self.batch(indices, normalization)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreads_over_the_whole_set() {
        let pixels: Vec<u8> = (0..10).collect();
        let labels = (0..10).collect();
        let data = Dataset { dims: [1, 1, 1], pixels, labels, class_names: Vec::new() };
        assert_eq!(data.spread(4).pixels, [0, 2, 5, 7]);
        assert_eq!(data.spread(100).labels, data.labels);
    }
}
