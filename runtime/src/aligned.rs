//! Bytes that start where a packed model and an arena have to: at a multiple of 16.

/// A value that starts at a multiple of 16, such as the bytes of a model in flash: see
/// [`include_stone!`](crate::include_stone).
#[derive(Clone, Copy, Debug)]
#[repr(C, align(16))]
pub struct Aligned<T: ?Sized>(
    /// The value.
    pub T,
);

/// The bytes of a packed model that lies beside the source file, aligned as [`Model::from_bytes`](crate::Model::from_bytes)
/// wants them: a `&'static [u8]`, also in constants.
///
/// ```
/// use skipstone_runtime::{Arena, arena_len, include_stone};
///
/// const STONE: &[u8] = include_stone!("../tests/digits.stone");
/// static ARENA: Arena<{ arena_len(STONE) }> = Arena::new();
/// ```
#[macro_export]
macro_rules! include_stone {
    ($path:expr $(,)?) => {{
        const ALIGNED: &$crate::Aligned<[u8]> = &$crate::Aligned(*::core::include_bytes!($path));
        &ALIGNED.0
    }};
}

/// Bytes of the arena that a packed model needs, for an [`Arena`](crate::Arena) in a `static`: its header says so.
///
/// # Panics
/// If the bytes are not those of a packed model of this version; in a constant that is an error of the compiler.
pub const fn arena_len(stone: &[u8]) -> usize {
    const fn word(bytes: &[u8], at: usize) -> usize {
        u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]) as usize
    }
    use crate::format::records::{Header, MAGIC, VERSION};
    assert!(stone.len() >= Header::LEN, "not a packed model: it is too short");
    let mut at = 0;
    while at < MAGIC.len() {
        assert!(stone[at] == MAGIC[at], "not a packed model: it does not start with SKIPSTON");
        at += 1;
    }
    assert!(word(stone, 8) & 0xFFFF == VERSION as usize, "packed for another format version: pack the model again");
    word(stone, core::mem::offset_of!(Header, arena_len))
}

/// Bytes on the heap that start at a multiple of 16: a model that was read from a file, or an arena.
#[cfg(feature = "std")]
#[derive(Clone, Debug)]
pub struct AlignedBytes {
    words: Vec<u128>,
    len: usize,
}

#[cfg(feature = "std")]
impl AlignedBytes {
    /// `len` zeros.
    pub fn zeros(len: usize) -> Self {
        Self { words: vec![0; len.div_ceil(16)], len }
    }

    /// A copy of `bytes`.
    pub fn copy(bytes: &[u8]) -> Self {
        let mut copy = Self::zeros(bytes.len());
        copy.as_mut_slice().copy_from_slice(bytes);
        copy
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.words)[..self.len]
    }

    /// The bytes, to be changed in place.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.words)[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::layout::CANONICAL;
    use crate::testing::small_resnet;

    #[test]
    fn bytes_start_at_a_multiple_of_16() {
        for len in [0, 1, 15, 16, 1000] {
            let mut bytes = AlignedBytes::copy(&vec![7; len]);
            assert!(bytes.as_slice().as_ptr().addr().is_multiple_of(16));
            assert_eq!(bytes.as_mut_slice(), vec![7; len]);
        }
    }

    #[test]
    fn the_header_says_how_long_an_arena_is() {
        let net = small_resnet(9, 7, &CANONICAL);
        let file = net.pack();
        assert_eq!(arena_len(&file), crate::Model::from_bytes(&file).unwrap().arena_len());
        for damaged in [&file[..100], &[0; 200]] {
            assert!(std::panic::catch_unwind(|| arena_len(damaged)).is_err());
        }
    }
}
