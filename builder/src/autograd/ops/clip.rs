//! `min(max(x, min), max)`.

use crate::autograd::Shared;
use crate::autograd::context::{Backward, Forward};
use crate::kernels::images::{each_chunk, zip_images};
use skipstone_onnx::Node;
use std::sync::Arc;

/// The gradient passes strictly between the limits.
pub(super) fn forward<'g>(
    cx: &mut Forward<'g, '_>,
    node: &'g Node,
    [min, max]: [f32; 2],
    x: Shared,
) -> (Shared, Option<Backward<'g>>) {
    let mut y = cx.pool.own(x);
    each_chunk(&mut y, |y| y.iter_mut().for_each(|y| *y = y.clamp(min, max)));
    let y = Arc::new(y);
    let kept = Arc::clone(&y);
    let backward = cx.record(move |gradients, grad| {
        let mut grad = gradients.pool.own(grad);
        zip_images(&mut grad, &kept, |grad, y| {
            grad.iter_mut().zip(y).for_each(|(grad, &y)| *grad = if y > min && y < max { *grad } else { 0.0 });
        });
        gradients.pool.release(kept);
        gradients.add(node.inputs[0], Arc::new(grad));
    });
    (y, backward)
}

#[cfg(test)]
mod tests {
    use crate::autograd::ops::testing::Check;
    use skipstone_onnx::Op;

    #[test]
    fn gradient_matches_differences() {
        // Random numbers stay away from 0, where most of the limits are, and below 1.
        for (min, max) in [(0.0, 6.0), (0.0, f32::INFINITY), (-2.0, 0.0), (f32::NEG_INFINITY, 0.05)] {
            Check::new([3, 4, 5], 2).run(|b, x| b.push("clip", Op::Clip { min, max }, &[x]));
        }
    }
}
