use super::*;
use crate::quant::fixtures::Net;
use skipstone_onnx::Conv;

/// Name, operator, name of the second operand, clamp.
fn steps(graph: &Graph) -> Vec<(String, StepOp, Option<String>, Clamp)> {
    let name = |id: ValueId| graph.value(id).name.clone();
    let fused = fuse(graph).unwrap();
    fused.steps.iter().map(|s| (s.node.name.clone(), s.op.clone(), s.operand.map(name), s.clamp)).collect()
}

fn ops(graph: &Graph) -> Vec<StepOp> {
    steps(graph).into_iter().map(|step| step.1).collect()
}

const RELU: Clamp = Clamp { lo: 0.0, hi: f32::INFINITY };

fn half(dims: [usize; 3]) -> Op {
    Op::Slice(Slice { start: [0; 3], end: dims, step: [1, 2, 2] })
}

#[test]
fn the_last_convolution_takes_the_sum_over_and_runs_where_it_stood() {
    let mut net = Net::new(1, [4, 6, 6]);
    let image = net.input();
    let x = net.conv(image, 4, Conv::square(3, 1, 1), true);
    let x = net.relu(x);
    let main = net.conv(x, 8, Conv::square(3, 2, 1), true);
    // The shortcut stands after the convolution that needs it.
    let slice = net.push(half([4, 6, 6]), &[x]);
    let pad = net.push(Op::Pad(Pad { before: [4, 0, 0], after: [0; 3] }), &[slice]);
    let sum = net.push(Op::Add, &[main, pad]);
    let out = net.relu(sum);
    let graph = net.head(out, 2);
    let steps = steps(&graph);
    let (conv, shortcut) = (&graph.nodes()[2].name, &graph.nodes()[4]);
    assert_eq!(steps[1].1, StepOp::Copy(QCopy { step: [1, 2, 2], before: [4, 0, 0], ..QCopy::WHOLE }));
    assert_eq!(steps[1].0, shortcut.name);
    let operand = Some(graph.value(shortcut.output).name.clone());
    assert_eq!(steps[2], (conv.clone(), StepOp::Conv, operand, RELU));
}

#[test]
fn a_sum_of_two_convolutions_joins_the_later_one() {
    let mut net = Net::new(1, [4, 6, 6]);
    let image = net.input();
    let a = net.conv(image, 4, Conv::square(1, 1, 0), true);
    let b = net.conv(image, 4, Conv::square(1, 1, 0), true);
    let sum = net.push(Op::Add, &[a, b]);
    let graph = net.head(sum, 2);
    let steps = steps(&graph);
    assert_eq!((&steps[1].0, &steps[1].2), (&graph.nodes()[1].name, &Some(graph.value(a).name.clone())));
    assert_eq!(steps[1].3, Clamp::NONE);
}

/// A branch of one convolution is ready long before the other; it waits as the operand, not as rows of what it reads.
#[test]
fn a_sum_joins_the_longer_branch() {
    let mut net = Net::new(1, [4, 6, 6]);
    let image = net.input();
    let a = net.conv(image, 4, Conv::square(3, 1, 1), true);
    let b = net.conv(a, 4, Conv::square(3, 1, 1), true);
    let shortcut = net.conv(image, 4, Conv::square(1, 1, 0), true);
    let sum = net.push(Op::Add, &[b, shortcut]);
    let graph = net.head(sum, 2);
    let steps = steps(&graph);
    let names: Vec<&str> = [0, 2, 1].iter().map(|&node| graph.nodes()[node].name.as_str()).collect();
    assert_eq!(steps[..3].iter().map(|step| step.0.as_str()).collect::<Vec<_>>(), names);
    assert_eq!(steps[2].2, Some(graph.value(shortcut).name.clone()));
}

#[test]
fn a_sum_that_no_convolution_can_take_over_stays() {
    let mut net = Net::new(1, [4, 6, 6]);
    let image = net.input();
    let a = net.conv(image, 4, Conv::square(1, 1, 0), true);
    // Read twice: by the sum and by what comes after it.
    let b = net.conv(a, 4, Conv::square(1, 1, 0), true);
    let b = net.relu(b);
    let first = net.push(Op::Add, &[a, b]);
    let first = net.relu(first);
    let second = net.push(Op::Add, &[first, a]);
    let graph = net.head(second, 2);
    let sums: Vec<_> = steps(&graph).into_iter().filter(|step| step.1 == StepOp::Add).collect();
    assert_eq!(sums.len(), 2);
    assert_eq!((sums[0].3, sums[1].3), (RELU, Clamp::NONE));
}

