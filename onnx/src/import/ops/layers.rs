//! Layers with weights, and what stands around them: batch norm, linear layers, dropout, softmax.

use super::regions::bind_ordered;
use super::{positions, stack, unary};
use crate::export::STOCHASTIC_DEPTH;
use crate::import::axes::axis;
use crate::import::draft::Id;
use crate::import::failure::Failure;
use crate::import::feature::{Affine, Feature, finite};
use crate::import::layout::CHANNELS;
use crate::import::node::NodeReader;
use crate::{Conv, Op, Tensor};

pub(super) fn batch_norm(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    let epsilon = node.attributes.float("epsilon")?.unwrap_or(1e-5);
    node.attributes.only("training_mode", 0)?;
    for name in ["momentum", "is_test", "consumed_inputs"] {
        node.attributes.ignore(name);
    }
    // Up to opset 8; statistics of each position are not those of each channel.
    node.attributes.only("spatial", 1)?;
    if epsilon < 0.0 {
        return Err(format!("attribute `epsilon` is {epsilon}").into());
    }
    let x = node.feature(0)?;
    if node.dims(x.value).len() == 1 && x.layout.dims().len() == 2 {
        return batch_norm_of_vector(node, x, epsilon);
    }
    let mut inputs = vec![node.map(0)?];
    for (index, trainable) in [(1, true), (2, true), (3, false), (4, false)] {
        inputs.push(node.parameter(index, trainable)?);
    }
    let value = node.push(Op::BatchNorm { epsilon }, &inputs)?;
    node.bind_value(value)
}

/// Batch norm over features is what it computes in evaluation: a factor and a summand for each.
fn batch_norm_of_vector(node: &mut NodeReader<'_, '_>, x: Feature, epsilon: f32) -> Result<(), Failure> {
    let features = node.dims(x.value)[0];
    let mut vectors = Vec::with_capacity(4);
    for index in 1..5 {
        let tensor = node.weights(index)?;
        if tensor.dims() != [features] {
            return Err(format!("operand {index} has dimensions {:?}, must be [{features}]", tensor.dims()).into());
        }
        vectors.push(tensor);
    }
    let at = |index: usize, feature: usize| f64::from(vectors[index].data()[feature]);
    let factor = |feature: usize| at(0, feature) / (at(3, feature) + f64::from(epsilon)).sqrt();
    let scale: Vec<f64> = (0..features).map(factor).collect();
    let shift: Vec<f64> = (0..features).map(|i| at(1, i) - at(2, i) * scale[i]).collect();
    if scale.iter().chain(&shift).any(|x| !x.is_finite()) {
        return Err("its variances give NaN or infinity".into());
    }
    let affine = x.affine.then(&Affine::new(scale, shift));
    node.bind(Feature { affine, ..x })
}

pub(super) fn dropout(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    for name in ["seed", "is_test"] {
        node.attributes.ignore(name);
    }
    if node.scalar(2)?.is_some_and(|training| training != 0.0) {
        return Err("it is in training mode; export the network for evaluation".into());
    }
    // Up to opset 11 the ratio is an attribute.
    let ratio = node.attributes.float("ratio")?;
    let rate = node.scalar(1)?.or(ratio).unwrap_or(0.5);
    let whole_images = node.doc_string() == STOCHASTIC_DEPTH;
    if rate == 0.0 && !whole_images {
        return node.pass_through();
    }
    unary(node, if whole_images { Op::StochasticDepth { rate } } else { Op::Dropout { rate } })
}

pub(super) fn gemm(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    node.attributes.only("transA", 0)?;
    node.attributes.ignore("broadcast");
    let transposed = node.attributes.int("transB")?.unwrap_or(0) != 0;
    let mut factors = [1.0, 1.0];
    for (factor, name) in factors.iter_mut().zip(["alpha", "beta"]) {
        *factor = node.attributes.float(name)?.unwrap_or(1.0).into();
    }
    let rank = node.feature(0)?.layout.dims().len();
    if rank != 2 {
        return Err(format!("takes a matrix of features, has {rank} dimensions").into());
    }
    linear(node, transposed, factors)
}

