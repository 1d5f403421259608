//! Networks as exporters other than ours write them: the same few layers, said in many ways.

mod branches;
mod gates;
mod rearranged;

use skipstone_onnx::proto::{
    AttributeProto, DataType, Dim, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto,
};

/// A file and what is to become of it.
pub struct Form {
    /// Which exporter's habits it has.
    pub name: &'static str,
    /// The file.
    pub model: ModelProto,
    /// Operators of the graph that it is read as, in order.
    pub operators: &'static [&'static str],
    /// The file's tensor that holds the scores.
    pub scores: &'static str,
}

/// All forms.
pub fn forms() -> Vec<Form> {
    let mut forms = vec![
        option_a_by_shape_arithmetic(),
        option_a_by_zero_times_a_pool(),
        old_operator_set(),
        channels_last(),
        flattened_channels_last(),
        gate_by_linear_layers(),
        masks(),
        scales_behind_batch_norm(),
        parts_of_maps(),
        odds_and_ends(),
        activations(),
    ];
    forms.extend(branches::forms());
    forms.extend(gates::forms());
    forms.extend(rearranged::forms());
    forms
}

/// A file that grows node by node.
pub(crate) struct File {
    pub(crate) graph: GraphProto,
    opset: i64,
}

fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto::ints(name, values)
}

fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto::int(name, value)
}

fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto::float(name, value)
}

impl File {
    /// Over images of `dims`, in the file's order, in batches of any size.
    pub(crate) fn new(opset: i64, dims: [usize; 3]) -> Self {
        let [a, b, c] = dims.map(Dim::Fixed);
        let graph = GraphProto {
            name: "form".into(),
            input: vec![ValueInfoProto::tensor("image", DataType::Float, &[Dim::Symbol("N"), a, b, c])],
            ..GraphProto::default()
        };
        Self { graph, opset }
    }

    /// A node whose result is `output`; gives that name.
    pub(crate) fn node(&mut self, op: &str, inputs: &[&str], output: &str, attributes: Vec<AttributeProto>) -> String {
        self.graph.node.push(NodeProto::new(op, format!("{output}.node"), inputs, &[output], attributes));
        output.into()
    }

    /// A float initializer of numbers between -0.5 and 0.5, or between 0.5 and 1.5 where it has to be positive.
    pub(crate) fn weight(&mut self, name: &str, dims: &[usize]) -> String {
        let salt: usize = name.bytes().map(usize::from).sum();
        let positive = name.ends_with("variance") || name.ends_with("std");
        let value = |i: usize| ((i * 31 + salt * 17) % 101) as f32 / 101.0 + if positive { 0.5 } else { -0.5 };
        let data: Vec<f32> = (0..dims.iter().product()).map(value).collect();
        self.graph.initializer.push(TensorProto::f32(name, dims, &data));
        name.into()
    }

    pub(crate) fn list(&mut self, name: &str, values: &[i64]) -> String {
        self.graph.initializer.push(TensorProto::i64(name, &[values.len()], values));
        name.into()
    }

    fn floats(&mut self, name: &str, values: &[f32]) -> String {
        self.graph.initializer.push(TensorProto::f32(name, &[values.len()], values));
        name.into()
    }

    pub(crate) fn number(&mut self, name: &str, value: f32) -> String {
        self.graph.initializer.push(TensorProto::scalar(name, value));
        name.into()
    }

    /// A 3x3 convolution without bias, with padding 1.
    pub(crate) fn conv(&mut self, x: &str, output: &str, [to, from]: [usize; 2], stride: i64) -> String {
        let weight = self.weight(&format!("{output}.weight"), &[to, from, 3, 3]);
        let attributes = vec![ints("kernel_shape", &[3, 3]), ints("pads", &[1; 4]), ints("strides", &[stride; 2])];
        self.node("Conv", &[x, &weight], output, attributes)
    }

    /// A 1x1 convolution with a bias.
    pub(crate) fn point(&mut self, x: &str, output: &str, [to, from]: [usize; 2]) -> String {
        let weight = self.weight(&format!("{output}.weight"), &[to, from, 1, 1]);
        let bias = self.weight(&format!("{output}.bias"), &[to]);
        self.node("Conv", &[x, &weight, &bias], output, vec![])
    }

