//! Settings by name, and settings files.

use super::config::{Config, ConfigError};
use super::rule::Optimizer;
use super::schedule::Schedule;
use super::whitening::Whitening;
use crate::autograd::Precision;
use crate::autograd::loss::Loss;
use crate::data::augment::{Mixing, RandAugment, ResizedCrop};
use crate::data::{Augmentation, Sampling, Source, Spec};
use crate::zoo::blocks::MaskActivation;
use crate::zoo::{self, Choice};
use std::fmt;
use std::str::FromStr;

/// Settings that were tried together; `docs/training.md` has their sources.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Recipe {
    /// Nesterov momentum with a cosine: good networks in few epochs.
    #[default]
    Basic,
    /// *Deep residual learning* on CIFAR: 164 epochs in three steps of the learning rate.
    Cifar,
    /// *ResNet strikes back*, procedure A1: 600 epochs.
    RsbA1,
    /// Procedure A2: 300 epochs.
    RsbA2,
    /// Procedure A3: 100 epochs.
    RsbA3,
    /// Muon: good networks in minutes. Its own network has a whitening stem.
    Fast,
    /// A trained network trained on for int8: few epochs with a low rate.
    Qat,
    /// A trained network trained on with other images, of which there are few.
    FineTune,
}

impl Recipe {
    /// The names that [`Recipe::from_str`] knows.
    pub const NAMES: [&'static str; 8] = ["basic", "cifar", "rsb-a1", "rsb-a2", "rsb-a3", "fast", "qat", "fine-tune"];
    const ALL: [Self; 8] =
        [Self::Basic, Self::Cifar, Self::RsbA1, Self::RsbA2, Self::RsbA3, Self::Fast, Self::Qat, Self::FineTune];

    /// The architecture that the recipe is for, if it is for one.
    pub fn arch(self) -> Option<&'static str> {
        (self == Self::Fast).then_some(FAST)
    }

    /// The recipe's settings for a network and a data set, with seed 0. Choices that the architecture does not leave
    /// are not made: zero gamma is only where the zoo's architecture `arch` has it.
    pub fn config(self, arch: &str, data: &Spec) -> Config {
        match self {
            Self::Basic => basic(arch, data),
            Self::Cifar => Config {
                epochs: 164,
                batch: 128,
                lr: 0.1,
                warmup: 0.0,
                weight_decay: 1e-4,
                decay_vectors: true,
                optimizer: Optimizer::Sgd { momentum: 0.9, nesterov: false },
                schedule: Schedule::Step { milestones: vec![0.5, 0.75], factor: 0.1 },
                ..basic(arch, data)
            },
            Self::RsbA1 => Config {
                epochs: 600,
                weight_decay: 0.01,
                label_smoothing: 0.1,
                mixing: Mixing { mixup: 0.2, cutmix: 1.0 },
                ..rsb(arch, data, 5e-3, 7.0)
            },
            Self::RsbA2 => Config { epochs: 300, ..rsb(arch, data, 5e-3, 7.0) },
            Self::RsbA3 => Config { epochs: 100, repeats: 1, stochastic_depth: 0.0, ..rsb(arch, data, 8e-3, 6.0) },
            Self::Fast => fast(arch, data),
            Self::Qat => {
                let basic = basic(arch, data);
                Config { epochs: 10, lr: 0.02 * basic.lr, warmup: 0.0, qat: true, ..basic }
            }
            Self::FineTune => {
                Config { epochs: 10, batch: 16, lr: 0.01, backbone_lr: 0.1, warmup: 0.5, ..basic(arch, data) }
            }
        }
    }
}

fn basic(arch: &str, data: &Spec) -> Config {
    let (epochs, batch, lr) = match data.source {
        Source::Digits => (20, 32, 0.05),
        _ => (30, 128, 0.1),
    };
    Config {
        arch: arch.into(),
        data: data.to_string(),
        input: None,
        epochs,
        batch,
        accumulate: 1,
        lr,
        warmup: 1.0,
        weight_decay: 5e-4,
        decay_vectors: false,
        label_smoothing: 0.0,
        repeats: 1,
        sampling: Sampling::Uniform,
        dropout: 0.0,
        stochastic_depth: 0.0,
        zero_gamma: false,
        naive_attention: false,
        mask_activation: MaskActivation::Mixed,
        qat: false,
        init: None,
        new_head: false,
        freeze: Vec::new(),
        head_only: false,
        backbone_lr: 1.0,
        sync_bn: false,
        average: 0.0,
        batch_norm_momentum: 0.1,
        views: 1,
        precision: Precision::default(),
        seed: 0,
        optimizer: Optimizer::SGD,
        schedule: Schedule::Cosine { floor: 0.0 },
        loss: Loss::CrossEntropy,
        augmentation: data.augmentation(),
        mixing: Mixing::NONE,
        whitening: None,
    }
}

