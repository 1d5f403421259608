//! Float networks.

use crate::cli::console::Console;
use crate::cli::failure::Failure;
use crate::cli::model;
use crate::cli::table::{Table, grouped};
use serde::Serialize;
use skipstone_onnx::{Graph, Node};
use std::path::Path;

#[derive(Serialize)]
struct Report<'g> {
    name: &'g str,
    input: &'g [usize],
    classes: usize,
    params: usize,
    macs: u64,
    normalized: bool,
    layers: Vec<Layer<'g>>,
}

#[derive(Serialize)]
struct Layer<'g> {
    name: &'g str,
    op: &'static str,
    output: &'g [usize],
    params: usize,
    macs: u64,
}

/// Prints the layers of the network in `file`.
pub(super) fn inspect(file: &Path, console: &Console) -> Result<(), Failure> {
    let graph = model::import(file)?;
    let layers: Vec<Layer> = graph.nodes().iter().map(|node| layer(&graph, node)).collect();
    let mut table = Table::new(&["layer", "operator", "output", "params", "macs"]);
    for Layer { name, op, output, params, macs } in &layers {
        table.row([(*name).into(), (*op).into(), joined(output), grouped(*params as u64), grouped(*macs)]);
    }
    let report = Report {
        name: &graph.name,
        input: &graph.value(graph.input()).dims,
        classes: graph.value(graph.output()).dims[0],
        params: graph.parameter_count(),
        macs: graph.macs(),
        normalized: graph.metadata.normalization.is_some(),
        layers,
    };
    console.show(&table)?;
    console.show("")?;
    let (params, macs) = (grouped(report.params as u64), grouped(report.macs));
    console.show(format!(
        "{}: {} in, {} classes, {params} parameters, {macs} multiply-accumulates",
        report.name,
        joined(report.input),
        report.classes
    ))?;
    console.show(match &graph.metadata.normalization {
        Some(normalization) => format!(
            "pixels: (x / 255 - {:?}) / {:?}; {}",
            normalization.mean, normalization.std, graph.metadata.preprocessing
        ),
        None => "pixels: the file does not say how they become the input".into(),
    })?;
    if !graph.metadata.class_names.is_empty() {
        console.show(format!("classes: {}", graph.metadata.class_names.join(", ")))?;
    }
    if let Some(command) = &graph.metadata.command {
        console.show(format!("made by: {command}"))?;
    }
    console.result(&report)
}

fn layer<'g>(graph: &'g Graph, node: &'g Node) -> Layer<'g> {
    let trainable = node.inputs.iter().filter_map(|&id| graph.value(id).parameter.as_ref()).filter(|p| p.trainable);
    Layer {
        name: &node.name,
        op: node.op.name(),
        output: &graph.value(node.output).dims,
        params: trainable.map(|parameter| parameter.tensor.data().len()).sum(),
        macs: graph.node_macs(node),
    }
}

fn joined(dims: &[usize]) -> String {
    dims.iter().map(usize::to_string).collect::<Vec<_>>().join("x")
}
