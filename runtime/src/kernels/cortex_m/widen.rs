//! Bytes to halfwords, four at a time.

use crate::kernels::load;
use core::arch::naked_asm;

/// Widens the elements of the first slice into the second, which is as long.
pub(super) fn widen(from: &[i8], to: &mut [i16]) {
    let eights = from.len().min(to.len()) / 8;
    let Some((from, from_rest)) = from.split_at_checked(8 * eights) else { return };
    let Some((to, to_rest)) = to.split_at_mut_checked(8 * eights) else { return };
    if eights > 0 {
        // SAFETY: there is at least one group of eight, and both slices have exactly `8 * eights` elements.
        unsafe { widen_eights(from.as_ptr(), to.as_mut_ptr(), eights) };
    }
    load::widen(from_rest, to_rest);
}

/// Widens `eights` groups of eight elements, which may lie on any address.
///
/// # Safety
/// `eights` must not be 0, `from` must be readable and `to` writable for `8 * eights` elements.
#[unsafe(naked)]
unsafe extern "C" fn widen_eights(from: *const i8, to: *mut i16, eights: usize) {
    naked_asm!(
        extension!(),
        "push {{r4, r5, r6, lr}}",
        "2:",
        "ldr r3, [r0], #4",
        "ldr r4, [r0], #4",
        "sxtb16 r12, r3, ror #8",
        "sxtb16 r3, r3",
        "sxtb16 r5, r4, ror #8",
        "sxtb16 r4, r4",
        // (0, 2) and (1, 3) become (0, 1) and (2, 3).
        "pkhbt r6, r3, r12, lsl #16",
        "pkhtb r12, r12, r3, asr #16",
        "str r6, [r1], #4",
        "str r12, [r1], #4",
        "pkhbt r6, r4, r5, lsl #16",
        "pkhtb r5, r5, r4, asr #16",
        "str r6, [r1], #4",
        "str r5, [r1], #4",
        "subs r2, r2, #1",
        "bne 2b",
        "pop {{r4, r5, r6, pc}}",
    )
}
