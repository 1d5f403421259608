//! Convolutions that run over the channels of one pixel, as gates by efficient channel attention have them.
//!
//! One over all channels in steps of one is a convolution over rows of a few channels each, as which a pixel's channels can
//! be read. Any other is a linear layer whose weights are a band.

use super::same_padding;
use crate::import::failure::Failure;
use crate::import::feature::{Affine, Feature};
use crate::import::layout::Layout;
use crate::import::node::NodeReader;
use crate::{Conv, Op, Tensor};

/// Most channels of a row.
const ROW: usize = 4;

/// A convolution over axes along which the file shows the channels of one pixel; `false` where it is no such one.
pub(super) fn conv(node: &mut NodeReader<'_, '_>) -> Result<bool, Failure> {
    let mut x = node.feature(0)?;
    let shown = x.layout.dims();
    if node.dims(x.value).len() == 1
        && let Ok((value, layout)) = node.importer.unflatten(&x)
        && node.dims(value)[1..] == [1, 1]
    {
        x = Feature { value, layout, ..x };
    }
    let dims = node.dims(x.value).to_vec();
    let one_pixel = dims.len() == 1 || dims[1..] == [1, 1];
    let [_, channels, spatial @ ..] = shown.as_slice() else { return Ok(false) };
    let length: usize = spatial.iter().product();
    if !one_pixel || !(1..=2).contains(&spatial.len()) || length <= 1 {
        return Ok(false);
    }
    let Some(places) = x.layout.flat(node.importer.batch, &dims) else { return Ok(false) };
    let name = node.name.clone();
    let x = node.importer.settle(x, &name)?;
    if spatial.len() == 1 && *channels == 1 && places.is_none() && over_rows(node, &x, length)? {
        return Ok(true);
    }
    // One axis is the columns of one row.
    let size = [if spatial.len() == 2 { spatial[0] } else { 1 }, spatial[spatial.len() - 1]];
    let (band, out) = band(node, *channels, size)?;
    let inputs = channels * length;
    let mut weight = vec![0.0; band.len()];
    for (row, band) in weight.chunks_exact_mut(inputs).zip(band.chunks_exact(inputs)) {
        for (index, &element) in band.iter().enumerate() {
            row[places.as_ref().map_or(index, |places| places[index])] = element;
        }
    }
    let outputs = out.iter().product::<usize>();
    let is_map = dims.len() == 3;
    let weight_dims = if is_map { vec![outputs, inputs, 1, 1] } else { vec![outputs, inputs] };
    let mut operands = vec![x.value, node.parameter_of(1, Tensor::new(weight_dims, weight)?, true)?];
    if node.has_input(2) {
        let bias = node.weights(2)?;
        if bias.dims() != [out[0]] {
            return Err(format!("the bias has dimensions {:?}, must be [{}]", bias.dims(), out[0]).into());
        }
        let area = outputs / out[0];
        let bias = bias.data().iter().flat_map(|&bias| std::iter::repeat_n(bias, area)).collect();
        operands.push(node.parameter_of(2, Tensor::new([outputs], bias)?, true)?);
    }
    let op = if is_map { Op::Conv(Conv::square(1, 1, 0)) } else { Op::Gemm };
    let value = node.push(op, &operands)?;
    let batch = node.importer.batch;
    let shown: Vec<usize> = [batch, out[0]].into_iter().chain(out[3 - spatial.len()..].iter().copied()).collect();
    let layout = Layout::plain(batch, node.dims(value)).reshaped(&shown)?;
    node.bind(Feature { value, layout, affine: Affine::identity(), sole: true, log: false })?;
    Ok(true)
}

