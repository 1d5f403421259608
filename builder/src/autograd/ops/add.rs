//! Sum of two activations.

use super::shared;
use crate::autograd::Shared;
use crate::autograd::context::{Backward, Forward};
use crate::kernels::images::zip_images;
use skipstone_onnx::Node;
use std::sync::Arc;

pub(super) fn forward<'g>(
    cx: &mut Forward<'g, '_>,
    node: &'g Node,
    a: Shared,
    b: Shared,
) -> (Shared, Option<Backward<'g>>) {
    let (sum, other) = if Arc::strong_count(&a) == 1 { (a, b) } else { (b, a) };
    let mut sum = cx.pool.own(sum);
    zip_images(&mut sum, &other, |sum, other| sum.iter_mut().zip(other).for_each(|(sum, other)| *sum += other));
    cx.pool.release(other);
    let backward = cx.record(move |gradients, grad| {
        gradients.add(node.inputs[0], Arc::clone(&grad));
        gradients.add(node.inputs[1], grad);
    });
    shared(sum, backward)
}

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
    fn a_value_added_to_itself_counts_twice() {
        Check::new([1, 2, 3], 1).run(|b, x| b.push("add", Op::Add, &[x, x]));
    }
}
