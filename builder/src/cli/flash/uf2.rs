//! UF2 files, which the ROM of Raspberry Pi's chips takes from its drive. Source: the specification in microsoft/uf2,
//! and "UF2 format details" in the chips' data sheets.

use crate::target::Board;
use std::path::{Path, PathBuf};

/// Bytes of flash in a block; the ROM takes no other number.
const PAYLOAD: usize = 256;
const BLOCK: usize = 512;
const FIRST_MAGIC: [u32; 2] = [0x0A32_4655, 0x9E5D_5157];
const LAST_MAGIC: u32 = 0x0AB1_6F30;
/// The block names a family of chips.
const FAMILY_PRESENT: u32 = 0x2000;

/// A chip whose ROM has a drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rom {
    family: u32,
    /// What the drive's `INFO_UF2.TXT` says as `Board-ID`.
    id: &'static str,
}

impl Rom {
    /// The ROM of a board's chip, if it has a drive.
    pub(super) fn of(board: &Board) -> Option<Self> {
        match board.chip? {
            "RP2040" => Some(Self { family: 0xE48B_FF56, id: "RPI-RP2" }),
            // Secure Arm programs.
            "RP235x" => Some(Self { family: 0xE48B_FF59, id: "RP2350" }),
            _ => None,
        }
    }

    /// The drive's name.
    pub(super) fn drive_name(self) -> &'static str {
        self.id
    }

    /// A file that puts `parts` into flash: addresses in their order, and bytes.
    pub(super) fn file(self, parts: &[(u32, Vec<u8>)]) -> Vec<u8> {
        let pages = pages(parts);
        let mut file = Vec::with_capacity(pages.len() * BLOCK);
        for (index, (address, page)) in pages.iter().enumerate() {
            let [count, index] = [pages.len(), index].map(|number| number as u32);
            let head =
                [FIRST_MAGIC[0], FIRST_MAGIC[1], FAMILY_PRESENT, *address, PAYLOAD as u32, index, count, self.family];
            let end = file.len() + BLOCK;
            file.extend(head.into_iter().flat_map(u32::to_le_bytes));
            file.extend_from_slice(page);
            file.resize(end - 4, 0);
            file.extend(LAST_MAGIC.to_le_bytes());
        }
        file
    }

    /// The drive, where the board is connected with its button held; `None` if it is not.
    pub(super) fn drive(self) -> Option<PathBuf> {
        self.drive_among(&mounted())
    }

    fn drive_among(self, folders: &[PathBuf]) -> Option<PathBuf> {
        let is_it = |folder: &&PathBuf| {
            let info = std::fs::read_to_string(folder.join("INFO_UF2.TXT")).unwrap_or_default();
            info.lines().any(|line| line.strip_prefix("Board-ID:").is_some_and(|id| id.trim() == self.id))
        };
        folders.iter().find(is_it).cloned()
    }
}

/// Aligned pages of flash that hold `parts`; bytes between parts are those of an erased flash.
fn pages(parts: &[(u32, Vec<u8>)]) -> Vec<(u32, [u8; PAYLOAD])> {
    let mut pages: Vec<(u32, [u8; PAYLOAD])> = Vec::new();
    for (address, bytes) in parts {
        for (at, &byte) in (*address..).zip(bytes) {
            let offset = at as usize % PAYLOAD;
            let page = at - offset as u32;
            if pages.last().is_none_or(|last| last.0 != page) {
                pages.push((page, [0xFF; PAYLOAD]));
            }
            if let Some((_, page)) = pages.last_mut() {
                page[offset] = byte;
            }
        }
    }
    pages
}

/// Where systems mount drives: of Linux, macOS and Windows.
fn mounted() -> Vec<PathBuf> {
    let below = |folder: &Path| -> Vec<PathBuf> {
        std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
    };
    let users = ["/media", "/run/media"].into_iter().flat_map(|folder| below(Path::new(folder)));
    let mut folders: Vec<PathBuf> = users.flat_map(|user| [below(&user), vec![user]].concat()).collect();
    folders.extend(["/mnt", "/Volumes"].into_iter().flat_map(|folder| below(Path::new(folder))));
    if cfg!(windows) {
        folders.extend(('D'..='Z').map(|letter| PathBuf::from(format!("{letter}:\\"))));
    }
    folders
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rom(name: &str) -> Rom {
        Rom::of(Board::named(name).unwrap()).unwrap()
    }

    #[test]
    fn blocks_are_those_of_the_specification() {
        let parts = [(0x1000_0000, vec![1; 256]), (0x1000_0100, vec![2; 10]), (0x1002_0000, vec![3; 300])];
        let file = rom("pico").file(&parts);
        assert_eq!(file.len(), 4 * 512);
        let word = |block: usize, at: usize| u32::from_le_bytes(file[block * 512 + at..][..4].try_into().unwrap());
        for block in 0..4 {
            assert_eq!([0, 4, 508].map(|at| word(block, at)), [0x0A32_4655, 0x9E5D_5157, 0x0AB1_6F30]);
            assert_eq!([8, 16, 20, 24, 28].map(|at| word(block, at)), [0x2000, 256, block as u32, 4, 0xE48B_FF56]);
        }
        let addresses = [0, 1, 2, 3].map(|block| word(block, 12));
        assert_eq!(addresses, [0x1000_0000, 0x1000_0100, 0x1002_0000, 0x1002_0100]);
        assert_eq!((file[512 + 32 + 9], file[512 + 32 + 10], file[3 * 512 + 32 + 43]), (2, 0xFF, 3));
        let word = u32::from_le_bytes(rom("pico2").file(&parts)[28..32].try_into().unwrap());
        assert_eq!(word, 0xE48B_FF59);
        assert_eq!(Rom::of(Board::named("nrf52840-dk").unwrap()), None);
    }

    #[test]
    fn a_drive_is_known_by_what_it_says_of_its_board() {
        let folder = tempfile::tempdir().unwrap();
        let drives = ["stick", "pico"].map(|name| folder.path().join(name));
        for (drive, id) in drives.iter().zip(["RP2350", "RPI-RP2"]) {
            std::fs::create_dir(drive).unwrap();
            let info = format!("UF2 Bootloader v3.0\r\nModel: Raspberry Pi RP2\r\nBoard-ID: {id}\r\n");
            std::fs::write(drive.join("INFO_UF2.TXT"), info).unwrap();
        }
        assert_eq!(rom("pico").drive_among(&drives), Some(drives[1].clone()));
        assert_eq!(rom("pico2").drive_among(&drives), Some(drives[0].clone()));
        assert_eq!(rom("pico").drive_among(&drives[..1]), None);
    }
}
