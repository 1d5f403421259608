//! What crate pulp has no vectors for: kernels in the instructions of one extension of x86.

pub(crate) mod bf16;
