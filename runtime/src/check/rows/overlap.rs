//! Tensors and states that share bytes while both hold something.

use super::super::Judged;
use super::{ABSENT, Execution, Part, Read, slot};
use crate::bounds;
use crate::format::records::{Node, Tensor};
use crate::rows;
use crate::schedule::{Counters, Network};
use core::ops::Range;

/// What a step writes.
pub(super) struct Written<'w> {
    /// The node's, or the image's.
    pub(super) slot: u16,
    pub(super) parts: &'w [Part<'w>],
    pub(super) rows: Range<usize>,
    /// The node, if it keeps something between its steps.
    pub(super) state: Option<&'w Node>,
}

/// The node of a place in the notes; an empty record for the image.
fn node_of<'m>(model: &'m Judged<'_>, slot: u16) -> &'m Node {
    usize::from(slot).checked_sub(1).map_or(&Node::EMPTY, |node| model.node(node))
}

/// The tensor of a place in the notes.
pub(super) fn tensor_of<'m>(model: &'m Judged<'_>, slot: u16) -> &'m Tensor {
    if slot == 0 { model.input() } else { model.tensor(node_of(model, slot).output.into()) }
}

/// A tensor, and what its node keeps.
pub(super) struct Holder<'m> {
    tensor: &'m Tensor,
    /// The bytes of the ring.
    start: usize,
    end: usize,
    node: &'m Node,
}

impl<'m> Holder<'m> {
    pub(super) fn new(model: &'m Judged<'_>, slot: u16) -> Self {
        let (tensor, node) = (tensor_of(model, slot), node_of(model, slot));
        let start = tensor.offset as usize;
        Self { tensor, start, end: start + rows::ring_bytes(tensor), node }
    }

    /// Whether it can share a byte with what the place `other` in the notes stands for.
    pub(super) fn meets(&self, model: &Judged<'_>, other: u16) -> bool {
        let (tensor, node) = (tensor_of(model, other), node_of(model, other));
        let start = tensor.offset as usize;
        let rings =
            start < self.end && self.start < start + rows::ring_bytes(tensor) && !are_slices_apart(self.tensor, tensor);
        if self.node.state_len == 0 && node.state_len == 0 {
            return rings;
        }
        rings
            || ring_meets_state(self.tensor, node)
            || ring_meets_state(tensor, self.node)
            || states_meet(self.node, node)
    }
}

fn rings_meet(a: &Tensor, b: &Tensor) -> bool {
    !rows::are_apart(a, b) && !are_slices_apart(a, b)
}

fn ring_meets_state(ring: &Tensor, node: &Node) -> bool {
    let (first, state) = (ring.offset as usize, node.state as usize);
    node.state_len > 0 && first < state + node.state_len as usize && state < first + rows::ring_bytes(ring)
}

fn states_meet(a: &Node, b: &Node) -> bool {
    a.state_len > 0 && b.state_len > 0 && a.state < b.state + b.state_len && b.state < a.state + a.state_len
}

/// Whether two rings are other channels of the same pixels, so that no row of one shares a byte with any of the other.
fn are_slices_apart(a: &Tensor, b: &Tensor) -> bool {
    let (low, high) = if a.offset <= b.offset { (a, b) } else { (b, a) };
    let distance = (high.offset - low.offset) as usize;
    usize::from(low.channels) <= distance
        && distance + usize::from(high.channels) <= high.pixel_stride.into()
        && (a.row_stride, a.pixel_stride) == (b.row_stride, b.pixel_stride)
        && distance + rows::row_bytes(high) <= high.row_stride as usize
}

