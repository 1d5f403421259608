//! Mixup (Zhang et al., 2017) and CutMix (Yun et al., 2019): two images and their labels become one, for whole batches
//! at a time.

use super::AugmentationError;
use crate::tensor::Tensor;
use rand::{Rng, RngExt};
use rand_distr::{Beta, Distribution};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// How the images of a batch are mixed. Where both ways are on, each batch takes one of them by a chance of one half.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mixing {
    /// Parameter of Mixup's Beta distribution; 0 for no Mixup.
    pub mixup: f64,
    /// Parameter of CutMix's Beta distribution; 0 for no CutMix.
    pub cutmix: f64,
}

/// The labels of a mixed batch: image `i` counts `lambda` as its own class and `1 - lambda` as that of image
/// `partners[i]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Mixed {
    /// The image that each one was mixed with.
    pub partners: Vec<usize>,
    /// Part of each image's own class, 0 to 1.
    pub lambda: f32,
}

impl Mixing {
    /// Images as they are.
    pub const NONE: Self = Self { mixup: 0.0, cutmix: 0.0 };

    /// Checks every setting's range.
    ///
    /// # Errors
    /// [`AugmentationError`] naming the setting.
    pub fn check(&self) -> Result<(), AugmentationError> {
        for (field, alpha) in [("mixup", self.mixup), ("cutmix", self.cutmix)] {
            AugmentationError::unless((0.0..=1000.0).contains(&alpha), field, &alpha, "0 to 1000")?;
        }
        Ok(())
    }

    /// Mixes the images of a batch, `[N, H, W, C]`, each with that at the same place from the end.
    ///
    /// # Panics
    /// If [`Mixing::check`] fails or `images` has not four dimensions.
    pub fn apply(&self, images: &mut Tensor, rng: &mut impl Rng) -> Mixed {
        let &[count, height, width, _] = images.dims() else {
            panic!("images of dimensions {:?}", images.dims());
        };
        let cut = match (self.mixup > 0.0, self.cutmix > 0.0) {
            (false, false) => return Mixed { partners: (0..count).collect(), lambda: 1.0 },
            (true, true) => rng.random_bool(0.5),
            (_, cut) => cut,
        };
        let alpha = if cut { self.cutmix } else { self.mixup };
        let lambda = Beta::new(alpha, alpha).expect("the settings have been checked").sample(rng);
        let lambda = if cut {
            let [rows, columns] = window(height, width, lambda, rng);
            cutmix(images, rows, columns)
        } else {
            mixup(images, lambda as f32)
        };
        Mixed { partners: (0..count).rev().collect(), lambda }
    }
}

/// Blends each image with its partner and returns `lambda`.
fn mixup(images: &mut Tensor, lambda: f32) -> f32 {
    for (image, partner) in pairs(images) {
        for (a, b) in image.iter_mut().zip(partner) {
            (*a, *b) = (lambda * *a + (1.0 - lambda) * *b, lambda * *b + (1.0 - lambda) * *a);
        }
    }
    lambda
}

/// Exchanges a window between each image and its partner, and returns the part of the image outside of it.
fn cutmix(images: &mut Tensor, rows: Range<usize>, columns: Range<usize>) -> f32 {
    let &[_, height, width, channels] = images.dims() else { unreachable!("the caller has four dimensions") };
    for (image, partner) in pairs(images) {
        for row in rows.clone() {
            let span = (row * width + columns.start) * channels..(row * width + columns.end) * channels;
            image[span.clone()].swap_with_slice(&mut partner[span]);
        }
    }
    1.0 - (rows.len() * columns.len()) as f32 / (height * width) as f32
}

/// Rows and columns of a window about a random point, whose sides are `sqrt(1 - lambda)` of the image's, as far as it
/// lies inside.
fn window(height: usize, width: usize, lambda: f64, rng: &mut impl Rng) -> [Range<usize>; 2] {
    [height, width].map(|len| {
        let half = (len as f64 * (1.0 - lambda).sqrt()) as usize / 2;
        let centre = rng.random_range(0..len);
        centre.saturating_sub(half)..(centre + half).min(len)
    })
}

