//! Any bytes are a checked model or an error; a checked model runs, and every back end makes the same rows.
#![no_main]

#[path = "../../src/hostile.rs"]
mod hostile;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    hostile::exercise(bytes);
});
