//! Batches in the order of training, prepared by threads of their own.

use super::Config;
use super::distributed::Place;
use crate::autograd::loss::targets;
use crate::data::augment::{Mixed, Sample, shown};
use crate::data::{DataError, ImageSet, stream};
use crate::tensor::Tensor;
use rayon::ThreadPool;
use skipstone_onnx::Normalization;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::Scope;

/// Batches that wait to be used.
const AHEAD: usize = 3;

/// Images, augmented, normalized and mixed, and their targets `[N, classes]`.
pub(super) struct Batch {
    pub(super) images: Tensor,
    pub(super) targets: Tensor,
}

/// Batches per epoch: only whole batches are used, so in each epoch other images are left out; a data set smaller than
/// a batch is one.
pub(super) fn batches(images: usize, config: &Config) -> usize {
    (shown(images, config.repeats) / config.batch).max(1)
}

/// All batches from `batch` of `epoch` on, of each what is needed at `place`, made by the threads of `decoders`. They
/// are a function of the settings, the epoch and the batch alone.
pub(super) fn feed<'scope, 'env>(
    scope: &'scope Scope<'scope, 'env>,
    decoders: &'env ThreadPool,
    set: &'env ImageSet,
    config: &'env Config,
    place: Place,
    normalization: &'env Normalization,
    [epoch, batch]: [usize; 2],
) -> Receiver<Result<Batch, DataError>> {
    let (sender, receiver) = sync_channel(AHEAD);
    scope.spawn(move || {
        let mut skip = batch;
        for epoch in epoch..config.epochs {
            for (batch, samples) in samples(config, epoch, &set.labels).into_iter().enumerate().skip(skip) {
                let samples = place.needed(samples);
                let prepare = || prepare(set, config, normalization, epoch, batch, &samples);
                if sender.send(decoders.install(prepare)).is_err() {
                    return;
                }
            }
            skip = 0;
        }
    });
    receiver
}

/// An epoch's batches. Those of one step take turns at the order of the images, as the devices of a distributed run do,
/// so that they share the repeats of an image.
fn samples(config: &Config, epoch: usize, labels: &[u16]) -> Vec<Vec<Sample>> {
    let order = config.sampling.order(config.seed, epoch, labels, config.repeats);
    let whole = (order.len() / config.batch * config.batch).max(order.len().min(config.batch));
    let mut batches = Vec::new();
    for step in order[..whole].chunks(config.batch.saturating_mul(config.accumulate)) {
        let count = step.len().div_ceil(config.batch);
        batches.extend((0..count).map(|first| step.iter().skip(first).step_by(count).copied().collect()));
    }
    batches
}

fn prepare(
    set: &ImageSet,
    config: &Config,
    normalization: &Normalization,
    epoch: usize,
    batch: usize,
    samples: &[Sample],
) -> Result<Batch, DataError> {
    let Config { augmentation, seed, .. } = config;
    let read = |index| set.read(index);
    let mut images = augmentation.read_batch(set.dims, samples, normalization, *seed, epoch, read)?;
    let labels: Vec<u16> = samples.iter().map(|sample| set.labels[sample.index]).collect();
    let targets = targets(&labels, set.class_names.len(), config.label_smoothing as f32);
    // Streams from 0 on belong to the order and the images.
    let mixed = config.mixing.apply(&mut images, &mut stream(config.seed, epoch, u64::MAX - batch as u64));
    Ok(Batch { images, targets: mix(targets, &mixed) })
}

