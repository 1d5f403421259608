//! CIFAR-10's binary batches (Krizhevsky, 2009): records of one label byte and 3,072 pixels, as three planes of 32x32.

use super::{DataError, Dataset, Split};
use crate::files;
use std::path::Path;

const PLANE: usize = 32 * 32;
const RECORD: usize = 1 + 3 * PLANE;
const HOLDS: &str = "data_batch_1.bin to data_batch_5.bin, test_batch.bin and batches.meta.txt";

/// One split from the folder that holds the batches.
pub(super) fn load(folder: &Path, split: Split) -> Result<Dataset, DataError> {
    if !folder.is_dir() {
        return Err(DataError::NotAFolder { path: folder.to_path_buf(), holds: HOLDS });
    }
    let class_names = class_names(&folder.join("batches.meta.txt"))?;
    let names: Vec<String> = match split {
        Split::Train => (1..=5).map(|number| format!("data_batch_{number}.bin")).collect(),
        Split::Test => vec!["test_batch.bin".into()],
    };
    let mut set = Dataset { dims: [3, 32, 32], pixels: Vec::new(), labels: Vec::new(), class_names };
    for name in names {
        append(&mut set, &folder.join(name))?;
    }
    Ok(set)
}

fn class_names(path: &Path) -> Result<Vec<String>, DataError> {
    let text = String::from_utf8_lossy(&files::read(path)?).into_owned();
    let names: Vec<String> = text.lines().map(|line| line.trim().to_string()).filter(|line| !line.is_empty()).collect();
    if names.len() != 10 {
        let reason = format!("has {} class names, CIFAR-10 has 10", names.len());
        return Err(DataError::Malformed { path: path.to_path_buf(), reason });
    }
    Ok(names)
}

fn append(set: &mut Dataset, path: &Path) -> Result<(), DataError> {
    let bytes = files::read(path)?;
    let malformed = |reason| DataError::Malformed { path: path.to_path_buf(), reason };
    if bytes.is_empty() || bytes.len() % RECORD != 0 {
        return Err(malformed(format!(
            "holds {} bytes, which is not a whole number of records of {RECORD} bytes: the file is truncated or is no CIFAR-10 batch",
            bytes.len()
        )));
    }
    set.pixels.reserve(bytes.len());
    for (index, record) in bytes.chunks_exact(RECORD).enumerate() {
        let (label, planes) = (record[0], &record[1..]);
        if usize::from(label) >= set.class_names.len() {
            return Err(malformed(format!("record {index} has label {label}, the classes are 0 to 9")));
        }
        set.labels.push(u16::from(label));
        for pixel in 0..PLANE {
            set.pixels.extend([planes[pixel], planes[PLANE + pixel], planes[2 * PLANE + pixel]]);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(test_batch: &[u8]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let names: String = (0..10).map(|class| format!("class{class}\n")).collect();
        std::fs::write(folder.path().join("batches.meta.txt"), names + "\n").unwrap();
        std::fs::write(folder.path().join("test_batch.bin"), test_batch).unwrap();
        folder
    }

    fn record(label: u8) -> Vec<u8> {
        let mut record = vec![label];
        record.extend((0..3 * PLANE).map(|i| (i / PLANE * 100 + i % PLANE % 50) as u8));
        record
    }

    #[test]
    fn planes_become_pixels() {
        let folder = folder(&[record(3), record(9)].concat());
        let set = load(folder.path(), Split::Test).unwrap();
        assert_eq!((set.labels.as_slice(), set.class_names[9].as_str()), (&[3, 9][..], "class9"));
        assert_eq!(set.image(1)[..6], [0, 100, 200, 1, 101, 201]);
    }

    #[test]
    fn errors_name_file_and_fault() {
        let cut = record(0)[..3000].to_vec();
        for (bytes, expected) in [(cut, "holds 3000 bytes"), (record(10), "record 0 has label 10"), (vec![], "0 bytes")]
        {
            let folder = folder(&bytes);
            let error = load(folder.path(), Split::Test).unwrap_err().to_string();
            assert!(error.contains("test_batch.bin") && error.contains(expected), "{error}");
        }
        let folder = folder(&record(0));
        let error = load(folder.path(), Split::Train).unwrap_err().to_string();
        assert!(error.contains("cannot read") && error.contains("data_batch_1.bin"), "{error}");
        let error = load(&folder.path().join("absent"), Split::Train).unwrap_err().to_string();
        assert!(error.contains("absent is not a folder") && error.contains("data_batch_1.bin"), "{error}");
        std::fs::write(folder.path().join("batches.meta.txt"), "cat\ndog\n").unwrap();
        let error = load(folder.path(), Split::Test).unwrap_err().to_string();
        assert!(error.contains("batches.meta.txt: has 2 class names"), "{error}");
    }
}
