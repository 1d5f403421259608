use crate::pointers::{self, checked, object, values, values_mut, write};
use crate::{SKIPSTONE_ALIGNMENT, SkipstoneEngine, SkipstoneStatus, status_of};
use SkipstoneStatus as Status;
use core::ffi::c_void;
use skipstone_runtime::image::{Plan, Resampler, Row, Samples};

/// Bytes of memory at the head of a picture, before what `skipstone_picture_len` adds for its size.
pub const SKIPSTONE_PICTURE_BYTES: usize = 256;

const _: () = assert!(size_of::<SkipstonePicture>() <= SKIPSTONE_PICTURE_BYTES);
const _: () = assert!(align_of::<SkipstonePicture>() <= SKIPSTONE_ALIGNMENT);
const _: () = assert!(SKIPSTONE_PICTURE_BYTES.is_multiple_of(size_of::<i32>()));

/// Makes the model's input of a picture of another size, row by row, in memory that the caller gave.
pub struct SkipstonePicture {
    resampler: Resampler<'static>,
}

fn plan(engine: &SkipstoneEngine, width: u16, height: u16) -> Result<Plan, Status> {
    let (model, input) = (engine.engine.model(), engine.engine.model().input());
    let dims = [input.channels, input.height, input.width];
    Plan::new([width, height], model.preprocessing(), dims).ok_or(Status::Picture)
}

fn words_len(plan: &Plan) -> Result<usize, Status> {
    plan.words().checked_mul(size_of::<i32>()).ok_or(Status::Memory)
}

/// Tells how many bytes of memory `skipstone_picture_open` needs for pictures of `width` x `height` pixels.
///
/// # Safety
/// `engine` is from `skipstone_open`, `len` points to a `size_t`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skipstone_picture_len(
    engine: *mut SkipstoneEngine,
    width: u16,
    height: u16,
    len: *mut usize,
) -> SkipstoneStatus {
    status_of(|| {
        // SAFETY: the caller promises it.
        let plan = plan(unsafe { object(engine) }?, width, height)?;
        let sizes = [words_len(&plan)?, plan.bytes()];
        let sum = sizes.into_iter().try_fold(SKIPSTONE_PICTURE_BYTES, usize::checked_add).ok_or(Status::Memory)?;
        // SAFETY: the caller promises it.
        unsafe { write(len, sum) }
    })
}

/// Begins a picture of `width` x `height` pixels, in `memory`, which starts at a multiple of SKIPSTONE_ALIGNMENT. It
/// is cut, scaled and turned to the model's channels as the pictures were that the network was trained on. For the
/// next picture, open it again.
///
/// # Safety
/// `engine` is from `skipstone_open`; `memory` points to `memory_len` bytes that nobody else uses for as long as the
/// picture is used; `picture` points to a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skipstone_picture_open(
    engine: *mut SkipstoneEngine,
    width: u16,
    height: u16,
    memory: *mut c_void,
    memory_len: usize,
    picture: *mut *mut SkipstonePicture,
) -> SkipstoneStatus {
    status_of(|| {
        // SAFETY: the caller promises it.
        let engine = unsafe { object(engine) }?;
        // SAFETY: the caller promises it for as long as the picture is used, which is as long as this is.
        let memory = unsafe { values_mut::<u8>(memory.cast(), memory_len) }?;
        if !memory.as_ptr().addr().is_multiple_of(SKIPSTONE_ALIGNMENT) {
            return Err(Status::Misaligned);
        }
        let plan = plan(engine, width, height)?;
        let (room, rest) = memory.split_at_mut_checked(SKIPSTONE_PICTURE_BYTES).ok_or(Status::Memory)?;
        let (words, bytes) = rest.split_at_mut_checked(words_len(&plan)?).ok_or(Status::Memory)?;
        let words = bytemuck::try_cast_slice_mut(words).map_err(|_| Status::Misaligned)?;
        let resampler = Resampler::new(plan, words, bytes).ok_or(Status::Memory)?;
        engine.engine.restart();
        let made = pointers::place(room, SkipstonePicture { resampler })?;
        // SAFETY: the caller promises it.
        unsafe { write(picture, made) }
    })
}

/// Takes the picture's next row, whose pixels have 1 (grey), 2 (grey, alpha), 3 (red, green, blue) or 4 samples
/// (these and alpha), and gives the engine every row of the input that it completes. `done` is whether the image is
/// classified.
///
/// # Safety
/// `picture` is from `skipstone_picture_open`, `engine` is the one that it was opened with, `row` points to `len`
/// bytes, `done` to a `bool`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skipstone_picture_row(
    picture: *mut SkipstonePicture,
    engine: *mut SkipstoneEngine,
    row: *const u8,
    len: usize,
    channels: u8,
    done: *mut bool,
) -> SkipstoneStatus {
    status_of(|| {
        // SAFETY: the caller promises it.
        let picture = unsafe { object(picture) }?;
        // SAFETY: the caller promises it; the two objects lie in different memory.
        let engine = unsafe { object(engine) }?;
        // SAFETY: the caller promises it.
        let samples = unsafe { values(row, len) }?;
        checked(done, 1)?;
        let mut fed = Ok::<_, Status>(false);
        let row = Row { samples: Samples::Bits8(samples), channels };
        let pushed = picture.resampler.push(row, |row| {
            fed = fed.and_then(|was_last| Ok(engine.engine.feed_row(row)? || was_last));
        });
        pushed.map_err(|_| Status::Input)?;
        // SAFETY: the caller promises it.
        unsafe { write(done, fed?) }
    })
}
