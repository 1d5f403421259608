//! The settings of a run, as they stand in `config.toml`.

use super::rule::Optimizer;
use super::schedule::{Schedule, Span};
use super::whitening::Whitening;
use crate::autograd::Precision;
use crate::autograd::loss::Loss;
use crate::data::augment::{AugmentationError, Mixing, VIEWS};
use crate::data::{Augmentation, Sampling};
use crate::zoo;
use crate::zoo::blocks::MaskActivation;
use serde::{Deserialize, Serialize};

/// How to train. Two runs with equal settings on the same machine type end with the same weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Name of the architecture.
    pub arch: String,
    /// Name of the data set, such as `digits`.
    pub data: String,
    /// Channels, height and width of the image that the network is built for; the data set's if there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<[usize; 3]>,
    /// Number of epochs.
    pub epochs: usize,
    /// Batch size, over which batch statistics are taken.
    pub batch: usize,
    /// Batches whose gradients are averaged for one step of the optimizer; the last step of an epoch may have fewer.
    pub accumulate: usize,
    /// Learning rate after warm-up.
    pub lr: f64,
    /// Epochs, or a part of one, over which the learning rate rises.
    pub warmup: f64,
    /// Weight decay of convolutions and linear layers.
    pub weight_decay: f64,
    /// Whether biases and batch normalization decay too.
    pub decay_vectors: bool,
    /// Label smoothing, 0 to below 1.
    pub label_smoothing: f64,
    /// Times that each image of an epoch is shown, each time changed in another way; the epoch has so many times fewer
    /// images.
    pub repeats: usize,
    /// Which images an epoch shows.
    #[serde(default)]
    pub sampling: Sampling,
    /// Probability that dropout zeroes an element, in architectures that have it (dense networks).
    pub dropout: f64,
    /// Probability that the last block's residual branch is left out for an image; it rises linearly from 0 at the
    /// first.
    pub stochastic_depth: f64,
    /// Whether the last batch norm of each residual branch starts at gamma 0, in architectures whose branches end in
    /// one.
    #[serde(default)]
    pub zero_gamma: bool,
    /// Whether attention modules give `mask * trunk`, not `(1 + mask) * trunk`, in architectures that have them.
    #[serde(default)]
    pub naive_attention: bool,
    /// What makes the masks of attention modules, in architectures that have them.
    #[serde(default)]
    pub mask_activation: MaskActivation,
    /// Whether the network is trained under fake quantization, for int8.
    #[serde(default)]
    pub qat: bool,
    /// The file that the network to begin with was read from; its weights are random if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<String>,
    /// Whether the network of `init` has a new head.
    #[serde(default)]
    pub new_head: bool,
    /// Beginnings of the names of layers and parameters that are not trained.
    #[serde(default)]
    pub freeze: Vec<String>,
    /// Whether the head alone is trained.
    #[serde(default)]
    pub head_only: bool,
    /// The learning rate of all layers but the head, as a share of the rate.
    #[serde(default = "one")]
    pub backbone_lr: f64,
    /// Whether several processes take batch statistics over all their images; else each takes its own, and the running
    /// ones are their means.
    #[serde(default)]
    pub sync_bn: bool,
    /// Share of the averaged weights that each step keeps: their average over time is judged and exported instead of
    /// the last weights. It is lower at the beginning, `(1 + t) / (10 + t)` after `t` steps. 0 for no average.
    pub average: f64,
    /// Weight of a batch in the running statistics of batch normalization.
    #[serde(default = "tenth")]
    pub batch_norm_momentum: f64,
    /// Whether test images are judged again at the end, by the mean scores of as many views of them; 1 for no.
    #[serde(default = "one_view")]
    pub views: usize,
    /// In what products of wide convolutions are computed.
    #[serde(default)]
    pub precision: Precision,
    /// Seed of order and augmentation, and of the initial weights where they are random.
    pub seed: u64,
    /// How the weights change.
    pub optimizer: Optimizer,
    /// How the learning rate changes.
    pub schedule: Schedule,
    /// What is minimized.
    pub loss: Loss,
    /// What is done to each image.
    pub augmentation: Augmentation,
    /// How images are mixed with each other, batch by batch.
    pub mixing: Mixing,
    /// A first convolution that is not learnt but whitens the images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whitening: Option<Whitening>,
}

/// What [`Config::backbone_lr`] is in older settings.
fn one() -> f64 {
    1.0
}

/// What [`Config::batch_norm_momentum`] is in older settings.
fn tenth() -> f64 {
    0.1
}

/// What [`Config::views`] is in older settings.
fn one_view() -> usize {
    1
}

