//! What a packed model takes on a board.

use crate::cli::failure::Failure;
use crate::cli::inspect::boards::{OnBoard, on_boards};
use crate::cli::inspect::tradeoff::{Row, front};
use crate::cli::inspect::{describe, macs};
use crate::pack::{PackError, Problem, Reason, reasons};
use crate::target::{Board, Core, packed_for};
use skipstone_runtime::Model;
use skipstone_runtime::schedule::Network;

/// The board that a model is packed for, where none is named: a common Cortex-M4, or the first of the model's core.
const USUAL: &str = "nucleo-f446re";
/// Convolutions up to which what speed costs is searched.
const SEARCHED: usize = 48;

/// A layer of a packed model.
pub(super) struct Layer {
    pub(super) name: String,
    pub(super) op: String,
    /// Height, width, channels.
    pub(super) output: [u16; 3],
    pub(super) weights_bytes: u32,
    pub(super) macs: u64,
    /// How it runs and why; of convolutions.
    pub(super) kernel: Option<Reason>,
}

/// What a packed model takes on the core that it is packed for, and of boards.
pub(super) struct OnDevice {
    /// The board that the report is for.
    pub(super) board: Option<&'static Board>,
    /// The core that the estimates are for.
    pub(super) core: Core,
    pub(super) layers: Vec<Layer>,
    /// What speed costs; `None` where the search takes long.
    pub(super) tradeoff: Option<Vec<Row>>,
    /// How the boards that people have suit it.
    pub(super) boards: Vec<OnBoard>,
}

impl OnDevice {
    pub(super) fn of(model: &Model<'_>, board: Option<&'static Board>) -> Result<Self, Failure> {
        let mut layers: Vec<Layer> = (0..model.nodes().len()).map(|node| layer(model, node)).collect();
        for reason in reasons(&Problem::of_model(model), model).map_err(PackError::Plan)? {
            let node = reason.node;
            layers[node].kernel = Some(reason);
        }
        let mut device = Self { board, core: packed_for(model), layers, tradeoff: None, boards: on_boards(model) };
        if device.convolutions() <= SEARCHED {
            device.tradeoff = Some(front(model)?);
        }
        Ok(device)
    }

    /// Number of convolutions.
    pub(super) fn convolutions(&self) -> usize {
        self.layers.iter().filter(|layer| layer.kernel.is_some()).count()
    }

    /// Estimated instructions of all convolutions.
    pub(super) fn instructions(&self) -> u64 {
        self.layers.iter().map(Layer::instructions).sum()
    }
}

impl Layer {
    /// The kernel's estimate; 0 where there is none.
    pub(super) fn instructions(&self) -> u64 {
        self.kernel.map_or(0, |reason| reason.way.instructions)
    }
}

/// The board that a report is for.
pub(super) fn board(named: Option<&'static Board>, core: Option<Core>) -> Option<&'static Board> {
    let usual =
        || Board::named(USUAL).filter(|board| core.is_none_or(|core| [board.core, Core::Generic].contains(&core)));
    let of_core = || Board::ALL.iter().find(|board| Some(board.core) == core && board.chip.is_some());
    named.or_else(usual).or_else(of_core)
}

fn layer(model: &Model<'_>, index: usize) -> Layer {
    let node = model.node(index);
    let (input, output) = (model.tensor(node.input.into()), model.tensor(node.output.into()));
    Layer {
        name: model.string(node.name).into(),
        op: describe(node),
        output: [output.height, output.width, output.channels],
        weights_bytes: node.weights_len,
        macs: macs(node, input, output),
        kernel: None,
    }
}
