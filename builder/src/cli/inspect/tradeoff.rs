//! What speed costs in flash and RAM: a table and a picture.

use super::svg::escaped;
use crate::cli::console::Console;
use crate::cli::failure::Failure;
use crate::cli::outputs;
use crate::cli::packed::Packed;
use crate::cli::table::{Table, grouped};
use crate::files;
use crate::pack::{Goal, PackError, Point, Problem, tradeoff};
use crate::target::{Need, packed_for};
use serde::Serialize;
use skipstone_runtime::Model;
use std::fmt::Write;
use std::path::Path;

#[derive(Serialize)]
struct Report {
    /// The core that the model is packed for.
    core: &'static str,
    /// The fastest first.
    points: Vec<Row>,
}

/// A choice of kernels.
#[derive(Serialize)]
pub(in crate::cli) struct Row {
    /// Estimated, of all convolutions.
    pub(in crate::cli) instructions: u64,
    /// Model and program.
    pub(in crate::cli) flash_bytes: u64,
    model_bytes: u64,
    program_bytes: u64,
    pub(in crate::cli) arena_bytes: u64,
    /// The `--optimize` that gives it, if one does.
    pub(in crate::cli) optimize: Option<&'static str>,
    #[serde(skip)]
    pub(in crate::cli) need: Need,
}

/// The front of a packed network, the fastest first.
pub(in crate::cli) fn front(model: &Model<'_>) -> Result<Vec<Row>, PackError> {
    Ok(tradeoff(&Problem::of_model(model)).map_err(PackError::Plan)?.iter().map(Row::new).collect())
}

impl Row {
    fn new(point: &Point) -> Self {
        Self {
            instructions: point.instructions,
            flash_bytes: point.need.flash_bytes(),
            model_bytes: point.need.model_bytes,
            program_bytes: point.need.program_bytes,
            arena_bytes: point.need.arena_bytes,
            optimize: point.goal.map(|goal| match goal {
                Goal::Speed => "speed",
                Goal::Ram => "ram",
                Goal::Size => "size",
            }),
            need: point.need,
        }
    }
}

/// Prints the front of the packed network in `file`, and draws it.
pub(super) fn inspect(file: &Path, picture: Option<&Path>, console: &Console) -> Result<(), Failure> {
    if let Some(picture) = picture {
        outputs::check_file(picture)?;
    }
    let packed = Packed::read(file)?;
    let model = packed.model();
    let report = Report { core: packed_for(&model).name(), points: front(&model)? };
    let mut table = Table::new(&["instructions", "flash", "model", "program", "arena", "--optimize"]);
    for row in &report.points {
        let bytes = [row.instructions, row.flash_bytes, row.model_bytes, row.program_bytes, row.arena_bytes];
        let cells = bytes.map(grouped).into_iter().chain([row.optimize.unwrap_or("").to_owned()]);
        table.row(cells.collect::<Vec<_>>());
    }
    console.show(&table)?;
    console.show(format!("for {}: estimated instructions of the convolutions; bytes, program about", report.core))?;
    if let Some(picture) = picture {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        files::write(picture, draw(&report, &name).as_bytes())?;
    }
    console.result(&report)
}

const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 620.0;
/// Around the drawing.
const LEFT: f64 = 90.0;
const TOP: f64 = 64.0;
const RIGHT: f64 = 190.0;
const BOTTOM: f64 = 60.0;
/// Sizes of the arena that have a curve.
const CURVES: usize = 4;
const COLORS: [&str; CURVES] = ["#1b6ca8", "#2a9d5c", "#d98c00", "#c0392b"];

