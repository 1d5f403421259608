//! Gates and functions that files write over channels, or out of parts.

use super::{File, Form, float, int, ints};
use skipstone_onnx::proto::{AttributeProto, DataType, Dim, ValueInfoProto};

pub(super) fn forms() -> Vec<Form> {
    vec![
        gate_by_mean_and_maximum_of_channels(),
        gate_by_rows_and_columns(),
        extremes(),
        functions_out_of_parts(),
        blocks_of_pixels(),
        wrapped_borders(),
        normalized_channels(),
        normalized_channels_of_keras(),
        cubic_and_antialiased(),
        global_context(),
        image_without_batch(),
    ]
}

/// The spatial gate of convolutional block attention.
fn gate_by_mean_and_maximum_of_channels() -> Form {
    let mut f = File::new(17, [3, 6, 6]);
    let map = f.conv("image", "conv", [5, 3], 1);
    let mean = f.node("ReduceMean", &[&map], "mean", vec![ints("axes", &[1])]);
    let max = f.node("ReduceMax", &[&map], "max.features", vec![ints("axes", &[1]), int("keepdims", 0)]);
    let axis = f.list("axis", &[1]);
    let max = f.node("Unsqueeze", &[&max, &axis], "max", vec![]);
    let x = f.node("Concat", &[&mean, &max], "both", vec![int("axis", 1)]);
    let x = f.conv(&x, "mask", [1, 2], 1);
    let x = f.node("Sigmoid", &[&x], "gate", vec![]);
    let x = f.node("Mul", &[&map, &x], "gated", vec![]);
    f.head(&x, 5);
    f.finish(
        "gate by mean and maximum of channels",
        &[
            "Conv",
            "Conv", // The larger of halves, three times: 5, 3, 2 channels.
            "Slice",
            "Slice",
            "Conv",
            "Add",
            "Relu",
            "Add",
            "Slice",
            "Slice",
            "Conv",
            "Add",
            "Relu",
            "Add",
            "Slice",
            "Slice",
            "Conv",
            "Add",
            "Relu",
            "Add",
            "Concat",
            "Conv",
            "Sigmoid",
            "Conv",
            "Mul",
            "GlobalAveragePool",
            "Flatten",
            "Gemm",
        ],
    )
}

/// Means of rows and of columns, whose sum is a gate for every position, and one channel for all.
fn gate_by_rows_and_columns() -> Form {
    let mut f = File::new(17, [3, 6, 5]);
    let map = f.conv("image", "conv", [4, 3], 1);
    let rows = f.node("ReduceMean", &[&map], "row.means", vec![ints("axes", &[3])]);
    let columns = f.node("ReduceMean", &[&map], "column.means", vec![ints("axes", &[2])]);
    let (rows, columns) = (f.point(&rows, "rows", [4, 4]), f.point(&columns, "columns", [4, 4]));
    let x = f.node("Add", &[&rows, &columns], "sum", vec![]);
    let x = f.node("Sigmoid", &[&x], "gate", vec![]);
    let x = f.node("Mul", &[&map, &x], "gated", vec![]);
    let mask = f.point(&map, "mask", [1, 4]);
    let x = f.node("Sub", &[&mask, &x], "difference", vec![]);
    f.head(&x, 4);
    f.finish(
        "gate by rows and columns",
        &[
            "Conv",
            "AveragePool",
            "AveragePool",
            "Conv",
            "Conv",
            "Resize",
            "Resize",
            "Add",
            "Sigmoid",
            "Mul",
            "Conv",
            "Conv",
            "Conv",
            "Add",
            "GlobalAveragePool",
            "Flatten",
            "Gemm",
        ],
    )
}

