//! Largest element of each window.

use super::windows::Windows;
use super::{map_dims, shared};
use crate::autograd::Shared;
use crate::autograd::context::{Backward, Forward};
use crate::kernels::vectorized;
use rayon::prelude::*;
use skipstone_onnx::{Node, Window};
use std::sync::Arc;

/// Of several largest elements the first one takes the gradient. A NaN is larger than anything else.
pub(super) fn forward<'g>(
    cx: &mut Forward<'g, '_>,
    node: &'g Node,
    window: &Window,
    x: Shared,
) -> (Shared, Option<Backward<'g>>) {
    let dims = x.dims().to_vec();
    let [_, width, channels] = map_dims(&x);
    let mut y = cx.output(node, x.batch());
    let windows = Windows::new(window, &x, &y);
    let (x_len, y_len) = (x.data().len() / x.batch(), y.data().len() / x.batch());
    // The pixel from which each element of the result comes.
    let mut sources = vec![0u32; y.data().len()];
    y.data_mut().par_chunks_mut(y_len).zip(sources.par_chunks_mut(y_len)).zip(x.data().par_chunks(x_len)).for_each(
        |((y, sources), x)| {
            largest(y, sources, x, windows, [width, channels]);
        },
    );
    cx.pool.release(x);
    let backward = cx.record(move |gradients, grad| {
        let mut dx = gradients.pool.tensor(dims);
        dx.data_mut().par_chunks_mut(x_len).zip(sources.par_chunks(y_len)).zip(grad.data().par_chunks(y_len)).for_each(
            |((dx, sources), grad)| {
                dx.fill(0.0);
                for (sources, grad) in sources.chunks_exact(channels).zip(grad.chunks_exact(channels)) {
                    for (channel, (&source, grad)) in sources.iter().zip(grad).enumerate() {
                        dx[source as usize * channels + channel] += grad;
                    }
                }
            },
        );
        gradients.pool.release(grad);
        gradients.add(node.inputs[0], Arc::new(dx));
    });
    shared(y, backward)
}

vectorized! {
    /// The largest elements of an image's windows, and the pixels that they come from.
    fn largest(y: &'a mut [f32], sources: &'a mut [u32], x: &'a [f32], windows: Windows, [width, channels]: [usize; 2]) {
        let results = y.chunks_exact_mut(channels).zip(sources.chunks_exact_mut(channels));
        for (at, (y, sources)) in windows.iter().zip(results) {
            y.fill(f32::NEG_INFINITY);
            // A map that holds nothing larger than negative infinity has its first pixel as source.
            sources.fill((at.rows.start * width + at.columns.start) as u32);
            at.pixels(width, channels, |pixel, places| {
                for ((y, source), &x) in y.iter_mut().zip(&mut *sources).zip(&x[places]) {
                    let larger = x > *y || x.is_nan();
                    *y = if larger { x } else { *y };
                    *source = if larger { pixel as u32 } else { *source };
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::autograd::ops::testing::{Check, one_operator};
    use crate::tensor::Tensor;
    use skipstone_onnx::{Op, Window};

    #[test]
    fn gradient_matches_differences() {
        for (dims, window) in [
            ([3, 6, 7], Window::square(2, 2, 0)),
            ([17, 5, 5], Window::square(3, 2, 1)),
            ([2, 6, 5], Window { ceil_mode: true, ..Window::square(3, 2, 0) }),
            ([2, 7, 8], Window { kernel: [2, 3], stride: [3, 1], pads: [1, 0, 0, 2], ceil_mode: true }),
            ([2, 2, 2], Window { ceil_mode: true, ..Window::square(3, 2, 0) }),
        ] {
            Check::new(dims, 2).distinct().run(|b, x| b.push("pool", Op::MaxPool(window), &[x]));
        }
        Check::new([3, 4, 5], 2).distinct().run(|b, x| b.push("pool", Op::GlobalMaxPool, &[x]));
    }

    #[test]
    fn padding_is_never_the_largest_and_nan_always_is() {
        let images = Tensor::new([1, 2, 2, 1], vec![-1.0, -2.0, -3.0, f32::NAN]);
        let pooled = one_operator(Op::MaxPool(Window::square(2, 1, 1)), &images);
        assert_eq!(pooled.data()[..4], [-1.0, -1.0, -2.0, -1.0]);
        assert!(pooled.data()[4].is_nan() && pooled.data()[8].is_nan());
    }
}
