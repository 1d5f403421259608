//! MNIST's idx files (LeCun, 1998), plain or compressed with gzip: big-endian counts, then bytes.

use super::{DataError, Dataset, Split};
use crate::files;
use flate2::read::MultiGzDecoder;
use std::io::Read;
use std::path::{Path, PathBuf};

const SIDE: usize = 28;
const CLASSES: usize = 10;
const HOLDS: &str = "train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, as they are or as .gz";
/// Bytes of unsigned 8-bit elements in as many dimensions as the last digit says.
const IMAGES_MAGIC: u32 = 0x0803;
const LABELS_MAGIC: u32 = 0x0801;
/// More than any file of this kind holds: what a damaged or hostile gzip file may unpack to.
const MOST_BYTES: u64 = 1 << 30;

/// Where Debian's package `dataset-fashion-mnist` puts its files.
const FASHION_FOLDER: &str = "/usr/share/datasets/fashion-mnist";
const FASHION_NAMES: [&str; CLASSES] =
    ["T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"];

/// One split of MNIST.
pub(super) fn mnist(folder: &Path, split: Split) -> Result<Dataset, DataError> {
    load(folder, split, (0..CLASSES).map(|digit| digit.to_string()).collect())
}

/// One split of Fashion-MNIST, from `folder` or from where it is installed.
pub(super) fn fashion(folder: Option<&Path>, split: Split) -> Result<Dataset, DataError> {
    let installed = Path::new(FASHION_FOLDER);
    if folder.is_none() && !installed.is_dir() {
        return Err(DataError::NotInstalled { path: installed.to_path_buf() });
    }
    load(folder.unwrap_or(installed), split, FASHION_NAMES.map(String::from).to_vec())
}

fn load(folder: &Path, split: Split, class_names: Vec<String>) -> Result<Dataset, DataError> {
    if !folder.is_dir() {
        return Err(DataError::NotAFolder { path: folder.to_path_buf(), holds: HOLDS });
    }
    let prefix = if split == Split::Train { "train" } else { "t10k" };
    let (path, [count, height, width], pixels) = read(folder, &format!("{prefix}-images"), IMAGES_MAGIC)?;
    if [height, width] != [SIDE, SIDE] || count == 0 {
        let reason = format!("holds {count} images of {height}x{width} pixels, not some of {SIDE}x{SIDE}");
        return Err(DataError::Malformed { path, reason });
    }
    let (path, [labelled], labels) = read(folder, &format!("{prefix}-labels"), LABELS_MAGIC)?;
    if labelled != count {
        let reason = format!("holds {labelled} labels for {count} images");
        return Err(DataError::Malformed { path, reason });
    }
    if let Some(index) = labels.iter().position(|&label| usize::from(label) >= CLASSES) {
        let reason = format!("label {index} is {}, the labels are 0 to {}", labels[index], CLASSES - 1);
        return Err(DataError::Malformed { path, reason });
    }
    let labels = labels.into_iter().map(u16::from).collect();
    Ok(Dataset { dims: [1, SIDE, SIDE], pixels, labels, class_names })
}

/// Path, dimensions and elements of the file `name`-idx`D`-ubyte, `D` being the number of dimensions.
fn read<const D: usize>(folder: &Path, name: &str, magic: u32) -> Result<(PathBuf, [usize; D], Vec<u8>), DataError> {
    let path = find(folder, name, D)?;
    let mut bytes = unpack(&path, files::read(&path)?)?;
    let malformed = |reason| DataError::Malformed { path: path.clone(), reason };
    let header = 4 * (1 + D);
    if bytes.len() < header {
        return Err(malformed(format!(
            "holds {} bytes, the header alone has {header}: the file is truncated",
            bytes.len()
        )));
    }
    let word = |i: usize| u32::from_be_bytes([bytes[4 * i], bytes[4 * i + 1], bytes[4 * i + 2], bytes[4 * i + 3]]);
    if word(0) != magic {
        let kind = if magic == IMAGES_MAGIC { "images" } else { "labels" };
        return Err(malformed(format!(
            "begins with {:#010x}, an idx file of {kind} with {magic:#010x}: it is another kind of file",
            word(0)
        )));
    }
    let dims: [usize; D] = std::array::from_fn(|i| word(i + 1) as usize);
    let expected = dims.iter().try_fold(1, |product: usize, &dim| product.checked_mul(dim));
    if expected != Some(bytes.len() - header) {
        return Err(malformed(format!(
            "holds {} bytes after its header, which announces {}: the file is truncated or damaged",
            bytes.len() - header,
            dims.map(|dim| dim.to_string()).join("x")
        )));
    }
    bytes.drain(..header);
    Ok((path, dims, bytes))
}

/// The first that exists of the names in use.
fn find(folder: &Path, name: &str, dimensions: usize) -> Result<PathBuf, DataError> {
    let usual = format!("{name}-idx{dimensions}-ubyte");
    let other = format!("{name}.idx{dimensions}-ubyte");
    let candidates = [&usual, &other].map(|name| [folder.join(name), folder.join(format!("{name}.gz"))]);
    candidates.into_iter().flatten().find(|path| path.exists()).ok_or_else(|| {
        let reason = format!("holds neither {usual} nor {usual}.gz");
        DataError::Malformed { path: folder.to_path_buf(), reason }
    })
}

