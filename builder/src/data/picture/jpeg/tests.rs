//! Whole files, and all that can be cut off them. The files are a pattern of 27x21 pixels, written by libjpeg-turbo.

use super::*;

const BASELINE: &[u8] = include_bytes!("whole/baseline.jpg");
const FILES: [(&str, &[u8]); 4] = [
    ("baseline", BASELINE),
    ("restarts", include_bytes!("whole/restarts.jpg")),
    ("progressive", include_bytes!("whole/progressive.jpg")),
    ("grey", include_bytes!("whole/grey.jpg")),
];

fn is_short(bytes: &[u8]) -> bool {
    let error = whole(bytes).err();
    assert!(error.as_ref().is_none_or(|error| !error.contains("damaged")), "{error:?}");
    error.is_some()
}

/// Whether a scan's tables or header follow, or were just begun: what stands before may be a coarser whole.
fn is_between_scans(file: &[u8], len: usize) -> bool {
    [len - 1, len].iter().any(|&at| matches!(file[at..], [0xff, 0xc4 | 0xda, ..]))
}

#[test]
fn every_cut_is_found() {
    for (name, file) in FILES {
        assert!(file.ends_with(&EOI));
        let data = file.len() - 2;
        for len in 2..data {
            assert!(is_short(&file[..len]), "{name}: {len} of {}", file.len());
            // Somebody closed it, or the rest of the file is there but empty.
            let closed = whole(&[&file[..len], &EOI].concat()).is_err();
            assert!(closed || is_between_scans(file, len), "{name}: {len} of {}, closed", file.len());
            let mut zeros = file[..len].to_vec();
            zeros.resize(file.len() + 100, 0);
            assert!(whole(&zeros).is_err() || len + 80 > data, "{name}: {len} of {}, then zeros", file.len());
        }
    }
}

#[test]
fn what_is_only_unusual_is_whole() {
    for (name, file) in FILES {
        assert!(matches!(whole(file), Ok(Cow::Borrowed(_))), "{name}");
        let open = &file[..file.len() - 2];
        for end in [&[][..], &[0xff], &[0; 3000], b"\r\n"] {
            let file = [open, end].concat();
            let closed = whole(&file).unwrap();
            assert!(closed.starts_with(open) && closed.ends_with(&EOI), "{name}");
        }
        // A second picture after the first, cut; a first one, whole, in a segment, as thumbnails are.
        assert!(!is_short(&[file, &file[..200]].concat()), "{name}");
        let segment = [&[0xff, 0xe1], &(file.len() as u16 + 2).to_be_bytes()[..], file].concat();
        let with_thumbnail = |rest: &[u8]| [&file[..2], &segment, rest].concat();
        assert!(!is_short(&with_thumbnail(&file[2..])), "{name}");
        assert!(is_short(&with_thumbnail(&file[2..file.len() - 3])), "{name}");
        // Fill bytes before a marker.
        assert!(!is_short(&[open, &[0xff; 5], &EOI].concat()), "{name}");
    }
}

#[test]
fn data_that_is_no_code_is_damaged() {
    let scan = BASELINE.windows(2).rposition(|pair| pair == [0xff, 0xda]).unwrap() + 14;
    let mut file = BASELINE.to_vec();
    for place in (scan..scan + 12).step_by(2) {
        file[place..place + 2].copy_from_slice(&[0xff, 0]);
    }
    assert!(whole(&file).unwrap_err().contains("damaged"));
    for place in 2..BASELINE.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut file = BASELINE.to_vec();
            file[place] ^= flip;
            // Any answer will do, a panic will not.
            let _ = whole(&file);
        }
    }
}
