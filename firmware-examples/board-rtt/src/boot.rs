//! What the ROM of a chip wants at the begin of the flash.

/// The second stage of the RP2040's start: it makes the flash readable.
// SAFETY: the memory map places the section, which holds nothing else, where the ROM reads it.
#[cfg(board = "pico")]
#[unsafe(link_section = ".boot2")]
#[used]
static BOOT2: [u8; 256] = rp2040_boot2::BOOT_LOADER_W25Q080;

/// The block by which the RP2350 knows a secure Arm program: RP2350 data sheet, 5.9.5.1.
// SAFETY: the memory map places the section, which holds nothing else, where the ROM looks for it.
#[cfg(board = "pico2")]
#[unsafe(link_section = ".start_block")]
#[used]
static IMAGE: [u32; 5] = [0xFFFF_DED3, 0x1021_0142, 0x0000_01FF, 0, 0xAB12_3579];
