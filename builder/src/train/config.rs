//! The settings of a run, as they stand in `config.toml`.

use crate::data::{Augmentation, Source, Spec};
use serde::{Deserialize, Serialize};

/// How to train. Two runs with equal settings on the same machine type end with the same weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Name of the architecture.
    pub arch: String,
    /// Name of the data set, such as `digits`.
    pub data: String,
    /// Times that every training image is shown.
    pub epochs: usize,
    /// Images per step.
    pub batch: usize,
    /// Learning rate after warm-up.
    pub lr: f64,
    /// Nesterov momentum.
    pub momentum: f64,
    /// Weight decay of convolutions and linear layers; batch normalization and biases have none.
    pub weight_decay: f64,
    /// Epochs, or a part of one, over which the learning rate rises from zero; then it falls along a cosine to zero.
    pub warmup: f64,
    /// Label smoothing, 0 to below 1.
    pub label_smoothing: f64,
    /// Seed of order and augmentation, and of the initial weights where they are random.
    pub seed: u64,
    /// What is done to the images.
    pub augmentation: Augmentation,
}

/// A setting that makes no sense, or another one than that of the run to continue.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Out of range.
    #[error("`{field}` is {value}, must be {expected}")]
    Range {
        /// The setting.
        field: &'static str,
        /// What it is.
        value: String,
        /// What it may be.
        expected: &'static str,
    },
    /// Changed since the run began.
    #[error("the run was started with `{field}` = {was}, not {is}: resume it with the same settings")]
    Changed {
        /// The setting.
        field: String,
        /// What it was at the beginning.
        was: String,
        /// What it is now.
        is: String,
    },
}

impl Config {
    /// Settings that suit a data set.
    pub fn new(arch: &str, data: &Spec) -> Self {
        let (epochs, batch, lr, weight_decay, warmup) = match data.source {
            Source::Digits => (20, 32, 0.05, 5e-4, 1.0),
            _ => (50, 128, 0.1, 5e-4, 1.0),
        };
        Self {
            arch: arch.into(),
            data: data.to_string(),
            epochs,
            batch,
            lr,
            momentum: 0.9,
            weight_decay,
            warmup,
            label_smoothing: 0.0,
            seed: 0,
            augmentation: data.augmentation(),
        }
    }

    /// Checks every setting's range.
    ///
    /// # Errors
    /// [`ConfigError::Range`] naming the setting.
    pub fn check(&self) -> Result<(), ConfigError> {
        let range = |ok: bool, field, value: &dyn ToString, expected| {
            if ok { Ok(()) } else { Err(ConfigError::Range { field, value: value.to_string(), expected }) }
        };
        range(self.epochs > 0, "epochs", &self.epochs, "at least 1")?;
        range(self.batch > 0, "batch", &self.batch, "at least 1")?;
        range(self.lr.is_finite() && self.lr > 0.0, "lr", &self.lr, "above 0")?;
        range((0.0..1.0).contains(&self.momentum), "momentum", &self.momentum, "at least 0 and below 1")?;
        let decay = self.weight_decay;
        range(decay.is_finite() && decay >= 0.0, "weight_decay", &decay, "at least 0")?;
        let warmup = self.warmup;
        range((0.0..=self.epochs as f64).contains(&warmup), "warmup", &warmup, "0 up to the number of epochs")?;
        let smoothing = self.label_smoothing;
        range((0.0..1.0).contains(&smoothing), "label_smoothing", &smoothing, "at least 0 and below 1")
    }

    /// Learning rate of a step, counted from 0 over all epochs of `batches` steps.
    pub fn learning_rate(&self, step: usize, batches: usize) -> f64 {
        let total = (self.epochs * batches) as f64;
        let warmup = self.warmup * batches as f64;
        let at = step as f64;
        if at < warmup {
            return self.lr * (at + 1.0) / (warmup + 1.0);
        }
        let progress = (at - warmup) / (total - warmup).max(1.0);
        self.lr * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos())
    }

    /// Checks that `self` may continue a run that began with `before`.
    ///
    /// # Errors
    /// [`ConfigError::Changed`] naming the first setting that differs.
    pub fn check_same(&self, before: &Self) -> Result<(), ConfigError> {
        let fields = |config: &Self| toml::Table::try_from(config).unwrap_or_default();
        let (was, is) = (fields(before), fields(self));
        for (field, is) in &is {
            if was.get(field) != Some(is) {
                let was = was.get(field).map(ToString::to_string).unwrap_or_default();
                return Err(ConfigError::Changed { field: field.clone(), was, is: is.to_string() });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        Config::new("resnet8", &"digits".parse().unwrap())
    }

    #[test]
    fn learning_rate_rises_and_falls() {
        let config = Config { epochs: 10, warmup: 1.0, lr: 0.5, ..config() };
        let rates: Vec<f64> = (0..100).map(|step| config.learning_rate(step, 10)).collect();
        assert!(rates[..10].is_sorted() && rates[10..].is_sorted_by(|a, b| a >= b));
        assert!(rates[0] > 0.0 && rates[10] == 0.5 && rates[99] < 0.001 && rates[99] > 0.0, "{rates:?}");
        assert!((rates[55] - 0.25).abs() < 1e-9);
    }

    #[test]
    fn round_trips_as_toml_and_names_what_changed() {
        let config = config();
        let text = toml::to_string(&config).unwrap();
        let read: Config = toml::from_str(&text).unwrap();
        assert_eq!(read, config);
        config.check_same(&read).unwrap();
        let changed = Config { lr: 0.2, ..config.clone() };
        let error = changed.check_same(&read).unwrap_err().to_string();
        assert!(error.contains("`lr` = 0.05, not 0.2"), "{error}");
        let changed = Config { augmentation: Augmentation::NONE, ..config };
        assert!(changed.check_same(&read).unwrap_err().to_string().contains("`augmentation`"));
    }

    #[test]
    fn every_range_is_checked() {
        config().check().unwrap();
        let wrong = [
            Config { epochs: 0, ..config() },
            Config { batch: 0, ..config() },
            Config { lr: f64::NAN, ..config() },
            Config { lr: -0.1, ..config() },
            Config { momentum: 1.0, ..config() },
            Config { weight_decay: -1e-4, ..config() },
            Config { warmup: 21.0, ..config() },
            Config { label_smoothing: 1.0, ..config() },
        ];
        for config in wrong {
            assert!(config.check().is_err(), "{config:?}");
        }
    }
}
