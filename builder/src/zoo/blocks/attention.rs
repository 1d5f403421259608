//! Attention modules (Wang 2017, the layers of the authors' published network files).

use super::{Block, Net, Order, Padding, conv1x1};
use serde::{Deserialize, Serialize};
use skipstone_onnx::{GraphError, ValueId};

/// What makes a mask of the mask branch's last maps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MaskActivation {
    /// Sigmoid of each element: factors between 0 and 1.
    #[default]
    Mixed,
    /// Each position's channels divided by their Euclidean norm: factors between -1 and 1.
    Channel,
    /// Each channel's map standardized, then sigmoid: factors between 0 and 1.
    Spatial,
}

/// Added to the variance of a spatial mask's map, of which the paper says nothing: ONNX's and PyTorch's usual value.
const SPATIAL_EPSILON: f32 = 1e-5;

/// An attention module: a trunk of residual units, multiplied by a mask that an encoder and decoder makes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttentionModule {
    /// The residual unit of all parts; stride 1, as many channels as the module's input.
    pub unit: Block,
    /// Times that the mask's encoder halves the map.
    pub pools: usize,
    /// Units before the trunk and mask part, and after they have met (p).
    pub outer: usize,
    /// Units of the trunk (t).
    pub trunk: usize,
    /// Units at each scale of the encoder and of the decoder; twice as many at the lowest (r).
    pub mask: usize,
    /// Whether the result is `mask * trunk` (naive attention), not `(1 + mask) * trunk`.
    pub naive: bool,
    /// What makes the mask.
    pub activation: MaskActivation,
}

impl AttentionModule {
    /// The module of the published networks: p = 1, t = 2, r = 1, attention residual learning, mixed attention.
    pub const fn new(unit: Block, pools: usize) -> Self {
        Self { unit, pools, outer: 1, trunk: 2, mask: 1, naive: false, activation: MaskActivation::Mixed }
    }
}

impl Net {
    /// An attention module. Its parts are `scope.before`, `scope.trunk`, `scope.mask.down<i>`, `scope.mask.up<i>`,
    /// `scope.mask`, `scope.after`.
    ///
    /// The decoder interpolates to the size of each map of the encoder and adds it after one unit of its own; there is
    /// no such sum at full resolution.
    pub fn attention_module(
        &mut self,
        scope: &str,
        x: ValueId,
        module: &AttentionModule,
    ) -> Result<ValueId, GraphError> {
        let &AttentionModule { unit, outer, trunk, naive, .. } = module;
        let x = self.units(&format!("{scope}.before"), x, &unit, outer)?;
        let trunk = self.units(&format!("{scope}.trunk"), x, &unit, trunk)?;
        let mask = self.mask(&format!("{scope}.mask"), x, trunk, module)?;
        let mut x = self.mul(&format!("{scope}.mul"), trunk, mask)?;
        if !naive {
            x = self.add(&format!("{scope}.add"), x, trunk)?;
        }
        self.units(&format!("{scope}.after"), x, &unit, outer)
    }

