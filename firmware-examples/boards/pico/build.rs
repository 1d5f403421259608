//! Puts model, images and memory map into the programs. The ROM loads the flash's first 256 bytes, which set the flash up.

const BOOT2_LEN: u32 = 256;

fn main() {
    embed::model();
    embed::memory("pico", BOOT2_LEN, "MEMORY { BOOT2 : ORIGIN = 0x10000000, LENGTH = 0x100 }\n");
    println!("cargo::rustc-link-arg-bins=-Tlink-rp.x");
}
