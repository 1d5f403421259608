//! Files of quantized networks, evaluated node by node as ONNX defines them: sums of integers, real scales in float64,
//! ties to even. Written apart from importer and engine.
//!
//! Beside each number stands by how much an implementation may be off: float32 rounds scales and products, and a
//! channel of weights that no int8 scale holds may be rounded anew.

use skipstone_onnx::proto::{DataType, NodeProto, TensorProto};
use std::collections::HashMap;

/// Relative error of a product or a scale that is allowed to whoever rounds multipliers to integers.
const PRECISION: f64 = 1.0 / (1u64 << 21) as f64;

/// A tensor: `numbers * unit` are its elements.
#[derive(Clone, Debug)]
pub(crate) struct Value {
    pub(crate) dims: Vec<usize>,
    /// Whole numbers where the tensor is integers, or was dequantized with one scale.
    pub(crate) numbers: Vec<f64>,
    pub(crate) unit: f64,
    /// Allowed error of each element.
    pub(crate) slack: Vec<f64>,
    /// Type of the elements.
    pub(crate) kind: DataType,
    /// Of dequantized weights: the scale of each element.
    scales: Vec<f64>,
}

/// What the integer of an element may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Legal {
    pub(crate) lo: i64,
    pub(crate) hi: i64,
    /// Ties to even.
    pub(crate) exact: i64,
    /// Whether re-rounded weights are the reason for a range.
    pub(crate) wide: bool,
}

/// Chooses the integers of a tensor of a name and dimensions among those that may be; `None`: any of them.
pub(crate) type Choose<'c> = dyn FnMut(&str, &[Legal]) -> Option<Vec<i64>> + 'c;

impl Value {
    pub(crate) fn real(dims: &[usize], numbers: Vec<f64>) -> Self {
        let slack = vec![0.0; numbers.len()];
        Self { dims: dims.to_vec(), numbers, unit: 1.0, slack, kind: DataType::Float, scales: Vec::new() }
    }

    pub(crate) fn at(&self, index: usize) -> f64 {
        self.numbers[index] * self.scales.get(index).copied().unwrap_or(self.unit)
    }

    pub(crate) fn range(&self) -> (f64, f64) {
        let all = || (0..self.numbers.len()).map(|index| self.at(index));
        (all().fold(0.0, f64::min), all().fold(0.0, f64::max))
    }

    fn constant(proto: &TensorProto) -> Self {
        let kind = DataType::try_from(proto.data_type).unwrap();
        let dims: Vec<usize> = proto.dims.iter().map(|&dim| dim as usize).collect();
        let Some(bytes) = proto.raw_data.as_deref() else {
            let ints = proto.int32_data.iter().map(|&x| f64::from(x));
            let longs = proto.int64_data.iter().map(|&x| x as f64);
            let floats = proto.float_data.iter().map(|&x| f64::from(x));
            return Self { kind, ..Self::real(&dims, ints.chain(longs).chain(floats).collect()) };
        };
        let numbers: Vec<f64> = match kind {
            DataType::Int8 => bytes.iter().map(|&byte| f64::from(byte as i8)).collect(),
            DataType::Uint8 => bytes.iter().map(|&byte| f64::from(byte)).collect(),
            DataType::Int32 => bytes.as_chunks::<4>().0.iter().map(|&b| f64::from(i32::from_le_bytes(b))).collect(),
            DataType::Float => bytes.as_chunks::<4>().0.iter().map(|&b| f64::from(f32::from_le_bytes(b))).collect(),
            DataType::Int64 => bytes.as_chunks::<8>().0.iter().map(|&b| i64::from_le_bytes(b) as f64).collect(),
            other => panic!("{other:?}"),
        };
        Self { kind, ..Self::real(&dims, numbers) }
    }
}

fn attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a skipstone_onnx::proto::AttributeProto> {
    node.attribute.iter().find(|attribute| attribute.name == name)
}

fn int(node: &NodeProto, name: &str, default: i64) -> i64 {
    attribute(node, name).and_then(|attribute| attribute.i).unwrap_or(default)
}

fn sizes(node: &NodeProto, name: &str, default: &[usize]) -> Vec<usize> {
    attribute(node, name).map_or(default.to_vec(), |a| a.ints.iter().map(|&int| int as usize).collect())
}

#[derive(Default)]
pub(crate) struct Machine {
    pub(crate) values: HashMap<String, Value>,
}

impl Machine {
    pub(crate) fn constant(&mut self, proto: &TensorProto) {
        self.values.insert(proto.name.clone(), Value::constant(proto));
    }

