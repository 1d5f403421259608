//! Networks under construction: records, weights and conversions.

use super::Random;
use crate::arith::Requant;
use crate::format::records::{CONCAT_VIEW, NONE, Node, OpCode, Segment, Tensor};
use crate::kernels::layout::{CANONICAL, Layout};
use crate::{ops, rows};

/// A convolution to be added.
#[derive(Clone, Copy)]
pub(crate) struct Conv {
    pub(crate) input: usize,
    pub(crate) channels: usize,
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    pub(crate) pad: usize,
    pub(crate) groups: usize,
    pub(crate) residual: Option<usize>,
    /// Whether it reads its input through an affine.
    pub(crate) prologue: bool,
    pub(crate) layout: &'static Layout,
}

impl Conv {
    pub(crate) fn new(input: usize, channels: usize, kernel: usize) -> Self {
        let layout = &CANONICAL;
        Self { input, channels, kernel, stride: 1, pad: kernel / 2, groups: 1, residual: None, prologue: false, layout }
    }
}

/// A model under construction. Records may be changed before [`pack`](Self::pack), apart from offsets in the file.
#[derive(Clone)]
pub(crate) struct Network {
    pub(crate) tensors: Vec<Tensor>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) segments: Vec<Segment>,
    pub(crate) classes: usize,
    /// Weights or the table of each node, canonical.
    pub(super) weights: Vec<Vec<i8>>,
    pub(super) requants: Vec<Vec<Requant>>,
    pub(super) prologues: Vec<Vec<Requant>>,
    pub(super) pixels: Vec<Requant>,
    /// Zero points of new tensors, in turn.
    pub(crate) zero_points: Vec<i8>,
}

impl Network {
    pub(crate) fn new(height: usize, width: usize, channels: usize) -> Self {
        let mut network = Self {
            tensors: Vec::new(),
            nodes: Vec::new(),
            segments: Vec::new(),
            classes: 1,
            weights: Vec::new(),
            requants: Vec::new(),
            prologues: Vec::new(),
            pixels: Vec::new(),
            zero_points: vec![-128, 3, -7, 0],
        };
        network.tensor(height, width, channels, NONE);
        network.pixels = (0..channels as i64)
            .map(|channel| Requant { c: ((channel - 120) << 38) + (1 << 37), m: 1 << 30, s: 38 })
            .collect();
        network
    }

    fn tensor(&mut self, height: usize, width: usize, channels: usize, producer: u16) -> usize {
        self.tensors.push(Tensor {
            height: height as u16,
            width: width as u16,
            channels: channels as u16,
            pixel_stride: channels as u16,
            ring_rows: height as u16,
            producer,
            zero_point: self.zero_points[self.tensors.len() % self.zero_points.len()],
            scale: 0.05,
            ..Tensor::default()
        });
        self.tensors.len() - 1
    }

    pub(super) fn node(
        &mut self,
        node: Node,
        shape: (usize, usize, usize),
        weights: Vec<i8>,
        requants: Vec<Requant>,
    ) -> usize {
        let output = self.tensor(shape.0, shape.1, shape.2, self.nodes.len() as u16);
        self.nodes.push(Node { output: output as u16, ..node });
        self.weights.push(weights);
        self.requants.push(requants);
        self.prologues.push(Vec::new());
        output
    }

    pub(crate) fn conv(&mut self, conv: Conv, random: &mut Random) -> usize {
        let input = self.tensors[conv.input];
        let size = |length: u16| (usize::from(length) + 2 * conv.pad - conv.kernel) / conv.stride + 1;
        let terms = conv.kernel * conv.kernel * usize::from(input.channels) / conv.groups;
        let node = Node {
            op: OpCode::Conv as u8,
            layout: conv.layout.code,
            rows_per_step: 1,
            input: conv.input as u16,
            operand: conv.residual.map_or(NONE, |tensor| tensor as u16),
            operand_multiplier: if conv.residual.is_some() { 1 << 27 } else { 0 },
            groups: conv.groups as u16,
            kernel_h: conv.kernel as u8,
            kernel_w: conv.kernel as u8,
            stride_h: conv.stride as u8,
            stride_w: conv.stride as u8,
            pad_top: conv.pad as u8,
            pad_left: conv.pad as u8,
            pad_bottom: conv.pad as u8,
            pad_right: conv.pad as u8,
            lo: -100,
            hi: 120,
            ..Node::default()
        };
        let requants = (0..conv.channels).map(|_| random.requant(terms, 36)).collect();
        let weights = random.weights(terms * conv.channels);
        let output = self.node(node, (size(input.height), size(input.width), conv.channels), weights, requants);
        if conv.prologue {
            let node = self.nodes.len() - 1;
            self.prologues[node] = (0..input.channels).map(|_| random.affine()).collect();
            let record = &mut self.nodes[node];
            (record.prologue_zero, record.prologue_lo, record.prologue_hi) = (-90, -90, 110);
        }
        output
    }

