//! Puts model, images and memory map into the programs.

fn main() {
    embed::model();
    embed::memory("nucleo-u575zi-q", 0, "");
}
