//! Branches, groups and gates that files write over axes which the graph does not have.

use super::{File, Form, float, int, ints};
use skipstone_onnx::proto::AttributeProto;

pub(super) fn forms() -> Vec<Form> {
    vec![
        gate_by_convolution_over_channels(),
        gate_by_convolution_over_columns(),
        selective_kernels(),
        split_attention(),
        channel_shuffles(),
        blur_pools(),
        normalized_groups(),
        more_activations(),
        cut_batch(),
    ]
}

/// Efficient channel attention as PyTorch writes it: a 1-D convolution over the pooled channels.
fn gate_by_convolution_over_channels() -> Form {
    let mut f = File::new(13, [4, 6, 6]);
    let map = f.conv("image", "conv", [8, 4], 1);
    let x = f.node("ReduceMean", &[&map], "squeezed", vec![ints("axes", &[2, 3]), int("keepdims", 0)]);
    let row = f.list("row.shape", &[0, 1, -1]);
    let x = f.node("Reshape", &[&x, &row], "row", vec![]);
    let weight = f.weight("band", &[1, 1, 3]);
    let x = f.node("Conv", &[&x, &weight], "mixed", vec![ints("kernel_shape", &[3]), ints("pads", &[1, 1])]);
    let x = f.node("Sigmoid", &[&x], "gates", vec![]);
    let column = f.list("column.shape", &[0, -1, 1, 1]);
    let x = f.node("Reshape", &[&x, &column], "column", vec![]);
    let shape = f.node("Shape", &[&map], "shape", vec![]);
    let x = f.node("Expand", &[&x, &shape], "expanded", vec![]);
    let x = f.node("Mul", &[&map, &x], "gated", vec![]);
    f.head(&x, 8);
    f.finish(
        "gate by a convolution over channels",
        &[
            "Conv",
            "GlobalAveragePool",
            "DepthToSpace",
            "Conv",
            "Sigmoid",
            "SpaceToDepth",
            "Mul",
            "GlobalAveragePool",
            "Flatten",
            "Gemm",
        ],
    )
}

/// The same as Keras writes it: the channels are the columns of one row, and the filters are two.
fn gate_by_convolution_over_columns() -> Form {
    let mut f = File::new(13, [4, 6, 6]);
    let map = f.conv("image", "conv", [8, 4], 1);
    let x = f.node("GlobalAveragePool", &[&map], "pooled.map", vec![]);
    let x = f.node("Transpose", &[&x], "columns", vec![ints("perm", &[0, 2, 3, 1])]);
    let (weight, bias) = (f.weight("band", &[2, 1, 1, 5]), f.weight("band.bias", &[2]));
    let attributes = vec![AttributeProto::string("auto_pad", "SAME_UPPER"), ints("strides", &[1, 2])];
    let x = f.node("Conv", &[&x, &weight, &bias], "mixed", attributes);
    let x = f.node("HardSigmoid", &[&x], "gates", vec![]);
    let column = f.list("column.shape", &[0, 8, 1, 1]);
    let x = f.node("Reshape", &[&x, &column], "column", vec![]);
    let x = f.node("Mul", &[&x, &map], "gated", vec![]);
    f.head(&x, 8);
    f.finish(
        "gate by a convolution over columns",
        &["Conv", "GlobalAveragePool", "Conv", "Clip", "Mul", "GlobalAveragePool", "Flatten", "Gemm"],
    )
}

/// Two branches stacked; their sum gives the shares in which they are summed again.
fn selective_kernels() -> Form {
    let mut f = File::new(13, [4, 6, 6]);
    let axis = f.list("axis", &[1]);
    let branches = ["first", "second"].map(|name| {
        let x = f.conv("image", name, [6, 4], 1);
        f.node("Unsqueeze", &[&x, &axis], &format!("{name}.branch"), vec![])
    });
    let stack = f.node("Concat", &[&branches[0], &branches[1]], "stack", vec![int("axis", 1)]);
    let sum = f.node("ReduceSum", &[&stack, &axis], "sum", vec![int("keepdims", 0)]);
    let x = f.node("ReduceMean", &[&sum], "squeezed", vec![ints("axes", &[2, 3]), int("keepdims", 1)]);
    let x = f.point(&x, "reduce", [4, 6]);
    let x = f.node("Relu", &[&x], "relu", vec![]);
    let x = f.point(&x, "select", [12, 4]);
    let shape = f.list("shape", &[0, 2, 6, 1, 1]);
    let x = f.node("Reshape", &[&x, &shape], "scores.of.branches", vec![]);
    let x = f.node("Softmax", &[&x], "shares", vec![int("axis", 1)]);
    let x = f.node("Mul", &[&stack, &x], "weighed", vec![]);
    let x = f.node("ReduceSum", &[&x, &axis], "selected", vec![int("keepdims", 0)]);
    f.head(&x, 6);
    let operators = &[
        "Conv",
        "Conv",
        "Add",
        "GlobalAveragePool",
        "Conv",
        "Relu",
        "Conv",
        "Sigmoid",
        "Slice",
        "Slice",
        "Mul",
        "Mul",
        "Add",
        "GlobalAveragePool",
        "Flatten",
        "Gemm",
    ];
    f.finish("selective kernels", operators)
}

