//! The handwritten digits of crate smartcore: *Optical Recognition of Handwritten Digits*, UCI, 1998.

use super::{Dataset, Split};
use smartcore::dataset::digits;

/// Of each class every fifth image, from its first on, is a test image: 364 for testing, 1,433 for training, both with
/// the classes in the proportions of the whole (about a tenth each).
const TEST_EVERY: usize = 5;

/// One split of the 8x8 digits; ink levels 0..=16 become pixels 0..=255.
pub(super) fn load(split: Split) -> Dataset {
    let all = digits::load_dataset();
    let mut pixels = Vec::with_capacity(all.data.len());
    let mut labels = Vec::with_capacity(all.num_samples);
    let mut seen = [0; 10];
    for (image, &label) in all.data.chunks_exact(all.num_features).zip(&all.target) {
        let is_test = seen[label as usize] % TEST_EVERY == 0;
        seen[label as usize] += 1;
        if is_test == (split == Split::Test) {
            pixels.extend(image.iter().map(|ink| (ink * (255.0 / 16.0)).round() as u8));
            labels.push(label as u16);
        }
    }
    Dataset { dims: [1, 8, 8], pixels, labels, class_names: (0..10).map(|digit| digit.to_string()).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_are_balanced_and_complete() {
        for (split, count, least, most) in [(Split::Train, 1433, 139, 146), (Split::Test, 364, 35, 37)] {
            let set = load(split);
            assert_eq!((set.len(), set.pixels.len()), (count, count * 64));
            let mut per_class = [0; 10];
            for &label in &set.labels {
                per_class[label as usize] += 1;
            }
            assert!(per_class.iter().all(|&n| n >= least && n <= most), "{split:?}: {per_class:?}");
            assert_eq!(set.pixels.iter().max(), Some(&255));
        }
    }

    #[test]
    fn the_first_image_is_the_known_zero() {
        let set = load(Split::Test);
        assert_eq!(set.labels[0], 0);
        // Ink levels of the first row in the published file: 0 0 5 13 9 1 0 0.
        assert_eq!(set.image(0)[..8], [0, 0, 80, 207, 143, 16, 0, 0]);
    }

    #[test]
    fn normalization_matches_the_training_split() {
        let set = load(Split::Train);
        let spec: super::super::Spec = "digits".parse().unwrap();
        let indices: Vec<usize> = (0..set.len()).collect();
        let batch = set.batch(&indices, &spec.normalization());
        let count = batch.data().len() as f64;
        let mean = batch.data().iter().map(|&x| f64::from(x)).sum::<f64>() / count;
        let variance = batch.data().iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / count;
        assert!(mean.abs() < 0.01 && (variance.sqrt() - 1.0).abs() < 0.01, "{mean} {variance}");
    }
}
