//! The specification of the kernels: naive, for every layout.

use super::conv::{ConvParts, ConvRow, ConvRows, ConvShape, Element};
use super::layout::winograd::value;
use super::layout::{CANONICAL, PAIRS, POLYPHASE, QUADS, TAPS, VECTORS, WINOGRAD, WINOGRAD_4X4, WORDS, from_code};
use super::spec::ConvSpec;
use super::{Backend, ConvCode, ConvKernel, load};

/// The specification as a backend.
pub static BACKEND: Backend = Backend {
    name: "reference",
    available: || true,
    kernels: &[
        CONV,
        CONV_PAIRS,
        CONV_WINOGRAD,
        CONV_QUADS,
        CONV_WORDS,
        CONV_VECTORS,
        CONV_WINOGRAD_4X4,
        CONV_POLYPHASE,
        CONV_TAPS,
    ],
};

/// Of canonical weights.
pub const CONV: ConvKernel = ConvKernel { spec: &CONV_1X1_REFERENCE, code: ConvCode::Int8(conv) };

/// Of weights in pairs.
pub const CONV_PAIRS: ConvKernel =
    ConvKernel { spec: &CONV_1X1_REFERENCE_PAIRS, code: ConvCode::Int16 { run: conv, widen: load::widen } };

/// Of transformed weights.
pub const CONV_WINOGRAD: ConvKernel =
    ConvKernel { spec: &CONV_1X1_REFERENCE_WINOGRAD, code: ConvCode::Int8(conv_winograd::<2>) };

/// Of weights in quads.
pub const CONV_QUADS: ConvKernel = ConvKernel { spec: &CONV_1X1_REFERENCE_QUADS, code: ConvCode::Uint8(conv) };

/// Of weights in words.
pub const CONV_WORDS: ConvKernel =
    ConvKernel { spec: &CONV_1X1_REFERENCE_WORDS, code: ConvCode::Int16 { run: conv, widen: load::widen } };

/// Of weights in vectors.
pub const CONV_VECTORS: ConvKernel = ConvKernel { spec: &CONV_1X1_REFERENCE_VECTORS, code: ConvCode::Int8(conv) };

/// Of weights transformed for 4 x 4 outputs.
pub const CONV_WINOGRAD_4X4: ConvKernel =
    ConvKernel { spec: &CONV_1X1_REFERENCE_WINOGRAD_4X4, code: ConvCode::Int8(conv_winograd::<4>) };

/// Of weights transformed for stride 2.
pub const CONV_POLYPHASE: ConvKernel = ConvKernel { spec: &CONV_1X1_REFERENCE_POLYPHASE, code: ConvCode::Int8(conv) };

/// Of weights that are transformed in RAM elsewhere.
pub const CONV_TAPS: ConvKernel = ConvKernel { spec: &CONV_1X1_REFERENCE_TAPS, code: ConvCode::Int8(conv) };

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

static CONV_1X1_REFERENCE_WINOGRAD_4X4: ConvSpec = ConvSpec {
    name: "conv_4x4_reference_winograd",
    path: "kernels::reference::CONV_WINOGRAD_4X4",
    layout: &WINOGRAD_4X4,
    suits: WINOGRAD_4X4.suits,
    ..CONV_1X1_REFERENCE
};

static CONV_1X1_REFERENCE_POLYPHASE: ConvSpec = ConvSpec {
    name: "conv_1x1_reference_polyphase",
    path: "kernels::reference::CONV_POLYPHASE",
    layout: &POLYPHASE,
    suits: POLYPHASE.suits,
    ..CONV_1X1_REFERENCE
};

