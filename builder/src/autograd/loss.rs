//! Cross entropy of softmax.

use super::Step;
use crate::tensor::Tensor;

/// Mean cross entropy over a batch of `scores` `[N, classes]`, and how many labels have the highest score.
///
/// # Panics
/// If a label is not below the number of classes.
pub fn cross_entropy(scores: &Tensor, labels: &[u16], smoothing: f32) -> Step {
    evaluate(scores, labels, smoothing, |_, _, _| ())
}

/// As [`cross_entropy`], and the gradient of the mean with respect to the scores.
///
/// # Panics
/// If a label is not below the number of classes.
pub fn cross_entropy_gradient(scores: &Tensor, labels: &[u16], smoothing: f32) -> (Step, Tensor) {
    let mut grad = Tensor::zeros(scores.dims());
    let scale = 1.0 / labels.len() as f64;
    let data = grad.data_mut();
    let step = evaluate(scores, labels, smoothing, |index, probability, target| {
        data[index] = ((probability - target) * scale) as f32;
    });
    (step, grad)
}

/// Calls `each` with index, probability and target of every score.
fn evaluate(scores: &Tensor, labels: &[u16], smoothing: f32, mut each: impl FnMut(usize, f64, f64)) -> Step {
    let classes = scores.dims()[1];
    let off = f64::from(smoothing) / classes as f64;
    let on = 1.0 - f64::from(smoothing) + off;
    let (mut loss, mut correct) = (0.0, 0);
    for (image, (row, &label)) in scores.data().chunks_exact(classes).zip(labels).enumerate() {
        let label = usize::from(label);
        let highest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = row.iter().map(|&score| f64::from(score - highest).exp()).sum();
        for (class, &score) in row.iter().enumerate() {
            let log_probability = f64::from(score - highest) - sum.ln();
            let target = if class == label { on } else { off };
            loss -= target * log_probability;
            each(image * classes + class, log_probability.exp(), target);
        }
        correct += usize::from(row.iter().position(|&score| score == highest) == Some(label));
    }
    Step { loss: loss / labels.len() as f64, correct }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        let scores = Tensor::new([2, 2], vec![0.0, 0.0, 1000.0, 0.0]);
        let step = cross_entropy(&scores, &[1, 0], 0.0);
        assert!((step.loss - std::f64::consts::LN_2 / 2.0).abs() < 1e-12);
        // A tie goes to the lower class, as in `top_k`.
        assert_eq!(step.correct, 1);
        assert!(cross_entropy(&Tensor::new([1, 2], vec![f32::NAN, 0.0]), &[0], 0.0).loss.is_nan());
    }

    #[test]
    fn gradient_matches_differences() {
        let data = vec![0.3, -1.2, 0.7, 2.0, 0.1, -0.4];
        for smoothing in [0.0, 0.1] {
            let (_, grad) = cross_entropy_gradient(&Tensor::new([2, 3], data.clone()), &[2, 1], smoothing);
            for i in 0..data.len() {
                let at = |delta: f32| {
                    let mut data = data.clone();
                    data[i] += delta;
                    cross_entropy(&Tensor::new([2, 3], data), &[2, 1], smoothing).loss
                };
                let numeric = (at(1e-2) - at(-1e-2)) / 2e-2;
                assert!((numeric - f64::from(grad.data()[i])).abs() < 1e-4, "{i}: {numeric} {}", grad.data()[i]);
            }
        }
    }
}
