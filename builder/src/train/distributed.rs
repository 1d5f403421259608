//! Training by several processes: what each has of a batch and of the test images, and what all of them agree on.

use super::checkpoint::State;
use super::{Config, TrainError};
use crate::autograd::loss::BatchScore;
use crate::cluster::Cluster;
use crate::data::ImageSet;
use crate::data::augment::{Sample, shown};
use crate::metrics::{Confusion, Evaluation};
use crate::tensor::Tensor;
use skipstone_onnx::{Graph, ValueId};
use std::hash::{DefaultHasher, Hasher};
use std::ops::Range;

/// The result, if all processes have one; else the error of the first that has none, there, and
/// [`TrainError::Elsewhere`] in the others.
pub(super) fn together<T>(cluster: &Cluster, result: Result<T, TrainError>) -> Result<T, TrainError> {
    cluster.together(result, |rank| TrainError::Elsewhere { rank })
}

/// Which images of a batch this process computes: the `rank`-th of `size` equal runs of them.
#[derive(Clone, Copy)]
pub(super) struct Place {
    rank: usize,
    size: usize,
    /// Whether each image is mixed with that at the same place from the end of the batch.
    mixed: bool,
}

impl Place {
    /// Checks that batches of `config` out of `images` can be shared equally.
    pub(super) fn new(cluster: &Cluster, config: &Config, images: usize) -> Result<Self, TrainError> {
        // A set smaller than a batch is one.
        let batch = config.batch.min(shown(images, config.repeats));
        let (rank, size) = (cluster.rank(), cluster.size());
        if !batch.is_multiple_of(size) {
            return Err(TrainError::Indivisible { batch, size });
        }
        Ok(Self { rank, size, mixed: config.mixing.mixup > 0.0 || config.mixing.cutmix > 0.0 })
    }

    /// The samples that this process needs of a batch: its own and, where images are mixed, those that they are mixed
    /// with, so that each of its own finds the other at the same place from the end.
    pub(super) fn needed(self, batch: Vec<Sample>) -> Vec<Sample> {
        if self.size == 1 {
            return batch;
        }
        let count = batch.len() / self.size;
        let run = |rank: usize| batch[rank * count..][..count].iter().copied();
        let partners = if self.mixed { Some(run(self.size - 1 - self.rank)) } else { None };
        run(self.rank).chain(partners.into_iter().flatten()).collect()
    }

    /// What [`Place::needed`] became, without the images of other processes.
    pub(super) fn own(self, needed: Tensor) -> Tensor {
        if self.size == 1 || !self.mixed {
            return needed;
        }
        let mut dims = needed.dims().to_vec();
        dims[0] /= 2;
        let mut data = needed.into_data();
        data.truncate(dims.iter().product());
        Tensor::new(dims, data)
    }

    /// The test images that this process judges.
    pub(super) fn part(self, set: ImageSet) -> ImageSet {
        if self.size == 1 {
            return set;
        }
        let share = share(set.len(), self.rank, self.size);
        set.part(share)
    }
}

fn share(count: usize, rank: usize, size: usize) -> Range<usize> {
    rank * count / size..(rank + 1) * count / size
}

/// The loss of the whole batch, of which this process has had its shard.
pub(super) fn score(cluster: &Cluster, own: BatchScore) -> BatchScore {
    let mut sums = [own.loss, own.correct as f64];
    cluster.sum(&mut sums);
    BatchScore { loss: sums[0] / cluster.size() as f64, correct: sums[1] as usize }
}

/// The evaluation on all test images, of which this process has judged its part; one without images counts nothing.
pub(super) fn evaluation(cluster: &Cluster, own: Evaluation) -> Evaluation {
    if cluster.size() == 1 {
        return own;
    }
    let Evaluation { accuracy, loss, count, images_per_second } = own;
    let images = count as f64;
    let mut sums =
        if count == 0 { [0.0; 4] } else { [(accuracy * images).round(), loss * images, images, images_per_second] };
    cluster.sum(&mut sums);
    let [correct, loss, images, images_per_second] = sums;
    Evaluation { accuracy: correct / images, loss: loss / images, count: images as usize, images_per_second }
}

/// The answers to all test images.
pub(super) fn confusion(cluster: &Cluster, own: Confusion) -> Confusion {
    if cluster.size() == 1 {
        return own;
    }
    let mut all = Confusion::new(own.classes());
    for label in 0..own.classes() {
        let mut row: Vec<u64> = (0..own.classes()).map(|answer| own.count(label, answer) as u64).collect();
        cluster.sum(&mut row);
        for (answer, &images) in row.iter().enumerate().filter(|&(_, &images)| images > 0) {
            all.add_images(label, answer, images as usize);
        }
    }
    all
}

/// The gradients of all parameters, one after the other, so that one exchange takes all.
#[derive(Default)]
pub(super) struct Bucket {
    values: Vec<f32>,
    /// Where each parameter's gradient lies, by the index of the value.
    spans: Vec<Range<usize>>,
}

impl Bucket {
    /// Takes the mean over all processes of the gradients and of the running statistics that are not settled: the same
    /// in all processes already. The graph then has these.
    pub(super) fn average<'t>(
        &mut self,
        cluster: &Cluster,
        graph: &mut Graph,
        gradient: impl Fn(ValueId) -> Option<&'t [f32]>,
        is_settled: impl Fn(ValueId) -> bool,
    ) {
        self.values.clear();
        self.spans.clear();
        self.spans.resize(graph.values().len(), 0..0);
        let mut statistics = Vec::new();
        for (id, _, parameter) in graph.parameters() {
            let start = self.values.len();
            match gradient(id) {
                Some(gradient) => self.values.extend(gradient),
                None if !parameter.trainable && !is_settled(id) => {
                    statistics.push((id, start));
                    self.values.extend(parameter.tensor.data());
                    continue;
                }
                None => continue,
            }
            self.spans[id.index()] = start..self.values.len();
        }
        cluster.sum(&mut self.values);
        let share = 1.0 / cluster.size() as f32;
        self.values.iter_mut().for_each(|value| *value *= share);
        for (id, start) in statistics {
            if let Some(tensor) = graph.parameter_mut(id) {
                let count = tensor.data().len();
                tensor.data_mut().copy_from_slice(&self.values[start..][..count]);
            }
        }
    }

    /// The mean gradient of a parameter.
    pub(super) fn gradient(&self, id: ValueId) -> Option<&[f32]> {
        let span = self.spans.get(id.index())?;
        (!span.is_empty()).then(|| &self.values[span.clone()])
    }
}

/// Checks that all processes have the same weights.
pub(super) fn check_equal(cluster: &Cluster, state: &State) -> Result<(), TrainError> {
    if cluster.size() == 1 {
        return Ok(());
    }
    let mut hasher = DefaultHasher::new();
    let averages = state.average.as_ref().map(|average| &average.graph);
    for (_, _, parameter) in std::iter::once(&state.graph).chain(averages).flat_map(Graph::parameters) {
        hasher.write(bytemuck::cast_slice(parameter.tensor.data()));
    }
    match cluster.first_other(hasher.finish()) {
        None => Ok(()),
        Some(rank) => Err(TrainError::Apart { rank }),
    }
}
