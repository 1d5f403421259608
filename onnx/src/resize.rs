//! Interpolation: where the pixels of the result lie in the operand, and what each of them is made of.

/// Attributes of an interpolation.
#[derive(Clone, Debug, PartialEq)]
pub struct Resize {
    /// Height and width of the result.
    pub size: [usize; 2],
    /// Where the result's pixels lie in the operand.
    pub coordinates: Coordinates,
    /// How the pixels around a position weigh.
    pub kernel: ResizeKernel,
    /// Whether an axis that shrinks has its kernel stretched by the factor, so that every pixel of the operand counts.
    pub antialias: bool,
    /// Whether positions outside the map weigh nothing, and the others more for it. Otherwise they have the value of the
    /// nearest pixel, as all that a linear kernel reaches unless it is stretched.
    pub exclude_outside: bool,
}

impl Resize {
    /// Linear interpolation, or the nearest pixel by [`Coordinates::Nearest`].
    pub fn new(size: [usize; 2], coordinates: Coordinates) -> Self {
        Self { size, coordinates, kernel: ResizeKernel::Linear, antialias: false, exclude_outside: false }
    }

    /// Whether of a map of `[height, width]` at most the two rows and columns around a position count, by their distance.
    pub fn is_linear(&self, [height, width]: [usize; 2]) -> bool {
        let shrinks = self.size[0] < height || self.size[1] < width;
        self.kernel == ResizeKernel::Linear && !(self.antialias && shrinks)
    }

    /// For each pixel of the result along `axis`, 0 for rows and 1 for columns, the pixels of the operand that it is made
    /// of, whose axis has `size` pixels. The interpolation of a map is the one of its rows after the one of its columns.
    ///
    /// With `p` the position, `s = max(size / out, 1)` if antialiased and 1 otherwise, and `w` the kernel, pixel `k` weighs
    /// `w((k - p) / s)`, divided by the sum of all weights. The weights of `k` outside the map are left out with
    /// `exclude_outside`; otherwise they are added to the first or last pixel's. That is ONNX's definition of `Resize`
    /// (`onnx/reference/ops/op_resize.py`) in closed form.
    ///
    /// # Panics
    /// If `size` or the result's is 0.
    pub fn taps(&self, axis: usize, size: usize) -> Vec<Taps> {
        let out = self.size[axis];
        let stretch = if self.antialias { (size as f64 / out as f64).max(1.0) } else { 1.0 };
        let reach = self.kernel.reach() * stretch;
        let last = size as i64 - 1;
        (0..out)
            .map(|index| {
                let position = self.coordinates.unlimited_position(size, out, index);
                let (low, high) = ((position - reach).floor() as i64 + 1, (position + reach).ceil() as i64 - 1);
                let first = low.clamp(0, last);
                let mut weights = vec![0.0; (high.clamp(0, last) - first + 1) as usize];
                for pixel in low..=high {
                    let inside = pixel.clamp(0, last);
                    if inside == pixel || !self.exclude_outside {
                        weights[(inside - first) as usize] += self.kernel.weight((pixel as f64 - position) / stretch);
                    }
                }
                let sum: f64 = weights.iter().sum();
                weights.iter_mut().for_each(|weight| *weight /= sum);
                Taps { first: first as usize, weights }
            })
            .collect()
    }
}

/// The pixels of an axis that one pixel of the result is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct Taps {
    /// The first of them.
    pub first: usize,
    /// Its weight and those of the pixels after it, whose sum is 1.
    pub weights: Vec<f64>,
}

/// How pixels weigh by their distance from a position.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ResizeKernel {
    /// `1 - |x|`, to a distance of 1.
    Linear,
    /// Cubic convolution, to a distance of 2 (Keys, "Cubic convolution interpolation for digital image processing", 1981).
    Cubic {
        /// Keys' `a`: -0.5 in his paper and in Pillow, -0.75 in PyTorch and OpenCV; in [`ResizeKernel::COEFFICIENTS`].
        coefficient: f32,
    },
}

impl ResizeKernel {
    /// The coefficients of a cubic kernel for which no sum of weights comes near 0, whatever lies outside the map.
    pub const COEFFICIENTS: std::ops::RangeInclusive<f32> = -3.0..=3.0;

    /// The distance from which on pixels weigh nothing.
    fn reach(self) -> f64 {
        match self {
            Self::Linear => 1.0,
            Self::Cubic { .. } => 2.0,
        }
    }

    fn weight(self, distance: f64) -> f64 {
        let x = distance.abs();
        match self {
            Self::Linear => (1.0 - x).max(0.0),
            Self::Cubic { coefficient } => {
                let a = f64::from(coefficient);
                if x <= 1.0 {
                    ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
                } else if x < 2.0 {
                    ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a
                } else {
                    0.0
                }
            }
        }
    }
}

/// Where pixel `i` of `out` lies on an axis of `size` pixels. Positions before the first or after the last pixel have
/// its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coordinates {
    /// `i * (size - 1) / (out - 1)`: first and last pixels coincide. 0 if `out` is 1.
    AlignCorners,
    /// `(i + 0.5) * size / out - 0.5`: the outer edges of first and last pixels coincide.
    HalfPixel,
    /// `i * size / out`: the outer edges of the first pixels coincide, and there the pixels' values are.
    Asymmetric,
    /// `floor(i * size / out)`: a pixel of the operand, with nothing between two of them.
    Nearest,
}

