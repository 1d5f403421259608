//! Reads an ONNX file as a [`Graph`].
//!
//! The file's bytes are not trusted: whatever they are, the answer is a graph or an error that says what does not fit
//! and where, and memory is taken only for elements that are there.
//!
//! Files by others say the same thing in many ways. Nodes are read one after another into a draft of the graph:
//! `fold` computes those whose operands are constants, `ops` has a function for each of the others, and a
//! `feature::Feature` is what the file's tensor is of a value of the graph: in which order it shows the
//! elements (`layout`), and what a constant adds to and multiplies them by. So transpositions, reshapes and constants
//! leave no node behind where the layers around them can do it.

mod attributes;
mod constants;
mod draft;
mod external;
mod feature;
mod fold;
mod header;
mod layout;
mod node;
mod ops;
mod qoperator;
mod quantized;

use crate::graph::Graph;
use crate::proto::{GraphProto, ModelProto};
use crate::{GraphError, ImportError, Integers, Op, Rounding};
use constants::Constants;
use draft::{Draft, Id};
use feature::{Affine, Feature};
use layout::Layout;
use quantized::Dequantized;
use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;
use std::path::Path;

pub use external::load;

/// Versions of the standard operator set that are read.
pub const OPSETS: RangeInclusive<i64> = 7..=25;

/// Versions of the file format that are read.
pub const IR_VERSIONS: RangeInclusive<i64> = 3..=13;

/// Elements that constant nodes may make of nothing, beside as many as the file has bytes.
const CONSTANT_ELEMENTS: usize = 1 << 22;

/// Elements of weights that are one number everywhere, as test files write them to be small.
const FILLED_ELEMENTS: usize = 1 << 28;

/// What a file's last node makes of the scores that are the graph's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Nothing: the file's output are the scores.
    Scores,
    /// Their softmax.
    Softmax,
    /// The logarithm of their softmax.
    LogSoftmax,
}

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
/// # Errors
/// As [`import`].
pub fn read(model: &ModelProto) -> Result<Imported, ImportError> {
    let file =
        model.graph.as_ref().ok_or_else(|| ImportError::Malformed("it holds no graph; is it cut short?".into()))?;
    let opset = header::opset(model)?;
    let expanded = qoperator::expand(file);
    let proto = expanded.as_ref().unwrap_or(file);
    if !proto.sparse_initializer.is_empty() {
        return Err(ImportError::Model("sparse initializers are not supported".into()));
    }
    let constants = Constants::new(&proto.initializer)?;
    let [output] = proto.output.as_slice() else {
        return Err(ImportError::Model(format!("it has {} outputs, a classifier has one", proto.output.len())));
    };
    let live = live_nodes(proto, &output.name);
    let uses = uses(proto, &live, &output.name);
    let input = header::input(proto, &constants, &uses)?;
    let names = names(proto, input.name)?;
    let metadata = header::metadata(model, input.dims[0])?;
    let draft = Draft::new(input.name, input.dims, names)?;
    let order: &[usize] = if input.channels_last { &[0, 2, 3, 1] } else { &[0, 1, 2, 3] };
    let image = Feature {
        value: draft.input(),
        layout: Layout::ordered(input.batch, &input.dims, order),
        affine: Affine::identity(),
        sole: false,
        log: false,
    };
    let bytes: usize = proto.initializer.iter().filter_map(|tensor| tensor.raw_data.as_ref().map(Vec::len)).sum();
    let mut importer = Importer {
        draft,
        constants,
        features: HashMap::from([(input.name.to_owned(), image)]),
        uses,
        parameters: HashMap::new(),
        parameter_names: HashSet::new(),
        erfs: HashMap::new(),
        roundings: HashMap::new(),
        dequantized: HashMap::new(),
        integers: HashMap::new(),
        maps: HashMap::new(),
        batch: input.batch,
        opset,
        budget: CONSTANT_ELEMENTS + bytes,
        fill_budget: FILLED_ELEMENTS,
        index: 0,
    };
    for index in (0..proto.node.len()).filter(|&index| live[index]) {
        node::read(&mut importer, proto, index)?;
    }
    let (output, ending, scores) = importer.ending(proto, &output.name)?;
    // Of an operator on integers the file has the integers.
    let scores = if expanded.is_some() { qoperator::of_file(file, proto, scores) } else { scores };
    let quantization = importer.quantization();
    let mut graph = importer.draft.finish(&proto.name, metadata, output)?;
    quantized::annotate(&mut graph, quantization);
    Ok(Imported { graph, channels_last: input.channels_last, ending, scores })
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
    /// Results of the error function: the value, and the factor by which that is multiplied before.
    erfs: HashMap<Id, (Id, f64)>,
    /// How the file rounds values.
    roundings: HashMap<Id, Rounding>,
    /// Constants that the file holds as integers.
    dequantized: HashMap<String, Dequantized>,
    /// Parameters that are such constants.
    integers: HashMap<Id, Integers>,
    /// Maps that vectors were before they were flattened.
    maps: HashMap<Id, Id>,
    /// Images in a batch of the file; 1 where it leaves that open.
    batch: usize,
    opset: i64,
    /// Elements that constant nodes may still make.
    budget: usize,
    /// Elements of weights that may still be one number everywhere.
    fill_budget: usize,
    /// The node's position in the file.
    index: usize,
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
