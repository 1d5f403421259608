//! The operators' definitions in float64, for one image in ONNX's order of axes.

use skipstone_onnx::{Border, Conv, Coordinates, Graph, Op, Resize, ResizeKernel, Unary, ValueId, Window};

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
        Op::Clip { min, max } => x.iter().map(|x| x.max((*min).into()).min((*max).into())).collect(),
        Op::Sigmoid => x.iter().map(|x| 1.0 / (1.0 + (-x).exp())).collect(),
        Op::Unary(unary) => x.iter().map(|&x| function(*unary, x)).collect(),
        Op::L2Norm => {
            let area: usize = dims[1..].iter().product();
            let norm = |i: usize| x[i % area..].iter().step_by(area).map(|x| x * x).sum::<f64>().sqrt();
            x.iter().enumerate().map(|(i, x)| if *x == 0.0 { 0.0 } else { x / norm(i) }).collect()
        }
        Op::InstanceNorm { epsilon } => standardize(x, dims[1] * dims[2], *epsilon),
        Op::GroupNorm { groups, epsilon } => standardize(x, x.len() / groups, *epsilon),
        Op::Softmax => {
            let sum: f64 = x.iter().map(|x| x.exp()).sum();
            x.iter().map(|x| x.exp() / sum).collect()
        }
        Op::Dropout { .. } | Op::StochasticDepth { .. } => x.to_vec(),
        Op::Mul => {
            let at = |(dims, x): (&[usize], &[f64]), c: usize, i: usize| if dims[1..] == [1, 1] { x[c] } else { x[i] };
            let area: usize = out[1..].iter().product();
            let product = |i: usize| at(operands[0], i / area, i) * at(operands[1], i / area, i);
            (0..out.iter().product()).map(product).collect()
        }
        Op::Concat => operands.iter().flat_map(|(_, x)| x.iter().copied()).collect(),
        Op::MaxPool(window) => positions(out)
            .map(|at| inside(window, dims, at).map(|at| x[index(dims, at)]).fold(f64::NEG_INFINITY, f64::max))
            .collect(),
        Op::AveragePool { window, count_include_pad } => positions(out)
            .map(|at| {
                let elements: Vec<f64> = inside(window, dims, at).map(|at| x[index(dims, at)]).collect();
                let axis = |axis: usize| {
                    let start = at[axis + 1] * window.stride[axis];
                    let end = window.pads[axis] + dims[axis + 1] + window.pads[axis + 2];
                    (start..start + window.kernel[axis]).filter(|&at| at < end).count()
                };
                let count = if *count_include_pad { axis(0) * axis(1) } else { elements.len() };
                elements.iter().sum::<f64>() / count as f64
            })
            .collect(),
        Op::GlobalMaxPool => {
            x.chunks_exact(dims[1] * dims[2]).map(|map| map.iter().copied().fold(f64::NEG_INFINITY, f64::max)).collect()
        }
        Op::Resize(resize) => positions(out).map(|at| interpolate(resize, dims, x, at)).collect(),
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
        Op::BorderPad(pad) => {
            let [top, left, ..] = pad.pads;
            let source = |at: usize, before: usize, size: usize| {
                let (at, last) = (at as i64 - before as i64, size as i64 - 1);
                let inside = match pad.border {
                    Border::Wrap => at.rem_euclid(size as i64),
                    Border::Reflect if at < 0 => -at,
                    Border::Reflect if at > last => 2 * last - at,
                    _ => at.clamp(0, last),
                };
                inside as usize
            };
            positions(out)
                .map(|[c, y, z]| x[index(dims, [c, source(y, top, dims[1]), source(z, left, dims[2])])])
                .collect()
        }
        Op::DepthToSpace { block: [rows, columns] } => positions(out)
            .map(|[c, y, z]| {
                let place = y % rows * columns + z % columns;
                x[index(dims, [place * out[0] + c, y / rows, z / columns])]
            })
            .collect(),
        Op::SpaceToDepth { block: [rows, columns] } => positions(out)
            .map(|[c, y, z]| {
                let place = c / dims[0];
                x[index(dims, [c % dims[0], y * rows + place / columns, z * columns + place % columns])]
            })
            .collect(),
        Op::Pad(pad) => positions(out)
            .map(|at| {
                let inside = (0..3).all(|i| at[i] >= pad.before[i] && at[i] < pad.before[i] + dims[i]);
                if inside { x[index(dims, [0, 1, 2].map(|i| at[i] - pad.before[i]))] } else { 0.0 }
            })
            .collect(),
    }
}

/// Each part of so many elements, brought to mean 0 and variance 1.
fn standardize(x: &[f64], together: usize, epsilon: f32) -> Vec<f64> {
    x.chunks_exact(together)
        .flat_map(|map| {
            let mean = map.iter().sum::<f64>() / map.len() as f64;
            let variance = map.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / map.len() as f64;
            let deviation = (variance + f64::from(epsilon)).sqrt();
            map.iter().map(move |x| (x - mean) / deviation)
        })
        .collect()
}

