//! CIFAR's binary files (Krizhevsky, 2009): records of label bytes and 3,072 pixels, as three planes of 32x32.

use super::{DataError, Dataset, Split};
use crate::files;
use std::path::Path;

const PLANE: usize = 32 * 32;

/// What tells the two data sets apart.
pub(super) struct Format {
    set: &'static str,
    holds: &'static str,
    train: &'static [&'static str],
    test: &'static str,
    names: &'static str,
    /// Number of values of each label byte; the last byte is the class.
    labels: &'static [usize],
}

/// CIFAR-10: records of one label.
pub(super) const CIFAR10: Format = Format {
    set: "CIFAR-10",
    holds: "data_batch_1.bin to data_batch_5.bin, test_batch.bin and batches.meta.txt",
    train: &["data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"],
    test: "test_batch.bin",
    names: "batches.meta.txt",
    labels: &[10],
};

/// CIFAR-100: records of a coarse label, which is not used, and a fine one.
pub(super) const CIFAR100: Format = Format {
    set: "CIFAR-100",
    holds: "train.bin, test.bin and fine_label_names.txt",
    train: &["train.bin"],
    test: "test.bin",
    names: "fine_label_names.txt",
    labels: &[20, 100],
};

impl Format {
    fn classes(&self) -> usize {
        self.labels[self.labels.len() - 1]
    }

    /// One split from the folder that holds the files.
    pub(super) fn load(&self, folder: &Path, split: Split) -> Result<Dataset, DataError> {
        if !folder.is_dir() {
            return Err(DataError::NotAFolder { path: folder.to_path_buf(), holds: self.holds });
        }
        let class_names = self.class_names(&folder.join(self.names))?;
        let mut set = Dataset { dims: [3, 32, 32], pixels: Vec::new(), labels: Vec::new(), class_names };
        match split {
            Split::Train => self.train.iter().try_for_each(|name| self.append(&mut set, &folder.join(name)))?,
            Split::Test => self.append(&mut set, &folder.join(self.test))?,
        }
        Ok(set)
    }

    fn class_names(&self, path: &Path) -> Result<Vec<String>, DataError> {
        let text = String::from_utf8_lossy(&files::read(path)?).into_owned();
        let names: Vec<String> =
            text.lines().map(|line| line.trim().to_string()).filter(|line| !line.is_empty()).collect();
        if names.len() != self.classes() {
            let reason = format!("has {} class names, {} has {}", names.len(), self.set, self.classes());
            return Err(DataError::Malformed { path: path.to_path_buf(), reason });
        }
        Ok(names)
    }

    fn append(&self, set: &mut Dataset, path: &Path) -> Result<(), DataError> {
        let bytes = files::read(path)?;
        let malformed = |reason| DataError::Malformed { path: path.to_path_buf(), reason };
        let record = self.labels.len() + 3 * PLANE;
        if bytes.is_empty() || bytes.len() % record != 0 {
            return Err(malformed(format!(
                "holds {} bytes, which is not a whole number of records of {record} bytes: the file is truncated or is not {}'s binary version",
                bytes.len(),
                self.set
            )));
        }
        set.pixels.reserve(bytes.len());
        for (index, record) in bytes.chunks_exact(record).enumerate() {
            let (labels, planes) = record.split_at(self.labels.len());
            for (&label, &count) in labels.iter().zip(self.labels) {
                if usize::from(label) >= count {
                    let last = count - 1;
                    return Err(malformed(format!("record {index} has label {label}, the labels are 0 to {last}")));
                }
            }
            set.labels.push(u16::from(labels[labels.len() - 1]));
            for pixel in 0..PLANE {
                set.pixels.extend([planes[pixel], planes[PLANE + pixel], planes[2 * PLANE + pixel]]);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(format: &Format, test: &[u8]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let names: String = (0..format.classes()).map(|class| format!("class{class}\n")).collect();
        std::fs::write(folder.path().join(format.names), names + "\n").unwrap();
        std::fs::write(folder.path().join(format.test), test).unwrap();
        folder
    }

    fn record(labels: &[u8]) -> Vec<u8> {
        let mut record = labels.to_vec();
        record.extend((0..3 * PLANE).map(|i| (i / PLANE * 100 + i % PLANE % 50) as u8));
        record
    }

    #[test]
    fn planes_become_pixels() {
        let folder = folder(&CIFAR10, &[record(&[3]), record(&[9])].concat());
        let set = CIFAR10.load(folder.path(), Split::Test).unwrap();
        assert_eq!((set.labels.as_slice(), set.class_names[9].as_str()), (&[3, 9][..], "class9"));
        assert_eq!(set.image(1)[..6], [0, 100, 200, 1, 101, 201]);
    }

    #[test]
    fn the_fine_label_is_the_class() {
        let folder = folder(&CIFAR100, &[record(&[19, 99]), record(&[0, 42])].concat());
        let set = CIFAR100.load(folder.path(), Split::Test).unwrap();
        assert_eq!((set.labels.as_slice(), set.class_names.len()), (&[99, 42][..], 100));
        assert_eq!(set.image(1)[..6], [0, 100, 200, 1, 101, 201]);
    }

    #[test]
    fn errors_name_file_and_fault() {
        let cut = record(&[0])[..3000].to_vec();
        let cases = [
            (&CIFAR10, cut, "holds 3000 bytes"),
            (&CIFAR10, record(&[10]), "record 0 has label 10, the labels are 0 to 9"),
            (&CIFAR10, vec![], "0 bytes"),
            (&CIFAR10, record(&[1, 1]), "not CIFAR-10's binary version"),
            (&CIFAR100, record(&[1]), "not CIFAR-100's binary version"),
            (&CIFAR100, record(&[20, 1]), "record 0 has label 20, the labels are 0 to 19"),
            (&CIFAR100, [record(&[1, 1]), record(&[1, 100])].concat(), "record 1 has label 100"),
        ];
        for (format, bytes, expected) in cases {
            let folder = folder(format, &bytes);
            let error = format.load(folder.path(), Split::Test).unwrap_err().to_string();
            assert!(error.contains(format.test) && error.contains(expected), "{error}");
        }
        let folder = folder(&CIFAR10, &record(&[0]));
        let error = CIFAR10.load(folder.path(), Split::Train).unwrap_err().to_string();
        assert!(error.contains("cannot read") && error.contains("data_batch_1.bin"), "{error}");
        let error = CIFAR10.load(&folder.path().join("absent"), Split::Train).unwrap_err().to_string();
        assert!(error.contains("absent is not a folder") && error.contains("data_batch_1.bin"), "{error}");
        std::fs::write(folder.path().join("batches.meta.txt"), "cat\ndog\n").unwrap();
        let error = CIFAR10.load(folder.path(), Split::Test).unwrap_err().to_string();
        assert!(error.contains("batches.meta.txt: has 2 class names"), "{error}");
    }
}
