//! From a quantized network to the bytes of a packed model, `.stone`.

mod choice;
mod error;
mod known;
mod quantize;
mod records;
mod weights;

pub use crate::quant::{Channels, channels};
pub use choice::{Choice, Goal, Misfit, Next, Point, Problem, Reason, Way, Why, reasons, tradeoff};
pub use error::PackError;
pub use quantize::{Options, Quantized, Report, quantize};
pub use skipstone_runtime::AlignedBytes;

use crate::data::preprocessing;
use crate::plan::Plan;
use crate::quant::requant::{Requants, constant};
use crate::quant::{QGraph, QNode, QOp};
use crate::target::{Core, Limits, of_format};
use choice::ChoiceError;
use records::narrow;
use skipstone_onnx::{Metadata, Source};
use skipstone_runtime::Model;
use skipstone_runtime::arith::Requant;
use skipstone_runtime::format::checksum;
use skipstone_runtime::format::records::{ALIGNMENT, Header, MAGIC, TABLE_LEN, VERSION};

/// A packed model and what it costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    /// The file.
    pub bytes: Vec<u8>,
    /// Bytes of the weights as they are laid out, padding included.
    pub weights_bytes: usize,
    /// Bytes of RAM that the model needs when its image is fed row by row.
    pub arena_bytes: usize,
    /// Bytes of RAM that it needs when the whole image is resident.
    pub input_resident_bytes: usize,
    /// Estimated instructions of its convolutions.
    pub instructions: u64,
    /// The goal that is met: [`Goal::Speed`] where the one that was asked for does not fit the limits.
    pub goal: Goal,
}

/// [`pack_for`] the smallest arena.
///
/// # Errors
/// As [`pack_for`].
pub fn pack(qgraph: &QGraph, target: Core) -> Result<Packed, PackError> {
    pack_for(qgraph, target, Goal::Ram)
}

/// [`pack_within`] any memories.
///
/// # Errors
/// As [`pack_within`].
pub fn pack_for(qgraph: &QGraph, target: Core, goal: Goal) -> Result<Packed, PackError> {
    pack_within(qgraph, target, goal, None)
}

/// Packs a quantized network for `target`, within memories if there are limits: with what meets the goal if it fits,
/// and otherwise with the fastest kernels that fit. The runtime has accepted what is returned; the same network gives
/// the same bytes, and the same scores whatever the goal is. The smallest file has no names of layers.
///
/// # Errors
/// [`PackError`] naming the node or tensor that does not fit the format, or what is missing where nothing fits the
/// limits.
pub fn pack_within(qgraph: &QGraph, target: Core, goal: Goal, limits: Option<Limits>) -> Result<Packed, PackError> {
    let channels = channels(qgraph)?;
    let tensors = records::tensors(qgraph, &channels)?;
    let nodes = records::nodes(qgraph, &channels)?;
    let mut problem = Problem::new(nodes, tensors, of_format(target));
    let choice = match limits {
        None => problem.meet(goal)?,
        Some(limits) => {
            let any = problem.meet(Goal::Ram)?;
            let len = |names| Ok::<_, PackError>(write(qgraph, &channels, target, &any.plan, names)?.0.len());
            problem.set_fixed([len(true)?, len(false)?], &any);
            problem.meet_within(goal, limits).map_err(|error| refusal(qgraph, error))?
        }
    };
    let (bytes, weights_bytes) = write(qgraph, &channels, target, &choice.plan, choice.names)?;
    Model::from_bytes(AlignedBytes::copy(&bytes).as_slice()).map_err(PackError::Refused)?;
    let Plan { arena_bytes, input_resident_bytes, .. } = choice.plan;
    let Choice { instructions, goal, .. } = choice;
    Ok(Packed { bytes, weights_bytes, arena_bytes, input_resident_bytes, instructions, goal })
}

