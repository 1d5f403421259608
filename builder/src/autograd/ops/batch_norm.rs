//! Batch normalization over channels, and the ReLU after it.

use super::shared;
use crate::autograd::Shared;
use crate::autograd::context::{Backward, Forward, Gradients};
use crate::autograd::norm::{Norm, Over, mean_and_variance, sum_chunks};
use crate::autograd::saved::Recipe;
use crate::kernels::channels::{self, Affine, repeat};
use crate::kernels::images::{zip_images, zip3_images};
use skipstone_onnx::Node;
use std::sync::Arc;

/// In training: statistics of the batch, and running statistics as in PyTorch (the variance unbiased). In evaluation,
/// under fake quantization, and where they are frozen: the running statistics, as they are.
///
/// Where only a ReLU reads the result ([`Forward::relu_follows`]), the result is rectified here, and its gradient is
/// that of the rectified result: the ReLU passes both on unchanged. Where only a convolution reads that
/// ([`Forward::enters`]), it takes the whole work over, with a [`Norm`], and both pass the operand on.
///
/// Where only an addition reads the result ([`Forward::addition_follows`]), it computes it from the operand.
pub(super) fn forward<'g>(
    cx: &mut Forward<'g, '_>,
    node: &'g Node,
    epsilon: f32,
    x: Shared,
) -> (Shared, Option<Backward<'g>>) {
    let [gamma, beta, running_mean, running_variance] = [1, 2, 3, 4].map(|operand| cx.parameter(node.inputs[operand]));
    if !cx.training {
        let inverse: Vec<f32> = running_variance.iter().map(|v| 1.0 / (v + epsilon).sqrt()).collect();
        let affine = Affine::new(gamma, beta, running_mean, &inverse, false);
        let mut y = cx.pool.own(x);
        affine.apply_in_place(&mut y);
        return shared(y, None);
    }

    let channels = gamma.len();
    let is_frozen = cx.fake.is_some() || cx.is_frozen(node.inputs[3]);
    let over = Over { images: cx.chunk_images(x.batch()), cluster: cx.statistics_over() };
    let count = (x.data().len() / channels * over.cluster.size()) as f64;
    let (mean, variance): (Vec<f32>, Vec<f64>) = if is_frozen {
        (running_mean.to_vec(), running_variance.iter().map(|&v| v.into()).collect())
    } else {
        let mut moments = cx.moments(node.inputs[0], &x);
        over.cluster.sum(moments.as_flattened_mut());
        mean_and_variance(&moments, count)
    };
    if !is_frozen {
        let unbiased = count / (count - 1.0).max(1.0);
        let momentum = cx.batch_norm_momentum;
        let blend = |old: &[f32], new: &mut dyn Iterator<Item = f32>| -> Vec<f32> {
            old.iter().zip(new).map(|(old, new)| (1.0 - momentum) * old + momentum * new).collect()
        };
        let new_mean = blend(running_mean, &mut mean.iter().copied());
        let new_variance = blend(running_variance, &mut variance.iter().map(|v| (v * unbiased) as f32));
        cx.statistics.push((node.inputs[3], new_mean));
        cx.statistics.push((node.inputs[4], new_variance));
    }

    let inverse: Vec<f32> = variance.iter().map(|v| (1.0 / (v + f64::from(epsilon)).sqrt()) as f32).collect();
    let affine = Arc::new(Affine::new(gamma, beta, &mean, &inverse, cx.relu_follows()));
    let norm = Norm { operands: &node.inputs, gamma, mean, inverse, affine, is_frozen, count, over };
    if let Some(entered) = cx.enters(node) {
        cx.hand_over(entered, norm);
        return (x, None);
    }
    let y = if cx.addition_follows(node) {
        cx.lend(node, Arc::clone(&norm.affine));
        Arc::clone(&x)
    } else {
        let mut y = cx.output(node, x.batch());
        norm.affine.apply(&mut y, &x);
        if let Some(x) = cx.recomputed(node.inputs[0]) {
            cx.publish(node, Recipe::Affine { x, affine: Arc::clone(&norm.affine) });
        }
        Arc::new(y)
    };

    let x = cx.save(node.inputs[0], x);
    let closure = cx.record(move |gradients, grad| {
        let x = x.get(gradients.pool);
        let rectified = norm.affine.rectified();
        let totals =
            sum_chunks([&grad, &x], norm.over.images, |grad, x| channels::products(grad, x, channels, rectified));
        backward(&norm, gradients, grad, x, totals);
    });
    (y, closure)
}

