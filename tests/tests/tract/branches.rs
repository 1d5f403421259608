//! Pools, concatenations, masks and interpolation mean to tract and to our own execution what the definitions say.

use crate::float::{Numbers, assert_reads_back, channels_last, parameter};
use crate::naive;
use proptest::prelude::*;
use skipstone::autograd;
use skipstone::tensor::Tensor as Batch;
use skipstone::verify;
use skipstone_onnx::{
    Border, BorderPad, Coordinates, Graph, GraphBuilder, Op, Resize, ResizeKernel, Unary, ValueId, Window, export,
};

#[derive(Clone, Debug)]
struct Shape {
    image: [usize; 3],
    window: Window,
    count_include_pad: bool,
    resize: Resize,
}

fn shapes() -> impl Strategy<Value = Shape> {
    let window = ([1..4usize, 1..4], [1..4usize, 1..4], [0..3usize, 0..3, 0..3, 0..3], any::<bool>()).prop_map(
        |(kernel, stride, pads, ceil_mode)| {
            let pads = [0, 1, 2, 3].map(|side| pads[side] % kernel[side % 2]);
            Window { kernel, stride, pads, ceil_mode }
        },
    );
    let coordinates =
        prop_oneof![Just(Coordinates::AlignCorners), Just(Coordinates::HalfPixel), Just(Coordinates::Asymmetric),];
    let kernel = prop_oneof![
        Just(ResizeKernel::Linear),
        (-1.0..0.0f32).prop_map(|coefficient| ResizeKernel::Cubic { coefficient })
    ];
    let resize = ([1..12usize, 1..12], coordinates, kernel, any::<bool>(), any::<bool>()).prop_map(
        |(size, coordinates, kernel, antialias, exclude_outside)| {
            let exclude_outside = exclude_outside && (antialias || kernel != ResizeKernel::Linear);
            Resize { kernel, antialias, exclude_outside, ..Resize::new(size, coordinates) }
        },
    );
    (([1..4usize, 3..9, 3..9]), window, any::<bool>(), resize)
        .prop_map(|(image, window, count_include_pad, resize)| Shape { image, window, count_include_pad, resize })
}

/// Both pools of the image side by side, under a mask of another size, each channel under a gate; then the shares of
/// the features and a linear layer.
fn network(shape: &Shape, numbers: &mut Numbers) -> Graph {
    let mut b = GraphBuilder::new("branches", "image", shape.image).unwrap();
    let image = b.input();
    let mut push = |name: &str, op: Op, inputs: &[ValueId]| b.push(name, op, inputs).unwrap();
    let resize = |size| Op::Resize(Resize { size, ..shape.resize.clone() });
    let (window, count_include_pad) = (shape.window.clone(), shape.count_include_pad);
    let max = push("max", Op::MaxPool(window.clone()), &[image]);
    let mean = push("mean", Op::AveragePool { window, count_include_pad }, &[image]);
    let small = push("small", Op::Clip { min: -0.25, max: 0.5 }, &[mean]);
    let joined = push("joined", Op::Concat, &[max, small, mean]);
    let joined = push("dropped", Op::Dropout { rate: 0.5 }, &[joined]);
    let trunk = push("trunk", resize(shape.resize.size), &[joined]);
    let standard = push("standard", Op::InstanceNorm { epsilon: 0.01 }, &[trunk]);
    let mask = push("mask", Op::Sigmoid, &[standard]);
    let unit = push("unit", Op::L2Norm, &[mask]);
    let masked = push("masked", Op::Mul, &[unit, trunk]);
    let branch = push("branch", Op::StochasticDepth { rate: 0.5 }, &[masked]);
    let sum = push("sum", Op::Add, &[branch, trunk]);
    let gate = push("gate", Op::GlobalMaxPool, &[sum]);
    let gated = push("gated", Op::Mul, &[gate, sum]);
    let last = push("last", resize([2, 3]), &[gated]);
    let grouped = push("grouped", Op::GroupNorm { groups: 3, epsilon: 0.01 }, &[last]);
    let border = |pads, border| Op::BorderPad(BorderPad { pads, border });
    let last = push("reflected", border([1, 0, 1, 2], Border::Reflect), &[grouped]);
    let last = push("wrapped", border([1, 2, 2, 0], Border::Wrap), &[last]);
    let last = push("edged", border([0, 2, 1, 1], Border::Edge), &[last]);
    let positive = push("positive", Op::Clip { min: 0.0, max: f32::INFINITY }, &[last]);
    let flat = push("flat", Op::Flatten, &[positive]);
    let leaky = push("leaky", Op::Unary(Unary::LeakyRelu { alpha: 0.1 }), &[flat]);
    let elu = push("elu", Op::Unary(Unary::Elu { alpha: 0.75 }), &[leaky]);
    let gelu = push("gelu", Op::Unary(Unary::Gelu), &[elu]);
    let erf = push("erf", Op::Unary(Unary::Erf), &[gelu]);
    let softplus = push("softplus", Op::Unary(Unary::Softplus), &[erf]);
    let mish = push("mish", Op::Unary(Unary::Mish), &[softplus]);
    let nearly = push("nearly", Op::Unary(Unary::GeluTanh), &[mish]);
    let softsign = push("softsign", Op::Unary(Unary::Softsign), &[nearly]);
    let exp = push("exp", Op::Unary(Unary::Exp), &[softsign]);
    let power = push("power", Op::Unary(Unary::Power { exponent: -1.5 }), &[exp]);
    let root = push("root", Op::Unary(Unary::Power { exponent: 0.5 }), &[power]);
    let softsign = push("log", Op::Unary(Unary::Log), &[root]);
    let flat = push("above", Op::Unary(Unary::ThresholdedRelu { alpha: -0.5 }), &[softsign]);
    let shares = push("shares", Op::Softmax, &[flat]);
    let all = push("all", Op::Concat, &[shares, flat]);
    let features = b.dims(all)[0];
    let weight = parameter(&mut b, numbers, "fc.weight", &[3, features]);
    let scores = b.push("fc", Op::Gemm, &[all, weight]).unwrap();
    b.finish(scores).unwrap()
}

