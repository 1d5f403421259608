//! 3x3 convolutions by minimal filtering. Of stride 1, F(2x4, 3x3) and F(4x4, 3x3), over weights in the layouts
//! [`WINOGRAD`](crate::kernels::layout::WINOGRAD) and [`WINOGRAD_4X4`](crate::kernels::layout::WINOGRAD_4X4): 3 or 2.25
//! multiply-accumulates for 9; of stride 2 over [`POLYPHASE`](crate::kernels::layout::POLYPHASE): 6.25 for 9. Sums are
//! exact modulo 2^32, and no sum of products by weights of magnitude 127 reaches 2^27 or 2^25, so outputs are those of
//! the plain convolution.

mod outputs;
mod outputs_4x4;
mod pixels;
mod pixels_4x4;
mod polyphase;
mod products;
mod weights;

use crate::arith::Requant;
use crate::kernels::conv::{ConvParts, ConvRows, MAX_ROWS, clamp};
use crate::kernels::layout::{tiles, tiles_4x4, tiles_of_taps, tiles_of_two};
use crate::kernels::shape::ConvShape;
use products::Products;
use weights::Transform;

/// Convolution by transformed weights in tiles of 2 x 4.
pub(super) fn conv_2x4_winograd(rows: &mut ConvRows<'_, i8>) {
    conv::<false>(rows, &Filter::of_two(products::of_any::<4>));
}

/// Convolution by transformed weights of `2 * STEPS` input channels in tiles of 2 x 4.
pub(super) fn conv_2x4_winograd_of<const STEPS: usize>(rows: &mut ConvRows<'_, i8>) {
    conv::<false>(rows, &Filter::of_two(products::of::<STEPS, 4>));
}

/// Convolution by transformed weights in tiles of 4 x 4.
pub(super) fn conv_4x4_winograd(rows: &mut ConvRows<'_, i8>) {
    conv::<false>(rows, &Filter::of_four(products::of_any::<6>));
}

/// Convolution by transformed weights of `2 * STEPS` input channels in tiles of 4 x 4.
pub(super) fn conv_4x4_winograd_of<const STEPS: usize>(rows: &mut ConvRows<'_, i8>) {
    conv::<false>(rows, &Filter::of_four(products::of::<STEPS, 6>));
}

/// Convolution of stride 2 by transformed weights in tiles of 2 x 2.
pub(super) fn conv_2x2_polyphase(rows: &mut ConvRows<'_, i8>) {
    conv::<false>(rows, &Filter::POLYPHASE);
}

/// Convolution in tiles of 4 x 4 by weights that are transformed here.
pub(super) fn conv_4x4_winograd_taps(rows: &mut ConvRows<'_, i8>) {
    conv::<true>(rows, &Filter::of_four(products::of_any::<6>).of_taps(weights::winograd_4x4));
}

/// Convolution in tiles of 4 x 4 by weights of `2 * STEPS` input channels that are transformed here.
pub(super) fn conv_4x4_winograd_taps_of<const STEPS: usize>(rows: &mut ConvRows<'_, i8>) {
    conv::<true>(rows, &Filter::of_four(products::of::<STEPS, 6>).of_taps(weights::winograd_4x4));
}

/// Convolution of stride 2 in tiles of 2 x 2 by weights that are transformed here.
pub(super) fn conv_2x2_polyphase_taps(rows: &mut ConvRows<'_, i8>) {
    conv::<true>(rows, &Filter::POLYPHASE.of_taps(weights::polyphase));
}

/// What tiles of one size are made by.
struct Filter {
    /// Output rows of a tile, at most 4.
    height: usize,
    /// Its output pixels of a row; 4 input pixels lie between a tile and the next.
    width: usize,
    /// Rows and pixels of the input from an output to the next.
    stride: usize,
    /// Its products for each pair of channels.
    products_of: usize,
    /// Their sums.
    sums_of: usize,
    /// Tiles at a time.
    tiles: fn(&ConvShape) -> usize,
    /// Output rows at a time, a multiple of the height.
    rows: usize,
    /// What transforms the weights, if they are not yet.
    transform: Option<Transform>,
    pixels: Pixels,
    products: Products,
    outputs: Convert,
}

