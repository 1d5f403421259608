//! The shape of a convolution, as kernels and weight layouts see it.

/// Most output rows that one call of a kernel makes.
pub const MAX_ROWS: usize = 8;

/// The shape of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvShape {
    /// Kernel height.
    pub kernel_h: usize,
    /// Kernel width.
    pub kernel_w: usize,
    /// Vertical stride, in rows.
    pub stride_h: usize,
    /// Horizontal stride, in pixels.
    pub stride_w: usize,
    /// Channels of an input pixel, all groups together.
    pub channels_in: usize,
    /// Channels of an output pixel.
    pub channels_out: usize,
    /// Groups.
    pub groups: usize,
    /// Pixels of an output row.
    pub width: usize,
}

impl ConvShape {
    /// Input channels of one group.
    #[inline(always)]
    pub fn group_in(&self) -> usize {
        self.channels_in.checked_div(self.groups).unwrap_or(0)
    }

    /// Elements of one input row that one output pixel reads: contiguous where there is one group.
    #[inline(always)]
    pub fn run(&self) -> usize {
        self.kernel_w * self.channels_in
    }

    /// Padded input rows that `rows` output rows read.
    #[inline(always)]
    pub fn span(&self, rows: usize) -> usize {
        rows.saturating_sub(1) * self.stride_h + self.kernel_h
    }

    /// Whether the convolution reads padded input row `row`: rows between kernels that lie apart are not.
    #[inline(always)]
    pub fn reads_row(&self, row: usize) -> bool {
        self.stride_h <= self.kernel_h || row % self.stride_h < self.kernel_h
    }

    /// Multiply-accumulates of an output pixel.
    pub fn macs(&self) -> usize {
        self.kernel_h * self.kernel_w * self.group_in() * self.channels_out
    }
}
