//! Channels that become rows, columns and positions in blocks, and maps side by side.

use super::{File, Form, int, ints};
use skipstone_onnx::proto::AttributeProto;

pub(super) fn forms() -> Vec<Form> {
    vec![
        coordinate_attention(),
        circular_gate(),
        shuffled_pixels(),
        shuffled_pixels_by_views(),
        tiled_gate(),
        tiled_map(),
        repeated_pixels(),
        grid_of_positions(),
        maps_beside_each_other(),
        linear_layer_over_pixels(),
    ]
}

/// Means of rows and of columns, one after the other through one layer, and apart again.
fn coordinate_attention() -> Form {
    let mut f = File::new(13, [4, 6, 5]);
    let map = f.conv("image", "conv", [6, 4], 1);
    let rows = f.node("ReduceMean", &[&map], "rows", vec![ints("axes", &[3])]);
    let columns = f.node("ReduceMean", &[&map], "columns", vec![ints("axes", &[2])]);
    let columns = f.node("Transpose", &[&columns], "upright", vec![ints("perm", &[0, 1, 3, 2])]);
    let x = f.node("Concat", &[&rows, &columns], "both", vec![int("axis", 2)]);
    let x = f.point(&x, "reduce", [4, 6]);
    let x = f.node("HardSwish", &[&x], "swish", vec![]);
    let sizes = f.list("sizes", &[6, 5]);
    let parts = ["of.rows", "of.columns"];
    f.graph.node.push(skipstone_onnx::proto::NodeProto::new(
        "Split",
        "split",
        &[&x, &sizes],
        &parts,
        vec![int("axis", 2)],
    ));
    let columns = f.node("Transpose", &["of.columns"], "lying", vec![ints("perm", &[0, 1, 3, 2])]);
    let (rows, columns) = (f.point("of.rows", "grow.rows", [6, 4]), f.point(&columns, "grow.columns", [6, 4]));
    let (rows, columns) =
        (f.node("Sigmoid", &[&rows], "gate.r", vec![]), f.node("Sigmoid", &[&columns], "gate.c", vec![]));
    let x = f.node("Mul", &[&map, &columns], "by.columns", vec![]);
    let x = f.node("Mul", &[&x, &rows], "by.rows", vec![]);
    f.head(&x, 6);
    f.finish(
        "coordinate attention",
        &[
            "Conv",
            "AveragePool",
            "AveragePool",
            "SpaceToDepth",
            "SpaceToDepth",
            "Concat",
            "DepthToSpace",
            "Conv",
            "Conv",
            "Clip",
            "Mul",
            "Slice",
            "Slice",
            "Conv",
            "SpaceToDepth",
            "DepthToSpace",
            "Conv",
            "Sigmoid",
            "Sigmoid",
            "Resize",
            "Mul",
            "Resize",
            "Mul",
            "GlobalAveragePool",
            "Flatten",
            "Gemm",
        ],
    )
}

