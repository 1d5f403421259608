//! Runs the model's test vectors: PASS, or the first layer that is not the host's. The LED stays on, or blinks fast.
#![no_std]
#![no_main]

programs::program!(selftest, board::start);
