//! The packed model, `.stone`: little endian, sections aligned to 16 bytes, read in place.

pub mod records;
