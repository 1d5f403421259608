//! The C interface of [`skipstone_runtime`]. `include/skipstone.h` is made of this crate; `README.md` says how to
//! link it.
//!
//! Every function but [`skipstone_status_text`] takes pointers and lengths, checks the pointers for null and for
//! alignment, and returns a [`SkipstoneStatus`]. What C has to promise beyond that stands at each function; bytes that
//! C points to count as initialized. Nothing here allocates or panics, and no function keeps what it was lent, but
//! [`skipstone_open`] the model and the memory, and [`skipstone_picture_open`] its memory.
#![cfg_attr(not(test), no_std)]

mod engine;
mod picture;
mod pointers;
mod status;
#[cfg(test)]
mod tests;

pub use engine::*;
pub use picture::*;
pub use status::*;

/// Where memory has to start for an engine or a picture, and the bytes of a model: at a multiple of this.
pub const SKIPSTONE_ALIGNMENT: usize = 16;

/// The runtime does not panic (`cargo xtask test --only no-panic c` proves it): this is never called.
#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}
