//! Puts the model and the images into the programs; the memory map is `board-qemu`'s.

fn main() {
    embed::model();
}
