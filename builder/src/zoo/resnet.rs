//! Residual networks on small images, and their plain counterparts.

use super::blocks::{Net, Shortcut};
use skipstone_onnx::{GraphError, ValueId};

/// He 2015, section 4.2: a 3x3 stem, three stages of `blocks` basic blocks with widths 16, 32 and 64, the second and
/// third at half the size of the one before. Depth `6 * blocks + 2`.
pub(super) fn cifar(net: &mut Net, classes: usize, blocks: usize, shortcut: Shortcut) -> Result<ValueId, GraphError> {
    stages(net, classes, [16, 32, 64], blocks, shortcut)
}

/// MLPerf Tiny's image classifier: one block per stage with widths `width`, twice and four times that; projections
/// with a bias and without batch norm.
pub(super) fn mlperf_tiny(net: &mut Net, classes: usize, width: usize) -> Result<ValueId, GraphError> {
    let shortcut = Shortcut::Projection { bias: true, batch_norm: false };
    stages(net, classes, [width, 2 * width, 4 * width], 1, shortcut)
}

fn stages(
    net: &mut Net,
    classes: usize,
    widths: [usize; 3],
    blocks: usize,
    shortcut: Shortcut,
) -> Result<ValueId, GraphError> {
    let mut x = net.conv_bn_relu("stem", "", net.input(), widths[0], 3, 1)?;
    for (stage, channels) in (1..).zip(widths) {
        for block in 1..=blocks {
            let stride = if stage > 1 && block == 1 { 2 } else { 1 };
            x = net.basic_block(&format!("stage{stage}.block{block}"), x, channels, stride, shortcut)?;
        }
    }
    net.head(x, classes)
}
