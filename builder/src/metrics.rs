//! Accuracy and loss.

mod confusion;

pub use confusion::{Confused, Confusion};

use crate::autograd::{self, FakeQuantization, loss};
use crate::data::augment::scores_of_views;
use crate::data::{DataError, Dataset, ImageSet};
use crate::session::Session;
use crate::tensor::Tensor;
use rayon::ThreadPool;
use serde::Serialize;
use skipstone_onnx::Graph;
use std::convert::Infallible;
use std::time::Instant;

/// Images that are normalized and evaluated together, at most, and elements of their pixels, to bound memory.
const BATCH: usize = 1024;
const ELEMENTS: usize = 1 << 22;

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
    let mut sums = Sums::new();
    let indices: Vec<usize> = (0..set.len()).collect();
    for indices in indices.chunks(batch) {
        sums.add(&scores_of(indices)?, &set.labels[indices[0]..][..indices.len()]);
    }
    Ok(sums.evaluation())
}

/// As [`evaluate`], of images that may not be in memory: `scores_of` gets them in order, `batch` at a time, while the
/// threads of `decoders`, or all cores, read the next ones.
///
/// # Errors
/// Those of `scores_of`, and [`DataError`] where a file can no longer be read.
///
/// # Panics
/// As [`evaluate`].
pub fn evaluate_images<E: From<DataError>>(
    images: &ImageSet,
    batch: usize,
    decoders: Option<&ThreadPool>,
    mut scores_of: impl FnMut(&Dataset) -> Result<Tensor, E>,
) -> Result<Evaluation, E> {
    let mut sums = Sums::new();
    images.batches(batch, decoders, |images| {
        sums.add(&scores_of(&images)?, &images.labels);
        Ok::<(), E>(())
    })?;
    Ok(sums.evaluation())
}

/// What batches add up to.
struct Sums {
    loss: f64,
    correct: usize,
    count: usize,
    start: Instant,
}

impl Sums {
    fn new() -> Self {
        Self { loss: 0.0, correct: 0, count: 0, start: Instant::now() }
    }

    fn add(&mut self, scores: &Tensor, labels: &[u16]) {
        let step = loss::cross_entropy(scores, labels, 0.0);
        self.loss += step.loss * labels.len() as f64;
        self.correct += step.correct;
        self.count += labels.len();
    }

    fn evaluation(&self) -> Evaluation {
        let count = self.count as f64;
        Evaluation {
            accuracy: self.correct as f64 / count,
            loss: self.loss / count,
            count: self.count,
            images_per_second: count / self.start.elapsed().as_secs_f64(),
        }
    }
}

/// Evaluates a network on images that may not be in memory, in float32 or under fake quantization, by so many
/// [views](crate::data::augment::VIEWS) of each image, and tells its answers.
///
/// # Errors
/// [`DataError`] where a file can no longer be read.
///
/// # Panics
/// As [`evaluate_float`].
pub(crate) fn judge(
    graph: &Graph,
    fake: Option<&FakeQuantization>,
    images: &ImageSet,
    decoders: &ThreadPool,
    views: usize,
) -> Result<(Evaluation, Confusion), DataError> {
    let batch = (ELEMENTS / images.dims.iter().product::<usize>().max(1)).clamp(1, BATCH);
    let run = scorer(graph, fake);
    let mut confusion = Confusion::new(images.class_names.len());
    let evaluation = evaluate_images(images, batch, Some(decoders), |images| {
        let scores_of = |images: &Dataset, indices: &[usize]| Ok(run(&images.batch_for(graph, indices)));
        let scores = scores_of_views::<DataError>(images, views, scores_of)?;
        confusion.add_scores(&scores, &images.labels);
        Ok::<_, DataError>(scores)
    })?;
    Ok((evaluation, confusion))
}

/// The network as a function from normalized images to scores, in float32 or under fake quantization.
fn scorer<'g>(graph: &'g Graph, fake: Option<&'g FakeQuantization>) -> Box<dyn Fn(&Tensor) -> Tensor + 'g> {
    match fake {
        Some(fake) => {
            let rounded = fake.with_rounded_parameters(graph);
            Box::new(move |images| autograd::infer_quantized(&rounded, fake, images))
        }
        None => {
            let session = Session::new(graph);
            Box::new(move |images| session.run(images))
        }
    }
}

/// Evaluates a network in float32; batch normalization uses its running statistics.
///
/// # Panics
/// If the images' dimensions are not those of the graph's input, there are more classes than scores, or the graph does
/// not say how pixels are normalized.
pub fn evaluate_float(graph: &Graph, set: &Dataset) -> Evaluation {
    let run = scorer(graph, None);
    let Ok(evaluation) = evaluate::<Infallible>(set, BATCH, |indices| Ok(run(&set.batch_for(graph, indices))));
    evaluation
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
