//! Quantized, packed and run: the engine against the integers' definition, and both against the float network.

use super::*;
use crate::autograd;
use crate::data::Dataset;
use crate::pack::{Goal, Options, Packed, Quantized, pack_for, quantize};
use crate::quant::fixtures::{error_bounds, naive, random_graph, random_images, random_norms};
use crate::quant::{QGraph, QNode};
use crate::target::{Core, Need};
use crate::zoo;
use proptest::prelude::*;
use skipstone_onnx::{Graph, QuantParams};

const TARGETS: [Core; 4] = [Core::Generic, Core::CortexM4, Core::Neon, Core::X86];

/// Each node of the packed model gives what the definition says, for every target.
pub(super) fn assert_engine_is_exact(quantized: &Quantized, image: &[u8]) {
    let qgraph = &quantized.qgraph;
    let first = trace(&quantized.stone, image).unwrap();
    let expected = naive(qgraph, &first.image);
    let channels = crate::pack::channels(qgraph).unwrap();
    for target in TARGETS {
        let stone = crate::pack::pack(qgraph, target).unwrap().bytes;
        let trace = trace(&stone, image).unwrap();
        for (node, traced) in qgraph.nodes.iter().zip(&trace.nodes) {
            let output = &qgraph.tensors[node.output];
            assert_eq!((&traced.name, &traced.output), (&node.name, &output.name));
            let made = channels[node.output].strip(&traced.values);
            // Last rows that nothing reads are not made.
            assert!(!made.is_empty() && made.len() <= expected[node.output].len(), "{target:?}: {}", node.name);
            assert_eq!(made, expected[node.output][..made.len()], "{target:?}: {}", node.name);
        }
        assert_eq!(trace.scores, expected[qgraph.output]);
    }
}

fn dequantized(quantized: &Quantized, scores: &[i8]) -> Vec<f64> {
    let output = &quantized.qgraph.tensors[quantized.qgraph.output];
    let real = |&q: &i8| (f64::from(q) - f64::from(output.params.zero_point)) * f64::from(output.params.scale);
    scores.iter().map(real).collect()
}

fn float_scores(graph: &Graph, images: &Dataset) -> crate::tensor::Tensor {
    let all: Vec<usize> = (0..images.len()).collect();
    autograd::infer(graph, &images.batch_for(graph, &all))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_engine_computes_the_quantized_graph(seed in any::<u64>()) {
        let graph = random_graph(seed);
        let images = random_images(&graph, 3, seed);
        let quantized = quantize(&graph, &images, &Options::default()).unwrap();
        // One image of the calibration, one that leaves its ranges.
        assert_engine_is_exact(&quantized, images.image(0));
        assert_engine_is_exact(&quantized, random_images(&graph, 1, !seed).image(0));
    }

    #[test]
    fn the_engine_computes_norms_of_images(seed in any::<u64>()) {
        let graph = random_norms(seed);
        let images = random_images(&graph, 3, seed);
        let quantized = quantize(&graph, &images, &Options::default()).unwrap();
        assert_engine_is_exact(&quantized, images.image(0));
        assert_engine_is_exact(&quantized, random_images(&graph, 1, !seed).image(0));
    }

    #[test]
    fn scores_are_as_close_to_the_float_networks_as_the_scales_say(seed in any::<u64>()) {
        let graph = random_graph(seed);
        let images = random_images(&graph, 8, seed);
        let quantized = quantize(&graph, &images, &Options::default()).unwrap();
        let float = float_scores(&graph, &images);
        let bound = error_bounds(&quantized.qgraph)[quantized.qgraph.output];
        let (mut error, mut signal, mut worst) = (0.0, 0.0, 0f64);
        for index in 0..images.len() {
            let trace = trace(&quantized.stone, images.image(index)).unwrap();
            for (int8, &float) in dequantized(&quantized, &trace.scores).into_iter().zip(float.image(index)) {
                let difference = (int8 - f64::from(float)).abs();
                prop_assert!(difference <= bound, "off by {difference}, at most {bound} expected");
                worst = worst.max(difference);
                error += difference * difference;
                signal += f64::from(float) * f64::from(float);
            }
        }
        println!("{} operators: off by at most {worst:.2e}, bound {bound:.2e}", quantized.qgraph.nodes.len());
        // The bound is for the worst case; typical errors are far smaller.
        prop_assert!(error <= 0.01 * signal, "{error} of {signal}");
    }
}

pub(super) fn quantized_zoo(arch: &str, input: [usize; 3]) -> (Graph, Dataset, Quantized) {
    quantized_zoo_by(arch, input, zoo::Options::default())
}

