//! How a range is chosen for values of which a histogram was made.

use super::histogram::Histogram;
use super::span::{scale_of, zero_point_of};

/// Levels of an int8 number.
const LEVELS: usize = 256;

/// How the range of an activation is chosen: what lies outside is clipped, and the narrower the range, the finer the
/// steps inside.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Method {
    /// From the smallest to the largest value.
    MinMax,
    /// This percentage of the values; as many may lie below the range as above.
    Percentile(f64),
    /// The least mean squared error, of rounding inside the range and clipping outside.
    Mse,
    /// The least Kullback-Leibler divergence of the quantized distribution from the true one, as in TensorRT.
    Entropy,
}

/// How the numbers of a quantized network are chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// How the ranges of the activations are chosen.
    pub method: Method,
    /// Whether weights are equalized across layers first ([`crate::passes::equalize`]).
    pub equalize: bool,
    /// Whether biases take back what rounding shifts on average.
    pub bias_correction: bool,
    /// Whether the scales that a network was trained for are chosen anew.
    pub recalibrate: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { method: Method::MinMax, equalize: false, bias_correction: false, recalibrate: false }
    }
}

impl Method {
    /// The percentage of [`Method::Percentile`] by default.
    pub const PERCENTILE: f64 = 99.99;

    /// The range for values from `extremes.0` to `extremes.1`, within these.
    pub(super) fn range(self, histogram: &Histogram, extremes: (f32, f32)) -> (f32, f32) {
        let whole = (extremes.0.min(0.0), extremes.1.max(0.0));
        if whole == (0.0, 0.0) || !(whole.0.is_finite() && whole.1.is_finite()) {
            return extremes;
        }
        let chosen = match self {
            Self::MinMax => extremes,
            Self::Percentile(percentage) => percentile(histogram, percentage),
            Self::Mse => least_squares(histogram, whole),
            Self::Entropy => least_divergence(histogram, whole),
        };
        // A histogram knows values only to a bin.
        let (lo, hi) = (chosen.0.max(extremes.0), chosen.1.min(extremes.1));
        if lo < hi { (lo, hi) } else { extremes }
    }
}

/// The bins that are left when at most half of what is not in `percentage` is cut off at either end.
fn percentile(histogram: &Histogram, percentage: f64) -> (f32, f32) {
    let cut = histogram.count() as f64 * (100.0 - percentage) / 200.0;
    // Zeros lie between the bins on either side of 0.
    let width = histogram.width();
    let lo = outermost(histogram.bins().take_while(|bin| bin.0 < 0.0), cut).map_or(0.0, |bin| bin.0);
    let hi = outermost(histogram.bins().rev().take_while(|bin| bin.0 >= 0.0), cut).map_or(0.0, |bin| bin.0 + width);
    (lo as f32, hi as f32)
}

/// The first bin with which more than `cut` values have come.
fn outermost(mut bins: impl Iterator<Item = (f64, u64)>, cut: f64) -> Option<(f64, u64)> {
    let mut outside = 0;
    bins.find(|&(_, count)| {
        outside += count;
        outside as f64 > cut
    })
}

/// Ends of the range as parts of the extremes, from all of it downwards.
const PARTS: usize = 128;

/// Searches both ends together, then each alone.
fn least_squares(histogram: &Histogram, (lo, hi): (f32, f32)) -> (f32, f32) {
    let bins: Vec<(f64, f64)> = centers(histogram).filter(|bin| bin.1 > 0.0).collect();
    let part = |end: f32, parts: usize| end * parts as f32 / PARTS as f32;
    let mut best = ((PARTS, PARTS), squared_error(&bins, (lo, hi)));
    let try_parts = |candidates: &mut dyn Iterator<Item = (usize, usize)>, best: &mut ((usize, usize), f64)| {
        for parts in candidates {
            let error = squared_error(&bins, (part(lo, parts.0), part(hi, parts.1)));
            if error < best.1 {
                *best = (parts, error);
            }
        }
    };
    try_parts(&mut (1..PARTS).rev().map(|parts| (parts, parts)), &mut best);
    if lo < 0.0 && hi > 0.0 {
        for _ in 0..2 {
            let (_, above) = best.0;
            try_parts(&mut (1..=PARTS).rev().map(|parts| (parts, above)), &mut best);
            let (below, _) = best.0;
            try_parts(&mut (1..=PARTS).rev().map(|parts| (below, parts)), &mut best);
        }
    }
    let (below, above) = best.0;
    (part(lo, below), part(hi, above))
}

