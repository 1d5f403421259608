//! A node of the file becomes constants, nodes of the graph, or nothing: by the function of its operator.

use super::attributes::Attributes;
use super::dequantized::Dequantized;
use super::failure::Failure;
use super::node::NodeReader;
use super::{Importer, fold, integers, ops, quantized, standard};
use crate::ImportError;
use crate::proto::{DataType, GraphProto};

/// Reads node `index` of the file into the importer's graph.
pub(super) fn read(importer: &mut Importer<'_>, graph: &GraphProto, index: usize) -> Result<(), ImportError> {
    let proto = &graph.node[index];
    importer.index = index;
    // The node's own name, or that of its result, or one made of its position.
    let output = proto.output.first().map_or("", String::as_str);
    let name = [proto.name.as_str(), output, "node"].into_iter().find(|name| !name.is_empty()).unwrap_or_default();
    let name = importer.draft.fresh_node(name, index);
    let attributes = Attributes::new(&proto.attribute);
    let mut node = NodeReader { importer, graph, index, proto, name, attributes, named: false };
    read_operator(&mut node).map_err(|failure| failure.of(&node.name, &proto.op_type))
}

/// Computes the node, or adds what it is to the graph.
fn read_operator(node: &mut NodeReader<'_, '_>) -> Result<(), Failure> {
    if !standard(&node.proto.domain) {
        let domain = &node.proto.domain;
        return Err(format!("operators of `{domain}` are not supported; export with standard operators").into());
    }
    node.output(0)?;
    let op_type = node.proto.op_type.as_str();
    let given: Vec<usize> = (0..node.input_count()).filter(|&index| node.has_input(index)).collect();
    let constant = given.iter().all(|&index| node.is_constant(index));
    match fold::find(op_type).filter(|_| constant) {
        Some(fold) => {
            let results = fold(node)?;
            for (index, result) in results.into_iter().enumerate() {
                if let Ok(output) = node.output(index).map(str::to_owned) {
                    node.importer.constants.insert(&output, result);
                    keep_quantization(node, &output);
                }
            }
        }
        None => {
            integers::follow(node)?;
            let kind = quantized::check_integers(node)?;
            ops::find(op_type)?(node)?;
            if let Some(kind) = kind.filter(|_| op_type != "DequantizeLinear") {
                let outputs = node.proto.output.iter().filter(|name| !name.is_empty()).cloned();
                node.importer.integer_kinds.extend(outputs.map(|output| (output, kind)));
            }
        }
    }
    for output in node.proto.output.iter().filter(|name| !name.is_empty()) {
        let known = node.importer.constants.contains(output) || node.importer.features.contains_key(output);
        if !known && node.importer.uses.contains_key(output) {
            return Err(format!("its second result `{output}` is not supported").into());
        }
    }
    Ok(std::mem::replace(&mut node.attributes, Attributes::new(&[])).finish()?)
}

/// Passes on what is known of the integers of a constant operand to the constant `output` that shows them otherwise.
fn keep_quantization(node: &mut NodeReader<'_, '_>, output: &str) {
    let kind = match node.op_type() {
        "Constant" => {
            let tensor = node.proto.attribute.iter().find_map(|attribute| attribute.t.as_ref());
            tensor.and_then(|tensor| DataType::try_from(tensor.data_type).ok())
        }
        "Cast" => {
            let to = node.proto.attribute.iter().find(|attribute| attribute.name == "to");
            to.and_then(|to| to.i).and_then(|to| DataType::try_from(to as i32).ok())
        }
        "QuantizeLinear" => {
            let named = node.proto.attribute.iter().find(|attribute| attribute.name == "output_dtype");
            let named = named.and_then(|named| named.i).and_then(|named| DataType::try_from(named as i32).ok());
            let named = named.filter(|named| *named != DataType::Undefined).unwrap_or(DataType::Uint8);
            Some(if node.has_input(2) { node.kind(2).unwrap_or(named) } else { named })
        }
        "Expand" | "Slice" | "Gather" | "Concat" | "Tile" => {
            node.input(0).ok().and_then(|input| node.importer.constants.kind(input))
        }
        "Identity" | "Reshape" | "Squeeze" | "Unsqueeze" | "Transpose" | "Flatten" => {
            let Ok(input) = node.input(0).map(str::to_owned) else { return };
            if let Some(known) = node.importer.dequantized.get(&input).map(Dequantized::scales_only) {
                node.importer.dequantized.insert(output.into(), known);
            }
            node.importer.constants.kind(&input)
        }
        _ => None,
    };
    if let Some(kind) = kind {
        node.importer.constants.set_kind(output, kind);
    }
}
