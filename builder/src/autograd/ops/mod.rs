//! The operators, one per file: forward, backward, and their test against finite differences.

mod add;
mod average_pool;
pub(super) mod batch_norm;
mod border_pad;
mod clip;
pub(super) mod concat;
mod conv;
mod dropout;
mod flatten;
mod gemm;
mod global_average_pool;
mod instance_norm;
mod l2_norm;
mod max_pool;
mod mul;
mod pad;
pub(super) mod relu;
mod resize;
mod sigmoid;
mod slice;
mod softmax;
#[cfg(test)]
mod testing;
mod unary;
mod windows;

use super::Shared;
use super::tape::{Backward, Forward};
use crate::tensor::Tensor;
use rayon::prelude::*;
use skipstone_onnx::{Node, Op, Window};
use std::sync::Arc;

/// Computes a node's result from its activations; `operands` that nothing else holds may be overwritten.
pub(super) fn forward<'g>(
    cx: &mut Forward<'g, '_>,
    node: &'g Node,
    operands: Vec<Shared>,
) -> (Shared, Option<Backward<'g>>) {
    if node.op == Op::Concat {
        return concat::forward(cx, node, operands);
    }
    let mut operands = operands.into_iter();
    let mut next = || operands.next().unwrap_or_else(|| unreachable!("operands were counted by the graph's builder"));
    let x = next();
    match &node.op {
        Op::Conv(conv) => conv::forward(cx, node, conv, x),
        Op::BatchNorm { epsilon } => batch_norm::forward(cx, node, *epsilon, x),
        Op::Relu => relu::forward(cx, node, x),
        Op::Add => add::forward(cx, node, x, next()),
        Op::Clip { min, max } => clip::forward(cx, node, [*min, *max], x),
        Op::Sigmoid => sigmoid::forward(cx, node, x),
        Op::Unary(unary) => unary::forward(cx, node, *unary, x),
        Op::L2Norm => l2_norm::forward(cx, node, x),
        Op::InstanceNorm { epsilon } => instance_norm::forward(cx, node, None, *epsilon, x),
        Op::GroupNorm { groups, epsilon } => instance_norm::forward(cx, node, Some(*groups), *epsilon, x),
        Op::Softmax => softmax::forward(cx, node, x),
        Op::Mul => mul::forward(cx, node, x, next()),
        Op::Concat => unreachable!("was dealt with"),
        Op::MaxPool(window) => max_pool::forward(cx, node, window, x),
        Op::AveragePool { window, count_include_pad } => average_pool::forward(cx, node, window, *count_include_pad, x),
        Op::GlobalAveragePool => global_average_pool::forward(cx, node, x),
        Op::GlobalMaxPool => {
            let [height, width, _] = map_dims(&x);
            max_pool::forward(cx, node, &Window::whole([height, width]), x)
        }
        Op::Resize(resize) => resize::forward(cx, node, resize, x),
        Op::Flatten => flatten::forward(cx, node, x),
        Op::Gemm => gemm::forward(cx, node, x),
        Op::Slice(slice) => slice::forward(cx, node, slice, x),
        Op::Pad(pad) => pad::forward(cx, node, pad, x),
        Op::BorderPad(pad) => border_pad::forward(cx, node, pad, x),
        Op::Dropout { rate } => dropout::forward(cx, node, dropout::Unit::Element, *rate, x),
        Op::StochasticDepth { rate } => dropout::forward(cx, node, dropout::Unit::Image, *rate, x),
    }
}

/// Images in a chunk of work whose partial sums are added in order: at most 32 chunks, whatever the threads.
fn chunk_images(batch: usize) -> usize {
    batch.div_ceil(32)
}

/// Calls `work` for each image with its elements of `out` and of `x`, in parallel.
pub(super) fn zip_images(out: &mut Tensor, x: &Tensor, work: impl Fn(&mut [f32], &[f32]) + Sync) {
    let batch = x.batch();
    let (out_len, x_len) = (out.data().len() / batch, x.data().len() / batch);
    out.data_mut()
        .par_chunks_mut(out_len)
        .zip(x.data().par_chunks(x_len))
        .for_each(|(out, x)| kernels_dispatch(|| work(out, x)));
}

/// As [`zip_images`], with two tensors to read.
fn zip3_images(out: &mut Tensor, a: &Tensor, b: &Tensor, work: impl Fn(&mut [f32], &[f32], &[f32]) + Sync) {
    let batch = a.batch();
    let [out_len, a_len, b_len] = [out.data().len(), a.data().len(), b.data().len()].map(|len| len / batch);
    out.data_mut()
        .par_chunks_mut(out_len)
        .zip(a.data().par_chunks(a_len))
        .zip(b.data().par_chunks(b_len))
        .for_each(|((out, a), b)| kernels_dispatch(|| work(out, a, b)));
}

/// Calls `work` for each image, in parallel.
fn each_image(x: &mut Tensor, work: impl Fn(&mut [f32]) + Sync + Send) {
    let image = x.data().len() / x.batch();
    x.data_mut().par_chunks_mut(image).for_each(work);
}

/// Calls `work` for parts of a tensor, in parallel.
fn each_chunk(x: &mut Tensor, work: impl Fn(&mut [f32]) + Sync) {
    const CHUNK: usize = 1 << 14;
    x.data_mut().par_chunks_mut(CHUNK).for_each(|x| kernels_dispatch(|| work(x)));
}

/// Calls `work` compiled for the widest vectors that the processor has.
fn kernels_dispatch(work: impl FnOnce()) {
    pulp::Arch::new().dispatch(work);
}

/// `[height, width, channels]` of an activation.
fn map_dims(x: &Tensor) -> [usize; 3] {
    [x.dims()[1], x.dims()[2], x.dims()[3]]
}

/// A result that others will read.
fn shared<'g>(output: Tensor, backward: Option<Backward<'g>>) -> (Shared, Option<Backward<'g>>) {
    (Arc::new(output), backward)
}
