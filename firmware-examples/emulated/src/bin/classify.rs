//! Classifies the images that it was built with.
#![no_std]
#![no_main]

programs::program!(classify, emulated::start);
