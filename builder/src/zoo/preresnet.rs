//! Pre-activation residual networks: He 2016 on small images, and the builders of raghakot/keras-resnet.

use super::blocks::{Block, Branch, Net, Order, Padding, Shortcut, Style, conv3x3};
use super::{Architecture, Choice, Options};
use skipstone_onnx::{GraphError, ValueId};

const CIFAR: Architecture = Architecture {
    name: "",
    family: "preresnet",
    classes: 10,
    input: [3, 32, 32],
    least: 3,
    style: Style::TORCH,
    choices: &[Choice::StochasticDepth],
    compose: |net, classes, options| cifar(net, classes, 18, options),
};

const KERAS: Architecture = Architecture {
    classes: 1000,
    input: [3, 224, 224],
    least: 17,
    style: Style::KERAS,
    compose: |net, classes, options| keras(net, classes, [2, 2, 2, 2], keras_basic, options),
    ..CIFAR
};

pub(super) const ARCHITECTURES: &[Architecture] = &[
    Architecture { name: "preresnet20", compose: |net, classes, options| cifar(net, classes, 2, options), ..CIFAR },
    Architecture { name: "preresnet164", ..CIFAR },
    Architecture { name: "preresnet1001", compose: |net, classes, options| cifar(net, classes, 111, options), ..CIFAR },
    Architecture { name: "keras-resnet18", ..KERAS },
    Architecture {
        name: "keras-resnet34",
        compose: |net, classes, options| keras(net, classes, [3, 4, 6, 3], keras_basic, options),
        ..KERAS
    },
    Architecture {
        name: "keras-resnet50",
        compose: |net, classes, options| keras(net, classes, [3, 4, 6, 3], keras_bottleneck, options),
        ..KERAS
    },
    Architecture {
        name: "keras-resnet101",
        compose: |net, classes, options| keras(net, classes, [3, 4, 23, 3], keras_bottleneck, options),
        ..KERAS
    },
    Architecture {
        name: "keras-resnet152",
        compose: |net, classes, options| keras(net, classes, [3, 8, 36, 3], keras_bottleneck, options),
        ..KERAS
    },
];

/// He 2016 on small images: a bare 3x3 stem of 16 channels, three stages of `blocks` bottlenecks to 64, 128 and 256
/// channels, whose projections read the pre-activated input. Depth `9 * blocks + 2`.
///
/// # Errors
/// As [`Net`]'s methods.
pub fn cifar(net: &mut Net, classes: usize, blocks: usize, options: &Options) -> Result<ValueId, GraphError> {
    let block = |width| {
        Block::bottleneck(width, 4 * width)
            .shortcut(Shortcut::Projection { batch_norm: false })
            .order(Order::Pre { leading: true, raw_projection: false })
    };
    let x = net.conv("stem.conv", net.input(), conv3x3(16))?;
    let stages = [block(16), block(32).stride(2), block(64).stride(2)].map(|first| (blocks, first));
    let x = net.stages(x, &stages, options.stochastic_depth)?;
    let x = net.bn_relu("head", "", x)?;
    net.head(x, classes)
}

/// raghakot/keras-resnet's `ResnetBuilder.build`: four stages of `repetitions`, each made by `block` of 64, 128, 256
/// and 512 filters. The first block of all begins without batch norm and ReLU.
///
/// # Errors
/// As [`Net`]'s methods.
pub fn keras(
    net: &mut Net,
    classes: usize,
    repetitions: [usize; 4],
    block: fn(usize) -> Block,
    options: &Options,
) -> Result<ValueId, GraphError> {
    let x = net.conv_bn_relu("stem", "", net.input(), conv3x3(64).kernel(7).stride(2))?;
    let x = net.max_pool("stem.pool", x, 3, 2, Padding::Same)?;
    let first = |stage: usize| match stage {
        0 => block(64).order(Order::Pre { leading: false, raw_projection: true }),
        _ => block(64 << stage).stride(2),
    };
    let stages: Vec<_> = (0..4).map(|stage| (repetitions[stage], first(stage))).collect();
    let x = net.stages(x, &stages, options.stochastic_depth)?;
    let x = net.bn_relu("head", "", x)?;
    net.head(x, classes)
}

/// keras-resnet's `basic_block`: its shortcut is a convolution without batch norm of the raw input.
pub const fn keras_basic(filters: usize) -> Block {
    Block::basic(filters)
        .shortcut(Shortcut::Projection { batch_norm: false })
        .order(Order::Pre { leading: true, raw_projection: true })
}

/// keras-resnet's `bottleneck`, with its stride on the first 1x1 convolution.
pub const fn keras_bottleneck(filters: usize) -> Block {
    let branch = Branch::Bottleneck { width: filters, groups: 1, stride_first: true };
    Block { branch, channels: 4 * filters, ..keras_basic(filters) }
}
