//! Runs packed int8 image classifiers, row by row, without an operating system, a heap or a floating-point unit.
//!
//! A [`Model`] is a checked view of a `.stone` file, which the command `skipstone` makes, read where it lies: in flash, or in
//! a file's bytes. An [`Engine`] is its state in an arena that the caller owns. Two engines can share a model.
//!
//! ```
//! use skipstone_runtime::{Arena, Engine, Model, arena_len, include_stone};
//!
//! // A tiny network for handwritten digits, 8 x 8 pixels of one channel, in flash; how much RAM it needs is in its header.
//! const STONE: &[u8] = include_stone!("../tests/digits.stone");
//! let mut arena = Arena::<{ arena_len(STONE) }>::new();
//!
//! // The one step that can fail: what passes the check runs without an error or a panic, whatever the image is.
//! let model = Model::from_bytes(STONE)?;
//! let mut engine = Engine::new(&model, arena.as_mut_slice())?;
//!
//! // A whole image, `[height][width][channels]` of pixels 0..=255 ...
//! let image = [128; 64];
//! let scores = engine.run(&image)?.to_vec();
//!
//! // ... or row by row, as a camera delivers them.
//! let rows = image.chunks(model.image().row_len());
//! let done = rows.map(|row| engine.feed_row(row)).collect::<Result<Vec<bool>, _>>()?;
//! assert!(done.ends_with(&[false, true]) && engine.scores() == scores);
//! for ranked in engine.top_k::<3>() {
//!     println!("{} {}", model.class_names().nth(ranked.class).unwrap(), ranked.score);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Modules stand in an order in which each uses only those above it.
//!
//! # What is where
//!
//! - [`arith`] defines the arithmetic, [`kernels::reference`] what a convolution means, to the bit. Every other kernel equals it.
//! - [`ops`] has a file for each operator, [`kernels`] for each weight layout and kernel. A program that names its model's
//!   operators ([`Program`], made by [`codegen`] in a build script) links no others; one whose build has checked the model
//!   ([`Model::from_checked`]) leaves out the checker. `docs/kernels.md` says how to add to them.
//! - [`schedule`] is the order of the steps, which follows from the model without a table.
//! - A file may hold test vectors ([`Model::test_vectors`]): [`Engine::self_test`] compares every layer with what the host made.
//! - [`image`] makes the pixels of a model out of pictures of any size, as the host does.
//!
//! # Features
//!
//! | feature | | what |
//! |---|---|---|
//! | `std` | default | the processor's abilities are found at start-up; [`AlignedBytes`], [`codegen`]; leave it out on a microcontroller |
//! | `sentences` | with `std` | errors say in words what is wrong with a model's record; without it by a code ([`Reason`]), which saves 4 kB of a program that checks its model |
//! | `dsp` | | an Armv8-M Mainline core (M33) has the DSP extension |
//! | `mve` | | an Armv8-M Mainline core (M55, M85) has Helium |
//! | `defmt` | | `defmt::Format` for errors and results |
//! | `probabilities` | | [`Engine::probabilities`](Engine#method.probabilities): softmax on cores without floating point |
//! | `profile` | | `Engine::watch_steps`: what each layer takes; without it the engine has no trace of it |
//! | `conformance` | | the kernels' test suite, for programs that run it on the processor |
#![cfg_attr(not(feature = "std"), no_std)]

#[cfg(not(feature = "std"))]
extern crate no_std_compat as std;

mod bounds;

pub mod arith;

pub mod format;

pub mod image;

pub mod rows;

pub mod network;

pub mod kernels;

mod model;

mod vectors;

mod arena;

mod step;

pub mod ops;

pub mod schedule;

mod check;

pub mod engine;

#[cfg(feature = "std")]
pub mod codegen;

mod aligned;

#[cfg(test)]
mod testing;

#[cfg(feature = "std")]
pub use aligned::AlignedBytes;
pub use aligned::{Aligned, arena_len};
pub use engine::{Arena, Engine, EngineError, InputError, Made, Program, Ranked, SelfTestError, TopK};
#[cfg(feature = "profile")]
pub use engine::{Moment, Watch};
pub use format::{LoadError, Place, Reason};
pub use model::{ImageShape, Model};
pub use vectors::TestVector;
