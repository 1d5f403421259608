//! Borders that go on at the other end, which tract's `Pad` does not know, as slices side by side.

use skipstone_onnx::proto::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto};

/// The model with each `Pad` of mode `wrap` whose operands are constants written out.
pub(super) fn written_out(mut model: ModelProto) -> ModelProto {
    let Some(graph) = &mut model.graph else { return model };
    let nodes = std::mem::take(&mut graph.node);
    for (index, node) in nodes.iter().enumerate() {
        match pads(graph, &nodes, node) {
            Some(pads) => write_out(graph, node, index, &pads),
            None => graph.node.push(node.clone()),
        }
    }
    model
}

/// Of a `Pad` that wraps: the axes, and how many elements come before and after.
fn pads(graph: &GraphProto, nodes: &[NodeProto], node: &NodeProto) -> Option<Vec<(i64, i64, i64)>> {
    let mode = node.attribute.iter().find(|attribute| attribute.name == "mode")?;
    if node.op_type != "Pad" || mode.s.as_deref() != Some(b"wrap".as_slice()) {
        return None;
    }
    let constant = |name: &String| {
        let stored = graph.initializer.iter().find(|tensor| tensor.name == *name);
        let made = || nodes.iter().find(|node| node.op_type == "Constant" && node.output.first() == Some(name));
        stored.or_else(|| made()?.attribute.iter().find_map(|attribute| attribute.t.as_ref())).and_then(numbers)
    };
    let pads = constant(node.input.get(1)?)?;
    let axes = match node.input.get(3).filter(|name| !name.is_empty()) {
        Some(axes) => constant(axes)?,
        None => (0..pads.len() as i64 / 2).collect(),
    };
    let (before, after) = pads.split_at_checked(axes.len())?;
    let all = axes.into_iter().zip(before).zip(after).map(|((axis, &before), &after)| (axis, before, after));
    Some(all.filter(|&(_, before, after)| before > 0 || after > 0).collect())
}

/// The elements of a tensor of int64.
fn numbers(tensor: &TensorProto) -> Option<Vec<i64>> {
    let Some(raw) = &tensor.raw_data else { return Some(tensor.int64_data.clone()) };
    let (words, rest) = raw.as_chunks();
    rest.is_empty().then(|| words.iter().map(|word| i64::from_le_bytes(*word)).collect())
}

/// Adds, for each axis, the last elements, all, and the first ones.
fn write_out(graph: &mut GraphProto, node: &NodeProto, index: usize, pads: &[(i64, i64, i64)]) {
    let (Some(mut map), Some(result)) = (node.input.first().cloned(), node.output.first()) else { return };
    for (at, &(axis, before, after)) in pads.iter().enumerate() {
        let mut slice = |which: &str, start: i64, end: i64| {
            let name = format!("wrapped.{index}.{at}.{which}");
            let mut inputs = vec![map.clone()];
            for (what, number) in [("start", start), ("end", end), ("axis", axis)] {
                let operand = format!("{name}.{what}");
                graph.initializer.push(TensorProto::i64(&operand, &[1], &[number]));
                inputs.push(operand);
            }
            graph.node.push(NodeProto::new("Slice", &name, &inputs, &[&name], Vec::new()));
            name
        };
        let last = (before > 0).then(|| slice("last", -before, i64::MAX));
        let first = (after > 0).then(|| slice("first", 0, after));
        let parts: Vec<String> = last.into_iter().chain([map]).chain(first).collect();
        map = if at + 1 == pads.len() { result.clone() } else { format!("wrapped.{index}.{at}") };
        let axis = vec![AttributeProto::int("axis", axis)];
        graph.node.push(NodeProto::new("Concat", &map, &parts, &[&map], axis));
    }
    if pads.is_empty() {
        graph.node.push(NodeProto::new("Identity", result, &[map], &[result], Vec::new()));
    }
}