fn function(unary: Unary, x: f64) -> f64 {
    let below = |limited: f64| if x > 0.0 { x } else { limited };
    match unary {
        Unary::LeakyRelu { alpha } => below(x * f64::from(alpha)),
        Unary::Elu { alpha } => below((x.exp() - 1.0) * f64::from(alpha)),
        Unary::Gelu => x * (1.0 + erf(x / 2f64.sqrt())) / 2.0,
        Unary::Erf => erf(x),
        Unary::GeluTanh => {
            let argument = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
            x * (1.0 + argument.tanh()) / 2.0
        }
        Unary::Softplus => (1.0 + x.exp()).ln(),
        Unary::Mish => x * (1.0 + x.exp()).ln().tanh(),
        Unary::Softsign => x / (1.0 + x.abs()),
        Unary::Exp => x.exp(),
        Unary::Log => x.ln(),
        Unary::Power { exponent } => x.powf(exponent.into()),
        Unary::ThresholdedRelu { alpha } => {
            if x > f64::from(alpha) {
                x
            } else {
                0.0
            }
        }
    }
}

/// The error function by its power series, for arguments of a few units.
fn erf(x: f64) -> f64 {
    let mut term = x;
    let mut sum = 0.0;
    for n in 0..100 {
        sum += term / f64::from(2 * n + 1);
        term *= -x * x / f64::from(n + 1);
    }
    sum * std::f64::consts::FRAC_2_SQRT_PI
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

/// The positions of a pool's window that lie in the map.
fn inside(window: &Window, dims: &[usize], [c, y, x]: [usize; 3]) -> impl Iterator<Item = [usize; 3]> {
    let Window { kernel, stride, pads, .. } = window.clone();
    let (height, width) = (dims[1], dims[2]);
    positions(&[1, kernel[0], kernel[1]]).filter_map(move |[_, ky, kx]| {
        let row = (y * stride[0] + ky).checked_sub(pads[0]).filter(|&row| row < height)?;
        let column = (x * stride[1] + kx).checked_sub(pads[1]).filter(|&column| column < width)?;
        Some([c, row, column])
    })
}

fn interpolate(resize: &Resize, dims: &[usize], x: &[f64], [c, y, z]: [usize; 3]) -> f64 {
    let (rows, columns) = (weights(resize, 0, dims[1], y), weights(resize, 1, dims[2], z));
    let mut sum = 0.0;
    for (i, down) in rows.iter().enumerate() {
        for (j, right) in columns.iter().enumerate() {
            sum += down * right * x[index(dims, [c, i, j])];
        }
    }
    sum
}

/// What each pixel of an axis weighs in pixel `index` of the result.
fn weights(resize: &Resize, axis: usize, pixels: usize, index: usize) -> Vec<f64> {
    let (size, out) = (pixels as f64, resize.size[axis] as f64);
    let place = match resize.coordinates {
        Coordinates::AlignCorners if resize.size[axis] == 1 => 0.0,
        Coordinates::AlignCorners => index as f64 * (size - 1.0) / (out - 1.0),
        Coordinates::HalfPixel => (index as f64 + 0.5) * size / out - 0.5,
        Coordinates::Asymmetric => index as f64 * size / out,
        Coordinates::Nearest => (index as f64 * size / out).floor(),
    };
    let scale = if resize.antialias && size > out { size / out } else { 1.0 };
    let weight = |distance: f64| match (resize.kernel, distance.abs()) {
        (ResizeKernel::Linear, x) if x < 1.0 => 1.0 - x,
        (ResizeKernel::Cubic { coefficient }, x) if x < 2.0 => {
            let a = f64::from(coefficient);
            let inner = (a + 2.0) * x.powi(3) - (a + 3.0) * x.powi(2) + 1.0;
            if x < 1.0 { inner } else { a * (x.powi(3) - 5.0 * x.powi(2) + 8.0 * x - 4.0) }
        }
        _ => 0.0,
    };
    let mut weights = vec![0.0; pixels];
    for at in -50..pixels as i64 + 50 {
        let inside = at.clamp(0, pixels as i64 - 1);
        if inside == at || !resize.exclude_outside {
            weights[inside as usize] += weight((at as f64 - place) / scale);
        }
    }
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|weight| weight / sum).collect()
}

fn positions(dims: &[usize]) -> impl Iterator<Item = [usize; 3]> + use<> {
    let (c, h, w) = (dims[0], dims[1], dims[2]);
    (0..c * h * w).map(move |i| [i / (h * w), i / w % h, i % w])
}

fn index(dims: &[usize], [c, y, x]: [usize; 3]) -> usize {
    (c * dims[1] + y) * dims[2] + x
}
