//! Exported networks mean to tract what they mean to us.

use crate::naive;
use proptest::prelude::*;
use skipstone::autograd::infer;
use skipstone::tensor::Tensor as Batch;
use skipstone::verify;
use skipstone_onnx::{Conv, Graph, GraphBuilder, Node, Op, Pad, Slice, Tensor, ValueId, export, import};

/// A residual block with an option A shortcut, a grouped convolution and a linear layer.
#[derive(Clone, Debug)]
struct Shape {
    image: [usize; 3],
    kernel: [usize; 2],
    stride: [usize; 2],
    /// Part of the padding that stands before the image, in 0..=2 of 2.
    before: [usize; 2],
    added_channels: [usize; 2],
    groups: usize,
    bias: bool,
}

fn shapes() -> impl Strategy<Value = Shape> {
    let image = [1..4usize, 3..9, 3..9].prop_map(|[c, h, w]| [c * 2, h, w]);
    let stride = [1..3usize, 1..3];
    let image_and_stride = (image, stride, [0..3usize, 0..3]);
    (image_and_stride, [0..3usize, 0..3], [0..3usize, 0..3], 1..3usize, any::<bool>()).prop_map(
        |((image, stride, extra), before, [front, back], groups, bias)| Shape {
            image,
            kernel: [stride[0] + extra[0], stride[1] + extra[1]],
            stride,
            before,
            added_channels: [front * 2, back * 2],
            groups,
            bias,
        },
    )
}

/// Numbers in -1..1 that follow from a seed.
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 40) as f32) / (1u64 << 23) as f32 - 1.0
    }

    pub(crate) fn take(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.next()).collect()
    }
}

pub(crate) fn parameter(b: &mut GraphBuilder, numbers: &mut Numbers, name: &str, dims: &[usize]) -> ValueId {
    let mut data = numbers.take(dims.iter().product());
    if name.ends_with("variance") {
        data.iter_mut().for_each(|x| *x = x.abs() + 0.1);
    }
    let trainable = !(name.ends_with("variance") || name.ends_with("mean"));
    b.parameter(name, Tensor::new(dims, data).unwrap(), trainable).unwrap()
}

fn network(shape: &Shape, numbers: &mut Numbers) -> Graph {
    let [channels, height, width] = shape.image;
    let [front, back] = shape.added_channels;
    let outputs = front + channels + back;
    let mut b = GraphBuilder::new("block", "image", shape.image).unwrap();
    let image = b.input();
    let pads = |axis: usize, size: usize| {
        let (kernel, stride) = (shape.kernel[axis], shape.stride[axis]);
        let total = (size.div_ceil(stride) - 1) * stride + kernel - size;
        let before = total * shape.before[axis] / 2;
        (before, total - before)
    };
    let ((top, bottom), (left, right)) = (pads(0, height), pads(1, width));
    let conv = Conv { kernel: shape.kernel, stride: shape.stride, pads: [top, left, bottom, right], groups: 1 };
    let weight = parameter(&mut b, numbers, "conv1.weight", &[outputs, channels, shape.kernel[0], shape.kernel[1]]);
    let x = b.push("conv1", Op::Conv(conv), &[image, weight]).unwrap();
    let mut norm = vec![x];
    for role in ["weight", "bias", "mean", "variance"] {
        norm.push(parameter(&mut b, numbers, &format!("bn1.{role}"), &[outputs]));
    }
    let x = b.push("bn1", Op::BatchNorm { epsilon: 1e-5 }, &norm).unwrap();
    let slice = Slice { start: [0; 3], end: shape.image, step: [1, shape.stride[0], shape.stride[1]] };
    let short = b.push("short.slice", Op::Slice(slice), &[image]).unwrap();
    let pad = Pad { before: [front, 0, 0], after: [back, 0, 0] };
    let short = b.push("short.pad", Op::Pad(pad), &[short]).unwrap();
    let x = b.push("add", Op::Add, &[x, short]).unwrap();
    let x = b.push("relu", Op::Relu, &[x]).unwrap();
    let conv = Conv { groups: shape.groups, ..Conv::square(1, 1, 0) };
    let weight = parameter(&mut b, numbers, "conv2.weight", &[6, outputs / shape.groups, 1, 1]);
    let mut inputs = vec![x, weight];
    if shape.bias {
        inputs.push(parameter(&mut b, numbers, "conv2.bias", &[6]));
    }
    let x = b.push("conv2", Op::Conv(conv), &inputs).unwrap();
    let x = b.push("pool", Op::GlobalAveragePool, &[x]).unwrap();
    let x = b.push("flatten", Op::Flatten, &[x]).unwrap();
    let mut inputs = vec![x, parameter(&mut b, numbers, "fc.weight", &[3, 6])];
    if shape.bias {
        inputs.push(parameter(&mut b, numbers, "fc.bias", &[3]));
    }
    let scores = b.push("fc", Op::Gemm, &inputs).unwrap();
    b.finish(scores).unwrap()
}

