//! The operators of drawn files.

use super::draw::{Draw, Map, integers};
use skipstone_onnx::proto::{AttributeProto, DataType, TensorProto};

/// Weights that stand in the file.
#[derive(Clone)]
pub(crate) struct Layer {
    dims: Vec<usize>,
    /// Whether the second dimension is that of the outputs.
    columns: bool,
    names: [String; 3],
    scales: Vec<f32>,
}

impl Layer {
    /// The smallest scale of a result for which products of steps fit.
    fn finest(&self, x: &Map) -> f64 {
        let largest =
            self.scales.iter().filter(|scale| **scale < 0.5).fold(0.0f32, |largest, scale| largest.max(*scale));
        // Weights that are rounded anew have up to four times the scale.
        9.0 * f64::from(largest * x.scale)
    }
}

impl Draw {
    /// A network from the image to scores.
    pub(crate) fn network(&mut self, image: Map) -> Map {
        let channels = [4, 8, if self.random.chance(30) { 6 } else { 4 }][self.random.below(3)];
        let mut maps = vec![self.conv(&image, channels, None)];
        for _ in 0..2 + self.random.below(5) {
            let last = maps.len() - 1;
            let at = if self.random.chance(75) { last } else { self.random.below(maps.len()) };
            let x = maps[at].clone();
            let partner = maps.iter().rev().skip(1).find(|map| map.dims == x.dims).cloned();
            let beside = maps.iter().rev().skip(1).find(|map| map.dims[2..] == x.dims[2..]).cloned();
            let small = x.dims[2] < 3 || x.dims[3] < 3;
            let result = match (self.random.below(10), partner, beside) {
                (0 | 1, Some(other), _) => self.pairwise("Add", &x, &other),
                (2, Some(other), _) => self.pairwise("Mul", &x, &other),
                (3 | 4, _, Some(other)) => self.concat(&[x, other]),
                (5, ..) if !small => self.pool("MaxPool", &x),
                (6, ..) if !small => self.pool("AveragePool", &x),
                (7, ..) => self.activation(&x),
                (8, ..) => {
                    let residual = maps[self.random.below(maps.len())].clone();
                    let outputs = residual.dims[1];
                    let same = residual.dims[2..] == x.dims[2..];
                    self.conv(&x, outputs, Some(&residual).filter(|_| same))
                }
                _ => {
                    let outputs = if self.random.chance(50) { x.dims[1] } else { 4 };
                    self.conv(&x, outputs, None)
                }
            };
            maps.push(result);
        }
        let last = maps.swap_remove(maps.len() - 1);
        self.head(last)
    }

    fn attributes(kernel: usize, stride: usize, pad: usize) -> Vec<AttributeProto> {
        vec![
            AttributeProto::sizes("kernel_shape", &[kernel; 2]),
            AttributeProto::sizes("strides", &[stride; 2]),
            AttributeProto::sizes("pads", &[pad; 4]),
        ]
    }

    /// A convolution; of pairs, with a residual that is added before the rounding.
    fn conv(&mut self, x: &Map, outputs: usize, residual: Option<&Map>) -> Map {
        let inputs = x.dims[1];
        let small = x.dims[2] < 3 || x.dims[3] < 3;
        let kernel = if small || self.random.chance(40) { 1 } else { 3 };
        let stride = if residual.is_none() && !small && self.random.chance(15) { 2 } else { 1 };
        let depthwise = inputs == outputs && inputs.is_multiple_of(4) && self.random.chance(20);
        let groups = if depthwise { inputs } else { 1 };
        let mut attributes = Self::attributes(kernel, stride, kernel / 2);
        attributes.push(AttributeProto::int("group", groups as i64));
        let layer = self.layer(vec![outputs, inputs / groups, kernel, kernel], false);
        self.finest = layer.finest(x).max(residual.map_or(0.0, |residual| f64::from(residual.scale) / 100.0));
        let result = if self.pairs {
            let mut operands = vec![self.dequantize(x), self.weights(&layer)];
            operands.extend(self.real_bias(&layer, x, outputs));
            let mut real = self.push("Conv", &operands, attributes);
            if let Some(residual) = residual {
                let other = self.dequantize(residual);
                real = self.push("Add", &[real, other], Vec::new());
            }
            self.limit(real)
        } else {
            let mut operands = self.triple(x, false);
            operands.extend(layer.names.clone());
            let map = match self.whole_bias(&layer, x, outputs) {
                Some(bias) => {
                    operands.extend([String::new(), String::new(), bias]);
                    self.biased("QLinearConv", operands, 6, attributes)
                }
                None => self.on_integers("QLinearConv", operands, 6, attributes, None),
            };
            return map;
        };
        self.round(&result)
    }

