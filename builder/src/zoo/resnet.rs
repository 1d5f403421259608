//! Residual networks (He 2015), for ImageNet and for small images, and their plain counterparts.

use super::blocks::{Block, Branch, Net, Padding, Shortcut, Style, conv1x1, conv3x3};
use super::{Architecture, Choice, Options};
use skipstone_onnx::{GraphError, Op, ValueId};

const IMAGENET: Architecture = Architecture {
    name: "",
    family: "resnet",
    classes: 1000,
    input: [3, 224, 224],
    least: 17,
    style: Style::TORCH,
    choices: &[Choice::StochasticDepth, Choice::ZeroGamma],
    compose: |net, classes, options| imagenet(net, classes, Stem::Conv7x7, [2, 2, 2, 2], Block::basic, options),
};

const CIFAR: Architecture = Architecture {
    classes: 10,
    input: [3, 32, 32],
    least: 3,
    style: Style::PYTORCH,
    compose: |net, classes, options| cifar(net, classes, 3, Shortcut::ZeroPad, options),
    ..IMAGENET
};

const PLAIN: Architecture = Architecture { family: "plain", choices: &[], ..CIFAR };

const MLPERF_TINY: Architecture = Architecture { style: Style::KERAS, ..CIFAR };

pub(super) const ARCHITECTURES: &[Architecture] = &[
    Architecture { name: "resnet18", ..IMAGENET },
    Architecture {
        name: "resnet34",
        compose: |net, classes, options| imagenet(net, classes, Stem::Conv7x7, [3, 4, 6, 3], Block::basic, options),
        ..IMAGENET
    },
    Architecture {
        name: "resnet50",
        compose: |net, classes, options| imagenet(net, classes, Stem::Conv7x7, [3, 4, 6, 3], bottleneck, options),
        ..IMAGENET
    },
    Architecture {
        name: "resnet101",
        compose: |net, classes, options| imagenet(net, classes, Stem::Conv7x7, [3, 4, 23, 3], bottleneck, options),
        ..IMAGENET
    },
    Architecture {
        name: "resnet152",
        compose: |net, classes, options| imagenet(net, classes, Stem::Conv7x7, [3, 8, 36, 3], bottleneck, options),
        ..IMAGENET
    },
    Architecture {
        name: "resnet50-v1",
        compose: |net, classes, options| imagenet(net, classes, Stem::Conv7x7, [3, 4, 6, 3], bottleneck_v1, options),
        ..IMAGENET
    },
    Architecture {
        name: "resnet50-d",
        compose: |net, classes, options| imagenet(net, classes, Stem::Deep, [3, 4, 6, 3], bottleneck_d, options),
        ..IMAGENET
    },
    Architecture { name: "resnet20", ..CIFAR },
    Architecture {
        name: "resnet32",
        compose: |net, classes, options| cifar(net, classes, 5, Shortcut::ZeroPad, options),
        ..CIFAR
    },
    Architecture {
        name: "resnet44",
        compose: |net, classes, options| cifar(net, classes, 7, Shortcut::ZeroPad, options),
        ..CIFAR
    },
    Architecture {
        name: "resnet56",
        compose: |net, classes, options| cifar(net, classes, 9, Shortcut::ZeroPad, options),
        ..CIFAR
    },
    Architecture {
        name: "resnet110",
        compose: |net, classes, options| cifar(net, classes, 18, Shortcut::ZeroPad, options),
        ..CIFAR
    },
    Architecture {
        name: "resnet1202",
        compose: |net, classes, options| cifar(net, classes, 200, Shortcut::ZeroPad, options),
        ..CIFAR
    },
    Architecture {
        name: "resnet20-b",
        compose: |net, classes, options| cifar(net, classes, 3, PROJECTION, options),
        ..CIFAR
    },
    Architecture {
        name: "resnet56-b",
        compose: |net, classes, options| cifar(net, classes, 9, PROJECTION, options),
        ..CIFAR
    },
    Architecture {
        name: "plain20",
        compose: |net, classes, options| cifar(net, classes, 3, Shortcut::None, options),
        ..PLAIN
    },
    Architecture {
        name: "plain56",
        compose: |net, classes, options| cifar(net, classes, 9, Shortcut::None, options),
        ..PLAIN
    },
    Architecture {
        name: "resnet8",
        compose: |net, classes, options| mlperf_tiny(net, classes, 16, options),
        ..MLPERF_TINY
    },
    Architecture {
        name: "resnet8-large",
        compose: |net, classes, options| mlperf_tiny(net, classes, 40, options),
        ..MLPERF_TINY
    },
    Architecture {
        name: "resnet-fast",
        least: 9,
        style: Style::AIRBENCH,
        choices: &[],
        compose: |net, classes, _| fast(net, classes, [64, 256, 256]),
        ..CIFAR
    },
];

const PROJECTION: Shortcut = Shortcut::Projection { batch_norm: true };

/// The first layers of a network for ImageNet, to 64 channels and a quarter of the size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stem {
    /// One convolution of 7x7 and a max pool.
    Conv7x7,
    /// Three convolutions of 3x3 and a max pool (ResNet-D).
    Deep,
}

