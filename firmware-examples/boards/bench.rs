//! Counts the cycles of an inference and of each of its layers.
#![no_std]
#![no_main]

programs::program!(bench, board::start, board::Board);
