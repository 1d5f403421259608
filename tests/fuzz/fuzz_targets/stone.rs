//! Any bytes are a checked model or an error; a checked model runs, and every back end gives the same scores.
#![no_main]
