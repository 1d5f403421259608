//! Packed networks.

use super::boards::{self, OnBoard};
use super::kernels::{self, Kernel};
use super::{arena, svg};
use crate::cli::console::Console;
use crate::cli::failure::Failure;
use crate::cli::framing;
use crate::cli::outputs;
use crate::cli::packed::Packed;
use crate::cli::table::{Table, grouped};
use crate::files;
use crate::pack::{PackError, Problem, reasons};
use crate::plan::{Timeline, layer_by_layer_bytes};
use crate::target::{Need, STACK_BYTES, packed_for};
use serde::Serialize;
use skipstone_runtime::Model;
use skipstone_runtime::format::records::{NONE, Node, OpCode, Tensor};
use skipstone_runtime::kernels::layout;
use skipstone_runtime::schedule::Network;
use std::path::Path;

#[derive(Serialize)]
struct Report<'m> {
    weights_bytes: u64,
    arena_bytes: u64,
    file_bytes: u64,
    /// Bytes of the arena that hold feature maps.
    map_bytes: u64,
    /// Bytes of feature maps of the best plan that runs one layer after the other.
    layer_by_layer_bytes: u64,
    peak: Peak<'m>,
    macs: u64,
    classes: usize,
    /// The core that the weights are laid out for.
    core: &'static str,
    /// Images in the file with what the host makes of them, and the bytes that they take.
    test_vectors: usize,
    test_vector_bytes: usize,
    layers: Vec<Layer<'m>>,
    boards: Vec<OnBoard>,
    /// Of all convolutions, estimated.
    estimated_instructions: u64,
}

/// When most bytes are alive.
#[derive(Serialize)]
struct Peak<'m> {
    /// The layer that runs then.
    node: &'m str,
    bytes: u64,
    /// The largest tensor then, and what its rows take.
    tensor: String,
    tensor_bytes: u64,
}

#[derive(Serialize)]
struct Layer<'m> {
    name: &'m str,
    op: String,
    /// Height, width, channels, those added for alignment included.
    output: [u16; 3],
    /// Rows of the output that the arena keeps.
    rows: u16,
    /// Arena offset of the output.
    offset: u32,
    weights: &'static str,
    weights_bytes: u32,
    /// As the device executes them: channels added for alignment included.
    macs: u64,
    /// Of a convolution.
    #[serde(flatten)]
    kernel: Option<Kernel>,
}

