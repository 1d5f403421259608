//! How good a network is.

use crate::autograd::{self, FakeQuantization, loss};
use crate::data::Dataset;
use crate::session::Session;
use crate::tensor::Tensor;
use skipstone_onnx::{Graph, Normalization};
use std::time::Instant;

/// Images that are normalized and evaluated together, to bound memory.
const IMAGES: usize = 1024;

/// A network's performance on a data set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evaluation {
    /// Share of the images whose highest score is their label's.
    pub accuracy: f64,
    /// Mean cross entropy.
    pub loss: f64,
    /// Number of images.
    pub count: usize,
    /// Speed, preparing the images included.
    pub images_per_second: f64,
}

/// Runs a network over a data set in float32; batch normalization uses its running statistics.
///
/// # Panics
/// If the images' dimensions are not those of the graph's input, or there are more classes than scores.
pub fn evaluate(graph: &Graph, set: &Dataset, normalization: &Normalization) -> Evaluation {
    let session = Session::new(graph);
    judge(set, normalization, &|images| session.run(images))
}

/// As [`evaluate`], under fake quantization.
///
/// # Panics
/// As [`evaluate`].
pub fn evaluate_quantized(
    graph: &Graph,
    fake: &FakeQuantization,
    set: &Dataset,
    normalization: &Normalization,
) -> Evaluation {
    let rounded = fake.with_rounded_parameters(graph);
    judge(set, normalization, &|images| autograd::infer_quantized(&rounded, fake, images))
}

fn judge(set: &Dataset, normalization: &Normalization, classify: &dyn Fn(&Tensor) -> Tensor) -> Evaluation {
    let start = Instant::now();
    let (mut loss, mut correct) = (0.0, 0);
    let indices: Vec<usize> = (0..set.len()).collect();
    for indices in indices.chunks(IMAGES) {
        let scores = classify(&set.batch(indices, normalization));
        let labels = &set.labels[indices[0]..][..indices.len()];
        let step = loss::cross_entropy(&scores, labels, 0.0);
        loss += step.loss * indices.len() as f64;
        correct += step.correct;
    }
    let count = set.len() as f64;
    Evaluation {
        accuracy: correct as f64 / count,
        loss: loss / count,
        count: set.len(),
        images_per_second: count / start.elapsed().as_secs_f64(),
    }
}