/// Image `i` and image `N - 1 - i`, for the first half; of an odd number, the middle one is its own partner.
fn pairs(images: &mut Tensor) -> impl Iterator<Item = (&mut [f32], &mut [f32])> {
    let count = images.batch();
    let len = images.data().len() / count.max(1);
    let (front, back) = images.data_mut().split_at_mut(count / 2 * len);
    // Of an odd number, the middle image heads the back and the reversed chunks never reach it.
    front.chunks_exact_mut(len.max(1)).zip(back.chunks_exact_mut(len.max(1)).rev())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::stream;

    /// `count` images of 4x6 pixels and 2 channels; image `i` holds `i` everywhere.
    fn images(count: usize) -> Tensor {
        Tensor::new([count, 4, 6, 2], (0..count).flat_map(|i| [i as f32; 48]).collect())
    }

    #[test]
    fn mixup_blends_with_the_partner() {
        let mut batch = images(5);
        assert_eq!(mixup(&mut batch, 0.75), 0.75);
        for (i, expected) in [1.0, 1.5, 2.0, 2.5, 3.0].into_iter().enumerate() {
            assert!(batch.image(i).iter().all(|&x| x == expected), "{i}: {:?}", batch.image(i));
        }
    }

    #[test]
    fn cutmix_exchanges_a_window() {
        let mut batch = images(3);
        assert_eq!(cutmix(&mut batch, 1..3, 0..3), 0.75);
        for row in 0..4 {
            for column in 0..6 {
                let inside = (1..3).contains(&row) && column < 3;
                let at = (row * 6 + column) * 2;
                let seen = [0, 1, 2].map(|i| batch.image(i)[at]);
                assert_eq!(seen, if inside { [2.0, 1.0, 0.0] } else { [0.0, 1.0, 2.0] });
            }
        }
    }

    #[test]
    fn lambda_is_the_part_that_an_image_keeps() {
        let mixing = Mixing { mixup: 0.2, cutmix: 1.0 };
        let mut cut = 0;
        for step in 0..400 {
            let mut batch = images(4);
            let mixed = mixing.apply(&mut batch, &mut stream(1, step, 0));
            assert_eq!(mixed.partners, [3, 2, 1, 0]);
            assert!((0.0..=1.0).contains(&mixed.lambda));
            for (i, &partner) in mixed.partners.iter().enumerate() {
                let mean = batch.image(i).iter().sum::<f32>() / 48.0;
                let expected = mixed.lambda * i as f32 + (1.0 - mixed.lambda) * partner as f32;
                assert!((mean - expected).abs() < 1e-5, "{mean} {expected}");
            }
            cut += usize::from(batch.image(0).iter().all(|&x| x == 0.0 || x == 3.0) && mixed.lambda < 1.0);
        }
        assert!((120..240).contains(&cut), "{cut}");
    }

    #[test]
    fn lambda_follows_its_distribution() {
        // Beta(a, a) has the variance 1 / (4 (2 a + 1)).
        for alpha in [0.2, 1.0] {
            let mixing = Mixing { mixup: alpha, cutmix: 0.0 };
            let mut batch = Tensor::zeros([2, 1, 1, 1]);
            let mut rng = stream(2, 0, 0);
            let draws: Vec<f64> = (0..4000).map(|_| f64::from(mixing.apply(&mut batch, &mut rng).lambda)).collect();
            let mean = draws.iter().sum::<f64>() / 4000.0;
            let variance = draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 4000.0;
            assert!((mean - 0.5).abs() < 0.03, "{mean}");
            assert!((variance - 0.25 / (2.0 * alpha + 1.0)).abs() < 0.01, "{variance}");
        }
    }

    #[test]
    fn windows_lie_inside() {
        let mut rng = stream(4, 0, 0);
        for lambda in [0.0, 0.3, 0.75, 1.0] {
            for _ in 0..200 {
                let [rows, columns] = window(4, 6, lambda, &mut rng);
                assert!(rows.start <= rows.end && rows.end <= 4 && columns.start <= columns.end && columns.end <= 6);
                // Half of the side, on both sides of the centre.
                if lambda == 0.75 {
                    assert!(rows.len() <= 2 && columns.len() <= 2, "{rows:?} {columns:?}");
                }
                if lambda == 1.0 {
                    assert!(rows.is_empty() && columns.is_empty());
                }
            }
        }
    }

    #[test]
    fn nothing_to_mix_leaves_all() {
        let mut batch = images(3);
        let mixed = Mixing::NONE.apply(&mut batch, &mut stream(1, 0, 0));
        assert_eq!((mixed.partners, mixed.lambda, batch), (vec![0, 1, 2], 1.0, images(3)));
        let mut alone = images(1);
        Mixing { mixup: 1.0, cutmix: 1.0 }.apply(&mut alone, &mut stream(1, 0, 0));
        assert_eq!(alone, images(1));
        assert!(Mixing { mixup: -1.0, cutmix: 0.0 }.check().unwrap_err().to_string().contains("`mixup` is -1.0"));
        assert!(Mixing { mixup: 0.0, cutmix: f64::NAN }.check().is_err());
        Mixing { mixup: 0.2, cutmix: 1.0 }.check().unwrap();
    }
}
