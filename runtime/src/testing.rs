//! Packed models made by hand, and their naive execution, for tests.

use crate::arith::{Requant, raise};
use crate::format::records::{ALIGNMENT, Header, MAGIC, NONE, Node, OpCode, Segment, Tensor, VERSION, WeightKind};
use crate::format::{checksum, strings};
use crate::geometry;

/// Bytes that start at a multiple of 16.
#[derive(Clone)]
pub(crate) struct Aligned(Vec<u128>, usize);

impl Aligned {
    pub(crate) fn zeroed(len: usize) -> Self {
        Self(vec![0; len.div_ceil(ALIGNMENT)], len)
    }
    pub(crate) fn copy_of(bytes: &[u8]) -> Self {
        let mut aligned = Self::zeroed(bytes.len());
        aligned.copy_from_slice(bytes);
        aligned
    }
    /// Writes the right checksum.
    pub(crate) fn seal(&mut self) {
        let sum = checksum::of_file(self);
        self[12..16].copy_from_slice(&sum.to_le_bytes());
    }
}

impl std::ops::Deref for Aligned {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.0)[..self.1]
    }
}

impl std::ops::DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.0)[..self.1]
    }
}

/// xorshift64*.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }
    pub(crate) fn next(&mut self) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32) as u32
    }
    pub(crate) fn int8(&mut self) -> i8 {
        self.next() as i8
    }
    pub(crate) fn weights(&mut self, count: usize) -> Vec<i8> {
        (0..count).map(|_| self.int8().max(-127)).collect()
    }
    /// One that spreads accumulators of `terms` products over the int8 values.
    pub(crate) fn requant(&mut self, terms: usize, shift: u32) -> Requant {
        let spread = 128.0 * 60.0 * (terms as f64).sqrt();
        let m = ((70.0 / spread) * (1u64 << shift) as f64 * (0.5 + f64::from(self.next() % 1000) / 1000.0)) as i32;
        let c = (i64::from(self.int8() / 4) << shift) + (1 << (shift - 1));
        Requant { c, m, s: shift }
    }
}

/// Canonical weights of one group as pairs.
pub(crate) fn to_pairs(canonical: &[i8], channels: usize, kernel_h: usize, run: usize) -> Vec<i8> {
    let mut pairs = vec![0; channels * kernel_h * run.next_multiple_of(4)];
    for (at, &weight) in canonical.iter().enumerate() {
        let (channel, row, k) = (at / run / kernel_h, at / run % kernel_h, at % run);
        pairs[geometry::pairs_index(kernel_h, run, channel, row, k)] = weight;
    }
    pairs
}

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
    pub(crate) kind: WeightKind,
}

impl Conv {
    pub(crate) fn new(input: usize, channels: usize, kernel: usize) -> Self {
        let kind = WeightKind::Canonical;
        Self { input, channels, kernel, stride: 1, pad: kernel / 2, groups: 1, residual: None, kind }
    }
}