/// `[N, C, H, W]` to `[N, H, W, C]`.
pub(crate) fn channels_last(images: &[Vec<f32>], [c, h, w]: [usize; 3]) -> Batch {
    let data = images.iter().flat_map(|image| (0..h * w * c).map(move |i| image[i % c * h * w + i / c])).collect();
    Batch::new([images.len(), h, w, c], data)
}

/// Checks that a file reads back as the graph that it was, or, where a node of that does nothing, a pool takes the
/// whole map or each group is one channel, as one that stays what it is.
pub(crate) fn assert_reads_back(bytes: &[u8], graph: &Graph) {
    let read = import::import(bytes).unwrap();
    let simpler = |node: &Node| {
        let dims = |id: ValueId| &graph.value(id).dims;
        let same = dims(node.inputs[0]) == dims(node.output);
        match &node.op {
            Op::Slice(_) | Op::Pad(_) | Op::Resize(_) => same,
            Op::GroupNorm { groups, .. } => *groups == dims(node.inputs[0])[0],
            Op::AveragePool { window, .. } => window.kernel == dims(node.inputs[0])[1..] && window.pads == [0; 4],
            _ => false,
        }
    };
    if graph.nodes().iter().any(simpler) {
        assert_eq!(import::import(&export::export(&read, export::Batch::Any)).unwrap(), read);
    } else {
        assert_eq!(&read, graph);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn tract_computes_the_same_scores(shape in shapes(), seed: u64, any_batch: bool) {
        let mut numbers = Numbers(seed);
        let graph = network(&shape, &mut numbers);
        let images: Vec<Vec<f32>> = (0..3).map(|_| numbers.take(shape.image.iter().product())).collect();
        let scores: Vec<f32> =
            images.iter().flat_map(|image| naive::scores(&graph, image)).map(|score| score as f32).collect();
        let spread = scores.iter().fold(f32::MIN, |a, &b| a.max(b)) - scores.iter().fold(f32::MAX, |a, &b| a.min(b));
        let images = channels_last(&images, shape.image);

        let batch = if any_batch { export::Batch::Any } else { export::Batch::One };
        let bytes = export::export(&graph, batch);
        assert_reads_back(&bytes, &graph);
        for agreement in [
            verify::float(&bytes, &images, &Batch::new([3, 3], scores)).unwrap(),
            verify::float(&bytes, &images, &infer(&graph, &images)).unwrap(),
        ] {
            prop_assert!(
                agreement.float_max_abs_diff <= 1e-4 * spread.max(1e-2),
                "{:?}, scores spread over {}", agreement, spread
            );
        }
    }
}

#[test]
fn a_wrong_score_is_seen() {
    let shape = Shape {
        image: [2, 5, 4],
        kernel: [3, 3],
        stride: [2, 1],
        before: [1, 1],
        added_channels: [2, 0],
        groups: 2,
        bias: true,
    };
    let mut numbers = Numbers(1);
    let graph = network(&shape, &mut numbers);
    let images = vec![numbers.take(40), numbers.take(40)];
    let bytes = export::export(&graph, export::Batch::One);
    let batch = channels_last(&images, shape.image);
    let mut scores = verify::float_scores(&bytes, &batch).unwrap();
    assert_eq!(verify::float(&bytes, &batch, &scores).unwrap().float_max_abs_diff, 0.0);
    scores.data_mut()[3..6].copy_from_slice(&[100.0, 0.0, 0.0]);
    let first = verify::float(&bytes, &batch, &scores).unwrap();
    scores.data_mut()[3..6].copy_from_slice(&[0.0, 100.0, 0.0]);
    let second = verify::float(&bytes, &batch, &scores).unwrap();
    assert!(first.float_max_abs_diff > 50.0 && second.float_max_abs_diff > 50.0);
    let mut agreements = [first.float_top1_agreement, second.float_top1_agreement];
    agreements.sort_by(f64::total_cmp);
    assert!(agreements == [0.5, 1.0] || agreements == [0.5, 0.5], "{agreements:?}");

    scores.data_mut()[0] = f32::NAN;
    assert!(verify::float(&bytes, &batch, &scores).unwrap_err().to_string().contains("NaN"));
    let cut = verify::float_scores(&bytes[..bytes.len() / 2], &batch).unwrap_err().to_string();
    assert!(cut.contains("not an ONNX model"), "{cut}");
    let small = Batch::new([1, 2, 2, 7], vec![0.0; 28]);
    let wrong = verify::float_scores(&bytes, &small).unwrap_err().to_string();
    assert!(wrong.starts_with("tract cannot run the ONNX file") && !wrong.contains('\n'), "{wrong}");
}
