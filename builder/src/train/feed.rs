//! Batches in the order of training, prepared by a thread of their own.

use super::Config;
use crate::autograd::loss::targets;
use crate::data::{Dataset, stream};
use crate::tensor::Tensor;
use rand::seq::SliceRandom;
use skipstone_onnx::Normalization;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::Scope;

/// Batches that wait to be used.
const AHEAD: usize = 3;

/// Images, augmented and normalized, and their targets `[N, classes]`.
pub(super) struct Batch {
    pub(super) images: Tensor,
    pub(super) targets: Tensor,
}

/// Steps per epoch: only whole batches are used, so in each epoch other images are left out; a data set smaller than a
/// batch is one.
pub(super) fn batches(images: usize, batch: usize) -> usize {
    (images / batch).max(1)
}

/// All batches from `batch` of `epoch` on. They are a function of the settings, the epoch and the batch alone.
pub(super) fn feed<'scope, 'env>(
    scope: &'scope Scope<'scope, 'env>,
    set: &'env Dataset,
    config: &'env Config,
    normalization: &'env Normalization,
    epoch: usize,
    batch: usize,
) -> Receiver<Batch> {
    let (sender, receiver) = sync_channel(AHEAD);
    scope.spawn(move || {
        let mut skip = batch;
        for epoch in epoch..config.epochs {
            let order = order(config.seed, epoch, set.len());
            for indices in order.chunks(config.batch).take(batches(set.len(), config.batch)).skip(skip) {
                let images = config.augmentation.batch(set, indices, normalization, config.seed, epoch);
                let labels: Vec<u16> = indices.iter().map(|&index| set.labels[index]).collect();
                let targets = targets(&labels, set.class_names.len(), config.label_smoothing as f32);
                if sender.send(Batch { images, targets }).is_err() {
                    return;
                }
            }
            skip = 0;
        }
    });
    receiver
}

/// The order of an epoch's images.
fn order(seed: u64, epoch: usize, count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    order.shuffle(&mut stream(seed, epoch, 0));
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Spec, Split, load};

    #[test]
    fn a_later_start_gives_the_same_batches() {
        let spec: Spec = "digits".parse().unwrap();
        let set = load(&spec, Split::Test).unwrap();
        let normalization = spec.normalization();
        let config = Config { epochs: 2, batch: 100, ..Config::new("x", &spec) };
        let from = |epoch, batch| -> Vec<(Tensor, Tensor)> {
            std::thread::scope(|scope| {
                let batches = feed(scope, &set, &config, &normalization, epoch, batch);
                batches.iter().map(|batch| (batch.images, batch.targets)).collect()
            })
        };
        let all = from(0, 0);
        assert_eq!(all.len(), 6);
        assert_ne!(all[0].1, all[3].1);
        assert_eq!(from(1, 1), all[4..]);
    }

    #[test]
    fn orders_are_permutations_and_differ() {
        let mut orders = [order(1, 0, 50), order(1, 1, 50), order(2, 0, 50)];
        assert!(orders[0] != orders[1] && orders[0] != orders[2]);
        for order in &mut orders {
            order.sort_unstable();
            assert!(order.iter().copied().eq(0..50));
        }
    }
}
