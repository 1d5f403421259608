//! The devices that the emulator has here.

use crate::target::{Board, Core};

/// A device that a model can be run on here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    name: &'static str,
    core: Core,
    pub(super) place: Place,
}

/// Where the program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// On a board without an operating system.
    Board(&'static Board),
    /// Under Linux, on the emulator's processor of this name; native where the host is aarch64 Linux itself.
    Linux(&'static str),
}

impl Device {
    /// The device on which programs compiled for `core` run; `None` where there is none.
    pub fn of_core(core: Core) -> Option<Self> {
        let place = match core.emulated_board() {
            Some(board) => Place::Board(board),
            None => Place::Linux(core.emulated_cpus().last()?),
        };
        Some(Self { name: core.title(), core, place })
    }

    /// A board, if the emulator has it.
    pub fn of_board(board: &'static Board) -> Option<Self> {
        board.machine.map(|_| Self { name: board.name, core: board.core, place: Place::Board(board) })
    }

    /// A processor of the emulator's user mode, by its name there: `cortex-a53`.
    pub fn of_cpu(name: &str) -> Option<Self> {
        Core::ALL.into_iter().find_map(|core| {
            let cpu = core.emulated_cpus().iter().find(|cpu| **cpu == name)?;
            Some(Self { name: cpu, core, place: Place::Linux(cpu) })
        })
    }

    /// The name in tables and messages.
    pub fn name(self) -> &'static str {
        self.name
    }

    /// The core that its program is compiled for.
    pub fn core(self) -> Core {
        self.core
    }

    /// The compiler's target.
    pub(super) fn triple(self) -> &'static str {
        self.core.triple().expect("emulated cores are not the host's")
    }

    /// The package of `firmware-examples` whose programs it runs.
    pub(super) fn package(self) -> &'static str {
        match self.place {
            Place::Board(_) => "emulated",
            Place::Linux(_) => "raspberry-pi",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_core_but_the_hosts_and_the_generic_one_has_a_device() {
        for core in Core::ALL {
            let device = Device::of_core(core);
            assert_eq!(device.is_some(), core.triple().is_some(), "{core:?}");
            assert!(device.is_none_or(|device| device.core() == core && device.triple().contains('-')));
        }
        let on = |board| Board::named(board).and_then(Device::of_board);
        assert_eq!(on("microbit").map(Device::core), Some(Core::CortexM0));
        assert_eq!(on("pico"), None);
        assert_eq!(Device::of_cpu("cortex-a76").map(Device::core), Some(Core::Dotprod));
        assert_eq!(Device::of_cpu("cortex-m4"), None);
    }
}