    /// An operator with a bias after scale and zero point of its result, which are still empty.
    fn biased(&mut self, op: &str, mut operands: Vec<String>, at: usize, attributes: Vec<AttributeProto>) -> Map {
        let probe = skipstone_onnx::proto::NodeProto::new(op, "probe", &operands, &["probe"], attributes.clone());
        let real = self.machine.real(&probe);
        let (scale, zero, kind) = self.steps(&real);
        operands[at] = self.scale(scale);
        operands[at + 1] = self.zero(kind, zero);
        let name = self.push(op, &operands, attributes);
        Map::new(name, scale, zero, kind, real.dims)
    }

    /// A ReLU or a clip after a real tensor, or none.
    fn limit(&mut self, real: String) -> String {
        match self.random.below(10) {
            0..4 => self.push("Relu", &[real], Vec::new()),
            4 => {
                let hi = self.machine.value(&real).range().1 * 0.7 + 0.01;
                let limits = [0.0, hi as f32].map(|limit| {
                    let name = self.fresh("k");
                    self.constant(TensorProto::f32(name, &[], &[limit]))
                });
                let [lo, hi] = limits;
                self.push("Clip", &[real, lo, hi], Vec::new())
            }
            _ => real,
        }
    }

    fn pairwise(&mut self, op: &str, a: &Map, b: &Map) -> Map {
        let [a_scale, b_scale] = [a.scale, b.scale].map(f64::from);
        self.finest = if op == "Mul" { 2.2 * a_scale * b_scale } else { a_scale.max(b_scale) / 100.0 };
        if self.pairs {
            let operands = [self.dequantize(a), self.dequantize(b)];
            let real = self.push(op, &operands, Vec::new());
            let real = self.limit(real);
            return self.round(&real);
        }
        let operands = [self.triple(a, true), self.triple(b, true)].concat();
        self.on_integers(&format!("QLinear{op}"), operands, 6, Vec::new(), None)
    }

    fn concat(&mut self, parts: &[Map]) -> Map {
        let like = Some(&parts[0]).filter(|_| self.random.chance(40));
        let axis = vec![AttributeProto::int("axis", 1)];
        if self.pairs {
            let operands: Vec<String> = parts.iter().map(|part| self.dequantize(part)).collect();
            let real = self.push("Concat", &operands, axis);
            return match like {
                Some(like) => self.round_to(&real, like.scale, like.zero, like.kind),
                None => self.round(&real),
            };
        }
        let operands: Vec<String> = parts.iter().flat_map(|part| self.triple(part, false)).collect();
        self.on_integers("QLinearConcat", operands, 0, axis, like)
    }

    fn pool(&mut self, op: &str, x: &Map) -> Map {
        self.finest = f64::from(x.scale) / 100.0;
        let kernel = 2 + self.random.below(2);
        let mut attributes = Self::attributes(kernel, 1 + self.random.below(2), self.random.below(2));
        let like = Some(x).filter(|_| self.random.chance(40));
        if op == "AveragePool" {
            attributes.push(AttributeProto::int("count_include_pad", self.random.below(2) as i64));
        }
        if !self.pairs && op == "AveragePool" {
            let operands = self.triple(x, true);
            return self.on_integers("QLinearAveragePool", operands, 3, attributes, like);
        }
        if op == "MaxPool" && (!self.pairs || self.random.chance(30)) {
            // Integers as they are.
            let operand = self.read(x);
            let name = self.push(op, &[operand], attributes);
            let dims = self.machine.value(&name).dims.clone();
            return Map::new(name, x.scale, x.zero, x.kind, dims);
        }
        let operand = self.dequantize(x);
        let real = self.push(op, &[operand], attributes);
        match like {
            Some(like) => self.round_to(&real, like.scale, like.zero, like.kind),
            None => self.round(&real),
        }
    }

