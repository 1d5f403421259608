//! Each position's channels, or a vector's features, divided by their Euclidean norm.

use crate::autograd::Shared;
use crate::autograd::context::{Backward, Forward};
use crate::kernels::vectorize;
use rayon::prelude::*;
use skipstone_onnx::Node;
use std::sync::Arc;

/// Where all channels are 0, so are result and gradient.
pub(super) fn forward<'g>(cx: &mut Forward<'g, '_>, node: &'g Node, x: Shared) -> (Shared, Option<Backward<'g>>) {
    let mut y = cx.pool.own(x);
    let channels = *y.dims().last().unwrap_or(&1);
    let image = y.data().len() / y.batch();
    let mut inverse = vec![0.0f32; y.data().len() / channels];
    y.data_mut().par_chunks_mut(image).zip(inverse.par_chunks_mut(image / channels)).for_each(|(y, inverse)| {
        vectorize(|| {
            for (y, inverse) in y.chunks_exact_mut(channels).zip(inverse) {
                let norm = y.iter().map(|y| y * y).sum::<f32>().sqrt();
                *inverse = if norm == 0.0 { 0.0 } else { 1.0 / norm };
                y.iter_mut().for_each(|y| *y *= *inverse);
            }
        });
    });
    let y = Arc::new(y);
    let kept = Arc::clone(&y);
    let backward = cx.record(move |gradients, grad| {
        // d x = (grad - y * sum(grad * y)) / norm.
        let mut grad = gradients.pool.own(grad);
        let images = grad.data_mut().par_chunks_mut(image).zip(kept.data().par_chunks(image));
        images.zip(inverse.par_chunks(image / channels)).for_each(|((grad, y), inverse)| {
            vectorize(|| {
                let positions = grad.chunks_exact_mut(channels).zip(y.chunks_exact(channels));
                for ((grad, y), inverse) in positions.zip(inverse) {
                    let along: f32 = grad.iter().zip(y).map(|(grad, y)| grad * y).sum();
                    grad.iter_mut().zip(y).for_each(|(grad, y)| *grad = (*grad - y * along) * inverse);
                }
            });
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
        Check::new([3, 4, 5], 2).run(|b, x| b.push("norm", Op::L2Norm, &[x]));
        let mut check = Check::new([3, 2, 3], 3);
        let weight = check.parameter("weight", &[4, 18]);
        check.run(|b, x| {
            let x = b.push("flat", Op::Flatten, &[x])?;
            let x = b.push("norm", Op::L2Norm, &[x])?;
            b.push("gemm", Op::Gemm, &[x, weight])
        });
    }

    #[test]
    fn each_position_has_length_1_or_0() {
        let y = one_operator(Op::L2Norm, &Tensor::new([1, 1, 3, 2], vec![3.0, -4.0, 0.0, 0.0, 0.0, 1e-9]));
        // Flattening is channel-major.
        for (y, expected) in y.data().iter().zip([0.6, 0.0, 0.0, -0.8, 0.0, 1.0]) {
            assert!((y - expected).abs() < 1e-6, "{y}, not {expected}");
        }
    }
}