    pub(crate) fn norm(&mut self, x: &str, output: &str, channels: usize, attributes: Vec<AttributeProto>) -> String {
        let names =
            ["gamma", "beta", "mean", "variance"].map(|role| self.weight(&format!("{output}.{role}"), &[channels]));
        let mut inputs = vec![x];
        inputs.extend(names.iter().map(String::as_str));
        self.node("BatchNormalization", &inputs, output, attributes)
    }

    /// A linear layer of a matrix `[outputs, inputs]` and a bias.
    pub(crate) fn gemm(&mut self, x: &str, output: &str, dims: [usize; 2]) -> String {
        let weight = self.weight(&format!("{output}.weight"), &dims);
        let bias = self.weight(&format!("{output}.bias"), &dims[..1]);
        self.node("Gemm", &[x, &weight, &bias], output, vec![int("transB", 1)])
    }

    /// Global pool and linear layer from `channels` to 3 classes.
    fn head(&mut self, x: &str, channels: usize) {
        let pooled = self.node("GlobalAveragePool", &[x], "pooled", vec![]);
        let flat = self.node("Flatten", &[&pooled], "flat", vec![]);
        self.gemm(&flat, "scores", [3, channels]);
    }

    pub(crate) fn finish(self, name: &'static str, operators: &'static [&'static str]) -> Form {
        self.ending(name, "scores", "scores", operators)
    }

    fn ending(
        mut self,
        name: &'static str,
        output: &str,
        scores: &'static str,
        operators: &'static [&'static str],
    ) -> Form {
        let dims = [Dim::Symbol("N"), Dim::Fixed(3)];
        self.graph.output = vec![ValueInfoProto::tensor(output, DataType::Float, &dims)];
        Form { name, model: ModelProto::new(self.graph, self.opset), operators, scores }
    }
}

/// The TorchScript exporter without constant folding: every list of pads is computed.
fn option_a_by_shape_arithmetic() -> Form {
    let mut f = File::new(13, [4, 8, 8]);
    let main = f.conv("image", "main", [8, 4], 2);
    for (name, values) in [("starts", [0]), ("ends", [i64::MAX]), ("rows", [2]), ("columns", [3]), ("two", [2])] {
        f.list(name, &values);
    }
    let cut = f.node("Slice", &["image", "starts", "ends", "rows", "two"], "cut.rows", vec![]);
    let cut = f.node("Slice", &[&cut, "starts", "ends", "columns", "two"], "cut", vec![]);
    // Pads of the last axis first, as `F.pad` takes them; zeros for the rest, then in reverse and by sides.
    let given = f.list("given", &[0, 0, 0, 0, 2, 2]);
    let missing = f.list("missing", &[2]);
    let value = AttributeProto::tensor("value", TensorProto::i64("", &[1], &[0]));
    let rest = f.node("ConstantOfShape", &[&missing], "rest", vec![value]);
    let all = f.node("Concat", &[&given, &rest], "all", vec![int("axis", 0)]);
    let pairs = f.list("pairs", &[-1, 2]);
    let table = f.node("Reshape", &[&all, &pairs], "table", vec![]);
    for (name, values) in [("last", [-1]), ("before", [i64::MIN + 1]), ("first", [0]), ("back", [-1])] {
        f.list(name, &values);
    }
    let reversed = f.node("Slice", &[&table, "last", "before", "first", "back"], "reversed", vec![]);
    let sides = f.node("Transpose", &[&reversed], "sides", vec![ints("perm", &[1, 0])]);
    let flat = f.list("flat.shape", &[-1]);
    let pads = f.node("Reshape", &[&sides, &flat], "pads", vec![]);
    let pads = f.node("Cast", &[&pads], "pads.int64", vec![int("to", 7)]);
    let short = f.node("Pad", &[&cut, &pads], "short", vec![AttributeProto::string("mode", "constant")]);
    let sum = f.node("Add", &[&main, &short], "sum", vec![]);
    // `x.view(x.size(0), -1)`
    let pooled = f.node("ReduceMean", &[&sum], "pooled", vec![ints("axes", &[-1, -2]), int("keepdims", 1)]);
    let shape = f.node("Shape", &[&pooled], "shape", vec![]);
    let zero = f.list("zero", &[0]);
    let batch = f.node("Gather", &[&shape, &zero], "batch", vec![int("axis", 0)]);
    let rest = f.list("minus.one", &[-1]);
    let target = f.node("Concat", &[&batch, &rest], "target", vec![int("axis", 0)]);
    let flat = f.node("Reshape", &[&pooled, &target], "flat", vec![]);
    f.gemm(&flat, "scores", [3, 8]);
    f.finish("option A by shape arithmetic", &["Conv", "Slice", "Pad", "Add", "GlobalAveragePool", "Flatten", "Gemm"])
}

