//! Losses of scores against soft targets.

use crate::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// Loss and hits of a batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchScore {
    /// Mean loss of the batch.
    pub loss: f64,
    /// Images whose highest score was their highest target's.
    pub correct: usize,
}

/// What training minimizes, a function of scores and targets `[N, classes]`; the mean over the images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Loss {
    /// Cross entropy of the softmax of an image's scores.
    #[default]
    CrossEntropy,
    /// Binary cross entropy of the sigmoid of every score, as if each class were a question of its own.
    BinaryCrossEntropy {
        /// Whether an image's loss is the sum over the classes, not their mean. The mean's gradients are smaller by the
        /// number of classes, which matters to optimizers that scale with the gradient (SGD).
        #[serde(default)]
        sum_classes: bool,
        /// Targets above this count as 1, others as 0; without it they are taken as they are.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        threshold: Option<f32>,
    },
}

impl Loss {
    /// The loss of a batch, and how many images have their highest score where their highest target is; among equals
    /// the lowest class counts.
    ///
    /// # Panics
    /// If scores and targets differ in their dimensions.
    pub fn value(&self, scores: &Tensor, targets: &Tensor) -> BatchScore {
        self.evaluate(scores, targets, |_, _| ())
    }

    /// As [`Loss::value`], and the gradient with respect to the scores.
    ///
    /// # Panics
    /// If scores and targets differ in their dimensions.
    pub fn gradient(&self, scores: &Tensor, targets: &Tensor) -> (BatchScore, Tensor) {
        let mut grad = Tensor::zeros(scores.dims());
        let data = grad.data_mut();
        let step = self.evaluate(scores, targets, |index, slope| data[index] = slope as f32);
        (step, grad)
    }

    /// Calls `each` with index and derivative of every score.
    fn evaluate(&self, scores: &Tensor, targets: &Tensor, mut each: impl FnMut(usize, f64)) -> BatchScore {
        assert_eq!(scores.dims(), targets.dims(), "one target per score");
        let (images, classes) = (scores.batch(), scores.dims()[1]);
        let (mut loss, mut correct) = (0.0, 0);
        let rows = scores.data().chunks_exact(classes).zip(targets.data().chunks_exact(classes));
        for (image, (scores, targets)) in rows.enumerate() {
            let highest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            correct += usize::from(first(scores, highest) == Some(label(targets)));
            let each = |class: usize, slope: f64| each(image * classes + class, slope / images as f64);
            loss += match *self {
                Self::CrossEntropy => cross_entropy_of(scores, highest, targets, each),
                Self::BinaryCrossEntropy { sum_classes, threshold } => {
                    let scale = if sum_classes { 1.0 } else { 1.0 / classes as f64 };
                    binary_cross_entropy_of(scores, targets, scale, threshold, each)
                }
            };
        }
        BatchScore { loss: loss / images as f64, correct }
    }
}

/// `-sum t log softmax(s)`; targets need not add up to 1.
fn cross_entropy_of(scores: &[f32], highest: f32, targets: &[f32], mut each: impl FnMut(usize, f64)) -> f64 {
    let log_sum = scores.iter().map(|&score| f64::from(score - highest).exp()).sum::<f64>().ln();
    let total: f64 = targets.iter().map(|&target| f64::from(target)).sum();
    let mut loss = 0.0;
    for (class, (&score, &target)) in scores.iter().zip(targets).enumerate() {
        let log_probability = f64::from(score - highest) - log_sum;
        loss -= f64::from(target) * log_probability;
        each(class, total * log_probability.exp() - f64::from(target));
    }
    loss
}

/// `-scale * sum (t log sigmoid(s) + (1 - t) log sigmoid(-s))`.
fn binary_cross_entropy_of(
    scores: &[f32],
    targets: &[f32],
    scale: f64,
    threshold: Option<f32>,
    mut each: impl FnMut(usize, f64),
) -> f64 {
    let mut loss = 0.0;
    for (class, (&score, &target)) in scores.iter().zip(targets).enumerate() {
        let target = threshold.map_or(f64::from(target), |threshold| f64::from(u8::from(target > threshold)));
        let score = f64::from(score);
        // log(1 + exp(s)) - t s without overflow.
        loss += score.max(0.0) + (-score.abs()).exp().ln_1p() - target * score;
        let probability = 1.0 / (1.0 + (-score).exp());
        each(class, scale * (probability - target));
    }
    scale * loss
}

fn first(values: &[f32], wanted: f32) -> Option<usize> {
    values.iter().position(|&value| value == wanted)
}

/// The class with the highest target, the lowest among equals.
fn label(targets: &[f32]) -> usize {
    let highest = targets.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    first(targets, highest).unwrap_or(0)
}

/// Targets `[N, classes]` of labels: `1 - s + s / classes` at an image's label and `s / classes` at other classes, with
/// smoothing `s`.
///
/// # Panics
/// If a label is not below the number of classes.
pub fn targets(labels: &[u16], classes: usize, smoothing: f32) -> Tensor {
    let off = smoothing / classes as f32;
    let mut data = vec![off; labels.len() * classes];
    for (row, &label) in data.chunks_exact_mut(classes).zip(labels) {
        row[usize::from(label)] = 1.0 - smoothing + off;
    }
    Tensor::new([labels.len(), classes], data)
}