/// Transforms the pixels of the rows that a tile reads, from the first pixel of the first tile, of some pairs of tiles.
///
/// # Safety
/// Each row must be readable for 8 pixels of each pair and 3, less the stride; V must be writable as the layout's
/// scratch has it, M likewise. There must be a pair of tiles, and channels must be a multiple of 4.
type Pixels = unsafe fn(rows: [*const i8; 6], m: *mut u32, v: *mut u32, channels: usize, pairs: usize);

/// Makes 4 output channels of the tiles of M, clamped to int8, in the first `height` rows.
///
/// # Safety
/// `m` must be readable for `m_bytes`, and in each row there must be 4 channels of `width` pixels for each tile.
type Convert = unsafe fn(m: *const i32, requant: &[Requant; 4], places: &Places);

/// Where outputs lie and what they are made with.
struct Places {
    rows: [*mut i8; 4],
    /// Bytes from an output pixel to the next.
    step: usize,
    m_bytes: usize,
    residual: Option<i32>,
}

impl Filter {
    /// Of two rows.
    fn of_two(products: Products) -> Self {
        let pixels: Pixels = |rows, _, v, channels, pairs| {
            let [a, b, c, d, ..] = rows;
            let arguments = pixels::Arguments {
                channels: channels as u32,
                v_bytes: (96 * channels * pairs) as u32,
                row_bytes: (8 * channels * pairs) as u32,
            };
            // SAFETY: as the caller promises.
            unsafe { pixels::transform([a, b, c, d], v, &arguments) };
        };
        let outputs: Convert = |m, requant, places| {
            let [upper, lower, ..] = places.rows;
            let arguments = outputs::Arguments {
                pixel_step: places.step as u32,
                lower,
                m_bytes: places.m_bytes as u32,
                multiplier: places.residual.unwrap_or(0),
            };
            // SAFETY: as the caller promises.
            unsafe { outputs::outputs(m, requant, upper, places.residual.is_some(), &arguments) };
        };
        Self {
            height: 2,
            width: 4,
            stride: 1,
            products_of: 24,
            sums_of: 24,
            tiles,
            rows: 2,
            transform: None,
            pixels,
            products,
            outputs,
        }
    }

    /// Of four rows.
    fn of_four(products: Products) -> Self {
        let pixels: Pixels = |rows, m, v, channels, pairs| {
            let [first, others @ ..] = rows;
            let offsets = others.map(|row| (row as usize).wrapping_sub(first as usize));
            // SAFETY: as the caller promises; M, which is not in use yet, has the words of the columns.
            unsafe { pixels_4x4::transform(first, offsets, m, v, channels, pairs) };
        };
        let outputs: Convert = |m, requant, places| {
            let arguments = outputs_4x4::Arguments {
                rows: places.rows,
                pixel_step: places.step as u32,
                m_bytes: places.m_bytes as u32,
                multiplier: places.residual.unwrap_or(0),
            };
            // SAFETY: as the caller promises.
            unsafe { outputs_4x4::outputs(m, requant, places.residual.is_some(), &arguments) };
        };
        Self {
            height: 4,
            width: 4,
            stride: 1,
            products_of: 36,
            sums_of: 36,
            tiles: tiles_4x4,
            rows: 4,
            transform: None,
            pixels,
            products,
            outputs,
        }
    }

    /// Of stride 2.
    const POLYPHASE: Self = Self {
        height: 2,
        width: 2,
        stride: 2,
        products_of: 25,
        sums_of: 9,
        tiles: tiles_of_two,
        rows: 2,
        transform: None,
        pixels: |rows, _, v, channels, pairs| {
            let [a, b, c, d, e, _] = rows;
            // SAFETY: as the caller promises.
            unsafe { polyphase::transform([a, b, c, d, e], v, channels, pairs) };
        },
        products: polyphase::products,
        outputs: |m, requant, places| {
            let [upper, lower, ..] = places.rows;
            let arguments = polyphase::Places {
                rows: [upper, lower],
                pixel_step: places.step as u32,
                m_bytes: places.m_bytes as u32,
                multiplier: places.residual.unwrap_or(0),
            };
            // SAFETY: as the caller promises.
            unsafe { polyphase::outputs(m, requant, places.residual.is_some(), &arguments) };
        },
    };

