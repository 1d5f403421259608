//! Counts what an inference and each of its layers take.
#![no_std]
#![no_main]

programs::program!(bench, emulated::start, emulated::Emulated);
