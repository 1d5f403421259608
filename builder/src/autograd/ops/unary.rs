//! Functions of single elements.

use crate::autograd::Shared;
use crate::autograd::context::{Backward, Forward};
use crate::kernels::images::{each_chunk, zip_images};
use skipstone_onnx::{Node, Unary};
use std::sync::Arc;

pub(super) fn forward<'g>(
    cx: &mut Forward<'g, '_>,
    node: &'g Node,
    unary: Unary,
    x: Shared,
) -> (Shared, Option<Backward<'g>>) {
    if !cx.training {
        let mut y = cx.pool.own(x);
        each_chunk(&mut y, |y| y.iter_mut().for_each(|y| *y = unary.value(*y)));
        return (Arc::new(y), None);
    }
    let mut y = cx.output(node, x.batch());
    zip_images(&mut y, &x, |y, x| y.iter_mut().zip(x).for_each(|(y, x)| *y = unary.value(*x)));
    let x = cx.save(node.inputs[0], x);
    let backward = cx.record(move |gradients, grad| {
        let x = x.get(gradients.pool);
        let mut grad = gradients.pool.own(grad);
        zip_images(&mut grad, &x, |grad, x| {
            grad.iter_mut().zip(x).for_each(|(grad, x)| *grad *= unary.derivative(*x));
        });
        gradients.pool.release(x);
        gradients.add(node.inputs[0], Arc::new(grad));
    });
    (Arc::new(y), backward)
}

#[cfg(test)]
mod tests {
    use crate::autograd::ops::testing::Check;
    use skipstone_onnx::{Op, Unary};

    #[test]
    fn gradients_match_differences() {
        // Random numbers stay away from 0, where two of the functions have no derivative.
        for unary in [
            Unary::LeakyRelu { alpha: 0.2 },
            Unary::Elu { alpha: 0.5 },
            Unary::Gelu,
            Unary::GeluTanh,
            Unary::Erf,
            Unary::Softplus,
            Unary::Mish,
            Unary::Softsign,
            Unary::ThresholdedRelu { alpha: 0.0 },
        ] {
            Check::new([3, 4, 5], 2).run(|b, x| b.push("unary", Op::Unary(unary), &[x]));
        }
        // Of numbers above 0: those of an exponential function.
        for unary in [Unary::Log, Unary::Power { exponent: -0.5 }, Unary::Power { exponent: 1.5 }] {
            Check::new([3, 4, 5], 2).run(|b, x| {
                let above = b.push("above", Op::Unary(Unary::Exp), &[x])?;
                b.push("unary", Op::Unary(unary), &[above])
            });
        }
    }
}
