//! `max(x, 0)`.

use super::zip_images;
use crate::autograd::Shared;
use crate::autograd::tape::{Backward, Forward};
use rayon::prelude::*;
use skipstone_onnx::Node;
use std::sync::Arc;

const CHUNK: usize = 1 << 14;

pub(super) fn forward<'g>(cx: &mut Forward<'g, '_>, node: &'g Node, x: Shared) -> (Shared, Option<Backward<'g>>) {
    let mut y = cx.pool.own(x);
    y.data_mut().par_chunks_mut(CHUNK).for_each(|chunk| chunk.iter_mut().for_each(|y| *y = y.max(0.0)));
    let y = Arc::new(y);
    let kept = Arc::clone(&y);
    let input = node.inputs[0];
    let backward = cx.record(move |gradients, grad| {
        let mut grad = gradients.pool.own(grad);
        zip_images(&mut grad, &kept, |grad, y| {
            grad.iter_mut().zip(y).for_each(|(grad, &y)| *grad = if y > 0.0 { *grad } else { 0.0 });
        });
        gradients.pool.release(kept);
        gradients.add(input, Arc::new(grad));
    });
    (y, backward)
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
