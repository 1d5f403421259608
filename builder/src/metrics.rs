//! Accuracy and loss.

use crate::autograd::{self, FakeQuantization, loss};
use crate::data::Dataset;
use crate::data::augment::scores_of_views;
use crate::session::Session;
use crate::tensor::Tensor;
use serde::Serialize;
use skipstone_onnx::Graph;
use std::convert::Infallible;
use std::time::Instant;

/// Images that are normalized and evaluated together, to bound memory.
const BATCH: usize = 1024;

/// How well a network classifies a data set.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// Share of the images whose highest score is their label's; of equal scores the first class counts.
    pub accuracy: f64,
    /// Mean cross entropy of the softmax of the scores.
    pub loss: f64,
    /// Number of images.
    pub count: usize,
    /// Images in a second of wall clock, their preparation included.
    pub images_per_second: f64,
}

/// Index of the largest element, the first of equal ones.
pub(crate) fn argmax<T: PartialOrd>(scores: &[T]) -> usize {
    (1..scores.len()).fold(0, |best, index| if scores[index] > scores[best] { index } else { best })
}

/// Evaluates anything that gives scores: `scores_of` gets the indices of `batch` images of the set at a time, and gives
/// their scores `[N, classes]`.
///
/// # Errors
/// Those of `scores_of`.
///
/// # Panics
/// If there are labels without a score.
pub fn evaluate<E>(
    set: &Dataset,
    batch: usize,
    mut scores_of: impl FnMut(&[usize]) -> Result<Tensor, E>,
) -> Result<Evaluation, E> {
    let start = Instant::now();
    let (mut loss, mut correct) = (0.0, 0);
    let indices: Vec<usize> = (0..set.len()).collect();
    for indices in indices.chunks(batch) {
        let scores = scores_of(indices)?;
        let step = loss::cross_entropy(&scores, &set.labels[indices[0]..][..indices.len()], 0.0);
        loss += step.loss * indices.len() as f64;
        correct += step.correct;
    }
    let count = set.len() as f64;
    Ok(Evaluation {
        accuracy: correct as f64 / count,
        loss: loss / count,
        count: set.len(),
        images_per_second: count / start.elapsed().as_secs_f64(),
    })
}

/// Evaluates a network in float32; batch normalization uses its running statistics.
///
/// # Panics
/// If the images' dimensions are not those of the graph's input, there are more classes than scores, or the graph does
/// not say how pixels are normalized.
pub fn evaluate_float(graph: &Graph, set: &Dataset) -> Evaluation {
    evaluate_views(graph, None, set, 1)
}

/// As [`evaluate_float`], or under fake quantization, by the mean scores of so many of [`VIEWS`](crate::data::augment::VIEWS) views of each image.
///
/// # Panics
/// As [`evaluate_float`].
pub fn evaluate_views(graph: &Graph, fake: Option<&FakeQuantization>, set: &Dataset, views: usize) -> Evaluation {
    let run: &dyn Fn(&Tensor) -> Tensor = match fake {
        Some(fake) => {
            let rounded = fake.with_rounded_parameters(graph);
            &move |images| autograd::infer_quantized(&rounded, fake, images)
        }
        None => {
            let session = Session::new(graph);
            &move |images| session.run(images)
        }
    };
    let scores_of = |set: &Dataset, indices: &[usize]| Ok(run(&set.batch_for(graph, indices)));
    let Ok(evaluation) = evaluate::<Infallible>(set, BATCH, |indices| scores_of_views(set, indices, views, scores_of));
    evaluation
}

/// As [`evaluate_float`], under fake quantization.
///
/// # Panics
/// As [`evaluate_float`].
pub fn evaluate_quantized(graph: &Graph, fake: &FakeQuantization, set: &Dataset) -> Evaluation {
    evaluate_views(graph, Some(fake), set, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_equal_scores_wins() {
        assert_eq!(argmax(&[1, 3, 3]), 1);
        assert_eq!(argmax(&[3]), 0);
    }

    #[test]
    fn batches_add_up_and_of_equal_scores_the_first_counts() {
        let labels = vec![1, 2, 0];
        let class_names = ["a", "b", "c"].map(String::from).to_vec();
        let set = Dataset { dims: [1, 1, 1], pixels: vec![0; 3], labels, class_names };
        let scores = [[0.0, 1.0, 1.0], [0.0, 1.0, 1.0], [-128.0, 0.0, 127.0]];
        let mut batches = Vec::new();
        let found = evaluate::<Infallible>(&set, 2, |indices| {
            batches.push(indices.to_vec());
            let scores = indices.iter().flat_map(|&index| scores[index]).collect();
            Ok(Tensor::new([indices.len(), 3], scores))
        });
        let Ok(found) = found;
        assert_eq!(batches, [vec![0, 1], vec![2]]);
        assert_eq!((found.accuracy, found.count), (1.0 / 3.0, 3));
        let expected = (2.0 * (2.0 + (-1.0f64).exp()).ln() + 255.0) / 3.0;
        assert!((found.loss - expected).abs() < 1e-12, "{found:?}");
        assert_eq!(evaluate(&set, 2, |_| Err("no scores")), Err("no scores"));
    }
}
