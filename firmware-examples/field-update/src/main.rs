//! Classifies images that come over the serial line, and takes new models over it, which survive a power cut at any
//! moment: `skipstone update`, `skipstone send` and `skipstone verify --on` are the other end (`docs/serial.md`).
#![no_std]
#![no_main]

use board_mps2::{Flash, Uart};
use board_qemu::exit;
use cortex_m_rt::entry;
use skipstone_runtime::format::checksum::Crc32;
use skipstone_runtime::{Arena, Program};
use skipstone_serial::{Link, Machine, Server, Slots, frame_len};

/// Bytes of the largest arena.
const ARENA: usize = 1 << 20;
/// Nodes of the largest model whose nodes' checksums are told.
const NODES: usize = 512;
/// Bytes of a slot, whole pages of the flash.
const SLOT: u32 = 4 << 20;
/// Bytes of pixels or of a block in a frame: an image has at most so many in a row.
const BLOCK: usize = 1024;

#[entry]
fn main() -> ! {
    static mut ARENA_BYTES: Arena<ARENA> = Arena::new();
    static mut SUMS: [Crc32; NODES] = [const { Crc32::new() }; NODES];

    let (Some(uart), Some(flash)) = (Uart::open(), Flash::open()) else { exit(false) };
    let mut machine = Machine { arena: ARENA_BYTES.as_mut_slice(), sums: SUMS, program: Program::any() };
    let slots = Slots::open(flash, [0..SLOT, SLOT..2 * SLOT], &mut machine);
    let mut link = Link::<_, { frame_len(BLOCK) }>::new(uart);
    Server::new(board_qemu::NAME, slots, machine).serve(&mut link, |_| {});
    // A UART has no end.
    exit(false)
}
