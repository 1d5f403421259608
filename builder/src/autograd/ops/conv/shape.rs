//! Layouts around the kernels: padded maps, packed weights.

use super::map_dims;
use crate::kernels::correlate::{Patches, Target, WeightGradient};
use crate::kernels::grouped::{Expansion, GroupedWeightGradient};
use crate::kernels::rounded::{self, Source, Weights};
use crate::kernels::tiles::BLOCK;
use crate::kernels::x86::bf16::Bf16;
use crate::kernels::{dispatch, with_scratch};
use crate::tensor::Tensor;
use skipstone_onnx::Conv;

/// One residue of an axis of the operand with respect to the stride.
pub(super) struct Axis {
    /// The first position, below the stride.
    pub(super) phase: usize,
    /// Positions `phase, phase + stride, ...` on the axis.
    pub(super) count: usize,
    /// The first kernel element that meets these positions; the others follow at distances of the stride.
    pub(super) first: usize,
    /// Number of such elements.
    pub(super) taps: usize,
    /// The result's position that meets the phase's first position with kernel element `first`; it may lie outside.
    pub(super) last: usize,
}

impl Axis {
    pub(super) fn all(size: usize, kernel: usize, stride: usize, pad: usize) -> Vec<Self> {
        (0..stride.min(size))
            .map(|phase| {
                let first = (phase + pad) % stride;
                Self {
                    phase,
                    count: (size - phase).div_ceil(stride),
                    first,
                    taps: kernel.saturating_sub(first).div_ceil(stride),
                    last: (phase + pad) / stride,
                }
            })
            .collect()
    }

    /// Zeros needed before the result's gradient, and positions in all.
    pub(super) fn extent(axes: &[Self], size: usize) -> (usize, usize) {
        let before = axes.iter().map(|axis| axis.taps.saturating_sub(axis.last + 1)).max().unwrap_or(0);
        let reach = axes.iter().map(|axis| axis.last + axis.count).max().unwrap_or(0);
        (before, before + reach.max(size))
    }
}

/// Height, width and channels of an image.
#[derive(Clone, Copy)]
pub(super) struct Map {
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) channels: usize,
}

impl Map {
    pub(super) fn of(x: &Tensor) -> Self {
        let [height, width, channels] = map_dims(x);
        Self { height, width, channels }
    }

    pub(super) fn elements(self) -> usize {
        self.height * self.width * self.channels
    }

    pub(super) fn target(self, first: usize, channels: usize) -> Target {
        Target { start: first, row_step: self.width * self.channels, column_step: self.channels, channels }
    }
}

/// A region around an image, with zeros where it is outside, of some of its channels.
pub(super) struct Frame {
    pub(super) top: usize,
    pub(super) left: usize,
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) first: usize,
    pub(super) count: usize,
}

impl Frame {
    /// Calls `work` with the region: the image itself if it is all of it, else a copy. With an expansion, every pixel
    /// of the copy is expanded.
    pub(super) fn with_copy<R>(
        &self,
        image: &[f32],
        map: Map,
        expansion: Option<Expansion>,
        work: impl FnOnce(&[f32]) -> R,
    ) -> R {
        if let Some(expansion) = expansion {
            return self.with_expanded(image, map, expansion, work);
        }
        if (self.height, self.width, self.count) == (map.height, map.width, map.channels) {
            return work(image);
        }
        with_scratch(self.height * self.width * self.count, |copy| {
            let rows = map.height.min(self.height - self.top);
            let columns = map.width.min(self.width - self.left);
            let (left, right) = (self.left * self.count, (self.left + columns) * self.count);
            let (above, copy_rows) = copy.split_at_mut(self.top * self.width * self.count);
            let (copy_rows, below) = copy_rows.split_at_mut(rows * self.width * self.count);
            above.fill(0.0);
            below.fill(0.0);
            let from = image.chunks_exact(map.width * map.channels);
            for (to, from) in copy_rows.chunks_exact_mut((self.width * self.count).max(1)).zip(from) {
                to[..left].fill(0.0);
                to[right..].fill(0.0);
                let (to, from) = (&mut to[left..right], &from[..columns * map.channels]);
                if self.count == map.channels {
                    to.copy_from_slice(from);
                } else {
                    for (to, from) in to.chunks_exact_mut(self.count).zip(from.chunks_exact(map.channels)) {
                        to.copy_from_slice(&from[self.first..][..self.count]);
                    }
                }
            }
            work(copy)
        })
    }

