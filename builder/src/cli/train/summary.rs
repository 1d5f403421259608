//! What is said of the classes: how many images train and test, and how well the result tells them apart.

use crate::cli::table::{Table, grouped};
use crate::data::ImageSet;
use crate::metrics::Confusion;
use serde::Serialize;

/// Classes that a line or a table shows.
const SHOWN: usize = 20;
/// Pairs of classes that a line names, and that programs get.
const PAIRS: [usize; 2] = [5, 20];

/// A class of the data set.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Class {
    name: String,
    /// Images to train on.
    train: usize,
    /// Images to test with.
    test: usize,
    /// Share of the latter that the best network answers rightly; none without images.
    #[serde(skip_serializing_if = "Option::is_none")]
    accuracy: Option<f64>,
}

/// Images that are taken for those of another class.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Pair {
    label: String,
    answer: String,
    images: usize,
}

/// The classes of both splits.
#[derive(Clone, Debug)]
pub(super) struct Classes(Vec<Class>);

impl Classes {
    /// The classes of the images to train on and to test with.
    pub(super) fn of([train, test]: &[ImageSet; 2]) -> Self {
        let counts = train.counts().into_iter().zip(test.counts());
        let class = |(name, (train, test)): (&String, _)| Class { name: name.clone(), train, test, accuracy: None };
        Self(train.class_names.iter().zip(counts).map(class).collect())
    }

    /// How many images of each class train and test.
    pub(super) fn split(&self) -> String {
        let sum = |count: fn(&Class) -> usize| grouped(self.0.iter().map(count).sum::<usize>() as u64);
        let (train, test) = (sum(|class| class.train), sum(|class| class.test));
        let range = |count: fn(&Class) -> usize| {
            let counts = || self.0.iter().map(count);
            let [least, most] = [counts().min(), counts().max()].map(|count| grouped(count.unwrap_or(0) as u64));
            if least == most { most } else { format!("{least} to {most}") }
        };
        let each = match &self.0[..] {
            classes if classes.len() <= SHOWN => classes
                .iter()
                .map(|class| format!("{} {} + {}", class.name, grouped(class.train as u64), grouped(class.test as u64)))
                .collect::<Vec<_>>()
                .join(", "),
            classes => format!(
                "{} classes, {} + {} images of each",
                classes.len(),
                range(|class| class.train),
                range(|class| class.test)
            ),
        };
        format!("{train} images to train on and {test} to test with: {each}")
    }

    /// The classes with the accuracies of a network.
    pub(super) fn judged(mut self, confusion: &Confusion) -> Self {
        self.0.iter_mut().zip(confusion.by_class()).for_each(|(class, (_, accuracy))| class.accuracy = accuracy);
        self
    }

    /// For programs.
    pub(super) fn into_vec(self) -> Vec<Class> {
        self.0
    }

    /// A row for each class; of many, those that are told worst.
    pub(super) fn table(&self) -> String {
        let mut classes: Vec<&Class> = self.0.iter().collect();
        let mut head = "class".to_owned();
        if classes.len() > SHOWN {
            head = format!("worst of {} classes", classes.len());
            classes.sort_by(|a, b| a.accuracy.unwrap_or(1.0).total_cmp(&b.accuracy.unwrap_or(1.0)));
            classes.truncate(SHOWN);
        }
        let mut table = Table::new(&[&head, "train", "test", "accuracy"]);
        for class in classes {
            let accuracy = class.accuracy.map_or_else(|| "-".into(), |share| format!("{:.2} %", 100.0 * share));
            table.row([class.name.clone(), grouped(class.train as u64), grouped(class.test as u64), accuracy]);
        }
        table.to_string()
    }

    /// The pairs that are confused most often, for programs.
    pub(super) fn pairs(&self, confusion: &Confusion) -> Vec<Pair> {
        let name = |class: usize| self.0.get(class).map_or_else(|| class.to_string(), |class| class.name.clone());
        let pairs = confusion.confused().into_iter().take(PAIRS[1]);
        pairs.map(|pair| Pair { label: name(pair.label), answer: name(pair.answer), images: pair.images }).collect()
    }
}

/// The worst pairs in a line; none where all images are answered rightly.
pub(super) fn confused(pairs: &[Pair]) -> Option<String> {
    let pair = |pair: &Pair| format!("{} for {} ({})", pair.label, pair.answer, grouped(pair.images as u64));
    let named: Vec<String> = pairs.iter().take(PAIRS[0]).map(pair).collect();
    (!named.is_empty()).then(|| format!("most often mistaken: {}", named.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Dataset;

    fn sets(classes: u16, train: &[u16], test: &[u16]) -> [ImageSet; 2] {
        let class_names: Vec<String> = (0..classes).map(|class| format!("c{class}")).collect();
        [train, test].map(|labels| {
            let (labels, class_names) = (labels.to_vec(), class_names.clone());
            Dataset { dims: [1, 1, 1], pixels: vec![0; labels.len()], labels, class_names }.into()
        })
    }

    #[test]
    fn the_split_counts_each_class() {
        let classes = Classes::of(&sets(3, &[0, 0, 1, 2, 2, 2], &[0, 2]));
        assert_eq!(classes.split(), "6 images to train on and 2 to test with: c0 2 + 1, c1 1 + 0, c2 3 + 1");
        let labels: Vec<u16> = (0..30).chain([4, 4]).collect();
        let many = Classes::of(&sets(30, &labels, &labels[..30])).split();
        assert_eq!(many, "32 images to train on and 30 to test with: 30 classes, 1 to 3 + 1 images of each");
    }

    #[test]
    fn a_class_has_its_accuracy_and_the_worst_come_first_of_many() {
        let sets = sets(3, &[0, 1, 2], &[0, 0, 1]);
        let mut confusion = Confusion::new(3);
        [(0, 0), (0, 2), (1, 2)].into_iter().for_each(|(label, answer)| confusion.add(label, answer));
        let classes = Classes::of(&sets).judged(&confusion);
        assert_eq!(
            classes.table(),
            "class  train  test  accuracy\nc0         1     2   50.00 %\nc1         1     1    0.00 %\nc2         1     0         -"
        );
        let pairs = classes.pairs(&confusion);
        assert_eq!(confused(&pairs).unwrap(), "most often mistaken: c0 for c2 (1), c1 for c2 (1)");
        assert_eq!(confused(&[]), None);
        let json = serde_json::to_value((classes.into_vec(), pairs)).unwrap();
        assert_eq!(json[0][1], serde_json::json!({ "name": "c1", "train": 1, "test": 1, "accuracy": 0.0 }));
        assert_eq!(json[0][2], serde_json::json!({ "name": "c2", "train": 1, "test": 0 }));
        assert_eq!(json[1][1], serde_json::json!({ "label": "c1", "answer": "c2", "images": 1 }));

        let all: Vec<u16> = (0..30).collect();
        let mut confusion = Confusion::new(30);
        (0..30).for_each(|class| confusion.add(class, if class == 17 { 0 } else { class }));
        let table = Classes::of(&self::sets(30, &all, &all)).judged(&confusion).table();
        assert_eq!(table.lines().count(), 21);
        assert!(
            table.starts_with("worst of 30 classes") && table.lines().nth(1).unwrap().starts_with("c17 "),
            "{table}"
        );
    }
}