/// A linear layer over the last axis.
pub(super) fn mat_mul(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    if !node.is_constant(0) && !node.is_constant(1) && positions::sum_under_mask(node)? {
        return Ok(());
    }
    if !node.is_constant(1) || node.is_constant(0) {
        return Err("is supported for a computed tensor times a constant matrix only".into());
    }
    if of_pixels(node)? {
        return Ok(());
    }
    linear(node, false, [1.0, 1.0])
}

/// A linear layer over the channels of each of several positions, which a file has last: a convolution of single pixels;
/// `false` where it is over all features of an image.
fn of_pixels(node: &mut NodeReader<'_, '_>) -> Result<bool, Failure> {
    let x = node.feature(0)?;
    let dims = node.dims(x.value).to_vec();
    let order = x.layout.order(node.importer.batch, &dims).filter(|order| order.last() == Some(&CHANNELS));
    let (Some(order), &[channels, height, width]) = (order, dims.as_slice()) else { return Ok(false) };
    let weight = node.weights(1)?;
    let &[rows, outputs] = weight.dims() else { return Ok(false) };
    if rows != channels || height * width == 1 {
        return Ok(false);
    }
    let name = node.name.clone();
    let x = node.importer.settle(x, &name)?;
    let at = |output: usize| (0..rows).map(move |input| input * outputs + output);
    let turned: Vec<f32> = (0..outputs).flat_map(at).map(|at| weight.data()[at]).collect();
    let parameter = node.parameter_of(1, Tensor::new([outputs, rows, 1, 1], turned)?, true)?;
    let value = node.push(Op::Conv(Conv::square(1, 1, 0)), &[x.value, parameter])?;
    bind_ordered(node, 0, value, order)?;
    Ok(true)
}

fn linear(node: &mut NodeReader<'_, '_>, transposed: bool, [alpha, beta]: [f64; 2]) -> Result<(), Failure> {
    let name = node.name.clone();
    let x = node.feature(0)?;
    let mut shown = x.layout.dims();
    let x = node.importer.absorb(x)?;
    // What is left of the affine is multiplied into the weights.
    let is_map = node.dims(x.value).len() == 3;
    let affine = if is_map { node.importer.flattened_affine(&x) } else { x.affine.clone() };
    let (input, places) = node.importer.vector(Feature { affine: Affine::identity(), ..x }, &name)?;

    let weight = node.weights(1)?;
    let &[rows, columns] = weight.dims() else {
        return Err(format!("the weight has dimensions {:?}, must be a matrix", weight.dims()).into());
    };
    let [outputs, inputs] = if transposed { [rows, columns] } else { [columns, rows] };
    let features = node.dims(input)[0];
    if inputs != features || shown.last() != Some(&features) {
        let (has, width) = (if transposed { "columns" } else { "rows" }, shown.last().copied().unwrap_or_default());
        return Err(format!("weight has {inputs} {has} for an input of {width}").into());
    }
    if alpha == 1.0 && affine.is_identity() && places.is_none() && transposed {
        let parameter = node.parameter(1, true)?;
        let bias = bias(node, outputs, beta)?;
        return finish_linear(node, [Some(input), Some(parameter), bias], &mut shown);
    }
    // Column `place` of the graph's weight belongs to the file's feature `order[place]`.
    let mut order: Vec<usize> = (0..features).collect();
    if let Some(places) = &places {
        places.iter().enumerate().for_each(|(feature, &place)| order[place] = feature);
    }
    let at = |output: usize, place: usize| {
        let feature = order[place];
        alpha
            * f64::from(weight.data()[if transposed { output * inputs + feature } else { feature * outputs + output }])
    };
    let cells = (0..outputs).flat_map(|output| (0..features).map(move |place| (output, place)));
    let scaled = finite(cells.map(|(output, place)| at(output, place) * affine.at(place).0))?;
    let shifted: Vec<f64> =
        (0..outputs).map(|output| (0..features).map(|place| at(output, place) * affine.at(place).1).sum()).collect();
    let factor = if affine.is_identity() { alpha } else { 1.0 };
    let parameter = node.scaled_parameter_of(1, Tensor::new([outputs, features], scaled)?, factor, true)?;
    let mut bias = bias(node, outputs, beta)?;
    if shifted.iter().any(|shift| *shift != 0.0) {
        let old = bias.and_then(|id| node.importer.draft.tensor(id)).map(|tensor| tensor.data().to_vec());
        let old = |output: usize| old.as_ref().map_or(0.0, |old| f64::from(old[output]));
        let sums = finite(shifted.iter().enumerate().map(|(output, shift)| old(output) + shift))?;
        bias = Some(node.new_parameter("bias", Tensor::new([outputs], sums)?, true));
    }
    finish_linear(node, [Some(input), Some(parameter), bias], &mut shown)
}

