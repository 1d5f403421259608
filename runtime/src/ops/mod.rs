//! Integer operators, each in a file of its own.
//!
//! An operator is two values: an [`Operator`], which the engine needs, and its [`Rules`], which planner, packer and check
//! read. A program that loads any model has all of [`ALL`]; another one links only what it names ([`Operators::of`]).
//! `docs/kernels.md` says how to add one.

pub mod add;
pub mod affine;
pub mod average_pool;
pub mod blocks;
pub mod concat;
pub mod conv;
pub mod copy;
pub mod gate;
pub mod global_pool;
pub mod group_norm;
pub mod instance_norm;
pub mod l2_norm;
pub mod lookup;
pub mod max_pool;
pub mod resample;
pub mod resize;

use crate::arena::Maps;
use crate::arith::{Requant, SHIFT_MAX, SHIFT_MIN};
use crate::bounds;
use crate::format::records::{Node, OpCode, Tensor};
pub(crate) use crate::format::{Verdict, ensure};
use crate::kernels::layout::{self, LAYOUTS, Layout, Packing};
use crate::model::Model;
use crate::network::Network;
use crate::rows::{self, is_view};
use crate::step::Step;
use core::ops::Range;

/// Room for the codes of operators.
const CODES: usize = 16;

/// An operator, as the engine needs it.
pub struct Operator {
    /// Its code.
    pub code: OpCode,
    /// Whether it reads all rows of its input, one in each step, before it makes its one row.
    pub reduces: bool,
    /// Rows of the first operand that a step reads that makes these rows.
    pub reads: fn(&Node, &Tensor, &Tensor, Range<usize>) -> Range<usize>,
    /// Runs a step: writes its rows, with the step's scratch.
    pub(crate) step: fn(&Step<'_, '_>, &mut Maps<'_>, &mut [i8]),
}

/// How many operands an operator has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operands {
    /// One.
    One,
    /// One, and perhaps a second.
    OneOrTwo,
    /// Two.
    Two,
}

/// What planner, packer and check know of an operator besides.
pub struct Rules {
    /// The operator.
    pub operator: &'static Operator,
    /// Its path in this crate.
    pub path: &'static str,
    /// How many operands it has.
    pub operands: Operands,
    /// The largest value of its flags.
    pub flags: u8,
    /// Whether it can gather its input's rows from the members of a view: it copies what it reads anyway.
    pub gathers: bool,
    /// Number of its [`Requant`]s.
    pub requants: fn(&Node, &Tensor) -> usize,
    /// Bytes of scratch that one step needs, whichever kernel runs it; the last argument is the layout of its weights.
    pub scratch: fn(&Node, &Tensor, &Tensor, Option<&Layout>) -> usize,
    /// Bytes that it keeps between its steps.
    pub state: fn(&Node, &Tensor) -> usize,
    /// Whether shapes follow from each other, and what it reads besides maps lies in the file.
    pub(crate) check: fn(&Checked<'_, '_>) -> Verdict,
    /// Whether no sum leaves its 32 or 64 bits, whatever the image is, and weights are as kernels expect them.
    pub(crate) sums: fn(&Checked<'_, '_>) -> Verdict,
}

/// A node whose operands exist.
pub(crate) struct Checked<'c, 'm> {
    pub(crate) model: &'c Model<'m>,
    pub(crate) node: &'c Node,
    pub(crate) input: &'c Tensor,
    pub(crate) output: &'c Tensor,
    pub(crate) operand: Option<&'c Tensor>,
    /// As many as the operator's rules say.
    pub(crate) requants: &'c [Requant],
    /// The layouts that weights may have.
    pub(crate) layouts: &'static [&'static Packing],
}

/// The rules of every operator, in order of their codes.
pub static RULES: &[&Rules] = &[
    &conv::RULES,
    &add::RULES,
    &global_pool::RULES,
    &copy::RULES,
    &affine::RULES,
    &max_pool::RULES,
    &average_pool::RULES,
    &lookup::RULES,
    &gate::RULES,
    &resize::RULES,
    &concat::RULES,
    &l2_norm::RULES,
    &instance_norm::RULES,
    &resample::RULES,
    &group_norm::RULES,
    &blocks::RULES,
];

