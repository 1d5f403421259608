//! Mean of each window.

use super::windows::{At, Windows};
use super::{map_dims, shared};
use crate::autograd::Shared;
use crate::autograd::context::{Backward, Forward};
use crate::kernels::images::zip_images;
use skipstone_onnx::{Node, Window};
use std::sync::Arc;

pub(super) fn forward<'g>(
    cx: &mut Forward<'g, '_>,
    node: &'g Node,
    window: &Window,
    count_include_pad: bool,
    x: Shared,
) -> (Shared, Option<Backward<'g>>) {
    let dims = x.dims().to_vec();
    let [_, width, channels] = map_dims(&x);
    let mut y = cx.output(node, x.batch());
    let windows = Windows::new(window, &x, &y);
    let scale = move |at: &At| {
        let count = if count_include_pad { at.padded } else { at.rows.len() * at.columns.len() };
        1.0 / count as f32
    };
    zip_images(&mut y, &x, |y, x| {
        for (at, y) in windows.iter().zip(y.chunks_exact_mut(channels)) {
            y.fill(0.0);
            at.pixels(width, channels, |_, places| y.iter_mut().zip(&x[places]).for_each(|(y, x)| *y += x));
            let scale = scale(&at);
            y.iter_mut().for_each(|y| *y *= scale);
        }
    });
    cx.pool.release(x);
    let backward = cx.record(move |gradients, grad| {
        let mut dx = gradients.pool.tensor(dims);
        zip_images(&mut dx, &grad, |dx, grad| {
            dx.fill(0.0);
            for (at, grad) in windows.iter().zip(grad.chunks_exact(channels)) {
                let scale = scale(&at);
                at.pixels(width, channels, |_, places| {
                    dx[places].iter_mut().zip(grad).for_each(|(dx, grad)| *dx += grad * scale);
                });
            }
        });
        gradients.pool.release(grad);
        gradients.add(node.inputs[0], Arc::new(dx));
    });
    shared(y, backward)
}

#[cfg(test)]
mod tests {
    use crate::autograd::ops::testing::{Check, one_operator};
    use crate::tensor::Tensor;
    use skipstone_onnx::{Op, Window};

    #[test]
    fn gradient_matches_differences() {
        for count_include_pad in [false, true] {
            for (dims, window) in [
                ([3, 6, 7], Window::square(2, 2, 0)),
                ([17, 5, 5], Window::square(3, 2, 1)),
                ([2, 6, 5], Window { ceil_mode: true, ..Window::square(3, 2, 0) }),
                ([2, 7, 8], Window { kernel: [2, 3], stride: [3, 1], pads: [1, 0, 0, 2], ceil_mode: true }),
            ] {
                Check::new(dims, 2).run(|b, x| b.push("pool", Op::AveragePool { window, count_include_pad }, &[x]));
            }
        }
    }

    #[test]
    fn padding_counts_where_it_is_asked_to_and_what_lies_beyond_never_does() {
        // One row of 1 2 3 4 5 with one zero in front; windows of 3 at distance 2: (0) 1 2, 2 3 4, 4 5 and one beyond.
        let images = Tensor::new([1, 1, 5, 1], vec![1.0, 2.0, 3.0, 4.0, 5.0]);
        let window = Window { kernel: [1, 3], stride: [1, 2], pads: [0, 1, 0, 0], ceil_mode: true };
        for (count_include_pad, expected) in [(true, [1.0, 3.0, 4.5]), (false, [1.5, 3.0, 4.5])] {
            let op = Op::AveragePool { window: window.clone(), count_include_pad };
            assert_eq!(one_operator(op, &images).data(), expected);
        }
    }
}
