//! The scale and the zero point that hold a range of real numbers.

/// Smallest scale: products of two scales stay normal float32 numbers.
const SCALE_MIN: f64 = 1e-15;

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
}
