//! DenseNet (Huang 2016): basic and with bottlenecks and compression (BC), for ImageNet and for small images.

use super::blocks::{DenseLayer, Net, Padding, Style, conv3x3};
use super::{Architecture, Choice, Options};
use skipstone_onnx::{GraphError, ValueId};

const IMAGENET: Architecture = Architecture {
    name: "",
    family: "densenet",
    classes: 1000,
    input: [3, 224, 224],
    least: 29,
    style: Style::TORCH,
    choices: &[Choice::Dropout],
    compose: |net, classes, options| imagenet(net, classes, [6, 12, 24, 16], 32, options),
};

const CIFAR: Architecture = Architecture {
    classes: 10,
    input: [3, 32, 32],
    least: 4,
    compose: |net, classes, options| basic(net, classes, 40, 12, options),
    ..IMAGENET
};

pub(super) const ARCHITECTURES: &[Architecture] = &[
    Architecture { name: "densenet121", ..IMAGENET },
    Architecture {
        name: "densenet169",
        compose: |net, classes, options| imagenet(net, classes, [6, 12, 32, 32], 32, options),
        ..IMAGENET
    },
    Architecture {
        name: "densenet201",
        compose: |net, classes, options| imagenet(net, classes, [6, 12, 48, 32], 32, options),
        ..IMAGENET
    },
    Architecture {
        name: "densenet161",
        compose: |net, classes, options| imagenet(net, classes, [6, 12, 36, 24], 48, options),
        ..IMAGENET
    },
    Architecture {
        name: "densenet264",
        compose: |net, classes, options| imagenet(net, classes, [6, 12, 64, 48], 32, options),
        ..IMAGENET
    },
    Architecture { name: "densenet40-k12", ..CIFAR },
    Architecture {
        name: "densenet100-k12",
        compose: |net, classes, options| basic(net, classes, 100, 12, options),
        ..CIFAR
    },
    Architecture {
        name: "densenet100-k24",
        compose: |net, classes, options| basic(net, classes, 100, 24, options),
        ..CIFAR
    },
    Architecture {
        name: "densenet-bc100-k12",
        compose: |net, classes, options| bc(net, classes, 100, 12, options),
        ..CIFAR
    },
    Architecture {
        name: "densenet-bc250-k24",
        compose: |net, classes, options| bc(net, classes, 250, 24, options),
        ..CIFAR
    },
    Architecture {
        name: "densenet-bc190-k40",
        compose: |net, classes, options| bc(net, classes, 190, 40, options),
        ..CIFAR
    },
    Architecture {
        name: "densenet-bc40-k12",
        compose: |net, classes, options| bc(net, classes, 40, 12, options),
        ..CIFAR
    },
    Architecture {
        name: "densenet-bc22-k8",
        compose: |net, classes, options| bc(net, classes, 22, 8, options),
        ..CIFAR
    },
];

/// The networks for ImageNet: a 7x7 stem of twice the growth, four dense blocks with bottlenecks, transitions that
/// halve the channels.
///
/// # Errors
/// As [`Net`]'s methods.
pub fn imagenet(
    net: &mut Net,
    classes: usize,
    layers: [usize; 4],
    growth: usize,
    options: &Options,
) -> Result<ValueId, GraphError> {
    let x = net.conv_bn_relu("stem", "", net.input(), conv3x3(2 * growth).kernel(7).stride(2))?;
    let x = net.max_pool("stem.pool", x, 3, 2, Padding::Symmetric)?;
    dense_blocks(net, classes, x, &layers, DenseLayer { growth, bottleneck: true, dropout: options.dropout })
}

/// The basic network for small images: a 3x3 stem of 16 channels, three dense blocks of `(depth - 4) / 3` layers,
/// transitions that keep the channels.
///
/// # Errors
/// As [`Net`]'s methods.
pub fn basic(
    net: &mut Net,
    classes: usize,
    depth: usize,
    growth: usize,
    options: &Options,
) -> Result<ValueId, GraphError> {
    let x = net.conv("stem.conv", net.input(), conv3x3(16))?;
    let layer = DenseLayer { growth, bottleneck: false, dropout: options.dropout };
    dense_blocks(net, classes, x, &[depth.saturating_sub(4) / 3; 3], layer)
}

/// The network with bottlenecks and compression for small images: a 3x3 stem of twice the growth, three dense blocks of
/// `(depth - 4) / 6` layers, transitions that halve the channels.
///
/// # Errors
/// As [`Net`]'s methods.
pub fn bc(
    net: &mut Net,
    classes: usize,
    depth: usize,
    growth: usize,
    options: &Options,
) -> Result<ValueId, GraphError> {
    let x = net.conv("stem.conv", net.input(), conv3x3(2 * growth))?;
    let layer = DenseLayer { growth, bottleneck: true, dropout: options.dropout };
    dense_blocks(net, classes, x, &[depth.saturating_sub(4) / 6; 3], layer)
}

/// Dense blocks with transitions between them, which compress where the layers have bottlenecks.
fn dense_blocks(
    net: &mut Net,
    classes: usize,
    mut x: ValueId,
    layers: &[usize],
    layer: DenseLayer,
) -> Result<ValueId, GraphError> {
    for (block, &layers) in (1..).zip(layers) {
        if block > 1 {
            let channels = net.dims(x)[0] / if layer.bottleneck { 2 } else { 1 };
            x = net.transition(&format!("transition{}", block - 1), x, channels, layer.dropout)?;
        }
        for n in 1..=layers {
            x = net.dense_layer(&format!("block{block}.layer{n}"), x, &layer)?;
        }
    }
    x = net.bn_relu("head", "", x)?;
    net.head(x, classes)
}
