//! Rules by which weights change, with their constants.

use serde::{Deserialize, Serialize};

/// A rule to change weights, with `g` the gradient, `w` the weight and `d` the weight decay.
///
/// Vectors (biases, batch normalization) decay only where the settings say so.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Optimizer {
    /// Stochastic gradient descent as in PyTorch: `g += d w`, `v = momentum v + g`, `w -= lr v`, with Nesterov
    /// `w -= lr (g + momentum v)`.
    Sgd {
        /// Share of the velocity that is kept.
        #[serde(default = "momentum")]
        momentum: f64,
        /// Nesterov's form.
        #[serde(default = "yes")]
        nesterov: bool,
    },
    /// Adam (Kingma and Ba, 2015) with `g += d w`: `m = b1 m + (1 - b1) g`, `v = b2 v + (1 - b2) g^2`,
    /// `w -= lr m' / (sqrt(v') + e)` where `m' = m / (1 - b1^t)`, `v' = v / (1 - b2^t)`.
    Adam {
        /// `b1`.
        #[serde(default = "beta1")]
        beta1: f64,
        /// `b2`.
        #[serde(default = "beta2")]
        beta2: f64,
        /// `e`.
        #[serde(default = "adam_epsilon")]
        epsilon: f64,
    },
    /// Adam whose decay is apart from the gradient (Loshchilov and Hutter, 2019): `w *= 1 - lr d` before Adam's step.
    AdamW {
        /// `b1`.
        #[serde(default = "beta1")]
        beta1: f64,
        /// `b2`.
        #[serde(default = "beta2")]
        beta2: f64,
        /// `e`.
        #[serde(default = "adam_epsilon")]
        epsilon: f64,
    },
    /// LAMB (You et al., 2020) as in timm: all gradients are scaled down together to a norm of at most
    /// `max_gradient_norm`; `u = m' / (sqrt(v') + e) + d w`; `w -= lr r u`, where `r` is `|w| / |u|` for a parameter
    /// that decays, 1 if either norm is 0, and 1 for other parameters.
    Lamb {
        /// `b1`.
        #[serde(default = "beta1")]
        beta1: f64,
        /// `b2`.
        #[serde(default = "beta2")]
        beta2: f64,
        /// `e`.
        #[serde(default = "lamb_epsilon")]
        epsilon: f64,
        /// Largest Euclidean norm of all gradients together; 0 for none.
        #[serde(default = "lamb_max_gradient_norm")]
        max_gradient_norm: f64,
    },
}

// What a settings file need not name.
fn momentum() -> f64 {
    0.9
}

fn yes() -> bool {
    true
}

fn beta1() -> f64 {
    0.9
}

fn beta2() -> f64 {
    0.999
}

fn adam_epsilon() -> f64 {
    1e-8
}

fn lamb_epsilon() -> f64 {
    1e-6
}

fn lamb_max_gradient_norm() -> f64 {
    1.0
}

impl Optimizer {
    /// Nesterov momentum 0.9.
    pub const SGD: Self = Self::Sgd { momentum: 0.9, nesterov: true };
    /// Adam with the paper's constants.
    pub const ADAM: Self = Self::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };
    /// AdamW with Adam's constants.
    pub const ADAM_W: Self = Self::AdamW { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };
    /// LAMB with timm's constants.
    pub const LAMB: Self = Self::Lamb { beta1: 0.9, beta2: 0.999, epsilon: 1e-6, max_gradient_norm: 1.0 };

    /// Names of the vectors that are kept for each parameter.
    pub(super) fn state(&self) -> &'static [&'static str] {
        match self {
            Self::Sgd { .. } => &["velocity"],
            Self::Adam { .. } | Self::AdamW { .. } | Self::Lamb { .. } => &["first-moment", "second-moment"],
        }
    }

    /// Values with their names, and whether they are in range.
    pub(super) fn ranges(&self) -> Vec<(&'static str, f64, bool, &'static str)> {
        let share = |name, value| (name, value, (0.0..1.0).contains(&value), "at least 0 and below 1");
        let positive = |name, value: f64| (name, value, value.is_finite() && value > 0.0, "above 0");
        match *self {
            Self::Sgd { momentum, .. } => vec![share("optimizer.momentum", momentum)],
            Self::Adam { beta1, beta2, epsilon } | Self::AdamW { beta1, beta2, epsilon } => vec![
                share("optimizer.beta1", beta1),
                share("optimizer.beta2", beta2),
                positive("optimizer.epsilon", epsilon),
            ],
            Self::Lamb { beta1, beta2, epsilon, max_gradient_norm: norm } => vec![
                share("optimizer.beta1", beta1),
                share("optimizer.beta2", beta2),
                positive("optimizer.epsilon", epsilon),
                ("optimizer.max_gradient_norm", norm, norm.is_finite() && norm >= 0.0, "at least 0"),
            ],
        }
    }
}
