//! Everything that a step touches lies inside the arena, apart from what it must not touch.

use super::{Judged, Outcome, ensure, operators};
use crate::format::Place;
use crate::format::records::Tensor;
use crate::schedule::{Network, is_view};

pub(super) fn check(model: &Judged<'_>) -> Outcome {
    let header = model.header();
    ensure!(u64::from(header.arena_len) < crate::ops::conv::LIMIT, Place::Header, "the arena has 2 GiB or more");
    let scratch = region(header.scratch, header.scratch_len.into());
    let counters = region(header.counters, 2 * u64::from(header.node_count));
    ensure!(fits(scratch, model) && header.scratch.is_multiple_of(16), Place::Header, "scratch lies outside the arena");
    ensure!(
        fits(counters, model) && header.counters.is_multiple_of(2),
        Place::Header,
        "counters lie outside the arena"
    );
    ensure!(apart(scratch, counters), Place::Header, "scratch and counters overlap");

    for (index, tensor) in model.tensors().iter().enumerate() {
        let place = Place::Tensor(index);
        ensure!(tensor.height > 0 && tensor.width > 0 && tensor.channels > 0, place, "it is empty");
        ensure!((1..=tensor.height).contains(&tensor.ring_rows), place, "it keeps no row, or more rows than it has");
        ensure!(tensor.channels <= tensor.pixel_stride, place, "pixels overlap");
        let row = u64::from(tensor.width - 1) * u64::from(tensor.pixel_stride) + u64::from(tensor.channels);
        ensure!(row <= tensor.row_stride.into(), place, "rows overlap");
        if is_view(model, tensor) {
            ensure!((tensor.offset, tensor.ring_rows) == (0, 1), place, "it is a view and has a place of its own");
            continue;
        }
        let extent = extent(tensor);
        ensure!(fits(extent, model), place, "it lies outside the arena");
        ensure!(apart(extent, scratch) && apart(extent, counters), place, "it overlaps scratch or counters");
        if index != usize::from(header.input) {
            let words = [tensor.offset, tensor.row_stride, tensor.pixel_stride.into(), tensor.channels.into()];
            ensure!(words.iter().all(|word| word.is_multiple_of(4)), place, "pixels are not aligned to 4 bytes");
        }
    }

    for (index, node) in model.nodes().iter().enumerate() {
        let place = Place::Node(index);
        operators::check(model, node, place)?;
        let (input, output) = (model.tensor(node.input.into()), model.tensor(node.output.into()));
        let scratch_len = model.table.scratch_len(node, input, output) as u64;
        ensure!(scratch_len <= header.scratch_len.into(), place, "scratch is too small for it");
        let state_len = model.table.state_len(node, output);
        ensure!(node.state_len as usize == state_len, place, "its state does not have the length that it needs");
        let state = region(node.state, state_len as u64);
        if state_len > 0 {
            ensure!(fits(state, model) && node.state.is_multiple_of(4), place, "its state lies outside the arena");
            let clear = apart(state, scratch)
                && apart(state, counters)
                && apart(state, extent(input))
                && apart(state, extent(output));
            ensure!(clear, place, "its state overlaps something else");
        }
    }

    let output = model.output();
    ensure!(header.input != header.output, Place::Header, "the image is the scores");
    ensure!(!is_view(model, output), Place::Header, "the scores are a view");
    ensure!((output.height, output.width) == (1, 1), Place::Header, "the scores are a map");
    let classes = header.class_count;
    ensure!((1..=output.channels).contains(&classes), Place::Header, "no classes, or more than there are scores");
    Ok(())
}

/// First byte and the byte after the last.
type Region = (u64, u64);

fn region(offset: u32, len: u64) -> Region {
    (offset.into(), u64::from(offset) + len)
}

/// The bytes of a ring: from its first row's first to its last row's last.
fn extent(tensor: &Tensor) -> Region {
    let rows = u64::from(tensor.ring_rows.saturating_sub(1)) * u64::from(tensor.row_stride);
    let row = u64::from(tensor.width.saturating_sub(1)) * u64::from(tensor.pixel_stride) + u64::from(tensor.channels);
    region(tensor.offset, rows + row)
}

fn fits(region: Region, model: &Judged<'_>) -> bool {
    region.1 <= model.header().arena_len.into()
}

fn apart(a: Region, b: Region) -> bool {
    a.1 <= b.0 || b.1 <= a.0 || a.0 == a.1 || b.0 == b.1
}
