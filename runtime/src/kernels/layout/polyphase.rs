//! Weights of 3x3 convolutions of stride 2, transformed for minimal filtering of 2 x 2 outputs. Along each axis the odd
//! pixels meet one weight; the even ones meet two, by F(2, 2): `y0 = (x0 - x2) w0 + x2 (w0 + w2)`, `y1 = x2 (w0 + w2) +
//! (x4 - x2) w2`.

use super::winograd::PIXELS_BYTES;
use super::{
    ConvShape, LOWEST, Layout, Packing, RowElement, ensure, even_tiles, largest_of_products, most_of_products,
};

/// Products of a tile of 2 x 2 outputs.
pub(in crate::kernels) const PRODUCTS: usize = 25;
/// Along an axis, the weights by which products of the three sums are made, as sums of weights 0 to 2: x0 - x2 and x1;
/// x2; x4 - x2 and x3.
const AXIS: [&[[i32; 3]]; 3] = [&[[1, 0, 0], [0, 1, 0]], &[[1, 0, 1]], &[[0, 0, 1], [0, 1, 0]]];
/// Where the nine weights are among the products.
const TAPS: [usize; 9] = [0, 1, 6, 2, 3, 8, 15, 16, 21];

/// 16-bit integers, little-endian, of blocks of 4 output channels: `[block][sum][pair of input channels][product of the
/// sum][channel of the block][of the pair]`. Sums are 3 x 3, of 4, 2 and 4, 2, 1 and 2, 4, 2 and 4 products; pairs of
/// input channels are (0, 2), (1, 3), (4, 6), (5, 7) and so on, as SXTB16 makes them.
pub static POLYPHASE: Layout = Layout {
    code: 7,
    name: "polyphase",
    element: RowElement::Int8,
    weight_bytes: 6,
    alignment: 16,
    suits: |shape| {
        (shape.kernel_h, shape.kernel_w, shape.stride_h, shape.stride_w, shape.groups) == (3, 3, 2, 2, 1)
            && shape.channels_in.is_multiple_of(16)
            && (16..=1024).contains(&shape.channels_in)
            && shape.channels_out.is_multiple_of(4)
    },
    len: |shape| shape.channels_in.checked_mul(shape.channels_out)?.checked_mul(2 * PRODUCTS),
    reads: |shape| {
        let pixels = shape.width.checked_next_multiple_of(4)?.checked_mul(2)?.checked_add(1)?;
        pixels.checked_mul(shape.channels_in)
    },
    scratch: |shape| tiles_of_two(shape) * (2 * PRODUCTS * shape.channels_in + 4 * 9 * 4),
};

/// Tiles that kernels work on at a time, an even number.
pub fn tiles_of_two(shape: &ConvShape) -> usize {
    even_tiles(shape, 2, PRODUCTS, PIXELS_BYTES)
}

/// [`POLYPHASE`] with what packs and checks it.
pub static POLYPHASE_PACKING: Packing = Packing {
    layout: &POLYPHASE,
    pack: |shape, canonical, out| {
        each(shape, |channel, input| {
            let weight = |tap: usize| canonical.get((channel * 9 + tap) * shape.channels_in + input);
            let weights = core::array::from_fn(|tap| weight(tap).map_or(0, |&weight| weight.into()));
            for (product, value) in transformed(weights).into_iter().enumerate() {
                let at = index(shape, channel, product, input);
                if let Some(place) = out.get_mut(at..at + 2) {
                    place.copy_from_slice(&(value as i16).to_le_bytes().map(|byte| byte as i8));
                }
            }
            true
        });
    },
    weight: |shape, weights, channel, row, k| {
        let (column, input) = (k / shape.channels_in.max(1), k % shape.channels_in.max(1));
        let tap = TAPS.get(3 * row + column).copied().unwrap_or(0);
        value(shape, weights, channel, tap, input) as i8
    },
    most: most_of_products,
    largest: largest_of_products,
    check: |shape, weights| {
        let of = |channel, input| TAPS.map(|tap| value(shape, weights, channel, tap, input));
        let fits = each(shape, |channel, input| of(channel, input).iter().all(|weight| (-128..=127).contains(weight)));
        ensure!(fits, "a weight does not fit 8 bits")?;
        ensure!(each(shape, |channel, input| !of(channel, input).contains(&-128)), LOWEST)?;
        let follows = each(shape, |channel, input| {
            let mut values = transformed(of(channel, input)).into_iter().enumerate();
            values.all(|(product, expected)| value(shape, weights, channel, product, input) == expected)
        });
        ensure!(follows, "a transformed weight is not that of the others")
    },
};

