//! The float kernels of training and of sessions: inner loops vectorized by crate pulp, for the widest vectors that the
//! processor has.
//!
//! Convolution: `direct`, `lanes` and `winograd` (sessions), `correlate`, `pointwise`, `grouped` and `winograd4`
//! (training: forward and both gradients), all but `grouped` also in bfloat16, by `rounded` and `x86`. The rest: `channels` (values
//! that belong to channels), `images` (loops over a batch, and what is elementwise) and `logistic` (sigmoids of
//! sessions).

pub(crate) mod channels;
pub(crate) mod correlate;
pub(crate) mod direct;
pub(crate) mod grouped;
pub(crate) mod images;
pub(crate) mod lanes;
pub(crate) mod logistic;
pub(crate) mod pointwise;
pub(crate) mod rounded;
pub(crate) mod tiles;
pub(crate) mod winograd;
pub(crate) mod winograd4;
#[allow(unsafe_code)]
pub(crate) mod x86;

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

/// Bytes of a cache line, and of the widest vectors.
const LINE: usize = 64;

/// Elements that begin with a cache line: a vector that crosses two takes twice the time.
#[derive(Default)]
pub(crate) struct AlignedBuffer {
    elements: Vec<f32>,
    start: usize,
    len: usize,
}

impl AlignedBuffer {
    /// A buffer of zeros.
    pub(crate) fn zeros(len: usize) -> Self {
        let elements = vec![0.0f32; len + LINE / size_of::<f32>()];
        // Where the system does not say, the start is as good as any other place.
        let start = elements.as_ptr().align_offset(LINE).min(LINE / size_of::<f32>());
        Self { elements, start, len }
    }

    pub(crate) fn as_slice(&self) -> &[f32] {
        &self.elements[self.start..][..self.len]
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [f32] {
        &mut self.elements[self.start..][..self.len]
    }
}

/// Calls `work` with a buffer of `len` elements with arbitrary contents that belongs to the thread and begins with a
/// cache line.
pub(crate) fn with_scratch<R>(len: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
    thread_local! { static FREE: RefCell<Vec<AlignedBuffer>> = const { RefCell::new(Vec::new()) } }
    let mut buffer = FREE.with_borrow_mut(Vec::pop).unwrap_or_default();
    if buffer.len < len {
        buffer = AlignedBuffer::zeros(len);
    }
    let result = work(&mut buffer.as_mut_slice()[..len]);
    FREE.with_borrow_mut(|free| free.push(buffer));
    result
}

/// Numbers of both signs that follow no simple pattern.
#[cfg(test)]
fn noise(len: usize, seed: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * 7919 + i / 1999 * 31 + seed * 104_729) % 2003) as f32 / 1001.0 - 1.0).collect()
}
