//! Huffman codes of a JPEG file (T.81, C.2).

use super::bits::{Bits, Fault};

/// Bits that are looked up at once.
const SHORT: u32 = 8;

/// A code of at most 16 bits for bytes.
pub(super) struct Huffman {
    /// Length and symbol of the code that the next [`SHORT`] bits begin with; length 0 where it is longer.
    short: [(u8, u8); 1 << SHORT],
    /// For each length one more than its last code, and what to add to a code for the place of its symbol.
    long: [(u32, i32); 17],
    symbols: Vec<u8>,
}

impl Huffman {
    /// The code with `counts` symbols of length 1, 2, ... 16.
    pub(super) fn new(counts: &[u8; 16], symbols: &[u8]) -> Result<Self, Fault> {
        let mut table = Self { short: [(0, 0); 1 << SHORT], long: [(0, 0); 17], symbols: symbols.to_vec() };
        let (mut code, mut place) = (0u32, 0usize);
        for (length, &count) in (1u32..).zip(counts) {
            let end = code + u32::from(count);
            if end > 1 << length {
                return Err(Fault::Damaged);
            }
            table.long[length as usize] = (end, place as i32 - code as i32);
            for code in code..end {
                if length <= SHORT {
                    let first = (code as usize) << (SHORT - length);
                    table.short[first..first + (1 << (SHORT - length))].fill((length as u8, symbols[place]));
                }
                place += 1;
            }
            code = end << 1;
        }
        Ok(table)
    }

    /// The next symbol.
    pub(super) fn decode(&self, bits: &mut Bits) -> Result<u8, Fault> {
        let ahead = bits.peek();
        let (length, symbol) = self.short[(ahead >> (16 - SHORT)) as usize];
        if length > 0 {
            bits.skip(length.into())?;
            return Ok(symbol);
        }
        for length in SHORT + 1..=16 {
            let code = ahead >> (16 - length);
            let (end, offset) = self.long[length as usize];
            if code < end {
                bits.skip(length)?;
                return self.symbols.get((code as i32 + offset) as usize).copied().ok_or(Fault::Damaged);
            }
        }
        // Padding is no code; what is one may be cut.
        Err(if bits.left() < 16 { Fault::Short } else { Fault::Damaged })
    }
}
