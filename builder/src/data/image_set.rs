//! Images that are in memory, or are decoded each time they are asked for.

use super::folder::Files;
use super::{DataError, Dataset};
use rayon::ThreadPool;
use rayon::prelude::*;
use std::ops::Range;
use std::sync::mpsc::sync_channel;

/// Labelled images of one size. The pixels of the first ones are kept in memory, those of the others are decoded each
/// time they are asked for, so that a set may be larger than memory. Which ones are kept changes no result.
#[derive(Clone, Debug)]
pub struct ImageSet {
    /// Channels, height, width of an image.
    pub dims: [usize; 3],
    /// Class of each image, below `class_names.len()`.
    pub labels: Vec<u16>,
    /// Names of the classes.
    pub class_names: Vec<String>,
    /// As [`Dataset::pixels`], of the first images.
    kept: Vec<u8>,
    /// The images after those that are kept.
    files: Files,
}

impl From<Dataset> for ImageSet {
    fn from(set: Dataset) -> Self {
        let Dataset { dims, pixels, labels, class_names } = set;
        Self { dims, labels, class_names, kept: pixels, files: Files::default() }
    }
}

impl ImageSet {
    /// A set whose first images are `set`; those of the labels after them are `files`.
    pub(super) fn new(set: Dataset, files: Files) -> Self {
        Self { files, ..set.into() }
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are no images.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Number of images whose pixels are in memory.
    pub fn kept(&self) -> usize {
        self.len() - self.files.len()
    }

    /// Bytes of the pixels in memory.
    pub fn kept_bytes(&self) -> usize {
        self.kept.len()
    }

    /// The images with these numbers.
    pub fn part(mut self, images: Range<usize>) -> Self {
        let (kept, len) = (self.kept(), self.dims.iter().product::<usize>());
        self.files.retain_with(|file| images.contains(&(kept + file)));
        self.kept.truncate(images.end.min(kept) * len);
        self.kept.drain(..images.start.min(kept) * len);
        self.kept.shrink_to_fit();
        self.labels.truncate(images.end);
        self.labels.drain(..images.start);
        self
    }

    /// Number of images of each class.
    pub fn counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.class_names.len()];
        self.labels.iter().for_each(|&label| counts[usize::from(label)] += 1);
        counts
    }

    /// Pixels of one image, `[row][column][channel]`.
    ///
    /// # Errors
    /// [`DataError`] naming a file that can no longer be read.
    pub fn read(&self, index: usize) -> Result<Vec<u8>, DataError> {
        let mut pixels = vec![0; self.dims.iter().product()];
        self.read_into(index, &mut pixels)?;
        Ok(pixels)
    }

    fn read_into(&self, index: usize, pixels: &mut [u8]) -> Result<(), DataError> {
        match index.checked_sub(self.kept()) {
            Some(later) => self.files.read(later, self.dims, pixels),
            None => {
                pixels.copy_from_slice(&self.kept[index * pixels.len()..][..pixels.len()]);
                Ok(())
            }
        }
    }

    /// The chosen images, read in parallel.
    ///
    /// # Errors
    /// As [`ImageSet::read`].
    pub fn gather(&self, indices: &[usize]) -> Result<Dataset, DataError> {
        let len = self.dims.iter().product::<usize>();
        let mut pixels = Vec::new();
        let total = indices.len().checked_mul(len).ok_or_else(|| self.too_large(indices.len()))?;
        pixels.try_reserve_exact(total).map_err(|_| self.too_large(indices.len()))?;
        pixels.resize(total, 0);
        let slots = pixels.par_chunks_exact_mut(len.max(1));
        slots.zip(indices).try_for_each(|(slot, &index)| self.read_into(index, slot))?;
        let labels = indices.iter().map(|&index| self.labels[index]).collect();
        Ok(Dataset { dims: self.dims, pixels, labels, class_names: self.class_names.clone() })
    }

    /// At most `count` images, spread evenly over the set.
    ///
    /// # Errors
    /// As [`ImageSet::read`].
    pub fn spread(&self, count: usize) -> Result<Dataset, DataError> {
        let count = count.min(self.len());
        let indices: Vec<usize> = (0..count).map(|index| index * self.len() / count).collect();
        self.gather(&indices)
    }

    /// All images, in memory.
    ///
    /// # Errors
    /// As [`ImageSet::read`], and [`DataError::TooLarge`].
    pub fn into_dataset(self) -> Result<Dataset, DataError> {
        if self.files.is_empty() {
            let Self { dims, labels, class_names, kept, .. } = self;
            return Ok(Dataset { dims, pixels: kept, labels, class_names });
        }
        self.gather(&(0..self.len()).collect::<Vec<_>>())
    }

    /// Gives `each` all images in their order, `batch` at a time, while the next ones are read by the threads of
    /// `decoders`, or by all cores.
    ///
    /// # Errors
    /// As [`ImageSet::read`], and those of `each`.
    pub fn batches<E: From<DataError>>(
        &self,
        batch: usize,
        decoders: Option<&ThreadPool>,
        mut each: impl FnMut(Dataset) -> Result<(), E>,
    ) -> Result<(), E> {
        std::thread::scope(|scope| {
            let (sender, receiver) = sync_channel(0);
            scope.spawn(move || {
                for start in (0..self.len()).step_by(batch) {
                    let indices: Vec<usize> = (start..self.len().min(start + batch)).collect();
                    let read = || self.gather(&indices);
                    if sender.send(decoders.map_or_else(read, |decoders| decoders.install(read))).is_err() {
                        return;
                    }
                }
            });
            receiver.into_iter().try_for_each(|set| each(set?))
        })
    }

    fn too_large(&self, count: usize) -> DataError {
        self.files.too_large(count, self.dims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set() -> ImageSet {
        let class_names = ["a", "b"].map(String::from).to_vec();
        Dataset { dims: [1, 1, 2], pixels: (0..10).collect(), labels: vec![0, 1, 1, 0, 1], class_names }.into()
    }

    #[test]
    fn batches_come_in_order_and_errors_end_them() {
        let mut seen = Vec::new();
        let all = set().batches::<DataError>(2, None, |batch| {
            seen.push((batch.pixels, batch.labels));
            Ok(())
        });
        all.unwrap();
        assert_eq!(seen, [(vec![0, 1, 2, 3], vec![0, 1]), (vec![4, 5, 6, 7], vec![1, 0]), (vec![8, 9], vec![1])]);
        let mut count = 0;
        let stopped = set().batches::<DataError>(1, None, |_| {
            count += 1;
            Err(DataError::Malformed { path: "x".into(), reason: "no more".into() })
        });
        assert!(stopped.unwrap_err().to_string().contains("no more") && count == 1);
    }

    #[test]
    fn what_is_spread_is_that_of_the_set_in_memory() {
        let memory = set().into_dataset().unwrap();
        for count in [1, 2, 3, 5, 9] {
            let (found, expected) = (set().spread(count).unwrap(), memory.spread(count));
            assert_eq!((found.pixels, found.labels), (expected.pixels, expected.labels));
        }
        let part = set().part(1..4);
        assert_eq!((part.labels.clone(), part.into_dataset().unwrap().pixels), (vec![1, 1, 0], (2..8).collect()));
        assert_eq!((set().counts(), set().kept(), set().kept_bytes()), (vec![2, 3], 5, 10));
    }
}
