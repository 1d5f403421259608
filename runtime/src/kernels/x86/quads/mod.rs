//! Convolution by weights in quads: the walk over rows, blocks of 16 output channels and tiles of pixels, which the
//! instruction sets share.

pub(super) mod avx2;
pub(super) mod vnni;

use crate::arith::Requant;
use crate::kernels::conv::{ConvParts, ConvRows, ConvShape, Uint8};
use crate::kernels::layout::quads::{BLOCK, block_len, number, parts};

/// Most pixels of a tile's row.
pub(super) const PIXELS: usize = 8;

/// Two times so many sums of 16 channels: of two rows, or of two blocks of channels.
#[repr(C, align(64))]
pub(super) struct Sums([[[i32; BLOCK]; PIXELS]; 2]);

/// What a tile of outputs is made of.
pub(super) struct Tile<'a> {
    /// Input rows, from the first element that the tile reads.
    rows: &'a [Uint8],
    /// Weights, from the first block of the tile's.
    weights: &'a [i8],
    /// The sums' first values: of the first block and the second.
    starts: [[i32; BLOCK]; 2],
    /// Elements from an input row to the next.
    row_len: usize,
    /// Elements from the input rows of an output row to those of the next.
    next_row: usize,
    /// Bytes from a block of weights to the next.
    block_len: usize,
    kernel_h: usize,
    /// Steps over the columns of the kernel.
    columns: usize,
    /// Elements from the input of a column step to that of the next.
    column_step: usize,
    /// Groups of four elements that a kernel column reads.
    quads: usize,
    /// Elements from a pixel to the next: of the input where a tile slides, else of the inputs of output pixels.
    pixel_step: usize,
    /// Where each channel of a block finds the quads of its group among 16 channels.
    controls: [[i8; 4 * BLOCK]; 4],
}

/// How a tile reads its pixels.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Walk {
    /// A kernel column at a time.
    Columns,
    /// Three kernel columns at a time, by this stride: each pixel is loaded once for all of them.
    Slides(usize),
}

/// The functions of an instruction set.
pub(super) struct Isa {
    /// Most pixels of a tile.
    pub(super) pixels: usize,
    /// Whether it has tiles of two rows or blocks, and those that slide.
    pub(super) wide: bool,
    /// The tile of a walk, of one or two rows or blocks, of channels in groups or not, with so many pixels.
    pub(super) tile: fn(Walk, bool, bool, usize) -> TileFn,
    /// Turns sums into outputs.
    pub(super) finish: FinishFn,
}

