//! What is computed without weights.

use super::layout::{Map, Operand};
use skipstone_onnx::Window;

/// Two neighbours and their weights.
pub(super) type Mix = [(usize, f32); 2];

/// Elements that a compiled loop takes at once.
const PART: usize = 16;

/// Calls `each` for every element and those of two slices as long. Pixels are short: most are some whole parts.
#[inline(always)]
fn zip(to: &mut [f32], a: &[f32], b: &[f32], each: impl Fn(f32, f32) -> f32) {
    let (to, to_rest) = to.as_chunks_mut::<PART>();
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<PART>(), b.as_chunks::<PART>());
    for ((to, a), b) in to.iter_mut().zip(a).zip(b) {
        for lane in 0..PART {
            to[lane] = each(a[lane], b[lane]);
        }
    }
    for ((to, a), b) in to_rest.iter_mut().zip(a_rest).zip(b_rest) {
        *to = each(*a, *b);
    }
}

/// Interpolates the rows, then in each the columns. `line` is as long as a row of the operand.
#[inline(always)]
pub(super) fn interpolate(
    (map, x): Operand,
    [rows, columns]: [&[Mix]; 2],
    (y, out): (&Map, &mut [f32]),
    line: &mut [f32],
) {
    let channels = map.channels;
    let grid = map.grid();
    let row = |index: usize| &x[grid.at([index, 0])..][..map.width * channels];
    for (out, [above, below]) in y.rows_mut(out).zip(rows) {
        zip(line, row(above.0), row(below.0), |a, b| a * above.1 + b * below.1);
        for (out, [left, right]) in out.chunks_exact_mut(channels).zip(columns) {
            let pixel = |index: usize| &line[index * channels..][..channels];
            zip(out, pixel(left.0), pixel(right.0), |a, b| a * left.1 + b * right.1);
        }
    }
}

/// The larger of two, or the one that is no number.
#[inline(always)]
fn larger(a: f32, b: f32) -> f32 {
    if a > b || a.is_nan() { a } else { b }
}

/// The largest element of each window: of its rows, then of its columns. `line` is as long as a row of the operand.
#[inline(always)]
pub(super) fn largest((map, x): Operand, window: &Window, (y, out): (&Map, &mut [f32]), line: &mut [f32]) {
    let channels = map.channels;
    let grid = map.grid();
    let inside = |axis: usize, index: usize, size: usize| {
        let (start, pad) = (index * window.stride[axis], window.pads[axis]);
        start.saturating_sub(pad)..(start + window.kernel[axis]).saturating_sub(pad).min(size)
    };
    for (index, out) in y.rows_mut(out).enumerate() {
        line.fill(f32::NEG_INFINITY);
        for row in inside(0, index, map.height) {
            let row = &x[grid.at([row, 0])..][..map.width * channels];
            line.iter_mut().zip(row).for_each(|(line, x)| *line = larger(*x, *line));
        }
        for (index, out) in out.chunks_exact_mut(channels).enumerate() {
            out.fill(f32::NEG_INFINITY);
            for column in inside(1, index, map.width) {
                let pixel = &line[column * channels..][..channels];
                let ((out, out_rest), (pixel, pixel_rest)) = (out.as_chunks_mut::<PART>(), pixel.as_chunks::<PART>());
                for (out, pixel) in out.iter_mut().zip(pixel) {
                    *out = std::array::from_fn(|lane| larger(pixel[lane], out[lane]));
                }
                out_rest.iter_mut().zip(pixel_rest).for_each(|(out, x)| *out = larger(*x, *out));
            }
        }
    }
}