fn refusal(qgraph: &QGraph, error: ChoiceError) -> PackError {
    match error {
        ChoiceError::Plan(error) => error.into(),
        ChoiceError::Misfit(misfit) => {
            let [node, tensor] = misfit.peak;
            let peak = [qgraph.nodes[node].name.clone(), qgraph.tensors[tensor].name.clone()];
            PackError::Misfit { misfit, peak }
        }
    }
}

/// The file, and how many of its bytes are weights.
fn write(
    qgraph: &QGraph,
    channels: &[Channels],
    target: Core,
    plan: &Plan,
    names: bool,
) -> Result<(Vec<u8>, usize), PackError> {
    let (mut tensors, mut nodes) = (plan.tensors.clone(), plan.nodes.clone());
    let mut strings = Strings::default();
    if names {
        for (record, tensor) in tensors.iter_mut().zip(&qgraph.tensors) {
            record.name = strings.push(&tensor.name)?;
        }
        for (record, node) in nodes.iter_mut().zip(&qgraph.nodes) {
            record.name = strings.push(&node.name)?;
        }
    } else {
        // All names are the empty one at the start.
        strings.push("")?;
    }
    let provenance = strings.push(&provenance(qgraph))?;
    let class_names = strings.push_classes(qgraph)?;

    let mut file = File(vec![0; Header::LEN]);
    let pixels = file.section(&requant_bytes(&qgraph.pixels));
    let normalization = qgraph.metadata.normalization.as_ref().map_or(0, |normalization| {
        let values = normalization.mean.iter().chain(&normalization.std);
        file.section(&values.flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>())
    });
    let source = source(&qgraph.metadata).map_or(0, |source| file.section(&source));
    let mut weights_bytes = 0;
    for (record, node) in nodes.iter_mut().zip(&qgraph.nodes) {
        let [input, output] = [node.input, node.output].map(|index| &channels[index]);
        let requants = qgraph.requants(node)?;
        record.operand_multiplier = requants.operand_multiplier;
        let mut conversions = requants.channels.clone();
        match &node.op {
            QOp::Conv(conv) => {
                let [from, to] = [node.input, node.output].map(|index| &tensors[index]);
                conversions = output.spread(conversions, padding(qgraph, node, &requants));
                let weights = weights::lay_out(conv, [input, output], record, from, to);
                weights_bytes += weights.len();
                record.weights_len = narrow(&node.name, "bytes of weights", weights.len())?;
                record.weights = file.section(bytemuck::cast_slice(&weights));
            }
            QOp::Affine(_) => {
                conversions = output.spread(conversions, constant(qgraph.tensors[node.output].params.zero_point));
            }
            QOp::Copy(copy) => {
                let runs = weights::runs(copy, [input, output]);
                record.weights_len = narrow(&node.name, "bytes of runs", runs.len())?;
                record.weights = file.section(&runs);
            }
            QOp::Resize(_) => {
                let weights = records::resampling(qgraph, node)?.map_or(Vec::new(), |resampling| resampling.bytes());
                weights_bytes += weights.len();
                record.weights_len = narrow(&node.name, "bytes of weights", weights.len())?;
                record.weights = if weights.is_empty() { 0 } else { file.section(&weights) };
            }
            QOp::L2Norm | QOp::GroupNorm { .. } => {
                let mask = input.spread(vec![1u8; input.positions.len()], 0);
                record.weights_len = narrow(&node.name, "number of channels", mask.len())?;
                record.weights = file.section(&mask);
            }
            QOp::Lookup { table, .. } => {
                record.weights_len = TABLE_LEN as u32;
                record.weights = file.section(bytemuck::cast_slice(table));
            }
            _ => {}
        }
        if !conversions.is_empty() {
            record.requant = file.section(&requant_bytes(&conversions));
        }
        if record.prologue != 0 {
            let conversions = input.spread(qgraph.prologue_requants(node)?, constant(record.prologue_zero));
            record.prologue = file.section(&requant_bytes(&conversions));
        }
    }

    let preprocessing = preprocessing::of_runtime(&qgraph.metadata.preprocessing);
    let ([fit, filter, channel_order], resize) = preprocessing.codes();
    let header = Header {
        magic: MAGIC,
        version: VERSION,
        arena_len: plan.arena_bytes as u32,
        scratch: plan.scratch as u32,
        scratch_len: plan.scratch_len as u32,
        counters: plan.counters as u32,
        tensors: file.section(&tensors.iter().flat_map(|record| record.emit()).collect::<Vec<u8>>()),
        nodes: file.section(&nodes.iter().flat_map(|record| record.emit()).collect::<Vec<u8>>()),
        segments: file.section(&plan.segments.iter().flat_map(|record| record.emit()).collect::<Vec<u8>>()),
        tensor_count: narrow("model", "number of tensors", tensors.len())?,
        node_count: narrow("model", "number of nodes", nodes.len())?,
        segment_count: narrow("model", "number of segments", plan.segments.len())?,
        class_count: narrow("model", "number of classes", qgraph.class_count())?,
        input: narrow("model", "input index", qgraph.input)?,
        output: narrow("model", "output index", qgraph.output)?,
        strings: file.section(&strings.0),
        strings_len: narrow("model", "bytes of names", strings.0.len())?,
        pixels,
        normalization,
        class_names,
        provenance,
        fit,
        filter,
        channel_order,
        resize,
        source,
        core: target as u8,
        macs: qgraph.macs,
        ..Header::default()
    };
    Ok((file.finish(header)?, weights_bytes))
}

