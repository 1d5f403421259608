//! Strided sub-tensor.

use super::{map_dims, shared, zip_images};
use crate::autograd::Shared;
use crate::autograd::tape::{Backward, Forward};
use skipstone_onnx::{Node, Slice};
use std::sync::Arc;

pub(super) fn forward<'g>(
    cx: &mut Forward<'g, '_>,
    node: &'g Node,
    slice: &'g Slice,
    x: Shared,
) -> (Shared, Option<Backward<'g>>) {
    let dims = x.dims().to_vec();
    let [_, width, channels] = map_dims(&x);
    let mut y = cx.output(node, x.batch());
    let [_, out_width, out_channels] = map_dims(&y);
    let ([first, top, left], [step, down, right]) = (slice.start, slice.step);
    // The source of an element of the result.
    let source = move |index: usize| {
        let (pixel, channel) = (index / out_channels, index % out_channels);
        let (row, column) = (top + pixel / out_width * down, left + pixel % out_width * right);
        (row * width + column) * channels + first + channel * step
    };
    zip_images(&mut y, &x, |y, x| y.iter_mut().enumerate().for_each(|(i, y)| *y = x[source(i)]));
    cx.pool.release(x);
    let backward = cx.record(move |gradients, grad| {
        let mut dx = gradients.pool.tensor(dims);
        zip_images(&mut dx, &grad, |dx, grad| {
            dx.fill(0.0);
            grad.iter().enumerate().for_each(|(i, &grad)| dx[source(i)] = grad);
        });
        gradients.pool.release(grad);
        gradients.add(node.inputs[0], Arc::new(dx));
    });
    shared(y, backward)
}

#[cfg(test)]
mod tests {
    use crate::autograd::ops::testing::Check;
    use skipstone_onnx::{Op, Slice};

    #[test]
    fn gradient_matches_differences() {
        for (start, end, step) in [([0, 0, 0], [3, 5, 4], [1, 2, 2]), ([1, 1, 0], [3, 4, 3], [2, 1, 1])] {
            Check::new([3, 5, 4], 2).run(|b, x| b.push("slice", Op::Slice(Slice { start, end, step }), &[x]));
        }
    }
}
