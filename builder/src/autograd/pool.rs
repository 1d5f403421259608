//! Buffers that are used again, because fresh pages cost more than what is computed in them.

use crate::tensor::Tensor;
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Buffers by length.
#[derive(Default)]
pub(crate) struct Pool {
    free: Mutex<HashMap<usize, Vec<Vec<f32>>>>,
}

impl Pool {
    /// A buffer of `len` elements with arbitrary contents.
    pub(crate) fn take(&self, len: usize) -> Vec<f32> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).get_mut(&len).and_then(Vec::pop);
        free.unwrap_or_else(|| vec![0.0; len])
    }

    /// A tensor with arbitrary contents.
    pub(crate) fn tensor(&self, dims: impl Into<Vec<usize>>) -> Tensor {
        let dims = dims.into();
        let data = self.take(dims.iter().product());
        Tensor::new(dims, data)
    }

    /// Takes a tensor's buffer back.
    pub(crate) fn give(&self, tensor: Tensor) {
        let data = tensor.into_data();
        self.free.lock().unwrap_or_else(PoisonError::into_inner).entry(data.len()).or_default().push(data);
    }

    /// Takes a tensor's buffer back if nobody else holds it.
    pub(crate) fn release(&self, tensor: Arc<Tensor>) {
        if let Some(tensor) = Arc::into_inner(tensor) {
            self.give(tensor);
        }
    }

    /// The tensor itself if nobody else holds it, else a copy: in both cases free to be overwritten.
    pub(crate) fn own(&self, tensor: Arc<Tensor>) -> Tensor {
        Arc::try_unwrap(tensor).unwrap_or_else(|shared| {
            let mut copy = self.tensor(shared.dims());
            copy.data_mut().copy_from_slice(shared.data());
            copy
        })
    }
}

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
