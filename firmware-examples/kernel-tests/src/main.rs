//! Compares every kernel of the core it runs on with the reference, and exits with failure on the first difference.
#![no_std]
#![no_main]

use board_qemu::{exit, println};
use cortex_m_rt::entry;
use skipstone_runtime::kernels::conformance::{Buffers, compare_backend};
use skipstone_runtime::kernels::{BACKENDS, reference};

#[entry]
fn main() -> ! {
    let mut buffers = Buffers::new();
    let mut all = 0;
    for backend in BACKENDS.iter().filter(|backend| backend.name != reference::BACKEND.name) {
        let report = |kernel, compared| println!("compared {} {} {}", backend.name, kernel, compared);
        match compare_backend(&mut buffers, backend, report) {
            Ok(compared) => all += compared,
            Err(difference) => {
                println!("difference {}: {}", backend.name, difference);
                exit(false);
            }
        }
    }
    println!("comparisons {}", all);
    exit(all > 0)
}
