//! What speed costs in flash and RAM.

use super::charts::{Series, lines};
use super::device::OnDevice;
use crate::cli::inspect::tradeoff::{Row, curves};
use crate::cli::table::grouped;
use crate::target::{Board, Need};
use maud::{Markup, html};
use skipstone_runtime::Model;

/// Sizes of the arena that have a curve.
const CURVES: usize = 3;
const KIB: f64 = 1024.0;

/// The choices of kernels, drawn and as a table; that the search takes too long, where it does.
pub(super) fn section(model: &Model<'_>, device: &OnDevice) -> Markup {
    html! {
        section {
            h2 { "What speed costs" }
            @match &device.tradeoff {
                Some(rows) => (choices(rows, model, device)),
                None => p {
                    "Not searched: with " (device.convolutions()) " convolutions it takes long. "
                    code { "skipstone inspect FILE.stone --tradeoff" } " does it."
                }
            }
        }
    }
}

fn choices(rows: &[Row], model: &Model<'_>, device: &OnDevice) -> Markup {
    let millions = |instructions: u64| instructions as f64 / 1e6;
    let point = |flash: u64, instructions: u64| (flash as f64 / KIB, millions(instructions));
    let need = Need::of(model);
    let end = rows.iter().map(|row| row.flash_bytes).chain([need.flash_bytes()]).max().unwrap_or(0);
    let curves: Vec<(String, Vec<(f64, f64)>)> = curves(rows, CURVES)
        .into_iter()
        .map(|curve| (format!("arena up to {}", grouped(curve.arena)), steps(&curve.corners, end, point)))
        .collect();
    let mut series: Vec<Series<'_>> =
        curves.iter().map(|(name, points)| Series { name, points: points.clone() }).collect();
    series.push(Series { name: "this model", points: vec![point(need.flash_bytes(), device.instructions())] });
    html! {
        p {
            "Faster kernels take more flash or RAM. Each line of the table is a choice that no other one betters in all "
            "three: instructions of the convolutions, estimated for " (device.core.title()) "; flash with a program of "
            "about the size given; the arena. " code { "quantize --optimize" } ", " code { "--flash" } " and "
            code { "--ram" } " choose among them."
            @if let Some(board) = device.board { " The last column is for " (board.name) "." }
        }
        div class="columns" {
            (lines("Million instructions by flash, KiB", "flash, KiB", &series, |value| format!("{value:.1}")))
            (table(rows, device.board))
        }
    }
}

/// The line that falls at each corner and goes on to `end`.
fn steps(corners: &[(u64, u64)], end: u64, point: impl Fn(u64, u64) -> (f64, f64)) -> Vec<(f64, f64)> {
    let mut points = Vec::new();
    let mut before = None;
    for &(flash, instructions) in corners {
        points.extend(before.map(|before| point(flash, before)));
        points.push(point(flash, instructions));
        before = Some(instructions);
    }
    points.extend(before.map(|before| point(end, before)));
    points
}

fn table(rows: &[Row], board: Option<&Board>) -> Markup {
    html! {
        div class="scroll" {
            table {
                thead { tr {
                    th { "instructions" } th { "flash" } th { "model" } th { "program" } th { "arena" }
                    th class="left" { "--optimize" }
                    @if let Some(board) = board { th class="left" title=(board.name) { "fits" } }
                } }
                tbody { @for row in rows {
                    tr {
                        @for number in [
                            row.instructions, row.flash_bytes, row.need.model_bytes, row.need.program_bytes, row.arena_bytes,
                        ] {
                            td { (grouped(number)) }
                        }
                        td class="left" { (row.optimize.unwrap_or_default()) }
                        @if let Some(board) = board {
                            @let fits = row.need.on(board).fits();
                            td class={ "left " (if fits { "yes" } else { "no" }) } { (if fits { "yes" } else { "no" }) }
                        }
                    }
                } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_falls_where_more_flash_saves_instructions() {
        let point = |flash: u64, instructions: u64| (flash as f64, instructions as f64);
        let points = steps(&[(10, 9), (20, 4)], 30, point);
        assert_eq!(points, [(10.0, 9.0), (20.0, 9.0), (20.0, 4.0), (30.0, 4.0)]);
    }
}
