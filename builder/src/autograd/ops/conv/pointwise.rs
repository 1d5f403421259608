//! Convolutions of 1x1 without padding, and the batch norm with ReLU before them.

use super::bias_gradient;
use crate::autograd::Shared;
use crate::autograd::context::{Backward, Forward};
use crate::autograd::norm::Norm;
use crate::autograd::ops::{batch_norm, map_dims, shared};
use crate::autograd::pool::Pool;
use crate::kernels::channels::{Affine, ChannelSums, add_sums};
use crate::kernels::images::sum_pairs;
use crate::kernels::pointwise::{Operand, Pointwise, pack, pack_turned, unpack};
use crate::kernels::rounded::{Weights, suits};
use crate::tensor::{Buffer, Tensor};
use rayon::prelude::*;
use skipstone_onnx::{Conv, Node};
use std::sync::Arc;

pub(super) fn forward<'g>(
    cx: &mut Forward<'g, '_>,
    node: &'g Node,
    conv: &'g Conv,
    x: Shared,
) -> (Shared, Option<Backward<'g>>) {
    let weight = cx.parameter(node.inputs[1]);
    let bias = node.inputs.get(2).map(|&id| cx.parameter(id));
    let mut y = cx.output(node, x.batch());
    let (input, output) = (map_dims(&x), map_dims(&y));
    let bf16 = cx.bf16.filter(|_| suits(input[2]) && suits(output[2]));
    let maps = Pointwise { input, output, stride: conv.stride, bf16 };
    let norm = cx.entry(node.inputs[0]);
    let images = cx.chunk_images(x.batch());
    let packed = Weights::new(pack(weight, maps.input[2], maps.output[2]), maps.bf16);
    let entry = norm.as_ref().map(Norm::affine);
    let gathers = cx.takes_moments(node);
    let mut moments = Vec::new();
    let correlate = |(y, x): (&mut [f32], &[f32])| {
        let mut moments = gathers.then(|| ChannelSums::new(maps.output[2]));
        maps.correlate(entry, x, (&packed, bias.unwrap_or(&[])), y, moments.as_mut());
        moments.map(ChannelSums::total).unwrap_or_default()
    };
    chunks_mut(&mut y, images).zip(chunks(&x, images)).map(correlate).collect_into_vec(&mut moments);
    if gathers {
        let moments = sum_pairs(moments, |sum: &mut Vec<[f64; 2]>, more| add_sums(sum, &more));
        cx.publish_moments(node, moments.unwrap_or_default());
    }
    if !cx.training {
        cx.pool.release(x);
        return shared(y, None);
    }
    let x = cx.save(norm.as_ref().map_or(node.inputs[0], Norm::operand), x);
    let backward = cx.record(move |gradients, grad| {
        let x = x.get(gradients.pool);
        if let Some(&bias) = node.inputs.get(2) {
            gradients.add_parameter(bias, bias_gradient(&grad, images));
        }
        let wanted = gradients.wants(node.inputs[0]);
        let sum = gradients.take(node.inputs[0]).filter(|_| norm.is_none());
        let is_sum = sum.is_some();
        let mut dx = wanted.then(|| sum.unwrap_or_else(|| gradients.pool.tensor(x.dims())));
        let entry = norm.as_ref().map(Norm::affine);
        let turned = Weights::new(pack_turned(weight, maps.input[2], maps.output[2]), maps.bf16);
        let operands = dx.as_mut().map(|dx| {
            let operand = |dx| Operand { weights: &turned, dx, is_sum };
            chunks_mut(dx, images).map(operand)
        });
        let (sums, totals) = sum_chunks(&maps, entry, [&x, &grad], operands, images, gradients.pool);
        gradients.add_parameter(node.inputs[1], unpack(&sums, maps.input[2], maps.output[2]));
        gradients.pool.release(grad);
        match (dx, norm) {
            (Some(dx), Some(norm)) => batch_norm::backward(&norm, gradients, Arc::new(dx), x, totals),
            (Some(dx), None) => {
                gradients.pool.release(x);
                gradients.add(node.inputs[0], Arc::new(dx));
            }
            (None, _) => gradients.pool.release(x),
        }
    });
    shared(y, backward)
}