/// The targets of mixed images.
fn mix(targets: Tensor, mixed: &Mixed) -> Tensor {
    if mixed.lambda == 1.0 {
        return targets;
    }
    let mut data = Vec::with_capacity(targets.data().len());
    for (image, &partner) in mixed.partners.iter().enumerate() {
        let pairs = targets.image(image).iter().zip(targets.image(partner));
        data.extend(pairs.map(|(own, other)| mixed.lambda * own + (1.0 - mixed.lambda) * other));
    }
    Tensor::new(targets.dims(), data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Cluster;
    use crate::data::augment::Mixing;
    use crate::data::{Spec, Split, load};

    #[test]
    fn a_later_start_gives_the_same_batches() {
        let spec: Spec = "digits".parse().unwrap();
        let set: ImageSet = load(&spec, Split::Test).unwrap().into();
        let decoders = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        let normalization = spec.normalization();
        let config = Config { epochs: 2, batch: 100, ..Config::new("x", &spec) };
        let place = Place::new(&Cluster::default(), &config, set.len()).unwrap();
        let from = |epoch, batch| -> Vec<(Tensor, Tensor)> {
            std::thread::scope(|scope| {
                let batches = feed(scope, &decoders, &set, &config, place, &normalization, [epoch, batch]);
                batches.iter().map(|batch| batch.map(|batch| (batch.images, batch.targets)).unwrap()).collect()
            })
        };
        let all = from(0, 0);
        assert_eq!(all.len(), 6);
        assert_ne!(all[0].1, all[3].1);
        assert_eq!(from(1, 1), all[4..]);
    }

    #[test]
    fn batches_take_turns_and_leave_out_what_is_no_whole_batch() {
        let sizes = |batch, accumulate, repeats, images| {
            let config = Config { batch, accumulate, repeats, ..Config::new("x", &"digits".parse().unwrap()) };
            let samples = samples(&config, 0, &vec![0; images]);
            assert_eq!(samples.len(), batches(images, &config));
            let mut seen: Vec<_> = samples.iter().flatten().map(|sample| (sample.index, sample.repeat)).collect();
            seen.sort_unstable();
            seen.dedup();
            assert_eq!(seen.len(), samples.iter().map(Vec::len).sum::<usize>());
            samples.iter().map(Vec::len).collect::<Vec<_>>()
        };
        assert_eq!(sizes(10, 1, 1, 35), [10, 10, 10]);
        assert_eq!(sizes(10, 2, 1, 35), [10, 10, 10]);
        assert_eq!(sizes(100, 4, 1, 35), [35]);
        assert_eq!(sizes(100, 2, 3, 35), [35]);
        assert_eq!(sizes(100, 2, 3, 600), [100; 5]);
        // The repeats of an image are in different batches of one step.
        let config = Config { batch: 64, accumulate: 4, repeats: 3, ..Config::new("x", &"digits".parse().unwrap()) };
        for batch in samples(&config, 1, &[0; 256]) {
            let mut indices: Vec<_> = batch.iter().map(|sample| sample.index).collect();
            indices.sort_unstable();
            indices.dedup();
            assert_eq!(indices.len(), 64);
        }
    }

    #[test]
    fn targets_are_mixed_as_the_images() {
        let own = targets(&[0, 1, 2], 4, 0.0);
        let mixed = mix(own.clone(), &Mixed { partners: vec![2, 1, 0], lambda: 0.75 });
        assert_eq!(mixed.data(), [0.75, 0.0, 0.25, 0.0, 0.0, 1.0, 0.0, 0.0, 0.25, 0.0, 0.75, 0.0]);
        assert_eq!(mix(own.clone(), &Mixed { partners: vec![0, 1, 2], lambda: 1.0 }), own);

        let spec: Spec = "digits".parse().unwrap();
        let set: ImageSet = load(&spec, Split::Test).unwrap().into();
        let plain = Config { batch: 64, ..Config::new("x", &spec) };
        let config = Config { mixing: Mixing { mixup: 1.0, cutmix: 0.0 }, ..plain.clone() };
        let samples = &samples(&config, 0, &set.labels)[1];
        let batch = |config, number| prepare(&set, config, &spec.normalization(), 0, number, samples).unwrap();
        let (before, after, other) = (batch(&plain, 1), batch(&config, 1), batch(&config, 2));
        // The first image's part of itself, from the pixels and from the targets.
        let label = before.targets.image(0).iter().position(|&target| target == 1.0).unwrap();
        let partner = before.targets.image(63);
        let lambda = (0..64).find_map(|i| {
            let (own, other) = (before.images.image(0)[i], before.images.image(63)[i]);
            ((own - other).abs() > 1.0).then(|| (after.images.image(0)[i] - other) / (own - other))
        });
        let expected = lambda.unwrap() + (1.0 - lambda.unwrap()) * partner[label];
        assert!((after.targets.image(0)[label] - expected).abs() < 1e-4);
        assert!(after.targets != other.targets);
        assert!(after.targets.data().chunks(10).all(|row| (row.iter().sum::<f32>() - 1.0).abs() < 1e-5));
    }
}
