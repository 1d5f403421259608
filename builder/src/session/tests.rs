use super::*;
use crate::quant::fixtures::{Net, random_graph, random_images};
use crate::zoo;
use crate::zoo::blocks::MaskActivation;
use proptest::prelude::*;
use skipstone_onnx::{Conv, Coordinates, Op, Resize, Window};

fn noise(dims: [usize; 3], count: usize) -> Tensor {
    let [channels, height, width] = dims;
    let data = (0..count * height * width * channels).map(|i| ((i * 37 % 101) as f32 - 50.0) / 30.0).collect();
    Tensor::new([count, height, width, channels], data)
}

/// Compares with autograd, to which fusion is unknown.
fn agrees(name: &str, graph: &Graph, images: &Tensor) {
    let (expected, found) = (autograd::infer(graph, images), Session::new(graph).run(images));
    assert_eq!(found.dims(), expected.dims(), "{name}");
    let peak = expected.data().iter().fold(1e-3f32, |peak, score| peak.max(score.abs()));
    for (found, expected) in found.data().iter().zip(expected.data()) {
        assert!((found - expected).abs() <= 2e-5 * peak, "{name}: {found}, autograd computes {expected}");
    }
}

#[test]
fn every_family_computes_what_autograd_does() {
    for (name, dims) in [
        ("resnet8", [3, 32, 32]),
        ("resnet20", [3, 17, 19]),
        ("resnet50-d", [3, 33, 33]),
        ("resnet20-b", [3, 16, 16]),
        ("preresnet164", [3, 8, 8]),
        ("keras-resnet18", [3, 32, 32]),
        ("resnext20-8x2d", [3, 16, 16]),
        ("densenet40-k12", [3, 9, 9]),
        ("densenet-bc22-k8", [3, 16, 16]),
        ("attention-mini", [3, 21, 18]),
    ] {
        let options = zoo::Options { input: Some(dims), ..zoo::Options::default() };
        let graph = zoo::with_nontrivial_statistics(zoo::build(name, &options).unwrap(), 3);
        agrees(name, &graph, &noise(dims, 3));
    }
}

