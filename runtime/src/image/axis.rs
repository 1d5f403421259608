//! How many pixels of one axis become how many others.
//!
//! Output `i` of `scaled` made of `len` lies at `(i + 1/2) * len / scaled`, and element `k` at `k + 1/2`. An element
//! weighs what the filter says of their distance, measured in elements, or in outputs where those are wider. Weights are
//! rational numbers; divided by their sum and rounded to [`WEIGHT_BITS`] (a tie away from 0), they are integers.

use super::Filter;
use core::num::NonZero;

/// Fractional bits of a weight: as many as 255 times the weights of any output can have in 32 bits.
pub const WEIGHT_BITS: u32 = 22;

/// `out` pixels, from number `skip` on of the `scaled` ones that become of `len`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Axis {
    len: NonZero<u16>,
    scaled: NonZero<u16>,
    skip: u16,
    filter: Filter,
}

impl Axis {
    /// An axis on which `len` elements become `scaled` ones, of which those from `skip` on are wanted.
    pub(super) const fn new(len: NonZero<u16>, scaled: NonZero<u16>, skip: u16, filter: Filter) -> Self {
        Self { len, scaled, skip, filter }
    }

    /// Number of elements.
    pub(super) fn source_len(&self) -> u16 {
        self.len.get()
    }

    /// Whether there are more pixels than there were.
    pub fn enlarges(&self) -> bool {
        self.scaled > self.len
    }

    /// The elements of which output `out` is made: the first one, and how many; there is at least one.
    pub fn elements(&self, out: u16) -> (u16, u16) {
        let (len, scaled) = (i64::from(self.len.get()), i64::from(self.scaled.get()));
        // In units of half an output.
        let (centre, reach) = (self.centre(out), 2 * self.filter.support() * len.max(scaled));
        let first = (centre - reach + scaled).div_euclid(2 * scaled).min(len - 1).max(0);
        let end = (centre + reach + scaled).div_euclid(2 * scaled).min(len).max(first + 1);
        (first as u16, (end - first) as u16)
    }

    /// The most elements of which an output is made.
    pub fn most_elements(&self) -> NonZero<usize> {
        let [len, scaled] = [self.len, self.scaled].map(NonZero::<usize>::from);
        let reach = (self.filter.support() as usize * len.max(scaled).get()).div_ceil(scaled.get());
        NonZero::<usize>::MIN.saturating_add(2 * reach).min(len)
    }

    /// The weights of the [`elements`](Self::elements) of output `out`.
    pub fn weights(&self, out: u16) -> impl Iterator<Item = i32> + use<> {
        let axis = *self;
        let (first, count) = axis.elements(out);
        let weight = move |index| axis.filter.weight(axis.distance(out, first + index), axis.unit());
        let sum = (0..count).map(|index| i128::from(weight(index))).sum::<i128>().max(1);
        (0..count).map(move |index| {
            let doubled = i128::from(weight(index)) << (WEIGHT_BITS + 1);
            let rounded = (doubled.abs() + sum).checked_div(2 * sum).unwrap_or(0);
            (if doubled < 0 { -rounded } else { rounded }) as i32
        })
    }

    /// Where output `out` lies, in units of which an element has `2 * scaled`.
    fn centre(&self, out: u16) -> i64 {
        (2 * (i64::from(self.skip) + i64::from(out)) + 1) * i64::from(self.len.get())
    }

    /// From output `out` to an element, in the same units.
    fn distance(&self, out: u16, element: u16) -> i64 {
        ((2 * i64::from(element) + 1) * i64::from(self.scaled.get()) - self.centre(out)).abs()
    }

    /// The filter's unit, in the same units.
    fn unit(&self) -> i64 {
        2 * i64::from(self.len.max(self.scaled).get())
    }
}

impl Filter {
    /// Units on each side.
    const fn support(self) -> i64 {
        match self {
            Self::Bicubic => 2,
            Self::Bilinear => 1,
        }
    }

    /// The weight at distance `x / unit`, times a positive number that depends on `unit` alone. `unit` is below 2^17.
    fn weight(self, x: i64, unit: i64) -> i64 {
        let d = unit;
        match self {
            Self::Bilinear => (d - x).max(0),
            // 3/2 t^3 - 5/2 t^2 + 1 and -1/2 t^3 + 5/2 t^2 - 4 t + 2, times 2 d^3.
            Self::Bicubic if x < d => (3 * x - 5 * d) * x * x + 2 * d * d * d,
            Self::Bicubic if x < 2 * d => ((5 * d - x) * x - 8 * d * d) * x + 4 * d * d * d,
            Self::Bicubic => 0,
        }
    }
}
