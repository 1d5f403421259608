//! Padding with copies of a map's rows and columns.

use super::{map_dims, shared};
use crate::autograd::Shared;
use crate::autograd::context::{Backward, Forward};
use crate::kernels::images::zip_images;
use skipstone_onnx::{BorderPad, Node};
use std::sync::Arc;

pub(super) fn forward<'g>(
    cx: &mut Forward<'g, '_>,
    node: &'g Node,
    pad: &'g BorderPad,
    x: Shared,
) -> (Shared, Option<Backward<'g>>) {
    let dims = x.dims().to_vec();
    let [height, width, channels] = map_dims(&x);
    let mut y = cx.output(node, x.batch());
    let [_, out_width, _] = map_dims(&y);
    let [top, left, ..] = pad.pads;
    // Where the channels of the pixel of the operand stand of which a pixel of the result is a copy.
    let source = move |pixel: usize| {
        let row = pad.border.source(pixel / out_width, top, height);
        let column = pad.border.source(pixel % out_width, left, width);
        let start = (row * width + column) * channels;
        start..start + channels
    };
    zip_images(&mut y, &x, |y, x| {
        y.chunks_exact_mut(channels).enumerate().for_each(|(pixel, y)| y.copy_from_slice(&x[source(pixel)]));
    });
    cx.pool.release(x);
    let backward = cx.record(move |gradients, grad| {
        let mut dx = gradients.pool.tensor(dims);
        zip_images(&mut dx, &grad, |dx, grad| {
            dx.fill(0.0);
            for (pixel, grad) in grad.chunks_exact(channels).enumerate() {
                dx[source(pixel)].iter_mut().zip(grad).for_each(|(dx, grad)| *dx += grad);
            }
        });
        gradients.pool.release(grad);
        gradients.add(node.inputs[0], Arc::new(dx));
    });
    shared(y, backward)
}

#[cfg(test)]
mod tests {
    use crate::autograd::ops::testing::{Check, one_operator};
    use crate::tensor::Tensor;
    use skipstone_onnx::{Border, BorderPad, Op};

    #[test]
    fn gradient_matches_differences() {
        for border in [Border::Reflect, Border::Edge, Border::Wrap] {
            let pad = BorderPad { pads: [2, 1, 0, 3], border };
            Check::new([2, 3, 4], 2).run(|b, x| b.push("pad", Op::BorderPad(pad.clone()), &[x]));
        }
    }

    #[test]
    fn rows_and_columns_are_copied() {
        let row = Tensor::new([1, 1, 3, 1], vec![1.0, 2.0, 3.0]);
        for (border, expected) in [
            (Border::Reflect, [3.0, 2.0, 1.0, 2.0, 3.0, 2.0]),
            (Border::Edge, [1.0, 1.0, 1.0, 2.0, 3.0, 3.0]),
            (Border::Wrap, [2.0, 3.0, 1.0, 2.0, 3.0, 1.0]),
        ] {
            let pad = BorderPad { pads: [0, 2, 0, 1], border };
            assert_eq!(one_operator(Op::BorderPad(pad), &row).data(), expected, "{border:?}");
        }
    }
}
