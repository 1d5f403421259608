//! A folder of images per class, of any size, as people keep their own data.
//!
//! Either `DIR` holds the class folders, and a file's name decides for ever whether it is among the fifth of the images
//! to test with, or `DIR/train` and `DIR/test` (or `DIR/val`) hold them. The classes are the folders in the order of
//! their names; files may lie in folders inside a class folder. Names that begin with a dot are passed over.

mod classes;
mod decode;

use super::{DataError, Dataset, Notes, Options, Split};
use rayon::prelude::*;
use skipstone_onnx::Preprocessing;
use skipstone_runtime::image;
use std::path::Path;

pub(super) use classes::class_names;
pub(super) use decode::decode;

/// One split at `dims`. A file that cannot be read is left out and noted; `strict` refuses it, and images that are
/// smaller than `dims`.
pub(super) fn load(
    folder: &Path,
    split: Split,
    dims: [usize; 3],
    options: &Options,
) -> Result<(Dataset, Notes), DataError> {
    let preprocessing = check_input(folder, dims, &options.preprocessing)?;
    let (class_names, entries) = classes::entries(folder, split)?;
    let len = dims.iter().product::<usize>();
    let mut pixels = Vec::new();
    let too_large = || DataError::TooLarge { path: folder.to_path_buf(), count: entries.len(), dims };
    let total = entries.len().checked_mul(len).ok_or_else(too_large)?;
    pixels.try_reserve_exact(total).map_err(|_| too_large())?;
    pixels.resize(total, 0);

    let outcomes: Vec<Result<bool, String>> = pixels
        .par_chunks_exact_mut(len)
        .zip(&entries)
        .map(|(slot, entry)| decode(&entry.path, dims, preprocessing, slot))
        .collect();

    let mut set = Dataset { dims, pixels, labels: Vec::with_capacity(entries.len()), class_names };
    let mut notes = Notes::default();
    for (index, (entry, outcome)) in entries.into_iter().zip(outcomes).enumerate() {
        match outcome {
            Ok(enlarged) => {
                let kept = set.labels.len();
                if kept < index {
                    set.pixels.copy_within(index * len..(index + 1) * len, kept * len);
                }
                set.labels.push(entry.label);
                if enlarged {
                    notes.enlarged.push(entry.path);
                }
            }
            Err(reason) => notes.skipped.push((entry.path, reason)),
        }
    }
    set.pixels.truncate(set.labels.len() * len);
    if options.strict {
        notes.refuse(dims)?;
    }
    check(&set, split, folder, &notes)?;
    Ok((set, notes))
}

/// Checks that images can have this many channels and a size, and can be made so; gives the runtime's word for it.
pub(super) fn check_input(
    path: &Path,
    dims: [usize; 3],
    preprocessing: &Preprocessing,
) -> Result<image::Preprocessing, DataError> {
    let [channels, height, width] = dims;
    let most = usize::from(u16::MAX);
    let fail = |reason| Err(DataError::Malformed { path: path.to_path_buf(), reason });
    if ![1, 3].contains(&channels) || !(1..=most).contains(&height) || !(1..=most).contains(&width) {
        return fail(format!(
            "images cannot be loaded at {channels}x{height}x{width}: they have 1 or 3 channels and sides of 1 to {most}"
        ));
    }
    let runtime = super::preprocessing::of_runtime(preprocessing);
    if !runtime.suits(dims.map(|dim| dim as u16)) {
        return fail(format!("images of {channels}x{height}x{width} cannot be made by `{preprocessing}`"));
    }
    Ok(runtime)
}

/// Checks that there is an image of each class to learn from, and any to test with.
fn check(set: &Dataset, split: Split, folder: &Path, notes: &Notes) -> Result<(), DataError> {
    let fail = |reason: String| {
        let reason = match notes.skipped.first() {
            Some((path, why)) => {
                format!("{reason} that can be read; the first that cannot is {}: {why}", path.display())
            }
            None => reason,
        };
        Err(DataError::Malformed { path: folder.to_path_buf(), reason })
    };
    if split == Split::Test {
        return if set.is_empty() { fail("has no image to test with".into()) } else { Ok(()) };
    }
    let mut counts = vec![0; set.class_names.len()];
    for &label in &set.labels {
        counts[usize::from(label)] += 1;
    }
    match counts.iter().position(|&count| count == 0) {
        Some(class) => fail(format!("class `{}` has no training image", set.class_names[class])),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