/// As [`quantized_zoo`], with further options.
pub(super) fn quantized_zoo_by(arch: &str, input: [usize; 3], options: zoo::Options) -> (Graph, Dataset, Quantized) {
    let options = zoo::Options { input: Some(input), seed: 7, ..options };
    let mut graph = zoo::with_nontrivial_statistics(zoo::build(arch, &options).unwrap(), 7);
    let (mean, std) = (vec![0.4914, 0.4822, 0.4465], vec![0.2023, 0.1994, 0.201]);
    graph.metadata.normalization = Some(skipstone_onnx::Normalization { mean, std });
    let images = random_images(&graph, 4, 7);
    let quantized = quantize(&graph, &images, &Options::default()).unwrap();
    (graph, images, quantized)
}

#[test]
fn networks_of_the_zoo_quantize() {
    for arch in ["resnet8", "resnet20", "plain20"] {
        let (graph, images, quantized) = quantized_zoo(arch, [3, 16, 16]);
        assert_engine_is_exact(&quantized, images.image(0));
        assert_eq!(quantized.qgraph.macs, graph.macs());
        let sums = quantized.qgraph.nodes.iter().filter(|node| matches!(node.op, crate::quant::QOp::Add)).count();
        assert_eq!(sums, 0, "{arch}: every sum joins a convolution");
    }
}

#[test]
fn resnet8_streams_through_rings_of_rows() {
    // Two whole maps of 32x32x16 would be 32,768 bytes; the rest is scratch and counters.
    let (_, images, quantized) = quantized_zoo("resnet8", [3, 32, 32]);
    let overhead = quantized.report.arena_bytes - 9_760;
    assert!(overhead < 2_560, "{overhead}");
    assert!(quantized.report.input_resident_bytes - quantized.report.arena_bytes < 3_072);
    assert_engine_is_exact(&quantized, images.image(0));
}

#[test]
fn the_same_inputs_give_the_same_bytes() {
    let graph = random_graph(3);
    let images = random_images(&graph, 2, 3);
    let make = || quantize(&graph, &images, &Options { target: Core::CortexM4, ..Options::default() }).unwrap();
    let (a, b) = (make(), make());
    assert_eq!((a.stone, a.qdq), (b.stone, b.qdq));
}

#[test]
fn goals_change_memory_and_not_scores() {
    for seed in 0..12 {
        let graph = random_graph(seed);
        let images = random_images(&graph, 2, seed);
        let qgraph = quantize(&graph, &images, &Options::default()).unwrap().qgraph;
        for target in TARGETS {
            let packed = |goal| pack_for(&qgraph, target, goal).unwrap();
            let [ram, speed, size] = [Goal::Ram, Goal::Speed, Goal::Size].map(packed);
            assert!(ram.arena_bytes <= speed.arena_bytes, "{} {}", ram.arena_bytes, speed.arena_bytes);
            let flash = |packed: &Packed| {
                Need::of(&skipstone_runtime::Model::from_bytes(AlignedBytes::copy(&packed.bytes).as_slice()).unwrap())
                    .flash_bytes()
            };
            assert!(flash(&size) < flash(&ram).min(flash(&speed)));
            let scores = [&ram, &speed, &size].map(|packed| trace(&packed.bytes, images.image(1)).unwrap().scores);
            assert!(scores.iter().all(|other| *other == scores[0]), "{scores:?}");
        }
    }
}

#[test]
fn evaluates_what_it_traces() {
    let graph = random_graph(11);
    let mut images = random_images(&graph, 50, 11);
    let quantized = quantize(&graph, &images, &Options::default()).unwrap();
    let label = |index: usize| {
        let scores = trace(&quantized.stone, images.image(index)).unwrap().scores;
        (0..scores.len()).rev().max_by_key(|&class| scores[class]).unwrap() as u16
    };
    let mut labels: Vec<u16> = (0..images.len()).map(label).collect();
    let classes = quantized.qgraph.class_count() as u16;
    for label in &mut labels[..10] {
        *label = (*label + 1) % classes;
    }
    images.labels = labels;
    let evaluation = evaluate(&quantized.stone, &images).unwrap();
    assert_eq!((evaluation.accuracy, evaluation.count), (0.8, 50));
    assert!(evaluation.loss > 0.0 && evaluation.images_per_second > 0.0);
}

