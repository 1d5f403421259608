//! Channels as blocks of pixels, and blocks of pixels as channels.

use super::{map_dims, shared};
use crate::autograd::Shared;
use crate::autograd::context::{Backward, Forward};
use crate::kernels::images::zip_images;
use skipstone_onnx::Node;
use std::sync::Arc;

/// `spreads` says that channels become pixels.
pub(super) fn forward<'g>(
    cx: &mut Forward<'g, '_>,
    node: &'g Node,
    [rows, columns]: [usize; 2],
    spreads: bool,
    x: Shared,
) -> (Shared, Option<Backward<'g>>) {
    let dims = x.dims().to_vec();
    let mut y = cx.output(node, x.batch());
    let many = map_dims(if spreads { &y } else { &x });
    zip_images(&mut y, &x, |y, x| {
        if spreads { spread(y, x, many, [rows, columns]) } else { gather(y, x, many, [rows, columns]) }
    });
    cx.pool.release(x);
    let backward = cx.record(move |gradients, grad| {
        let mut dx = gradients.pool.tensor(dims);
        zip_images(&mut dx, &grad, |dx, grad| {
            if spreads { gather(dx, grad, many, [rows, columns]) } else { spread(dx, grad, many, [rows, columns]) }
        });
        gradients.pool.release(grad);
        gradients.add(node.inputs[0], Arc::new(dx));
    });
    shared(y, backward)
}

/// Where the channels of pixel `pixel` of the map of `[height, width, channels]` with many pixels start in the other one.
fn place(pixel: usize, [_, width, channels]: [usize; 3], [rows, columns]: [usize; 2]) -> usize {
    let (y, x) = (pixel / width, pixel % width);
    let block = y / rows * (width / columns) + x / columns;
    (block * rows * columns + y % rows * columns + x % columns) * channels
}

fn spread(many: &mut [f32], few: &[f32], dims: [usize; 3], block: [usize; 2]) {
    for (pixel, to) in many.chunks_exact_mut(dims[2]).enumerate() {
        to.copy_from_slice(&few[place(pixel, dims, block)..][..dims[2]]);
    }
}

fn gather(few: &mut [f32], many: &[f32], dims: [usize; 3], block: [usize; 2]) {
    for (pixel, from) in many.chunks_exact(dims[2]).enumerate() {
        few[place(pixel, dims, block)..][..dims[2]].copy_from_slice(from);
    }
}

#[cfg(test)]
mod tests {
    use crate::autograd::ops::testing::{Check, one_operator};
    use crate::tensor::Tensor;
    use skipstone_onnx::Op;

    #[test]
    fn gradients_are_those_of_finite_differences() {
        Check::new([12, 2, 3], 2).run(|b, x| b.push("pixels", Op::DepthToSpace { block: [2, 3] }, &[x]));
        Check::new([2, 4, 3], 2).run(|b, x| b.push("channels", Op::SpaceToDepth { block: [2, 3] }, &[x]));
    }

    #[test]
    fn channels_come_by_row_and_column_in_the_block() {
        // Results are flattened channel by channel.
        let pixel = Tensor::new([1, 1, 1, 8], (0..8).map(|i| i as f32).collect());
        let map = one_operator(Op::DepthToSpace { block: [2, 2] }, &pixel);
        assert_eq!(map.data(), [0.0, 2.0, 4.0, 6.0, 1.0, 3.0, 5.0, 7.0]);
        let map = Tensor::new([1, 2, 2, 2], pixel.data().to_vec());
        let wide = one_operator(Op::SpaceToDepth { block: [2, 1] }, &map);
        assert_eq!(wide.data(), [0.0, 2.0, 1.0, 3.0, 4.0, 6.0, 5.0, 7.0]);
        let back = one_operator(Op::SpaceToDepth { block: [2, 2] }, &map);
        assert_eq!(back.data(), pixel.data());
    }
}
