//! The lines by which the example programs tell what they computed; `docs/targets.md` lists them.
#![no_std]
#![forbid(unsafe_code)]

mod refusals;
mod sink;

pub use refusals::{engine_error, load_error};
pub use sink::Sink;

use skipstone_runtime::format::checksum::Crc32;
use skipstone_runtime::format::records::{Node, OpCode};
use skipstone_runtime::kernels::ConvKernel;
use skipstone_runtime::ops::conv;
use skipstone_runtime::schedule::Network;
use skipstone_runtime::{Engine, InputError};

/// The first line, with the version of the lines.
pub const FIRST: &str = "skipstone-device 2\n";

/// Writes the line that names the backend and its kernels that run the convolutions of the engine's model.
pub fn backend(engine: &Engine<'_, '_>, out: &mut impl Sink) {
    let (backend, model) = (engine.backend(), engine.model());
    let runs = |node: &Node, kernel: &ConvKernel| {
        let tensor = |index: u16| model.tensor(index.into());
        node.op == OpCode::Conv as u8
            && conv::kernel(backend, node, tensor(node.input), tensor(node.output))
                .is_some_and(|runs| core::ptr::eq(runs, kernel))
    };
    out.text("backend ");
    out.text(backend.name);
    let used = backend.kernels.iter().filter(|kernel| model.nodes().iter().any(|node| runs(node, kernel)));
    joined(out, " kernels ", used, |out, kernel| out.text(kernel.spec.name));
    out.text("\n");
}

/// Writes a line of names and numbers in turn.
pub fn numbers(out: &mut impl Sink, numbers: &[(&str, u64)]) {
    for &(name, number) in numbers {
        out.text(name);
        out.number(number);
    }
    out.text("\n");
}

/// Writes where a panic happened, in a line. Its message would link `core::fmt`.
pub fn panic_place(out: &mut impl Sink, info: &core::panic::PanicInfo<'_>) {
    if let Some(place) = info.location() {
        out.text("panic at ");
        out.text(place.file());
        numbers(out, &[(":", place.line().into())]);
    }
}

/// Classifies an image, whose pixels the model takes, and writes its line: the class with the highest score, all
/// scores, and the checksum of each node's rows in the order in which they are made. `layers` holds one checksum for
/// each node.
///
/// # Errors
/// The image has another length than the model's.
pub fn image(
    engine: &mut Engine<'_, '_>,
    index: usize,
    pixels: &[u8],
    layers: &mut [Crc32],
    out: &mut impl Sink,
) -> Result<(), InputError> {
    engine.run_summed(pixels, layers)?;
    out.text("image ");
    out.number(index as u64);
    out.text(" label ");
    out.number(engine.top_k::<1>().first().map_or(0, |best| best.class) as u64);
    joined(out, " scores ", engine.scores(), |out, &score| out.signed(score.into()));
    joined(out, " layers ", layers, |out, layer| out.hex(layer.value()));
    out.text("\n");
    Ok(())
}

/// Runs an image between two marks, and then once more with marks at the begin and the end of each step: for a plugin
/// of the emulator that counts from mark to mark.
///
/// # Errors
/// The image has another length than the model's.
#[cfg(feature = "layers")]
pub fn run_marked(engine: &mut Engine<'_, '_>, pixels: &[u8]) -> Result<(), InputError> {
    bench_mark();
    engine.run(pixels)?;
    bench_mark();
    engine.watch_steps(|_, _| bench_mark());
    engine.run(pixels)?;
    Ok(())
}

/// The mark: a function that the plugin finds by its name, and that does nothing else that another one does too.
#[cfg(feature = "layers")]
#[inline(never)]
fn bench_mark() {
    core::hint::black_box(0x4D41_524B_u32);
}

/// A name, and values with commas between them.
fn joined<O: Sink, T>(out: &mut O, name: &str, values: impl IntoIterator<Item = T>, write: impl Fn(&mut O, T)) {
    out.text(name);
    for (index, value) in values.into_iter().enumerate() {
        if index > 0 {
            out.text(",");
        }
        write(out, value);
    }
}
