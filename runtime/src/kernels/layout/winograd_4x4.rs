//! Weights of 3x3 convolutions of stride 1, transformed for minimal filtering of 4 x 4 outputs, F(4x4, 3x3), in
//! integers, as those of [`winograd`](super::winograd) are for 2 x 4.

use super::winograd::{G_FOUR, MOST, PIXELS_BYTES, pack, reads, suits, weight};
use super::{ConvShape, Layout, Packing, RowElement, even_tiles};

/// Products of a tile of 4 x 4 outputs: 6 rows of 6.
pub(in crate::kernels) const POSITIONS: usize = 36;

/// 16-bit integers as [`WINOGRAD`](super::WINOGRAD) has them, of 6 x 6 positions: 4 products for 16. Sums are 576 times
/// the accumulators, so that with at most 224 input channels and weights of magnitude 127, 64 times one fits 32 bits:
/// 64 * 9 * 224 * 127 * 128 < 2^31.
pub static WINOGRAD_4X4: Layout = Layout {
    code: 6,
    name: "winograd_4x4",
    element: RowElement::Int8,
    weight_bytes: 8,
    alignment: 16,
    suits: |shape| suits(shape, 224),
    len: |shape| shape.channels_in.checked_mul(shape.channels_out)?.checked_mul(2 * POSITIONS),
    reads,
    scratch: |shape| tiles_4x4(shape) * (2 * POSITIONS * shape.channels_in + 4 * POSITIONS * 4),
};

/// Tiles that kernels work on at a time, an even number.
pub fn tiles_4x4(shape: &ConvShape) -> usize {
    even_tiles(shape, 4, POSITIONS, PIXELS_BYTES)
}

/// [`WINOGRAD_4X4`] with what packs and checks it.
pub static WINOGRAD_4X4_PACKING: Packing = Packing {
    layout: &WINOGRAD_4X4,
    pack: |shape, canonical, out| pack(&G_FOUR, shape, canonical, out),
    weight: |shape, weights, channel, row, k| weight(&G_FOUR, shape, weights, channel, row, k),
    most: |_| MOST,
    largest: |_, _, _, _| MOST,
    check: |_, _| Ok(()),
};