/// `cat(avg_pool2d(x, 1, 2), ... * 0)`.
fn option_a_by_zero_times_a_pool() -> Form {
    let mut f = File::new(11, [4, 8, 8]);
    let main = f.conv("image", "main", [8, 4], 2);
    let attributes = vec![ints("kernel_shape", &[1, 1]), ints("strides", &[2, 2])];
    let pool = f.node("AveragePool", &["image"], "pool", attributes);
    let zero = f.number("zero", 0.0);
    let nothing = f.node("Mul", &[&pool, &zero], "nothing", vec![]);
    let short = f.node("Concat", &[&pool, &nothing], "short", vec![int("axis", 1)]);
    let sum = f.node("Add", &[&main, &short], "sum", vec![]);
    // A pool of the whole map.
    let pooled = f.node("AveragePool", &[&sum], "pooled", vec![ints("kernel_shape", &[4, 4])]);
    let pooled = f.node("Squeeze", &[&pooled], "flat", vec![ints("axes", &[2, 3])]);
    f.gemm(&pooled, "scores", [3, 8]);
    f.finish(
        "option A by zero times a pool",
        &["Conv", "AveragePool", "Pad", "Add", "GlobalAveragePool", "Flatten", "Gemm"],
    )
}

/// Operator set 7 in file format 3: attributes where operands are today, initializers among the inputs, `Sum`.
fn old_operator_set() -> Form {
    let mut f = File::new(7, [4, 8, 8]);
    let x = f.conv("image", "conv", [6, 4], 1);
    let x = f.norm(&x, "norm", 6, vec![int("spatial", 1), float("momentum", 0.9), float("epsilon", 1e-3)]);
    let x = f.node("Clip", &[&x], "clip", vec![float("min", 0.0), float("max", 6.0)]);
    let y = f.conv(&x, "conv2", [6, 6], 1);
    let x = f.node("Sum", &[&y, &x], "sum", vec![]);
    let pads = vec![ints("pads", &[0; 8]), AttributeProto::string("mode", "constant"), float("value", 0.0)];
    let x = f.node("Pad", &[&x], "pad", pads);
    f.graph.node.push(NodeProto::new("Dropout", "drop", &[&x], &["dropped", "mask"], vec![float("ratio", 0.0)]));
    let attributes = vec![ints("starts", &[0, 0]), ints("ends", &[7, i64::from(i32::MAX)]), ints("axes", &[2, 3])];
    let x = f.node("Slice", &["dropped"], "slice", attributes);
    f.head(&x, 6);
    let infos: Vec<ValueInfoProto> = f
        .graph
        .initializer
        .iter()
        .map(|tensor| {
            let dims: Vec<Dim> = tensor.dims.iter().map(|&dim| Dim::Fixed(dim as usize)).collect();
            ValueInfoProto::tensor(&tensor.name, DataType::Float, &dims)
        })
        .collect();
    f.graph.input.extend(infos);
    let mut form = f.finish(
        "operator set 7",
        &["Conv", "BatchNormalization", "Clip", "Conv", "Add", "Slice", "GlobalAveragePool", "Flatten", "Gemm"],
    );
    form.model.ir_version = 3;
    form
}

