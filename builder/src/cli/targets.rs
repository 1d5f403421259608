//! Cores and boards on the command line.

use super::console::Console;
use super::failure::Failure;
use super::table::grouped;
use crate::target::{Board, Core, Fit, Need, STACK_BYTES, Suit, packed_for, suit};
use clap::ValueEnum;
use clap::builder::PossibleValue;
use skipstone_runtime::Model;
use std::path::Path;

/// What a model is packed for.
#[derive(Debug, clap::Args)]
pub(super) struct Target {
    /// The core whose kernels the weights are laid out for [default: generic, which runs everywhere and is slow on
    /// Cortex-M4 and larger microcontrollers].
    #[arg(long, value_enum)]
    target: Option<Choice>,
    /// The board that the model is for: its core is the target, and a warning says if flash or RAM are too small.
    #[arg(long, value_name = "NAME", conflicts_with = "target", value_parser = board)]
    board: Option<&'static Board>,
}

/// A core, by its name.
#[derive(Clone, Copy, Debug)]
struct Choice(Core);

impl ValueEnum for Choice {
    fn value_variants<'a>() -> &'a [Self] {
        static CHOICES: [Choice; Core::ALL.len()] = {
            let mut choices = [Choice(Core::Generic); Core::ALL.len()];
            let mut code = 0;
            while code < choices.len() {
                choices[code] = Choice(Core::ALL[code]);
                code += 1;
            }
            choices
        };
        &CHOICES
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let value = PossibleValue::new(self.0.name()).help(self.0.processors());
        Some(match self.0 {
            // The name of older versions.
            Core::CortexM4 => value.alias("cortex-m"),
            core => value.aliases(core.emulated_cpus()),
        })
    }
}

/// The board of a name.
///
/// # Errors
/// With the names that are nearest.
pub(super) fn board(name: &str) -> Result<&'static Board, String> {
    /// Names that are given.
    const NEAREST: usize = 3;
    Board::named(name).ok_or_else(|| {
        let likeness = |board: &&Board| strsim::jaro_winkler(board.name, &name.to_lowercase());
        let mut boards: Vec<&Board> = Board::ALL.iter().collect();
        boards.sort_by(|a, b| likeness(b).total_cmp(&likeness(a)));
        let nearest: Vec<&str> = boards.iter().take(NEAREST).map(|board| board.name).collect();
        format!("no board has this name; the nearest are {}", nearest.join(", "))
    })
}

impl Target {
    /// The core to pack for.
    pub(super) fn core(&self) -> Core {
        let of_board = || self.board.map_or(Core::Generic, |board| board.core);
        self.target.map_or_else(of_board, |Choice(core)| core)
    }

    /// Warns, in a line, of a likely mistake: a board that cannot hold the model, or no core at all.
    pub(super) fn check(&self, model: &Model<'_>, console: &Console) {
        let need = Need::of(model);
        let line = match (self.target, self.board) {
            (_, Some(board)) => shortage(board, need)
                .map(|shortage| format!("warning: {} cannot hold this model: {shortage}", board.name)),
            (Some(_), None) => None,
            (None, None) => unchosen(model),
        };
        if let Some(line) = line {
            console.say(line);
        }
    }
}

/// What it costs that `model` is packed for no core, and how to choose one; nothing where it costs nothing.
fn unchosen(model: &Model<'_>) -> Option<String> {
    let slow = |core: Core| suit(model, core).slowdown().map(|slowdown| (core, slowdown));
    let slow: Vec<(Core, f64)> = Core::ALL.into_iter().filter_map(slow).collect();
    let most = slow.iter().map(|&(_, slowdown)| slowdown).fold(0.0, f64::max);
    let titles: Vec<&str> = slow.iter().map(|(core, _)| core.title()).collect();
    (!slow.is_empty()).then(|| {
        format!(
            "warning: packed for no core in particular: on {} this model takes about {most:.0} times the instructions of one \
             that is packed for the core; name the core by --target or the board by --board",
            titles.join(", ")
        )
    })
}

