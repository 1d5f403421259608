//! What an integer operator computes before it rounds: real numbers, term by term in float64, from the scales alone.

use super::graph::{QAffine, QConv, QNode, QOp, QTensor};
use super::resample::resize_mode;
use skipstone_onnx::{Coordinates, Resize, Window};
use skipstone_runtime::rows::Axis;
use std::ops::Range;

/// An int8 map of one image, NHWC over logical channels. Last rows that nothing reads may be missing.
#[derive(Clone, Copy, Debug)]
pub struct Map<'t> {
    /// Its shape and scale.
    pub tensor: &'t QTensor,
    /// Its elements.
    pub values: &'t [i8],
}

impl Map<'_> {
    pub(super) fn at(&self, y: usize, x: usize, c: usize) -> i64 {
        let [channels, _, width] = self.tensor.dims;
        self.values[(y * width + x) * channels + c].into()
    }

    /// The element that a mask has for a place of the trunk: of one pixel everywhere the same.
    pub(super) fn mask(&self, y: usize, x: usize, c: usize) -> i64 {
        if self.tensor.dims[1..] == [1, 1] { self.at(0, 0, c) } else { self.at(y, x, c) }
    }

    pub(super) fn zero(&self) -> i64 {
        self.tensor.params.zero_point.into()
    }

    fn scale(&self) -> f64 {
        self.tensor.params.scale.into()
    }

    /// The rows or columns of the map that window `index` of an axis covers, and how many positions with padding.
    pub(super) fn window(&self, axis: usize, index: usize, window: &Window) -> (Range<usize>, usize) {
        let (size, before) = (self.tensor.dims[axis + 1], window.pads[axis]);
        let positions = index * window.stride[axis]..index * window.stride[axis] + window.kernel[axis];
        let padded = positions.clone().filter(|&at| at < before + size + window.pads[axis + 2]).count();
        let start = positions.start.saturating_sub(before);
        (start..(positions.end - before.min(positions.end)).min(size), padded)
    }
}

/// A value before it is rounded to int8.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exact {
    /// The value in steps of the output, the zero point included.
    pub steps: f64,
    /// What the magnitudes of the terms that make it add up to, in steps.
    pub magnitude: f64,
    /// Number of terms.
    pub terms: usize,
    /// Whether it is computed without an error, in integers as in float64, so that a tie is one to the bit: all factors
    /// are whole numbers of small powers of two.
    pub dyadic: bool,
}

/// Why two engines round one value to different integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It is in the middle between the two, as far as float32 scales can tell: one rounds up, the other to even.
    Tie,
    /// It is as near to the middle as float32 can be wrong.
    Float32,
    /// It is not: one of them is wrong.
    Unexplained,
}

impl Exact {
    /// Roundings of a term beside those of the sum: its factors and their scales, the product, the division by the
    /// output's scale.
    const ROUNDINGS: usize = 8;

    /// Distance from the nearest tie, the middle between two integers, in steps.
    pub fn from_tie(&self) -> f64 {
        (self.steps - self.steps.floor() - 0.5).abs()
    }

    /// Why integers have rounded the value to `ours`, and an engine in float32 to `theirs`. Integers round ties up.
    pub fn cause(&self, ours: i8, theirs: i8) -> Cause {
        let low = self.steps.floor();
        let beside_the_tie = [ours, theirs].iter().all(|&q| [low, low + 1.0].contains(&q.into()));
        if !beside_the_tie || self.from_tie() > self.float32_error() {
            return Cause::Unexplained;
        }
        // Factors that are quotients of two or three scales, each of which was rounded to float32.
        if self.from_tie() > 4.0 * UNIT * self.magnitude {
            return Cause::Float32;
        }
        let wrong = self.dyadic && self.from_tie() == 0.0 && ours < theirs;
        if wrong { Cause::Unexplained } else { Cause::Tie }
    }

    /// How far from the value its computation in float32 can end, in whatever order it adds: as many units of rounding
    /// of the magnitude as a term goes through roundings (Higham, *Accuracy and Stability of Numerical Algorithms*,
    /// section 4.2). In steps.
    pub fn float32_error(&self) -> f64 {
        (self.terms + Self::ROUNDINGS) as f64 * UNIT * self.magnitude
    }

