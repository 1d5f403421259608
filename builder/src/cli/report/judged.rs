//! What a network makes of each image.

use crate::cli::classifier::Classifier;
use crate::cli::console::Console;
use crate::cli::eval::evaluate_watched;
use crate::cli::failure::Failure;
use crate::cli::run::top;
use crate::data::Dataset;
use crate::metrics::{Confusion, Evaluation};

/// The answer to an image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Answer {
    /// The class of the highest score; of equal scores the first.
    pub(super) class: usize,
    /// Its part of the softmax of the scores.
    pub(super) confidence: f64,
}

/// A network's answers to a data set, image by image.
#[derive(Clone, Debug)]
pub(super) struct Answers {
    answers: Vec<Answer>,
    accuracy: f64,
    labels: Vec<u16>,
    classes: usize,
}

impl Answers {
    /// Classifies all of `data`; `label` names the work.
    pub(super) fn of(classifier: &Classifier, data: &Dataset, label: &str, console: &Console) -> Result<Self, Failure> {
        let mut answers = Vec::with_capacity(data.len());
        let Evaluation { accuracy, .. } = evaluate_watched(classifier, data, label, console, |scores| {
            answers.extend((0..scores.batch()).map(|image| answer(scores.image(image))));
        })?;
        Ok(Self { answers, accuracy, labels: data.labels.clone(), classes: data.class_names.len() })
    }

    /// Share of the images that are answered with their label.
    pub(super) fn accuracy(&self) -> f64 {
        self.accuracy
    }

    /// How often images of each class are given each answer that is a class.
    pub(super) fn confusion(&self) -> Confusion {
        let mut confusion = Confusion::new(self.classes);
        let answers = self.pairs().filter(|(_, answer)| answer.class < self.classes);
        answers.for_each(|(label, answer)| confusion.add(label, answer.class));
        confusion
    }

    /// The images that are answered wrongly, the most confident answer first.
    pub(super) fn errors(&self) -> Vec<(usize, Answer)> {
        let wrong = self.answers.iter().copied().enumerate();
        let mut wrong: Vec<_> = wrong.filter(|&(index, answer)| self.label(index) != answer.class).collect();
        wrong.sort_by(|a, b| b.1.confidence.total_cmp(&a.1.confidence));
        wrong
    }

    /// Share of the images to which both networks give the same answer.
    pub(super) fn agreement(&self, other: &Self) -> f64 {
        let same = self.answers.iter().zip(&other.answers).filter(|(own, other)| own.class == other.class).count();
        same as f64 / self.answers.len().max(1) as f64
    }

    /// The class of an image.
    pub(super) fn label(&self, index: usize) -> usize {
        self.labels[index].into()
    }

    /// Number of images.
    pub(super) fn len(&self) -> usize {
        self.answers.len()
    }

    fn pairs(&self) -> impl Iterator<Item = (usize, Answer)> {
        self.labels.iter().map(|&label| label.into()).zip(self.answers.iter().copied())
    }
}

fn answer(scores: &[f32]) -> Answer {
    let (class, confidence) = top(scores).first().copied().unwrap_or_default();
    Answer { class, confidence }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of an accuracy that is not looked at.
    fn answers(answers: &[(u16, usize, f64)]) -> Answers {
        Answers {
            answers: answers.iter().map(|&(_, class, confidence)| Answer { class, confidence }).collect(),
            accuracy: 0.0,
            labels: answers.iter().map(|&(label, ..)| label).collect(),
            classes: 3,
        }
    }

    #[test]
    fn an_answer_is_the_first_of_equal_scores_with_its_softmax() {
        assert_eq!(answer(&[0.0, 2.0, 2.0]).class, 1);
        let found = answer(&[0.0, 2.0f32.ln(), 0.0]);
        assert!((found.confidence - 0.5).abs() < 1e-6, "{found:?}");
    }

    #[test]
    fn errors_come_by_confidence() {
        let found = answers(&[(0, 0, 0.9), (0, 1, 0.6), (1, 1, 0.8), (1, 2, 0.9), (0, 1, 0.7)]);
        assert_eq!(found.confusion().by_class(), [(3, Some(1.0 / 3.0)), (2, Some(0.5)), (0, None)]);
        let errors: Vec<usize> = found.errors().into_iter().map(|(index, _)| index).collect();
        assert_eq!(errors, [3, 4, 1]);
        let other = answers(&[(0, 0, 0.9), (0, 0, 0.6), (1, 1, 0.8), (1, 1, 0.9), (0, 0, 0.7)]);
        assert_eq!(found.agreement(&other), 0.4);
    }
}
