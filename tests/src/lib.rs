//! Proofs across the crates: whole pipelines, every back end against the reference, bad input.
//!
//! The proofs stand in `tests/tests/`; `tests/fuzz/` is a workspace of its own with the fuzzing targets, whose seeds
//! `tests/examples/seeds.rs` writes. This library holds what they share.
#![forbid(unsafe_code)]