/// Center of each bin and what it holds.
fn centers(histogram: &Histogram) -> impl Iterator<Item = (f64, f64)> {
    let half = histogram.width() / 2.0;
    histogram.bins().map(move |(edge, count)| (edge + half, count as f64))
}

/// Sum of the squared errors of quantization to int8 with a range.
fn squared_error(bins: &[(f64, f64)], range: (f32, f32)) -> f64 {
    let scale = scale_of(range);
    let zero_point = f64::from(zero_point_of(range, scale));
    let scale = f64::from(scale);
    let error = |&(x, count): &(f64, f64)| {
        let steps = (x / scale + 0.5).floor().clamp(-128.0 - zero_point, 127.0 - zero_point);
        let error = x - steps * scale;
        count * error * error
    };
    bins.iter().map(error).sum()
}

/// Tries ranges that reach equally far to either side of 0, as far as there are values. The distribution leaves out the
/// zeros, which cost nothing and are half of what follows a ReLU.
fn least_divergence(histogram: &Histogram, (lo, hi): (f32, f32)) -> (f32, f32) {
    let bins: Vec<(f64, f64)> = histogram.bins().map(|(edge, count)| (edge, count as f64)).collect();
    let width = histogram.width();
    let reach = (f64::from(hi.max(-lo)) / width).ceil() as usize;
    let smallest = LEVELS / 2;
    let mut best = (f64::INFINITY, (lo, hi));
    let step = (reach.saturating_sub(smallest) / PARTS).max(1);
    for reach in (smallest..=reach).rev().step_by(step) {
        let limit = reach as f64 * width;
        let first = bins.partition_point(|bin| bin.0 < -limit);
        let last = bins.partition_point(|bin| bin.0 < limit);
        let counts: Vec<f64> = bins.iter().map(|bin| bin.1).collect();
        if let Some(divergence) = divergence(&counts, first, last)
            && divergence < best.0
        {
            best = (divergence, (lo.max(-limit as f32), hi.min(limit as f32)));
        }
    }
    best.1
}

