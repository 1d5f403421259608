//! Classifies the images that it was built with by the model that it was built with, and tells by semihosting what it
//! computed, line by line as `docs/targets.md` says.
#![no_std]
#![no_main]

use board_qemu::{Clock, Output, exit, paint_stack, println, stack_high_water};
use core::fmt::Display;
use cortex_m_rt::entry;
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

    println!("{}", lines::FIRST);
    let clock = Clock::start().unwrap_or_else(|| fail("the clock was started before"));
    let images = TEST_IMAGES[IMAGES_HEADER..].chunks_exact(IMAGE_LEN).take(IMAGES);

    paint_stack();
    let mut engine = None;
    let loading = clock.instructions(|| {
        let model = load(MODEL).unwrap_or_else(|e| fail(e));
        engine = Some(Engine::with_program(&model, ARENA.as_mut_slice(), PROGRAM).unwrap_or_else(|e| fail(e)));
    });
    let mut engine = engine.unwrap_or_else(|| fail("there is no engine"));
    let mut instructions = 0;
    for image in images.clone().take(1) {
        instructions = clock.instructions(|| {
            engine.run(image).unwrap_or_else(|e| fail(e));
        });
    }
    let stack = stack_high_water();

    let mut layers = [const { Crc32::new() }; NODES];
    let mut out = Output::open().unwrap_or_else(|| exit(false));
    let mut written = lines::backend(&engine, &mut out);
    println!("loading {}", loading);
    println!("instructions {}", instructions);
    println!("memory arena {} stack {}", ARENA_LEN, stack);
    for (index, image) in images.enumerate() {
        let line = lines::image(&mut engine, index, image, &mut layers, &mut out).unwrap_or_else(|e| fail(e));
        written = written.and(line);
    }
    println!("done {}", IMAGES);
    exit(written.is_ok())
}

/// The build has checked the model; with the feature `checker` the program does it again.
fn load(bytes: &[u8]) -> Result<Model<'_>, LoadError> {
    if cfg!(feature = "checker") { Model::from_bytes_for(bytes, &RULES) } else { Model::from_checked(bytes) }
}

fn fail(why: impl Display) -> ! {
    println!("error {}", why);
    exit(false)
}
