//! Softmax over the features of a vector.

use crate::autograd::Shared;
use crate::autograd::context::{Backward, Forward};
use crate::kernels::images::zip_images;
use rayon::prelude::*;
use skipstone_onnx::Node;
use std::sync::Arc;

pub(super) fn forward<'g>(cx: &mut Forward<'g, '_>, node: &'g Node, x: Shared) -> (Shared, Option<Backward<'g>>) {
    let mut y = cx.pool.own(x);
    let features = y.dims()[1];
    y.data_mut().par_chunks_mut(features).for_each(|y| {
        let highest = y.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        y.iter_mut().for_each(|y| *y = (*y - highest).exp());
        let sum: f32 = y.iter().sum();
        y.iter_mut().for_each(|y| *y /= sum);
    });
    let y = Arc::new(y);
    let kept = Arc::clone(&y);
    let backward = cx.record(move |gradients, grad| {
        let mut grad = gradients.pool.own(grad);
        zip_images(&mut grad, &kept, |grad, y| {
            let mean: f32 = grad.iter().zip(y).map(|(grad, y)| grad * y).sum();
            grad.iter_mut().zip(y).for_each(|(grad, y)| *grad = (*grad - mean) * y);
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
        let mut check = Check::new([3, 2, 3], 3);
        let weight = check.parameter("weight", &[4, 18]);
        check.run(|b, x| {
            let x = b.push("flat", Op::Flatten, &[x])?;
            let x = b.push("softmax", Op::Softmax, &[x])?;
            b.push("gemm", Op::Gemm, &[x, weight])
        });
    }
}
