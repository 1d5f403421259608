//! Batch norms with known statistics, and the sums that statistics come from.

use crate::cluster::Cluster;
use crate::kernels::channels::{self, Affine};
use crate::kernels::images::{channels as channels_of, sum_pairs};
use crate::tensor::Tensor;
use rayon::prelude::*;
use skipstone_onnx::ValueId;
use std::sync::Arc;

/// A batch norm with known statistics, and perhaps a ReLU.
pub(crate) struct Norm<'g> {
    pub(crate) operands: &'g [ValueId],
    pub(crate) gamma: &'g [f32],
    pub(crate) mean: Vec<f32>,
    /// Of the standard deviation.
    pub(crate) inverse: Vec<f32>,
    pub(crate) affine: Arc<Affine>,
    /// Whether the statistics do not depend on the operand.
    pub(crate) is_frozen: bool,
    /// Elements of a channel that the statistics are taken over.
    pub(crate) count: f64,
    pub(crate) over: Over,
}

impl Norm<'_> {
    pub(crate) fn operand(&self) -> ValueId {
        self.operands[0]
    }

    pub(crate) fn affine(&self) -> &Affine {
        &self.affine
    }
}

/// Mean and biased variance of each channel.
pub(crate) fn mean_and_variance(moments: &[[f64; 2]], count: f64) -> (Vec<f32>, Vec<f64>) {
    let moments = moments.iter().map(|[sum, squares]| {
        let mean = sum / count;
        (mean as f32, (squares / count - mean * mean).max(0.0))
    });
    moments.unzip()
}

/// Sums over images, taken in chunks of `images`, of `x` and of its square, channel by channel.
pub(crate) fn moments(x: &Tensor, images: usize) -> Vec<[f64; 2]> {
    let channels = channels_of(x);
    sum_chunks([x, x], images, |x, _| channels::moments(x, channels))
}

/// Sums over images of what `sum` gives for the elements of chunks of `images` of `a` and `b`.
pub(crate) fn sum_chunks(
    [a, b]: [&Tensor; 2],
    images: usize,
    sum: impl Fn(&[f32], &[f32]) -> Vec<[f64; 2]> + Sync,
) -> Vec<[f64; 2]> {
    let chunk = images * (a.data().len() / a.batch());
    let mut chunks = Vec::new();
    let pairs = a.data().par_chunks(chunk).zip(b.data().par_chunks(chunk));
    pairs.map(|(a, b)| sum(a, b)).collect_into_vec(&mut chunks);
    sum_pairs(chunks, |total: &mut Vec<[f64; 2]>, chunk| channels::add_sums(total, &chunk)).unwrap_or_default()
}

/// What sums are taken over.
pub(crate) struct Over {
    /// Images in a chunk.
    pub(crate) images: usize,
    pub(crate) cluster: Cluster,
}
