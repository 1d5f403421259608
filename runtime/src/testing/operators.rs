//! Operators but convolutions, as nodes of a network.

use super::{Network, Random};
use crate::arith::Requant;
use crate::format::records::{Node, OpCode, PadMode, ResizeMode, Run, TABLE_LEN, Tensor};
use crate::rows::{resize_columns, resize_rows};

/// The windows of a pool.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    /// Height and width.
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: [usize; 2],
    /// Top, left, bottom, right.
    pub(crate) pads: [usize; 4],
    /// Whether a last window may reach further than the padding.
    pub(crate) ceil: bool,
}

impl Window {
    pub(crate) fn new(kernel: usize, stride: usize, pad: usize) -> Self {
        Self { kernel: [kernel; 2], stride: [stride; 2], pads: [pad; 4], ceil: false }
    }

    /// Height and width of the result; `None` where a window would not meet the map, or there is none.
    fn made(&self, input: &Tensor) -> Option<[usize; 2]> {
        let axis = |axis: usize, size: u16| {
            let (kernel, stride) = (self.kernel[axis], self.stride[axis]);
            let (before, after) = (self.pads[axis], self.pads[axis + 2]);
            let rest = (usize::from(size) + before + after).checked_sub(kernel)?;
            let count = if self.ceil { rest.div_ceil(stride) } else { rest / stride } + 1;
            let meets = (0..count).all(|i| i * stride < before + usize::from(size) && i * stride + kernel > before);
            meets.then_some(count)
        };
        Some([axis(0, input.height)?, axis(1, input.width)?])
    }
}

/// What a copy takes, and what it puts around that.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// First row and pixel.
    pub(crate) first: [usize; 2],
    pub(crate) stride: [usize; 2],
    /// Top, left, bottom, right.
    pub(crate) pads: [usize; 4],
    pub(crate) mode: PadMode,
    pub(crate) runs: Vec<Run>,
    /// Of the result.
    pub(crate) channels: usize,
}

impl Part {
    /// All of a map of so many channels.
    pub(crate) fn whole(channels: usize) -> Self {
        let runs = vec![Run { from: 0, to: 0, len: channels as u16 }];
        Self { first: [0; 2], stride: [1; 2], pads: [0; 4], mode: PadMode::Zero, runs, channels }
    }
}

impl Random {
    /// A multiplier of either sign for raised int8 values.
    pub(crate) fn affine(&mut self) -> Requant {
        let requant = self.spread(128.0 * 256.0, 36);
        if self.below(3) == 0 { Requant { m: -requant.m, ..requant } } else { requant }
    }
}

impl Network {
    fn shape(&self, tensor: usize) -> (usize, usize, usize) {
        let t = self.tensors[tensor];
        (t.height.into(), t.width.into(), t.channels.into())
    }

    pub(crate) fn add(&mut self, a: usize, b: usize) -> usize {
        let t = self.tensors[a];
        let node = Node { operand: b as u16, operand_multiplier: 3 << 26, ..self.plain(OpCode::Add, a) };
        let requants = vec![Requant { c: 5 << 35, m: 5 << 25, s: 36 }];
        self.node(node, (t.height.into(), t.width.into(), t.channels.into()), Vec::new(), requants)
    }

    pub(crate) fn pool(&mut self, input: usize) -> usize {
        let t = self.tensors[input];
        let pixels = i32::from(t.height) * i32::from(t.width);
        let requants = vec![Requant { c: 1 << 37, m: (1 << 30) / pixels, s: 38 }];
        self.node(self.plain(OpCode::GlobalAveragePool, input), (1, 1, t.channels.into()), Vec::new(), requants)
    }

    /// Every `stride`-th row and pixel, `before` zero channels, and zero channels up to `channels`.
    pub(crate) fn shortcut(&mut self, input: usize, stride: usize, before: usize, channels: usize) -> usize {
        let runs = vec![Run { from: 0, to: before as u16, len: self.tensors[input].channels }];
        let [height, width] = [self.tensors[input].height, self.tensors[input].width].map(usize::from);
        let count = [height.div_ceil(stride), width.div_ceil(stride)];
        self.copy(input, count, Part { stride: [stride; 2], runs, ..Part::whole(channels) })
    }

