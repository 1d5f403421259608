//! Which images an epoch shows.

use super::augment::{Sample, order, shown, stream};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

/// Which images an epoch shows. With either, an epoch has as many as the set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sampling {
    /// Each image once.
    #[default]
    Uniform,
    /// Of each class the same number, but for one: of large classes a part, another one each time; images of small
    /// classes several times, changed in another way each time.
    Balanced,
}

impl Sampling {
    /// The order in which an epoch shows the images of these labels, a function of `seed` and `epoch`; with more than
    /// one of `repeats` as [`order`] says.
    pub fn order(self, seed: u64, epoch: usize, labels: &[u16], repeats: usize) -> Vec<Sample> {
        match self {
            Self::Uniform => order(seed, epoch, labels.len(), repeats),
            Self::Balanced => balanced(seed, epoch, labels, repeats.max(1)),
        }
    }
}

fn balanced(seed: u64, epoch: usize, labels: &[u16], repeats: usize) -> Vec<Sample> {
    let mut classes: Vec<Vec<usize>> = Vec::new();
    for Sample { index, .. } in order(seed, epoch, labels.len(), 1) {
        let label = usize::from(labels[index]);
        classes.resize_with(classes.len().max(label + 1), Vec::new);
        classes[label].push(index);
    }
    classes.retain(|images| !images.is_empty());
    let (count, number) = (labels.len(), classes.len());
    let mut samples = Vec::with_capacity(count);
    for (class, images) in classes.iter().enumerate() {
        // Which classes have one more than the others changes from epoch to epoch.
        let more = usize::from((class + epoch) % number < count % number);
        let places = 0..count / number + more;
        samples.extend(places.map(|place| (images[place % images.len()], place / images.len())));
    }
    // Streams from 0 on belong to the order and the images, those from the other end to the batches.
    samples.shuffle(&mut stream(seed, epoch, 1 << 47));
    let repeated = samples
        .into_iter()
        .flat_map(|(index, time)| (0..repeats).map(move |repeat| Sample { index, repeat: time * repeats + repeat }));
    repeated.take(shown(labels.len(), repeats)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// 70 images of class 0, 4 of class 2, 26 of class 3.
    fn labels() -> Vec<u16> {
        [(0, 70), (2, 4), (3, 26)].into_iter().flat_map(|(label, count)| vec![label; count]).collect()
    }

    #[test]
    fn classes_are_shown_equally_often_and_no_sample_twice() {
        let labels = labels();
        let mut seen = BTreeSet::new();
        for epoch in 0..3 {
            let order = Sampling::Balanced.order(5, epoch, &labels, 1);
            assert_eq!(order.len(), 100);
            let of = |label| order.iter().filter(|sample| labels[sample.index] == label).count();
            let mut counts = [0, 2, 3].map(of);
            counts.sort_unstable();
            assert_eq!(counts, [33, 33, 34], "{epoch}");
            let samples: BTreeSet<_> = order.iter().map(|sample| (sample.index, sample.repeat)).collect();
            assert_eq!(samples.len(), 100);
            // Each image of the smallest class as often as the others.
            let times = |index| order.iter().filter(|sample| sample.index == index).count();
            assert!((70..74).all(|index| (8..=9).contains(&times(index))));
            seen.extend(order.iter().map(|sample| sample.index).filter(|&index| index < 70));
            assert!(!order[..30].iter().all(|sample| labels[sample.index] == 0));
        }
        assert!(seen.len() > 50, "other images in each epoch: {}", seen.len());
        assert_ne!(Sampling::Balanced.order(5, 0, &labels, 1), Sampling::Balanced.order(5, 1, &labels, 1));
        assert_eq!(Sampling::Balanced.order(5, 0, &labels, 1), Sampling::Balanced.order(5, 0, &labels, 1));
    }

    #[test]
    fn repeats_follow_one_another_and_uniform_is_the_plain_order() {
        let labels = labels();
        let thrice = Sampling::Balanced.order(5, 0, &labels, 3);
        assert_eq!(thrice.len(), 100);
        assert!(thrice[..99].chunks(3).all(|three| three.iter().all(|sample| sample.index == three[0].index)));
        let samples: BTreeSet<_> = thrice.iter().map(|sample| (sample.index, sample.repeat)).collect();
        assert_eq!(samples.len(), 100);
        assert_eq!(Sampling::Uniform.order(5, 2, &labels, 3), order(5, 2, 100, 3));
        assert_eq!(Sampling::Balanced.order(5, 2, &[], 1), []);
    }
}
