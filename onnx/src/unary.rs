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
    /// `x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3))) / 2`: nearly `Gelu`.
    GeluTanh,
    /// `ln(1 + exp(x))`.
    Softplus,
    /// `x * tanh(ln(1 + exp(x)))`.
    Mish,
    /// `x / (1 + |x|)`.
    Softsign,
    /// `x` where it is above `alpha`, otherwise 0.
    ThresholdedRelu {
        /// The threshold.
        alpha: f32,
    },
    /// `exp(x)`.
    Exp,
    /// The natural logarithm, of numbers above 0.
    Log,
    /// `x^exponent`, of numbers above 0 unless the exponent is whole.
    Power {
        /// The exponent.
        exponent: f32,
    },
}

impl Unary {
    /// `sqrt(2 / pi)`.
    pub(crate) const SQRT_2_OVER_PI: f32 = 0.797_884_6;

    /// The factor of the cube in [`Unary::GeluTanh`].
    pub(crate) const GELU_CUBE: f32 = 0.044_715;

    /// The operator's name in the ONNX specification.
    pub fn name(self) -> &'static str {
        match self {
            Unary::LeakyRelu { .. } => "LeakyRelu",
            Unary::Elu { .. } => "Elu",
            Unary::Gelu | Unary::GeluTanh => "Gelu",
            Unary::Erf => "Erf",
            Unary::Softplus => "Softplus",
            Unary::Mish => "Mish",
            Unary::Softsign => "Softsign",
            Unary::ThresholdedRelu { .. } => "ThresholdedRelu",
            Unary::Exp => "Exp",
            Unary::Log => "Log",
            Unary::Power { .. } => "Pow",
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
            Unary::GeluTanh => 0.5 * x * (1.0 + gelu_argument(x).tanh()),
            Unary::Erf => libm::erff(x),
            Unary::Softplus => softplus(x),
            Unary::Mish => x * softplus(x).tanh(),
            Unary::Softsign => x / (1.0 + x.abs()),
            Unary::ThresholdedRelu { alpha } => {
                if x > alpha {
                    x
                } else {
                    0.0
                }
            }
            Unary::Exp => x.exp(),
            Unary::Log => x.ln(),
            Unary::Power { exponent } => power(x, exponent),
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
            Unary::GeluTanh => {
                let tanh = gelu_argument(x).tanh();
                let inner = Unary::SQRT_2_OVER_PI * (1.0 + 3.0 * Unary::GELU_CUBE * x * x);
                0.5 * (1.0 + tanh) + 0.5 * x * (1.0 - tanh * tanh) * inner
            }
            Unary::Erf => (-x * x).exp() * std::f32::consts::FRAC_2_SQRT_PI,
            Unary::Softplus => sigmoid(x),
            Unary::Mish => {
                let tanh = softplus(x).tanh();
                tanh + x * (1.0 - tanh * tanh) * sigmoid(x)
            }
            Unary::Softsign => (1.0 + x.abs()).powi(-2),
            Unary::ThresholdedRelu { alpha } => {
                if x > alpha {
                    1.0
                } else {
                    0.0
                }
            }
            Unary::Exp => x.exp(),
            Unary::Log => x.recip(),
            Unary::Power { exponent } => exponent * power(x, exponent - 1.0),
        }
    }

    /// Whether the parameters are numbers.
    pub(crate) fn is_finite(self) -> bool {
        match self {
            Unary::LeakyRelu { alpha } | Unary::Elu { alpha } | Unary::ThresholdedRelu { alpha } => alpha.is_finite(),
            Unary::Power { exponent } => exponent.is_finite(),
            Unary::Gelu | Unary::GeluTanh | Unary::Erf | Unary::Softplus | Unary::Mish | Unary::Softsign => true,
            Unary::Exp | Unary::Log => true,
        }
    }
}

/// `1 / sqrt(2 * pi)`.
const INV_SQRT_2PI: f32 = 0.398_942_3;

fn gelu_argument(x: f32) -> f32 {
    Unary::SQRT_2_OVER_PI * (x + Unary::GELU_CUBE * x * x * x)
}

fn softplus(x: f32) -> f32 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

fn power(x: f32, exponent: f32) -> f32 {
    match exponent {
        -1.0 => x.recip(),
        -0.5 => x.sqrt().recip(),
        0.5 => x.sqrt(),
        _ => x.powf(exponent),
    }
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

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
            (Unary::GeluTanh, 1.0, 0.841_192),
            (Unary::GeluTanh, -2.0, -0.045_402_3),
            (Unary::Mish, 1.0, 0.865_098_4),
            (Unary::Mish, -2.0, -0.252_501_5),
            (Unary::Mish, -200.0, 0.0),
            (Unary::Mish, 200.0, 200.0),
            (Unary::Softsign, -3.0, -0.75),
            (Unary::ThresholdedRelu { alpha: 1.0 }, 1.0, 0.0),
            (Unary::ThresholdedRelu { alpha: 1.0 }, 1.5, 1.5),
            (Unary::Exp, 1.0, std::f32::consts::E),
            (Unary::Log, 2.0, std::f32::consts::LN_2),
            (Unary::Power { exponent: 0.5 }, 4.0, 2.0),
            (Unary::Power { exponent: -1.0 }, -4.0, -0.25),
            (Unary::Power { exponent: -0.5 }, 4.0, 0.5),
            (Unary::Power { exponent: 3.0 }, -2.0, -8.0),
            (Unary::Power { exponent: 1.5 }, 4.0, 8.0),
        ] {
            let found = unary.value(x);
            assert!((found - value).abs() <= 1e-3 * value.abs().min(1e-3), "{unary:?} of {x}: {found}");
        }
    }
}
