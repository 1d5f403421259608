//! The operators, one per file: forward, backward, and their test against finite differences.

mod add;
mod batch_norm;
mod conv;
mod flatten;
mod gemm;
mod pad;
mod pool;
mod relu;
mod slice;
#[cfg(test)]
mod testing;

use super::Shared;
use super::tape::{Backward, Forward};
use crate::tensor::Tensor;
use rayon::prelude::*;
use skipstone_onnx::{Node, Op};
use std::sync::Arc;

/// Computes a node's result from its activations; `operands` that nobody else holds may be overwritten.
pub(super) fn forward<'g>(
    cx: &mut Forward<'g, '_>,
    node: &'g Node,
    operands: Vec<Shared>,
) -> (Shared, Option<Backward<'g>>) {
    let mut operands = operands.into_iter();
    let mut next = || operands.next().unwrap_or_else(|| unreachable!("operands were counted by the graph's builder"));
    let x = next();
    match &node.op {
        Op::Conv(conv) => conv::forward(cx, node, conv, x),
        Op::BatchNorm { epsilon } => batch_norm::forward(cx, node, *epsilon, x),
        Op::Relu => relu::forward(cx, node, x),
        Op::Add => add::forward(cx, node, x, next()),
        Op::GlobalAveragePool => pool::forward(cx, node, x),
        Op::Flatten => flatten::forward(cx, node, x),
        Op::Gemm => gemm::forward(cx, node, x),
        Op::Slice(slice) => slice::forward(cx, node, slice, x),
        Op::Pad(pad) => pad::forward(cx, node, pad, x),
        op => panic!("{} cannot be computed yet", op.name()),
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
