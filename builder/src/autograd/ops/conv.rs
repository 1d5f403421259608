//! Convolution: layouts around the kernels.

use super::{chunk_images, map_dims, shared};
use crate::autograd::Shared;
use crate::autograd::kernels::{BLOCK, Correlate, Patches, Target, WeightGradient, dispatch};
use crate::autograd::pool::with_scratch;
use crate::autograd::tape::{Backward, Forward, Gradients};
use crate::tensor::Tensor;
use rayon::prelude::*;
use skipstone_onnx::{Conv, Node};
use std::sync::Arc;

pub(super) fn forward<'g>(
    cx: &mut Forward<'g, '_>,
    node: &'g Node,
    conv: &'g Conv,
    x: Shared,
) -> (Shared, Option<Backward<'g>>) {
    let weight = cx.parameter(node.inputs[1]);
    let bias = node.inputs.get(2).map(|&id| cx.parameter(id));
    let mut y = cx.output(node, x.batch());
    let shape = Shape::new(conv, &x, &y);
    let packed = shape.pack(weight);
    let (x_len, y_len) = (shape.input.elements(), shape.output.elements());
    y.data_mut().par_chunks_mut(y_len).zip(x.data().par_chunks(x_len)).for_each(|(y, x)| {
        for group in 0..shape.groups {
            let patches = shape.patches();
            shape.with_padded(x, group, |source| {
                let weights = &packed[group * shape.packed_len()..][..shape.packed_len()];
                let channels = shape.outputs_per_group();
                let target = shape.output.target(group * channels, channels);
                dispatch(Correlate { source, patches, weights, out: &mut *y, target });
            });
        }
        if let Some(bias) = bias {
            for pixel in y.chunks_exact_mut(bias.len()) {
                pixel.iter_mut().zip(bias).for_each(|(y, bias)| *y += bias);
            }
        }
    });
    if !cx.training {
        cx.pool.release(x);
        return shared(y, None);
    }
    let x = cx.save(node.inputs[0], x);
    let backward = cx.record(move |gradients, grad| {
        let x = x.get(gradients.pool);
        let (dw, db) = weight_gradient(&shape, &x, &grad);
        gradients.add_parameter(node.inputs[1], dw);
        if let Some(&bias) = node.inputs.get(2) {
            gradients.add_parameter(bias, db);
        }
        if gradients.wants(node.inputs[0]) {
            let dx = input_gradient(&shape, weight, x.dims(), &grad, gradients);
            gradients.add(node.inputs[0], Arc::new(dx));
        }
        gradients.pool.release(grad);
        gradients.pool.release(x);
    });
    shared(y, backward)
}

/// Gradients of weight and bias.
fn weight_gradient(shape: &Shape, x: &Tensor, grad: &Tensor) -> (Vec<f32>, Vec<f32>) {
    let groups = shape.groups;
    let (x_len, y_len) = (shape.input.elements(), shape.output.elements());
    let images = chunk_images(x.batch());
    let mut chunks = Vec::new();
    x.data()
        .par_chunks(images * x_len)
        .zip(grad.data().par_chunks(images * y_len))
        .map(|(x, grad)| {
            let mut sums = vec![0.0; groups * shape.packed_len()];
            let mut bias = vec![0.0; shape.output.channels];
            for (x, grad) in x.chunks_exact(x_len).zip(grad.chunks_exact(y_len)) {
                for group in 0..groups {
                    let out = &mut sums[group * shape.packed_len()..][..shape.packed_len()];
                    shape.with_padded(x, group, |source| {
                        shape.with_blocks(grad, group, |grad| {
                            dispatch(WeightGradient { source, patches: shape.patches(), grad, out });
                        });
                    });
                }
                for pixel in grad.chunks_exact(bias.len()) {
                    bias.iter_mut().zip(pixel).for_each(|(sum, grad)| *sum += grad);
                }
            }
            (sums, bias)
        })
        .collect_into_vec(&mut chunks);
    let add = |mut a: Vec<f32>, b: Vec<f32>| {
        a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
        a
    };
    let (sums, bias) = chunks.into_iter().reduce(|a, b| (add(a.0, b.0), add(a.1, b.1))).unwrap_or_default();
    (shape.unpack(&sums), bias)
}