/// tf2onnx: `[N, H, W, C]` between the layers, preprocessing in the network, biases added, padding apart.
fn channels_last() -> Form {
    let mut f = File::new(11, [8, 7, 3]);
    let (mean, std) = (f.weight("mean", &[3]), f.weight("std", &[3]));
    let x = f.node("Sub", &["image", &mean], "centred", vec![]);
    let x = f.node("Div", &[&x, &std], "scaled", vec![]);
    let pads = f.list("pads", &[0, 1, 1, 0, 0, 1, 1, 0]);
    let x = f.node("Pad", &[&x, &pads], "padded", vec![]);
    let x = f.node("Transpose", &[&x], "first", vec![ints("perm", &[0, 3, 1, 2])]);
    let weight = f.weight("weight", &[5, 3, 3, 3]);
    let attributes = vec![AttributeProto::string("auto_pad", "VALID"), ints("strides", &[2, 2])];
    let x = f.node("Conv", &[&x, &weight], "conv", attributes);
    let bias = f.weight("bias", &[1, 5, 1, 1]);
    let x = f.node("Add", &[&x, &bias], "biased", vec![]);
    let x = f.node("Transpose", &[&x], "last", vec![ints("perm", &[0, 2, 3, 1])]);
    let x = f.node("Relu", &[&x], "relu", vec![]);
    let y = f.node("Transpose", &[&x], "again", vec![ints("perm", &[0, 3, 1, 2])]);
    let y = f.conv(&y, "conv2", [5, 5], 1);
    let y = f.node("Transpose", &[&y], "last2", vec![ints("perm", &[0, 2, 3, 1])]);
    let x = f.node("Concat", &[&x, &y], "both", vec![int("axis", -1)]);
    let x = f.node("ReduceMean", &[&x], "pooled", vec![ints("axes", &[1, 2]), int("keepdims", 0)]);
    let (weight, bias) = (f.weight("fc.weight", &[10, 3]), f.weight("fc.bias", &[3]));
    let x = f.node("MatMul", &[&x, &weight], "fc", vec![]);
    let x = f.node("Add", &[&x, &bias], "scores", vec![]);
    f.node("Softmax", &[&x], "probabilities", vec![int("axis", -1)]);
    f.ending(
        "channels last",
        "probabilities",
        "scores",
        &["Conv", "Conv", "Relu", "Conv", "Concat", "GlobalAveragePool", "Flatten", "Gemm"],
    )
}

/// A linear layer over a map that was flattened channels last: its columns change places.
fn flattened_channels_last() -> Form {
    let mut f = File::new(12, [3, 6, 4]);
    let x = f.conv("image", "conv", [5, 3], 2);
    let x = f.node("Transpose", &[&x], "last", vec![ints("perm", &[0, 2, 3, 1])]);
    let shape = f.list("shape", &[-1, 30]);
    let x = f.node("Reshape", &[&x, &shape], "flat", vec![]);
    let weight = f.weight("fc.weight", &[30, 3]);
    let bias = f.weight("fc.bias", &[1, 3]);
    let attributes = vec![float("alpha", 0.5), float("beta", 2.0)];
    f.node("Gemm", &[&x, &weight, &bias], "scores", attributes);
    f.finish("flattened channels last", &["Conv", "Flatten", "Gemm"])
}

/// Squeeze and excitation by linear layers, its gate expanded to the map.
fn gate_by_linear_layers() -> Form {
    let mut f = File::new(13, [4, 6, 6]);
    let map = f.conv("image", "conv", [8, 4], 1);
    let x = f.node("GlobalAveragePool", &[&map], "squeezed", vec![]);
    let flat = f.list("flat.shape", &[0, -1]);
    let x = f.node("Reshape", &[&x, &flat], "vector", vec![]);
    let x = f.gemm(&x, "fc1", [2, 8]);
    let x = f.node("Relu", &[&x], "relu", vec![]);
    let x = f.gemm(&x, "fc2", [8, 2]);
    let x = f.node("HardSigmoid", &[&x], "gates", vec![float("alpha", 1.0 / 6.0)]);
    let axes = f.list("axes", &[2, 3]);
    let x = f.node("Unsqueeze", &[&x, &axes], "gate", vec![]);
    let shape = f.node("Shape", &[&map], "shape", vec![]);
    let x = f.node("Expand", &[&x, &shape], "expanded", vec![]);
    let x = f.node("Mul", &[&map, &x], "gated", vec![]);
    f.head(&x, 8);
    f.finish(
        "gate by linear layers",
        &["Conv", "GlobalAveragePool", "Conv", "Relu", "Conv", "Clip", "Mul", "GlobalAveragePool", "Flatten", "Gemm"],
    )
}

