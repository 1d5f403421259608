//! Activations side by side along their channels.

use super::{shared, zip_images};
use crate::autograd::Shared;
use crate::autograd::tape::{Backward, Forward};
use skipstone_onnx::Node;
use std::sync::Arc;

pub(super) fn forward<'g>(
    cx: &mut Forward<'g, '_>,
    node: &'g Node,
    operands: Vec<Shared>,
) -> (Shared, Option<Backward<'g>>) {
    let mut y = cx.output(node, operands[0].batch());
    let dims: Vec<Vec<usize>> = operands.iter().map(|x| x.dims().to_vec()).collect();
    let channels = y.dims()[y.dims().len() - 1];
    let mut first = 0;
    for x in operands {
        let count = x.dims()[x.dims().len() - 1];
        zip_images(&mut y, &x, |y, x| {
            for (y, x) in y.chunks_exact_mut(channels).zip(x.chunks_exact(count)) {
                y[first..first + count].copy_from_slice(x);
            }
        });
        first += count;
        cx.pool.release(x);
    }
    let backward = cx.record(move |gradients, grad| {
        let mut first = 0;
        for (dims, &input) in dims.iter().zip(&node.inputs) {
            let count = dims[dims.len() - 1];
            if gradients.wants(input) {
                let mut dx = gradients.pool.tensor(dims.as_slice());
                zip_images(&mut dx, &grad, |dx, grad| {
                    for (dx, grad) in dx.chunks_exact_mut(count).zip(grad.chunks_exact(channels)) {
                        dx.copy_from_slice(&grad[first..first + count]);
                    }
                });
                gradients.add(input, Arc::new(dx));
            }
            first += count;
        }
        gradients.pool.release(grad);
    });
    shared(y, backward)
}

#[cfg(test)]
mod tests {
    use crate::autograd::ops::testing::Check;
    use skipstone_onnx::{Op, Pad};

    #[test]
    fn gradient_matches_differences() {
        Check::new([3, 4, 5], 2).run(|b, x| {
            let relu = b.push("relu", Op::Relu, &[x])?;
            let more = b.push("more", Op::Pad(Pad { before: [1, 0, 0], after: [0; 3] }), &[relu])?;
            b.push("concat", Op::Concat, &[x, more, relu])
        });
    }

    #[test]
    fn vectors_and_repetitions() {
        Check::new([3, 2, 2], 2).run(|b, x| {
            let flat = b.push("flat", Op::Flatten, &[x])?;
            b.push("concat", Op::Concat, &[flat, flat])
        });
    }
}
