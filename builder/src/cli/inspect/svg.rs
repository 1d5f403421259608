//! The arena over time, as a picture.

use super::arena::name;
use crate::cli::table::grouped;
use crate::plan::Timeline;
use skipstone_runtime::Model;
use std::fmt::Write;

const WIDTH: f64 = 1200.0;
const HEIGHT: f64 = 640.0;
/// Around the drawing: left for addresses, top for the title, bottom for time.
const LEFT: f64 = 90.0;
const TOP: f64 = 64.0;
const RIGHT: f64 = 20.0;
const BOTTOM: f64 = 48.0;
/// Dark on light, or light on dark where the reader prefers that. Scoped, since the report has the picture inside.
const STYLE: &str = "\
.arena .paper{fill:#fff} .arena .ink{fill:#000} .arena .faint{fill:#555} .arena .mark{fill:#c00} \
.arena .end{stroke:#000} .arena .peak{stroke:#c00} \
@media (prefers-color-scheme:dark){\
.arena .paper{fill:#1f1f22} .arena .ink{fill:#eee} .arena .faint{fill:#aaa} .arena .mark{fill:#f77} \
.arena .end{stroke:#eee} .arena .peak{stroke:#f77}}";

/// A picture that needs no other file: time from left to right, addresses from the bottom up, a box for each ring. What
/// a box is shows where the pointer rests on it.
pub(in crate::cli) fn picture(model: &Model<'_>, timeline: &Timeline, title: &str) -> String {
    let bytes = timeline.regions.iter().map(|region| region.offset + region.bytes).max().unwrap_or(0).max(1);
    let steps = timeline.steps.max(1);
    let x = |step: usize| LEFT + (WIDTH - LEFT - RIGHT) * step as f64 / steps as f64;
    let y = |offset: usize| HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * offset as f64 / bytes as f64;
    let mut svg = String::new();
    let _ = write!(
        svg,
        r##"<svg xmlns="http://www.w3.org/2000/svg" class="arena" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">
<style>{STYLE}</style>
<rect class="paper" width="100%" height="100%"/>
<text class="ink" x="{LEFT}" y="26" font-size="18">{}</text>
"##,
        escaped(title)
    );
    let peak = timeline.peak_region().map_or(String::new(), |region| name(model, region));
    let _ = writeln!(
        svg,
        r##"<text class="faint" x="{LEFT}" y="48">feature maps: {} bytes; most are alive at step {}: {} bytes, the largest {}</text>"##,
        grouped(bytes as u64),
        timeline.peak_step,
        grouped(timeline.peak_bytes as u64),
        escaped(&peak)
    );
    for (index, region) in timeline.regions.iter().enumerate() {
        let (left, top) = (x(region.first), y(region.offset + region.bytes));
        let (width, height) = (x(region.last + 1) - left, y(region.offset) - top);
        // Neighbours differ: hues a golden angle apart.
        let hue = (index as f64 * 137.508) % 360.0;
        let name = escaped(&name(model, region));
        let detail = format!("{} bytes at {}", grouped(region.bytes as u64), grouped(region.offset as u64));
        let _ = writeln!(
            svg,
            r##"<rect x="{left:.1}" y="{top:.1}" width="{width:.1}" height="{height:.1}" fill="hsl({hue:.0},60%,78%)" stroke="#555" stroke-width="0.5"><title>{name}: {detail}</title></rect>"##
        );
        // About half an em for each letter.
        let room = (width / 6.5) as usize;
        if height >= 13.0 && room >= 6 {
            let label: String = name.chars().take(room).collect();
            let label = if label.contains('&') { String::new() } else { label };
            let baseline = top + height / 2.0 + 4.0;
            let _ = writeln!(svg, r##"<text x="{:.1}" y="{baseline:.1}" font-size="11">{label}</text>"##, left + 4.0);
        }
    }
    for tick in 0..=8 {
        let offset = bytes * tick / 8;
        let _ = writeln!(
            svg,
            r##"<text class="faint" x="{}" y="{:.1}" text-anchor="end">{}</text>"##,
            LEFT - 8.0,
            y(offset) + 4.0,
            grouped(offset as u64)
        );
    }
    let (top, bottom) = (TOP, HEIGHT - BOTTOM);
    for &end in &timeline.segment_ends {
        let x = x(end);
        let _ = writeln!(
            svg,
            r##"<line class="end" x1="{x:.1}" y1="{top}" x2="{x:.1}" y2="{bottom}" stroke-dasharray="4 3"/>"##
        );
    }
    let x = x(timeline.peak_step);
    let _ = writeln!(
        svg,
        r##"<line class="peak" x1="{x:.1}" y1="{top}" x2="{x:.1}" y2="{}" stroke-width="1.5"/>
<text class="mark" x="{x:.1}" y="{}" text-anchor="middle">peak</text>
<text class="faint" x="{LEFT}" y="{}">{steps} steps; dashed lines end segments</text>
</svg>"##,
        bottom + 6.0,
        bottom + 20.0,
        HEIGHT - 10.0
    );
    svg
}

pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
