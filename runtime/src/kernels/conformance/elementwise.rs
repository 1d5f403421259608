//! Operators without weights, a convolution's prologue among them, against their definitions in 128 bits. They are the same
//! code for every processor, but each compiler makes its own 64-bit products and shifts of it.

use super::Buffers;
use crate::arith::{L2_SHIFT, Requant, over_root};
use crate::format::records::TABLE_LEN;
use crate::kernels::elementwise::{
    Deviations, affine, affine_row, average, gate, instance_norm, l2_norm, largest, lookup, weigh,
};
use crate::kernels::load::{MapRow, Part};

/// More than a vector has, and no multiple of it.
const CHANNELS: usize = 21;
const LEN: usize = 3 * CHANNELS;

impl Buffers {
    /// Compares operators on some rows; how many rows.
    pub(super) fn compare_elementwise(&mut self) -> usize {
        const ROWS: usize = 100;
        for _ in 0..ROWS {
            let mut requant = [Requant { c: 0, m: 0, s: 32 }; CHANNELS];
            requant.fill_with(|| self.any_requant());
            let (mut values, mut others) = ([0; LEN], [0; LEN]);
            values.fill_with(|| self.next() as i8);
            others.fill_with(|| self.next() as i8);
            let (a, b) = (self.next() as i8, self.next() as i8);
            let (lo, hi) = (a.min(b), a.max(b));
            compare_affine(&values, &requant, lo, hi);
            let offset = (self.next() % 33023) as i32 - 255;
            compare_gate(&values, &others, offset, a, &requant[0], lo, hi);
            compare_sums(&values, &others, &requant[0], lo, hi);
            let square = (u64::from(self.next()) << 32 | u64::from(self.next())) >> (self.next() % 64) | 1;
            let numerator = Requant { c: 0, m: (1 << 30) + (self.next() >> 2) as i32, s: 60 + self.next() % 20 };
            compare_norms(&values, square, &numerator, b, lo, hi);
            let mut best = others;
            largest(&values[..LEN - 1], &mut best[1..]);
            let larger = |at: usize| if at == 0 { others[0] } else { others[at].max(values[at - 1]) };
            assert!((0..LEN).all(|at| best[at] == larger(at)), "the larger of {values:?} and {others:?}");
            let mut table = [0; TABLE_LEN];
            table.fill_with(|| self.next() as i8);
            let mut found = [0; LEN];
            lookup(row(&values), &table, &mut found);
            assert!(
                found.iter().zip(values).all(|(&found, q)| found == table[(i32::from(q) + 128) as usize]),
                "lookup"
            );
        }
        ROWS
    }

    /// Constants of either sign for raised int8 values.
    fn any_requant(&mut self) -> Requant {
        let s = 32 + self.next() % 15;
        // value * 256 * m >> s has about 8 bits, fewer for large shifts.
        let m = (self.next() >> 1) as i32 >> 39u32.saturating_sub(s);
        let c = (i64::from(self.next() as i8) << s) + (1 << (s - 1));
        Requant { c, m: if self.next() & 1 == 0 { m } else { -m }, s }
    }
}

fn compare_norms(values: &[i8; LEN], square: u64, numerator: &Requant, zero_point: i8, lo: i8, hi: i8) {
    let requant = over_root(square, numerator, zero_point);
    let shifted = u128::from(square) << (square.leading_zeros() / 2 * 2);
    let (made, real) = (u128::from(requant.m.unsigned_abs()), u128::from(numerator.m.unsigned_abs()) << 31);
    assert!((made * made * shifted).abs_diff(real * real) <= (real * real) >> 27, "root of {square}");
    let mut found = [0; LEN];
    l2_norm(values, zero_point, &requant, lo, hi, &mut found);
    for (found, q) in found.iter().zip(values) {
        let distance = (i32::from(*q) - i32::from(zero_point)) << L2_SHIFT;
        assert_eq!(*found, rounded(&requant, distance, lo, hi), "L2 norm");
    }
    let mut state = [1000; 3 * CHANNELS];
    state[CHANNELS..2 * CHANNELS].fill(requant.m);
    state[2 * CHANNELS..].fill(requant.s as i32);
    let deviations = Deviations { state: &state, first: 0, count: 40, zero_point };
    let mut found = [0; CHANNELS];
    instance_norm(values.first_chunk::<CHANNELS>().unwrap(), deviations, lo, hi, &mut found);
    for (found, q) in found.iter().zip(values) {
        // 255 * 40 has 14 bits.
        let distance = (40 * i32::from(*q) - 1000) << 15;
        assert_eq!(*found, rounded(&requant, distance, lo, hi), "instance norm");
    }
}

