//! The memory of tensors.

use memmap2::MmapMut;
use std::fmt;
use std::ops::{Deref, DerefMut};

/// Bytes from which on memory comes in pages of its own: those of a huge page.
const PAGES: usize = 2 << 20;

/// Numbers in memory of their own; what is large begins with a page, and the system is asked for huge ones: vectors then
/// never lie across cache lines, and few entries of the table of pages reach all of it.
pub(crate) struct Buffer {
    memory: Memory,
    /// Numbers in use; the memory may hold more.
    len: usize,
}

enum Memory {
    Heap(Vec<f32>),
    Pages(MmapMut),
}

impl Buffer {
    /// As many zeros.
    pub(crate) fn zeros(len: usize) -> Self {
        let bytes = len.saturating_mul(size_of::<f32>());
        // Where the system gives no pages, the heap may still have room.
        let pages = (bytes >= PAGES).then(|| MmapMut::map_anon(bytes)).and_then(Result::ok);
        let memory = match pages {
            Some(pages) => {
                // Small pages serve as well.
                #[cfg(target_os = "linux")]
                pages.advise(memmap2::Advice::HugePage).ok();
                Memory::Pages(pages)
            }
            None => Memory::Heap(vec![0.0; len]),
        };
        Self { memory, len }
    }

    /// Numbers that the memory holds at most.
    pub(crate) fn capacity(&self) -> usize {
        self.all().len()
    }

    /// Another number of numbers, at most [`Buffer::capacity`]; those after the ones in use before are arbitrary.
    pub(crate) fn set_len(&mut self, len: usize) {
        assert!(len <= self.capacity(), "{len} numbers, but room for {}", self.capacity());
        self.len = len;
    }

    fn all(&self) -> &[f32] {
        match &self.memory {
            Memory::Heap(numbers) => numbers,
            Memory::Pages(bytes) => bytemuck::cast_slice(bytes),
        }
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.all()[..self.len]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        let all = match &mut self.memory {
            Memory::Heap(numbers) => numbers,
            Memory::Pages(bytes) => bytemuck::cast_slice_mut(bytes),
        };
        &mut all[..self.len]
    }
}

impl From<Vec<f32>> for Buffer {
    fn from(numbers: Vec<f32>) -> Self {
        Self { len: numbers.len(), memory: Memory::Heap(numbers) }
    }
}

impl From<Buffer> for Vec<f32> {
    fn from(buffer: Buffer) -> Self {
        match buffer.memory {
            Memory::Heap(mut numbers) => {
                numbers.truncate(buffer.len);
                numbers
            }
            Memory::Pages(_) => buffer.to_vec(),
        }
    }
}

impl Clone for Buffer {
    fn clone(&self) -> Self {
        match self.memory {
            Memory::Heap(_) => self.to_vec().into(),
            Memory::Pages(_) => {
                let mut copy = Self::zeros(self.len);
                copy.copy_from_slice(self);
                copy
            }
        }
    }
}

impl PartialEq for Buffer {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_of_all_sizes_hold_numbers() {
        for len in [0, 1, 1000, PAGES / 4 - 1, PAGES / 4, PAGES / 4 + 1] {
            let mut buffer = Buffer::zeros(len);
            assert_eq!(buffer.capacity(), len);
            assert!(buffer.iter().all(|&x| x == 0.0));
            buffer.iter_mut().enumerate().for_each(|(i, x)| *x = i as f32);
            assert_eq!(buffer.clone(), buffer);
            assert_eq!(Buffer::from(Vec::from(buffer.clone())), buffer);
            buffer.set_len(len / 2);
            let half = Vec::from(buffer);
            assert!(half.len() == len / 2 && half.iter().enumerate().all(|(i, &x)| x == i as f32));
        }
    }

    #[test]
    fn large_buffers_begin_with_a_page() {
        let buffer = Buffer::zeros(PAGES / 4);
        assert!(buffer.as_ptr().addr().is_multiple_of(4096));
    }

    #[test]
    #[should_panic(expected = "8 numbers, but room for 7")]
    fn no_more_numbers_than_there_is_room_for() {
        Buffer::zeros(7).set_len(8);
    }
}
