//! What a program takes of a microcontroller.

use super::DeviceError;
use crate::files;
use object::read::elf::{ElfFile32, ProgramHeader};
use object::{Endianness, elf};
use std::path::Path;

/// First address of the RAM of Cortex-M.
const RAM: u64 = 0x2000_0000;

/// What a program for a microcontroller takes, in bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sizes {
    /// Code, constants and the initial values of statics.
    pub(super) flash: u64,
    /// Statics.
    pub(super) ram: u64,
}

/// The sizes of the program in the file `path`.
pub(super) fn sizes(path: &Path) -> Result<Sizes, DeviceError> {
    let bytes = files::read(path)?;
    parse(&bytes).map_err(|e| DeviceError::Elf { path: path.to_path_buf(), reason: e.to_string() })
}

fn parse(bytes: &[u8]) -> Result<Sizes, object::Error> {
    let file = ElfFile32::<Endianness>::parse(bytes)?;
    let mut sizes = Sizes { flash: 0, ram: 0 };
    for header in file.elf_program_headers() {
        let endian = file.endian();
        if header.p_type(endian) == elf::PT_LOAD {
            sizes.flash += u64::from(header.p_filesz(endian));
            if u64::from(header.p_vaddr(endian)) >= RAM {
                sizes.ram += u64::from(header.p_memsz(endian));
            }
        }
    }
    Ok(sizes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_program_is_refused_with_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("program");
        std::fs::write(&path, b"\x7fELF").unwrap();
        let error = sizes(&path).unwrap_err().to_string();
        assert!(error.contains("program: "), "{error}");
    }
}