/// A convolution from one to one channel in steps of one over the `length` channels of a pixel: as a convolution over rows
/// of as many of them as divide both its operand and its result, at most [`ROW`]; `false` where it is no such one.
fn over_rows(node: &mut NodeReader<'_, '_>, x: &Feature, length: usize) -> Result<bool, Failure> {
    let weight = node.weights(1)?;
    let (&[1, 1, taps], 3) = (weight.dims(), node.dims(x.value).len()) else { return Ok(false) };
    let one = |list: Option<&[i64]>| list.is_none_or(|list| list == [1]);
    let is_plain = node.attributes.int("group")?.unwrap_or(1) == 1
        && one(node.attributes.ints("strides")?)
        && one(node.attributes.ints("dilations")?)
        && node.attributes.ints("kernel_shape")?.is_none_or(|kernel| kernel == [taps as i64])
        && node.attributes.string("auto_pad")?.unwrap_or("NOTSET") == "NOTSET";
    let pads = node.attributes.ints("pads")?.map_or(vec![0, 0], <[i64]>::to_vec);
    let pads: Vec<usize> = pads.into_iter().filter_map(|pad| usize::try_from(pad).ok()).collect();
    let &[before, after] = pads.as_slice() else { return Ok(false) };
    let padded = before.checked_add(after).and_then(|pads| pads.checked_add(length));
    let Some(outputs) = padded.and_then(|padded| (padded + 1).checked_sub(taps)).filter(|_| is_plain) else {
        return Ok(false);
    };
    let row = (1..=ROW).rev().find(|row| length.is_multiple_of(*row) && outputs.is_multiple_of(*row)).unwrap_or(1);
    if taps == 0 || outputs == 0 || before > taps || after > taps {
        return Ok(false);
    }
    // Output `o` of a row reads inputs from `o - before` to `o - before + taps - 1`, counted from the row's first one.
    let above = before.div_ceil(row);
    let below = (row - 1 + taps).saturating_sub(before + 1) / row;
    let rows = above + 1 + below;
    node.importer.claim_weights(row * row * rows)?;
    let mut data = vec![0.0; row * row * rows];
    for output in 0..row {
        for (tap, &element) in weight.data().iter().enumerate() {
            let at = above * row + output + tap - before;
            data[(output * row + at % row) * rows + at / row] = element;
        }
    }
    let mut operands = vec![x.value, node.parameter_of(1, Tensor::new([row, row, rows, 1], data)?, true)?];
    if node.has_input(2) {
        let bias = node.weights(2)?;
        let &[bias] = bias.data() else { return Err(format!("the bias has dimensions {:?}", bias.dims()).into()) };
        operands.push(node.parameter_of(2, Tensor::new([row], vec![bias; row])?, true)?);
    }
    // Rows of zeros that the last row of results reads.
    let bottom = (outputs / row + rows - 1).saturating_sub(above + length / row);
    let name = node.name.clone();
    operands[0] = node.push_part(&format!("{name}.rows"), Op::DepthToSpace { block: [length / row, 1] }, &[x.value])?;
    let conv = Conv { kernel: [rows, 1], pads: [above, 0, bottom, 0], ..Conv::square(1, 1, 0) };
    let value = node.push(Op::Conv(conv), &operands)?;
    let dims = node.dims(value).to_vec();
    let last = Layout::plain(node.importer.batch, &dims).transposed(&[0, 2, 3, 1]);
    let layout = last.reshaped(&[node.importer.batch, 1, outputs])?;
    node.bind(Feature { value, layout, affine: Affine::identity(), sole: true, log: false })?;
    Ok(true)
}

