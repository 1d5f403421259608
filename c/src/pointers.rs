//! Pointers of C as references, checked as far as they can be: null, alignment, length.

use crate::SkipstoneStatus as Status;
use bytemuck::AnyBitPattern;
use core::ptr::NonNull;

/// That a pointer is not null, is aligned, and that so many values are no more than memory can hold.
pub(crate) fn checked<T>(start: *const T, count: usize) -> Result<NonNull<T>, Status> {
    let start = NonNull::new(start.cast_mut()).ok_or(Status::Null)?;
    let bytes = count.checked_mul(size_of::<T>()).filter(|&bytes| bytes <= isize::MAX as usize);
    match bytes {
        _ if !start.is_aligned() => Err(Status::Misaligned),
        None => Err(Status::Memory),
        Some(_) => Ok(start),
    }
}

/// `count` values that nobody writes for as long as `'p`.
///
/// # Safety
/// Unless it is null, `start` points to `count` values, which stay where they are and as they are for `'p`.
pub(crate) unsafe fn values<'p, T: AnyBitPattern>(start: *const T, count: usize) -> Result<&'p [T], Status> {
    let start = checked(start, count)?;
    // SAFETY: not null, aligned and no longer than an allocation can be, as was checked; the rest is the caller's
    // promise.
    Ok(unsafe { core::slice::from_raw_parts(start.as_ptr(), count) })
}

/// `count` values that nobody else reads or writes for as long as `'p`.
///
/// # Safety
/// Unless it is null, `start` points to `count` values, which stay where they are and are only used by what is returned
/// for `'p`.
pub(crate) unsafe fn values_mut<'p, T: AnyBitPattern>(start: *mut T, count: usize) -> Result<&'p mut [T], Status> {
    let start = checked(start, count)?;
    // SAFETY: not null, aligned and no longer than an allocation can be, as was checked; the rest is the caller's
    // promise.
    Ok(unsafe { core::slice::from_raw_parts_mut(start.as_ptr(), count) })
}

/// An object that this library has put there.
///
/// # Safety
/// Unless it is null, `object` is what a function of this library has given, and its memory is as it was left and is
/// only used by what is returned for `'p`.
pub(crate) unsafe fn object<'p, T>(object: *mut T) -> Result<&'p mut T, Status> {
    let mut object = checked(object, 1)?;
    // SAFETY: not null and aligned, as was checked; that a `T` is there, and used by nobody else, is the caller's
    // promise.
    Ok(unsafe { object.as_mut() })
}

/// Writes a result.
///
/// # Safety
/// Unless it is null, `to` points to memory for a `T` that may be written.
pub(crate) unsafe fn write<T>(to: *mut T, value: T) -> Result<(), Status> {
    let to = checked(to, 1)?;
    // SAFETY: not null and aligned, as was checked; that it may be written is the caller's promise.
    unsafe { to.write(value) };
    Ok(())
}

/// Puts an object at the start of `room`, where it stays.
pub(crate) fn place<T>(room: &'static mut [u8], value: T) -> Result<*mut T, Status> {
    let start = room.as_mut_ptr().cast::<T>();
    if room.len() < size_of::<T>() {
        return Err(Status::Memory);
    }
    // SAFETY: the room is exclusively borrowed for ever and holds a `T`; `write` checks the alignment.
    unsafe { write(start, value) }?;
    Ok(start)
}