/// Computes a tile's sums.
///
/// # Safety
/// The processor has the instruction set; `convolve` has made the tile.
pub(super) type TileFn = unsafe fn(&Tile<'_>, &mut Sums);

/// Makes the outputs of neighbouring pixels out of their sums: the second slice begins with the first pixel's and goes on
/// every so many channels.
///
/// # Safety
/// The processor has the instruction set.
pub(super) type FinishFn = unsafe fn(&Constants, &[[i32; BLOCK]], &mut [i8], usize);

/// The conversions of a block of channels, those with even numbers first where products have 64 bits.
#[repr(C, align(64))]
pub(super) struct Constants {
    m: [i32; BLOCK],
    /// Less 32.
    s: [i32; BLOCK],
    even: [i64; BLOCK / 2],
    odd: [i64; BLOCK / 2],
    /// Multiplier of the residual operand.
    residual: Option<i32>,
    lo: i8,
    hi: i8,
    /// Channels that exist.
    channels: usize,
}

impl Constants {
    pub(super) const NONE: Self = Self {
        m: [0; BLOCK],
        s: [0; BLOCK],
        even: [0; BLOCK / 2],
        odd: [0; BLOCK / 2],
        residual: None,
        lo: 0,
        hi: 0,
        channels: 0,
    };

    pub(super) fn set(&mut self, requants: &[Requant], residual: Option<i32>, lo: i8, hi: i8) {
        (self.residual, self.lo, self.hi) = (residual, lo, hi);
        self.channels = requants.len().min(BLOCK);
        for ((requant, m), s) in requants.iter().zip(&mut self.m).zip(&mut self.s) {
            (*m, *s) = (requant.m, requant.s.wrapping_sub(32) as i32 & 31);
        }
        for ((requants, even), odd) in requants.chunks(2).zip(&mut self.even).zip(&mut self.odd) {
            (*even, *odd) = (requants[0].c, requants.get(1).map_or(0, |requant| requant.c));
        }
    }
}

/// Goes over the pixels of a [`FinishFn`]: `convert` makes the outputs of a block of channels out of its sums and of what lies
/// there, the residual operand.
#[inline(always)]
fn each_pixel(
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
    fn of(shape: &ConvShape, isa: &Isa) -> Self {
        let (group, is_grouped) = (shape.group_in(), shape.groups > 1);
        let small = is_grouped && group < BLOCK;
        let slides = isa.wide && shape.kernel_w == 3 && shape.stride_w <= 2 && (is_grouped || group.is_multiple_of(4));
        // Without groups a run has no gaps, and all its columns are one.
        let (walk, columns, quads) = match (slides, is_grouped) {
            (true, _) => (Walk::Slides(shape.stride_w), 1, group.div_ceil(4)),
            (false, true) => (Walk::Columns, shape.kernel_w, group.div_ceil(4)),
            (false, false) => (Walk::Columns, 1, shape.run().div_ceil(4)),
        };
        let rows_of_tile = if slides && !small { 2 } else { 1 };
        let blocks_of_tile = if isa.wide && !slides && !is_grouped { 2 } else { 1 };
        Self { walk, columns, quads, rows_of_tile, blocks_of_tile, group: if small { group } else { 0 } }
    }
}

/// Convolution by an instruction set.
///
/// # Safety
/// The processor has it.
pub(super) unsafe fn convolve(isa: &Isa, rows: &mut ConvRows<'_, Uint8>) {
    let ConvParts { rows, row_len, shape, weights, requant, residual, lo, hi, out, count, .. } = rows.parts();
    let (row_len, shape) = (*row_len, *shape);
    let ConvShape { stride_h, stride_w, channels_in, channels_out, .. } = shape;
    let cut = Cut::of(&shape, isa);
    let (weights, starts) = parts(&shape, weights);
    let starts = starts.as_chunks::<4>().0.as_chunks::<BLOCK>().0;
    let block_len = block_len(&shape).unwrap_or(0);
    let pixel = stride_w * channels_in;
    let width = out.first().map_or(0, |row| row.len() / channels_out.max(1));
    let tiles = width.div_ceil(isa.pixels).max(1);
    let (narrow, wider) = (width / tiles, width % tiles);
    let mut sums = Sums([[[0; BLOCK]; PIXELS]; 2]);
    for (index, starts) in starts.chunks(cut.blocks_of_tile).enumerate() {
        let block = index * cut.blocks_of_tile;
        let mut constants = [const { Constants::NONE }; 2];
        for (constants, requant) in constants.iter_mut().zip(requant.chunks(BLOCK).skip(block)).take(starts.len()) {
            constants.set(requant, *residual, *lo, *hi);
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
            controls: if cut.group > 0 { controls(cut.group) } else { [[0; 4 * BLOCK]; 4] },
        };
        for y in (0..*count).step_by(cut.rows_of_tile) {
            let rows_here = cut.rows_of_tile.min(*count - y);
            let two = rows_here == 2 || starts.len() == 2;
            let mut line = rows.get(y * stride_h * row_len + first..).unwrap_or(&[]);
            let mut at = block * BLOCK;
            for t in 0..tiles {
                let pixels = narrow + usize::from(t < wider);
                tile.rows = line;
                let run = (isa.tile)(cut.walk, two, cut.group > 0, pixels);
                // SAFETY: the caller vouches for the instruction set, and the tile is made of proved rows.
                unsafe { run(&tile, &mut sums) };
                for (i, sums) in sums.0.iter().enumerate().take(if two { 2 } else { 1 }) {
                    let (row, next) = if rows_here == 2 { (y + i, 0) } else { (y, i) };
                    let out = out.get_mut(row).and_then(|row| row.get_mut(at + next * BLOCK..)).unwrap_or_default();
                    let (constants, sums) = (&constants[next], sums.get(..pixels).unwrap_or(&[]));
                    // SAFETY: the caller vouches for the instruction set.
                    unsafe { (isa.finish)(constants, sums, out, channels_out) };
                }
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
