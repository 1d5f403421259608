//! Batch-norm statistics for networks that never saw data.

use super::init::{normal, uniform};
use crate::autograd;
use crate::tensor::Tensor;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use skipstone_onnx::{Graph, Op};
use std::collections::HashMap;

/// Images of noise whose statistics are measured.
const IMAGES: usize = 4;
/// Least variance, for channels that noise does not move.
const LEAST: f32 = 1e-3;

/// Gives every batch norm random gamma, beta, mean and variance such as training leaves behind, so that an untrained
/// network exercises everything that a reader of its file can get wrong: with gamma 1, beta 0, mean 0, variance 1 an
/// exporter that swaps them goes unnoticed.
///
/// Gamma is 0.5..1.5, beta normal with standard deviation 0.1. Mean and variance are those that each batch norm meets
/// on a few images of noise, because others let the activations of a deep network grow without bound; then the mean is
/// moved by a normal with 0.2 standard deviations, the variance multiplied by 0.5..2.
pub fn with_nontrivial_statistics(mut graph: Graph, seed: u64) -> Graph {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let batch_norms: Vec<_> = graph
        .nodes()
        .iter()
        .filter(|node| matches!(node.op, Op::BatchNorm { .. }))
        .map(|node| [node.inputs[1], node.inputs[2], node.inputs[3], node.inputs[4]])
        .collect();
    for &[gamma, beta, ..] in &batch_norms {
        let draws: [&dyn Fn(&mut ChaCha8Rng) -> f64; 2] = [&|rng| 0.5 + uniform(rng), &|rng| 0.1 * normal(rng)];
        for (id, draw) in [gamma, beta].into_iter().zip(draws) {
            let tensor = graph.parameter_mut(id).expect("a batch norm's operands are parameters");
            tensor.data_mut().fill_with(|| draw(&mut rng) as f32);
        }
    }
    let &[channels, height, width] = graph.value(graph.input()).dims.as_slice() else {
        unreachable!("a graph's input is an image")
    };
    let count = IMAGES * height * width * channels;
    let noise = Tensor::new([IMAGES, height, width, channels], (0..count).map(|_| normal(&mut rng) as f32).collect());
    let measured: HashMap<_, _> = autograd::batch_statistics(&graph, &noise).into_iter().collect();
    for [_, _, mean, variance] in batch_norms {
        let mut set = |id, value: &mut dyn FnMut(usize) -> f32| {
            let tensor = graph.parameter_mut(id).expect("a batch norm's operands are parameters");
            tensor.data_mut().iter_mut().enumerate().for_each(|(channel, x)| *x = value(channel));
        };
        let variances: Vec<f32> = measured[&variance].iter().map(|v| v.max(LEAST)).collect();
        set(mean, &mut |c| measured[&mean][c] + 0.2 * variances[c].sqrt() * normal(&mut rng) as f32);
        set(variance, &mut |c| variances[c] * (0.5 * 4f64.powf(uniform(&mut rng))) as f32);
    }
    graph
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zoo::{Options, build};

    #[test]
    fn fills_every_batch_norm_and_nothing_else() {
        let plain = build("resnet8", &Options::default()).unwrap();
        let filled = with_nontrivial_statistics(plain.clone(), 3);
        assert_eq!(filled, with_nontrivial_statistics(plain.clone(), 3));
        for ((_, name, before), (_, _, after)) in plain.parameters().zip(filled.parameters()) {
            let batch_norm = name.contains("bn");
            assert_eq!(before != after, batch_norm, "{name}");
            if name.ends_with("variance") {
                assert!(after.tensor.data().iter().all(|&v| v >= LEAST / 2.0), "{name}");
            }
        }
    }

    #[test]
    fn scores_of_deep_networks_stay_in_bounds() {
        let noise = Tensor::new([1, 8, 8, 3], (0..192).map(|i| ((i * 37 % 41) as f32 - 20.0) / 12.0).collect());
        for name in ["resnet1202", "preresnet164", "densenet-bc100-k12", "plain56"] {
            let options = Options { input: Some([3, 8, 8]), ..Options::default() };
            let graph = with_nontrivial_statistics(build(name, &options).unwrap(), 5);
            let scores = autograd::infer(&graph, &noise);
            let peak = scores.data().iter().fold(0f32, |peak, score| peak.max(score.abs()));
            assert!(scores.data().iter().all(|score| score.is_finite()) && peak < 1e4, "{name}: {scores:?}");
        }
    }
}
