//! Which values of the graph are rounded, and how: what several pairs say of one tensor becomes one.

use super::never_negative;
use crate::import::Importer;
use crate::import::draft::Id;
use crate::import::failure::Failure;
use crate::import::feature::Feature;
use crate::import::node::NodeReader;
use crate::{Op, QuantParams};
use std::collections::HashMap;

/// Operators one after the other that only move elements, before giving up.
const MOVES_DEPTH: usize = 64;

/// Operators one after the other that are made once more for another rounding of their result.
const AGAIN_DEPTH: usize = 8;

/// How the file rounds values of the graph. A flattened map is the map.
#[derive(Default)]
pub(in crate::import) struct Roundings {
    pub(in crate::import) noted: HashMap<Id, QuantParams>,
    /// For a value: what has been rounded of it, how, and the value that this became.
    made: HashMap<Id, Vec<(Id, QuantParams, Id)>>,
    /// Values that no pair rounds, but that only move into one that is.
    shared: HashMap<Id, QuantParams>,
}

/// The feature, rounded. Its value is a new one where it is a ReLU that optimizers left out (the smallest integer stands
/// for 0), where numbers on other steps are rounded again, and where the file rounds one value in several ways.
pub(super) fn rounded(node: &mut NodeReader<'_, '_>, x: Feature, rounding: QuantParams) -> Result<Feature, Failure> {
    let value = x.value;
    let base = node.importer.base(value);
    let roundings = &node.importer.roundings;
    let made = roundings.made.get(&base).map(Vec::as_slice).unwrap_or_default();
    if let Some(&(.., before)) = made.iter().find(|(of, by, _)| *of == value && *by == rounding) {
        return Ok(Feature { value: before, ..x });
    }
    let taken = !made.is_empty() || roundings.shared.get(&base).is_some_and(|by| *by != rounding);
    let source = match roundings.noted.get(&base) {
        Some(known) if *known == rounding => return Ok(x),
        Some(_) if node.is_dequantized(0) => {
            let value = requantized(node, value, rounding)?;
            return Ok(Feature { value, ..x });
        }
        None if !taken => value,
        _ => again(node, value, rounding, 0)?,
    };
    let mut result = carried(node, source, rounding, &mut HashMap::new(), 0)?;
    if rounding.zero_point == i8::MIN && !never_negative(node.importer, result, 0) {
        let name = format!("{}.relu", node.name);
        result = node.push_part(&name, Op::Relu, &[result])?;
    }
    note(node.importer, value, rounding, result);
    Ok(Feature { value: result, ..x })
}

/// Notes that the integers that `value` is shown as are those of `rounding`; those of an image that is `given` as integers
/// may be of any.
pub(super) fn note_dequantized(
    node: &mut NodeReader<'_, '_>,
    value: Id,
    rounding: QuantParams,
    given: bool,
) -> Result<(), Failure> {
    let base = node.importer.base(value);
    match node.importer.effective_rounding(value).or(Some(rounding).filter(|_| given)) {
        Some(known) if known == rounding => {
            node.importer.roundings.noted.insert(base, rounding);
            Ok(())
        }
        Some(known) => Err(contradiction(known, rounding)),
        None => Err("the scales of what its operand is made of differ, or are not known".into()),
    }
}

fn contradiction(known: QuantParams, other: QuantParams) -> Failure {
    let [(scale, zero), (other, other_zero)] = [known, other].map(|r| (r.scale, r.zero_point));
    format!(
        "its operand is rounded with scale {scale} and zero point {zero} (of int8) already, and cannot be taken for one \
         with {other} and {other_zero}"
    )
    .into()
}

fn note(importer: &mut Importer<'_>, of: Id, rounding: QuantParams, result: Id) {
    let (base, result_base) = (importer.base(of), importer.base(result));
    importer.roundings.noted.insert(result_base, rounding);
    if base != result_base {
        importer.roundings.made.entry(base).or_default().push((of, rounding, result));
    }
}

/// A rounded value, rounded again to other steps.
fn requantized(node: &mut NodeReader<'_, '_>, value: Id, rounding: QuantParams) -> Result<Id, Failure> {
    let base = node.importer.base(value);
    let made = node.importer.roundings.made.get(&base).map(Vec::as_slice).unwrap_or_default();
    if let Some(&(.., before)) = made.iter().find(|(of, by, _)| *of == value && *by == rounding) {
        return Ok(before);
    }
    // The range of its integers, which limits it in any case.
    let [min, max] = [i8::MIN, i8::MAX].map(|q| (f32::from(q) - f32::from(rounding.zero_point)) * rounding.scale);
    let name = format!("{}.requantize", node.name);
    let result = node.push_part(&name, Op::Clip { min, max }, &[value])?;
    note(node.importer, value, rounding, result);
    Ok(result)
}

