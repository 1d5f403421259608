//! NumPy's `.npy` files of little-endian float32, int8 or uint8 in C order.

use std::ops::Range;

const MAGIC: &[u8] = b"\x93NUMPY";

/// An array: its dimensions and its elements, the last axis innermost.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Array {
    pub(super) dims: Vec<usize>,
    pub(super) data: Vec<f32>,
    /// What the elements were in the file.
    pub(super) kind: Kind,
}

/// The type of a file's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    F32,
    I8,
    U8,
}

impl Kind {
    fn bytes(self) -> usize {
        if self == Self::F32 { 4 } else { 1 }
    }

    /// NumPy's name of the type.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::I8 => "int8",
            Self::U8 => "uint8",
        }
    }
}

impl Array {
    /// Reads the contents of a file; the error says what is not as it should be.
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let not_npy = || "is not a .npy file".to_owned();
        let version = bytes.strip_prefix(MAGIC).and_then(|rest| rest.first()).ok_or_else(not_npy)?;
        // Version 1 counts the header in two bytes, later ones in four.
        let length: Range<usize> = if *version == 1 { 8..10 } else { 8..12 };
        let start = length.end;
        let mut count = [0; 4];
        let field = bytes.get(length).ok_or_else(not_npy)?;
        count[..field.len()].copy_from_slice(field);
        let end = start.checked_add(u32::from_le_bytes(count) as usize).ok_or_else(not_npy)?;
        let header = bytes.get(start..end).ok_or("ends within its header")?;
        let header = std::str::from_utf8(header).map_err(|_| not_npy())?;

        let kind = match entry(header, "descr").ok_or_else(not_npy)?.trim_matches(['\'', '"']) {
            "<f4" => Kind::F32,
            "|i1" => Kind::I8,
            "|u1" => Kind::U8,
            other => {
                let wanted = "save it as little-endian float32 (`<f4`), or as int8 or uint8";
                return Err(format!("holds elements of type `{other}`: {wanted}"));
            }
        };
        if entry(header, "fortran_order") != Some("False") {
            return Err("is in Fortran order: save it in C order (numpy.ascontiguousarray)".into());
        }
        let shape = entry(header, "shape").ok_or_else(not_npy)?;
        let dims: Vec<usize> = shape
            .trim_matches(['(', ')'])
            .split(',')
            .map(str::trim)
            .filter(|dim| !dim.is_empty())
            .map(str::parse)
            .collect::<Result<_, _>>()
            .map_err(|_| not_npy())?;
        let size = dims.iter().try_fold(kind.bytes(), |product, &dim| product.checked_mul(dim));
        let payload = &bytes[end..];
        if size != Some(payload.len()) {
            return Err(format!(
                "holds {} bytes for an array of {dims:?} {}: it is cut short or damaged",
                payload.len(),
                kind.name()
            ));
        }
        let data = match kind {
            Kind::F32 => payload.as_chunks::<4>().0.iter().map(|&raw| f32::from_le_bytes(raw)).collect(),
            Kind::I8 => payload.iter().map(|&byte| f32::from(byte as i8)).collect(),
            Kind::U8 => payload.iter().map(|&byte| f32::from(byte)).collect(),
        };
        Ok(Self { dims, data, kind })
    }

    /// The contents of a file, version 1.0. Elements of integers have to be ones of the type.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let dims: String = self.dims.iter().map(|dim| format!("{dim},")).collect();
        let descr = match self.kind {
            Kind::F32 => "<f4",
            Kind::I8 => "|i1",
            Kind::U8 => "|u1",
        };
        let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({dims}), }}");
        // The elements start at a multiple of 64; the header ends in a line feed.
        let unpadded = MAGIC.len() + 4 + header.len() + 1;
        header.push_str(&" ".repeat(unpadded.next_multiple_of(64) - unpadded));
        header.push('\n');
        let mut bytes = MAGIC.to_vec();
        bytes.extend([1, 0]);
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        match self.kind {
            Kind::F32 => bytes.extend(self.data.iter().flat_map(|value| value.to_le_bytes())),
            Kind::I8 => bytes.extend(self.data.iter().map(|&value| value as i8 as u8)),
            Kind::U8 => bytes.extend(self.data.iter().map(|&value| value as u8)),
        }
        bytes
    }
}

