//! Scale and zero point of every tensor, where tensors that must have the same ones get them.

use super::{Known, MARGIN, Scales, affine, conv};
use crate::quant::fuse::{Fused, Prologue, Step, StepOp};
use crate::quant::graph::Function;
use crate::quant::requant::{MULTIPLIER_LIMIT, OPERAND_LIMIT};
use crate::quant::root::Root;
use crate::quant::{QuantError, given};
use skipstone_onnx::{Graph, QuantParams, ValueId};
use skipstone_runtime::arith::{OPERAND_SHIFT, Requant};
use std::collections::HashMap;

/// A sigmoid's scale and zero point: its values, 0 to 1, are 256 steps.
const SIGMOID: QuantParams = QuantParams { scale: 1.0 / 256.0, zero_point: -128 };

/// Rounds in which scales are raised until nothing changes. Each follows the network once; tensors that share a scale
/// send it back to the front.
const ROUNDS: usize = 16;

/// How far from a half an entry of a sigmoid's table is kept, in steps: more than float32 arithmetic errs.
const TIE_MARGIN: f64 = 1.0 / 2048.0;

/// Scales of a sigmoid's input that are tried for that, each larger by this part.
const CANDIDATES: u32 = 64;
const CANDIDATE_STEP: f64 = 1.0 / 4096.0;

/// How much larger the scale of means is made where it is their input's, or twice or half of it: many means would be
/// exactly halves of a step, which engines that round ties to even take to the other side.
const MEAN_RATIO: f64 = 1.0 + 1.0 / 2048.0;

/// How far from a half the steps of an L2 norm's 1 are kept, in steps.
const L2_MARGIN: f64 = 1.0 / 64.0;

