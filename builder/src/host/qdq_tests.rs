//! The QDQ file means to tract what the engine computes.

use super::tests::{assert_engine_is_exact, quantized_zoo, quantized_zoo_by};
use super::{Trace, trace};
use crate::data::Dataset;
use crate::pack::{Options, Quantized, quantize};
use crate::quant::fixtures::{Net, random_graph, random_images, random_norms};
use crate::verify::{Int8Agreement, Layers, float_scores};
use crate::zoo::{self, blocks::MaskActivation};
use skipstone_onnx::proto::ModelProto;
use skipstone_onnx::{Border, BorderPad, Conv, Coordinates, Op, Resize, ResizeKernel};

pub(super) fn compare(quantized: &Quantized, images: &Dataset) -> Int8Agreement {
    let layers = Layers::new(&quantized.qgraph).unwrap();
    let mut check = layers.check(&quantized.qdq).unwrap();
    let traces: Vec<Trace> =
        (0..images.len()).map(|index| trace(&quantized.stone, images.image(index)).unwrap()).collect();
    let all: Vec<usize> = (0..images.len()).collect();
    let normalization = quantized.qgraph.metadata.normalization.as_ref().unwrap();
    layers.compare(&mut check, &images.batch(&all, normalization), &layers.values(&traces)).unwrap();
    check.finish()
}

/// What is promised: no element off by more than one step, at most one in 10,000 off at all, and only ties.
pub(super) fn assert_agrees(agreements: &[Int8Agreement]) {
    let layers = || agreements.iter().flat_map(|agreement| &agreement.layers);
    let elements: u64 = layers().map(|layer| layer.elements).sum();
    let different: u64 = layers().map(|layer| layer.different).sum();
    assert!(layers().all(|layer| layer.max_steps <= 1), "{agreements:?}");
    assert!(different <= elements / 10_000, "{different} of {elements}: {agreements:?}");
    assert!(layers().all(|layer| layer.unexplained == 0), "{agreements:?}");
    let farthest = layers().map(|layer| layer.tie_distance).fold(0.0, f64::max);
    println!("{different} of {elements} elements differ, at most {farthest:.1e} steps from a tie");
}

#[test]
fn random_networks_mean_the_same_to_tract() {
    let agreements: Vec<Int8Agreement> = (0..48)
        .map(|seed| {
            let graph = if seed < 24 { random_graph(seed) } else { random_norms(seed) };
            let images = random_images(&graph, 3, seed);
            compare(&quantize(&graph, &images, &Options::default()).unwrap(), &images)
        })
        .collect();
    assert_agrees(&agreements);
}

#[test]
fn networks_of_the_zoo_mean_the_same_to_tract() {
    for arch in ["resnet8", "resnet20"] {
        let (_, images, quantized) = quantized_zoo(arch, [3, 16, 16]);
        let agreement = compare(&quantized, &images);
        assert!(agreement.int8_end_to_end_fraction > 0.99, "{agreement:?}");
        assert_agrees(&[agreement]);
    }
}

#[test]
fn attention_under_every_mask_is_exact_and_means_the_same_to_tract() {
    for mask_activation in [MaskActivation::Mixed, MaskActivation::Channel, MaskActivation::Spatial] {
        let options = zoo::Options { mask_activation, ..zoo::Options::default() };
        let (_, images, quantized) = quantized_zoo_by("attention-mini", [3, 18, 19], options);
        assert_engine_is_exact(&quantized, images.image(0));
        assert_agrees(&[compare(&quantized, &images)]);
    }
}

#[test]
fn scores_leave_the_file_as_float() {
    let graph = random_graph(2);
    let images = random_images(&graph, 2, 2);
    let quantized = quantize(&graph, &images, &Options::default()).unwrap();
    let output = &quantized.qgraph.tensors[quantized.qgraph.output];
    let batch = images.batch_for(&graph, &[0, 1]);
    let scores = float_scores(&quantized.qdq, &batch).unwrap();
    assert_eq!(scores.dims(), [2, quantized.qgraph.class_count()]);
    for index in 0..2 {
        let ours = trace(&quantized.stone, images.image(index)).unwrap().scores;
        for (&q, &score) in ours.iter().zip(scores.image(index)) {
            let real = (f32::from(q) - f32::from(output.params.zero_point)) * output.params.scale;
            assert!((real - score).abs() <= output.params.scale * 1.01, "{real} {score}");
        }
    }
    let model = ModelProto::from_bytes(&quantized.qdq).unwrap();
    let file = model.graph.as_ref().unwrap();
    assert_eq!(file.input[0].name, "image");
    assert_eq!(file.output[0].name, output.name);
    assert_eq!(skipstone_onnx::Metadata::from_props(&model.metadata_props).unwrap(), graph.metadata);
}

/// Kernels and coordinates that every engine takes for the same, larger and smaller, and borders that wrap.
#[test]
fn interpolation_by_every_kernel_means_the_same_to_tract() {
    let cubic = |coefficient| ResizeKernel::Cubic { coefficient };
    let kernels = [cubic(-0.75), cubic(-0.5), cubic(2.5), ResizeKernel::Linear];
    let mut agreements = Vec::new();
    for (seed, kernel) in (0..).zip(kernels) {
        for coordinates in [Coordinates::HalfPixel, Coordinates::AlignCorners, Coordinates::Asymmetric] {
            for antialias in [false, true] {
                let mut net = Net::new(seed, [3, 12, 10]);
                let x = net.conv(net.input(), 6, Conv::square(3, 1, 1), true);
                let exclude_outside = kernel != ResizeKernel::Linear && antialias;
                let resize = |size| Resize { kernel, antialias, exclude_outside, ..Resize::new(size, coordinates) };
                let smaller = net.push(Op::Resize(resize([5, 4])), &[x]);
                let larger = net.push(Op::Resize(resize([13, 20])), &[smaller]);
                let border = BorderPad { pads: [1, 2, 0, 1], border: Border::Wrap };
                let wrapped = net.push(Op::BorderPad(border), &[larger]);
                let graph = net.head(wrapped, 4);
                let images = random_images(&graph, 3, seed);
                agreements.push(compare(&quantize(&graph, &images, &Options::default()).unwrap(), &images));
            }
        }
    }
    assert_agrees(&agreements);
}
