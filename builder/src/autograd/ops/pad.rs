//! Zero padding.

use super::{map_dims, shared};
use crate::autograd::Shared;
use crate::autograd::context::{Backward, Forward};
use crate::kernels::images::zip_images;
use skipstone_onnx::{Node, Pad};
use std::sync::Arc;

pub(super) fn forward<'g>(
    cx: &mut Forward<'g, '_>,
    node: &'g Node,
    pad: &'g Pad,
    x: Shared,
) -> (Shared, Option<Backward<'g>>) {
    let dims = x.dims().to_vec();
    let [_, width, channels] = map_dims(&x);
    let mut y = cx.output(node, x.batch());
    let [_, out_width, out_channels] = map_dims(&y);
    let [first, top, left] = pad.before;
    // Where the channels of a pixel of the operand stand in the result.
    let target = move |pixel: usize| {
        let start = ((pixel / width + top) * out_width + pixel % width + left) * out_channels + first;
        start..start + channels
    };
    zip_images(&mut y, &x, |y, x| {
        y.fill(0.0);
        x.chunks_exact(channels).enumerate().for_each(|(pixel, x)| y[target(pixel)].copy_from_slice(x));
    });
    cx.pool.release(x);
    let backward = cx.record(move |gradients, grad| {
        let mut dx = gradients.pool.tensor(dims);
        zip_images(&mut dx, &grad, |dx, grad| {
            dx.chunks_exact_mut(channels).enumerate().for_each(|(pixel, dx)| dx.copy_from_slice(&grad[target(pixel)]));
        });
        gradients.pool.release(grad);
        gradients.add(node.inputs[0], Arc::new(dx));
    });
    shared(y, backward)
}

#[cfg(test)]
mod tests {
    use crate::autograd::ops::testing::Check;
    use skipstone_onnx::{Op, Pad};

    #[test]
    fn gradient_matches_differences() {
        for (before, after) in [([2, 0, 0], [1, 0, 0]), ([0, 1, 2], [1, 3, 0])] {
            Check::new([3, 2, 4], 2).run(|b, x| b.push("pad", Op::Pad(Pad { before, after }), &[x]));
        }
    }
}
