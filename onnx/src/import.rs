//! Reads an ONNX file as a [`Graph`].
//!
//! The file's bytes are not trusted: whatever they are, the answer is a graph or an error that says what does not fit
//! and where, and memory is taken only for elements that are there.
//!
//! Files by others say the same thing in many ways. Nodes are read one after another into a draft of the graph:
//! `fold` computes those whose operands are constants, `ops` has a function for each of the others, and a
//! `feature::Feature` is what the file's tensor is of a value of the graph: in which order it shows the
//! elements (`layout`), and what a constant adds to and multiplies them by. So transpositions, reshapes and constants
//! leave no node behind where the layers around them can do it; nor do channels that change places (`channels`).

mod failure;

mod attributes;

mod constants;

mod dequantized;

mod draft;

mod layout;

mod feature;

mod blocks;

mod channels;

mod header;

mod external;

mod qoperator;

mod rounded;

mod ends;

mod node;

mod axes;

mod fold;

mod integers;

mod quantized;

mod ops;

mod dispatch;

use crate::graph::Graph;
use crate::proto::{DataType, GraphProto, ModelProto};
use crate::{Ending, GraphError, ImportError, Integers, Op};
use channels::Reordered;
use constants::Constants;
use dequantized::Dequantized;
use draft::{Draft, Id};
use feature::{Affine, Feature};
use integers::IntegerImage;
use layout::{BATCH, Branches, Layout};
use quantized::Roundings;
use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;
use std::path::Path;

pub use external::load;
pub use rounded::{RoundedTensor, as_pairs};

/// Versions of the standard operator set that are read.
pub const OPSETS: RangeInclusive<i64> = 7..=25;

/// Versions of the file format that are read.
pub const IR_VERSIONS: RangeInclusive<i64> = 3..=13;

/// Elements that constant nodes may make of nothing, beside twice as many as the file has bytes.
const CONSTANT_ELEMENTS: usize = 1 << 22;

/// Elements of weights that are one number everywhere, as test files write them to be small.
const FILLED_ELEMENTS: usize = 1 << 28;

/// A network that was read, and how its file differs from it.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// The network.
    pub graph: Graph,
    /// Whether the file's input is `[N, H, W, C]`; the graph's is `[C, H, W]` in any case.
    pub channels_last: bool,
    /// How the file's output follows from the graph's scores.
    pub ending: Ending,
    /// The file's tensor that holds the scores, though perhaps under other dimensions.
    pub scores: String,
    /// Where a quantized file holds the graph's values as it rounds them.
    pub rounded: Vec<RoundedTensor>,
}

/// Reads the bytes of an ONNX file that holds its weights itself.
///
/// What [`export`](crate::export()) wrote reads back as the graph that it was.
///
/// # Errors
/// [`ImportError`] where the bytes are no ONNX model or the network needs what this version does not support.
pub fn import(bytes: &[u8]) -> Result<Graph, ImportError> {
    from_model(&ModelProto::from_bytes(bytes)?)
}

/// Reads an ONNX file, and the files beside it that hold its weights.
///
/// # Errors
/// As [`import`]; and where a file cannot be read, does not hold what the model says, or is not in the model's folder.
pub fn import_file(path: &Path) -> Result<Graph, ImportError> {
    from_model(&load(path)?)
}

/// Reads a decoded model.
///
/// # Errors
/// As [`import`].
pub fn from_model(model: &ModelProto) -> Result<Graph, ImportError> {
    read(model).map(|imported| imported.graph)
}

/// As [`from_model`], and says how the file differs from the graph.
///
/// Whether the file's input is `[N, C, H, W]` or `[N, H, W, C]` follows from the operators that need channels: the image is
/// followed through all others in either order, and only one of them brings the channels to where those operators have
/// them. Where none needs channels, it is `[N, C, H, W]`.
///
/// # Errors
/// As [`import`].
pub fn read(model: &ModelProto) -> Result<Imported, ImportError> {
    let original =
        model.graph.as_ref().ok_or_else(|| ImportError::Malformed("it holds no graph; is it cut short?".into()))?;
    let opset = header::opset(model)?;
    let expanded = qoperator::expand(original);
    let graph = expanded.as_ref().unwrap_or(original);
    if !graph.sparse_initializer.is_empty() {
        return Err(ImportError::Model("sparse initializers are not supported".into()));
    }
    let constants = Constants::new(&graph.initializer)?;
    let [output] = graph.output.as_slice() else {
        return Err(ImportError::Model(format!("it has {} outputs, a classifier has one", graph.output.len())));
    };
    let live = live_nodes(graph, &output.name);
    let uses = uses(graph, &live, &output.name);
    let input = header::input(graph, &constants)?;
    let file = File { model, original, graph, output: &output.name, live, uses, input, opset };
    let first = match file.read(false) {
        Ok(imported) => return Ok(imported),
        Err(refusal) => refusal,
    };
    file.read(true).map_err(|second| if second.progress() > first.progress() { second.error } else { first.error })
}