#[test]
fn a_clamp_that_cannot_join_is_a_table() {
    let lookup = |lo: f32, hi: f32| StepOp::Lookup(Function::Clip { lo, hi });
    // Of the image.
    let mut net = Net::new(1, [4, 6, 6]);
    let x = net.relu(net.input());
    assert_eq!(ops(&net.head(x, 2))[0], lookup(0.0, f32::INFINITY));
    // Of what others read too.
    let mut net = Net::new(1, [4, 6, 6]);
    let a = net.conv(net.input(), 4, Conv::square(1, 1, 0), true);
    let b = net.push(Op::Clip { min: 0.0, max: 6.0 }, &[a]);
    let sum = net.push(Op::Add, &[a, b]);
    assert_eq!(ops(&net.head(sum, 2))[..3], [StepOp::Conv, lookup(0.0, 6.0), StepOp::Add]);
    // After a copy.
    let mut net = Net::new(1, [4, 6, 6]);
    let x = net.push(half([4, 6, 6]), &[net.input()]);
    let x = net.relu(x);
    assert_eq!(ops(&net.head(x, 2))[1], lookup(0.0, f32::INFINITY));
}

#[test]
fn clamps_that_follow_each_other_are_one() {
    let mut net = Net::new(1, [4, 6, 6]);
    let x = net.conv(net.input(), 4, Conv::square(1, 1, 0), true);
    let x = net.push(Op::Clip { min: -1.0, max: 6.0 }, &[x]);
    let x = net.push(Op::Dropout { rate: 0.5 }, &[x]);
    let x = net.relu(x);
    let steps = steps(&net.head(x, 2));
    assert_eq!(steps[0].3, Clamp { lo: 0.0, hi: 6.0 });
    // Bounds that exclude each other leave the nearer one of the last.
    assert_eq!(Clamp { lo: 2.0, hi: 3.0 }.then(Clamp { lo: 4.0, hi: 5.0 }), Clamp { lo: 4.0, hi: 4.0 });
}

#[test]
fn a_batch_norm_joins_the_1x1_convolution_that_alone_reads_it() {
    let build = |conv: Conv, twice: bool| {
        let mut net = Net::new(1, [4, 6, 6]);
        let stem = net.conv(net.input(), 4, Conv::square(3, 1, 1), true);
        let other = net.push(Op::Add, &[stem, net.input()]);
        let x = net.norm(other);
        let x = net.relu(x);
        let a = net.conv(x, 4, conv, true);
        let b = if twice { x } else { other };
        let sum = net.push(Op::Add, &[a, b]);
        net.head(sum, 2)
    };
    let prologues = |graph: &Graph| {
        let fused = fuse(graph).unwrap();
        fused.steps.iter().filter_map(|step| step.prologue.as_ref().map(|p| (p.node.name.clone(), p.clamp))).collect()
    };
    let graph = build(Conv::square(1, 1, 0), false);
    let found: Vec<(String, Clamp)> = prologues(&graph);
    assert_eq!(found, [("BatchNormalization9".to_string(), RELU)]);
    assert!(!ops(&graph).contains(&StepOp::Affine));
    for graph in [build(Conv::square(1, 1, 0), true), build(Conv::square(3, 1, 1), false)] {
        assert!(prologues(&graph).is_empty() && ops(&graph).contains(&StepOp::Affine));
    }
    // The image's channels are not padded: whatever convolution reads it applies its batch norm.
    let mut net = Net::new(1, [3, 6, 6]);
    let x = net.norm(net.input());
    let x = net.conv(x, 4, Conv::square(3, 1, 1), true);
    assert_eq!(prologues(&net.head(x, 2)).len(), 1);
}