/// Gradient of the operand. For a stride of `s`, the rows `r, r + s, ...` of it are a correlation of the result's
/// gradient with every `s`-th row of the turned kernel; so are the columns.
fn input_gradient(shape: &Shape, weight: &[f32], dims: &[usize], grad: &Tensor, gradients: &Gradients) -> Tensor {
    let [kernel_h, kernel_w] = shape.conv.kernel;
    let [stride_h, stride_w] = shape.conv.stride;
    let rows = Axis::all(shape.input.height, kernel_h, stride_h, shape.conv.pads[0]);
    let columns = Axis::all(shape.input.width, kernel_w, stride_w, shape.conv.pads[1]);
    let (top, height) = Axis::extent(&rows, shape.output.height);
    let (left, width) = Axis::extent(&columns, shape.output.width);
    let packed: Vec<Vec<f32>> =
        rows.iter().flat_map(|row| columns.iter().map(|column| shape.pack_turned(weight, row, column))).collect();
    let (inputs, outputs) = (shape.inputs_per_group(), shape.outputs_per_group());
    let mut dx = gradients.pool.tensor(dims);
    let (x_len, y_len) = (shape.input.elements(), shape.output.elements());
    dx.data_mut().par_chunks_mut(x_len).zip(grad.data().par_chunks(y_len)).for_each(|(dx, grad)| {
        for group in 0..shape.groups {
            let frame = Frame { top, left, height, width, first: group * outputs, count: outputs };
            frame.with_copy(grad, shape.output, |source| {
                for (index, packed) in packed.iter().enumerate() {
                    let (row, column) = (&rows[index / columns.len()], &columns[index % columns.len()]);
                    let len = packed.len() / shape.groups;
                    let empty = row.taps == 0 || column.taps == 0;
                    let start = if empty {
                        0
                    } else {
                        ((top + row.last - (row.taps - 1)) * width + left + column.last - (column.taps - 1)) * outputs
                    };
                    let patches = Patches {
                        runs: if empty { 0 } else { row.taps },
                        run: if empty { 0 } else { column.taps * outputs },
                        start,
                        run_step: width * outputs,
                        row_step: width * outputs,
                        column_step: outputs,
                        rows: row.count,
                        columns: column.count,
                    };
                    let target = Target {
                        start: (row.phase * shape.input.width + column.phase) * shape.input.channels + group * inputs,
                        row_step: stride_h * shape.input.width * shape.input.channels,
                        column_step: stride_w * shape.input.channels,
                        channels: inputs,
                    };
                    let weights = &packed[group * len..][..len];
                    dispatch(Correlate { source, patches, weights, out: &mut *dx, target });
                }
            });
        }
    });
    dx
}

/// One residue of an axis of the operand with respect to the stride.
struct Axis {
    /// The first position, below the stride.
    phase: usize,
    /// Positions `phase, phase + stride, ...` on the axis.
    count: usize,
    /// The first kernel element that meets these positions; the others follow at distances of the stride.
    first: usize,
    /// Number of such elements.
    taps: usize,
    /// The result's position that meets the phase's first position with kernel element `first`; it may lie outside.
    last: usize,
}

impl Axis {
    fn all(size: usize, kernel: usize, stride: usize, pad: usize) -> Vec<Self> {
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
    fn extent(axes: &[Self], size: usize) -> (usize, usize) {
        let before = axes.iter().map(|axis| axis.taps.saturating_sub(axis.last + 1)).max().unwrap_or(0);
        let reach = axes.iter().map(|axis| axis.last + axis.count).max().unwrap_or(0);
        (before, before + reach.max(size))
    }
}

/// Height, width and channels of an image.
#[derive(Clone, Copy)]
struct Map {
    height: usize,
    width: usize,
    channels: usize,
}

impl Map {
    fn of(x: &Tensor) -> Self {
        let [height, width, channels] = map_dims(x);
        Self { height, width, channels }
    }

    fn elements(self) -> usize {
        self.height * self.width * self.channels
    }