/// Prints layers, memory and fitting boards of the packed network in `file`.
pub(super) fn inspect(file: &Path, picture: Option<&Path>, console: &Console) -> Result<(), Failure> {
    if let Some(picture) = picture {
        outputs::check_file(picture)?;
    }
    let packed = Packed::read(file)?;
    let model = packed.model();
    let tensors: Vec<Tensor> = model.tensors().to_vec();
    let mut layers: Vec<Layer> = model.nodes().iter().map(|node| layer(&model, &tensors, node)).collect();
    for reason in reasons(&Problem::of_model(&model), &model).map_err(PackError::Plan)? {
        layers[reason.node].kernel = Some(Kernel::new(&reason));
    }
    let mut table = Table::new(&["layer", "operator", "output", "rows kept", "at", "weights", "bytes", "macs"]);
    for layer in &layers {
        let [height, width, channels] = layer.output;
        table.row([
            layer.name.into(),
            layer.op.clone(),
            format!("{height}x{width}x{channels}"),
            layer.rows.to_string(),
            layer.offset.to_string(),
            layer.weights.into(),
            grouped(u64::from(layer.weights_bytes)),
            grouped(layer.macs),
        ]);
    }
    let timeline = Timeline::new(&model);
    let largest = timeline.peak_region();
    let report = Report {
        map_bytes: timeline.regions.iter().map(|region| (region.offset + region.bytes) as u64).max().unwrap_or(0),
        layer_by_layer_bytes: layer_by_layer_bytes(&model) as u64,
        peak: Peak {
            node: model.string(model.node(timeline.peak_node).name),
            bytes: timeline.peak_bytes as u64,
            tensor: largest.map_or(String::new(), |region| arena::name(&model, region)),
            tensor_bytes: largest.map_or(0, |region| region.bytes as u64),
        },
        weights_bytes: layers.iter().map(|layer| u64::from(layer.weights_bytes)).sum(),
        arena_bytes: model.arena_len() as u64,
        file_bytes: model.as_bytes().len() as u64,
        macs: model.header().macs,
        classes: model.class_count(),
        core: packed_for(&model).name(),
        test_vectors: model.test_vectors().len(),
        test_vector_bytes: model.as_bytes().len() - model.bytes_before_test_vectors().len(),
        estimated_instructions: layers.iter().filter_map(|layer| layer.kernel.as_ref()).map(Kernel::instructions).sum(),
        layers,
        boards: boards::on_boards(&model),
    };
    console.show(&table)?;
    console.show("")?;
    let of_layers =
        report.layers.iter().filter_map(|layer| Some((layer.name, layer.weights_bytes, layer.kernel.as_ref()?)));
    console.show(kernels::table(of_layers))?;
    console.show(format!(
        "convolutions: about {} instructions; the next better kernel takes so much more and saves so many",
        grouped(report.estimated_instructions)
    ))?;
    console.show("")?;
    let input = model.input();
    console.show(format!(
        "image {}x{}x{}, {} classes, {} multiply-accumulates",
        input.height,
        input.width,
        input.channels,
        report.classes,
        grouped(report.macs)
    ))?;
    let (means, deviations): (Vec<f32>, Vec<f32>) = model.normalization().unzip();
    let preprocessing = framing::of_graph(&model.preprocessing());
    console.show(format!("pixels: (x / 255 - {means:?}) / {deviations:?}; {preprocessing}"))?;
    console.show(format!(
        "flash: {} bytes, of which weights {}",
        grouped(report.file_bytes),
        grouped(report.weights_bytes)
    ))?;
    console.show(match report.test_vectors {
        0 => "test vectors: none".into(),
        count => format!("test vectors: {count}, {} bytes", grouped(report.test_vector_bytes as u64)),
    })?;
    console.show(format!("packed for: {}", report.core))?;
    console.show(format!(
        "RAM: an arena of {} bytes, of which scratch {}, counters {}",
        grouped(report.arena_bytes),
        grouped(u64::from(model.header().scratch_len)),
        grouped(2 * report.layers.len() as u64)
    ))?;
    console.show(format!(
        "feature maps: {} bytes, layer by layer {}; most are alive in {}: {} bytes",
        grouped(report.map_bytes),
        grouped(report.layer_by_layer_bytes),
        report.peak.node,
        grouped(report.peak.bytes)
    ))?;
    console.show(format!("the peak is set by {} ({} bytes)", report.peak.tensor, grouped(report.peak.tensor_bytes)))?;
    if !model.provenance().is_empty() {
        console.show(format!("made by: {}", model.provenance()))?;
    }
    console.show("")?;
    console.show(arena::text(&model, &timeline))?;
    console.show("")?;
    console.show(boards::table(&report.boards))?;
    console.show(format!(
        "counting {} KiB of flash for the program and {} KiB of RAM for stack and variables, and what a board's HAL takes",
        Need::of(&model).program_bytes.div_ceil(1024),
        STACK_BYTES / 1024
    ))?;
    if let Some(picture) = picture {
        let title = file.file_name().unwrap_or_default().to_string_lossy();
        files::write(picture, svg::picture(&model, &timeline, &title).as_bytes())?;
    }
    console.result(&report)
}

fn layer<'m>(model: &Model<'m>, tensors: &[Tensor], node: &Node) -> Layer<'m> {
    let [input, output] = [node.input, node.output].map(|index| tensors[usize::from(index)]);
    let size = |tensor: &Tensor| [tensor.height, tensor.width, tensor.channels];
    let conv = OpCode::from_code(node.op) == Some(OpCode::Conv);
    Layer {
        name: model.string(node.name),
        op: describe(node),
        output: size(&output),
        rows: output.ring_rows,
        offset: output.offset,
        weights: if conv { layout::from_code(node.layout).map_or("", |packing| packing.layout.name) } else { "" },
        weights_bytes: node.weights_len,
        macs: macs(node, &input, &output),
        kernel: None,
    }
}

/// Multiply-accumulates as the device executes them: channels added for alignment included.
pub(in crate::cli) fn macs(node: &Node, input: &Tensor, output: &Tensor) -> u64 {
    if OpCode::from_code(node.op) != Some(OpCode::Conv) {
        return 0;
    }
    let results = [output.height, output.width, output.channels];
    let products = [node.kernel_h.into(), node.kernel_w.into(), input.channels / node.groups.max(1)];
    results.into_iter().chain(products).map(u64::from).product()
}

/// What a node computes, in a few words.
pub(in crate::cli) fn describe(node: &Node) -> String {
    let residual = if node.operand == NONE { "" } else { " + residual" };
    match OpCode::from_code(node.op) {
        Some(OpCode::Conv) => {
            let stride = if node.stride_h > 1 { format!(" / {}", node.stride_h) } else { String::new() };
            let affine = if node.prologue == 0 { "" } else { "affine + " };
            format!("{affine}conv {}x{}{stride}{residual}", node.kernel_h, node.kernel_w)
        }
        Some(OpCode::Add) => "add".into(),
        Some(OpCode::Copy) => format!("copy / {}", node.stride_h),
        Some(OpCode::MaxPool) => format!("max pool {}x{} / {}", node.kernel_h, node.kernel_w, node.stride_h),
        Some(OpCode::AveragePool) => format!("average pool {}x{} / {}", node.kernel_h, node.kernel_w, node.stride_h),
        Some(OpCode::Concat) => "concat".into(),
        Some(other) => other.name().into(),
        None => format!("operator {}", node.op),
    }
}