    pub(crate) fn value(&self, name: &str) -> &Value {
        self.values.get(name).unwrap_or_else(|| panic!("no {name}"))
    }

    fn given(&self, node: &NodeProto, index: usize) -> Option<&Value> {
        node.input.get(index).filter(|name| !name.is_empty()).map(|name| self.value(name))
    }

    /// Computes the result of a node.
    pub(crate) fn run(&mut self, node: &NodeProto, choose: &mut Choose<'_>) {
        let output = node.output[0].clone();
        let real = self.real(node);
        let value = match self.result(node) {
            Some((scale, zero, kind)) => quantize(&output, &real, scale, zero, kind, choose),
            None => real,
        };
        self.values.insert(output, value);
    }

    /// Scale, zero point and type of a node's result, if it is rounded.
    fn result(&self, node: &NodeProto) -> Option<(f64, f64, DataType)> {
        let at = match node.op_type.as_str() {
            "QuantizeLinear" => 1,
            "QLinearConv" | "QLinearMatMul" | "QLinearAdd" | "QLinearMul" => 6,
            "QGemm" => 7,
            "QLinearConcat" => 0,
            op if op.starts_with("QLinear") => 3,
            _ => return None,
        };
        let named = DataType::try_from(int(node, "output_dtype", 0) as i32).unwrap();
        let operand = node.input.iter().map(|name| self.value_or_real(name)).find(|kind| *kind != DataType::Float);
        let kind = match (self.given(node, at + 1), named, operand) {
            (Some(zero), ..) => zero.kind,
            (None, DataType::Undefined, Some(operand)) if node.op_type != "QuantizeLinear" => operand,
            (None, DataType::Undefined, _) => DataType::Uint8,
            (None, named, _) => named,
        };
        let zero = self.given(node, at + 1).map_or(0.0, |zero| zero.numbers[0]);
        Some((self.given(node, at)?.numbers[0], zero, kind))
    }

    /// Type of a node's result, if it is rounded.
    pub(crate) fn result_kind(&self, node: &NodeProto) -> Option<DataType> {
        self.result(node).map(|(.., kind)| kind)
    }

    fn value_or_real(&self, name: &str) -> DataType {
        self.values.get(name).map_or(DataType::Float, |value| value.kind)
    }

    /// The real numbers that a node makes, before they are rounded.
    pub(crate) fn real(&self, node: &NodeProto) -> Value {
        let float = |index: usize| self.given(node, index).unwrap().clone();
        let triple =
            |index: usize, axis: i64| dequantize(&float(index), &float(index + 1), self.given(node, index + 2), axis);
        let transposed = int(node, "transB", 0) != 0;
        let alpha = attribute(node, "alpha").and_then(|alpha| alpha.f);
        let product = |a: &Value, b: &Value| b.numbers.iter().map(|b| a.numbers[0] * b).collect::<Vec<f64>>();
        let bias = |index: usize, factor: f64| {
            let scales = product(self.given(node, 1).unwrap(), self.given(node, 4).unwrap());
            self.given(node, index).map(|bias| {
                let scales: Vec<f64> = scales.iter().map(|scale| scale * factor).collect();
                let scales = Value::real(&[scales.len()], scales);
                dequantize(bias, &scales, None, 0)
            })
        };
        match node.op_type.as_str() {
            "QuantizeLinear" | "Flatten" | "MaxPool" | "Relu" | "Clip" | "LeakyRelu" | "Sigmoid" | "AveragePool"
            | "GlobalAveragePool" => self.alone(node, float(0)),
            "QLinearAveragePool" | "QLinearGlobalAveragePool" | "QLinearLeakyRelu" | "QLinearSigmoid" => {
                self.alone(node, triple(0, 1))
            }
            "DequantizeLinear" => dequantize(&float(0), &float(1), self.given(node, 2), int(node, "axis", 1)),
            "Conv" => conv(node, &float(0), &float(1), self.given(node, 2)),
            "QLinearConv" => conv(node, &triple(0, 1), &triple(3, 0), bias(8, 1.0).as_ref()),
            "Gemm" => linear(&float(0), &float(1), self.given(node, 2), transposed, alpha.unwrap_or(1.0)),
            "QGemm" => {
                let alpha = alpha.unwrap_or(1.0);
                let axis = if transposed { 0 } else { 1 };
                linear(&triple(0, 1), &triple(3, axis), bias(6, alpha.into()).as_ref(), transposed, alpha)
            }
            "MatMul" => linear(&float(0), &float(1), None, false, 1.0),
            "QLinearMatMul" => linear(&triple(0, 1), &triple(3, 1), None, false, 1.0),
            "Add" | "Mul" => pairwise(&float(0), &float(1), node.op_type == "Mul"),
            "QLinearAdd" | "QLinearMul" => pairwise(&triple(0, 1), &triple(3, 1), node.op_type == "QLinearMul"),
            "Concat" => concat(&(0..node.input.len()).map(float).collect::<Vec<_>>()),
            "QLinearConcat" => {
                concat(&(0..(node.input.len() - 2) / 3).map(|i| triple(2 + 3 * i, 1)).collect::<Vec<_>>())
            }
            other => panic!("{other}"),
        }
    }

