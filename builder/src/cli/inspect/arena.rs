//! The arena over time, as text.

use crate::cli::table::grouped;
use crate::plan::{Region, Timeline, layer_by_layer_bytes};
use skipstone_runtime::Model;
use std::fmt::Write;

/// Characters across and lines down.
const WIDTH: usize = 72;
const HEIGHT: usize = 20;
/// Regions that have a letter; the others are drawn as `+`.
const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Regions that are named below the drawing.
const NAMED: usize = 12;

/// What a region is called.
pub(in crate::cli) fn name(model: &Model<'_>, region: &Region) -> String {
    let tensors = model.tensors();
    match (region.tensors.split_first(), region.node) {
        (Some((&first, rest)), _) => {
            let name = model.string(tensors[first].name);
            let name = if name.is_empty() { format!("tensor {first}") } else { name.to_owned() };
            let rows = format!("{} of {} rows", tensors[first].ring_rows, tensors[first].height);
            match rest.len() {
                0 => format!("{name}, {rows}"),
                more => format!("{name} and {more} in its place, {rows}"),
            }
        }
        (None, Some(node)) => {
            let name = model.nodes().get(node).map_or("", |node| model.string(node.name));
            format!("sums of {name}")
        }
        (None, None) => String::new(),
    }
}

/// When most bytes are alive, and the tensor that takes most of them, in a line.
pub(in crate::cli) fn peak(model: &Model<'_>) -> String {
    let timeline = Timeline::new(model);
    let node = model.nodes().get(timeline.peak_node).map_or("", |node| model.string(node.name));
    let node = if node.is_empty() { format!("node {}", timeline.peak_node) } else { node.to_owned() };
    let largest = timeline.peak_region();
    let (name, bytes) = largest.map_or((String::new(), 0), |region| (name(model, region), region.bytes));
    format!(
        "feature maps: layer by layer {} bytes; here most are alive in {node}, {} bytes, of which {} by {name}",
        grouped(layer_by_layer_bytes(model) as u64),
        grouped(timeline.peak_bytes as u64),
        grouped(bytes as u64)
    )
}

/// The drawing: time from left to right, addresses from the bottom up, a letter for each region.
pub(super) fn text(model: &Model<'_>, timeline: &Timeline) -> String {
    let bytes = timeline.regions.iter().map(|region| region.offset + region.bytes).max().unwrap_or(0).max(1);
    let mut largest: Vec<usize> = (0..timeline.regions.len()).collect();
    largest.sort_by_key(|&index| std::cmp::Reverse(timeline.regions[index].bytes));
    let mut letters = vec!['+'; timeline.regions.len()];
    for (&index, &letter) in largest.iter().zip(LETTERS) {
        letters[index] = letter.into();
    }
    let (width, steps) = (WIDTH.min(timeline.steps.max(1)), timeline.steps.max(1));
    let mut drawing = String::new();
    for line in (0..HEIGHT).rev() {
        let addresses = line * bytes / HEIGHT..((line + 1) * bytes / HEIGHT).max(line * bytes / HEIGHT + 1);
        let _ = write!(drawing, "{:>11} ", grouped(addresses.start as u64));
        for column in 0..width {
            let time = column * steps / width..((column + 1) * steps / width).max(column * steps / width + 1);
            // The region with most bytes and steps in the cell.
            let share = |index: &usize| {
                let region = &timeline.regions[*index];
                let overlap =
                    |start: usize, end: usize, from: usize, to: usize| end.min(to).saturating_sub(start.max(from));
                overlap(addresses.start, addresses.end, region.offset, region.offset + region.bytes)
                    * overlap(time.start, time.end, region.first, region.last + 1)
            };
            let filling = (0..letters.len()).filter(|index| share(index) > 0).max_by_key(share);
            drawing.push(filling.map_or('.', |index| letters[index]));
        }
        drawing.push('\n');
    }
    let mut marks = vec![' '; width];
    for end in &timeline.segment_ends {
        marks[(end * width / steps).saturating_sub(1).min(width - 1)] = '|';
    }
    marks[(timeline.peak_step * width / steps).min(width - 1)] = '^';
    let _ = writeln!(drawing, "{:>11} {}", "", marks.into_iter().collect::<String>().trim_end());
    let segments = timeline.segment_ends.len();
    let _ = writeln!(drawing, "{:>11} {steps} steps; | ends one of {segments} segments, ^ is the peak", "");
    for &index in largest.iter().take(NAMED) {
        let region = &timeline.regions[index];
        let (bytes, offset) = (grouped(region.bytes as u64), grouped(region.offset as u64));
        let _ = writeln!(drawing, "  {} {bytes} bytes at {offset}: {}", letters[index], name(model, region));
    }
    let rest = timeline.regions.len().saturating_sub(NAMED);
    if rest > 0 {
        let _ = writeln!(drawing, "  and {rest} smaller ones");
    }
    drawing.truncate(drawing.trim_end().len());
    drawing
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::inspect::svg;
    use crate::pack::{AlignedBytes, Options, quantize};
    use crate::quant::fixtures::{random_graph, random_images};

    #[test]
    fn the_drawing_shows_every_large_region_and_the_peak() {
        let graph = random_graph(4);
        let stone = quantize(&graph, &random_images(&graph, 2, 4), &Options::default()).unwrap().stone;
        let stone = AlignedBytes::copy(&stone);
        let model = Model::from_bytes(stone.as_slice()).unwrap();
        let timeline = Timeline::new(&model);
        let end = timeline.regions.iter().map(|region| region.offset + region.bytes).max().unwrap();
        assert!(timeline.peak_bytes <= end && end <= model.header().counters as usize);
        assert_eq!(timeline.segment_ends.last(), Some(&timeline.steps));
        let drawing = text(&model, &timeline);
        assert_eq!(drawing.matches('^').count(), 2, "in the drawing and in its legend");
        let cells: Vec<&str> = drawing.lines().take(HEIGHT).map(|line| &line[12..]).collect();
        assert!(cells.iter().any(|line| line.contains('A')), "{drawing}");
        let largest = timeline.regions.iter().max_by_key(|region| region.bytes).unwrap();
        assert!(drawing.contains(&name(&model, largest)) && peak(&model).contains("most are alive in"));

        let picture = svg::picture(&model, &timeline, "a < b");
        assert!(picture.starts_with("<svg") && picture.trim_end().ends_with("</svg>") && picture.contains("a &lt; b"));
        assert_eq!(picture.matches("<title>").count(), timeline.regions.len());
    }
}
