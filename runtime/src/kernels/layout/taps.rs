//! Weights of 3x3 convolutions that kernels transform for minimal filtering in RAM, in each step: a byte each in flash.

use super::{
    ConvShape, LOWEST, Layout, POLYPHASE, Packing, RowElement, WINOGRAD_4X4, ensure, even_tiles, holds_lowest,
    largest_of_products, most_of_products, polyphase, winograd_4x4,
};
use crate::kernels::shape::MAX_ROWS;

/// Bytes of transformed pixels at a time, about.
const PIXELS_BYTES: usize = 25_600;

/// `[output][four input channels][kernel row][kernel column][of the four]`: of stride 1 what
/// [`WINOGRAD_4X4`](super::WINOGRAD_4X4) holds, of stride 2 what [`POLYPHASE`](super::POLYPHASE) does, from which
/// kernels make weights in those layouts, 4 output channels at a time, for all output rows of a step.
pub static TAPS: Layout = Layout {
    code: 8,
    name: "taps",
    element: RowElement::Int8,
    weight_bytes: 1,
    alignment: 16,
    suits: |shape| (transformed(shape).suits)(shape),
    len: |shape| shape.channels_in.checked_mul(shape.channels_out)?.checked_mul(9),
    reads: |shape| (transformed(shape).reads)(shape),
    scratch: |shape| {
        let Tile { products, sums, size } = Tile::of(shape);
        let pixels = MAX_ROWS.div_ceil(size) * 2 * products * shape.channels_in * tiles_of_taps(shape);
        2 * products * 4 * shape.channels_in + pixels + 4 * sums * 4 * tiles_of_taps(shape)
    },
};

/// The layout of the transformed weights.
fn transformed(shape: &ConvShape) -> &'static Layout {
    if shape.stride_h == 1 { &WINOGRAD_4X4 } else { &POLYPHASE }
}

/// What an output tile is made by.
struct Tile {
    products: usize,
    sums: usize,
    /// Rows and columns.
    size: usize,
}

impl Tile {
    fn of(shape: &ConvShape) -> Self {
        if shape.stride_h == 1 {
            Self { products: winograd_4x4::POSITIONS, sums: winograd_4x4::POSITIONS, size: 4 }
        } else {
            Self { products: polyphase::PRODUCTS, sums: 9, size: 2 }
        }
    }
}

/// Rows and columns of an output tile.
pub fn tile_of_taps(shape: &ConvShape) -> usize {
    Tile::of(shape).size
}

/// Tiles side by side that kernels work on at a time, an even number.
pub fn tiles_of_taps(shape: &ConvShape) -> usize {
    let Tile { products, size, .. } = Tile::of(shape);
    even_tiles(shape, size, MAX_ROWS.div_ceil(size) * products, PIXELS_BYTES)
}

/// [`TAPS`] with what packs and checks it.
pub static TAPS_PACKING: Packing = Packing {
    layout: &TAPS,
    pack: |shape, canonical, out| {
        let inputs = shape.channels_in.max(1);
        for (at, &weight) in canonical.iter().enumerate() {
            let (channel, tap) = (at / inputs / 9, at / inputs % 9);
            if let Some(place) = out.get_mut(index(shape, channel, tap, at % inputs)) {
                *place = weight;
            }
        }
    },
    weight: |shape, weights, channel, row, k| {
        let (column, input) = (k / shape.channels_in.max(1), k % shape.channels_in.max(1));
        weights.get(index(shape, channel, 3 * row + column, input)).copied().unwrap_or(0)
    },
    most: most_of_products,
    largest: largest_of_products,
    check: |_, weights| ensure!(!holds_lowest(weights), LOWEST),
};

/// Where a weight lies.
fn index(shape: &ConvShape, channel: usize, tap: usize, input: usize) -> usize {
    ((channel * (shape.channels_in / 4) + input / 4) * 9 + tap) * 4 + input % 4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_come_back() {
        for stride in [1, 2] {
            let shape = ConvShape {
                kernel_h: 3,
                kernel_w: 3,
                stride_h: stride,
                stride_w: stride,
                channels_in: 16,
                channels_out: 8,
                groups: 1,
                width: 8,
            };
            let canonical: Vec<i8> = (0..9 * 16 * 8).map(|i| (i * 37 % 255 - 127) as i8).collect();
            let mut packed = vec![0; (TAPS.len)(&shape).unwrap()];
            (TAPS_PACKING.pack)(&shape, &canonical, &mut packed);
            assert_ne!(packed, canonical);
            let mut back = vec![0; canonical.len()];
            TAPS_PACKING.unpack(&shape, &packed, &mut back);
            assert_eq!(back, canonical, "stride {stride}");
        }
    }
}