    /// The same with another term.
    fn plus(self, term: f64) -> Self {
        let (magnitude, dyadic) = (self.magnitude + term.abs(), self.dyadic && is_dyadic(term));
        Self { steps: self.steps + term, magnitude, terms: self.terms + 1, dyadic }
    }
}

/// Largest relative error of a rounding to float32.
const UNIT: f64 = f32::EPSILON as f64 / 2.0;

/// Whether a factor is a whole number of 2^-24, and so exact in integers whatever their shift is.
fn is_dyadic(factor: f64) -> bool {
    (factor * f64::from(1u32 << 24)).fract() == 0.0
}

/// A normalized pixel of level `level` before it is rounded, `(level / 255 - mean) / std` in steps of `image`.
pub fn exact_pixel(level: u8, mean: f32, std: f32, image: &QTensor) -> Exact {
    let (level, mean) = (f64::from(level) / 255.0, f64::from(mean));
    let steps = f64::from(std) * f64::from(image.params.scale);
    let magnitude = (level + mean.abs()) / steps;
    Exact { steps: (level - mean) / steps + f64::from(image.params.zero_point), magnitude, terms: 2, dyadic: false }
}

/// The element of `output` at a row, column and channel as `node` computes it from int8 maps; `None` where it does not
/// round, but copies or compares. `input` is what the operator itself reads: after a prologue, the prologue's result.
///
/// # Panics
/// If the maps are not those of the node.
pub fn exact(
    node: &QNode,
    input: Map<'_>,
    operand: Option<Map<'_>>,
    output: &QTensor,
    at @ [y, x, c]: [usize; 3],
) -> Option<Exact> {
    let step = f64::from(output.params.scale);
    let ratio = input.scale() / step;
    let value = match &node.op {
        QOp::Copy(_) | QOp::Blocks | QOp::Concat | QOp::MaxPool { .. } => return None,
        QOp::Affine(parameters) => return Some(affine(parameters, input, output, at)),
        QOp::Conv(conv) => {
            let unit = ratio * f64::from(conv.weight_scales[c]);
            let products = taps(conv, input, output.dims[0], at).map(|(value, weight)| (value - input.zero()) * weight);
            match conv.bias_scales[c] {
                None => sum(products.chain([conv.bias[c].into()]), unit),
                Some(_) => sum(products, unit).plus(conv.real_bias(c, input.tensor.params.scale) / step),
            }
        }
        QOp::Lookup { function, .. } => {
            let real = input.scale() * (input.at(y, x, c) - input.zero()) as f64;
            let steps = function.at(real) / step;
            Exact { steps, magnitude: steps.abs() + real.abs() / step, terms: 8, dyadic: false }
        }
        QOp::Gate { one_plus } => {
            let (trunk, one) = (operand?, if *one_plus { 1.0 } else { 0.0 });
            let dyadic = is_dyadic(ratio * trunk.scale());
            let mask = input.scale() * (input.mask(y, x, c) - input.zero()) as f64;
            let trunk = trunk.scale() * (trunk.at(y, x, c) - trunk.zero()) as f64 / step;
            Exact { steps: (mask + one) * trunk, magnitude: (mask.abs() + one) * trunk.abs(), terms: 2, dyadic }
        }
        QOp::L2Norm => {
            let channels = output.dims[0];
            let distance = |c: usize| (input.at(y, x, c) - input.zero()) as f64;
            let norm = (0..channels).map(|c| distance(c).powi(2)).sum::<f64>().sqrt();
            let steps = if norm == 0.0 { 0.0 } else { distance(c) / norm / step };
            Exact { steps, magnitude: steps.abs(), terms: channels, dyadic: false }
        }
        QOp::Resize(resize) if !resize.is_linear([input.tensor.dims[1], input.tensor.dims[2]]) => {
            resampled(resize, input, ratio, at)
        }
        QOp::InstanceNorm { epsilon } => standardized(f64::from(*epsilon), c..c + 1, input, step, at),
        QOp::GroupNorm { groups, epsilon } => {
            let size = output.dims[0] / groups;
            let first = c / size * size;
            standardized(f64::from(*epsilon), first..first + size, input, step, at)
        }
        QOp::Add | QOp::GlobalAveragePool | QOp::AveragePool { .. } | QOp::Resize(_) => {
            let weighted = weighted(&node.op, input, output, at)?;
            let unit = ratio / weighted.divisor as f64;
            let value = sum(weighted.terms.iter().map(|&(weight, value)| weight * (value - input.zero())), unit);
            Exact { terms: value.terms + weighted.other_roundings, ..value }
        }
    };
    let value = match (&node.op, operand) {
        (QOp::Conv(_) | QOp::Add, Some(map)) => {
            let ratio = map.scale() / step;
            let sum = value.plus((map.at(y, x, c) - map.zero()) as f64 * ratio);
            Exact { dyadic: value.dyadic && is_dyadic(ratio), ..sum }
        }
        _ => value,
    };
    Some(Exact { steps: value.steps + f64::from(output.params.zero_point), ..value })
}

