//! `skipstone check`

use super::console::Console;
use super::failure::Failure;
use super::inspect::boards::{OnBoard, on_board, table};
use super::model::{self, Kind};
use super::packed::Packed;
use super::targets::{self, misfit};
use crate::target::{Board, Limits, Need};
use std::path::{Path, PathBuf};

/// Check whether a .stone file fits boards: their flash, their RAM and the kernels of their cores. Exits with 1 if it
/// does not fit one of them.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  skipstone check digits.stone --board microbit nrf52840-dk")]
pub(super) struct Arguments {
    /// A .stone file.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The boards; --all lists their names.
    #[arg(long, value_name = "NAME", num_args = 1.., required_unless_present = "all", conflicts_with = "all",
          value_parser = targets::board)]
    board: Vec<&'static Board>,
    /// All known boards.
    #[arg(long)]
    all: bool,
}

pub(super) fn run(arguments: &Arguments, console: &Console) -> Result<(), Failure> {
    let file = locate(&arguments.file)?;
    let packed = Packed::read(&file)?;
    let model = packed.model();
    let need = Need::of(&model);
    let boards: Vec<&'static Board> = if arguments.all { Board::ALL.iter().collect() } else { arguments.board.clone() };
    let judged: Vec<OnBoard> = boards.iter().map(|board| on_board(&model, need, board)).collect();
    console.show(table(&judged))?;
    console.results(&judged)?;

    let misfits =
        boards.iter().filter_map(|board| Some((board.name, misfit(&model, need, board.core, Limits::of(board))?)));
    match misfits.collect::<Vec<_>>().as_slice() {
        [] => Ok(()),
        [(name, reason)] => Err(Failure::at(&file, format!("does not fit {name}: {reason}"))),
        several => {
            let names: Vec<&str> = several.iter().map(|&(name, _)| name).collect();
            let (count, all) = (several.len(), boards.len());
            Err(Failure::at(&file, format!("does not fit {count} of {all} boards: {}", names.join(", "))))
        }
    }
}

/// The `.stone` file that `model` names; a network that is not packed is refused with the command that packs it.
pub(super) fn locate(model: &Path) -> Result<PathBuf, Failure> {
    match model::locate(model)? {
        (file, Kind::Stone) => Ok(file),
        (file, Kind::Onnx) => Err(Failure::at(
            &file,
            format!(
                "what it takes of a board is known once it is packed: skipstone quantize {} --calib SPEC --board NAME -o \
                 model.stone",
                file.display()
            ),
        )),
    }
}
