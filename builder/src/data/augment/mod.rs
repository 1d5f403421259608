//! Random changes to training images that leave their class as it is, or mix two.
//!
//! Every change is a function of a seed, the epoch and the image alone, whichever thread makes it and whatever else is
//! in the batch.

mod blend;
mod crop;
mod levels;
mod mix;
mod rand_augment;
mod sampler;
mod views;
mod warp;

pub use crop::{ResizedCrop, cutout, mirror, shift, shift_reflected};
pub use mix::{Mixed, Mixing};
pub use rand_augment::{Operation, RandAugment};
pub(crate) use sampler::stream;
pub use sampler::{Sample, order, shown};
pub use views::{VIEWS, scores_of_views};

use super::Dataset;
use crate::tensor::Tensor;
use rand::{Rng, RngExt};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use skipstone_onnx::Normalization;
use std::convert::Infallible;

/// What is done to an image each time it is shown, in the order of the fields.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Augmentation {
    /// The image is shifted by at most this many pixels in each direction; what comes in is black, or with
    /// [`Augmentation::reflect`] the image reflected.
    pub crop_padding: usize,
    /// Whether every second image, by chance, is mirrored left to right.
    pub flip: bool,
    /// Whether what a shift brings in is the image, reflected at its border.
    #[serde(default)]
    pub reflect: bool,
    /// Whether, where there is a flip, chance decides of an image's first epoch alone, and each later epoch shows the
    /// other side than the one before.
    #[serde(default)]
    pub alternating_flip: bool,
    /// Side of a square, about a random point, that takes the colour of the data set's mean; 0 for none.
    #[serde(default)]
    pub cutout: usize,
    /// A part of the image is enlarged to its size, before everything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resized_crop: Option<ResizedCrop>,
    /// Random operations, after the flip and before the cutout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rand_augment: Option<RandAugment>,
}

/// A setting out of range.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("`{field}` is {value}, must be {expected}")]
pub struct AugmentationError {
    /// The setting, as in `config.toml`.
    pub field: &'static str,
    /// What it is.
    pub value: String,
    /// What it may be.
    pub expected: &'static str,
}

impl AugmentationError {
    fn unless(
        ok: bool,
        field: &'static str,
        value: &dyn std::fmt::Debug,
        expected: &'static str,
    ) -> Result<(), AugmentationError> {
        if ok { Ok(()) } else { Err(Self { field, value: format!("{value:?}"), expected }) }
    }
}

/// Pixels 0..=255 of one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Channels, 1 or 3.
    pub channels: usize,
    /// `[row][column][channel]`.
    pub pixels: Vec<u8>,
}

impl Image {
    /// The pixel at a row and a column.
    fn pixel(&self, row: usize, column: usize) -> &[u8] {
        &self.pixels[(row * self.width + column) * self.channels..][..self.channels]
    }
}

impl Augmentation {
    /// Images as they are.
    pub const NONE: Self = Self {
        crop_padding: 0,
        flip: false,
        reflect: false,
        alternating_flip: false,
        cutout: 0,
        resized_crop: None,
        rand_augment: None,
    };

    /// Checks every setting's range.
    ///
    /// # Errors
    /// [`AugmentationError`] naming the setting.
    pub fn check(&self) -> Result<(), AugmentationError> {
        let most = usize::from(u16::MAX);
        AugmentationError::unless(self.crop_padding <= most, "crop_padding", &self.crop_padding, "at most 65535")?;
        self.resized_crop.as_ref().map_or(Ok(()), ResizedCrop::check)?;
        self.rand_augment.as_ref().map_or(Ok(()), RandAugment::check)
    }

    /// The image, changed by chance; `fill` is the colour of what an operation leaves without pixels, one value per
    /// channel, and `mirrored` says whether an alternating flip mirrors it this time.
    ///
    /// # Panics
    /// If [`Augmentation::check`] fails, or `fill` has not the image's channels.
    pub fn apply(&self, mut image: Image, fill: &[u8], mirrored: bool, rng: &mut impl Rng) -> Image {
        if let Some(crop) = &self.resized_crop {
            image = crop.apply(&image, rng);
        }
        let mut offset = || rng.random_range(0..=2 * self.crop_padding) as isize - self.crop_padding as isize;
        let (down, right) = (offset(), offset());
        if (down, right) != (0, 0) {
            image = match self.reflect {
                true => shift_reflected(&image, down, right),
                false => shift(&image, down, right, &vec![0; image.channels]),
            };
        }
        if self.flip && if self.alternating_flip { mirrored } else { rng.random_bool(0.5) } {
            mirror(&mut image);
        }
        if let Some(rand_augment) = &self.rand_augment {
            image = rand_augment.apply(image, fill, rng);
        }
        if self.cutout > 0 {
            let (row, column) = (rng.random_range(0..image.height), rng.random_range(0..image.width));
            cutout(&mut image, row, column, self.cutout, fill);
        }
        image
    }

    /// The chosen images, changed and normalized, `[N, H, W, C]`. What has no pixels takes the mean's colour.
    ///
    /// The change of an image is a function of `seed`, `epoch` and its sample alone.
    ///
    /// # Panics
    /// As [`Augmentation::apply`].
    pub fn batch<S: Copy + Into<Sample> + Sync>(
        &self,
        set: &Dataset,
        samples: &[S],
        normalization: &Normalization,
        seed: u64,
        epoch: usize,
    ) -> Tensor {
        let read = |index| Ok(set.image(index).to_vec());
        let Ok(batch) = self.read_batch::<_, Infallible>(set.dims, samples, normalization, seed, epoch, read);
        batch
    }

    /// As [`Augmentation::batch`], of images of `dims` whose pixels `read` gives; in parallel.
    pub(crate) fn read_batch<S: Copy + Into<Sample> + Sync, E: Send>(
        &self,
        dims: [usize; 3],
        samples: &[S],
        normalization: &Normalization,
        seed: u64,
        epoch: usize,
        read: impl Fn(usize) -> Result<Vec<u8>, E> + Sync,
    ) -> Result<Tensor, E> {
        let [channels, height, width] = dims;
        let fill: Vec<u8> = normalization.mean.iter().map(|mean| (255.0 * mean).round() as u8).collect();
        // The pixel values 0..=255, normalized, per channel.
        let levels: Vec<[f32; 256]> = (0..channels)
            .map(|c| std::array::from_fn(|pixel| (pixel as f32 / 255.0 - normalization.mean[c]) / normalization.std[c]))
            .collect();
        let mut data = vec![0.0; samples.len() * height * width * channels];
        let slots = data.par_chunks_exact_mut(height * width * channels);
        slots.zip(samples).try_for_each(|(slot, &sample)| {
            let sample = sample.into();
            let image = Image { height, width, channels, pixels: read(sample.index)? };
            let mirrored = self.alternating_flip && sample.is_mirrored(seed, epoch);
            let image = self.apply(image, &fill, mirrored, &mut sample.rng(seed, epoch));
            for (slot, pixel) in slot.chunks_exact_mut(channels).zip(image.pixels.chunks_exact(channels)) {
                let normalized = pixel.iter().zip(&levels).map(|(&p, level)| level[usize::from(p)]);
                slot.iter_mut().zip(normalized).for_each(|(slot, value)| *slot = value);
            }
            Ok(())
        })?;
        Ok(Tensor::new([samples.len(), height, width, channels], data))
    }
}

#[cfg(test)]
mod tests;
