//! Interpolation, bilinear or by the nearest pixel.

use super::{map_dims, shared, zip_images};
use crate::autograd::Shared;
use crate::autograd::tape::{Backward, Forward};
use skipstone_onnx::{Coordinates, Node, Resize};
use std::sync::Arc;

pub(super) fn forward<'g>(
    cx: &mut Forward<'g, '_>,
    node: &'g Node,
    resize: &Resize,
    x: Shared,
) -> (Shared, Option<Backward<'g>>) {
    let dims = x.dims().to_vec();
    let [height, width, channels] = map_dims(&x);
    let mut y = cx.output(node, x.batch());
    let rows = neighbours(height, resize.size[0], resize.coordinates);
    let columns = neighbours(width, resize.size[1], resize.coordinates);
    // The four pixels of the operand around each pixel of the result, with their weights.
    let corners: Vec<[(usize, f32); 4]> = rows
        .iter()
        .flat_map(|row| {
            columns.iter().map(move |column| {
                [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(i, j)| {
                    let ((y, down), (x, right)) = (row[i], column[j]);
                    ((y * width + x) * channels, down * right)
                })
            })
        })
        .collect();
    zip_images(&mut y, &x, |y, x| {
        for (y, corners) in y.chunks_exact_mut(channels).zip(&corners) {
            let [a, b, c, d] = corners.map(|(place, weight)| (&x[place..][..channels], weight));
            for ((((y, x0), x1), x2), x3) in y.iter_mut().zip(a.0).zip(b.0).zip(c.0).zip(d.0) {
                *y = x0 * a.1 + x1 * b.1 + x2 * c.1 + x3 * d.1;
            }
        }
    });
    cx.pool.release(x);
    let backward = cx.record(move |gradients, grad| {
        let mut dx = gradients.pool.tensor(dims);
        zip_images(&mut dx, &grad, |dx, grad| {
            dx.fill(0.0);
            for (grad, corners) in grad.chunks_exact(channels).zip(&corners) {
                for &(place, weight) in corners {
                    dx[place..][..channels].iter_mut().zip(grad).for_each(|(dx, grad)| *dx += grad * weight);
                }
            }
        });
        gradients.pool.release(grad);
        gradients.add(node.inputs[0], Arc::new(dx));
    });
    shared(y, backward)
}

/// For each of `out` positions on an axis the two of `size` around it, with their weights.
fn neighbours(size: usize, out: usize, coordinates: Coordinates) -> Vec<[(usize, f32); 2]> {
    let last = size - 1;
    (0..out)
        .map(|index| {
            let at = coordinates.position(size, out, index);
            let low = at as usize;
            let high = (low + 1).min(last);
            let share = (at - low as f64) as f32;
            [(low, 1.0 - share), (high, share)]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autograd::ops::testing::Check;
    use skipstone_onnx::Op;

    #[test]
    fn gradient_matches_differences() {
        for coordinates in
            [Coordinates::AlignCorners, Coordinates::HalfPixel, Coordinates::Asymmetric, Coordinates::Nearest]
        {
            for size in [[7, 9], [2, 3], [1, 1], [4, 5], [8, 2]] {
                let resize = Resize { size, coordinates };
                Check::new([3, 4, 5], 2).run(|b, x| b.push("resize", Op::Resize(resize), &[x]));
            }
        }
        let resize = Resize { size: [3, 2], coordinates: Coordinates::AlignCorners };
        Check::new([2, 1, 1], 2).run(|b, x| b.push("resize", Op::Resize(resize), &[x]));
    }

    #[test]
    fn known_positions() {
        let at = |size, out, coordinates| -> Vec<f32> {
            let neighbours = neighbours(size, out, coordinates);
            neighbours.iter().map(|[(low, a), (high, b)]| *low as f32 * a + *high as f32 * b).collect()
        };
        assert_eq!(at(3, 5, Coordinates::AlignCorners), [0.0, 0.5, 1.0, 1.5, 2.0]);
        assert_eq!(at(2, 4, Coordinates::HalfPixel), [0.0, 0.25, 0.75, 1.0]);
        assert_eq!(at(4, 2, Coordinates::HalfPixel), [0.5, 2.5]);
        assert_eq!(at(4, 1, Coordinates::AlignCorners), [0.0]);
        assert_eq!(at(2, 4, Coordinates::Asymmetric), [0.0, 0.5, 1.0, 1.0]);
        assert_eq!(at(2, 4, Coordinates::Nearest), [0.0, 0.0, 1.0, 1.0]);
        assert_eq!(at(5, 3, Coordinates::Nearest), [0.0, 1.0, 3.0]);
    }
}