#[test]
fn one_plus_a_sigmoid_times_the_trunk_is_one_gate() {
    for (swap_product, swap_sum) in [(false, false), (true, false), (false, true), (true, true)] {
        let mut net = Net::new(1, [4, 6, 6]);
        let trunk = net.conv(net.input(), 4, Conv::square(1, 1, 0), true);
        let mask = net.conv(trunk, 4, Conv::square(1, 1, 0), true);
        let mask = net.push(Op::Sigmoid, &[mask]);
        let ordered = |swap: bool, a: ValueId, b: ValueId| if swap { [b, a] } else { [a, b] };
        let product = net.push(Op::Mul, &ordered(swap_product, mask, trunk));
        let sum = net.push(Op::Add, &ordered(swap_sum, product, trunk));
        let sum = net.relu(sum);
        let graph = net.head(sum, 2);
        let steps = steps(&graph);
        assert_eq!((&steps[3].1, steps[3].3), (&StepOp::Gate { one_plus: true }, RELU));
        assert_eq!(steps[3].2, Some(graph.value(trunk).name.clone()));
        assert!(!steps.iter().any(|step| step.1 == StepOp::Add));
    }
    // A mask that is no sigmoid has no step that 1 is a multiple of.
    let mut net = Net::new(1, [4, 6, 6]);
    let trunk = net.conv(net.input(), 4, Conv::square(1, 1, 0), true);
    let mask = net.conv(trunk, 4, Conv::square(1, 1, 0), true);
    let product = net.push(Op::Mul, &[mask, trunk]);
    let sum = net.push(Op::Add, &[product, trunk]);
    let ops = ops(&net.head(sum, 2));
    assert_eq!(ops[2..4], [StepOp::Gate { one_plus: false }, StepOp::Add]);
}

#[test]
fn a_gate_of_one_pixel_is_the_mask() {
    for swap in [false, true] {
        let mut net = Net::new(1, [4, 6, 6]);
        let x = net.conv(net.input(), 4, Conv::square(1, 1, 0), true);
        let pooled = net.push(Op::GlobalMaxPool, &[x]);
        let product = net.push(Op::Mul, &if swap { [pooled, x] } else { [x, pooled] });
        let graph = net.head(product, 2);
        let fused = fuse(&graph).unwrap();
        let window = Window::whole([6, 6]);
        assert_eq!(fused.steps[1].op, StepOp::MaxPool { window, count_include_pad: false });
        assert_eq!((fused.steps[2].input, fused.steps[2].operand), (pooled, Some(x)));
    }
}

#[test]
fn what_passes_values_on_is_gone() {
    let mut net = Net::new(1, [4, 6, 6]);
    let x = net.conv(net.input(), 4, Conv::square(1, 1, 0), true);
    let dropped = net.push(Op::Dropout { rate: 0.5 }, &[x]);
    let alone = net.push(Op::Concat, &[dropped]);
    let branch = net.push(Op::StochasticDepth { rate: 0.5 }, &[alone]);
    let flat = net.push(Op::Flatten, &[branch]);
    let flat = net.relu(flat);
    let graph = net.builder.finish(flat).unwrap();
    let fused = fuse(&graph).unwrap();
    let [step] = fused.steps.as_slice() else { panic!("{fused:?}") };
    // The ReLU of the flattened map is that of the map.
    assert_eq!((step.clamp, step.dims), (RELU, [4, 6, 6]));
}

/// Keras pads before it pools. The zeros count.
#[test]
fn a_pool_takes_the_padding_over_that_it_alone_reads() {
    let pad = |around: usize| Op::Pad(Pad { before: [0, around, 1], after: [0, 1, around] });
    let build = |around: usize, pool: Op, twice: bool| {
        let mut net = Net::new(1, [4, 6, 6]);
        let x = net.conv(net.input(), 4, Conv::square(1, 1, 0), true);
        let padded = net.push(pad(around), &[x]);
        let mut pooled = net.push(pool.clone(), &[padded]);
        if twice {
            let other = net.push(pool, &[padded]);
            pooled = net.push(Op::Add, &[pooled, other]);
        }
        ops(&net.head(pooled, 2)).swap_remove(1)
    };
    let window = Window::square(3, 2, 0);
    let average = |count_include_pad| Op::AveragePool { window: window.clone(), count_include_pad };
    let taken = Window { pads: [1; 4], ..window.clone() };
    let counted = StepOp::MaxPool { window: taken.clone(), count_include_pad: true };
    assert_eq!(build(1, Op::MaxPool(window.clone()), false), counted);
    for counts in [false, true] {
        assert_eq!(
            build(1, average(counts), false),
            StepOp::AveragePool { window: taken.clone(), count_include_pad: true }
        );
    }
    // A window that meets nothing else, a padding that others read, one that has no part in the largest element.
    let copy = |around: usize| StepOp::Copy(QCopy { before: [0, around, 1], after: [0, 1, around], ..QCopy::WHOLE });
    assert_eq!(build(3, Op::MaxPool(window.clone()), false), copy(3));
    assert_eq!(build(1, Op::MaxPool(window.clone()), true), copy(1));
    assert_eq!(build(1, Op::MaxPool(Window::square(3, 2, 1)), false), copy(1));
}

