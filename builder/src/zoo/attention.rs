//! Residual Attention Networks (Wang 2017), after the authors' published network files, and fitted ones for small
//! images, whose layout was never published.

use super::blocks::{AttentionModule, Block, Net, Order, Padding, Shortcut, Style, conv3x3};
use super::{Architecture, Choice, Options};
use skipstone_onnx::{GraphError, ValueId};

const IMAGENET: Architecture = Architecture {
    name: "",
    family: "attention",
    classes: 1000,
    input: [3, 224, 224],
    least: 31,
    style: Style::TORCH,
    choices: &[Choice::NaiveAttention, Choice::MaskActivation],
    compose: |net, classes, options| imagenet(net, classes, [1, 1, 1], unit, options),
};

const CIFAR: Architecture = Architecture {
    classes: 10,
    input: [3, 32, 32],
    least: 7,
    compose: |net, classes, options| cifar(net, classes, 64, 1, options),
    ..IMAGENET
};

pub(super) const ARCHITECTURES: &[Architecture] = &[
    Architecture { name: "attention56", ..IMAGENET },
    Architecture {
        name: "attention92",
        compose: |net, classes, options| imagenet(net, classes, [1, 2, 3], unit, options),
        ..IMAGENET
    },
    Architecture {
        name: "attentionnext56",
        compose: |net, classes, options| imagenet(net, classes, [1, 1, 1], next_unit, options),
        ..IMAGENET
    },
    Architecture {
        name: "attentionnext92",
        compose: |net, classes, options| imagenet(net, classes, [1, 2, 3], next_unit, options),
        ..IMAGENET
    },
    Architecture { name: "attention56-cifar", ..CIFAR },
    Architecture {
        name: "attention92-cifar",
        compose: |net, classes, options| cifar(net, classes, 64, 2, options),
        ..CIFAR
    },
    Architecture {
        name: "attention236-cifar",
        compose: |net, classes, options| cifar(net, classes, 64, 6, options),
        ..CIFAR
    },
    Architecture {
        name: "attention-mini",
        compose: |net, classes, options| cifar(net, classes, 16, 1, options),
        ..CIFAR
    },
];

/// The pre-activated bottleneck to `channels`, whose projection is a bare convolution of the pre-activated input.
pub const fn unit(channels: usize) -> Block {
    Block::bottleneck(channels / 4, channels)
        .shortcut(Shortcut::Projection { batch_norm: false })
        .order(Order::Pre { leading: true, raw_projection: false })
}

/// AttentionNeXt's unit: post-activated, in 32 groups, half as wide inside as outside.
pub const fn next_unit(channels: usize) -> Block {
    Block::bottleneck(channels / 2, channels).groups(32)
}

/// The networks for ImageNet: `modules` at 256, 512 and 1024 channels, whose masks halve their maps three, two and one
/// times, and three units of 2048 channels. Trunk depth `36 * m + 20` for `m` modules per stage.
///
/// # Errors
/// As [`Net`]'s methods.
pub fn imagenet(
    net: &mut Net,
    classes: usize,
    modules: [usize; 3],
    unit: fn(usize) -> Block,
    options: &Options,
) -> Result<ValueId, GraphError> {
    let x = net.conv_bn_relu("stem", "", net.input(), conv3x3(64).kernel(7).stride(2))?;
    let x = net.max_pool("stem.pool", x, 3, 2, Padding::Ceil)?;
    let stages = [
        Stage { entry: unit(256), modules: modules[0], pools: 3 },
        Stage { entry: unit(512).stride(2), modules: modules[1], pools: 2 },
        Stage { entry: unit(1024).stride(2), modules: modules[2], pools: 1 },
    ];
    attention_stages(net, classes, x, &stages, unit(2048).stride(2), options)
}

/// The fitted networks for small images: a bare 3x3 stem of 16 channels, `modules` per stage at `channels`, twice and
/// four times that, whose masks halve their maps two, two and one times, and three units at the end.
///
/// # Errors
/// As [`Net`]'s methods.
pub fn cifar(
    net: &mut Net,
    classes: usize,
    channels: usize,
    modules: usize,
    options: &Options,
) -> Result<ValueId, GraphError> {
    let x = net.conv("stem.conv", net.input(), conv3x3(16))?;
    let stages = [
        Stage { entry: unit(channels), modules, pools: 2 },
        Stage { entry: unit(2 * channels).stride(2), modules, pools: 2 },
        Stage { entry: unit(4 * channels).stride(2), modules, pools: 1 },
    ];
    attention_stages(net, classes, x, &stages, unit(4 * channels), options)
}

/// A unit that changes size and channels, and the modules after it.
struct Stage {
    entry: Block,
    modules: usize,
    pools: usize,
}

fn attention_stages(
    net: &mut Net,
    classes: usize,
    mut x: ValueId,
    stages: &[Stage],
    last: Block,
    options: &Options,
) -> Result<ValueId, GraphError> {
    for (n, &Stage { entry, modules, pools }) in (1..).zip(stages) {
        x = net.block(&format!("stage{n}.entry"), x, &entry)?;
        let module = AttentionModule::new(entry.stride(1), pools);
        let (naive, activation) = (options.naive_attention, options.mask_activation);
        let module = AttentionModule { naive, activation, ..module };
        for m in 1..=modules {
            x = net.attention_module(&format!("stage{n}.attention{m}"), x, &module)?;
        }
    }
    for n in 1..=3 {
        let unit = if n == 1 { last } else { last.stride(1) };
        x = net.block(&format!("last.unit{n}"), x, &unit)?;
    }
    if last.order != Order::Post {
        x = net.bn_relu("head", "", x)?;
    }
    net.head(x, classes)
}
