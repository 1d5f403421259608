//! Boards: what a model has to fit and a program is linked for.

use crate::Core;

const KIB: u32 = 1024;
const MIB: u32 = 1024 * KIB;

/// Memory in one piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Address of its first byte.
    pub origin: u32,
    /// Its bytes.
    pub bytes: u32,
}

/// RAM that is counted for a program's stack and its own variables.
pub const STACK_BYTES: u32 = 4 * KIB;
/// RAM of it that the stack has at least. The deepest one of `firmware-examples` takes 2.3 KB.
pub const LEAST_STACK_BYTES: u32 = 3 * KIB;

/// What a program for a real board takes more than one for an emulated board: the chip's HAL, all its interrupt
/// vectors, the log's buffer, LED and serial port. Bytes, rounded up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Support {
    /// Of flash.
    pub flash: u32,
    /// Of RAM, for variables.
    pub ram: u32,
}

/// A board with a microcontroller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Board {
    /// The maker's name, in lower case with hyphens; of boards that only an emulator has, the emulator's.
    pub name: &'static str,
    /// The name for people, with the chip.
    pub title: &'static str,
    /// Its core.
    pub core: Core,
    /// Where programs and models lie.
    pub flash: Memory,
    /// Where a reset reads the stack pointer and the first instruction's address, if not at the flash's first byte.
    pub reset: Option<u32>,
    /// The largest RAM in one piece: the arena is one piece.
    pub ram: Memory,
    /// What its HAL takes; nothing where the emulator's programs run on it.
    pub support: Support,
    /// The core's clock: the highest of the chip, the emulator's where it emulates the board.
    pub clock_hz: u32,
    /// The machine of `qemu-system-arm` that emulates it.
    pub machine: Option<&'static str>,
    /// The chip as probe-rs names it; `None` of a board that only an emulator has.
    pub chip: Option<&'static str>,
}

/// Of boards on which the emulator's programs run.
const NONE: Support = Support { flash: 0, ram: 0 };
// Of the boards of `firmware-examples/boards`; `cargo xtask test --only firmware` holds their programs to it. Other
// chips have the figures of the nearest one: an STM32F4 stands for F1, L4 and RA4M1, an nRF52840 for the nRF52833.
const RP2040: Support = Support { flash: 15 * KIB, ram: 3 * KIB / 2 };
const RP2350: Support = Support { flash: 17 * KIB, ram: 3 * KIB / 2 };
const NRF52: Support = Support { flash: 11 * KIB, ram: 3 * KIB / 2 };
const STM32F4: Support = Support { flash: 17 * KIB, ram: 3 * KIB / 2 };
const STM32H7: Support = Support { flash: 22 * KIB, ram: 3 * KIB / 2 };
const STM32U5: Support = Support { flash: 21 * KIB, ram: 3 * KIB / 2 };

const fn at(origin: u32, bytes: u32) -> Memory {
    Memory { origin, bytes }
}

