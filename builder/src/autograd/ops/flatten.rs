//! A map as a vector, channel-major as in ONNX.

use super::{map_dims, shared};
use crate::autograd::Shared;
use crate::autograd::context::{Backward, Forward};
use crate::kernels::images::zip_images;
use skipstone_onnx::Node;
use std::sync::Arc;

pub(super) fn forward<'g>(cx: &mut Forward<'g, '_>, node: &'g Node, x: Shared) -> (Shared, Option<Backward<'g>>) {
    let dims = x.dims().to_vec();
    // A vector is its own flattening; a map is transposed.
    let (pixels, channels) = if dims.len() == 4 {
        let [height, width, channels] = map_dims(&x);
        (height * width, channels)
    } else {
        (1, dims[1])
    };
    let mut y = cx.output(node, x.batch());
    zip_images(&mut y, &x, |y, x| transpose(y, x, channels));
    cx.pool.release(x);
    let backward = cx.record(move |gradients, grad| {
        let mut dx = gradients.pool.tensor(dims);
        zip_images(&mut dx, &grad, |dx, grad| transpose(dx, grad, pixels));
        gradients.pool.release(grad);
        gradients.add(node.inputs[0], Arc::new(dx));
    });
    shared(y, backward)
}

/// `y[column][row] = x[row][column]`.
fn transpose(y: &mut [f32], x: &[f32], columns: usize) {
    let rows = x.len() / columns;
    for (row, x) in x.chunks_exact(columns).enumerate() {
        for (column, &x) in x.iter().enumerate() {
            y[column * rows + row] = x;
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::autograd::observe;
    use crate::autograd::ops::testing::Check;
    use crate::tensor::Tensor;
    use skipstone_onnx::{GraphBuilder, Op};

    #[test]
    fn gradient_matches_differences() {
        Check::new([3, 2, 4], 2).run(|b, x| b.push("flat", Op::Flatten, &[x]));
    }

    #[test]
    fn channels_come_first() {
        let mut builder = GraphBuilder::new("flatten", "image", [2, 1, 2]).unwrap();
        let output = builder.push("flat", Op::Flatten, &[builder.input()]).unwrap();
        let graph = builder.finish(output).unwrap();
        let mut seen = Vec::new();
        observe(&graph, &Tensor::new([1, 1, 2, 2], vec![1.0, 10.0, 2.0, 20.0]), &mut |id, tensor| {
            seen.push((id, tensor.data().to_vec()));
        });
        assert_eq!(seen, [(graph.input(), vec![1.0, 10.0, 2.0, 20.0]), (output, vec![1.0, 2.0, 10.0, 20.0])]);
    }
}
