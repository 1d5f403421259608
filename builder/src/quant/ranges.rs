//! What values the activations take, and the scale and zero point that hold them.

use skipstone_onnx::{Graph, ValueId};

/// Smallest scale: products of two scales stay normal float32 numbers.
const SCALE_MIN: f64 = 1e-15;

/// Smallest and largest element of each value of a graph, over the images seen.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranges(Vec<Option<(f32, f32)>>);

impl Ranges {
    /// Nothing seen yet.
    pub fn new(graph: &Graph) -> Self {
        Self(vec![None; graph.values().len()])
    }

    /// Widens the range of `value` to hold `elements`. A range that has met a NaN stays NaN.
    pub fn record(&mut self, value: ValueId, elements: &[f32]) {
        let range = &mut self.0[value.index()];
        for &x in elements {
            let (lo, hi) = range.unwrap_or((x, x));
            *range = Some(if x.is_nan() || lo.is_nan() { (f32::NAN, f32::NAN) } else { (lo.min(x), hi.max(x)) });
        }
    }

    /// Smallest and largest element seen; `None` if `value` was never recorded.
    pub fn get(&self, value: ValueId) -> Option<(f32, f32)> {
        self.0[value.index()]
    }
}

/// The scale that spreads `lo..=hi` and 0 over the 256 int8 values. A range of nothing but 0 gets scale 1.
pub(crate) fn scale_of((lo, hi): (f32, f32)) -> f32 {
    let span = f64::from(hi).max(0.0) - f64::from(lo).min(0.0);
    if span == 0.0 { 1.0 } else { (span / 255.0).max(SCALE_MIN) as f32 }
}

/// The int8 value of the real number 0, so that `lo` comes to lie nearest to -128: the range is nudged by at most half a
/// step. A range without negative numbers gives -128.
pub(crate) fn zero_point_of((lo, _): (f32, f32), scale: f32) -> i8 {
    let steps = -128.0 - f64::from(lo).min(0.0) / f64::from(scale);
    steps.round().clamp(-128.0, 127.0) as i8
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn worked_ranges() {
        // docs/quantization.md, "Activations".
        let relu = (0.0, 5.1);
        assert_eq!(scale_of(relu), 0.02);
        assert_eq!(zero_point_of(relu, 0.02), -128);
        let signed = (-1.0, 1.55);
        assert_eq!(scale_of(signed), 0.01);
        assert_eq!(zero_point_of(signed, 0.01), -28);
        // 0 is held even where it was never seen.
        assert_eq!((scale_of((1.0, 2.55)), zero_point_of((1.0, 2.55), 0.01)), (0.01, -128));
        assert_eq!((scale_of((-2.55, -1.0)), zero_point_of((-2.55, -1.0), 0.01)), (0.01, 127));
    }

    #[test]
    fn a_dead_activation_has_a_scale() {
        assert_eq!((scale_of((0.0, 0.0)), zero_point_of((0.0, 0.0), 1.0)), (1.0, -128));
        assert!(scale_of((0.0, 1e-30)) > 1e-20);
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