/// Adds the gradients of a batch norm's operands. `grad` is that of the result; `totals` are the sums of
/// [`channels::products`] over the images of this process.
pub(super) fn backward(norm: &Norm, gradients: &mut Gradients, grad: Shared, x: Shared, mut totals: Vec<[f64; 2]>) {
    // With n = (x - mean) * inverse: d beta = sum(grad), d gamma = sum(grad * n), and
    // d x = gamma * inverse * (grad - mean(grad) - n * mean(grad * n)).
    norm.over.cluster.sum(totals.as_flattened_mut());
    let channels = totals.len();
    let (mut d_gamma, mut d_beta) = (Vec::with_capacity(channels), Vec::with_capacity(channels));
    let mut coefficients = Vec::with_capacity(channels);
    for (c, [sum, products]) in totals.into_iter().enumerate() {
        let mean = f64::from(norm.mean[c]);
        let products = products - sum * mean;
        let inverse = f64::from(norm.inverse[c]);
        d_beta.push(sum as f32);
        d_gamma.push((products * inverse) as f32);
        let factor = f64::from(norm.gamma[c]) * inverse;
        // Statistics that do not depend on x leave the first term alone.
        let [sum, products] = if norm.is_frozen { [0.0; 2] } else { [sum, products] };
        let slope = -factor * inverse * inverse * products / norm.count;
        let offset = -factor * sum / norm.count - slope * mean;
        coefficients.push([factor as f32, slope as f32, offset as f32]);
    }
    if !norm.over.cluster.is_first() {
        // The sums are those of all processes; their gradients will be added.
        [&mut d_gamma, &mut d_beta].into_iter().for_each(|sums| sums.fill(0.0));
    }
    gradients.add_parameter(norm.operands[1], d_gamma);
    gradients.add_parameter(norm.operands[2], d_beta);
    let coefficients = [0, 1, 2].map(|i| repeat(coefficients.iter().map(|c| c[i])));
    let coefficients = coefficients.each_ref().map(Vec::as_slice);
    let rectified = norm.affine.rectified();
    let dx = match (gradients.take(norm.operand()), Arc::try_unwrap(grad)) {
        (None, Ok(mut dx)) => {
            zip_images(&mut dx, &x, |dx, x| channels::norm_gradient(dx, x, coefficients, rectified));
            dx
        }
        (sum, grad) => {
            let grad = grad.map_or_else(|shared| shared, Arc::new);
            let is_sum = sum.is_some();
            let mut dx = sum.unwrap_or_else(|| gradients.pool.tensor(grad.dims()));
            zip3_images(&mut dx, &grad, &x, |dx, grad, x| {
                channels::norm_gradient_into(dx, is_sum, grad, x, coefficients, rectified);
            });
            gradients.pool.release(grad);
            dx
        }
    };
    gradients.pool.release(x);
    gradients.add(norm.operand(), Arc::new(dx));
}

#[cfg(test)]
mod tests {
    use crate::autograd::loss::{Loss, targets};
    use crate::autograd::ops::testing::Check;
    use crate::autograd::{Noise, Tape, infer};
    use crate::tensor::Tensor;
    use skipstone_onnx::{Graph, GraphBuilder, Op, Tensor as Parameter};

    #[test]
    fn gradient_matches_differences() {
        for (dims, batch) in [([3, 4, 5], 4), ([17, 2, 3], 70)] {
            let mut check = Check::new(dims, batch);
            let operands = ["gamma", "beta", "mean", "variance"].map(|name| check.parameter(name, &dims[..1]));
            check.run(|b, x| {
                let [gamma, beta, mean, variance] = operands;
                b.push("bn", Op::BatchNorm { epsilon: 1e-5 }, &[x, gamma, beta, mean, variance])
            });
        }
    }

    /// With beta 0 and many pixels, numbers that stay away from zero do so after the batch norm too.
    #[test]
    fn gradient_matches_differences_with_the_relu_after_it() {
        for read_twice in [false, true] {
            let mut check = Check::new([3, 9, 8], 10);
            let gamma = check.parameter("gamma", &[3]);
            let beta = check.zeros("beta", 3);
            let [mean, variance] = ["mean", "variance"].map(|name| check.parameter(name, &[3]));
            check.run(|b, x| {
                let y = b.push("bn", Op::BatchNorm { epsilon: 1e-5 }, &[x, gamma, beta, mean, variance])?;
                let relu = b.push("relu", Op::Relu, &[y])?;
                if read_twice { b.push("add", Op::Add, &[relu, y]) } else { Ok(relu) }
            });
        }
    }

    fn graph() -> Graph {
        let mut b = GraphBuilder::new("bn", "image", [2, 1, 2]).unwrap();
        let mut vector = |name, values: [f32; 2], trainable| {
            b.parameter(name, Parameter::new([2], values.to_vec()).unwrap(), trainable).unwrap()
        };
        let gamma = vector("gamma", [2.0, 1.0], true);
        let beta = vector("beta", [0.0, 3.0], true);
        let mean = vector("mean", [1.0, 0.0], false);
        let variance = vector("variance", [4.0, 1.0], false);
        let x = b.input();
        let x = b.push("bn", Op::BatchNorm { epsilon: 0.0 }, &[x, gamma, beta, mean, variance]).unwrap();
        let x = b.push("flat", Op::Flatten, &[x]).unwrap();
        b.finish(x).unwrap()
    }

    #[test]
    fn evaluation_uses_running_statistics_and_training_moves_them() {
        let mut graph = graph();
        let images = Tensor::new([2, 1, 2, 2], vec![1.0, 5.0, 3.0, 5.0, 5.0, 7.0, 7.0, 7.0]);
        // Channel 0 holds 1 3 5 7: 2 * (x - 1) / 2; channel 1 holds 5 5 7 7: x + 3.
        assert_eq!(infer(&graph, &images).data(), [0.0, 2.0, 8.0, 8.0, 4.0, 6.0, 10.0, 10.0]);
        Tape::new().step(&mut graph, images, &targets(&[0, 1], 4, 0.0), Loss::CrossEntropy, Noise::default());
        let statistics: Vec<&[f32]> =
            graph.parameters().filter(|(_, _, p)| !p.trainable).map(|(_, _, p)| p.tensor.data()).collect();
        // Means 4 and 6; unbiased variances 20/3 and 4/3.
        let expected = [[0.9 + 0.4, 0.6], [3.6 + 2.0 / 3.0, 0.9 + 0.4 / 3.0]];
        for (actual, expected) in statistics.iter().zip(expected) {
            for (actual, expected) in actual.iter().zip(expected) {
                assert!((actual - expected).abs() < 1e-5, "{statistics:?}");
            }
        }
    }
}
