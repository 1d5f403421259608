//! Convolution: forward and backward around the kernels.

mod filtered;
mod pointwise;
mod shape;

use super::{map_dims, shared};
use crate::autograd::Shared;
use crate::autograd::context::{Backward, Forward};
use crate::autograd::pool::Pool;
use crate::kernels::correlate::{Patches, Target};
use crate::kernels::images::sum_pairs;
use crate::kernels::pointwise::suits;
use crate::kernels::rounded::{Source, Weights};
use crate::tensor::Tensor;
use filtered::Filtered;
use rayon::prelude::*;
use shape::{Axis, Frame, Shape};
use skipstone_onnx::{Conv, Node};
use std::sync::Arc;

pub(super) fn forward<'g>(
    cx: &mut Forward<'g, '_>,
    node: &'g Node,
    conv: &'g Conv,
    x: Shared,
) -> (Shared, Option<Backward<'g>>) {
    if suits(conv) {
        return pointwise::forward(cx, node, conv, x);
    }
    let weight = cx.parameter(node.inputs[1]);
    let bias = node.inputs.get(2).map(|&id| cx.parameter(id));
    let mut y = cx.output(node, x.batch());
    let shape = Shape::new(conv, &x, &y, cx.bf16);
    let filtered = Filtered::new(conv, &x, &y, cx.bf16);
    match filtered {
        Some(filtered) => filtered.forward(weight, bias, &x, &mut y),
        None => correlate(&shape, weight, bias, &x, &mut y),
    }
    if !cx.training {
        cx.pool.release(x);
        return shared(y, None);
    }
    let images = cx.chunk_images(x.batch());
    let x = cx.save(node.inputs[0], x);
    let backward = cx.record(move |gradients, grad| {
        let x = x.get(gradients.pool);
        let weights = weight_gradient(&shape, filtered, [&x, &grad], images, gradients.pool);
        gradients.add_parameter(node.inputs[1], weights);
        if let Some(&bias) = node.inputs.get(2) {
            gradients.add_parameter(bias, bias_gradient(&grad, images));
        }
        if gradients.wants(node.inputs[0]) {
            let dx = gradients.pool.tensor(x.dims());
            let dx = match filtered {
                Some(filtered) => filtered.input_gradient(weight, &grad, dx),
                None => input_gradient(&shape, weight, &grad, dx),
            };
            gradients.add(node.inputs[0], Arc::new(dx));
        }
        gradients.pool.release(grad);
        gradients.pool.release(x);
    });
    shared(y, backward)
}

fn correlate(shape: &Shape, weight: &[f32], bias: Option<&[f32]>, x: &Tensor, y: &mut Tensor) {
    let weights = Weights::new(shape.pack(weight), shape.bf16);
    let (x_len, y_len) = (shape.input.elements(), shape.output.elements());
    y.data_mut().par_chunks_mut(y_len).zip(x.data().par_chunks(x_len)).for_each(|(y, x)| {
        for group in 0..shape.groups {
            let patches = shape.patches();
            let channels = shape.outputs_per_group();
            let target = shape.output.target(group * channels, channels);
            let correlate = |source: Source| shape.correlate(group, source, patches, &weights, y, target);
            shape.with_padded(x, group, |pixels| weights.with_source(pixels, correlate));
        }
        if let Some(bias) = bias {
            for pixel in y.chunks_exact_mut(bias.len()) {
                pixel.iter_mut().zip(bias).for_each(|(y, bias)| *y += bias);
            }
        }
    });
}

/// The gradient of the weights, from chunks of `images` of the operand and the result's gradient.
fn weight_gradient(
    shape: &Shape,
    filtered: Option<Filtered>,
    [x, grad]: [&Tensor; 2],
    images: usize,
    pool: &Pool,
) -> Vec<f32> {
    if let Some(filtered) = filtered {
        return shape.unpack(&filtered.weight_gradient(x, grad, images));
    }
    let (x_len, y_len) = (shape.input.elements(), shape.output.elements());
    let mut chunks = Vec::new();
    x.data()
        .par_chunks(images * x_len)
        .zip(grad.data().par_chunks(images * y_len))
        .map(|(x, grad)| {
            let mut sums = pool.tensor([shape.groups * shape.packed_len()]);
            sum_products(shape, x, grad, sums.data_mut());
            sums
        })
        .collect_into_vec(&mut chunks);
    let sum = sum_pairs(chunks, |a: &mut Tensor, b| {
        a.data_mut().iter_mut().zip(b.data()).for_each(|(a, b)| *a += b);
        pool.give(b);
    });
    sum.map(|sums| {
        let weight = shape.unpack(sums.data());
        pool.give(sums);
        weight
    })
    .unwrap_or_default()
}