    fn activation(&mut self, x: &Map) -> Map {
        let op = ["LeakyRelu", "Sigmoid", "Relu"][self.random.below(if self.pairs { 3 } else { 2 })];
        let mut attributes = Vec::new();
        if op == "LeakyRelu" {
            attributes.push(AttributeProto::float("alpha", self.random.between(0.01, 0.5) as f32));
        }
        if self.pairs {
            let operand = self.dequantize(x);
            let real = self.push(op, &[operand], attributes);
            return self.round(&real);
        }
        let operands = self.triple(x, true);
        self.on_integers(&format!("QLinear{op}"), operands, 3, attributes, None)
    }

    /// A pool of all pixels or all of them, and one or two linear layers.
    fn head(&mut self, mut x: Map) -> Map {
        if self.random.chance(70) {
            self.finest = f64::from(x.scale) / 100.0;
            x = if self.pairs {
                let operand = self.dequantize(&x);
                let real = self.push("GlobalAveragePool", &[operand], Vec::new());
                self.round(&real)
            } else {
                let operands = self.triple(&x, false);
                self.on_integers("QLinearGlobalAveragePool", operands, 3, Vec::new(), None)
            };
        }
        if self.pairs && self.random.chance(50) {
            let real = self.dequantize(&x);
            let real = self.push("Flatten", &[real], Vec::new());
            x = self.round_to(&real, x.scale, x.zero, x.kind);
        } else {
            let operand = self.read(&x);
            let name = self.push("Flatten", &[operand], Vec::new());
            let dims = self.machine.value(&name).dims.clone();
            x = Map::new(name, x.scale, x.zero, x.kind, dims);
        }
        for outputs in if self.random.chance(30) { vec![5, 3] } else { vec![3] } {
            x = self.linear(&x, outputs);
        }
        x
    }

    fn linear(&mut self, x: &Map, outputs: usize) -> Map {
        let (product, transposed) = (self.random.chance(30), self.random.chance(50));
        let columns = product || !transposed;
        let dims = if columns { vec![x.dims[1], outputs] } else { vec![outputs, x.dims[1]] };
        let layer = self.layer(dims, columns);
        self.finest = layer.finest(x);
        let mut attributes = vec![AttributeProto::int("transB", (!columns).into())];
        if self.random.chance(20) {
            attributes.push(AttributeProto::float("alpha", 0.75));
        }
        if !self.pairs {
            let mut operands = self.triple(x, false);
            operands.extend(layer.names.clone());
            if product {
                return self.on_integers("QLinearMatMul", operands, 6, Vec::new(), None);
            }
            operands.push(self.whole_bias(&layer, x, outputs).unwrap_or_default());
            operands.extend([String::new(), String::new()]);
            return self.biased("QGemm", operands, 7, attributes);
        }
        let mut operands = vec![self.dequantize(x), self.weights(&layer)];
        let bias = self.real_bias(&layer, x, outputs);
        let real = if product {
            let real = self.push("MatMul", &operands, Vec::new());
            match bias {
                Some(bias) => self.push("Add", &[real, bias], Vec::new()),
                None => real,
            }
        } else {
            operands.extend(bias);
            self.push("Gemm", &operands, attributes)
        };
        let real = self.limit(real);
        self.round(&real)
    }

