//! Transformed kernels.

use super::transform::{Kernel, both};
use super::{PATCH, POSITIONS};
use crate::kernels::tiles::{self, BLOCK};
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
    /// `[block][position][channel][BLOCK]`.
    pub(super) elements: AlignedBuffer,
}

impl Weights {
    /// Transforms kernels in the order OIHW, of which there are `outputs` times `channels`.
    pub(crate) fn new(kernels: &[f32], channels: usize, outputs: usize) -> Self {
        Self::with_strides(kernels, channels, outputs, [channels * TAPS, TAPS], false)
    }

    /// Transforms the kernels of the data's gradient: each turned by half a turn, inputs and outputs exchanged.
    pub(crate) fn turned(kernels: &[f32], channels: usize, outputs: usize) -> Self {
        Self::with_strides(kernels, outputs, channels, [TAPS, channels * TAPS], true)
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
        Self { channels, outputs, elements }
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
