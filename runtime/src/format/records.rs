//! The records of a packed model: one definition of their layout for reader and writer.
//!
//! Every multi-byte field is little endian, as all targets are, and a file is aligned in memory, so that records are read
//! where they lie. What their fields say is `check`'s to judge.

pub use super::codes::{Core, Element, Ending, OpCode, PadMode, ResizeMode};

/// First bytes of every packed model.
pub const MAGIC: [u8; 8] = *b"SKIPSTON";
/// Version of the layout.
pub const VERSION: u16 = 5;
/// Alignment of the file in memory, of its sections and of the arena, in bytes.
pub const ALIGNMENT: usize = 16;
/// "No such tensor" or "no such node".
pub const NONE: u16 = u16::MAX;
/// Bytes of a lookup's table: one int8 value for each of the input's, -128 first.
pub const TABLE_LEN: usize = 256;
/// Of [`Node::flags`] of a pool: padding inside the pads counts, as the zero point.
pub const COUNT_INCLUDE_PAD: u8 = 1;
/// Of [`Node::flags`] of a concatenation: its output has no bytes of its own; who reads a row gathers it from the rows of
/// the node's operands.
pub const CONCAT_VIEW: u8 = 1;

macro_rules! record {
    ($(#[$doc:meta])* $name:ident, $len:literal { $($(#[$field_doc:meta])* $field:ident: $kind:ty = $at:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
        #[repr(C)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $kind,)*
        }

        const _: () = {
            assert!(size_of::<$name>() == $len && ALIGNMENT.is_multiple_of(align_of::<$name>()));
            $(assert!(core::mem::offset_of!($name, $field) == $at);)*
        };

        impl $name {
            /// Bytes of the record.
            pub const LEN: usize = $len;
            /// The record of zeros alone.
            pub const EMPTY: Self = Self { $($field: Field::ZERO,)* };

            /// The record in bytes that may lie anywhere.
            pub fn parse(bytes: &[u8; $len]) -> Self {
                bytemuck::cast(*bytes)
            }

            /// The record as it lies in the file.
            pub fn emit(&self) -> [u8; $len] {
                bytemuck::cast(*self)
            }

            /// Whether all bytes without a name are zero.
            pub fn is_plain(&self) -> bool {
                $(self.$field.is_plain())&&*
            }
        }
    };
}

/// What a record consists of.
trait Field {
    const ZERO: Self;
    /// Whether bytes without a name are zero.
    fn is_plain(&self) -> bool {
        true
    }
}

macro_rules! number_field {
    ($($kind:ty),*) => {
        $(impl Field for $kind {
            const ZERO: Self = 0 as $kind;
        })*
    };
}
number_field!(u8, i8, u16, u32, i32, u64, f32);

impl Field for [u8; 8] {
    const ZERO: Self = [0; 8];
}

/// Bytes without a name.
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(transparent)]
pub struct Reserved<const LEN: usize>([u8; LEN]);

impl<const LEN: usize> Default for Reserved<LEN> {
    fn default() -> Self {
        Self::ZERO
    }
}

impl<const LEN: usize> Field for Reserved<LEN> {
    const ZERO: Self = Self([0; LEN]);
    fn is_plain(&self) -> bool {
        self.0 == [0; LEN]
    }
}

