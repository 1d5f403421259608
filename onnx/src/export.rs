//! Writes a [`Graph`] as an ONNX file of standard operators.
//!
//! Initializers and node results keep their names; batch normalization stays. The same graph gives the same bytes.
//! Every operator is written in a form that all of [`OPSETS`] share, so that versions differ in their number alone. Only
//! antialiased interpolation needs [`ANTIALIAS_OPSET`]: a graph that has it is written in that version at least.
//!
//! Stochastic depth has no operator in ONNX. It is written as `Dropout`, which is what it is in evaluation: the
//! identity. The node's `doc_string` is [`STOCHASTIC_DEPTH`], by which [`import`](crate::import()) tells it from dropout.

mod blocks;
pub mod functions;
mod group_norm;
mod wrap;

pub use blocks::blocks_apart;

use crate::graph::{Graph, Node, Value};
use crate::proto::{AttributeProto, DataType, Dim, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto};
use crate::{Border, BorderPad, Coordinates, Op, Pad, Resize, ResizeKernel, Slice, Unary, Window};
use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// Version of the standard operator set that files use unless another is asked for.
pub const OPSET: i64 = 17;

/// Versions of the standard operator set that can be written.
pub const OPSETS: RangeInclusive<i64> = 13..=21;

/// The first version of the standard operator set whose `Resize` can antialias.
pub const ANTIALIAS_OPSET: i64 = 18;

/// The `doc_string` of a `Dropout` that zeroes whole images instead of elements.
pub const STOCHASTIC_DEPTH: &str = "skipstone: stochastic depth";

/// The `doc_string` of the last node of those by which channels become blocks of pixels, or these channels. The operators
/// of these names have square blocks only.
pub const BLOCKS: &str = "skipstone: blocks of pixels";

/// The batch dimension of a file's input and output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Batch {
    /// One image.
    #[default]
    One,
    /// Any number of images, written as the symbol `N`.
    Any,
}

impl Batch {
    /// The dimension as it stands in the file.
    pub fn dim(self) -> Dim<'static> {
        match self {
            Batch::One => Dim::Fixed(1),
            Batch::Any => Dim::Symbol("N"),
        }
    }
}

/// A version of the standard operator set that can be written: one of [`OPSETS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opset(i64);

impl Default for Opset {
    fn default() -> Self {
        Self(OPSET)
    }
}

impl Opset {
    /// The version's number.
    pub fn version(self) -> i64 {
        self.0
    }
}

/// A text that names no version of [`OPSETS`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("operator set `{0}` cannot be written: give a version from {first} to {last}", first = OPSETS.start(), last = OPSETS.end())]
pub struct OpsetError(String);

impl FromStr for Opset {
    type Err = OpsetError;

    fn from_str(text: &str) -> Result<Self, OpsetError> {
        let version = text.parse().ok().filter(|version| OPSETS.contains(version));
        version.map(Self).ok_or_else(|| OpsetError(text.into()))
    }
}

/// How the weights of convolutions and linear layers are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Weights {
    /// As they are.
    #[default]
    Float32,
    /// Rounded to float16, half as large; a `Cast` widens them. A tensor with an element beyond float16's range, 65,504,
    /// stays as it is.
    Float16,
}

/// How a file is written; a [`Batch`] stands for the options that have it and are otherwise the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The operator set; a later one where the graph needs that.
    pub opset: Opset,
    /// The batch dimension.
    pub batch: Batch,
    /// How weights are stored.
    pub weights: Weights,
}

impl From<Batch> for Options {
    fn from(batch: Batch) -> Self {
        Self { batch, ..Self::default() }
    }
}

/// The bytes of an ONNX file.
pub fn export(graph: &Graph, options: impl Into<Options>) -> Vec<u8> {
    to_model(graph, options).to_bytes()
}

