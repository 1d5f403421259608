//! Scalar kernels for every processor: blocks of 4 output channels x 2 pixels, in safe code without any table.

use super::conv::{ConvRow, ConvRows};
use super::spec::CONV_4X2_PORTABLE;
use super::{Backend, ConvCode, ConvKernel, grouped, scalar};
use crate::arith::Requant;

/// Plain Rust; what processors without kernels of their own run.
pub static BACKEND: Backend =
    Backend { name: "portable", available: || true, kernels: &[grouped::DEPTHWISE, scalar::CONV, CONV] };

/// [`CONV_4X2_PORTABLE`].
pub const CONV: ConvKernel = ConvKernel { spec: &CONV_4X2_PORTABLE, code: ConvCode::Int8(conv_4x2_portable) };

/// Convolution by canonical weights.
pub fn conv_4x2_portable(rows: &mut ConvRows<'_, i8>) {
    rows.each(conv_row);
}

/// One row of [`conv_4x2_portable`].
pub(super) fn conv_row(row: &mut ConvRow<'_, i8>) {
    if row.shape.groups == 1 { ungrouped(row) } else { grouped::conv_row(row) }
}

fn ungrouped(row: &mut ConvRow<'_, i8>) {
    let requant = row.requant;
    let kernel = row.shape.kernel_h * row.run();
    let mut first = 0;
    while first < requant.len() {
        let weights = |channel: usize| run_at(row.weights, (first + channel) * kernel, kernel);
        if let Some(requant) = requant.get(first..first + 4) {
            pixels(row, first, [weights(0), weights(1), weights(2), weights(3)], requant);
            first += 4;
        } else {
            pixels(row, first, [weights(0)], requant.get(first..first + 1).unwrap_or(&[]));
            first += 1;
        }
    }
}

/// All pixels of `C` output channels, two at a time.
#[inline(always)]
fn pixels<const C: usize>(row: &mut ConvRow<'_, i8>, first: usize, weights: [&[i8]; C], requant: &[Requant]) {
    let (channels, step) = (row.channels_out(), row.pixel_step());
    let mut x = 0;
    while x + 1 < row.width_out() {
        let sums = sums(row, [x * step, (x + 1) * step], weights);
        row.finish(x * channels + first, sums[0], requant);
        row.finish((x + 1) * channels + first, sums[1], requant);
        x += 2;
    }
    if x < row.width_out() {
        let [sums] = sums(row, [x * step], weights);
        row.finish(x * channels + first, sums, requant);
    }
}

/// The accumulators of `P` pixels, whose runs start at `at` in the first row, for `C` channels.
#[inline(always)]
fn sums<const C: usize, const P: usize>(row: &ConvRow<'_, i8>, at: [usize; P], weights: [&[i8]; C]) -> [[i32; C]; P] {
    let run = row.run();
    let mut acc = [[0i32; C]; P];
    for ky in 0..row.shape.kernel_h {
        let pixels = at.map(|at| run_at(row.rows, at + ky * row.row_len, run));
        let weights = weights.map(|weights| run_at(weights, ky * run, run));
        // The runs all have `run` elements; the minimum tells the compiler.
        let mut n = run;
        for slice in pixels {
            n = n.min(slice.len());
        }
        for slice in weights {
            n = n.min(slice.len());
        }
        for i in 0..n {
            for (acc, pixel) in acc.iter_mut().zip(pixels) {
                let value = i32::from(pixel.get(i).copied().unwrap_or(0));
                for (acc, weights) in acc.iter_mut().zip(weights) {
                    let weight = i32::from(weights.get(i).copied().unwrap_or(0));
                    *acc = acc.wrapping_add(value.wrapping_mul(weight));
                }
            }
        }
    }
    acc
}

/// `len` elements from `at`; none if they do not all exist.
#[inline(always)]
fn run_at(elements: &[i8], at: usize, len: usize) -> &[i8] {
    elements.get(at..).and_then(|rest| rest.get(..len)).unwrap_or(&[])
}
