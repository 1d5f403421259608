//! Weight layouts: how the weights of a convolution lie in a packed model, each in a file of its own.
//!
//! A layout owns its length, its packing and its check; nothing else computes them. Adding one is a file here and a line in
//! [`LAYOUTS`].

mod canonical;
mod pairs;

pub use canonical::CANONICAL;
pub use pairs::{PAIRS, pairs_index};

use canonical::CANONICAL_PACKING;
use pairs::PAIRS_PACKING;

use super::shape::ConvShape;

/// Every layout with what packs and checks it, in order of their codes.
pub static LAYOUTS: &[&Packing] = &[&CANONICAL_PACKING, &PAIRS_PACKING];

/// The elements of the padded input rows that kernels of a layout read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowElement {
    /// int8, as feature maps are.
    Int8,
    /// int8 values widened to 16 bits.
    Int16,
}

impl RowElement {
    /// Bytes of an element.
    pub const fn bytes(self) -> usize {
        match self {
            Self::Int8 => 1,
            Self::Int16 => 2,
        }
    }
}

/// A weight layout.
pub struct Layout {
    /// Its code in a packed model.
    pub code: u8,
    /// Its name, for people.
    pub name: &'static str,
    /// What the padded input rows consist of.
    pub element: RowElement,
    /// Kernels may read this many elements at once, so beyond the end of a run.
    pub vector: usize,
    /// What a row's elements are rounded up to, `vector` more included.
    pub alignment: usize,
    /// Whether it can hold the weights of a convolution.
    pub suits: fn(&ConvShape) -> bool,
    /// Bytes of the weights; `None` if they do not fit the address space.
    pub len: fn(&ConvShape) -> Option<usize>,
}

/// What the host's packer and the check of a model know of a layout besides.
pub struct Packing {
    /// The layout.
    pub layout: &'static Layout,
    /// Lays out weights that are canonical (OHWI): `[output][kernel row][kernel column][input channel of the group]`. The
    /// second slice has [`Layout::len`] zeros.
    pub pack: fn(&ConvShape, &[i8], &mut [i8]),
    /// Whether bytes that only pad hold what kernels rely on.
    pub is_padded: fn(&ConvShape, &[i8]) -> bool,
    /// Sum of the magnitudes of an output channel's weights.
    pub magnitude: fn(&ConvShape, &[i8], usize) -> u64,
}

/// The layout of a code, if there is one.
pub fn from_code(code: u8) -> Option<&'static Packing> {
    LAYOUTS.get(usize::from(code)).copied()
}

impl Layout {
    /// Elements from one padded input row to the next, where a row has `elements` of pixels and padding: kernels may read
    /// whole vectors from any of them.
    pub const fn row_len(&self, elements: usize) -> usize {
        match (elements + self.vector).checked_next_multiple_of(self.alignment) {
            Some(len) => len,
            None => 0,
        }
    }

    /// Bytes of `rows` padded input rows.
    pub const fn rows_bytes(&self, rows: usize, elements: usize) -> usize {
        rows * self.row_len(elements) * self.element.bytes()
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

/// `len` elements from `at`; none if they do not all exist.
fn block(weights: &[i8], at: usize, len: usize) -> &[i8] {
    weights.get(at..).and_then(|rest| rest.get(..len)).unwrap_or(&[])
}

fn magnitude(weight: &i8) -> u64 {
    weight.unsigned_abs().into()
}
