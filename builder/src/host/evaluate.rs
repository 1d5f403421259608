//! Accuracy of a packed model on a whole data set.

use super::{HostError, engine, image_dims, load};
use crate::data::Dataset;
use crate::pack::AlignedBytes;
use rayon::prelude::*;
use std::time::Instant;

/// Images that one worker takes at a time.
const CHUNK: usize = 16;

/// How well a packed model classifies a data set.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Evaluation {
    /// Part of the images whose highest score is that of their label; of equal scores the first class counts.
    pub accuracy: f64,
    /// Mean cross entropy of the softmax over the scores' real values.
    pub loss: f64,
    /// Number of images.
    pub count: usize,
    /// Images that all cores together ran in a second.
    pub images_per_second: f64,
}

/// Runs the packed model on every image, on all cores of the current rayon pool. Accuracy and loss do not depend on the
/// number of cores.
///
/// # Errors
/// [`HostError`] if the model is not valid, cannot run here, or does not fit the data set.
pub fn evaluate(stone: &[u8], dataset: &Dataset) -> Result<Evaluation, HostError> {
    let stone = AlignedBytes::copy(stone);
    let model = load(&stone)?;
    let (expected, classes) = (image_dims(&model), model.class_count());
    if dataset.is_empty() {
        return Err(HostError::NoImages);
    }
    if dataset.dims != expected {
        return Err(HostError::ImageDims { found: dataset.dims, expected });
    }
    if let Some(image) = dataset.labels.iter().position(|&label| usize::from(label) >= classes) {
        return Err(HostError::Label { image, label: dataset.labels[image], classes });
    }
    let scale = f64::from(model.output().scale);
    let start = Instant::now();
    let indices: Vec<usize> = (0..dataset.len()).collect();
    let results: Vec<Vec<(bool, f64)>> = indices
        .par_chunks(CHUNK)
        .map(|indices| {
            let mut arena = AlignedBytes::zeros(model.arena_len());
            let mut engine = engine(&model, &mut arena)?;
            let judge = |&index: &usize| {
                let scores = engine.run(dataset.image(index)).map_err(HostError::Input)?;
                Ok(judge(scores, dataset.labels[index].into(), scale))
            };
            indices.iter().map(judge).collect()
        })
        .collect::<Result<_, HostError>>()?;
    let seconds = start.elapsed().as_secs_f64();
    let count = dataset.len();
    let correct = results.iter().flatten().filter(|(correct, _)| *correct).count();
    let loss: f64 = results.iter().flatten().map(|(_, loss)| loss).sum();
    Ok(Evaluation {
        accuracy: correct as f64 / count as f64,
        loss: loss / count as f64,
        count,
        images_per_second: count as f64 / seconds.max(f64::MIN_POSITIVE),
    })
}

/// Whether the highest score is the label's, and the cross entropy. The zero point drops out of both.
fn judge(scores: &[i8], label: usize, scale: f64) -> (bool, f64) {
    let best = (1..scores.len()).fold(0, |best, class| if scores[class] > scores[best] { class } else { best });
    let highest = f64::from(scores[best]);
    let sum: f64 = scores.iter().map(|&score| ((f64::from(score) - highest) * scale).exp()).sum();
    (best == label, sum.ln() - (f64::from(scores[label]) - highest) * scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn judges_by_the_softmax() {
        let (correct, loss) = judge(&[0, 10, 10], 1, 0.1);
        assert!(correct && (loss - (2.0 + (-1.0f64).exp()).ln()).abs() < 1e-12, "{loss}");
        assert!(!judge(&[0, 10, 10], 2, 0.1).0);
        // Large differences do not overflow.
        assert_eq!(judge(&[-128, 127], 0, 10.0), (false, 2550.0));
    }
}