    pub(super) fn plain(&self, op: OpCode, input: usize) -> Node {
        let (input, lo, hi) = (input as u16, -128, 127);
        let op = op as u8;
        Node { op, input, lo, hi, operand: NONE, rows_per_step: 1, stride_h: 1, stride_w: 1, ..Node::default() }
    }

    /// The tensors that share their rows' bytes with `index`, which is one of them.
    pub(crate) fn ring_of(&self, index: usize) -> Vec<usize> {
        let ring = self.tensors[index];
        let shares = |other: &usize| {
            let other = &self.tensors[*other];
            !rows::is_view(&self.nodes[..].get(usize::from(other.producer)).copied().unwrap_or_default())
                && other.row_stride == ring.row_stride
                && other.offset.abs_diff(ring.offset) < ring.row_stride
        };
        (0..self.tensors.len()).filter(shares).collect()
    }

    /// Makes the operands of concatenations slices of the results, where they are not already slices of another one.
    /// Tensors have their places.
    pub(crate) fn merge_concats(&mut self) {
        let mut merged = vec![0usize];
        for index in (0..self.nodes.len()).rev() {
            let node = self.nodes[index];
            if OpCode::from_code(node.op) != Some(OpCode::Concat) {
                continue;
            }
            let whole = self.tensors[usize::from(node.output)];
            let mut before = 0;
            for member in [node.input, node.operand].map(usize::from) {
                let tensor = &mut self.tensors[member];
                let offset = whole.offset + before;
                before += u32::from(tensor.channels);
                if !merged.contains(&member) {
                    merged.push(member);
                    let Tensor { row_stride, pixel_stride, ring_rows, .. } = whole;
                    *tensor = Tensor { offset, row_stride, pixel_stride, ring_rows, ..*tensor };
                }
            }
        }
    }

    /// Makes views of the concatenations whose results only convolutions and other views read.
    pub(crate) fn view_concats(&mut self) {
        for index in (0..self.nodes.len()).rev() {
            let (output, operand) = (self.nodes[index].output, self.nodes[index].operand);
            let mut readers = self.nodes.iter().filter(|node| [node.input, node.operand].contains(&output));
            let is_concat = OpCode::from_code(self.nodes[index].op) == Some(OpCode::Concat);
            let copies = |node: &Node| node.output == operand && OpCode::from_code(node.op) == Some(OpCode::Concat);
            if is_concat
                && usize::from(output) + 1 < self.tensors.len()
                && readers.all(|node| node.operand != output && ops::reads_views(node))
                && !self.nodes.iter().any(copies)
            {
                self.nodes[index].flags = CONCAT_VIEW;
                let tensor = &mut self.tensors[usize::from(output)];
                (tensor.offset, tensor.ring_rows) = (0, 1);
            }
        }
    }

    /// Makes `tensor` lie where `other` does.
    pub(crate) fn alias(&mut self, tensor: usize, other: usize) {
        let Tensor { offset, row_stride, pixel_stride, ring_rows, .. } = self.tensors[other];
        let tensor = &mut self.tensors[tensor];
        *tensor = Tensor { offset, row_stride, pixel_stride, ring_rows, ..*tensor };
    }

    /// Places all tensors one after the other, each with all that its ring needs.
    pub(crate) fn place(&mut self) {
        let mut offset = 0;
        for tensor in &mut self.tensors {
            tensor.row_stride = (u32::from(tensor.width) * u32::from(tensor.pixel_stride)).next_multiple_of(16);
            tensor.offset = offset;
            offset += u32::from(tensor.ring_rows) * tensor.row_stride;
        }
    }
}