    /// With weights that `transform` makes in scratch, as few times as there is scratch for.
    fn of_taps(self, transform: Transform) -> Self {
        Self { tiles: tiles_of_taps, rows: MAX_ROWS, transform: Some(transform), ..self }
    }

    /// Words of M for a tile.
    fn m_tile(&self) -> usize {
        4 * self.sums_of
    }
}

/// With `TAPS` of weights that the filter transforms; only then of more rows of tiles at a time than one.
#[inline(never)]
fn conv<const TAPS: bool>(rows: &mut ConvRows<'_, i8>, filter: &Filter) {
    let parts = rows.parts();
    let width = parts.shape.width;
    let at_once = (filter.tiles)(&parts.shape);
    let all = width.div_ceil(filter.width.max(1));
    for row in (0..parts.count).step_by(filter.rows.max(1)) {
        for first in (0..all).step_by(at_once.max(1)) {
            let rows = filter.rows.min(parts.count - row);
            let tiles = Tiles { row, rows, first, count: at_once.min(all - first) };
            if tiles.make::<TAPS>(parts, filter).is_none() {
                return;
            }
        }
    }
    for row in parts.out.iter_mut().take(parts.count) {
        clamp(row, parts.lo, parts.hi);
    }
}

/// Tiles side by side in `rows` output rows from `row` on.
struct Tiles {
    row: usize,
    rows: usize,
    first: usize,
    count: usize,
}

impl Tiles {
    /// Makes them; `None` if something does not lie in its slice, which a [`ConvRows`] rules out.
    fn make<const TAPS: bool>(&self, parts: &mut ConvParts<'_, i8>, filter: &Filter) -> Option<()> {
        let channels = parts.shape.channels_in;
        let pairs = self.count.div_ceil(2);
        let (v_len, m_len) = (pairs * filter.products_of * channels, 2 * pairs * filter.m_tile());
        let u_len = if TAPS { 2 * filter.products_of * channels } else { 0 };
        let scratch = bytemuck::try_cast_slice_mut::<i8, u32>(parts.scratch).ok()?;
        let (u, rest) = scratch.split_at_mut_checked(u_len)?;
        let (m, rest) = rest.split_at_mut_checked(m_len)?;
        let of_rows = |row: usize| if TAPS { (row - self.row) / filter.height.max(1) * v_len } else { 0 }..;
        let mut row = self.row;
        while row < self.row + self.rows {
            let v = rest.get_mut(of_rows(row))?.get_mut(..v_len)?;
            let rows = self.pixels(parts.rows, parts.row_len, channels, filter, row)?;
            // SAFETY: rows, V and M were just sliced, M to more words than columns have; channels are a multiple of 4
            // because the layout suits the shape.
            unsafe { (filter.pixels)(rows, m.as_mut_ptr(), v.as_mut_ptr(), channels, pairs) };
            if !TAPS {
                break;
            }
            row += filter.height;
        }

        let arguments =
            products::Arguments { u_bytes: 8 * channels as u32, v_bytes: 4 * v_len as u32, m_bytes: 4 * m_len as u32 };
        let taps_or_products = if TAPS { 36 } else { 8 * filter.products_of };
        let weights = parts.weights.chunks_exact((taps_or_products * channels).max(1));
        for (index, (requant, weights)) in parts.requant.as_chunks().0.iter().zip(weights).enumerate() {
            let u = match filter.transform.filter(|_| TAPS) {
                None => weights.as_ptr(),
                Some(transform) => {
                    // SAFETY: the weights are a chunk of 36 bytes for each input channel, U was sliced; channels are a
                    // multiple of 4 because the layout suits the shape.
                    unsafe { transform(weights.as_ptr(), u.as_mut_ptr(), channels) };
                    u.as_ptr().cast()
                }
            };
            let mut row = self.row;
            while row < self.row + self.rows {
                let v = rest.get(of_rows(row))?.get(..v_len)?;
                // SAFETY: U has as many times `u_bytes` as there are products, V and M were sliced; channels are as the
                // products want them, because the kernel suits the shape.
                unsafe { (filter.products)(v.as_ptr(), u, m.as_mut_ptr().cast(), &arguments) };
                let made = filter.height.min(parts.count - row);
                let out = parts.out.get_mut(row..)?.get_mut(..made)?;
                let (channels, residual) = (parts.shape.channels_out, parts.residual);
                Outputs { requant, residual, channels, channel: 4 * index }.put(self, filter, m, out)?;
                if !TAPS {
                    break;
                }
                row += filter.height;
            }
        }
        Some(())
    }

