//! Puts model, images and memory map into the programs.

fn main() {
    embed::model();
    embed::memory("nrf52840-dk", 0, "");
}