/// The divergence from the distribution `counts`, with what lies outside `first..last` counted for the outermost bins
/// inside, of that which is left when the bins inside are merged into as many as there are levels: what a level holds
/// is spread evenly over those of its bins that hold anything.
fn divergence(counts: &[f64], first: usize, last: usize) -> Option<f64> {
    let inside = &counts[first..last];
    let total: f64 = counts.iter().sum();
    let kept: f64 = inside.iter().sum();
    if kept <= 0.0 {
        return None;
    }
    let mut clipped = inside.to_vec();
    clipped[0] += counts[..first].iter().sum::<f64>();
    *clipped.last_mut()? += counts[last..].iter().sum::<f64>();
    let bins = inside.len();
    let levels = bins.min(LEVELS);
    let mut sum = 0.0;
    for level in 0..levels {
        let (start, end) = (level * bins / levels, (level + 1) * bins / levels);
        let filled = clipped[start..end].iter().filter(|&&count| count > 0.0).count() as f64;
        let held: f64 = inside[start..end].iter().sum();
        for &count in clipped[start..end].iter().filter(|&&count| count > 0.0) {
            // A level to which only clipped values belong has no share of its own: as small a one as makes sense.
            let (p, q) = (count / total, (held / filled / kept).max(1e-4 / total));
            sum += p * (p / q).ln();
        }
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    const METHODS: [Method; 4] = [Method::MinMax, Method::Percentile(99.9), Method::Mse, Method::Entropy];

    fn extremes(elements: &[f32]) -> (f32, f32) {
        let lo = elements.iter().copied().fold(f32::INFINITY, f32::min);
        (lo, elements.iter().copied().fold(f32::NEG_INFINITY, f32::max))
    }

    fn range(method: Method, elements: &[f32]) -> (f32, f32) {
        let (lo, hi) = extremes(elements);
        let mut histogram = Histogram::default();
        histogram.record(elements, hi.max(-lo));
        method.range(&histogram, (lo, hi))
    }

    /// About a normal distribution with deviation 1.
    fn normal(count: usize) -> Vec<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        (0..count).map(|_| (0..12).map(|_| rng.random::<f32>()).sum::<f32>() - 6.0).collect()
    }

    #[test]
    fn outliers_are_clipped() {
        // The squared error takes many small gains for a large loss.
        let mut elements = normal(4000).repeat(250);
        elements.extend([60.0, -30.0]);
        assert_eq!(range(Method::MinMax, &elements), (-30.0, 60.0));
        for method in &METHODS[1..] {
            let (lo, hi) = range(*method, &elements);
            assert!((-15.0..-2.0).contains(&lo) && (2.0..50.0).contains(&hi), "{method:?}: {lo} {hi}");
        }
        // Behind a ReLU.
        elements.iter_mut().for_each(|x| *x = x.max(0.0));
        for method in &METHODS[1..] {
            let (lo, hi) = range(*method, &elements);
            assert!(lo == 0.0 && (2.0..50.0).contains(&hi), "{method:?}: {lo} {hi}");
        }
    }

    #[test]
    fn a_percentile_cuts_as_many_at_either_end() {
        let elements: Vec<f32> = (-1000..1000).map(|x| x as f32).collect();
        // To a bin.
        assert_eq!(range(Method::Percentile(90.0), &elements), (-900.0, 899.5));
        assert_eq!(range(Method::Percentile(100.0), &elements), (-1000.0, 999.0));
        // Zeros count.
        let mut elements = vec![0.0; 900];
        elements.extend((0..100).map(|x| x as f32));
        let (_, hi) = range(Method::Percentile(98.0), &elements);
        assert!((89.0..90.0).contains(&hi), "{hi}");
    }

    #[test]
    fn the_squared_error_is_the_least_of_all_ranges_tried() {
        let mut elements = normal(4000);
        elements.push(9.0);
        let chosen = range(Method::Mse, &elements);
        let error = |range: (f32, f32)| {
            let bins: Vec<(f64, f64)> = elements.iter().map(|&x| (f64::from(x), 1.0)).collect();
            squared_error(&bins, range)
        };
        for other in METHODS.map(|method| range(method, &elements)) {
            assert!(error(chosen) <= 1.02 * error(other), "{chosen:?} {other:?}");
        }
    }

    #[test]
    fn what_needs_no_clipping_keeps_its_range() {
        for elements in [vec![0.0; 50], vec![2.5; 50], vec![-2.5; 50], vec![0.0, 1.0], vec![1e-40, 0.0]] {
            for method in METHODS {
                let (lo, hi) = range(method, &elements);
                let whole = extremes(&elements);
                assert!(lo == whole.0 && hi == whole.1, "{method:?}: {lo} {hi} of {elements:?}");
            }
        }
        // A uniform distribution.
        let elements: Vec<f32> = (0..8000).map(|x| x as f32 / 1000.0).collect();
        for method in [Method::Mse, Method::Entropy] {
            assert!(range(method, &elements).1 > 7.9, "{method:?}");
        }
    }

    proptest! {
        #[test]
        fn a_range_lies_within_the_extremes(elements in proptest::collection::vec(-1e3f32..1e3, 1..300)) {
            let whole = extremes(&elements);
            for method in METHODS {
                let (lo, hi) = range(method, &elements);
                prop_assert!(whole.0 <= lo && lo <= hi && hi <= whole.1, "{method:?} {lo} {hi} {whole:?}");
            }
        }
    }
}
