//! The host side of Skipstone: from a data set to a packed model, and the proof that both compute the same.
//!
//! Modules stand in the order in which data flows through them, and a module uses only those above it.
#![deny(unsafe_code)]

pub mod target;

pub mod files;

pub mod tensor;

pub mod cluster;

pub mod data;

mod kernels;

pub mod autograd;
pub mod session;

pub mod metrics;

pub mod zoo;

pub mod train;

pub mod passes;
pub mod quant;

pub mod plan;

pub mod pack;

pub mod host;

pub mod verify;

pub mod device;

#[cfg(feature = "cli")]
pub mod cli;

/// The README's example compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
