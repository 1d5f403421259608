//! Random files of quantized networks, by what ONNX allows: pairs or operators on integers, either type, zero points
//! anywhere or left out, shared constants, several pairs on one tensor, dead channels, weights beyond int8.

use super::layers::Layer;
use super::machine::{Legal, Machine, Value};
use skipstone_onnx::proto::{
    AttributeProto, DataType, Dim, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, ValueInfoProto,
};
use std::collections::HashMap;

/// Numbers from a seed.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (((self.0 >> 33) * end as u64) >> 31) as usize
    }

    pub(crate) fn between(&mut self, lo: f64, hi: f64) -> f64 {
        lo + (hi - lo) * self.below(1 << 24) as f64 / f64::from(1 << 24)
    }

    /// About so often out of 100.
    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// Bell-shaped, with variance 1.
    pub(crate) fn bell(&mut self) -> f64 {
        (0..12).map(|_| self.between(0.0, 1.0)).sum::<f64>() - 6.0
    }
}

/// A rounded tensor.
#[derive(Clone)]
pub(crate) struct Map {
    /// Names of the integers, which stand in the file as often as it rounds the tensor.
    names: Vec<String>,
    pub(crate) scale: f32,
    pub(crate) zero: i64,
    pub(crate) kind: DataType,
    pub(crate) dims: Vec<usize>,
}

/// A drawn file and the pixels of an image for it.
pub(crate) struct Case {
    pub(crate) model: ModelProto,
    pub(crate) pixels: Vec<u8>,
    /// Channels, height, width.
    pub(crate) dims: [usize; 3],
}

pub(crate) struct Draw {
    pub(crate) random: Random,
    pub(crate) machine: Machine,
    pub(crate) nodes: Vec<NodeProto>,
    initializers: Vec<TensorProto>,
    shared: HashMap<String, String>,
    /// Pairs around float operators, or operators on integers.
    pub(crate) pairs: bool,
    /// Whether all weights are such that a packed model has them exactly.
    pub(crate) fits: bool,
    opset: i64,
    /// The type of all activations, in files of operators on integers.
    kind: DataType,
    pub(crate) layers: Vec<Layer>,
    /// The smallest scale that the next result may have: a step must be larger than a product of two steps.
    pub(crate) finest: f64,
}

/// The integers that ONNX's definition gives.
pub(crate) fn by_definition(_: &str, legal: &[Legal]) -> Option<Vec<i64>> {
    Some(legal.iter().map(|legal| legal.exact).collect())
}

impl Map {
    pub(crate) fn new(name: String, scale: f32, zero: i64, kind: DataType, dims: Vec<usize>) -> Self {
        Self { names: vec![name], scale, zero, kind, dims }
    }
}