    fn with_expanded<R>(&self, image: &[f32], map: Map, expansion: Expansion, work: impl FnOnce(&[f32]) -> R) -> R {
        let pixel = expansion.size() * BLOCK;
        with_scratch(self.height * self.width * pixel, |copy| {
            let mut rows = copy.chunks_exact_mut((self.width * pixel).max(1));
            rows.by_ref().take(self.top).for_each(|row| row.fill(0.0));
            for (from, to) in image.chunks_exact(map.width * map.channels).zip(rows.by_ref()) {
                let columns = map.width.min(self.width - self.left);
                to[..self.left * pixel].fill(0.0);
                to[(self.left + columns) * pixel..].fill(0.0);
                let to = &mut to[self.left * pixel..][..columns * pixel];
                expansion.expand(to, &from[self.first..], map.channels);
            }
            rows.for_each(|row| row.fill(0.0));
            work(copy)
        })
    }
}

/// A convolution and its images.
///
/// Groups of few channels, as many inputs as outputs, are computed [`BLOCK`] channels at a time with the kernels of
/// [`grouped`](crate::kernels::grouped), where the channels make whole blocks. Otherwise neighbouring groups whose
/// channels fit into one block together are computed as one, with zeros where a weight would join two of them: the same
/// work in fewer and longer runs.
pub(super) struct Shape<'g> {
    pub(super) conv: &'g Conv,
    pub(super) input: Map,
    pub(super) output: Map,
    /// Groups after joining.
    pub(super) groups: usize,
    /// How pixels are expanded, if they are: then a pixel has elements of [`BLOCK`] lanes.
    pub(super) expansion: Option<Expansion>,
    /// For products in bfloat16.
    pub(super) bf16: Option<Bf16>,
}

/// Where a weight belongs.
struct Weight {
    /// Its group after joining.
    group: usize,
    /// Output and input among the channels of the joined group.
    lanes: [usize; 2],
    /// Output and input among the elements of a pixel.
    elements: [usize; 2],
    /// The first element of its kernel in OIHW.
    from: usize,
}

impl<'g> Shape<'g> {
    pub(super) fn new(conv: &'g Conv, x: &Tensor, y: &Tensor, bf16: Option<Bf16>) -> Self {
        let (input, output) = (Map::of(x), Map::of(y));
        let widest = input.channels.max(output.channels);
        let joins = |&groups: &usize| conv.groups.is_multiple_of(groups) && widest / groups <= BLOCK;
        let groups = (1..=conv.groups).find(joins).unwrap_or(conv.groups);
        let same = input.channels == output.channels && input.channels.is_multiple_of(BLOCK);
        if let Some(expansion) = Expansion::new(input.channels / conv.groups).filter(|_| same) {
            let groups = input.channels / BLOCK;
            return Self { conv, input, output, groups, expansion: Some(expansion), bf16: None };
        }
        let bf16 = bf16.filter(|_| [input, output].iter().all(|map| rounded::suits(map.channels / groups)));
        Self { conv, input, output, groups, expansion: None, bf16 }
    }

    pub(super) fn inputs_per_group(&self) -> usize {
        self.input.channels / self.groups
    }

    pub(super) fn outputs_per_group(&self) -> usize {
        self.output.channels / self.groups
    }

    /// Elements of a pixel of the operand within one group.
    fn input_elements(&self) -> usize {
        self.expansion.map_or(self.inputs_per_group(), Expansion::size)
    }

    /// Elements of a pixel of the result's gradient within one group.
    pub(super) fn output_elements(&self) -> usize {
        self.expansion.map_or(self.outputs_per_group(), Expansion::size)
    }

    /// Elements of a patch within one group.
    fn patch(&self) -> usize {
        self.conv.kernel[0] * self.conv.kernel[1] * self.input_elements()
    }

    /// Runs [`Correlate`](crate::kernels::correlate::Correlate), or its form for groups of few channels, with the
    /// weights of one group.
    pub(super) fn correlate(
        &self,
        group: usize,
        source: Source,
        patches: Patches,
        weights: &Weights,
        out: &mut [f32],
        target: Target,
    ) {
        let group = [group, self.groups];
        match self.expansion {
            None => weights.correlate(group, source, patches, out, target),
            Some(_) => weights.correlate_grouped(group, source, patches, out, target),
        }
    }

    /// Runs [`WeightGradient`], in either precision, or its form for groups.
    pub(super) fn weight_gradient(&self, source: &[f32], grad: &[f32], out: &mut [f32]) {
        let patches = self.patches();
        let channels = self.outputs_per_group().next_multiple_of(BLOCK);
        match (self.expansion, self.bf16) {
            (Some(_), _) => dispatch(GroupedWeightGradient { source, patches, grad, out }),
            (None, None) => dispatch(WeightGradient { source, patches, grad, out }),
            (None, Some(bf16)) => rounded::weight_gradient(bf16, source, patches, (grad, channels), out),
        }
    }

    /// Elements of the packed weights of one group.
    pub(super) fn packed_len(&self) -> usize {
        self.outputs_per_group().next_multiple_of(BLOCK) * self.patch()
    }

    fn padded_width(&self) -> usize {
        self.input.width + self.conv.pads[1] + self.conv.pads[3]
    }