#[test]
fn what_does_not_fit_is_refused_in_one_line() {
    let graph = random_graph(5);
    let images = random_images(&graph, 2, 5);
    let stone = quantize(&graph, &images, &Options::default()).unwrap().stone;
    let mut flipped = stone.clone();
    *flipped.last_mut().unwrap() ^= 1;
    assert!(matches!(evaluate(&flipped, &images), Err(HostError::Load(_))));
    let mut other = images.clone();
    other.dims[1] += 1;
    assert!(matches!(evaluate(&stone, &other), Err(HostError::ImageDims { .. })));
    let mut wrong = images.clone();
    wrong.labels[1] = 999;
    let error = evaluate(&stone, &wrong).unwrap_err().to_string();
    assert!(error.starts_with("image 1 has label 999"), "{error}");
    let none = Dataset { pixels: Vec::new(), labels: Vec::new(), ..images.clone() };
    assert_eq!(evaluate(&stone, &none), Err(HostError::NoImages));
    assert!(matches!(trace(&stone, &images.pixels), Err(HostError::Input(_))));
}

#[test]
fn the_scales_of_a_packed_model_give_its_integers_back() {
    let random = (0..40).map(|seed| {
        let graph = random_graph(seed);
        let images = random_images(&graph, 3, seed);
        let quantized = quantize(&graph, &images, &Options::default()).unwrap();
        (graph, quantized)
    });
    let (graph, _, quantized) = quantized_zoo("resnet20", [3, 8, 8]);
    for (graph, quantized) in random.chain([(graph, quantized)]) {
        let folded = crate::passes::fold_batch_norm(&graph).unwrap();
        let stone = AlignedBytes::copy(&quantized.stone);
        let model = *Model::new(&stone).unwrap().view();
        assert_eq!(crate::quant::lower_with_scales(&folded, &model).unwrap(), quantized.qgraph);
    }
    struct Nothing;
    impl crate::quant::Known for Nothing {
        fn tensor(&self, _: &str) -> Option<QuantParams> {
            None
        }
        fn prologue(&self, _: &str) -> Option<(Vec<skipstone_runtime::arith::Requant>, i8)> {
            None
        }
    }
    let error = crate::quant::lower_with_scales(&random_graph(1), &Nothing).unwrap_err().to_string();
    assert!(error.contains("another network"), "{error}");
}

#[test]
fn a_qdq_file_gives_its_integers_back() {
    for arch in ["resnet20", "resnet8"] {
        let (_, images, quantized) = quantized_zoo(arch, [3, 8, 8]);
        let graph = skipstone_onnx::import(&quantized.qdq).unwrap();
        // Nothing is measured: there are no images.
        let none = Dataset { pixels: Vec::new(), labels: Vec::new(), ..images };
        let again = quantize(&graph, &none, &Options::default()).unwrap().qgraph;
        let tensors = |qgraph: &QGraph| -> Vec<_> {
            qgraph.tensors.iter().map(|tensor| (tensor.dims, tensor.params.scale, tensor.params.zero_point)).collect()
        };
        let nodes = |qgraph: &QGraph| -> Vec<_> {
            let integers = |node: &QNode| (node.op.clone(), node.input, node.operand, node.output, node.lo, node.hi);
            qgraph.nodes.iter().map(integers).collect()
        };
        assert_eq!(tensors(&again), tensors(&quantized.qgraph), "{arch}");
        assert_eq!(nodes(&again), nodes(&quantized.qgraph), "{arch}");
        assert_eq!(again.pixels, quantized.qgraph.pixels, "{arch}");
    }
}

/// A model packed for any core, in steps of one row or more: weights laid out anew are valid, and the scores are the same.
#[test]
fn weights_are_laid_out_again_for_this_host() {
    for seed in 0..6 {
        let graph = random_graph(seed);
        let images = random_images(&graph, 3, seed);
        let quantized = quantize(&graph, &images, &Options::default()).unwrap();
        for target in Core::ALL {
            for goal in [Goal::Ram, Goal::Speed] {
                let stone = AlignedBytes::copy(&pack_for(&quantized.qgraph, target, goal).unwrap().bytes);
                let model = Model::new(&stone).unwrap();
                let scores = model.scores(1, |engine, _| engine.run(images.image(0)).map(drop)).unwrap();
                let expected = model.trace(images.image(0)).unwrap().scores;
                let expected: Vec<f32> = dequantized(&quantized, &expected).iter().map(|&real| real as f32).collect();
                assert_eq!(scores.data(), expected, "{target:?}");
                let relaid = super::relay::for_host(model.view());
                let is_own = if cfg!(target_arch = "x86_64") { target == Core::X86 } else { target == Core::Neon };
                assert!(!is_own || relaid.is_none(), "{target:?}");
                if let Some(relaid) = relaid {
                    let relaid = skipstone_runtime::Model::from_bytes(relaid.as_slice()).unwrap();
                    assert!(super::relay::for_host(&relaid).is_none(), "{target:?}");
                } else {
                    assert_ne!(target, Core::CortexM4);
                }
            }
        }
    }
}
