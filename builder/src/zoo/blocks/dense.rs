//! Dense layers and the transitions between dense blocks (Huang 2016).

use super::{Net, Padding, conv1x1, conv3x3};
use skipstone_onnx::{GraphError, ValueId};

/// A layer of a dense block, which puts `growth` channels after those of its input.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DenseLayer {
    /// Channels that are added (k).
    pub growth: usize,
    /// Whether a 1x1 convolution to four times as many channels stands before the 3x3 convolution (DenseNet-B).
    pub bottleneck: bool,
    /// Rate of dropout after each convolution; 0 for none.
    pub dropout: f32,
}

impl Net {
    /// Batch norm, ReLU and convolution once or, with a bottleneck, twice; then `scope.concat` of `x` and the result.
    pub fn dense_layer(&mut self, scope: &str, x: ValueId, layer: &DenseLayer) -> Result<ValueId, GraphError> {
        let &DenseLayer { growth, bottleneck, dropout } = layer;
        let mut new = x;
        let convolutions = [bottleneck.then(|| conv1x1(4 * growth)), Some(conv3x3(growth))];
        for (n, shape) in (1..).zip(convolutions.into_iter().flatten()) {
            new = self.bn_relu(scope, &n.to_string(), new)?;
            new = self.conv(&format!("{scope}.conv{n}"), new, shape)?;
            new = self.dropout(&format!("{scope}.dropout{n}"), new, dropout)?;
        }
        self.concat(&format!("{scope}.concat"), x, new)
    }

    /// Batch norm, ReLU, 1x1 convolution to `channels`, dropout at a rate that is not 0, average pool of 2x2.
    pub fn transition(
        &mut self,
        scope: &str,
        x: ValueId,
        channels: usize,
        dropout: f32,
    ) -> Result<ValueId, GraphError> {
        let mut x = self.bn_relu(scope, "", x)?;
        x = self.conv(&format!("{scope}.conv"), x, conv1x1(channels))?;
        x = self.dropout(&format!("{scope}.dropout"), x, dropout)?;
        self.average_pool(&format!("{scope}.pool"), x, 2, 2, Padding::Valid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zoo::blocks::Style;

    #[test]
    fn the_input_stands_before_what_is_new() {
        let mut net = Net::new("net", [5, 4, 4], Style::PYTORCH, None).unwrap();
        let layer = DenseLayer { growth: 3, bottleneck: true, dropout: 0.0 };
        let image = net.input();
        let x = net.dense_layer("layer", image, &layer).unwrap();
        assert_eq!(net.dims(x), [8, 4, 4]);
        let scores = net.head(x, 2).unwrap();
        let graph = net.finish(scores).unwrap();
        let concat = graph.nodes().iter().find(|node| node.name == "layer.concat").unwrap();
        assert_eq!(concat.inputs[0], image);
    }

    #[test]
    fn dropout_stands_after_every_convolution() {
        for (dropout, expected) in [(0.2, 3), (0.0, 0)] {
            let mut net = Net::new("net", [5, 5, 5], Style::PYTORCH, None).unwrap();
            let layer = DenseLayer { growth: 3, bottleneck: true, dropout };
            let x = net.dense_layer("layer", net.input(), &layer).unwrap();
            let x = net.transition("transition", x, 4, dropout).unwrap();
            assert_eq!(net.dims(x), [4, 2, 2]);
            let scores = net.head(x, 2).unwrap();
            let graph = net.finish(scores).unwrap();
            assert_eq!(graph.nodes().iter().filter(|node| node.op.name() == "Dropout").count(), expected);
        }
    }
}
