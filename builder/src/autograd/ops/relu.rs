//! `max(x, 0)`; after a batch norm or an addition that does it itself, nothing.

use crate::autograd::Shared;
use crate::autograd::context::{Backward, Forward};
use crate::autograd::pool::Pool;
use crate::autograd::saved::Recipe;
use crate::kernels::images::{rectify, zip_images};
use crate::tensor::Tensor;
use skipstone_onnx::Node;
use std::sync::Arc;

pub(super) fn forward<'g>(cx: &mut Forward<'g, '_>, node: &'g Node, x: Shared) -> (Shared, Option<Backward<'g>>) {
    if cx.is_rectified(node.inputs[0]) {
        cx.alias(node);
        let backward = cx.record(move |gradients, grad| gradients.add(node.inputs[0], grad));
        return (x, backward);
    }
    if let Some(x) = cx.recomputed(node.inputs[0]) {
        cx.publish(node, Recipe::Relu(x));
    }
    let mut y = cx.pool.own(x);
    rectify(&mut y);
    let y = Arc::new(y);
    let kept = cx.save(node.output, Arc::clone(&y));
    let input = node.inputs[0];
    let backward = cx.record(move |gradients, grad| {
        let kept = kept.get(gradients.pool);
        let grad = pass(gradients.pool, grad, &kept);
        gradients.pool.release(kept);
        gradients.add(input, grad);
    });
    (y, backward)
}

/// The gradient of what was rectified to `y`.
pub(super) fn pass(pool: &Pool, grad: Shared, y: &Tensor) -> Shared {
    let mut grad = pool.own(grad);
    zip_images(&mut grad, y, |grad, y| {
        grad.iter_mut().zip(y).for_each(|(grad, &y)| *grad = if y > 0.0 { *grad } else { 0.0 });
    });
    Arc::new(grad)
}

#[cfg(test)]
mod tests {
    use crate::autograd::ops::testing::Check;
    use skipstone_onnx::Op;

    #[test]
    fn gradient_matches_differences() {
        Check::new([3, 4, 5], 2).run(|b, x| b.push("relu", Op::Relu, &[x]));
    }
}
