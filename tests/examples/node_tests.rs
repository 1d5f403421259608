//! Runs the ONNX project's tests of single operators: each model is imported, executed in float, and compared.
//!
//! The tests are folders of `model.onnx` and `test_data_set_0/{input,output}_I.pb`, as the Python package `onnx` up to
//! 1.22 carries them in `onnx/backend/test/data/node`. An operand that is not the first is made a constant, and the
//! result is flattened, because a graph ends in a vector.
//!
//! Usage: `cargo run -p skipstone-tests --example node_tests -- FOLDER`

use skipstone::autograd;
use skipstone::tensor::Tensor;
use skipstone_onnx::proto::{
    AttributeProto, DataType, Dim, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto,
};
use skipstone_onnx::{Ending, import};
use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;

/// Largest difference, in proportion to the expected number where that is above 1.
const TOLERANCE: f32 = 1e-3;

/// How a test ended.
enum Outcome {
    Passed,
    Refused(String),
    Wrong(String),
}

/// Passed, refused and wrong tests of an operator.
#[derive(Default)]
struct Count {
    passed: usize,
    refused: BTreeMap<String, Vec<String>>,
    wrong: Vec<String>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args_os().nth(1).ok_or("usage: node_tests FOLDER")?;
    let mut folders: Vec<_> =
        std::fs::read_dir(folder)?.map(|entry| entry.map(|e| e.path())).collect::<Result<_, _>>()?;
    folders.sort();
    let mut counts: BTreeMap<String, Count> = BTreeMap::new();
    for folder in folders.iter().filter(|folder| folder.join("model.onnx").is_file()) {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let model = ModelProto::from_bytes(&std::fs::read(folder.join("model.onnx"))?)?;
        let Some(graph) = &model.graph else { continue };
        let Some(node) = graph.node.first() else { continue };
        let key = if graph.node.len() == 1 { node.op_type.clone() } else { "(several)".into() };
        let outcome = run(folder, model)?;
        let count = counts.entry(key).or_default();
        match outcome {
            Outcome::Passed => count.passed += 1,
            Outcome::Refused(reason) => count.refused.entry(reason).or_default().push(name),
            Outcome::Wrong(how) => count.wrong.push(format!("{name}: {how}")),
        }
    }
    report(&counts);
    Ok(())
}

fn report(counts: &BTreeMap<String, Count>) {
    let refused = |count: &Count| count.refused.values().map(Vec::len).sum::<usize>();
    for (op, count) in counts {
        let unknown = count.refused.keys().all(|reason| reason.starts_with("the operator is not supported"));
        if count.passed == 0 && count.wrong.is_empty() && unknown {
            continue;
        }
        println!("{op}: {} passed, {} refused, {} wrong", count.passed, refused(count), count.wrong.len());
        for (reason, names) in &count.refused {
            println!("    refused {}: {reason} ({})", names.len(), names[0]);
        }
        for wrong in &count.wrong {
            println!("    WRONG {wrong}");
        }
    }
    let sum = |of: fn(&Count) -> usize| counts.values().map(of).sum::<usize>();
    let total = |of: &dyn Fn(&Count) -> usize| counts.values().map(of).sum::<usize>();
    println!("{} passed, {} refused, {} wrong", sum(|c| c.passed), total(&refused), sum(|c| c.wrong.len()));
}

fn tensor(path: &Path) -> Result<Option<TensorProto>, Box<dyn Error>> {
    Ok(if path.is_file() { Some(TensorProto::from_bytes(&std::fs::read(path)?)?) } else { None })
}

fn floats(tensor: &TensorProto) -> Option<Vec<f32>> {
    if tensor.data_type() != DataType::Float {
        return None;
    }
    let Some(raw) = &tensor.raw_data else { return Some(tensor.float_data.clone()) };
    Some(raw.as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect())
}

