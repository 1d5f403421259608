//! The classes of a network and those of a data set, compared by name.

use super::console::Console;
use super::failure::Failure;
use crate::data::ImageSet;
use std::collections::HashMap;
use std::path::Path;

/// Names shown of those that only one side has.
const SHOWN: usize = 5;

/// How two lists of classes belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Match {
    /// One of them has no names.
    Unknown,
    /// The same names in the same order.
    Same,
    /// The same names; for each class of the data its number in the network.
    Permuted(Vec<u16>),
    /// Other names; what is different, for people.
    Different(String),
}

/// Compares the names of `count` classes of a network with those of a data set.
pub(super) fn compare(count: usize, network: &[String], data: &[String]) -> Match {
    let known = |names: &[String]| names.iter().any(|name| !name.is_empty());
    if network.len() != count || !known(network) || !known(data) {
        return Match::Unknown;
    }
    if network == data {
        return Match::Same;
    }
    let numbers: HashMap<&str, usize> = network.iter().enumerate().map(|(i, name)| (name.as_str(), i)).collect();
    let mut order: Vec<u16> = data.iter().filter_map(|name| numbers.get(name.as_str())).map(|&i| i as u16).collect();
    let found = order.clone();
    order.sort_unstable();
    order.dedup();
    if order.len() == data.len() && data.len() == network.len() {
        return Match::Permuted(found);
    }
    let only = |names: &[String], others: &[String]| -> Option<String> {
        let only: Vec<String> =
            names.iter().filter(|name| !others.contains(name)).map(|name| format!("`{name}`")).collect();
        let more = only.len().saturating_sub(SHOWN);
        let text = only.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
        (!only.is_empty()).then(|| if more > 0 { format!("{text} and {more} more") } else { text })
    };
    let sides = [("network", only(network, data)), ("data set", only(data, network))];
    let sides: Vec<String> =
        sides.into_iter().filter_map(|(side, names)| Some(format!("only the {side} has {}", names?))).collect();
    Match::Different(if sides.is_empty() { "names are there twice".into() } else { sides.join("; ") })
}

/// Labels `data` as the network in `model` numbers its `count` classes; where the order was another one, says so.
///
/// # Errors
/// Where the names are not the same on both sides; without names, where the numbers of classes are not.
pub(super) fn align(
    model: &Path,
    count: usize,
    names: &[String],
    data: &mut ImageSet,
    console: &Console,
) -> Result<(), Failure> {
    let has = data.class_names.len();
    match compare(count, names, &data.class_names) {
        Match::Unknown if has != count => {
            Err(Failure::at(model, format!("tells {count} classes apart, the data set has {has}")))
        }
        Match::Unknown | Match::Same => Ok(()),
        Match::Permuted(order) => {
            console.say(format!(
                "the classes of {} are the data set's in another order: labels go by name",
                model.display()
            ));
            relabel(data, &order, names);
            Ok(())
        }
        Match::Different(reason) => Err(Failure::at(
            model,
            format!("tells {count} classes apart, the data set has {has}, and not the same: {reason}"),
        )),
    }
}

/// Gives class `i` of `data` the number `order[i]`, and the classes `names`.
pub(super) fn relabel(data: &mut ImageSet, order: &[u16], names: &[String]) {
    data.labels.iter_mut().for_each(|label| *label = order[usize::from(*label)]);
    data.class_names = names.to_vec();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Dataset;

    fn names(text: &str) -> Vec<String> {
        text.split(' ').map(Into::into).collect()
    }

    #[test]
    fn names_decide_where_both_have_them() {
        let compare = |network: &str, data: &str| compare(names(network).len(), &names(network), &names(data));
        assert_eq!(compare("a b c", "a b c"), Match::Same);
        assert_eq!(compare("a b c", "c a b"), Match::Permuted(vec![2, 0, 1]));
        let Match::Different(text) = compare("a b c", "a b d e") else { panic!("not different") };
        assert_eq!(text, "only the network has `c`; only the data set has `d`, `e`");
        let Match::Different(text) = compare("1 2 3 4 5 6 7 8", "1 2") else { panic!("not different") };
        assert_eq!(text, "only the network has `3`, `4`, `5`, `6`, `7` and 1 more");
        assert_eq!(compare("a a", "a b"), Match::Different("only the data set has `b`".into()));
        assert_eq!(super::compare(2, &[], &names("a b")), Match::Unknown);
        assert_eq!(super::compare(2, &[String::new(), String::new()], &names("a b")), Match::Unknown);
    }

    #[test]
    fn labels_follow_the_network() {
        let class_names = names("cat dog emu");
        let data = Dataset { dims: [1, 1, 1], pixels: vec![0; 4], labels: vec![0, 1, 2, 1], class_names };
        let mut data = ImageSet::from(data);
        let console = Console::new(false);
        align(Path::new("m"), 3, &names("emu cat dog"), &mut data, &console).unwrap();
        assert_eq!((data.labels.as_slice(), &data.class_names), (&[1, 2, 0, 2][..], &names("emu cat dog")));
        let Err(Failure::Work(text)) = align(Path::new("m"), 2, &names("emu cat"), &mut data, &console) else {
            panic!("not refused")
        };
        assert!(text.contains("2 classes") && text.contains("has 3") && text.contains("`dog`"), "{text}");
    }
}
