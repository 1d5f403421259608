//! Puts model, images and memory map into the programs.

fn main() {
    embed::model();
    embed::memory("nucleo-h743zi", 0, "");
}