    /// Operators of one operand.
    fn alone(&self, node: &NodeProto, x: Value) -> Value {
        let map = |of: &dyn Fn(f64) -> f64| {
            let numbers = (0..x.numbers.len()).map(|index| of(x.at(index))).collect();
            Value { slack: x.slack.clone(), ..Value::real(&x.dims, numbers) }
        };
        match node.op_type.trim_start_matches("QLinear") {
            "QuantizeLinear" => x,
            "Flatten" => Value { dims: vec![1, x.numbers.len()], ..x },
            "Relu" => map(&|x| x.max(0.0)),
            "Clip" => {
                let limit = |index: usize, other: f64| self.given(node, index).map_or(other, |limit| limit.numbers[0]);
                map(&|x| x.max(limit(1, f64::NEG_INFINITY)).min(limit(2, f64::INFINITY)))
            }
            "LeakyRelu" => {
                let alpha = attribute(node, "alpha").and_then(|alpha| alpha.f).unwrap_or(0.01);
                with_precision(map(&|x| if x < 0.0 { f64::from(alpha) * x } else { x }))
            }
            "Sigmoid" => with_precision(map(&|x| 1.0 / (1.0 + (-x).exp()))),
            "MaxPool" => {
                let largest = |taken: &[(f64, f64)], _: usize| {
                    let best = |best: (f64, f64), &(x, slack): &(f64, f64)| (best.0.max(x), best.1.max(slack));
                    taken.iter().fold((f64::MIN, 0.0), best)
                };
                Value { kind: x.kind, ..windows(node, &x, largest) }
            }
            "AveragePool" => windows(node, &x, mean),
            "GlobalAveragePool" => {
                let area: usize = x.dims[2..].iter().product();
                let planes = x.numbers.chunks(area).zip(x.slack.chunks(area));
                let means = planes.map(|(numbers, slack)| {
                    mean(&numbers.iter().map(|n| n * x.unit).zip(slack.iter().copied()).collect::<Vec<_>>(), area)
                });
                let (numbers, slack) = means.unzip();
                Value { slack, ..Value::real(&[1, x.dims[1], 1, 1], numbers) }
            }
            other => panic!("{other}"),
        }
    }
}

fn with_precision(mut value: Value) -> Value {
    value.slack.iter_mut().zip(&value.numbers).for_each(|(slack, x)| *slack += PRECISION * x.abs());
    value
}

fn mean(taken: &[(f64, f64)], count: usize) -> (f64, f64) {
    let sum = |of: &dyn Fn(&(f64, f64)) -> f64| taken.iter().map(of).sum::<f64>() / count as f64;
    (sum(&|taken| taken.0), sum(&|taken| taken.1 + PRECISION * taken.0.abs()))
}

fn dequantize(x: &Value, scale: &Value, zero: Option<&Value>, axis: i64) -> Value {
    let many = scale.numbers.len();
    let at = |index: usize| {
        if many == 1 {
            return 0;
        }
        let axis = if axis < 0 { (axis + x.dims.len() as i64) as usize } else { axis as usize };
        index / x.dims[axis + 1..].iter().product::<usize>() % many
    };
    let zeros =
        |index: usize| zero.map_or(0.0, |zero| zero.numbers[if zero.numbers.len() == 1 { 0 } else { at(index) }]);
    let numbers: Vec<f64> = x.numbers.iter().enumerate().map(|(index, x)| x - zeros(index)).collect();
    let scales: Vec<f64> = (0..numbers.len()).map(|index| scale.numbers[at(index)]).collect();
    let slack = x.slack.iter().zip(&scales).map(|(slack, scale)| slack * scale).collect();
    let unit = if many == 1 { scale.numbers[0] } else { f64::NAN };
    Value { unit, scales, slack, ..Value::real(&x.dims, numbers) }
}

