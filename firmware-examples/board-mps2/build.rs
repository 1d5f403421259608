//! Puts the board's memory map where the linker finds it.

use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=memory.x");
    let Ok(out) = std::env::var("OUT_DIR") else { return };
    if let Err(e) = std::fs::write(Path::new(&out).join("memory.x"), include_bytes!("memory.x")) {
        println!("cargo::error=cannot write memory.x: {e}");
    }
    println!("cargo::rustc-link-search={out}");
}
