//! The specification of the kernels: naive, for every layout.

use super::conv::{ConvParts, ConvRow, ConvRows, ConvShape, Element};
use super::layout::winograd::{POSITIONS, value};
use super::layout::{CANONICAL, PAIRS, QUADS, VECTORS, WINOGRAD, WORDS, from_code};
use super::spec::ConvSpec;
use super::{Backend, ConvCode, ConvKernel, load};

/// The specification as a backend.
pub static BACKEND: Backend = Backend {
    name: "reference",
    available: || true,
    kernels: &[CONV, CONV_PAIRS, CONV_WINOGRAD, CONV_QUADS, CONV_WORDS, CONV_VECTORS],
};

/// Of canonical weights.
pub const CONV: ConvKernel = ConvKernel { spec: &CONV_1X1_REFERENCE, code: ConvCode::Int8(conv) };

/// Of weights in pairs.
pub const CONV_PAIRS: ConvKernel =
    ConvKernel { spec: &CONV_1X1_REFERENCE_PAIRS, code: ConvCode::Int16 { run: conv, widen: load::widen } };

/// Of transformed weights.
pub const CONV_WINOGRAD: ConvKernel =
    ConvKernel { spec: &CONV_1X1_REFERENCE_WINOGRAD, code: ConvCode::Int8(conv_winograd) };

/// Of weights in quads.
pub const CONV_QUADS: ConvKernel = ConvKernel { spec: &CONV_1X1_REFERENCE_QUADS, code: ConvCode::Uint8(conv) };

/// Of weights in words.
pub const CONV_WORDS: ConvKernel =
    ConvKernel { spec: &CONV_1X1_REFERENCE_WORDS, code: ConvCode::Int16 { run: conv, widen: load::widen } };

/// Of weights in vectors.
pub const CONV_VECTORS: ConvKernel = ConvKernel { spec: &CONV_1X1_REFERENCE_VECTORS, code: ConvCode::Int8(conv) };

static CONV_1X1_REFERENCE: ConvSpec = ConvSpec {
    name: "conv_1x1_reference",
    path: "kernels::reference::CONV",
    layout: &CANONICAL,
    rows: |_| 1,
    suits: |_| true,
    code_bytes: 1_000,
    cost: |_| u64::MAX,
};

static CONV_1X1_REFERENCE_PAIRS: ConvSpec = ConvSpec {
    name: "conv_1x1_reference_pairs",
    path: "kernels::reference::CONV_PAIRS",
    layout: &PAIRS,
    suits: PAIRS.suits,
    ..CONV_1X1_REFERENCE
};

static CONV_1X1_REFERENCE_WINOGRAD: ConvSpec = ConvSpec {
    name: "conv_2x4_reference_winograd",
    path: "kernels::reference::CONV_WINOGRAD",
    layout: &WINOGRAD,
    suits: WINOGRAD.suits,
    ..CONV_1X1_REFERENCE
};

static CONV_1X1_REFERENCE_QUADS: ConvSpec = ConvSpec {
    name: "conv_1x1_reference_quads",
    path: "kernels::reference::CONV_QUADS",
    layout: &QUADS,
    suits: QUADS.suits,
    ..CONV_1X1_REFERENCE
};

static CONV_1X1_REFERENCE_WORDS: ConvSpec = ConvSpec {
    name: "conv_1x1_reference_words",
    path: "kernels::reference::CONV_WORDS",
    layout: &WORDS,
    suits: WORDS.suits,
    ..CONV_1X1_REFERENCE
};

static CONV_1X1_REFERENCE_VECTORS: ConvSpec = ConvSpec {
    name: "conv_1x1_reference_vectors",
    path: "kernels::reference::CONV_VECTORS",
    layout: &VECTORS,
    suits: VECTORS.suits,
    ..CONV_1X1_REFERENCE
};

/// Convolution by transformed weights, in tiles of two output rows of a call, the last one perhaps of one, and four pixels.
pub fn conv_winograd(rows: &mut ConvRows<'_, i8>) {
    let ConvParts { rows, row_len, shape, weights, requant, residual, lo, hi, out, count, .. } = rows.parts();
    for (y, out) in out.chunks_mut(2).enumerate().take(count.div_ceil(2)) {
        let made = (*count - 2 * y).min(2);
        for x in (0..shape.width).step_by(4) {
            // Only the second output row reads the fourth row.
            let pixel = |row: usize, column: usize, input: usize| -> i32 {
                let row = 2 * y + row.min(made + 1);
                rows[row * *row_len + (x + column) * shape.channels_in + input].into()
            };
            for (channel, requant) in requant.iter().enumerate() {
                let mut sums = [0i32; POSITIONS];
                for input in 0..shape.channels_in {
                    let pixels = transform(|row, column| pixel(row, column, input));
                    for (position, (sum, pixel)) in sums.iter_mut().zip(pixels).enumerate() {
                        *sum = sum.wrapping_add(value(shape, weights, channel, position, input).wrapping_mul(pixel));
                    }
                }
                for (out, accumulators) in out.iter_mut().zip(accumulators(&sums)).take(made) {
                    for (x, acc) in (x..shape.width).zip(accumulators) {
                        let out = &mut out[x * shape.channels_out + channel];
                        *out = match residual {
                            None => requant.apply(acc, *lo, *hi),
                            Some(multiplier) => requant.apply_residual(acc, *out, *multiplier, *lo, *hi),
                        };
                    }
                }
            }
        }
    }
}

