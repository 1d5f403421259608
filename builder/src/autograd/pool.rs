//! Reused buffers: fresh pages would cost more than what is computed in them.

use crate::tensor::{Buffer, Tensor};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Buffers by size. Buffers in use and free ones together take at most half as much more memory than the ones in use
/// took at their peak: without this room, buffers of one size would be given up for those of another again and again.
#[derive(Default)]
pub(crate) struct Pool {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Free buffers by the largest class that fits into their capacity.
    free: BTreeMap<usize, Vec<Buffer>>,
    /// Elements of free buffers.
    spare: usize,
    /// Elements of buffers in use.
    live: usize,
    /// Most elements in use at one time.
    peak: usize,
}

impl State {
    /// The smallest free buffer for `len` elements that is not too large for them.
    fn pop(&mut self, len: usize) -> Option<Buffer> {
        let classes = || class(len)..=2 * class(len);
        // The last one that held as much before may still be in the cache.
        let alike = |buffers: &Vec<Buffer>| buffers.iter().rposition(|buffer| buffer.len() == len);
        let alike = self.free.range(classes()).find_map(|(&class, buffers)| Some((class, alike(buffers)?)));
        let (&class, buffers) = match alike {
            Some((class, _)) => self.free.range_mut(class..=class).next()?,
            None => self.free.range_mut(classes()).next()?,
        };
        let index = alike.map_or(buffers.len().checked_sub(1)?, |(_, index)| index);
        let buffer = buffers.remove(index);
        if buffers.is_empty() {
            self.free.remove(&class);
        }
        self.spare -= buffer.capacity();
        Some(buffer)
    }

    /// Elements of buffers in use and of free ones that are allowed.
    fn limit(&self) -> usize {
        self.peak + self.peak / 2
    }

    /// Gives up free buffers, the largest first, until all buffers fit into the limit.
    fn shrink(&mut self) {
        while self.live + self.spare > self.limit() {
            let Some(mut entry) = self.free.last_entry() else { return };
            self.spare -= entry.get_mut().pop().map_or(0, |buffer| buffer.capacity());
            if entry.get().is_empty() {
                entry.remove();
            }
        }
    }
}

/// The smallest size of a buffer, at least `len`, that buffers come in: at most an eighth too large.
fn class(len: usize) -> usize {
    len.next_multiple_of((len.next_power_of_two() / 16).max(1))
}

impl Pool {
    /// A buffer of `len` elements with arbitrary contents.
    pub(crate) fn take(&self, len: usize) -> Buffer {
        let mut state = self.lock();
        let found = state.pop(len);
        state.live += found.as_ref().map_or(class(len), Buffer::capacity);
        state.peak = state.peak.max(state.live);
        state.shrink();
        drop(state);
        let mut buffer = found.unwrap_or_else(|| Buffer::zeros(class(len)));
        buffer.set_len(len);
        buffer
    }

    /// A tensor with arbitrary contents.
    pub(crate) fn tensor(&self, dims: impl Into<Vec<usize>>) -> Tensor {
        let dims = dims.into();
        let data = self.take(dims.iter().product());
        Tensor::within(dims, data)
    }

    /// Takes a tensor's buffer back.
    pub(crate) fn give(&self, tensor: Tensor) {
        let data = tensor.into_buffer();
        let capacity = data.capacity();
        let fits = class(capacity) == capacity;
        let mut state = self.lock();
        state.live = state.live.saturating_sub(capacity);
        // Buffers of other sizes were not made here.
        if fits && state.live + state.spare + capacity <= state.limit() {
            state.spare += capacity;
            state.free.entry(capacity).or_default().push(data);
        }
    }

    /// Takes a tensor's buffer back if nothing else holds it.
    pub(crate) fn release(&self, tensor: Arc<Tensor>) {
        if let Some(tensor) = Arc::into_inner(tensor) {
            self.give(tensor);
        }
    }

    /// The tensor itself if nothing else holds it, else a copy: in both cases free to be overwritten.
    pub(crate) fn own(&self, tensor: Arc<Tensor>) -> Tensor {
        Arc::try_unwrap(tensor).unwrap_or_else(|shared| {
            let mut copy = self.tensor(shared.dims());
            copy.data_mut().copy_from_slice(shared.data());
            copy
        })
    }

    /// Says that no buffer is in use any more; those that were not given back are forgotten.
    pub(crate) fn begin(&self) {
        self.lock().live = 0;
    }

    /// Most bytes in use at one time.
    pub(crate) fn peak_bytes(&self) -> usize {
        self.lock().peak * size_of::<f32>()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_waste_at_most_an_eighth() {
        for len in (0..3000).chain([1 << 20, (1 << 20) + 1, 54_321_987]) {
            let class = class(len);
            assert!(class >= len && class <= len + len / 8, "{len}: {class}");
            assert_eq!(super::class(class), class);
        }
    }

    #[test]
    fn buffers_of_a_growing_network_do_not_pile_up() {
        let pool = Pool::default();
        for _ in 0..3 {
            pool.begin();
            for size in 1..50 {
                let tensor = pool.tensor([size * 1000]);
                pool.give(tensor);
            }
            // A buffer of unknown origin.
            pool.give(Tensor::zeros([12_345]));
        }
        let state = pool.lock();
        assert!(state.spare <= state.limit() && state.peak <= 49_000 * 9 / 8, "{} {}", state.spare, state.peak);
        assert_eq!(state.live, 0);
    }

    #[test]
    fn a_buffer_of_the_same_length_comes_first() {
        let pool = Pool::default();
        let [short, middle, long] = [1900, 1905, 1910].map(|len| pool.tensor([len]));
        let place = short.data().as_ptr();
        [short, middle, long].into_iter().for_each(|tensor| pool.give(tensor));
        let again = pool.take(1900);
        assert_eq!(again.as_ptr(), place);
    }

    #[test]
    fn a_buffer_comes_back() {
        let pool = Pool::default();
        let tensor = pool.tensor([1000]);
        let place = tensor.data().as_ptr();
        pool.give(tensor);
        let again = pool.take(990);
        assert_eq!(again.as_ptr(), place);
        assert_eq!(pool.peak_bytes(), 4 * class(1000));
    }
}