/// Whether a row of one tensor and a row of another share no byte.
fn is_apart(a: &Tensor, row_a: usize, b: &Tensor, row_b: usize) -> bool {
    let (first_a, first_b) = (rows::row_offset(a, row_a), rows::row_offset(b, row_b));
    if first_a + rows::row_bytes(a) <= first_b || first_b + rows::row_bytes(b) <= first_a {
        return true;
    }
    // Two slices of one concatenation: on the grid of its pixels, their channels must not meet.
    let stride = bounds::size(a.pixel_stride);
    let (low, high, distance) = if first_a <= first_b { (a, b, first_b - first_a) } else { (b, a, first_a - first_b) };
    let phase = distance % stride;
    a.pixel_stride == b.pixel_stride
        && usize::from(low.channels) <= phase
        && phase + usize::from(high.channels) <= stride.get()
}

/// Whether a row shares no byte with what a node keeps.
fn is_off_state(tensor: &Tensor, row: usize, node: &Node) -> bool {
    let (first, state) = (rows::row_offset(tensor, row), node.state as usize);
    first + rows::row_bytes(tensor) <= state || state + node.state_len as usize <= first
}

/// How two rings lie.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Places {
    /// They share no byte.
    Apart,
    /// In the same slots, so that a row can only meet those of its own slot.
    SameSlots,
    /// In any other way.
    Across,
}

fn places(a: &Tensor, b: &Tensor) -> Places {
    let distance = a.offset.abs_diff(b.offset) as usize;
    let high = if a.offset <= b.offset { b } else { a };
    let slots = (a.row_stride, a.ring_rows) == (b.row_stride, b.ring_rows)
        && distance + rows::row_bytes(high) <= a.row_stride as usize;
    match slots {
        true if are_slices_apart(a, b) => Places::Apart,
        true => Places::SameSlots,
        false if rings_meet(a, b) => Places::Across,
        false => Places::Apart,
    }
}

/// The first of the rows from `start` that lies in the slot of `row`.
fn first_in_slot(start: usize, row: usize, ring_rows: u16) -> usize {
    let slots = bounds::size(ring_rows);
    let ring_rows = slots.get();
    match row.checked_sub(start) {
        Some(after) if after < ring_rows => row,
        Some(after) => start + after % slots,
        None if start <= row + ring_rows => row + ring_rows,
        None => start + (ring_rows - 1) - (start - row - 1) % slots,
    }
}

