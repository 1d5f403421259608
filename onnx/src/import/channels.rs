//! Channels in another order, as a change from RGB to BGR is written.
//!
//! A reordered map is the result of a convolution of single pixels with ones and zeros. What reads it reads the map before
//! instead wherever it can: an operator on each channel alone gives its result in the old order, which is then reordered,
//! and a convolution has its weights reordered. Where all readers can, nothing needs the ones and zeros.

use super::Importer;
use super::draft::Id;
use super::failure::Failure;
use super::feature::{Affine, Feature};
use crate::{Conv, Integers, Op, Tensor};

/// The operands of an operator before their channels change places, and the order of its channels then.
type Unordered = (Vec<Id>, Vec<usize>);

/// A map whose channels are those of another in another order.
#[derive(Clone)]
pub(super) struct Reordered {
    source: Id,
    /// For each channel that of the source.
    order: Vec<usize>,
    /// Whether everything that reads the source does so through this map.
    sole: bool,
}

/// Whether each of `0..count` is among as many numbers.
pub(super) fn is_permutation(order: &[usize], count: usize) -> bool {
    let mut seen = vec![false; count];
    order.len() == count && order.iter().all(|&at| seen.get_mut(at).is_some_and(|seen| !std::mem::replace(seen, true)))
}

fn inverse(order: &[usize]) -> Vec<usize> {
    let mut inverse = vec![0; order.len()];
    order.iter().enumerate().for_each(|(to, &from)| inverse[from] = to);
    inverse
}

/// The weights `[to, from, 1, 1]` that choose channels.
pub(super) fn choosing(chosen: &[usize], channels: usize) -> Result<Tensor, Failure> {
    let mut weight = vec![0.0; chosen.len() * channels];
    chosen.iter().enumerate().for_each(|(to, &from)| weight[to * channels + from] = 1.0);
    Ok(Tensor::new([chosen.len(), channels, 1, 1], weight)?)
}

