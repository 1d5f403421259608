//! Tells the linker to lay the program out with cortex-m-rt's script, in any memory.

use std::path::Path;

const MEMORY: &str = "MEMORY { FLASH : ORIGIN = 0, LENGTH = 1M RAM : ORIGIN = 0x20000000, LENGTH = 64K }\n";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-link-arg-bins=-Tlink.x");
    let Ok(out) = std::env::var("OUT_DIR") else { return };
    if let Err(e) = std::fs::write(Path::new(&out).join("memory.x"), MEMORY) {
        println!("cargo::error=cannot write memory.x: {e}");
    }
    println!("cargo::rustc-link-search={out}");
}
