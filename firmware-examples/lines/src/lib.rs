//! The lines by which the example programs tell what they computed; `docs/targets.md` lists them.
#![no_std]
#![forbid(unsafe_code)]

use core::fmt::{self, Display, Formatter, Write};
use skipstone_runtime::Engine;
use skipstone_runtime::engine::InputError;
use skipstone_runtime::format::checksum::Crc32;
use skipstone_runtime::format::records::{Node, OpCode};
use skipstone_runtime::kernels::ConvKernel;
use skipstone_runtime::ops::conv;
use skipstone_runtime::schedule::Network;

/// The first line, with the version of the lines.
pub const FIRST: &str = "skipstone-device 2";

/// Writes the line that names the backend and its kernels that run the convolutions of the engine's model.
///
/// # Errors
/// Of `out`.
pub fn backend(engine: &Engine<'_, '_>, out: &mut impl Write) -> fmt::Result {
    let (backend, model) = (engine.backend(), engine.model());
    let runs = |node: &Node, kernel: &ConvKernel| {
        let tensor = |index: u16| model.tensor(index.into());
        node.op == OpCode::Conv as u8
            && conv::kernel(backend, node, tensor(node.input), tensor(node.output))
                .is_some_and(|runs| core::ptr::eq(runs, kernel))
    };
    let used = backend.kernels.iter().filter(|kernel| model.nodes().iter().any(|node| runs(node, kernel)));
    writeln!(out, "backend {} kernels {}", backend.name, Joined(used.map(|kernel| kernel.spec.name)))
}

/// Classifies an image, whose pixels the model takes, and writes its line: the class with the highest score, all
/// scores, and the checksum of each node's rows in the order in which they are made. `layers` holds one checksum for
/// each node.
///
/// # Errors
/// The image has another length than the model's, or [`fmt::Error`] of `out`.
pub fn image(
    engine: &mut Engine<'_, '_>,
    index: usize,
    pixels: &[u8],
    layers: &mut [Crc32],
    out: &mut impl Write,
) -> Result<fmt::Result, InputError> {
    layers.fill(Crc32::new());
    engine.run_observed(pixels, |made| {
        if let Some(layer) = layers.get_mut(made.node) {
            made.values.pixels().for_each(|pixel| layer.update(pixel));
        }
    })?;
    let label = engine.top_k::<1>().first().map_or(0, |best| best.class);
    let scores = Joined(engine.scores().iter());
    let layers = Joined(layers.iter().map(|layer| Hex(layer.value())));
    Ok(writeln!(out, "image {index} label {label} scores {scores} layers {layers}"))
}

/// Values with commas between them.
struct Joined<I>(I);

impl<I: Iterator<Item: Display> + Clone> Display for Joined<I> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (index, value) in self.0.clone().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            value.fmt(f)?;
        }
        Ok(())
    }
}

/// Eight hexadecimal digits.
struct Hex(u32);

impl Display for Hex {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}
