//! Interpolation: bilinear or by the nearest pixel in one pass, with other kernels along rows and columns in turn.

use super::{map_dims, shared};
use crate::autograd::Shared;
use crate::autograd::context::{Backward, Forward};
use crate::kernels::images::zip_images;
use skipstone_onnx::resize::Taps;
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
    if !resize.is_linear([height, width]) {
        return separable(cx, node, resize, x);
    }
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

fn separable<'g>(
    cx: &mut Forward<'g, '_>,
    node: &'g Node,
    resize: &Resize,
    x: Shared,
) -> (Shared, Option<Backward<'g>>) {
    let dims = x.dims().to_vec();
    let [height, width, channels] = map_dims(&x);
    let mut y = cx.output(node, x.batch());
    let (rows, columns) = (resize.taps(0, height), resize.taps(1, width));
    // A row of the operand, and the same of the width of the result.
    let (row, line) = (width * channels, columns.len() * channels);
    zip_images(&mut y, &x, |y, x| {
        let mut lines = vec![0.0; height * line];
        for (line, x) in lines.chunks_exact_mut(line).zip(x.chunks_exact(row)) {
            gather(&columns, channels, x, line);
        }
        y.fill(0.0);
        gather(&rows, line, &lines, y);
    });
    cx.pool.release(x);
    let backward = cx.record(move |gradients, grad| {
        let mut dx = gradients.pool.tensor(dims);
        zip_images(&mut dx, &grad, |dx, grad| {
            let mut lines = vec![0.0; height * line];
            scatter(&rows, line, grad, &mut lines);
            dx.fill(0.0);
            for (line, dx) in lines.chunks_exact(line).zip(dx.chunks_exact_mut(row)) {
                scatter(&columns, channels, line, dx);
            }
        });
        gradients.pool.release(grad);
        gradients.add(node.inputs[0], Arc::new(dx));
    });
    shared(y, backward)
}

/// Adds to each part of `y`, of `len` numbers, the weighed parts of `x` that it is made of.
fn gather(taps: &[Taps], len: usize, x: &[f32], y: &mut [f32]) {
    for (y, taps) in y.chunks_exact_mut(len).zip(taps) {
        for (x, &weight) in x[taps.first * len..].chunks_exact(len).zip(&taps.weights) {
            y.iter_mut().zip(x).for_each(|(y, x)| *y += x * weight as f32);
        }
    }
}

/// The backward pass of [`gather`]: adds to the parts of `dx` what each part of `grad` says of them.
fn scatter(taps: &[Taps], len: usize, grad: &[f32], dx: &mut [f32]) {
    for (grad, taps) in grad.chunks_exact(len).zip(taps) {
        for (dx, &weight) in dx[taps.first * len..].chunks_exact_mut(len).zip(&taps.weights) {
            dx.iter_mut().zip(grad).for_each(|(dx, grad)| *dx += grad * weight as f32);
        }
    }
}

/// For each of `out` positions on an axis the two of `size` around it, with their weights.
pub(crate) fn neighbours(size: usize, out: usize, coordinates: Coordinates) -> Vec<[(usize, f32); 2]> {
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
    use crate::autograd::ops::testing::{Check, one_operator};
    use crate::tensor::Tensor;
    use skipstone_onnx::{Op, ResizeKernel};

    #[test]
    fn gradient_matches_differences() {
        for coordinates in
            [Coordinates::AlignCorners, Coordinates::HalfPixel, Coordinates::Asymmetric, Coordinates::Nearest]
        {
            for size in [[7, 9], [2, 3], [1, 1], [4, 5], [8, 2]] {
                let resize = Resize::new(size, coordinates);
                Check::new([3, 4, 5], 2).run(|b, x| b.push("resize", Op::Resize(resize), &[x]));
            }
        }
        let resize = Resize::new([3, 2], Coordinates::AlignCorners);
        Check::new([2, 1, 1], 2).run(|b, x| b.push("resize", Op::Resize(resize), &[x]));
    }

    #[test]
    fn gradient_of_wide_kernels_matches_differences() {
        for (antialias, exclude_outside) in [(false, false), (false, true), (true, false), (true, true)] {
            for kernel in [ResizeKernel::Linear, ResizeKernel::Cubic { coefficient: -0.75 }] {
                for size in [[7, 9], [2, 3], [1, 2], [8, 2]] {
                    let exclude_outside = exclude_outside && (antialias || kernel != ResizeKernel::Linear);
                    let resize = Resize::new(size, Coordinates::HalfPixel);
                    let resize = Resize { kernel, antialias, exclude_outside, ..resize };
                    Check::new([3, 4, 5], 2).run(|b, x| b.push("resize", Op::Resize(resize), &[x]));
                }
            }
        }
    }

    /// Figures of ONNX Runtime 1.32 for `Resize` of 1, 2, 4, 8 over 16, 32, 64, 128: to 3x2.
    #[test]
    fn known_maps() {
        let x = Tensor::new([1, 2, 4, 1], [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0].to_vec());
        let linear = Resize::new([3, 2], Coordinates::HalfPixel);
        let cubic = Resize { kernel: ResizeKernel::Cubic { coefficient: -0.75 }, ..linear.clone() };
        let excluding = Resize { exclude_outside: true, ..cubic.clone() };
        let antialiased = Resize { antialias: true, ..cubic.clone() };
        let smooth = Resize { antialias: true, ..linear };
        for (resize, expected) in [
            (cubic, [-0.3965, -1.8691, 11.1562, 52.5938, 22.7090, 107.0567]),
            (excluding, [-0.6689, -3.3000, 10.9286, 53.9143, 22.5261, 111.1286]),
            (antialiased, [-0.4047, -1.7971, 11.3887, 50.5684, 23.1821, 102.9339]),
            (smooth, [1.7500, 5.7500, 14.8750, 48.8750, 28.0000, 92.0000]),
        ] {
            let y = one_operator(Op::Resize(resize.clone()), &x);
            for (y, expected) in y.data().iter().zip(expected) {
                assert!((y - expected).abs() < 1e-4, "{resize:?}: {y}, must be {expected}");
            }
        }
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
