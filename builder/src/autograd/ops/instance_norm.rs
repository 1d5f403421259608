//! The map of each channel, or of each group of channels, of each image, brought to mean 0 and variance 1.

use super::map_dims;
use crate::autograd::Shared;
use crate::autograd::context::{Backward, Forward};
use crate::kernels::channels::{self, repeat};
use rayon::prelude::*;
use skipstone_onnx::Node;
use std::sync::Arc;

/// Of a map whose channels are split into `groups`; `None` if each is one.
pub(super) fn forward<'g>(
    cx: &mut Forward<'g, '_>,
    node: &'g Node,
    groups: Option<usize>,
    epsilon: f32,
    x: Shared,
) -> (Shared, Option<Backward<'g>>) {
    let mut y = cx.pool.own(x);
    let [height, width, channels] = map_dims(&y);
    let count = (height * width) as f64;
    let together = groups.map_or(1, |groups| channels / groups);
    let image = height * width * channels;
    let mut inverse = vec![0.0f32; y.batch() * channels];
    y.data_mut().par_chunks_mut(image).zip(inverse.par_chunks_mut(channels)).for_each(|(y, inverse)| {
        // Squares are summed around the mean: the difference of two large sums would have no digits left.
        let means =
            group_means(channels::moments(y, channels), together).into_iter().map(|[sum, _]| -(sum / count) as f32);
        channels::affine_in_place(y, &repeat(std::iter::repeat_n(1.0, channels)), &repeat(means));
        let centred = group_means(channels::moments(y, channels), together);
        for (inverse, [sum, squares]) in inverse.iter_mut().zip(&centred) {
            let variance = (squares / count - (sum / count).powi(2)).max(0.0);
            *inverse = (1.0 / (variance + f64::from(epsilon)).sqrt()) as f32;
        }
        let rest = centred.iter().zip(&*inverse).map(|([sum, _], inverse)| -(sum / count) as f32 * inverse);
        channels::affine_in_place(y, &repeat(inverse.iter().copied()), &repeat(rest));
    });
    let y = Arc::new(y);
    let kept = Arc::clone(&y);
    let backward = cx.record(move |gradients, grad| {
        // d x = inverse * (grad - mean(grad) - y * mean(grad * y)).
        let mut grad = gradients.pool.own(grad);
        let images = grad.data_mut().par_chunks_mut(image).zip(kept.data().par_chunks(image));
        images.zip(inverse.par_chunks(channels)).for_each(|((grad, y), inverse)| {
            let sums = group_means(channels::products(grad, y, channels, None), together);
            let coefficient = |part: usize| {
                let values = sums.iter().zip(inverse);
                repeat(values.map(|(sums, inverse)| -inverse * (sums[part] / count) as f32))
            };
            let (factor, offset, slope) = (repeat(inverse.iter().copied()), coefficient(0), coefficient(1));
            channels::norm_gradient(grad, y, [&factor, &slope, &offset], None);
        });
        gradients.pool.release(kept);
        gradients.add(node.inputs[0], Arc::new(grad));
    });
    (y, backward)
}

/// Sums of each channel as the means of those of so many channels together.
fn group_means(mut sums: Vec<[f64; 2]>, together: usize) -> Vec<[f64; 2]> {
    for group in sums.chunks_mut(together) {
        let count = group.len() as f64;
        let mean = [0, 1].map(|part| group.iter().map(|sums| sums[part]).sum::<f64>() / count);
        group.fill(mean);
    }
    sums
}

#[cfg(test)]
mod tests {
    use crate::autograd::ops::testing::{Check, one_operator};
    use crate::tensor::Tensor;
    use skipstone_onnx::Op;

    const OP: Op = Op::InstanceNorm { epsilon: 1e-5 };

    #[test]
    fn gradient_matches_differences() {
        Check::new([3, 4, 5], 2).run(|b, x| b.push("norm", OP, &[x]));
        for groups in [1, 2, 6] {
            let op = Op::GroupNorm { groups, epsilon: 1e-5 };
            Check::new([6, 3, 2], 2).run(|b, x| b.push("norm", op.clone(), &[x]));
        }
    }

    #[test]
    fn groups_are_standardized_together() {
        // Channels 0 and 1 are one group, 2 and 3 another.
        let x = Tensor::new([1, 1, 2, 4], vec![0.0, 2.0, 10.0, 10.0, 4.0, 6.0, 30.0, 30.0]);
        let y = one_operator(Op::GroupNorm { groups: 2, epsilon: 1e-9 }, &x);
        let root = 5f32.sqrt();
        // Channel by channel.
        let expected = [-3.0 / root, 1.0 / root, -1.0 / root, 3.0 / root, -1.0, 1.0, -1.0, 1.0];
        for (y, expected) in y.data().iter().zip(expected) {
            assert!((y - expected).abs() < 1e-5, "{y}, not {expected}");
        }
    }

    #[test]
    fn each_map_is_standardized() {
        // Two channels far from zero, and a constant one.
        let pixels = (0..8).flat_map(|i| [1000.0 + i as f32, -3.0 * i as f32, 5.0]).collect();
        let y = one_operator(OP, &Tensor::new([1, 2, 4, 3], pixels));
        let deviation = 5.25f64.sqrt();
        for (i, y) in y.data().iter().enumerate() {
            let position = (i % 8) as f64 - 3.5;
            let expected = [position / deviation, -position / deviation, 0.0][i / 8];
            assert!((f64::from(*y) - expected).abs() < 1e-4, "{i}: {y}, not {expected}");
        }
    }
}
