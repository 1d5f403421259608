//! Tensors of the file that are computed from the image.

use super::Importer;
use super::draft::Id;
use super::failure::Failure;
use super::layout::Layout;
use crate::{Conv, Op, Pad, Tensor};

/// Nodes on the way back from a vector to the map that it was, before giving up.
const UNFLATTEN_DEPTH: usize = 64;

/// A value of the graph as the file shows it.
#[derive(Clone)]
pub(super) struct Feature {
    pub(super) value: Id,
    pub(super) layout: Layout,
    /// What the file computes of the value's elements and no node of the graph does yet.
    pub(super) affine: Affine,
    /// Whether everything that reads the value does so through this tensor.
    pub(super) sole: bool,
    /// Whether the value is a softmax of which the file takes the logarithm.
    pub(super) log: bool,
}

/// `x * scale + shift`, for each channel or feature or, with one element, for all of them.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Affine {
    scale: Vec<f64>,
    shift: Vec<f64>,
}

impl Affine {
    pub(super) fn identity() -> Self {
        Self { scale: vec![1.0], shift: vec![0.0] }
    }

    /// `scale` and `shift` have one element or one for each channel.
    pub(super) fn new(scale: Vec<f64>, shift: Vec<f64>) -> Self {
        Self { scale, shift }
    }

    pub(super) fn is_identity(&self) -> bool {
        *self == Self::identity() || (self.scale.iter().all(|x| *x == 1.0) && self.shift.iter().all(|x| *x == 0.0))
    }

    /// The factor by which it only multiplies, the same everywhere.
    pub(super) fn factor(&self) -> Option<f64> {
        match (self.scale.as_slice(), self.shift.as_slice()) {
            (&[first, ..], shift) if shift.iter().all(|x| *x == 0.0) && self.scale.iter().all(|x| *x == first) => {
                Some(first)
            }
            _ => None,
        }
    }

    /// Whether it is the same for all channels or features.
    fn is_uniform(&self) -> bool {
        self.uniform().is_some()
    }

    /// Factor and summand, if they are the same for all channels or features.
    pub(super) fn uniform(&self) -> Option<(f64, f64)> {
        let same = [&self.scale, &self.shift].iter().all(|list| list.iter().all(|x| *x == list[0]));
        same.then(|| self.at(0))
    }

    /// Whether the result is zero, whatever `x` is.
    pub(super) fn is_zero(&self) -> bool {
        self.scale.iter().chain(&self.shift).all(|x| *x == 0.0)
    }

    /// Whether it is `x + 1`.
    pub(super) fn is_one_more(&self) -> bool {
        self.scale.iter().chain(&self.shift).all(|x| *x == 1.0)
    }

    /// Factor and summand of a channel.
    pub(super) fn at(&self, channel: usize) -> (f64, f64) {
        let get = |list: &[f64]| if list.len() == 1 { list[0] } else { list[channel] };
        (get(&self.scale), get(&self.shift))
    }

    /// `next` of this one's result.
    pub(super) fn then(&self, next: &Affine) -> Self {
        let len = |list: &[f64]| list.len();
        let channels = len(&self.scale).max(len(&self.shift)).max(len(&next.scale)).max(len(&next.shift));
        let pairs = (0..channels).map(|channel| {
            let ((scale, shift), (by, plus)) = (self.at(channel), next.at(channel));
            (scale * by, shift * by + plus)
        });
        let (scale, shift) = pairs.unzip();
        Self { scale, shift }
    }

    /// The same for `area` features of each channel.
    fn repeated(&self, area: usize) -> Self {
        let repeat = |list: &[f64]| match list {
            [one] => vec![*one],
            list => list.iter().flat_map(|&x| std::iter::repeat_n(x, area)).collect(),
        };
        Self { scale: repeat(&self.scale), shift: repeat(&self.shift) }
    }
}

/// float32 of numbers that were computed in float64.
pub(super) fn finite(numbers: impl IntoIterator<Item = f64>) -> Result<Vec<f32>, Failure> {
    let numbers: Vec<f32> = numbers.into_iter().map(|x| x as f32).collect();
    if numbers.iter().all(|x| x.is_finite()) {
        Ok(numbers)
    } else {
        Err("constants around it make weights that are NaN or infinite".into())
    }
}

