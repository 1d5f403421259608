//! Runs the model's test vectors: PASS, or the first layer that is not the host's.
#![no_std]
#![no_main]

programs::program!(selftest, emulated::start);
