//! Bytes that start where a packed model and an arena have to.

use skipstone_runtime::format::records::ALIGNMENT;

/// Bytes on the heap whose first lies at a multiple of 16.
#[derive(Debug)]
pub struct AlignedBytes {
    buffer: Vec<u8>,
    start: usize,
    len: usize,
}

impl AlignedBytes {
    /// `len` zeros.
    pub fn zeros(len: usize) -> Self {
        let buffer = vec![0; len + ALIGNMENT];
        let start = buffer.as_ptr().align_offset(ALIGNMENT);
        Self { buffer, start, len }
    }

    /// A copy of `bytes`.
    pub fn copy(bytes: &[u8]) -> Self {
        let mut copy = Self::zeros(bytes.len());
        copy.as_mut_slice().copy_from_slice(bytes);
        copy
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.buffer[self.start..][..self.len]
    }

    /// The bytes, to be changed in place.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.buffer[self.start..][..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_at_a_multiple_of_16() {
        for len in [0, 1, 15, 16, 1000] {
            let mut bytes = AlignedBytes::copy(&vec![7; len]);
            assert!(bytes.as_slice().as_ptr().addr().is_multiple_of(16));
            assert_eq!(bytes.as_mut_slice(), vec![7; len]);
        }
    }
}