/// Where scales come from.
pub(super) enum Source<'s> {
    /// Calibration.
    Measured(Scales<'s>),
    /// What was chosen before.
    Known(&'s dyn Known),
}

/// Scale and zero point of the image, of what each step makes, and of what each prologue gives.
pub(super) struct TensorScales {
    groups: Groups,
    chosen: HashMap<ValueId, QuantParams>,
}

impl TensorScales {
    /// Chooses them. Scales are raised where multipliers would otherwise not fit.
    ///
    /// # Errors
    /// Those of `source`.
    pub(super) fn choose(
        graph: &Graph,
        fused: &Fused<'_>,
        source: &Source<'_>,
        image: QuantParams,
    ) -> Result<Self, QuantError> {
        let groups = Groups::new(graph, fused);
        let mut members: HashMap<ValueId, Vec<&Step<'_>>> = HashMap::new();
        for step in &fused.steps {
            members.entry(groups.of(step.output)).or_default().push(step);
        }
        let sigmoids: Vec<ValueId> =
            fused.steps.iter().filter(|step| step.op.is_sigmoid()).map(|step| groups.of(step.input)).collect();
        let mut scales = Self { chosen: HashMap::from([(groups.of(fused.input), image)]), groups };
        let mut smallest: HashMap<ValueId, f64> = HashMap::new();
        for _ in 0..ROUNDS {
            let mut changed = false;
            for step in &fused.steps {
                if let Some(prologue) = &step.prologue
                    && !scales.chosen.contains_key(&prologue.value)
                {
                    let chosen = scales.prologue(graph, source, step, prologue)?;
                    scales.chosen.insert(prologue.value, chosen);
                }
                let group = scales.groups.of(step.output);
                if group == scales.groups.of(fused.input) {
                    continue;
                }
                let needed = scales.smallest(graph, step);
                let known = smallest.get(&group).copied();
                if known.is_some_and(|known| needed <= known) {
                    continue;
                }
                smallest.insert(group, needed);
                let averaged = step.op.averages().then(|| scales.scale(step.input));
                let neighbours = Neighbours { averaged, is_sigmoid_input: sigmoids.contains(&group) };
                let chosen = propose(source, graph, &members[&group], needed, neighbours)?;
                changed |= scales.chosen.insert(group, chosen) != Some(chosen) && known.is_some();
            }
            if !changed || matches!(source, Source::Known(..)) {
                break;
            }
            // What is read may have a larger scale than it had.
        }
        Ok(scales)
    }

    /// Scale and zero point of a tensor.
    pub(super) fn of(&self, value: ValueId) -> QuantParams {
        self.chosen[&self.groups.of(value)]
    }

    fn scale(&self, value: ValueId) -> f64 {
        self.of(value).scale.into()
    }

    /// The smallest scale of a step's result for which its multipliers fit.
    fn smallest(&self, graph: &Graph, step: &Step<'_>) -> f64 {
        let input = self.scale(step.input);
        let operand = |step: &Step<'_>| step.operand.map_or(0.0, |id| self.scale(id) / OPERAND_LIMIT);
        let smallest = match &step.op {
            StepOp::Conv => {
                let factor = step.prologue.as_ref().map_or(input, |prologue| self.scale(prologue.value));
                let weights = conv::largest_weight_scale(graph, step.node, factor);
                (factor * weights / MULTIPLIER_LIMIT).max(operand(step))
            }
            StepOp::Add => (input / OPERAND_LIMIT).max(operand(step)),
            StepOp::GlobalAveragePool | StepOp::AveragePool { .. } | StepOp::Resize(_) => input / OPERAND_LIMIT,
            StepOp::Gate { .. } => {
                let trunk = step.operand.map_or(input, |id| self.scale(id));
                input * trunk / MULTIPLIER_LIMIT
            }
            StepOp::L2Norm => Root::l2(step.dims[0]).smallest_scale(),
            // What does not fit whatever the scale is, is said when the integers are made.
            StepOp::InstanceNorm { epsilon } => Root::instance(step.dims[1] * step.dims[2], *epsilon, input as f32)
                .map_or(0.0, |root| root.smallest_scale()),
            StepOp::GroupNorm { groups, epsilon } => {
                let count = step.dims.iter().product::<usize>() / groups;
                Root::group(count, *epsilon, input as f32).map_or(0.0, |root| root.smallest_scale())
            }
            // Factors that are too large are cut; tables and copies have none.
            StepOp::Affine
            | StepOp::Copy(_)
            | StepOp::Blocks
            | StepOp::MaxPool { .. }
            | StepOp::Lookup(_)
            | StepOp::Concat => 0.0,
        };
        smallest * MARGIN
    }

    fn prologue(
        &self,
        graph: &Graph,
        source: &Source<'_>,
        step: &Step<'_>,
        prologue: &Prologue<'_>,
    ) -> Result<QuantParams, QuantError> {
        match source {
            Source::Measured(scales) => scales(&[prologue.value], 0.0),
            Source::Known(known) => {
                if let Some(known) = known.tensor(&graph.value(prologue.value).name) {
                    return Ok(known);
                }
                let missing = || QuantError::NoScale { name: graph.value(prologue.value).name.clone() };
                let (requants, zero_point) = known.prologue(&step.node.name).ok_or_else(missing)?;
                // In order of channels; what only pads has no multiplier.
                let multipliers = requants.iter().filter(|requant| requant.m != 0);
                let factors = affine::real(graph, prologue.node).map(|[factor, ..]| f64::from(factor as f32));
                let scale = |(requant, factor): (&Requant, f64)| {
                    let multiplier = f64::from(requant.m) / (requant.s as f64).exp2();
                    let scale = factor * self.scale(step.input) / f64::from(1u32 << OPERAND_SHIFT) / multiplier;
                    (requant.m.unsigned_abs(), multiplier.abs(), scale)
                };
                // The one with the most digits, among those that were not cut.
                let scales = multipliers
                    .zip(factors.filter(|&factor| factor != 0.0))
                    .map(scale)
                    .filter(|(_, multiplier, _)| *multiplier < 0.49);
                let (_, _, scale) = scales.max_by_key(|(digits, ..)| *digits).ok_or_else(missing)?;
                Ok(QuantParams { scale: scale as f32, zero_point })
            }
        }
    }
}

/// What is known of the operators around a tensor.
struct Neighbours {
    /// Scale of the tensor whose elements are averaged to make it.
    averaged: Option<f64>,
    /// Whether a sigmoid reads it.
    is_sigmoid_input: bool,
}

/// Scale, at least `smallest`, and zero point of what `members` make.
fn propose(
    source: &Source<'_>,
    graph: &Graph,
    members: &[&Step<'_>],
    smallest: f64,
    neighbours: Neighbours,
) -> Result<QuantParams, QuantError> {
    let scales = match source {
        Source::Known(known) => {
            let name = &graph.value(members[0].output).name;
            return known.tensor(name).ok_or_else(|| QuantError::NoScale { name: name.clone() });
        }
        Source::Measured(scales) => scales,
    };
    if let Some(rounding) = given(graph, members) {
        return Ok(rounding);
    }
    if let [step] = members {
        let value = step.output;
        if step.op.is_sigmoid() {
            return Ok(SIGMOID);
        }
        let chosen = scales(&[value], smallest)?;
        // Where one channel has all of a pixel's length, 1 and -1 are common.
        if step.op == StepOp::L2Norm && ((1.0 / f64::from(chosen.scale)).fract() - 0.5).abs() < L2_MARGIN {
            return scales(&[value], f64::from(chosen.scale) * MEAN_RATIO);
        }
        return match neighbours {
            Neighbours { is_sigmoid_input: true, .. } => away_from_ties(scales, value, chosen),
            Neighbours { averaged: Some(input), .. } if makes_halves(input / f64::from(chosen.scale)) => {
                scales(&[value], f64::from(chosen.scale) * MEAN_RATIO)
            }
            _ => Ok(chosen),
        };
    }
    let values: Vec<ValueId> = members.iter().map(|step| step.output).collect();
    scales(&values, smallest)
}

/// What the file has for what `members` make, if it does not contradict itself.
fn given(graph: &Graph, members: &[&Step<'_>]) -> Option<QuantParams> {
    let mut roundings = members.iter().filter_map(|step| given::rounding(graph, step.output));
    let first = roundings.next()?;
    roundings.all(|other| other == first).then_some(first)
}

/// Whether means of steps of one scale are often exactly halves of steps of another, of which the second has `ratio`.
fn makes_halves(ratio: f64) -> bool {
    [0.5, 1.0, 2.0].iter().any(|simple| (ratio / simple - 1.0).abs() < MEAN_RATIO - 1.0)
}

/// The first of some scales of a sigmoid's input for which no entry of its table is next to a half, where an engine that
/// computes in float32 would round to another side than the table, for every element with that value.
fn away_from_ties(scales: Scales<'_>, value: ValueId, first: QuantParams) -> Result<QuantParams, QuantError> {
    for candidate in 0..CANDIDATES {
        let smallest = f64::from(first.scale) * (1.0 + f64::from(candidate) * CANDIDATE_STEP);
        let params = scales(&[value], smallest)?;
        let steps = |q: i8| Function::Sigmoid.at(params.real(q)) / f64::from(SIGMOID.scale);
        let is_apart = |steps: f64| (steps.fract() - 0.5).abs() > TIE_MARGIN || steps > 255.6;
        if (i8::MIN..=i8::MAX).map(steps).all(is_apart) {
            return Ok(params);
        }
    }
    Ok(first)
}

/// Which tensors share scale and zero point: what a copy, a largest element or a concatenation reads and makes. Only the
/// image, whose scale the pixels decide, and what is copied or picked from it do not take part in a concatenation's.
struct Groups(Vec<ValueId>);

impl Groups {
    fn new(graph: &Graph, fused: &Fused<'_>) -> Self {
        let mut groups = Self(graph.value_ids().collect());
        let (concats, others): (Vec<&Step<'_>>, Vec<&Step<'_>>) =
            fused.steps.iter().filter(|step| step.op.keeps_scale()).partition(|step| step.op == StepOp::Concat);
        others.iter().for_each(|step| groups.join(step.input, step.output));
        let of_image: Vec<bool> = graph.value_ids().map(|value| groups.of(value) == groups.of(fused.input)).collect();
        for step in concats {
            for value in step.reads().filter(|value| !of_image[value.index()]) {
                groups.join(value, step.output);
            }
        }
        groups
    }

    /// The value that stands for the group of `value`.
    fn of(&self, mut value: ValueId) -> ValueId {
        while self.0[value.index()] != value {
            value = self.0[value.index()];
        }
        value
    }

    /// Makes one group of two; the earlier value stands for it.
    fn join(&mut self, a: ValueId, b: ValueId) {
        let (a, b) = (self.of(a), self.of(b));
        self.0[a.max(b).index()] = a.min(b);
    }
}
