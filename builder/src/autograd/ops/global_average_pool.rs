//! Mean over each channel's map.

use super::{map_dims, shared};
use crate::autograd::Shared;
use crate::autograd::context::{Backward, Forward};
use crate::kernels::images::zip_images;
use skipstone_onnx::Node;
use std::sync::Arc;

pub(super) fn forward<'g>(cx: &mut Forward<'g, '_>, node: &'g Node, x: Shared) -> (Shared, Option<Backward<'g>>) {
    let dims = x.dims().to_vec();
    let [height, width, channels] = map_dims(&x);
    let scale = 1.0 / (height * width) as f32;
    let mut y = cx.output(node, x.batch());
    zip_images(&mut y, &x, |y, x| {
        y.fill(0.0);
        for pixel in x.chunks_exact(channels) {
            y.iter_mut().zip(pixel).for_each(|(y, x)| *y += x);
        }
        y.iter_mut().for_each(|y| *y *= scale);
    });
    cx.pool.release(x);
    let backward = cx.record(move |gradients, grad| {
        let mut dx = gradients.pool.tensor(dims);
        zip_images(&mut dx, &grad, |dx, grad| {
            for pixel in dx.chunks_exact_mut(channels) {
                pixel.iter_mut().zip(grad).for_each(|(dx, grad)| *dx = grad * scale);
            }
        });
        gradients.pool.release(grad);
        gradients.add(node.inputs[0], Arc::new(dx));
    });
    shared(y, backward)
}

#[cfg(test)]
mod tests {
    use crate::autograd::ops::testing::Check;
    use skipstone_onnx::Op;

    #[test]
    fn gradient_matches_differences() {
        Check::new([3, 4, 5], 2).run(|b, x| b.push("pool", Op::GlobalAveragePool, &[x]));
    }
}