/// What the procedures have in common: steps over 8 batches of 256 images, as on the 8 devices that they were made for.
/// Small images are shifted instead of cropped and resized, and only what may be mirrored is.
fn rsb(arch: &str, data: &Spec, lr: f64, magnitude: f64) -> Config {
    let mut augmentation = Augmentation { rand_augment: Some(RandAugment::of(magnitude)), ..data.augmentation() };
    if matches!(data.source, Source::Folder(_)) {
        augmentation.resized_crop = Some(ResizedCrop::IMAGENET);
    }
    Config {
        batch: 256,
        accumulate: 8,
        lr,
        warmup: 5.0,
        weight_decay: 0.02,
        repeats: 3,
        stochastic_depth: 0.05,
        zero_gamma: zoo::has_choice(arch, Choice::ZeroGamma),
        optimizer: Optimizer::LAMB,
        schedule: Schedule::TimmCosine { start: 1e-4 * lr, floor: 1e-6 },
        loss: Loss::BinaryCrossEntropy { sum_classes: false, threshold: None },
        augmentation,
        mixing: Mixing { mixup: 0.1, cutmix: 1.0 },
        ..basic(arch, data)
    }
}

/// The network of [`Recipe::Fast`].
const FAST: &str = "resnet-fast";

/// airbench's settings for its network, and what suits small networks with the usual batch norms: smaller steps, which
/// shrink no scales.
fn fast(arch: &str, data: &Spec) -> Config {
    let usual = data.augmentation();
    let common = Config {
        warmup: 0.0,
        batch_norm_momentum: 0.4,
        views: if usual.flip { 6 } else { 1 },
        optimizer: Optimizer::MUON,
        schedule: Schedule::Linear { floor: 0.0 },
        augmentation: Augmentation {
            crop_padding: usual.crop_padding.min(2),
            reflect: true,
            alternating_flip: usual.flip,
            ..usual
        },
        ..basic(arch, data)
    };
    if arch != FAST {
        return Config { epochs: 16, batch: 500, lr: 0.06, ..common };
    }
    // airbench's sums of losses are means here, and its division of the scores by 256 is in the head: so the rates of
    // vectors and head, 0.053 and 0.67 there, are others here.
    let (batch, lr) = (2000, 0.24);
    let rate = |sum: f64, scale: f64| sum * batch as f64 / (scale * scale) / lr;
    Config {
        epochs: 12,
        batch,
        lr,
        weight_decay: 2e-6 * batch as f64 / lr,
        decay_vectors: true,
        label_smoothing: 0.2,
        optimizer: Optimizer::Muon {
            momentum: 0.6,
            steps: 3,
            vector_momentum: 0.85,
            vector_lr: rate(0.053, 1.0),
            head_lr: rate(0.67, 256.0),
        },
        whitening: Some(Whitening::default()),
        ..common
    }
}

impl Config {
    /// Settings that suit a data set: [`Recipe::Basic`].
    pub fn new(arch: &str, data: &Spec) -> Self {
        Recipe::Basic.config(arch, data)
    }
}

impl FromStr for Recipe {
    type Err = ConfigError;

    fn from_str(name: &str) -> Result<Self, ConfigError> {
        let named = Self::ALL.into_iter().zip(Self::NAMES).find(|(_, known)| *known == name);
        named
            .map(|(recipe, _)| recipe)
            .ok_or_else(|| ConfigError::Recipe { name: name.into(), known: Self::NAMES.join(", ") })
    }
}

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = Self::ALL.into_iter().zip(Self::NAMES).find(|(recipe, _)| recipe == self);
        f.write_str(named.map_or("", |(_, name)| name))
    }
}

