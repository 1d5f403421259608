//! The boards that QEMU emulates; `SKIPSTONE_BOARD` names the one that is built for.
#![no_std]
#![forbid(unsafe_code)]

use board_qemu::{Clock, Output, exit};
use programs::Board;

/// An emulated board, which talks by semihosting.
pub struct Emulated {
    log: Output,
}

/// Starts the board's timer; ends the program where there is nowhere to write.
pub fn start() -> Emulated {
    let (Some(log), Some(_)) = (Output::open(), Clock::start()) else { exit(false) };
    Emulated { log }
}

impl Board for Emulated {
    type Log = Output;

    const COUNTS: &'static str = "instructions ";

    fn log(&mut self) -> &mut Output {
        &mut self.log
    }

    fn ticks() -> u64 {
        Clock::ticks()
    }

    fn counted(ticks: u64) -> u64 {
        Clock::in_instructions(ticks)
    }

    fn paint_stack(&mut self) {
        board_qemu::paint_stack();
    }

    fn stack(&self) -> usize {
        board_qemu::stack_high_water()
    }

    fn end(&mut self, success: bool) -> ! {
        exit(success && self.log.is_whole())
    }
}
