//! Classifies images, folders of images, or the frames of a camera; `docs/targets.md` shows how.
#![forbid(unsafe_code)]

mod arguments;
mod camera;
mod classify;
mod files;
mod image;
mod in_order;
mod latency;
mod machine;
mod screen;

use arguments::Arguments;
use clap::Parser;
use skipstone_runtime::{AlignedBytes, Engine, EngineError, Model};
use skipstone_targets::Core;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("error: {reason}");
            ExitCode::FAILURE
        }
    }
}

/// # Errors
/// What went wrong, in one line.
fn run(arguments: &Arguments) -> Result<(), String> {
    let named = |reason: &dyn std::fmt::Display| format!("{}: {reason}", arguments.model.display());
    let file = std::fs::read(&arguments.model).map_err(|error| named(&error))?;
    let file = AlignedBytes::copy(&file);
    let model = Model::from_bytes(file.as_slice()).map_err(|error| named(&error))?;
    let threads = if arguments.lines { 1 } else { arguments.threads() };
    // The model is shared; each thread has an engine with an arena of its own.
    let mut arenas: Vec<_> = (0..threads).map(|_| AlignedBytes::zeros(model.arena_len())).collect();
    let engines = arenas.iter_mut().map(|arena| Engine::new(&model, arena.as_mut_slice()));
    let engines = engines.collect::<Result<Vec<_>, _>>().map_err(|error| named(&refusal(error, &model)))?;

    match &arguments.camera {
        _ if arguments.lines => machine::tell(engines, &arguments.images),
        Some(source) => classify::frames(engines, source, arguments),
        None => classify::images(engines, &arguments.images, arguments.top),
    }
}

/// Why no engine runs the model here, and what to do.
fn refusal(error: EngineError, model: &Model<'_>) -> String {
    let EngineError::NoKernel { backend, .. } = error else { return error.to_string() };
    let packed_for = Core::from_code(model.header().core).map_or("another core", Core::name);
    let here = match backend {
        "dotprod" => Core::Dotprod,
        _ if cfg!(target_arch = "aarch64") => Core::Neon,
        _ if cfg!(target_arch = "x86_64") => Core::X86,
        _ => Core::Generic,
    };
    format!(
        "packed for {packed_for}, whose weights this processor's kernels do not read: pack it again with \
         `skipstone quantize MODEL.onnx --calib SPEC --target {} -o FILE.stone`",
        here.name()
    )
}
