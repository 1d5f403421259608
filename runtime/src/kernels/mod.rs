//! Kernels: what makes one output row out of padded input rows.
//!
//! [`BACKENDS`] is the one list of them; selection, tests and benchmarks read it. A kernel's name says the operator,
//! its tile (output channels x pixels) and the instruction set. Every kernel equals [`reference`](mod@reference) bit for bit.
//!
//! To add one: a folder or file here, a [`Backend`] in the list, before the ones that are slower.

use crate::arith::Requant;
use crate::format::records::WeightKind;

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
#[cfg(skipstone_dsp)]
pub mod cortex_m;
pub mod elementwise;
#[cfg(target_arch = "aarch64")]
pub mod neon;
pub mod pad;
pub mod portable;
pub mod reference;
#[cfg(all(target_arch = "x86_64", feature = "std"))]
pub mod x86;

/// What a padded row consists of: `i8` for canonical weights, `i16` for those that are multiplied in pairs.
pub trait Element: Copy + Into<i32> + sealed::Sealed {
    /// The layout of weights that goes with it.
    const KIND: WeightKind;
    /// Kernels may read this many elements at once, so beyond the end of a run.
    const VECTOR: usize;
}

impl Element for i8 {
    const KIND: WeightKind = WeightKind::Canonical;
    const VECTOR: usize = 16;
}

impl Element for i16 {
    const KIND: WeightKind = WeightKind::Pairs;
    const VECTOR: usize = 4;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for i8 {}
    impl Sealed for i16 {}
}

/// One output row of a convolution, ready to be computed.
///
/// `out[x][o] = requant[o](sum over ky, i of rows[ky][x * pixel_step + i] * weights[o][ky][i])`, `i` in `0..run`, for
/// one group; with more groups see [`reference`](mod@reference). Padding is in the rows already, zero points are in the [`Requant`]s.
pub struct ConvRow<'a, T> {
    /// [`kernel_h`](Self::kernel_h) padded input rows, the first one first; 16-byte aligned when the engine makes it.
    pub rows: &'a [T],
    /// Elements from a row to the next, [`geometry::padded_row_len`](crate::geometry::padded_row_len).
    pub row_len: usize,
    /// Kernel height.
    pub kernel_h: usize,
    /// Kernel width.
    pub kernel_w: usize,
    /// Horizontal stride, in pixels.
    pub stride_w: usize,
    /// Channels of an input pixel, all groups together.
    pub channels_in: usize,
    /// Groups; 1 where `T` is `i16`.
    pub groups: usize,
    /// Weights, laid out as [`WeightKind`] says for `T`.
    pub weights: &'a [i8],
    /// How accumulators become outputs: one for each output channel.
    pub requant: &'a [Requant],
    /// Multiplier of the residual operand, which lies in `out` when the kernel starts.
    pub residual: Option<i32>,
    /// Smallest output.
    pub lo: i8,
    /// Largest output.
    pub hi: i8,
    /// The row to make, `[width][channels]`, dense.
    pub out: &'a mut [i8],
}

impl<T: Element> ConvRow<'_, T> {
    /// Elements of one input row that one output pixel reads: contiguous where there is one group.
    #[inline(always)]
    pub fn run(&self) -> usize {
        self.kernel_w * self.channels_in
    }

    /// Elements from the run of an output pixel to that of the next.
    #[inline(always)]
    pub fn pixel_step(&self) -> usize {
        self.stride_w * self.channels_in
    }

    /// Channels of an output pixel.
    #[inline(always)]
    pub fn channels_out(&self) -> usize {
        self.requant.len()
    }

    /// Pixels of the output row.
    #[inline(always)]
    pub fn width_out(&self) -> usize {
        self.out.len().checked_div(self.requant.len()).unwrap_or(0)
    }

    /// Whether all that a kernel may read and write lies inside the slices, so that unsafe code may rely on it: each
    /// run rounded up to [`Element::VECTOR`] elements in each of `kernel_h` rows, the weights of all output channels,
    /// `width_out * channels_out` outputs. Rows of the engine are always in bounds: the check of a model proves it.
    pub fn in_bounds(&self) -> bool {
        self.check_bounds().is_some()
    }

    fn check_bounds(&self) -> Option<()> {
        let (width, channels) = (self.width_out(), self.channels_out());
        let run = self.kernel_w.checked_mul(self.channels_in)?;
        let last_pixel = width.checked_sub(1)?.checked_mul(self.stride_w.checked_mul(self.channels_in)?)?;
        let last_row = self.kernel_h.checked_sub(1)?.checked_mul(self.row_len)?;
        let rows_end = last_row.checked_add(last_pixel)?.checked_add(run.checked_next_multiple_of(T::VECTOR)?)?;
        let grouped = self.groups > 0
            && self.channels_in.is_multiple_of(self.groups)
            && channels.is_multiple_of(self.groups)
            && (self.groups == 1 || T::KIND == WeightKind::Canonical);
        let weight_run = match T::KIND {
            WeightKind::Canonical => self.kernel_w.checked_mul(self.channels_in.checked_div(self.groups)?)?,
            WeightKind::Pairs => run.checked_next_multiple_of(4)?,
        };
        let weights = weight_run.checked_mul(self.kernel_h)?.checked_mul(channels)?;
        let paired = T::KIND != WeightKind::Pairs || channels.is_multiple_of(2);
        let fits = rows_end <= self.rows.len() && weights <= self.weights.len() && width * channels == self.out.len();
        (fits && grouped && paired).then_some(())
    }
}

/// A convolution kernel.
pub struct ConvKernel<T: 'static> {
    /// Operator, tile and instruction set: `conv_4x2_portable`.
    pub name: &'static str,
    /// Computes the row.
    pub run: fn(&mut ConvRow<'_, T>),
}

/// The kernels of one instruction set.
pub struct Backend {
    /// The instruction set.
    pub name: &'static str,
    /// Whether this processor has it.
    pub available: fn() -> bool,
    /// Convolution by canonical weights.
    pub canonical: ConvKernel<i8>,
    /// Convolution by weights in pairs, if the backend reads them.
    pub pairs: Option<ConvKernel<i16>>,
    /// Widens the elements of the first slice into the second, which is as long.
    pub widen: fn(&[i8], &mut [i16]),
}

impl Backend {
    /// Whether it has a kernel for weights of this kind.
    pub fn reads(&self, kind: WeightKind) -> bool {
        match kind {
            WeightKind::Canonical => true,
            WeightKind::Pairs => self.pairs.is_some(),
        }
    }
}

/// Every backend that this program was compiled with, the fastest first.
pub static BACKENDS: &[&Backend] = &[
    #[cfg(skipstone_dsp)]
    &cortex_m::BACKEND,
    #[cfg(target_arch = "aarch64")]
    &neon::BACKEND,
    #[cfg(all(target_arch = "x86_64", feature = "std"))]
    &x86::BACKEND,
    &portable::BACKEND,
    &reference::BACKEND,
];

/// The fastest backend that this processor has.
pub fn best() -> &'static Backend {
    BACKENDS.iter().copied().find(|backend| (backend.available)()).unwrap_or(&portable::BACKEND)
}