    fn target(self, first: usize, channels: usize) -> Target {
        Target { start: first, row_step: self.width * self.channels, column_step: self.channels, channels }
    }
}

/// A region around an image, with zeros where it is outside, of some of its channels.
struct Frame {
    top: usize,
    left: usize,
    height: usize,
    width: usize,
    first: usize,
    count: usize,
}

impl Frame {
    /// Calls `work` with the region: the image itself if it is all of it, else a copy.
    fn with_copy<R>(&self, image: &[f32], map: Map, work: impl FnOnce(&[f32]) -> R) -> R {
        if (self.height, self.width, self.count) == (map.height, map.width, map.channels) {
            return work(image);
        }
        with_scratch(self.height * self.width * self.count, |copy| {
            copy.fill(0.0);
            let rows = map.height.min(self.height - self.top);
            let columns = map.width.min(self.width - self.left);
            for row in 0..rows {
                let from = &image[row * map.width * map.channels..][..columns * map.channels];
                let to = &mut copy[((self.top + row) * self.width + self.left) * self.count..][..columns * self.count];
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
}

/// A convolution and its images.
///
/// Neighbouring groups whose channels fit into one block together are computed as one, with zeros where a weight would
/// join two of them: the same work in fewer and longer runs.
struct Shape<'g> {
    conv: &'g Conv,
    input: Map,
    output: Map,
    /// Groups after joining.
    groups: usize,
}

impl<'g> Shape<'g> {
    fn new(conv: &'g Conv, x: &Tensor, y: &Tensor) -> Self {
        let (input, output) = (Map::of(x), Map::of(y));
        let widest = input.channels.max(output.channels);
        let joins = |&groups: &usize| conv.groups.is_multiple_of(groups) && widest / groups <= BLOCK;
        let groups = (1..=conv.groups).find(joins).unwrap_or(conv.groups);
        Self { conv, input, output, groups }
    }

    fn inputs_per_group(&self) -> usize {
        self.input.channels / self.groups
    }

    fn outputs_per_group(&self) -> usize {
        self.output.channels / self.groups
    }

    /// Elements of a patch within one group.
    fn patch(&self) -> usize {
        self.conv.kernel[0] * self.conv.kernel[1] * self.inputs_per_group()
    }

    /// Elements of the packed weights of one group.
    fn packed_len(&self) -> usize {
        self.outputs_per_group().next_multiple_of(BLOCK) * self.patch()
    }

    fn padded_width(&self) -> usize {
        self.input.width + self.conv.pads[1] + self.conv.pads[3]
    }

    /// The patches of one group in the padded image.
    fn patches(&self) -> Patches {
        let pixel = self.inputs_per_group();
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
    fn with_padded<R>(&self, image: &[f32], group: usize, work: impl FnOnce(&[f32]) -> R) -> R {
        let [top, left, bottom, _] = self.conv.pads;
        let (height, width) = (top + self.input.height + bottom, self.padded_width());
        let count = self.inputs_per_group();
        Frame { top, left, height, width, first: group * count, count }.with_copy(image, self.input, work)
    }

    /// Calls `work` with one group of the result's gradient, its channels padded to whole blocks.
    fn with_blocks<R>(&self, grad: &[f32], group: usize, work: impl FnOnce(&[f32]) -> R) -> R {
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

    /// The places of every weight among the groups: group, output, input, and the first element of its kernel in OIHW.
    fn weights(&self) -> impl Iterator<Item = (usize, usize, usize, usize)> {
        let [inputs, outputs] = [self.input.channels, self.output.channels].map(|count| count / self.conv.groups);
        let (joined, kernel) = (self.conv.groups / self.groups, self.conv.kernel[0] * self.conv.kernel[1]);
        (0..self.output.channels * inputs).map(move |index| {
            let (o, i) = (index / inputs, index % inputs);
            let group = o / outputs;
            (group / joined, o % (joined * outputs), group % joined * inputs + i, index * kernel)
        })
    }

    /// Calls `each` with the positions of every weight in the packed layout and in OIHW.
    fn each_weight(&self, mut each: impl FnMut(usize, usize)) {
        let inputs = self.inputs_per_group();
        for (group, o, i, from) in self.weights() {
            let block = group * self.packed_len() + o / BLOCK * self.patch() * BLOCK + o % BLOCK;
            for tap in 0..self.conv.kernel[0] * self.conv.kernel[1] {
                each(block + (tap * inputs + i) * BLOCK, from + tap);
            }
        }
    }

    /// OIHW to `[group][block][kernel row][kernel column][input][BLOCK]`.
    fn pack(&self, weight: &[f32]) -> Vec<f32> {
        let mut packed = vec![0.0; self.groups * self.packed_len()];
        self.each_weight(|at, from| packed[at] = weight[from]);
        packed
    }

    fn unpack(&self, packed: &[f32]) -> Vec<f32> {
        let per_output = self.input.channels / self.conv.groups * self.conv.kernel[0] * self.conv.kernel[1];
        let mut weight = vec![0.0; self.output.channels * per_output];
        self.each_weight(|at, to| weight[to] = packed[at]);
        weight
    }

    /// The turned kernel of one phase: `[group][block of inputs][row][column][output][BLOCK]`.
    fn pack_turned(&self, weight: &[f32], rows: &Axis, columns: &Axis) -> Vec<f32> {
        let kernel_w = self.conv.kernel[1];
        let [stride_h, stride_w] = self.conv.stride;
        let (inputs, outputs) = (self.inputs_per_group(), self.outputs_per_group());
        let patch = rows.taps * columns.taps * outputs;
        let group_len = inputs.next_multiple_of(BLOCK) * patch;
        let mut packed = vec![0.0; self.groups * group_len];
        for (group, o, i, from) in self.weights() {
            for row in 0..rows.taps {
                for column in 0..columns.taps {
                    let y = rows.first + (rows.taps - 1 - row) * stride_h;
                    let x = columns.first + (columns.taps - 1 - column) * stride_w;
                    let at = (row * columns.taps + column) * outputs + o;
                    packed[group * group_len + (i / BLOCK * patch + at) * BLOCK + i % BLOCK] =
                        weight[from + y * kernel_w + x];
                }
            }
        }
        packed
    }
}

#[cfg(test)]
mod tests {
    use crate::autograd::ops::testing::Check;
    use skipstone_onnx::{Conv, Op};

    fn check(dims: [usize; 3], outputs: usize, conv: Conv, bias: bool, batch: usize) {
        let mut check = Check::new(dims, batch);
        let [h, w] = conv.kernel;
        let weight = check.parameter("weight", &[outputs, dims[0] / conv.groups, h, w]);
        let bias = bias.then(|| check.parameter("bias", &[outputs]));
        check.run(|b, x| {
            b.push("conv", Op::Conv(conv), &[Some(x), Some(weight), bias].into_iter().flatten().collect::<Vec<_>>())
        });
    }

    #[test]
    fn gradient_matches_differences() {
        check([3, 7, 13], 5, Conv::square(3, 1, 1), true, 2);
        check([4, 6, 9], 17, Conv::square(1, 1, 0), false, 3);
        check([2, 8, 8], 3, Conv::square(3, 2, 1), false, 1);
        check([2, 7, 5], 3, Conv::square(1, 2, 0), false, 2);
        check([17, 2, 3], 16, Conv::square(3, 1, 1), false, 1);
    }

    #[test]
    fn gradient_matches_differences_where_sizes_are_odd() {
        let asymmetric = Conv { kernel: [2, 5], stride: [3, 2], pads: [0, 3, 2, 1], groups: 1 };
        check([2, 8, 9], 4, asymmetric, true, 2);
        // The stride is larger than the kernel: some pixels are never read.
        check([1, 7, 7], 2, Conv { kernel: [2, 2], stride: [3, 4], pads: [1, 0, 0, 2], groups: 1 }, false, 2);
        // The last rows and columns are not reached.
        check([1, 6, 6], 2, Conv { kernel: [3, 3], stride: [2, 2], pads: [0; 4], groups: 1 }, false, 1);
        // More padding than kernel.
        check([1, 2, 2], 1, Conv::square(3, 1, 4), false, 1);
    }

    #[test]
    fn gradient_matches_differences_in_groups() {
        check([6, 4, 5], 4, Conv { groups: 2, ..Conv::square(3, 1, 1) }, true, 2);
        check([3, 5, 5], 3, Conv { groups: 3, ..Conv::square(3, 2, 1) }, false, 2);
        // Groups that are joined: all of them, some, none.
        check([16, 3, 4], 16, Conv { groups: 8, ..Conv::square(3, 1, 1) }, false, 2);
        check([24, 3, 4], 24, Conv { groups: 24, ..Conv::square(3, 2, 1) }, true, 2);
        check([24, 3, 3], 12, Conv { groups: 6, ..Conv::square(3, 1, 1) }, false, 2);
        check([34, 2, 3], 36, Conv { groups: 2, ..Conv::square(3, 1, 1) }, false, 1);
    }
}
