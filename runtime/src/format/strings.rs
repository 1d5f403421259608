//! Strings of a packed model: a u16 length and as many bytes of UTF-8, one after the other.

/// The string at `offset` of the section and the offset after it; `None` if it does not lie in the section or is not
/// UTF-8.
pub fn read(section: &[u8], offset: usize) -> Option<(&str, usize)> {
    let (length, rest) = section.get(offset..)?.split_first_chunk::<2>()?;
    let length = usize::from(u16::from_le_bytes(*length));
    let text = core::str::from_utf8(rest.get(..length)?).ok()?;
    Some((text, offset + 2 + length))
}

/// Appends a string to a section and returns its offset. What exceeds 65,535 bytes is cut off at a character.
#[cfg(feature = "std")]
pub fn append(section: &mut Vec<u8>, text: &str) -> u32 {
    let offset = section.len() as u32;
    let text = &text[..text.floor_char_boundary(usize::from(u16::MAX))];
    section.extend((text.len() as u16).to_le_bytes());
    section.extend(text.as_bytes());
    offset
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::{append, read};

    #[test]
    fn what_was_appended_is_read() {
        let mut section = Vec::new();
        let offsets = ["", "pferd", "äé", &"ü".repeat(40_000)].map(|text| append(&mut section, text));
        assert_eq!(offsets, [0, 2, 9, 15]);
        assert_eq!(read(&section, 2), Some(("pferd", 9)));
        assert_eq!(read(&section, 9), Some(("äé", 15)));
        assert_eq!(read(&section, 15).map(|(text, end)| (text.len(), end)), Some((65_534, section.len())));
        assert_eq!(read(&section, section.len() - 1), None);
        assert_eq!(read(&section, usize::MAX), None);
        assert_eq!(read(&[1, 0, 0xFF], 0), None);
    }
}