/// The conversion of the channels that only pad the output of a convolution.
fn padding(qgraph: &QGraph, node: &QNode, requants: &Requants) -> Requant {
    let operand = node.operand.map(|index| qgraph.tensors[index].params.zero_point);
    requants.padding(qgraph.tensors[node.output].params.zero_point, operand)
}

/// The record of the network's file and its normalization, if the file's input and output are not the packed model's.
fn source(metadata: &Metadata) -> Option<Vec<u8>> {
    let Source { channels_last, integers, ending, normalization } = metadata.source.as_ref()?;
    let record = records::source(*channels_last, *integers, *ending);
    if record == Default::default() && Some(normalization) == metadata.normalization.as_ref() {
        return None;
    }
    let values = normalization.mean.iter().chain(&normalization.std);
    Some(record.emit().into_iter().chain(values.flat_map(|value| value.to_le_bytes())).collect())
}

fn provenance(qgraph: &QGraph) -> String {
    let version = concat!("skipstone ", env!("CARGO_PKG_VERSION"));
    match &qgraph.metadata.command {
        Some(command) => format!("{version}: {} ({command})", qgraph.name),
        None => format!("{version}: {}", qgraph.name),
    }
}

/// Each conversion as it lies in the file: `c`, `m`, `s`.
fn requant_bytes(requants: &[Requant]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(16 * requants.len());
    for requant in requants {
        bytes.extend(requant.c.to_le_bytes());
        bytes.extend(requant.m.to_le_bytes());
        bytes.extend(requant.s.to_le_bytes());
    }
    bytes
}

/// The file as it grows, section by section.
struct File(Vec<u8>);

impl File {
    /// Appends a section and gives its offset, which [`finish`](Self::finish) proves to fit.
    fn section(&mut self, bytes: &[u8]) -> u32 {
        self.0.resize(self.0.len().next_multiple_of(ALIGNMENT), 0);
        let offset = self.0.len();
        self.0.extend_from_slice(bytes);
        offset as u32
    }

    fn finish(self, mut header: Header) -> Result<Vec<u8>, PackError> {
        let mut bytes = self.0;
        bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
        header.file_len = narrow("model", "bytes of the file", bytes.len())?;
        bytes[..Header::LEN].copy_from_slice(&header.emit());
        header.checksum = checksum::of_file(&bytes);
        bytes[..Header::LEN].copy_from_slice(&header.emit());
        Ok(bytes)
    }
}

/// Strings, each a u16 length and its bytes.
#[derive(Default)]
struct Strings(Vec<u8>);

