//! The curves of a run.

use crate::cli::failure::Failure;
use crate::files;
use std::path::Path;

/// The file that a run keeps an epoch's figures in.
const HISTORY: &str = "history.csv";

/// An epoch's figures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Epoch {
    pub(super) number: usize,
    pub(super) lr: f64,
    pub(super) train_loss: f64,
    pub(super) train_accuracy: f64,
    pub(super) test_loss: f64,
    pub(super) test_accuracy: f64,
    pub(super) seconds: f64,
}

/// The epochs of the run in `folder`; `None` where it has no history.
pub(super) fn read(folder: &Path) -> Result<Option<Vec<Epoch>>, Failure> {
    let path = folder.join(HISTORY);
    if !path.exists() {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(&files::read(&path)?).into_owned();
    let epochs: Result<Vec<Epoch>, usize> =
        text.lines().enumerate().skip(1).map(|(index, line)| epoch(line).ok_or(index + 1)).collect();
    epochs.map(Some).map_err(|line| {
        Failure::at(&path, format!("line {line} is no epoch's figures: remove the file, and the report has no curves"))
    })
}

fn epoch(line: &str) -> Option<Epoch> {
    let (number, rest) = line.split_once(',')?;
    let values: Option<Vec<f64>> = rest.split(',').map(|value| value.parse().ok()).collect();
    let [lr, train_loss, train_accuracy, test_loss, test_accuracy, seconds] = values?.try_into().ok()?;
    let number = number.parse().ok()?;
    Some(Epoch { number, lr, train_loss, train_accuracy, test_loss, test_accuracy, seconds })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_is_read_and_a_damaged_line_named() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(read(folder.path()), Ok(None)));
        let head = "epoch,lr,train_loss,train_accuracy,test_loss,test_accuracy,seconds\n";
        let write = |text: &str| std::fs::write(folder.path().join(HISTORY), format!("{head}{text}")).unwrap();
        write("1,0.100000,1.5,0.5,1.25,0.625,3.500\n");
        let expected = Epoch {
            number: 1,
            lr: 0.1,
            train_loss: 1.5,
            train_accuracy: 0.5,
            test_loss: 1.25,
            test_accuracy: 0.625,
            seconds: 3.5,
        };
        assert_eq!(read(folder.path()).unwrap(), Some(vec![expected]));
        write("1,0.100000,1.5,0.5,1.25,0.625,3.500\n2,0.1,1.5\n");
        let Err(Failure::Work(reason)) = read(folder.path()) else { panic!() };
        assert!(reason.contains("history.csv: line 3 is no epoch's figures"), "{reason}");
    }
}
