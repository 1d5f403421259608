//! The row loader: copies rows of rings, dense or slices of a concatenation, into padded rows in scratch.

use super::conv::Uint8;
pub use super::map_row::{MapRow, Part};

/// Widens the elements of the first slice into the second, which is as long.
pub fn widen(from: &[i8], to: &mut [i16]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = i16::from(*from);
    }
}

/// Brings the elements of the first slice to the second, which is as long, as unsigned bytes.
pub fn unsigned(from: &[i8], to: &mut [Uint8]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = Uint8::from(*from);
    }
}

/// Copies the elements of the first slice into the second, which is as long.
pub fn copy(from: &[i8], to: &mut [i8]) {
    #[cfg(skipstone_mve)]
    return super::mve::copy(from, to);
    #[cfg(not(skipstone_mve))]
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
}

/// Writes the pixels of `row`, as many channels as it has, where they belong in a padded row. `convert` converts a run of
/// elements: all pixels at once where neither they nor their places have gaps.
#[inline(never)]
pub fn load<T>(row: MapRow<'_>, part: Part, to: &mut [T], convert: impl Fn(&[i8], &mut [T])) {
    let Some(to) = to.get_mut(part.left..) else { return };
    if row.is_dense() && row.channels == part.pixel_stride {
        if let Some(to) = to.get_mut(..row.bytes.len()) {
            convert(row.bytes, to);
        }
        return;
    }
    for (pixel, to) in row.pixels().zip(to.chunks_mut(part.pixel_stride.max(1))) {
        if let Some(to) = to.get_mut(..pixel.len()) {
            convert(pixel, to);
        }
    }
}

/// Copies the pixels of a row to dense ones.
pub fn gather(row: MapRow<'_>, to: &mut [i8]) {
    if row.is_dense() {
        copy(row.bytes, to);
    } else {
        for (from, to) in row.pixels().zip(to.chunks_mut(row.channels.max(1))) {
            copy(from, to);
        }
    }
}