    /// Weights of these dimensions, perhaps those of a layer before.
    fn layer(&mut self, dims: Vec<usize>, columns: bool) -> Layer {
        let known = self.layers.iter().find(|layer| layer.dims == dims && layer.columns == columns).cloned();
        if let Some(known) = known.filter(|_| self.random.chance(40)) {
            return known;
        }
        let outputs = dims[usize::from(columns)];
        let inner = dims.iter().product::<usize>() / outputs;
        let kind = [DataType::Int8, DataType::Uint8][self.random.below(2)];
        let (lowest, middle) = if kind == DataType::Int8 { (-128, 0) } else { (0, 128) };
        let per_channel = self.random.chance(60);
        let dead = self.random.chance(15).then(|| self.random.below(outputs));
        let anywhere = self.random.chance(50);
        let mut zero = middle;
        let (mut zeros, mut scales, mut channels) = (Vec::new(), Vec::new(), Vec::new());
        let mut scale = 0.0;
        for output in 0..outputs {
            if output == 0 || per_channel {
                zero = if anywhere { lowest + self.random.below(256) as i64 } else { middle };
                scale = (self.random.between(0.5, 2.0) / (64.0 * (inner as f64).sqrt())) as f32;
            }
            let is_dead = dead == Some(output);
            let spread = self.random.between(20.0, 90.0);
            let values: Vec<i64> = (0..inner)
                .map(|_| {
                    let limit = if self.fits { 127.0 } else { 255.0 };
                    let steps = (self.random.bell() * spread).round().clamp(-limit, limit) as i64;
                    (zero + if is_dead { 0 } else { steps }).clamp(lowest, lowest + 255)
                })
                .collect();
            channels.push(values);
            if output == 0 || per_channel {
                zeros.push(zero);
                let odd = [0.0, 1.0, scale][self.random.below(3)];
                scales.push(if is_dead && per_channel { odd } else { scale });
            }
        }
        let count = dims.iter().product::<usize>();
        let at = |place: usize| {
            if columns { channels[place % outputs][place / outputs] } else { channels[place / inner][place % inner] }
        };
        let values: Vec<i64> = (0..count).map(at).collect();
        let list: &[usize] = if per_channel { &[outputs] } else { &[] };
        let names = ["w", "s", "z"].map(|what| format!("{}{}", self.fresh(what), what));
        self.constant(integers(&names[0], &dims, kind, &values));
        self.constant(TensorProto::f32(&names[1], list, &scales));
        self.constant(integers(&names[2], list, kind, &zeros));
        let layer = Layer { dims, columns, names, scales };
        self.layers.push(layer.clone());
        layer
    }

    /// The weights of a layer as real numbers.
    fn weights(&mut self, layer: &Layer) -> String {
        let mut operands = layer.names.to_vec();
        let zeros = &self.machine.value(&layer.names[2]).numbers;
        if zeros.iter().all(|zero| *zero == 0.0) && self.random.chance(50) {
            operands.pop();
        }
        let axis = vec![AttributeProto::int("axis", layer.columns.into())];
        self.push("DequantizeLinear", &operands, axis)
    }

    /// The product of scales of each output channel, in float32.
    fn units(layer: &Layer, x: &Map, outputs: usize) -> Vec<f32> {
        (0..outputs).map(|output| layer.scales[output % layer.scales.len()] * x.scale).collect()
    }

    fn whole_bias(&mut self, layer: &Layer, x: &Map, outputs: usize) -> Option<String> {
        if self.random.chance(25) {
            return None;
        }
        let name = self.fresh("b");
        let biases = Self::units(layer, x, outputs).into_iter().map(|unit| self.bias_of(unit)).collect::<Vec<i32>>();
        Some(self.constant(TensorProto::i32(name, &[outputs], &biases)))
    }

    fn bias_of(&mut self, unit: f32) -> i32 {
        let unit = if unit > 0.0 { f64::from(unit) } else { 0.01 };
        (self.random.bell() * 0.3 / unit).round() as i32
    }

    /// A bias of pairs: none, whole units, steps of another scale, or float32.
    fn real_bias(&mut self, layer: &Layer, x: &Map, outputs: usize) -> Option<String> {
        let name = self.fresh("b");
        let factor = match self.random.below(5) {
            0 => return None,
            1 => {
                let biases: Vec<f32> = (0..outputs).map(|_| self.random.bell() as f32 * 0.3).collect();
                return Some(self.constant(TensorProto::f32(name, &[outputs], &biases)));
            }
            2 => self.random.between(0.3, 3.0) as f32,
            _ => 1.0,
        };
        let mut units: Vec<f32> = Self::units(layer, x, outputs).into_iter().map(|unit| unit * factor).collect();
        // A bias whose weights have scale 0 has a scale of its own.
        units.iter_mut().filter(|unit| **unit == 0.0).for_each(|unit| *unit = x.scale);
        let biases: Vec<i32> = units.iter().map(|&unit| self.bias_of(unit)).collect();
        let scales = format!("{name}s");
        let mut operands = vec![
            self.constant(TensorProto::i32(&name, &[outputs], &biases)),
            self.constant(TensorProto::f32(scales, &[outputs], &units)),
        ];
        if self.random.chance(50) {
            operands.push(self.constant(TensorProto::i32(format!("{name}z"), &[outputs], &vec![0; outputs])));
        }
        Some(self.push("DequantizeLinear", &operands, vec![AttributeProto::int("axis", 0)]))
    }
}