    /// Takes `count` rows and pixels.
    pub(crate) fn copy(&mut self, input: usize, count: [usize; 2], copy: Part) -> usize {
        let [pad_top, pad_left, pad_bottom, pad_right] = copy.pads.map(|pad| pad as u8);
        let node = Node {
            stride_h: copy.stride[0] as u8,
            stride_w: copy.stride[1] as u8,
            first_row: copy.first[0] as u16,
            groups: copy.first[1] as u16,
            flags: copy.mode as u8,
            pad_top,
            pad_left,
            pad_bottom,
            pad_right,
            ..self.plain(OpCode::Copy, input)
        };
        let [top, left, bottom, right] = copy.pads;
        let shape = (top + count[0] + bottom, left + count[1] + right, copy.channels);
        let output = self.node(node, shape, bytemuck::cast_slice(&copy.runs).to_vec(), Vec::new());
        self.tensors[output].zero_point = self.tensors[input].zero_point;
        output
    }

    /// `channels` of each pixel of blocks as a pixel's, or the other way round, by which the result has `shape`.
    pub(crate) fn blocks(&mut self, input: usize, shape: (usize, usize, usize), channels: usize) -> usize {
        let node = Node { groups: channels as u16, ..self.plain(OpCode::Blocks, input) };
        let output = self.node(node, shape, Vec::new(), Vec::new());
        self.tensors[output].zero_point = self.tensors[input].zero_point;
        output
    }

    pub(crate) fn affine(&mut self, input: usize, random: &mut Random) -> usize {
        let shape = self.shape(input);
        let requants = (0..shape.2).map(|_| random.affine()).collect();
        let node = Node { lo: -120, hi: 125, ..self.plain(OpCode::Affine, input) };
        self.node(node, shape, Vec::new(), requants)
    }

    /// `None` where the windows do not fit.
    pub(crate) fn max_pool(&mut self, input: usize, window: Window, flags: u8) -> Option<usize> {
        let [height, width] = window.made(&self.tensors[input])?;
        let node = Node { lo: -100, hi: 100, flags, ..self.windowed(OpCode::MaxPool, input, window) };
        let output = self.node(node, (height, width, self.shape(input).2), Vec::new(), Vec::new());
        self.tensors[output].zero_point = self.tensors[input].zero_point;
        Some(output)
    }

    /// `None` where the windows do not fit.
    pub(crate) fn average_pool(&mut self, input: usize, window: Window, flags: u8) -> Option<usize> {
        let [height, width] = window.made(&self.tensors[input])?;
        let node = Node { flags, ..self.windowed(OpCode::AveragePool, input, window) };
        let requants = (1..=(window.kernel[0] * window.kernel[1]) as i32)
            .map(|count| Requant { c: (i64::from(count) << 34) + (1 << 37), m: (1 << 30) / count, s: 38 })
            .collect();
        Some(self.node(node, (height, width, self.shape(input).2), Vec::new(), requants))
    }

    fn windowed(&self, op: OpCode, input: usize, window: Window) -> Node {
        let [pad_top, pad_left, pad_bottom, pad_right] = window.pads.map(|pad| pad as u8);
        let [kernel_h, kernel_w] = window.kernel.map(|size| size as u8);
        let [stride_h, stride_w] = window.stride.map(|stride| stride as u8);
        let pads = Node { pad_top, pad_left, pad_bottom, pad_right, ..self.plain(op, input) };
        Node { kernel_h, kernel_w, stride_h, stride_w, ..pads }
    }

    pub(crate) fn lookup(&mut self, input: usize, random: &mut Random) -> usize {
        let table = (0..TABLE_LEN).map(|_| random.int8()).collect();
        self.node(self.plain(OpCode::Lookup, input), self.shape(input), table, Vec::new())
    }

    /// The product with a mask of the trunk's shape or of one pixel.
    pub(crate) fn gate(&mut self, mask: usize, trunk: usize, offset: i32, random: &mut Random) -> usize {
        let node = Node { operand: trunk as u16, operand_multiplier: offset, ..self.plain(OpCode::Gate, mask) };
        let requants = vec![random.spread(f64::from(offset.abs() + 100) * 100.0, 36)];
        self.node(node, self.shape(trunk), Vec::new(), requants)
    }