/// Mean cross entropy over a batch of `scores` `[N, classes]`, and how many labels have the highest score.
///
/// # Panics
/// If a label is not below the number of classes.
pub fn cross_entropy(scores: &Tensor, labels: &[u16], smoothing: f32) -> BatchScore {
    Loss::CrossEntropy.value(scores, &targets(labels, scores.dims()[1], smoothing))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::LN_2;

    const BCE: Loss = Loss::BinaryCrossEntropy { sum_classes: false, threshold: None };

    #[test]
    fn known_values() {
        let scores = Tensor::new([2, 2], vec![0.0, 0.0, 1000.0, 0.0]);
        let step = cross_entropy(&scores, &[1, 0], 0.0);
        assert!((step.loss - LN_2 / 2.0).abs() < 1e-12);
        // A tie goes to the lower class, as in `top_k`.
        assert_eq!(step.correct, 1);
        assert!(cross_entropy(&Tensor::new([1, 2], vec![f32::NAN, 0.0]), &[0], 0.0).loss.is_nan());

        let step = BCE.value(&scores, &targets(&[1, 0], 2, 0.0));
        assert_eq!(step.correct, 1);
        assert!((step.loss - (2.0 * LN_2 + 0.0 + LN_2) / 4.0).abs() < 1e-12);
        let wrong = Tensor::new([1, 2], vec![1000.0, -1000.0]);
        assert_eq!(BCE.value(&wrong, &targets(&[1], 2, 0.0)).loss, 1000.0);
        assert!(BCE.value(&Tensor::new([1, 2], vec![f32::NAN, 0.0]), &targets(&[0], 2, 0.0)).loss.is_nan());
    }

    #[test]
    fn classes_are_summed_and_targets_cut_on_request() {
        let scores = Tensor::new([1, 4], vec![0.5, -0.5, 1.5, -2.0]);
        let soft = Tensor::new([1, 4], vec![0.3, 0.0, 0.6, 0.1]);
        let hard = Tensor::new([1, 4], vec![1.0, 0.0, 1.0, 0.0]);
        let mean = BCE.gradient(&scores, &hard);
        let (step, grad) =
            Loss::BinaryCrossEntropy { sum_classes: true, threshold: Some(0.2) }.gradient(&scores, &soft);
        assert!((step.loss - 4.0 * mean.0.loss).abs() < 1e-12);
        assert!(grad.data().iter().zip(mean.1.data()).all(|(sum, mean)| (sum - 4.0 * mean).abs() < 1e-7));
        assert_eq!(step.correct, 1);
    }

    #[test]
    fn targets_are_smoothed() {
        let smooth = targets(&[2, 0], 4, 0.1);
        let (on, off) = (1.0 - 0.1 + 0.025, 0.025);
        assert_eq!(smooth.data(), [off, off, on, off, on, off, off, off]);
    }

    #[test]
    fn gradients_match_differences() {
        let data = vec![0.3, -1.2, 0.7, 2.0, 0.1, -0.4];
        let losses = [
            Loss::CrossEntropy,
            BCE,
            Loss::BinaryCrossEntropy { sum_classes: true, threshold: None },
            Loss::BinaryCrossEntropy { sum_classes: false, threshold: Some(0.25) },
        ];
        let soft = Tensor::new([2, 3], vec![0.2, 0.5, 0.3, 0.0, 0.9, 0.3]);
        for loss in losses {
            for targets in [targets(&[2, 1], 3, 0.0), targets(&[2, 1], 3, 0.1), soft.clone()] {
                let (step, grad) = loss.gradient(&Tensor::new([2, 3], data.clone()), &targets);
                assert_eq!(step, loss.value(&Tensor::new([2, 3], data.clone()), &targets));
                for i in 0..data.len() {
                    let at = |delta: f32| {
                        let mut data = data.clone();
                        data[i] += delta;
                        loss.value(&Tensor::new([2, 3], data), &targets).loss
                    };
                    let numeric = (at(1e-2) - at(-1e-2)) / 2e-2;
                    let analytic = f64::from(grad.data()[i]);
                    assert!((numeric - analytic).abs() < 1e-4, "{loss:?} {i}: {numeric} {analytic}");
                }
            }
        }
    }

    #[test]
    fn reads_as_toml() {
        #[derive(Deserialize)]
        struct File {
            loss: Loss,
        }
        let read = |text: &str| toml::from_str::<File>(text).map(|file| file.loss);
        assert_eq!(read("loss = { kind = 'cross-entropy' }"), Ok(Loss::CrossEntropy));
        assert_eq!(read("loss = { kind = 'binary-cross-entropy' }"), Ok(BCE));
        let threshold = Some(0.2);
        assert_eq!(
            read("loss = { kind = 'binary-cross-entropy', sum_classes = true, threshold = 0.2 }"),
            Ok(Loss::BinaryCrossEntropy { sum_classes: true, threshold })
        );
        assert!(read("loss = { kind = 'binary-cross-entropy', treshold = 0.2 }").is_err());
        assert!(read("loss = { kind = 'hinge' }").is_err());
    }
}
