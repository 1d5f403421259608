//! What values the activations take.

use super::histogram::Histogram;
use super::method::Method;
use skipstone_onnx::{Graph, ValueId};

/// What is known about the activations of a graph from the images seen, and the ranges that follow.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranges {
    method: Method,
    values: Vec<Option<Observed>>,
}

/// What is known about one activation.
#[derive(Clone, Debug, PartialEq)]
struct Observed {
    /// Smallest and largest element; NaN if any was NaN.
    extremes: (f32, f32),
    /// Empty where the method asks for extremes alone.
    histogram: Histogram,
}

impl Ranges {
    /// Nothing seen yet; ranges will be from the smallest to the largest element.
    pub fn new(graph: &Graph) -> Self {
        Self::by(Method::MinMax, graph)
    }

    /// Nothing seen yet; ranges will be chosen by `method`.
    pub fn by(method: Method, graph: &Graph) -> Self {
        Self { method, values: vec![None; graph.values().len()] }
    }

    /// Takes in elements of `value`. The order of elements and calls makes no difference.
    pub fn record(&mut self, value: ValueId, elements: &[f32]) {
        let Some((lo, hi)) = extremes(elements) else { return };
        let seen = self.values[value.index()]
            .get_or_insert_with(|| Observed { extremes: (lo, hi), histogram: Histogram::default() });
        seen.extremes = widest(seen.extremes, (lo, hi));
        if self.method != Method::MinMax {
            seen.histogram.record(elements, hi.abs().max(lo.abs()));
        }
    }

    /// The range of an activation; not finite if an element was not, `None` if `value` was never recorded.
    pub fn get(&self, value: ValueId) -> Option<(f32, f32)> {
        self.union(&[value])
    }

    /// The range for activations that share one scale, chosen from the elements of all of them; not finite if an element
    /// was not, `None` if one of them was never recorded, or there are none.
    pub fn union(&self, values: &[ValueId]) -> Option<(f32, f32)> {
        let mut observed = values.iter().map(|value| self.values[value.index()].as_ref());
        let mut union = observed.next()??.clone();
        for other in observed {
            let other = other?;
            union.extremes = widest(union.extremes, other.extremes);
            union.histogram.merge(&other.histogram);
        }
        Some(self.method.range(&union.histogram, union.extremes))
    }
}

/// Smallest and largest element, or NaN twice if one is NaN.
fn extremes(elements: &[f32]) -> Option<(f32, f32)> {
    let first = *elements.first()?;
    let (lo, hi, sum) = elements.iter().fold((first, first, 0.0), |(lo, hi, sum), &x| {
        // The product is 0, or NaN where x is not finite.
        (if x < lo { x } else { lo }, if x > hi { x } else { hi }, sum + 0.0 * x)
    });
    if sum.is_nan() && elements.iter().any(|x| x.is_nan()) { Some((f32::NAN, f32::NAN)) } else { Some((lo, hi)) }
}

fn widest(a: (f32, f32), b: (f32, f32)) -> (f32, f32) {
    if a.0.is_nan() || b.0.is_nan() { (f32::NAN, f32::NAN) } else { (a.0.min(b.0), a.1.max(b.1)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant::fixtures::Net;
    use crate::quant::span::{scale_of, zero_point_of};
    use proptest::prelude::*;

    fn graph() -> Graph {
        let mut net = Net::new(1, [1, 2, 2]);
        let x = net.relu(net.input());
        let x = net.relu(x);
        net.head(x, 2)
    }

    #[test]
    fn a_union_is_chosen_from_all_elements() {
        let graph = graph();
        let [a, b, both] = [0, 1, 2].map(|index| graph.nodes()[index].output);
        let unseen = graph.input();
        let low: Vec<f32> = (0..10_000).map(|x| (x as f32 / 10_000.0).powi(9)).collect();
        let high: Vec<f32> = low.iter().map(|x| -4.0 * x * x).collect();
        for method in [Method::MinMax, Method::Percentile(99.9), Method::Mse, Method::Entropy] {
            let mut ranges = Ranges::by(method, &graph);
            ranges.record(a, &low);
            ranges.record(b, &high);
            ranges.record(both, &high);
            ranges.record(both, &low);
            assert_eq!(ranges.union(&[b]), ranges.get(b));
            assert_eq!(ranges.union(&[a, b]), ranges.get(both), "{method:?}");
            assert_eq!(ranges.union(&[a, unseen]), None);
            assert_eq!(ranges.union(&[]), None);
        }
    }

    #[test]
    fn what_is_not_finite_stays_so() {
        let graph = graph();
        let value = graph.nodes()[0].output;
        for method in [Method::MinMax, Method::Mse, Method::Entropy, Method::Percentile(99.0)] {
            for odd in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let mut ranges = Ranges::by(method, &graph);
                ranges.record(value, &[1.0, odd, 2.0]);
                ranges.record(value, &[1.0, 3.0]);
                let (lo, hi) = ranges.get(value).unwrap();
                assert!(!(lo.is_finite() && hi.is_finite()), "{method:?} {odd}: {lo} {hi}");
            }
        }
    }

    proptest! {
        #[test]
        fn both_ends_are_within_half_a_step(lo in -1e4f32..1e4, span in 1e-3f32..1e4) {
            let range = (lo, lo + span);
            let scale = scale_of(range);
            let zero_point = f64::from(zero_point_of(range, scale));
            for x in [range.0.min(0.0), range.1.max(0.0)] {
                let q = f64::from(x) / f64::from(scale) + zero_point;
                prop_assert!((-128.501..=127.501).contains(&q), "{x} lies at {q}");
            }
        }
    }
}
