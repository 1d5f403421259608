//! What int8 costs, and what the model takes on a board.

use super::device::{Layer, OnDevice};
use super::shares::{percent, share};
use super::tradeoff;
use crate::cli::inspect::boards::{OnBoard, signed};
use crate::cli::inspect::{picture, region_name};
use crate::cli::table::grouped;
use crate::pack::Reason;
use crate::plan::Timeline;
use crate::quant::{LayerSensitivity, Sensitivity};
use maud::{Markup, PreEscaped, html};
use skipstone_runtime::Model;

/// Decibels that are drawn as no noise at all.
const QUIET: f64 = 60.0;

/// The layers, the one that costs most accuracy first.
pub(super) fn of_int8(sensitivity: &Sensitivity) -> Markup {
    let int8 = sensitivity.int8;
    let regained = |layer: &LayerSensitivity| layer.in_float.accuracy - int8.accuracy;
    let loss = |layer: &LayerSensitivity| int8.loss - layer.in_float.loss;
    let mut layers: Vec<&LayerSensitivity> = sensitivity.layers.iter().collect();
    layers.sort_by(|a, b| regained(b).total_cmp(&regained(a)).then(loss(b).total_cmp(&loss(a))));
    html! {
        section {
            h2 { "What int8 costs, layer by layer" }
            p {
                "On " (int8.count) " images the network is right on " (percent(sensitivity.float.accuracy)) " in float and "
                (percent(int8.accuracy)) " in int8. Each line tells what comes back if that layer alone stays in float, and "
                "how much noise int8 adds to its output: more decibels are less noise."
            }
            div class="scroll" {
                table {
                    thead { tr {
                        th { "layer" } th class="left" { "operator" } th { "accuracy regained" } th { "loss regained" }
                        th { "signal to noise" }
                    } }
                    tbody { @for layer in layers {
                        @let noise = layer.signal_to_noise;
                        tr {
                            td { (layer.name) }
                            td class="left" { (layer.op) }
                            td { (format!("{:+.2}", 100.0 * regained(layer))) }
                            td { (format!("{:+.4}", loss(layer))) }
                            td class="bar" style=(share(QUIET - noise, QUIET)) {
                                @if noise.is_finite() { (format!("{noise:.1} dB")) } @else { "exact" }
                            }
                        }
                    } }
                }
            }
        }
    }
}

/// Layers, arena and boards of a packed model.
pub(super) fn on_device(model: &Model<'_>, device: &OnDevice) -> Markup {
    let timeline = Timeline::new(model);
    html! {
        (layers(device))
        (tradeoff::section(model, device))
        section {
            h2 { "The arena over time" }
            p {
                "What lies where in RAM, from the image's first row to the scores. Each box is a feature map's ring of rows; "
                "most bytes are alive at step " (timeline.peak_step) ": " (grouped(timeline.peak_bytes as u64)) "."
            }
            div class="wide" { (PreEscaped(picture(model, &timeline, ""))) }
            (regions(model, &timeline))
        }
        (boards(&device.boards))
    }
}

fn layers(device: &OnDevice) -> Markup {
    let layers = &device.layers;
    let most = |of: fn(&Layer) -> u64| layers.iter().map(of).max().unwrap_or(0) as f64;
    let (most_bytes, most_cost) = (most(|layer| layer.weights_bytes.into()), most(Layer::instructions));
    html! {
        section {
            h2 { "Layers on the device" }
            p {
                "Packed for " (device.core.title()) "; instructions are the kernels' own estimates. "
                code { "skipstone bench" } " counts them, " code { "skipstone inspect" } " tells what faster kernels would take."
            }
            div class="scroll" {
                table {
                    thead { tr {
                        th { "layer" } th class="left" { "operator" } th { "output" } th { "weights, bytes" }
                        th title="multiply-accumulates" { "MAC" } th { "instructions" } th class="left" { "kernel" } th class="left" { "chosen for" }
                    } }
                    tbody { @for layer in layers {
                        tr {
                            td { (layer.name) }
                            td class="left" { (layer.op) }
                            td { (layer.output.map(|side| side.to_string()).join("x")) }
                            td class="bar" style=(share(layer.weights_bytes.into(), most_bytes)) {
                                (grouped(layer.weights_bytes))
                            }
                            td { (grouped(layer.macs)) }
                            @match layer.kernel {
                                Some(Reason { way, why, .. }) => {
                                    td class="bar" style=(share(way.instructions as f64, most_cost)) { (grouped(way.instructions)) }
                                    td class="left" { (way.kernel.name) }
                                    td class="left" { (why.name()) }
                                }
                                None => { td { "-" } td {} td {} }
                            }
                        }
                    } }
                }
            }
        }
    }
}

fn regions(model: &Model<'_>, timeline: &Timeline) -> Markup {
    let mut largest: Vec<_> = timeline.regions.iter().collect();
    largest.sort_by_key(|region| std::cmp::Reverse(region.bytes));
    html! {
        div class="scroll" {
            table {
                thead { tr { th { "feature map" } th { "bytes" } th { "at" } th { "from step" } th { "to step" } } }
                tbody { @for region in largest {
                    tr {
                        td { (region_name(model, region)) }
                        td { (grouped(region.bytes as u64)) }
                        td { (grouped(region.offset as u64)) }
                        td { (region.first) }
                        td { (region.last) }
                    }
                } }
            }
        }
    }
}

fn boards(boards: &[OnBoard]) -> Markup {
    html! {
        section {
            h2 { "Boards" }
            div class="scroll" {
                table {
                    thead { tr {
                        th { "board" } th class="left" { "chip" } th class="left" { "core" } th { "flash to spare" }
                        th { "RAM to spare" } th class="left" { "fits" }
                    } }
                    tbody { @for on in boards {
                        tr {
                            td { (on.board) }
                            td class="left" { (on.title) }
                            td class="left" { (on.core) }
                            td { (signed(on.flash_spare)) }
                            td { (signed(on.ram_spare)) }
                            td class={ "left " (if on.fits { "yes" } else { "no" }) } { (on.verdict) }
                        }
                    } }
                }
            }
        }
    }
}