/// The message that [`export`] writes.
pub fn to_model(graph: &Graph, options: impl Into<Options>) -> ModelProto {
    let Options { opset, batch, weights } = options.into();
    let mut writer =
        Writer { graph, names: graph.values().iter().map(|value| value.name.clone()).collect(), constants: Vec::new() };
    let mut node = Vec::new();
    let mut initializer = Vec::new();
    for (_, name, parameter) in graph.parameters() {
        let (dims, data) = (parameter.tensor.dims(), parameter.tensor.data());
        let narrow = (weights == Weights::Float16 && dims.len() > 1).then(|| writer.narrow(name, dims, data)).flatten();
        match narrow {
            Some((tensor, cast)) => {
                initializer.push(tensor);
                node.push(cast);
            }
            None => initializer.push(TensorProto::f32(name, dims, data)),
        }
    }
    node.extend(graph.nodes().iter().flat_map(|node| writer.nodes(node)));
    initializer.append(&mut writer.constants);
    let mut model = ModelProto::new(
        GraphProto {
            node,
            name: graph.name.clone(),
            initializer,
            input: vec![value_info(graph.value(graph.input()), batch)],
            output: vec![value_info(graph.value(graph.output()), batch)],
            ..GraphProto::default()
        },
        opset.version().max(if antialiases(graph) { ANTIALIAS_OPSET } else { 0 }),
    );
    model.metadata_props = graph.metadata.to_props();
    model
}

fn antialiases(graph: &Graph) -> bool {
    graph.nodes().iter().any(|node| matches!(&node.op, Op::Resize(resize) if resize.antialias))
}

fn value_info(value: &Value, batch: Batch) -> ValueInfoProto {
    let dims: Vec<Dim> = [batch.dim()].into_iter().chain(value.dims.iter().map(|&dim| Dim::Fixed(dim))).collect();
    ValueInfoProto::tensor(&value.name, DataType::Float, &dims)
}

struct Writer<'a> {
    graph: &'a Graph,
    names: HashSet<String>,
    constants: Vec<TensorProto>,
}