/// Adds the linear layer, whose result is shown as its input was.
fn finish_linear(node: &mut NodeReader<'_, '_>, operands: [Option<Id>; 3], shown: &mut [usize]) -> Result<(), Failure> {
    let operands: Vec<Id> = operands.into_iter().flatten().collect();
    let value = node.push(Op::Gemm, &operands)?;
    if let Some(last) = shown.last_mut() {
        *last = node.dims(value)[0];
    }
    let flat = node.importer.plain(value);
    let layout = flat.layout.reshaped(shown)?;
    node.bind(Feature { layout, ..flat })
}

/// The bias, if there is one, times `beta`.
fn bias(node: &mut NodeReader<'_, '_>, outputs: usize, beta: f64) -> Result<Option<Id>, Failure> {
    if !node.has_input(2) || beta == 0.0 {
        return Ok(None);
    }
    let tensor = node.weights(2)?;
    if beta == 1.0 && tensor.dims() == [outputs] {
        return node.parameter(2, true).map(Some);
    }
    let (last, leading) = tensor.dims().split_last().map_or((1, [].as_slice()), |(last, leading)| (*last, leading));
    if leading.iter().any(|&dim| dim != 1) || ![1, outputs].contains(&last) {
        return Err(format!("the bias has dimensions {:?}, must be [{outputs}]", tensor.dims()).into());
    }
    let scaled = (0..outputs).map(|output| f64::from(tensor.data()[output % last]) * beta);
    let tensor = Tensor::new([outputs], finite(scaled)?)?;
    node.scaled_parameter_of(2, tensor, beta, true).map(Some)
}

/// `Softmax` and `LogSoftmax` over the features.
pub(super) fn softmax(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    let log = node.op_type() == "LogSoftmax";
    // Up to opset 12 all axes from this one on are taken together.
    let together = node.opset() < 13;
    let named = node.attributes.int("axis")?.unwrap_or(if together { 1 } else { -1 });
    let x = node.settled(0)?;
    let dims = x.layout.dims();
    let axis = axis(named, dims.len())?;
    let features: usize = if together { dims[axis..].iter().product() } else { dims[axis] };
    if features == dims[axis]
        && !log
        && let Some((x, branches)) = stack::with_branches(node, x.clone(), axis)
    {
        return stack::softmax(node, x, axis, branches);
    }
    if features == dims[axis] && dims.len() > 2 && !log && positions::counts_positions(node, &x, axis) {
        return positions::softmax(node, x);
    }
    let name = node.name.clone();
    let all: usize = node.dims(x.value).iter().product();
    let (vector, places) =
        node.importer.vector(x.clone(), &name).ok().filter(|_| features == all).ok_or_else(|| {
            format!("attribute `axis` is {named} of {dims:?}, only that of all features of an image is supported")
        })?;
    if places.is_some() {
        node.importer.wrong_order = true;
        return Err("its operand's axes are not in the order channels, height, width".into());
    }
    let value = node.push(Op::Softmax, &[vector])?;
    let flat = node.importer.plain(value);
    let layout = flat.layout.reshaped(&dims)?;
    node.bind(Feature { layout, log, ..flat })
}
