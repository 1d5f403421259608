//! Classifies the images that it was built with by the model that it was built with, and tells by semihosting what it
//! computed, line by line as `docs/targets.md` says.
#![no_std]
#![no_main]

#[cfg(feature = "layers")]
mod layers;

use board_qemu::{Clock, Output, exit, paint_stack, stack_high_water};
use cortex_m_rt::entry;
use lines::Sink;
use skipstone_runtime::format::checksum::Crc32;
use skipstone_runtime::{Arena, Engine, LoadError, Model, arena_len, include_stone};

include!(concat!(env!("OUT_DIR"), "/constants.rs"));
include!(concat!(env!("OUT_DIR"), "/program.rs"));

const MODEL: &[u8] = include_stone!(concat!(env!("OUT_DIR"), "/model.stone"));
const ARENA_LEN: usize = arena_len(MODEL);
static TEST_IMAGES: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/images.bin"));

#[entry]
fn main() -> ! {
    static mut ARENA: Arena<ARENA_LEN> = Arena::new();

    let Some(mut out) = Output::open() else { exit(false) };
    out.text(lines::FIRST);
    let Some(clock) = Clock::start() else { fail(&mut out, "the clock was started before") };

    paint_stack();
    let mut engine = None;
    let loading = clock.instructions(|| {
        let model = load(MODEL).unwrap_or_else(|e| {
            lines::load_error(&e, &mut out);
            exit(false)
        });
        engine = Some(Engine::with_program(&model, ARENA.as_mut_slice(), PROGRAM).unwrap_or_else(|e| {
            lines::engine_error(&e, &mut out);
            exit(false)
        }));
    });
    let Some(mut engine) = engine else { fail(&mut out, "there is no engine") };
    let images = TEST_IMAGES.get(IMAGES_HEADER..).unwrap_or_default().chunks_exact(IMAGE_LEN).take(IMAGES);
    let mut ran = Ok(());
    let instructions = clock.instructions(|| {
        for image in images.clone().take(1) {
            ran = engine.run(image).map(drop);
        }
    });
    let stack = stack_high_water();

    lines::backend(&engine, &mut out);
    lines::numbers(&mut out, &[("loading ", loading)]);
    lines::numbers(&mut out, &[("instructions ", instructions)]);
    lines::numbers(&mut out, &[("memory arena ", ARENA_LEN as u64), (" stack ", stack as u64)]);
    let mut layers = [const { Crc32::new() }; NODES];
    for (index, image) in images.clone().enumerate() {
        ran = ran.and(lines::image(&mut engine, index, image, &mut layers, &mut out));
    }
    #[cfg(feature = "layers")]
    for image in images.take(1) {
        ran = ran.and(layers::report(&mut engine, image, &mut out));
    }
    if ran.is_err() {
        fail(&mut out, "an image has another length than the model's");
    }
    lines::numbers(&mut out, &[("done ", IMAGES as u64)]);
    exit(out.is_whole())
}

/// The build has checked the model; with the feature `checker` the program does it again.
fn load(bytes: &[u8]) -> Result<Model<'_>, LoadError> {
    if cfg!(feature = "checker") { Model::from_bytes_for(bytes, &RULES) } else { Model::from_checked(bytes) }
}

fn fail(out: &mut Output, why: &str) -> ! {
    out.text("error ");
    out.text(why);
    out.text("\n");
    exit(false)
}