/// What `board` lacks, if it lacks anything.
fn shortage(board: &Board, need: Need) -> Option<String> {
    let Fit { flash_spare, ram_spare } = need.on(board);
    let memories = [
        ("flash", board.flash, flash_spare, need.model_bytes, need.program_bytes, "program"),
        ("RAM", board.ram, ram_spare, need.arena_bytes, STACK_BYTES, "stack and variables"),
    ];
    let missing = memories.into_iter().filter(|&(_, _, spare, ..)| spare < 0);
    let missing = missing.map(|(name, memory, spare, own, other, what)| {
        format!(
            "{} bytes of {name} are missing (it has {}; the model takes {}, {what} about {})",
            grouped(spare.unsigned_abs()),
            grouped(memory.bytes),
            grouped(own),
            grouped(other)
        )
    });
    let missing: Vec<String> = missing.collect();
    (!missing.is_empty()).then(|| missing.join("; "))
}

/// Why `model`, which takes `need`, does not run on `board`, in one line; `None` if it does.
pub(super) fn misfit(model: &Model<'_>, need: Need, board: &Board) -> Option<String> {
    match suit(model, board.core) {
        Suit::Refused => Some(refusal(model, board.core)),
        Suit::Runs { .. } => shortage(board, need),
    }
}

/// Says that a model is packed for another core than `core`, and what to do.
fn refusal(model: &Model<'_>, core: Core) -> String {
    let (packed, title, name) = (packed_for(model).name(), core.title(), core.name());
    format!("packed for {packed}, with weights that {title} does not read: pack it with --target {name}")
}

/// Why a model is slow or refused on a core, in a few words; `None` where it runs as fast as it can.
pub(super) fn reservation(model: &Model<'_>, core: Core) -> Option<String> {
    let packed = packed_for(model).name();
    match suit(model, core) {
        Suit::Refused => Some(format!("refused: packed for {packed}")),
        suit => {
            suit.slowdown().map(|slowdown| format!("about {slowdown:.0} times slower than packed for {}", core.name()))
        }
    }
}

/// Refuses a model that a core cannot run, and warns of one that is slow there.
pub(super) fn check_core(file: &Path, model: &Model<'_>, core: Core, console: &Console) -> Result<(), Failure> {
    let (packed, title, remedy) =
        (packed_for(model).name(), core.title(), format!("pack it with --target {}", core.name()));
    let suit = suit(model, core);
    if suit == Suit::Refused {
        return Err(Failure::at(file, refusal(model, core)));
    }
    if let Some(slowdown) = suit.slowdown() {
        let name = file.display();
        console.say(format!(
            "warning: {name} is packed for {packed}, about {slowdown:.0} times slower on {title}: {remedy}"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_cores_and_their_processors_are_understood() {
        let core = |name: &str| Choice::from_str(name, false).map(|choice| choice.0);
        for known in Core::ALL {
            assert_eq!(core(known.name()), Ok(known));
        }
        assert_eq!(
            ["cortex-m", "cortex-a72", "cortex-a76"].map(|name| core(name).unwrap()),
            [Core::CortexM4, Core::Neon, Core::Dotprod]
        );
        assert!(core("cortex-m5").is_err());
    }

    #[test]
    fn an_unknown_board_is_answered_with_the_nearest() {
        assert_eq!(board("pico2").unwrap().core, Core::CortexM33);
        let error = board("nucleo-f446").unwrap_err();
        assert!(error.contains("nearest are nucleo-f446re, nucleo-"), "{error}");
        let error = board("Microbit").unwrap_err();
        assert!(error.contains("nearest are microbit, microbit-v2"), "{error}");
    }

    #[test]
    fn what_a_board_lacks_is_told_in_numbers() {
        let board = Board::named("microbit").unwrap();
        let shortage = |model_bytes, arena_bytes| {
            shortage(board, Need { model_bytes, arena_bytes, program_bytes: crate::target::PROGRAM_BYTES })
        };
        assert_eq!(shortage(100_000, 10_000), None);
        let expected =
            "2 bytes of RAM are missing (it has 16,384; the model takes 12,290, stack and variables about 4,096)";
        assert_eq!(shortage(100_000, 12_290).unwrap(), expected);
        let both = shortage(230_000, 12_290).unwrap();
        assert!(
            both.contains(
                "17,008 bytes of flash are missing (it has 262,144; the model takes 230,000, program about 49,152"
            ),
            "{both}"
        );
        assert!(both.contains("; 2 bytes of RAM"), "{both}");
    }
}