/// A model under construction. Records may be changed before [`pack`](Self::pack), apart from offsets in the file.
#[derive(Clone)]
pub(crate) struct Network {
    pub(crate) tensors: Vec<Tensor>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) segments: Vec<Segment>,
    pub(crate) classes: usize,
    weights: Vec<Vec<i8>>,
    requants: Vec<Vec<Requant>>,
    pixels: Vec<Requant>,
    /// Whether pairs are accompanied by canonical weights.
    pub(crate) keep_canonical: bool,
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
            pixels: Vec::new(),
            keep_canonical: false,
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
            zero_point: [-128, 3, -7, 0][self.tensors.len() % 4],
            scale: 0.05,
            ..Tensor::default()
        });
        self.tensors.len() - 1
    }

    fn node(&mut self, node: Node, shape: (usize, usize, usize), weights: Vec<i8>, requants: Vec<Requant>) -> usize {
        let output = self.tensor(shape.0, shape.1, shape.2, self.nodes.len() as u16);
        self.nodes.push(Node { output: output as u16, ..node });
        self.weights.push(weights);
        self.requants.push(requants);
        output
    }

    pub(crate) fn conv(&mut self, conv: Conv, random: &mut Random) -> usize {
        let input = self.tensors[conv.input];
        let size = |length: u16| (usize::from(length) + 2 * conv.pad - conv.kernel) / conv.stride + 1;
        let terms = conv.kernel * conv.kernel * usize::from(input.channels) / conv.groups;
        let node = Node {
            op: OpCode::Conv as u8,
            weight_kind: conv.kind as u8,
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
        self.node(node, (size(input.height), size(input.width), conv.channels), weights, requants)
    }

    fn plain(&self, op: OpCode, input: usize) -> Node {
        let (input, lo, hi) = (input as u16, -128, 127);
        let op = op as u8;
        Node { op, input, lo, hi, operand: NONE, rows_per_step: 1, stride_h: 1, stride_w: 1, ..Node::default() }
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

    pub(crate) fn shortcut(&mut self, input: usize, stride: usize, before: usize, channels: usize) -> usize {
        let t = self.tensors[input];
        let node = Node {
            stride_h: stride as u8,
            stride_w: stride as u8,
            channels_before: before as u16,
            ..self.plain(OpCode::Shortcut, input)
        };
        let size = |length: u16| usize::from(length).div_ceil(stride);
        let output = self.node(node, (size(t.height), size(t.width), channels), Vec::new(), Vec::new());
        self.tensors[output].zero_point = t.zero_point;
        output
    }

    /// Makes `tensor` lie where `other` does.
    pub(crate) fn alias(&mut self, tensor: usize, other: usize) {
        let Tensor { offset, row_stride, pixel_stride, ring_rows, .. } = self.tensors[other];
        let tensor = &mut self.tensors[tensor];
        *tensor = Tensor { offset, row_stride, pixel_stride, ring_rows, ..*tensor };
    }

    /// Places all tensors behind each other, each with all that its ring needs.
    pub(crate) fn place(&mut self) {
        let mut offset = 0;
        for tensor in &mut self.tensors {
            tensor.row_stride = (u32::from(tensor.width) * u32::from(tensor.pixel_stride)).next_multiple_of(16);
            tensor.offset = offset;
            offset += u32::from(tensor.ring_rows) * tensor.row_stride;
        }
    }

    /// The file.
    pub(crate) fn pack(&self) -> Aligned {
        let mut network = self.clone();
        let mut body = vec![0; Header::LEN];
        let mut blob = |bytes: &[u8]| {
            let offset = body.len();
            body.extend_from_slice(bytes);
            body.resize(body.len().next_multiple_of(ALIGNMENT), 0);
            offset as u32
        };
        let end = self.tensors.iter().map(|t| t.offset + u32::from(t.ring_rows) * t.row_stride).max();
        let mut end = end.unwrap_or(0).next_multiple_of(16);
        let mut scratch_len = 0;
        for (index, node) in network.nodes.iter_mut().enumerate() {
            let (input, output) = (&self.tensors[usize::from(node.input)], &self.tensors[usize::from(node.output)]);
            let weights = &self.weights[index];
            if WeightKind::from_code(node.weight_kind) == Some(WeightKind::Pairs) {
                let run = usize::from(node.kernel_w) * usize::from(input.channels);
                let pairs = to_pairs(weights, output.channels.into(), node.kernel_h.into(), run);
                node.weights = blob(bytemuck::cast_slice(&pairs));
                node.weights_len = pairs.len() as u32;
                if self.keep_canonical {
                    node.canonical = blob(bytemuck::cast_slice(weights));
                }
            } else {
                node.weights = blob(bytemuck::cast_slice(weights));
                node.weights_len = weights.len() as u32;
            }
            node.requant = blob(bytemuck::cast_slice(&self.requants[index]));
            node.state_len = geometry::state_len(node, output) as u32;
            node.state = if node.state_len > 0 { end } else { 0 };
            end += node.state_len.next_multiple_of(16);
            scratch_len = scratch_len.max(geometry::scratch_len(node, input, output) as u32);
        }
        let mut names = Vec::new();
        let name = strings::append(&mut names, "");
        let class_names = names.len() as u32;
        for class in 0..self.classes {
            strings::append(&mut names, &format!("class {class}"));
        }
        let provenance = strings::append(&mut names, "a test");
        let mut header = Header {
            magic: MAGIC,
            version: VERSION,
            scratch: end,
            scratch_len,
            counters: end + scratch_len.next_multiple_of(16),
            tensor_count: self.tensors.len() as u16,
            node_count: self.nodes.len() as u16,
            segment_count: self.segments.len().max(1) as u16,
            class_count: self.classes as u16,
            output: self.tensors.len() as u16 - 1,
            strings: blob(&names),
            strings_len: names.len() as u32,
            pixels: blob(bytemuck::cast_slice(&self.pixels)),
            class_names,
            provenance,
            tensors: blob(&self.tensors.iter().flat_map(|t| Tensor { name, ..*t }.emit()).collect::<Vec<_>>()),
            nodes: blob(&network.nodes.iter().flat_map(Node::emit).collect::<Vec<_>>()),
            ..Header::default()
        };
        let whole = [Segment { first: 0, end: header.node_count, operand_first: 1 }];
        let segments = if self.segments.is_empty() { &whole[..] } else { &self.segments };
        header.segments = blob(&segments.iter().flat_map(Segment::emit).collect::<Vec<_>>());
        header.arena_len = header.counters + 2 * u32::from(header.node_count);
        header.file_len = body.len() as u32;
        body[..Header::LEN].copy_from_slice(&header.emit());
        let mut file = Aligned::copy_of(&body);
        file.seal();
        file
    }

    /// Every tensor as a whole map, by the operators' definitions.
    pub(crate) fn naive(&self, pixels: &[u8]) -> Vec<Vec<i8>> {
        let mut maps = vec![Vec::new(); self.tensors.len()];
        let convert =
            |(i, &pixel): (usize, &u8)| self.pixels[i % self.pixels.len()].apply(raise(pixel.into()), i8::MIN, i8::MAX);
        maps[0] = pixels.iter().enumerate().map(convert).collect();
        for index in 0..self.nodes.len() {
            let node = &self.nodes[index];
            let (h, w, c) = shape(&self.tensors[usize::from(node.output)]);
            let mut made = Vec::new();
            for y in 0..h {
                for x in 0..w {
                    made.extend((0..c).map(|channel| self.value(index, &maps, y, x, channel)));
                }
            }
            maps[usize::from(node.output)] = made;
        }
        maps
    }

    fn value(&self, index: usize, maps: &[Vec<i8>], y: usize, x: usize, channel: usize) -> i8 {
        let node = &self.nodes[index];
        let input = &self.tensors[usize::from(node.input)];
        let (height, width, channels) = shape(input);
        let (_, out_width, out_channels) = shape(&self.tensors[usize::from(node.output)]);
        let at =
            |y: usize, x: usize, channel: usize| maps[usize::from(node.input)][(y * width + x) * channels + channel];
        let (stride_y, stride_x) = (usize::from(node.stride_h), usize::from(node.stride_w));
        let operand = || maps[usize::from(node.operand)][(y * out_width + x) * out_channels + channel];
        match OpCode::from_code(node.op) {
            Some(OpCode::Conv) => {
                let requant = &self.requants[index][channel];
                let per_group = channels / usize::from(node.groups);
                let group = channel / (out_channels / usize::from(node.groups));
                let (kernel_h, kernel_w) = (usize::from(node.kernel_h), usize::from(node.kernel_w));
                let mut acc = 0;
                for ky in 0..kernel_h {
                    for kx in 0..kernel_w {
                        let y = (y * stride_y + ky).checked_sub(node.pad_top.into()).filter(|&y| y < height);
                        let x = (x * stride_x + kx).checked_sub(node.pad_left.into()).filter(|&x| x < width);
                        for ci in 0..per_group {
                            let value = match (y, x) {
                                (Some(y), Some(x)) => at(y, x, group * per_group + ci),
                                _ => input.zero_point,
                            };
                            let weight = ((channel * kernel_h + ky) * kernel_w + kx) * per_group + ci;
                            acc += i32::from(value) * i32::from(self.weights[index][weight]);
                        }
                    }
                }
                if node.operand == NONE {
                    requant.apply(acc, node.lo, node.hi)
                } else {
                    requant.apply_residual(acc, operand(), node.operand_multiplier, node.lo, node.hi)
                }
            }
            Some(OpCode::Add) => {
                let value = raise(at(y, x, channel).into());
                self.requants[index][0].apply_residual(value, operand(), node.operand_multiplier, node.lo, node.hi)
            }
            Some(OpCode::GlobalAveragePool) => {
                let sum = (0..height * width).map(|i| i32::from(at(i / width, i % width, channel))).sum();
                self.requants[index][0].apply(raise(sum), node.lo, node.hi)
            }
            Some(OpCode::Shortcut) => match channel.checked_sub(node.channels_before.into()) {
                Some(channel) if channel < channels => at(y * stride_y, x * stride_x, channel),
                _ => self.tensors[usize::from(node.output)].zero_point,
            },
            _ => unreachable!("tests know their operators"),
        }
    }
}

fn shape(tensor: &Tensor) -> (usize, usize, usize) {
    (tensor.height.into(), tensor.width.into(), tensor.channels.into())
}

/// Every operator once: a residual in place, a parameter-free shortcut, a residual that is copied, a sum, a pool, a
/// linear layer whose kernel is the whole map, one whose kernel is a pixel.
pub(crate) fn small_resnet(height: usize, width: usize, kind: WeightKind) -> Network {
    let mut random = Random::new(7);
    let mut net = Network::new(height, width, 3);
    let stem = net.conv(Conv { kind, ..Conv::new(0, 8, 3) }, &mut random);
    let a = net.conv(Conv { kind, ..Conv::new(stem, 8, 3) }, &mut random);
    let in_place = net.conv(Conv { kind, residual: Some(stem), ..Conv::new(a, 8, 3) }, &mut random);
    let shortcut = net.shortcut(in_place, 2, 4, 16);
    let b = net.conv(Conv { kind, stride: 2, ..Conv::new(in_place, 12, 3) }, &mut random);
    let copied = net.conv(Conv { kind, residual: Some(shortcut), ..Conv::new(b, 16, 3) }, &mut random);
    let grouped = net.conv(Conv { groups: 4, ..Conv::new(copied, 16, 3) }, &mut random);
    let sum = net.add(grouped, copied);
    let pooled = net.pool(sum);
    net.conv(Conv { kind, ..Conv::new(pooled, 12, 1) }, &mut random);
    net.classes = 10;
    net.place();
    net.alias(in_place, stem);
    net
}
