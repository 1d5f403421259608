//! Batch normalization over channels.

use super::{chunk_images, kernels_dispatch, shared, zip_images};
use crate::autograd::Shared;
use crate::autograd::saved::Recipe;
use crate::autograd::tape::{Backward, Forward};
use crate::tensor::Tensor;
use rayon::prelude::*;
use skipstone_onnx::Node;
use std::sync::Arc;

/// Weight of a batch in the running statistics.
const MOMENTUM: f32 = 0.1;
/// Pixels that are summed in single precision before they enter double precision.
const SINGLE: usize = 64;

/// In training: statistics of the batch, and running statistics as in PyTorch (the variance unbiased). In evaluation:
/// the running statistics.
pub(super) fn forward<'g>(
    cx: &mut Forward<'g, '_>,
    node: &'g Node,
    epsilon: f32,
    x: Shared,
) -> (Shared, Option<Backward<'g>>) {
    let [gamma, beta, running_mean, running_variance] = [1, 2, 3, 4].map(|operand| cx.parameter(node.inputs[operand]));
    if !cx.training {
        let inverse: Vec<f32> = running_variance.iter().map(|v| 1.0 / (v + epsilon).sqrt()).collect();
        let mut y = cx.pool.own(x);
        let (scale, shift) = affine(gamma, beta, running_mean, &inverse);
        let image = y.data().len() / y.batch();
        y.data_mut().par_chunks_mut(image).for_each(|y| {
            kernels_dispatch(|| {
                for pixel in y.chunks_exact_mut(scale.len()) {
                    for ((y, scale), shift) in pixel.iter_mut().zip(&scale).zip(&shift) {
                        *y = *y * scale + shift;
                    }
                }
            });
        });
        return shared(y, None);
    }

    let count = (x.data().len() / gamma.len()) as f64;
    let (mean, variance): (Vec<f32>, Vec<f64>) = sums(&x, &x, gamma.len(), |x, _| [x, x * x])
        .map(|[sum, squares]| {
            let mean = sum / count;
            (mean as f32, (squares / count - mean * mean).max(0.0))
        })
        .unzip();
    let unbiased = count / (count - 1.0).max(1.0);
    let blend = |old: &[f32], new: &mut dyn Iterator<Item = f32>| -> Vec<f32> {
        old.iter().zip(new).map(|(old, new)| (1.0 - MOMENTUM) * old + MOMENTUM * new).collect()
    };
    let new_mean = blend(running_mean, &mut mean.iter().copied());
    let new_variance = blend(running_variance, &mut variance.iter().map(|v| (v * unbiased) as f32));
    cx.statistics.push((node.inputs[3], new_mean));
    cx.statistics.push((node.inputs[4], new_variance));

    let inverse: Vec<f32> = variance.iter().map(|v| (1.0 / (v + f64::from(epsilon)).sqrt()) as f32).collect();
    let (scale, shift) = affine(gamma, beta, &mean, &inverse);
    let mut y = cx.output(node, x.batch());
    transform(&mut y, &x, &scale, &shift);
    if let Some(x) = cx.remade(node.inputs[0]) {
        cx.publish(node, Recipe::Affine { x, scale, shift });
    }

    let x = cx.save(node.inputs[0], x);
    let backward = cx.record(move |gradients, grad| {
        // With n = (x - mean) * inverse: d beta = sum(grad), d gamma = sum(grad * n), and
        // d x = gamma * inverse * (grad - mean(grad) - n * mean(grad * n)).
        let x = x.get(gradients.pool);
        let channels = gamma.len();
        let (mut d_gamma, mut d_beta) = (Vec::with_capacity(channels), Vec::with_capacity(channels));
        let mut coefficients = Vec::with_capacity(channels);
        for (c, [sum, products]) in sums(&grad, &x, channels, |grad, x| [grad, grad * x]).enumerate() {
            let products = products - sum * f64::from(mean[c]);
            let inverse64 = f64::from(inverse[c]);
            d_beta.push(sum as f32);
            d_gamma.push((products * inverse64) as f32);
            let factor = f64::from(gamma[c]) * inverse64;
            let slope = -factor * inverse64 * inverse64 * products / count;
            let offset = -factor * sum / count - slope * f64::from(mean[c]);
            coefficients.push([factor as f32, slope as f32, offset as f32]);
        }
        gradients.add_parameter(node.inputs[1], d_gamma);
        gradients.add_parameter(node.inputs[2], d_beta);
        let [factor, slope, offset] = [0, 1, 2].map(|i| coefficients.iter().map(|c| c[i]).collect::<Vec<f32>>());
        let mut dx = gradients.pool.own(grad);
        zip_images(&mut dx, &x, |dx, x| {
            for (dx, x) in dx.chunks_exact_mut(channels).zip(x.chunks_exact(channels)) {
                for ((((dx, x), factor), slope), offset) in dx.iter_mut().zip(x).zip(&factor).zip(&slope).zip(&offset) {
                    *dx = *dx * factor + (x * slope + offset);
                }
            }
        });
        gradients.pool.release(x);
        gradients.add(node.inputs[0], Arc::new(dx));
    });
    shared(y, backward)
}

