//! Runs packed int8 image classifiers, row by row, without an operating system, a heap or a floating-point unit.
//!
//! A [`Model`] is a checked view of a `.stone` file, read where it lies; an [`Engine`] is its state in an arena that the
//! caller owns. What a packed model means, to the bit, is defined by [`arith`] and by the `reference` kernels.
#![cfg_attr(not(feature = "std"), no_std)]

mod arena;
pub mod arith;
pub mod check;
#[cfg(feature = "std")]
pub mod codegen;
pub mod engine;
pub mod format;
pub mod image;
pub mod kernels;
mod model;
pub mod ops;
pub mod rows;
pub mod schedule;
mod step;
#[cfg(test)]
mod testing;

pub use engine::{Arena, Engine, EngineError, InputError, Made, Program};
pub use model::Model;
