//! Inner loops of float convolution that training and evaluation share, vectorized over channels by crate pulp.

pub(crate) mod tiles;
pub(crate) mod winograd;

use std::cell::RefCell;

/// Calls `work` with a buffer of `len` elements with arbitrary contents that belongs to the thread.
pub(crate) fn with_scratch<R>(len: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
    thread_local! { static FREE: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) } }
    let mut buffer = FREE.with_borrow_mut(Vec::pop).unwrap_or_default();
    if buffer.len() < len {
        buffer.resize(len, 0.0);
    }
    let result = work(&mut buffer[..len]);
    FREE.with_borrow_mut(|free| free.push(buffer));
    result
}
