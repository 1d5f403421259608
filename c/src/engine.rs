use crate::pointers::{self, checked, object, values, values_mut, write};
use crate::{SKIPSTONE_ALIGNMENT, SkipstoneStatus, status_of};
use SkipstoneStatus as Status;
use core::ffi::{c_char, c_void};
use skipstone_runtime::format::checksum::Crc32;
use skipstone_runtime::{Engine, LoadError, Model, SelfTestError};

include!(concat!(env!("OUT_DIR"), "/program.rs"));

/// Bytes of memory that an engine takes besides the model's arena: `skipstone inspect` tells how large that is.
pub const SKIPSTONE_ENGINE_BYTES: usize = 256;

const _: () = assert!(size_of::<SkipstoneEngine>() <= SKIPSTONE_ENGINE_BYTES);
const _: () = assert!(align_of::<SkipstoneEngine>() <= SKIPSTONE_ALIGNMENT);
const _: () = assert!(SKIPSTONE_ENGINE_BYTES.is_multiple_of(SKIPSTONE_ALIGNMENT));

/// A model at work, in memory that the caller gave.
pub struct SkipstoneEngine {
    pub(crate) engine: Engine<'static, 'static>,
}

/// What a model takes and gives.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SkipstoneInfo {
    /// Rows of the image.
    pub height: usize,
    /// Pixels of a row.
    pub width: usize,
    /// Samples of a pixel, side by side.
    pub channels: usize,
    /// Number of scores.
    pub classes: usize,
    /// Number of layers, each of which has a checksum.
    pub layers: usize,
    /// Images in the model with the checksums that the host made.
    pub test_vectors: usize,
    /// Of a score: `scale * (score - zero_point)` is its real value.
    pub scale: f32,
    /// See `scale`.
    pub zero_point: i32,
}

fn load(stone: &'static [u8]) -> Result<Model<'static>, LoadError> {
    if cfg!(feature = "checker") { Model::from_bytes_for(stone, rules()) } else { Model::from_checked(stone) }
}

/// Tells how many bytes of memory `skipstone_open` needs for the model: SKIPSTONE_ENGINE_BYTES and its arena. Only the
/// model's version, length and checksum are checked here.
///
/// # Safety
/// `stone` points to `stone_len` bytes, `len` to a `size_t`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skipstone_memory_len(stone: *const u8, stone_len: usize, len: *mut usize) -> SkipstoneStatus {
    status_of(|| {
        // SAFETY: the caller promises it.
        let stone = unsafe { values(stone, stone_len) }?;
        let arena = Model::from_checked(stone)?.arena_len();
        let bytes = arena.checked_add(SKIPSTONE_ENGINE_BYTES).ok_or(Status::Memory)?;
        // SAFETY: the caller promises it.
        unsafe { write(len, bytes) }
    })
}

/// Makes an engine for the model in `stone`, in `memory`. Both start at a multiple of SKIPSTONE_ALIGNMENT. The model
/// stays where it is, such as in flash, and is read there. There is nothing to close: who uses the memory for
/// something else uses the engine no more.
///
/// # Safety
/// `stone` points to `stone_len` bytes, and `memory` to `memory_len` bytes; for as long as the engine is used, nobody
/// writes the first and nobody else uses the second. `engine` points to a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skipstone_open(
    stone: *const u8,
    stone_len: usize,
    memory: *mut c_void,
    memory_len: usize,
    engine: *mut *mut SkipstoneEngine,
) -> SkipstoneStatus {
    status_of(|| {
        // SAFETY: the caller promises it for as long as the engine is used, which is as long as this is.
        let stone = unsafe { values(stone, stone_len) }?;
        // SAFETY: as above.
        let memory = unsafe { values_mut::<u8>(memory.cast(), memory_len) }?;
        if !memory.as_ptr().addr().is_multiple_of(SKIPSTONE_ALIGNMENT) {
            return Err(Status::Misaligned);
        }
        let (room, arena) = memory.split_at_mut_checked(SKIPSTONE_ENGINE_BYTES).ok_or(Status::Memory)?;
        let made = Engine::with_program(&load(stone)?, arena, program())?;
        let made = pointers::place(room, SkipstoneEngine { engine: made })?;
        // SAFETY: the caller promises it.
        unsafe { write(engine, made) }
    })
}

