//! Which images are shown when, and where their random numbers come from.

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// With repeats an epoch is a whole number of these many samples, as in the recipe's reference.
const REPEATED_ROUND: usize = 256;

/// An image of a data set, shown for the `repeat`-th time in its epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The image.
    pub index: usize,
    /// Counted from 0; the image is changed another way each time.
    pub repeat: usize,
}

impl From<usize> for Sample {
    fn from(index: usize) -> Self {
        Self { index, repeat: 0 }
    }
}

impl Sample {
    /// The random numbers that change this sample.
    pub(super) fn rng(self, seed: u64, epoch: usize) -> ChaCha8Rng {
        stream(seed, epoch, (self.index as u64 + 1) | (self.repeat as u64) << 48)
    }

    /// Whether an alternating flip mirrors the image in an epoch: by chance in epoch 0, and not as in the epoch before.
    pub(super) fn is_mirrored(self, seed: u64, epoch: usize) -> bool {
        // No epoch has this number.
        let first = stream(seed, usize::MAX, self.index as u64 + 1).random_bool(0.5);
        first != (epoch % 2 == 1)
    }
}

/// The order in which an epoch shows `count` images, a function of `seed` and `epoch`.
///
/// With more than one of `repeats` (Hoffer et al., *Augment your batch*; Berman et al., *MultiGrain*), each image is
/// shown so many times one after another, and the epoch ends after about `count` samples: so it shows one image in
/// `repeats`.
pub fn order(seed: u64, epoch: usize, count: usize, repeats: usize) -> Vec<Sample> {
    let mut order: Vec<usize> = (0..count).collect();
    order.shuffle(&mut stream(seed, epoch, 0));
    let repeated = order.into_iter().flat_map(|index| (0..repeats.max(1)).map(move |repeat| Sample { index, repeat }));
    repeated.take(shown(count, repeats)).collect()
}

/// Number of samples that an epoch of `count` images shows.
pub fn shown(count: usize, repeats: usize) -> usize {
    if repeats > 1 && count >= REPEATED_ROUND { count - count % REPEATED_ROUND } else { count }
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
    use rand::Rng;

    #[test]
    fn orders_are_permutations_and_differ() {
        let mut orders = [order(1, 0, 50, 1), order(1, 1, 50, 1), order(2, 0, 50, 1)];
        assert!(orders[0] != orders[1] && orders[0] != orders[2]);
        for order in &mut orders {
            order.sort_unstable_by_key(|sample| sample.index);
            assert!(order.iter().copied().eq((0..50).map(Sample::from)));
        }
    }

    #[test]
    fn repeats_follow_one_another_and_fill_the_epoch() {
        let once = order(3, 1, 600, 1);
        let thrice = order(3, 1, 600, 3);
        assert_eq!(thrice.len(), 512);
        for (i, sample) in thrice.iter().enumerate() {
            assert_eq!(*sample, Sample { index: once[i / 3].index, repeat: i % 3 });
        }
        assert_eq!(order(3, 1, 100, 3).len(), 100);
        assert_eq!(order(3, 1, 0, 3), []);
    }

    #[test]
    fn each_sample_has_its_own_numbers() {
        let mut seen = std::collections::BTreeSet::new();
        for (seed, epoch, index, repeat) in [(0, 0, 0, 0), (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1)] {
            assert!(seen.insert(Sample { index, repeat }.rng(seed, epoch).next_u64()));
        }
    }
}
