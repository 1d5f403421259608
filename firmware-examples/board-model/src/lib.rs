//! The model in a region of flash of its own, `MODEL` of the memory map, so that it can be replaced without the
//! program.
//!
//! `SKIPSTONE_MODEL` names the packed model that the region has at first.
#![no_std]

use core::slice;
use skipstone_runtime::{Aligned, LoadError, Model};

const STONE_LEN: usize = include_bytes!(env!("SKIPSTONE_MODEL")).len();

// SAFETY: the section is one of the linker's memory map, which keeps it in flash; nothing else is in it.
#[unsafe(link_section = ".model")]
#[used]
static STONE: Aligned<[u8; STONE_LEN]> = Aligned(*include_bytes!(env!("SKIPSTONE_MODEL")));

/// Where a packed model says how many bytes it has, as `docs/model-format.md` has it.
const FILE_LEN: core::ops::Range<usize> = 16..20;

unsafe extern "C" {
    static __model_start: u8;
    static __model_end: u8;
}

/// The model that is in the region now, if it is whole: its checksum holds. Who writes the region has checked the rest.
///
/// # Errors
/// As [`Model::from_checked`].
pub fn load() -> Result<Model<'static>, LoadError> {
    let (start, end) = (&raw const __model_start, &raw const __model_end);
    // SAFETY: the symbols are the ends of the memory map's region `MODEL`: flash that a program reads and never writes.
    let region = unsafe { slice::from_raw_parts(start, end.addr() - start.addr()) };
    let len = region.get(FILE_LEN).and_then(|bytes| Some(u32::from_le_bytes(bytes.try_into().ok()?) as usize));
    Model::from_checked(len.and_then(|len| region.get(..len)).unwrap_or(region))
}