    /// Factors of the size of `trunk`.
    fn mask(
        &mut self,
        scope: &str,
        mut x: ValueId,
        trunk: ValueId,
        module: &AttentionModule,
    ) -> Result<ValueId, GraphError> {
        let &AttentionModule { unit, pools, mask: units, activation, .. } = module;
        let mut encoded = Vec::new();
        for level in 1..=pools {
            let scope = format!("{scope}.down{level}");
            x = self.max_pool(&format!("{scope}.pool"), x, 3, 2, Padding::Ceil)?;
            if level < pools {
                x = self.units(&scope, x, &unit, units)?;
                encoded.push((level, x));
            } else {
                x = self.units(&scope, x, &unit, 2 * units)?;
            }
        }
        for (level, map) in encoded.into_iter().rev() {
            let scope = format!("{scope}.up{level}");
            let skip = self.block(&format!("{scope}.skip"), map, &unit)?;
            x = self.resize_like(&format!("{scope}.resize"), x, map)?;
            x = self.add(&format!("{scope}.add"), x, skip)?;
            x = self.units(&scope, x, &unit, units)?;
        }
        x = self.resize_like(&format!("{scope}.resize"), x, trunk)?;
        if matches!(unit.order, Order::Pre { .. }) {
            x = self.bn_relu(scope, "1", x)?;
        }
        x = self.conv(&format!("{scope}.conv1"), x, conv1x1(unit.channels))?;
        x = self.bn_relu(scope, "2", x)?;
        x = self.conv(&format!("{scope}.conv2"), x, conv1x1(unit.channels))?;
        match activation {
            MaskActivation::Mixed => {}
            MaskActivation::Channel => return self.l2_norm(&format!("{scope}.norm"), x),
            MaskActivation::Spatial => x = self.instance_norm(&format!("{scope}.norm"), x, SPATIAL_EPSILON)?,
        }
        self.sigmoid(&format!("{scope}.sigmoid"), x)
    }

    fn units(&mut self, scope: &str, mut x: ValueId, unit: &Block, count: usize) -> Result<ValueId, GraphError> {
        for n in 1..=count {
            x = self.block(&format!("{scope}.unit{n}"), x, unit)?;
        }
        Ok(x)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zoo::blocks::Style;
    use skipstone_onnx::Graph;

    const UNIT: Block = Block::bottleneck(2, 8).order(Order::Pre { leading: true, raw_projection: false });
    const MODULE: AttentionModule = AttentionModule::new(UNIT, 2);

    fn graph(module: AttentionModule) -> Graph {
        let mut net = Net::new("net", [8, 13, 10], Style::PYTORCH, None).unwrap();
        let x = net.attention_module("attention", net.input(), &module).unwrap();
        assert_eq!(net.dims(x), [8, 13, 10]);
        let scores = net.head(x, 2).unwrap();
        net.finish(scores).unwrap()
    }

    #[test]
    fn the_mask_is_as_large_as_the_trunk_and_meets_every_encoder_map() {
        let graph = graph(MODULE);
        let dims = |name: &str| graph.values().iter().find(|value| value.name == name).unwrap().dims.clone();
        assert_eq!(dims("attention.mask.down1.pool.out"), [8, 6, 5]);
        assert_eq!(dims("attention.mask.down2.pool.out"), [8, 3, 2]);
        assert_eq!(dims("attention.mask.up1.resize.out"), [8, 6, 5]);
        assert_eq!(dims("attention.mask.sigmoid.out"), [8, 13, 10]);
        let resizes = graph.nodes().iter().filter(|node| node.op.name() == "Resize").count();
        assert_eq!(resizes, 2);
    }

    #[test]
    fn the_activation_ends_the_mask() {
        let ends = [
            (MaskActivation::Mixed, vec!["Conv", "Sigmoid", "Mul"]),
            (MaskActivation::Channel, vec!["Conv", "LpNormalization", "Mul"]),
            (MaskActivation::Spatial, vec!["Conv", "InstanceNormalization", "Sigmoid", "Mul"]),
        ];
        for (activation, expected) in ends {
            let graph = graph(AttentionModule { activation, ..MODULE });
            let at = graph.nodes().iter().position(|node| node.name == "attention.mask.conv2").unwrap();
            let operators: Vec<&str> = graph.nodes()[at..].iter().map(|node| node.op.name()).collect();
            assert_eq!(operators[..expected.len()], expected, "{activation:?}");
        }
    }

    #[test]
    fn naive_attention_lacks_the_sum_with_the_trunk() {
        let has_sum = |graph: Graph| graph.nodes().iter().any(|node| node.name == "attention.add");
        assert!(has_sum(graph(MODULE)));
        assert!(!has_sum(graph(AttentionModule { naive: true, ..MODULE })));
    }
}
