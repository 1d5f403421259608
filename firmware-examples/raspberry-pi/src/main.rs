//! `raspberry-pi MODEL.stone IMAGE...` classifies images and tells what it computed, line by line as
//! `docs/targets.md` says.
#![forbid(unsafe_code)]

mod image;

use lines::Sink;
use skipstone_runtime::format::checksum::Crc32;
use skipstone_runtime::{AlignedBytes, Engine, Model};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(model), images) = (arguments.next(), arguments.collect::<Vec<_>>()) else {
        eprintln!("usage: raspberry-pi MODEL.stone IMAGE...");
        return ExitCode::from(2);
    };
    match classify(&model, &images) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error {e}");
            ExitCode::FAILURE
        }
    }
}

fn classify(model: &PathBuf, images: &[PathBuf]) -> Result<(), String> {
    let named = |e: &dyn std::fmt::Display| format!("{}: {e}", model.display());
    let file = std::fs::read(model).map_err(|e| named(&e))?;
    let file = AlignedBytes::copy(&file);
    let parsed = Model::from_bytes(file.as_slice()).map_err(|e| named(&e))?;
    let mut arena = AlignedBytes::zeros(parsed.arena_len());
    let mut engine = Engine::new(&parsed, arena.as_mut_slice()).map_err(|e| named(&e))?;

    let mut out = Text(Vec::new());
    out.text(lines::FIRST);
    lines::backend(&engine, &mut out);
    lines::numbers(&mut out, &[("memory arena ", parsed.arena_len() as u64), (" stack ", 0)]);
    let mut layers = vec![Crc32::new(); parsed.nodes().len()];
    let mut count = 0;
    for path in images {
        let named = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
        for pixels in image::read(path, &parsed).map_err(|e| named(&e))? {
            lines::image(&mut engine, count, &pixels, &mut layers, &mut out).map_err(|e| named(&e))?;
            out.print()?;
            count += 1;
        }
    }
    #[cfg(feature = "layers")]
    if let Some(path) = images.first() {
        let named = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
        for pixels in image::read(path, &parsed).map_err(|e| named(&e))?.iter().take(1) {
            lines::run_marked(&mut engine, pixels).map_err(|e| named(&e))?;
        }
    }
    lines::numbers(&mut out, &[("done ", count as u64)]);
    out.print()
}

/// Lines that have not been printed.
struct Text(Vec<u8>);

impl Sink for Text {
    fn write(&mut self, ascii: &[u8]) {
        self.0.extend(ascii);
    }
}

impl Text {
    fn print(&mut self) -> Result<(), String> {
        let written = std::io::stdout().write_all(&self.0);
        self.0.clear();
        written.map_err(|e| format!("standard output: {e}"))
    }
}
