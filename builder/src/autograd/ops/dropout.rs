//! Dropout and stochastic depth: the identity in evaluation.
//!
//! Masks are not kept: they follow from the step's [`Noise`](crate::autograd::Noise), the node's and the image's
//! positions, and are drawn again in the backward pass.

use crate::autograd::Shared;
use crate::autograd::context::{Backward, Forward, Masks};
use crate::tensor::Tensor;
use rand::Rng;
use rayon::prelude::*;
use skipstone_onnx::Node;
use std::sync::Arc;

/// What is dropped together.
#[derive(Clone, Copy)]
pub(super) enum Unit {
    Element,
    Image,
}

pub(super) fn forward<'g>(
    cx: &mut Forward<'g, '_>,
    node: &'g Node,
    unit: Unit,
    rate: f32,
    x: Shared,
) -> (Shared, Option<Backward<'g>>) {
    if !cx.training || rate == 0.0 {
        let backward = cx.record(move |gradients, grad| gradients.add(node.inputs[0], grad));
        return (x, backward);
    }
    let masks = cx.masks(x.batch());
    let mut y = cx.pool.own(x);
    drop(&mut y, unit, rate, masks);
    let backward = cx.record(move |gradients, grad| {
        let mut dx = gradients.pool.own(grad);
        drop(&mut dx, unit, rate, masks);
        gradients.add(node.inputs[0], Arc::new(dx));
    });
    (Arc::new(y), backward)
}

/// Zeroes units with probability `rate` and scales the others so that the mean stays.
fn drop(x: &mut Tensor, unit: Unit, rate: f32, masks: Masks) {
    let image = x.data().len() / x.batch();
    let scale = 1.0 / (1.0 - rate);
    let limit = (f64::from(rate) * 2f64.powi(32)) as u32;
    x.data_mut().par_chunks_mut(image).enumerate().for_each(|(index, x)| {
        let mut random = masks.image(index);
        let mut factor = || if random.next_u32() < limit { 0.0 } else { scale };
        match unit {
            Unit::Element => x.iter_mut().for_each(|x| *x *= factor()),
            Unit::Image => {
                let factor = factor();
                x.iter_mut().for_each(|x| *x *= factor);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use crate::autograd::context::Noise;
    use crate::autograd::ops::testing::{Check, one_operator, train_one_operator};
    use crate::tensor::Tensor;
    use skipstone_onnx::Op;

    #[test]
    fn gradient_matches_differences() {
        for rate in [0.0, 0.3] {
            for op in [Op::Dropout { rate }, Op::StochasticDepth { rate }] {
                Check::new([3, 4, 5], 9).run(|b, x| b.push("drop", op, &[x]));
            }
        }
    }

    #[test]
    fn evaluation_is_the_identity() {
        let images = Tensor::new([2, 1, 2, 1], vec![1.0, 2.0, 3.0, 4.0]);
        for op in [Op::Dropout { rate: 0.9 }, Op::StochasticDepth { rate: 0.9 }] {
            assert_eq!(one_operator(op, &images).data(), images.data());
        }
    }

    #[test]
    fn drops_at_the_rate_and_keeps_the_mean() {
        let ones = Tensor::new([1000, 4, 5, 1], vec![1.0; 20_000]);
        for (op, units) in [(Op::Dropout { rate: 0.2 }, 20_000), (Op::StochasticDepth { rate: 0.2 }, 1000)] {
            let dropped = train_one_operator(op.clone(), &ones, Noise { seed: 1, step: 2 });
            assert!(dropped.data().iter().all(|&y| y == 0.0 || y == 1.25));
            let share = dropped.data().iter().filter(|&&y| y == 0.0).count() as f64 / 20_000.0;
            let deviation = (0.2 * 0.8 / f64::from(units)).sqrt();
            assert!((share - 0.2).abs() < 4.0 * deviation, "{op:?}: {share}");
            if units == 1000 {
                assert!(dropped.data().chunks(20).all(|image| image.iter().all(|&y| y == image[0])));
            }
        }
    }

    #[test]
    fn masks_follow_from_seed_step_node_and_image_alone() {
        let masks = |noise| {
            let ones = Tensor::new([2, 4, 8, 1], vec![1.0; 64]);
            train_one_operator(Op::Dropout { rate: 0.5 }, &ones, noise)
        };
        let first = masks(Noise { seed: 1, step: 2 });
        assert_eq!(first, masks(Noise { seed: 1, step: 2 }));
        assert_ne!(first, masks(Noise { seed: 2, step: 2 }));
        assert_ne!(first, masks(Noise { seed: 1, step: 3 }));
        assert_ne!(first.image(0), first.image(1));
        let ones = Tensor::new([1, 4, 8, 1], vec![1.0; 32]);
        let alone = train_one_operator(Op::Dropout { rate: 0.5 }, &ones, Noise { seed: 1, step: 2 });
        assert_eq!(alone.image(0), first.image(0));
    }
}
