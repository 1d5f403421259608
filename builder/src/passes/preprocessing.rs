//! What a network of others does to its input before its first layer, as the normalization of its pixels.

use skipstone_onnx::{Conv, Graph, GraphError, Normalization, Op, ValueId};

/// The same network without a first convolution that only scales and shifts each channel: the normalization in its
/// metadata does that as well. Networks whose files subtract a mean and divide by a deviation begin with one.
///
/// The network stays as it is where there is no such convolution, where others read the input too, where it inverts a
/// channel, or where the metadata has no normalization, or where others quantized it.
///
/// # Errors
/// [`GraphError`] never, unless the graph's rules change.
pub fn absorb_preprocessing(graph: Graph) -> Result<Graph, GraphError> {
    let Some((first, normalization)) = preprocessing(&graph) else { return Ok(graph) };
    let mut absorbed =
        graph.rewrite(|new, node| if node.output == first { new.bypass(node) } else { new.keep(node) })?;
    absorbed.metadata.normalization = Some(normalization);
    Ok(absorbed)
}

/// The result of the first convolution, and the normalization with what it does.
fn preprocessing(graph: &Graph) -> Option<(ValueId, Normalization)> {
    // The file rounds the input as it is.
    if !graph.metadata.quantization.is_empty() {
        return None;
    }
    let outer = graph.metadata.normalization.as_ref()?;
    let readers = &graph.consumers()[graph.input().index()];
    let &[reader] = readers.as_slice() else { return None };
    let node = graph.node(reader);
    let channels = graph.value(graph.input()).dims[0];
    let single = Op::Conv(Conv { groups: channels, ..Conv::square(1, 1, 0) });
    if node.op != single || graph.value(node.output).dims[0] != channels || node.output == graph.output() {
        return None;
    }
    let scale = graph.parameter(node.inputs[1])?.data();
    let shift = node.inputs.get(2).and_then(|&id| graph.parameter(id)).map(|tensor| tensor.data());
    let mut inner = Normalization { mean: Vec::new(), std: Vec::new() };
    for channel in 0..channels {
        // ((x - mean) / std) * scale + shift = (x - (mean - shift * std / scale)) / (std / scale)
        let (mean, std) = (f64::from(outer.mean[channel]), f64::from(outer.std[channel]));
        let by = f64::from(scale[channel]);
        let plus = shift.map_or(0.0, |shift| f64::from(shift[channel]));
        let (mean, std) = ((mean - plus * std / by) as f32, (std / by) as f32);
        if !(by > 0.0 && mean.is_finite() && std.is_finite() && std > 0.0) {
            return None;
        }
        inner.mean.push(mean);
        inner.std.push(std);
    }
    Some((node.output, inner))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autograd;
    use crate::data::Dataset;
    use crate::quant::fixtures::Net;
    use skipstone_onnx::{GraphBuilder, Tensor};

    fn graph(scale: [f32; 2], read_twice: bool) -> Graph {
        let mut builder = GraphBuilder::new("net", "x", [2, 3, 4]).unwrap();
        builder.metadata_mut().normalization = Some(Normalization { mean: vec![0.5, 0.25], std: vec![0.5, 2.0] });
        let scale = builder.parameter("scale", Tensor::new([2, 1, 1, 1], scale.to_vec()).unwrap(), true).unwrap();
        let shift = builder.parameter("shift", Tensor::new([2], vec![-1.0, 0.5]).unwrap(), true).unwrap();
        let conv = Op::Conv(Conv { groups: 2, ..Conv::square(1, 1, 0) });
        let input = builder.input();
        let x = builder.push("pre", conv, &[input, scale, shift]).unwrap();
        let x = builder.push("sum", Op::Add, &[x, if read_twice { input } else { x }]).unwrap();
        let x = builder.push("pool", Op::GlobalAveragePool, &[x]).unwrap();
        let x = builder.push("flat", Op::Flatten, &[x]).unwrap();
        builder.finish(x).unwrap()
    }

    #[test]
    fn normalization_and_preprocessing_are_one() {
        let graph = graph([2.0, 0.5], false);
        let absorbed = absorb_preprocessing(graph.clone()).unwrap();
        assert_eq!(absorbed.nodes().len() + 1, graph.nodes().len());
        let pixels = (0..48).map(|i| (i * 37 % 256) as u8).collect();
        let data = Dataset { dims: [2, 3, 4], pixels, labels: vec![0, 1], class_names: vec![] };
        let scores = |graph: &Graph| {
            let batch = data.batch(&[0, 1], graph.metadata.normalization.as_ref().unwrap());
            autograd::infer(graph, &batch).into_data()
        };
        for (before, after) in scores(&graph).iter().zip(scores(&absorbed)) {
            assert!((before - after).abs() < 1e-5, "{before} became {after}");
        }
    }

    #[test]
    fn what_no_normalization_can_do_stays() {
        for graph in [graph([2.0, 0.5], true), graph([-1.0, 0.5], false), graph([0.0, 1.0], false)] {
            assert_eq!(absorb_preprocessing(graph.clone()).unwrap(), graph);
        }
        let mut net = Net::new(1, [3, 4, 4]);
        let conv = net.conv(net.input(), 3, Conv::square(1, 1, 0), true);
        let graph = net.head(conv, 2);
        assert_eq!(absorb_preprocessing(graph.clone()).unwrap(), graph);
    }
}