/// The value of `key` in the header, which is a Python dictionary.
fn entry<'h>(header: &'h str, key: &str) -> Option<&'h str> {
    let quoted = header.find(&format!("'{key}'"))? + key.len() + 2;
    let value = header[quoted..].trim_start().strip_prefix(':')?.trim_start();
    let end = if value.starts_with('(') { value.find(')')? + 1 } else { value.find([',', '}'])? };
    Some(value[..end].trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `numpy.save` of `numpy.array([[1.5, -2.0, 0.25]], dtype="float32")`, NumPy 1.24.
    fn numpy_file() -> Vec<u8> {
        let mut bytes =
            b"\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3), }".to_vec();
        bytes.resize(127, b' ');
        bytes.push(b'\n');
        bytes.extend([1.5f32, -2.0, 0.25].iter().flat_map(|v| v.to_le_bytes()));
        bytes
    }

    #[test]
    fn reads_what_numpy_writes() {
        let array = Array::from_bytes(&numpy_file()).unwrap();
        assert_eq!(array, Array { dims: vec![1, 3], data: vec![1.5, -2.0, 0.25], kind: Kind::F32 });
    }

    #[test]
    fn round_trips() {
        for dims in [vec![], vec![4], vec![2, 3], vec![1, 3, 5, 7]] {
            let count: usize = dims.iter().product();
            let array = Array { dims, data: (0..count).map(|v| v as f32 / 3.0).collect(), kind: Kind::F32 };
            let bytes = array.to_bytes();
            assert_eq!((bytes.len() - 4 * count) % 64, 0);
            assert_eq!(Array::from_bytes(&bytes).unwrap(), array);
        }
        for (kind, data) in [(Kind::I8, vec![-128.0, 127.0]), (Kind::U8, vec![0.0, 255.0])] {
            let array = Array { dims: vec![2], data, kind };
            assert_eq!(Array::from_bytes(&array.to_bytes()).unwrap(), array);
        }
    }

    #[test]
    fn reads_integers() {
        let file = |descr: &str| {
            let mut bytes = format!("\x01\x00\x76\x00{{'descr': '{descr}', 'fortran_order': False, 'shape': (2,), }}");
            bytes.push_str(&" ".repeat(121 - bytes.len()));
            [MAGIC, bytes.as_bytes(), b"\n", &[200, 3]].concat()
        };
        let [signed, unsigned] = ["|i1", "|u1"].map(|descr| Array::from_bytes(&file(descr)).unwrap());
        assert_eq!((signed.data, signed.kind), (vec![-56.0, 3.0], Kind::I8));
        assert_eq!((unsigned.data, unsigned.kind), (vec![200.0, 3.0], Kind::U8));
    }

    #[test]
    fn refuses_what_it_cannot_read() {
        let bytes = numpy_file();
        for end in 0..bytes.len() {
            assert!(Array::from_bytes(&bytes[..end]).is_err(), "{end}");
        }
        let edited = |from: &str, to: &str| {
            let at = bytes.windows(from.len()).position(|window| window == from.as_bytes()).unwrap();
            let mut bytes = bytes.clone();
            bytes[at..][..to.len()].copy_from_slice(to.as_bytes());
            Array::from_bytes(&bytes).unwrap_err()
        };
        assert!(edited("<f4", "<f8").contains("float32"));
        assert!(edited("False,", "True ,").contains("C order"));
        assert!(edited("(1, 3)", "(2, 3)").contains("cut short"));
    }
}
