//! Puts the memory map of the board that `SKIPSTONE_BOARD` names (`nucleo-f446re` if nothing is named) where the linker finds
//! it, and says what the board's chip wants at the begin of its flash. `SKIPSTONE_MEMORY` names a file that stands for the
//! board's own memory map.

use skipstone_targets::Board;
use std::path::Path;

const DEFAULT: &str = "nucleo-f446re";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=SKIPSTONE_BOARD");
    println!("cargo::rerun-if-env-changed=SKIPSTONE_MEMORY");
    println!("cargo::rustc-check-cfg=cfg(board, values(\"pico\", \"pico2\"))");
    if let Err(e) = prepare() {
        println!("cargo::error={e}");
    }
}

fn prepare() -> Result<(), String> {
    let name = std::env::var("SKIPSTONE_BOARD").unwrap_or_else(|_| DEFAULT.into());
    let has_probe = |board: &&Board| board.chip.is_some();
    let board = Board::named(&name).filter(has_probe).ok_or_else(|| {
        let names: Vec<&str> = Board::ALL.iter().filter(has_probe).map(|board| board.name).collect();
        format!("SKIPSTONE_BOARD is {name}: the boards that a probe can flash are {}", names.join(", "))
    })?;
    println!("cargo::rustc-cfg=board=\"{name}\"");
    let out = std::env::var("OUT_DIR").map_err(|e| format!("OUT_DIR: {e}"))?;
    let write = |file: &str, text: String| {
        std::fs::write(Path::new(&out).join(file), text).map_err(|e| format!("cannot write {file}: {e}"))
    };
    let memory_map = match std::env::var("SKIPSTONE_MEMORY") {
        Ok(path) => {
            println!("cargo::rerun-if-changed={path}");
            std::fs::read_to_string(&path).map_err(|e| format!("SKIPSTONE_MEMORY: cannot read {path}: {e}"))?
        }
        Err(_) => board.memory_map_around(board.model_region(0, 0)),
    };
    write("memory.x", memory_map)?;
    // No handlers of the chip's devices.
    write("device.x", String::new())?;
    println!("cargo::rustc-link-search={out}");
    Ok(())
}
