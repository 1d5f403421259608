//! What the codes in records mean.

/// The type of an input's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Element {
    /// float32.
    Float32 = 0,
    /// uint8.
    Uint8 = 1,
    /// int8.
    Int8 = 2,
}

impl Element {
    /// The type of a code, if there is one.
    pub fn from_code(code: u8) -> Option<Self> {
        [Self::Float32, Self::Uint8, Self::Int8].get(usize::from(code)).copied()
    }
}

/// What an output is of the scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Ending {
    /// They themselves.
    Scores = 0,
    /// Their softmax.
    Softmax = 1,
    /// The logarithm of their softmax.
    LogSoftmax = 2,
}

impl Ending {
    /// The ending of a code, if there is one.
    pub fn from_code(code: u8) -> Option<Self> {
        [Self::Scores, Self::Softmax, Self::LogSoftmax].get(usize::from(code)).copied()
    }
}

/// What a node computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum OpCode {
    /// Convolution, with an optional affine of its input and an optional residual addition in its last step; a linear
    /// layer is one whose kernel is the map.
    Conv = 0,
    /// Sum of two maps, each with its own multiplier.
    Add = 1,
    /// Mean of each channel; makes its one row when the last input row has been added up.
    GlobalAveragePool = 2,
    /// Part of a map, every `stride`-th row and pixel of it, runs of its channels, inside padding: slices, crops, padding,
    /// the parameter-free shortcut (option A).
    Copy = 3,
    /// A multiplier and a constant for each channel: batch norm that no convolution can take.
    Affine = 4,
    /// The largest element of a window.
    MaxPool = 5,
    /// The mean of a window.
    AveragePool = 6,
    /// A function of one value, as a table.
    Lookup = 7,
    /// Product of a mask, plus a constant, with a trunk. The mask is a map or one pixel.
    Gate = 8,
    /// Bilinear or nearest interpolation.
    Resize = 9,
    /// The channels of two maps, one after the other.
    Concat = 10,
    /// Each pixel's channels, divided by their Euclidean norm.
    L2Norm = 11,
    /// Each channel's map, brought to mean 0 and variance 1.
    InstanceNorm = 12,
    /// A weighted sum of the rows and pixels around each position: cubic and antialiased interpolation.
    Resample = 13,
    /// The maps of each group of channels together, brought to mean 0 and variance 1.
    GroupNorm = 14,
    /// Channels as blocks of pixels, or blocks of pixels as channels.
    Blocks = 15,
}

impl OpCode {
    /// Every operator, in order of their codes.
    pub const ALL: [Self; 16] = [
        Self::Conv,
        Self::Add,
        Self::GlobalAveragePool,
        Self::Copy,
        Self::Affine,
        Self::MaxPool,
        Self::AveragePool,
        Self::Lookup,
        Self::Gate,
        Self::Resize,
        Self::Concat,
        Self::L2Norm,
        Self::InstanceNorm,
        Self::Resample,
        Self::GroupNorm,
        Self::Blocks,
    ];

    /// The operator of a code, if there is one.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// Its name, for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Conv => "convolution",
            Self::Add => "sum",
            Self::GlobalAveragePool => "global average pool",
            Self::Copy => "copy",
            Self::Affine => "affine",
            Self::MaxPool => "max pool",
            Self::AveragePool => "average pool",
            Self::Lookup => "lookup",
            Self::Gate => "gate",
            Self::Resize => "resize",
            Self::Concat => "concatenation",
            Self::L2Norm => "L2 norm",
            Self::InstanceNorm => "instance norm",
            Self::Resample => "resampling",
            Self::GroupNorm => "group norm",
            Self::Blocks => "blocks of pixels",
        }
    }
}

/// Where a resize reads, on an axis of `size` pixels of which it makes `out`. Positions before the first or after the
/// last pixel have its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ResizeMode {
    /// `i * (size - 1) / (out - 1)`; 0 if `out` is 1.
    AlignCorners = 0,
    /// `(i + 1/2) * size / out - 1/2`.
    HalfPixel = 1,
    /// `i * size / out`.
    Asymmetric = 2,
    /// `floor(i * size / out)`.
    Nearest = 3,
}

impl ResizeMode {
    /// The mode of a code, if there is one.
    pub fn from_code(code: u8) -> Option<Self> {
        [Self::AlignCorners, Self::HalfPixel, Self::Asymmetric, Self::Nearest].get(usize::from(code)).copied()
    }
}

/// What the padding of a copy holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum PadMode {
    /// The zero point.
    Zero = 0,
    /// The nearest row or pixel of what is copied.
    Edge = 1,
    /// What is copied, mirrored at its first and last row or pixel, which do not come twice.
    Reflect = 2,
    /// What is copied, from its other end on.
    Wrap = 3,
}

impl PadMode {
    /// The mode of a code, if there is one.
    pub fn from_code(code: u8) -> Option<Self> {
        [Self::Zero, Self::Edge, Self::Reflect, Self::Wrap].get(usize::from(code)).copied()
    }
}

/// The core that a packed model is laid out for. Any program may load the file: it runs the model if it has kernels for
/// every layout in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Core {
    /// Every core: weights that all programs read.
    Generic = 0,
    /// Cortex-M0, M0+ and M23.
    CortexM0 = 1,
    /// Cortex-M3, and M33 without the DSP extension.
    CortexM3 = 2,
    /// Cortex-M4.
    CortexM4 = 3,
    /// Cortex-M7.
    CortexM7 = 4,
    /// Cortex-M33 with the DSP extension.
    CortexM33 = 5,
    /// Cortex-M55 with Helium.
    CortexM55 = 6,
    /// aarch64 with NEON: Cortex-A53, A72.
    Neon = 7,
    /// aarch64 with dot products: Cortex-A76.
    Dotprod = 8,
    /// x86-64.
    X86 = 9,
}

impl Core {
    /// All cores, in the order of their codes.
    pub const ALL: [Self; 10] = [
        Self::Generic,
        Self::CortexM0,
        Self::CortexM3,
        Self::CortexM4,
        Self::CortexM7,
        Self::CortexM33,
        Self::CortexM55,
        Self::Neon,
        Self::Dotprod,
        Self::X86,
    ];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Generic => "generic",
            Self::CortexM0 => "cortex-m0",
            Self::CortexM3 => "cortex-m3",
            Self::CortexM4 => "cortex-m4",
            Self::CortexM7 => "cortex-m7",
            Self::CortexM33 => "cortex-m33",
            Self::CortexM55 => "cortex-m55",
            Self::Neon => "neon",
            Self::Dotprod => "dotprod",
            Self::X86 => "x86",
        }
    }

    /// The core of a code, if there is one.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }
}
