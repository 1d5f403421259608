//! The operators, one per file: forward, backward, and their test against finite differences.

mod add;
mod average_pool;
mod batch_norm;
mod blocks;
mod border_pad;
mod clip;
mod concat;
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
mod relu;
mod resize;
mod sigmoid;
mod slice;
mod softmax;
#[cfg(test)]
mod testing;
mod unary;
mod windows;

pub(crate) use resize::neighbours;

use super::Shared;
use super::context::{Backward, Forward};
use crate::tensor::Tensor;
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
        Op::DepthToSpace { block } => blocks::forward(cx, node, *block, true, x),
        Op::SpaceToDepth { block } => blocks::forward(cx, node, *block, false, x),
        Op::Dropout { rate } => dropout::forward(cx, node, dropout::Unit::Element, *rate, x),
        Op::StochasticDepth { rate } => dropout::forward(cx, node, dropout::Unit::Image, *rate, x),
    }
}

/// `[height, width, channels]` of an activation.
fn map_dims(x: &Tensor) -> [usize; 3] {
    [x.dims()[1], x.dims()[2], x.dims()[3]]
}

/// A result that others will read.
fn shared<'g>(output: Tensor, backward: Option<Backward<'g>>) -> (Shared, Option<Backward<'g>>) {
    (Arc::new(output), backward)
}