/// One rounding, in 128 bits.
fn rounded(requant: &Requant, acc: i32, lo: i8, hi: i8) -> i8 {
    let sum = i128::from(acc) * i128::from(requant.m) + i128::from(requant.c);
    (sum >> requant.s).clamp(lo.into(), hi.into()) as i8
}

fn row(values: &[i8]) -> MapRow<'_> {
    MapRow { bytes: values, channels: CHANNELS, pixel_stride: CHANNELS }
}

/// As an operator and as the prologue of a convolution by weights of either kind.
fn compare_affine(values: &[i8; LEN], requant: &[Requant; CHANNELS], lo: i8, hi: i8) {
    let (mut narrow, mut wide) = ([0i8; LEN], [0i16; LEN]);
    affine(values, requant, lo, hi, &mut narrow);
    affine(values, requant, lo, hi, &mut wide);
    // A slice of pixels to the places of a padded row, around which nothing is written.
    const AT: usize = 3;
    let mut padded = [0x5A; AT + LEN + 6];
    let input = MapRow { bytes: &values[..LEN - 2], channels: CHANNELS - 2, pixel_stride: CHANNELS };
    let part = Part { left: AT, pixel_stride: CHANNELS + 1 };
    affine_row::<i8>(input, &requant[..CHANNELS - 2], lo, hi, part, &mut padded);
    for (at, found) in padded.iter().enumerate() {
        let place = at.checked_sub(AT).map(|at| (at / (CHANNELS + 1), at % (CHANNELS + 1)));
        let value = place.filter(|place| place.0 < LEN / CHANNELS && place.1 < CHANNELS - 2);
        let expected =
            value.map_or(0x5A, |(x, c)| rounded(&requant[c], i32::from(values[x * CHANNELS + c]) * 256, lo, hi));
        assert!(*found == expected, "affine of a slice: element {at} of {values:?}");
    }
    for (at, value) in values.iter().enumerate() {
        let expected = rounded(&requant[at % CHANNELS], i32::from(*value) * 256, lo, hi);
        assert!(narrow[at] == expected && wide[at] == i16::from(expected), "affine: element {at} of {values:?}");
    }
}

fn compare_gate(mask: &[i8; LEN], trunk: &[i8; LEN], offset: i32, zero_point: i8, requant: &Requant, lo: i8, hi: i8) {
    let (mut map, mut pixel) = (*trunk, *trunk);
    gate(row(mask), offset, zero_point, requant, lo, hi, &mut map);
    gate(row(&mask[..CHANNELS]), offset, zero_point, requant, lo, hi, &mut pixel);
    for (at, value) in trunk.iter().enumerate() {
        let product = |mask: i8| (i32::from(mask) + offset) * (i32::from(*value) - i32::from(zero_point));
        let expected = [mask[at], mask[at % CHANNELS]].map(|mask| rounded(requant, product(mask), lo, hi));
        assert!([map[at], pixel[at]] == expected, "gate: element {at} of {trunk:?}");
    }
}

fn compare_sums(values: &[i8; LEN], others: &[i8; LEN], requant: &Requant, lo: i8, hi: i8) {
    let (mut sums, mut found) = ([0; LEN], [0; LEN]);
    weigh(values, 9, &mut sums);
    weigh(others, 7, &mut sums);
    // Multipliers here are for single values.
    let requant = Requant { m: requant.m >> 4, ..*requant };
    average(&sums, &requant, lo, hi, &mut found);
    for at in 0..LEN {
        let sum = 9 * i32::from(values[at]) + 7 * i32::from(others[at]);
        assert!(found[at] == rounded(&requant, sum * 256, lo, hi), "weighted sum: element {at} of {values:?}");
    }
}