record! {
    /// The head of the file.
    Header, 128 {
        /// [`MAGIC`].
        magic: [u8; 8] = 0,
        /// [`VERSION`].
        version: u16 = 8,
        /// Zero.
        reserved_10: Reserved<2> = 10,
        /// xxHash32, seed 0, of all bytes from 16 to the end.
        checksum: u32 = 12,
        /// Bytes of the whole file.
        file_len: u32 = 16,
        /// Bytes of the arena, everything included.
        arena_len: u32 = 20,
        /// Arena offset of the scratch that every step may use and no step keeps.
        scratch: u32 = 24,
        /// Bytes of that scratch.
        scratch_len: u32 = 28,
        /// Arena offset of the step counters, a u16 for each node.
        counters: u32 = 32,
        /// File offset of the tensor records.
        tensors: u32 = 36,
        /// File offset of the node records.
        nodes: u32 = 40,
        /// File offset of the segment records.
        segments: u32 = 44,
        /// Number of tensors.
        tensor_count: u16 = 48,
        /// Number of nodes.
        node_count: u16 = 50,
        /// Number of segments.
        segment_count: u16 = 52,
        /// Number of scores.
        class_count: u16 = 54,
        /// The tensor that holds the image.
        input: u16 = 56,
        /// The tensor that holds the scores, one row of one pixel.
        output: u16 = 58,
        /// File offset of the strings: each a u16 length and as many bytes of UTF-8.
        strings: u32 = 60,
        /// Bytes of the strings.
        strings_len: u32 = 64,
        /// File offset of the pixel conversion: one [`Requant`](crate::arith::Requant) for each input channel, applied
        /// to the raised pixel.
        pixels: u32 = 68,
        /// File offset of the input normalization, f32 means and then f32 standard deviations of pixels scaled to
        /// 0..1, one for each input channel; 0 if unknown.
        normalization: u32 = 72,
        /// String offset of the first class name; the others follow it.
        class_names: u32 = 76,
        /// String offset of the provenance: what made the model, for people.
        provenance: u32 = 80,
        /// Which part of an image is used: 0 the largest centred window, 1 all of it, 2 the centre of one that was scaled
        /// to [`resize`](Self::resize).
        fit: u8 = 84,
        /// How it is scaled: 0 bicubic, 1 bilinear.
        filter: u8 = 85,
        /// The order of three channels: 0 red, green, blue; 1 blue, green, red.
        channel_order: u8 = 86,
        /// The [`Core`] that the model is laid out for.
        core: u8 = 87,
        /// Multiply-accumulates of one image.
        macs: u64 = 88,
        /// The shorter side of the scaled image where `fit` is 2, otherwise 0.
        resize: u16 = 96,
        /// Zero.
        reserved_98: Reserved<2> = 98,
        /// File offset of a [`Source`], and after it means and standard deviations as of `normalization`; 0 where the
        /// network's file takes the normalized image as float32 `[N, C, H, W]` and gives the scores as they are.
        source: u32 = 100,
        /// File offset of the test vectors, the last section of the file; 0 if there are none.
        vectors: u32 = 104,
        /// Number of test vectors.
        vector_count: u16 = 108,
        /// Zero.
        reserved_110: Reserved<18> = 110,
    }
}

record! {
    /// An int8 feature map, NHWC, kept as a ring of rows: row `y` lies in slot `y % ring_rows`.
    Tensor, 32 {
        /// Arena offset of the first channel of the first pixel of slot 0.
        offset: u32 = 0,
        /// Bytes from a slot to the next.
        row_stride: u32 = 4,
        /// Rows of the map.
        height: u16 = 8,
        /// Pixels of a row.
        width: u16 = 10,
        /// Channels of a pixel; a multiple of 4 except for the image.
        channels: u16 = 12,
        /// Bytes from a pixel to the next: `channels`, or more for a slice of a concatenation.
        pixel_stride: u16 = 14,
        /// Rows that are kept, `1..=height`.
        ring_rows: u16 = 16,
        /// The node that makes it; [`NONE`] for the image.
        producer: u16 = 18,
        /// The int8 value of the real number 0.
        zero_point: i8 = 20,
        /// Zero.
        reserved_21: Reserved<3> = 21,
        /// Real value of one step.
        scale: f32 = 24,
        /// String offset of the name.
        name: u32 = 28,
    }
}