/// A picture that needs no other file: flash to the right, instructions upwards, a curve for each of some sizes of the
/// arena.
fn draw(report: &Report, name: &str) -> String {
    let points = &report.points;
    let most = |of: fn(&Row) -> u64| points.iter().map(of).max().unwrap_or(1).max(1);
    let [x_end, y_end] = [most(|row| row.flash_bytes), most(|row| row.instructions)].map(|most| most as f64 * 1.05);
    let x = |flash: u64| LEFT + (WIDTH - LEFT - RIGHT) * flash as f64 / x_end;
    let y = |instructions: u64| HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * instructions as f64 / y_end;
    let mut svg = String::new();
    let _ = write!(
        svg,
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">
<rect width="100%" height="100%" fill="#fff"/>
<text x="{LEFT}" y="26" font-size="18">{}: what speed costs on {}</text>
<text x="{LEFT}" y="46" fill="#555">estimated instructions of the convolutions against flash for model and program</text>
"##,
        escaped(name),
        report.core
    );
    for tick in 0..=5 {
        let (flash, instructions) = ((x_end * f64::from(tick) / 5.0) as u64, (y_end * f64::from(tick) / 5.0) as u64);
        let _ = write!(
            svg,
            r##"<line x1="{LEFT}" y1="{1:.1}" x2="{2}" y2="{1:.1}" stroke="#ddd"/>
<text x="{3}" y="{4:.1}" text-anchor="end" fill="#555">{5:.1} M</text>
<text x="{0:.1}" y="{6}" text-anchor="middle" fill="#555">{7} KiB</text>
"##,
            x(flash),
            y(instructions),
            WIDTH - RIGHT,
            LEFT - 8.0,
            y(instructions) + 4.0,
            instructions as f64 / 1e6,
            HEIGHT - BOTTOM + 20.0,
            flash / 1024
        );
    }
    for (curve, (Curve { arena, corners }, color)) in curves(points, CURVES).into_iter().zip(COLORS).enumerate() {
        let mut path = String::new();
        for (flash, instructions) in corners {
            let (x, y) = (x(flash), y(instructions));
            let _ = if path.is_empty() { write!(path, "M{x:.1} {y:.1}") } else { write!(path, " H{x:.1} V{y:.1}") };
        }
        let at = TOP + 22.0 * curve as f64;
        let _ = write!(
            svg,
            r##"<path d="{path} H{0}" fill="none" stroke="{color}" stroke-width="2"/>
<line x1="{1}" y1="{at}" x2="{2}" y2="{at}" stroke="{color}" stroke-width="2"/>
<text x="{3}" y="{4}">arena ≤ {5}</text>
"##,
            WIDTH - RIGHT,
            WIDTH - RIGHT + 12.0,
            WIDTH - RIGHT + 36.0,
            WIDTH - RIGHT + 42.0,
            at + 4.0,
            grouped(arena)
        );
    }
    for row in points {
        let (x, y) = (x(row.flash_bytes), y(row.instructions));
        let (radius, fill) = if row.optimize.is_some() { (6, "#000") } else { (3, "#777") };
        let _ = writeln!(
            svg,
            r##"<circle cx="{x:.1}" cy="{y:.1}" r="{radius}" fill="{fill}"><title>{} instructions, flash {}, arena {}</title></circle>"##,
            grouped(row.instructions),
            grouped(row.flash_bytes),
            grouped(row.arena_bytes)
        );
        if let Some(goal) = row.optimize {
            let _ = writeln!(svg, r##"<text x="{:.1}" y="{:.1}" font-weight="bold">{goal}</text>"##, x + 9.0, y - 7.0);
        }
    }
    svg.push_str("</svg>\n");
    svg
}

/// The fewest instructions by the flash that they take, in an arena of at most so many bytes.
pub(in crate::cli) struct Curve {
    pub(in crate::cli) arena: u64,
    /// Bytes of flash from which on so few instructions are enough, the fewest bytes first.
    pub(in crate::cli) corners: Vec<(u64, u64)>,
}

/// Curves for at most `most` sizes of the arena, the smallest and the largest among them.
pub(in crate::cli) fn curves(points: &[Row], most: usize) -> Vec<Curve> {
    let mut sizes: Vec<u64> = points.iter().map(|row| row.arena_bytes).collect();
    sizes.sort_unstable();
    sizes.dedup();
    let count = sizes.len().min(most);
    let sizes = (0..count).map(|curve| sizes[curve * (sizes.len() - 1) / (count.max(2) - 1)]);
    sizes
        .map(|arena| {
            let fitting = points.iter().filter(|row| row.arena_bytes <= arena);
            let mut fitting: Vec<(u64, u64)> = fitting.map(|row| (row.flash_bytes, row.instructions)).collect();
            fitting.sort_unstable();
            let mut corners: Vec<(u64, u64)> = Vec::new();
            for (flash, instructions) in fitting {
                if corners.last().is_none_or(|last| instructions < last.1) {
                    corners.push((flash, instructions));
                }
            }
            Curve { arena, corners }
        })
        .collect()
}
