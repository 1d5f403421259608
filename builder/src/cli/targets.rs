//! Cores and boards on the command line.

use super::console::Console;
use super::failure::Failure;
use super::table::grouped;
use crate::target::{Board, Core, Fit, Limits, Need, Suit, packed_for, suit};
use clap::ValueEnum;
use clap::builder::PossibleValue;
use skipstone_runtime::Model;
use std::path::Path;

/// What a model is packed for.
#[derive(Debug, clap::Args)]
pub(super) struct Target {
    /// The core whose kernels the weights are laid out for [default: generic, which runs everywhere, but slowly on
    /// Cortex-M4 and larger microcontrollers].
    #[arg(long, value_enum)]
    target: Option<Choice>,
    /// The board that the model is for. Its core is the target, and the fastest kernels are chosen with which the model
    /// and the program fit its flash and RAM.
    #[arg(long, value_name = "NAME", conflicts_with = "target", value_parser = board)]
    board: Option<&'static Board>,
    /// Flash for the model and the program around it [default: the board's, if there is one]. The fastest kernels are
    /// chosen that fit.
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..))]
    flash: Option<u64>,
    /// RAM for arena, stack and variables [default: the board's, if there is one]. The fastest kernels are chosen
    /// that fit.
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..))]
    ram: Option<u64>,
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

    /// The memories that model and program have to fit, if there are limits.
    pub(super) fn limits(&self) -> Option<Limits> {
        let unlimited = Limits::new(u64::MAX, u64::MAX);
        let Limits { flash, ram, support } = self.board.map_or(unlimited, Limits::of);
        let limits = Limits { flash: self.flash.unwrap_or(flash), ram: self.ram.unwrap_or(ram), support };
        (limits != unlimited).then_some(limits)
    }

    /// Warns, in a line, of a likely mistake: a model that is packed for no core at all.
    pub(super) fn check(&self, model: &Model<'_>, console: &Console) {
        if let (None, None, Some(line)) = (self.target, self.board, unchosen(model)) {
            console.say(line);
        }
    }
}

/// What a packed model takes of some memories, in a line.
pub(super) fn taken(need: Need, limits: Limits) -> String {
    let of = |limit: u64| if limit == u64::MAX { String::new() } else { format!(" of {}", grouped(limit)) };
    let hal = u64::from(limits.support.flash);
    let hal_text = if hal == 0 { String::new() } else { format!(", the board's HAL about {}", grouped(hal)) };
    format!(
        "flash {}{} bytes (model {}, program about {}{hal_text}), RAM {}{} (arena {}, stack and variables about {})",
        grouped(need.flash_bytes() + hal),
        of(limits.flash),
        grouped(need.model_bytes),
        grouped(need.program_bytes),
        grouped(need.arena_bytes + limits.stack_and_variables()),
        of(limits.ram),
        grouped(need.arena_bytes),
        grouped(limits.stack_and_variables())
    )
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

/// What of the memories is missing, if anything is.
fn shortage(limits: Limits, need: Need) -> Option<String> {
    let Fit { flash_spare, ram_spare } = need.left(limits);
    let program = need.program_bytes + u64::from(limits.support.flash);
    let memories = [
        ("flash", limits.flash, flash_spare, need.model_bytes, program, "program"),
        ("RAM", limits.ram, ram_spare, need.arena_bytes, limits.stack_and_variables(), "stack and variables"),
    ];
    let missing = memories.into_iter().filter(|&(_, _, spare, ..)| spare < 0);
    let missing = missing.map(|(name, memory, spare, own, other, what)| {
        format!(
            "{} bytes of {name} are missing (it has {}; the model takes {}, {what} about {})",
            grouped(spare.unsigned_abs()),
            grouped(memory),
            grouped(own),
            grouped(other)
        )
    });
    let missing: Vec<String> = missing.collect();
    (!missing.is_empty()).then(|| missing.join("; "))
}

/// Why `model`, which takes `need`, does not run on `core` within `limits`, in one line; `None` if it does.
pub(super) fn misfit(model: &Model<'_>, need: Need, core: Core, limits: Limits) -> Option<String> {
    match suit(model, core) {
        Suit::Refused => Some(refusal(model, core)),
        Suit::Runs { .. } => shortage(limits, need),
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
    use crate::target::Support;

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
            shortage(Limits::of(board), Need { model_bytes, arena_bytes, program_bytes: 48 * 1024 })
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

    #[test]
    fn what_is_given_goes_before_what_the_board_has() {
        let board = Board::named("microbit");
        let limits = |board, flash, ram| Target { target: None, board, flash, ram }.limits();
        assert_eq!(limits(None, None, None), None);
        assert_eq!(limits(board, None, None), Some(Limits::new(256 << 10, 16 << 10)));
        assert_eq!(limits(board, Some(200_000), None), Some(Limits::new(200_000, 16 << 10)));
        let limits = limits(None, None, Some(16_384)).unwrap();
        assert_eq!(limits, Limits::new(u64::MAX, 16_384));
        let need = Need { model_bytes: 100_000, arena_bytes: 10_000, program_bytes: 49_152 };
        assert_eq!(
            taken(need, limits),
            "flash 149,152 bytes (model 100,000, program about 49,152), RAM 14,096 of 16,384 (arena 10,000, stack and \
             variables about 4,096)"
        );
        let pico = Board::named("pico").unwrap();
        let taken = taken(need, Limits { support: Support { flash: 8_192, ram: 1_536 }, ..Limits::of(pico) });
        assert_eq!(
            taken,
            "flash 157,344 of 2,097,152 bytes (model 100,000, program about 49,152, the board's HAL about 8,192), RAM \
             15,632 of 262,144 (arena 10,000, stack and variables about 5,632)"
        );
    }
}
