//! Files of quantized networks, as others may write them: our engine makes the integers that they define.
//!
//! Each rounded tensor of a file must be one that the engine makes, where every integer is what ONNX's definition
//! gives; of a tie (within what float32 cannot tell) either one, and where weights are rounded anew, within what that
//! explains. `SKIPSTONE_QUANTIZED_CASES` is the number of files that are drawn.

mod draw;
mod layers;
mod machine;

use draw::{Case, Draw};
use machine::{Legal, Machine, Value};
use skipstone::data::Dataset;
use skipstone::host::trace;
use skipstone::pack::{self, Options};
use skipstone::verify::{Layers, to_channels_first};
use skipstone_onnx::proto::{DataType, GraphProto, NodeProto};
use skipstone_onnx::{Normalization, import};
use std::collections::HashSet;
use std::path::Path;

/// Files that are drawn, by default.
const CASES: u64 = 400;

#[derive(Debug, Default)]
struct Counts {
    files: u64,
    /// Files without a weight that is rounded anew.
    exact_files: u64,
    elements: u64,
    /// Elements where two integers are right, and the engine's is not the even one.
    ties: u64,
    /// Elements of which more than two integers are right, since weights are rounded anew.
    wide: u64,
    /// Those of them that are not what the file's weights give.
    reworked: u64,
}

#[test]
fn engine_makes_the_integers_that_drawn_files_define() {
    let cases = std::env::var("SKIPSTONE_QUANTIZED_CASES").map_or(CASES, |text| text.parse().unwrap());
    let mut counts = Counts::default();
    let mut failures = Vec::new();
    for seed in 0..cases {
        if let Err(failure) = check(Draw::new(seed).case(), &mut counts) {
            failures.push(format!("seed {seed}: {failure}"));
        }
    }
    println!("{counts:?}");
    assert!(
        failures.is_empty(),
        "{} of {cases} files:\n{}",
        failures.len(),
        failures[..failures.len().min(40)].join("\n")
    );
    assert!(counts.exact_files * 2 > counts.files, "{counts:?}");
    assert!(counts.ties * 50 < counts.elements, "{counts:?}");
}

/// Small files on which others failed, from `../shared/cases`, where that is.
#[test]
fn engine_makes_the_integers_of_files_of_others() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/cases");
    let mut counts = Counts::default();
    for folder in ["06-qdq-forms", "07-uint8-weights", "08-dead-channel", "21-two-pairs-one-tensor"] {
        let Ok(entries) = std::fs::read_dir(cases.join(folder)) else {
            use std::io::Write;
            let _ = writeln!(std::io::stderr(), "not run: there is no ../shared/cases/{folder}");
            continue;
        };
        let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        files.retain(|file| file.extension().is_some_and(|extension| extension == "onnx"));
        files.sort();
        for file in files {
            let model = import::load(&file).unwrap();
            let graph = model.graph.as_ref().unwrap();
            let is_rounded = graph.node.iter().any(|node| node.op_type.contains("QuantizeLinear"));
            let transposes = graph.node.iter().any(|node| node.op_type == "Transpose");
            // Of 16 bits; of floats; of channels last.
            if graph.initializer.iter().any(|tensor| tensor.data_type == 4) || !is_rounded || transposes {
                continue;
            }
            for seed in 0..4 {
                let mut random = draw::Random::new(seed);
                let pixels = (0..64).map(|_| random.below(256) as u8).collect();
                let case = Case { model: model.clone(), pixels, dims: [1, 8, 8] };
                let checked = check(case, &mut counts);
                checked.unwrap_or_else(|failure| panic!("{}: {failure}", file.display()));
            }
        }
    }
    println!("{counts:?}");
}

