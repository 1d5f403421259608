//! Batch-norm statistics for networks that never saw data.

use super::init::{normal, uniform};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use skipstone_onnx::{Graph, Op};

/// Gives every batch norm random gamma, beta, mean and variance such as training leaves behind, so that an untrained
/// network exercises everything that a reader of its file can get wrong: with gamma 1, beta 0, mean 0, variance 1 an
/// exporter that swaps them goes unnoticed.
///
/// Gamma 0.5..1.5, beta and mean normal with standard deviation 0.1 and 0.2, variance 0.5..2.
pub fn with_nontrivial_statistics(mut graph: Graph, seed: u64) -> Graph {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let batch_norms: Vec<_> = graph
        .nodes()
        .iter()
        .filter(|node| matches!(node.op, Op::BatchNorm { .. }))
        .map(|node| [node.inputs[1], node.inputs[2], node.inputs[3], node.inputs[4]])
        .collect();
    for operands in batch_norms {
        let draws: [&dyn Fn(&mut ChaCha8Rng) -> f64; 4] =
            [&|rng| 0.5 + uniform(rng), &|rng| 0.1 * normal(rng), &|rng| 0.2 * normal(rng), &|rng| {
                0.5 * 4f64.powf(uniform(rng))
            }];
        for (id, draw) in operands.into_iter().zip(draws) {
            let tensor = graph.parameter_mut(id).expect("a batch norm's operands are parameters");
            tensor.data_mut().fill_with(|| draw(&mut rng) as f32);
        }
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
                assert!(after.tensor.data().iter().all(|v| (0.5..=2.0).contains(v)), "{name}");
            }
        }
    }
}