impl Writer<'_> {
    fn nodes(&mut self, node: &Node) -> Vec<NodeProto> {
        match node.op {
            Op::GroupNorm { groups, epsilon } => self.group_norm(node, groups, epsilon).into(),
            Op::BorderPad(ref pad) if pad.border == Border::Wrap => self.wrap(node, pad),
            Op::DepthToSpace { block } | Op::SpaceToDepth { block } => self.blocks(node, block),
            _ => self.function(node).unwrap_or_else(|| vec![self.node(node)]),
        }
    }

    fn node(&mut self, node: &Node) -> NodeProto {
        let mut inputs: Vec<String> = node.inputs.iter().map(|&id| self.graph.value(id).name.clone()).collect();
        let attributes = match &node.op {
            Op::Conv(conv) => vec![
                AttributeProto::sizes("kernel_shape", &conv.kernel),
                AttributeProto::sizes("strides", &conv.stride),
                AttributeProto::sizes("pads", &conv.pads),
                AttributeProto::sizes("dilations", &[1, 1]),
                AttributeProto::int("group", conv.groups as i64),
            ],
            Op::BatchNorm { epsilon } => vec![AttributeProto::float("epsilon", *epsilon)],
            Op::Flatten => vec![AttributeProto::int("axis", 1)],
            Op::Gemm => vec![AttributeProto::int("transB", 1)],
            Op::Slice(Slice { start, end, step }) => {
                for (suffix, numbers) in [("starts", start), ("ends", end), ("axes", &[1, 2, 3]), ("steps", step)] {
                    inputs.push(self.constant(&node.name, suffix, numbers));
                }
                Vec::new()
            }
            Op::Pad(Pad { before: [c, h, w], after: [c_end, h_end, w_end] }) => {
                inputs.push(self.constant(&node.name, "pads", &[0, *c, *h, *w, 0, *c_end, *h_end, *w_end]));
                vec![AttributeProto::string("mode", "constant")]
            }
            Op::BorderPad(BorderPad { pads: [top, left, bottom, right], border }) => {
                inputs.push(self.constant(&node.name, "pads", &[0, 0, *top, *left, 0, 0, *bottom, *right]));
                let mode = match border {
                    Border::Reflect => "reflect",
                    Border::Edge => "edge",
                    Border::Wrap => "wrap",
                };
                vec![AttributeProto::string("mode", mode)]
            }
            Op::Clip { min, max } => {
                for (suffix, limit) in [("min", *min), ("max", *max)] {
                    inputs.push(if limit.is_finite() { self.scalar(&node.name, suffix, limit) } else { String::new() });
                }
                Vec::new()
            }
            Op::L2Norm => vec![AttributeProto::int("axis", 1), AttributeProto::int("p", 2)],
            Op::InstanceNorm { epsilon } => {
                let channels = self.graph.value(node.output).dims[0];
                for (suffix, number) in [("scale", 1.0), ("bias", 0.0)] {
                    inputs.push(self.floats(&node.name, suffix, &vec![number; channels]));
                }
                vec![AttributeProto::float("epsilon", *epsilon)]
            }
            Op::GroupNorm { .. } | Op::DepthToSpace { .. } | Op::SpaceToDepth { .. } => {
                unreachable!("has nodes of its own")
            }
            Op::Softmax | Op::Concat => vec![AttributeProto::int("axis", 1)],
            Op::MaxPool(window) => window_attributes(window),
            Op::AveragePool { window, count_include_pad } => {
                let mut attributes = window_attributes(window);
                attributes.push(AttributeProto::int("count_include_pad", (*count_include_pad).into()));
                attributes
            }
            Op::Resize(resize) => {
                let dims = &self.graph.value(node.inputs[0]).dims;
                let (scales, attributes) = resize_parts([dims[1], dims[2]], resize);
                inputs.push(String::new());
                inputs.push(self.floats(&node.name, "scales", &scales));
                attributes
            }
            Op::Dropout { rate } | Op::StochasticDepth { rate } => {
                inputs.push(self.scalar(&node.name, "ratio", *rate));
                Vec::new()
            }
            Op::Unary(unary) => function_attributes(*unary),
            Op::Relu | Op::Sigmoid | Op::Add | Op::Mul | Op::GlobalAveragePool | Op::GlobalMaxPool => Vec::new(),
        };
        inputs.truncate(inputs.iter().rposition(|name| !name.is_empty()).map_or(0, |last| last + 1));
        let outputs = [&self.graph.value(node.output).name];
        let mut proto = NodeProto::new(node.op.name(), &node.name, &inputs, &outputs, attributes);
        if matches!(node.op, Op::StochasticDepth { .. }) {
            proto.doc_string = STOCHASTIC_DEPTH.into();
        }
        proto
    }

    /// A tensor rounded to float16, and the node that widens it to what it was called.
    fn narrow(&mut self, name: &str, dims: &[usize], data: &[f32]) -> Option<(TensorProto, NodeProto)> {
        let tensor = TensorProto::f16("", dims, data)?;
        let narrow = self.name(name, "float16");
        let to = AttributeProto::int("to", DataType::Float as i64);
        let cast = NodeProto::new("Cast", format!("{narrow}.cast"), &[&narrow], &[name], vec![to]);
        Some((TensorProto { name: narrow, ..tensor }, cast))
    }

    /// Adds an int64 initializer for an operand that the graph holds as an attribute, and gives its name.
    fn constant(&mut self, node: &str, suffix: &str, numbers: &[usize]) -> String {
        let name = self.name(node, suffix);
        let numbers: Vec<i64> = numbers.iter().map(|&number| number as i64).collect();
        self.constants.push(TensorProto::i64(&name, &[numbers.len()], &numbers));
        name
    }

    /// As [`Writer::constant`], of float32.
    fn floats(&mut self, node: &str, suffix: &str, numbers: &[f32]) -> String {
        let name = self.name(node, suffix);
        self.constants.push(TensorProto::f32(&name, &[numbers.len()], numbers));
        name
    }

    /// As [`Writer::constant`], of one float32 without dimensions.
    fn scalar(&mut self, node: &str, suffix: &str, number: f32) -> String {
        let name = self.name(node, suffix);
        self.constants.push(TensorProto::scalar(&name, number));
        name
    }

    /// A name that is not in use.
    fn name(&mut self, node: &str, suffix: &str) -> String {
        let mut name = format!("{node}.{suffix}");
        while !self.names.insert(name.clone()) {
            name.push('_');
        }
        name
    }
}

