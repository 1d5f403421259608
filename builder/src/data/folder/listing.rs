//! The files of a split, and which files are for testing.

use super::files::Files;

/// One of so many files is for testing.
const TEST_EVERY: u64 = 5;

/// The files of one split.
#[derive(Debug)]
pub(super) struct Listing {
    pub(super) class_names: Vec<String>,
    /// Class by class, in the order of their names.
    pub(super) files: Files,
    /// Files of each class, those of the other split included where names decide.
    pub(super) counts: Vec<usize>,
}

/// Whether the file of this key is for testing: a function of the key alone, so that a file keeps its split when others
/// come or go. FNV-1a in 64 bits, then MurmurHash3's finalizer, because names are alike.
pub(super) fn is_test(key: &str) -> bool {
    let hash = key
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    (hash ^ (hash >> 33)).is_multiple_of(TEST_EVERY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fifth_of_the_names_is_for_testing() {
        for pattern in ["cat/", "dog/IMG_"] {
            let count = (0..10_000).filter(|i| is_test(&format!("{pattern}{i:05}.jpg"))).count();
            assert!((1900..2100).contains(&count), "{pattern}: {count}");
        }
    }

    #[test]
    fn the_split_of_a_name_never_changes() {
        let chosen: Vec<usize> = (0..20).filter(|i| is_test(&format!("cat/{i}.png"))).collect();
        assert_eq!(chosen, [1, 6, 19]);
    }
}
