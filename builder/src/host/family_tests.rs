//! Small networks of families that the zoo does not have, with channels that are no multiple of 4: exact in the engine,
//! and their QDQ files mean the same to tract.

use super::qdq_tests::{assert_agrees, compare};
use super::tests::assert_engine_is_exact;
use crate::pack::{Options, Quantized, quantize};
use crate::quant::QOp;
use crate::quant::fixtures::{Net, random_images};
use skipstone_onnx::{Conv, Graph, Op, Pad, Slice, ValueId, Window};

/// Quantizes and compares; what is made.
fn check(graph: &Graph) -> Quantized {
    let images = random_images(graph, 3, 1);
    let quantized = quantize(graph, &images, &Options::default()).unwrap();
    assert_engine_is_exact(&quantized, images.image(0));
    assert_agrees(&[compare(&quantized, &images)]);
    quantized
}

fn count(quantized: &Quantized, fits: impl Fn(&QOp) -> bool) -> usize {
    quantized.qgraph.nodes.iter().filter(|node| fits(&node.op)).count()
}

impl Net {
    fn channels_of(&self, x: ValueId) -> usize {
        self.builder.dims(x)[0]
    }

    /// Convolution, batch norm, ReLU.
    fn layer(&mut self, x: ValueId, outputs: usize, conv: Conv) -> ValueId {
        let x = self.conv(x, outputs, conv, false);
        let x = self.norm(x);
        self.relu(x)
    }

    fn part(&mut self, x: ValueId, start: usize, end: usize) -> ValueId {
        let &[_, height, width] = self.builder.dims(x) else { panic!("a map") };
        self.push(Op::Slice(Slice { start: [start, 0, 0], end: [end, height, width], step: [1; 3] }), &[x])
    }

    fn zeros_around(&mut self, x: ValueId, [top, left, bottom, right]: [usize; 4]) -> ValueId {
        self.push(Op::Pad(Pad { before: [0, top, left], after: [0, bottom, right] }), &[x])
    }
}

/// Res2Net, 7 channels in each of 4 scales: three convolutions one after the other, the last part as it is or averaged.
#[test]
fn res2net() {
    let mut net = Net::new(21, [3, 17, 15]);
    let mut x = net.layer(net.input(), 10, Conv::square(3, 1, 1));
    for stride in [2, 1] {
        let width = 7;
        let wide = net.layer(x, 4 * width, Conv::square(1, 1, 0));
        let parts: Vec<ValueId> = (0..4).map(|part| net.part(wide, part * width, (part + 1) * width)).collect();
        let mut made: Vec<ValueId> = Vec::new();
        for &part in &parts[..3] {
            let sum = match made.last() {
                Some(&before) if stride == 1 => net.push(Op::Add, &[before, part]),
                _ => part,
            };
            made.push(net.layer(sum, width, Conv::square(3, stride, 1)));
        }
        let average = Op::AveragePool { window: Window::square(3, stride, 1), count_include_pad: true };
        made.push(if stride == 2 { net.push(average, &[parts[3]]) } else { parts[3] });
        let joined = net.push(Op::Concat, &made);
        let narrow = net.conv(joined, 18, Conv::square(1, 1, 0), true);
        let shortcut = if stride == 2 { net.conv(x, 18, Conv::square(1, 2, 0), true) } else { x };
        let sum = net.push(Op::Add, &[narrow, shortcut]);
        x = net.relu(sum);
    }
    let quantized = check(&net.head(x, 5));
    assert_eq!(count(&quantized, |op| matches!(op, QOp::Copy(_))), 8);
}

/// Dual path networks: a sum of some channels, a concatenation of the others; groups of 3 channels.
#[test]
fn dual_path() {
    let mut net = Net::new(22, [3, 13, 13]);
    let x = net.layer(net.input(), 9, Conv::square(3, 2, 1));
    let x = net.conv(x, 10 + 2 * 3, Conv::square(1, 1, 0), true);
    let (mut residual, mut dense) = (net.part(x, 0, 10), net.part(x, 10, 16));
    for _ in 0..2 {
        let both = net.push(Op::Concat, &[residual, dense]);
        let y = net.norm(both);
        let y = net.relu(y);
        let y = net.layer(y, 15, Conv::square(1, 1, 0));
        let y = net.layer(y, 15, Conv { groups: 5, ..Conv::square(3, 1, 1) });
        let y = net.conv(y, 10 + 3, Conv::square(1, 1, 0), true);
        let (sum, new) = (net.part(y, 0, 10), net.part(y, 10, 13));
        residual = net.push(Op::Add, &[residual, sum]);
        dense = net.push(Op::Concat, &[dense, new]);
    }
    let both = net.push(Op::Concat, &[residual, dense]);
    let both = net.norm(both);
    let both = net.relu(both);
    check(&net.head(both, 5));
}

/// Cross stage partial networks: half of the channels goes through the blocks.
#[test]
fn cross_stage_partial() {
    let mut net = Net::new(23, [3, 12, 14]);
    let x = net.conv(net.input(), 18, Conv::square(3, 1, 1), true);
    let x = net.push(Op::Unary(skipstone_onnx::Unary::LeakyRelu { alpha: 0.1 }), &[x]);
    let (around, mut through) = (net.part(x, 0, 9), net.part(x, 9, 18));
    for _ in 0..2 {
        let y = net.layer(through, 6, Conv::square(1, 1, 0));
        let y = net.layer(y, 9, Conv { groups: 3, ..Conv::square(3, 1, 1) });
        through = net.push(Op::Add, &[through, y]);
    }
    let joined = net.push(Op::Concat, &[through, around]);
    let x = net.layer(joined, 11, Conv::square(1, 1, 0));
    check(&net.head(x, 5));
}