fn quantize(name: &str, real: &Value, scale: f64, zero: f64, kind: DataType, choose: &mut Choose<'_>) -> Value {
    let (low, high) = if kind == DataType::Int8 { (-128.0, 127.0) } else { (0.0, 255.0) };
    let legal = |index: usize| {
        let steps = real.at(index) / scale;
        let slack = real.slack[index] / scale + PRECISION * steps.abs() + 1e-9;
        let clamp = |steps: f64| (steps + zero).clamp(low, high) as i64;
        Legal {
            lo: clamp((steps - slack - 0.5).ceil()),
            hi: clamp((steps + slack + 0.5).floor()),
            exact: clamp(steps.round_ties_even()),
            wide: real.slack[index] / scale > 0.05,
        }
    };
    let legal: Vec<Legal> = (0..real.numbers.len()).map(legal).collect();
    match choose(name, &legal) {
        Some(chosen) => Value { kind, ..Value::real(&real.dims, chosen.into_iter().map(|q| q as f64).collect()) },
        None => {
            let slack = legal.iter().map(|legal| (legal.hi - legal.exact).max(legal.exact - legal.lo) as f64).collect();
            Value { kind, slack, ..Value::real(&real.dims, legal.iter().map(|legal| legal.exact as f64).collect()) }
        }
    }
}

/// Weights of one output channel: integers, their scale, and the norm of what rounding them anew may change.
struct Weights {
    numbers: Vec<f64>,
    scale: f64,
    change: f64,
}

fn weights(numbers: Vec<f64>, scale: f64) -> Weights {
    let largest = numbers.iter().fold(0.0f64, |largest, x| largest.max(x.abs()));
    let divisor = |by: u32| numbers.iter().all(|x| x % f64::from(by) == 0.0) && largest / f64::from(by) <= 127.0;
    if largest <= 127.0 || (2..256).any(divisor) {
        return Weights { numbers, scale, change: 0.0 };
    }
    // The largest becomes 127, the others the nearest; whoever finds a better scale may.
    let step = largest / 127.0;
    let change = numbers.iter().map(|x| (x - step * (x / step).round()).powi(2)).sum::<f64>().sqrt() * scale.abs();
    Weights { numbers, scale, change: change * 1.001 }
}

/// Weights times what is read (elements in steps and their slack), and a bias.
fn dot(weights: &Weights, x: &[(f64, f64)], unit: f64, bias: f64) -> (f64, f64) {
    let (mut sum, mut magnitude, mut slack, mut square) = (0.0, 0.0, 0.0, 0.0);
    for (weight, &(x, error)) in weights.numbers.iter().zip(x) {
        sum += weight * x;
        magnitude += (weight * x).abs();
        slack += (weight * weights.scale).abs() * error;
        square += (x * unit).powi(2);
    }
    let step = weights.scale * unit;
    let precision = PRECISION * (magnitude * step.abs() + bias.abs());
    (sum * step + bias, slack + precision + weights.change * square.sqrt())
}

fn conv(node: &NodeProto, x: &Value, w: &Value, bias: Option<&Value>) -> Value {
    let &[_, channels, height, width] = x.dims.as_slice() else { panic!() };
    let &[outputs, per_group, kernel_h, kernel_w] = w.dims.as_slice() else { panic!() };
    let (strides, pads) = (sizes(node, "strides", &[1, 1]), sizes(node, "pads", &[0; 4]));
    let groups = int(node, "group", 1) as usize;
    assert_eq!(per_group * groups, channels);
    let out_h = (height + pads[0] + pads[2] - kernel_h) / strides[0] + 1;
    let out_w = (width + pads[1] + pads[3] - kernel_w) / strides[1] + 1;
    let per_channel = per_group * kernel_h * kernel_w;
    let (mut numbers, mut slack) = (Vec::new(), Vec::new());
    for output in 0..outputs {
        let own = &w.numbers[output * per_channel..][..per_channel];
        let own = weights(own.to_vec(), w.scales[output * per_channel]);
        let bias = bias.map_or(0.0, |bias| bias.at(output));
        let first = output / (outputs / groups) * per_group;
        for (oy, ox) in (0..out_h).flat_map(|oy| (0..out_w).map(move |ox| (oy, ox))) {
            let mut read = Vec::with_capacity(per_channel);
            for channel in first..first + per_group {
                for (ky, kx) in (0..kernel_h).flat_map(|ky| (0..kernel_w).map(move |kx| (ky, kx))) {
                    let (y, x_at) = (oy * strides[0] + ky, ox * strides[1] + kx);
                    let inside = y >= pads[0] && x_at >= pads[1] && y - pads[0] < height && x_at - pads[1] < width;
                    read.push(if inside {
                        let index = (channel * height + y - pads[0]) * width + x_at - pads[1];
                        (x.numbers[index], x.slack[index])
                    } else {
                        (0.0, 0.0)
                    });
                }
            }
            let (number, error) = dot(&own, &read, x.unit, bias);
            numbers.push(number);
            slack.push(error);
        }
    }
    Value { slack, ..Value::real(&[1, outputs, out_h, out_w], numbers) }
}

