//! Puts the memory map of the board that `SKIPSTONE_BOARD` names (`mps2` if nothing is named) where the linker finds it.

use std::path::Path;

fn main() {
    println!("cargo::rerun-if-env-changed=SKIPSTONE_BOARD");
    println!("cargo::rerun-if-changed=mps2.x");
    println!("cargo::rerun-if-changed=microbit.x");
    println!("cargo::rustc-check-cfg=cfg(board_microbit)");
    if let Err(e) = prepare() {
        println!("cargo::error={e}");
    }
}

fn prepare() -> Result<(), String> {
    let board = std::env::var("SKIPSTONE_BOARD").unwrap_or_else(|_| "mps2".into());
    let memory: &[u8] = match board.as_str() {
        "mps2" => include_bytes!("mps2.x"),
        "microbit" => {
            println!("cargo::rustc-cfg=board_microbit");
            include_bytes!("microbit.x")
        }
        _ => return Err(format!("SKIPSTONE_BOARD is {board}: there are mps2 and microbit")),
    };
    let out = std::env::var("OUT_DIR").map_err(|e| format!("OUT_DIR: {e}"))?;
    std::fs::write(Path::new(&out).join("memory.x"), memory).map_err(|e| format!("cannot write memory.x: {e}"))?;
    println!("cargo::rustc-link-search={out}");
    Ok(())
}
