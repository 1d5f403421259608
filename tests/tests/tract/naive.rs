//! The operators' definitions in float64, for one image in ONNX's order of axes.

use skipstone_onnx::{Conv, Graph, Op, ValueId};

/// The scores of one image, `[C, H, W]`.
pub(crate) fn scores(graph: &Graph, image: &[f32]) -> Vec<f64> {
    let mut values: Vec<Vec<f64>> = graph
        .values()
        .iter()
        .map(|value| value.parameter.iter().flat_map(|p| p.tensor.data()).map(|&x| x.into()).collect())
        .collect();
    values[graph.input().index()] = image.iter().map(|&x| x.into()).collect();
    for node in graph.nodes() {
        let operands: Vec<(&[usize], &[f64])> = node
            .inputs
            .iter()
            .map(|id: &ValueId| (graph.value(*id).dims.as_slice(), values[id.index()].as_slice()))
            .collect();
        let result = evaluate(&node.op, &operands, &graph.value(node.output).dims);
        values[node.output.index()] = result;
    }
    values.swap_remove(graph.output().index())
}

fn evaluate(op: &Op, operands: &[(&[usize], &[f64])], out: &[usize]) -> Vec<f64> {
    let (dims, x) = operands[0];
    let operand = |index: usize| operands[index].1;
    match op {
        Op::Conv(conv) => convolve(conv, operands, out),
        Op::BatchNorm { epsilon } => {
            let area = dims[1] * dims[2];
            let normalize = |(i, x): (usize, &f64)| {
                let c = i / area;
                let deviation = (operand(4)[c] + f64::from(*epsilon)).sqrt();
                (x - operand(3)[c]) / deviation * operand(1)[c] + operand(2)[c]
            };
            x.iter().enumerate().map(normalize).collect()
        }
        Op::Relu => x.iter().map(|x| x.max(0.0)).collect(),
        Op::Add => x.iter().zip(operand(1)).map(|(a, b)| a + b).collect(),
        Op::GlobalAveragePool => {
            let area = dims[1] * dims[2];
            x.chunks_exact(area).map(|map| map.iter().sum::<f64>() / area as f64).collect()
        }
        Op::Flatten => x.to_vec(),
        Op::Gemm => {
            let dot = |row: &[f64]| row.iter().zip(x).map(|(a, b)| a * b).sum::<f64>();
            let bias = |o: usize| operands.get(2).map_or(0.0, |(_, bias)| bias[o]);
            operand(1).chunks_exact(x.len()).enumerate().map(|(o, row)| dot(row) + bias(o)).collect()
        }
        Op::Slice(slice) => positions(out)
            .map(|at| x[index(dims, [0, 1, 2].map(|axis| slice.start[axis] + at[axis] * slice.step[axis]))])
            .collect(),
        Op::Pad(pad) => positions(out)
            .map(|at| {
                let inside = (0..3).all(|i| at[i] >= pad.before[i] && at[i] < pad.before[i] + dims[i]);
                if inside { x[index(dims, [0, 1, 2].map(|i| at[i] - pad.before[i]))] } else { 0.0 }
            })
            .collect(),
    }
}

fn convolve(conv: &Conv, operands: &[(&[usize], &[f64])], out: &[usize]) -> Vec<f64> {
    let ((dims, x), (_, weight)) = (operands[0], operands[1]);
    let [rows, columns] = conv.kernel;
    let (per_group, outputs_per_group) = (dims[0] / conv.groups, out[0] / conv.groups);
    positions(out)
        .map(|[o, y, z]| {
            let mut sum = operands.get(2).map_or(0.0, |(_, bias)| bias[o]);
            for [i, ky, kx] in positions(&[per_group, rows, columns]) {
                let row = (y * conv.stride[0] + ky).checked_sub(conv.pads[0]).filter(|&row| row < dims[1]);
                let column = (z * conv.stride[1] + kx).checked_sub(conv.pads[1]).filter(|&column| column < dims[2]);
                if let (Some(row), Some(column)) = (row, column) {
                    let channel = o / outputs_per_group * per_group + i;
                    sum += x[index(dims, [channel, row, column])]
                        * weight[((o * per_group + i) * rows + ky) * columns + kx];
                }
            }
            sum
        })
        .collect()
}

fn positions(dims: &[usize]) -> impl Iterator<Item = [usize; 3]> + use<> {
    let (c, h, w) = (dims[0], dims[1], dims[2]);
    (0..c * h * w).map(move |i| [i / (h * w), i / w % h, i % w])
}

fn index(dims: &[usize], [c, y, x]: [usize; 3]) -> usize {
    (c * dims[1] + y) * dims[2] + x
}
