//! Which classes are taken for which.

use super::argmax;
use crate::tensor::Tensor;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// How often images of each class are given each answer. Only the pairs that occur take memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confusion {
    classes: usize,
    /// By label and answer.
    counts: BTreeMap<(usize, usize), usize>,
}

/// A class that is taken for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confused {
    /// The class of the images.
    pub label: usize,
    /// The class that they are taken for.
    pub answer: usize,
    /// How many they are.
    pub images: usize,
}

impl Confusion {
    /// No image of `classes` classes yet.
    pub fn new(classes: usize) -> Self {
        Self { classes, counts: BTreeMap::new() }
    }

    /// Counts an image of class `label` that is answered with `answer`.
    pub fn add(&mut self, label: usize, answer: usize) {
        self.add_images(label, answer, 1);
    }

    /// Counts so many images at once.
    pub fn add_images(&mut self, label: usize, answer: usize, images: usize) {
        *self.counts.entry((label, answer)).or_default() += images;
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Counts a batch by its scores, `[N, classes]`: the answer is the first of the highest.
    pub fn add_scores(&mut self, scores: &Tensor, labels: &[u16]) {
        for (image, &label) in labels.iter().enumerate() {
            self.add(label.into(), argmax(scores.image(image)));
        }
    }

    /// Images of class `label` that are answered with `answer`.
    pub fn count(&self, label: usize, answer: usize) -> usize {
        self.counts.get(&(label, answer)).copied().unwrap_or(0)
    }

    /// Images of each class, and of those the share that is answered with it; `None` of a class without images.
    pub fn by_class(&self) -> Vec<(usize, Option<f64>)> {
        let mut images = vec![0; self.classes];
        self.counts.iter().for_each(|(&(label, _), count)| images[label] += count);
        let share = |(class, count): (usize, usize)| {
            (count, (count > 0).then(|| self.count(class, class) as f64 / count as f64))
        };
        images.into_iter().enumerate().map(share).collect()
    }

    /// The pairs of a class and another answer that occur, the most frequent first, among equals in the order of
    /// classes.
    pub fn confused(&self) -> Vec<Confused> {
        let pairs = self.counts.iter().filter(|&(&(label, answer), _)| label != answer);
        let mut pairs: Vec<_> = pairs.map(|(&(label, answer), &images)| Confused { label, answer, images }).collect();
        pairs.sort_by_key(|pair| Reverse(pair.images));
        pairs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_by_label_and_answer() {
        let mut found = Confusion::new(4);
        found.add(1, 2);
        found.add_scores(&Tensor::new([3, 4], vec![1., 0., 0., 0., 0., 9., 9., 0., 0., 0., 0., 1.]), &[0, 0, 2]);
        found.add(0, 1);
        assert_eq!(found.by_class(), [(3, Some(1.0 / 3.0)), (1, Some(0.0)), (1, Some(0.0)), (0, None)]);
        let confused = found.confused().iter().map(|pair| (pair.label, pair.answer, pair.images)).collect::<Vec<_>>();
        assert_eq!(confused, [(0, 1, 2), (1, 2, 1), (2, 3, 1)]);
        assert_eq!([found.count(0, 0), found.count(3, 3)], [1, 0]);
    }
}
