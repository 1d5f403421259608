//! Copies of bytes.

use core::arch::naked_asm;

/// Copies the elements of the first slice into the second, as many as the shorter one has.
pub(in crate::kernels) fn copy(from: &[i8], to: &mut [i8]) {
    let len = from.len().min(to.len());
    // SAFETY: both slices have so many elements, and they do not overlap.
    unsafe { copy_bytes(to.as_mut_ptr(), from.as_ptr(), len) };
}

/// Copies `len` elements.
///
/// # Safety
/// `to` must be writable and `from` readable for `len` elements, and these not be the same.
#[unsafe(naked)]
unsafe extern "C" fn copy_bytes(to: *mut i8, from: *const i8, len: usize) {
    naked_asm!(
        extension!(),
        "mov r12, lr",
        "wlstp.8 lr, r2, 3f",
        "2:",
        "vldrb.u8 q0, [r1], #16",
        "vstrb.u8 q0, [r0], #16",
        "letp lr, 2b",
        "3:",
        "bx r12",
    )
}
