//! The cores and boards that Skipstone knows, in one table: compiler targets, instruction sets, memories, clocks,
//! emulators, debug probes.
//!
//! The builder packs, emulates and judges by it, `xtask` builds and tests by it, and the programs for emulated boards
//! take their memory map and clock from it. It depends on nothing, so that it costs no build any time.
#![forbid(unsafe_code)]

mod board;
mod core;

pub use board::{Board, LEAST_STACK_BYTES, Memory, STACK_BYTES, Support};
/// The README's example is right.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub use core::{AARCH64_ROOT, Core};
