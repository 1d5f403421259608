//! Records of networks of the papers, put together by hand.

use crate::plan::{Plan, plan};
use skipstone_runtime::format::records::{NONE, Node, OpCode, ResizeMode, Tensor};
use skipstone_runtime::kernels::spec::CONV_2X3_SMLAD;
use skipstone_runtime::ops::conv::conv_shape;

/// Records of a network as it is put together.
#[derive(Clone)]
pub(super) struct Net {
    pub(super) tensors: Vec<Tensor>,
    pub(super) nodes: Vec<Node>,
}

pub(super) fn tensor(producer: u16, height: u16, channels: u16) -> Tensor {
    Tensor { height, width: height, channels, producer, scale: 1.0, ..Tensor::default() }
}

impl Net {
    pub(super) fn new(height: u16, channels: u16) -> Self {
        Self { tensors: vec![tensor(NONE, height, channels)], nodes: Vec::new() }
    }

    fn at(&self, tensor: u16) -> &Tensor {
        &self.tensors[usize::from(tensor)]
    }

    pub(super) fn push(&mut self, node: Node, height: u16, channels: u16) -> u16 {
        let output = self.tensors.len() as u16;
        self.tensors.push(tensor(self.nodes.len() as u16, height, channels));
        self.nodes.push(Node { rows_per_step: 1, groups: node.groups.max(1), output, ..node });
        output
    }

    /// A square window with the usual padding; the output's height follows.
    fn window(&mut self, op: OpCode, [input, operand]: [u16; 2], channels: u16, [kernel, stride]: [u8; 2]) -> u16 {
        let pad = kernel.saturating_sub(u8::from(kernel == 2)) / 2;
        let square = Node { kernel_h: kernel, kernel_w: kernel, stride_h: stride, stride_w: stride, ..Node::default() };
        let pads = Node { pad_top: pad, pad_left: pad, pad_bottom: pad, pad_right: pad, ..square };
        let height = (self.at(input).height + 2 * u16::from(pad) - u16::from(kernel)) / u16::from(stride) + 1;
        self.push(Node { op: op as u8, input, operand, ..pads }, height, channels)
    }

    pub(super) fn conv(&mut self, input: u16, operand: u16, channels: u16, window: [u8; 2]) -> u16 {
        self.window(OpCode::Conv, [input, operand], channels, window)
    }

    pub(super) fn pool(&mut self, op: OpCode, input: u16, window: [u8; 2]) -> u16 {
        self.window(op, [input, NONE], self.at(input).channels, window)
    }

    /// An operator that makes the row whose number it reads.
    pub(super) fn pointwise(&mut self, op: OpCode, input: u16, operand: u16) -> u16 {
        let node = Node { op: op as u8, input, operand, stride_h: 1, stride_w: 1, ..Node::default() };
        let shape = self.at(if operand == NONE { input } else { operand });
        let more = if op == OpCode::Concat { self.at(input).channels } else { 0 };
        let (height, channels) = (shape.height, shape.channels + more);
        self.push(node, height, channels)
    }

    pub(super) fn resize(&mut self, input: u16, height: u16) -> u16 {
        let flags = ResizeMode::HalfPixel as u8;
        let node = Node { op: OpCode::Resize as u8, input, operand: NONE, flags, ..Node::default() };
        self.push(node, height, self.at(input).channels)
    }

    fn global_pool(&mut self, input: u16) -> u16 {
        let pooled = self.pointwise(OpCode::GlobalAveragePool, input, NONE);
        (self.tensors[usize::from(pooled)].height, self.tensors[usize::from(pooled)].width) = (1, 1);
        pooled
    }

    pub(super) fn head(&mut self, input: u16, classes: u16) {
        let pooled = self.global_pool(input);
        self.conv(pooled, NONE, classes, [1, 1]);
    }

    /// *Deep residual learning* on CIFAR with projections, `blocks` in each stage.
    pub(super) fn resnet(blocks: usize) -> Self {
        let mut net = Self::new(32, 3);
        let mut x = net.conv(0, NONE, 16, [3, 1]);
        for (stage, channels) in [16, 32, 64].into_iter().enumerate() {
            for block in 0..blocks {
                let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                let shortcut = if stride == 2 { net.conv(x, NONE, channels, [1, 2]) } else { x };
                let y = net.conv(x, NONE, channels, [3, stride]);
                x = net.conv(y, shortcut, channels, [3, 1]);
            }
        }
        net.head(x, 12);
        net
    }