/// The larger and the smaller of computed tensors, and the smallest of channels and positions.
fn extremes() -> Form {
    let mut f = File::new(17, [3, 6, 6]);
    let [a, b] = ["a", "b"].map(|name| f.conv("image", name, [2, 3], 1));
    let larger = f.node("Max", &[&a, &b], "larger", vec![]);
    let smaller = f.node("Min", &[&a, &b], "smaller", vec![]);
    let x = f.node("Concat", &[&larger, &smaller], "both", vec![int("axis", 1)]);
    let least = f.node("ReduceMin", &[&x], "least", vec![ints("axes", &[2, 3])]);
    let x = f.node("Mul", &[&x, &least], "weighed", vec![]);
    f.head(&x, 4);
    f.finish(
        "the larger and the smaller of computed tensors",
        &[
            "Conv",
            "Conv",
            "Conv",
            "Add",
            "Relu",
            "Add",
            "Conv",
            "Conv",
            "Conv",
            "Add",
            "Relu",
            "Add",
            "Conv",
            "Concat",
            "Conv",
            "GlobalMaxPool",
            "Conv",
            "Mul",
            "GlobalAveragePool",
            "Flatten",
            "Gemm",
        ],
    )
}

/// Softsign, softplus and sigmoid out of absolute values, exponentials and logarithms; powers; a quotient.
fn functions_out_of_parts() -> Form {
    let mut f = File::new(17, [3, 6, 6]);
    let x = f.conv("image", "conv", [4, 3], 1);
    let one = f.number("one", 1.0);
    let size = f.node("Abs", &[&x], "size", vec![]);
    let above = f.node("Add", &[&size, &one], "above.one", vec![]);
    let x = f.node("Div", &[&x, &above], "softsign", vec![]);
    let exp = f.node("Exp", &[&x], "exp", vec![]);
    let sum = f.node("Add", &[&one, &exp], "exp.sum", vec![]);
    let x = f.node("Log", &[&sum], "softplus", vec![]);
    let minus = f.node("Neg", &[&x], "minus", vec![]);
    let exp = f.node("Exp", &[&minus], "exp.minus", vec![]);
    let sum = f.node("Add", &[&exp, &one], "exp.minus.sum", vec![]);
    let gate = f.node("Div", &[&one, &sum], "sigmoid", vec![]);
    let exponent = f.number("exponent", 1.5);
    let x = f.node("Pow", &[&x, &exponent], "power", vec![]);
    let x = f.node("Mul", &[&x, &gate], "gated", vec![]);
    let root = f.node("Sqrt", &[&x], "root", vec![]);
    let x = f.node("Add", &[&x, &root], "root.sum", vec![]);
    let x = f.node("Log", &[&x], "log", vec![]);
    let size = f.node("Reciprocal", &[&size], "inverse", vec![]);
    let size = f.node("Clip", &[&size, "one"], "limited", vec![]);
    let x = f.node("Div", &[&x, &size], "quotient", vec![]);
    f.head(&x, 4);
    f.finish(
        "functions out of parts",
        &[
            "Conv",
            "LeakyRelu",
            "Softsign",
            "Softplus",
            "Conv",
            "Conv",
            "Sigmoid",
            "Pow",
            "Mul",
            "Pow",
            "Add",
            "Log",
            "Pow",
            "Clip",
            "Pow",
            "Mul",
            "GlobalAveragePool",
            "Flatten",
            "Gemm",
        ],
    )
}

/// Pixels of blocks as channels, by the operator and by reshaping.
fn blocks_of_pixels() -> Form {
    let mut f = File::new(17, [3, 6, 4]);
    let map = f.conv("image", "conv", [2, 3], 1);
    let x = f.node("SpaceToDepth", &[&map], "blocks", vec![int("blocksize", 2)]);
    let a = f.point(&x, "a", [4, 8]);
    let split = f.list("split", &[0, 2, 3, 2, 2, 2]);
    let x = f.node("Reshape", &[&map, &split], "split.map", vec![]);
    let x = f.node("Transpose", &[&x], "moved", vec![ints("perm", &[0, 1, 3, 5, 2, 4])]);
    let joined = f.list("joined", &[0, 8, 3, 2]);
    let x = f.node("Reshape", &[&x, &joined], "unshuffled", vec![]);
    let b = f.point(&x, "b", [4, 8]);
    let x = f.node("Add", &[&a, &b], "sum", vec![]);
    f.head(&x, 4);
    f.finish(
        "blocks of pixels as channels",
        &["Conv", "SpaceToDepth", "Conv", "SpaceToDepth", "Conv", "Add", "GlobalAveragePool", "Flatten", "Gemm"],
    )
}