/// He 2015, table 1: four stages of `blocks`, each made by `block` of the widths 64, 128, 256 and 512; the maps halve
/// at the first block of the second stage and later.
///
/// # Errors
/// As [`Net`]'s methods.
pub fn imagenet(
    net: &mut Net,
    classes: usize,
    stem: Stem,
    blocks: [usize; 4],
    block: fn(usize) -> Block,
    options: &Options,
) -> Result<ValueId, GraphError> {
    let mut x = net.input();
    match stem {
        Stem::Conv7x7 => x = net.conv_bn_relu("stem", "", x, conv3x3(64).kernel(7).stride(2))?,
        Stem::Deep => {
            for (n, shape) in [("1", conv3x3(32).stride(2)), ("2", conv3x3(32)), ("3", conv3x3(64))] {
                x = net.conv_bn_relu("stem", n, x, shape)?;
            }
        }
    }
    x = net.max_pool("stem.pool", x, 3, 2, Padding::Symmetric)?;
    let first = |stage: usize| block(64 << stage).stride(if stage == 0 { 1 } else { 2 });
    let stages: Vec<_> = (0..4).map(|stage| (blocks[stage], first(stage))).collect();
    x = net.stages(x, &stages, options.stochastic_depth)?;
    net.head(x, classes)
}

/// The bottleneck in use today, with its stride on the 3x3 convolution.
pub const fn bottleneck(width: usize) -> Block {
    Block::bottleneck(width, 4 * width)
}

/// The paper's bottleneck, with its stride on the first 1x1 convolution.
pub const fn bottleneck_v1(width: usize) -> Block {
    Block { branch: Branch::Bottleneck { width, groups: 1, stride_first: true }, ..bottleneck(width) }
}

/// ResNet-D's bottleneck, whose shortcut averages before it projects.
pub const fn bottleneck_d(width: usize) -> Block {
    bottleneck(width).shortcut(Shortcut::PooledProjection)
}

/// He 2015, section 4.2: a 3x3 stem, three stages of `blocks` basic blocks with widths 16, 32 and 64, the second and
/// third at half the size of the one before. Depth `6 * blocks + 2`.
///
/// # Errors
/// As [`Net`]'s methods.
pub fn cifar(
    net: &mut Net,
    classes: usize,
    blocks: usize,
    shortcut: Shortcut,
    options: &Options,
) -> Result<ValueId, GraphError> {
    three_stages(net, classes, 16, blocks, shortcut, options)
}

/// MLPerf Tiny's image classifier: one block per stage with widths `width`, twice and four times that; projections
/// without batch norm.
///
/// # Errors
/// As [`Net`]'s methods.
pub fn mlperf_tiny(net: &mut Net, classes: usize, width: usize, options: &Options) -> Result<ValueId, GraphError> {
    three_stages(net, classes, width, 1, Shortcut::Projection { batch_norm: false }, options)
}

/// The network of airbench (Jordan, *94 % on CIFAR-10 in 3.29 seconds on a single GPU*, 2024) with ReLU and with a skip
/// over the second convolution of each stage: a stem of 2x2 that recipe `fast` sets to whiten its patches, three stages
/// of `widths` that begin with a convolution and a max pool, the largest element of each feature map, a linear layer.
///
/// # Errors
/// As [`Net`]'s methods.
pub fn fast(net: &mut Net, classes: usize, widths: [usize; 3]) -> Result<ValueId, GraphError> {
    let channels = net.dims(net.input())[0];
    // Each principal component of a patch and its negative.
    let stem = conv1x1(2 * 4 * channels).kernel(2);
    let mut x = net.conv_with("stem.conv", net.input(), stem, Padding::Valid, true)?;
    x = net.relu("stem.relu", x)?;
    for (stage, width) in (1..).zip(widths) {
        let scope = format!("stage{stage}.block1");
        x = net.conv(&format!("{scope}.conv1"), x, conv3x3(width))?;
        x = net.max_pool(&format!("{scope}.pool"), x, 2, 2, Padding::Valid)?;
        let skip = net.bn_relu(&scope, "1", x)?;
        x = net.conv_bn(&scope, "2", skip, conv3x3(width))?;
        x = net.add(&format!("{scope}.add"), x, skip)?;
        x = net.relu(&format!("{scope}.relu2"), x)?;
    }
    net.head_after(Op::GlobalMaxPool, x, classes)
}

fn three_stages(
    net: &mut Net,
    classes: usize,
    width: usize,
    blocks: usize,
    shortcut: Shortcut,
    options: &Options,
) -> Result<ValueId, GraphError> {
    let block = |channels| Block::basic(channels).shortcut(shortcut);
    let x = net.conv_bn_relu("stem", "", net.input(), conv3x3(width))?;
    let stages = [block(width), block(2 * width).stride(2), block(4 * width).stride(2)].map(|first| (blocks, first));
    let x = net.stages(x, &stages, options.stochastic_depth)?;
    net.head(x, classes)
}
