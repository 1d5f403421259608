//! The integer weights of interpolation by another kernel than the linear one.

use skipstone_onnx::{Coordinates, Resize, resize::Taps};
use skipstone_runtime::format::records::ResizeMode;
use skipstone_runtime::rows::Axis;

/// Largest magnitude of an int8 value.
const VALUE: u64 = 128;

/// Most bits of a weight after the point.
const BITS: u32 = 22;

/// What the magnitudes of the weights of a position add up to (exclusive): 128 of it fit 32 bits.
const ROWS_LIMIT: f64 = (1u64 << 24) as f64;

/// Accumulators stay below this.
const SUM_LIMIT: u64 = 1 << 30;

/// A resampling in integers, of rows and then of the pixels of each row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Resampling {
    /// Rows, pixels.
    pub(crate) axes: [Weights; 2],
    /// Bits that sums lose, so that they fit 32.
    pub(crate) lost: u32,
}

/// The weights of the positions on an axis, as many for each of them, around the element at or before it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Weights {
    /// How many elements before that one are weighed.
    pub(crate) before: usize,
    /// How many elements are weighed.
    pub(crate) count: usize,
    /// Those of a position add up to 2 to the power of `bits`.
    pub(crate) weights: Vec<i32>,
    bits: u32,
}

impl Resampling {
    /// Of a map of `[height, width]`.
    ///
    /// # Errors
    /// If it is too large.
    pub(crate) fn new(resize: &Resize, size: [usize; 2]) -> Result<Self, String> {
        let [rows, pixels] = [0, 1].map(|axis| Weights::new(resize, axis, size[axis]));
        let axes = [rows?, pixels?];
        let [rows, pixels] = [0, 1].map(|axis: usize| axes[axis].largest());
        let most = u128::from(VALUE * rows) * u128::from(pixels);
        let lost = (0..).find(|&lost| most >> lost < SUM_LIMIT.into()).unwrap_or(0);
        Ok(Self { axes, lost })
    }

    /// Bits of an accumulator after the point: that of a map of ones is 2 to this power.
    pub(super) fn fraction(&self) -> u32 {
        self.axes[0].bits + self.axes[1].bits - self.lost
    }

    /// Largest magnitude of an accumulator.
    pub(super) fn bound(&self) -> i64 {
        let most = u128::from(VALUE * self.axes[0].largest()) * u128::from(self.axes[1].largest());
        (most >> self.lost) as i64 + 1
    }

    /// The weights as they lie in the file: for each row, then for each pixel.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.axes.iter().flat_map(|axis| &axis.weights).flat_map(|weight| weight.to_le_bytes()).collect()
    }
}

impl Weights {
    fn new(resize: &Resize, axis: usize, size: usize) -> Result<Self, String> {
        let out = resize.size[axis];
        let taps = resize.taps(axis, size);
        let narrow = |length: usize| u16::try_from(length).map_err(|_| format!("its axis of {length} is too long"));
        let positions = Axis::new(Some(resize_mode(resize.coordinates)), narrow(size)?, narrow(out)?);
        if positions.reach(out) >= 1 << 31 {
            return Err(format!("its positions on {size} elements leave 32 bits: resize by a simpler factor"));
        }
        let magnitude = |taps: &Taps| taps.weights.iter().map(|weight| weight.abs()).sum::<f64>();
        let largest = taps.iter().map(magnitude).fold(1.0, f64::max);
        let fits = |bits: &u32| largest * f64::from(*bits).exp2() + (size as f64) < ROWS_LIMIT;
        let bits = (0..=BITS).rev().find(fits).ok_or("its weights are too large")?;

        let taps: Vec<(i64, Vec<i32>)> = taps.iter().map(|taps| whole(taps, bits)).collect();
        let floors: Vec<i64> = (0..out).map(|index| positions.floor(index).into()).collect();
        let reaches = || taps.iter().zip(&floors).map(|((first, weights), at)| (first - at, weights.len() as i64));
        let first = reaches().map(|(first, _)| first).min().unwrap_or(0).min(0);
        let end = reaches().map(|(first, count)| first + count).max().unwrap_or(1);
        let count = (end - first) as usize;
        let mut weights = vec![0; out * count];
        for (((own, taps), at), weights) in taps.iter().zip(&floors).zip(weights.chunks_exact_mut(count)) {
            weights[(own - at - first) as usize..][..taps.len()].copy_from_slice(taps);
        }
        Ok(Self { before: -first as usize, count, weights, bits })
    }

    /// What the magnitudes of the weights of a position add up to, at most.
    fn largest(&self) -> u64 {
        let sum = |weights: &[i32]| weights.iter().map(|weight| u64::from(weight.unsigned_abs())).sum();
        self.weights.chunks_exact(self.count).map(sum).max().unwrap_or(0)
    }
}

/// Weights in units of 2 to the power of `-bits`, without zeros at the ends, and the first one's element. The largest one
/// takes what rounding leaves of their sum.
fn whole(taps: &Taps, bits: u32) -> (i64, Vec<i32>) {
    let one = f64::from(bits).exp2();
    let mut weights: Vec<i32> = taps.weights.iter().map(|weight| (weight * one).round() as i32).collect();
    let rest = one as i32 - weights.iter().sum::<i32>();
    if let Some(largest) = weights.iter_mut().max_by_key(|weight| weight.unsigned_abs()) {
        *largest += rest;
    }
    let first = weights.iter().position(|&weight| weight != 0).unwrap_or(0);
    let end = weights.iter().rposition(|&weight| weight != 0).map_or(first, |last| last + 1);
    ((taps.first + first) as i64, weights[first..end].to_vec())
}