/// As [`exact`], of an affine: factor and constant for each channel.
///
/// # Panics
/// If the map has other channels.
pub fn affine(parameters: &QAffine, input: Map<'_>, output: &QTensor, [y, x, c]: [usize; 3]) -> Exact {
    let step = f64::from(output.params.scale);
    let real = input.scale() * (input.at(y, x, c) - input.zero()) as f64;
    let product = real * f64::from(parameters.factors[c]) / step;
    let dyadic = is_dyadic(input.scale() * f64::from(parameters.factors[c]) / step);
    let value = Exact { steps: product, magnitude: product.abs(), terms: 1, dyadic };
    let value = value.plus(f64::from(parameters.constants[c]) / step);
    Exact { steps: value.steps + f64::from(output.params.zero_point), ..value }
}

/// An element less the mean of these channels' maps, over the deviation. In float32 the mean is off by roundings of what is
/// added up, and with it each distance from the mean and their squares.
fn standardized(epsilon: f64, group: Range<usize>, input: Map<'_>, step: f64, [y, x, c]: [usize; 3]) -> Exact {
    let [_, height, width] = input.tensor.dims;
    let real = |y: usize, x: usize, c: usize| (input.at(y, x, c) - input.zero()) as f64;
    let values = || positions(height, width, group.len()).map(|(y, x, c)| real(y, x, group.start + c));
    let terms = height * width * group.len();
    let count = terms as f64;
    let (mean, magnitude) = (values().sum::<f64>() / count, values().map(f64::abs).sum::<f64>() / count);
    let variance = values().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
    let deviation = (variance + epsilon / input.scale().powi(2)).sqrt();
    let steps = (real(y, x, c) - mean) / deviation / step;
    let of_values = (real(y, x, c).abs() + magnitude) / deviation / step;
    let of_deviation = steps.abs() * (1.0 + 2.0 * magnitude / deviation);
    Exact { steps, magnitude: of_values + of_deviation, terms, dyadic: false }
}

/// A sum with real weights. They are computed from positions that grow with the map, so that each is off by roundings of 1,
/// however small it is.
fn resampled(resize: &Resize, input: Map<'_>, ratio: f64, [y, x, c]: [usize; 3]) -> Exact {
    let [_, height, width] = input.tensor.dims;
    let [rows, columns] =
        [(0, height, y), (1, width, x)].map(|(axis, size, at)| resize.taps(axis, size).swap_remove(at));
    let (mut steps, mut magnitude) = (0.0, 0.0);
    for (row, down) in (rows.first..).zip(&rows.weights) {
        for (column, across) in (columns.first..).zip(&columns.weights) {
            let value = (input.at(row, column, c) - input.zero()) as f64 * ratio;
            steps += down * across * value;
            magnitude += ((down * across).abs() + down.abs() + across.abs()) * value.abs();
        }
    }
    let terms = rows.weights.len() * columns.weights.len() + 4 * (height + width);
    Exact { steps, magnitude, terms, dyadic: false }
}

/// The sum of whole terms, times `unit`.
fn sum(terms: impl Iterator<Item = i64>, unit: f64) -> Exact {
    let (mut sum, mut magnitude, mut count) = (0i64, 0i64, 0);
    for term in terms {
        sum += term;
        magnitude += term.abs();
        count += 1;
    }
    Exact { steps: sum as f64 * unit, magnitude: magnitude as f64 * unit.abs(), terms: count, dyadic: is_dyadic(unit) }
}