fn unpack(path: &Path, bytes: Vec<u8>) -> Result<Vec<u8>, DataError> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(bytes);
    }
    let mut unpacked = Vec::new();
    let malformed = |reason| DataError::Malformed { path: path.to_path_buf(), reason };
    MultiGzDecoder::new(bytes.as_slice())
        .take(MOST_BYTES)
        .read_to_end(&mut unpacked)
        .map_err(|error| malformed(format!("its gzip data are truncated or damaged ({error})")))?;
    Ok(unpacked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write;

    fn idx(magic: u32, dims: &[u32], data: &[u8]) -> Vec<u8> {
        let words = [&[magic], dims].concat();
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        bytes.extend(data);
        bytes
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn images() -> Vec<u8> {
        let pixels: Vec<u8> = (0..2 * 784).map(|i| (i % 251) as u8).collect();
        idx(IMAGES_MAGIC, &[2, 28, 28], &pixels)
    }

    fn labels(labels: &[u8]) -> Vec<u8> {
        idx(LABELS_MAGIC, &[labels.len() as u32], labels)
    }

    fn folder(files: &[(&str, Vec<u8>)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            std::fs::write(folder.path().join(name), bytes).unwrap();
        }
        folder
    }

    #[test]
    fn plain_and_compressed_files_are_the_same() {
        let names = ["t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"];
        let plain = folder(&[(names[0], images()), (names[1], labels(&[7, 9]))]);
        let set = mnist(plain.path(), Split::Test).unwrap();
        assert_eq!((set.dims, set.labels.as_slice(), set.len()), ([1, 28, 28], &[7, 9][..], 2));
        assert_eq!(set.image(1)[..3], [784 % 251, 785 % 251, 786 % 251].map(|x: i32| x as u8));
        let packed =
            folder(&[("t10k-images-idx3-ubyte.gz", gzip(&images())), ("t10k-labels.idx1-ubyte", labels(&[7, 9]))]);
        let other = fashion(Some(packed.path()), Split::Test).unwrap();
        assert_eq!((other.pixels, other.labels), (set.pixels, set.labels));
        assert_eq!(other.class_names[9], "ankle boot");
    }

    #[test]
    fn errors_name_file_and_fault() {
        let mut damaged = gzip(&images());
        let middle = damaged.len() / 2;
        damaged[middle] ^= 0x55;
        let cut = gzip(&images())[..middle].to_vec();
        let both = |images: Vec<u8>, labels: Vec<u8>| {
            folder(&[("t10k-images-idx3-ubyte.gz", images), ("t10k-labels-idx1-ubyte", labels)])
        };
        let short = images()[..100].to_vec();
        let small = idx(IMAGES_MAGIC, &[2, 4, 4], &[0; 32]);
        let huge = idx(IMAGES_MAGIC, &[u32::MAX; 3], &[]);
        let cases = [
            (both(damaged, labels(&[1, 2])), "images-idx3-ubyte.gz: its gzip data are truncated or damaged"),
            (both(cut, labels(&[1, 2])), "images-idx3-ubyte.gz: its gzip data are truncated or damaged"),
            (both(short, labels(&[1, 2])), "holds 84 bytes after its header, which announces 2x28x28"),
            (both(vec![0, 0, 8], labels(&[1, 2])), "holds 3 bytes, the header alone has 16"),
            (both(huge, labels(&[1, 2])), "holds 0 bytes after its header"),
            (both(labels(&[0; 20]), labels(&[1, 2])), "begins with 0x00000801, an idx file of images with 0x00000803"),
            (both(small, labels(&[1, 2])), "holds 2 images of 4x4 pixels"),
            (both(images(), labels(&[1, 2, 3])), "labels-idx1-ubyte: holds 3 labels for 2 images"),
            (both(images(), labels(&[1, 10])), "labels-idx1-ubyte: label 1 is 10, the labels are 0 to 9"),
            (folder(&[("t10k-images-idx3-ubyte", images())]), "holds neither t10k-labels-idx1-ubyte nor"),
        ];
        for (folder, expected) in cases {
            let error = mnist(folder.path(), Split::Test).unwrap_err().to_string();
            assert!(error.contains(expected), "{expected}: {error}");
        }
        let error = mnist(Path::new("absent"), Split::Test).unwrap_err().to_string();
        assert!(error.starts_with("absent is not a folder"), "{error}");
    }

    #[test]
    fn the_installed_files_are_found_or_the_package_is_named() {
        match fashion(None, Split::Test) {
            Ok(set) => {
                assert_eq!(set.len(), 10_000);
                assert_eq!(set.labels[..4], [9, 2, 1, 1]);
                let mean = set.pixels.iter().map(|&pixel| f64::from(pixel)).sum::<f64>() / set.pixels.len() as f64;
                assert!((mean / 255.0 - 0.286).abs() < 0.002, "{mean}");
            }
            Err(error) => assert!(error.to_string().contains("apt-get install dataset-fashion-mnist"), "{error}"),
        }
    }
}
