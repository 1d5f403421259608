//! Copied rows and columns around a map, in terms of operators that have an integer form.

use skipstone_onnx::{Border, BorderPad, Graph, GraphError, Node, Op, Pad, Slice, ValueId};

/// The same network with each [`Op::BorderPad`] as a sum of maps that have zeros where others do not: the map itself, and
/// each row and column that is copied. All have the scale of the map, so that integers are copied too.
///
/// # Errors
/// [`GraphError`] never, unless the graph's rules change.
pub fn spell_out_borders(graph: &Graph) -> Result<Graph, GraphError> {
    graph.rewrite(|new, node| {
        let Op::BorderPad(pad) = &node.op else { return new.keep(node) };
        let [channels, height, width] = map_dims(graph, node.inputs[0]);
        let mut x = new.value(node.inputs[0])?;
        let mut dims = [channels, height, width];
        let mut left = pad.pads.iter().sum::<usize>();
        if left == 0 {
            return new.bypass(node);
        }
        for (axis, what) in [(1, "row"), (2, "column")] {
            let lines = lines(pad, axis, dims[axis]);
            if lines.is_empty() {
                continue;
            }
            let zeros = |before: usize, after: usize| {
                let mut pad = Pad { before: [0; 3], after: [0; 3] };
                (pad.before[axis], pad.after[axis]) = (before, after);
                Op::Pad(pad)
            };
            let total = dims[axis] + lines.len();
            let first = pad.pads[axis - 1];
            let mut sum = new.add(&format!("{}.{what}s", node.name), zeros(first, total - first - dims[axis]), &[x])?;
            for (at, source) in lines {
                let mut line = Slice { start: [0; 3], end: dims, step: [1; 3] };
                (line.start[axis], line.end[axis]) = (source, source + 1);
                let name = format!("{}.{what}{at}", node.name);
                let line = new.add(&format!("{name}.copy"), Op::Slice(line), &[x])?;
                let line = new.add(&format!("{name}.placed"), zeros(at, total - at - 1), &[line])?;
                left -= 1;
                if left == 0 {
                    return new.push(&Node { op: Op::Add, ..node.clone() }, &[sum, line], node.output);
                }
                sum = new.add(&name, Op::Add, &[sum, line])?;
            }
            (x, dims[axis]) = (sum, total);
        }
        unreachable!("the last line is the result")
    })
}

/// The places of the result's rows (or columns) that are copies, and which of `size` ones each is a copy of.
fn lines(pad: &BorderPad, axis: usize, size: usize) -> Vec<(usize, usize)> {
    let (before, after) = (pad.pads[axis - 1], pad.pads[axis + 1]);
    let places = (0..before).chain(before + size..before + size + after);
    places.map(|at| (at, Border::source(pad.border, at, before, size))).collect()
}

fn map_dims(graph: &Graph, value: ValueId) -> [usize; 3] {
    graph.value(value).dims.as_slice().try_into().expect("the graph's builder saw a map")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autograd;
    use crate::quant::fixtures::{Net, random_images};
    use crate::quant::{Settings, quantize};
    use skipstone_onnx::{Conv, Window};

    fn network(pads: [usize; 4], border: Border) -> Graph {
        let mut net = Net::new(3, [3, 6, 5]);
        let x = net.conv(net.input(), 4, Conv::square(3, 1, 1), true);
        let x = net.push(Op::BorderPad(BorderPad { pads, border }), &[x]);
        let x = net.push(Op::MaxPool(Window::square(2, 1, 0)), &[x]);
        net.head(x, 3)
    }

    #[test]
    fn the_sum_of_copies_is_the_padded_map() {
        for border in [Border::Reflect, Border::Edge] {
            for pads in [[1; 4], [0, 2, 0, 0], [3, 0, 0, 1], [0; 4]] {
                let graph = network(pads, border);
                let spelled = spell_out_borders(&graph).unwrap();
                assert!(!spelled.nodes().iter().any(|node| matches!(node.op, Op::BorderPad(_))));
                let images = random_images(&graph, 2, 1).batch(&[0, 1], graph.metadata.normalization.as_ref().unwrap());
                let scores = [&graph, &spelled].map(|graph| autograd::infer(graph, &images));
                assert_eq!(scores[0].data(), scores[1].data(), "{border:?} {pads:?}");
            }
        }
    }

    #[test]
    fn copies_have_the_integers_of_the_map() {
        let graph = network([1; 4], Border::Reflect);
        let qgraph = quantize(&graph, &random_images(&graph, 8, 1), &Settings::default()).unwrap().qgraph;
        let scales: Vec<(f32, i8)> = qgraph
            .nodes
            .iter()
            .filter(|node| ["Add", "Copy"].contains(&node.op.name()))
            .map(|node| &qgraph.tensors[node.output])
            .map(|tensor| (tensor.scale, tensor.zero_point))
            .collect();
        assert!(scales.len() > 8 && scales.iter().all(|scale| *scale == scales[0]), "{scales:?}");
    }
}