fn check(case: Case, counts: &mut Counts) -> Result<(), String> {
    let Case { model, pixels, dims } = case;
    let mut graph = import::from_model(&model).map_err(|error| error.to_string())?;
    // The image as it is.
    graph.metadata.normalization = Some(Normalization { mean: vec![0.0; dims[0]], std: vec![1.0 / 255.0; dims[0]] });
    let images = Dataset { dims, pixels: pixels.clone(), labels: vec![0], class_names: Vec::new() };
    let quantized = pack::quantize(&graph, &images, &Options::default()).map_err(|error| error.to_string())?;
    let traced = trace(&quantized.stone, &pixels).map_err(|error| error.to_string())?;
    let layers = Layers::new(&quantized.qgraph).map_err(|error| error.to_string())?;
    let values = layers.values(std::slice::from_ref(&traced));
    // Channels first; what is after the last row that the engine makes is not known.
    let engine: Vec<Vec<Option<i64>>> = layers
        .tensors()
        .iter()
        .zip(&values)
        .map(|(tensor, values)| {
            let count = tensor.dims.iter().product();
            let mut values: Vec<Option<i64>> = values.iter().map(|&value| Some(value.into())).collect();
            values.resize(count, None);
            to_channels_first(&values, &tensor.dims)
        })
        .collect();
    let graph = model.graph.as_ref().ok_or("no graph")?;
    let mut machine = Machine::default();
    graph.initializer.iter().for_each(|tensor| machine.constant(tensor));
    let [channels, height, width] = dims;
    let image = to_channels_first(&pixels, &dims).iter().map(|&pixel| f64::from(pixel)).collect();
    machine.values.insert(graph.input[0].name.clone(), Value::real(&[1, channels, height, width], image));
    let (mut failure, mut any_wide) = (None, false);
    let mut last = Vec::new();
    for node in live(graph) {
        let shift = if machine.result_kind(node) == Some(DataType::Uint8) { 128 } else { 0 };
        machine.run(node, &mut |name, legal| {
            let Some(chosen) = choose(&engine, legal, shift) else {
                if !limited(graph, name) && failure.is_none() {
                    let nearest = nearest(&engine, legal, shift);
                    failure = Some(format!("no tensor of the engine is `{name}` ({}): {nearest}", node.op_type));
                }
                return None;
            };
            for (legal, &chosen) in legal.iter().zip(&chosen) {
                counts.elements += 1;
                counts.wide += u64::from(legal.wide);
                any_wide |= legal.wide;
                let other = u64::from(chosen != legal.exact);
                *if legal.wide { &mut counts.reworked } else { &mut counts.ties } += other;
            }
            last = chosen.iter().map(|q| q - shift).collect();
            Some(chosen)
        });
    }
    if let Some(failure) = failure {
        return Err(failure);
    }
    let scores: Vec<i64> = traced.scores.iter().map(|&score| score.into()).collect();
    if scores != last {
        return Err(format!("scores are {scores:?}, must be {last:?}"));
    }
    counts.files += 1;
    counts.exact_files += u64::from(!any_wide);
    Ok(())
}

/// Whether all that reads a rounded tensor only limits it: then the engine makes the limited one alone.
fn limited(graph: &GraphProto, name: &str) -> bool {
    let readers = |name: &str| -> Vec<&NodeProto> {
        graph.node.iter().filter(|node| node.input.iter().any(|input| input == name)).collect()
    };
    let limits = |node: &&NodeProto| {
        node.op_type == "DequantizeLinear" && {
            let readers = readers(&node.output[0]);
            !readers.is_empty() && readers.iter().all(|node| ["Relu", "Clip"].contains(&node.op_type.as_str()))
        }
    };
    let readers = readers(name);
    !readers.is_empty() && readers.iter().all(limits)
}

/// The integers of the first tensor of the engine that may be these, in the file's type.
fn choose(engine: &[Vec<Option<i64>>], legal: &[Legal], shift: i64) -> Option<Vec<i64>> {
    let fits = |values: &&Vec<Option<i64>>| {
        values.len() == legal.len()
            && values
                .iter()
                .zip(legal)
                .all(|(value, legal)| value.is_none_or(|value| (legal.lo..=legal.hi).contains(&(value + shift))))
    };
    let found = engine.iter().find(fits)?;
    Some(found.iter().zip(legal).map(|(value, legal)| value.map_or(legal.exact, |value| value + shift)).collect())
}

/// Says how the most similar tensor of the engine differs.
fn nearest(engine: &[Vec<Option<i64>>], legal: &[Legal], shift: i64) -> String {
    let wrong = |values: &Vec<Option<i64>>| {
        let pairs = values.iter().zip(legal).enumerate();
        let wrong = pairs.filter_map(|(index, (value, legal))| {
            let value = (*value)? + shift;
            (!(legal.lo..=legal.hi).contains(&value)).then_some((index, value, *legal))
        });
        wrong.collect::<Vec<_>>()
    };
    let same = engine.iter().filter(|values| values.len() == legal.len());
    match same.map(wrong).min_by_key(Vec::len) {
        None => "none has its size".into(),
        Some(wrong) => format!("{} of {} differ, {:?}", wrong.len(), legal.len(), &wrong[..wrong.len().min(3)]),
    }
}

/// The nodes that the output needs, in order.
fn live(graph: &GraphProto) -> Vec<&NodeProto> {
    let mut needed: HashSet<&str> = graph.output.iter().map(|output| output.name.as_str()).collect();
    let mut nodes: Vec<&NodeProto> = Vec::new();
    for node in graph.node.iter().rev() {
        if node.output.iter().any(|output| needed.contains(output.as_str())) {
            needed.extend(node.input.iter().map(String::as_str));
            nodes.push(node);
        }
    }
    nodes.reverse();
    nodes
}
