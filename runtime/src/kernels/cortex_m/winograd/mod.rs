//! 3x3 convolutions of stride 1 by minimal filtering, F(2x4, 3x3), over [`WINOGRAD`](crate::kernels::layout::WINOGRAD)
//! weights: 3 multiply-accumulates for 9. Sums are exact modulo 2^32, and no sum of products by weights of magnitude
//! 127 reaches 2^27, so outputs are those of the plain convolution.

mod outputs;
mod pixels;
mod products;

use crate::arith::Requant;
use crate::kernels::conv::{ConvParts, ConvRows, clamp};
use crate::kernels::layout::tiles;
use products::Products;

/// Words of M for a tile.
const M_TILE: usize = 24 * 4;

/// Convolution by transformed weights.
pub(super) fn conv_2x4_winograd(rows: &mut ConvRows<'_, i8>) {
    conv(rows, products::of_any);
}

/// Convolution by transformed weights of `2 * STEPS` input channels.
pub(super) fn conv_2x4_winograd_of<const STEPS: usize>(rows: &mut ConvRows<'_, i8>) {
    conv(rows, products::of::<STEPS>);
}

#[inline(never)]
fn conv(rows: &mut ConvRows<'_, i8>, products: Products) {
    let parts = rows.parts();
    let width = parts.shape.width;
    let at_once = tiles(&parts.shape);
    for row in (0..parts.count).step_by(2) {
        for first in (0..width.div_ceil(4)).step_by(at_once.max(1)) {
            let tiles = Tiles { row, first, count: at_once.min(width.div_ceil(4) - first) };
            if tiles.make(parts, products).is_none() {
                return;
            }
        }
    }
    for row in parts.out.iter_mut().take(parts.count) {
        clamp(row, parts.lo, parts.hi);
    }
}

/// Tiles side by side in output rows `row` and, if it is made, `row + 1`.
struct Tiles {
    row: usize,
    first: usize,
    count: usize,
}

impl Tiles {
    /// Makes them; `None` if something does not lie in its slice, which a [`ConvRows`] rules out.
    fn make(&self, parts: &mut ConvParts<'_, i8>, products: Products) -> Option<()> {
        let channels = parts.shape.channels_in;
        let pairs = self.count.div_ceil(2);
        let (v_len, m_len) = (pairs * 24 * channels, 2 * pairs * M_TILE);
        let scratch = bytemuck::try_cast_slice_mut::<i8, u32>(parts.scratch).ok()?;
        let (v, rest) = scratch.split_at_mut_checked(v_len)?;
        let m = rest.get_mut(..m_len)?;
        let two_rows = self.row + 1 < parts.count;
        let read = (8 * pairs + 2) * channels;
        let mut rows = [core::ptr::null(); 4];
        for (index, pixels) in rows.iter_mut().enumerate() {
            // Only the second output row reads the fourth row.
            let row = self.row + if two_rows { index } else { index.min(2) };
            let from = row * parts.row_len + 4 * self.first * channels;
            *pixels = parts.rows.get(from..)?.get(..read)?.as_ptr();
        }
        let arguments = pixels::Arguments {
            channels: channels as u32,
            v_bytes: 4 * v_len as u32,
            row_bytes: (8 * pairs * channels) as u32,
        };
        // SAFETY: rows and V were just sliced; channels are a multiple of 4 because the layout suits the shape.
        unsafe { pixels::transform(rows, v.as_mut_ptr(), &arguments) };

        let arguments =
            products::Arguments { u_bytes: 8 * channels as u32, v_bytes: 4 * v_len as u32, m_bytes: 4 * m_len as u32 };
        let weights = parts.weights.chunks_exact((24 * 8 * channels).max(1));
        for (index, (requant, u)) in parts.requant.as_chunks().0.iter().zip(weights).enumerate() {
            // SAFETY: U is a chunk of 24 times `u_bytes`, V and M were sliced; channels are as the products want them, because
            // the kernel suits the shape.
            unsafe { products(v.as_ptr(), u.as_ptr(), m.as_mut_ptr().cast(), &arguments) };
            let [upper, lower, ..] = parts.out.get_mut(self.row..)? else { return None };
            let lower = if two_rows { Some(&mut **lower) } else { None };
            let (channels, residual) = (parts.shape.channels_out, parts.residual);
            Outputs { requant, residual, channels, channel: 4 * index }.put(self, m, upper, lower)?;
        }
        Some(())
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
    /// Makes the outputs of some tiles. Where a tile reaches over the end of the rows, or has only one, it is made beside
    /// them.
    fn put(&self, tiles: &Tiles, m: &[u32], upper: &mut [i8], mut lower: Option<&mut [i8]>) -> Option<()> {
        let at = |tile: usize| 4 * (tiles.first + tile) * self.channels + self.channel;
        let width = upper.len().checked_div(self.channels)?;
        let mut whole = 0;
        if let Some(lower) = lower.as_deref_mut() {
            whole = tiles.count.min(width / 4 - tiles.first);
            self.convert(whole, m, upper.get_mut(at(0)..)?, lower.get_mut(at(0)..)?, self.channels)?;
        }
        for (tile, m) in m.chunks_exact(M_TILE).enumerate().take(tiles.count).skip(whole) {
            let mut beside = [[0i8; 16]; 2];
            let count = (width - 4 * (tiles.first + tile)).min(4);
            let mut rows = [Some(&mut *upper), lower.as_deref_mut()];
            let mut each = |beside: &mut [[i8; 16]; 2], copy: fn(&mut [i8], &mut [i8])| {
                for (row, beside) in rows.iter_mut().zip(beside) {
                    let pixels = row.as_deref_mut().and_then(|row| row.get_mut(at(tile)..)).unwrap_or_default();
                    for (pixel, beside) in pixels.chunks_mut(self.channels.max(1)).zip(beside.chunks_mut(4)).take(count)
                    {
                        if let Some(pixel) = pixel.get_mut(..4) {
                            copy(pixel, beside);
                        }
                    }
                }
            };
            each(&mut beside, |pixel, beside| beside.copy_from_slice(pixel));
            let [upper, lower] = &mut beside;
            self.convert(1, m, upper, lower, 4)?;
            each(&mut beside, |pixel, beside| pixel.copy_from_slice(beside));
        }
        Some(())
    }

    /// Converts the first `tiles` tiles of M, whose outputs start both rows; a pixel has `step` channels.
    fn convert(&self, tiles: usize, m: &[u32], upper: &mut [i8], lower: &mut [i8], step: usize) -> Option<()> {
        if tiles == 0 {
            return Some(());
        }
        let len = (4 * tiles - 1) * step + 4;
        let (m, upper, lower) = (m.get(..tiles * M_TILE)?, upper.get_mut(..len)?, lower.get_mut(..len)?);
        let arguments = outputs::Arguments {
            pixel_step: step as u32,
            lower: lower.as_mut_ptr(),
            m_bytes: 4 * m.len() as u32,
            multiplier: self.residual.unwrap_or(0),
        };
        // SAFETY: M and both rows were just sliced to what the tiles need.
        unsafe {
            outputs::outputs(m.as_ptr().cast(), self.requant, upper.as_mut_ptr(), self.residual.is_some(), &arguments);
        }
        Some(())
    }
}