/// The mode of a resize in a packed model.
pub fn resize_mode(coordinates: Coordinates) -> ResizeMode {
    match coordinates {
        Coordinates::AlignCorners => ResizeMode::AlignCorners,
        Coordinates::HalfPixel => ResizeMode::HalfPixel,
        Coordinates::Asymmetric => ResizeMode::Asymmetric,
        Coordinates::Nearest => ResizeMode::Nearest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant::requant::{Channel, requants};
    use proptest::prelude::*;
    use skipstone_onnx::ResizeKernel;

    const TORCH: ResizeKernel = ResizeKernel::Cubic { coefficient: -0.75 };

    /// docs/quantization.md, "A resampling".
    #[test]
    fn worked_weights() {
        let resize = Resize { kernel: TORCH, ..Resize::new([8, 8], Coordinates::HalfPixel) };
        let resampling = Resampling::new(&resize, [4, 4]).unwrap();
        let Weights { before, count, weights, bits } = &resampling.axes[0];
        assert_eq!((*before, *count, *bits), (1, 4, 22));
        // Row 3 lies at 1.25: (-27, 225, 67, -9) / 256.
        assert_eq!(weights[3 * 4..4 * 4], [-27, 225, 67, -9].map(|weight| weight << 14));
        // Row 0 lies at -0.25: what is outside counts for element 0, the last of four.
        assert_eq!(weights[..4], [0, 0, -9 + 67 + 225, -27].map(|weight| weight << 14));
        // 128 * 1.28125^2 * 2^44 loses 22 bits to stay below 2^30.
        assert_eq!((resampling.lost, resampling.fraction()), (22, 22));
        // Rows of 10, 30, 30 and 31 at 1.25.
        let acc = (-27 * 10 + 225 * 30 + 67 * 30 - 9 * 31) << 14;
        let multiplier = (-22f64).exp2();
        let channel = Channel { multiplier, offset: 0, constant: 0.0, bound: resampling.bound() };
        let requant = requants(&[channel], None, 0).unwrap().channels[0];
        assert_eq!((requant.m, requant.s, requant.apply(acc, -128, 127)), (1 << 29, 51, 32));
    }

    #[test]
    fn what_is_too_large_is_said() {
        let resize = Resize { kernel: TORCH, ..Resize::new([65_535, 1], Coordinates::HalfPixel) };
        assert!(Resampling::new(&resize, [65_534, 1]).unwrap_err().contains("leave 32 bits"));
        assert!(Resampling::new(&resize, [65_536, 1]).unwrap_err().contains("axis of 65536 is too long"));
    }

    fn resizes() -> impl Strategy<Value = (Resize, usize)> {
        let coordinates =
            prop_oneof![Just(Coordinates::AlignCorners), Just(Coordinates::HalfPixel), Just(Coordinates::Asymmetric)];
        let kernel = prop_oneof![
            Just(ResizeKernel::Linear),
            (-3.0..3.0f32).prop_map(|coefficient| ResizeKernel::Cubic { coefficient })
        ];
        (1usize..40, 1usize..40, coordinates, kernel, any::<bool>(), any::<bool>()).prop_map(
            |(size, out, coordinates, kernel, antialias, exclude_outside)| {
                let resize = Resize { kernel, antialias, exclude_outside, ..Resize::new([out, 1], coordinates) };
                (resize, size)
            },
        )
    }

    proptest! {
        /// Every weight is the real one to a rounding of its last bit, but the largest, which takes the rest.
        #[test]
        fn weights_are_the_real_ones((resize, size) in resizes()) {
            let weights = Weights::new(&resize, 0, size).unwrap();
            let positions = Axis::new(Some(resize_mode(resize.coordinates)), size as u16, resize.size[0] as u16);
            let one = f64::from(weights.bits).exp2();
            prop_assert!(weights.largest() < 1 << 24 && (weights.bits == BITS || weights.largest() > 1 << 22));
            for (index, (taps, own)) in resize.taps(0, size).iter().zip(weights.weights.chunks(weights.count)).enumerate() {
                prop_assert_eq!(own.iter().map(|&weight| i64::from(weight)).sum::<i64>(), one as i64);
                let first = i64::from(positions.floor(index)) - weights.before as i64;
                let mut found = vec![0.0; size];
                for (element, &weight) in (first..).zip(own) {
                    if (0..size as i64).contains(&element) {
                        found[element as usize] = f64::from(weight);
                    } else {
                        prop_assert_eq!(weight, 0);
                    }
                }
                for (element, found) in found.iter().enumerate() {
                    let real = element.checked_sub(taps.first).and_then(|at| taps.weights.get(at)).unwrap_or(&0.0);
                    prop_assert!((found - real * one).abs() <= 0.5 * size as f64 + 0.5, "{found} {real} {resize:?}");
                }
            }
        }
    }
}
