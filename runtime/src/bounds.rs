//! Access to what a checked model promises: sizes that are not 0, parts that lie in their slices, records that exist.
//!
//! A program may not panic, and the optimizer does not know what the check has shown. What it would have to do otherwise is
//! said here once: a size that is 0 is 1, what does not exist is empty.

use bytemuck::AnyBitPattern;
use core::num::NonZero;

/// A size, which is not 0.
#[inline(always)]
pub(crate) fn size(size: impl Into<usize>) -> NonZero<usize> {
    // `max` is what the optimizer follows through divisions by it.
    NonZero::new(size.into().max(1)).unwrap_or(NonZero::<usize>::MIN)
}

/// `len` elements from `at`.
#[inline(always)]
pub(crate) fn part<T>(elements: &[T], at: usize, len: usize) -> &[T] {
    elements.get(at..).and_then(|rest| rest.get(..len)).unwrap_or(&[])
}

/// [`part`] to be written.
#[inline(always)]
pub(crate) fn part_mut<T>(elements: &mut [T], at: usize, len: usize) -> &mut [T] {
    elements.get_mut(at..).and_then(|rest| rest.get_mut(..len)).unwrap_or(&mut [])
}

/// The elements from `at` on.
#[inline(always)]
pub(crate) fn rest<T>(elements: &[T], at: usize) -> &[T] {
    elements.get(at..).unwrap_or(&[])
}

/// Pixels of so many channels, dense or with the gaps that follow them.
#[inline(always)]
pub(crate) fn pixels<T>(row: &[T], channels: usize) -> core::slice::Chunks<'_, T> {
    row.chunks(channels.max(1))
}

/// [`pixels`] to be written.
#[inline(always)]
pub(crate) fn pixels_mut<T>(row: &mut [T], channels: usize) -> core::slice::ChunksMut<'_, T> {
    row.chunks_mut(channels.max(1))
}

/// Bytes that are aligned as what they hold, and hold nothing else.
#[inline(always)]
pub(crate) fn cast<F: bytemuck::NoUninit, T: AnyBitPattern>(bytes: &[F]) -> &[T] {
    bytemuck::try_cast_slice(bytes).unwrap_or(&[])
}

/// [`cast`] to be written.
#[inline(always)]
pub(crate) fn cast_mut<F, T>(bytes: &mut [F]) -> &mut [T]
where
    F: bytemuck::NoUninit + AnyBitPattern,
    T: bytemuck::NoUninit + AnyBitPattern,
{
    bytemuck::try_cast_slice_mut(bytes).unwrap_or(&mut [])
}

/// A record by its index.
#[inline(always)]
pub(crate) fn record<'r, T>(records: &'r [T], index: usize, none: &'r T) -> &'r T {
    records.get(index).unwrap_or(none)
}