fn run(folder: &Path, mut model: ModelProto) -> Result<Outcome, Box<dyn Error>> {
    let data = folder.join("test_data_set_0");
    let Some(graph) = &mut model.graph else { return Ok(Outcome::Refused("it holds no graph".into())) };
    // Which operand is the image: the first.
    for (index, info) in graph.input.clone().iter().enumerate().skip(1) {
        let Some(constant) = tensor(&data.join(format!("input_{index}.pb")))? else {
            return Ok(Outcome::Refused("an operand is no tensor".into()));
        };
        graph.initializer.push(TensorProto { name: info.name.clone(), ..constant });
    }
    let (Some(input), Some(expected)) = (tensor(&data.join("input_0.pb"))?, tensor(&data.join("output_0.pb"))?) else {
        return Ok(Outcome::Refused("it has no data".into()));
    };
    let (Some(image), Some(output)) = (graph.input.first(), graph.output.first()) else {
        return Ok(Outcome::Refused("it has no input or output".into()));
    };
    let name = output.name.clone();
    let dims: Vec<usize> = input.dims.iter().map(|&dim| dim as usize).collect();
    let last = |dims: &[i64]| dims.iter().skip(1).filter(|&&dim| dim != 1).count();
    if dims.len() < 4 || last(&expected.dims) > 1 {
        // The whole tensor is one image's, unless there are more images.
        let flatten = vec![AttributeProto::int("axis", i64::from(dims.len() == 4))];
        graph.node.push(NodeProto::new("Flatten", "skipstone.flat", &[&name], &["skipstone.flat"], flatten));
        graph.output = vec![ValueInfoProto::tensor("skipstone.flat", DataType::Float, &[])];
    } else {
        graph.output.truncate(1);
    }
    let image = image.name.clone();
    let dims = match pin(graph, &image, &dims) {
        Some(dims) => dims,
        None => return Ok(Outcome::Refused("its input is no tensor of up to 4 dimensions".into())),
    };
    let imported = match import::read(&model) {
        Ok(imported) => imported,
        Err(error) => {
            let text = error.to_string();
            let reason = text.split_once("): ").map_or(text.as_str(), |(_, reason)| reason);
            return Ok(Outcome::Refused(reason.into()));
        }
    };
    let (Some(pixels), Some(expected)) = (floats(&input), floats(&expected)) else {
        return Ok(Outcome::Refused("its data are no float32".into()));
    };
    let &[count, a, b, c] = dims.as_slice() else { return Ok(Outcome::Wrong("imported, but is no image".into())) };
    let image = if imported.channels_last {
        Tensor::new([count, a, b, c], pixels)
    } else {
        let area = b * c;
        let place = |i: usize| (i / (a * area)) * a * area + i % a * area + i / a % area;
        Tensor::new([count, b, c, a], (0..pixels.len()).map(|i| pixels[place(i)]).collect())
    };
    let mut scores = autograd::infer(&imported.graph, &image).into_data();
    finish(&mut scores, count, imported.ending);
    if scores.len() != expected.len() {
        return Ok(Outcome::Wrong(format!("{} numbers for {}", scores.len(), expected.len())));
    }
    let difference = scores.iter().zip(&expected).map(|(a, b)| (a - b).abs() / b.abs().max(1.0)).fold(0.0, f32::max);
    Ok(if difference <= TOLERANCE { Outcome::Passed } else { Outcome::Wrong(format!("differs by {difference}")) })
}

/// Gives the input the dimensions of its data, which it also gives; where these are fewer than an image has, of an
/// image that a first node reshapes.
fn pin(graph: &mut GraphProto, name: &str, dims: &[usize]) -> Option<Vec<usize>> {
    let info = graph.input.iter_mut().find(|info| info.name == name)?;
    let kind = info.r#type.as_ref()?.tensor_type.as_ref()?.elem_type();
    let &[a, b, c] = [dims, &[1, 1, 1]].concat().get(..3)?.first_chunk::<3>()?;
    let image = if let &[count, a, b, c] = dims { [count, a, b, c] } else { [1, a, b, c] };
    let fixed: Vec<Dim> = image.iter().map(|&dim| Dim::Fixed(dim)).collect();
    *info = ValueInfoProto::tensor(name, kind, &fixed);
    if dims.len() > 4 {
        return None;
    }
    if dims.len() < 4 {
        info.name = "skipstone.image".into();
        let sizes: Vec<i64> = dims.iter().map(|&dim| dim as i64).collect();
        graph.initializer.push(TensorProto::i64("skipstone.shape", &[sizes.len()], &sizes));
        let inputs = ["skipstone.image", "skipstone.shape"];
        graph.node.insert(0, NodeProto::new("Reshape", "skipstone.reshape", &inputs, &[name], vec![]));
    }
    Some(image.to_vec())
}

/// What the file's last node makes of the scores.
fn finish(scores: &mut [f32], count: usize, ending: Ending) {
    if ending == Ending::Scores {
        return;
    }
    let classes = scores.len() / count;
    for scores in scores.chunks_exact_mut(classes) {
        let sum: f32 = scores.iter().map(|score| score.exp()).sum();
        for score in scores {
            *score = if ending == Ending::Softmax { score.exp() / sum } else { *score - sum.ln() };
        }
    }
}
