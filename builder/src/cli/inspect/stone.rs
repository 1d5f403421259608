//! Packed networks.

use super::boards::{self, PROGRAM_BYTES, STACK_BYTES};
use crate::cli::console::Console;
use crate::cli::failure::Failure;
use crate::cli::packed::Packed;
use crate::cli::table::{Table, grouped};
use serde::Serialize;
use skipstone_runtime::Model;
use skipstone_runtime::format::records::{NONE, Node, OpCode, Tensor, WeightKind};
use std::path::Path;

#[derive(Serialize)]
struct Report<'m> {
    weights_bytes: u64,
    arena_bytes: u64,
    file_bytes: u64,
    macs: u64,
    classes: usize,
    layers: Vec<Layer<'m>>,
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
}

/// Prints layers, memory and fitting boards of the packed network in `file`.
pub(super) fn inspect(file: &Path, console: &Console) -> Result<(), Failure> {
    let packed = Packed::read(file)?;
    let model = packed.model();
    let tensors: Vec<Tensor> = model.tensors().collect();
    let layers: Vec<Layer> = model.nodes().map(|node| layer(&model, &tensors, &node)).collect();
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
    let report = Report {
        weights_bytes: layers.iter().map(|layer| u64::from(layer.weights_bytes)).sum(),
        arena_bytes: model.arena_len() as u64,
        file_bytes: model.as_bytes().len() as u64,
        macs: model.header().macs,
        classes: model.class_count(),
        layers,
    };
    console.say(&table);
    console.say("");
    let input = model.input();
    console.say(format!(
        "image {}x{}x{}, {} classes, {} multiply-accumulates",
        input.height,
        input.width,
        input.channels,
        report.classes,
        grouped(report.macs)
    ));
    console.say(format!(
        "flash: {} bytes, of which weights {}",
        grouped(report.file_bytes),
        grouped(report.weights_bytes)
    ));
    console.say(format!(
        "RAM: an arena of {} bytes, of which scratch {}, counters {}",
        grouped(report.arena_bytes),
        grouped(u64::from(model.header().scratch_len)),
        grouped(2 * report.layers.len() as u64)
    ));
    if let Some(largest) = tensors.iter().max_by_key(|tensor| ring_bytes(tensor)) {
        let name = model.string(largest.name);
        console.say(format!(
            "largest map: {name}, {} bytes in {} rows",
            grouped(ring_bytes(largest)),
            largest.ring_rows
        ));
    }
    if !model.provenance().is_empty() {
        console.say(format!("made by: {}", model.provenance()));
    }
    console.say("");
    console.say(boards::table(report.file_bytes, report.arena_bytes));
    console.say(format!(
        "counting {} KiB of flash for the program and {} KiB of RAM for stack and variables",
        PROGRAM_BYTES / 1024,
        STACK_BYTES / 1024
    ));
    console.result(&report)
}

fn ring_bytes(tensor: &Tensor) -> u64 {
    u64::from(tensor.ring_rows) * u64::from(tensor.row_stride)
}

fn layer<'m>(model: &Model<'m>, tensors: &[Tensor], node: &Node) -> Layer<'m> {
    let [input, output] = [node.input, node.output].map(|index| tensors[usize::from(index)]);
    let size = |tensor: &Tensor| [tensor.height, tensor.width, tensor.channels];
    let conv = OpCode::from_code(node.op) == Some(OpCode::Conv);
    let products = [node.kernel_h.into(), node.kernel_w.into(), input.channels / node.groups.max(1)];
    let macs = size(&output).into_iter().chain(products).map(u64::from).product();
    Layer {
        name: model.string(node.name),
        op: describe(node),
        output: size(&output),
        rows: output.ring_rows,
        offset: output.offset,
        weights: match WeightKind::from_code(node.weight_kind) {
            Some(kind) if conv => kind_name(kind),
            _ => "",
        },
        weights_bytes: node.weights_len,
        macs: if conv { macs } else { 0 },
    }
}

fn describe(node: &Node) -> String {
    let residual = if node.operand == NONE { "" } else { " + residual" };
    match OpCode::from_code(node.op) {
        Some(OpCode::Conv) => {
            let stride = if node.stride_h > 1 { format!(" / {}", node.stride_h) } else { String::new() };
            let affine = if node.prologue == 0 { "" } else { "affine + " };
            format!("{affine}conv {}x{}{stride}{residual}", node.kernel_h, node.kernel_w)
        }
        Some(OpCode::Add) => "add".into(),
        Some(OpCode::GlobalAveragePool) => "global average pool".into(),
        Some(OpCode::Shortcut) => format!("shortcut / {}", node.stride_h),
        Some(OpCode::Affine) => "affine".into(),
        Some(OpCode::MaxPool) => format!("max pool {}x{} / {}", node.kernel_h, node.kernel_w, node.stride_h),
        Some(OpCode::AveragePool) => format!("average pool {}x{} / {}", node.kernel_h, node.kernel_w, node.stride_h),
        Some(OpCode::Lookup) => "lookup".into(),
        Some(OpCode::Gate) => "gate".into(),
        Some(OpCode::Resize) => "resize".into(),
        Some(OpCode::Concat) => "concat".into(),
        None => format!("operator {}", node.op),
    }
}

fn kind_name(kind: WeightKind) -> &'static str {
    match kind {
        WeightKind::Canonical => "canonical",
        WeightKind::Pairs => "pairs",
    }
}
