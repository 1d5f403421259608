//! The float kernels of training and of sessions: inner loops vectorized by crate pulp, for the widest vectors that the
//! processor has.
//!
//! Convolution: `direct` (sessions), `correlate` and `grouped` (training: forward and both gradients), `winograd`
//! (both). The rest: `channels` (values that belong to channels) and `images` (loops over a batch, and what is
//! elementwise).

pub(crate) mod channels;
pub(crate) mod correlate;
pub(crate) mod direct;
pub(crate) mod grouped;
pub(crate) mod images;
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

/// Calls `work` compiled for the widest vectors that the processor has.
pub(crate) fn vectorize(work: impl FnOnce()) {
    Arch::new().dispatch(work);
}

/// Defines a function without result whose loops are compiled for the widest vectors that the processor has. References
/// among its arguments have the lifetime `'a`.
macro_rules! vectorized {
    ($(#[$doc:meta])* $visibility:vis fn $name:ident$(<const $size:ident: usize>)?(
        $($argument:tt: $kind:ty),* $(,)?
    ) $body:block) => {
        $(#[$doc])*
        $visibility fn $name<'a $(, const $size: usize)?>($($argument: $kind),*) {
            struct Work<'a $(, const $size: usize)?>(($($kind,)*), std::marker::PhantomData<&'a ()>);
            impl<'a $(, const $size: usize)?> pulp::WithSimd for Work<'a $(, $size)?> {
                type Output = ();

                #[inline(always)]
                fn with_simd<S: pulp::Simd>(self, _: S) {
                    let ($($argument,)*) = self.0;
                    $body
                }
            }
            pulp::Arch::new().dispatch(Work::<$($size)?>(($($argument,)*), std::marker::PhantomData));
        }
    };
}
pub(crate) use vectorized;

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