fn spread(scores: &[f32]) -> f32 {
    scores.iter().fold(f32::MIN, |a, &b| a.max(b)) - scores.iter().fold(f32::MAX, |a, &b| a.min(b))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn tract_and_we_compute_what_the_definitions_say(shape in shapes(), seed: u64, any_batch: bool) {
        let mut numbers = Numbers(seed);
        let graph = network(&shape, &mut numbers);
        let images: Vec<Vec<f32>> = (0..3).map(|_| numbers.take(shape.image.iter().product())).collect();
        let scores: Vec<f32> =
            images.iter().flat_map(|image| naive::scores(&graph, image)).map(|score| score as f32).collect();
        let tolerance = 1e-4 * spread(&scores).max(1e-2);
        let batch = channels_last(&images, shape.image);
        let ours = autograd::infer(&graph, &batch);
        for (ours, expected) in ours.data().iter().zip(&scores) {
            prop_assert!((ours - expected).abs() <= tolerance, "we: {ours}, defined: {expected}");
        }
        let export_batch = if any_batch { export::Batch::Any } else { export::Batch::One };
        let bytes = export::export(&graph, export_batch);
        assert_reads_back(&bytes, &graph);
        let agreement = verify::float(&bytes, &batch, &Batch::new([3, 3], scores)).unwrap();
        prop_assert!(agreement.float_max_abs_diff <= tolerance, "{:?}, tolerance {}", agreement, tolerance);
    }
}

#[test]
fn tract_and_we_agree_on_attention_under_every_mask() {
    use skipstone::zoo::{self, Options, blocks::MaskActivation};
    let image = [3, 21, 18];
    let mut numbers = Numbers(5);
    let images: Vec<Vec<f32>> = (0..4).map(|_| numbers.take(image.iter().product())).collect();
    let batch = channels_last(&images, image);
    for mask_activation in [MaskActivation::Mixed, MaskActivation::Channel, MaskActivation::Spatial] {
        let options = Options { input: Some(image), seed: 7, mask_activation, ..Options::default() };
        let graph = zoo::with_nontrivial_statistics(zoo::build("attention-mini", &options).unwrap(), 11);
        let bytes = export::export(&graph, export::Batch::Any);
        assert_reads_back(&bytes, &graph);
        let scores = autograd::infer(&graph, &batch);
        let scale = scores.data().iter().fold(1f32, |peak, score| peak.max(score.abs()));
        let agreement = verify::float(&bytes, &batch, &scores).unwrap();
        assert!(agreement.float_max_abs_diff <= 1e-4 * scale, "{mask_activation:?}: {agreement:?}, scores to {scale}");
        assert_eq!(agreement.float_top1_agreement, 1.0, "{mask_activation:?}");
    }
}