    /// The patches of one group in the padded image.
    pub(super) fn patches(&self) -> Patches {
        let pixel = self.input_elements();
        let row = self.padded_width() * pixel;
        Patches {
            runs: self.conv.kernel[0],
            run: self.conv.kernel[1] * pixel,
            start: 0,
            run_step: row,
            row_step: self.conv.stride[0] * row,
            column_step: self.conv.stride[1] * pixel,
            rows: self.output.height,
            columns: self.output.width,
        }
    }

    /// Calls `work` with one group of the padded image.
    pub(super) fn with_padded<R>(&self, image: &[f32], group: usize, work: impl FnOnce(&[f32]) -> R) -> R {
        let [top, left, bottom, _] = self.conv.pads;
        let (height, width) = (top + self.input.height + bottom, self.padded_width());
        let count = self.inputs_per_group();
        Frame { top, left, height, width, first: group * count, count }.with_copy(
            image,
            self.input,
            self.expansion,
            work,
        )
    }

    /// Calls `work` with one group of the result's gradient, its channels padded to whole blocks.
    pub(super) fn with_blocks<R>(&self, grad: &[f32], group: usize, work: impl FnOnce(&[f32]) -> R) -> R {
        let count = self.outputs_per_group();
        if self.groups == 1 && count.is_multiple_of(BLOCK) {
            return work(grad);
        }
        let padded = count.next_multiple_of(BLOCK);
        with_scratch(self.output.height * self.output.width * padded, |copy| {
            for (to, from) in copy.chunks_exact_mut(padded).zip(grad.chunks_exact(self.output.channels)) {
                to[..count].copy_from_slice(&from[group * count..][..count]);
                to[count..].fill(0.0);
            }
            work(copy)
        })
    }

    /// The places of all weights.
    fn weights(&self) -> impl Iterator<Item = Weight> {
        let [inputs, outputs] = [self.input.channels, self.output.channels].map(|count| count / self.conv.groups);
        let (joined, kernel) = (self.conv.groups / self.groups, self.conv.kernel[0] * self.conv.kernel[1]);
        (0..self.output.channels * inputs).map(move |index| {
            let (o, i) = (index / inputs, index % inputs);
            let group = o / outputs;
            let lanes = [o % (joined * outputs), group % joined * inputs + i];
            let elements = if self.expansion.is_some() { [o % outputs, i] } else { lanes };
            Weight { group: group / joined, lanes, elements, from: index * kernel }
        })
    }

    /// Calls `each` with the positions of every weight in the packed layout and in OIHW.
    fn each_weight(&self, mut each: impl FnMut(usize, usize)) {
        let inputs = self.input_elements();
        for Weight { group, lanes: [lane, _], elements: [_, element], from } in self.weights() {
            let block = group * self.packed_len() + lane / BLOCK * self.patch() * BLOCK + lane % BLOCK;
            for tap in 0..self.conv.kernel[0] * self.conv.kernel[1] {
                each(block + (tap * inputs + element) * BLOCK, from + tap);
            }
        }
    }

    /// OIHW to `[group][block][kernel row][kernel column][element][BLOCK]`.
    pub(super) fn pack(&self, weight: &[f32]) -> Vec<f32> {
        let mut packed = vec![0.0; self.groups * self.packed_len()];
        self.each_weight(|at, from| packed[at] = weight[from]);
        packed
    }

    pub(super) fn unpack(&self, packed: &[f32]) -> Vec<f32> {
        let per_output = self.input.channels / self.conv.groups * self.conv.kernel[0] * self.conv.kernel[1];
        let mut weight = vec![0.0; self.output.channels * per_output];
        self.each_weight(|at, to| weight[to] = packed[at]);
        weight
    }

    /// The turned kernel of one phase: `[group][block of inputs][row][column][element][BLOCK]`.
    pub(super) fn pack_turned(&self, weight: &[f32], rows: &Axis, columns: &Axis) -> Vec<f32> {
        let kernel_w = self.conv.kernel[1];
        let [stride_h, stride_w] = self.conv.stride;
        let (inputs, outputs) = (self.inputs_per_group(), self.output_elements());
        let patch = rows.taps * columns.taps * outputs;
        let group_len = inputs.next_multiple_of(BLOCK) * patch;
        let mut packed = vec![0.0; self.groups * group_len];
        for Weight { group, lanes: [_, lane], elements: [element, _], from } in self.weights() {
            for row in 0..rows.taps {
                for column in 0..columns.taps {
                    let y = rows.first + (rows.taps - 1 - row) * stride_h;
                    let x = columns.first + (columns.taps - 1 - column) * stride_w;
                    let at = (row * columns.taps + column) * outputs + element;
                    packed[group * group_len + (lane / BLOCK * patch + at) * BLOCK + lane % BLOCK] =
                        weight[from + y * kernel_w + x];
                }
            }
        }
        packed
    }
}