impl Execution<'_> {
    /// A step does not write over a row that it reads itself, unless it is the same row of the second operand, byte for
    /// byte, which it has read then.
    pub(super) fn spares_own_rows(
        &mut self,
        node: &Node,
        rows: &[Range<usize>; 2],
        parts: &[Part<'_>],
        written: &Range<usize>,
    ) -> bool {
        let (model, [input, operand]) = (self.model, rows);
        let output = model.tensor(node.output.into());
        let mut reads = self.reads(node);
        while let Some(Read { tensor, is_operand, .. }) = reads.next(model) {
            let meets = self.notes.get(slot(tensor.producer)).next_meeting != ABSENT;
            if !meets || !rings_meet(tensor, output) {
                continue;
            }
            let rows = if is_operand { operand } else { input };
            self.look(rows.len() * written.len());
            for row in rows.clone() {
                for target in written.clone() {
                    let in_place = is_operand && row == target && rows::same_row(tensor, output, row);
                    let mut parts = parts.iter().filter(|part| part.is_written(target));
                    if !in_place && !parts.all(|part| is_apart(tensor, row, part.tensor, target)) {
                        return false;
                    }
                }
            }
        }
        true
    }

    /// Whether a step spares what others hold: the rows that a step yet to come reads, the scores, and what a node keeps
    /// that has begun and not ended.
    pub(super) fn spares_others(&mut self, written: &Written<'_>) -> bool {
        let mut other = self.notes.get(written.slot).next_meeting;
        while other < ABSENT && other != written.slot {
            self.look(1);
            if !self.spares(written, other) {
                return false;
            }
            other = self.notes.get(other).next_meeting;
        }
        true
    }

    fn spares(&mut self, written: &Written<'_>, other: u16) -> bool {
        if self.is_over(other) {
            return true;
        }
        let (tensor, node) = (tensor_of(self.model, other), node_of(self.model, other));
        let is_kept = self.keeps_state(node, other, tensor);
        for part in written.parts {
            let places = places(part.tensor, tensor);
            if places == Places::Apart && !is_kept {
                continue;
            }
            for row in written.rows.clone().filter(|&row| part.is_written(row)) {
                if is_kept && !is_off_state(part.tensor, row, node) {
                    return false;
                }
                let clear = |live: Range<usize>, looked: &mut u32| match places {
                    Places::Apart => true,
                    Places::SameSlots => slot_is_clear(tensor, &live, part.tensor, row),
                    Places::Across => are_clear(tensor, live, part.tensor, row, looked),
                };
                if !self.live_rows_are(other, tensor, &clear) {
                    return false;
                }
            }
        }
        let Some(own) = written.state else { return true };
        let off_state = |mut live: Range<usize>, looked: &mut u32| {
            *looked = looked.saturating_add(live.len() as u32);
            live.all(|row| is_off_state(tensor, row, own))
        };
        !(is_kept && states_meet(own, node))
            && (!ring_meets_state(tensor, own) || self.live_rows_are(other, tensor, &off_state))
    }

    /// Whether `clear` holds for the rows of a tensor that have been made and that a step yet to come reads; of the
    /// scores, for all.
    fn live_rows_are(&mut self, slot: u16, tensor: &Tensor, clear: &dyn Fn(Range<usize>, &mut u32) -> bool) -> bool {
        let made = self.made(tensor);
        // Whoever reads goes on to later rows, so that there are no more live rows than when it was last looked.
        let live = usize::from(self.notes.get(slot).live);
        if clear(live..made, &mut self.looked) {
            return true;
        }
        let first = self.first_live_row(slot, tensor);
        self.notes.change(slot, |note| note.live = first.min(made) as u16);
        first > live && clear(first..made, &mut self.looked)
    }

    fn keeps_state(&self, node: &Node, slot: u16, tensor: &Tensor) -> bool {
        node.state_len > 0 && self.notes.get(slot).done > 0 && !self.is_complete(tensor)
    }

    /// The first row of a tensor that a step yet to come reads; of the scores the first of all.
    fn first_live_row(&mut self, slot: u16, tensor: &Tensor) -> usize {
        let model = self.model;
        let index = if slot == 0 { model.header().input } else { node_of(model, slot).output };
        if index == model.header().output {
            return 0;
        }
        let mut first = usize::from(tensor.height);
        let mut readers = self.notes.get(slot).readers;
        // Readers come after the node that makes it: after its place in the notes less one.
        for (reader, node) in model.nodes().iter().enumerate().skip(slot.into()) {
            if readers == 0 {
                break;
            }
            self.look(1);
            if !self.has_views && node.input != index && node.operand != index {
                continue;
            }
            let output = model.tensor(node.output.into());
            if self.is_complete(output) {
                continue;
            }
            let mut reads = self.reads(node);
            while let Some(read) = reads.next(model) {
                if read.index == index {
                    let step = self.notes.done(reader);
                    let start = match read.is_operand {
                        true => rows::output_rows(node, output, step).start,
                        false => {
                            model.table.operators.input_rows(node, model.tensor(node.input.into()), output, step).start
                        }
                    };
                    first = first.min(start);
                    readers = readers.saturating_sub(1);
                }
            }
        }
        first
    }
}

/// Whether `row` of `part` shares no byte with the live rows of a tensor in the same slots.
fn slot_is_clear(tensor: &Tensor, live: &Range<usize>, part: &Tensor, row: usize) -> bool {
    let same_slot = first_in_slot(live.start, row, tensor.ring_rows);
    same_slot >= live.end || is_apart(tensor, same_slot, part, row)
}

/// Whether `row` of `part` shares no byte with the live rows of a tensor.
fn are_clear(tensor: &Tensor, mut live: Range<usize>, part: &Tensor, row: usize, looked: &mut u32) -> bool {
    *looked = looked.saturating_add(live.len() as u32);
    live.all(|live| is_apart(tensor, live, part, row))
}
