//! Weights of 3x3 convolutions of stride 1, transformed for minimal filtering of 2 x 4 outputs, F(2x4, 3x3) (Winograd;
//! Lavin and Gray 2016), in integers: `U = G w G'`, each factor multiplied by what makes it whole. What they mean for
//! pixels, [`reference`](mod@crate::kernels::reference) defines: of a transform of weights it is the convolution, bit
//! for bit; other integers, which nobody packs, mean what its arithmetic modulo 2^32 makes of them.

use super::{ConvShape, Layout, Packing, RowElement};

/// Products of a tile of 2 x 4 outputs: 4 rows of 6.
pub(in crate::kernels) const POSITIONS: usize = 24;
/// Transform of two outputs: twice that of F(2, 3).
const G_TWO: [[i32; 3]; 4] = [[2, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 2]];
/// Transform of four outputs: 4, -6, -6, 24, 24 and 1 times that of F(4, 3).
pub(super) const G_FOUR: [[i32; 3]; 6] = [[1, 0, 0], [1, 1, 1], [1, -1, 1], [1, 2, 4], [1, -2, 4], [0, 0, 1]];
/// Bytes of transformed pixels at a time, about.
pub(super) const PIXELS_BYTES: usize = 8192;

/// 16-bit integers, little-endian, of blocks of 4 output channels: `[block][position][pair of input channels][channel
/// of the block][of the pair]`. A position is one of 4 x 6; pairs of input channels are (0, 2), (1, 3), (4, 6), (5, 7)
/// and so on, as SXTB16 makes them. With at most 896 input channels, 16 times a sum of products by weights of magnitude
/// 127 fits 32 bits.
pub static WINOGRAD: Layout = Layout {
    code: 2,
    name: "winograd",
    element: RowElement::Int8,
    weight_bytes: 6,
    alignment: 16,
    suits: |shape| suits(shape, 896),
    len: |shape| shape.channels_in.checked_mul(shape.channels_out)?.checked_mul(2 * POSITIONS),
    reads,
    scratch: |shape| {
        let (tiles, channels) = (tiles(shape), shape.channels_in);
        tiles * (2 * POSITIONS * channels + 4 * POSITIONS * 4)
    },
};

/// Tiles that kernels work on at a time, an even number.
pub fn tiles(shape: &ConvShape) -> usize {
    let most = PIXELS_BYTES / (4 * POSITIONS) / shape.channels_in.max(1) * 2;
    shape.width.div_ceil(8).saturating_mul(2).min(most.max(2))
}

/// [`WINOGRAD`] with what packs and checks it.
pub static WINOGRAD_PACKING: Packing = Packing {
    layout: &WINOGRAD,
    pack: |shape, canonical, out| pack(&G_TWO, shape, canonical, out),
    weight: |shape, weights, channel, row, k| weight(&G_TWO, shape, weights, channel, row, k),
    most: |_| MOST,
    largest: |_, _, _, _| MOST,
    check: |_, _| Ok(()),
};

/// The largest magnitude of an accumulator, whatever the weights are: what a shift by 2 leaves of 32 bits.
pub(super) const MOST: u64 = 1 << 29;

/// Whether a convolution is one of 3x3 and stride 1 with at most so many input channels.
pub(super) fn suits(shape: &ConvShape, most_channels: usize) -> bool {
    (shape.kernel_h, shape.kernel_w, shape.stride_h, shape.stride_w, shape.groups) == (3, 3, 1, 1, 1)
        && shape.channels_in.is_multiple_of(16)
        && (16..=most_channels).contains(&shape.channels_in)
        && shape.channels_out.is_multiple_of(4)
}

/// Pairs of tiles, the last of which may reach over the end of the row.
pub(super) fn reads(shape: &ConvShape) -> Option<usize> {
    shape.width.checked_next_multiple_of(8)?.checked_add(2)?.checked_mul(shape.channels_in)
}

/// Lays out canonical weights, whose transform has `rows` vertically.
pub(super) fn pack(rows: &[[i32; 3]], shape: &ConvShape, canonical: &[i8], out: &mut [i8]) {
    let positions = rows.len() * G_FOUR.len();
    for channel in 0..shape.channels_out {
        for input in 0..shape.channels_in {
            let at = |tap: usize| canonical.get((channel * 9 + tap) * shape.channels_in + input);
            let [a, b, c, d, e, f, g, h, i] = core::array::from_fn(|tap| at(tap).map_or(0, |&weight| weight.into()));
            let rows =
                rows.iter().map(|[x, y, z]| [x * a + y * d + z * g, x * b + y * e + z * h, x * c + y * f + z * i]);
            let values = rows.flat_map(|[p, q, r]| G_FOUR.map(|[x, y, z]: [i32; 3]| x * p + y * q + z * r));
            for (position, value) in values.enumerate() {
                let at = index(shape, positions, channel, position, input);
                if let Some(place) = out.get_mut(at..at + 2) {
                    place.copy_from_slice(&(value as i16).to_le_bytes().map(|byte| byte as i8));
                }
            }
        }
    }
}
/// The weight of an output channel, a kernel row and an element of its run.
pub(super) fn weight(rows: &[[i32; 3]], shape: &ConvShape, weights: &[i8], channel: usize, row: usize, k: usize) -> i8 {
    let (column, input) = (k / shape.channels_in.max(1), k % shape.channels_in.max(1));
    let value = |position| value(shape, rows.len() * G_FOUR.len(), weights, channel, position, input);
    // Twice the weights of a row, and twice those.
    let along = |row: usize| match column {
        0 => 2 * value(6 * row),
        1 => value(6 * row + 1) - value(6 * row + 2),
        _ => 2 * value(6 * row + 5),
    };
    let edge = |row: usize| if rows.len() == G_TWO.len() { along(row) } else { 2 * along(row) };
    let four_times = match row {
        0 => edge(0),
        1 => along(1) - along(2),
        _ => edge(rows.len() - 1),
    };
    (four_times / 4) as i8
}

/// The transformed weight of an output channel, one of so many positions and an input channel.
pub(in crate::kernels) fn value(
    shape: &ConvShape,
    positions: usize,
    weights: &[i8],
    channel: usize,
    position: usize,
    input: usize,
) -> i32 {
    let at = index(shape, positions, channel, position, input);
    match weights.get(at..at + 2) {
        Some(&[low, high]) => i16::from_le_bytes([low as u8, high as u8]).into(),
        _ => 0,
    }
}

/// Byte offset of a value.
fn index(shape: &ConvShape, positions: usize, channel: usize, position: usize, input: usize) -> usize {
    let pair = input / 4 * 2 + input % 2;
    let row = (channel / 4 * positions + position) * (shape.channels_in / 2) + pair;
    ((row * 4 + channel % 4) * 2 + input / 2 % 2) * 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_come_back() {
        let shape = ConvShape {
            kernel_h: 3,
            kernel_w: 3,
            stride_h: 1,
            stride_w: 1,
            channels_in: 16,
            channels_out: 8,
            groups: 1,
            width: 8,
        };
        let canonical: Vec<i8> = (0..9 * 16 * 8).map(|i| (i * 37 % 255 - 127) as i8).collect();
        for packing in [&WINOGRAD_PACKING, &super::super::WINOGRAD_4X4_PACKING] {
            let mut packed = vec![0; (packing.layout.len)(&shape).unwrap()];
            (packing.pack)(&shape, &canonical, &mut packed);
            let mut back = vec![0; canonical.len()];
            packing.unpack(&shape, &packed, &mut back);
            assert_eq!(back, canonical, "{}", packing.layout.name);
        }
    }
}