/// `value`, which is to be rounded, where all that it only moves can have the same rounding: parts that have another one
/// are requantized.
fn carried(
    node: &mut NodeReader<'_, '_>,
    value: Id,
    rounding: QuantParams,
    done: &mut HashMap<Id, Id>,
    depth: usize,
) -> Result<Id, Failure> {
    if let Some(&known) = done.get(&value) {
        return Ok(known);
    }
    if depth > MOVES_DEPTH {
        return Err(format!("more than {MOVES_DEPTH} operators before it only move elements").into());
    }
    let base = node.importer.base(value);
    let producer = node.importer.draft.producer(value).filter(|producer| moves(&producer.op));
    let moved = producer.map(|producer| (producer.name.clone(), producer.op.clone(), producer.inputs.clone()));
    let result = match (node.importer.roundings.noted.get(&base), moved) {
        (Some(known), _) if *known == rounding => value,
        (Some(_), _) => requantized(node, value, rounding)?,
        (None, None) => {
            node.importer.roundings.shared.entry(base).or_insert(rounding);
            value
        }
        (None, Some((name, op, inputs))) => {
            let mut operands = Vec::with_capacity(inputs.len());
            for &input in &inputs {
                operands.push(carried(node, input, rounding, done, depth + 1)?);
            }
            match operands == inputs {
                true => value,
                false => node.importer.push_fresh(&format!("{name}.requantized"), op, &operands)?,
            }
        }
    };
    done.insert(value, result);
    Ok(result)
}

/// The operators between rounded values and `value` once more, so that their result can have a rounding of its own.
fn again(node: &mut NodeReader<'_, '_>, value: Id, rounding: QuantParams, depth: usize) -> Result<Id, Failure> {
    let base = node.importer.base(value);
    let known = node.importer.roundings.noted.get(&base).copied();
    let Some(producer) = node.importer.draft.producer(value).filter(|_| depth <= AGAIN_DEPTH) else {
        return match known {
            Some(known) => Err(contradiction(known, rounding)),
            None if depth > AGAIN_DEPTH => {
                Err("it rounds in another way what was rounded before, far from where".into())
            }
            // The image as it is.
            None => Ok(value),
        };
    };
    let (name, op, inputs) = (format!("{}.again", producer.name), producer.op.clone(), producer.inputs.clone());
    let mut operands = Vec::with_capacity(inputs.len());
    for input in inputs {
        let base = node.importer.base(input);
        let is_given = node.importer.draft.tensor(input).is_some() || node.importer.roundings.noted.contains_key(&base);
        operands.push(if is_given { input } else { again(node, input, rounding, depth + 1)? });
    }
    node.importer.push_fresh(&name, op, &operands)
}

/// Whether the result has only elements of the operands, and zeros.
fn moves(op: &Op) -> bool {
    passes(op)
        || matches!(
            op,
            Op::MaxPool(_)
                | Op::GlobalMaxPool
                | Op::Slice(_)
                | Op::Pad(_)
                | Op::BorderPad(_)
                | Op::DepthToSpace { .. }
                | Op::SpaceToDepth { .. }
                | Op::Concat
        )
}

/// Whether the result is the operand.
fn passes(op: &Op) -> bool {
    matches!(op, Op::Flatten | Op::Dropout { .. } | Op::StochasticDepth { .. })
}

impl Importer<'_> {
    /// The value that `value` only shows as a vector, or with its channels in another order.
    fn base(&self, mut value: Id) -> Id {
        loop {
            let (source, _) = self.before_reordering(value);
            let producer = self.draft.producer(source).filter(|producer| passes(&producer.op));
            match producer {
                Some(producer) => value = producer.inputs[0],
                None => return source,
            }
        }
    }

    /// The rounding of a value, or of all that it only moves, where that is one.
    pub(super) fn effective_rounding(&self, value: Id) -> Option<QuantParams> {
        self.effective(value, &mut HashMap::new(), 0)
    }

    fn effective(&self, value: Id, done: &mut HashMap<Id, Option<QuantParams>>, depth: usize) -> Option<QuantParams> {
        if let Some(known) = self.roundings.noted.get(&self.base(value)) {
            return Some(*known);
        }
        if let Some(known) = done.get(&value) {
            return *known;
        }
        let producer = self.draft.producer(value).filter(|producer| moves(&producer.op) && depth <= MOVES_DEPTH)?;
        let mut parts = producer.inputs.iter().map(|&input| self.effective(input, done, depth + 1));
        let first = parts.next()?;
        let result = first.filter(|_| parts.all(|part| part == first));
        done.insert(value, result);
        result
    }

    /// The roundings of vectors whose maps are rounded.
    pub(super) fn flattened_roundings(&self) -> impl Iterator<Item = (Id, QuantParams)> + '_ {
        let nodes = (0..self.draft.node_count()).map(|index| self.draft.node(index));
        let vectors = nodes.filter(|node| passes(&node.op)).map(|node| node.output);
        vectors.filter_map(|vector| Some((vector, *self.roundings.noted.get(&self.base(vector))?)))
    }

    /// Notes of what the file computes of rounded values and does not round, that it is on their steps: what only moves
    /// elements, or makes negative ones 0.
    pub(super) fn inherit_roundings(&mut self) {
        for index in 0..self.draft.node_count() {
            let node = self.draft.node(index);
            let base = self.base(node.output);
            if !(moves(&node.op) || node.op == Op::Relu)
                || self.roundings.noted.contains_key(&base)
                || self.roundings.shared.contains_key(&base)
            {
                continue;
            }
            let mut parts = node.inputs.iter().map(|&input| self.roundings.noted.get(&self.base(input)).copied());
            if let Some(Some(first)) = parts.next()
                && parts.all(|part| part == Some(first))
            {
                self.roundings.noted.insert(base, first);
            }
        }
    }
}