    fn imagenet_stem(channels: u16) -> (Self, u16) {
        let mut net = Self::new(224, 3);
        let x = net.conv(0, NONE, channels, [7, 2]);
        let x = net.pool(OpCode::MaxPool, x, [3, 2]);
        (net, x)
    }

    pub(super) fn resnet18() -> Self {
        let (mut net, mut x) = Self::imagenet_stem(64);
        for (stage, channels) in [64, 128, 256, 512].into_iter().enumerate() {
            for stride in [if stage > 0 { 2 } else { 1 }, 1] {
                let shortcut = if stride == 2 { net.conv(x, NONE, channels, [1, 2]) } else { x };
                let y = net.conv(x, NONE, channels, [3, stride]);
                x = net.conv(y, shortcut, channels, [3, 1]);
            }
        }
        net.head(x, 1000);
        net
    }

    /// Bottlenecks, as many in each stage.
    pub(super) fn bottlenecks(blocks: [usize; 4]) -> Self {
        let (mut net, mut x) = Self::imagenet_stem(64);
        for (stage, (channels, blocks)) in [64, 128, 256, 512].into_iter().zip(blocks).enumerate() {
            for block in 0..blocks {
                let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                let shortcut = if block == 0 { net.conv(x, NONE, 4 * channels, [1, stride]) } else { x };
                let y = net.conv(x, NONE, channels, [1, 1]);
                let y = net.conv(y, NONE, channels, [3, stride]);
                x = net.conv(y, shortcut, 4 * channels, [1, 1]);
            }
        }
        net.head(x, 1000);
        net
    }

    pub(super) fn resnext20() -> Self {
        let mut net = Self::new(32, 3);
        let mut x = net.conv(0, NONE, 16, [3, 1]);
        for (stage, channels) in [32, 64, 128].into_iter().enumerate() {
            for block in 0..2 {
                let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                let shortcut = if block == 0 { net.conv(x, NONE, channels, [1, stride]) } else { x };
                let y = net.conv(x, NONE, channels / 2, [1, 1]);
                let y = net.conv(y, NONE, channels / 2, [3, stride]);
                let groups = 8;
                net.nodes.last_mut().unwrap().groups = groups;
                x = net.conv(y, shortcut, channels, [1, 1]);
            }
        }
        net.head(x, 12);
        net
    }

    fn dense_blocks(mut self, mut x: u16, blocks: &[usize], growth: u16) -> Self {
        for (index, &layers) in blocks.iter().enumerate() {
            for _ in 0..layers {
                let y = self.conv(x, NONE, 4 * growth, [1, 1]);
                let y = self.conv(y, NONE, growth, [3, 1]);
                x = self.pointwise(OpCode::Concat, x, y);
            }
            if index + 1 < blocks.len() {
                let y = self.conv(x, NONE, (self.at(x).channels / 2).next_multiple_of(4), [1, 1]);
                x = self.pool(OpCode::AveragePool, y, [2, 2]);
            }
        }
        let x = self.pointwise(OpCode::Affine, x, NONE);
        self.head(x, 12);
        self
    }

    /// DenseNet-BC on CIFAR, `layers` in each of three blocks.
    pub(super) fn densenet(growth: u16, layers: usize) -> Self {
        let mut net = Self::new(32, 3);
        let x = net.conv(0, NONE, 2 * growth, [3, 1]);
        net.dense_blocks(x, &[layers; 3], growth)
    }

    pub(super) fn densenet_imagenet(growth: u16, blocks: [usize; 4]) -> Self {
        let (net, x) = Self::imagenet_stem(2 * growth);
        net.dense_blocks(x, &blocks, growth)
    }

    /// A pre-activation bottleneck.
    fn unit(&mut self, x: u16, channels: u16, stride: u8) -> u16 {
        let changes = self.at(x).channels != channels || stride > 1;
        let shortcut = if changes { self.conv(x, NONE, channels, [1, stride]) } else { x };
        let y = self.conv(x, NONE, channels / 4, [1, 1]);
        let y = self.conv(y, NONE, channels / 4, [3, stride]);
        self.conv(y, shortcut, channels, [1, 1])
    }

