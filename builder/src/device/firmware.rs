//! Projects of firmware: compiled, and started or handed to a probe.

use super::place::Device;
use super::{BUILD_LIMIT, DeviceError, Missing, RELEASE, elf, process, tools};
use crate::files::{self, FileError};
use crate::target::Board;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The name of the compiled program in its project.
pub(crate) const PROGRAM: &str = "program.elf";

/// A compiled program.
#[derive(Debug)]
pub(crate) struct Firmware {
    /// Its ELF file.
    pub(crate) program: PathBuf,
    /// What it puts into flash: addresses, in their order, and bytes.
    pub(crate) parts: Vec<(u32, Vec<u8>)>,
    /// RAM of its statics: the arena is one of them.
    pub(crate) ram_bytes: u64,
}

impl Firmware {
    /// The program in an ELF file, for `board`.
    pub(crate) fn read(program: PathBuf, board: &Board) -> Result<Self, DeviceError> {
        let (parts, sizes) = (elf::parts(&program)?, elf::sizes(&program, board.ram)?);
        Ok(Self { program, parts, ram_bytes: sizes.ram })
    }

    /// Its file without the part at `address`.
    pub(crate) fn without_part(&self, address: u32) -> Result<Vec<u8>, DeviceError> {
        elf::without_part(&self.program, address)
    }
}

/// Compiles the package `package` in the folder `project` for `board`; what the compiler makes is kept in `target`.
pub(crate) fn compile(
    board: &'static Board,
    project: &Path,
    package: &str,
    target: &Path,
) -> Result<Firmware, DeviceError> {
    let triple = board.core.triple().expect("a board is a microcontroller");
    let toolchain = tools::toolchain_for(triple, board.name)?;
    files::create_dir(target)?;
    // The next build replaces the program.
    let lock_path = target.join(".flash.lock");
    let lock = std::fs::File::create(&lock_path).map_err(|e| FileError::new("create", &lock_path, e))?;
    lock.lock().map_err(|e| FileError::new("lock", &lock_path, e))?;
    let mut command = toolchain.cargo(triple);
    command.args(["--profile", RELEASE, "--quiet", "--target", triple, "--target-dir"]).arg(target);
    let output = process::output(command.current_dir(project), BUILD_LIMIT)?;
    if !output.status.success() {
        let reason = process::first_error(&output);
        return Err(DeviceError::Build { package: "the firmware", target: triple, reason });
    }
    let program = project.join(PROGRAM);
    let built = target.join(triple).join(RELEASE).join(package);
    std::fs::copy(&built, &program).map_err(|e| FileError::new("read", &built, e))?;
    Firmware::read(program, board)
}

/// The emulator's command line up to the program, for a board that it has.
pub(crate) fn emulator(board: &'static Board) -> Result<Command, DeviceError> {
    let device = Device::of_board(board).expect("the board is emulated");
    Ok(tools::emulator(device)?)
}

/// Says that probe-rs is missing, where it is; `board` needs it.
pub(crate) fn probe_is_missing(board: &Board) -> Option<Missing> {
    tools::probe(board.name).err()
}

/// `probe-rs SUBCOMMAND --chip CHIP`, for `board`.
pub(crate) fn probe(board: &Board, subcommand: &str) -> Command {
    let mut command = Command::new("probe-rs");
    command.args([subcommand, "--chip", board.chip.unwrap_or_default()]);
    command
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::Core;

    /// A file of two segments, as small as one can be.
    fn program(path: &Path) {
        let mut bytes = vec![0; 52 + 2 * 32];
        bytes[..7].copy_from_slice(b"\x7fELF\x01\x01\x01");
        let half = |bytes: &mut Vec<u8>, at: usize, value: u16| bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
        let word = |bytes: &mut Vec<u8>, at: usize, value: u32| bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        for (at, value) in [(16, 2), (18, 40), (40, 52), (42, 32), (44, 2), (46, 40)] {
            half(&mut bytes, at, value);
        }
        word(&mut bytes, 20, 1);
        word(&mut bytes, 28, 52);
        for (index, (address, data)) in [(0x2_0000, b"model"), (0, b"progr")].into_iter().enumerate() {
            let (header, at) = (52 + 32 * index, bytes.len() as u32);
            for (field, value) in [1, at, address, address, 5, 5].into_iter().enumerate() {
                word(&mut bytes, header + 4 * field, value);
            }
            bytes.extend(data);
        }
        std::fs::write(path, bytes).unwrap();
    }

    #[test]
    fn a_program_has_parts_and_can_lose_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("program");
        program(&path);
        let board = Core::CortexM4.emulated_board().unwrap();
        let firmware = Firmware::read(path.clone(), board).unwrap();
        assert_eq!(firmware.parts, [(0, b"progr".to_vec()), (0x2_0000, b"model".to_vec())]);
        std::fs::write(&path, firmware.without_part(0x2_0000).unwrap()).unwrap();
        assert_eq!(Firmware::read(path, board).unwrap().parts, [(0, b"progr".to_vec())]);
    }
}