record! {
    /// An operator.
    Node, 64 {
        /// [`OpCode`].
        op: u8 = 0,
        /// How a convolution's weights lie: the code of a [`Layout`](crate::kernels::layout::Layout).
        layout: u8 = 1,
        /// Output rows of one step, 1 to [`MAX_ROWS`](crate::kernels::conv::MAX_ROWS).
        rows_per_step: u8 = 2,
        /// Of a pool [`COUNT_INCLUDE_PAD`] or 0; of a resize or a resampling its [`ResizeMode`]; of a copy its
        /// [`PadMode`]; otherwise 0.
        flags: u8 = 3,
        /// First operand.
        input: u16 = 4,
        /// Second operand: the residual of a convolution, the other term of a sum, the trunk of a gate, the last channels
        /// of a concatenation; [`NONE`] if there is none.
        operand: u16 = 6,
        /// Result.
        output: u16 = 8,
        /// Groups of a convolution or a group norm. Of a copy: the first pixel of a row that it takes. Of blocks of pixels:
        /// the channels of their pixels, without those that pad.
        groups: u16 = 10,
        /// Height of the kernel or of a pool's window. Of a resampling: rows around a position.
        kernel_h: u8 = 12,
        /// Width of the kernel or of a pool's window. Of a resampling: pixels around a position.
        kernel_w: u8 = 13,
        /// Vertical stride.
        stride_h: u8 = 14,
        /// Horizontal stride.
        stride_w: u8 = 15,
        /// Padding rows above the map. Of a resampling: how many of its rows lie above the position.
        pad_top: u8 = 16,
        /// Padding pixels left of each row. Of a resampling: how many of its pixels lie left of the position.
        pad_left: u8 = 17,
        /// Padding rows below the map.
        pad_bottom: u8 = 18,
        /// Padding pixels right of each row.
        pad_right: u8 = 19,
        /// Smallest output value.
        lo: i8 = 20,
        /// Largest output value.
        hi: i8 = 21,
        /// Of a copy: the first row that it takes.
        first_row: u16 = 22,
        /// File offset of the weights, of a lookup's table, of the [`Run`]s of a copy, or of the channels of an L2 or a
        /// group norm: 1, or 0 for one that only pads. Of a resampling: i32 weights, for each output row those of the rows around it, then
        /// for each pixel of a row those of the pixels around it.
        weights: u32 = 24,
        /// Bytes of it; [`TABLE_LEN`] for a table.
        weights_len: u32 = 28,
        /// File offset of the [`Requant`](crate::arith::Requant)s, of which there are
        /// [`requant_count`](crate::ops::requant_count).
        requant: u32 = 32,
        /// Multiplier of the raised second operand; the shift is then the same for all channels. Of a gate: what is added
        /// to the mask, -255..=32767. Of an instance or a group norm: bits by which the sum of squares is raised. Of a resampling:
        /// bits that its sums lose.
        operand_multiplier: i32 = 36,
        /// Arena offset of what the node keeps between steps, such as the sums of a global pool.
        state: u32 = 40,
        /// Bytes of it.
        state_len: u32 = 44,
        /// String offset of the name.
        name: u32 = 48,
        /// Zero.
        reserved_52: Reserved<4> = 52,
        /// File offset of one [`Requant`](crate::arith::Requant) for each input channel, through which a convolution reads
        /// its raised input; 0 if it reads it as it is.
        prologue: u32 = 56,
        /// What padding is after the prologue.
        prologue_zero: i8 = 60,
        /// Smallest value after the prologue.
        prologue_lo: i8 = 61,
        /// Largest value after the prologue.
        prologue_hi: i8 = 62,
        /// Zero.
        reserved_63: Reserved<1> = 63,
    }
}

record! {
    /// Nodes that stream together: when a segment ends, its last node is complete.
    Segment, 8 {
        /// First node.
        first: u16 = 0,
        /// One past the last node.
        end: u16 = 2,
        /// 1 if the second operand is asked for rows before the first, 0 if after it.
        operand_first: u32 = 4,
    }
}

record! {
    /// How the file that the network was made from takes its image and gives its scores.
    Source, 16 {
        /// 0 if its input is `[N, C, H, W]`, 1 if `[N, H, W, C]`.
        channels_last: u8 = 0,
        /// Its elements: [`Element`].
        element: u8 = 1,
        /// What its output is of the scores: [`Ending`].
        ending: u8 = 2,
        /// Zero.
        reserved_3: Reserved<1> = 3,
        /// Of integers `q`, which stand for `scale * (q - zero_point)`; 0 of float32.
        scale: f32 = 4,
        /// Of integers; 0 of float32.
        zero_point: i32 = 8,
        /// Zero.
        reserved_12: Reserved<4> = 12,
    }
}

/// Neighbouring channels that a copy takes over; those of its output that are in no run are the zero point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Run {
    /// The first one's place in the input.
    pub from: u16,
    /// The first one's place in the output.
    pub to: u16,
    /// How many there are, at least 1.
    pub len: u16,
}