/// Three parts of one convolution's channels, and their shares in two groups of channels.
fn split_attention() -> Form {
    let mut f = File::new(13, [4, 6, 6]);
    let axis = f.list("axis", &[1]);
    let x = f.conv("image", "conv", [12, 4], 1);
    let x = f.node("Relu", &[&x], "relu", vec![]);
    let shape = f.list("branches.shape", &[0, 3, 4, 6, 6]);
    let branches = f.node("Reshape", &[&x, &shape], "branches", vec![]);
    let sum = f.node("ReduceSum", &[&branches, &axis], "sum", vec![int("keepdims", 0)]);
    let x = f.node("GlobalAveragePool", &[&sum], "squeezed", vec![]);
    let x = f.point(&x, "select", [12, 4]);
    let shape = f.list("groups.shape", &[0, 2, 3, 2]);
    let x = f.node("Reshape", &[&x, &shape], "groups", vec![]);
    let x = f.node("Transpose", &[&x], "by.branch", vec![ints("perm", &[0, 2, 1, 3])]);
    let x = f.node("Softmax", &[&x], "shares", vec![int("axis", 1)]);
    let shape = f.list("flat.shape", &[0, -1]);
    let x = f.node("Reshape", &[&x, &shape], "flat.shares", vec![]);
    let shape = f.list("gates.shape", &[0, 3, 4, 1, 1]);
    let x = f.node("Reshape", &[&x, &shape], "gates", vec![]);
    let x = f.node("Mul", &[&branches, &x], "weighed", vec![]);
    let x = f.node("ReduceSum", &[&x, &axis], "selected", vec![int("keepdims", 0)]);
    f.head(&x, 4);
    let parts = &[
        "Conv",
        "Relu",
        "Slice",
        "Slice",
        "Slice",
        "Add",
        "Add",
        "GlobalAveragePool",
        "Conv",
        // Each branch has channels in both groups.
        "Slice",
        "Slice",
        "Slice",
        "Slice",
        "Slice",
        "Slice",
        "Concat",
        "Concat",
        "Concat",
        "Conv",
        "Conv",
        // The others' logarithm, and the sigmoid of the difference to it.
        "Add",
        "Softplus",
        "Add",
        "Conv",
        "Add",
        "Sigmoid",
        "Add",
        "Softplus",
        "Add",
        "Conv",
        "Add",
        "Sigmoid",
        "Add",
        "Softplus",
        "Add",
        "Conv",
        "Add",
        "Sigmoid",
        "Mul",
        "Mul",
        "Mul",
        "Add",
        "Add",
        "GlobalAveragePool",
        "Flatten",
        "Gemm",
    ];
    f.finish("split attention", parts)
}

/// Groups of channels that are mixed before a depthwise convolution, and again before one that reads all channels: its
/// weights take both orders in.
fn channel_shuffles() -> Form {
    let mut f = File::new(13, [4, 6, 6]);
    let mut x = f.conv("image", "conv", [24, 4], 1);
    for (index, (groups, per_group)) in [(2, 12), (3, 8)].into_iter().enumerate() {
        let apart = f.list(&format!("apart{index}.shape"), &[-1, groups, per_group, 6, 6]);
        x = f.node("Reshape", &[&x, &apart], &format!("apart{index}"), vec![]);
        x = f.node("Transpose", &[&x], &format!("turned{index}"), vec![ints("perm", &[0, 2, 1, 3, 4])]);
        let together = f.list(&format!("together{index}.shape"), &[-1, 24, 6, 6]);
        x = f.node("Reshape", &[&x, &together], &format!("together{index}"), vec![]);
        if index == 0 {
            let weight = f.weight("depthwise.weight", &[24, 1, 3, 3]);
            x = f.node("Conv", &[&x, &weight], "depthwise", vec![ints("pads", &[1; 4]), int("group", 24)]);
            x = f.node("Relu", &[&x], "relu", vec![]);
        }
    }
    let x = f.conv(&x, "dense", [8, 24], 1);
    f.head(&x, 8);
    f.finish("channel shuffles", &["Conv", "Conv", "Relu", "Conv", "GlobalAveragePool", "Flatten", "Gemm"])
}

