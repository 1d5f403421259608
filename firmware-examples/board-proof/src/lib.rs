//! A board whose programs link only if nothing in them can panic: the panic handler calls a function that no library
//! has, so that a program from whose code the optimizer has not removed every panic lacks a symbol.
#![no_std]

unsafe extern "C" {
    safe fn a_panic_is_reachable() -> !;
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    a_panic_is_reachable()
}
