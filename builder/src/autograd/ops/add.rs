//! Sum of two activations, with batch norms before it and the ReLU after it.

use super::relu;
use crate::autograd::Shared;
use crate::autograd::context::{Backward, Forward};
use crate::kernels::channels::Affine;
use crate::kernels::images::{channels, rectify_all, zip_images, zip3_images};
use crate::tensor::Tensor;
use skipstone_onnx::Node;
use std::sync::Arc;

pub(super) fn forward<'g>(
    cx: &mut Forward<'g, '_>,
    node: &'g Node,
    a: Shared,
    b: Shared,
) -> (Shared, Option<Backward<'g>>) {
    let [of_a, of_b] = [0, 1].map(|operand| cx.lent(node.inputs[operand]));
    let rectifies = cx.training && cx.relu_follows();
    let sum = match (of_a, of_b) {
        (None, None) => plain(cx, [a, b], rectifies),
        (Some(first), second) => normalized(cx, node, [a, b], (&first, second.as_deref()), rectifies),
        (None, Some(first)) => normalized(cx, node, [b, a], (&first, None), rectifies),
    };
    let sum = Arc::new(sum);
    let kept = rectifies.then(|| Arc::clone(&sum));
    let backward = cx.record(move |gradients, mut grad| {
        if let Some(kept) = kept {
            grad = relu::pass(gradients.pool, grad, &kept);
            gradients.pool.release(kept);
        }
        gradients.add(node.inputs[0], Arc::clone(&grad));
        gradients.add(node.inputs[1], grad);
    });
    (sum, backward)
}

fn plain(cx: &Forward, [a, b]: [Shared; 2], rectifies: bool) -> Tensor {
    let (sum, other) = if Arc::strong_count(&a) == 1 { (a, b) } else { (b, a) };
    let mut sum = cx.pool.own(sum);
    zip_images(&mut sum, &other, |sum, other| {
        if rectifies {
            sum.iter_mut().zip(other).for_each(|(sum, other)| {
                let total = *sum + other;
                *sum = if total <= 0.0 { 0.0 } else { total };
            });
        } else {
            sum.iter_mut().zip(other).for_each(|(sum, other)| *sum += other);
        }
    });
    cx.pool.release(other);
    sum
}

/// The sum of operands of which the first, perhaps both, are to be normalized.
fn normalized(
    cx: &Forward,
    node: &Node,
    [a, b]: [Shared; 2],
    (first, second): (&Affine, Option<&Affine>),
    rectifies: bool,
) -> Tensor {
    let mut sum = cx.output(node, a.batch());
    let strip = STRIP * channels(&a);
    zip3_images(&mut sum, &a, &b, |sum, a, b| {
        for ((sum, a), b) in sum.chunks_mut(strip).zip(a.chunks(strip)).zip(b.chunks(strip)) {
            first.apply_to(sum, a);
            match second {
                Some(second) => second.add_to(sum, b),
                None => sum.iter_mut().zip(b).for_each(|(sum, b)| *sum += b),
            }
            if rectifies {
                rectify_all(sum);
            }
        }
    });
    cx.pool.release(a);
    cx.pool.release(b);
    sum
}

/// Pixels that are worked on together: a whole number of the runs of [`Affine`].
const STRIP: usize = 64;

#[cfg(test)]
mod tests {
    use crate::autograd::ops::testing::Check;
    use skipstone_onnx::Op;

    #[test]
    fn gradient_matches_differences() {
        Check::new([3, 4, 5], 2).run(|b, x| {
            let relu = b.push("relu", Op::Relu, &[x])?;
            b.push("add", Op::Add, &[relu, x])
        });
    }

    #[test]
    fn gradient_matches_differences_with_the_relu_after_it() {
        Check::new([3, 4, 5], 2).run(|b, x| {
            let sum = b.push("add", Op::Add, &[x, x])?;
            b.push("relu", Op::Relu, &[sum])
        });
    }

    /// Sums of one and of two batch norms. With gamma 1 and beta 0 they stay away from zero, as the images do.
    #[test]
    fn gradient_matches_differences_after_batch_norms() {
        for twice in [false, true] {
            for relu in [false, true] {
                let mut check = Check::new([3, 9, 8], 10);
                let names = if twice { &["a", "b"][..] } else { &["a"] };
                let norms: Vec<_> = names
                    .iter()
                    .map(|name| {
                        let gamma = check.ones(&format!("{name}.gamma"), 3);
                        let beta = check.zeros(&format!("{name}.beta"), 3);
                        let mut statistic = |role| check.statistic(&format!("{name}.{role}"), &[3]);
                        (name, [gamma, beta, statistic("mean"), statistic("variance")])
                    })
                    .collect();
                check.run(|b, x| {
                    let mut operands = vec![x];
                    for (name, [gamma, beta, mean, variance]) in norms {
                        let norm = Op::BatchNorm { epsilon: 1e-5 };
                        operands.push(b.push(*name, norm, &[x, gamma, beta, mean, variance])?);
                    }
                    let sum = b.push("add", Op::Add, &operands[operands.len() - 2..])?;
                    if relu { b.push("relu", Op::Relu, &[sum]) } else { Ok(sum) }
                });
            }
        }
    }

    #[test]
    fn a_value_added_to_itself_counts_twice() {
        Check::new([1, 2, 3], 1).run(|b, x| b.push("add", Op::Add, &[x, x]));
    }
}
