//! A quantized residual network as a file of operators on integers, such as ONNX Runtime writes.

use skipstone_onnx::proto::{
    AttributeProto, DataType, Dim, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto,
};

/// Channels, height, width of the image, float32 0..255.
pub const IMAGE: [usize; 3] = [1, 8, 8];
/// Number of scores.
pub const CLASSES: usize = 10;
/// Layers of integers.
pub const LAYERS: usize = 7;

const CHANNELS: usize = 4;

/// Which of its forms.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    /// Activations are uint8 instead of int8.
    pub unsigned: bool,
    /// All scales are powers of two.
    pub powers_of_two: bool,
}

/// The file: two convolutions, a sum, a max pool of integers, a 2x2 average pool of equal scale, a global one, a linear
/// layer. Weights are fixed and of both signs.
pub fn qoperator(form: Form) -> ModelProto {
    let mut file = File { form, nodes: Vec::new(), initializers: Vec::new() };
    file.rounding("image", 1.0, 1.0, 0);
    file.rounding("first", 0.25, 0.237, -128);
    file.rounding("second", 0.5, 0.61, 5);
    file.rounding("sum", 1.0, 0.83, -40);
    file.rounding("scores", 0.5, 0.31, 9);
    file.node("QuantizeLinear", &["image", "image.s", "image.z"], "image.q", vec![]);
    file.conv("first", "image", 1);
    file.conv("second", "first", CHANNELS);
    let sum = ["second.q", "second.s", "second.z", "first.q", "first.s", "first.z", "sum.s", "sum.z"];
    file.node("QLinearAdd", &sum, "sum.q", vec![]);
    let half = || vec![AttributeProto::ints("kernel_shape", &[2, 2]), AttributeProto::ints("strides", &[2, 2])];
    file.node("MaxPool", &["sum.q"], "max.q", half());
    file.node("QLinearAveragePool", &["max.q", "sum.s", "sum.z", "sum.s", "sum.z"], "mean.q", half());
    let global = ["mean.q", "sum.s", "sum.z", "sum.s", "sum.z"];
    file.node("QLinearGlobalAveragePool", &global, "global.q", vec![AttributeProto::int("channels_last", 0)]);
    file.node("Flatten", &["global.q"], "flat.q", vec![]);
    file.weights("linear", &[CLASSES, CHANNELS]);
    let linear = ["flat.q", "sum.s", "sum.z", "linear.w", "linear.ws", "linear.wz", "linear.b", "scores.s", "scores.z"];
    file.node(
        "QGemm",
        &linear,
        "scores.q",
        vec![AttributeProto::int("transB", 1), AttributeProto::float("alpha", 1.0)],
    );
    file.node("DequantizeLinear", &["scores.q", "scores.s", "scores.z"], "scores", vec![]);
    let info = |name: &str, dims: &[usize]| {
        let dims: Vec<Dim<'_>> =
            [Dim::Symbol("N")].into_iter().chain(dims.iter().map(|&dim| Dim::Fixed(dim))).collect();
        ValueInfoProto::tensor(name, DataType::Float, &dims)
    };
    let graph = GraphProto {
        node: file.nodes,
        name: "integers".into(),
        initializer: file.initializers,
        input: vec![info("image", &IMAGE)],
        output: vec![info("scores", &[CLASSES])],
        ..GraphProto::default()
    };
    ModelProto::new(graph, 17)
}

struct File {
    form: Form,
    nodes: Vec<NodeProto>,
    initializers: Vec<TensorProto>,
}

impl File {
    fn node(&mut self, op: &str, inputs: &[&str], output: &str, attributes: Vec<AttributeProto>) {
        let mut node = NodeProto::new(op, format!("{output}.node"), inputs, &[output], attributes);
        if op.starts_with('Q') && !["QuantizeLinear", "QLinearConv"].contains(&op) {
            node.domain = "com.microsoft".into();
        }
        self.nodes.push(node);
    }

    /// Scale and zero point of an activation, the latter of int8.
    fn rounding(&mut self, name: &str, power: f32, other: f32, zero: i8) {
        let scale = if self.form.powers_of_two { power } else { other };
        self.initializers.push(TensorProto::f32(format!("{name}.s"), &[], &[scale]));
        let mut point = TensorProto::i8(format!("{name}.z"), &[], &[zero]);
        if self.form.unsigned {
            point.data_type = DataType::Uint8.into();
            point.raw_data = Some(vec![(i16::from(zero) + 128) as u8]);
            point.int32_data.clear();
        }
        self.initializers.push(point);
    }

    /// Weights `[outputs, ..]` and a bias.
    fn weights(&mut self, name: &str, dims: &[usize]) {
        let count: usize = dims.iter().product();
        let weights: Vec<i8> = (0..count).map(|i| ((i * 53 + name.len() * 17) % 101) as i8 - 50).collect();
        let bias: Vec<i32> = (0..dims[0]).map(|i| (i as i32 * 37) % 90 - 45).collect();
        let scale = if self.form.powers_of_two { 1.0 / 256.0 } else { 0.0043 };
        self.initializers.extend([
            TensorProto::i8(format!("{name}.w"), dims, &weights),
            TensorProto::f32(format!("{name}.ws"), &[], &[scale]),
            TensorProto::i8(format!("{name}.wz"), &[], &[0]),
            TensorProto::i32(format!("{name}.b"), &[dims[0]], &bias),
        ]);
    }

    fn conv(&mut self, name: &str, input: &str, channels: usize) {
        self.weights(name, &[CHANNELS, channels, 3, 3]);
        let of = |name: &str, part: &str| format!("{name}.{part}");
        let inputs = [
            of(input, "q"),
            of(input, "s"),
            of(input, "z"),
            of(name, "w"),
            of(name, "ws"),
            of(name, "wz"),
            of(name, "s"),
            of(name, "z"),
            of(name, "b"),
        ];
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let pads = vec![AttributeProto::ints("kernel_shape", &[3, 3]), AttributeProto::ints("pads", &[1, 1, 1, 1])];
        self.node("QLinearConv", &inputs, &of(name, "q"), pads);
    }
}
