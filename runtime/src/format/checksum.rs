//! Checksums: CRC-32 as in Ethernet and zip (ISO-HDLC: reflected polynomial 0xEDB88320, all ones before and after) of
//! feature maps, xxHash32 (Collet's specification, version 0.1.1) of files.

/// The remainders of the values of a byte.
const BYTES: [u32; 256] = {
    let mut table = [0; 256];
    let mut value = 0;
    while value < 256 {
        let mut rest = value as u32;
        let mut bit = 0;
        while bit < 8 {
            rest = if rest & 1 == 1 { rest >> 1 ^ 0xEDB8_8320 } else { rest >> 1 };
            bit += 1;
        }
        table[value] = rest;
        value += 1;
    }
    table
};

/// A CRC-32 of bytes that come in pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(transparent)]
pub struct Crc32(u32);

impl Crc32 {
    /// Of no bytes.
    pub const fn new() -> Self {
        Self(u32::MAX)
    }

    /// Adds `bytes`, which are `u8` or `i8`.
    pub fn update<B: bytemuck::NoUninit>(&mut self, bytes: &[B]) {
        let (before, words, after) = bytemuck::pod_align_to::<u8, u32>(bytemuck::cast_slice(bytes));
        let byte = |rest: u32| rest >> 8 ^ BYTES[(rest & 255) as usize];
        let each = |rest, bytes: &[u8]| bytes.iter().fold(rest, |rest, &next| byte(rest ^ u32::from(next)));
        let word = |rest, &word: &u32| byte(byte(byte(byte(rest ^ u32::from_le(word)))));
        let rest = words.iter().fold(each(self.0, before), word);
        self.0 = each(rest, after);
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

const PRIMES: [u32; 5] = [0x9E37_79B1, 0x85EB_CA77, 0xC2B2_AE3D, 0x27D4_EB2F, 0x1656_67B1];

/// xxHash32 of `bytes` with the seed 0, in about an instruction for each byte: loading a model reads all of it.
pub fn xxh32(bytes: &[u8]) -> u32 {
    let [p1, p2, p3, p4, p5] = PRIMES;
    let (blocks, rest) = bytes.as_chunks::<16>();
    let mut hash = p5;
    if !blocks.is_empty() {
        let mut lanes = [p1.wrapping_add(p2), p2, 0, 0u32.wrapping_sub(p1)];
        for block in blocks {
            for (lane, word) in lanes.iter_mut().zip(block.as_chunks::<4>().0) {
                let word = u32::from_le_bytes(*word).wrapping_mul(p2);
                *lane = lane.wrapping_add(word).rotate_left(13).wrapping_mul(p1);
            }
        }
        let [a, b, c, d] = lanes;
        hash = a.rotate_left(1).wrapping_add(b.rotate_left(7));
        hash = hash.wrapping_add(c.rotate_left(12)).wrapping_add(d.rotate_left(18));
    }
    hash = hash.wrapping_add(bytes.len() as u32);
    let (words, rest) = rest.as_chunks::<4>();
    for word in words {
        hash = hash.wrapping_add(u32::from_le_bytes(*word).wrapping_mul(p3)).rotate_left(17).wrapping_mul(p4);
    }
    for &byte in rest {
        hash = hash.wrapping_add(u32::from(byte).wrapping_mul(p5)).rotate_left(11).wrapping_mul(p1);
    }
    hash = (hash ^ hash >> 15).wrapping_mul(p2);
    hash = (hash ^ hash >> 13).wrapping_mul(p3);
    hash ^ hash >> 16
}

/// What [`Header::checksum`](super::records::Header::checksum) of a whole file has to be: the [`xxh32`] of all bytes
/// from 16 to the end.
pub fn of_file(file: &[u8]) -> u32 {
    xxh32(file.get(16..).unwrap_or(&[]))
}

#[cfg(test)]
mod tests {
    #[test]
    fn agrees_with_the_standard_check_value() {
        assert_eq!(super::crc32(b"123456789"), 0xCBF4_3926);
        assert_eq!(super::crc32(b""), 0);
    }

    /// Values of the reference implementation, one for each of its loops.
    #[test]
    fn files_have_the_checksum_of_the_specification() {
        assert_eq!([&b""[..], b"a", b"abc"].map(super::xxh32), [0x02CC_5D05, 0x550D_7456, 0x32D1_53FF]);
        assert_eq!(super::xxh32(b"Nobody inspects the spammish repetition"), 0xE229_3B2F);
    }

    /// Bit by bit, at every alignment.
    #[test]
    fn words_give_what_bits_give() {
        let bytes: Vec<u8> = (0..200u32).map(|i| ((i * i * 37) >> 3) as u8).collect();
        for (start, end) in (0..9).flat_map(|start| (start..start + 30).map(move |end| (start, end))) {
            let mut rest = u32::MAX;
            for bit in bytes[start..end].iter().flat_map(|byte| (0..8).map(move |bit| u32::from(byte >> bit & 1))) {
                rest = rest >> 1 ^ if (rest ^ bit) & 1 == 1 { 0xEDB8_8320 } else { 0 };
            }
            assert_eq!(super::crc32(&bytes[start..end]), !rest, "{start}..{end}");
        }
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