/// Anti-aliased pools: rows and columns reflected, then a constant filter for each channel. Others repeat the edge, or
/// pad with another number than 0.
fn blur_pools() -> Form {
    let mut f = File::new(13, [4, 8, 8]);
    let x = f.conv("image", "conv", [6, 4], 1);
    let pads = f.list("pads", &[0, 0, 1, 1, 0, 0, 1, 1]);
    let mode = |mode: &str| vec![AttributeProto::string("mode", mode)];
    let x = f.node("Pad", &[&x, &pads], "reflected", mode("reflect"));
    let weight = f.weight("blur", &[6, 1, 3, 3]);
    let x = f.node("Conv", &[&x, &weight], "blurred", vec![int("group", 6), ints("strides", &[2, 2])]);
    let x = f.node("Pad", &[&x, &pads], "edged", mode("edge"));
    let value = f.number("value", -0.5);
    let x = f.node("Pad", &[&x, &pads, &value], "below", mode("constant"));
    f.head(&x, 6);
    f.finish("blur pools", &["Conv", "Pad", "Conv", "Pad", "Conv", "Conv", "GlobalAveragePool", "Flatten", "Gemm"])
}

/// Group normalization as PyTorch writes it, with a scale and a bias for each channel after.
fn normalized_groups() -> Form {
    let mut f = File::new(13, [4, 6, 6]);
    let x = f.conv("image", "conv", [6, 4], 1);
    let groups = f.list("groups.shape", &[0, 3, -1]);
    let x = f.node("Reshape", &[&x, &groups], "groups", vec![]);
    let (scale, bias) = (f.weight("groups.std", &[3]), f.weight("groups.bias", &[3]));
    let x = f.node("InstanceNormalization", &[&x, &scale, &bias], "normalized", vec![float("epsilon", 1e-3)]);
    let own = f.list("own.shape", &[0, 6, 6, 6]);
    let x = f.node("Reshape", &[&x, &own], "channels", vec![]);
    let (scale, bias) = (f.weight("scale", &[6, 1, 1]), f.weight("bias", &[6, 1, 1]));
    let x = f.node("Mul", &[&x, &scale], "scaled", vec![]);
    let x = f.node("Add", &[&x, &bias], "shifted", vec![]);
    let x = f.node("Relu", &[&x], "relu", vec![]);
    f.head(&x, 6);
    f.finish(
        "normalized groups",
        &["Conv", "GroupNormalization", "Conv", "Relu", "GlobalAveragePool", "Flatten", "Gemm"],
    )
}

/// Mish and the hyperbolic Gelu from their parts, and functions that are less common.
fn more_activations() -> Form {
    let mut f = File::new(15, [3, 6, 6]);
    let x = f.conv("image", "first", [4, 3], 1);
    let plus = f.node("Softplus", &[&x], "softplus", vec![]);
    let tanh = f.node("Tanh", &[&plus], "tanh", vec![]);
    let x = f.node("Mul", &[&tanh, &x], "mish", vec![]);
    let x = f.conv(&x, "second", [4, 4], 1);
    let three = f.number("three", 3.0);
    let [factor, root, one, half] =
        [("factor", 0.044715), ("root", 0.797_884_6), ("one", 1.0), ("half", 0.5)].map(|(name, n)| f.number(name, n));
    let cube = f.node("Pow", &[&x, &three], "cube", vec![]);
    let cube = f.node("Mul", &[&factor, &cube], "scaled.cube", vec![]);
    let sum = f.node("Add", &[&x, &cube], "argument", vec![]);
    let scaled = f.node("Mul", &[&root, &sum], "scaled", vec![]);
    let tanh = f.node("Tanh", &[&scaled], "gelu.tanh", vec![]);
    let more = f.node("Add", &[&tanh, &one], "more", vec![]);
    let halved = f.node("Mul", &[&half, &more], "halved", vec![]);
    let x = f.node("Mul", &[&x, &halved], "gelu", vec![]);
    let x = f.conv(&x, "third", [4, 4], 1);
    let x = f.node("Softsign", &[&x], "softsign", vec![]);
    let x = f.node("ThresholdedRelu", &[&x], "thresholded", vec![float("alpha", 0.25)]);
    f.head(&x, 4);
    let operators = &[
        "Conv",
        "Mish",
        "Conv",
        "Gelu",
        "Conv",
        "Softsign",
        "ThresholdedRelu",
        "GlobalAveragePool",
        "Flatten",
        "Gemm",
    ];
    f.finish("more activations", operators)
}

/// TensorFlow's option A: a slice that names every axis, the batch among them.
fn cut_batch() -> Form {
    let mut f = File::new(13, [4, 8, 8]);
    let main = f.conv("image", "main", [8, 4], 2);
    let starts = f.list("starts", &[0, 0, 0, 0]);
    let ends = f.list("ends", &[1_000_000_000; 4]);
    let axes = f.list("axes", &[0, 1, 2, 3]);
    let steps = f.list("steps", &[1, 1, 2, 2]);
    let cut = f.node("Slice", &["image", &starts, &ends, &axes, &steps], "cut", vec![]);
    let pads = f.list("pads", &[0, 2, 0, 0, 0, 2, 0, 0]);
    let short = f.node("Pad", &[&cut, &pads], "short", vec![]);
    let sum = f.node("Add", &[&main, &short], "sum", vec![]);
    f.head(&sum, 8);
    f.finish("a batch that is cut", &["Conv", "Slice", "Pad", "Add", "GlobalAveragePool", "Flatten", "Gemm"])
}
