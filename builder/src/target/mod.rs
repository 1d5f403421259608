//! What models run on: the table of cores and boards, and how a packed model suits them.

mod fit;
mod suit;

pub use fit::{Fit, Limits, Need, STACK_BYTES};
pub use skipstone_targets::{AARCH64_ROOT, Board, Core, Memory, Support};
pub use suit::{Suit, packed_for, suit};

pub(crate) use fit::Program;
pub(crate) use suit::of_format;