impl Importer<'_> {
    /// The map whose channel `i` is channel `order[i]` of `source`; both are read through features only if `sole`.
    pub(super) fn reorder(&mut self, source: Id, order: Vec<usize>, sole: bool, name: &str) -> Result<Id, Failure> {
        let (source, order, sole) = match self.reordered.get(&source) {
            Some(before) => (before.source, order.iter().map(|&at| before.order[at]).collect(), sole && before.sole),
            None => (source, order, sole),
        };
        if order.iter().enumerate().all(|(to, &from)| to == from) {
            return Ok(source);
        }
        let weight = choosing(&order, order.len())?;
        let fresh = self.draft.fresh(format!("{name}.channels"));
        let weight = self.draft.parameter(fresh, weight, true);
        let node = self.draft.fresh_node(format!("{name}.reordered"), self.index);
        let output = self.draft.fresh(format!("{node}.out"));
        let value = self.draft.push(node, Op::Conv(Conv::square(1, 1, 0)), &[source, weight], output)?;
        self.reordered.insert(value, Reordered { source, order, sole });
        Ok(value)
    }

    /// As [`reorder`](Self::reorder), for a reader that needs the channels where they are: the convolution that makes
    /// `source` makes them in that order, where nothing else reads it and no integers are known of it.
    pub(super) fn with_channels(
        &mut self,
        source: Id,
        order: Vec<usize>,
        sole: bool,
        name: &str,
    ) -> Result<Id, Failure> {
        let layer = self.draft.producer(source).filter(|_| sole && self.dequantized.is_empty());
        let layer = layer.filter(|layer| matches!(&layer.op, Op::Conv(conv) if conv.groups == 1));
        let layer = layer.filter(|_| !self.reordered.contains_key(&source));
        let Some((layer, inputs)) = layer.map(|layer| (layer.name.clone(), layer.inputs.clone())) else {
            self.claim_weights(order.len() * order.len())?;
            return self.reorder(source, order, sole, name);
        };
        let mut changed = vec![inputs[0]];
        for &input in &inputs[1..] {
            changed.push(self.with_rows(&layer, input, &order, true)?);
        }
        self.draft.producer_mut(source).expect("found above").inputs = changed;
        Ok(source)
    }

    /// A value with the same elements whose channels are in their first order, and the order of the value's.
    pub(super) fn before_reordering(&self, value: Id) -> (Id, Option<&[usize]>) {
        match self.reordered.get(&value) {
            Some(reordered) => (reordered.source, Some(&reordered.order)),
            None => (value, None),
        }
    }

    /// Values whose channels are in another order than those of the values beside them.
    pub(super) fn reordered_values(&self) -> impl Iterator<Item = (Id, Id)> + '_ {
        self.reordered.iter().map(|(&value, reordered)| (value, reordered.source))
    }

    /// A feature of a reordered map with its affine computed before the channels change places.
    pub(super) fn settle_before_reordering(&mut self, feature: Feature, name: &str) -> Result<Feature, Failure> {
        let Some(Reordered { source, order, sole }) = self.reordered.get(&feature.value).cloned() else {
            return Ok(feature);
        };
        let (scale, shift) = inverse(&order).into_iter().map(|channel| feature.affine.at(channel)).unzip();
        let plain = self.plain(source);
        let sole = feature.sole && sole;
        let settled = self.settle(Feature { affine: Affine::new(scale, shift), sole, ..plain }, name)?;
        let value = self.reorder(settled.value, order, settled.sole, name)?;
        Ok(Feature { value, affine: Affine::identity(), ..feature })
    }

    /// Adds a node, whose result has the name `output`. What it does to each channel alone it does before the channels
    /// change places.
    pub(super) fn add(&mut self, name: String, op: Op, inputs: &[Id], output: String) -> Result<Id, Failure> {
        let Some((operands, order)) = self.before_reordering_of_all(&name, &op, inputs)? else {
            return Ok(self.draft.push(name, op, inputs, output)?);
        };
        let source = self.draft.push(name, op, &operands, output.clone())?;
        self.reorder(source, order, true, &output)
    }

    /// The operands with which `op` gives its result before its channels change places, and their order then; nothing
    /// where `op` mixes channels or they are in no other order.
    fn before_reordering_of_all(&mut self, name: &str, op: &Op, inputs: &[Id]) -> Result<Option<Unordered>, Failure> {
        let Some(Reordered { source, order, .. }) = inputs.first().and_then(|id| self.reordered.get(id)).cloned()
        else {
            return Ok(None);
        };
        let channels = order.len();
        let mut operands = vec![source];
        match op {
            Op::Relu
            | Op::Clip { .. }
            | Op::Sigmoid
            | Op::Unary(_)
            | Op::L2Norm
            | Op::InstanceNorm { .. }
            | Op::MaxPool(_)
            | Op::AveragePool { .. }
            | Op::GlobalAveragePool
            | Op::GlobalMaxPool
            | Op::Resize(_)
            | Op::Dropout { .. }
            | Op::StochasticDepth { .. } => {}
            Op::Slice(slice) if (slice.start[0], slice.step[0]) == (0, 1) && slice.end[0] >= channels => {}
            Op::Pad(pad) if (pad.before[0], pad.after[0]) == (0, 0) => {}
            Op::Add | Op::Mul => {
                for input in &inputs[1..] {
                    match self.reordered.get(input) {
                        Some(other) if other.order == order => operands.push(other.source),
                        _ => return Ok(None),
                    }
                }
            }
            Op::BatchNorm { .. } => {
                let rows = inverse(&order);
                for (index, &input) in inputs.iter().enumerate().skip(1) {
                    operands.push(self.with_rows(name, input, &rows, index < 3)?);
                }
            }
            Op::Conv(conv) if conv.groups == channels && channels > 1 => {
                let Some(outputs) = inputs.get(1).and_then(|&id| self.draft.tensor(id)).map(|weight| weight.dims()[0])
                else {
                    return Ok(None);
                };
                let each = outputs / channels;
                let of_groups = |groups: &[usize]| -> Vec<usize> {
                    groups.iter().flat_map(|&group| (0..each).map(move |output| group * each + output)).collect()
                };
                let rows = of_groups(&inverse(&order));
                for &input in &inputs[1..] {
                    operands.push(self.with_rows(name, input, &rows, true)?);
                }
                return Ok(Some((operands, of_groups(&order))));
            }
            _ => return Ok(None),
        }
        Ok(Some((operands, order)))
    }

    /// A parameter with other rows of the parameter `id`, and so its integers.
    fn with_rows(&mut self, name: &str, id: Id, rows: &[usize], trainable: bool) -> Result<Id, Failure> {
        let Some(tensor) = self.draft.tensor(id) else { return Err("takes constants there".into()) };
        let row = tensor.count() / rows.len();
        let data = rows.iter().flat_map(|&at| &tensor.data()[at * row..][..row]).copied().collect();
        let tensor = Tensor::new(tensor.dims().to_vec(), data)?;
        let fresh = self.draft.fresh(format!("{name}.{}", self.draft.name(id)));
        let made = self.draft.parameter(fresh, tensor, trainable);
        if let Some(known) = self.integers.get(&id) {
            let scales = rows.iter().map(|&at| known.scales[at]).collect();
            let values = rows.iter().flat_map(|&at| &known.values[at * row..][..row]).copied().collect();
            self.integers.insert(made, Integers { scales, values });
        }
        Ok(made)
    }
}

/// The weights of a convolution in one group that reads a map before its channels come into `order`.
pub(super) fn before(order: &[usize], weight: &Tensor) -> Result<Tensor, Failure> {
    let &[outputs, inputs, height, width] = weight.dims() else { return Err("the weight is not OIHW".into()) };
    if inputs != order.len() {
        return Err(format!("the weight has {inputs} input channels for a map of {}", order.len()).into());
    }
    let (from, area) = (inverse(order), height * width);
    let rows = (0..outputs).flat_map(|output| from.iter().map(move |&input| output * inputs + input));
    let data = rows.flat_map(|at| &weight.data()[at * area..][..area]).copied().collect();
    Ok(Tensor::new([outputs, inputs, height, width], data)?)
}