    /// The small residual attention network.
    pub(super) fn attention() -> Self {
        let mut net = Self::new(32, 3);
        let mut x = net.conv(0, NONE, 16, [3, 1]);
        for (channels, stride, pools) in [(16, 1, 2), (32, 2, 2), (64, 2, 1)] {
            x = net.unit(x, channels, stride);
            x = net.unit(x, channels, 1);
            let trunk = net.unit(x, channels, 1);
            let trunk = net.unit(trunk, channels, 1);
            let pooled = net.pool(OpCode::MaxPool, x, [3, 2]);
            let mut mask = net.unit(pooled, channels, 1);
            if pools == 2 {
                let skip = net.unit(mask, channels, 1);
                mask = net.pool(OpCode::MaxPool, mask, [3, 2]);
                mask = net.unit(mask, channels, 1);
                mask = net.unit(mask, channels, 1);
                mask = net.resize(mask, net.at(skip).height);
                mask = net.pointwise(OpCode::Add, mask, skip);
            }
            mask = net.unit(mask, channels, 1);
            mask = net.resize(mask, net.at(trunk).height);
            mask = net.conv(mask, NONE, channels, [1, 1]);
            mask = net.conv(mask, NONE, channels, [1, 1]);
            mask = net.pointwise(OpCode::Lookup, mask, NONE);
            x = net.pointwise(OpCode::Gate, mask, trunk);
            x = net.unit(x, channels, 1);
        }
        for _ in 0..3 {
            x = net.unit(x, 64, 1);
        }
        let x = net.pointwise(OpCode::Affine, x, NONE);
        net.head(x, 12);
        net
    }

    /// A network of every operator, drawn by bytes: what and on which tensors.
    pub(super) fn random(draws: &[[u8; 4]]) -> Self {
        let mut net = Self::new(9, 4);
        let first = net.conv(0, NONE, 8, [3, 1]);
        for &[op, a, b, size] in draws {
            let pick = |draw: u8, from: &[u16]| from[usize::from(draw) % from.len()];
            let all: Vec<u16> = (first..net.tensors.len() as u16).collect();
            let input = pick(a, &all);
            let shape = |tensor: u16| (net.at(tensor).height, net.at(tensor).channels);
            let alike: Vec<u16> = all.iter().copied().filter(|&other| shape(other) == shape(input)).collect();
            let level: Vec<u16> = all.iter().copied().filter(|&other| shape(other).0 == shape(input).0).collect();
            let window = [[1, 1], [3, 1], [3, 2], [1, 2]][usize::from(size % 4)];
            match op % 10 {
                0 | 1 => drop(net.conv(input, NONE, [4, 8, 12][usize::from(b % 3)], window)),
                2 => {
                    let operand = pick(b, &alike);
                    net.conv(input, operand, shape(input).1, [[1, 1], [3, 1]][usize::from(size % 2)]);
                }
                3 => drop(net.pool([OpCode::MaxPool, OpCode::AveragePool][usize::from(b % 2)], input, window)),
                4 => drop(net.pointwise([OpCode::Affine, OpCode::Lookup][usize::from(b % 2)], input, NONE)),
                5 => drop(net.resize(input, pick(b, &[3, 5, 9, 12]))),
                6 if shape(input).1 < 40 => drop(net.pointwise(OpCode::Concat, input, pick(b, &level))),
                7 => drop(net.pointwise(OpCode::Gate, pick(b, &alike), input)),
                8 => {
                    let pooled = net.global_pool(input);
                    net.pointwise(OpCode::Gate, pooled, input);
                }
                _ => drop(net.pointwise(OpCode::Add, input, pick(b, &alike))),
            }
        }
        // All that nothing reads comes together.
        let is_read =
            |net: &Self, tensor: u16| net.nodes.iter().any(|node| [node.input, node.operand].contains(&tensor));
        let unread: Vec<u16> = (first..net.tensors.len() as u16).filter(|&tensor| !is_read(&net, tensor)).collect();
        let mut sum = NONE;
        for tensor in unread {
            let pooled = net.global_pool(tensor);
            sum = net.conv(pooled, sum, 4, [1, 1]);
        }
        net
    }

    /// In steps of one row.
    pub(super) fn plan(self) -> Plan {
        plan(self.tensors, self.nodes).unwrap()
    }

    /// In steps of as many rows as a kernel is fastest with.
    pub(super) fn plan_fast(mut self) -> Plan {
        for node in self.nodes.iter_mut().filter(|node| node.op == OpCode::Conv as u8) {
            let (input, output) = (&self.tensors[usize::from(node.input)], &self.tensors[usize::from(node.output)]);
            node.rows_per_step = (CONV_2X3_SMLAD.rows)(&conv_shape(node, input, output)) as u8;
        }
        self.plan()
    }
}
