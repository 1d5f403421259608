//! How often an activation takes which values, in bounded memory.

/// Most bins on either side of 0.
const BINS: usize = 2048;

/// Counts of the values of an activation.
///
/// Bin `i` holds values from `i * width` up to, but not including, `(i + 1) * width`. The width is the smallest power of
/// two for which at most [`BINS`] bins reach the outermost value on either side, so bins of different histograms lie on
/// each other, and what was counted in narrow bins is counted exactly in wider ones. What results does not depend on the
/// order of the values. Zeros are counted apart: every scale holds them exactly.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Histogram {
    /// The width is 2 to this power.
    exponent: i32,
    /// Bins below 0, the one next to 0 first.
    below: Vec<u64>,
    /// Bins from 0 on.
    above: Vec<u64>,
    zeros: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { exponent: i32::MIN, below: Vec::new(), above: Vec::new(), zeros: 0 }
    }
}

impl Histogram {
    /// Counts `elements`, of which `largest` is the largest magnitude. Nothing is counted if that is not finite.
    pub(super) fn record(&mut self, elements: &[f32], largest: f32) {
        if !largest.is_finite() {
            return;
        }
        if largest > 0.0 {
            self.widen(exponent_for(largest));
        }
        // In float64 the products with a power of two are exact.
        let factor = power_of_two(-self.exponent.max(-1022));
        for &x in elements {
            if x == 0.0 {
                self.zeros += 1;
                continue;
            }
            let bin = (f64::from(x) * factor).floor();
            let (side, index) =
                if bin < 0.0 { (&mut self.below, (-bin) as usize - 1) } else { (&mut self.above, bin as usize) };
            if side.len() <= index {
                side.resize(index + 1, 0);
            }
            side[index] += 1;
        }
    }

    /// Adds the counts of `other`.
    pub(super) fn merge(&mut self, other: &Self) {
        let mut other = other.clone();
        let exponent = self.exponent.max(other.exponent);
        self.widen(exponent);
        other.widen(exponent);
        for (into, from) in [(&mut self.below, other.below), (&mut self.above, other.above)] {
            into.resize(into.len().max(from.len()), 0);
            into.iter_mut().zip(from).for_each(|(into, from)| *into += from);
        }
        self.zeros += other.zeros;
    }

    /// Makes the bins at least `2^exponent` wide.
    fn widen(&mut self, exponent: i32) {
        if exponent <= self.exponent {
            return;
        }
        let doublings = exponent.saturating_sub(self.exponent);
        self.exponent = exponent;
        for side in [&mut self.below, &mut self.above] {
            // Bins of one side share their outermost one at the most: 32 doublings leave a single bin.
            let merged = 1usize << doublings.min(32);
            *side = side.chunks(merged).map(|bins| bins.iter().sum()).collect();
        }
    }

    /// Number of values, zeros included.
    pub(super) fn count(&self) -> u64 {
        self.zeros + self.below.iter().chain(&self.above).sum::<u64>()
    }

    /// Width of a bin.
    pub(super) fn width(&self) -> f64 {
        power_of_two(self.exponent.max(-1022))
    }

    /// Lower edge of each bin and what it holds, zeros excepted, from the lowest bin to the highest.
    pub(super) fn bins(&self) -> impl DoubleEndedIterator<Item = (f64, u64)> {
        let width = self.width();
        let below = self.below.iter().enumerate().rev().map(move |(i, &n)| (-((i + 1) as f64) * width, n));
        below.chain(self.above.iter().enumerate().map(move |(i, &n)| (i as f64 * width, n)))
    }
}

/// The smallest exponent of a width of which [`BINS`] reach beyond `largest`.
fn exponent_for(largest: f32) -> i32 {
    let largest = f64::from(largest);
    let mut exponent = (largest / BINS as f64).log2().floor() as i32;
    while largest * power_of_two(-exponent) >= BINS as f64 {
        exponent += 1;
    }
    exponent
}

fn power_of_two(exponent: i32) -> f64 {
    f64::from(exponent).exp2()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn histogram(elements: &[f32]) -> Histogram {
        let mut histogram = Histogram::default();
        histogram.record(elements, elements.iter().fold(0.0, |a, x| a.max(x.abs())));
        histogram
    }

    #[test]
    fn counts_what_lies_in_each_bin() {
        let histogram = histogram(&[0.0, -0.0, 1.0, 1.5, 2047.0, -0.5, -1.0, -2048.0, 0.25]);
        assert_eq!((histogram.width(), histogram.zeros, histogram.count()), (2.0, 2, 9));
        let filled: Vec<(f64, u64)> = histogram.bins().filter(|(_, count)| *count > 0).collect();
        assert_eq!(filled, [(-2048.0, 1), (-2.0, 2), (0.0, 3), (2046.0, 1)]);
    }

    #[test]
    fn odd_values_do_no_harm() {
        assert_eq!(histogram(&[]).count(), 0);
        assert_eq!(histogram(&[0.0; 3]).bins().count(), 0);
        assert_eq!(histogram(&[f32::INFINITY, 1.0]).count(), 0);
        for tiny in [f32::MIN_POSITIVE, 1e-45, f32::MAX] {
            let histogram = histogram(&[tiny, -tiny, 0.0]);
            assert_eq!(histogram.count(), 3, "{tiny}");
            assert!(histogram.bins().all(|(edge, _)| edge.is_finite()));
        }
    }

    proptest! {
        #[test]
        fn neither_order_nor_parts_change_the_counts(
            elements in proptest::collection::vec((-30i32..30, -1.0f32..1.0), 1..200), cut in 0usize..200,
        ) {
            let elements: Vec<f32> = elements.into_iter().map(|(e, x)| x * (e as f32).exp2()).collect();
            let whole = histogram(&elements);
            prop_assert!(whole.below.len() <= BINS && whole.above.len() <= BINS);
            let (first, second) = elements.split_at(cut.min(elements.len()));
            let mut parts = histogram(second);
            let largest = first.iter().fold(0.0, |a: f32, x| a.max(x.abs()));
            parts.record(first, largest);
            prop_assert_eq!(&parts, &whole);
            let mut merged = histogram(first);
            merged.merge(&histogram(second));
            prop_assert_eq!(&merged, &whole);
        }
    }
}