impl Draw {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let (pairs, fits) = (random.chance(60), random.chance(70));
        let opset = [13, 17, 19, 21, 23][random.below(5)];
        let kind = [DataType::Int8, DataType::Uint8][random.below(2)];
        Self {
            random,
            machine: Machine::default(),
            nodes: Vec::new(),
            initializers: Vec::new(),
            shared: HashMap::new(),
            pairs,
            fits,
            opset,
            kind,
            layers: Vec::new(),
            finest: 0.0,
        }
    }

    pub(crate) fn fresh(&self, what: &str) -> String {
        format!("{what}{}", self.nodes.len() + self.initializers.len())
    }

    pub(crate) fn constant(&mut self, proto: TensorProto) -> String {
        self.machine.constant(&proto);
        let name = proto.name.clone();
        self.initializers.push(proto);
        name
    }

    /// A constant that may stand in the file already.
    fn shared(&mut self, key: String, make: impl FnOnce(String) -> TensorProto) -> String {
        if let Some(known) = self.shared.get(&key).filter(|_| self.random.0 >> 60 > 4) {
            return known.clone();
        }
        let name = self.fresh("k");
        let name = self.constant(make(name));
        self.shared.insert(key, name.clone());
        name
    }

    pub(crate) fn scale(&mut self, scale: f32) -> String {
        let dims: &[usize] = if self.random.chance(20) { &[1] } else { &[] };
        self.shared(format!("scale {scale} {dims:?}"), |name| TensorProto::f32(name, dims, &[scale]))
    }

    pub(crate) fn zero(&mut self, kind: DataType, zero: i64) -> String {
        self.shared(format!("{kind:?} {zero}"), |name| integers(name, &[], kind, &[zero]))
    }

    pub(crate) fn push(&mut self, op: &str, inputs: &[String], attributes: Vec<AttributeProto>) -> String {
        let name = self.fresh("t");
        let mut node = NodeProto::new(op, format!("{name}.node"), inputs, &[&name], attributes);
        if op == "QGemm" || op.starts_with("QLinear") && !["QLinearConv", "QLinearMatMul"].contains(&op) {
            node.domain = "com.microsoft".into();
        }
        self.machine.run(&node, &mut by_definition);
        self.nodes.push(node);
        name
    }

    /// Scale and zero point for numbers like these.
    pub(crate) fn steps(&mut self, like: &Value) -> (f32, i64, DataType) {
        let random = &mut self.random;
        let kind = match self.pairs {
            true => [DataType::Int8, DataType::Uint8][random.below(2)],
            false => self.kind,
        };
        let (lo, hi) = like.range();
        let span = if hi - lo > 1e-6 { hi - lo } else { 1.0 };
        let (scale, zero) = match random.below(4) {
            // Nothing below 0, as after a ReLU.
            0 => (f64::max(hi, span / 8.0) / 255.0, 0.0),
            1 => (f64::max(hi, -lo).max(span / 8.0) / 127.0, 128.0),
            2 => (span / 255.0, random.below(256) as f64),
            _ => (span / 255.0, (-lo / span * 255.0).round()),
        };
        let scale = scale * random.between(0.6, 1.4);
        let scale = if random.chance(15) { scale.log2().round().exp2() } else { scale }.max(self.finest);
        self.finest = 0.0;
        let zero = zero as i64 - if kind == DataType::Int8 { 128 } else { 0 };
        (scale as f32, zero, kind)
    }

    /// A pair's scale and zero point, the latter perhaps left out.
    fn operands(&mut self, map: &Map, optional: bool) -> Vec<String> {
        let scale = self.scale(map.scale);
        if optional && map.zero == 0 && self.random.chance(50) {
            return vec![scale];
        }
        vec![scale, self.zero(map.kind, map.zero)]
    }

    /// Rounds a real tensor, perhaps in several pairs.
    pub(crate) fn round(&mut self, real: &str) -> Map {
        let (scale, zero, kind) = self.steps(&self.machine.value(real).clone());
        self.round_to(real, scale, zero, kind)
    }

    pub(crate) fn round_to(&mut self, real: &str, scale: f32, zero: i64, kind: DataType) -> Map {
        let dims = self.machine.value(real).dims.clone();
        let mut map = Map { names: Vec::new(), scale, zero, kind, dims };
        for _ in 0..if self.random.chance(20) { 2 } else { 1 } {
            let name = self.quantize(real, &map);
            map.names.push(name);
        }
        if self.pairs && self.random.chance(10) {
            let real = self.dequantize(&map);
            if self.random.chance(50) {
                let name = self.quantize(&real, &map);
                map.names = vec![name];
            } else {
                let (scale, zero, kind) = self.steps(&self.machine.value(&real).clone());
                map = Map { names: Vec::new(), scale, zero, kind, dims: map.dims };
                let name = self.quantize(&real, &map);
                map.names.push(name);
            }
        }
        map
    }

    fn quantize(&mut self, real: &str, map: &Map) -> String {
        let named = self.opset >= 21 && map.zero == 0 && self.random.chance(50);
        let may = named || map.kind == DataType::Uint8;
        let mut inputs = vec![real.to_owned()];
        inputs.extend(self.operands(map, may));
        let attributes = match named && inputs.len() == 2 {
            true => vec![AttributeProto::int("output_dtype", i32::from(map.kind).into())],
            false if inputs.len() == 2 && map.kind == DataType::Int8 => unreachable!(),
            false => Vec::new(),
        };
        self.push("QuantizeLinear", &inputs, attributes)
    }

    /// The integers of a map, for one reader.
    pub(crate) fn read(&mut self, map: &Map) -> String {
        map.names[self.random.below(map.names.len())].clone()
    }

    pub(crate) fn dequantize(&mut self, map: &Map) -> String {
        let mut inputs = vec![self.read(map)];
        inputs.extend(self.operands(map, true));
        let attributes = match self.opset {
            21.. if self.random.chance(30) => vec![AttributeProto::int("block_size", 0)],
            _ => Vec::new(),
        };
        self.push("DequantizeLinear", &inputs, attributes)
    }

    /// Integers, scale and zero point of a map, as operands of an operator on integers.
    pub(crate) fn triple(&mut self, map: &Map, optional: bool) -> Vec<String> {
        let mut inputs = vec![self.read(map)];
        inputs.extend(self.operands(map, optional));
        inputs.resize(3, String::new());
        inputs
    }

    /// An operator on integers. `inputs` are its operands; scale and zero point of its result are put at `at`.
    pub(crate) fn on_integers(
        &mut self,
        op: &str,
        mut inputs: Vec<String>,
        at: usize,
        attributes: Vec<AttributeProto>,
        like: Option<&Map>,
    ) -> Map {
        let node = NodeProto::new(op, "probe", &inputs, &["probe"], attributes.clone());
        let mut probe = node.clone();
        if at < inputs.len() {
            // A result's scale before the operands.
            probe.input.splice(at..at, [String::new(), String::new()]);
        }
        let real = self.machine.real(&probe);
        let (scale, zero, kind) = like.map_or_else(|| self.steps(&real), |like| (like.scale, like.zero, like.kind));
        let names = [self.scale(scale), self.zero(kind, zero)];
        inputs.splice(at..at, names);
        let dims = real.dims;
        Map { names: vec![self.push(op, &inputs, attributes)], scale, zero, kind, dims }
    }

    pub(crate) fn case(mut self) -> Case {
        let dims = [[1, 3][self.random.below(2)], 5 + self.random.below(4), 5 + self.random.below(4)];
        let pixels: Vec<u8> = (0..dims.iter().product()).map(|_| self.random.below(256) as u8).collect();
        let [channels, height, width] = dims;
        let channels_first = (0..pixels.len()).map(|index| {
            let (channel, place) = (index / (height * width), index % (height * width));
            f64::from(pixels[place * channels + channel])
        });
        let image = Value::real(&[1, channels, height, width], channels_first.collect());
        self.machine.values.insert("image".into(), image);
        let image = self.round("image");
        let scores = self.network(image);
        let output = self.dequantize(&scores);
        let mut graph = GraphProto {
            node: self.nodes,
            initializer: self.initializers,
            input: vec![ValueInfoProto::tensor(
                "image",
                DataType::Float,
                &[1, channels, height, width].map(Dim::Fixed),
            )],
            output: vec![ValueInfoProto::tensor(&output, DataType::Float, &[])],
            ..GraphProto::default()
        };
        graph.name = "drawn".into();
        let mut model = ModelProto::new(graph, self.opset);
        model.opset_import.push(OperatorSetIdProto { domain: "com.microsoft".into(), version: 1 });
        Case { model, pixels, dims }
    }
}

/// A tensor of integers.
pub(crate) fn integers(name: impl Into<String>, dims: &[usize], kind: DataType, values: &[i64]) -> TensorProto {
    let bytes = values.iter().map(|&value| value as u8 as i8).collect::<Vec<i8>>();
    TensorProto { data_type: kind.into(), ..TensorProto::i8(name, dims, &bytes) }
}
