//! How a data set is named on the command line.

use super::Augmentation;
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
}

/// Which part of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// The images to learn from.
    Train,
    /// The images to be judged by.
    Test,
}

/// A data set's name: `digits` or `cifar10:DIR`, with `@train` or `@test` at the end where the split matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Where images come from.
    pub source: Source,
    /// The split, if the name chose one.
    pub split: Option<Split>,
}

/// A name that is no data set's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` names no data set: {reason}; known are `digits` and `cifar10:DIR`, both with `@train` or `@test`")]
pub struct SpecError {
    /// What was given.
    pub name: String,
    /// Why it is not understood.
    pub reason: &'static str,
}

impl Spec {
    /// The normalization that networks trained on this data expect: mean and deviation over the training split.
    pub fn normalization(&self) -> Normalization {
        match self.source {
            Source::Digits => Normalization { mean: vec![0.305], std: vec![0.376] },
            Source::Cifar10(_) => {
                Normalization { mean: vec![0.4914, 0.4822, 0.4465], std: vec![0.2470, 0.2435, 0.2616] }
            }
        }
    }

    /// The augmentation that suits this data: a mirrored digit is another digit or none.
    pub fn augmentation(&self) -> Augmentation {
        match self.source {
            Source::Digits => Augmentation { crop_padding: 1, flip: false },
            Source::Cifar10(_) => Augmentation { crop_padding: 4, flip: true },
        }
    }

    /// Channels, height, width of an image.
    pub fn dims(&self) -> [usize; 3] {
        match self.source {
            Source::Digits => [1, 8, 8],
            Source::Cifar10(_) => [3, 32, 32],
        }
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        10
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
        let source = match rest.split_once(':') {
            None if rest == "digits" => Source::Digits,
            None if rest == "cifar10" => return Err(fail("the folder is missing")),
            Some(("cifar10", "")) => return Err(fail("the folder is missing")),
            Some(("cifar10", folder)) => Source::Cifar10(folder.into()),
            Some(("digits", _)) => return Err(fail("the digits are built in and take no folder")),
            _ if rest.starts_with("digits@") || rest.starts_with("cifar10@") => {
                return Err(fail("the split is neither `@train` nor `@test`"));
            }
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
        for name in ["digits", "digits@test", "cifar10:some/folder", "cifar10:a:b@train", "cifar10:user@host@test"] {
            assert_eq!(name.parse::<Spec>().unwrap().to_string(), name);
        }
        let spec: Spec = "cifar10:x@test".parse().unwrap();
        assert_eq!(spec, Spec { source: Source::Cifar10("x".into()), split: Some(Split::Test) });
    }

    #[test]
    fn wrong_names_say_what_is_known() {
        for name in ["", "digit", "cifar10", "cifar10:", "digits:x", "digits@val", "mnist:x"] {
            let error = name.parse::<Spec>().unwrap_err().to_string();
            assert!(error.contains("cifar10:DIR"), "{name}: {error}");
        }
    }
}
