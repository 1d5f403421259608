//! Everything that firmware calls: loading a model of any bytes, running it, feeding it rows, also of pictures of
//! another size, reading its scores. That this links proves that no panic can be reached from there ([`board_proof`]);
//! it is never run.
#![no_std]
#![no_main]

use board_proof as _;
use core::hint::black_box;
use cortex_m_rt::entry;
use skipstone_runtime::format::checksum::Crc32;
use skipstone_runtime::image::{Plan, Resampler, Row, Samples};
use skipstone_runtime::{Arena, Engine, Model};

static MODEL: [u8; 16] = [0; 16];
static IMAGE: [u8; 16] = [0; 16];
static DEEP_IMAGE: [u16; 16] = [0; 16];

#[entry]
fn main() -> ! {
    static mut ARENA: Arena<1024> = Arena::new();
    loop {
        // Slices of any length, as far as the optimizer knows.
        let (model, image) = (black_box(MODEL.as_slice()), black_box(IMAGE.as_slice()));
        let Ok(model) = Model::from_bytes(model) else { continue };
        let Ok(mut engine) = Engine::new(&model, black_box(&mut ARENA.0)) else { continue };
        let _ = black_box(engine.run(image));
        let _ = black_box(engine.run_observed(image, |made| {
            made.values.pixels().for_each(|pixel| _ = black_box(pixel));
        }));
        let _ = black_box(engine.feed_row(image));
        let plan = Plan::new(black_box([4, 3]), model.preprocessing(), black_box([3, 2, 2]));
        let (mut words, mut bytes) = ([0; 64], [0; 64]);
        let (words, bytes) = (black_box(words.as_mut_slice()), black_box(bytes.as_mut_slice()));
        if let Some(mut resampler) = plan.and_then(|plan| Resampler::new(plan, words, bytes)) {
            for samples in [Samples::Bits8(image), Samples::Bits16(black_box(DEEP_IMAGE.as_slice()))] {
                let row = Row { samples, channels: black_box(3) };
                let _ = black_box(resampler.push(row, |row| _ = black_box(engine.feed_row(row))));
            }
        }
        let mut layers = [const { Crc32::new() }; 8];
        for vector in model.test_vectors() {
            let _ = black_box(engine.self_test(&vector, black_box(layers.as_mut_slice())));
        }
        engine.restart();
        black_box(engine.scores());
        black_box(engine.top_k::<5>());
        for name in model.class_names() {
            black_box(name);
        }
        black_box((model.provenance(), model.output()));
        if cfg!(feature = "panics") {
            black_box(image[black_box(0)]);
        }
    }
}
