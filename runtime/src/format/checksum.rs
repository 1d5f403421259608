//! CRC-32 as in Ethernet and zip (ISO-HDLC): reflected polynomial 0xEDB88320, all ones before and after.

/// The remainders of the 16 values of half a byte.
const NIBBLES: [u32; 16] = {
    let mut table = [0; 16];
    let mut value = 0;
    while value < 16 {
        let mut rest = value as u32;
        let mut bit = 0;
        while bit < 4 {
            rest = if rest & 1 == 1 { rest >> 1 ^ 0xEDB8_8320 } else { rest >> 1 };
            bit += 1;
        }
        table[value] = rest;
        value += 1;
    }
    table
};

/// A CRC-32 of bytes that come in pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crc32(u32);

impl Crc32 {
    /// Of no bytes.
    pub const fn new() -> Self {
        Self(u32::MAX)
    }

    /// Adds `bytes`, which are `u8` or `i8`.
    pub fn update<B: bytemuck::NoUninit>(&mut self, bytes: &[B]) {
        for &byte in bytemuck::cast_slice::<B, u8>(bytes) {
            self.0 ^= u32::from(byte);
            self.0 = self.0 >> 4 ^ NIBBLES[(self.0 & 15) as usize];
            self.0 = self.0 >> 4 ^ NIBBLES[(self.0 & 15) as usize];
        }
    }

    /// The checksum of all bytes so far.
    pub const fn value(self) -> u32 {
        !self.0
    }
}

impl Default for Crc32 {
    fn default() -> Self {
        Self::new()
    }
}

/// CRC-32 of all of `bytes`.
pub fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = Crc32::new();
    crc.update(bytes);
    crc.value()
}

/// What [`Header::checksum`](super::records::Header::checksum) of a whole file has to be: the CRC-32 of all bytes from
/// 16 to the end.
pub fn of_file(file: &[u8]) -> u32 {
    crc32(file.get(16..).unwrap_or(&[]))
}

#[cfg(test)]
mod tests {
    #[test]
    fn agrees_with_the_standard_check_value() {
        assert_eq!(super::crc32(b"123456789"), 0xCBF4_3926);
        assert_eq!(super::crc32(b""), 0);
    }

    #[test]
    fn pieces_give_the_checksum_of_the_whole() {
        let mut crc = super::Crc32::new();
        crc.update(b"1234");
        crc.update(&[b'5' as i8, b'6' as i8]);
        crc.update(b"789");
        assert_eq!(crc.value(), super::crc32(b"123456789"));
    }
}
