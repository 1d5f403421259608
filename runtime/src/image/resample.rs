//! Pictures made the size of a network's input, row by row.

use super::axis::{Axis, WEIGHT_BITS};
use super::{ChannelOrder, Fit, Preprocessing, Row};
use crate::bounds;
use core::fmt;
use core::num::NonZero;

/// One half, for rounding.
const HALF: i32 = 1 << (WEIGHT_BITS - 1);

/// What becomes of pictures of one size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Width and height of the picture.
    size: [u16; 2],
    /// First column and row of the window that is used.
    window: [u16; 2],
    columns: Axis,
    rows: Axis,
    /// Channels, height, width of the pixels.
    dims: [u16; 3],
    reversed: bool,
}

impl Plan {
    /// The plan for pictures of `width` x `height` pixels and a network's input of `channels`, `height`, `width`; `None`
    /// where a side is 0, where there are neither one channel nor three, where `preprocessing` does not suit `dims`, or
    /// where the picture is too long for it.
    pub fn new([width, height]: [u16; 2], preprocessing: Preprocessing, dims: [u16; 3]) -> Option<Self> {
        let [channels, out_height, out_width] = dims;
        if ![1, 3].contains(&channels) || !preprocessing.suits(dims) {
            return None;
        }
        let whole = [NonZero::new(width)?, NonZero::new(height)?];
        let out = [NonZero::new(out_width)?, NonZero::new(out_height)?];
        let (used, scaled) = match preprocessing.fit {
            Fit::Crop => (window(whole, out), out),
            Fit::Stretch => (whole, out),
            Fit::Resize(side) => (whole, scaled(whole, NonZero::new(side)?)?),
        };
        let axis = |used: NonZero<u16>, scaled: NonZero<u16>, out: u16| {
            Axis::new(used, scaled, skipped(scaled.get(), out), preprocessing.filter)
        };
        let [used_width, used_height] = used;
        let [scaled_width, scaled_height] = scaled;
        Some(Self {
            size: [width, height],
            window: [(width - used_width.get()) / 2, (height - used_height.get()) / 2],
            columns: axis(used_width, scaled_width, out_width),
            rows: axis(used_height, scaled_height, out_height),
            dims,
            reversed: preprocessing.channels == ChannelOrder::Bgr,
        })
    }

    /// Whether the picture has fewer pixels than are made of it, in either direction.
    pub fn enlarges(&self) -> bool {
        self.columns.enlarges() || self.rows.enlarges()
    }

    /// Words that a [`Resampler`] needs.
    pub fn words(&self) -> usize {
        usize::from(self.dims[2]) * self.column_words().get() + self.row_len()
    }

    /// Bytes that a [`Resampler`] needs.
    pub fn bytes(&self) -> usize {
        self.row_len() * (self.rows.most_elements().get() + 1) + self.window_len()
    }

    /// Bytes of a row of pixels.
    pub fn row_len(&self) -> usize {
        usize::from(self.dims[0]) * usize::from(self.dims[2])
    }

    /// Words of a column: its first element and the weights.
    fn column_words(&self) -> NonZero<usize> {
        self.columns.most_elements().saturating_add(1)
    }

    /// Bytes of a row of the window.
    fn window_len(&self) -> usize {
        usize::from(self.dims[0]) * usize::from(self.columns.source_len())
    }
}

/// Width and height of the largest window of the shape of `out`.
fn window([width, height]: [NonZero<u16>; 2], [out_width, out_height]: [NonZero<u16>; 2]) -> [NonZero<u16>; 2] {
    let product = |a: NonZero<u16>, b: NonZero<u16>| u64::from(a.get()) * u64::from(b.get());
    // Rounded side of the window along the longer side, where the shorter one is used whole; at least one pixel.
    let side = |whole: NonZero<u16>, across: NonZero<u16>, along: NonZero<u16>, most: NonZero<u16>| {
        let rounded = (product(whole, along) + u64::from(across.get() / 2)) / u64::from(across.get());
        NonZero::new(rounded.min(most.get().into()) as u16).unwrap_or(NonZero::<u16>::MIN)
    };
    if product(width, out_height) > product(height, out_width) {
        [side(height, out_height, out_width, width), height]
    } else {
        [width, side(width, out_width, out_height, height)]
    }
}

/// Width and height of a picture whose shorter side becomes `side`; the longer one is rounded down.
fn scaled([width, height]: [NonZero<u16>; 2], side: NonZero<u16>) -> Option<[NonZero<u16>; 2]> {
    let longer = |long: NonZero<u16>, short: NonZero<u16>| {
        let length = u32::from(side.get()) * u32::from(long.get()) / u32::from(short.get());
        NonZero::new(u16::try_from(length).ok()?)
    };
    if width <= height { Some([side, longer(height, width)?]) } else { Some([longer(width, height)?, side]) }
}

/// How many of `scaled` pixels lie before the centred `out`; of two places equally near, the even one.
fn skipped(scaled: u16, out: u16) -> u16 {
    let rest = scaled.saturating_sub(out);
    rest / 2 + (rest & (rest / 2) & 1)
}

