//! Executes the schedule on row numbers: every row that a step reads has been made and still lies in its ring, and
//! nothing is written over a row that a later step reads.

use super::{MAX_NODES, Outcome, ensure};
use crate::format::records::{NONE, Node, OpCode, Tensor};
use crate::format::{LoadError, Place};
use crate::geometry;
use crate::model::Model;
use crate::schedule::{Counters, Network, Pull, Turn, rows_made};
use core::ops::Range;

/// Most records that the check looks at, which bounds its time: several times what DenseNet-264 needs.
const MAX_LOOKS: u32 = 1 << 23;

pub(super) fn check(model: &Model<'_>) -> Outcome {
    // Small models are checked on small stacks.
    match model.header().node_count {
        0..=32 => with_counters::<32>(model),
        33..=128 => with_counters::<128>(model),
        129..=512 => with_counters::<512>(model),
        _ => with_counters::<MAX_NODES>(model),
    }
}

/// Checks a model of at most `COUNT` nodes.
#[inline(never)]
fn with_counters<const COUNT: usize>(model: &Model<'_>) -> Outcome {
    execute(model, &mut [0; COUNT])
}

/// `counters` are zeros, one for each node at least.
fn execute(model: &Model<'_>, counters: &mut [u16]) -> Outcome {
    let mut pull = Pull::default();
    let (mut fed, mut looked) = (0, 0);
    let image = usize::from(model.header().input);
    loop {
        let turn = pull.next_counted(model, counters, fed, &mut looked);
        let at = At { model, counters, fed };
        match turn {
            Turn::NeedsInputRow => {
                ensure!(fed < model.input().height.into(), Place::Header, "it needs more rows than the image has");
                ensure!(at.spares_live_rows(image, fed..fed + 1, &mut looked), Place::Tensor(image), OVERWRITES);
                fed += 1;
            }
            Turn::Step { node, step } => {
                let written = check_step(model, node, step, |tensor| at.made(tensor))?;
                let record = model.node(node);
                let spares = at.spares_live_rows(record.output.into(), written, &mut looked)
                    && at.spares_rows_under_state(&record, &mut looked);
                ensure!(spares, Place::Node(node), OVERWRITES);
            }
            Turn::Done => break,
        }
        ensure!(looked < MAX_LOOKS, Place::Header, "the schedule is too long");
    }
    let scores = rows_made(model, counters, fed, model.header().output.into());
    ensure!(scores == 1, Place::Header, "the schedule ends before the scores are made");
    Ok(())
}

const OVERWRITES: &str = "it overwrites what a later step reads";

/// A moment of the execution.
struct At<'c, 'm> {
    model: &'c Model<'m>,
    counters: &'c [u16],
    fed: usize,
}

impl At<'_, '_> {
    /// Rows of a tensor that have been made, those of the current step included.
    fn made(&self, tensor: u16) -> usize {
        rows_made(self.model, self.counters, self.fed, tensor.into())
    }

    /// Whether rows of tensor `index` can be written: no row of another tensor lies there that a step yet to come
    /// reads, nor the scores, nor what a node keeps that has begun and not ended.
    fn spares_live_rows(&self, index: usize, written: Range<usize>, looked: &mut u32) -> bool {
        let tensor = self.model.tensor(index);
        if written.is_empty() {
            return true;
        }
        let meets = |other: usize, live: &Tensor| other != index && !geometry::are_apart(&tensor, live);
        let clear = |live: &Tensor, row| written.clone().all(|target| is_apart(live, row, &tensor, target));
        let keeps_states = || {
            let mut begun = self.model.nodes().enumerate().filter(|(node, record)| self.keeps_state(*node, record));
            begun.all(|(_, record)| written.clone().all(|row| is_off_state(&tensor, row, &record)))
        };
        self.live_rows_are(meets, clear, looked) && keeps_states()
    }

    /// Whether a node can write its state: no row lies there that a step yet to come reads, nor the scores.
    fn spares_rows_under_state(&self, record: &Node, looked: &mut u32) -> bool {
        let meets = |_, live: &Tensor| {
            let (first, state) = (live.offset as usize, record.state as usize);
            first < state + record.state_len as usize && state < first + geometry::ring_bytes(live)
        };
        record.state_len == 0 || self.live_rows_are(meets, |live, row| is_off_state(live, row, record), looked)
    }

