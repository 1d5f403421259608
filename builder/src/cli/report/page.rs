//! The page: what stands where.

use super::charts::{Series, lines};
use super::history::Epoch;
use super::shares::percent;
use super::{Findings, accuracy, costs};
use crate::cli::table::grouped;
use crate::train::Config;
use maud::{DOCTYPE, Markup, PreEscaped, html};

const STYLE: &str = include_str!("style.css");

/// The whole page: text, pictures and style in one, and nothing from elsewhere.
pub(super) fn page(findings: &Findings) -> String {
    let title = format!("{}: Skipstone report", findings.name);
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    h1 { (findings.name) }
                    p class="quiet" { (subtitle(findings)) }
                    (tiles(findings))
                    @if let Some(epochs) = findings.epochs.as_deref().filter(|epochs| !epochs.is_empty()) {
                        (training(epochs))
                    }
                    (accuracy::section(findings))
                    @if let Some(sensitivity) = &findings.sensitivity { (costs::of_int8(sensitivity)) }
                    @if let Some((model, device)) = findings.model().zip(findings.device.as_ref()) {
                        (costs::on_device(&model, device))
                    }
                    (origin(findings))
                    footer { "Made by Skipstone " (env!("CARGO_PKG_VERSION")) "." }
                }
            }
        }
    }
    .into_string()
}

fn subtitle(findings: &Findings) -> String {
    let network = match (findings.graph(), findings.model()) {
        (Some(graph), _) => {
            let parameters = grouped(graph.parameter_count() as u64);
            format!("{parameters} parameters, {} multiply-accumulates", grouped(graph.macs()))
        }
        (None, Some(model)) => format!("{} multiply-accumulates", grouped(model.header().macs)),
        (None, None) => String::new(),
    };
    match &findings.test {
        Some(test) if test.data.len() < test.of => {
            format!("{network}; evaluated on {} of the {} images of {}", test.data.len(), test.of, test.spec)
        }
        Some(test) => format!("{network}; evaluated on the {} images of {}", test.of, test.spec),
        None => network,
    }
}

fn tiles(findings: &Findings) -> Markup {
    let mut tiles: Vec<(&str, String, String)> = Vec::new();
    let [float, int8] = findings.answers();
    if let Some(float) = float {
        tiles.push(("accuracy in float", percent(float.accuracy()), format!("{} images", grouped(float.len() as u64))));
    }
    if let Some(int8) = int8 {
        let same = float.map(|float| format!("same answer as float: {}", percent(int8.agreement(float))));
        tiles.push(("accuracy in int8", percent(int8.accuracy()), same.unwrap_or_default()));
    }
    if let Some((model, device)) = findings.model().zip(findings.device.as_ref()) {
        let bytes = model.as_bytes().len() as u64;
        tiles.push(("model in flash", format!("{} bytes", grouped(bytes)), "without the program".into()));
        tiles.push(("RAM", format!("{} bytes", grouped(model.arena_len() as u64)), "arena, without the stack".into()));
        let instructions = device.instructions();
        let milliseconds = device.board.map(|board| 1e3 * instructions as f64 / f64::from(board.clock_hz));
        let time = device.board.zip(milliseconds);
        let time =
            time.map_or(String::new(), |(board, time)| format!("; {time:.0} ms on {} at one a cycle", board.name));
        tiles.push((
            "instructions",
            format!("{:.2} M", instructions as f64 / 1e6),
            format!("convolutions, estimated for {}{time}", device.core.title()),
        ));
        let fitting = device.boards.iter().filter(|on| on.fits).count();
        tiles.push(("fits", format!("{fitting} of {} boards", device.boards.len()), String::new()));
    }
    html! {
        div class="tiles" {
            @for (name, value, detail) in &tiles {
                div class="tile" { span { (name) } b { (value) } span { (detail) } }
            }
        }
    }
}

fn training(epochs: &[Epoch]) -> Markup {
    let curve = |name, of: fn(&Epoch) -> f64| Series {
        name,
        points: epochs.iter().map(|epoch| (epoch.number as f64, of(epoch))).collect(),
    };
    let losses = [curve("train", |epoch| epoch.train_loss), curve("test", |epoch| epoch.test_loss)];
    let accuracies = [curve("train", |epoch| epoch.train_accuracy), curve("test", |epoch| epoch.test_accuracy)];
    let best = epochs.iter().max_by(|a, b| a.test_accuracy.total_cmp(&b.test_accuracy).then(b.number.cmp(&a.number)));
    let seconds: f64 = epochs.iter().map(|epoch| epoch.seconds).sum();
    html! {
        section {
            h2 { "Training" }
            @if let Some(best) = best {
                p {
                    "The best epoch is " (best.number) " of " (epochs.len()) ", with " (percent(best.test_accuracy))
                    " on the test images; training took " (format!("{seconds:.0}")) " seconds. Train figures are those of "
                    "augmented images, while the weights changed."
                }
            }
            div class="columns" {
                (lines("Loss", "epoch", &losses, |value| format!("{value:.2}")))
                (lines("Accuracy", "epoch", &accuracies, |value| format!("{:.0} %", 100.0 * value)))
                (lines("Learning rate", "epoch", &[curve("rate at the end of the epoch", |epoch| epoch.lr)],
                    |value| format!("{value:.3}")))
                div class="scroll" {
                    table {
                        thead { tr {
                            @for head in ["epoch", "rate", "train loss", "test loss", "train", "test", "seconds"] {
                                th { (head) }
                            }
                        } }
                        tbody { @for epoch in epochs { tr {
                            td { (epoch.number) }
                            td { (format!("{:.4}", epoch.lr)) }
                            td { (format!("{:.4}", epoch.train_loss)) }
                            td { (format!("{:.4}", epoch.test_loss)) }
                            td { (percent(epoch.train_accuracy)) }
                            td { (percent(epoch.test_accuracy)) }
                            td { (format!("{:.1}", epoch.seconds)) }
                        } } }
                    }
                }
            }
        }
    }
}

fn origin(findings: &Findings) -> Markup {
    let mut facts: Vec<(&str, String)> = Vec::new();
    if let Some(model) = findings.model() {
        facts.push(("packed model", format!("checksum {:08x}", model.header().checksum)));
        if !model.provenance().is_empty() {
            facts.push(("made by", model.provenance().into()));
        }
    }
    if let Some(Config { seed, batch, epochs, lr, .. }) = &findings.config {
        facts.push(("training", format!("seed {seed}, batch {batch}, {epochs} epochs, learning rate {lr}")));
    }
    if let Some(test) = &findings.test {
        facts.push(("test images", test.spec.to_string()));
    }
    html! {
        section {
            h2 { "Where it comes from" }
            @if !facts.is_empty() {
                dl { @for (name, value) in &facts { dt { (name) } dd { (value) } } }
            }
            p { "To make it again:" }
            pre { @for command in &findings.commands { (command) "\n" } }
        }
    }
}