    pub(crate) fn resize(&mut self, input: usize, size: [usize; 2], mode: ResizeMode) -> usize {
        let node = Node { flags: mode as u8, ..self.plain(OpCode::Resize, input) };
        let output =
            self.node(node, (size[0], size[1], self.shape(input).2), Vec::new(), vec![Requant { c: 0, m: 0, s: 32 }]);
        let (from, to) = (&self.tensors[input], &self.tensors[output]);
        let sum = resize_rows(&node, from, to).weight() * resize_columns(&node, from, to).weight();
        let m = ((1u64 << 38) as f64 / f64::from(sum) / 300.0) as i32;
        *self.requants.last_mut().unwrap() = vec![Requant { c: (7 << 38) + (1 << 37), m, s: 38 }];
        output
    }

    /// Weights at random, of as many rows and pixels, the first so many of them before a position.
    pub(crate) fn resample(&mut self, input: usize, size: [usize; 2], mode: ResizeMode, random: &mut Random) -> usize {
        let mut axis = || (1 + random.below(6), random.below(4));
        let ((rows, above), (pixels, left)) = (axis(), axis());
        let mut weights = Vec::new();
        for (size, count) in [(size[0], rows), (size[1], pixels)] {
            // Around 1 in all, in units of 2^-20.
            let weight =
                |random: &mut Random| i32::from(random.int8()) * (1 << 14) / count as i32 + (1 << 20) / count as i32;
            weights.extend((0..size * count).map(|_| weight(random)));
        }
        let node = Node {
            flags: mode as u8,
            kernel_h: rows as u8,
            kernel_w: pixels as u8,
            pad_top: above as u8,
            pad_left: left as u8,
            operand_multiplier: 22,
            ..self.plain(OpCode::Resample, input)
        };
        let requants = vec![Requant { c: (-3 << 48) + (1 << 47), m: 1 << 29, s: 48 }];
        let weights = bytemuck::cast_slice(&weights).to_vec();
        self.node(node, (size[0], size[1], self.shape(input).2), weights, requants)
    }

    /// Each pixel over its norm, which leaves out the last channel.
    pub(crate) fn l2_norm(&mut self, input: usize) -> usize {
        let shape = self.shape(input);
        let mut mask = vec![1; shape.2];
        mask[shape.2 - 1] = 0;
        // Steps of 1/100.
        let numerator = Requant { c: 0, m: 100 << 21, s: 68 };
        let node = Node { lo: -110, hi: 120, ..self.plain(OpCode::L2Norm, input) };
        self.node(node, shape, mask, vec![numerator])
    }

    /// Each channel's map less its mean, over its deviation.
    pub(crate) fn instance_norm(&mut self, input: usize, random: &mut Random) -> usize {
        let shape = self.shape(input);
        let count = (shape.0 * shape.1) as u32;
        let zeros = (255 * count).leading_zeros();
        let epsilon = random.of(&[0, 1, 1 << 20]);
        // Steps of 1/30.
        let numerator = Requant { c: epsilon, m: 120 << 23, s: 54 };
        let node = Node { operand_multiplier: 2 * zeros as i32 - 2, ..self.plain(OpCode::InstanceNorm, input) };
        self.node(node, shape, Vec::new(), vec![numerator])
    }

    /// The maps of each group of channels together, of which every fourth only pads.
    pub(crate) fn group_norm(&mut self, input: usize, random: &mut Random) -> usize {
        let shape = self.shape(input);
        let mask: Vec<i8> = (0..shape.2).map(|channel| i8::from(channel % 4 != 3)).collect();
        let counted = shape.2 / 4 * 3;
        let divisors: Vec<usize> = (1..=counted).filter(|groups| counted.is_multiple_of(*groups)).collect();
        let groups = random.of(&divisors);
        let count = (shape.0 * shape.1 * counted / groups) as u32;
        let zeros = (255 * count).leading_zeros();
        let numerator = Requant { c: random.of(&[0, 1, 1 << 20]), m: 120 << 23, s: 54 };
        let operand_multiplier = (2 * zeros as i32 - 2).min(46);
        let node = Node { operand_multiplier, groups: groups as u16, ..self.plain(OpCode::GroupNorm, input) };
        self.node(node, shape, mask, vec![numerator])
    }

    /// Both must have one scale and zero point.
    pub(crate) fn concat(&mut self, first: usize, second: usize) -> usize {
        let (height, width, channels) = self.shape(first);
        let channels = channels + self.shape(second).2;
        let node = Node { operand: second as u16, ..self.plain(OpCode::Concat, first) };
        let output = self.node(node, (height, width, channels), Vec::new(), Vec::new());
        self.tensors[output].zero_point = self.tensors[first].zero_point;
        output
    }
}
