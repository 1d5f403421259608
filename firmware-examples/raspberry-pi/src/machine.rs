//! The lines that programs read, as `docs/targets.md` has them.

use crate::image;
use crate::screen::Text;
use lines::Sink;
use skipstone_runtime::Engine;
use skipstone_runtime::format::checksum::Crc32;
use std::io::Write;
use std::path::PathBuf;

/// Classifies the images of files by the first engine and tells all that it computed.
///
/// # Errors
/// A file cannot be read, which ends it.
pub(crate) fn tell(engines: Vec<Engine<'_, '_>>, files: &[PathBuf]) -> Result<(), String> {
    let mut engine = engines.into_iter().next().ok_or("there is no engine")?;
    let model = *engine.model();
    let mut out = Text::default();
    out.text(lines::FIRST);
    lines::backend(&engine, &mut out);
    lines::numbers(&mut out, &[("memory arena ", model.arena_len() as u64), (" stack ", 0)]);
    let mut layers = vec![Crc32::new(); model.nodes().len()];
    let mut count = 0;
    for file in files {
        let named = |reason: &dyn std::fmt::Display| format!("{}: {reason}", file.display());
        for pixels in image::read(file, &model).map_err(|error| named(&error))? {
            lines::image(&mut engine, count, &pixels, &mut layers, &mut out).map_err(|error| named(&error))?;
            print(&mut out)?;
            count += 1;
        }
    }
    #[cfg(feature = "layers")]
    if let Some(file) = files.first() {
        for pixels in image::read(file, &model)?.iter().take(1) {
            lines::run_marked(&mut engine, pixels).map_err(|error| error.to_string())?;
        }
    }
    lines::numbers(&mut out, &[("done ", count as u64)]);
    print(&mut out)
}

fn print(out: &mut Text) -> Result<(), String> {
    let written = std::io::stdout().write_all(out.0.as_bytes());
    out.0.clear();
    written.map_err(|error| format!("standard output: {error}"))
}