impl Importer<'_> {
    /// A feature that shows `value` in its own order.
    pub(super) fn plain(&self, value: Id) -> Feature {
        let layout = Layout::plain(self.batch, self.draft.dims(value));
        Feature { value, layout, affine: Affine::identity(), sole: true, log: false }
    }

    /// Adds a node under names derived from `name`.
    pub(super) fn push_fresh(&mut self, name: &str, op: Op, inputs: &[Id]) -> Result<Id, Failure> {
        let name = self.draft.fresh_node(name, self.index);
        let output = self.draft.fresh(format!("{name}.out"));
        self.add(name, op, inputs, output)
    }

    /// The feature with its affine computed by the node before it, where that is a layer with weights that nobody else
    /// reads; otherwise as it was.
    pub(super) fn absorb(&mut self, mut feature: Feature) -> Result<Feature, Failure> {
        if feature.affine.is_identity() {
            feature.affine = Affine::identity();
            return Ok(feature);
        }
        if self.reordered.contains_key(&feature.value) {
            return Ok(feature);
        }
        let Some(node) = self.draft.producer(feature.value).filter(|_| feature.sole) else { return Ok(feature) };
        let (name, affine) = (node.name.clone(), &feature.affine);
        let inputs = node.inputs.clone();
        let outputs = self.draft.dims(feature.value)[0];
        let tensor = |importer: &Self, id: Id| importer.draft.tensor(id).expect("a layer's weights").clone();
        let vector = |importer: &Self, id: Option<&Id>| match id {
            Some(&id) => importer.draft.tensor(id).expect("a layer's weights").data().to_vec(),
            None => vec![0.0; outputs],
        };
        // The result is `sum(weight * x) + bias` or `weight * normalized + bias`.
        let (weight_at, bias_at) = (1, 2);
        if !matches!(node.op, Op::Conv(_) | Op::Gemm | Op::BatchNorm { .. }) {
            return Ok(feature);
        }
        let mut weight = tensor(self, inputs[weight_at]);
        let per_output = weight.data().len() / outputs;
        let scaled = weight.data().iter().enumerate().map(|(i, &w)| f64::from(w) * affine.at(i / per_output).0);
        let scaled = finite(scaled)?;
        let bias = vector(self, inputs.get(bias_at)).into_iter().enumerate().map(|(channel, bias)| {
            let (scale, shift) = affine.at(channel);
            f64::from(bias) * scale + shift
        });
        let bias = Tensor::new([outputs], finite(bias)?)?;
        let mut changed = inputs.clone();
        if scaled != weight.data() {
            let fresh = self.draft.fresh(format!("{name}.weight"));
            let known = self.integers.get(&inputs[weight_at]).filter(|known| known.are(weight.data()));
            let known = known.map(|known| known.scaled(|channel| affine.at(channel).0));
            weight.data_mut().copy_from_slice(&known.as_ref().map_or(scaled, |known| known.real()));
            changed[weight_at] = self.draft.parameter(fresh, weight, true);
            if let Some(known) = known {
                self.integers.insert(changed[weight_at], known);
            }
        }
        let fresh = self.draft.fresh(format!("{name}.bias"));
        let bias = self.draft.parameter(fresh, bias, true);
        changed.truncate(bias_at.max(inputs.len()));
        if changed.len() == bias_at {
            changed.push(bias)
        } else {
            changed[bias_at] = bias
        }
        self.draft.producer_mut(feature.value).expect("found above").inputs = changed;
        feature.affine = Affine::identity();
        Ok(feature)
    }

    /// The feature with its affine computed by a node: by the layer before it, or else by a convolution of single
    /// pixels and channels, named after `name`.
    pub(super) fn settle(&mut self, feature: Feature, name: &str) -> Result<Feature, Failure> {
        if feature.log {
            return Err("nothing may follow a LogSoftmax but the output".into());
        }
        let feature = self.absorb(feature)?;
        if feature.affine.is_identity() {
            return Ok(feature);
        }
        if self.reordered.contains_key(&feature.value) {
            return self.settle_before_reordering(feature, name);
        }
        let is_map = self.draft.dims(feature.value).len() == 3;
        let (map, layout) = if is_map { (feature.value, feature.layout.clone()) } else { self.unflatten(&feature)? };
        let channels = self.draft.dims(map)[0];
        let area = self.draft.dims(map)[1..].iter().product::<usize>();
        if !is_map && area != 1 && !feature.affine.is_uniform() {
            return Err("constants that differ from feature to feature are not supported there".into());
        }
        // At most as long as the map has channels, or the same everywhere.
        let weight = finite((0..channels).map(|channel| feature.affine.at(channel).0))?;
        let bias = finite((0..channels).map(|channel| feature.affine.at(channel).1))?;
        let (weight_name, bias_name) =
            (self.draft.fresh(format!("{name}.scale")), self.draft.fresh(format!("{name}.shift")));
        let weight = self.draft.parameter(weight_name, Tensor::new([channels, 1, 1, 1], weight)?, true);
        let bias = self.draft.parameter(bias_name, Tensor::new([channels], bias)?, true);
        let (map, pads) = self.unpadded(map);
        let conv = Conv { groups: channels, pads, ..Conv::square(1, 1, 0) };
        let mut value = self.push_fresh(&format!("{name}.affine"), Op::Conv(conv), &[map, weight, bias])?;
        if is_map {
            return Ok(Feature { value, affine: Affine::identity(), sole: true, layout, log: false });
        }
        value = self.push_fresh(&format!("{name}.flatten"), Op::Flatten, &[value])?;
        Ok(Feature { value, affine: Affine::identity(), sole: true, ..feature })
    }

    /// The map before a padding of its rows and columns with zeros, and that padding: top, left, bottom, right.
    pub(super) fn unpadded(&self, map: Id) -> (Id, [usize; 4]) {
        match self.draft.producer(map).map(|before| (&before.op, before.inputs[0])) {
            Some((&Op::Pad(Pad { before: [0, top, left], after: [0, bottom, right] }), input)) => {
                (input, [top, left, bottom, right])
            }
            _ => (map, [0; 4]),
        }
    }

    /// The map of which a feature's vector is the flattened form, and the feature's layout over it.
    pub(super) fn unflatten(&mut self, feature: &Feature) -> Result<(Id, Layout), Failure> {
        let map = self.as_map(feature.value, 0)?;
        let layout = feature.layout.unflattened(self.draft.dims(map));
        layout.map(|layout| (map, layout)).ok_or_else(|| "its operand is no map of channels, height and width".into())
    }

    /// The map whose elements, flattened, are `vector`: the nodes on the way to it are made once more for maps.
    fn as_map(&mut self, vector: Id, depth: usize) -> Result<Id, Failure> {
        if let Some(&map) = self.maps.get(&vector) {
            return Ok(map);
        }
        let fail = || Failure::from("takes a map [N, C, H, W], has a vector that was never one");
        let Some(node) = self.draft.producer(vector).filter(|_| depth < UNFLATTEN_DEPTH) else { return Err(fail()) };
        let (name, op, inputs) = (format!("{}.map", node.name), node.op.clone(), node.inputs.clone());
        let map = match op {
            Op::Flatten => inputs[0],
            Op::Gemm => {
                let map = self.as_map(inputs[0], depth + 1)?;
                let &[channels, height, width] = self.draft.dims(map) else { return Err(fail()) };
                let weight = self.draft.tensor(inputs[1]).ok_or_else(fail)?;
                let weight = Tensor::new([weight.dims()[0], channels, height, width], weight.data().to_vec())?;
                let fresh = self.draft.fresh(format!("{name}.weight"));
                let mut operands = vec![map, self.draft.parameter(fresh, weight, true)];
                operands.extend(inputs.get(2));
                let conv = Conv { kernel: [height, width], ..Conv::square(1, 1, 0) };
                self.push_fresh(&name, Op::Conv(conv), &operands)?
            }
            Op::Relu
            | Op::Sigmoid
            | Op::Unary(_)
            | Op::Clip { .. }
            | Op::Dropout { .. }
            | Op::StochasticDepth { .. }
            | Op::Add
            | Op::Mul
            | Op::Concat => {
                let maps = inputs.iter().map(|&input| self.as_map(input, depth + 1)).collect::<Result<Vec<_>, _>>()?;
                let area = |&map: &Id| self.draft.dims(map)[1..].iter().product::<usize>();
                if op == Op::Concat && maps.iter().any(|map| area(map) != 1) {
                    return Err(fail());
                }
                self.push_fresh(&name, op, &maps)?
            }
            _ => return Err(fail()),
        };
        self.maps.insert(vector, map);
        Ok(map)
    }

    /// A feature as a map `[C, H, W]` in the graph's order.
    pub(super) fn map(&mut self, feature: Feature, name: &str) -> Result<Id, Failure> {
        let feature = self.settle(feature, name)?;
        let dims = feature.layout.dims();
        if dims.len() != 4 {
            return Err(format!("takes a map [N, C, H, W], has {dims:?}").into());
        }
        let (value, layout) = match self.draft.dims(feature.value).len() {
            3 => (feature.value, feature.layout.clone()),
            _ => self.unflatten(&feature)?,
        };
        let Feature { value, layout, .. } = self.in_order(Feature { value, layout, ..feature }, name)?;
        if layout != Layout::plain(self.batch, self.draft.dims(value)) {
            self.wrong_order = true;
            return Err("its operand's axes are not batch, channels, height, width in this order".into());
        }
        Ok(value)
    }

    /// The feature with the channels of its map in the file's order, if the file shuffled them or made them of pixels, or
    /// pixels of them.
    pub(super) fn in_order(&mut self, feature: Feature, name: &str) -> Result<Feature, Failure> {
        let feature = self.rearranged(feature, name)?;
        let dims = self.draft.dims(feature.value).to_vec();
        let Some((order, layout)) = feature.layout.shuffled(&dims).filter(|_| dims.len() == 3) else {
            return Ok(feature);
        };
        let feature = self.settle(feature, name)?;
        self.claim_weights(order.len() * order.len())?;
        let value = self.reorder(feature.value, order, feature.sole, name)?;
        Ok(Feature { value, layout, ..feature })
    }

    /// Takes so many weights from those that may still be made of nothing.
    pub(super) fn claim_weights(&mut self, count: usize) -> Result<(), Failure> {
        self.budget =
            self.budget.checked_sub(count).ok_or_else(|| format!("takes {count} weights: too many for this file"))?;
        Ok(())
    }

    /// A feature as a vector; and, where its elements are in another order than the graph's, each element's place.
    pub(super) fn vector(&mut self, feature: Feature, name: &str) -> Result<(Id, Option<Vec<usize>>), Failure> {
        let feature = self.settle(feature, name)?;
        let dims = self.draft.dims(feature.value);
        let count: usize = dims.iter().product();
        if count > self.budget {
            return Err(format!("has {count} features: too many for weights that the file could hold").into());
        }
        let places = feature
            .layout
            .flat(self.batch, dims)
            .ok_or_else(|| format!("takes a vector of features for each image, has {:?}", feature.layout.dims()))?;
        match self.draft.dims(feature.value).len() {
            1 => Ok((feature.value, places)),
            _ => Ok((self.push_fresh(&format!("{name}.flatten"), Op::Flatten, &[feature.value])?, places)),
        }
    }

    /// Whether a feature is a map that the file shows flattened, as the graph's `Flatten` does.
    pub(super) fn is_flattened(&self, feature: &Feature) -> bool {
        let dims = self.draft.dims(feature.value);
        let shown = feature.layout.dims();
        let vector = match shown.as_slice() {
            [first, _] => *first == self.batch,
            [_] => self.batch == 1,
            _ => false,
        };
        vector && dims.len() == 3 && feature.layout.is_flat(self.batch, dims)
    }

    /// The affine of the flattened form of a feature's map.
    pub(super) fn flattened_affine(&self, feature: &Feature) -> Affine {
        feature.affine.repeated(self.draft.dims(feature.value)[1..].iter().product())
    }
}
