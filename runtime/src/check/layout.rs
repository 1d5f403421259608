//! Everything that a step touches lies inside the arena, apart from what it must not touch.

use super::{Judged, at, operators};
use crate::format::records::{Node, Tensor};
use crate::format::{LoadError, Place};
use crate::ops::{Verdict, ensure};
use crate::schedule::{Network, is_view};

pub(super) fn check(model: &Judged<'_>) -> Result<(), LoadError> {
    header(model).map_err(at(Place::Header))?;
    for (index, record) in model.tensors().iter().enumerate() {
        tensor(model, index, record).map_err(at(Place::Tensor(index)))?;
    }
    for (index, record) in model.nodes().iter().enumerate() {
        node(model, record).map_err(at(Place::Node(index)))?;
    }
    scores(model).map_err(at(Place::Header))
}

fn header(model: &Judged<'_>) -> Verdict {
    let header = model.header();
    ensure!(u64::from(header.arena_len) < crate::ops::conv::LIMIT, "the arena has 2 GiB or more")?;
    let (scratch, counters) = (scratch(model), counters(model));
    ensure!(fits(scratch, model) && header.scratch.is_multiple_of(16), "scratch lies outside the arena")?;
    ensure!(fits(counters, model) && header.counters.is_multiple_of(2), "counters lie outside the arena")?;
    ensure!(apart(scratch, counters), "scratch and counters overlap")
}

fn tensor(model: &Judged<'_>, index: usize, tensor: &Tensor) -> Verdict {
    ensure!(tensor.height > 0 && tensor.width > 0 && tensor.channels > 0, "it is empty")?;
    ensure!((1..=tensor.height).contains(&tensor.ring_rows), "it keeps no row, or more rows than it has")?;
    ensure!(tensor.channels <= tensor.pixel_stride, "pixels overlap")?;
    ensure!(row(tensor) <= tensor.row_stride, "rows overlap")?;
    if is_view(model, tensor) {
        return ensure!((tensor.offset, tensor.ring_rows) == (0, 1), "it is a view and has a place of its own");
    }
    let extent = extent(tensor);
    ensure!(fits(extent, model), "it lies outside the arena")?;
    let clear = apart(extent, scratch(model)) && apart(extent, counters(model));
    ensure!(clear, "it overlaps scratch or counters")?;
    let words = [tensor.offset, tensor.row_stride, tensor.pixel_stride.into(), tensor.channels.into()];
    let aligned = words.iter().all(|word| word.is_multiple_of(4));
    ensure!(aligned || index == usize::from(model.header().input), "pixels are not aligned to 4 bytes")
}

fn node(model: &Judged<'_>, node: &Node) -> Verdict {
    operators::check(model, node)?;
    let (input, output) = (model.tensor(node.input.into()), model.tensor(node.output.into()));
    let scratch_len = model.table.scratch_len(node, input, output) as u64;
    ensure!(scratch_len <= model.header().scratch_len.into(), "scratch is too small for it")?;
    let state_len = model.table.state_len(node, output);
    ensure!(node.state_len as usize == state_len, "its state does not have the length that it needs")?;
    if state_len == 0 {
        return Ok(());
    }
    let state = region(node.state, state_len as u32);
    ensure!(fits(state, model) && node.state.is_multiple_of(4), "its state lies outside the arena")?;
    let others = [scratch(model), counters(model), extent(input), extent(output)];
    ensure!(others.iter().all(|&other| apart(state, other)), "its state overlaps something else")
}

fn scores(model: &Judged<'_>) -> Verdict {
    let (header, output) = (model.header(), model.output());
    ensure!(header.input != header.output, "the image is the scores")?;
    ensure!(!is_view(model, output), "the scores are a view")?;
    ensure!((output.height, output.width) == (1, 1), "the scores are a map")?;
    ensure!((1..=output.channels).contains(&header.class_count), "no classes, or more than there are scores")
}

/// First byte and the byte after the last, which arenas of less than 2 GiB do not hold where it would exceed 32 bits.
type Region = (u32, u32);

fn region(offset: u32, len: u32) -> Region {
    (offset, offset.saturating_add(len))
}

fn scratch(model: &Judged<'_>) -> Region {
    region(model.header().scratch, model.header().scratch_len)
}

fn counters(model: &Judged<'_>) -> Region {
    region(model.header().counters, 2 * u32::from(model.header().node_count))
}

/// The bytes of a ring: from its first row's first to its last row's last.
fn extent(tensor: &Tensor) -> Region {
    let rows = u32::from(tensor.ring_rows.saturating_sub(1)).saturating_mul(tensor.row_stride);
    region(tensor.offset, rows.saturating_add(row(tensor)))
}

/// Bytes from a row's first pixel to its last channel.
fn row(tensor: &Tensor) -> u32 {
    u32::from(tensor.width.saturating_sub(1)) * u32::from(tensor.pixel_stride) + u32::from(tensor.channels)
}

fn fits(region: Region, model: &Judged<'_>) -> bool {
    region.1 <= model.header().arena_len
}

fn apart(a: Region, b: Region) -> bool {
    a.1 <= b.0 || b.1 <= a.0 || a.0 == a.1 || b.0 == b.1
}