#[test]
fn masks_of_every_kind_compute_what_autograd_does() {
    for mask_activation in [MaskActivation::Channel, MaskActivation::Spatial] {
        let options = zoo::Options { input: Some([3, 16, 16]), mask_activation, ..zoo::Options::default() };
        let graph = zoo::with_nontrivial_statistics(zoo::build("attention-mini", &options).unwrap(), 3);
        agrees("attention-mini", &graph, &noise([3, 16, 16], 2));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn random_networks_compute_what_autograd_does(seed in any::<u64>()) {
        let graph = random_graph(seed);
        let images = random_images(&graph, 2, seed).batch_for(&graph, &[0, 1]);
        agrees("random", &graph, &images);
    }

    #[test]
    fn convolutions_of_all_shapes_compute_what_autograd_does(
        (groups, inputs, outputs) in (1..5usize, 1..20usize, 1..20usize),
        kernel in [1..4usize, 1..6],
        stride in [1..4usize, 1..3],
        pads in [0..3usize, 0..3, 0..3, 0..3],
        size in [6..12usize, 6..12],
        (bias, norm, relu) in any::<(bool, bool, bool)>(),
    ) {
        let mut net = Net::new(1, [groups * inputs, size[0], size[1]]);
        let mut x = net.conv(net.input(), groups * outputs, Conv { kernel, stride, pads, groups }, bias);
        if norm {
            x = net.norm(x);
        }
        if relu {
            x = net.push(Op::Clip { min: -0.5, max: 0.75 }, &[x]);
        }
        let graph = net.head(x, 3);
        agrees("conv", &graph, &noise([groups * inputs, size[0], size[1]], 2));
    }

    /// As many outputs as inputs, in groups of few channels: computed lane by lane.
    #[test]
    fn convolutions_of_few_channels_compute_what_autograd_does(
        (of_group, groups) in prop_oneof![
            Just((1, 16)), Just((1, 48)), Just((2, 8)), Just((4, 8)), Just((8, 2)), Just((2, 1)), Just((4, 1)),
            Just((8, 1)), Just((2, 2)), Just((1, 8)), Just((4, 2)),
        ],
        kernel in [1..4usize, 1..6],
        stride in [1..4usize, 1..4],
        pads in [0..3usize, 0..3, 0..3, 0..3],
        size in [6..12usize, 6..12],
        (residual, relu) in any::<(bool, bool)>(),
    ) {
        let channels = of_group * groups;
        let mut net = Net::new(4, [channels, size[0], size[1]]);
        let conv = Conv { kernel, stride, pads, groups };
        let other = net.conv(net.input(), channels, conv.clone(), true);
        let mut x = net.conv(net.input(), channels, conv, true);
        if residual {
            x = net.push(Op::Add, &[other, x]);
        }
        if relu {
            x = net.push(Op::Relu, &[x]);
        }
        let graph = net.head(x, 3);
        agrees("lanes", &graph, &noise([channels, size[0], size[1]], 2));
    }

    /// A batch norm and a clamp before a convolution of single pixels: one step.
    #[test]
    fn entries_of_convolutions_compute_what_autograd_does(
        (inputs, outputs) in prop_oneof![(1..70usize, 1..70usize), (2040..2060usize, 1..4usize)],
        stride in [1..3usize, 1..3],
        size in [1..20usize, 1..20],
        (relu, residual, framed) in any::<(bool, bool, bool)>(),
    ) {
        let mut net = Net::new(6, [inputs, size[0], size[1]]);
        let mut x = net.norm(net.input());
        if relu {
            x = net.push(Op::Relu, &[x]);
        }
        let conv = Conv { kernel: [1; 2], stride, pads: [0; 4], groups: 1 };
        let other = net.conv(net.input(), outputs, conv.clone(), true);
        x = net.conv(x, outputs, conv, false);
        if residual {
            x = net.push(Op::Add, &[other, x]);
        }
        if framed {
            x = net.conv(x, 2, Conv::square(3, 2, 1), true);
        }
        let graph = net.head(x, 3);
        agrees("entry", &graph, &noise([inputs, size[0], size[1]], 2));
    }

    #[test]
    fn pools_and_interpolations_compute_what_autograd_does(
        channels in 1..40usize,
        size in [3..12usize, 3..12],
        kernel in [1..4usize, 1..4],
        stride in [1..4usize, 1..4],
        ceil_mode: bool,
        out in [1..14usize, 1..14],
        aligned: bool,
    ) {
        let mut net = Net::new(7, [channels, size[0], size[1]]);
        let pads = [kernel[0] / 2, kernel[1] / 2, kernel[0] / 2, kernel[1] / 2];
        let pool = net.push(Op::MaxPool(Window { kernel, stride, pads, ceil_mode }), &[net.input()]);
        let coordinates = if aligned { Coordinates::AlignCorners } else { Coordinates::HalfPixel };
        let x = net.push(Op::Resize(Resize::new(out, coordinates)), &[pool]);
        let graph = net.head(x, 3);
        agrees("pool", &graph, &noise([channels, size[0], size[1]], 2));
    }

    /// A map times a sigmoid, and the map added.
    #[test]
    fn gates_compute_what_autograd_does(
        channels in 1..40usize,
        (product, sum, map_first) in any::<(bool, bool, bool)>(),
        scale in 0.1f32..300.0,
    ) {
        let mut net = Net::new(8, [channels, 3, 5]);
        let map = net.conv(net.input(), channels, Conv::square(1, 1, 0), true);
        let x = net.push(Op::Clip { min: -scale, max: scale }, &[net.input()]);
        let mut x = net.push(Op::Sigmoid, &[x]);
        if product {
            x = net.push(Op::Mul, &if map_first { [map, x] } else { [x, map] });
        }
        if product && sum {
            x = net.push(Op::Add, &[x, map]);
        }
        let graph = net.head(x, 3);
        agrees("gate", &graph, &noise([channels, 3, 5], 2));
    }

    /// Three by three, stride 1, one group: computed by minimal filtering.
    #[test]
    fn filtered_convolutions_compute_what_autograd_does(
        (inputs, outputs) in (8..40usize, 8..40usize),
        pads in [0..3usize, 0..3, 0..3, 0..3],
        size in [3..14usize, 3..14],
        (residual, relu) in any::<(bool, bool)>(),
    ) {
        let mut net = Net::new(2, [inputs, size[0], size[1]]);
        let conv = Conv { kernel: [3; 2], stride: [1; 2], pads, groups: 1 };
        let other = net.conv(net.input(), outputs, conv.clone(), true);
        let mut x = net.conv(net.input(), outputs, conv, true);
        if residual {
            x = net.push(Op::Add, &[other, x]);
        }
        if relu {
            x = net.push(Op::Relu, &[x]);
        }
        let graph = net.head(x, 3);
        agrees("filtered", &graph, &noise([inputs, size[0], size[1]], 2));
    }
}

#[test]
fn operators_that_nothing_fuses_stand_alone() {
    let mut net = Net::new(5, [3, 7, 6]);
    let image = net.input();
    let norm = net.norm(image);
    let doubled = net.push(Op::Add, &[norm, norm]);
    let dropped = net.push(Op::Dropout { rate: 0.5 }, &[doubled]);
    let conv = net.conv(dropped, 3, Conv::square(3, 1, 1), false);
    // Read twice: neither the sum nor the clamp may be part of the convolution.
    let relu = net.push(Op::Relu, &[conv]);
    let sum = net.push(Op::Add, &[conv, relu]);
    let later = net.conv(sum, 3, Conv::square(5, 1, 2), true);
    let branch = net.push(Op::StochasticDepth { rate: 0.5 }, &[later]);
    let sum = net.push(Op::Add, &[branch, dropped]);
    let gate = net.push(Op::GlobalMaxPool, &[sum]);
    let gate = net.push(Op::Sigmoid, &[gate]);
    let gated = net.push(Op::Mul, &[sum, gate]);
    let pool = net.push(Op::MaxPool(Window::square(3, 2, 1)), &[gated]);
    let all = net.push(Op::Concat, &[pool, pool]);
    let clip = net.push(Op::Clip { min: -1.0, max: f32::INFINITY }, &[all]);
    let graph = net.head(clip, 4);
    agrees("alone", &graph, &noise([3, 7, 6], 3));
}

#[test]
fn flattened_maps_are_in_the_order_of_onnx() {
    let mut b = skipstone_onnx::GraphBuilder::new("flat", "image", [2, 2, 3]).unwrap();
    let image = b.input();
    let flat = b.push("flat", Op::Flatten, &[image]).unwrap();
    let graph = b.finish(flat).unwrap();
    let images = noise([2, 2, 3], 2);
    assert_eq!(Session::new(&graph).run(&images), autograd::infer(&graph, &images));
}

#[test]
fn scores_depend_neither_on_threads_nor_on_other_images() {
    let options = zoo::Options { seed: 1, ..zoo::Options::default() };
    let graph = zoo::with_nontrivial_statistics(zoo::build("resnet8", &options).unwrap(), 1);
    let session = Session::new(&graph);
    let images = noise([3, 32, 32], 5);
    let scores = session.run(&images);
    for threads in [1, 3, 8] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            assert_eq!(session.run(&images), scores);
            let one = Tensor::new([1, 32, 32, 3], images.image(3).to_vec());
            assert_eq!(session.run(&one).data(), scores.image(3));
        });
    }
    assert_eq!(session.run(&Tensor::zeros([0, 32, 32, 3])).dims(), [0, 10]);
}

#[test]
fn images_one_by_one_may_run_side_by_side() {
    let graph = zoo::with_nontrivial_statistics(zoo::build("resnet8", &zoo::Options::default()).unwrap(), 1);
    let session = Session::new(&graph);
    let images = noise([3, 32, 32], 9);
    let scores = session.run(&images);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(4).build().unwrap();
    let one = |index: usize| session.run(&Tensor::new([1, 32, 32, 3], images.image(index).to_vec())).into_data();
    let found: Vec<Vec<f32>> = pool.install(|| (0..9).into_par_iter().map(one).collect());
    assert_eq!(found.concat(), scores.data());
}

#[test]
fn a_panic_leaves_no_thread_waiting() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    let work = || pool.install(|| with_threads_awake(|| panic!("on purpose")));
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).is_err());
}

#[test]
fn what_is_no_number_is_not_hidden() {
    let graph = zoo::build("resnet8", &zoo::Options::default()).unwrap();
    let mut images = noise([3, 32, 32], 1);
    images.data_mut()[40] = f32::NAN;
    assert!(Session::new(&graph).run(&images).data().iter().all(|score| score.is_nan()));
}
