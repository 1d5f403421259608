//! Boards that a packed model may be meant for.

use crate::cli::table::{Table, grouped};
use crate::cli::targets::reservation;
use crate::target::{Board, Fit, Need, Suit, suit};
use serde::Serialize;
use skipstone_runtime::Model;

/// How a packed model suits a board.
#[derive(Serialize)]
pub(in crate::cli) struct OnBoard {
    pub(in crate::cli) board: &'static str,
    pub(in crate::cli) core: &'static str,
    /// Whether the board can run it: it has the memory, and kernels for its core read the weights.
    pub(in crate::cli) fits: bool,
    /// Whether they do.
    runs: bool,
    /// How many times more instructions its convolutions take than if it were packed for the core, by estimate.
    slowdown: Option<f64>,
    flash: u32,
    ram: u32,
    pub(in crate::cli) flash_spare: i64,
    pub(in crate::cli) ram_spare: i64,
    #[serde(skip)]
    pub(in crate::cli) title: &'static str,
    #[serde(skip)]
    pub(in crate::cli) verdict: String,
}

/// How `model` suits the boards that people have.
pub(in crate::cli) fn on_boards(model: &Model<'_>) -> Vec<OnBoard> {
    let need = Need::of(model);
    Board::ALL.iter().filter(|board| board.chip.is_some()).map(|board| on_board(model, need, board)).collect()
}

/// How `model`, which takes `need`, suits a board.
pub(in crate::cli) fn on_board(model: &Model<'_>, need: Need, board: &Board) -> OnBoard {
    let (fit, slowdown) = match suit(model, board.core) {
        Suit::Runs { slowdown } => (need.on(board), Some(slowdown)),
        Suit::Refused => (need.on(board), None),
    };
    let runs = slowdown.is_some();
    let fits = fit.fits() && runs;
    let remark = reservation(model, board.core).map_or(String::new(), |remark| format!(", {remark}"));
    let Fit { flash_spare, ram_spare } = fit;
    OnBoard {
        board: board.name,
        core: board.core.name(),
        fits,
        runs,
        slowdown,
        flash: board.flash.bytes,
        ram: board.ram.bytes,
        flash_spare,
        ram_spare,
        title: board.title,
        verdict: format!("{}{remark}", if fits { "yes" } else { "no" }),
    }
}

/// The same for people.
pub(in crate::cli) fn table(boards: &[OnBoard]) -> Table {
    let mut table =
        Table::new(&["board", "", "core", "flash KiB", "RAM KiB", "flash to spare", "RAM to spare", "fits"]);
    for on in boards {
        table.row([
            on.board.into(),
            on.title.into(),
            on.core.into(),
            (on.flash / 1024).to_string(),
            (on.ram / 1024).to_string(),
            signed(on.flash_spare),
            signed(on.ram_spare),
            on.verdict.clone(),
        ]);
    }
    table
}

/// Bytes with a sign where something is short.
pub(in crate::cli) fn signed(bytes: i64) -> String {
    let sign = if bytes < 0 { "-" } else { "" };
    format!("{sign}{}", grouped(bytes.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pack::{AlignedBytes, Options, quantize};
    use crate::quant::fixtures::{random_graph, random_images};
    use crate::target::Core;

    #[test]
    fn a_board_fits_if_it_has_the_memory_and_reads_the_weights() {
        let graph = random_graph(4);
        let images = random_images(&graph, 2, 4);
        let verdicts = |target: Core| {
            let stone = quantize(&graph, &images, &Options { target, ..Options::default() }).unwrap().stone;
            let stone = AlignedBytes::copy(&stone);
            let boards = on_boards(&Model::from_bytes(stone.as_slice()).unwrap());
            ["pico", "nucleo-f446re", "pico2", "microbit"].map(|name| {
                let on = boards.iter().find(|on| on.board == name).unwrap();
                assert_eq!(on.fits, on.verdict.starts_with("yes"));
                on.verdict.clone()
            })
        };
        let [pico, nucleo, pico2, microbit] = verdicts(Core::Generic);
        assert_eq!((pico.as_str(), microbit.as_str()), ("yes", "yes"));
        for (verdict, core) in [(nucleo, "cortex-m4"), (pico2, "cortex-m33")] {
            let slower = verdict.strip_prefix("yes, about ").and_then(|rest| rest.split_once(" times slower "));
            assert_eq!(slower.map(|(_, than)| than), Some(format!("than packed for {core}").as_str()), "{verdict}");
        }
        assert_eq!(
            verdicts(Core::CortexM4),
            ["no, refused: packed for cortex-m4", "yes", "yes", "no, refused: packed for cortex-m4"]
        );
    }

    #[test]
    fn what_is_short_is_negative() {
        assert_eq!([-1_500, 0, 2_000].map(signed), ["-1,500", "0", "2,000"]);
    }
}
