//! Scaling and shifting that an imported network does to its input, turned into the normalization of its pixels.

use crate::session::batch_norm_affine;
use skipstone_onnx::{Conv, Graph, GraphError, Node, Normalization, Op, QuantParams, ValueId};

/// How far a pixel may lie beyond a limit that does not limit it, or from the step that it is rounded to, in parts of
/// the largest one: what float32 errs.
const TOLERANCE: f64 = 1e-6;

/// The same network without operators on its input that only scale and shift each channel, or limit what no pixel
/// exceeds: the normalization in its metadata does that as well. Networks whose files subtract a mean and divide by a
/// deviation begin so.
///
/// The network stays as it is where there is no such operator, where others read the input too, where it inverts a
/// channel, where the metadata has no normalization, or where others quantized it and their rounding of a pixel would
/// be another.
///
/// # Errors
/// [`GraphError`] never, unless the graph's rules change.
pub fn absorb_preprocessing(mut graph: Graph) -> Result<Graph, GraphError> {
    while let Some((first, normalization, rounding)) = preprocessing(&graph) {
        let input = graph.value(graph.input()).name.clone();
        let result = graph.value(first).name.clone();
        graph = graph.rewrite(|new, node| if node.output == first { new.bypass(node) } else { new.keep(node) })?;
        graph.metadata.normalization = Some(normalization);
        let activations = &mut graph.metadata.quantization.activations;
        activations.remove(&result);
        match rounding {
            Some(rounding) => activations.insert(input, rounding),
            None => activations.remove(&input),
        };
    }
    Ok(graph)
}

/// The result of the first operator, the normalization with what it does, and how that is rounded.
fn preprocessing(graph: &Graph) -> Option<(ValueId, Normalization, Option<QuantParams>)> {
    let outer = graph.metadata.normalization.as_ref()?;
    let readers = &graph.consumers()[graph.input().index()];
    let &[reader] = readers.as_slice() else { return None };
    let node = graph.node(reader);
    if node.output == graph.output() {
        return None;
    }
    let channels = graph.value(graph.input()).dims[0];
    let (functions, changes): (Vec<Function>, bool) = match node.op {
        Op::Relu => (vec![Function::limits(0.0, f32::INFINITY); channels], false),
        Op::Clip { min, max } => (vec![Function::limits(min, max); channels], false),
        _ => (affine(graph, node)?, true),
    };
    let known = |id: ValueId| graph.metadata.quantization.activations.get(&graph.value(id).name).copied();
    let (before, after) = (known(graph.input()), known(node.output));
    let mut inner = Normalization { mean: Vec::new(), std: Vec::new() };
    for (channel, function) in functions.iter().enumerate() {
        let (mean, std) = (f64::from(outer.mean[channel]), f64::from(outer.std[channel]));
        let pixels: Vec<f64> = (0..256).map(|pixel| (f64::from(pixel) / 255.0 - mean) / std).collect();
        let slack = TOLERANCE * pixels.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
        let limited = pixels.iter().any(|&x| x < function.lo - slack || x > function.hi + slack);
        if limited || !pixels.iter().all(|&x| keeps(function, before, after, x, slack)) {
            return None;
        }
        // ((x - mean) / std) * scale + shift = (x - (mean - shift * std / scale)) / (std / scale)
        let (mean, std) = ((mean - function.shift * std / function.scale) as f32, (std / function.scale) as f32);
        if !(function.scale > 0.0 && mean.is_finite() && std.is_finite() && std > 0.0) {
            return None;
        }
        inner.mean.push(mean);
        inner.std.push(std);
    }
    let rounding = if changes { after } else { after.or(before) };
    Some((node.output, if changes { inner } else { outer.clone() }, rounding))
}

/// What an operator does to a channel: `x * scale + shift`, of an `x` between `lo` and `hi`.
#[derive(Clone, Copy)]
struct Function {
    scale: f64,
    shift: f64,
    lo: f64,
    hi: f64,
}

impl Function {
    fn limits(lo: f32, hi: f32) -> Self {
        Self { scale: 1.0, shift: 0.0, lo: lo.into(), hi: hi.into() }
    }

    fn affine(scale: f64, shift: f64) -> Self {
        Self { scale, shift, lo: f64::NEG_INFINITY, hi: f64::INFINITY }
    }
}

/// The functions of a convolution of single pixels and channels, or of a batch normalization.
fn affine(graph: &Graph, node: &Node) -> Option<Vec<Function>> {
    let channels = graph.value(graph.input()).dims[0];
    let operand = |index: usize| node.inputs.get(index).and_then(|&id| graph.parameter(id)).map(|tensor| tensor.data());
    let single = Op::Conv(Conv { groups: channels, ..Conv::square(1, 1, 0) });
    if node.op == single && graph.value(node.output).dims[0] == channels {
        let (scale, shift) = (operand(1)?, operand(2));
        let shift = |channel: usize| shift.map_or(0.0, |shift| f64::from(shift[channel]));
        return Some((0..channels).map(|channel| Function::affine(scale[channel].into(), shift(channel))).collect());
    }
    let Op::BatchNorm { .. } = node.op else { return None };
    let (scale, shift) = batch_norm_affine(graph, node);
    Some(scale.into_iter().zip(shift).map(|(scale, shift)| Function::affine(scale, shift)).collect())
}

