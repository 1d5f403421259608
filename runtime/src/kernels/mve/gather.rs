//! Brings the rows that an output row reads together: `[column][kernel row][channel]`.

use crate::kernels::conv::ConvShape;
use crate::kernels::layout::vectors::VECTOR;
use core::arch::naked_asm;

/// What the assembly needs; it reads the fields by their order.
#[repr(C)]
struct Arguments {
    from: *const i8,
    to: *mut i8,
    /// Elements of a group's pixel.
    channels: usize,
    /// Elements from an input pixel to the next.
    pixel_step: usize,
    row_len: usize,
    /// Vectors of a pixel, rounded up.
    vectors: usize,
    kernel_h: usize,
    columns: usize,
}

/// Gathers the columns of a group for an output row in scratch and returns them. `rows` starts with the group's first element.
pub(super) fn gather<'s>(rows: &[i8], row_len: usize, shape: &ConvShape, scratch: &'s mut [i8]) -> &'s [i8] {
    let columns = shape.width.saturating_sub(1) * shape.stride_w + shape.kernel_w;
    let arguments = Arguments {
        from: rows.as_ptr(),
        to: scratch.as_mut_ptr(),
        channels: shape.group_in(),
        pixel_step: shape.channels_in,
        row_len,
        vectors: shape.group_in().div_ceil(VECTOR),
        kernel_h: shape.kernel_h,
        columns,
    };
    if columns > 0 && shape.group_in() > 0 && shape.kernel_h > 0 {
        // SAFETY: rows of a `ConvRows` have the columns of all pixels, read as whole vectors; its scratch has room for them and
        // a vector more.
        unsafe { copy(&arguments) };
    }
    scratch
}

/// Copies pixels in the order of their places. A pixel's last vector reaches into the next ones' places, which are written
/// after it.
///
/// # Safety
/// No number may be 0. In each of `kernel_h` rows each of `columns` pixels must be readable as `vectors` vectors, and so many
/// pixels and one vector writable.
#[unsafe(naked)]
unsafe extern "C" fn copy(arguments: &Arguments) {
    naked_asm!(
        extension!(),
        "push {{r4-r10, lr}}",
        // r1 from, r2 to, r3 channels, r4 pixel_step, r5 row_len, r6 vectors, r7 kernel_h, r8 columns.
        "ldm r0, {{r1-r8}}",
        "cmp r6, #1",
        "beq 5f",
        "2:",
        "mov r9, r1",
        "mov r10, r7",
        "3:",
        "mov r0, r9",
        "mov r12, r2",
        "dls lr, r6",
        "4:",
        "vldrb.u8 q0, [r0], #16",
        "vstrb.u8 q0, [r12], #16",
        "le lr, 4b",
        "add r2, r2, r3",
        "add r9, r9, r5",
        "subs r10, r10, #1",
        "bne 3b",
        "add r1, r1, r4",
        "subs r8, r8, #1",
        "bne 2b",
        "pop {{r4-r10, pc}}",
        // Pixels of one vector.
        "5:",
        "mov r9, r1",
        "dls lr, r7",
        "6:",
        "vldrb.u8 q0, [r9]",
        "add r9, r9, r5",
        "vstrb.u8 q0, [r2]",
        "add r2, r2, r3",
        "le lr, 6b",
        "add r1, r1, r4",
        "subs r8, r8, #1",
        "bne 5b",
        "pop {{r4-r10, pc}}",
    )
}