/// Operators by their codes.
pub struct Operators([Option<&'static Operator>; CODES]);

/// Every operator.
pub static ALL: Operators = RuleTable::of(RULES, LAYOUTS).operators;

impl Operators {
    /// These and no others.
    pub const fn of(operators: &[&'static Operator]) -> Self {
        let mut all = [None; CODES];
        let mut index = 0;
        while index < operators.len() {
            all[operators[index].code as usize] = Some(operators[index]);
            index += 1;
        }
        Self(all)
    }

    /// The operator of a code, if it is among them.
    #[inline]
    pub fn get(&self, code: u8) -> Option<&'static Operator> {
        self.0.get(usize::from(code)).copied().flatten()
    }

    /// Steps that `node` takes to make its whole `output` from `input`.
    #[inline]
    pub fn steps(&self, node: &Node, input: &Tensor, output: &Tensor) -> usize {
        match self.get(node.op) {
            Some(operator) if operator.reduces => input.height.into(),
            _ if node.rows_per_step == 1 => output.height.into(),
            _ => usize::from(output.height).div_ceil(bounds::size(node.rows_per_step).get()),
        }
    }

    /// Output rows that exist after `done` steps.
    #[inline]
    pub fn rows_made(&self, node: &Node, input: &Tensor, output: &Tensor, done: usize) -> usize {
        match self.get(node.op) {
            Some(operator) if operator.reduces => usize::from(done >= usize::from(input.height)),
            _ => usize::from(output.height).min(done * usize::from(node.rows_per_step)),
        }
    }

    /// Rows of the first operand that step number `step` reads, clipped to the map.
    #[inline]
    pub fn input_rows(&self, node: &Node, input: &Tensor, output: &Tensor, step: usize) -> Range<usize> {
        match self.get(node.op) {
            Some(operator) if operator.reduces => step..(step + 1).min(input.height.into()),
            Some(operator) => (operator.reads)(node, input, output, rows::output_rows(node, output, step)),
            None => 0..0,
        }
    }
}

/// Operators with their rules, by their codes, and layouts of weights: what a check of models judges by. A model with others
/// is refused.
pub struct RuleTable {
    rules: [Option<&'static Rules>; CODES],
    /// The layouts that weights may have.
    pub(crate) layouts: &'static [&'static Packing],
    /// The operators alone.
    pub operators: Operators,
}

/// Every operator with its rules, and every layout.
pub static EVERY: RuleTable = RuleTable::of(RULES, LAYOUTS);

impl AsRef<Operators> for Operators {
    fn as_ref(&self) -> &Operators {
        self
    }
}

impl AsRef<Operators> for RuleTable {
    fn as_ref(&self) -> &Operators {
        &self.operators
    }
}

impl RuleTable {
    /// These and no others.
    pub const fn of(of: &[&'static Rules], layouts: &'static [&'static Packing]) -> Self {
        let mut rules = [None; CODES];
        let mut operators = Operators([None; CODES]);
        let mut index = 0;
        while index < of.len() {
            let operator = of[index].operator;
            rules[operator.code as usize] = Some(of[index]);
            operators.0[operator.code as usize] = Some(operator);
            index += 1;
        }
        Self { rules, layouts, operators }
    }

    /// The rules of a node's operator, if they are among them.
    #[inline]
    pub fn get(&self, node: &Node) -> Option<&'static Rules> {
        self.rules.get(usize::from(node.op)).copied().flatten()
    }

    /// Bytes of scratch that one step of a node needs.
    pub fn scratch_len(&self, node: &Node, input: &Tensor, output: &Tensor) -> usize {
        let layout = layout::find(self.layouts, node.layout).map(|packing| packing.layout);
        let scratch = |rules: &Rules| (rules.scratch)(node, input, output, layout);
        self.get(node).filter(|_| !is_view(node)).map_or(0, scratch)
    }

    /// Bytes that a node keeps between its steps.
    pub fn state_len(&self, node: &Node, output: &Tensor) -> usize {
        self.get(node).map_or(0, |rules| (rules.state)(node, output))
    }
}

/// The rules of a node's operator; `None` if its code has no meaning.
pub fn rules(node: &Node) -> Option<&'static Rules> {
    EVERY.get(node)
}

/// [`Operators::steps`] of all operators.
pub fn steps(node: &Node, input: &Tensor, output: &Tensor) -> usize {
    ALL.steps(node, input, output)
}

/// [`Operators::rows_made`] of all operators.
pub fn rows_made(node: &Node, input: &Tensor, output: &Tensor, done: usize) -> usize {
    ALL.rows_made(node, input, output, done)
}

/// [`Operators::input_rows`] of all operators.
pub fn input_rows(node: &Node, input: &Tensor, output: &Tensor, step: usize) -> Range<usize> {
    ALL.input_rows(node, input, output, step)
}

/// Whether a node can gather its input's rows from the members of a view.
pub fn reads_views(node: &Node) -> bool {
    rules(node).is_some_and(|rules| rules.gathers)
}

/// Bytes of scratch that one step of a node needs.
pub fn scratch_len(node: &Node, input: &Tensor, output: &Tensor) -> usize {
    EVERY.scratch_len(node, input, output)
}

/// Bytes that a node keeps between its steps.
pub fn state_len(node: &Node, output: &Tensor) -> usize {
    EVERY.state_len(node, output)
}

/// Number of a node's [`Requant`]s.
pub fn requant_count(node: &Node, output: &Tensor) -> usize {
    rules(node).map_or(0, |rules| (rules.requants)(node, output))
}

impl<'m> Model<'m> {
    /// How accumulators of `node` become outputs: as many as its operator's [`Rules`] say.
    pub fn requant(&self, node: &Node) -> &'m [Requant] {
        self.requants(node.requant, requant_count(node, self.tensor(node.output.into())))
    }
}

/// The rows that a step makes, of an operator that reads the same ones.
fn same_rows(_: &Node, _: &Tensor, _: &Tensor, made: Range<usize>) -> Range<usize> {
    made
}

fn no_bytes(_: &Node, _: &Tensor) -> usize {
    0
}

fn no_scratch(_: &Node, _: &Tensor, _: &Tensor, _: Option<&Layout>) -> usize {
    0
}

/// Scratch of operators that make whole rows: a dense one before it is scattered, where the output is a slice of a
/// concatenation.
fn dense_row(_: &Node, _: &Tensor, output: &Tensor, _: Option<&Layout>) -> usize {
    if !rows::is_slice(output) {
        return 0;
    }
    (usize::from(output.width) * usize::from(output.channels)).next_multiple_of(16)
}

impl Checked<'_, '_> {
    /// The layout of the node's weights, if it is known.
    fn packing(&self) -> Option<&'static Packing> {
        layout::find(self.layouts, self.node.layout)
    }

    /// Whether `len` bytes from a file offset are an aligned section of the file.
    fn is_section(&self, offset: u32, len: u64) -> bool {
        self.model.is_section(offset, len)
    }

    /// Whether the output has the input's shape.
    fn keeps_shape(&self) -> bool {
        shape(self.input) == shape(self.output)
    }

    /// Whether the weights are 1 for each channel of the output, or 0 for one that only pads.
    fn has_channel_mask(&self) -> Verdict {
        let (node, channels) = (self.node, self.output.channels);
        let mask = node.weights_len == channels.into()
            && self.is_section(node.weights, channels.into())
            && self.model.channel_mask(node).iter().all(|counts| (0..=1).contains(counts));
        ensure!(mask, "its channels are not as many numbers 0 or 1 inside the file")
    }

    /// Whether all conversions keep to 64 bits for accumulators of magnitude `acc`.
    fn are_safe(&self, acc: u64) -> Verdict {
        ensure!(self.requants.iter().all(|requant| is_safe(requant, acc, None)), OVERFLOW)
    }
}

