//! The larger of computed tensors, `a + max(b - a, 0)`, and reductions over channels.

use super::views;
use crate::import::draft::Id;
use crate::import::failure::Failure;
use crate::import::feature::{Affine, Feature, finite};
use crate::import::layout::CHANNELS;
use crate::import::node::NodeReader;
use crate::{Conv, Op, Slice, Tensor};

/// What several elements become.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reduction {
    /// Their mean.
    Mean,
    /// Their sum.
    Sum,
    /// The largest of them.
    Largest,
    /// The smallest of them.
    Smallest,
}

/// One channel made of all those of a map, which the file's axis `axis` counts: by a convolution of single pixels, or the
/// larger ones of halves until one is left. The smallest one is asked of a settled operand with the other sign.
pub(super) fn of_channels(
    node: &mut NodeReader<'_, '_>,
    x: Feature,
    reduction: Reduction,
    axis: usize,
    keep: bool,
) -> Result<(), Failure> {
    let &[channels, height, width] = node.dims(x.value) else { return Err("takes maps [N, C, H, W]".into()) };
    let layout = x.layout.collapsed(&[CHANNELS]);
    let layout = if keep { layout } else { layout.without(|gone| gone == axis) };
    let value = match reduction {
        Reduction::Mean | Reduction::Sum => {
            node.importer.claim_weights(channels)?;
            let share = if reduction == Reduction::Mean { 1.0 / channels as f64 } else { 1.0 };
            let weight = finite((0..channels).map(|channel| x.affine.at(channel).0 * share))?;
            let bias = (0..channels).map(|channel| x.affine.at(channel).1).sum::<f64>() * share;
            let weight = node.new_parameter("shares", Tensor::new([1, channels, 1, 1], weight)?, true);
            let mut operands = vec![x.value, weight];
            if bias != 0.0 {
                operands.push(node.new_parameter("shift", Tensor::new([1], finite([bias])?)?, true));
            }
            node.push(Op::Conv(Conv::square(1, 1, 0)), &operands)?
        }
        Reduction::Largest | Reduction::Smallest => {
            let name = node.name.clone();
            let sign = if reduction == Reduction::Smallest { -1.0 } else { 1.0 };
            let by_sign = Affine::new(vec![sign], vec![0.0]);
            let mut value = x.value;
            let mut left = channels;
            while left > 1 {
                // Of an odd number the middle one is in both halves.
                let half = left.div_ceil(2);
                let mut part = |start: usize| {
                    let slice = Slice { start: [start, 0, 0], end: [start + half, height, width], step: [1; 3] };
                    node.push_part(&format!("{name}.half"), Op::Slice(slice), &[value])
                };
                let (a, b) = (part(0)?, part(left - half)?);
                value = larger(node, a, b)?;
                left = half;
            }
            let plain = node.importer.plain(value);
            return views::show(node, Feature { layout: layout.clone(), affine: by_sign, ..plain }, layout);
        }
    };
    let plain = node.importer.plain(value);
    views::show(node, Feature { layout: layout.clone(), ..plain }, layout)
}

/// The larger ones of two tensors' elements.
pub(super) fn larger(node: &mut NodeReader<'_, '_>, a: Id, b: Id) -> Result<Id, Failure> {
    let name = node.name.clone();
    let minus = negative(node, a)?;
    let above = node.push_part(&format!("{name}.difference"), Op::Add, &[b, minus])?;
    let above = node.push_part(&format!("{name}.above"), Op::Relu, &[above])?;
    node.push_part(&format!("{name}.larger"), Op::Add, &[a, above])
}

/// A tensor's elements with the other sign.
pub(super) fn negative(node: &mut NodeReader<'_, '_>, value: Id) -> Result<Id, Failure> {
    let plain = node.importer.plain(value);
    let feature = Feature { affine: Affine::new(vec![-1.0], vec![0.0]), sole: false, ..plain };
    let name = format!("{}.negative", node.name);
    Ok(node.importer.settle(feature, &name)?.value)
}
