//! Convolution by weights in quads: the walk over rows, blocks of 16 output channels and tiles of pixels, which the
//! instruction sets share.

pub(super) use super::layout::quads::BLOCK;

use super::conv::{ConvParts, ConvRows, ConvShape, Uint8};
use super::layout::quads::{block_len, number, parts};
use crate::arith::Requant;

/// Most pixels of a tile's row.
pub(super) const PIXELS: usize = 8;

/// Sums of a block of 16 channels, of the pixels of a tile.
#[repr(C, align(64))]
pub(super) struct Sums(pub(super) [[i32; BLOCK]; PIXELS]);

/// Where the outputs of a tile lie, and how they are made of its sums.
pub(super) struct Outputs<'a, C> {
    /// The conversions of the first block of channels and of the second.
    pub(super) conversions: &'a [C; 2],
    /// The row of outputs from the first pixel's first channel of the first block on, and the next row of a tile of two.
    pub(super) rows: [&'a mut [i8]; 2],
    /// Elements from a pixel's outputs to the next one's.
    pub(super) stride: usize,
    /// Room for sums.
    pub(super) sums: &'a mut Sums,
}

impl<C> Outputs<'_, C> {
    /// Makes the outputs of one row and one block out of the sums of so many pixels.
    #[inline]
    pub(super) fn finish<I: Isa<Conversions = C>>(self, isa: I, pixels: usize) {
        let ([conversions, _], [row, _]) = (self.conversions, self.rows);
        isa.finish(conversions, self.sums.0.get(..pixels).unwrap_or(&[]), row, self.stride);
    }
}

/// What a tile of outputs is made of. Only [`convolve`] makes one, of proved rows: the elements and weights that its numbers lead
/// to exist. These are whole runs, filled up to 4 elements without groups, and 16 elements from any block's first of any pixel; of
/// a block `kernel_h * columns * quads` times 64 weights, three times as many where a tile slides.
pub(super) struct Tile<'a> {
    /// Input rows, from the first element that the tile reads.
    pub(super) rows: &'a [Uint8],
    /// Weights, from the first block of the tile's.
    pub(super) weights: &'a [i8],
    /// The sums' first values: of the first block and the second.
    #[cfg_attr(target_arch = "aarch64", expect(dead_code))]
    pub(super) starts: [[i32; BLOCK]; 2],
    /// Elements from an input row to the next.
    pub(super) row_len: usize,
    /// Elements from the input rows of an output row to those of the next.
    #[cfg_attr(target_arch = "aarch64", expect(dead_code))]
    pub(super) next_row: usize,
    /// Bytes from a block of weights to the next.
    #[cfg_attr(target_arch = "aarch64", expect(dead_code))]
    pub(super) block_len: usize,
    pub(super) kernel_h: usize,
    /// Steps over the columns of the kernel.
    pub(super) columns: usize,
    /// Elements from the input of a column step to that of the next.
    pub(super) column_step: usize,
    /// Groups of four elements that a kernel column reads.
    pub(super) quads: usize,
    /// Elements from a pixel to the next: of the input where a tile slides, else of the inputs of output pixels.
    pub(super) pixel_step: usize,
    /// Where each channel of a block finds the quads of its group among 16 channels.
    pub(super) controls: &'a [[i8; 4 * BLOCK]; 4],
    _proved: Proved,
}

/// Nobody else can make one.
struct Proved;

/// How a tile reads its pixels.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Walk {
    /// A kernel column at a time.
    Columns,
    /// Three kernel columns at a time, by this stride: each pixel is loaded once for all of them.
    Slides(usize),
}

/// An instruction set. A value says that the processor has it.
pub(super) trait Isa: Copy {
    /// Most pixels of a tile, up to [`PIXELS`].
    const TILE: usize;
    /// Whether it has tiles of two rows or blocks, and those that slide.
    const WIDE: bool;
    /// The conversions of a block of channels; they are large, and stay where they are.
    type Conversions;

    /// The conversions of no channels.
    fn conversions(self) -> Self::Conversions;

    /// Makes `conversions` those of 16 channels or fewer, with the multiplier of the residual operand.
    fn set(self, conversions: &mut Self::Conversions, requants: &[Requant], residual: Option<i32>, clamp: [i8; 2]);

    /// Makes a tile's outputs: by a walk, of one or two rows or blocks, of channels in small groups or not, of so many pixels.
    fn tile(self, kind: (Walk, bool, bool, usize), tile: &Tile<'_>, outputs: Outputs<'_, Self::Conversions>);

    /// Makes the outputs of neighbouring pixels out of their sums: the slice begins with the first pixel's and goes on every
    /// `stride` elements.
    fn finish(self, conversions: &Self::Conversions, sums: &[[i32; BLOCK]], out: &mut [i8], stride: usize);
}

/// Goes over the pixels of [`Isa::finish`]: `convert` makes the outputs of a block of channels out of its sums and of what lies
/// there, the residual operand.
#[inline(always)]
pub(super) fn each_pixel(
    channels: usize,
    sums: &[[i32; BLOCK]],
    mut out: &mut [i8],
    stride: usize,
    convert: impl Fn(&[i32; BLOCK], [i8; BLOCK]) -> [i8; BLOCK],
) {
    for sums in sums {
        match out.first_chunk_mut::<BLOCK>() {
            Some(out) if channels == BLOCK => *out = convert(sums, *out),
            _ => {
                let mut operand = [0; BLOCK];
                operand.iter_mut().zip(&*out).take(channels).for_each(|(to, from)| *to = *from);
                let made = convert(sums, operand);
                out.iter_mut().zip(made).take(channels).for_each(|(to, from)| *to = from);
            }
        }
        out = core::mem::take(&mut out).get_mut(stride..).unwrap_or_default();
    }
}

