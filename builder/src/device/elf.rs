//! What a program takes of a microcontroller.

use super::DeviceError;
use crate::files;
use crate::target::Memory;
use object::read::elf::{ElfFile32, ProgramHeader};
use object::{Endianness, File, Object, ObjectSymbol, elf};
use std::path::Path;

/// What a program for a microcontroller takes, in bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sizes {
    /// Code, constants and the initial values of statics.
    pub(super) flash: u64,
    /// Statics.
    pub(super) ram: u64,
}

/// The sizes of the program in the file `path`, linked for a board with such RAM.
pub(super) fn sizes(path: &Path, ram: Memory) -> Result<Sizes, DeviceError> {
    let bytes = files::read(path)?;
    parse(&bytes, ram).map_err(|e| DeviceError::Elf { path: path.to_path_buf(), reason: e.to_string() })
}

/// The address of the function in the program `path` whose mangled name contains `name`.
pub(super) fn function(path: &Path, name: &str) -> Result<u64, DeviceError> {
    let bytes = files::read(path)?;
    let failed = |reason: String| DeviceError::Elf { path: path.to_path_buf(), reason };
    let file = File::parse(bytes.as_slice()).map_err(|e| failed(e.to_string()))?;
    let found = file.symbols().find(|symbol| symbol.name().is_ok_and(|symbol| symbol.contains(name)));
    found.map(|symbol| symbol.address()).ok_or_else(|| failed(format!("has no function {name}")))
}

/// What a program puts into memory before it starts: addresses, in their order, and bytes.
#[cfg(feature = "cli")]
pub(super) fn parts(path: &Path) -> Result<Vec<(u32, Vec<u8>)>, DeviceError> {
    let bytes = files::read(path)?;
    let parse = || {
        let file = ElfFile32::<Endianness>::parse(bytes.as_slice())?;
        let mut parts = Vec::new();
        for header in file.elf_program_headers() {
            let endian = file.endian();
            let data = header.data(endian, bytes.as_slice()).unwrap_or_default();
            if header.p_type(endian) == elf::PT_LOAD && !data.is_empty() {
                parts.push((header.p_paddr(endian), data.to_vec()));
            }
        }
        parts.sort();
        Ok(parts)
    };
    parse().map_err(|e: object::Error| DeviceError::Elf { path: path.to_path_buf(), reason: e.to_string() })
}

/// A program without the part at `address`: the bytes of its file.
#[cfg(feature = "cli")]
pub(super) fn without_part(path: &Path, address: u32) -> Result<Vec<u8>, DeviceError> {
    let mut bytes = files::read(path)?;
    let word =
        |bytes: &[u8], at: usize| bytes.get(at..at + 4).map(|word| u32::from_le_bytes([0, 1, 2, 3].map(|i| word[i])));
    // Fields of the header of a 32-bit file, and of the headers of its segments, which say how they are loaded.
    const TABLE: usize = 0x1C;
    const SIZE_AND_COUNT: usize = 0x2A;
    const PHYSICAL: usize = 12;
    let failed = || DeviceError::Elf { path: path.to_path_buf(), reason: "cannot be parsed".into() };
    let table = word(&bytes, TABLE).ok_or_else(failed)? as usize;
    let size_and_count = word(&bytes, SIZE_AND_COUNT).ok_or_else(failed)? as usize;
    let (size, count) = (size_and_count & 0xFFFF, size_and_count >> 16);
    for header in (0..count).map(|index| table + index * size) {
        if word(&bytes, header) == Some(elf::PT_LOAD) && word(&bytes, header + PHYSICAL) == Some(address) {
            bytes[header..header + 4].copy_from_slice(&elf::PT_NULL.to_le_bytes());
        }
    }
    Ok(bytes)
}

fn parse(bytes: &[u8], ram: Memory) -> Result<Sizes, object::Error> {
    let file = ElfFile32::<Endianness>::parse(bytes)?;
    let mut sizes = Sizes { flash: 0, ram: 0 };
    for header in file.elf_program_headers() {
        let endian = file.endian();
        if header.p_type(endian) == elf::PT_LOAD {
            sizes.flash += u64::from(header.p_filesz(endian));
            if header.p_vaddr(endian).checked_sub(ram.origin).is_some_and(|offset| offset < ram.bytes) {
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
        let ram = Memory { origin: 0x2000_0000, bytes: 1024 };
        let error = sizes(&path, ram).unwrap_err().to_string();
        assert!(error.contains("program: "), "{error}");
    }
}
