//! Classifies a picture by the model in flash, and says how it went.
#![no_std]
#![no_main]

use board::{Clock, Output, exit};
use cortex_m_rt::entry;
use lines::Sink;
use skipstone_runtime::format::checksum::Crc32;
use skipstone_runtime::{Arena, Engine};

// `PROGRAM`, the operators and kernels of the model; `ARENA_LEN`, `ROW_LEN` and `NODES`, what it takes of RAM.
include!(concat!(env!("OUT_DIR"), "/program.rs"));

#[entry]
fn main() -> ! {
    static mut ARENA: Arena<ARENA_LEN> = Arena::new();
    static mut ROW: [u8; ROW_LEN] = [0; ROW_LEN];
    static mut LAYERS: [Crc32; NODES] = [const { Crc32::new() }; NODES];

    let Some(mut out) = Output::open() else { exit(false) };
    let Some(clock) = Clock::start() else { fail(&mut out, "the clock was started before") };
    let model = board_model::load().unwrap_or_else(|error| {
        lines::load_error(&error, &mut out);
        exit(false)
    });
    let mut engine = Engine::with_program(&model, ARENA.as_mut_slice(), PROGRAM).unwrap_or_else(|error| {
        lines::engine_error(&error, &mut out);
        exit(false)
    });
    // Test vectors, if the model has some, say whether every layer is here what it is on the host.
    let Some(layers) = LAYERS.get_mut(..model.nodes().len()) else { fail(&mut out, "the model has too many nodes") };
    for (index, vector) in model.test_vectors().enumerate() {
        if engine.self_test(&vector, layers).is_err() {
            lines::numbers(&mut out, &[("FAIL test vector ", index as u64)]);
            exit(false);
        }
        lines::numbers(&mut out, &[("PASS test vector ", index as u64)]);
    }

    let image = model.image();
    let Some(row) = ROW.get_mut(..image.row_len()) else { fail(&mut out, "a row of the model is too long") };

    let mut fed = Ok(false);
    let taken = clock.{{counted}}(|| {
        for y in 0..image.height {
            camera_row(y, row);
            fed = fed.and(engine.feed_row(row));
        }
    });
    if fed.is_err() {
        fail(&mut out, "the model does not take the picture's rows");
    }
    if let Some(best) = engine.top_k::<1>().first() {
        out.text("class ");
        out.text(model.class_names().nth(best.class).unwrap_or("?"));
        lines::numbers(&mut out, &[(" label ", best.class as u64)]);
    }
    out.text("scores");
    for &score in engine.scores() {
        out.text(" ");
        out.signed(score.into());
    }
    lines::numbers(&mut out, &[("\n{{counted}} ", taken)]);
    exit(true)
}

/// Row `y` of the picture, `[width][channels]` of 0..=255: put your camera's here.
fn camera_row(y: usize, row: &mut [u8]) {
    for (at, value) in row.iter_mut().enumerate() {
        *value = (13 * y + 7 * at) as u8;
    }
}

fn fail(out: &mut Output, why: &str) -> ! {
    out.text("error ");
    out.text(why);
    out.text("\n");
    exit(false)
}
