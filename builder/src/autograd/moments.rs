//! Sums that batch statistics are made of, gathered where maps are written, while these are in cache.

use crate::kernels::channels::{add_sums, moments};
use crate::kernels::images::{self, sum_pairs};
use crate::tensor::Tensor;
use rayon::prelude::*;
use std::sync::OnceLock;

/// For each channel the sum of its pixels and of their squares.
pub(crate) type Sums = Vec<[f64; 2]>;

/// The sums of the images of a batch.
pub(crate) struct Moments {
    channels: usize,
    images: Vec<OnceLock<Sums>>,
}

impl Moments {
    /// Of a batch like `x`, none of whose images has been summed.
    pub(crate) fn new(x: &Tensor) -> Self {
        Self { channels: images::channels(x), images: vec![OnceLock::new(); x.batch()] }
    }

    /// Sums an image.
    pub(crate) fn add(&self, image: usize, pixels: &[f32]) {
        self.images[image].get_or_init(|| moments(pixels, self.channels));
    }

    /// The sums over all images of `x`: chunks of `chunk` images, then these by [`sum_pairs`].
    pub(crate) fn total(mut self, x: &Tensor, chunk: usize) -> Sums {
        let image = x.data().len() / x.batch();
        x.data().par_chunks(image).enumerate().for_each(|(index, pixels)| self.add(index, pixels));
        let sum = |chunk: &mut [OnceLock<Sums>]| {
            chunk.iter_mut().filter_map(OnceLock::take).reduce(|mut sum, other| {
                add_sums(&mut sum, other);
                sum
            })
        };
        sum_pairs(self.images.chunks_mut(chunk).filter_map(sum).collect(), add_sums).unwrap_or_default()
    }
}