    /// Of the padded rows, which lie `row_len` apart, those that the tiles of the output rows from `row` on read, from
    /// the pixels of the first tile on.
    fn pixels(
        &self,
        padded: &[i8],
        row_len: usize,
        channels: usize,
        filter: &Filter,
        row: usize,
    ) -> Option<[*const i8; 6]> {
        let made = filter.height.min(self.row + self.rows - row);
        let read = (8 * self.count.div_ceil(2) + 3 - filter.stride) * channels;
        let mut rows = [core::ptr::null(); 6];
        for (index, pixels) in rows.iter_mut().enumerate() {
            // Rows that no output row reads lie under the last one that is read.
            let row = row * filter.stride + index.min((made - 1) * filter.stride + 2);
            let from = row * row_len + 4 * self.first * channels;
            *pixels = padded.get(from..)?.get(..read)?.as_ptr();
        }
        Some(rows)
    }
}

/// Four output channels.
struct Outputs<'r> {
    requant: &'r [Requant; 4],
    residual: Option<i32>,
    /// Channels of an output pixel.
    channels: usize,
    /// The first of the four.
    channel: usize,
}

impl Outputs<'_> {
    /// Makes the outputs of some tiles. Where a tile reaches over the end of the rows, or has fewer, it is made beside
    /// them.
    fn put(&self, tiles: &Tiles, filter: &Filter, m: &[u32], out: &mut [&mut [i8]]) -> Option<()> {
        let at = |tile: usize| filter.width * (tiles.first + tile) * self.channels + self.channel;
        let width = out.first()?.len().checked_div(self.channels)?;
        let whole =
            if out.len() == filter.height { tiles.count.min(width / filter.width.max(1) - tiles.first) } else { 0 };
        if whole > 0 {
            let len = (filter.width * whole - 1) * self.channels + 4;
            let mut rows = [core::ptr::null_mut(); 4];
            for (place, row) in rows.iter_mut().zip(out.iter_mut()) {
                *place = row.get_mut(at(0)..)?.get_mut(..len)?.as_mut_ptr();
            }
            let m = m.get(..whole * filter.m_tile())?;
            let places = Places { rows, step: self.channels, m_bytes: 4 * m.len(), residual: self.residual };
            // SAFETY: M and the rows, as many as a tile has, were just sliced to what the tiles need.
            unsafe { (filter.outputs)(m.as_ptr().cast(), self.requant, &places) };
        }
        for (tile, m) in m.chunks_exact(filter.m_tile().max(1)).enumerate().take(tiles.count).skip(whole) {
            let mut beside = [[0i8; 16]; 4];
            let count = (width - filter.width * (tiles.first + tile)).min(filter.width);
            let mut each = |beside: &mut [[i8; 16]; 4], copy: fn(&mut [i8], &mut [i8])| {
                for (row, beside) in out.iter_mut().zip(beside) {
                    let pixels = row.get_mut(at(tile)..).unwrap_or_default();
                    for (pixel, beside) in pixels.chunks_mut(self.channels.max(1)).zip(beside.chunks_mut(4)).take(count)
                    {
                        if let Some(pixel) = pixel.get_mut(..4) {
                            copy(pixel, beside);
                        }
                    }
                }
            };
            each(&mut beside, |pixel, beside| beside.copy_from_slice(pixel));
            let rows = beside.each_mut().map(|row| row.as_mut_ptr());
            let places = Places { rows, step: 4, m_bytes: 4 * m.len(), residual: self.residual };
            // SAFETY: M is one tile, each row beside has 4 channels of 4 pixels.
            unsafe { (filter.outputs)(m.as_ptr().cast(), self.requant, &places) };
            each(&mut beside, |pixel, beside| pixel.copy_from_slice(beside));
        }
        Some(())
    }
}