static CONV_1X1_REFERENCE_TAPS: ConvSpec = ConvSpec {
    name: "conv_1x1_reference_taps",
    path: "kernels::reference::CONV_TAPS",
    layout: &TAPS,
    suits: TAPS.suits,
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

/// Convolution by transformed weights, in tiles of four pixels of `HEIGHT` output rows of a call, 2 or 4, the last ones
/// perhaps of fewer.
pub fn conv_winograd<const HEIGHT: usize>(rows: &mut ConvRows<'_, i8>) {
    let ConvParts { rows, row_len, shape, weights, requant, residual, lo, hi, out, count, .. } = rows.parts();
    for (y, out) in out.chunks_mut(HEIGHT).enumerate().take(count.div_ceil(HEIGHT)) {
        let made = (*count - HEIGHT * y).min(HEIGHT);
        for x in (0..shape.width).step_by(4) {
            // Rows that no output row reads lie under the last one that is read.
            let pixel = |row: usize, column: usize, input: usize| -> i32 {
                let row = HEIGHT * y + row.min(made + 1);
                rows[row * *row_len + (x + column) * shape.channels_in + input].into()
            };
            for (channel, requant) in requant.iter().enumerate() {
                // Of up to six rows of six positions.
                let mut sums = [[0i32; 6]; 6];
                for input in 0..shape.channels_in {
                    let pixels = transform::<HEIGHT>(|row, column| pixel(row, column, input));
                    for (row, pixels) in pixels.iter().enumerate().take(HEIGHT + 2) {
                        for (column, pixel) in pixels.iter().enumerate() {
                            let weight = value(shape, 6 * (HEIGHT + 2), weights, channel, 6 * row + column, input);
                            sums[row][column] = sums[row][column].wrapping_add(weight.wrapping_mul(*pixel));
                        }
                    }
                }
                for (out, accumulators) in out.iter_mut().zip(accumulators::<HEIGHT>(&sums)).take(made) {
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

/// The transform `B' d B` of `HEIGHT + 2` rows of 6 pixels; rows after those mean nothing.
fn transform<const HEIGHT: usize>(d: impl Fn(usize, usize) -> i32) -> [[i32; 6]; 6] {
    let columns: [[i32; 6]; 6] = core::array::from_fn(|column| {
        let rows: [i32; 6] = core::array::from_fn(|row| d(row, column));
        match (HEIGHT, rows) {
            (2, [a, b, c, e, ..]) => [a - c, b + c, c - b, b - e, 0, 0],
            (_, rows) => transform_six(rows),
        }
    });
    core::array::from_fn(|row| transform_six(columns.map(|column| column[row])))
}

/// The transform `B' d` of F(4, 3).
fn transform_six(d: [i32; 6]) -> [i32; 6] {
    [
        4 * d[0] - 5 * d[2] + d[4],
        -4 * d[1] - 4 * d[2] + d[3] + d[4],
        4 * d[1] - 4 * d[2] - d[3] + d[4],
        -2 * d[1] - d[2] + 2 * d[3] + d[4],
        2 * d[1] - d[2] - 2 * d[3] + d[4],
        4 * d[1] - 5 * d[3] + d[5],
    ]
}

/// Sums by factors, modulo 2^32.
fn sum(factors: [i32; 6], m: [i32; 6]) -> i32 {
    factors.iter().zip(m).fold(0i32, |sum, (factor, m)| sum.wrapping_add(m.wrapping_mul(*factor)))
}

/// The transform `A'` of F(4, 3), and what its factors of 24, 12, 6 and 6 leave to a shift after a division by 3.
const A_FOUR: [([i32; 6], u32); 4] =
    [([6, -4, -4, 1, 1, 0], 3), ([0, -2, 2, 1, -1, 0], 2), ([0, -1, -1, 1, 1, 0], 1), ([0, -1, 1, 2, -2, 6], 1)];
/// That of F(2, 3), whose factor is 2.
const A_TWO: [([i32; 6], u32); 2] = [([1, 1, 1, 0, 0, 0], 1), ([0, 1, -1, -1, 0, 0], 1)];

/// The transform `A' M A`: `HEIGHT` rows of four accumulators, modulo 2^32. Sums are 48 times too large, or 576 times.
fn accumulators<const HEIGHT: usize>(m: &[[i32; 6]; 6]) -> [[i32; 4]; HEIGHT] {
    /// The inverse of 3 modulo 2^32.
    const THIRD: i32 = -0x5555_5555;
    let (vertical, inverse) = if HEIGHT == 2 { (&A_TWO[..], THIRD) } else { (&A_FOUR[..], THIRD.wrapping_mul(THIRD)) };
    core::array::from_fn(|row| {
        let (factors, shift) = vertical[row];
        let m = core::array::from_fn(|column| sum(factors, m.map(|row| row[column])));
        A_FOUR.map(|(factors, other)| sum(factors, m).wrapping_mul(inverse) >> (shift + other))
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