/// The attributes of a function of one element that has an operator of its own.
pub fn function_attributes(unary: Unary) -> Vec<AttributeProto> {
    match unary {
        Unary::LeakyRelu { alpha } | Unary::Elu { alpha } | Unary::ThresholdedRelu { alpha } => {
            vec![AttributeProto::float("alpha", alpha)]
        }
        _ => Vec::new(),
    }
}

/// The attributes of a pool, but for the padding that an average may count.
pub fn window_attributes(window: &Window) -> Vec<AttributeProto> {
    vec![
        AttributeProto::sizes("kernel_shape", &window.kernel),
        AttributeProto::sizes("strides", &window.stride),
        AttributeProto::sizes("pads", &window.pads),
        AttributeProto::int("ceil_mode", window.ceil_mode.into()),
    ]
}

/// The third operand, `scales`, and the attributes of an interpolation of maps of `[height, width]`.
pub fn resize_parts([height, width]: [usize; 2], resize: &Resize) -> ([f32; 4], Vec<AttributeProto>) {
    let scales = [1.0, 1.0, scale(height, resize.size[0]), scale(width, resize.size[1])];
    let nearest = resize.coordinates == Coordinates::Nearest;
    let coordinates = match resize.coordinates {
        Coordinates::AlignCorners => "align_corners",
        Coordinates::HalfPixel => "half_pixel",
        Coordinates::Asymmetric | Coordinates::Nearest => "asymmetric",
    };
    let mode = match resize.kernel {
        _ if nearest => "nearest",
        ResizeKernel::Linear => "linear",
        ResizeKernel::Cubic { .. } => "cubic",
    };
    let mut attributes = vec![
        AttributeProto::string("mode", mode),
        AttributeProto::string("coordinate_transformation_mode", coordinates),
    ];
    attributes.extend(nearest.then(|| AttributeProto::string("nearest_mode", "floor")));
    if let ResizeKernel::Cubic { coefficient } = resize.kernel {
        attributes.push(AttributeProto::float("cubic_coeff_a", coefficient));
    }
    attributes.extend(resize.antialias.then(|| AttributeProto::int("antialias", 1)));
    attributes.extend(resize.exclude_outside.then(|| AttributeProto::int("exclude_outside", 1)));
    (scales, attributes)
}

