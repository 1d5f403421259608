//! Linear layer.

use super::shared;
use crate::autograd::Shared;
use crate::autograd::context::{Backward, Forward};
use crate::kernels::images::{sum_pairs, zip_images};
use rayon::prelude::*;
use skipstone_onnx::Node;
use std::sync::Arc;

pub(super) fn forward<'g>(cx: &mut Forward<'g, '_>, node: &'g Node, x: Shared) -> (Shared, Option<Backward<'g>>) {
    let inputs = x.dims()[1];
    let weight = cx.parameter(node.inputs[1]);
    let bias = node.inputs.get(2).map(|&id| cx.parameter(id));
    let outputs = weight.len() / inputs;
    let mut y = cx.output(node, x.batch());
    zip_images(&mut y, &x, |y, x| {
        for (output, (y, row)) in y.iter_mut().zip(weight.chunks_exact(inputs)).enumerate() {
            *y = dot(row, x) + bias.map_or(0.0, |bias| bias[output]);
        }
    });
    let images = cx.chunk_images(x.batch());
    let backward = cx.record(move |gradients, grad| {
        let mut chunks: Vec<(Vec<f32>, Vec<f32>)> = Vec::new();
        x.data()
            .par_chunks(images * inputs)
            .zip(grad.data().par_chunks(images * outputs))
            .map(|(x, grad)| {
                let (mut dw, mut db) = (vec![0.0; weight.len()], vec![0.0; outputs]);
                for (x, grad) in x.chunks_exact(inputs).zip(grad.chunks_exact(outputs)) {
                    for ((row, db), &grad) in dw.chunks_exact_mut(inputs).zip(&mut db).zip(grad) {
                        row.iter_mut().zip(x).for_each(|(dw, x)| *dw += grad * x);
                        *db += grad;
                    }
                }
                (dw, db)
            })
            .collect_into_vec(&mut chunks);
        let add = |a: &mut (Vec<f32>, Vec<f32>), b: (Vec<f32>, Vec<f32>)| {
            add(&mut a.0, &b.0);
            add(&mut a.1, &b.1);
        };
        let (dw, db) = sum_pairs(chunks, add).unwrap_or_default();
        gradients.add_parameter(node.inputs[1], dw);
        if let Some(&bias) = node.inputs.get(2) {
            gradients.add_parameter(bias, db);
        }
        if gradients.wants(node.inputs[0]) {
            let mut dx = gradients.pool.tensor(x.dims());
            zip_images(&mut dx, &grad, |dx, grad| {
                dx.fill(0.0);
                for (row, &grad) in weight.chunks_exact(inputs).zip(grad) {
                    dx.iter_mut().zip(row).for_each(|(dx, weight)| *dx += grad * weight);
                }
            });
            gradients.add(node.inputs[0], Arc::new(dx));
        }
        gradients.pool.release(grad);
        gradients.pool.release(x);
    });
    shared(y, backward)
}

/// The inner product, in eight partial sums so that it can be vectorized.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a, a_rest) = a.as_chunks::<8>();
    let (b, b_rest) = b.as_chunks::<8>();
    let mut sums = [0.0; 8];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum::<f32>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f32>()
}

fn add(a: &mut [f32], b: &[f32]) {
    a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
}

#[cfg(test)]
mod tests {
    use crate::autograd::ops::testing::Check;
    use skipstone_onnx::Op;

    #[test]
    fn gradient_matches_differences() {
        for (batch, bias) in [(1, true), (3, false), (40, true)] {
            let mut check = Check::new([2, 2, 3], batch);
            let mut operands = vec![check.parameter("weight", &[5, 12])];
            operands.extend(bias.then(|| check.parameter("bias", &[5])));
            check.run(|b, x| {
                let flat = b.push("flat", Op::Flatten, &[x])?;
                operands.insert(0, flat);
                b.push("gemm", Op::Gemm, &operands)
            });
        }
    }
}