/// Attention: a mask, made larger in two ways, times the trunk, plus the trunk.
fn masks() -> Form {
    let mut f = File::new(13, [3, 8, 8]);
    let trunk = f.conv("image", "trunk", [4, 3], 1);
    let mut x = f.conv("image", "mask", [4, 3], 4);
    let scales = TensorProto::f32("scales", &[4], &[1.0, 1.0, 2.0, 2.0]);
    f.graph.initializer.push(scales);
    let text = AttributeProto::string;
    let asymmetric = text("coordinate_transformation_mode", "asymmetric");
    let nearest = vec![text("mode", "nearest"), asymmetric, text("nearest_mode", "floor")];
    x = f.node("Resize", &[&x, "", "scales"], "larger", nearest);
    let align = vec![text("mode", "linear"), text("coordinate_transformation_mode", "align_corners")];
    x = f.node("Resize", &[&x, "", "scales"], "largest", align);
    x = f.node("Sigmoid", &[&x], "sigmoid", vec![]);
    let one = f.number("one", 1.0);
    x = f.node("Add", &[&one, &x], "more", vec![]);
    x = f.node("Mul", &[&x, &trunk], "masked", vec![]);
    f.head(&x, 4);
    f.finish(
        "masks",
        &["Conv", "Conv", "Resize", "Resize", "Sigmoid", "Mul", "Add", "GlobalAveragePool", "Flatten", "Gemm"],
    )
}

/// Caffe: batch norm, then a factor and a summand for each channel; and a convolution as the last layer.
fn scales_behind_batch_norm() -> Form {
    let mut f = File::new(9, [3, 6, 6]);
    let x = f.conv("image", "conv", [4, 3], 1);
    let x = f.norm(&x, "norm", 4, vec![]);
    let (scale, shift) = (f.weight("scale", &[4]), f.weight("shift", &[4]));
    let scale = f.node("Unsqueeze", &[&scale], "scale.map", vec![ints("axes", &[1, 2])]);
    let shift = f.node("Unsqueeze", &[&shift], "shift.map", vec![ints("axes", &[1, 2])]);
    let x = f.node("Mul", &[&x, &scale], "scaled", vec![]);
    let x = f.node("Add", &[&x, &shift], "shifted", vec![]);
    let x = f.node("Relu", &[&x], "relu", vec![]);
    let x = f.node("GlobalAveragePool", &[&x], "pooled", vec![]);
    let (weight, bias) = (f.weight("fc.weight", &[3, 4, 1, 1]), f.weight("fc.bias", &[3]));
    f.node("Conv", &[&x, &weight, &bias], "scores", vec![]);
    f.finish("scales after batch norm", &["Conv", "BatchNormalization", "Relu", "GlobalAveragePool", "Conv", "Flatten"])
}

/// Res2Net's split, and BGR for RGB.
fn parts_of_maps() -> Form {
    let mut f = File::new(13, [3, 6, 6]);
    let order = f.list("order", &[2, 1, 0]);
    let x = f.node("Gather", &["image", &order], "bgr", vec![int("axis", 1)]);
    let x = f.conv(&x, "conv", [6, 3], 1);
    let sizes = f.list("sizes", &[2, 4]);
    f.graph.node.push(NodeProto::new("Split", "split", &[&x, &sizes], &["a", "b"], vec![int("axis", 1)]));
    let y = f.conv("b", "conv2", [4, 4], 1);
    let x = f.node("Concat", &["a", &y], "joined", vec![int("axis", 1)]);
    let x = f.node("Sub", &[&x, "conv"], "difference", vec![]);
    f.head(&x, 6);
    f.finish(
        "parts of maps",
        &["Conv", "Slice", "Slice", "Conv", "Concat", "Conv", "Add", "GlobalAveragePool", "Flatten", "Gemm"],
    )
}