/// The factor by which readers, who compute `floor(from * factor)`, come to `to`. Sizes of the result would be clearer,
/// but in opset 17 they hold the batch too, which a file may leave open.
fn scale(from: usize, to: usize) -> f32 {
    let mut scale = to as f32 / from as f32;
    while ((from as f32 * scale) as usize) < to {
        scale = scale.next_up();
    }
    scale
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[test]
    fn the_same_graph_gives_the_same_bytes() {
        assert_eq!(export(&fixtures::residual(), Batch::One), export(&fixtures::residual(), Batch::One));
    }

    #[test]
    fn the_file_says_where_it_comes_from_and_keeps_names() {
        let model = to_model(&fixtures::residual(), Batch::Any);
        assert_eq!((model.ir_version, model.opset_import[0].version), (8, 17));
        assert_eq!((model.producer_name.as_str(), model.producer_version.as_str()), ("skipstone", "0.1.0"));
        let graph = model.graph.unwrap();
        assert!(graph.initializer.iter().any(|tensor| tensor.name == "conv1.weight"));
        assert_eq!(graph.node[0].output, ["conv1.out"]);
        let input = ValueInfoProto::tensor(
            "image",
            DataType::Float,
            &[Dim::Symbol("N"), Dim::Fixed(4), Dim::Fixed(9), Dim::Fixed(8)],
        );
        assert_eq!(graph.input, [input]);
    }

    #[test]
    fn versions_of_the_operator_set_differ_in_their_number_alone() {
        let graph = fixtures::branches();
        let write = |opset: &str| to_model(&graph, Options { opset: opset.parse().unwrap(), ..Batch::Any.into() });
        let default = to_model(&graph, Batch::Any);
        assert_eq!(write("17"), default);
        for (opset, ir_version) in [("13", 7), ("14", 7), ("15", 8), ("18", 8), ("19", 9), ("20", 9), ("21", 10)] {
            let model = write(opset);
            assert_eq!((model.ir_version, &model.opset_import[0].version.to_string()[..]), (ir_version, opset));
            assert_eq!(model.graph, default.graph);
            assert_eq!(crate::import::from_model(&model).unwrap(), graph);
        }
        for text in ["12", "22", "-17", "", "17.0", "latest"] {
            let error = text.parse::<Opset>().unwrap_err().to_string();
            assert!(error.contains(&format!("`{text}`")) && error.contains("from 13 to 21"), "{error}");
        }
    }

    #[test]
    fn antialiasing_needs_a_later_operator_set() {
        let mut builder = crate::GraphBuilder::new("net", "image", [1, 9, 8]).unwrap();
        let kernel = ResizeKernel::Cubic { coefficient: -0.5 };
        let resize = Resize { antialias: true, kernel, ..Resize::new([4, 3], Coordinates::HalfPixel) };
        let small = builder.push("small", Op::Resize(resize.clone()), &[builder.input()]).unwrap();
        let linear = Resize { kernel: ResizeKernel::Linear, exclude_outside: true, ..resize };
        let least = builder.push("least", Op::Resize(Resize { size: [2, 2], ..linear }), &[small]).unwrap();
        let flat = builder.push("flat", Op::Flatten, &[least]).unwrap();
        let graph = builder.finish(flat).unwrap();
        for (opset, written) in [("13", 18), ("18", 18), ("21", 21)] {
            let model = to_model(&graph, Options { opset: opset.parse().unwrap(), ..Batch::One.into() });
            assert_eq!(model.opset_import[0].version, written);
            assert_eq!(crate::import::from_model(&model).unwrap(), graph);
        }
    }

    #[test]
    fn weights_in_float16_are_read_as_what_they_were_rounded_to() {
        let mut graph = fixtures::residual();
        let far = graph.parameters().find(|(_, name, _)| *name == "conv1.weight").unwrap().0;
        let float16 = |graph: &Graph| export(graph, Options { weights: Weights::Float16, ..Batch::Any.into() });
        let (wide, narrow) = (export(&graph, Batch::Any), float16(&graph));
        let weights = |graph: &Graph| graph.parameters().filter(|(.., p)| p.tensor.dims().len() > 1).count();
        assert!(narrow.len() < wide.len(), "{} {}", narrow.len(), wide.len());
        let read = crate::import(&narrow).unwrap();
        assert_eq!(weights(&read), weights(&graph));
        for ((_, name, found), (_, expected_name, expected)) in read.parameters().zip(graph.parameters()) {
            assert_eq!(name, expected_name);
            let is_narrow = expected.tensor.dims().len() > 1;
            let round = |&x: &f32| if is_narrow { half::f16::from_f32(x).to_f32() } else { x };
            assert!(found.tensor.data().iter().copied().eq(expected.tensor.data().iter().map(round)), "{name}");
        }
        // Rounding once is enough, and what does not fit stays.
        assert_eq!(float16(&read), narrow);
        graph.parameter_mut(far).unwrap().data_mut()[0] = 1e5;
        let proto = crate::proto::ModelProto::from_bytes(&float16(&graph)).unwrap();
        assert!(proto.graph.unwrap().initializer.iter().any(|tensor| tensor.name == "conv1.weight"));
    }

    #[test]
    fn constants_of_attributes_avoid_names_in_use() {
        let mut builder = crate::GraphBuilder::new("net", "cut.starts", [1, 4, 4]).unwrap();
        let slice = Slice { start: [0; 3], end: [1, 4, 4], step: [1, 2, 2] };
        let cut = builder.push("cut", Op::Slice(slice), &[builder.input()]).unwrap();
        let flat = builder.push("flat", Op::Flatten, &[cut]).unwrap();
        let graph = to_model(&builder.finish(flat).unwrap(), Batch::One).graph.unwrap();
        assert_eq!(graph.node[0].input[..2], ["cut.starts", "cut.starts_"]);
    }
}
