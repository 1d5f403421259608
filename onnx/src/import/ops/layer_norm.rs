//! Normalization of each position by the mean and the variance of its channels, out of operators that exist.

use super::broadcast::repeated;
use crate::import::axes::axis;
use crate::import::draft::Id;
use crate::import::failure::Failure;
use crate::import::feature::{Affine, Feature};
use crate::import::layout::CHANNELS;
use crate::import::node::NodeReader;
use crate::{Conv, Op, Tensor, Unary};

/// Over the channels alone. Scales and biases are left to the layers after.
pub(super) fn layer_normalization(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    let epsilon = node.attributes.float("epsilon")?.unwrap_or(1e-5);
    node.attributes.only("stash_type", 1)?;
    let first = node.attributes.int("axis")?.unwrap_or(-1);
    let mut x = node.settled(0)?;
    if node.dims(x.value).len() == 1 {
        let (value, layout) = node.importer.unflatten(&x)?;
        x = Feature { value, layout, ..x };
    }
    let rank = x.layout.dims().len();
    let axes: Vec<usize> = (axis(first, rank)?..rank).collect();
    let channels = node.dims(x.value)[0];
    if x.layout.whole_axes(&axes, node.dims(x.value)).as_deref() != Some(&[CHANNELS]) {
        return Err("normalizes other axes than the channels, or more than these".into());
    }
    // No number passes too.
    if !(epsilon > 0.0 && epsilon.is_finite()) {
        return Err(format!("its epsilon is {epsilon}, must be above 0").into());
    }
    let operand = |index: usize, usual: f64| -> Result<Vec<f64>, Failure> {
        if !node.has_input(index) {
            return Ok(vec![usual]);
        }
        let tensor = node.weights(index)?;
        if tensor.data().len() != channels {
            return Err(format!("operand {index} has dimensions {:?} for {channels} channels", tensor.dims()).into());
        }
        Ok(tensor.data().iter().copied().map(f64::from).collect())
    };
    let affine = Affine::new(operand(1, 1.0)?, operand(2, 0.0)?);
    node.importer.claim_weights(2 * channels)?;
    let name = node.name.clone();
    let minus = mean(node, x.value, "mean", -1.0, None)?;
    let minus = repeated(node, minus, channels)?;
    let centred = node.push_part(&format!("{name}.centred"), Op::Add, &[x.value, minus])?;
    let square = node.push_part(&format!("{name}.square"), Op::Mul, &[centred, centred])?;
    let variance = mean(node, square, "variance", 1.0, Some(epsilon))?;
    let root = Op::Unary(Unary::Power { exponent: -0.5 });
    let root = node.push_part(&format!("{name}.deviation"), root, &[variance])?;
    let root = repeated(node, root, channels)?;
    let value = node.push(Op::Mul, &[centred, root])?;
    node.bind(Feature { value, affine, sole: true, ..x })
}

/// The mean of a map's channels, times `factor`, plus `bias`.
fn mean(node: &mut NodeReader<'_, '_>, map: Id, role: &str, factor: f32, bias: Option<f32>) -> Result<Id, Failure> {
    let channels = node.dims(map)[0];
    let weight = Tensor::new([1, channels, 1, 1], vec![factor / channels as f32; channels])?;
    let mut operands = vec![map, node.new_parameter(&format!("{role}.weight"), weight, true)];
    if let Some(bias) = bias {
        operands.push(node.new_parameter(&format!("{role}.bias"), Tensor::new([1], vec![bias])?, true));
    }
    let name = format!("{}.{role}", node.name);
    node.push_part(&name, Op::Conv(Conv::square(1, 1, 0)), &operands)
}