/// Tells what the model takes and gives.
///
/// # Safety
/// `engine` is from `skipstone_open`, `info` points to a `SkipstoneInfo`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skipstone_info(engine: *mut SkipstoneEngine, info: *mut SkipstoneInfo) -> SkipstoneStatus {
    status_of(|| {
        // SAFETY: the caller promises it.
        let model = unsafe { object(engine) }?.engine.model();
        let (image, output) = (model.image(), model.output());
        let told = SkipstoneInfo {
            height: image.height,
            width: image.width,
            channels: image.channels,
            classes: model.class_count(),
            layers: model.nodes().len(),
            test_vectors: model.test_vectors().len(),
            scale: output.scale,
            zero_point: output.zero_point.into(),
        };
        // SAFETY: the caller promises it.
        unsafe { write(info, told) }
    })
}

/// Classifies an image: `height` rows of `width` pixels of `channels` samples, 0 to 255, as a camera gives them. What
/// the network was trained to subtract and to divide by is in the model.
///
/// # Safety
/// `engine` is from `skipstone_open`, `pixels` points to `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skipstone_run(engine: *mut SkipstoneEngine, pixels: *const u8, len: usize) -> SkipstoneStatus {
    status_of(|| {
        // SAFETY: the caller promises it.
        let engine = unsafe { object(engine) }?;
        // SAFETY: the caller promises it.
        let pixels = unsafe { values(pixels, len) }?;
        engine.engine.run(pixels)?;
        Ok(())
    })
}

/// Takes the next row of an image and runs as far as it goes. `done` is whether it was the last one: then the scores
/// are there, and the next row begins an image.
///
/// # Safety
/// `engine` is from `skipstone_open`, `row` points to `len` bytes, `done` to a `bool`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skipstone_feed_row(
    engine: *mut SkipstoneEngine,
    row: *const u8,
    len: usize,
    done: *mut bool,
) -> SkipstoneStatus {
    status_of(|| {
        // SAFETY: the caller promises it.
        let engine = unsafe { object(engine) }?;
        // SAFETY: the caller promises it.
        let row = unsafe { values(row, len) }?;
        checked(done, 1)?;
        let is_last = engine.engine.feed_row(row)?;
        // SAFETY: the caller promises it.
        unsafe { write(done, is_last) }
    })
}

/// Forgets the rows of an image that was not fed to its end.
///
/// # Safety
/// `engine` is from `skipstone_open`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skipstone_restart(engine: *mut SkipstoneEngine) -> SkipstoneStatus {
    status_of(|| {
        // SAFETY: the caller promises it.
        unsafe { object(engine) }?.engine.restart();
        Ok(())
    })
}

/// Copies the scores of the last image, one for each class; `count` is the room for them.
///
/// # Safety
/// `engine` is from `skipstone_open`, `scores` points to `count` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skipstone_scores(
    engine: *mut SkipstoneEngine,
    scores: *mut i8,
    count: usize,
) -> SkipstoneStatus {
    status_of(|| {
        // SAFETY: the caller promises it.
        let made = unsafe { object(engine) }?.engine.scores();
        // SAFETY: the caller promises it.
        let room = unsafe { values_mut(scores, count) }?;
        room.get_mut(..made.len()).ok_or(Status::Room)?.copy_from_slice(made);
        Ok(())
    })
}

/// Tells the class with the highest score; of equal scores the first.
///
/// # Safety
/// `engine` is from `skipstone_open`, `index` points to a `size_t`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skipstone_best(engine: *mut SkipstoneEngine, index: *mut usize) -> SkipstoneStatus {
    status_of(|| {
        // SAFETY: the caller promises it.
        let best = unsafe { object(engine) }?.engine.top_k::<1>().first().map_or(0, |best| best.class);
        // SAFETY: the caller promises it.
        unsafe { write(index, best) }
    })
}