/// Circular padding as exporters write it below operator set 19.
fn wrapped_borders() -> Form {
    let mut f = File::new(17, [3, 6, 5]);
    let mut x = f.conv("image", "conv", [4, 3], 1);
    for (name, axis, before, after) in [("rows", 2, -2, 1), ("columns", 3, -1, 1)] {
        let axes = f.list(&format!("{name}.axis"), &[axis]);
        let mut slice = |which: &str, from: i64, to: i64| {
            let start = f.list(&format!("{name}.{which}.start"), &[from]);
            let end = f.list(&format!("{name}.{which}.end"), &[to]);
            f.node("Slice", &[&x, &start, &end, &axes], &format!("{name}.{which}"), vec![])
        };
        let (last, first) = (slice("last", before, i64::MAX), slice("first", 0, after));
        x = f.node("Concat", &[&last, &x, &first], name, vec![int("axis", axis)]);
    }
    f.head(&x, 4);
    f.finish("borders that wrap", &["Conv", "Pad", "GlobalAveragePool", "Flatten", "Gemm"])
}

/// Each position normalized over its channels, by the operator and out of parts.
fn normalized_channels() -> Form {
    let mut f = File::new(17, [3, 6, 6]);
    let x = f.conv("image", "conv", [4, 3], 1);
    let x = f.node("Transpose", &[&x], "last", vec![ints("perm", &[0, 2, 3, 1])]);
    let (scale, bias) = (f.weight("scale", &[4]), f.weight("bias", &[4]));
    let x = f.node("LayerNormalization", &[&x, &scale, &bias], "normalized", vec![float("epsilon", 0.01)]);
    let x = f.node("Transpose", &[&x], "first", vec![ints("perm", &[0, 3, 1, 2])]);
    let mean = f.node("ReduceMean", &[&x], "mean", vec![ints("axes", &[1])]);
    let centred = f.node("Sub", &[&x, &mean], "centred", vec![]);
    let two = f.number("two", 2.0);
    let square = f.node("Pow", &[&centred, &two], "square", vec![]);
    let variance = f.node("ReduceMean", &[&square], "variance", vec![ints("axes", &[1])]);
    let epsilon = f.number("epsilon", 0.01);
    let sum = f.node("Add", &[&variance, &epsilon], "sum", vec![]);
    let root = f.node("Sqrt", &[&sum], "root", vec![]);
    let x = f.node("Div", &[&centred, &root], "quotient", vec![]);
    f.head(&x, 4);
    f.finish(
        "normalized channels",
        &[
            "Conv",
            "Conv",
            "Conv",
            "Add",
            "Mul",
            "Conv",
            "Pow",
            "Conv",
            "Mul",
            "Conv",
            "Conv",
            "Conv",
            "Add",
            "Mul",
            "Conv",
            "Pow",
            "Conv",
            "Mul",
            "GlobalAveragePool",
            "Flatten",
            "Gemm",
        ],
    )
}

/// Factors and summands of channels that meet a map of one channel.
fn normalized_channels_of_keras() -> Form {
    let mut f = File::new(17, [3, 6, 6]);
    let x = f.conv("image", "conv", [4, 3], 1);
    let mean = f.node("ReduceMean", &[&x], "mean", vec![ints("axes", &[1])]);
    let centred = f.node("Sub", &[&x, &mean], "centred", vec![]);
    let square = f.node("Mul", &[&centred, &centred], "square", vec![]);
    let variance = f.node("ReduceMean", &[&square], "variance", vec![ints("axes", &[1])]);
    let epsilon = f.number("epsilon", 0.01);
    let sum = f.node("Add", &[&variance, &epsilon], "sum", vec![]);
    let root = f.node("Sqrt", &[&sum], "root", vec![]);
    let inverse = f.node("Reciprocal", &[&root], "inverse", vec![]);
    let (scale, bias) = (f.weight("scale", &[1, 4, 1, 1]), f.weight("bias", &[4, 1, 1]));
    let factor = f.node("Mul", &[&inverse, &scale], "factor", vec![]);
    let scaled = f.node("Mul", &[&x, &factor], "scaled", vec![]);
    let negative = f.node("Neg", &[&mean], "negative", vec![]);
    let shift = f.node("Mul", &[&negative, &factor], "shift", vec![]);
    let mask = f.node("Add", &[&mean, &bias], "mask", vec![]);
    let x = f.node("Sum", &[&scaled, &shift, &mask], "normalized", vec![]);
    f.head(&x, 4);
    f.finish(
        "factors of channels for a map of one channel",
        &[
            "Conv",
            "Conv",
            "Conv",
            "Conv",
            "Add",
            "Mul",
            "Conv",
            "Pow",
            "Conv",
            "Mul",
            "Conv",
            "Conv",
            "Mul",
            "Conv",
            "Add",
            "Add",
            "GlobalAveragePool",
            "Flatten",
            "Gemm",
        ],
    )
}

