//! Activations side by side along their channels.

use super::shared;
use crate::autograd::Shared;
use crate::autograd::context::{Backward, Forward};
use crate::autograd::saved::Recipe;
use crate::kernels::images::{join_channels, split_channels};
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
    join_channels(&mut y, &operands.iter().map(|x| &**x).collect::<Vec<_>>());
    if !cx.training {
        operands.into_iter().for_each(|x| cx.pool.release(x));
        return shared(y, None);
    }
    if cx.takes_moments(node) {
        let moments = operands.iter().zip(&node.inputs).flat_map(|(x, &input)| cx.moments(input, x)).collect();
        cx.publish_moments(node, moments);
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
        let mut parts: Vec<Tensor> = dims.iter().map(|dims| gradients.pool.tensor(dims.as_slice())).collect();
        split_channels(&mut parts, &grad);
        for (part, &input) in parts.into_iter().zip(&node.inputs) {
            gradients.add(input, Arc::new(part));
        }
        gradients.pool.release(grad);
    });
    shared(y, backward)
}

#[cfg(test)]
mod tests {
    use crate::autograd::ops::testing::Check;
    use skipstone_onnx::{Conv, GraphBuilder, GraphError, Op, Pad, ValueId, Window};

    type Built = Result<ValueId, GraphError>;

    #[test]
    fn gradient_matches_differences() {
        Check::new([3, 4, 5], 2).run(|b, x| {
            let relu = b.push("relu", Op::Relu, &[x])?;
            let more = b.push("more", Op::Pad(Pad { before: [1, 0, 0], after: [0; 3] }), &[relu])?;
            b.push("concat", Op::Concat, &[x, more, relu])
        });
    }

    /// A dense block of three layers, with and without ReLU, whose concatenations are read in other ways besides.
    fn dense_block(check: &mut Check, relu: bool) -> impl FnOnce(&mut GraphBuilder, ValueId) -> Built + use<> {
        let layers = [("a", 3), ("b", 5), ("c", 7)].map(|(name, inputs)| {
            let [gamma, beta] = ["gamma", "beta"].map(|role| check.parameter(&format!("{name}.{role}"), &[inputs]));
            let [mean, variance] =
                ["mean", "variance"].map(|role| check.statistic(&format!("{name}.{role}"), &[inputs]));
            (name, [gamma, beta, mean, variance], check.parameter(&format!("{name}.weight"), &[2, inputs, 3, 3]))
        });
        move |b, image| {
            let mut x = image;
            for (name, [gamma, beta, mean, variance], weight) in layers {
                let operands = [x, gamma, beta, mean, variance];
                let mut new = b.push(format!("{name}.norm"), Op::BatchNorm { epsilon: 1e-5 }, &operands)?;
                if relu {
                    new = b.push(format!("{name}.relu"), Op::Relu, &[new])?;
                }
                let new = b.push(format!("{name}.conv"), Op::Conv(Conv::square(3, 1, 1)), &[new, weight])?;
                x = b.push(format!("{name}.concat"), Op::Concat, &[x, new])?;
            }
            let pool = Op::AveragePool { window: Window::square(3, 1, 1), count_include_pad: true };
            let pool = b.push("pool", pool, &[x])?;
            let sum = b.push("sum", Op::Add, &[x, pool])?;
            b.push("joined", Op::Concat, &[sum, image])
        }
    }

    #[test]
    fn gradient_matches_differences_through_a_dense_block() {
        let mut check = Check::new([3, 3, 4], 4);
        let build = dense_block(&mut check, false);
        check.run(build);
    }

    #[test]
    fn what_is_recomputed_is_what_was() {
        let mut check = Check::new([3, 9, 8], 4);
        let build = dense_block(&mut check, true);
        let [(made, less), (kept, more)] = check.gradients_made_and_kept(build);
        assert_eq!(made, kept);
        assert!(less < more, "{less} and {more} bytes");
    }

    #[test]
    fn vectors_and_repetitions() {
        Check::new([3, 2, 2], 2).run(|b, x| {
            let flat = b.push("flat", Op::Flatten, &[x])?;
            b.push("concat", Op::Concat, &[flat, flat])
        });
    }
}
