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
    /// Muon (Jordan et al., 2024) for the filters of convolutions, which do not decay: `v = momentum v + g`; `u` is
    /// `g + momentum v`, one row per filter, brought near to orthogonal rows by `steps` of Newton-Schulz;
    /// `w *= sqrt(filters) / |w|`, `w -= lr u`. Other parameters take SGD's steps in Nesterov's form with
    /// `vector_momentum`, the head at `head_lr` times the rate and the rest at `vector_lr` times; each step shrinks
    /// them by `lr d`, whatever their rate.
    Muon {
        /// Share of the filters' velocity that is kept.
        #[serde(default = "muon_momentum")]
        momentum: f64,
        /// Steps of Newton-Schulz.
        #[serde(default = "muon_steps")]
        steps: usize,
        /// Share of the other parameters' velocity that is kept.
        #[serde(default = "vector_momentum")]
        vector_momentum: f64,
        /// The rate of biases and batch norms in `lr`.
        #[serde(default = "vector_lr")]
        vector_lr: f64,
        /// The rate of the head in `lr`.
        #[serde(default = "vector_lr")]
        head_lr: f64,
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

fn muon_momentum() -> f64 {
    0.6
}

fn muon_steps() -> usize {
    3
}

fn vector_momentum() -> f64 {
    0.85
}

fn vector_lr() -> f64 {
    0.4
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
    /// Muon with the constants of airbench, and rates of the other parameters that suit He's initial weights.
    pub const MUON: Self = Self::Muon { momentum: 0.6, steps: 3, vector_momentum: 0.85, vector_lr: 0.4, head_lr: 0.4 };

    /// Names of the vectors that are kept for each parameter.
    pub(super) fn state(&self) -> &'static [&'static str] {
        match self {
            Self::Sgd { .. } | Self::Muon { .. } => &["velocity"],
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
            Self::Muon { momentum, steps, vector_momentum, vector_lr, head_lr } => vec![
                share("optimizer.momentum", momentum),
                ("optimizer.steps", steps as f64, steps > 0, "at least 1"),
                share("optimizer.vector_momentum", vector_momentum),
                positive("optimizer.vector_lr", vector_lr),
                positive("optimizer.head_lr", head_lr),
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
