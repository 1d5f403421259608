//! Puts model, images and memory map into the programs.

fn main() {
    embed::model();
    embed::memory("nucleo-f446re", 0, "");
}