/// The contents of a settings file: any of a [`Config`]'s fields as TOML, and `recipe`, to whose settings they are
/// changes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overrides {
    /// The recipe that the file names.
    pub recipe: Option<Recipe>,
    table: toml::Table,
}

impl Overrides {
    /// The architecture that the file names.
    pub fn arch(&self) -> Option<&str> {
        self.table.get("arch")?.as_str()
    }

    /// The data set that the file names.
    pub fn data(&self) -> Option<&str> {
        self.table.get("data")?.as_str()
    }

    /// The settings with the file's values. A table, such as `[optimizer]`, changes the values that it names and keeps
    /// others; where its `kind` is another one, it replaces the table, and what it does not name has its usual value.
    /// Fewer `epochs` shorten a warm-up that the file does not name, as [`Config::with_epochs`] does.
    ///
    /// # Errors
    /// [`ConfigError::File`] naming the setting that does not exist or has no such value. Ranges are
    /// [`Config::check`]'s business.
    pub fn apply(&self, config: &Config) -> Result<Config, ConfigError> {
        let mut table = toml::Table::try_from(config).map_err(in_one_line)?;
        merge(&mut table, &self.table);
        let changed: Config = table.try_into().map_err(in_one_line)?;
        if self.table.contains_key("warmup") {
            return Ok(changed);
        }
        let epochs = changed.epochs;
        Ok(Config { epochs: config.epochs, ..changed }.with_epochs(epochs))
    }
}

impl FromStr for Overrides {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let mut table: toml::Table = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].lines().count().max(1));
            ConfigError::File(format!("line {line}: {}", error.message()))
        })?;
        let recipe = match table.remove("recipe") {
            None => None,
            Some(toml::Value::String(name)) => Some(name.parse()?),
            Some(other) => return Err(ConfigError::File(format!("`recipe` is {other}, must be a name in quotes"))),
        };
        Ok(Self { recipe, table })
    }
}

fn in_one_line(error: impl fmt::Display) -> ConfigError {
    let text = error.to_string();
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    ConfigError::File(lines.join(" "))
}