/// The gradient of the packed weights and the sums for the norm, from chunks of `images`; computes `operands` of each.
fn sum_chunks<'a>(
    maps: &Pointwise,
    entry: Option<&Affine>,
    [x, grad]: [&Tensor; 2],
    operands: Option<impl IndexedParallelIterator<Item = Operand<'a>>>,
    images: usize,
    pool: &Pool,
) -> (Vec<f32>, Vec<[f64; 2]>) {
    let len = maps.packed_len();
    let sum = |x, grad, operand| {
        let mut sums = pool.take(len);
        sums.fill(0.0);
        let totals = maps.gradients(entry, [x, grad], &mut sums, operand);
        (sums, totals)
    };
    let pairs = chunks(x, images).zip(chunks(grad, images));
    let mut parts = Vec::new();
    match operands {
        Some(operands) => {
            pairs.zip(operands).map(|((x, grad), operand)| sum(x, grad, Some(operand))).collect_into_vec(&mut parts);
        }
        None => pairs.map(|(x, grad)| sum(x, grad, None)).collect_into_vec(&mut parts),
    }
    let total = sum_pairs(parts, |(sums, totals): &mut (Buffer, Vec<[f64; 2]>), (more, products)| {
        sums.iter_mut().zip(&*more).for_each(|(sum, more)| *sum += more);
        add_sums(totals, &products);
        pool.give(Tensor::within([len], more));
    });
    total.map(|(sums, totals)| (sums.into(), totals)).unwrap_or_default()
}

fn chunks(x: &Tensor, images: usize) -> impl IndexedParallelIterator<Item = &[f32]> {
    x.data().par_chunks(images * (x.data().len() / x.batch()))
}

fn chunks_mut(x: &mut Tensor, images: usize) -> impl IndexedParallelIterator<Item = &mut [f32]> {
    let image = x.data().len() / x.batch();
    x.data_mut().par_chunks_mut(images * image)
}

#[cfg(test)]
mod tests {
    use crate::autograd::ops::testing::Check;
    use skipstone_onnx::{Conv, Op};

    /// With beta 0 and many pixels, numbers that stay away from zero do so after the batch norm too.
    #[test]
    fn gradient_matches_differences_after_a_batch_norm() {
        for (channels, outputs, bias, others) in [(3, 5, true, false), (17, 16, false, true), (16, 33, false, false)] {
            let mut check = Check::new([channels, 9, 8], 10);
            let gamma = check.parameter("gamma", &[channels]);
            let beta = check.zeros("beta", channels);
            let [mean, variance] = ["mean", "variance"].map(|name| check.parameter(name, &[channels]));
            let weight = check.parameter("weight", &[outputs, channels, 1, 1]);
            let bias = bias.then(|| check.parameter("bias", &[outputs]));
            let again = others.then(|| check.parameter("again", &[outputs, channels, 1, 1]));
            check.run(|b, x| {
                let y = b.push("bn", Op::BatchNorm { epsilon: 1e-5 }, &[x, gamma, beta, mean, variance])?;
                let relu = b.push("relu", Op::Relu, &[y])?;
                let operands: Vec<_> = [Some(relu), Some(weight), bias].into_iter().flatten().collect();
                let conv = b.push("conv", Op::Conv(Conv::square(1, 1, 0)), &operands)?;
                // Whatever else reads the operand has its gradient added.
                let Some(again) = again else { return Ok(conv) };
                let other = b.push("other", Op::Conv(Conv::square(1, 1, 0)), &[x, again])?;
                b.push("add", Op::Add, &[conv, other])
            });
        }
    }

    #[test]
    fn gradients_of_two_readers_are_added() {
        for stride in [1, 2] {
            let mut check = Check::new([5, 6, 7], 3);
            let [a, b] = ["a", "b"].map(|name| check.parameter(name, &[17, 5, 1, 1]));
            check.run(|builder, x| {
                let conv = || Op::Conv(Conv::square(1, stride, 0));
                let one = builder.push("one", conv(), &[x, a])?;
                let two = builder.push("two", conv(), &[x, b])?;
                builder.push("add", Op::Add, &[one, two])
            });
        }
    }
}