/// Tells the name of a class: `len` bytes of UTF-8 in the model, with no zero after them.
///
/// # Safety
/// `engine` is from `skipstone_open`, `name` points to a pointer, `len` to a `size_t`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skipstone_class_name(
    engine: *mut SkipstoneEngine,
    index: usize,
    name: *mut *const c_char,
    len: *mut usize,
) -> SkipstoneStatus {
    status_of(|| {
        // SAFETY: the caller promises it.
        let text = unsafe { object(engine) }?.engine.model().class_names().nth(index).ok_or(Status::Index)?;
        // SAFETY: the caller promises it.
        unsafe { write(name, text.as_ptr().cast()) }?;
        // SAFETY: the caller promises it.
        unsafe { write(len, text.len()) }
    })
}

/// Classifies an image as `skipstone_run` does, and tells for each layer the CRC-32 (as in zip) of its rows: equal to
/// the host's where every byte is. `count` is the number of layers.
///
/// # Safety
/// `engine` is from `skipstone_open`, `pixels` points to `len` bytes, `checksums` to `count` words.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skipstone_run_layers(
    engine: *mut SkipstoneEngine,
    pixels: *const u8,
    len: usize,
    checksums: *mut u32,
    count: usize,
) -> SkipstoneStatus {
    status_of(|| {
        // SAFETY: the caller promises it.
        let engine = unsafe { object(engine) }?;
        // SAFETY: the caller promises it.
        let pixels = unsafe { values(pixels, len) }?;
        // SAFETY: the caller promises it.
        let words = unsafe { values_mut(checksums, count) }?;
        if words.len() != engine.engine.model().nodes().len() {
            return Err(Status::Room);
        }
        engine.engine.run_summed(pixels, bytemuck::cast_slice_mut(words))?;
        for word in words {
            *word = bytemuck::cast::<u32, Crc32>(*word).value();
        }
        Ok(())
    })
}

/// Gives the pixels of a test vector, which lie in the model.
///
/// # Safety
/// `engine` is from `skipstone_open`, `pixels` points to a pointer, `len` to a `size_t`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skipstone_test_vector(
    engine: *mut SkipstoneEngine,
    index: usize,
    pixels: *mut *const u8,
    len: *mut usize,
) -> SkipstoneStatus {
    status_of(|| {
        // SAFETY: the caller promises it.
        let vector = unsafe { object(engine) }?.engine.model().test_vectors().nth(index).ok_or(Status::Index)?;
        // SAFETY: the caller promises it.
        unsafe { write(pixels, vector.pixels.as_ptr()) }?;
        // SAFETY: the caller promises it.
        unsafe { write(len, vector.pixels.len()) }
    })
}

/// Runs a test vector and compares the rows of every layer, and the scores, with what the host made. Where they
/// differ it returns SKIPSTONE_STATUS_DIFFERS, and `layer` is the first layer that does, or the number of layers if
/// only the scores do. `workspace` has a word for each layer, `count` of them.
///
/// # Safety
/// `engine` is from `skipstone_open`, `workspace` points to `count` words, `layer` to a `size_t`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skipstone_self_test(
    engine: *mut SkipstoneEngine,
    index: usize,
    workspace: *mut u32,
    count: usize,
    layer: *mut usize,
) -> SkipstoneStatus {
    status_of(|| {
        // SAFETY: the caller promises it.
        let engine = &mut unsafe { object(engine) }?.engine;
        // SAFETY: the caller promises it.
        let words = unsafe { values_mut(workspace, count) }?;
        let vector = engine.model().test_vectors().nth(index).ok_or(Status::Index)?;
        let verdict = engine.self_test(&vector, bytemuck::cast_slice_mut(words));
        let first = match verdict {
            Err(SelfTestError::Layer(first)) => first,
            _ => engine.model().nodes().len(),
        };
        // SAFETY: the caller promises it.
        unsafe { write(layer, first) }?;
        Ok(verdict?)
    })
}