/// Whether a normalized pixel becomes the same without being rounded `before` the function: the same integer where it
/// is rounded `after` it, and the same number where it is not.
fn keeps(function: &Function, before: Option<QuantParams>, after: Option<QuantParams>, x: f64, slack: f64) -> bool {
    let Some(before) = before else { return true };
    let apply = |x: f64| x * function.scale + function.shift;
    let steps = |rounding: QuantParams, x: f64| {
        ((x / f64::from(rounding.scale)).round_ties_even() + f64::from(rounding.zero_point)).clamp(-128.0, 127.0)
    };
    let rounded = (steps(before, x) - f64::from(before.zero_point)) * f64::from(before.scale);
    match after {
        Some(after) => steps(after, apply(rounded)) == steps(after, apply(x)),
        None => (rounded - x).abs() <= slack,
    }
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
            let batch = data.batch_for(graph, &[0, 1]);
            autograd::infer(graph, &batch).into_data()
        };
        for (before, after) in scores(&graph).iter().zip(scores(&absorbed)) {
            assert!((before - after).abs() < 1e-5, "{before} became {after}");
        }
    }

    /// Raw pixels of one channel, `op` on them, a convolution; rounded as `roundings` say of the image and of the
    /// result.
    fn rounded(op: Op, constants: &[(&str, Tensor)], roundings: [Option<QuantParams>; 2]) -> Graph {
        let mut builder = GraphBuilder::new("net", "x", [1, 3, 4]).unwrap();
        builder.metadata_mut().normalization = Some(Normalization { mean: vec![0.0], std: vec![1.0 / 255.0] });
        let mut inputs = vec![builder.input()];
        for (name, tensor) in constants {
            inputs.push(builder.parameter(*name, tensor.clone(), true).unwrap());
        }
        let x = builder.push_named("pre", op, &inputs, "y").unwrap();
        let weight = builder.parameter("weight", Tensor::new([2, 1, 3, 4], vec![0.5; 24]).unwrap(), true).unwrap();
        let x = builder.push("conv", Op::Conv(Conv { kernel: [3, 4], ..Conv::square(1, 1, 0) }), &[x, weight]).unwrap();
        let x = builder.push("flat", Op::Flatten, &[x]).unwrap();
        let mut graph = builder.finish(x).unwrap();
        for (name, rounding) in ["x", "y"].into_iter().zip(roundings) {
            rounding.map(|rounding| graph.metadata.quantization.activations.insert(name.into(), rounding));
        }
        graph
    }

    #[test]
    fn limits_that_no_pixel_exceeds_go() {
        let clip = |min, max| rounded(Op::Clip { min, max }, &[], [None; 2]);
        for graph in [clip(0.0, 255.0), clip(f32::NEG_INFINITY, 300.0), rounded(Op::Relu, &[], [None; 2])] {
            let absorbed = absorb_preprocessing(graph.clone()).unwrap();
            assert_eq!(absorbed.nodes().len() + 1, graph.nodes().len());
            assert_eq!(absorbed.metadata, graph.metadata);
        }
        for graph in [clip(0.0, 254.0), clip(1.0, 255.0)] {
            assert_eq!(absorb_preprocessing(graph.clone()).unwrap(), graph);
        }
    }

    #[test]
    fn batch_normalization_of_the_image_is_its_normalization() {
        let vector = |x: f32| Tensor::new([1], vec![x]).unwrap();
        let constants =
            [("gamma", vector(2.0)), ("beta", vector(0.5)), ("mean", vector(51.0)), ("variance", vector(99.0))];
        let absorbed = absorb_preprocessing(rounded(Op::BatchNorm { epsilon: 1.0 }, &constants, [None; 2])).unwrap();
        let Normalization { mean, std } = absorbed.metadata.normalization.unwrap();
        // (255 p - 51) / 10 * 2 + 0.5 of a pixel p between 0 and 1.
        assert!((mean[0] - (0.2 - 0.5 / 51.0)).abs() < 1e-6 && (std[0] - 1.0 / 51.0).abs() < 1e-6, "{mean:?} {std:?}");
    }

    #[test]
    fn a_rounding_that_loses_nothing_goes_and_that_of_the_result_stays() {
        let step = |scale: f32, zero_point: i8| Some(QuantParams { scale, zero_point });
        let scale = || [("scale", Tensor::new([1, 1, 1, 1], vec![1.0 / 255.0]).unwrap())];
        let conv = || Op::Conv(Conv::square(1, 1, 0));
        for (roundings, kept) in [
            ([step(1.0, -128), step(1.0 / 255.0, -128)], step(1.0 / 255.0, -128)),
            ([step(1.0, -128), None], None),
            ([None, step(0.01, 0)], step(0.01, 0)),
        ] {
            let absorbed = absorb_preprocessing(rounded(conv(), &scale(), roundings)).unwrap();
            assert_eq!(absorbed.nodes().len(), 2, "{roundings:?}");
            let activations = &absorbed.metadata.quantization.activations;
            assert_eq!((activations.get("x").copied(), activations.get("y")), (kept, None), "{roundings:?}");
        }
        // Pixels in steps of two are other pixels.
        for roundings in [[step(2.0, -128), step(1.0 / 255.0, -128)], [step(2.0, -128), None]] {
            let graph = rounded(conv(), &scale(), roundings);
            assert_eq!(absorb_preprocessing(graph.clone()).unwrap(), graph);
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