/// A file, with what is known of it before its nodes are read.
struct File<'a> {
    model: &'a ModelProto,
    original: &'a GraphProto,
    /// The graph, with float operators in place of those on integers.
    graph: &'a GraphProto,
    output: &'a str,
    live: Vec<bool>,
    uses: HashMap<String, usize>,
    input: header::Input<'a>,
    opset: i64,
}

/// Why a file cannot be read with its input in one of the orders.
struct Refusal {
    error: ImportError,
    /// Whether the order is not the file's: an operator has channels elsewhere.
    wrong_order: bool,
    /// The node that cannot be read.
    node: usize,
}

impl Refusal {
    /// The larger, the more likely is the order the file's.
    fn progress(&self) -> (bool, usize) {
        (!self.wrong_order, self.node)
    }
}

impl<'a> File<'a> {
    /// Reads the file as one whose input is `[N, H, W, C]` if `channels_last`, and `[N, C, H, W]` if not.
    fn read(&self, channels_last: bool) -> Result<Imported, Refusal> {
        let [a, b, c] = self.input.dims;
        let dims = if channels_last { [c, a, b] } else { [a, b, c] };
        let at_once = |error: ImportError| Refusal { error, wrong_order: false, node: 0 };
        let metadata =
            header::metadata(self.model, dims[0]).map_err(|error| Refusal { error, wrong_order: true, node: 0 })?;
        let mut importer = self.importer(dims, channels_last).map_err(at_once)?;
        for index in (0..self.graph.node.len()).filter(|&index| self.live[index]) {
            dispatch::read(&mut importer, self.graph, index).map_err(|error| Refusal {
                error,
                wrong_order: importer.wrong_order,
                node: index,
            })?;
        }
        let end = |error, wrong_order| Refusal { error, wrong_order, node: self.graph.node.len() };
        let (output, ending, scores) =
            importer.ending(self.graph, self.output).map_err(|error| end(error, importer.wrong_order))?;
        // Of an operator on integers the file has the integers.
        let scores = qoperator::of_file(self.original, self.graph, scores);
        let mut quantization = importer.quantization();
        let mut rounded = importer.rounded(self.graph);
        let mut metadata = metadata;
        if let Some(image) = &importer.integer_image {
            let integers = image.finish().ok_or_else(|| {
                let reason =
                    format!("input `{}`: its integers are never dequantized or cast to float", self.input.name);
                end(ImportError::Model(reason), false)
            })?;
            metadata.normalization.get_or_insert_with(|| integers.normalization(dims[0]));
            quantization.input = Some(integers);
        }
        let finished = importer.draft.finish(&self.graph.name, metadata, output);
        let mut graph = finished.map_err(|error| end(error.into(), false))?;
        quantized::annotate(&mut graph, quantization);
        rounded::through_flatten(&mut graph, &mut rounded);
        Ok(Imported { graph, channels_last, ending, scores, rounded })
    }

    /// An importer that has read no node.
    fn importer(&self, dims: [usize; 3], channels_last: bool) -> Result<Importer<'a>, ImportError> {
        let (graph, input) = (self.graph, &self.input);
        let draft = Draft::new(input.name, dims, names(graph, input.name)?)?;
        let order: &[usize] = if channels_last { &[0, 2, 3, 1] } else { &[0, 1, 2, 3] };
        let image = Feature {
            value: draft.input(),
            layout: Layout::ordered(input.batch, &dims, order).without(|axis| axis == BATCH && !input.batched),
            affine: Affine::identity(),
            sole: false,
            log: false,
        };
        let bytes: usize = graph.initializer.iter().filter_map(|tensor| tensor.raw_data.as_ref().map(Vec::len)).sum();
        Ok(Importer {
            draft,
            constants: Constants::new(&graph.initializer)?,
            features: HashMap::from([(input.name.to_owned(), image)]),
            uses: self.uses.clone(),
            parameters: HashMap::new(),
            parameter_names: HashSet::new(),
            parts: HashMap::new(),
            roundings: Roundings::default(),
            integer_kinds: HashMap::new(),
            dequantized: HashMap::new(),
            integers: HashMap::new(),
            maps: HashMap::new(),
            branches: HashMap::new(),
            reordered: HashMap::new(),
            batch: input.batch,
            opset: self.opset,
            budget: CONSTANT_ELEMENTS + 2 * bytes,
            fill_budget: FILLED_ELEMENTS,
            integer_image: IntegerImage::of_input(input.name, input.kind),
            index: 0,
            wrong_order: false,
        })
    }
}

