//! How a data set is named on the command line.

use super::augment::{Augmentation, ResizedCrop};
use super::split::Split;
use super::{DataError, folder};
use skipstone_onnx::Normalization;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where images come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// 1,797 handwritten digits of 8x8 pixels, built in.
    Digits,
    /// The folder with CIFAR-10's binary batches: 60,000 photographs of 32x32 pixels in ten classes.
    Cifar10(PathBuf),
    /// The folder with CIFAR-100's binary files: the same number and size, in a hundred classes.
    Cifar100(PathBuf),
    /// The folder with MNIST's idx files: 70,000 handwritten digits of 28x28 pixels.
    Mnist(PathBuf),
    /// The folder with Fashion-MNIST's idx files, 70,000 garments of 28x28 pixels in ten classes; without one, where
    /// Debian's package `dataset-fashion-mnist` puts them.
    FashionMnist(Option<PathBuf>),
    /// A folder that holds a folder of PNG or JPEG files per class, or a tar archive or a folder of tar archives that do.
    Folder(PathBuf),
}

/// A data set's name, such as `digits` or `cifar10:DIR`, with `@train` or `@test` at the end where the split matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Where images come from.
    pub source: Source,
    /// The split, if the name chose one.
    pub split: Option<Split>,
}

/// A name that is no data set's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{name}` names no data set: {reason}; known are `digits`, `cifar10:DIR`, `cifar100:DIR`, `mnist:DIR`, \
     `fashion-mnist[:DIR]` and `folder:DIR`, all with `@train` or `@test`"
)]
pub struct SpecError {
    /// What was given.
    pub name: String,
    /// Why it is not understood.
    pub reason: &'static str,
}

impl Spec {
    /// The normalization that networks trained on this data expect: mean and deviation over the training split, in
    /// [`Spec::dims`]'s channels. A folder takes ImageNet's, which networks pretrained elsewhere were trained with.
    pub fn normalization(&self) -> Normalization {
        self.normalization_for(self.dims()[0])
    }

    /// The same for images loaded with `channels` channels, which a folder leaves open: one channel takes the mean
    /// over the three.
    pub fn normalization_for(&self, channels: usize) -> Normalization {
        let (mean, std): (&[f32], &[f32]) = match self.source {
            Source::Digits => (&[0.305], &[0.376]),
            Source::Cifar10(_) => (&[0.4914, 0.4822, 0.4465], &[0.2470, 0.2435, 0.2616]),
            Source::Cifar100(_) => (&[0.5071, 0.4865, 0.4409], &[0.2673, 0.2564, 0.2762]),
            Source::Mnist(_) => (&[0.1307], &[0.3081]),
            Source::FashionMnist(_) => (&[0.2860], &[0.3530]),
            Source::Folder(_) if channels == 1 => (&[0.449], &[0.226]),
            Source::Folder(_) => (&[0.485, 0.456, 0.406], &[0.229, 0.224, 0.225]),
        };
        Normalization { mean: mean.to_vec(), std: std.to_vec() }
    }

    /// The augmentation that suits this data: a mirrored digit is another digit or none.
    pub fn augmentation(&self) -> Augmentation {
        let shift = |crop_padding, flip| Augmentation { crop_padding, flip, ..Augmentation::NONE };
        match self.source {
            Source::Digits => shift(1, false),
            Source::Cifar10(_) | Source::Cifar100(_) => shift(4, true),
            Source::Mnist(_) => shift(2, false),
            Source::FashionMnist(_) => shift(2, true),
            Source::Folder(_) => Augmentation { resized_crop: Some(ResizedCrop::MILD), ..shift(0, true) },
        }
    }

    /// Channels, height, width of an image; of a folder, those of the images where no others are asked for.
    pub fn dims(&self) -> [usize; 3] {
        match self.source {
            Source::Digits => [1, 8, 8],
            Source::Cifar10(_) | Source::Cifar100(_) => [3, 32, 32],
            Source::Mnist(_) | Source::FashionMnist(_) => [1, 28, 28],
            Source::Folder(_) => [3, 224, 224],
        }
    }

    /// Number of classes; of a folder, its class folders are counted.
    ///
    /// # Errors
    /// [`DataError`] where the folder cannot be read or has no classes.
    pub fn classes(&self) -> Result<usize, DataError> {
        match &self.source {
            Source::Cifar100(_) => Ok(100),
            Source::Folder(folder) => Ok(folder::class_names(folder)?.len()),
            _ => Ok(10),
        }
    }
}

