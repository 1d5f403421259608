//! Classifies the images that it was built with, then those that the serial port delivers; the label on the LED and the
//! serial port.
#![no_std]
#![no_main]

programs::program!(classify, board::start, receives);
