//! Puts model, images and memory map into the programs. The ROM looks for the image's description in the flash's first
//! 4 KiB, so it follows the vectors.

const START_BLOCK: &str =
    "SECTIONS { .start_block : ALIGN(4) { __start_block_addr = .; KEEP(*(.start_block)); } > FLASH }
INSERT AFTER .vector_table;
_stext = ADDR(.start_block) + SIZEOF(.start_block);
";

fn main() {
    embed::model();
    embed::memory("pico2", 0, START_BLOCK);
}
