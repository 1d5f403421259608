//! Bytes to halfwords, four at a time.

use crate::kernels::pad;
use core::arch::asm;

/// Widens the elements of the first slice into the second, which is as long.
pub(super) fn widen(from: &[i8], to: &mut [i16]) {
    let eights = from.len().min(to.len()) / 8;
    let (from, from_rest) = from.split_at(8 * eights);
    let (to, to_rest) = to.split_at_mut(8 * eights);
    if eights > 0 {
        // SAFETY: the loop runs `eights` times, at least once, and each time reads 8 of the `8 * eights` bytes and writes
        // 8 of as many halfwords. Words may lie on any address.
        unsafe {
            asm!(
                "2:",
                "ldr {a}, [{from}], #4",
                "ldr {c}, [{from}], #4",
                "sxtb16 {b}, {a}, ror #8",
                "sxtb16 {a}, {a}",
                "sxtb16 {d}, {c}, ror #8",
                "sxtb16 {c}, {c}",
                // (0, 2) and (1, 3) become (0, 1) and (2, 3).
                "pkhbt {t}, {a}, {b}, lsl #16",
                "pkhtb {b}, {b}, {a}, asr #16",
                "str {t}, [{to}], #4",
                "str {b}, [{to}], #4",
                "pkhbt {t}, {c}, {d}, lsl #16",
                "pkhtb {d}, {d}, {c}, asr #16",
                "str {t}, [{to}], #4",
                "str {d}, [{to}], #4",
                "subs {count}, {count}, #1",
                "bne 2b",
                from = inout(reg) from.as_ptr() => _,
                to = inout(reg) to.as_mut_ptr() => _,
                count = inout(reg) eights => _,
                a = out(reg) _,
                b = out(reg) _,
                c = out(reg) _,
                d = out(reg) _,
                t = out(reg) _,
                options(nostack),
            );
        }
    }
    pad::widen(from_rest, to_rest);
}
