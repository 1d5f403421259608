//! Compares every kernel of the core it runs on with the reference, and exits with failure on the first difference.
#![no_std]
#![no_main]

mod cases;

use board_mps2::{exit, println};
use cases::{Buffers, cases};
use cortex_m_rt::entry;
use skipstone_runtime::kernels::{BACKENDS, ConvKernel, Element, reference};

#[entry]
fn main() -> ! {
    let mut buffers = Buffers::new();
    let mut compared = 0;
    for backend in BACKENDS.iter().filter(|backend| backend.name != reference::BACKEND.name) {
        compared += compare(&mut buffers, &backend.canonical, &reference::BACKEND.canonical);
        if let (Some(kernel), Some(reference)) = (&backend.pairs, &reference::BACKEND.pairs) {
            compared += compare(&mut buffers, kernel, reference);
        }
        let widened = buffers.compare_widen(backend.widen);
        println!("widen {} comparisons {}", backend.name, widened);
        compared += widened;
    }
    println!("comparisons {}", compared);
    exit(compared > 0)
}

fn compare<T: Element + From<i8>>(buffers: &mut Buffers, kernel: &ConvKernel<T>, reference: &ConvKernel<T>) -> usize {
    let mut compared = 0;
    for case in cases() {
        if !case.fits::<T>() {
            continue;
        }
        if let Err(difference) = buffers.compare(&case, kernel, reference) {
            println!("kernel {} {:?}: {}", kernel.name, case, difference);
            exit(false);
        }
        compared += 1;
    }
    println!("kernel {} comparisons {}", kernel.name, compared);
    compared
}
