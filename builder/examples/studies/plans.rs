//! The studies: what each asks, and its runs.

use crate::networks::{
    ATTENTION_MINI_DEEP, CARDINALITIES, DENSENET_BC22_K12, Network, PREACT20, PREACT56, RESNET8_A, RESNET20_NARROW,
};
use skipstone::autograd::loss::Loss;
use skipstone::data::Augmentation;
use skipstone::data::augment::{Mixing, RandAugment};
use skipstone::train::{Config, Optimizer};
use skipstone::zoo::blocks::MaskActivation;

/// A question, and the runs that answer it.
pub(crate) struct Study {
    /// The name on the command line.
    pub(crate) name: &'static str,
    /// What it asks.
    pub(crate) question: &'static str,
    /// What is trained, the thing to compare with first.
    pub(crate) runs: Vec<Run>,
}

/// A network and how its training differs from the common settings.
#[derive(Clone, Copy)]
pub(crate) struct Run {
    /// The name of its folder; a run of the same name in another study is the same run.
    pub(crate) name: &'static str,
    /// What is trained.
    pub(crate) network: Network,
    /// What is different from the common settings.
    pub(crate) change: fn(Config) -> Config,
}

impl Run {
    /// The common settings.
    const fn of(network: Network, name: &'static str) -> Self {
        Self { name, network, change: |config| config }
    }

    const fn zoo(name: &'static str) -> Self {
        Self::of(Network::Zoo(name), name)
    }

    fn composed(network: Network) -> Self {
        Self::of(network, network.name())
    }

    /// The same network, trained in another way.
    const fn but(self, name: &'static str, change: fn(Config) -> Config) -> Self {
        Self { name, change, ..self }
    }
}

/// All studies.
pub(crate) fn studies() -> Vec<Study> {
    let resnet8 = Run::zoo("resnet8");
    let mini = Run::zoo("attention-mini");
    let deep = Run::composed(ATTENTION_MINI_DEEP);
    vec![
        Study {
            name: "families",
            question: "Does every family train, and how fast?",
            runs: vec![
                Run::zoo("resnet20"),
                Run::zoo("plain20"),
                Run::zoo("preresnet20"),
                Run::zoo("resnext20-8x2d"),
                Run::zoo("densenet-bc22-k8"),
                mini,
            ],
        },
        Study {
            name: "depth",
            question: "Does a residual network gain from depth where a plain one loses?",
            runs: ["resnet20", "plain20", "resnet56", "plain56"].map(Run::zoo).into(),
        },
        Study {
            name: "preactivation",
            question: "Do blocks of equal convolutions train better with batch norm and ReLU before them?",
            runs: vec![Run::zoo("resnet20"), Run::composed(PREACT20), Run::zoo("resnet56"), Run::composed(PREACT56)],
        },
        Study {
            name: "cardinality",
            question: "Are more and narrower groups better at equal cost?",
            runs: CARDINALITIES.map(Run::composed).into(),
        },
        Study {
            name: "dense",
            question: "Is a dense network better than residual ones of as many parameters?",
            runs: vec![Run::composed(RESNET20_NARROW), Run::composed(RESNET8_A), Run::composed(DENSENET_BC22_K12)],
        },
        Study {
            name: "attention",
            question: "Does attention residual learning beat naive attention, and more so with more modules?",
            runs: vec![
                mini,
                mini.but("attention-mini-naive", naive),
                mini.but("attention-mini-channel", |c| Config { mask_activation: MaskActivation::Channel, ..c }),
                mini.but("attention-mini-spatial", |c| Config { mask_activation: MaskActivation::Spatial, ..c }),
                deep,
                deep.but("attention-mini-92-naive", naive),
            ],
        },
        Study {
            name: "rsb",
            question: "What does each ingredient of ResNet strikes back do to a small network in a small budget?",
            runs: vec![
                resnet8,
                resnet8.but("resnet8-label-smoothing", |c| Config { label_smoothing: 0.1, ..c }),
                resnet8.but("resnet8-mixup", |c| Config { mixing: Mixing { mixup: 0.1, cutmix: 0.0 }, ..c }),
                resnet8.but("resnet8-cutmix", |c| Config { mixing: Mixing { mixup: 0.0, cutmix: 1.0 }, ..c }),
                resnet8.but("resnet8-rand-augment", rand_augment),
                resnet8.but("resnet8-bce", bce),
                resnet8.but("resnet8-lamb", lamb),
                resnet8.but("resnet8-repeats", |c| Config { repeats: 3, ..c }),
                resnet8.but("resnet8-stochastic-depth", |c| Config { stochastic_depth: 0.05, ..c }),
                resnet8.but("resnet8-zero-gamma", |c| Config { zero_gamma: true, ..c }),
                resnet8.but("resnet8-average", |c| Config { average: 0.999, ..c }),
                resnet8.but("resnet8-a3", |c| {
                    let mixing = Mixing { mixup: 0.1, cutmix: 1.0 };
                    Config { mixing, zero_gamma: true, ..bce(lamb(rand_augment(c))) }
                }),
            ],
        },
    ]
}

fn naive(config: Config) -> Config {
    Config { naive_attention: true, ..config }
}

fn rand_augment(config: Config) -> Config {
    let augmentation = Augmentation { rand_augment: Some(RandAugment::of(6.0)), ..config.augmentation };
    Config { augmentation, ..config }
}

/// Summed over classes, so that steps of SGD are as large as those of cross entropy.
fn bce(config: Config) -> Config {
    Config { loss: Loss::BinaryCrossEntropy { sum_classes: true, threshold: None }, ..config }
}

fn lamb(config: Config) -> Config {
    Config { optimizer: Optimizer::LAMB, lr: 5e-3, weight_decay: 0.02, ..config }
}
