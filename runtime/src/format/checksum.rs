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

/// CRC-32 of all of `bytes`.
pub fn crc32(bytes: &[u8]) -> u32 {
    let mut rest = u32::MAX;
    for &byte in bytes {
        rest ^= u32::from(byte);
        rest = rest >> 4 ^ NIBBLES[(rest & 15) as usize];
        rest = rest >> 4 ^ NIBBLES[(rest & 15) as usize];
    }
    !rest
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
}