impl Coordinates {
    /// Where pixel `index` of `out` lies, between 0 and `size - 1`.
    ///
    /// # Panics
    /// If `size` or `out` is 0.
    pub fn position(self, size: usize, out: usize, index: usize) -> f64 {
        self.unlimited_position(size, out, index).clamp(0.0, (size - 1) as f64)
    }

    /// As [`Coordinates::position`], also outside the map.
    fn unlimited_position(self, size: usize, out: usize, index: usize) -> f64 {
        match self {
            Self::AlignCorners if out == 1 => 0.0,
            Self::AlignCorners => index as f64 * (size - 1) as f64 / (out - 1) as f64,
            Self::HalfPixel => (index as f64 + 0.5) * size as f64 / out as f64 - 0.5,
            Self::Asymmetric => index as f64 * size as f64 / out as f64,
            Self::Nearest => (index * size / out) as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: ResizeKernel = ResizeKernel::Cubic { coefficient: -0.5 };

    fn taps(resize: Resize, size: usize) -> Vec<(usize, Vec<f64>)> {
        resize.taps(0, size).into_iter().map(|taps| (taps.first, taps.weights)).collect()
    }

    /// By hand: at a quarter between two pixels Keys' kernel with -0.5 is (-9, 111, 29, -3) / 128, with -0.75 it is
    /// (-27, 225, 67, -9) / 256.
    #[test]
    fn weights_of_doubled_pixels() {
        let half = Resize { kernel: KEYS, ..Resize::new([8, 1], Coordinates::HalfPixel) };
        let pixels = taps(half.clone(), 4);
        let of_128 = |numbers: &[f64]| numbers.iter().map(|x| x / 128.0).collect::<Vec<f64>>();
        assert_eq!(pixels[3], (0, of_128(&[-9.0, 111.0, 29.0, -3.0])));
        assert_eq!(pixels[4], (0, of_128(&[-3.0, 29.0, 111.0, -9.0])));
        // What lies outside is the first pixel's.
        assert_eq!(pixels[0], (0, of_128(&[-3.0 + 29.0 + 111.0, -9.0])));
        assert_eq!(pixels[1], (0, of_128(&[-9.0 + 111.0, 29.0, -3.0])));
        // Or it is left out.
        let excluded = taps(Resize { exclude_outside: true, ..half.clone() }, 4);
        assert_eq!(excluded[0], (0, vec![111.0 / 102.0, -9.0 / 102.0]));
        let torch = Resize { kernel: ResizeKernel::Cubic { coefficient: -0.75 }, ..half };
        assert_eq!(taps(torch, 4)[3], (0, [-27.0, 225.0, 67.0, -9.0].map(|x| x / 256.0).to_vec()));
    }

    #[test]
    fn an_antialiased_kernel_is_stretched() {
        let halved = Resize { antialias: true, ..Resize::new([2, 1], Coordinates::HalfPixel) };
        // Around 0.5: distances 1.5, 0.5, 0.5, 1.5 of 2; the first lies outside and counts for pixel 0.
        assert_eq!(taps(halved.clone(), 4)[0], (0, vec![0.5, 0.375, 0.125]));
        assert_eq!(taps(halved.clone(), 4)[1], (1, vec![0.125, 0.375, 0.5]));
        let excluded = Resize { exclude_outside: true, ..halved.clone() };
        assert_eq!(taps(excluded, 4)[0], (0, [3.0, 3.0, 1.0].map(|x| x / 7.0).to_vec()));
        // An axis that grows is not touched.
        let grown = Resize { size: [8, 1], ..halved };
        assert_eq!(grown.taps(0, 4), Resize { antialias: false, ..grown.clone() }.taps(0, 4));
    }

    #[test]
    fn linear_weights_are_the_distances() {
        let linear = |size, out, coordinates| taps(Resize::new([out, 1], coordinates), size);
        assert_eq!(linear(3, 5, Coordinates::AlignCorners)[1], (0, vec![0.5, 0.5]));
        assert_eq!(linear(2, 4, Coordinates::HalfPixel)[0], (0, vec![1.0]));
        assert_eq!(linear(2, 4, Coordinates::HalfPixel)[1], (0, vec![0.75, 0.25]));
        assert_eq!(linear(5, 3, Coordinates::Nearest), [0, 1, 3].map(|pixel| (pixel, vec![1.0])));
    }

    #[test]
    fn the_weights_of_every_axis_add_up() {
        let modes = [Coordinates::AlignCorners, Coordinates::HalfPixel, Coordinates::Asymmetric];
        let flags = [(false, false), (false, true), (true, false), (true, true)];
        let coefficients = [-3.0, -0.75, 0.0, 3.0].map(|coefficient| ResizeKernel::Cubic { coefficient });
        for (coordinates, (antialias, exclude_outside)) in modes.iter().flat_map(|&mode| flags.map(|two| (mode, two))) {
            for kernel in coefficients.into_iter().chain([ResizeKernel::Linear]) {
                for (size, out) in [(1, 1), (1, 7), (7, 1), (4, 9), (9, 4), (30, 7), (3, 2)] {
                    let resize = Resize { size: [1, out], coordinates, kernel, antialias, exclude_outside };
                    for Taps { first, weights } in resize.taps(1, size) {
                        assert!(first + weights.len() <= size, "{resize:?} of {size}");
                        assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{resize:?} of {size}: {weights:?}");
                        assert!(weights.iter().all(|weight| weight.abs() < 20.0), "{resize:?} of {size}: {weights:?}");
                    }
                }
            }
        }
    }
}