/// A dilated convolution, a normalized weight, sums divided by their number, features normalized, logarithms.
fn odds_and_ends() -> Form {
    let mut f = File::new(13, [3, 8, 8]);
    let weight = f.weight("weight", &[4, 3, 3, 3]);
    let mean = f.node("ReduceMean", &[&weight], "weight.mean", vec![ints("axes", &[1, 2, 3])]);
    let centred = f.node("Sub", &[&weight, &mean], "weight.centred", vec![]);
    let two = f.number("two", 2.0);
    let square = f.node("Pow", &[&centred, &two], "weight.square", vec![]);
    let variance = f.node("ReduceMean", &[&square], "weight.variance", vec![ints("axes", &[1, 2, 3])]);
    let deviation = f.node("Sqrt", &[&variance], "weight.deviation", vec![]);
    let weight = f.node("Div", &[&centred, &deviation], "weight.standard", vec![]);
    let attributes = vec![ints("dilations", &[2, 2]), ints("pads", &[2; 4])];
    let x = f.node("Conv", &["image", &weight], "conv", attributes);
    let x = f.node("Relu", &[&x], "relu", vec![]);
    let axes = f.list("axes", &[2, 3]);
    let x = f.node("ReduceSum", &[&x, &axes], "sums", vec![int("keepdims", 0)]);
    let count = f.number("count", 64.0);
    let x = f.node("Div", &[&x, &count], "means", vec![]);
    let shift = f.weight("features", &[4]);
    let x = f.node("Mul", &[&x, &shift], "weighed", vec![]);
    let x = f.gemm(&x, "fc", [5, 4]);
    let factor = f.weight("factor", &[5]);
    let x = f.node("Mul", &[&x, &factor], "factored", vec![]);
    let x = f.node("Tanh", &[&x], "tanh", vec![]);
    let x = f.gemm(&x, "scores", [3, 5]);
    f.node("LogSoftmax", &[&x], "logs", vec![int("axis", 1)]);
    f.ending(
        "odds and ends",
        "logs",
        "scores",
        &["Conv", "Relu", "GlobalAveragePool", "Flatten", "Gemm", "Sigmoid", "Gemm"],
    )
}

/// Activations beside ReLU, as PyTorch and Keras write them.
fn activations() -> Form {
    let mut f = File::new(17, [3, 6, 6]);
    let x = f.conv("image", "first", [4, 3], 1);
    let slope = f.weight("slope", &[4, 1, 1]);
    let x = f.node("PRelu", &[&x, &slope], "parametric", vec![]);
    let x = f.conv(&x, "second", [4, 4], 1);
    let one_slope = f.number("one.slope", 0.2);
    let x = f.node("PRelu", &[&x, &one_slope], "leaky", vec![]);
    let x = f.node("LeakyRelu", &[&x], "leaky.default", vec![]);
    let x = f.conv(&x, "third", [4, 4], 1);
    let root = f.number("root", 2f32.sqrt());
    let [one, half] = [("one", 1.0), ("half", 0.5)].map(|(name, number)| f.number(name, number));
    let scaled = f.node("Div", &[&x, &root], "scaled", vec![]);
    let erf = f.node("Erf", &[&scaled], "erf", vec![]);
    let sum = f.node("Add", &[&erf, &one], "sum", vec![]);
    let product = f.node("Mul", &[&x, &sum], "product", vec![]);
    let x = f.node("Mul", &[&product, &half], "gelu", vec![]);
    let x = f.node("Elu", &[&x], "elu", vec![float("alpha", 0.5)]);
    let x = f.conv(&x, "fourth", [4, 4], 1);
    let x = f.node("Selu", &[&x], "selu", vec![]);
    let x = f.conv(&x, "fifth", [4, 4], 1);
    let x = f.node("Softplus", &[&x], "softplus", vec![]);
    f.head(&x, 4);
    let operators = &[
        "Conv",
        "Relu",
        "Clip",
        "Conv",
        "Add",
        "Conv",
        "LeakyRelu",
        "LeakyRelu",
        "Conv",
        "Gelu",
        "Elu",
        "Conv",
        "Elu",
        "Conv",
        "Conv",
        "Softplus",
        "GlobalAveragePool",
        "Flatten",
        "Gemm",
    ];
    f.finish("activations", operators)
}
