//! What convolution kernels are given: rows that are proved to lie inside their slices.

use super::layout::Layout;
pub use super::shape::{ConvShape, MAX_ROWS};
use crate::arith::Requant;

/// An int8 value and 128, for instructions that multiply unsigned bytes by signed ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(transparent)]
pub struct Uint8(u8);

impl From<i8> for Uint8 {
    #[inline(always)]
    fn from(value: i8) -> Self {
        Self(value as u8 ^ 0x80)
    }
}

impl From<Uint8> for i32 {
    #[inline(always)]
    fn from(value: Uint8) -> Self {
        Self::from(value.0) - 128
    }
}

/// What a padded row consists of: `i8`, [`Uint8`], or `i16` for kernels that multiply 16-bit numbers in pairs.
pub trait Element: Copy + Into<i32> + From<i8> + bytemuck::Pod + sealed::Sealed {
    /// The elements themselves, if they are int8.
    fn as_int8(_: &mut [Self]) -> Option<&mut [i8]> {
        None
    }
}

impl Element for i8 {
    fn as_int8(elements: &mut [Self]) -> Option<&mut [i8]> {
        Some(elements)
    }
}
impl Element for Uint8 {}
impl Element for i16 {}

mod sealed {
    pub trait Sealed {}
    impl Sealed for i8 {}
    impl Sealed for super::Uint8 {}
    impl Sealed for i16 {}
}

/// Everything about the output rows of one call, before it is proved to fit.
pub struct ConvParts<'a, T> {
    /// Padded input rows, the first one first; 16-byte aligned when the engine makes them.
    pub rows: &'a [T],
    /// Elements from a row to the next, [`Layout::row_len`].
    pub row_len: usize,
    /// The convolution.
    pub shape: ConvShape,
    /// How the weights lie.
    pub layout: &'static Layout,
    /// The weights.
    pub weights: &'a [i8],
    /// [`Layout::scratch`] bytes or more to work in, 16-byte aligned; their contents are of no meaning.
    pub scratch: &'a mut [i8],
    /// How accumulators become outputs: one for each output channel.
    pub requant: &'a [Requant],
    /// Multiplier of the residual operand, which lies in `out` when the kernel starts.
    pub residual: Option<i32>,
    /// Smallest output.
    pub lo: i8,
    /// Largest output.
    pub hi: i8,
    /// The rows to make, `[width][channels]`, dense and of one length; the first `count` of them.
    pub out: [&'a mut [i8]; MAX_ROWS],
    /// How many rows to make.
    pub count: usize,
}

/// Output rows of a convolution, ready to be computed.
///
/// `out[y][x][o] = requant[o](sum over ky, i of rows[y * stride_h + ky][x * pixel_step + i] * weights[o][ky][i])`, `i`
/// in `0..run`, for one group; with more groups see [`reference`](mod@super::reference). Padding is in the rows
/// already, zero points are in the [`Requant`]s.
///
/// That one exists proves what unsafe code relies on: the input rows have [`Layout::reads`] elements each; weights and
/// scratch have the layout's length; there are `width * channels_out` outputs in each row.
pub struct ConvRows<'a, T> {
    parts: ConvParts<'a, T>,
}

impl<'a, T: Element> ConvRows<'a, T> {
    /// Proves that everything lies inside the slices; `None` if it does not. Of the engine's rows it always does: the
    /// check of a model has shown it.
    #[inline]
    pub fn new(parts: ConvParts<'a, T>) -> Option<Self> {
        let ConvParts { shape, layout, .. } = &parts;
        let channels = shape.channels_out;
        let outputs = parts.out.first()?.len();
        let width = outputs.checked_div(channels)?;
        let span = parts.count.checked_sub(1)?.checked_mul(shape.stride_h)?.checked_add(shape.kernel_h)?;
        let last_row = span.checked_sub(1)?.checked_mul(parts.row_len)?;
        let reads = (layout.reads)(shape)?;
        let rows_end = last_row.checked_add(reads)?;
        let made = parts.out.get(..parts.count)?;
        let fits = rows_end <= parts.rows.len()
            && reads <= parts.row_len
            && parts.scratch.len() >= (layout.scratch)(shape)
            && shape.kernel_h > 0
            && (layout.suits)(shape)
            && parts.weights.len() == (layout.len)(shape)?
            && parts.requant.len() == channels
            && width == shape.width
            && width * channels == outputs
            && made.iter().all(|row| row.len() == outputs);
        fits.then_some(Self { parts })
    }

    /// What kernels that make several rows at once work on.
    #[inline(always)]
    pub(super) fn parts(&mut self) -> &mut ConvParts<'a, T> {
        &mut self.parts
    }

    /// Hands out the rows one by one, for kernels that make one row at a time.
    #[inline(always)]
    pub fn each(&mut self, mut run: impl FnMut(&mut ConvRow<'_, T>)) {
        let ConvParts { rows, row_len, shape, weights, requant, residual, lo, hi, ref mut out, count, .. } = self.parts;
        for (y, out) in out.iter_mut().take(count).enumerate() {
            let rows = rows.get(y * shape.stride_h * row_len..).unwrap_or(&[]);
            run(&mut ConvRow { rows, row_len, shape, weights, requant, residual, lo, hi, out });
        }
    }
}

/// One of [`ConvRows`], with the same promise. `rows` begins with the first input row of this output row.
pub struct ConvRow<'a, T> {
    pub(super) rows: &'a [T],
    pub(super) row_len: usize,
    pub(super) shape: ConvShape,
    pub(super) weights: &'a [i8],
    pub(super) requant: &'a [Requant],
    pub(super) residual: Option<i32>,
    pub(super) lo: i8,
    pub(super) hi: i8,
    pub(super) out: &'a mut [i8],
}

impl<T> ConvRow<'_, T> {
    /// Elements of one input row that one output pixel reads.
    #[inline(always)]
    pub(super) fn run(&self) -> usize {
        self.shape.run()
    }

    /// Elements from the run of an output pixel to that of the next.
    #[inline(always)]
    pub(super) fn pixel_step(&self) -> usize {
        self.shape.stride_w * self.shape.channels_in
    }

    /// Channels of an output pixel.
    #[inline(always)]
    pub(super) fn channels_out(&self) -> usize {
        self.requant.len()
    }

    /// Pixels of the output row.
    #[inline(always)]
    pub(super) fn width_out(&self) -> usize {
        self.out.len().checked_div(self.requant.len()).unwrap_or(0)
    }

    /// Turns the accumulators of neighbouring output channels into the outputs that start at `at`.
    #[inline(always)]
    pub(super) fn finish<const C: usize>(&mut self, at: usize, sums: [i32; C], requant: &[Requant]) {
        let (residual, lo, hi) = (self.residual, self.lo, self.hi);
        let outputs = self.out.get_mut(at..).unwrap_or(&mut []);
        for ((out, acc), requant) in outputs.iter_mut().zip(sums).zip(requant) {
            *out = match residual {
                None => requant.apply(acc, lo, hi),
                Some(multiplier) => requant.apply_residual(acc, *out, multiplier, lo, hi),
            };
        }
    }
}

/// Clamps outputs that are int8 already, for kernels that convert to the whole range.
#[cfg(skipstone_dsp)]
pub(super) fn clamp(out: &mut [i8], lo: i8, hi: i8) {
    if (lo, hi) != (i8::MIN, i8::MAX) {
        for value in out {
            *value = (*value).max(lo).min(hi);
        }
    }
}