#[test]
fn a_border_that_repeats_the_map_is_a_copy() {
    for (border, mode) in
        [(Border::Reflect, PadMode::Reflect), (Border::Edge, PadMode::Edge), (Border::Wrap, PadMode::Wrap)]
    {
        let mut net = Net::new(1, [4, 6, 6]);
        let x = net.push(Op::BorderPad(BorderPad { pads: [1, 2, 3, 0], border }), &[net.input()]);
        // Only zeros are a pool's own padding.
        let x = net.push(Op::MaxPool(Window::square(4, 1, 0)), &[x]);
        let copy = QCopy { before: [0, 1, 2], after: [0, 3, 0], mode, ..QCopy::WHOLE };
        assert_eq!(ops(&net.head(x, 2))[0], StepOp::Copy(copy));
    }
}

#[test]
fn a_crop_and_the_padding_behind_it_are_one_copy() {
    let mut net = Net::new(1, [4, 6, 6]);
    let crop = net.push(Op::Slice(Slice { start: [1, 0, 2], end: [3, 5, 6], step: [1, 2, 1] }), &[net.input()]);
    let padded = net.push(Op::Pad(Pad { before: [0, 1, 0], after: [2, 0, 3] }), &[crop]);
    // A pool cannot crop.
    let pooled = net.push(Op::MaxPool(Window::square(2, 1, 0)), &[padded]);
    let copy = QCopy { start: [1, 0, 2], step: [1, 2, 1], before: [0, 1, 0], after: [2, 0, 3], ..QCopy::WHOLE };
    let steps = steps(&net.head(pooled, 2));
    assert_eq!((&steps[0].1, &steps[0].0[..]), (&StepOp::Copy(copy), "Pad2"));
    let window = Window::square(2, 1, 0);
    assert_eq!(steps[1].1, StepOp::MaxPool { window, count_include_pad: false });
}

#[test]
fn what_has_no_integer_form_is_named() {
    let mut net = Net::new(1, [4, 6, 6]);
    let flat = net.push(Op::Flatten, &[net.input()]);
    let both = net.push(Op::Concat, &[flat, flat]);
    let graph = net.builder.finish(both).unwrap();
    let error = fuse(&graph).unwrap_err().to_string();
    assert!(error.contains("(Concat): its operands are flattened from maps of more than one pixel"), "{error}");

    let mut net = Net::new(1, [4, 6, 6]);
    let flat = net.push(Op::Flatten, &[net.input()]);
    let unit = net.push(Op::L2Norm, &[flat]);
    let error = fuse(&net.builder.finish(unit).unwrap()).unwrap_err().to_string();
    assert!(error.contains("(LpNormalization): its operand is flattened from a map of more than one pixel"), "{error}");

    let mut net = Net::new(1, [4, 1, 1]);
    let flat = net.push(Op::Flatten, &[net.input()]);
    let shares = net.push(Op::Softmax, &[flat]);
    let both = net.push(Op::Concat, &[shares, flat]);
    let error = fuse(&net.builder.finish(both).unwrap()).unwrap_err().to_string();
    assert!(error.contains("(Softmax): it has no integer form inside a network"), "{error}");
}

#[test]
fn a_network_must_compute_its_scores() {
    let mut builder = skipstone_onnx::GraphBuilder::new("net", "image", [2, 1, 1]).unwrap();
    let flat = builder.push("flat", Op::Flatten, &[builder.input()]).unwrap();
    let error = fuse(&builder.finish(flat).unwrap()).unwrap_err().to_string();
    assert!(error.starts_with("node `flat`") && error.contains("the scores are the image itself"), "{error}");
}

#[test]
fn a_relu_that_the_files_rounding_does_anyway_joins_a_table_or_a_copy() {
    let mut net = Net::new(1, [4, 6, 6]);
    let x = net.conv(net.input(), 4, Conv::square(1, 1, 0), true);
    let table = net.push(Op::Unary(skipstone_onnx::Unary::Softplus), &[x]);
    let first = net.relu(table);
    let joined = net.push(Op::Concat, &[first, x]);
    let second = net.relu(joined);
    let mut graph = net.head(second, 2);
    let tables = |graph: &Graph| ops(graph).iter().filter(|op| matches!(op, StepOp::Lookup(_))).count();
    assert_eq!(tables(&graph), 3);
    for value in [first, second] {
        let rounding = skipstone_onnx::QuantParams { scale: 0.1, zero_point: -128 };
        graph.metadata.quantization.activations.insert(graph.value(value).name.clone(), rounding);
    }
    assert_eq!(tables(&graph), 1);
    let steps = fuse(&graph).unwrap().steps;
    assert_eq!([steps[1].output, steps[2].output], [first, second]);
}