/// What a mean or an interpolation adds up.
pub(super) struct Weighted {
    /// Weight and value; padding that counts has the input's zero point.
    pub(super) terms: Vec<(i64, i64)>,
    /// What the weights add up to.
    pub(super) divisor: i64,
    /// Roundings of the weights themselves, where they are computed in float32.
    other_roundings: usize,
}

/// The elements that a mean, an interpolation or a sum weighs.
pub(super) fn weighted(op: &QOp, input: Map<'_>, output: &QTensor, [y, x, c]: [usize; 3]) -> Option<Weighted> {
    let [_, height_in, width_in] = input.tensor.dims;
    let [_, height, width] = output.dims;
    let mut other_roundings = 0;
    let terms: Vec<(i64, i64)> = match op {
        QOp::Add => vec![(1, input.at(y, x, c))],
        QOp::GlobalAveragePool => positions(height_in, width_in, 1).map(|(y, x, _)| (1, input.at(y, x, c))).collect(),
        QOp::AveragePool { window, count_include_pad } => {
            let ((rows, tall), (columns, wide)) = (input.window(0, y, window), input.window(1, x, window));
            let padding = if *count_include_pad { tall * wide - rows.len() * columns.len() } else { 0 };
            let elements = rows.flat_map(|y| columns.clone().map(move |x| (1, input.at(y, x, c))));
            elements.chain(std::iter::repeat_n((1, input.zero()), padding)).collect()
        }
        QOp::Resize(Resize { coordinates, .. }) => {
            // Coordinates that grow with the map are rounded, and what is left of them is a weight.
            other_roundings = height_in + width_in;
            let (rows, columns) =
                (resized(*coordinates, height_in, height, y), resized(*coordinates, width_in, width, x));
            let pairs = rows.into_iter().flat_map(|row| columns.map(|column| (row, column)));
            pairs.map(|((row, down), (column, right))| (down * right, input.at(row, column, c))).collect()
        }
        _ => return None,
    };
    let divisor = terms.iter().map(|&(weight, _)| weight).sum();
    Some(Weighted { terms, divisor, other_roundings })
}

/// Each element that a convolution reads, padding included, which is the input's zero point, and its weight.
pub(super) fn taps<'m>(
    conv: &'m QConv,
    input: Map<'m>,
    channels: usize,
    [y, x, c]: [usize; 3],
) -> impl Iterator<Item = (i64, i64)> + 'm {
    let [channels_in, height_in, width_in] = input.tensor.dims;
    let per_group = channels_in / conv.groups;
    let first = c / (channels / conv.groups) * per_group;
    let weights = &conv.weights[c * conv.weights.len() / channels..][..conv.weights.len() / channels];
    positions(conv.kernel[0], conv.kernel[1], per_group).zip(weights).map(move |((ky, kx, ci), &weight)| {
        let row = (y * conv.stride[0] + ky).checked_sub(conv.pads[0]).filter(|&row| row < height_in);
        let column = (x * conv.stride[1] + kx).checked_sub(conv.pads[1]).filter(|&column| column < width_in);
        let inside = row.zip(column);
        (inside.map_or(input.zero(), |(row, column)| input.at(row, column, first + ci)), weight.into())
    })
}

/// The two elements that position `index` of `out` lies between, and their whole weights.
fn resized(coordinates: Coordinates, size: usize, out: usize, index: usize) -> [(usize, i64); 2] {
    let at = coordinates.position(size, out, index);
    let total = Axis::new(Some(resize_mode(coordinates)), size as u16, out as u16).weight();
    // A whole number, but for the rounding of float64.
    let steps = (at * f64::from(total)).round() as i64;
    assert!((at * f64::from(total) - steps as f64).abs() < 1e-6, "{coordinates:?} {size} {out} {index}");
    let total = i64::from(total);
    let (low, fraction) = ((steps / total) as usize, steps % total);
    [(low, total - fraction), ((low + 1).min(size - 1), fraction)]
}

/// Rows, columns and channels in the order of memory.
pub(super) fn positions(height: usize, width: usize, channels: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..height).flat_map(move |y| (0..width).flat_map(move |x| (0..channels).map(move |c| (y, x, c))))
}
