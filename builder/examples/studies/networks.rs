//! The networks of the studies: the zoo's, and some composed for a comparison that no published size allows.

use skipstone::zoo::blocks::{Block, Net, Order, Shortcut, Style, conv3x3};
use skipstone::zoo::resnext::{self, Cifar};
use skipstone::zoo::{self, Options, ZooError, attention, densenet, resnet};
use skipstone_onnx::{Graph, GraphError, ValueId};
use std::error::Error;

/// How a network comes to be.
#[derive(Clone, Copy)]
pub(crate) enum Network {
    /// The zoo's, by name.
    Zoo(&'static str),
    /// Composed here, by the name that the run's settings give it.
    Composed(&'static str, Style, Compose),
}

/// Composes a network for a number of classes, and gives its scores.
pub(crate) type Compose = fn(&mut Net, usize, &Options) -> Result<ValueId, GraphError>;

impl Network {
    /// What `config.toml` calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Zoo(name) | Self::Composed(name, ..) => name,
        }
    }

    /// Builds it for `classes` classes and images of `input`, with freshly drawn weights.
    pub(crate) fn build(self, classes: usize, input: [usize; 3], options: &Options) -> Result<Graph, Box<dyn Error>> {
        match self {
            Self::Zoo(name) => {
                let graph: Result<Graph, ZooError> = zoo::build(name, options);
                Ok(graph?)
            }
            Self::Composed(name, style, compose) => {
                let mut net = Net::new(name, input, style, Some(options.seed))?;
                let scores = compose(&mut net, classes, options)?;
                Ok(net.finish(scores)?)
            }
        }
    }
}

/// ResNet-20 with batch norm and ReLU before each convolution, nothing after the sum.
pub(crate) const PREACT20: Network =
    Network::Composed("preact20", Style::PYTORCH, |net, classes, _| preactivated(net, classes, 3));

/// ResNet-56 in the same order.
pub(crate) const PREACT56: Network =
    Network::Composed("preact56", Style::PYTORCH, |net, classes, _| preactivated(net, classes, 9));

/// ResNet-20 with 8, 16 and 32 channels.
pub(crate) const RESNET20_NARROW: Network =
    Network::Composed("resnet20-narrow", Style::PYTORCH, |net, classes, _| residual(net, classes, 8, 3));

/// The residual network of depth 8 with 16, 32 and 64 channels, without parameters in its shortcuts.
pub(crate) const RESNET8_A: Network = Network::Composed("resnet8-a", Style::PYTORCH, |net, classes, options| {
    resnet::cifar(net, classes, 1, Shortcut::ZeroPad, options)
});

/// A dense network of their size.
pub(crate) const DENSENET_BC22_K12: Network =
    Network::Composed("densenet-bc22-k12", Style::TORCH, |net, classes, options| {
        densenet::bc(net, classes, 22, 12, options)
    });

/// Networks of depth 20 to 64, 128 and 256 channels whose 3x3 convolutions cost the same in 1, 2, 4 and 32 groups: the
/// paper's pairs of cardinality and width, with a quarter of the width.
pub(crate) const CARDINALITIES: [Network; 4] = [
    Network::Composed("resnext20-1x16d", Style::TORCH, |net, classes, options| groups(net, classes, 1, 16, options)),
    Network::Composed("resnext20-2x10d", Style::TORCH, |net, classes, options| groups(net, classes, 2, 10, options)),
    Network::Composed("resnext20-4x6d", Style::TORCH, |net, classes, options| groups(net, classes, 4, 6, options)),
    Network::Composed("resnext20-32x1d", Style::TORCH, |net, classes, options| groups(net, classes, 32, 1, options)),
];

/// `attention-mini` with two modules in each stage: trunk depth 92.
pub(crate) const ATTENTION_MINI_DEEP: Network =
    Network::Composed("attention-mini-92", Style::TORCH, |net, classes, options| {
        attention::cifar(net, classes, 16, 2, options)
    });

fn residual(net: &mut Net, classes: usize, width: usize, blocks: usize) -> Result<ValueId, GraphError> {
    let block = |channels| Block::basic(channels).shortcut(Shortcut::ZeroPad);
    let x = net.conv_bn_relu("stem", "", net.input(), conv3x3(width))?;
    let stages = [block(width), block(2 * width).stride(2), block(4 * width).stride(2)].map(|first| (blocks, first));
    let x = net.stages(x, &stages, 0.0)?;
    net.head(x, classes)
}

fn preactivated(net: &mut Net, classes: usize, blocks: usize) -> Result<ValueId, GraphError> {
    let order = Order::Pre { leading: true, raw_projection: false };
    let block = |channels| Block::basic(channels).shortcut(Shortcut::ZeroPad).order(order);
    let x = net.conv("stem.conv", net.input(), conv3x3(16))?;
    let stages = [block(16), block(32).stride(2), block(64).stride(2)].map(|first| (blocks, first));
    let x = net.stages(x, &stages, 0.0)?;
    let x = net.bn_relu("head", "", x)?;
    net.head(x, classes)
}

fn groups(
    net: &mut Net,
    classes: usize,
    cardinality: usize,
    group_width: usize,
    options: &Options,
) -> Result<ValueId, GraphError> {
    resnext::cifar(net, classes, Cifar { stem: 16, blocks: 2, channels: 64, cardinality, group_width }, options)
}