fn merge(into: &mut toml::Table, from: &toml::Table) {
    for (key, value) in from {
        match (into.get_mut(key), value) {
            (Some(toml::Value::Table(old)), toml::Value::Table(new))
                if new.get("kind").is_none() || new.get("kind") == old.get("kind") =>
            {
                merge(old, new);
            }
            _ => {
                into.insert(key.clone(), value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> Spec {
        "cifar10:x".parse().unwrap()
    }

    #[test]
    fn every_recipe_is_valid_and_is_what_its_file_says() {
        for recipe in Recipe::ALL {
            for data in ["digits", "cifar10:x", "folder:x"] {
                let config = recipe.config("resnet20", &data.parse().unwrap());
                config.check().unwrap();
                let text = toml::to_string(&config).unwrap();
                assert_eq!(toml::from_str::<Config>(&text).unwrap(), config, "{text}");
            }
            assert_eq!(recipe.to_string().parse(), Ok(recipe));
        }
        let error = "rsb".parse::<Recipe>().unwrap_err().to_string();
        assert!(error.contains("`rsb`") && error.contains("rsb-a1, rsb-a2"), "{error}");
    }

    #[test]
    fn procedures_differ_as_published() {
        let values = |recipe: Recipe, data: &str| {
            let c = recipe.config("resnet50", &data.parse().unwrap());
            let steps = (c.epochs, c.batch * c.accumulate, c.lr, c.weight_decay, c.warmup);
            let noise = (c.label_smoothing, c.stochastic_depth, c.repeats, c.mixing.mixup, c.mixing.cutmix);
            let a = c.augmentation;
            (steps, noise, a.rand_augment.map(|r| (r.operations, r.magnitude, r.deviation)), a.flip, a.resized_crop)
        };
        let crop = Some(ResizedCrop::IMAGENET);
        let a1 = ((600, 2048, 5e-3, 0.01, 5.0), (0.1, 0.05, 3, 0.2, 1.0), Some((2, 7.0, 0.5)), true, crop);
        let a2 = ((300, 2048, 5e-3, 0.02, 5.0), (0.0, 0.05, 3, 0.1, 1.0), Some((2, 7.0, 0.5)), true, crop);
        let a3 = ((100, 2048, 8e-3, 0.02, 5.0), (0.0, 0.0, 1, 0.1, 1.0), Some((2, 6.0, 0.5)), true, crop);
        for (recipe, published) in [(Recipe::RsbA1, a1), (Recipe::RsbA2, a2), (Recipe::RsbA3, a3)] {
            assert_eq!(values(recipe, "folder:x"), published, "{recipe}");
            assert!(recipe.config("resnet50", &spec()).zero_gamma);
            assert!(!recipe.config("densenet121", &spec()).zero_gamma);
            let small = (published.0, published.1, published.2, true, None);
            assert_eq!(values(recipe, "cifar10:x"), small, "{recipe}");
        }
    }

    #[test]
    fn fast_whitens_its_own_network_and_mirrors_what_may_be() {
        let config = |arch, data: &str| Recipe::Fast.config(arch, &data.parse().unwrap());
        let own = config(Recipe::Fast.arch().unwrap(), "cifar10:x");
        assert_eq!((own.whitening, own.views), (Some(Whitening::default()), 6));
        assert!(own.augmentation.alternating_flip && own.augmentation.crop_padding == 2);
        let other = config("resnet20", "digits");
        assert_eq!((other.whitening, other.views, other.optimizer), (None, 1, Optimizer::MUON));
        assert_eq!((own.batch, own.label_smoothing), (2000, 0.2));
        assert_eq!((other.batch, other.label_smoothing, other.weight_decay), (500, 0.0, 5e-4));
        assert!(!other.augmentation.alternating_flip);
        assert!(Recipe::ALL.into_iter().all(|recipe| recipe == Recipe::Fast || recipe.arch().is_none()));
    }

    #[test]
    fn files_change_what_they_name() {
        let file: Overrides = "recipe = 'cifar'\nepochs = 10\n[optimizer]\nnesterov = true\n".parse().unwrap();
        assert_eq!(file.recipe, Some(Recipe::Cifar));
        let before = Recipe::Cifar.config("resnet8", &spec());
        let expected = Config { epochs: 10, optimizer: Optimizer::SGD, ..before.clone() };
        assert_eq!(file.apply(&before), Ok(expected));

        let file: Overrides = "epochs = 2\nwarmup = 1.5\n".parse().unwrap();
        assert_eq!(file.apply(&Recipe::RsbA3.config("x", &spec())).unwrap().warmup, 1.5);
        let file: Overrides = "epochs = 10".parse().unwrap();
        assert_eq!(file.apply(&Recipe::RsbA3.config("x", &spec())).unwrap().warmup, 2.0);

        let text = "arch = 'resnet20'\noptimizer = { kind = 'adamw', beta2 = 0.99 }\nschedule.floor = 0.001\n";
        let file: Overrides = text.parse().unwrap();
        assert_eq!((file.recipe, file.arch(), file.data()), (None, Some("resnet20"), None));
        let config = file.apply(&Recipe::Basic.config("resnet8", &spec())).unwrap();
        assert_eq!(config.optimizer, Optimizer::AdamW { beta1: 0.9, beta2: 0.99, epsilon: 1e-8 });
        assert_eq!((config.schedule, config.arch.as_str()), (Schedule::Cosine { floor: 0.001 }, "resnet20"));
    }

    #[test]
    fn wrong_files_say_what_is_wrong_in_one_line() {
        let config = Recipe::Basic.config("resnet8", &spec());
        let error = |text: &str| {
            let result = text.parse::<Overrides>().and_then(|file| file.apply(&config));
            let error = result.unwrap_err().to_string();
            assert!(!error.contains('\n'), "{error}");
            error
        };
        assert!(error("epochs = 3\nlr = \n").starts_with("line 2: "));
        assert!(error("recipe = 'best'").contains("unknown recipe `best`"));
        assert!(error("recipe = 3").contains("`recipe` is 3"));
        assert!(error("epoch = 3").contains("unknown field `epoch`"));
        let text = error("epochs = 'many'");
        assert!(text.contains("many") && text.contains("epochs"), "{text}");
        let text = error("[optimizer]\nkind = 'sdg'");
        assert!(text.contains("sdg") && text.contains("lamb"), "{text}");
        let text = error("[optimizer]\nbeta1 = 0.5");
        assert!(text.contains("unknown field `beta1`") && text.contains("momentum"), "{text}");
    }
}
