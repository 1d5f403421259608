//! Inner loops of float convolution that training and evaluation share, vectorized over channels by crate pulp.

pub(crate) mod tiles;
pub(crate) mod winograd;

use pulp::{Arch, Simd, WithSimd};
use std::cell::RefCell;

/// A kernel that computes blocks of [`tiles::BLOCK`] channels.
pub(crate) trait BlockKernel {
    /// Runs with vectors of which a block takes `V`. To be inlined: so it is compiled for the vectors.
    fn run<S: Simd, const V: usize>(self, simd: S);
}

/// A kernel as crate pulp takes it.
pub(crate) struct InVectors<K>(pub(crate) K);

impl<K: BlockKernel> WithSimd for InVectors<K> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match S::F32_LANES {
            16 => self.0.run::<S, 1>(simd),
            8 => self.0.run::<S, 2>(simd),
            4 => self.0.run::<S, 4>(simd),
            _ => self.0.run::<S, 16>(simd),
        }
    }
}

/// Runs a kernel with the widest vectors that the processor has.
pub(crate) fn dispatch(kernel: impl BlockKernel) {
    Arch::new().dispatch(InVectors(kernel));
}

/// Calls `work` with a buffer of `len` elements with arbitrary contents that belongs to the thread.
pub(crate) fn with_scratch<R>(len: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
    thread_local! { static FREE: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) } }
    let mut buffer = FREE.with_borrow_mut(Vec::pop).unwrap_or_default();
    if buffer.len() < len {
        buffer.resize(len, 0.0);
    }
    let result = work(&mut buffer[..len]);
    FREE.with_borrow_mut(|free| free.push(buffer));
    result
}