/// The matrix `[outputs, inputs]` of a convolution over `channels` of `size`, row-major, and the dimensions of its result:
/// channels, rows, columns.
fn band(node: &mut NodeReader<'_, '_>, channels: usize, size: [usize; 2]) -> Result<(Vec<f32>, [usize; 3]), Failure> {
    let weight = node.weights(1)?;
    let (outputs, per_group, kernel) = match *weight.dims() {
        [outputs, per_group, columns] if size[0] == 1 => (outputs, per_group, [1, columns]),
        [outputs, per_group, rows, columns] => (outputs, per_group, [rows, columns]),
        ref dims => return Err(format!("the weight has dimensions {dims:?} for maps of {size:?}").into()),
    };
    let rank = weight.dims().len() - 2;
    // Of attributes with one number for each axis, or two.
    let spread = |list: &[i64], fill: i64| -> Result<[i64; 2], Failure> {
        match *list {
            [columns] if rank == 1 => Ok([fill, columns]),
            [rows, columns] if rank == 2 => Ok([rows, columns]),
            _ => Err(format!("an attribute has {} numbers for {rank} axes", list.len()).into()),
        }
    };
    let attributes = &mut node.attributes;
    let sizes = |list: Option<&[i64]>, usual: i64| -> Result<[usize; 2], Failure> {
        let list = list.map_or(Ok([usual; 2]), |list| spread(list, usual))?;
        let size = |number: i64| usize::try_from(number).map_err(|_| format!("an attribute holds {number}"));
        Ok([size(list[0])?, size(list[1])?])
    };
    let stride = sizes(attributes.ints("strides")?, 1)?;
    let dilation = sizes(attributes.ints("dilations")?, 1)?;
    if stride.contains(&0) || dilation.contains(&0) || kernel.contains(&0) {
        return Err("a stride, a dilation or the kernel is 0".into());
    }
    if let Some(given) = attributes.ints("kernel_shape")?
        && spread(given, 1)? != kernel.map(|size| size as i64)
    {
        return Err(format!("attribute `kernel_shape` is {given:?}, the weight is {kernel:?}").into());
    }
    let reach = [0, 1].map(|axis| (kernel[axis] - 1).saturating_mul(dilation[axis]).saturating_add(1));
    let pads = attributes.ints("pads")?;
    let (before, after) = match attributes.string("auto_pad")?.unwrap_or("NOTSET") {
        "NOTSET" => {
            let (before, after) = pads.map_or((None, None), |pads| {
                let (before, after) = pads.split_at(pads.len() / 2);
                (Some(before), Some(after))
            });
            (sizes(before, 0)?, sizes(after, 0)?)
        }
        "VALID" => ([0; 2], [0; 2]),
        mode @ ("SAME_UPPER" | "SAME_LOWER") => {
            let all = [0, 1].map(|axis| same_padding(size[axis], reach[axis], stride[axis]));
            let less = all.map(|pad| pad / 2);
            let more = [all[0] - less[0], all[1] - less[1]];
            if mode == "SAME_UPPER" { (less, more) } else { (more, less) }
        }
        other => return Err(format!("attribute `auto_pad` is `{other}`").into()),
    };
    let groups = usize::try_from(attributes.int("group")?.unwrap_or(1)).unwrap_or(0);
    if groups == 0 || !channels.is_multiple_of(groups) || outputs % groups != 0 || per_group != channels / groups {
        return Err(format!("{channels} input and {outputs} output channels in {groups} groups of {per_group}").into());
    }
    let mut out = [0; 2];
    for (axis, out) in out.iter_mut().enumerate() {
        let padded = size[axis].saturating_add(before[axis]).saturating_add(after[axis]);
        let room = padded.checked_sub(reach[axis]).ok_or("the kernel does not fit")?;
        *out = room / stride[axis] + 1;
    }
    let area = size[0] * size[1];
    let dims = [outputs, out[0], out[1]];
    let count = crate::shape::elements(&[dims[0], dims[1], dims[2], channels, area]);
    let count = count.filter(|&count| count <= node.importer.budget);
    let count = count.ok_or("as a linear layer its weights would be too many for this file")?;
    node.importer.budget -= count;
    let mut matrix = vec![0.0; count];
    for (row, matrix) in matrix.chunks_exact_mut(channels * area).enumerate() {
        let (output, y, x) = (row / (out[0] * out[1]), row / out[1] % out[0], row % out[1]);
        let first = output / (outputs / groups) * per_group;
        for (tap, &element) in weight.data()[output * per_group * kernel[0] * kernel[1]..]
            [..per_group * kernel[0] * kernel[1]]
            .iter()
            .enumerate()
        {
            let (input, ky, kx) = (tap / (kernel[0] * kernel[1]), tap / kernel[1] % kernel[0], tap % kernel[1]);
            let at = |at: usize, k: usize, axis: usize| {
                (at * stride[axis] + k * dilation[axis]).checked_sub(before[axis]).filter(|&at| at < size[axis])
            };
            if let (Some(y), Some(x)) = (at(y, ky, 0), at(x, kx, 1)) {
                matrix[(first + input) * area + y * size[1] + x] += element;
            }
        }
    }
    Ok((matrix, dims))
}
