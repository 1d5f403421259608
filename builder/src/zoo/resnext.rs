//! ResNeXt (Xie 2016, as in the authors' code): bottlenecks whose 3x3 convolution stands in groups.

use super::blocks::{Block, Net, Style, conv3x3};
use super::resnet::{self, Stem};
use super::{Architecture, Choice, Options};
use skipstone_onnx::{GraphError, ValueId};

const IMAGENET: Architecture = Architecture {
    name: "",
    family: "resnext",
    classes: 1000,
    input: [3, 224, 224],
    least: 17,
    style: Style::TORCH,
    choices: &[Choice::StochasticDepth, Choice::ZeroGamma],
    compose: |net, classes, options| imagenet(net, classes, [3, 4, 6, 3], |n| bottleneck(n, 32, 4), options),
};

const CIFAR: Architecture = Architecture {
    classes: 10,
    input: [3, 32, 32],
    least: 3,
    compose: |net, classes, options| cifar(net, classes, RESNEXT29, options),
    ..IMAGENET
};

pub(super) const ARCHITECTURES: &[Architecture] = &[
    Architecture { name: "resnext50-32x4d", ..IMAGENET },
    Architecture {
        name: "resnext101-32x4d",
        compose: |net, classes, options| imagenet(net, classes, [3, 4, 23, 3], |n| bottleneck(n, 32, 4), options),
        ..IMAGENET
    },
    Architecture {
        name: "resnext101-64x4d",
        compose: |net, classes, options| imagenet(net, classes, [3, 4, 23, 3], |n| bottleneck(n, 64, 4), options),
        ..IMAGENET
    },
    Architecture {
        name: "resnext101-32x8d",
        compose: |net, classes, options| imagenet(net, classes, [3, 4, 23, 3], |n| bottleneck(n, 32, 8), options),
        ..IMAGENET
    },
    Architecture { name: "resnext29-8x64d", ..CIFAR },
    Architecture {
        name: "resnext29-16x64d",
        compose: |net, classes, options| cifar(net, classes, Cifar { cardinality: 16, ..RESNEXT29 }, options),
        ..CIFAR
    },
    Architecture {
        name: "resnext20-8x2d",
        compose: |net, classes, options| cifar(net, classes, RESNEXT20, options),
        ..CIFAR
    },
];

/// A bottleneck of `cardinality` groups to `4 * n` channels; each group has `base_width` channels at `n` = 64 and
/// proportionally more or fewer elsewhere.
pub const fn bottleneck(n: usize, cardinality: usize, base_width: usize) -> Block {
    Block::bottleneck(n * base_width / 64 * cardinality, 4 * n).groups(cardinality)
}

/// The networks for ImageNet: [`resnet::imagenet`] of other blocks.
///
/// # Errors
/// As [`Net`]'s methods.
pub fn imagenet(
    net: &mut Net,
    classes: usize,
    blocks: [usize; 4],
    block: fn(usize) -> Block,
    options: &Options,
) -> Result<ValueId, GraphError> {
    resnet::imagenet(net, classes, Stem::Conv7x7, blocks, block, options)
}

/// The layout of a network for small images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cifar {
    /// Channels of the 3x3 stem.
    pub stem: usize,
    /// Blocks in each of three stages. Depth `9 * blocks + 2`.
    pub blocks: usize,
    /// Channels after the first stage; they double with each stage.
    pub channels: usize,
    /// Groups of each 3x3 convolution.
    pub cardinality: usize,
    /// Channels of a group in the first stage; they double with each stage.
    pub group_width: usize,
}

const RESNEXT29: Cifar = Cifar { stem: 64, blocks: 3, channels: 256, cardinality: 8, group_width: 64 };
const RESNEXT20: Cifar = Cifar { stem: 16, blocks: 2, channels: 32, cardinality: 8, group_width: 2 };

/// The networks for small images, post-activated as the authors' code has them.
///
/// # Errors
/// As [`Net`]'s methods.
pub fn cifar(net: &mut Net, classes: usize, layout: Cifar, options: &Options) -> Result<ValueId, GraphError> {
    let Cifar { stem, blocks, channels, cardinality, group_width } = layout;
    let block = |scale| Block::bottleneck(scale * cardinality * group_width, scale * channels).groups(cardinality);
    let x = net.conv_bn_relu("stem", "", net.input(), conv3x3(stem))?;
    let stages = [block(1), block(2).stride(2), block(4).stride(2)].map(|first| (blocks, first));
    let x = net.stages(x, &stages, options.stochastic_depth)?;
    net.head(x, classes)
}
