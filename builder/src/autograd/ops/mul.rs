//! Product of two activations, or of a map and a gate of each channel.

use super::shared;
use crate::autograd::Shared;
use crate::autograd::context::{Backward, Forward};
use crate::kernels::images::{zip_images, zip3_images};
use skipstone_onnx::Node;
use std::sync::Arc;

pub(super) fn forward<'g>(
    cx: &mut Forward<'g, '_>,
    node: &'g Node,
    a: Shared,
    b: Shared,
) -> (Shared, Option<Backward<'g>>) {
    if a.dims() == b.dims() {
        return equal(cx, node, a, b);
    }
    let (map, gate) = if a.data().len() > b.data().len() { ((0, a), (1, b)) } else { ((1, b), (0, a)) };
    gated(cx, node, map, gate)
}

fn equal<'g>(cx: &mut Forward<'g, '_>, node: &'g Node, a: Shared, b: Shared) -> (Shared, Option<Backward<'g>>) {
    let mut y = cx.output(node, a.batch());
    zip3_images(&mut y, &a, &b, |y, a, b| {
        y.iter_mut().zip(a).zip(b).for_each(|((y, a), b)| *y = a * b);
    });
    let backward = cx.record(move |gradients, grad| {
        for (index, other) in [(0, b), (1, a)] {
            let mut dx = gradients.pool.tensor(grad.dims());
            zip3_images(&mut dx, &grad, &other, |dx, grad, other| {
                dx.iter_mut().zip(grad).zip(other).for_each(|((dx, grad), other)| *dx = grad * other);
            });
            gradients.pool.release(other);
            gradients.add(node.inputs[index], Arc::new(dx));
        }
        gradients.pool.release(grad);
    });
    shared(y, backward)
}

/// Both operands come with their positions.
fn gated<'g>(
    cx: &mut Forward<'g, '_>,
    node: &'g Node,
    (map_index, map): (usize, Shared),
    (gate_index, gate): (usize, Shared),
) -> (Shared, Option<Backward<'g>>) {
    let mut y = cx.output(node, map.batch());
    zip3_images(&mut y, &map, &gate, |y, map, gate| {
        for (y, map) in y.chunks_exact_mut(gate.len()).zip(map.chunks_exact(gate.len())) {
            y.iter_mut().zip(map).zip(gate).for_each(|((y, x), gate)| *y = x * gate);
        }
    });
    let backward = cx.record(move |gradients, grad| {
        let mut d_gate = gradients.pool.tensor(gate.dims());
        zip3_images(&mut d_gate, &grad, &map, |d_gate, grad, map| {
            d_gate.fill(0.0);
            for (grad, map) in grad.chunks_exact(d_gate.len()).zip(map.chunks_exact(d_gate.len())) {
                d_gate.iter_mut().zip(grad).zip(map).for_each(|((sum, grad), x)| *sum += grad * x);
            }
        });
        gradients.pool.release(map);
        gradients.add(node.inputs[gate_index], Arc::new(d_gate));
        let mut dx = gradients.pool.own(grad);
        zip_images(&mut dx, &gate, |dx, gate| {
            for dx in dx.chunks_exact_mut(gate.len()) {
                dx.iter_mut().zip(gate).for_each(|(dx, gate)| *dx *= gate);
            }
        });
        gradients.pool.release(gate);
        gradients.add(node.inputs[map_index], Arc::new(dx));
    });
    shared(y, backward)
}

#[cfg(test)]
mod tests {
    use crate::autograd::ops::testing::Check;
    use skipstone_onnx::Op;

    #[test]
    fn gradient_matches_differences() {
        Check::new([3, 4, 5], 2).run(|b, x| {
            let mask = b.push("mask", Op::Sigmoid, &[x])?;
            b.push("mul", Op::Mul, &[mask, x])
        });
        for gate_first in [false, true] {
            Check::new([3, 4, 5], 2).run(|b, x| {
                let gate = b.push("gate", Op::GlobalAveragePool, &[x])?;
                b.push("mul", Op::Mul, &if gate_first { [gate, x] } else { [x, gate] })
            });
        }
    }

    #[test]
    fn a_square_counts_twice() {
        Check::new([2, 1, 1], 2).run(|b, x| b.push("mul", Op::Mul, &[x, x]));
    }
}
