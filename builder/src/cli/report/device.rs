//! What a packed model takes on a board.

use crate::cli::failure::Failure;
use crate::cli::inspect::{describe, macs};
use crate::cli::packed::Packed;
use crate::target::{Board, Core, Fit, Need, Suit, of_format, packed_for, suit};
use skipstone_runtime::Model;
use skipstone_runtime::format::records::{Node, OpCode};
use skipstone_runtime::kernels::spec::fastest;
use skipstone_runtime::ops::conv::conv_shape;
use skipstone_runtime::schedule::Network;

/// The board of whose core the costs are, where none is named: a common Cortex-M4, or the first of the model's core.
const USUAL: &str = "nucleo-f446re";

/// A layer of a packed model.
pub(super) struct Layer {
    pub(super) name: String,
    pub(super) op: String,
    /// Height, width, channels.
    pub(super) output: [u16; 3],
    pub(super) weights_bytes: u32,
    pub(super) macs: u64,
    /// The kernel that runs it and its estimate of an inference's instructions; of convolutions.
    pub(super) kernel: Option<(&'static str, u64)>,
}

/// Whether a board can hold a model.
pub(super) struct OnBoard {
    pub(super) board: &'static Board,
    pub(super) fit: Fit,
    pub(super) runs: bool,
}

impl OnBoard {
    pub(super) fn fits(&self) -> bool {
        self.runs && self.fit.fits()
    }
}

/// The board that a report is for.
pub(super) fn board(named: Option<&'static Board>, core: Option<Core>) -> Option<&'static Board> {
    let usual =
        || Board::named(USUAL).filter(|board| core.is_none_or(|core| [board.core, Core::Generic].contains(&core)));
    let of_core = || Board::ALL.iter().find(|board| Some(board.core) == core && board.chip.is_some());
    named.or_else(usual).or_else(of_core)
}

/// Refuses a model that the board's core does not run.
pub(super) fn check(packed: &Packed, board: &Board) -> Result<(), Failure> {
    let model = packed.model();
    match suit(&model, board.core) {
        Suit::Runs { .. } => Ok(()),
        Suit::Refused => Err(Failure::Work(format!(
            "the model is packed for {}, which {} does not run: name a board of that core, or pack it with --board {}",
            packed_for(&model).name(),
            board.name,
            board.name
        ))),
    }
}

/// The layers of `model` with their estimates on `core`.
pub(super) fn layers(model: &Model<'_>, core: Option<Core>) -> Vec<Layer> {
    model.nodes().iter().map(|node| layer(model, core, node)).collect()
}

fn layer(model: &Model<'_>, core: Option<Core>, node: &Node) -> Layer {
    let (input, output) = (model.tensor(node.input.into()), model.tensor(node.output.into()));
    let kernel = core.filter(|_| OpCode::from_code(node.op) == Some(OpCode::Conv)).and_then(|core| {
        let shape = conv_shape(node, input, output);
        let spec = fastest(of_format(core).kernels(), &shape, |spec| spec.layout.code == node.layout)?;
        Some((spec.name, (spec.cost)(&shape) * u64::from(output.height)))
    });
    Layer {
        name: model.string(node.name).into(),
        op: describe(node),
        output: [output.height, output.width, output.channels],
        weights_bytes: node.weights_len,
        macs: macs(node, input, output),
        kernel,
    }
}

/// How the boards that people have suit `model`.
pub(super) fn boards(model: &Model<'_>) -> Vec<OnBoard> {
    let need = Need::of(model);
    let real = Board::ALL.iter().filter(|board| board.chip.is_some());
    real.map(|board| OnBoard { board, fit: need.on(board), runs: suit(model, board.core) != Suit::Refused }).collect()
}
