//! Whole networks of the zoo, untrained: quantized on smooth patterns, compared layer by layer.

use skipstone::autograd::infer;
use skipstone::data::Dataset;
use skipstone::host;
use skipstone::pack::{Options, Quantized, quantize};
use skipstone::tensor::Tensor;
use skipstone::verify::{self, Int8Agreement, Layers};
use skipstone::zoo;
use skipstone_onnx::export::{Batch, export};
use skipstone_onnx::{Graph, Normalization};

/// Smooth patterns, so that layers see more than an average grey.
pub(crate) fn images(count: usize, dims: [usize; 3]) -> Dataset {
    let [channels, height, width] = dims;
    let mut pixels = Vec::new();
    for image in 0..count {
        for index in 0..height * width * channels {
            let (channel, x, y) = (index % channels, index / channels % width, index / channels / width);
            let phase = (image * (channel + 2)) as f32 * 0.7;
            let wave = ((x * (image % 5 + 1)) as f32 * 0.4 + phase).sin() * ((y * (image % 3 + 1)) as f32 * 0.3).cos();
            let grain = (index * 2_654_435_761usize.wrapping_mul(image + 1)) >> 7 & 31;
            pixels.push((112.0 + 95.0 * wave) as u8 + grain as u8);
        }
    }
    Dataset { dims, pixels, labels: vec![0; count], class_names: (0..10).map(|i| i.to_string()).collect() }
}

fn network(name: &str, dims: [usize; 3]) -> (Graph, Normalization) {
    let options = zoo::Options { input: Some(dims), seed: 7, ..zoo::Options::default() };
    let mut graph = zoo::with_nontrivial_statistics(zoo::build(name, &options).unwrap(), 11);
    let normalization = Normalization { mean: vec![0.48; dims[0]], std: vec![0.25; dims[0]] };
    graph.metadata.normalization = Some(normalization.clone());
    (graph, normalization)
}

/// The engine's execution of all images against tract's of the QDQ file.
fn compare(quantized: &Quantized, set: &Dataset, batch: &Tensor) -> Int8Agreement {
    let layers = Layers::new(&quantized.qgraph).unwrap();
    let mut check = layers.check(&quantized.qdq).unwrap();
    let traces: Vec<_> = (0..set.len()).map(|index| host::trace(&quantized.stone, set.image(index)).unwrap()).collect();
    layers.compare(&mut check, batch, &layers.values(&traces)).unwrap();
    check.finish()
}

#[test]
fn every_family_agrees_in_float() {
    for (name, dims) in [
        ("resnet50-d", [3, 33, 33]),
        ("resnet20-b", [3, 16, 16]),
        ("preresnet164", [3, 8, 8]),
        ("keras-resnet18", [3, 32, 32]),
        ("resnext20-8x2d", [3, 16, 16]),
        ("densenet40-k12", [3, 9, 9]),
        ("densenet-bc22-k8", [3, 16, 16]),
        ("attention-mini", [3, 21, 18]),
    ] {
        let (graph, normalization) = network(name, dims);
        let set = images(4, dims);
        let batch = set.batch(&[0, 1, 2, 3], &normalization);
        let scores = infer(&graph, &batch);
        let float = verify::float(&export(&graph, Batch::Any), &batch, &scores).unwrap();
        // The statistics are random and not those of the data: scores grow with depth, and their rounding with them.
        let scale = scores.data().iter().fold(1f32, |peak, score| peak.max(score.abs()));
        assert!(float.float_max_abs_diff <= 1e-4 * scale, "{name}: {float:?}, scores to {scale}");
        assert_eq!(float.float_top1_agreement, 1.0, "{name}");
    }
}

#[test]
fn residual_networks_agree_in_float_and_int8() {
    for (name, dims) in [("resnet8", [3, 32, 32]), ("resnet20", [3, 16, 16]), ("plain20", [3, 16, 16])] {
        let (graph, normalization) = network(name, dims);
        let set = images(16, dims);
        let batch = set.batch(&(0..set.len()).collect::<Vec<usize>>(), &normalization);
        let float = verify::float(&export(&graph, Batch::Any), &batch, &infer(&graph, &batch)).unwrap();
        assert!(float.float_max_abs_diff <= 1e-4, "{name}: {float:?}");
        assert_eq!(float.float_top1_agreement, 1.0, "{name}");

        let int8 = compare(&quantize(&graph, &set, &Options::default()).unwrap(), &set, &batch);
        assert_eq!(int8.count, 16, "{name}");
        assert!(int8.int8_exact_fraction >= 0.9999, "{name}: {int8:?}");
        assert!(int8.int8_max_steps <= 1 && int8.int8_unexplained == 0, "{name}: {int8:?}");
        // Single steps feed on each other from layer to layer, most in a deep plain network: end to end the labels
        // count.
        assert_eq!(int8.int8_top1_agreement, 1.0, "{name}: {int8:?}");
    }
}

#[test]
fn every_family_agrees_in_int8_layer_by_layer() {
    for (name, dims) in [
        ("preresnet164", [3, 8, 8]),
        ("resnext20-8x2d", [3, 16, 16]),
        ("densenet40-k12", [3, 8, 8]),
        ("densenet-bc22-k8", [3, 16, 16]),
        ("densenet-bc100-k12", [3, 8, 8]),
        ("attention-mini", [3, 21, 18]),
    ] {
        let (graph, normalization) = network(name, dims);
        let set = images(8, dims);
        let batch = set.batch(&(0..set.len()).collect::<Vec<usize>>(), &normalization);
        let int8 = compare(&quantize(&graph, &set, &Options::default()).unwrap(), &set, &batch);
        let elements: u64 = int8.layers.iter().map(|layer| layer.elements).sum();
        println!(
            "{name}: {:.6} of {elements} elements of {} layers are equal, others at most {:.1e} steps from a tie, {:.4} \
             end to end, the same label of {:.2}",
            int8.int8_exact_fraction,
            int8.layers.len(),
            int8.int8_tie_distance,
            int8.int8_end_to_end_fraction,
            int8.int8_top1_agreement
        );
        let worst = int8.layers.iter().max_by_key(|layer| layer.different);
        assert!(int8.int8_exact_fraction >= 0.9999, "{name}: {worst:?}");
        assert!(int8.int8_max_steps <= 1, "{name}: {:?}", int8.layers.iter().find(|layer| layer.max_steps > 1));
        let unexplained = int8.layers.iter().find(|layer| layer.unexplained > 0);
        assert!(unexplained.is_none(), "{name}: {unexplained:?}");
    }
}
