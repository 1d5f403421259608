//! Activations side by side along their channels.

use super::{shared, zip_images};
use crate::autograd::Shared;
use crate::autograd::saved::Recipe;
use crate::autograd::tape::{Backward, Forward};
use crate::tensor::Tensor;
use skipstone_onnx::Node;
use std::sync::Arc;

pub(super) fn forward<'g>(
    cx: &mut Forward<'g, '_>,
    node: &'g Node,
    operands: Vec<Shared>,
) -> (Shared, Option<Backward<'g>>) {
    let mut y = cx.output(node, operands[0].batch());
    let dims: Vec<Vec<usize>> = operands.iter().map(|x| x.dims().to_vec()).collect();
    let channels = channels(&y);
    let mut first = 0;
    for x in &operands {
        first = place(&mut y, x, first);
    }
    if !cx.training {
        operands.into_iter().for_each(|x| cx.pool.release(x));
        return shared(y, None);
    }
    let mut parts = Vec::with_capacity(operands.len());
    for (x, &input) in operands.into_iter().zip(&node.inputs) {
        match cx.parts(input) {
            Some(inner) => {
                parts.extend(inner);
                cx.pool.release(x);
            }
            None => parts.push(cx.save(input, x)),
        }
    }
    cx.publish(node, Recipe::Concat { parts, dims: y.dims().to_vec() });
    let backward = cx.record(move |gradients, grad| {
        let mut first = 0;
        for (dims, &input) in dims.iter().zip(&node.inputs) {
            let count = dims[dims.len() - 1];
            if gradients.wants(input) {
                let mut dx = gradients.pool.tensor(dims.as_slice());
                zip_images(&mut dx, &grad, |dx, grad| {
                    for (dx, grad) in dx.chunks_exact_mut(count).zip(grad.chunks_exact(channels)) {
                        dx.copy_from_slice(&grad[first..first + count]);
                    }
                });
                gradients.add(input, Arc::new(dx));
            }
            first += count;
        }
        gradients.pool.release(grad);
    });
    shared(y, backward)
}

/// Writes `x` into the channels of `y` from `first` on and gives the first one behind them.
pub(in crate::autograd) fn place(y: &mut Tensor, x: &Tensor, first: usize) -> usize {
    let (count, channels) = (channels(x), channels(y));
    zip_images(y, x, |y, x| {
        for (y, x) in y.chunks_exact_mut(channels).zip(x.chunks_exact(count)) {
            y[first..first + count].copy_from_slice(x);
        }
    });
    first + count
}

fn channels(x: &Tensor) -> usize {
    x.dims()[x.dims().len() - 1]
}

#[cfg(test)]
mod tests {
    use crate::autograd::ops::testing::Check;
    use skipstone_onnx::{Conv, GraphBuilder, GraphError, Op, Pad, ValueId, Window};

    #[test]
    fn gradient_matches_differences() {
        Check::new([3, 4, 5], 2).run(|b, x| {
            let relu = b.push("relu", Op::Relu, &[x])?;
            let more = b.push("more", Op::Pad(Pad { before: [1, 0, 0], after: [0; 3] }), &[relu])?;
            b.push("concat", Op::Concat, &[x, more, relu])
        });
    }

    /// The activations of a dense block are made again on the way back, in all ways in which they are read.
    #[test]
    fn gradient_matches_differences_through_a_dense_block() {
        let mut check = Check::new([3, 3, 4], 4);
        let mut layer = |name: &'static str, inputs: usize| {
            let norm = ["gamma", "beta"].map(|role| check.parameter(&format!("{name}.{role}"), &[inputs]));
            let statistics = ["mean", "variance"].map(|role| check.statistic(&format!("{name}.{role}"), &[inputs]));
            let weight = check.parameter(&format!("{name}.weight"), &[2, inputs, 3, 3]);
            move |b: &mut GraphBuilder, x: ValueId| -> Result<ValueId, GraphError> {
                let [gamma, beta] = norm;
                let [mean, variance] = statistics;
                let operands = [x, gamma, beta, mean, variance];
                let x = b.push(format!("{name}.norm"), Op::BatchNorm { epsilon: 1e-5 }, &operands)?;
                let x = b.push(format!("{name}.relu"), Op::Relu, &[x])?;
                b.push(format!("{name}.conv"), Op::Conv(Conv::square(3, 1, 1)), &[x, weight])
            }
        };
        let layers = [layer("a", 3), layer("b", 5), layer("c", 7)];
        check.run(|b, image| {
            let mut x = image;
            for (index, layer) in layers.iter().enumerate() {
                let new = layer(b, x)?;
                x = b.push(format!("concat{index}"), Op::Concat, &[x, new])?;
            }
            // A concatenation that is read in other ways besides.
            let pool =
                b.push("pool", Op::AveragePool { window: Window::square(3, 1, 1), count_include_pad: true }, &[x])?;
            let sum = b.push("sum", Op::Add, &[x, pool])?;
            b.push("joined", Op::Concat, &[sum, image])
        });
    }

    #[test]
    fn vectors_and_repetitions() {
        Check::new([3, 2, 2], 2).run(|b, x| {
            let flat = b.push("flat", Op::Flatten, &[x])?;
            b.push("concat", Op::Concat, &[flat, flat])
        });
    }
}
