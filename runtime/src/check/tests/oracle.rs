//! The rule by which [`rows`](super::super::rows) checks schedules, in its plainest form: what a step writes is compared
//! with all rows that all steps yet to come read.

use super::super::at;
use crate::format::records::{NONE, Node, OpCode, Tensor};
use crate::format::{LoadError, Place};
use crate::model::Model;
use crate::ops::{self, Verdict, ensure};
use crate::rows;
use crate::schedule::{Counters, Members, Network, Pull, RowsMade, Turn, is_view};
use core::ops::Range;

const OVERWRITES: &str = "it overwrites what a later step reads";

pub(super) fn check(model: &Model<'_>) -> Result<(), LoadError> {
    let mut pull = Pull::default();
    let mut counters = vec![0; model.nodes().len()];
    let mut fed = 0;
    let image = usize::from(model.header().input);
    loop {
        let turn = pull.next(model, counters.as_mut_slice(), fed);
        let moment = At { model, counters: &counters, fed };
        match turn {
            Turn::NeedsInputRow => {
                let is_left = fed < model.input().height.into();
                ensure!(is_left, "it needs more rows than the image has").map_err(at(Place::Header))?;
                let part = Part { tensor: *model.input(), copy_of: None };
                let spares = moment.spares_live_rows(image, &part, fed..fed + 1);
                ensure!(spares, OVERWRITES).map_err(at(Place::Tensor(image)))?;
                fed += 1;
            }
            Turn::Step { node: index, step } => {
                let node = *model.node(index);
                let written = written(model, &node, step);
                let parts = parts(model, &node);
                moment.reads(&node, step).map_err(at(Place::Node(index)))?;
                let own = spares_own_rows(model, &node, step, &parts, &written);
                own.map_err(at(Place::Node(index)))?;
                let mut parts = parts.iter().flatten();
                let output = node.output.into();
                let spares = parts.all(|part| moment.spares_live_rows(output, part, written.clone()))
                    && moment.spares_what_lies_under_state(index, &node);
                ensure!(spares, OVERWRITES).map_err(at(Place::Node(index)))?;
            }
            Turn::Done => break,
        }
    }
    let scores = counters.rows_made(model, fed, model.output());
    ensure!(scores == 1, "the schedule ends before the scores are made").map_err(at(Place::Header))
}

fn is_complete(model: &Model<'_>, node: &Node, done: usize) -> bool {
    done >= ops::steps(node, model.tensor(node.input.into()), model.tensor(node.output.into()))
}

/// What a step writes of each of its rows.
struct Part {
    tensor: Tensor,
    /// An operand of a concatenation. Where it lies there already, nothing is written.
    copy_of: Option<Tensor>,
}

impl Part {
    fn is_written(&self, row: usize) -> bool {
        self.copy_of.as_ref().is_none_or(|from| !rows::same_row(from, &self.tensor, row))
    }
}

fn parts(model: &Model<'_>, node: &Node) -> [Option<Part>; 2] {
    if rows::is_view(node) {
        return [None, None];
    }
    let output = *model.tensor(node.output.into());
    if node.op != OpCode::Concat as u8 {
        return [Some(Part { tensor: output, copy_of: None }), None];
    }
    let (input, operand) = (*model.tensor(node.input.into()), *model.tensor(node.operand.into()));
    [(0, input), (input.channels, operand)].map(|(before, from)| {
        // A view's row is copied member by member.
        let copy_of = (!is_view(model, &from)).then_some(from);
        Some(Part { tensor: rows::member(&output, before, from.channels), copy_of })
    })
}

/// Rows that a step makes.
fn written(model: &Model<'_>, node: &Node, step: usize) -> Range<usize> {
    if is_pool(node) {
        return 0..usize::from(step + 1 == usize::from(model.tensor(node.input.into()).height));
    }
    rows::output_rows(node, model.tensor(node.output.into()), step)
}

/// A tensor that a step reads.
struct Read {
    index: u16,
    tensor: Tensor,
    rows: Range<usize>,
    is_operand: bool,
}

/// What a step reads: rows of its operands, of all members where one is a view, and nothing if it is a view itself.
fn read<'m>(model: &'m Model<'m>, node: &Node, step: usize) -> impl Iterator<Item = Read> + use<'m> {
    let node = *node;
    let (input, output) = (model.tensor(node.input.into()), model.tensor(node.output.into()));
    let operands = if rows::is_view(&node) { [NONE; 2] } else { [node.input, node.operand] };
    let operands = operands.into_iter().enumerate().filter(|&(_, operand)| operand != NONE);
    operands.flat_map(move |(position, operand)| {
        let is_operand = position == 1;
        let rows = match is_operand {
            true => rows::output_rows(&node, output, step),
            false => ops::input_rows(&node, input, output, step),
        };
        let mut next = Members::new(model, operand);
        core::iter::from_fn(move || next.next(model)).map(move |member| Read {
            index: member.index,
            tensor: *member.tensor,
            rows: rows.clone(),
            is_operand,
        })
    })
}

/// A step does not write over a row that it reads itself, unless it is the same row of the second operand, byte for byte,
/// which it has read then.
fn spares_own_rows(
    model: &Model<'_>,
    node: &Node,
    step: usize,
    parts: &[Option<Part>; 2],
    written: &Range<usize>,
) -> Verdict {
    if rows::is_view(node) {
        return Ok(());
    }
    let output = model.tensor(node.output.into());
    ensure!(written.len() <= output.ring_rows.into(), "a step makes more rows than its output keeps")?;
    if is_pool(node) {
        return Ok(());
    }
    for Read { tensor, rows, is_operand, .. } in read(model, node, step) {
        for (row, target) in rows.flat_map(|row| written.clone().map(move |target| (row, target))) {
            let in_place = is_operand && row == target && rows::same_row(&tensor, output, row);
            let mut parts = parts.iter().flatten().filter(|part| part.is_written(target));
            let clear = in_place || parts.all(|part| is_apart(&tensor, row, &part.tensor, target));
            ensure!(clear, "it overwrites a row that it reads")?;
        }
    }
    Ok(())
}

