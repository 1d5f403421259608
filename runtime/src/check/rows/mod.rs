//! Executes the schedule on row numbers: every row that a step reads has been made and still lies in its ring, and
//! nothing is written over a row that a later step reads.
//!
//! Tensors whose bytes do not meet, or not while both hold something, cannot harm each other. So each tensor is compared
//! once, when its first row is made, with those that hold something then. Only where two of them meet, such as a sum that
//! is made in the place of its operand, or the slices of a concatenation, rows are compared one by one.

mod overlap;

use super::{Judged, at};
use crate::format::records::{NONE, Node, OpCode, Tensor};
use crate::format::{LoadError, Place};
use crate::ops::{Verdict, ensure};
use crate::rows;
use crate::schedule::{Counters, Members, Network, Pull, RowsMade, Scheduled, Turn, is_view};
use core::ops::Range;
use overlap::{Holder, Written, tensor_of};

/// Largest number of nodes.
pub(crate) const MAX_NODES: usize = 4096;

/// Most records and rows that the check looks at, which bounds its time.
const MAX_LOOKS: u32 = 1 << 25;

const OVERWRITES: &str = "it overwrites what a later step reads";

/// The check notes 12 bytes for each tensor on its stack, of twice as many tensors as there are at most.
pub(super) fn check(model: &Judged<'_>) -> Result<(), LoadError> {
    looks(model).map(drop)
}

/// Checks a model; how many records and rows that took.
pub(super) fn looks(model: &Judged<'_>) -> Result<u32, LoadError> {
    match model.tensors().len() {
        0..=16 => noting::<16>(model),
        17..=32 => noting::<32>(model),
        33..=64 => noting::<64>(model),
        65..=128 => noting::<128>(model),
        129..=256 => noting::<256>(model),
        257..=512 => noting::<512>(model),
        513..=1024 => noting::<1024>(model),
        1025..=2048 => noting::<2048>(model),
        _ => noting::<{ MAX_NODES + 1 }>(model),
    }
}

/// A function of its own for each length, so that only the one that runs takes its stack.
#[inline(never)]
fn noting<const LEN: usize>(model: &Judged<'_>) -> Result<u32, LoadError> {
    execute(model, &mut [Note::NEW; LEN])
}

#[inline(never)]
fn execute(model: &Judged<'_>, notes: &mut [Note]) -> Result<u32, LoadError> {
    let has_views = model.nodes().iter().any(rows::is_view);
    let notes = Notes { model, notes };
    let mut execution = Execution { model, notes, has_views, present: NONE, is_stale: false, fed: 0, looked: 0 };
    execution.count_readers();
    let mut pull = Pull::default();
    loop {
        let Execution { notes, fed, looked, .. } = &mut execution;
        match pull.next_counted(model, notes, *fed, looked) {
            Turn::NeedsInputRow => execution.feed()?,
            Turn::Step { node, step } => execution.step(node, step).map_err(at(Place::Node(node)))?,
            Turn::Done => break,
        }
        ensure!(execution.looked < MAX_LOOKS, "the schedule is too long").map_err(at(Place::Header))?;
    }
    let scores = execution.made(model.output());
    ensure!(scores == 1, "the schedule ends before the scores are made").map_err(at(Place::Header))?;
    Ok(execution.looked)
}

/// What is known of a tensor and of the node that makes it.
#[derive(Clone, Copy)]
struct Note {
    /// Steps of the node.
    done: u16,
    /// Rows of the tensor that have been made.
    made: u16,
    /// Times that nodes with steps before them name the tensor, by its own index or as a member of a view; one more of
    /// the scores.
    readers: u16,
    /// No row before this one is read any more.
    live: u16,
    /// The next one of those present, [`NONE`] of the last, [`ABSENT`] of others.
    next: u16,
    /// The next one in the circle of those present that meet: tensors that share bytes, with each other or with what a node
    /// keeps; [`ABSENT`] where there is no other one.
    next_meeting: u16,
}