/// The transform `B' d B` of 4 x 6 pixels.
fn transform(d: impl Fn(usize, usize) -> i32) -> [i32; POSITIONS] {
    let vertical = |column| {
        let [a, b, c, e] = [0, 1, 2, 3].map(|row| d(row, column));
        [a - c, b + c, c - b, b - e]
    };
    let columns: [[i32; 4]; 6] = core::array::from_fn(vertical);
    core::array::from_fn(|position| {
        let d = columns.map(|column| column[position / 6]);
        match position % 6 {
            0 => 4 * d[0] - 5 * d[2] + d[4],
            1 => -4 * d[1] - 4 * d[2] + d[3] + d[4],
            2 => 4 * d[1] - 4 * d[2] - d[3] + d[4],
            3 => -2 * d[1] - d[2] + 2 * d[3] + d[4],
            4 => 2 * d[1] - d[2] - 2 * d[3] + d[4],
            _ => 4 * d[1] - 5 * d[3] + d[5],
        }
    })
}

/// The transform `A' M A` of 4 x 6 sums, which are 48 times too large: two rows of four accumulators, modulo 2^32.
fn accumulators(m: &[i32; POSITIONS]) -> [[i32; 4]; 2] {
    const THIRD: i32 = -0x5555_5555;
    [[1i32, 1, 1, 0], [0, 1, -1, -1]].map(|rows| {
        let m: [i32; 6] = core::array::from_fn(|column| {
            (0..4).fold(0i32, |sum, row| sum.wrapping_add(rows[row].wrapping_mul(m[6 * row + column])))
        });
        let sum = |factors: [i32; 6]| {
            factors.iter().zip(m).fold(0i32, |sum, (factor, m)| sum.wrapping_add(m.wrapping_mul(*factor)))
        };
        // 48, 24, 12 and 12 times.
        [
            sum([6, -4, -4, 1, 1, 0]).wrapping_mul(THIRD) >> 4,
            sum([0, -2, 2, 1, -1, 0]).wrapping_mul(THIRD) >> 3,
            sum([0, -1, -1, 1, 1, 0]).wrapping_mul(THIRD) >> 2,
            sum([0, -1, 1, 2, -2, 6]).wrapping_mul(THIRD) >> 2,
        ]
    })
}

/// Convolution by weights of any layout.
pub fn conv<T: Element>(rows: &mut ConvRows<'_, T>) {
    let layout = rows.parts().layout;
    let Some(packing) = from_code(layout.code) else { return };
    rows.each(|row| conv_row(row, |shape, weights, channel, ky, i| (packing.weight)(shape, weights, channel, ky, i)));
}

fn conv_row<T: Element>(row: &mut ConvRow<'_, T>, weight: impl Fn(&ConvShape, &[i8], usize, usize, usize) -> i8) {
    let ConvShape { kernel_h, kernel_w, channels_in, groups, .. } = row.shape;
    let per_group = channels_in / groups.max(1);
    let group_out = row.channels_out() / groups.max(1);
    for x in 0..row.width_out() {
        for (channel, requant) in row.requant.iter().enumerate() {
            let group = channel / group_out.max(1);
            let mut acc = 0i32;
            for ky in 0..kernel_h {
                for i in 0..kernel_w * per_group {
                    let (kx, ci) = (i / per_group, i % per_group);
                    let pixel = ky * row.row_len + x * row.pixel_step() + kx * channels_in;
                    let value: i32 = row.rows[pixel + group * per_group + ci].into();
                    acc += value * i32::from(weight(&row.shape, row.weights, channel, ky, i));
                }
            }
            let out = &mut row.out[x * row.requant.len() + channel];
            *out = match row.residual {
                None => requant.apply(acc, row.lo, row.hi),
                Some(multiplier) => requant.apply_residual(acc, *out, multiplier, row.lo, row.hi),
            };
        }
    }
}
