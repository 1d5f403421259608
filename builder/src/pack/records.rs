//! The records of a quantized network, with channels padded to multiples of 4, before memory is planned.

use super::PackError;
use crate::quant::{self, Channels, QGraph, QNode, QOp, QuantError, Resampling, TensorIndex, resize_mode};
use skipstone_onnx::{Ending, InputIntegers, Window};
use skipstone_runtime::format::records;
use skipstone_runtime::format::records::{COUNT_INCLUDE_PAD, NONE, Node, OpCode, Tensor};

/// A number in a smaller field.
pub(super) fn narrow<T: TryFrom<usize>>(name: &str, what: &'static str, value: usize) -> Result<T, PackError> {
    let most = match size_of::<T>() {
        1 => u8::MAX.into(),
        // 65535 stands for "none" in fields of this size.
        2 => usize::from(NONE) - 1,
        _ => u32::MAX as usize,
    };
    let too_large = || PackError::TooLarge { name: name.into(), what, value, most };
    if value > most { Err(too_large()) } else { T::try_from(value).map_err(|_| too_large()) }
}

pub(super) fn tensors(qgraph: &QGraph, channels: &[Channels]) -> Result<Vec<Tensor>, PackError> {
    let mut producers = vec![None; qgraph.tensors.len()];
    for (index, node) in qgraph.nodes.iter().enumerate() {
        producers[node.output] = Some(index);
    }
    let record = |(index, tensor): (TensorIndex, &crate::quant::QTensor)| {
        let [_, height, width] = tensor.dims;
        Ok(Tensor {
            height: narrow(&tensor.name, "height", height)?,
            width: narrow(&tensor.name, "width", width)?,
            channels: narrow(&tensor.name, "number of channels", channels[index].count)?,
            producer: producers[index].map_or(Ok(NONE), |node| narrow(&tensor.name, "producer", node))?,
            zero_point: tensor.params.zero_point,
            scale: tensor.params.scale,
            ..Tensor::default()
        })
    };
    qgraph.tensors.iter().enumerate().map(record).collect()
}

pub(super) fn nodes(qgraph: &QGraph, channels: &[Channels]) -> Result<Vec<Node>, PackError> {
    qgraph.nodes.iter().map(|node| record(qgraph, node, channels)).collect()
}

fn record(qgraph: &QGraph, node: &QNode, channels: &[Channels]) -> Result<Node, PackError> {
    let index = |index: TensorIndex| narrow(&node.name, "tensor index", index);
    let mut record = Node {
        op: op_code(qgraph, node) as u8,
        rows_per_step: 1,
        input: index(node.input)?,
        operand: node.operand.map_or(Ok(NONE), index)?,
        output: index(node.output)?,
        groups: 1,
        kernel_h: 1,
        kernel_w: 1,
        stride_h: 1,
        stride_w: 1,
        lo: node.lo,
        hi: node.hi,
        ..Node::default()
    };
    match &node.op {
        QOp::Conv(conv) => {
            windows(&mut record, node, conv.kernel, conv.stride, conv.pads)?;
            let groups = quant::groups(conv, &channels[node.input], &channels[node.output]);
            record.groups = narrow(&node.name, "number of groups", groups)?;
            if let Some(prologue) = &conv.prologue {
                // Its place is known when it is written; until then it is there.
                record.prologue = u32::MAX;
                record.prologue_zero = prologue.tensor.params.zero_point;
                (record.prologue_lo, record.prologue_hi) = (prologue.lo, prologue.hi);
            }
        }
        QOp::MaxPool { window, count_include_pad } | QOp::AveragePool { window, count_include_pad } => {
            let &Window { kernel, stride, pads, .. } = window;
            windows(&mut record, node, kernel, stride, pads)?;
            record.flags = if *count_include_pad { COUNT_INCLUDE_PAD } else { 0 };
        }
        QOp::Copy(copy) => {
            let ([_, top, left], [_, bottom, right]) = (copy.before, copy.after);
            windows(&mut record, node, [1, 1], [copy.step[1], copy.step[2]], [top, left, bottom, right])?;
            record.flags = copy.mode as u8;
            record.first_row = narrow(&node.name, "first row", copy.start[1])?;
            record.groups = narrow(&node.name, "first column", copy.start[2])?;
        }
        QOp::Resize(resize) => {
            record.flags = resize_mode(resize.coordinates) as u8;
            if let Some(Resampling { axes: [rows, pixels], .. }) = resampling(qgraph, node)? {
                let kernel = [rows.count, pixels.count];
                windows(&mut record, node, kernel, [1, 1], [rows.before, pixels.before, 0, 0])?;
            }
        }
        QOp::Add | QOp::GlobalAveragePool | QOp::Affine(_) | QOp::Lookup { .. } | QOp::Gate { .. } | QOp::Concat => {}
        QOp::GroupNorm { groups, .. } => record.groups = narrow(&node.name, "number of groups", *groups)?,
        QOp::Blocks => {
            let [from, to] = [node.input, node.output].map(|index| &channels[index]);
            let own = from.positions.len().min(to.positions.len());
            record.groups = narrow(&node.name, "channels of a pixel", own)?;
        }
        QOp::L2Norm | QOp::InstanceNorm { .. } => {}
    }
    Ok(record)
}

