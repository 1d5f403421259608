//! Weight layouts: how the weights of a convolution lie in a packed model, each in a file of its own.
//!
//! A layout owns its length, its packing and its check; nothing else computes them. Adding one is a file here and a
//! line in [`LAYOUTS`].

mod canonical;
mod pairs;
mod polyphase;
pub(super) mod quads;
mod taps;
pub(in crate::kernels) mod vectors;
pub(in crate::kernels) mod winograd;
pub(in crate::kernels) mod winograd_4x4;
mod words;

pub use canonical::{CANONICAL, CANONICAL_PACKING};
pub use pairs::{PAIRS, PAIRS_PACKING};
pub use polyphase::{POLYPHASE, POLYPHASE_PACKING, tiles_of_two};
pub use quads::{QUADS, QUADS_PACKING};
pub use taps::{TAPS, TAPS_PACKING, tile_of_taps, tiles_of_taps};
pub use vectors::{VECTORS, VECTORS_PACKING};
pub use winograd::{WINOGRAD, WINOGRAD_PACKING, tiles};
pub use winograd_4x4::{WINOGRAD_4X4, WINOGRAD_4X4_PACKING, tiles_4x4};
pub use words::{WORDS, WORDS_PACKING};

use super::shape::ConvShape;
use crate::format::{Verdict, ensure};

/// Every layout with what packs and checks it, in order of their codes.
pub static LAYOUTS: &[&Packing] = &[
    &CANONICAL_PACKING,
    &PAIRS_PACKING,
    &WINOGRAD_PACKING,
    &QUADS_PACKING,
    &WORDS_PACKING,
    &VECTORS_PACKING,
    &WINOGRAD_4X4_PACKING,
    &POLYPHASE_PACKING,
    &TAPS_PACKING,
];

/// The elements of the padded input rows that kernels of a layout read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowElement {
    /// int8, as feature maps are.
    Int8,
    /// int8 values and 128, as unsigned bytes.
    Uint8,
    /// int8 values widened to 16 bits.
    Int16,
}

impl RowElement {
    /// Bytes of an element.
    pub const fn bytes(self) -> usize {
        match self {
            Self::Int8 | Self::Uint8 => 1,
            Self::Int16 => 2,
        }
    }

    /// Tenths of an instruction that it takes to copy an element into a padded row, about.
    pub const fn copy_cost(self) -> usize {
        match self {
            Self::Int8 | Self::Uint8 => 5,
            Self::Int16 => 20,
        }
    }
}

/// A weight layout.
pub struct Layout {
    /// Its code in a packed model.
    pub code: u8,
    /// Its name, for people; in capitals that of its static.
    pub name: &'static str,
    /// What the padded input rows consist of.
    pub element: RowElement,
    /// Bytes of a weight, rounded up: more than one where flash is traded for speed.
    pub weight_bytes: usize,
    /// What a row's elements are rounded up to.
    pub alignment: usize,
    /// Whether it can hold the weights of a convolution.
    pub suits: fn(&ConvShape) -> bool,
    /// Bytes of the weights; `None` if they do not fit the address space.
    pub len: fn(&ConvShape) -> Option<usize>,
    /// Elements of each input row that kernels may read.
    pub reads: fn(&ConvShape) -> Option<usize>,
    /// Bytes that kernels work in besides.
    pub scratch: fn(&ConvShape) -> usize,
}

/// What the host's packer and the check of a model know of a layout besides.
pub struct Packing {
    /// The layout.
    pub layout: &'static Layout,
    /// Lays out weights that are canonical (OHWI): `[output][kernel row][kernel column][input channel of the group]`.
    /// The second slice has [`Layout::len`] zeros.
    pub pack: fn(&ConvShape, &[i8], &mut [i8]),
    /// The weight of an output channel, a kernel row and an element of that row's run, which is
    /// `kernel column * channels of the group + channel of the group`; 0 where there is none.
    pub weight: fn(&ConvShape, &[i8], usize, usize, usize) -> i8,
    /// The largest magnitude of a sum of any output channel, whatever the weights are.
    pub most: fn(&ConvShape) -> u64,
    /// That of an output channel with these weights.
    pub largest: fn(&Packing, &ConvShape, &[i8], usize) -> u64,
    /// What is wrong with weights: one is -128, what only fills up is not 0, what follows from others does not.
    pub check: fn(&ConvShape, &[i8]) -> Verdict,
}

/// The largest magnitude of a pixel.
const PIXEL: u64 = 128;