/// Whether something holds for each output and input channel; asks no more after one for which it does not.
fn each(shape: &ConvShape, mut holds: impl FnMut(usize, usize) -> bool) -> bool {
    (0..shape.channels_out).all(|channel| (0..shape.channels_in).all(|input| holds(channel, input)))
}

/// The transform of nine weights.
fn transformed(weights: [i32; 9]) -> [i32; PRODUCTS] {
    let [a, b, c, d, e, f, g, h, i] = weights;
    let along = |[x, y, z]: [i32; 3], factors: &[i32; 3]| x * factors[0] + y * factors[1] + z * factors[2];
    let mut out = [0; PRODUCTS];
    let sums = AXIS.iter().flat_map(|rows| AXIS.iter().map(move |columns| (rows, columns)));
    let products = sums.flat_map(|(rows, columns)| rows.iter().flat_map(|row| columns.iter().map(move |x| (row, x))));
    for (out, (row, column)) in out.iter_mut().zip(products) {
        *out = along([[a, b, c], [d, e, f], [g, h, i]].map(|row| along(row, column)), row);
    }
    out
}

/// The transformed weight of an output channel, a product and an input channel.
fn value(shape: &ConvShape, weights: &[i8], channel: usize, product: usize, input: usize) -> i32 {
    let at = index(shape, channel, product, input);
    match weights.get(at..at + 2) {
        Some(&[low, high]) => i16::from_le_bytes([low as u8, high as u8]).into(),
        _ => 0,
    }
}

/// Byte offset of a value.
fn index(shape: &ConvShape, channel: usize, product: usize, input: usize) -> usize {
    // The first product of its sum, and how many the sum has.
    let (first, products) = match product {
        0..4 => (0, 4),
        4..6 => (4, 2),
        6..10 => (6, 4),
        10..12 => (10, 2),
        12 => (12, 1),
        13..15 => (13, 2),
        15..19 => (15, 4),
        19..21 => (19, 2),
        _ => (21, 4),
    };
    let pairs = shape.channels_in / 2;
    let pair = input / 4 * 2 + input % 2;
    let row = (channel / 4 * PRODUCTS + first) * pairs + pair * products + (product - first);
    ((row * 4 + channel % 4) * 2 + input / 2 % 2) * 2
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: ConvShape = ConvShape {
        kernel_h: 3,
        kernel_w: 3,
        stride_h: 2,
        stride_w: 2,
        channels_in: 16,
        channels_out: 8,
        groups: 1,
        width: 8,
    };

    fn packed() -> (Vec<i8>, Vec<i8>) {
        let canonical: Vec<i8> = (0..9 * 16 * 8).map(|i| (i * 37 % 255 - 127) as i8).collect();
        let mut packed = vec![0; (POLYPHASE.len)(&SHAPE).unwrap()];
        (POLYPHASE_PACKING.pack)(&SHAPE, &canonical, &mut packed);
        (canonical, packed)
    }

    #[test]
    fn weights_come_back() {
        let (canonical, packed) = packed();
        let mut back = vec![0; canonical.len()];
        POLYPHASE_PACKING.unpack(&SHAPE, &packed, &mut back);
        assert_eq!(back, canonical);
        assert!((POLYPHASE_PACKING.check)(&SHAPE, &packed).is_ok());
    }

    #[test]
    fn every_transformed_weight_is_checked() {
        let (_, packed) = packed();
        for at in 0..packed.len() {
            let mut wrong = packed.clone();
            wrong[at] ^= 1;
            assert!((POLYPHASE_PACKING.check)(&SHAPE, &wrong).is_err(), "at {at}");
        }
    }
}
