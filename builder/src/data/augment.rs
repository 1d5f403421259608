//! Random changes to training images that leave their class as it is.

use super::Dataset;
use crate::tensor::Tensor;
use rand::RngExt;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use skipstone_onnx::Normalization;

/// What is done to an image each time it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Augmentation {
    /// The image is shifted by at most this many pixels in each direction; what comes in is black.
    pub crop_padding: usize,
    /// Whether every second image, by chance, is mirrored left to right.
    pub flip: bool,
}

impl Augmentation {
    /// Images as they are.
    pub const NONE: Self = Self { crop_padding: 0, flip: false };

    /// The chosen images, changed and normalized, `[N, H, W, C]`.
    ///
    /// The change of an image is a function of `seed`, `epoch` and its index alone.
    pub fn batch(
        &self,
        set: &Dataset,
        indices: &[usize],
        normalization: &Normalization,
        seed: u64,
        epoch: usize,
    ) -> Tensor {
        let [channels, height, width] = set.dims;
        // Black, normalized, per channel, as the pixel values 0..=255 are.
        let levels: Vec<[f32; 256]> = (0..channels)
            .map(|c| std::array::from_fn(|pixel| (pixel as f32 / 255.0 - normalization.mean[c]) / normalization.std[c]))
            .collect();
        let mut data = Vec::with_capacity(indices.len() * height * width * channels);
        for &index in indices {
            let change = self.draw(seed, epoch, index);
            let image = set.image(index);
            for y in 0..height {
                let row = (y + change.down).checked_sub(self.crop_padding).filter(|&row| row < height);
                for x in 0..width {
                    let x = if change.mirrored { width - 1 - x } else { x };
                    let column = (x + change.right).checked_sub(self.crop_padding).filter(|&column| column < width);
                    match (row, column) {
                        (Some(row), Some(column)) => {
                            let pixel = &image[(row * width + column) * channels..][..channels];
                            data.extend(pixel.iter().zip(&levels).map(|(&p, level)| level[usize::from(p)]));
                        }
                        _ => data.extend(levels.iter().map(|level| level[0])),
                    }
                }
            }
        }
        Tensor::new([indices.len(), height, width, channels], data)
    }

    fn draw(&self, seed: u64, epoch: usize, index: usize) -> Change {
        let mut rng = stream(seed, epoch, index as u64 + 1);
        let mut shift = || rng.random_range(0..=2 * self.crop_padding);
        let (down, right) = (shift(), shift());
        Change { down, right, mirrored: self.flip && rng.random_bool(0.5) }
    }
}

/// Offsets of the window in the padded image, and whether it is mirrored.
struct Change {
    down: usize,
    right: usize,
    mirrored: bool,
}

/// Random numbers that are a function of their arguments: stream 0 of an epoch orders its images, stream `i + 1`
/// changes image `i`.
pub(crate) fn stream(seed: u64, epoch: usize, stream: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&(epoch as u64).to_le_bytes());
    let mut rng = ChaCha8Rng::from_seed(key);
    rng.set_stream(stream);
    rng
}

#[cfg(test)]
mod tests {
    use super::*;
    use skipstone_onnx::Normalization;

    fn set() -> Dataset {
        let pixels = (1..=2 * 12).collect();
        Dataset { dims: [1, 3, 4], pixels, labels: vec![0, 1], class_names: vec!["a".into(), "b".into()] }
    }

    fn identity() -> Normalization {
        Normalization { mean: vec![0.0], std: vec![1.0 / 255.0] }
    }

    #[test]
    fn without_augmentation_equals_the_plain_batch() {
        let plain = set().batch(&[1, 0], &identity());
        assert_eq!(Augmentation::NONE.batch(&set(), &[1, 0], &identity(), 7, 3), plain);
    }

    #[test]
    fn every_shift_and_mirror_occurs_and_is_right() {
        let set = set();
        let augmentation = Augmentation { crop_padding: 1, flip: true };
        let mut seen = std::collections::BTreeSet::new();
        for epoch in 0..300 {
            let batch = augmentation.batch(&set, &[1], &identity(), 1, epoch);
            let change = augmentation.draw(1, epoch, 1);
            seen.insert((change.down, change.right, change.mirrored));
            for y in 0..3i32 {
                for x in 0..4i32 {
                    let row = y + change.down as i32 - 1;
                    let column = (if change.mirrored { 3 - x } else { x }) + change.right as i32 - 1;
                    let inside = (0..3).contains(&row) && (0..4).contains(&column);
                    let expected = if inside { f32::from(set.image(1)[(row * 4 + column) as usize]) } else { 0.0 };
                    assert!((batch.data()[(y * 4 + x) as usize] - expected).abs() < 1e-3);
                }
            }
        }
        assert_eq!(seen.len(), 3 * 3 * 2);
    }

    #[test]
    fn changes_depend_on_the_image_not_on_its_place() {
        let augmentation = Augmentation { crop_padding: 1, flip: true };
        let both = augmentation.batch(&set(), &[0, 1], &identity(), 5, 2);
        let swapped = augmentation.batch(&set(), &[1, 0], &identity(), 5, 2);
        assert_eq!(both.image(0), swapped.image(1));
    }
}