fn linear(x: &Value, w: &Value, bias: Option<&Value>, transposed: bool, alpha: f32) -> Value {
    let (rows, columns) = (w.dims[0], w.dims[1]);
    let (outputs, inputs) = if transposed { (rows, columns) } else { (columns, rows) };
    let place =
        |output: usize, input: usize| if transposed { output * inputs + input } else { input * outputs + output };
    let read: Vec<(f64, f64)> = x.numbers.iter().copied().zip(x.slack.iter().copied()).collect();
    let results = (0..outputs).map(|output| {
        let own = (0..inputs).map(|input| w.numbers[place(output, input)]).collect();
        let own = weights(own, w.scales[place(output, 0)] * f64::from(alpha));
        dot(&own, &read, x.unit, bias.map_or(0.0, |bias| bias.at(output)))
    });
    let (numbers, slack) = results.unzip();
    Value { slack, ..Value::real(&[1, outputs], numbers) }
}

fn pairwise(a: &Value, b: &Value, product: bool) -> Value {
    let area: usize = a.dims[2..].iter().product();
    let gate = b.numbers.len() < a.numbers.len();
    let results = (0..a.numbers.len()).map(|index| {
        let other = match b.numbers.len() {
            1 => 0,
            _ if gate => index / area,
            _ => index,
        };
        let (x, y) = (a.at(index), b.at(other));
        let (dx, dy) = (a.slack[index], b.slack[other]);
        match product {
            true => (x * y, x.abs() * dy + y.abs() * dx + PRECISION * (x * y).abs()),
            false => (x + y, dx + dy + PRECISION * (x.abs() + y.abs())),
        }
    });
    let (numbers, slack) = results.unzip();
    Value { slack, ..Value::real(&a.dims, numbers) }
}

fn concat(parts: &[Value]) -> Value {
    let mut dims = parts[0].dims.clone();
    dims[1] = parts.iter().map(|part| part.dims[1]).sum();
    let numbers = parts.iter().flat_map(|part| (0..part.numbers.len()).map(|index| part.at(index))).collect();
    let slack = parts.iter().flat_map(|part| part.slack.iter().copied()).collect();
    Value { slack, ..Value::real(&dims, numbers) }
}

/// `of` the elements inside each window, and of the number of positions that count.
fn windows(node: &NodeProto, x: &Value, of: impl Fn(&[(f64, f64)], usize) -> (f64, f64)) -> Value {
    let &[_, channels, height, width] = x.dims.as_slice() else { panic!() };
    let kernel = sizes(node, "kernel_shape", &[]);
    let (strides, pads) = (sizes(node, "strides", &[1, 1]), sizes(node, "pads", &[0; 4]));
    let padded = int(node, "count_include_pad", 0) != 0;
    let out_h = (height + pads[0] + pads[2] - kernel[0]) / strides[0] + 1;
    let out_w = (width + pads[1] + pads[3] - kernel[1]) / strides[1] + 1;
    let (mut numbers, mut slack) = (Vec::new(), Vec::new());
    for channel in 0..channels {
        for (oy, ox) in (0..out_h).flat_map(|oy| (0..out_w).map(move |ox| (oy, ox))) {
            let mut taken = Vec::new();
            for (ky, kx) in (0..kernel[0]).flat_map(|ky| (0..kernel[1]).map(move |kx| (ky, kx))) {
                let (y, x_at) =
                    ((oy * strides[0] + ky).wrapping_sub(pads[0]), (ox * strides[1] + kx).wrapping_sub(pads[1]));
                if y < height && x_at < width {
                    let index = (channel * height + y) * width + x_at;
                    taken.push((x.at(index), x.slack[index]));
                }
            }
            let count = if padded { kernel[0] * kernel[1] } else { taken.len() };
            let (number, error) = of(&taken, count);
            numbers.push(number);
            slack.push(error);
        }
    }
    Value { slack, ..Value::real(&[1, channels, out_h, out_w], numbers) }
}