const OVERFLOW: &str = "its output conversion can overflow, or a shift is not in 32..=62";

/// Largest magnitude of an int8 value.
pub(crate) const VALUE: u64 = 128;

fn shape(tensor: &Tensor) -> (u16, u16, u16) {
    (tensor.height, tensor.width, tensor.channels)
}

/// Whether integers mean the same in both.
fn alike(a: &Tensor, b: &Tensor) -> bool {
    a.zero_point == b.zero_point && a.scale == b.scale
}

/// Whether `requant` keeps to 64 bits for all accumulators of magnitude `acc` and all operands.
pub(crate) fn is_safe(requant: &Requant, acc: u64, operand: Option<i32>) -> bool {
    use crate::arith::OPERAND_SHIFT;
    // The second product has 8 + OPERAND_SHIFT + 32 bits at most. What does not fit 64 bits does not fit 63.
    let operand = (VALUE << OPERAND_SHIFT) * u64::from(operand.unwrap_or(0).unsigned_abs());
    let product = acc.checked_mul(requant.m.unsigned_abs().into());
    let sum = product.and_then(|sum| sum.checked_add(operand)?.checked_add(requant.c.unsigned_abs()));
    (SHIFT_MIN..=SHIFT_MAX).contains(&requant.s) && requant.m != i32::MIN && sum.is_some_and(|sum| sum < 1 << 63)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_in_order_of_their_codes() {
        for (code, rules) in RULES.iter().enumerate() {
            assert_eq!(rules.operator.code as usize, code);
            assert!(ALL.get(code as u8).is_some_and(|operator| core::ptr::eq(operator, rules.operator)));
        }
        assert!((RULES.len()..=255).all(|code| ALL.get(code as u8).is_none()));
        assert!(Operators::of(&[&add::OPERATOR]).get(OpCode::Conv as u8).is_none());
    }
}
