//! Which classes are told apart, and which images are not.

use super::judged::Answers;
use super::shares::{percent, share};
use super::{Findings, Test, pictures};
use crate::metrics::Confused;
use maud::{Markup, html};

/// Classes up to which the confusion is drawn as a whole.
const DRAWN: usize = 24;
/// Pairs of classes, and images, that are shown.
const PAIRS: usize = 12;
const IMAGES: usize = 24;

/// Everything that is known of the answers; nothing where there is no data set.
pub(super) fn section(findings: &Findings) -> Markup {
    let [float, int8] = findings.answers();
    let Some((test, (name, answers))) =
        findings.test.as_ref().zip(int8.map(|a| ("int8", a)).or(float.map(|a| ("float", a))))
    else {
        return html! {};
    };
    let names = &test.data.class_names;
    html! {
        section {
            h2 { "Classes" }
            div class="columns" {
                @if names.len() <= DRAWN { (confusion(name, answers, names)) }
                (pairs(name, answers, names))
                (by_class(names, float, int8))
            }
        }
        (worst(name, answers, test))
    }
}

/// Rows are labels, columns answers.
fn confusion(name: &str, answers: &Answers, names: &[String]) -> Markup {
    let confusion = answers.confusion();
    let images = confusion.by_class();
    html! {
        figure class="scroll" {
            table class="confusion" {
                thead { tr {
                    th { "is \\ answer" }
                    @for name in names { th class="turned" { (name) } }
                } }
                tbody {
                    @for (label, name) in names.iter().enumerate() {
                        tr {
                            th scope="row" { (name) }
                            @for answer in 0..names.len() {
                                @let count = confusion.count(label, answer);
                                td class=[(label == answer).then_some("right")]
                                    style=(share(count as f64, 1.25 * images[label].0 as f64)) {
                                    @if count > 0 { (count) }
                                }
                            }
                        }
                    }
                }
            }
            figcaption { strong { "Confusion" } " of the " (name) " network: images by class and answer" }
        }
    }
}

fn pairs(name: &str, answers: &Answers, names: &[String]) -> Markup {
    let pairs = answers.confusion().confused();
    let most = pairs.first().map_or(0, |pair| pair.images) as f64;
    html! {
        figure class="scroll" {
            table {
                thead { tr { th { "is" } th class="left" { "taken for" } th { "images" } } }
                tbody {
                    @for &Confused { label, answer, images } in pairs.iter().take(PAIRS) {
                        tr {
                            td { (names[label]) }
                            td class="left" { (names[answer]) }
                            td class="bar" style=(share(images as f64, most)) { (images) }
                        }
                    }
                }
            }
            figcaption {
                strong { "Most confused" } " by the " (name) " network"
                @if pairs.is_empty() { ": none, every image has its class" }
                @if pairs.len() > PAIRS { "; " (pairs.len() - PAIRS) " more pairs" }
            }
        }
    }
}

fn by_class(names: &[String], float: Option<&Answers>, int8: Option<&Answers>) -> Markup {
    let kinds = [("float", float), ("int8", int8)].into_iter();
    let kinds: Vec<_> = kinds.filter_map(|(name, answers)| Some((name, answers?.confusion().by_class()))).collect();
    html! {
        figure class="scroll" {
            table {
                thead { tr {
                    th { "class" } th { "images" }
                    @for (name, _) in &kinds { th { (name) } }
                    @if kinds.len() == 2 { th { "int8 costs" } }
                } }
                tbody {
                    @for (class, name) in names.iter().enumerate() {
                        tr {
                            td { (name) }
                            td { (kinds[0].1[class].0) }
                            @for (_, classes) in &kinds {
                                @match classes[class].1 {
                                    Some(found) => td class="bar" style=(share(found, 1.0)) { (percent(found)) },
                                    None => td { "-" },
                                }
                            }
                            @if let [(_, float), (_, int8)] = kinds.as_slice() {
                                td { (points(float[class].1, int8[class].1)) }
                            }
                        }
                    }
                }
            }
            figcaption { strong { "Accuracy by class" } }
        }
    }
}

/// What is lost from `before` to `after`, in percentage points.
fn points(before: Option<f64>, after: Option<f64>) -> String {
    before.zip(after).map_or_else(|| "-".into(), |(before, after)| format!("{:+.2}", 100.0 * (before - after)))
}

fn worst(name: &str, answers: &Answers, test: &Test) -> Markup {
    let errors = answers.errors();
    let names = &test.data.class_names;
    let answered = |class: usize| names.get(class).map_or_else(|| class.to_string(), Clone::clone);
    html! {
        @if !errors.is_empty() {
            section {
                h2 { "Worst errors" }
                p {
                    "The " (errors.len().min(IMAGES)) " wrong answers of the " (name) " network that it is surest of, of "
                    (errors.len()) "."
                }
                div class="thumbnails" {
                    @for &(index, answer) in errors.iter().take(IMAGES) {
                        @let text = format!("{}, taken for {}", names[answers.label(index)], answered(answer.class));
                        figure {
                            @if let Some(source) = pictures::source(&test.data, index, test.bgr) {
                                img src=(source) alt=(format!("image {index}: {text}"));
                            }
                            figcaption { (text) ", " (format!("{:.0} %", 100.0 * answer.confidence)) }
                        }
                    }
                }
            }
        }
    }
}
