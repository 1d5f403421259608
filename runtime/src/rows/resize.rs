//! Where a resize reads, in integers.
//!
//! On an axis every position is a fraction over one denominator, in lowest terms for the axis as a whole, so that the
//! weights of neighbouring pixels are small integers: enlarging by 2 with [`ResizeMode::HalfPixel`] weighs 1 : 3 and 3 : 1.

use crate::format::records::{Node, ResizeMode, Tensor};

/// The positions on one axis: `(index * step + offset) / denominator`, inside the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Axis {
    /// Numerator from a position to the next.
    pub step: u32,
    /// Numerator of the first position, before it is brought inside.
    pub offset: i32,
    /// What the weights of a position add up to.
    pub denominator: u32,
    /// Elements of the map.
    pub size: u32,
    /// Whether positions between two elements are those of the first.
    pub floor: bool,
}

/// What one element of the result is made of: element `first` of the map `denominator - fraction` times, and the next
/// one, if `fraction` is not 0, `fraction` times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Element of the map.
    pub first: usize,
    /// Weight of the next one.
    pub fraction: u32,
}

impl Position {
    /// One past the last element that it reads.
    pub fn end(&self) -> usize {
        self.first + 1 + usize::from(self.fraction > 0)
    }
}

/// The positions of the rows of a resize.
pub fn resize_rows(node: &Node, input: &Tensor, output: &Tensor) -> Axis {
    Axis::new(ResizeMode::from_code(node.flags), input.height, output.height)
}

/// The positions of the pixels of a row of a resize.
pub fn resize_columns(node: &Node, input: &Tensor, output: &Tensor) -> Axis {
    Axis::new(ResizeMode::from_code(node.flags), input.width, output.width)
}

impl Axis {
    /// `out` positions on `size` elements, neither of which is 0; without a mode as [`ResizeMode::Nearest`].
    pub fn new(mode: Option<ResizeMode>, size: u16, out: u16) -> Self {
        let (size, out) = (u32::from(size), u32::from(out));
        let (step, offset, denominator) = match mode {
            Some(ResizeMode::AlignCorners) if out > 1 => (size.saturating_sub(1), 0, out - 1),
            Some(ResizeMode::AlignCorners) => (0, 0, 1),
            Some(ResizeMode::HalfPixel) => (2 * size, size as i32 - out as i32, 2 * out),
            Some(ResizeMode::Asymmetric | ResizeMode::Nearest) | None => (size, 0, out),
        };
        let divisor = common_divisor(common_divisor(step, denominator), offset.unsigned_abs()).max(1);
        let floor = matches!(mode, Some(ResizeMode::Nearest) | None);
        // Numbers are below 2^18, so the divisor fits an i32.
        let offset = offset.checked_div(divisor as i32).unwrap_or(0);
        Self { step: step / divisor, offset, denominator: denominator / divisor, size, floor }
    }

    /// Sum of the weights of a position.
    pub fn weight(&self) -> u32 {
        if self.floor { 1 } else { self.denominator }
    }

    /// The element at or before position number `index`, which may lie outside the map, where numerators stay below
    /// [`reach`](Self::reach) 2^31.
    pub fn floor(&self, index: usize) -> i32 {
        let numerator = (index as i32).wrapping_mul(self.step as i32).wrapping_add(self.offset);
        numerator.checked_div_euclid(self.denominator as i32).unwrap_or(0)
    }

    /// More than the magnitude of the numerators of the first `count` positions.
    pub fn reach(&self, count: usize) -> u64 {
        count as u64 * u64::from(self.step) + u64::from(self.offset.unsigned_abs()) + 1
    }

    /// Position number `index`, where [`weight`](Self::weight) is below 2^16.
    pub fn position(&self, index: usize) -> Position {
        let denominator = self.denominator.max(1);
        let numerator = (index as u32).saturating_mul(self.step).saturating_add_signed(self.offset);
        let last = self.size.saturating_sub(1);
        let (first, fraction) = (numerator / denominator, numerator % denominator);
        let between = first < last && !self.floor;
        Position { first: first.min(last) as usize, fraction: if between { fraction } else { 0 } }
    }
}

/// The greatest common divisor; of 0 and a number that number.
fn common_divisor(mut a: u32, mut b: u32) -> u32 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    fn positions(mode: ResizeMode, size: u16, out: u16) -> (u32, Vec<(usize, u32)>) {
        let axis = Axis::new(Some(mode), size, out);
        (axis.weight(), (0..out.into()).map(|i| axis.position(i)).map(|p| (p.first, p.fraction)).collect())
    }

    #[test]
    fn positions_are_in_lowest_terms() {
        let by_two = (4, vec![(0, 0), (0, 1), (0, 3), (1, 1), (1, 3), (2, 0)]);
        assert_eq!(positions(ResizeMode::HalfPixel, 3, 6), by_two);
        assert_eq!(positions(ResizeMode::HalfPixel, 6, 3), (2, vec![(0, 1), (2, 1), (4, 1)]));
        assert_eq!(positions(ResizeMode::AlignCorners, 3, 5), (2, vec![(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)]));
        assert_eq!(positions(ResizeMode::AlignCorners, 4, 1), (1, vec![(0, 0)]));
        assert_eq!(positions(ResizeMode::AlignCorners, 1, 3), (1, vec![(0, 0); 3]));
        assert_eq!(positions(ResizeMode::Asymmetric, 2, 4), (2, vec![(0, 0), (0, 1), (1, 0), (1, 0)]));
        assert_eq!(positions(ResizeMode::Nearest, 2, 5), (1, vec![(0, 0), (0, 0), (0, 0), (1, 0), (1, 0)]));
        assert_eq!(positions(ResizeMode::Nearest, 5, 2), (1, vec![(0, 0), (2, 0)]));
    }

    #[test]
    fn positions_are_those_of_real_numbers() {
        for size in 1..=12u16 {
            for out in 1..=12u16 {
                let (n, m) = (f64::from(size), f64::from(out));
                let half = |i: f64| ((i + 0.5) * n / m - 0.5).clamp(0.0, n - 1.0);
                let align = |i: f64| if out == 1 { 0.0 } else { i * (n - 1.0) / (m - 1.0) };
                let asymmetric = |i: f64| (i * n / m).min(n - 1.0);
                let nearest = |i: f64| (i * n / m + 1e-9).floor();
                let real: [(ResizeMode, &dyn Fn(f64) -> f64); 4] = [
                    (ResizeMode::HalfPixel, &half),
                    (ResizeMode::AlignCorners, &align),
                    (ResizeMode::Asymmetric, &asymmetric),
                    (ResizeMode::Nearest, &nearest),
                ];
                for (mode, real) in real {
                    let (weight, positions) = positions(mode, size, out);
                    for (i, (first, fraction)) in positions.into_iter().enumerate() {
                        assert!(fraction < weight && first < usize::from(size));
                        assert!(first + 1 < usize::from(size) || fraction == 0);
                        let found = first as f64 + f64::from(fraction) / f64::from(weight);
                        assert!((found - real(i as f64)).abs() < 1e-6, "{mode:?} {size} to {out}: {i} at {found}");
                    }
                }
            }
        }
    }
}