impl FromStr for Spec {
    type Err = SpecError;

    fn from_str(name: &str) -> Result<Self, SpecError> {
        let fail = |reason| SpecError { name: name.into(), reason };
        let (rest, split) = if let Some(rest) = name.strip_suffix("@train") {
            (rest, Some(Split::Train))
        } else if let Some(rest) = name.strip_suffix("@test") {
            (rest, Some(Split::Test))
        } else {
            (name, None)
        };
        let (set, folder) = match rest.split_once(':') {
            Some((set, folder)) => (set, Some(folder)),
            None => (rest, None),
        };
        let needed = || folder.filter(|folder| !folder.is_empty()).map(PathBuf::from);
        let missing = fail("the folder is missing");
        let source = match set {
            "digits" if folder.is_some() => return Err(fail("the digits are built in and take no folder")),
            "digits" => Source::Digits,
            "cifar10" => Source::Cifar10(needed().ok_or(missing)?),
            "cifar100" => Source::Cifar100(needed().ok_or(missing)?),
            "mnist" => Source::Mnist(needed().ok_or(missing)?),
            "fashion-mnist" if folder.is_none() => Source::FashionMnist(None),
            "fashion-mnist" => Source::FashionMnist(Some(needed().ok_or(missing)?)),
            "folder" => Source::Folder(needed().ok_or(missing)?),
            _ if set.contains('@') => return Err(fail("the split is neither `@train` nor `@test`")),
            _ => return Err(fail("unknown")),
        };
        Ok(Self { source, split })
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Source::Digits => f.write_str("digits")?,
            Source::Cifar10(folder) => write!(f, "cifar10:{}", folder.display())?,
            Source::Cifar100(folder) => write!(f, "cifar100:{}", folder.display())?,
            Source::Mnist(folder) => write!(f, "mnist:{}", folder.display())?,
            Source::FashionMnist(None) => f.write_str("fashion-mnist")?,
            Source::FashionMnist(Some(folder)) => write!(f, "fashion-mnist:{}", folder.display())?,
            Source::Folder(folder) => write!(f, "folder:{}", folder.display())?,
        }
        match self.split {
            Some(Split::Train) => f.write_str("@train"),
            Some(Split::Test) => f.write_str("@test"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        let names = [
            "digits",
            "digits@test",
            "cifar10:some/folder",
            "cifar10:a:b@train",
            "cifar10:user@host@test",
            "cifar100:x",
            "mnist:x@train",
            "fashion-mnist",
            "fashion-mnist@test",
            "fashion-mnist:x",
            "folder:x/y@test",
        ];
        for name in names {
            assert_eq!(name.parse::<Spec>().unwrap().to_string(), name);
        }
        let spec: Spec = "cifar10:x@test".parse().unwrap();
        assert_eq!(spec, Spec { source: Source::Cifar10("x".into()), split: Some(Split::Test) });
        let spec: Spec = "fashion-mnist@train".parse().unwrap();
        assert_eq!(spec, Spec { source: Source::FashionMnist(None), split: Some(Split::Train) });
    }

    #[test]
    fn wrong_names_say_what_is_known() {
        let names = ["", "digit", "cifar10", "cifar10:", "cifar100", "digits:x", "digits@val", "mnist", "folder:"];
        for name in names.into_iter().chain(["fashion-mnist:", "fashion-mnist:@test", "fashion-mnist@val", "svhn:x"]) {
            let error = name.parse::<Spec>().unwrap_err().to_string();
            assert!(error.contains("cifar10:DIR"), "{name}: {error}");
        }
    }

    #[test]
    fn every_set_has_a_normalization_of_its_channels() {
        for name in ["digits", "cifar10:x", "cifar100:x", "mnist:x", "fashion-mnist", "folder:x"] {
            let spec: Spec = name.parse().unwrap();
            let Normalization { mean, std } = spec.normalization();
            assert_eq!([mean.len(), std.len()], [spec.dims()[0]; 2], "{name}");
        }
        let folder: Spec = "folder:x".parse().unwrap();
        assert_eq!(folder.normalization_for(1).mean, [0.449]);
    }
}
