//! `1 / (1 + exp(-x))`.

use crate::autograd::Shared;
use crate::autograd::context::{Backward, Forward};
use crate::kernels::images::{each_chunk, zip_images};
use skipstone_onnx::Node;
use std::sync::Arc;

pub(super) fn forward<'g>(cx: &mut Forward<'g, '_>, node: &'g Node, x: Shared) -> (Shared, Option<Backward<'g>>) {
    let mut y = cx.pool.own(x);
    each_chunk(&mut y, |y| y.iter_mut().for_each(|y| *y = 1.0 / (1.0 + (-*y).exp())));
    let y = Arc::new(y);
    let kept = Arc::clone(&y);
    let backward = cx.record(move |gradients, grad| {
        let mut grad = gradients.pool.own(grad);
        zip_images(&mut grad, &kept, |grad, y| {
            grad.iter_mut().zip(y).for_each(|(grad, y)| *grad *= y * (1.0 - y));
        });
        gradients.pool.release(kept);
        gradients.add(node.inputs[0], Arc::new(grad));
    });
    (y, backward)
}

#[cfg(test)]
mod tests {
    use crate::autograd::ops::testing::{Check, one_operator};
    use crate::tensor::Tensor;
    use skipstone_onnx::Op;

    #[test]
    fn gradient_matches_differences() {
        Check::new([3, 4, 5], 2).run(|b, x| b.push("sigmoid", Op::Sigmoid, &[x]));
    }

    #[test]
    fn far_from_zero_it_is_0_and_1() {
        let y = one_operator(Op::Sigmoid, &Tensor::new([1, 1, 3, 1], vec![-1e4, 0.0, 1e4]));
        assert_eq!(y.data(), [0.0, 0.5, 1.0]);
    }
}