fn bias_gradient(grad: &Tensor, images: usize) -> Vec<f32> {
    let add = |mut sums: Vec<f32>, pixel: &[f32]| {
        sums.iter_mut().zip(pixel).for_each(|(sum, grad)| *sum += grad);
        sums
    };
    let zeros = vec![0.0; map_dims(grad)[2]];
    // Image by image, because long sums lose digits.
    let image = grad.data().len() / grad.batch();
    let of_image = |image: &[f32]| image.chunks_exact(zeros.len()).fold(zeros.clone(), add);
    let of_chunk = |chunk: &[f32]| chunk.chunks(image).map(of_image).fold(zeros.clone(), |a, b| add(a, &b));
    let chunks = grad.data().chunks(images * image).map(of_chunk).collect();
    sum_pairs(chunks, |a: &mut Vec<f32>, b: Vec<f32>| *a = add(std::mem::take(a), &b)).unwrap_or_default()
}

/// The gradient of the weights, packed, from some images and their results' gradients.
fn sum_products(shape: &Shape, x: &[f32], grad: &[f32], sums: &mut [f32]) {
    sums.fill(0.0);
    let images = x.chunks_exact(shape.input.elements()).zip(grad.chunks_exact(shape.output.elements()));
    for (x, grad) in images {
        for group in 0..shape.groups {
            let out = &mut sums[group * shape.packed_len()..][..shape.packed_len()];
            shape.with_padded(x, group, |source| {
                shape.with_blocks(grad, group, |grad| shape.weight_gradient(source, grad, out));
            });
        }
    }
}

/// Gradient of the operand, into `dx`. For a stride of `s`, the rows `r, r + s, ...` of it are a correlation of the
/// result's gradient with every `s`-th row of the turned kernel; so are the columns.
fn input_gradient(shape: &Shape, weight: &[f32], grad: &Tensor, mut dx: Tensor) -> Tensor {
    let [kernel_h, kernel_w] = shape.conv.kernel;
    let [stride_h, stride_w] = shape.conv.stride;
    let rows = Axis::all(shape.input.height, kernel_h, stride_h, shape.conv.pads[0]);
    let columns = Axis::all(shape.input.width, kernel_w, stride_w, shape.conv.pads[1]);
    let (top, height) = Axis::extent(&rows, shape.output.height);
    let (left, width) = Axis::extent(&columns, shape.output.width);
    let pack = |row, column| Weights::new(shape.pack_turned(weight, row, column), shape.bf16);
    let packed: Vec<Weights> =
        rows.iter().flat_map(|row| columns.iter().map(move |column| pack(row, column))).collect();
    let Some(first) = packed.first() else { return dx };
    let (inputs, outputs) = (shape.inputs_per_group(), shape.outputs_per_group());
    let pixel = shape.output_elements();
    let (x_len, y_len) = (shape.input.elements(), shape.output.elements());
    dx.data_mut().par_chunks_mut(x_len).zip(grad.data().par_chunks(y_len)).for_each(|(dx, grad)| {
        for group in 0..shape.groups {
            let frame = Frame { top, left, height, width, first: group * outputs, count: outputs };
            let phases = |source: Source| {
                for (index, weights) in packed.iter().enumerate() {
                    let (row, column) = (&rows[index / columns.len()], &columns[index % columns.len()]);
                    let empty = row.taps == 0 || column.taps == 0;
                    let start = if empty {
                        0
                    } else {
                        ((top + row.last - (row.taps - 1)) * width + left + column.last - (column.taps - 1)) * pixel
                    };
                    let patches = Patches {
                        runs: if empty { 0 } else { row.taps },
                        run: if empty { 0 } else { column.taps * pixel },
                        start,
                        run_step: width * pixel,
                        row_step: width * pixel,
                        column_step: pixel,
                        rows: row.count,
                        columns: column.count,
                    };
                    let target = Target {
                        start: (row.phase * shape.input.width + column.phase) * shape.input.channels + group * inputs,
                        row_step: stride_h * shape.input.width * shape.input.channels,
                        column_step: stride_w * shape.input.channels,
                        channels: inputs,
                    };
                    shape.correlate(group, source, patches, weights, dx, target);
                }
            };
            frame.with_copy(grad, shape.output, shape.expansion, |pixels| first.with_source(pixels, phases));
        }
    });
    dx
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
    fn gradient_matches_differences_where_convolutions_are_filtered() {
        check([8, 6, 4], 16, Conv::square(3, 1, 1), false, 2);
        check([17, 5, 7], 9, Conv { pads: [2, 0, 1, 2], ..Conv::square(3, 1, 0) }, true, 2);
        check([9, 3, 4], 20, Conv::square(3, 1, 0), true, 1);
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

    #[test]
    fn gradient_matches_differences_in_groups_of_few_channels() {
        for (channels, groups) in [(16, 16), (32, 16), (32, 8), (48, 6)] {
            check([channels, 3, 5], channels, Conv { groups, ..Conv::square(3, 1, 1) }, groups == 8, 2);
            check([channels, 4, 5], channels, Conv { groups, ..Conv::square(3, 2, 1) }, groups == 6, 1);
        }
        let asymmetric = Conv { kernel: [2, 5], stride: [3, 2], pads: [0, 3, 2, 1], groups: 4 };
        check([16, 6, 7], 16, asymmetric, true, 2);
    }
}