/// How a convolution is cut into tiles.
struct Cut {
    walk: Walk,
    columns: usize,
    quads: usize,
    rows_of_tile: usize,
    blocks_of_tile: usize,
    /// Channels of a group of fewer than 16, else 0.
    group: usize,
}

impl Cut {
    fn of<I: Isa>(shape: &ConvShape) -> Self {
        let (group, is_grouped) = (shape.group_in(), shape.groups > 1);
        let small = is_grouped && group < BLOCK;
        let slides = I::WIDE && shape.kernel_w == 3 && shape.stride_w <= 2 && (is_grouped || group.is_multiple_of(4));
        // Without groups a run has no gaps, and all its columns are one.
        let (walk, columns, quads) = match (slides, is_grouped) {
            (true, _) => (Walk::Slides(shape.stride_w), 1, group.div_ceil(4)),
            (false, true) => (Walk::Columns, shape.kernel_w, group.div_ceil(4)),
            (false, false) => (Walk::Columns, 1, shape.run().div_ceil(4)),
        };
        let rows_of_tile = if slides && !small { 2 } else { 1 };
        let blocks_of_tile = if I::WIDE && !slides && !is_grouped { 2 } else { 1 };
        Self { walk, columns, quads, rows_of_tile, blocks_of_tile, group: if small { group } else { 0 } }
    }
}

/// Convolution by an instruction set.
pub(super) fn convolve<I: Isa>(isa: I, rows: &mut ConvRows<'_, Uint8>) {
    let ConvParts { rows, row_len, shape, weights, requant, residual, lo, hi, out, count, .. } = rows.parts();
    let (row_len, shape) = (*row_len, *shape);
    let ConvShape { stride_h, stride_w, channels_in, channels_out, .. } = shape;
    let cut = Cut::of::<I>(&shape);
    let (weights, starts) = parts(&shape, weights);
    let starts = starts.as_chunks::<4>().0.as_chunks::<BLOCK>().0;
    let block_len = block_len(&shape).unwrap_or(0);
    let pixel = stride_w * channels_in;
    let width = out.first().map_or(0, |row| row.len() / channels_out.max(1));
    let tiles = width.div_ceil(I::TILE).max(1);
    let (narrow, wider) = (width / tiles, width % tiles);
    let mut conversions = [isa.conversions(), isa.conversions()];
    let mut sums = Sums([[0; BLOCK]; PIXELS]);
    let small;
    let controls = if cut.group > 0 {
        small = controls(cut.group);
        &small
    } else {
        &[[0; 4 * BLOCK]; 4]
    };
    for (index, starts) in starts.chunks(cut.blocks_of_tile).enumerate() {
        let block = index * cut.blocks_of_tile;
        let requants = requant.get(block * BLOCK..).unwrap_or(&[]).chunks(BLOCK);
        for (conversions, requants) in conversions.iter_mut().zip(requants).take(starts.len()) {
            isa.set(conversions, requants, *residual, [*lo, *hi]);
        }
        // Channels of a block read those of their groups alone.
        let group = shape.group_in();
        let first = if shape.groups > 1 { block * BLOCK / group.max(1) * group } else { 0 };
        let mut tile = Tile {
            rows,
            weights: weights.get(block * block_len..).unwrap_or(&[]),
            starts: [0, 1].map(|next| starts.get(next).map_or([0; BLOCK], |start| start.each_ref().map(number))),
            row_len,
            next_row: stride_h * row_len,
            block_len,
            kernel_h: shape.kernel_h,
            columns: cut.columns,
            column_step: channels_in,
            quads: cut.quads,
            pixel_step: if cut.walk == Walk::Columns { pixel } else { channels_in },
            controls,
            _proved: Proved,
        };
        for y in (0..*count).step_by(cut.rows_of_tile) {
            let rows_here = cut.rows_of_tile.min(*count - y);
            let two = rows_here == 2 || starts.len() == 2;
            let mut line = rows.get(y * stride_h * row_len + first..).unwrap_or(&[]);
            let mut at = block * BLOCK;
            for t in 0..tiles {
                let pixels = narrow + usize::from(t < wider);
                tile.rows = line;
                let mut of_tile =
                    out.iter_mut().skip(y).take(rows_here).map(|row| row.get_mut(at..).unwrap_or_default());
                let rows = [of_tile.next(), of_tile.next()].map(Option::unwrap_or_default);
                let outputs = Outputs { conversions: &conversions, rows, stride: channels_out, sums: &mut sums };
                isa.tile((cut.walk, two, cut.group > 0, pixels), &tile, outputs);
                line = line.get(pixels * pixel..).unwrap_or(&[]);
                at += pixels * channels_out;
            }
        }
    }
}

/// For each four channels of a group, where each of 16 channels finds them among 16; -128, which finds 0, where the group
/// has fewer.
fn controls(group: usize) -> [[i8; 4 * BLOCK]; 4] {
    let mut controls = [[-128; 4 * BLOCK]; 4];
    for (quad, control) in controls.iter_mut().enumerate().take(group.div_ceil(4)) {
        for (byte, control) in control.iter_mut().enumerate() {
            let (channel, element) = (byte / 4, quad * 4 + byte % 4);
            if element < group {
                *control = (channel / group * group + element) as i8;
            }
        }
    }
    controls
}