/// Keras' ResNetV2: zeros before a pool of values of both signs, which count; zeros before strided convolutions; a
/// shortcut that picks every second pixel by a pool.
#[test]
fn keras_resnet_v2() {
    let mut net = Net::new(24, [3, 20, 20]);
    let x = net.zeros_around(net.input(), [3; 4]);
    let x = net.conv(x, 10, Conv::square(7, 2, 0), true);
    let x = net.zeros_around(x, [1; 4]);
    let mut x = net.push(Op::MaxPool(Window::square(3, 2, 0)), &[x]);
    for stride in [1, 2] {
        let norm = net.norm(x);
        let norm = net.relu(norm);
        let y = net.layer(norm, 5, Conv::square(1, 1, 0));
        let y = net.zeros_around(y, [1; 4]);
        let y = net.layer(y, 5, Conv::square(3, stride, 0));
        let y = net.conv(y, 10, Conv::square(1, 1, 0), true);
        let shortcut = if stride == 2 { net.push(Op::MaxPool(Window::square(1, 2, 0)), &[x]) } else { x };
        x = net.push(Op::Add, &[shortcut, y]);
    }
    let x = net.norm(x);
    let x = net.relu(x);
    let quantized = check(&net.head(x, 5));
    assert_eq!(count(&quantized, |op| matches!(op, QOp::MaxPool { count_include_pad: true, .. })), 1);
    // Those before the convolutions, which the importer joins.
    assert_eq!(count(&quantized, |op| matches!(op, QOp::Copy(_))), 3);
}

/// Branches side by side, pools of the image among them, kernels of one row and of one column.
#[test]
fn inception() {
    let mut net = Net::new(25, [3, 15, 15]);
    // ENet's first block.
    let strided = net.conv(net.input(), 13, Conv::square(3, 2, 1), true);
    let largest = net.push(Op::MaxPool(Window::square(3, 2, 1)), &[net.input()]);
    let x = net.push(Op::Concat, &[strided, largest]);
    let x = net.norm(x);
    let x = net.relu(x);
    let a = net.layer(x, 5, Conv::square(1, 1, 0));
    let b = net.layer(a, 6, Conv { kernel: [1, 7], pads: [0, 3, 0, 3], ..Conv::square(1, 1, 0) });
    let b = net.layer(b, 7, Conv { kernel: [7, 1], pads: [3, 0, 3, 0], ..Conv::square(1, 1, 0) });
    let average = Op::AveragePool { window: Window::square(3, 1, 1), count_include_pad: false };
    let c = net.push(average, &[x]);
    let c = net.layer(c, 3, Conv::square(1, 1, 0));
    let joined = net.push(Op::Concat, &[a, b, c]);
    check(&net.head(joined, 5));
}

/// Keras' DenseNet: zeros at other sides than the opposite ones, before pools and convolutions.
#[test]
fn keras_densenet() {
    let mut net = Net::new(26, [3, 18, 18]);
    let x = net.zeros_around(net.input(), [3, 2, 3, 2]);
    let x = net.layer(x, 6, Conv::square(7, 2, 0));
    let x = net.zeros_around(x, [0, 0, 1, 1]);
    let mut x = net.push(Op::MaxPool(Window::square(3, 2, 0)), &[x]);
    for _ in 0..3 {
        let y = net.norm(x);
        let y = net.relu(y);
        let y = net.layer(y, 8, Conv::square(1, 1, 0));
        let y = net.conv(y, 3, Conv { pads: [0, 1, 2, 1], ..Conv::square(3, 1, 0) }, false);
        x = net.push(Op::Concat, &[x, y]);
    }
    let channels = net.channels_of(x);
    let x = net.layer(x, channels / 2, Conv::square(1, 1, 0));
    let x = net.push(Op::AveragePool { window: Window::square(2, 2, 0), count_include_pad: false }, &[x]);
    check(&net.head(x, 5));
}

/// Two crops of one map, a mirror of channels among them; sums of maps that are put together in another order.
#[test]
fn crops_and_orders_of_channels() {
    let mut net = Net::new(27, [3, 12, 11]);
    let x = net.conv(net.input(), 7, Conv::square(3, 1, 1), true);
    let crop = |start: [usize; 3], end: [usize; 3], step: [usize; 3]| Op::Slice(Slice { start, end, step });
    let a = net.push(crop([0, 1, 2], [7, 9, 10], [1; 3]), &[x]);
    let b = net.push(crop([0, 4, 0], [7, 12, 8], [1; 3]), &[x]);
    let sum = net.push(Op::Add, &[a, b]);
    // Odd channels before even ones.
    let odd = net.push(crop([1, 0, 0], [7, 8, 8], [2, 1, 1]), &[sum]);
    let even = net.push(crop([0, 0, 0], [7, 8, 8], [2, 1, 1]), &[sum]);
    let shuffled = net.push(Op::Concat, &[odd, even]);
    let ordered = net.push(Op::Concat, &[even, odd]);
    let product = net.push(Op::Mul, &[shuffled, ordered]);
    let padded = net.zeros_around(product, [2, 0, 1, 4]);
    check(&net.head(padded, 5));
}
