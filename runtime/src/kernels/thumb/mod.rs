//! Cortex-M cores by their plain instructions, over canonical weights: all that cores without the DSP extension have, and
//! what the others run where weights are canonical.
//!
//! The assembly makes sums, the rest is safe code. What it reads it reads in segments: the elements that neighbour each
//! other in weights and in a padded row, a kernel row without groups, the group's channels of one pixel with groups.

#[cfg(skipstone_armv6m)]
mod armv6m;
#[cfg(not(skipstone_armv6m))]
mod armv7m;
#[cfg(not(skipstone_armv6m))]
mod winograd;

#[cfg(skipstone_armv6m)]
use armv6m as core_kernel;
#[cfg(not(skipstone_armv6m))]
use armv7m as core_kernel;

use super::conv::ConvRow;
#[cfg(not(skipstone_armv6m))]
use super::conv::ConvShape;
use super::{Backend, ConvKernel};

/// Every convolution of canonical weights, and minimal filtering on Armv7-M.
pub static BACKEND: Backend = Backend {
    name: "thumb",
    available: || true,
    kernels: &[
        #[cfg(not(skipstone_armv6m))]
        WINOGRAD,
        CONV,
    ],
};

/// [`CONV_2X4_WINOGRAD_ARMV7M`](super::spec::CONV_2X4_WINOGRAD_ARMV7M).
#[cfg(not(skipstone_armv6m))]
pub const WINOGRAD: ConvKernel = winograd::CONV;

/// The kernel of this core: [`CONV_1X4_ARMV6M`](super::spec::CONV_1X4_ARMV6M) or
/// [`CONV_2X3_ARMV7M`](super::spec::CONV_2X3_ARMV7M).
pub const CONV: ConvKernel = core_kernel::CONV;

/// Where the assembly walks, in bytes.
#[derive(Clone, Copy)]
#[repr(C)]
struct Walk {
    /// Elements of a segment; not 0.
    segment: u32,
    /// From the end of a segment of pixels to the next segment in the same row.
    segment_gap: u32,
    /// Weights of a channel in a kernel row.
    weights_row: u32,
    /// From where the next segment of a row would start, had it one more, to the first one of the next row.
    row_gap: u32,
    /// Weights of a channel.
    weights_len: u32,
}

impl Walk {
    /// The walk of an output channel; `None` if it has no weights.
    fn new(row: &ConvRow<'_, i8>) -> Option<Self> {
        let shape = row.shape;
        let group_in = shape.group_in();
        // Segments of different pixels are neighbours if there is one group.
        let (segment, advance) =
            if shape.groups == 1 { (shape.run(), shape.run()) } else { (group_in, shape.channels_in) };
        let weights_row = shape.kernel_w * group_in;
        let walked = weights_row.checked_div(segment)? * advance;
        (shape.kernel_h > 0 && weights_row > 0).then_some(Self {
            segment: segment as u32,
            segment_gap: (advance - segment) as u32,
            weights_row: weights_row as u32,
            // Of any value where the kernel has one row: what it leads to is not read.
            row_gap: row.row_len.wrapping_sub(walked) as u32,
            weights_len: (shape.kernel_h * weights_row) as u32,
        })
    }

    /// The walk of an output channel that reads one input channel: a segment is a kernel row, its elements of pixels are
    /// `channels_in` apart.
    #[cfg(not(skipstone_armv6m))]
    fn of_columns(row: &ConvRow<'_, i8>) -> Option<Self> {
        let ConvShape { kernel_h, kernel_w, channels_in, .. } = row.shape;
        (kernel_h > 0 && kernel_w > 0).then_some(Self {
            segment: kernel_w as u32,
            segment_gap: 0,
            weights_row: kernel_w as u32,
            row_gap: row.row_len.wrapping_sub(kernel_w * channels_in) as u32,
            weights_len: (kernel_h * kernel_w) as u32,
        })
    }
}
