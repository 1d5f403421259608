//! The stack's high-water mark.

use core::ptr;

const PAINT: u32 = 0x5AFE_57AC;
/// Part of the RAM below the stack's start that is painted and searched.
const PAINTED_BYTES: usize = 64 * 1024;
/// Left alone below the caller's frame, for this function's own.
const MARGIN: usize = 256;

unsafe extern "C" {
    static mut _stack_start: u32;
    static mut __sheap: u32;
}

fn bounds() -> (*mut u32, *mut u32) {
    let start = &raw mut _stack_start;
    let lowest = (start as usize - PAINTED_BYTES).max(&raw mut __sheap as usize).next_multiple_of(4);
    (lowest as *mut u32, start)
}

/// Fills the unused stack with a pattern that [`stack_high_water`] looks for.
#[inline(never)]
pub fn paint_stack() {
    let (lowest, _) = bounds();
    let top = cortex_m::register::msp::read() as usize - MARGIN;
    let words = top.saturating_sub(lowest as usize) / 4;
    for word in 0..words {
        // SAFETY: the address lies between the end of the statics and the stack pointer, where nothing lives.
        let at = unsafe { lowest.add(word) };
        // SAFETY: as above; the memory is RAM and aligned, and an interrupt's frame lies above `MARGIN`.
        unsafe { ptr::write_volatile(at, PAINT) };
    }
}

/// Most bytes of stack that were in use since [`paint_stack`].
pub fn stack_high_water() -> usize {
    let (lowest, start) = bounds();
    let words = (start as usize - lowest as usize) / 4;
    let untouched = (0..words)
        .take_while(|&word| {
            // SAFETY: the address lies inside the RAM that `bounds` delimits.
            let at = unsafe { lowest.add(word) };
            // SAFETY: as above; reading painted or used stack has no effect.
            unsafe { ptr::read_volatile(at) == PAINT }
        })
        .count();
    4 * (words - untouched)
}