/// Interpolation by a cubic kernel, and one that looks at all pixels.
fn cubic_and_antialiased() -> Form {
    let mut f = File::new(18, [3, 6, 6]);
    let x = f.conv("image", "conv", [4, 3], 1);
    let text = AttributeProto::string;
    let scales = f.floats("scales", &[1.0, 1.0, 2.0, 1.5]);
    let attributes = vec![text("mode", "cubic"), text("coordinate_transformation_mode", "align_corners")];
    let x = f.node("Resize", &[&x, "", &scales], "larger", attributes);
    let scales = f.floats("smaller.scales", &[1.0, 1.0, 0.25, 5.0 / 9.0]);
    let attributes = vec![text("mode", "cubic"), int("antialias", 1), float("cubic_coeff_a", -0.5)];
    let x = f.node("Resize", &[&x, "", &scales], "smaller", attributes);
    f.head(&x, 4);
    f.finish("cubic interpolation", &["Conv", "Resize", "Resize", "GlobalAveragePool", "Flatten", "Gemm"])
}

/// The sum of a map's pixels under a softmax over its positions, added to each of them.
fn global_context() -> Form {
    let mut f = File::new(17, [3, 6, 5]);
    let map = f.conv("image", "conv", [4, 3], 1);
    let mask = f.point(&map, "mask", [1, 4]);
    let row = f.list("row", &[0, 1, 30]);
    let x = f.node("Reshape", &[&mask, &row], "mask.row", vec![]);
    let x = f.node("Softmax", &[&x], "shares", vec![int("axis", 2)]);
    let last = f.list("last", &[3]);
    let shares = f.node("Unsqueeze", &[&x, &last], "column", vec![]);
    let matrix = f.list("matrix", &[0, 1, 4, 30]);
    let x = f.node("Reshape", &[&map, &matrix], "pixels", vec![]);
    let x = f.node("MatMul", &[&x, &shares], "context", vec![]);
    let gates = f.list("gates", &[0, 4, 1, 1]);
    let x = f.node("Reshape", &[&x, &gates], "context.map", vec![]);
    let x = f.point(&x, "transformed", [4, 4]);
    let x = f.node("Add", &[&map, &x], "sum", vec![]);
    f.head(&x, 4);
    f.finish(
        "global context",
        &[
            "Conv",
            "Conv",
            "GlobalMaxPool",
            "Conv",
            "Resize",
            "Add",
            "Exp",
            "GlobalAveragePool",
            "Pow",
            "Mul",
            "Conv",
            "Mul",
            "GlobalAveragePool",
            "Conv",
            "Resize",
            "Add",
            "GlobalAveragePool",
            "Flatten",
            "Gemm",
        ],
    )
}

/// An image that becomes a batch of one in the file.
fn image_without_batch() -> Form {
    let mut f = File::new(17, [3, 6, 5]);
    f.graph.input = vec![ValueInfoProto::tensor("image", DataType::Float, &[3, 6, 5].map(Dim::Fixed))];
    let factors = f.weight("factors.std", &[3, 1, 1]);
    let x = f.node("Div", &["image", &factors], "scaled", vec![]);
    let axis = f.list("axis", &[0]);
    let x = f.node("Unsqueeze", &[&x, &axis], "batch", vec![]);
    let x = f.conv(&x, "conv", [4, 3], 1);
    let x = f.node("GlobalAveragePool", &[&x], "pooled", vec![]);
    let x = f.node("Flatten", &[&x], "flat", vec![]);
    f.gemm(&x, "scores", [3, 4]);
    f.finish("an image without a batch", &["Conv", "Conv", "GlobalAveragePool", "Flatten", "Gemm"])
}