/// Of a tensor that is not present.
const ABSENT: u16 = NONE - 1;

impl Note {
    /// Of a tensor before its first row.
    const NEW: Self = Self { done: 0, made: 0, readers: 0, live: 0, next: ABSENT, next_meeting: ABSENT };
}

/// One for each tensor: the image's, then those of the nodes.
struct Notes<'n> {
    model: &'n Judged<'n>,
    notes: &'n mut [Note],
}

/// The place in [`Notes`] of what `producer` makes.
fn slot(producer: u16) -> u16 {
    producer.wrapping_add(1)
}

impl Notes<'_> {
    fn get(&self, slot: u16) -> &Note {
        self.notes.get(usize::from(slot)).unwrap_or(&Note::NEW)
    }

    fn change(&mut self, slot: u16, change: impl FnOnce(&mut Note)) {
        if let Some(note) = self.notes.get_mut(usize::from(slot)) {
            change(note);
        }
    }
}

impl Counters for Notes<'_> {
    fn done(&self, node: usize) -> usize {
        self.notes.get(node + 1).map_or(0, |note| note.done.into())
    }
    fn advance(&mut self, node: usize) {
        let (model, record) = (self.model, self.model.node(node));
        if let Some(note) = self.notes.get_mut(node + 1) {
            note.done = note.done.wrapping_add(1);
            let (input, output) = (model.tensor(record.input.into()), model.tensor(record.output.into()));
            note.made = model.table.operators.rows_made(record, input, output, note.done.into()) as u16;
        }
    }
}

impl RowsMade for Notes<'_> {
    fn rows_made(&self, _: &impl Scheduled, fed: usize, tensor: &Tensor) -> usize {
        if tensor.producer == NONE { fed } else { self.get(slot(tensor.producer)).made.into() }
    }
}

/// The tensors that a node reads, all members where one is a view, and whether by its operand; none for a view.
struct Reads {
    /// Of the input, if the model has views.
    members: Option<Members>,
    input: u16,
    operand: u16,
}

impl Reads {
    fn next<'m>(&mut self, model: &'m Judged<'_>) -> Option<Read<'m>> {
        if let Some(members) = &mut self.members {
            if let Some(member) = members.next(model) {
                return Some(Read { tensor: member.tensor, index: member.index, is_operand: false });
            }
        } else if self.input != NONE {
            let index = core::mem::replace(&mut self.input, NONE);
            return Some(Read { tensor: model.tensor(index.into()), index, is_operand: false });
        }
        // An operand is no view.
        let index = core::mem::replace(&mut self.operand, NONE);
        (index != NONE).then(|| Read { tensor: model.tensor(index.into()), index, is_operand: true })
    }
}

/// A tensor that a node reads.
struct Read<'m> {
    tensor: &'m Tensor,
    index: u16,
    is_operand: bool,
}

/// Rows that a step reads of its input and of its operand; the latter are also those that it makes.
fn rows_read(model: &Judged<'_>, node: &Node, step: usize) -> [Range<usize>; 2] {
    let (input, output) = (model.tensor(node.input.into()), model.tensor(node.output.into()));
    [model.table.operators.input_rows(node, input, output, step), rows::output_rows(node, output, step)]
}

/// What a step writes of each of its rows.
struct Part<'m> {
    tensor: &'m Tensor,
    /// An operand of a concatenation. Where it lies there already, nothing is written.
    copy_of: Option<&'m Tensor>,
}

impl Part<'_> {
    fn is_written(&self, row: usize) -> bool {
        self.copy_of.is_none_or(|from| !rows::same_row(from, self.tensor, row))
    }
}

/// The slices of a concatenation's output that it writes, for each operand.
fn slices(model: &Judged<'_>, node: &Node) -> [Tensor; 2] {
    let (output, mut before) = (model.tensor(node.output.into()), 0);
    [node.input, node.operand].map(|from| {
        let channels = model.tensor(from.into()).channels;
        rows::member(output, core::mem::replace(&mut before, channels), channels)
    })
}

