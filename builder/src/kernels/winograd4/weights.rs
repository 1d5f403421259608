//! Transformed kernels.

use super::transform::{Kernel, both};
use super::{PATCH, POSITIONS};
use crate::kernels::tiles::{self, BLOCK};
use crate::kernels::x86::bf16::Bf16;
use crate::kernels::{AlignedBuffer, BlockKernel, dispatch};
use pulp::Simd;
use rayon::prelude::*;

/// Weights of a kernel.
pub(super) const TAPS: usize = 9;

/// Transformed kernels, `G g G'`.
pub(crate) struct Weights {
    /// Channels of the operand.
    pub(super) channels: usize,
    pub(super) outputs: usize,
    pub(super) elements: Elements,
}

/// Elements of transformed kernels.
pub(super) enum Elements {
    /// `[block][position][channel][BLOCK]`.
    Single(AlignedBuffer),
    /// `[block][position][pair of channels][BLOCK]`.
    Pairs(Bf16, Vec<u32>),
}

impl Weights {
    /// Transforms kernels in the order OIHW, of which there are `outputs` times `channels`.
    pub(crate) fn new(kernels: &[f32], channels: usize, outputs: usize, bf16: Option<Bf16>) -> Self {
        Self::with_strides(kernels, channels, outputs, [channels * TAPS, TAPS], false).rounded(bf16)
    }

    /// Transforms the kernels of the data's gradient: each turned by half a turn, inputs and outputs exchanged.
    pub(crate) fn turned(kernels: &[f32], channels: usize, outputs: usize, bf16: Option<Bf16>) -> Self {
        Self::with_strides(kernels, outputs, channels, [TAPS, channels * TAPS], true).rounded(bf16)
    }

    /// `strides` are the distances between the kernels of neighbouring outputs and of neighbouring channels.
    fn with_strides(kernels: &[f32], channels: usize, outputs: usize, strides: [usize; 2], turned: bool) -> Self {
        let len = POSITIONS * channels * BLOCK;
        let mut elements = AlignedBuffer::zeros(outputs.div_ceil(BLOCK) * len);
        elements.as_mut_slice().par_chunks_mut(len).enumerate().for_each(|(block, out)| {
            let count = BLOCK.min(outputs - block * BLOCK);
            let kernels = &kernels[block * BLOCK * strides[0]..];
            dispatch(TransformKernels { kernels, channels, count, strides, turned, out });
        });
        Self { channels, outputs, elements: Elements::Single(elements) }
    }

    /// Rounds to bfloat16, if that is asked for.
    fn rounded(self, bf16: Option<Bf16>) -> Self {
        let (Some(bf16), Elements::Single(single)) = (bf16, &self.elements) else { return self };
        let [from, to] = [self.channels, self.channels.div_ceil(2)].map(|rows| rows * BLOCK);
        let mut pairs = vec![0; single.as_slice().len() / from * to];
        let rows = single.as_slice().par_chunks(from).zip(pairs.par_chunks_mut(to));
        rows.for_each(|(from, to)| bf16.pair_rows(from, to));
        Self { elements: Elements::Pairs(bf16, pairs), ..self }
    }
}

/// Transforms the kernels of a block of outputs.
struct TransformKernels<'a> {
    kernels: &'a [f32],
    channels: usize,
    /// Outputs of the block.
    count: usize,
    strides: [usize; 2],
    turned: bool,
    /// `[position][channel][BLOCK]`.
    out: &'a mut [f32],
}

impl BlockKernel for TransformKernels<'_> {
    #[expect(clippy::needless_range_loop, reason = "the index is that of an inner dimension")]
    #[inline(always)]
    fn run<S: Simd, const V: usize>(self, simd: S) {
        let out = tiles::blocks_mut::<S, V>(self.out);
        let mut gathered = [[0.0; BLOCK]; TAPS];
        for channel in 0..self.channels {
            for lane in 0..self.count {
                let kernel = &self.kernels[lane * self.strides[0] + channel * self.strides[1]..][..TAPS];
                for tap in 0..TAPS {
                    gathered[if self.turned { TAPS - 1 - tap } else { tap }][lane] = kernel[tap];
                }
            }
            for v in 0..V {
                let mut taps = [[simd.splat_f32s(0.0); 3]; 3];
                for (to, from) in taps.as_flattened_mut().iter_mut().zip(&gathered) {
                    *to = tiles::load(simd, &from[v * S::F32_LANES..][..S::F32_LANES]);
                }
                let done = both::<Kernel, S, 3, PATCH>(simd, &taps);
                for (position, value) in done.as_flattened().iter().enumerate() {
                    out[position * self.channels + channel][v] = *value;
                }
            }
        }
    }
}