/// A board that people have. Source: the makers' data sheets.
const fn real(
    [name, title, chip]: [&'static str; 3],
    core: Core,
    [flash, ram]: [Memory; 2],
    support: Support,
    megahertz: u32,
) -> Board {
    Board {
        name,
        title,
        core,
        flash,
        reset: None,
        ram,
        support,
        clock_hz: megahertz * 1_000_000,
        machine: None,
        chip: Some(chip),
    }
}

/// A board that only the emulator has. Source: QEMU's `info mtree`, and `SYSCLK_FRQ` of its `hw/arm/mps2*.c`.
const fn emulated([name, title]: [&'static str; 2], core: Core, flash: Memory, ram: Memory, megahertz: u32) -> Board {
    Board {
        name,
        title,
        core,
        flash,
        reset: None,
        ram,
        support: NONE,
        clock_hz: megahertz * 1_000_000,
        machine: Some(name),
        chip: None,
    }
}

const BOARDS: [Board; 20] = [
    Board {
        machine: Some("microbit"),
        ..real(
            ["microbit", "BBC micro:bit v1 (nRF51822)", "nRF51822_xxAA"],
            Core::CortexM0,
            [at(0, 256 * KIB), at(0x2000_0000, 16 * KIB)],
            NONE,
            16,
        )
    },
    // Two banks of 4 KiB follow the RAM that is striped over four.
    real(
        ["pico", "Raspberry Pi Pico (RP2040)", "RP2040"],
        Core::CortexM0,
        [at(0x1000_0000, 2 * MIB), at(0x2000_0000, 256 * KIB)],
        RP2040,
        133,
    ),
    real(
        ["blue-pill", "Blue Pill (STM32F103C8)", "STM32F103C8"],
        Core::CortexM3,
        [at(0x0800_0000, 64 * KIB), at(0x2000_0000, 20 * KIB)],
        STM32F4,
        72,
    ),
    real(
        ["microbit-v2", "BBC micro:bit v2 (nRF52833)", "nRF52833_xxAA"],
        Core::CortexM4,
        [at(0, 512 * KIB), at(0x2000_0000, 128 * KIB)],
        NRF52,
        64,
    ),
    real(
        ["nrf52840-dk", "nRF52840 DK (nRF52840)", "nRF52840_xxAA"],
        Core::CortexM4,
        [at(0, MIB), at(0x2000_0000, 256 * KIB)],
        NRF52,
        64,
    ),
    real(
        ["arduino-nano-33-ble", "Arduino Nano 33 BLE (nRF52840)", "nRF52840_xxAA"],
        Core::CortexM4,
        [at(0, MIB), at(0x2000_0000, 256 * KIB)],
        NRF52,
        64,
    ),
    real(
        ["arduino-uno-r4", "Arduino Uno R4 (RA4M1)", "R7FA4M1AB"],
        Core::CortexM4,
        [at(0, 256 * KIB), at(0x2000_0000, 32 * KIB)],
        STM32F4,
        48,
    ),
    // 64 KiB of core-coupled RAM lie elsewhere.
    Board {
        machine: Some("netduinoplus2"),
        ..real(
            ["netduinoplus2", "Netduino Plus 2 (STM32F405)", "STM32F405RGTx"],
            Core::CortexM4,
            [at(0x0800_0000, MIB), at(0x2000_0000, 128 * KIB)],
            NONE,
            168,
        )
    },
    real(
        ["stm32f407g-disc1", "STM32F4 Discovery (STM32F407)", "STM32F407VGTx"],
        Core::CortexM4,
        [at(0x0800_0000, MIB), at(0x2000_0000, 128 * KIB)],
        STM32F4,
        168,
    ),
    real(
        ["black-pill", "Black Pill (STM32F411)", "STM32F411CEUx"],
        Core::CortexM4,
        [at(0x0800_0000, 512 * KIB), at(0x2000_0000, 128 * KIB)],
        STM32F4,
        100,
    ),
    real(
        ["nucleo-f446re", "Nucleo-F446RE (STM32F446)", "STM32F446RETx"],
        Core::CortexM4,
        [at(0x0800_0000, 512 * KIB), at(0x2000_0000, 128 * KIB)],
        STM32F4,
        180,
    ),
    // Another 32 KiB lie elsewhere.
    real(
        ["nucleo-l476rg", "Nucleo-L476RG (STM32L476)", "STM32L476RGTx"],
        Core::CortexM4,
        [at(0x0800_0000, MIB), at(0x2000_0000, 96 * KIB)],
        STM32F4,
        80,
    ),
    // The RAM of the AXI bus.
    real(
        ["nucleo-h743zi", "Nucleo-H743ZI (STM32H743)", "STM32H743ZITx"],
        Core::CortexM7,
        [at(0x0800_0000, 2 * MIB), at(0x2400_0000, 512 * KIB)],
        STM32H7,
        480,
    ),
    real(
        ["pico2", "Raspberry Pi Pico 2 (RP2350)", "RP235x"],
        Core::CortexM33,
        [at(0x1000_0000, 4 * MIB), at(0x2000_0000, 512 * KIB)],
        RP2350,
        150,
    ),
    // SRAM 1 to 3, which follow each other.
    real(
        ["nucleo-u575zi-q", "Nucleo-U575ZI-Q (STM32U575)", "STM32U575ZITxQ"],
        Core::CortexM33,
        [at(0x0800_0000, 2 * MIB), at(0x2000_0000, 768 * KIB)],
        STM32U5,
        160,
    ),
    emulated(["mps2-an385", "MPS2 AN385"], Core::CortexM3, at(0, 4 * MIB), at(0x2000_0000, 4 * MIB), 25),
    emulated(["mps2-an386", "MPS2 AN386"], Core::CortexM4, at(0, 4 * MIB), at(0x2000_0000, 4 * MIB), 25),
    emulated(["mps2-an500", "MPS2 AN500"], Core::CortexM7, at(0, 4 * MIB), at(0x2000_0000, 4 * MIB), 25),
    // Secure aliases of SSRAM 1, and of SSRAM 2 and 3.
    emulated(["mps2-an505", "MPS2 AN505"], Core::CortexM33, at(0x1000_0000, 4 * MIB), at(0x3800_0000, 4 * MIB), 20),
    // Secure aliases of the SRAM and of the subsystem's SRAM; a reset reads the instruction TCM.
    Board {
        reset: Some(0x1000_0000),
        ..emulated(
            ["mps3-an547", "MPS3 AN547"],
            Core::CortexM55,
            at(0x1100_0000, 2 * MIB),
            at(0x3100_0000, 4 * MIB),
            32,
        )
    },
];

impl Board {
    /// All boards.
    pub const ALL: &[Self] = &BOARDS;

    /// The board of a name, if there is one.
    pub fn named(name: &str) -> Option<&'static Self> {
        Self::ALL.iter().find(|board| board.name == name)
    }

    /// The arguments of `qemu-system-arm` before the program, under which semihosting works and each instruction takes
    /// a nanosecond; `None` if the emulator does not have the board.
    pub fn emulator_arguments(&self) -> Option<[&'static str; 7]> {
        let machine = self.machine?;
        Some([
            "-machine",
            machine,
            "-nographic",
            "-semihosting-config",
            "enable=on,target=native",
            "-icount",
            "shift=0",
        ])
    }

    /// The linker's memory map, as cortex-m-rt reads it from `memory.x`. A program for a board with an address of its
    /// own for resets has to set `VTOR`, as cortex-m-rt's feature `set-vtor` does.
    pub fn memory_map(&self) -> String {
        self.map(self.flash, None)
    }

    /// [`memory_map`](Self::memory_map) with a region `MODEL` for the section `.model`, from `__model_start` to
    /// `__model_end`; the program lies before it, with the sections `.boot2` or `.start_block` where the ROM of a chip of
    /// Raspberry Pi looks for them.
    pub fn memory_map_around(&self, model: Memory) -> String {
        self.map(Memory { bytes: model.origin - self.flash.origin, ..self.flash }, Some(model))
    }

    /// Where a model of `model_bytes` lies, beside a program of about `program_bytes`, so that either can be replaced
    /// alone: at a fixed address of the board, between two sectors of its flash, wherever both fit that way.
    pub fn model_region(&self, program_bytes: u32, model_bytes: u32) -> Memory {
        /// The largest sector among the first ones of a flash without a share for programs.
        const SECTOR: u32 = 4 * KIB;
        let Memory { origin, bytes } = self.flash;
        let share = match bytes / KIB {
            ..=64 => 48 * KIB,
            65..=256 => 64 * KIB,
            _ => 128 * KIB,
        };
        let fits = program_bytes <= share && model_bytes <= bytes.saturating_sub(share);
        let program = if fits { share } else { program_bytes.next_multiple_of(SECTOR).min(bytes) };
        Memory { origin: origin + program, bytes: bytes - program }
    }

    fn map(&self, flash: Memory, model: Option<Memory>) -> String {
        let region = |name: &str, Memory { origin, bytes }: Memory| {
            format!("  {name} : ORIGIN = {origin:#010x}, LENGTH = {bytes:#x}\n")
        };
        let (mut regions, mut sections) = (String::new(), String::new());
        let mut flash = flash;
        match self.chip.filter(|_| model.is_some()) {
            // The ROM copies the second stage of the start from the begin of the flash.
            Some("RP2040") => {
                regions += &region("BOOT2", Memory { bytes: 256, ..flash });
                flash = Memory { origin: flash.origin + 256, bytes: flash.bytes - 256 };
                sections += "SECTIONS\n{\n  .boot2 : { KEEP(*(.boot2)); } > BOOT2\n} INSERT BEFORE .text;\n";
            }
            // The ROM looks for a block that describes the program in the first 4 KiB.
            Some("RP235x") => {
                sections += "SECTIONS\n{\n  .start_block : ALIGN(4) { KEEP(*(.start_block)); } > FLASH\n} \
                             INSERT AFTER .vector_table;\n_stext = ADDR(.start_block) + SIZEOF(.start_block);\n";
            }
            _ => {}
        }
        regions += &(region("FLASH", flash) + &region("RAM", self.ram));
        if let Some(origin) = self.reset {
            regions += &region("RESET", Memory { origin, bytes: 8 });
            sections +=
                "SECTIONS\n{\n  .reset : { LONG(_stack_start); LONG(Reset | 1); } > RESET\n} INSERT BEFORE .text;\n";
        }
        if let Some(model) = model {
            regions += &region("MODEL", model);
            sections += "SECTIONS\n{\n  .model : { KEEP(*(.model)); } > MODEL\n} INSERT AFTER .text;\n\
                         __model_start = ORIGIN(MODEL);\n__model_end = ORIGIN(MODEL) + LENGTH(MODEL);\n";
        }
        format!("MEMORY\n{{\n{regions}}}\n{sections}")
    }
}

impl Core {
    /// The emulated board on which programs for a microcontroller's core are run.
    pub fn emulated_board(self) -> Option<&'static Board> {
        self.emulated_board_name().and_then(Board::named)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boards_have_unique_names_microcontrollers_and_memories_apart() {
        for board in Board::ALL {
            assert_eq!(Board::named(board.name), Some(board));
            assert!(board.core.triple().is_some_and(|triple| triple.starts_with("thumb")), "{}", board.name);
            assert!(board.machine.is_some() || board.chip.is_some(), "{}", board.name);
            assert_eq!(board.support == NONE, board.machine.is_some(), "{}", board.name);
            let end = |memory: Memory| memory.origin + memory.bytes;
            assert!(end(board.flash) <= board.ram.origin || end(board.ram) <= board.flash.origin, "{}", board.name);
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            assert!(board.name.chars().all(plain), "{}", board.name);
        }
        assert_eq!(Board::named("micro:bit"), None);
    }

    #[test]
    fn every_microcontroller_has_an_emulated_board_that_runs_its_programs() {
        for core in Core::ALL.into_iter().filter(|core| core.triple().is_some_and(|triple| triple.starts_with("thumb")))
        {
            let board = core.emulated_board().unwrap_or_else(|| panic!("{core:?}"));
            assert!(board.machine.is_some() && (board.core as u8) >= core as u8, "{core:?}");
            assert!(core.extension().is_none() || board.core == core, "{core:?}");
        }
    }

    #[test]
    fn a_memory_map_names_the_memories_and_where_a_reset_looks() {
        let map = Board::named("mps2-an505").unwrap().memory_map();
        assert_eq!(
            map,
            "MEMORY\n{\n  FLASH : ORIGIN = 0x10000000, LENGTH = 0x400000\n  RAM : ORIGIN = 0x38000000, LENGTH = 0x400000\n}\n"
        );
        let map = Board::named("mps3-an547").unwrap().memory_map();
        assert!(map.contains("  RESET : ORIGIN = 0x10000000, LENGTH = 0x8\n}\nSECTIONS\n{\n  .reset :"), "{map}");
    }

    #[test]
    fn a_model_has_a_fixed_place_unless_it_needs_another() {
        let region = |name: &str, program: u32, model: u32| {
            let board = Board::named(name).unwrap();
            let Memory { origin, bytes } = board.model_region(program * KIB, model * KIB);
            assert_eq!(origin + bytes, board.flash.origin + board.flash.bytes, "{name}");
            let map = board.memory_map_around(Memory { origin, bytes });
            let length = origin - board.flash.origin;
            assert!(map.contains(&format!("FLASH : ORIGIN = {:#010x}, LENGTH = {length:#x}\n", board.flash.origin)));
            assert!(map.contains(&format!("MODEL : ORIGIN = {origin:#010x}, LENGTH = {bytes:#x}\n")), "{map}");
            length / KIB
        };
        assert_eq!([10, 192].map(|model| region("microbit", 48, model)), [64; 2]);
        assert_eq!(region("microbit", 46, 200), 48);
        assert_eq!(region("nucleo-f446re", 60, 300), 128);
        assert_eq!(region("nucleo-f446re", 130, 300), 132);
        assert_eq!(region("blue-pill", 70, 300), 64);
    }

    #[test]
    fn chips_of_raspberry_pi_find_what_their_rom_wants() {
        let map = |name: &str| {
            let board = Board::named(name).unwrap();
            board.memory_map_around(board.model_region(48 * KIB, 0))
        };
        let pico = map("pico");
        assert!(pico.contains(
            "  BOOT2 : ORIGIN = 0x10000000, LENGTH = 0x100\n  FLASH : ORIGIN = 0x10000100, LENGTH = 0x1ff00\n"
        ));
        assert!(pico.contains(".boot2 :"), "{pico}");
        assert!(map("pico2").contains(".start_block :") && !map("nucleo-f446re").contains(".start_block"));
    }
}