/// A moment of the execution.
struct At<'c, 'm> {
    model: &'c Model<'m>,
    counters: &'c [u16],
    fed: usize,
}

impl At<'_, '_> {
    /// Rows of a tensor that have been made, those of the current step included.
    fn made(&self, tensor: u16) -> usize {
        self.counters.rows_made(self.model, self.fed, self.model.tensor(tensor.into()))
    }

    /// Whether what a step reads has been made and is still there.
    fn reads(&self, node: &Node, step: usize) -> Verdict {
        for Read { index, tensor, rows, .. } in read(self.model, node, step) {
            if !rows.is_empty() {
                let (made, kept) = (self.made(index), usize::from(tensor.ring_rows));
                ensure!(rows.end <= made, "it reads a row that has not been made")?;
                ensure!(rows.start + kept >= made, "it reads a row that has been overwritten")?;
            }
        }
        Ok(())
    }

    /// Whether a part of rows of tensor `index` can be written: no row of another tensor lies there that a step yet to
    /// come reads, nor the scores, nor what a node keeps that has begun and not ended.
    fn spares_live_rows(&self, index: usize, part: &Part, rows: Range<usize>) -> bool {
        let written = rows.filter(|&row| part.is_written(row));
        if written.clone().next().is_none() {
            return true;
        }
        let tensor = &part.tensor;
        let meets = |other: usize, live: &Tensor| other != index && !rows::are_apart(tensor, live);
        let clear = |live: &Tensor, row| written.clone().all(|target| is_apart(live, row, tensor, target));
        let keeps_states = || {
            let mut begun = self.nodes().filter(|(node, record)| self.keeps_state(*node, record));
            begun.all(|(_, record)| written.clone().all(|row| is_off_state(tensor, row, &record)))
        };
        self.live_rows_are(meets, clear) && keeps_states()
    }

    /// Whether a node can write its state: no row lies there that a step yet to come reads, nor the scores, nor what
    /// another node keeps that has begun and not ended.
    fn spares_what_lies_under_state(&self, node: usize, record: &Node) -> bool {
        let meets = |_, live: &Tensor| {
            let (first, state) = (live.offset as usize, record.state as usize);
            first < state + record.state_len as usize && state < first + rows::ring_bytes(live)
        };
        let are_apart = |a: &Node, b: &Node| a.state + a.state_len <= b.state || b.state + b.state_len <= a.state;
        let spares_states = || {
            let mut others = self.nodes().filter(|(other, _)| *other != node);
            others.all(|(other, kept)| !self.keeps_state(other, &kept) || are_apart(record, &kept))
        };
        record.state_len == 0
            || self.live_rows_are(meets, |live, row| is_off_state(live, row, record)) && spares_states()
    }

    fn nodes(&self) -> impl Iterator<Item = (usize, Node)> {
        self.model.nodes().iter().copied().enumerate()
    }

    fn keeps_state(&self, node: usize, record: &Node) -> bool {
        let done = self.counters.done(node);
        record.state_len > 0 && done > 0 && !is_complete(self.model, record, done)
    }

    /// Whether `clear` holds for all rows, of the tensors for which `meets` holds, that a step yet to come reads, and
    /// for the scores.
    fn live_rows_are(&self, meets: impl Fn(usize, &Tensor) -> bool, clear: impl Fn(&Tensor, usize) -> bool) -> bool {
        let holds = |other: u16, live: Tensor, first_needed: usize| {
            if !meets(other.into(), &live) {
                return true;
            }
            let mut rows = first_needed..self.made(other);
            rows.all(|row| clear(&live, row))
        };
        let mut readers = self.nodes();
        readers.all(|(reader, node)| {
            let step = self.counters.done(reader);
            is_complete(self.model, &node, step)
                || read(self.model, &node, step).all(|read| holds(read.index, read.tensor, read.rows.start))
        }) && holds(self.model.header().output, *self.model.output(), 0)
    }
}

/// Whether a row shares no byte with what a node keeps.
fn is_off_state(tensor: &Tensor, row: usize, node: &Node) -> bool {
    let (first, state) = (rows::row_offset(tensor, row), node.state as usize);
    first + rows::row_bytes(tensor) <= state || state + node.state_len as usize <= first
}

/// A pool has read its last row before it writes its only one.
fn is_pool(node: &Node) -> bool {
    ops::rules(node).is_some_and(|rules| rules.operator.reduces)
}

/// Whether a row of one tensor and a row of another share no byte.
fn is_apart(a: &Tensor, row_a: usize, b: &Tensor, row_b: usize) -> bool {
    let (first_a, first_b) = (rows::row_offset(a, row_a), rows::row_offset(b, row_b));
    if first_a + rows::row_bytes(a) <= first_b || first_b + rows::row_bytes(b) <= first_a {
        return true;
    }
    // Two slices of one concatenation: on the grid of its pixels, their channels must not meet.
    let stride = usize::from(a.pixel_stride).max(1);
    let (low, high, distance) = if first_a <= first_b { (a, b, first_b - first_a) } else { (b, a, first_a - first_b) };
    let phase = distance % stride;
    a.pixel_stride == b.pixel_stride
        && usize::from(low.channels) <= phase
        && phase + usize::from(high.channels) <= stride
}
