//! The records of a quantized network, with channels padded to multiples of 4, before memory is planned.

use super::{PackError, Target};
use crate::quant::{QConv, QGraph, QNode, QOp, TensorIndex};
use skipstone_runtime::format::records::{NONE, Node, OpCode, Tensor, WeightKind};

/// Channels of feature maps are padded to multiples of this.
const CHANNEL_MULTIPLE: usize = 4;

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

/// Channels of a tensor as it lies in memory: the image as it comes, feature maps padded.
pub(super) fn padded_channels(qgraph: &QGraph, index: TensorIndex) -> usize {
    let channels = qgraph.tensors[index].dims[0];
    if index == qgraph.input { channels } else { channels.next_multiple_of(CHANNEL_MULTIPLE) }
}

pub(super) fn tensors(qgraph: &QGraph) -> Result<Vec<Tensor>, PackError> {
    let record = |(index, tensor): (TensorIndex, &crate::quant::QTensor)| {
        let [_, height, width] = tensor.dims;
        let producer = qgraph.nodes.iter().position(|node| node.output == index);
        Ok(Tensor {
            height: narrow(&tensor.name, "height", height)?,
            width: narrow(&tensor.name, "width", width)?,
            channels: narrow(&tensor.name, "number of channels", padded_channels(qgraph, index))?,
            producer: producer.map_or(Ok(NONE), |node| narrow(&tensor.name, "producer", node))?,
            zero_point: tensor.zero_point,
            scale: tensor.scale,
            ..Tensor::default()
        })
    };
    qgraph.tensors.iter().enumerate().map(record).collect()
}

pub(super) fn nodes(qgraph: &QGraph, target: Target) -> Result<Vec<Node>, PackError> {
    qgraph.nodes.iter().map(|node| record(qgraph, node, target)).collect()
}

fn record(qgraph: &QGraph, node: &QNode, target: Target) -> Result<Node, PackError> {
    let index = |index: TensorIndex| narrow(&node.name, "tensor index", index);
    check_channels(qgraph, node)?;
    let mut record = Node {
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
            let small = |what, value| narrow(&node.name, what, value);
            record.op = OpCode::Conv as u8;
            record.weight_kind = target.weight_kind(conv) as u8;
            record.groups = narrow(&node.name, "number of groups", padded_groups(qgraph, node, conv))?;
            [record.kernel_h, record.kernel_w] =
                [small("kernel height", conv.kernel[0])?, small("kernel width", conv.kernel[1])?];
            [record.stride_h, record.stride_w] = [small("stride", conv.stride[0])?, small("stride", conv.stride[1])?];
            let pads = conv.pads.map(|pad| small("padding", pad));
            let [top, left, bottom, right] = pads;
            (record.pad_top, record.pad_left) = (top?, left?);
            (record.pad_bottom, record.pad_right) = (bottom?, right?);
        }
        QOp::Add => record.op = OpCode::Add as u8,
        QOp::GlobalAveragePool => record.op = OpCode::GlobalAveragePool as u8,
        QOp::Shortcut { stride, channels_before } => {
            record.op = OpCode::Shortcut as u8;
            record.stride_h = narrow(&node.name, "stride", stride[0])?;
            record.stride_w = narrow(&node.name, "stride", stride[1])?;
            record.channels_before = narrow(&node.name, "number of channels before", *channels_before)?;
        }
    }
    Ok(record)
}

/// Groups over padded channels: a depthwise convolution pads by further groups.
pub(super) fn padded_groups(qgraph: &QGraph, node: &QNode, conv: &QConv) -> usize {
    if is_depthwise(qgraph, node, conv) { padded_channels(qgraph, node.input) } else { conv.groups }
}

fn is_depthwise(qgraph: &QGraph, node: &QNode, conv: &QConv) -> bool {
    conv.groups > 1 && [node.input, node.output].iter().all(|&index| qgraph.tensors[index].dims[0] == conv.groups)
}

/// Whether the operator still means the same over padded channels.
fn check_channels(qgraph: &QGraph, node: &QNode) -> Result<(), PackError> {
    let fail = |reason: String| Err(PackError::Channels { node: node.name.clone(), op: node.op.name(), reason });
    let logical = |index: TensorIndex| qgraph.tensors[index].dims[0];
    let padded = |index: TensorIndex| padded_channels(qgraph, index);
    let output = padded(node.output);
    if let Some(index) = node.operand.filter(|&index| padded(index) != output) {
        return fail(format!("it adds the image, whose {} channels are not padded to {output}", padded(index)));
    }
    match &node.op {
        QOp::Conv(conv) if conv.groups > 1 => {
            let unpadded = logical(node.input) == padded(node.input) && logical(node.output) == output;
            let depthwise = is_depthwise(qgraph, node, conv) && padded(node.input) == output;
            if !unpadded && !depthwise {
                let (input, output) = (logical(node.input), logical(node.output));
                return fail(format!(
                    "{input} to {output} channels in {} groups cannot be padded to multiples of {CHANNEL_MULTIPLE}",
                    conv.groups
                ));
            }
        }
        QOp::Add | QOp::GlobalAveragePool if padded(node.input) != output => {
            return fail(format!(
                "it reads the image, whose {} channels are not padded to {output}",
                padded(node.input)
            ));
        }
        QOp::Shortcut { channels_before, .. } if channels_before + padded(node.input) > output => {
            return fail(format!(
                "{} channels behind {channels_before} zeros do not fit into {output} once they are padded to multiples of \
                 {CHANNEL_MULTIPLE}",
                logical(node.input)
            ));
        }
        _ => {}
    }
    Ok(())
}

impl Target {
    /// The layout in which the target's kernels read a convolution's weights.
    pub(super) fn weight_kind(self, conv: &QConv) -> WeightKind {
        match self {
            Target::CortexM if conv.groups == 1 => WeightKind::Pairs,
            Target::Generic | Target::CortexM | Target::Neon | Target::X86 => WeightKind::Canonical,
        }
    }
}
