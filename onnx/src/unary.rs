//! Functions of one number that networks use as activations, beside those that [`Op`](crate::Op) has of its own.

use std::f32::consts::FRAC_1_SQRT_2;

/// A function of one number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Unary {
    /// `x` where it is above 0, otherwise `alpha * x`.
    LeakyRelu {
        /// The slope below 0.
        alpha: f32,
    },
    /// `x` where it is above 0, otherwise `alpha * (exp(x) - 1)`.
    Elu {
        /// The distance of the lower limit from 0.
        alpha: f32,
    },
    /// `x * (1 + erf(x / sqrt(2))) / 2`: `x` times the normal distribution's probability of less than `x`.
    Gelu,
    /// The error function.
    Erf,
    /// `ln(1 + exp(x))`.
    Softplus,
}

impl Unary {
    /// The operator's name in the ONNX specification.
    pub fn name(self) -> &'static str {
        match self {
            Unary::LeakyRelu { .. } => "LeakyRelu",
            Unary::Elu { .. } => "Elu",
            Unary::Gelu => "Gelu",
            Unary::Erf => "Erf",
            Unary::Softplus => "Softplus",
        }
    }

    /// The function's value.
    #[inline]
    pub fn value(self, x: f32) -> f32 {
        match self {
            Unary::LeakyRelu { alpha } => {
                if x > 0.0 {
                    x
                } else {
                    alpha * x
                }
            }
            Unary::Elu { alpha } => {
                if x > 0.0 {
                    x
                } else {
                    alpha * x.exp_m1()
                }
            }
            Unary::Gelu => x * normal_probability(x),
            Unary::Erf => libm::erff(x),
            Unary::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
        }
    }

    /// The function's derivative; that on the left where there are two.
    #[inline]
    pub fn derivative(self, x: f32) -> f32 {
        match self {
            Unary::LeakyRelu { alpha } => {
                if x > 0.0 {
                    1.0
                } else {
                    alpha
                }
            }
            Unary::Elu { alpha } => {
                if x > 0.0 {
                    1.0
                } else {
                    alpha * x.exp()
                }
            }
            Unary::Gelu => normal_probability(x) + x * (-0.5 * x * x).exp() * INV_SQRT_2PI,
            Unary::Erf => (-x * x).exp() * std::f32::consts::FRAC_2_SQRT_PI,
            Unary::Softplus => 1.0 / (1.0 + (-x).exp()),
        }
    }

    /// Whether the parameters are numbers.
    pub(crate) fn is_finite(self) -> bool {
        match self {
            Unary::LeakyRelu { alpha } | Unary::Elu { alpha } => alpha.is_finite(),
            Unary::Gelu | Unary::Erf | Unary::Softplus => true,
        }
    }
}

/// `1 / sqrt(2 * pi)`.
const INV_SQRT_2PI: f32 = 0.398_942_3;

/// The standard normal distribution's probability of less than `x`, to full precision on both sides.
fn normal_probability(x: f32) -> f32 {
    0.5 * libm::erfcf(-x * FRAC_1_SQRT_2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_tables() {
        for (unary, x, value) in [
            (Unary::LeakyRelu { alpha: 0.25 }, -2.0, -0.5),
            (Unary::LeakyRelu { alpha: 0.25 }, 3.0, 3.0),
            (Unary::Elu { alpha: 2.0 }, -1.0, -1.264_241_1),
            (Unary::Elu { alpha: 2.0 }, 1.5, 1.5),
            (Unary::Gelu, 1.0, 0.841_344_7),
            (Unary::Gelu, -2.0, -0.045_500_264),
            (Unary::Gelu, -9.0, -1.015_8e-18),
            (Unary::Erf, 0.5, 0.520_499_9),
            (Unary::Softplus, 0.0, std::f32::consts::LN_2),
            (Unary::Softplus, 200.0, 200.0),
            (Unary::Softplus, -200.0, 0.0),
        ] {
            let found = unary.value(x);
            assert!((found - value).abs() <= 1e-3 * value.abs().min(1e-3), "{unary:?} of {x}: {found}");
        }
    }
}