    fn keeps_state(&self, node: usize, record: &Node) -> bool {
        let (input, output) = (self.model.tensor(record.input.into()), self.model.tensor(record.output.into()));
        let done = self.counters.done(node);
        record.state_len > 0 && done > 0 && done < geometry::steps(record, &input, &output)
    }

    /// Whether `clear` holds for all rows, of the tensors for which `meets` holds, that a step yet to come reads, and
    /// for the scores.
    fn live_rows_are(
        &self,
        meets: impl Fn(usize, &Tensor) -> bool,
        clear: impl Fn(&Tensor, usize) -> bool,
        looked: &mut u32,
    ) -> bool {
        let holds = |other: u16, first_needed: usize, looked: &mut u32| {
            if other == NONE {
                return true;
            }
            let live = self.model.tensor(other.into());
            if !meets(other.into(), &live) {
                return true;
            }
            let mut rows = first_needed..self.made(other);
            *looked = looked.saturating_add(rows.len() as u32);
            rows.all(|row| clear(&live, row))
        };
        let mut consumers = self.model.nodes().enumerate();
        *looked = looked.saturating_add(consumers.len() as u32);
        consumers.all(|(reader, node)| {
            let (input, output) = (self.model.tensor(node.input.into()), self.model.tensor(node.output.into()));
            let step = self.counters.done(reader);
            step >= geometry::steps(&node, &input, &output)
                || (holds(node.input, geometry::input_rows(&node, &input, &output, step).start, looked)
                    && holds(node.operand, geometry::output_rows(&node, &output, step).start, looked))
        }) && holds(self.model.header().output, 0, looked)
    }
}

/// Whether a row shares no byte with what a node keeps.
fn is_off_state(tensor: &Tensor, row: usize, node: &Node) -> bool {
    let (first, state) = (geometry::row_offset(tensor, row), node.state as usize);
    first + geometry::row_bytes(tensor) <= state || state + node.state_len as usize <= first
}

/// What a step reads itself; returns the rows that it makes. `made` counts the rows of a tensor, those of this step
/// included.
fn check_step(
    model: &Model<'_>,
    index: usize,
    step: usize,
    made: impl Fn(u16) -> usize,
) -> Result<Range<usize>, LoadError> {
    let place = Place::Node(index);
    let node = model.node(index);
    let (input, output) = (model.tensor(node.input.into()), model.tensor(node.output.into()));
    let written = match OpCode::from_code(node.op) {
        Some(OpCode::GlobalAveragePool) => 0..usize::from(step + 1 == usize::from(input.height)),
        _ => geometry::output_rows(&node, &output, step),
    };
    ensure!(written.len() <= output.ring_rows.into(), place, "a step makes more rows than its output keeps");

    let operands = [
        (node.input, geometry::input_rows(&node, &input, &output, step)),
        (node.operand, geometry::output_rows(&node, &output, step)),
    ];
    for (position, (tensor_index, rows)) in operands.into_iter().enumerate() {
        if tensor_index == NONE || rows.is_empty() {
            continue;
        }
        let tensor = model.tensor(tensor_index.into());
        let made = made(tensor_index);
        ensure!(rows.end <= made, place, "it reads a row that has not been made");
        ensure!(rows.start + usize::from(tensor.ring_rows) >= made, place, "it reads a row that has been overwritten");
        for row in rows {
            for target in written.clone() {
                let in_place = position == 1 && row == target && geometry::same_row(&tensor, &output, row);
                let clear = in_place || is_apart(&tensor, row, &output, target) || is_pool(&node);
                ensure!(clear, place, "it overwrites a row that it reads");
            }
        }
    }
    Ok(written)
}

/// A pool has read its last row before it writes its only one.
fn is_pool(node: &Node) -> bool {
    OpCode::from_code(node.op) == Some(OpCode::GlobalAveragePool)
}

/// Whether a row of one tensor and a row of another share no byte.
fn is_apart(a: &Tensor, row_a: usize, b: &Tensor, row_b: usize) -> bool {
    let (first_a, first_b) = (geometry::row_offset(a, row_a), geometry::row_offset(b, row_b));
    if first_a + geometry::row_bytes(a) <= first_b || first_b + geometry::row_bytes(b) <= first_a {
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