/// A moment of the execution.
struct Execution<'c> {
    model: &'c Judged<'c>,
    notes: Notes<'c>,
    has_views: bool,
    /// The first of a list of the tensors that can hold something: a row has been made of it, or its node has begun, and
    /// not all its readers, or not the node itself, have ended.
    present: u16,
    /// Whether a tensor has been read for the last time since those that are over were dropped.
    is_stale: bool,
    /// Rows of the image that have arrived.
    fed: usize,
    looked: u32,
}

impl Execution<'_> {
    fn look(&mut self, count: usize) {
        self.looked = self.looked.saturating_add(count as u32);
    }

    fn reads(&self, node: &Node) -> Reads {
        let [input, operand] = [node.input, node.operand];
        if !self.has_views {
            return Reads { members: None, input, operand };
        }
        let operand = if rows::is_view(node) { NONE } else { operand };
        let input = if rows::is_view(node) { NONE } else { input };
        Reads { members: Some(Members::new(self.model, input)), input: NONE, operand }
    }

    fn count_readers(&mut self) {
        let model = self.model;
        let one_more = |notes: &mut Notes<'_>, tensor: &Tensor| {
            notes.change(slot(tensor.producer), |note| note.readers = note.readers.saturating_add(1));
        };
        for node in model.nodes() {
            let mut reads = self.reads(node);
            while let Some(read) = reads.next(model) {
                one_more(&mut self.notes, read.tensor);
            }
        }
        one_more(&mut self.notes, model.output());
    }

    /// Rows of a tensor that have been made, those of the current step included.
    fn made(&self, tensor: &Tensor) -> usize {
        self.notes.rows_made(self.model, self.fed, tensor)
    }

    /// Whether all rows of a tensor have been made: then its node has no steps before it.
    fn is_complete(&self, tensor: &Tensor) -> bool {
        self.made(tensor) >= tensor.height.into()
    }

    /// Takes the next row of the image.
    fn feed(&mut self) -> Result<(), LoadError> {
        let (image, index) = (self.model.input(), self.model.header().input);
        let is_left = self.fed < image.height.into();
        ensure!(is_left, "it needs more rows than the image has").map_err(at(Place::Header))?;
        if self.fed == 0 {
            self.begin(slot(NONE));
        }
        if self.notes.get(slot(NONE)).next_meeting != ABSENT {
            let part = Part { tensor: image, copy_of: None };
            let spares = self.spares_others(&Written {
                slot: slot(NONE),
                parts: &[part],
                rows: self.fed..self.fed + 1,
                state: None,
            });
            ensure!(spares, OVERWRITES).map_err(at(Place::Tensor(index.into())))?;
        }
        self.fed += 1;
        Ok(())
    }

    /// Takes a step, which is counted already.
    fn step(&mut self, index: usize, step: usize) -> Verdict {
        let model = self.model;
        let node = model.node(index);
        let output = model.tensor(node.output.into());
        let rows = rows_read(model, node, step);
        let [input, operand] = &rows;
        let mut reads = self.reads(node);
        while let Some(read) = reads.next(model) {
            self.look(1);
            let rows = if read.is_operand { operand } else { input };
            if !rows.is_empty() {
                let made = self.made(read.tensor);
                ensure!(rows.end <= made, "it reads a row that has not been made")?;
                let kept = usize::from(read.tensor.ring_rows);
                ensure!(rows.start + kept >= made, "it reads a row that has been overwritten")?;
            }
        }
        if rows::is_view(node) {
            return Ok(());
        }
        // A pool has read its last row before it writes its only one.
        let reduces = model.table.operators.get(node.op).is_some_and(|operator| operator.reduces);
        let written = if reduces { 0..usize::from(self.is_complete(output)) } else { operand.clone() };
        ensure!(written.len() <= output.ring_rows.into(), "a step makes more rows than its output keeps")?;
        let slot = slot(index as u16);
        if step == 0 {
            self.begin(slot);
        }
        if self.is_complete(output) {
            self.end_reads(node);
        }
        if self.notes.get(slot).next_meeting != ABSENT {
            let (slices, whole, both);
            let parts: &[Part<'_>] = if node.op == OpCode::Concat as u8 {
                slices = self::slices(model, node);
                // A view's row is copied member by member.
                let copied = |from: u16| Some(model.tensor(from.into())).filter(|from| !is_view(model, from));
                let [first, second] = &slices;
                both = [(first, node.input), (second, node.operand)]
                    .map(|(tensor, from)| Part { tensor, copy_of: copied(from) });
                &both
            } else {
                whole = [Part { tensor: output, copy_of: None }];
                &whole
            };
            let spares = reduces || self.spares_own_rows(node, &rows, parts, &written);
            ensure!(spares, "it overwrites a row that it reads")?;
            let state = (node.state_len > 0).then_some(node);
            let spares = self.spares_others(&Written { slot, parts, rows: written, state });
            ensure!(spares, OVERWRITES)?;
        }
        Ok(())
    }

    /// Adds a tensor to those present, and compares it with them.
    fn begin(&mut self, slot: u16) {
        if self.notes.get(slot).next != ABSENT {
            return;
        }
        if core::mem::take(&mut self.is_stale) {
            self.drop_those_over();
        }
        let own = Holder::new(self.model, slot);
        let mut other = self.present;
        while other < ABSENT {
            self.look(1);
            if own.meets(self.model, other) {
                self.join(slot, other);
            }
            other = self.notes.get(other).next;
        }
        let first = core::mem::replace(&mut self.present, slot);
        self.notes.change(slot, |note| note.next = first);
    }

    /// Drops those that nothing reads or makes any more.
    fn drop_those_over(&mut self) {
        let (mut before, mut at) = (NONE, self.present);
        while at < ABSENT {
            self.look(1);
            let next = self.notes.get(at).next;
            if self.is_over(at) {
                self.leave(at);
                self.notes.change(at, |note| note.next = ABSENT);
                match before {
                    NONE => self.present = next,
                    before => self.notes.change(before, |note| note.next = next),
                }
            } else {
                before = at;
            }
            at = next;
        }
    }

    /// Makes one circle of those of two tensors that meet.
    fn join(&mut self, a: u16, b: u16) {
        let after = |notes: &Notes<'_>, slot: u16| match notes.get(slot).next_meeting {
            ABSENT => slot,
            next => next,
        };
        let (after_a, after_b) = (after(&self.notes, a), after(&self.notes, b));
        let mut at = after_a;
        while at != a && at != b {
            self.look(1);
            at = self.notes.get(at).next_meeting;
        }
        if at != b {
            self.notes.change(a, |note| note.next_meeting = after_b);
            self.notes.change(b, |note| note.next_meeting = after_a);
        }
    }

    /// Takes a tensor out of its circle.
    fn leave(&mut self, slot: u16) {
        let after = self.notes.get(slot).next_meeting;
        if after == ABSENT {
            return;
        }
        let mut before = after;
        while self.notes.get(before).next_meeting != slot {
            self.look(1);
            before = self.notes.get(before).next_meeting;
        }
        self.notes.change(slot, |note| note.next_meeting = ABSENT);
        self.notes.change(before, |note| note.next_meeting = if before == after { ABSENT } else { after });
    }

    fn is_over(&self, slot: u16) -> bool {
        self.notes.get(slot).readers == 0 && self.is_complete(tensor_of(self.model, slot))
    }

    /// A node that has ended reads nothing any more.
    fn end_reads(&mut self, node: &Node) {
        self.is_stale = true;
        let mut reads = self.reads(node);
        while let Some(read) = reads.next(self.model) {
            self.notes.change(slot(read.tensor.producer), |note| note.readers = note.readers.saturating_sub(1));
        }
    }
}
