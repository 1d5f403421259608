//! How a packed model runs on a core that it may not have been packed for, by what the kernels say of themselves.

use super::Core;
use skipstone_runtime::Model;
use skipstone_runtime::format::records::{self, OpCode};
use skipstone_runtime::kernels::layout;
use skipstone_runtime::kernels::spec::{ConvSpec, fastest};
use skipstone_runtime::ops::conv::conv_shape;
use skipstone_runtime::schedule::Network;

/// How a packed model runs on a core.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Suit {
    /// Its convolutions take so many times the instructions of the same ones with the core's own layouts, by the
    /// kernels' estimates: 1 or more.
    Runs {
        /// That factor.
        slowdown: f64,
    },
    /// Not at all: a program for the core has no kernel for some of its weights.
    Refused,
}

impl Suit {
    /// The least slowdown that is worth a word.
    const SLOW: f64 = 1.25;

    /// The slowdown, if it is worth a word.
    pub fn slowdown(self) -> Option<f64> {
        match self {
            Self::Runs { slowdown } if slowdown >= Self::SLOW => Some(slowdown),
            Self::Runs { .. } | Self::Refused => None,
        }
    }
}

/// The core as packed models name it.
pub(crate) fn of_format(core: Core) -> records::Core {
    records::Core::from_code(core as u8).expect("the format has the table's cores")
}

/// The core that a model is packed for.
pub fn packed_for(model: &Model<'_>) -> Core {
    Core::from_code(model.header().core).expect("a checked model names a core")
}

/// How `model` runs on `core`.
pub fn suit(model: &Model<'_>, core: Core) -> Suit {
    let kernels = of_format(core).kernels();
    let (mut own, mut best) = (0, 0);
    for node in model.nodes().iter().filter(|node| OpCode::from_code(node.op) == Some(OpCode::Conv)) {
        let (input, output) = (model.tensor(node.input.into()), model.tensor(node.output.into()));
        let shape = conv_shape(node, input, output);
        let cost = |allowed: &dyn Fn(&ConvSpec) -> bool| {
            let height = output.height.into();
            let spec = fastest(kernels, &shape, height, allowed)?;
            Some(spec.instructions(&shape, (spec.rows)(&shape), height))
        };
        let Some(with_its_weights) = cost(&|spec| spec.layout.code == node.layout) else { return Suit::Refused };
        own += with_its_weights;
        // More flash for speed is a choice: kernels of larger weights are no measure for this model.
        let bytes = layout::from_code(node.layout).map_or(1, |packing| packing.layout.weight_bytes);
        best += cost(&|spec| spec.layout.weight_bytes <= bytes).unwrap_or(with_its_weights);
    }
    // What a model is packed for its own core with is a choice, too.
    let best = if packed_for(model) == core { own } else { best };
    Suit::Runs { slowdown: own.max(1) as f64 / best.max(1) as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pack::{AlignedBytes, Options, quantize};
    use crate::quant::fixtures::{random_graph, random_images};
    use skipstone_runtime::kernels::layout::PAIRS;

    #[test]
    fn the_table_and_the_format_have_the_same_cores() {
        for core in Core::ALL {
            assert_eq!(format!("{core:?}"), format!("{:?}", of_format(core)));
            assert_eq!(of_format(core).reads(PAIRS.code), core.extension() == Some("dsp"), "{core:?}");
        }
        assert_eq!(records::Core::from_code(Core::ALL.len() as u8), None);
    }

    #[test]
    fn a_core_refuses_layouts_that_it_cannot_read_and_is_slow_with_those_of_all_cores() {
        let graph = random_graph(4);
        let images = random_images(&graph, 2, 4);
        let suits = |target: Core| {
            let stone = quantize(&graph, &images, &Options { target, ..Options::default() }).unwrap().stone;
            let stone = AlignedBytes::copy(&stone);
            let model = Model::from_bytes(stone.as_slice()).unwrap();
            assert_eq!(packed_for(&model), target);
            assert_eq!(suit(&model, target), Suit::Runs { slowdown: 1.0 }, "{target:?}");
            [Core::CortexM0, Core::CortexM33, Core::Neon].map(|core| match suit(&model, core) {
                Suit::Refused => "refused",
                suit if suit.slowdown().is_some() => "slow",
                Suit::Runs { .. } => "fast",
            })
        };
        assert_eq!(suits(Core::Generic), ["fast", "slow", "fast"]);
        assert_eq!(suits(Core::CortexM0), ["fast", "slow", "fast"]);
        assert_eq!(suits(Core::CortexM7), ["refused", "fast", "refused"]);
    }
}