/// Of sums of products by weights of magnitude 127.
fn most_of_products(shape: &ConvShape) -> u64 {
    PIXEL * u64::from(i8::MAX.unsigned_abs()) * (shape.kernel_h * shape.kernel_w * shape.group_in()) as u64
}

/// Of sums of products by the weights of a channel.
fn largest_of_products(packing: &Packing, shape: &ConvShape, weights: &[i8], channel: usize) -> u64 {
    let run = shape.kernel_w * shape.group_in();
    let weight = |row, k| (packing.weight)(shape, weights, channel, row, k);
    let of_row = |row| (0..run).map(move |k| u64::from(weight(row, k).unsigned_abs()));
    PIXEL * (0..shape.kernel_h).flat_map(of_row).sum::<u64>()
}

impl Packing {
    /// The canonical weights, as [`Packing::pack`] takes them: as many as the slice has room for.
    pub fn unpack(&self, shape: &ConvShape, weights: &[i8], canonical: &mut [i8]) {
        let run = (shape.kernel_w * shape.group_in()).max(1);
        for (at, weight) in canonical.iter_mut().enumerate() {
            let (row, k) = (at / run, at % run);
            let (channel, row) = (row / shape.kernel_h.max(1), row % shape.kernel_h.max(1));
            *weight = (self.weight)(shape, weights, channel, row, k);
        }
    }
}

/// The layout of a code with what packs and checks it, if there is one.
pub fn from_code(code: u8) -> Option<&'static Packing> {
    find(LAYOUTS, code)
}

/// The layout of a code among some.
pub(crate) fn find(layouts: &'static [&'static Packing], code: u8) -> Option<&'static Packing> {
    layouts.iter().copied().find(|packing| packing.layout.code == code)
}

impl Layout {
    /// Elements from one padded input row to the next, where a row has `elements` of pixels and padding.
    pub fn row_len(&self, shape: &ConvShape, elements: usize) -> usize {
        (self.reads)(shape).unwrap_or(0).max(elements).checked_next_multiple_of(self.alignment).unwrap_or(0)
    }

    /// Bytes of `rows` padded input rows.
    pub fn rows_bytes(&self, shape: &ConvShape, rows: usize, elements: usize) -> usize {
        rows * self.row_len(shape, elements) * self.element.bytes()
    }
}

impl PartialEq for Layout {
    fn eq(&self, other: &Self) -> bool {
        self.code == other.code
    }
}

impl core::fmt::Debug for Layout {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name)
    }
}

/// Elements to the end of the last run, where kernels read whole vectors of `vector` elements.
fn whole_vectors(shape: &ConvShape, vector: usize) -> Option<usize> {
    let last = shape.width.checked_sub(1)?.checked_mul(shape.stride_w.checked_mul(shape.channels_in)?)?;
    let run = shape.kernel_w.checked_mul(shape.channels_in)?.checked_next_multiple_of(vector)?;
    last.checked_add(run)
}

/// Tiles of `size` columns side by side that kernels work on at a time, an even number: those of a row in about equal
/// parts, with about `bytes` of transformed pixels, of `products` for each input channel.
#[inline]
fn even_tiles(shape: &ConvShape, size: usize, products: usize, bytes: usize) -> usize {
    let pairs = shape.width.div_ceil(2 * size.max(1)).max(1);
    let most = bytes.checked_div(4 * products * shape.channels_in).unwrap_or(1).max(1);
    2 * pairs.div_ceil(pairs.div_ceil(most).max(1))
}

fn no_scratch(_: &ConvShape) -> usize {
    0
}

const LOWEST: &str = "a weight is -128";

/// Whether one of the values is -128, four at a time.
fn holds_lowest(values: &[i8]) -> bool {
    let (words, rest) = values.as_chunks::<4>();
    // A byte of `flipped` is 0 where the value is -128; subtracting 1 from each byte borrows into its highest bit then.
    let has = |word: &[i8; 4]| {
        let flipped = u32::from_ne_bytes(word.map(|value| value as u8)) ^ 0x8080_8080;
        flipped.wrapping_sub(0x0101_0101) & !flipped & 0x8080_8080 != 0
    };
    words.iter().any(has) || rest.contains(&i8::MIN)
}

#[cfg(test)]
mod tests {
    use super::holds_lowest;

    #[test]
    fn the_lowest_value_is_found_anywhere() {
        let others: Vec<i8> = (i8::MIN + 1..=i8::MAX).collect();
        assert!(!holds_lowest(&others) && !holds_lowest(&[]));
        for at in 0..others.len() {
            let mut values = others.clone();
            values[at] = i8::MIN;
            assert!(holds_lowest(&values), "at {at}");
        }
    }
}