/// Efficient channel attention whose channels are a circle, as PyTorch writes it before operator set 19.
fn circular_gate() -> Form {
    let mut f = File::new(13, [4, 6, 6]);
    let map = f.conv("image", "conv", [8, 4], 1);
    let x = f.node("ReduceMean", &[&map], "squeezed", vec![ints("axes", &[2, 3]), int("keepdims", 0)]);
    let row = f.list("row.shape", &[0, 1, -1]);
    let x = f.node("Reshape", &[&x, &row], "row", vec![]);
    let [axis, start, last, end] =
        [("axis", 2), ("start", 0), ("last", -2), ("end", i64::MAX)].map(|(name, n)| f.list(name, &[n]));
    let two = f.list("two", &[2]);
    let before = f.node("Slice", &[&x, &last, &end, &axis], "before", vec![]);
    let after = f.node("Slice", &[&x, &start, &two, &axis], "after", vec![]);
    let x = f.node("Concat", &[&before, &x, &after], "circle", vec![int("axis", 2)]);
    let (weight, bias) = (f.weight("band", &[1, 1, 5]), f.weight("band.bias", &[1]));
    let x = f.node("Conv", &[&x, &weight, &bias], "mixed", vec![]);
    let x = f.node("Sigmoid", &[&x], "gates", vec![]);
    let column = f.list("column.shape", &[0, 8, 1, 1]);
    let x = f.node("Reshape", &[&x, &column], "column", vec![]);
    let x = f.node("Mul", &[&map, &x], "gated", vec![]);
    f.head(&x, 8);
    f.finish(
        "circular gate",
        &[
            "Conv",
            "GlobalAveragePool",
            "Slice",
            "Slice",
            "Concat",
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

/// `PixelShuffle`: the order of channels is the convolution's.
fn shuffled_pixels() -> Form {
    let mut f = File::new(13, [4, 4, 3]);
    let x = f.conv("image", "conv", [12, 4], 1);
    let mode = vec![int("blocksize", 2), AttributeProto::string("mode", "CRD")];
    let x = f.node("DepthToSpace", &[&x], "pixels", mode);
    let x = f.node("DepthToSpace", &[&x], "same", vec![int("blocksize", 1)]);
    let x = f.node("SpaceToDepth", &[&x], "channels", vec![int("blocksize", 2)]);
    f.head(&x, 12);
    f.finish("shuffled pixels", &["Conv", "DepthToSpace", "SpaceToDepth", "GlobalAveragePool", "Flatten", "Gemm"])
}

/// The same as views, with blocks that are no squares.
fn shuffled_pixels_by_views() -> Form {
    let mut f = File::new(13, [4, 4, 3]);
    let x = f.conv("image", "conv", [12, 4], 1);
    let apart = f.list("apart", &[0, 2, 3, 2, 4, 3]);
    let x = f.node("Reshape", &[&x, &apart], "split", vec![]);
    let x = f.node("Transpose", &[&x], "moved", vec![ints("perm", &[0, 1, 4, 2, 5, 3])]);
    let joined = f.list("joined", &[0, 2, 12, 6]);
    let x = f.node("Reshape", &[&x, &joined], "pixels", vec![]);
    let x = f.conv(&x, "after", [5, 2], 2);
    f.head(&x, 5);
    f.finish("shuffled pixels by views", &["Conv", "DepthToSpace", "Conv", "GlobalAveragePool", "Flatten", "Gemm"])
}

/// A gate that is repeated before it is multiplied.
fn tiled_gate() -> Form {
    let mut f = File::new(13, [4, 6, 5]);
    let map = f.conv("image", "conv", [6, 4], 1);
    let x = f.node("GlobalAveragePool", &[&map], "squeezed", vec![]);
    let x = f.point(&x, "point", [6, 6]);
    let x = f.node("Sigmoid", &[&x], "gate", vec![]);
    let repeats = f.list("repeats", &[1, 1, 6, 5]);
    let x = f.node("Tile", &[&x, &repeats], "tiled", vec![]);
    let x = f.node("Mul", &[&map, &x], "gated", vec![]);
    f.head(&x, 6);
    f.finish(
        "tiled gate",
        &["Conv", "GlobalAveragePool", "Conv", "Sigmoid", "Mul", "GlobalAveragePool", "Flatten", "Gemm"],
    )
}

/// A map that is repeated along all axes.
fn tiled_map() -> Form {
    let mut f = File::new(13, [4, 3, 4]);
    let x = f.conv("image", "conv", [3, 4], 1);
    let repeats = f.list("repeats", &[1, 2, 2, 3]);
    let x = f.node("Tile", &[&x, &repeats], "tiled", vec![]);
    let x = f.conv(&x, "after", [5, 6], 2);
    f.head(&x, 5);
    f.finish(
        "tiled map",
        &[
            "Conv",
            "Concat",
            "SpaceToDepth",
            "SpaceToDepth",
            "Concat",
            "DepthToSpace",
            "SpaceToDepth",
            "SpaceToDepth",
            "SpaceToDepth",
            "Concat",
            "DepthToSpace",
            "Conv",
            "GlobalAveragePool",
            "Flatten",
            "Gemm",
        ],
    )
}

/// Nearest interpolation as each pixel repeated.
fn repeated_pixels() -> Form {
    let mut f = File::new(13, [4, 3, 4]);
    let x = f.conv("image", "conv", [3, 4], 1);
    let apart = f.list("apart", &[0, 3, 3, 1, 4, 1]);
    let x = f.node("Reshape", &[&x, &apart], "split", vec![]);
    let repeats = f.list("repeats", &[1, 1, 1, 2, 1, 3]);
    let x = f.node("Tile", &[&x, &repeats], "tiled", vec![]);
    let joined = f.list("joined", &[0, 3, 6, 12]);
    let x = f.node("Reshape", &[&x, &joined], "pixels", vec![]);
    let x = f.conv(&x, "after", [5, 3], 2);
    f.head(&x, 5);
    f.finish("repeated pixels", &["Conv", "Resize", "Conv", "GlobalAveragePool", "Flatten", "Gemm"])
}

/// Rows and columns by a grid of positions, as `torch.export` writes nearest pixels.
fn grid_of_positions() -> Form {
    let mut f = File::new(13, [4, 4, 5]);
    let x = f.conv("image", "conv", [3, 4], 1);
    let x = f.node("Transpose", &[&x], "positions.first", vec![ints("perm", &[2, 3, 0, 1])]);
    let (rows, columns) = ([0, 1, 1, 2, 3, 3], [0, 2, 4]);
    let grid: Vec<i64> = rows.iter().flat_map(|&row| columns.iter().flat_map(move |&column| [row, column])).collect();
    f.graph.initializer.push(skipstone_onnx::proto::TensorProto::i64("grid", &[6, 3, 2], &grid));
    let x = f.node("GatherND", &[&x, "grid"], "picked", vec![]);
    let x = f.node("Transpose", &[&x], "back", vec![ints("perm", &[2, 3, 0, 1])]);
    let x = f.conv(&x, "after", [5, 3], 1);
    f.head(&x, 5);
    f.finish(
        "grid of positions",
        &[
            "Conv",
            "Slice",
            "Slice",
            "Slice",
            "SpaceToDepth",
            "SpaceToDepth",
            "Concat",
            "DepthToSpace",
            "Slice",
            "Conv",
            "GlobalAveragePool",
            "Flatten",
            "Gemm",
        ],
    )
}

/// Maps side by side along columns.
fn maps_beside_each_other() -> Form {
    let mut f = File::new(13, [4, 4, 5]);
    let a = f.conv("image", "left", [3, 4], 1);
    let b = f.conv("image", "right", [3, 4], 1);
    let x = f.node("Concat", &[&a, &b], "both", vec![int("axis", 3)]);
    let x = f.conv(&x, "after", [5, 3], 2);
    f.head(&x, 5);
    f.finish(
        "maps beside each other",
        &[
            "Conv",
            "Conv",
            "SpaceToDepth",
            "SpaceToDepth",
            "Concat",
            "DepthToSpace",
            "Conv",
            "GlobalAveragePool",
            "Flatten",
            "Gemm",
        ],
    )
}

/// A linear layer over the channels of each row of a map, and of each pixel, where these are last.
fn linear_layer_over_pixels() -> Form {
    let mut f = File::new(13, [4, 4, 5]);
    let map = f.conv("image", "conv", [6, 4], 1);
    let x = f.node("ReduceMean", &[&map], "rows", vec![ints("axes", &[3]), int("keepdims", 0)]);
    let x = f.node("Transpose", &[&x], "sequence", vec![ints("perm", &[0, 2, 1])]);
    let (weight, bias) = (f.weight("weight", &[6, 6]), f.weight("bias", &[6]));
    let x = f.node("MatMul", &[&x, &weight], "product", vec![]);
    let x = f.node("Add", &[&bias, &x], "sum", vec![]);
    let x = f.node("Sigmoid", &[&x], "gates", vec![]);
    let x = f.node("Transpose", &[&x], "back", vec![ints("perm", &[0, 2, 1])]);
    let axis = f.list("axis", &[3]);
    let x = f.node("Unsqueeze", &[&x, &axis], "column", vec![]);
    let x = f.node("Mul", &[&map, &x], "gated", vec![]);
    let x = f.node("Transpose", &[&x], "pixels", vec![ints("perm", &[0, 2, 3, 1])]);
    let weight = f.weight("second.weight", &[6, 7]);
    let x = f.node("MatMul", &[&x, &weight], "second", vec![]);
    let x = f.node("Transpose", &[&x], "map", vec![ints("perm", &[0, 3, 1, 2])]);
    f.head(&x, 7);
    f.finish(
        "linear layer over pixels",
        &["Conv", "AveragePool", "Conv", "Sigmoid", "Resize", "Mul", "Conv", "GlobalAveragePool", "Flatten", "Gemm"],
    )
}