/// Makes the pixels of a picture that comes row by row.
#[derive(Debug)]
pub struct Resampler<'b> {
    plan: Plan,
    /// Of each output column its first element and the weights, zero after the last element.
    columns: &'b [i32],
    /// An output row before it is rounded.
    sums: &'b mut [i32],
    /// Rows of output columns: that of element `y` in slot `y % slots`.
    ring: &'b mut [u8],
    /// An output row.
    row: &'b mut [u8],
    /// A row of the window.
    window: &'b mut [u8],
    taken: u16,
    made: u16,
}

/// A row has another width than the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowError {
    /// Pixels of a row of the picture.
    pub expected: usize,
    /// Pixels that were given.
    pub found: usize,
}

impl fmt::Display for RowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a row has {} pixels where the picture has {}", self.found, self.expected)
    }
}

impl core::error::Error for RowError {}

impl<'b> Resampler<'b> {
    /// A resampler that works in `words` and `bytes`, at least [`Plan::words`] and [`Plan::bytes`] of them; `None` where
    /// there are fewer.
    pub fn new(plan: Plan, words: &'b mut [i32], bytes: &'b mut [u8]) -> Option<Self> {
        let (columns, words) = words.split_at_mut_checked(usize::from(plan.dims[2]) * plan.column_words().get())?;
        for (x, column) in (0..plan.dims[2]).zip(columns.chunks_exact_mut(plan.column_words().get())) {
            let (first, weights) = column.split_first_mut()?;
            *first = plan.columns.elements(x).0.into();
            weights.fill(0);
            weights.iter_mut().zip(plan.columns.weights(x)).for_each(|(place, weight)| *place = weight);
        }
        let sums = words.get_mut(..plan.row_len())?;
        let (ring, bytes) = bytes.split_at_mut_checked(plan.row_len() * plan.rows.most_elements().get())?;
        let (row, bytes) = bytes.split_at_mut_checked(plan.row_len())?;
        let window = bytes.get_mut(..plan.window_len())?;
        Some(Self { plan, columns, sums, ring, row, window, taken: 0, made: 0 })
    }

    /// Takes the picture's next row and gives every row of pixels that it completes to `emit`, the first one first,
    /// `[width][channel]`. Rows after the picture's last one are passed over.
    ///
    /// # Errors
    /// [`RowError`] if the row has another width than the picture.
    pub fn push(&mut self, row: Row<'_>, mut emit: impl FnMut(&[u8])) -> Result<(), RowError> {
        let plan = self.plan;
        let (expected, found) = (usize::from(plan.size[0]), row.width());
        if expected != found {
            return Err(RowError { expected, found });
        }
        let taken = self.taken;
        self.taken = taken.saturating_add(1);
        let Some(element) = taken.checked_sub(plan.window[1]) else { return Ok(()) };
        if self.made == plan.dims[1] || element < plan.rows.elements(self.made).0 {
            return Ok(());
        }
        let channels = usize::from(plan.dims[0]);
        let pixels = row.pixels(plan.window[0].into(), channels, self.window);
        let (slots, row_len) = (plan.rows.most_elements(), plan.row_len());
        let slot = bounds::part_mut(self.ring, usize::from(element) % slots * row_len, row_len);
        match channels {
            1 => shrink::<1>(self.columns, plan.column_words(), pixels, slot),
            _ => shrink::<3>(self.columns, plan.column_words(), pixels, slot),
        }
        while self.made < plan.dims[1] {
            let (first, count) = plan.rows.elements(self.made);
            if u32::from(first) + u32::from(count) > u32::from(element) + 1 {
                break;
            }
            self.sums.fill(HALF);
            for (element, weight) in (usize::from(first)..).zip(plan.rows.weights(self.made)) {
                let slot = bounds::part(self.ring, element % slots * row_len, row_len);
                self.sums.iter_mut().zip(slot).for_each(|(sum, &pixel)| *sum += weight * i32::from(pixel));
            }
            self.row.iter_mut().zip(self.sums.iter()).for_each(|(pixel, &sum)| *pixel = rounded(sum));
            if plan.reversed {
                self.row.as_chunks_mut::<3>().0.iter_mut().for_each(|pixel| pixel.reverse());
            }
            emit(self.row);
            self.made += 1;
        }
        Ok(())
    }
}

/// Output columns of a row of pixels.
fn shrink<const C: usize>(columns: &[i32], column_words: NonZero<usize>, pixels: &[u8], out: &mut [u8]) {
    let pixels = pixels.as_chunks::<C>().0;
    for (column, out) in columns.chunks_exact(column_words.get()).zip(out.as_chunks_mut::<C>().0) {
        let Some((&first, weights)) = column.split_first() else { continue };
        let mut sums = [HALF; C];
        for (pixel, weight) in bounds::rest(pixels, first as usize).iter().zip(weights) {
            for (sum, &sample) in sums.iter_mut().zip(pixel) {
                *sum += weight * i32::from(sample);
            }
        }
        *out = sums.map(rounded);
    }
}

fn rounded(sum: i32) -> u8 {
    (sum >> WEIGHT_BITS).clamp(0, 255) as u8
}