/// `y = x * scale + shift`, channel by channel.
pub(in crate::autograd) fn transform(y: &mut Tensor, x: &Tensor, scale: &[f32], shift: &[f32]) {
    zip_images(y, x, |y, x| {
        let channels = scale.len();
        for (y, x) in y.chunks_exact_mut(channels).zip(x.chunks_exact(channels)) {
            for (((y, x), scale), shift) in y.iter_mut().zip(x).zip(scale).zip(shift) {
                *y = x * scale + shift;
            }
        }
    });
}

/// Scale and shift of [`transform`].
fn affine(gamma: &[f32], beta: &[f32], mean: &[f32], inverse: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let scale: Vec<f32> = gamma.iter().zip(inverse).map(|(gamma, inverse)| gamma * inverse).collect();
    let shift = beta.iter().zip(mean).zip(&scale).map(|((beta, mean), scale)| beta - mean * scale).collect();
    (scale, shift)
}

/// Sums over all pixels, channel by channel, of two functions of the elements of `a` and `b`.
fn sums(
    a: &Tensor,
    b: &Tensor,
    channels: usize,
    terms: impl Fn(f32, f32) -> [f32; 2] + Sync,
) -> impl Iterator<Item = [f64; 2]> {
    let image = a.data().len() / a.batch();
    let images = chunk_images(a.batch());
    let mut chunks = Vec::new();
    a.data()
        .par_chunks(images * image)
        .zip(b.data().par_chunks(images * image))
        .map(|(a, b)| {
            let mut sums = vec![[0.0f64; 2]; channels];
            kernels_dispatch(|| {
                let (mut first, mut second) = (vec![0.0f32; channels], vec![0.0f32; channels]);
                for (a, b) in a.chunks(SINGLE * channels).zip(b.chunks(SINGLE * channels)) {
                    first.fill(0.0);
                    second.fill(0.0);
                    for (a, b) in a.chunks_exact(channels).zip(b.chunks_exact(channels)) {
                        for (((first, second), &a), &b) in first.iter_mut().zip(&mut second).zip(a).zip(b) {
                            let [x, y] = terms(a, b);
                            *first += x;
                            *second += y;
                        }
                    }
                    for ((sums, &first), &second) in sums.iter_mut().zip(&first).zip(&second) {
                        sums[0] += f64::from(first);
                        sums[1] += f64::from(second);
                    }
                }
            });
            sums
        })
        .collect_into_vec(&mut chunks);
    let total = chunks.into_iter().reduce(|mut total, chunk| {
        total.iter_mut().zip(chunk).for_each(|(total, [x, y])| {
            total[0] += x;
            total[1] += y;
        });
        total
    });
    total.unwrap_or_default().into_iter()
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
