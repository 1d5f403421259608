//! What operands share is to each of them as if it were its own.

use super::fixtures::{contents, copied, random_images, shared_graph};
use super::{Quantization, Settings, fake_quantization, quantize};
use crate::passes::{absorb_preprocessing, equalize, fold_batch_norm, with_biases};
use skipstone_onnx::{Graph, export};

fn assert_same(a: &Graph, b: &Graph, seed: u64) {
    assert_eq!(contents(a), contents(b), "seed {seed}");
}

#[test]
fn networks_do_share() {
    let shared = (0..24).map(shared_graph).filter(|graph| copied(graph) != *graph).count();
    assert!(shared > 12, "{shared}");
}

#[test]
fn rewrites_are_those_of_the_network_with_copies() {
    for seed in 0..48 {
        let shared = shared_graph(seed);
        let passes: [&dyn Fn(&Graph) -> Graph; 5] = [
            &|graph| fold_batch_norm(graph).unwrap(),
            &|graph| with_biases(graph).unwrap(),
            &|graph| absorb_preprocessing(graph.clone()).unwrap(),
            &equalize,
            &|graph| skipstone_onnx::import(&export(graph, export::Batch::One)).unwrap(),
        ];
        for pass in passes {
            assert_same(&pass(&shared), &pass(&copied(&shared)), seed);
        }
        let all = |graph: &Graph| passes.iter().fold(graph.clone(), |graph, pass| pass(&graph));
        assert_same(&all(&shared), &all(&copied(&shared)), seed);
    }
}

#[test]
fn integers_are_those_of_the_network_with_copies() {
    for seed in 0..32 {
        let shared = shared_graph(seed);
        let images = random_images(&shared, 8, seed);
        for changed in [false, true] {
            let settings = Settings { equalize: changed, bias_correction: changed, ..Settings::default() };
            let [first, second] = [&shared, &copied(&shared)].map(|graph| {
                let Quantization { rounded, qgraph, .. } = quantize(graph, &images, &settings).unwrap();
                let trained = fake_quantization(&rounded, &qgraph).with_rounded_parameters(&rounded);
                (rounded, qgraph, trained)
            });
            assert_eq!(first.1, second.1, "seed {seed}");
            assert_same(&first.0, &second.0, seed);
            assert_same(&first.2, &second.2, seed);
        }
    }
}