/// A setting that is out of range, or differs from that of the run to resume.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
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
    /// Augmentation or mixing out of range.
    #[error(transparent)]
    Augmentation(#[from] AugmentationError),
    /// A recipe that does not exist.
    #[error("unknown recipe `{name}`: known are {known}")]
    Recipe {
        /// The name given.
        name: String,
        /// The names that there are.
        known: String,
    },
    /// A settings file that cannot be parsed.
    #[error("{0}")]
    File(String),
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
    /// The settings for another number of epochs; with fewer of them, warm-up takes at most a fifth.
    #[must_use]
    pub fn with_epochs(self, epochs: usize) -> Self {
        let warmup = if epochs < self.epochs { self.warmup.min(0.2 * epochs as f64) } else { self.warmup };
        Self { epochs, warmup, ..self }
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
        range(self.accumulate > 0, "accumulate", &self.accumulate, "at least 1")?;
        range(self.repeats > 0, "repeats", &self.repeats, "at least 1")?;
        range(self.lr.is_finite() && self.lr > 0.0, "lr", &self.lr, "a number above 0")?;
        let share = self.backbone_lr;
        range(share > 0.0 && share <= 1.0, "backbone_lr", &share, "above 0 and at most 1")?;
        let warmup = self.warmup;
        range((0.0..=self.epochs as f64).contains(&warmup), "warmup", &warmup, "0 up to the number of epochs")?;
        let decay = self.weight_decay;
        range(decay.is_finite() && decay >= 0.0, "weight_decay", &decay, "at least 0")?;
        for (field, share) in [
            ("label_smoothing", self.label_smoothing),
            ("dropout", self.dropout),
            ("stochastic_depth", self.stochastic_depth),
            ("average", self.average),
        ] {
            range((0.0..1.0).contains(&share), field, &share, "at least 0 and below 1")?;
        }
        for (field, value, ok, expected) in self.optimizer.ranges() {
            range(ok, field, &value, expected)?;
        }
        for (field, value, ok, expected) in self.schedule.ranges() {
            range(ok, field, &value, expected)?;
        }
        if let Loss::BinaryCrossEntropy { threshold: Some(threshold), .. } = self.loss {
            let ok = (0.0..1.0).contains(&threshold);
            range(ok, "loss.threshold", &threshold, "at least 0 and below 1")?;
        }
        let momentum = self.batch_norm_momentum;
        range(momentum > 0.0 && momentum <= 1.0, "batch_norm_momentum", &momentum, "above 0 and at most 1")?;
        range(VIEWS.contains(&self.views), "views", &self.views, "1, 2 or 6")?;
        if let Some(Whitening { images, epsilon, bias_epochs: _ }) = self.whitening {
            range(images > 0, "whitening.images", &images, "at least 1")?;
            range(epsilon.is_finite() && epsilon > 0.0, "whitening.epsilon", &epsilon, "a number above 0")?;
            range(self.init.is_none(), "whitening.images", &images, "left out where the weights come from a file")?;
        }
        self.augmentation.check()?;
        Ok(self.mixing.check()?)
    }

    /// What the architecture is built with, for a number of classes and, where [`Config::input`] names no other, images
    /// of `[channels, height, width]`.
    pub fn options(&self, classes: usize, input: [usize; 3]) -> zoo::Options {
        zoo::Options {
            classes: Some(classes),
            input: Some(self.input.unwrap_or(input)),
            seed: self.seed,
            dropout: self.dropout as f32,
            stochastic_depth: self.stochastic_depth as f32,
            zero_gamma: self.zero_gamma,
            naive_attention: self.naive_attention,
            mask_activation: self.mask_activation,
        }
    }

    /// Learning rate of a step of the optimizer, counted from 0 over all epochs of `steps` steps.
    pub fn learning_rate(&self, step: usize, steps: usize) -> f64 {
        self.schedule.rate(step, Span { lr: self.lr, epochs: self.epochs, warmup: self.warmup, steps })
    }

    /// Checks that `self` may continue a run that began with `before`.
    ///
    /// # Errors
    /// [`ConfigError::Changed`] naming the first setting that differs.
    pub fn check_same(&self, before: &Self) -> Result<(), ConfigError> {
        let fields = |config: &Self| toml::Table::try_from(config).unwrap_or_default();
        let (was, is) = (fields(before), fields(self));
        let text = |value: Option<&toml::Value>| value.map_or_else(|| "none".into(), ToString::to_string);
        for field in is.keys().chain(was.keys()) {
            let (was, is) = (was.get(field), is.get(field));
            if was != is {
                return Err(ConfigError::Changed { field: field.clone(), was: text(was), is: text(is) });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::augment::RandAugment;

    fn config() -> Config {
        Config::new("resnet8", &"digits".parse().unwrap())
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
        let changed = Config { augmentation: Augmentation::NONE, ..config.clone() };
        assert!(changed.check_same(&read).unwrap_err().to_string().contains("`augmentation`"));
        let changed = Config { optimizer: Optimizer::ADAM, ..config.clone() };
        assert!(changed.check_same(&read).unwrap_err().to_string().contains("`optimizer`"));
        let sized = Config { input: Some([3, 64, 64]), ..config };
        assert_eq!(toml::from_str::<Config>(&toml::to_string(&sized).unwrap()).unwrap(), sized);
        let error = sized.check_same(&read).unwrap_err().to_string();
        assert!(error.contains("`input` = none, not [3, 64, 64]"), "{error}");
        let error = read.check_same(&sized).unwrap_err().to_string();
        assert!(error.contains("`input` = [3, 64, 64], not none"), "{error}");
    }

    #[test]
    fn runs_from_before_a_setting_was_there_go_on_without_it() {
        let mut table = toml::Table::try_from(config()).unwrap();
        table.remove("zero_gamma").unwrap();
        table.remove("naive_attention").unwrap();
        table.remove("mask_activation").unwrap();
        for later in [
            "sampling",
            "qat",
            "new_head",
            "freeze",
            "head_only",
            "backbone_lr",
            "batch_norm_momentum",
            "views",
            "sync_bn",
            "precision",
        ] {
            table.remove(later).unwrap();
        }
        for later in ["reflect", "alternating_flip"] {
            table["augmentation"].as_table_mut().unwrap().remove(later).unwrap();
        }
        let read: Config = table.try_into().unwrap();
        config().check_same(&read).unwrap();
    }

    #[test]
    fn the_network_is_built_as_the_settings_say() {
        assert_eq!(
            config().options(10, [1, 8, 8]),
            zoo::Options { classes: Some(10), input: Some([1, 8, 8]), ..zoo::Options::default() }
        );
        let config = Config { input: Some([3, 64, 64]), zero_gamma: true, naive_attention: true, ..config() };
        let options = config.options(2, [3, 224, 224]);
        assert_eq!(options.input, Some([3, 64, 64]));
        assert!(options.zero_gamma && options.naive_attention);
    }

    #[test]
    fn short_training_has_a_short_warm_up() {
        let warmup = |epochs| config().with_epochs(epochs).warmup;
        assert_eq!((config().epochs, config().warmup), (20, 1.0));
        assert_eq!([1, 4, 5, 20, 100].map(warmup), [0.2, 0.8, 1.0, 1.0, 1.0]);
        // Given again, the number changes nothing.
        let long = Config { warmup: 15.0, ..config() };
        assert_eq!(long.clone().with_epochs(20), long);
    }

    #[test]
    fn every_range_is_checked() {
        config().check().unwrap();
        let beta1 = |beta1| Optimizer::Adam { beta1, beta2: 0.999, epsilon: 1e-8 };
        let milestones = |milestones| Schedule::Step { milestones, factor: 0.1 };
        let wrong = [
            ("epochs", Config { epochs: 0, ..config() }),
            ("batch", Config { batch: 0, ..config() }),
            ("accumulate", Config { accumulate: 0, ..config() }),
            ("repeats", Config { repeats: 0, ..config() }),
            ("lr", Config { lr: f64::NAN, ..config() }),
            ("lr", Config { lr: -0.1, ..config() }),
            ("backbone_lr", Config { backbone_lr: 0.0, ..config() }),
            ("warmup", Config { warmup: 21.0, ..config() }),
            ("weight_decay", Config { weight_decay: -1e-4, ..config() }),
            ("label_smoothing", Config { label_smoothing: 1.0, ..config() }),
            ("average", Config { average: 1.0, ..config() }),
            ("batch_norm_momentum", Config { batch_norm_momentum: 0.0, ..config() }),
            ("views", Config { views: 3, ..config() }),
            ("whitening.images", Config { init: Some("x".into()), whitening: Some(Whitening::default()), ..config() }),
            ("dropout", Config { dropout: 1.0, ..config() }),
            ("stochastic_depth", Config { stochastic_depth: -0.1, ..config() }),
            ("mixup", Config { mixing: Mixing { mixup: -1.0, cutmix: 0.0 }, ..config() }),
            (
                "rand_augment.magnitude",
                Config {
                    augmentation: Augmentation { rand_augment: Some(RandAugment::of(11.0)), ..Augmentation::NONE },
                    ..config()
                },
            ),
            ("optimizer.momentum", Config { optimizer: Optimizer::Sgd { momentum: 1.0, nesterov: true }, ..config() }),
            ("optimizer.beta1", Config { optimizer: beta1(f64::NAN), ..config() }),
            ("schedule.milestones", Config { schedule: milestones(vec![0.5, 0.2]), ..config() }),
            ("schedule.milestones", Config { schedule: milestones(vec![0.5, 20.0]), ..config() }),
            ("schedule.floor", Config { schedule: Schedule::Cosine { floor: -1.0 }, ..config() }),
            (
                "loss.threshold",
                Config { loss: Loss::BinaryCrossEntropy { sum_classes: true, threshold: Some(f32::NAN) }, ..config() },
            ),
        ];
        for (field, config) in wrong {
            let error = config.check().unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{field}` is ")), "{error}");
        }
    }
}