impl Strings {
    fn push(&mut self, text: &str) -> Result<u32, PackError> {
        let offset = narrow("model", "bytes of names", self.0.len())?;
        let length: u16 = narrow(text, "length of the name", text.len())?;
        self.0.extend(length.to_le_bytes());
        self.0.extend_from_slice(text.as_bytes());
        Ok(offset)
    }

    /// The class names, or the numbers of the classes where they have none. Returns the first one's offset.
    fn push_classes(&mut self, qgraph: &QGraph) -> Result<u32, PackError> {
        let (names, scores) = (&qgraph.metadata.class_names, qgraph.class_count());
        if !names.is_empty() && names.len() != scores {
            return Err(PackError::ClassNames { scores, names: names.len() });
        }
        let first = narrow("model", "bytes of names", self.0.len())?;
        for class in 0..scores {
            match names.get(class) {
                Some(name) => self.push(name)?,
                None => self.push(&class.to_string())?,
            };
        }
        Ok(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Dataset;
    use crate::quant::QuantError;
    use crate::quant::fixtures::{Net, random_graph, random_images};
    use skipstone_onnx::{Conv, Graph, Op};
    use skipstone_runtime::kernels::layout::PAIRS;
    use skipstone_runtime::schedule::Network;

    fn refusal(graph: &Graph) -> String {
        quantize(graph, &random_images(graph, 1, 1), &Options::default()).unwrap_err().to_string()
    }

    #[test]
    fn a_packed_model_says_what_it_is() {
        let mut graph = random_graph(4);
        graph.metadata.command = Some("skipstone train".into());
        let images = random_images(&graph, 2, 4);
        graph.metadata.class_names = images.class_names.clone();
        let quantized = quantize(&graph, &images, &Options { target: Core::CortexM4, ..Options::default() }).unwrap();
        let bytes = AlignedBytes::copy(&quantized.stone);
        let model = Model::from_bytes(bytes.as_slice()).unwrap();
        assert_eq!(model.class_names().collect::<Vec<_>>(), images.class_names);
        assert!(model.provenance().ends_with("random (skipstone train)"), "{}", model.provenance());
        let normalization = graph.metadata.normalization.as_ref().unwrap();
        let expected: Vec<(f32, f32)> = normalization.mean.iter().copied().zip(normalization.std.clone()).collect();
        assert_eq!(model.normalization().collect::<Vec<_>>(), expected);
        assert_eq!(model.header().macs, graph.macs());
        assert_eq!(model.arena_len(), quantized.report.arena_bytes);
        let weights: u32 = model.nodes().iter().map(|node| node.weights_len).sum();
        assert_eq!(weights as usize, quantized.report.weights_bytes);
        let layouts = model.nodes().iter().filter(|node| node.weights_len > 0).map(|node| (node.groups, node.layout));
        assert!(layouts.into_iter().all(|(groups, layout)| groups > 1 || layout == PAIRS.code));
        let names = qnames(&quantized.qgraph);
        assert_eq!(model.nodes().iter().map(|node| model.string(node.name)).collect::<Vec<_>>(), names);
        assert_eq!(model.tensor(model.header().input.into()).channels as usize, images.dims[0]);
    }

    fn qnames(qgraph: &QGraph) -> Vec<&str> {
        qgraph.nodes.iter().map(|node| node.name.as_str()).collect()
    }

    #[test]
    fn bad_calibration_is_refused() {
        let graph = random_graph(4);
        let images = random_images(&graph, 2, 4);
        let none = Dataset { pixels: Vec::new(), labels: Vec::new(), ..images.clone() };
        let error = quantize(&graph, &none, &Options::default()).unwrap_err();
        assert!(matches!(error, PackError::Quant(QuantError::NoImages)));
        let mut other = images.clone();
        other.dims.swap(0, 1);
        let error = quantize(&graph, &other, &Options::default()).unwrap_err();
        assert!(matches!(error, PackError::Quant(QuantError::ImageDims { .. })));
    }

    #[test]
    fn images_that_show_nothing_and_dead_activations_quantize() {
        let graph = random_graph(4);
        let mut images = random_images(&graph, 2, 4);
        images.pixels.fill(128);
        quantize(&graph, &images, &Options::default()).unwrap();
        // A ReLU that lets nothing through.
        let mut net = Net::new(1, [3, 5, 5]);
        let x = net.conv(net.input(), 4, Conv::square(1, 1, 0), true);
        let x = net.push(Op::Clip { min: f32::NEG_INFINITY, max: -50.0 }, &[x]);
        let x = net.relu(x);
        let x = net.norm(x);
        let graph = net.head(x, 2);
        quantize(&graph, &random_images(&graph, 2, 4), &Options::default()).unwrap();
    }

    #[test]
    fn channels_keep_their_gaps_through_what_reads_a_concatenation() {
        let mut net = Net::new(1, [3, 6, 6]);
        let a = net.conv(net.input(), 6, Conv::square(1, 1, 0), true);
        let b = net.conv(a, 5, Conv::square(3, 1, 1), true);
        let joined = net.push(Op::Concat, &[a, b]);
        let x = net.conv(joined, 11, Conv::square(3, 1, 1), true);
        let sum = net.push(Op::Add, &[x, joined]);
        let graph = net.head(sum, 2);
        let qgraph = quantize(&graph, &random_images(&graph, 2, 4), &Options::default()).unwrap().qgraph;
        let channels = channels(&qgraph).unwrap();
        let of = |name: &str| &channels[qgraph.tensors.iter().position(|t| t.name == name).unwrap()];
        // docs/quantization.md, "Channels".
        let positions: Vec<usize> = (0..6).chain(8..13).collect();
        for value in [joined, sum] {
            let found = of(&graph.value(value).name);
            assert_eq!((found.count, &found.positions), (16, &positions));
        }
        assert_eq!(of(&graph.value(b).name).count, 8);
        assert_eq!(of("image").strip(&[1, 2, 3, 4, 5, 6]), [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn class_names_must_be_as_many_as_scores() {
        let mut graph = random_graph(4);
        graph.metadata.class_names = vec!["only one".into()];
        assert!(refusal(&graph).ends_with("scores and 1 class names"));
    }

    /// Groups of 3 channels lie across those of 4 that memory has: some are one group there, with zeros between them.
    #[test]
    fn groups_that_do_not_fit_padded_channels_are_merged() {
        let groups_in_memory = |inputs: usize, outputs: usize, groups: usize| {
            let mut net = Net::new(1, [3, 5, 5]);
            let x = net.conv(net.input(), inputs, Conv::square(1, 1, 0), true);
            let x = net.conv(x, outputs, Conv { groups, ..Conv::square(3, 1, 1) }, true);
            let graph = net.head(x, 2);
            let stone = quantize(&graph, &random_images(&graph, 1, 1), &Options::default()).unwrap().stone;
            let stone = AlignedBytes::copy(&stone);
            Model::from_bytes(stone.as_slice()).unwrap().node(1).groups
        };
        assert_eq!(groups_in_memory(24, 16, 8), 8);
        assert_eq!(groups_in_memory(6, 6, 3), 4);
        assert_eq!(groups_in_memory(30, 15, 15), 16);
        assert_eq!(groups_in_memory(6, 6, 6), 8);
        assert_eq!(groups_in_memory(6, 6, 2), 1);
        assert_eq!(groups_in_memory(18, 6, 2), 1);
    }

    #[test]
    fn numbers_too_large_for_the_format_are_named() {
        let mut net = Net::new(1, [1, 300, 3]);
        let x = net.conv(net.input(), 4, Conv { kernel: [280, 1], ..Conv::square(1, 1, 0) }, true);
        let error = refusal(&net.head(x, 2));
        assert!(error.contains("kernel height is 280, a packed model holds at most 255"), "{error}");
    }
}