/// What is known while the nodes are read one after another.
struct Importer<'a> {
    draft: Draft,
    constants: Constants<'a>,
    /// Computed tensors by their names in the file.
    features: HashMap<String, Feature>,
    /// How often each tensor is read.
    uses: HashMap<String, usize>,
    /// Constants that are parameters of the graph by now, apart for those that training changes and others.
    parameters: HashMap<(String, bool), Id>,
    parameter_names: HashSet<String>,
    /// Values that are parts of functions of others.
    parts: HashMap<Id, ops::Part>,
    /// How the file rounds values.
    roundings: Roundings,
    /// Types of computed tensors of the file that hold integers.
    integer_kinds: HashMap<String, DataType>,
    /// Constants that the file holds as integers.
    dequantized: HashMap<String, Dequantized>,
    /// Parameters that are such constants.
    integers: HashMap<Id, Integers>,
    /// Maps that vectors were before they were flattened.
    maps: HashMap<Id, Id>,
    /// Maps whose channels are those of another map in another order.
    reordered: HashMap<Id, Reordered>,
    /// Maps of which values are the stacks.
    branches: HashMap<(Id, Branches), Vec<Id>>,
    /// Images in a batch of the file; 1 where it leaves that open.
    batch: usize,
    opset: i64,
    /// Elements that constant nodes may still make.
    budget: usize,
    /// Elements of weights that may still be one number everywhere.
    fill_budget: usize,
    /// The input, if it holds integers.
    integer_image: Option<IntegerImage>,
    /// The node's position in the file.
    index: usize,
    /// Whether an operator that needs channels found another axis of the image in their place.
    wrong_order: bool,
}

impl Importer<'_> {
    /// The scores, what the file makes of them, and their name in the file.
    fn ending(&mut self, proto: &GraphProto, name: &str) -> Result<(Id, Ending, String), ImportError> {
        let fail = |reason: String| ImportError::Model(format!("output `{name}`: {reason}"));
        let Some(feature) = self.features.get(name).cloned() else {
            return Err(if self.constants.contains(name) {
                fail("is a constant".into())
            } else {
                ImportError::Model(format!("no node computes the output `{name}`"))
            });
        };
        let log = feature.log;
        let dims = feature.layout.dims();
        // Scores of one image lie along one axis.
        let wide = dims.iter().skip(usize::from(self.batch > 1)).filter(|&&dim| dim > 1).count();
        let vector = self.vector(Feature { log: false, ..feature }, "output");
        let Some((value, places)) = vector.ok().filter(|_| wide <= 1) else {
            let dims = dims.get(1..).unwrap_or_default().to_vec();
            return Err(GraphError::Output { name: name.into(), dims }.into());
        };
        if places.is_some() {
            self.wrong_order = true;
            return Err(fail("its elements are not in the order channels, height, width".into()));
        }
        match self.draft.producer(value).filter(|node| node.op == Op::Softmax).map(|node| node.inputs[0]) {
            Some(scores) => {
                let ending = if log { Ending::LogSoftmax } else { Ending::Softmax };
                Ok((scores, ending, before_softmax(proto, name)))
            }
            None => Ok((value, Ending::Scores, name.into())),
        }
    }
}

/// The operand of the softmax from which `name` follows.
fn before_softmax(proto: &GraphProto, name: &str) -> String {
    let mut name = name;
    // Between the softmax and the output stand nodes that show its result in another way.
    for node in proto.node.iter().rev() {
        if let (true, Some(input)) = (node.output.iter().any(|output| output == name), node.input.first()) {
            name = input;
            if ["Softmax", "LogSoftmax"].contains(&node.op_type.as_str()) {
                break;
            }
        }
    }
    name.into()
}

/// Whether `domain` is that of the standard operators.
fn standard(domain: &str) -> bool {
    domain.is_empty() || domain == "ai.onnx"
}

/// For each node whether the output depends on it.
fn live_nodes(proto: &GraphProto, output: &str) -> Vec<bool> {
    let producers: HashMap<&str, usize> = proto
        .node
        .iter()
        .enumerate()
        .flat_map(|(index, node)| node.output.iter().map(move |name| (name.as_str(), index)))
        .collect();
    let mut live = vec![false; proto.node.len()];
    let mut open = vec![output];
    while let Some(name) = open.pop() {
        if let Some(&index) = producers.get(name)
            && !std::mem::replace(&mut live[index], true)
        {
            open.extend(proto.node[index].input.iter().filter(|name| !name.is_empty()).map(String::as_str));
        }
    }
    live
}

/// How often each tensor is read by live nodes or as the output.
fn uses(proto: &GraphProto, live: &[bool], output: &str) -> HashMap<String, usize> {
    let mut uses = HashMap::from([(output.to_owned(), 1)]);
    for (node, _) in proto.node.iter().zip(live).filter(|(_, live)| **live) {
        for name in node.input.iter().filter(|name| !name.is_empty()) {
            *uses.entry(name.clone()).or_default() += 1;
        }
    }
    uses
}

/// All names of tensors, each of which has one origin.
fn names(proto: &GraphProto, input: &str) -> Result<HashSet<String>, ImportError> {
    let mut names: HashSet<String> = proto.initializer.iter().map(|tensor| tensor.name.clone()).collect();
    let outputs = proto.node.iter().flat_map(|node| &node.output).filter(|name| !name.is_empty());
    for name in [input].into_iter().chain(outputs.map(String::as_str)) {
        if !names.insert(name.into()) {
            return Err(GraphError::DuplicateName { name: name.into() }.into());
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests;
