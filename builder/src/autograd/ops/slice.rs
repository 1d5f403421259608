//! Strided sub-tensor.

use super::{map_dims, shared};
use crate::autograd::Shared;
use crate::autograd::context::{Backward, Forward};
use crate::kernels::images::zip_images;
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
    // The channels of the operand, with those between, that a pixel of the result comes from.
    let source = move |pixel: usize| {
        let (row, column) = (top + pixel / out_width * down, left + pixel % out_width * right);
        let at = (row * width + column) * channels + first;
        at..at + (out_channels - 1) * step + 1
    };
    zip_images(&mut y, &x, |y, x| {
        for (pixel, y) in y.chunks_exact_mut(out_channels).enumerate() {
            let x = &x[source(pixel)];
            if step == 1 {
                y.copy_from_slice(x);
            } else {
                y.iter_mut().zip(x.iter().step_by(step)).for_each(|(y, x)| *y = *x);
            }
        }
    });
    cx.pool.release(x);
    let backward = cx.record(move |gradients, grad| {
        let mut dx = gradients.pool.tensor(dims);
        zip_images(&mut dx, &grad, |dx, grad| {
            dx.fill(0.0);
            for (pixel, grad) in grad.chunks_exact(out_channels).enumerate() {
                let dx = &mut dx[source(pixel)];
                if step == 1 {
                    dx.copy_from_slice(grad);
                } else {
                    dx.iter_mut().step_by(step).zip(grad).for_each(|(dx, grad)| *dx = *grad);
                }
            }
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