pub(super) fn source(channels_last: bool, integers: Option<InputIntegers>, ending: Ending) -> records::Source {
    let element = match integers {
        None => records::Element::Float32,
        Some(InputIntegers { signed: false, .. }) => records::Element::Uint8,
        Some(InputIntegers { signed: true, .. }) => records::Element::Int8,
    };
    let ending = match ending {
        Ending::Scores => records::Ending::Scores,
        Ending::Softmax => records::Ending::Softmax,
        Ending::LogSoftmax => records::Ending::LogSoftmax,
    };
    records::Source {
        channels_last: channels_last.into(),
        element: element as u8,
        ending: ending as u8,
        scale: integers.map_or(0.0, |integers| integers.scale),
        zero_point: integers.map_or(0, |integers| integers.zero_point),
        ..records::Source::EMPTY
    }
}

/// The weights of an interpolation, if it is not a linear one.
pub(super) fn resampling(qgraph: &QGraph, node: &QNode) -> Result<Option<Resampling>, PackError> {
    let [_, height, width] = qgraph.tensors[node.input].dims;
    let QOp::Resize(resize) = &node.op else { return Ok(None) };
    if resize.is_linear([height, width]) {
        return Ok(None);
    }
    let resampling = Resampling::new(resize, [height, width]);
    let unsupported = |reason| QuantError::Unsupported { node: node.name.clone(), op: node.op.name(), reason };
    Ok(Some(resampling.map_err(unsupported)?))
}

fn op_code(qgraph: &QGraph, node: &QNode) -> OpCode {
    let [_, height, width] = qgraph.tensors[node.input].dims;
    match &node.op {
        QOp::Conv(_) => OpCode::Conv,
        QOp::Add => OpCode::Add,
        QOp::GlobalAveragePool => OpCode::GlobalAveragePool,
        QOp::Copy(_) => OpCode::Copy,
        QOp::Affine(_) => OpCode::Affine,
        QOp::MaxPool { .. } => OpCode::MaxPool,
        QOp::AveragePool { .. } => OpCode::AveragePool,
        QOp::Lookup { .. } => OpCode::Lookup,
        QOp::Gate { .. } => OpCode::Gate,
        QOp::Resize(resize) if resize.is_linear([height, width]) => OpCode::Resize,
        QOp::Resize(_) => OpCode::Resample,
        QOp::Concat => OpCode::Concat,
        QOp::L2Norm => OpCode::L2Norm,
        QOp::Blocks => OpCode::Blocks,
        QOp::InstanceNorm { .. } => OpCode::InstanceNorm,
        QOp::GroupNorm { .. } => OpCode::GroupNorm,
    }
}

/// The fields of what moves a window over a padded map.
fn windows(
    record: &mut Node,
    node: &QNode,
    kernel: [usize; 2],
    stride: [usize; 2],
    pads: [usize; 4],
) -> Result<(), PackError> {
    let small = |what, value| narrow(&node.name, what, value);
    [record.kernel_h, record.kernel_w] = [small("kernel height", kernel[0])?, small("kernel width", kernel[1])?];
    [record.stride_h, record.stride_w] = [small("stride", stride[0])?, small("stride", stride[1])?];
    let [top, left, bottom, right] = pads.map(|pad| small("padding", pad));
    (record.pad_top, record.pad_left) = (top?, left?);
    (record.pad_bottom, record.pad_right) = (bottom?, right?);
    Ok(())
}
