//! Puts the memory map and the clock of the board that `SKIPSTONE_BOARD` names (`mps2-an386` if nothing is named) where the
//! linker and the crate find them. `SKIPSTONE_MEMORY` names a file that stands for the board's own memory map.

use skipstone_targets::Board;
use std::path::Path;

const DEFAULT: &str = "mps2-an386";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=SKIPSTONE_BOARD");
    println!("cargo::rerun-if-env-changed=SKIPSTONE_MEMORY");
    if let Err(e) = prepare() {
        println!("cargo::error={e}");
    }
}

fn prepare() -> Result<(), String> {
    let name = std::env::var("SKIPSTONE_BOARD").unwrap_or_else(|_| DEFAULT.into());
    let emulated = |board: &&Board| board.machine.is_some();
    let board = Board::named(&name).filter(emulated).ok_or_else(|| {
        let names: Vec<&str> = Board::ALL.iter().filter(emulated).map(|board| board.name).collect();
        format!("SKIPSTONE_BOARD is {name}: the emulated boards are {}", names.join(", "))
    })?;
    let out = std::env::var("OUT_DIR").map_err(|e| format!("OUT_DIR: {e}"))?;
    let write = |file: &str, text: String| {
        std::fs::write(Path::new(&out).join(file), text).map_err(|e| format!("cannot write {file}: {e}"))
    };
    let memory_map = match std::env::var("SKIPSTONE_MEMORY") {
        Ok(path) => {
            println!("cargo::rerun-if-changed={path}");
            std::fs::read_to_string(&path).map_err(|e| format!("SKIPSTONE_MEMORY: cannot read {path}: {e}"))?
        }
        Err(_) => board.memory_map(),
    };
    write("memory.x", memory_map)?;
    // No handlers of the board's devices.
    write("device.x", String::new())?;
    write("board.rs", format!("const CLOCK_HZ: u64 = {};\n", board.clock_hz))?;
    write("name.rs", format!("/// The board's name.\npub const NAME: &str = {:?};\n", board.name))?;
    println!("cargo::rustc-link-search={out}");
    Ok(())
}
