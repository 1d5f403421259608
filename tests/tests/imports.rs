//! Networks of others: what was imported computes what their files say.
//!
//! Runs on the files of `../shared/onnx` and `../shared/models`, and on CIFAR-10 in `../shared/data`, where they are.

use skipstone::autograd;
use skipstone::data::{self, Dataset, Spec, Split};
use skipstone::host::trace;
use skipstone::pack::{Options, quantize};
use skipstone::tensor::Tensor;
use skipstone::verify::{self, Layers};
use skipstone_onnx::proto::ModelProto;
use skipstone_onnx::{Imported, Normalization, Op, import};
use skipstone_tests::forms;
use skipstone_tests::preprocessing::{self, Pair};
use std::path::{Path, PathBuf};

/// A folder beside the repository; says so past the test harness if it is not there.
fn shared(folder: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared").join(folder);
    if !path.is_dir() {
        use std::io::Write;
        let _ = writeln!(std::io::stderr(), "not run: there is no ../shared/{folder}");
        return None;
    }
    Some(path)
}

/// Numbers in -1..1.
fn noise(count: usize) -> Vec<f32> {
    let mut state = 1u64;
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..count).map(next).collect()
}

fn spread(scores: &[f32]) -> f32 {
    let (low, high) = scores.iter().fold((f32::MAX, f32::MIN), |(low, high), &x| (low.min(x), high.max(x)));
    high - low
}

#[test]
fn files_of_other_exporters_mean_to_us_what_they_mean_to_tract() {
    let mut files: Vec<PathBuf> = Vec::new();
    for folder in ["onnx", "models"].into_iter().filter_map(shared) {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        files.extend(entries.filter(|path| path.extension().is_some_and(|extension| extension == "onnx")));
    }
    files.sort();
    for file in &files {
        let shown = file.display();
        let model = import::load(file).unwrap_or_else(|error| panic!("{shown}: {error}"));
        let imported = import::read(&model).unwrap_or_else(|error| panic!("{shown}: {error}"));
        // A file that rounds does not have the float network's scores.
        if !imported.graph.metadata.quantization.is_empty() {
            continue;
        }
        let (difference, spread) = compare(model, &imported);
        assert!(difference <= 1e-4 * spread, "{shown}: {difference} of {spread}");
    }
}

/// Compares the imported network with tract's reading of the file; gives the largest difference and the scores' spread.
fn compare(model: ModelProto, imported: &Imported) -> (f32, f32) {
    let graph = &imported.graph;
    let dims = &graph.value(graph.input()).dims;
    let images = Tensor::new([2, dims[1], dims[2], dims[0]], noise(2 * dims.iter().product::<usize>()));
    let scores = autograd::infer(graph, &images);
    let model = imported.in_float(model);
    let agreement = verify::float_model(model, imported.channels_last, &images, &scores).unwrap();
    let spread = (0..2).map(|image| spread(scores.image(image))).fold(f32::INFINITY, f32::min);
    // The simplified network is written and read like any other.
    let bytes = skipstone_onnx::export(graph, skipstone_onnx::Batch::Any);
    let again = skipstone_onnx::import(&bytes).unwrap();
    assert!(autograd::infer(&again, &images) == scores, "{}", graph.name);
    (agreement.float_max_abs_diff, spread)
}

#[test]
fn the_forms_of_exporters_become_the_layers_that_they_are() {
    let mut wrong = Vec::new();
    for form in forms::forms() {
        let name = form.name;
        let imported = import::read(&form.model).unwrap_or_else(|error| panic!("{name}: {error}"));
        let operators: Vec<&str> = imported.graph.nodes().iter().map(|node| node.op.name()).collect();
        assert_eq!(imported.scores, form.scores, "{name}");
        let (difference, spread) = compare(form.model, &imported);
        if operators != form.operators || difference > 1e-4 * spread {
            wrong.push(format!("{name}: {difference} of {spread}, {operators:?}, not {:?}", form.operators));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn forms_of_exporters_in_int8_are_near_their_float_networks() {
    let names = ["cubic interpolation", "borders that wrap", "normalized groups"];
    let chosen: Vec<_> = forms::forms().into_iter().filter(|form| names.contains(&form.name)).collect();
    assert_eq!(chosen.len(), names.len());
    for form in chosen {
        let (name, count) = (form.name, 8);
        let mut graph = import::read(&form.model).unwrap().graph;
        let dims: [usize; 3] = graph.value(graph.input()).dims.as_slice().try_into().unwrap();
        graph.metadata.normalization = Some(Normalization { mean: vec![0.5; dims[0]], std: vec![0.25; dims[0]] });
        let pixels = noise(count * dims.iter().product::<usize>()).iter().map(|x| (x * 127.0 + 128.0) as u8).collect();
        let classes = graph.value(graph.output()).dims[0];
        let class_names = (0..classes).map(|class| class.to_string()).collect();
        let images = Dataset { dims, pixels, labels: vec![0; count], class_names };
        let quantized = quantize(&graph, &images, &Options::default()).unwrap();
        let traces: Vec<_> = (0..count).map(|index| trace(&quantized.stone, images.image(index)).unwrap()).collect();

        // Each layer on the same integers.
        let batch = images.batch_for(&graph, &(0..count).collect::<Vec<usize>>());
        let layers = Layers::new(&quantized.qgraph).unwrap();
        let mut check = layers.check(&quantized.qdq).unwrap();
        layers.compare(&mut check, &batch, &layers.values(&traces)).unwrap();
        let agreement = check.finish();
        assert!(agreement.int8_unexplained == 0 && agreement.int8_max_steps <= 1, "{name}: {agreement:?}");

        // The QDQ file reads back as the same network with the same integers.
        let mut again = import::import(&quantized.qdq).unwrap();
        again.metadata.normalization = graph.metadata.normalization.clone();
        let again = quantize(&again, &images, &Options::default()).unwrap();
        let scores =
            |stone: &[u8]| (0..count).map(|i| trace(stone, images.image(i)).unwrap().scores).collect::<Vec<_>>();
        assert_eq!(scores(&again.stone), scores(&quantized.stone), "{name}");

        let float = autograd::infer(&graph, &batch);
        let output = quantized.qgraph.tensors[quantized.qgraph.output].params;
        let ours = traces.iter().flat_map(|trace| &trace.scores).map(|&score| output.real(score) as f32);
        let largest = ours.zip(float.data()).map(|(ours, float)| (ours - float).abs()).fold(0.0, f32::max);
        assert!(largest <= 0.05 * spread(float.data()), "{name}: {largest} of {}", spread(float.data()));
    }
}

#[test]
fn channels_last_with_any_preprocessing_is_the_network_channels_first() {
    for seed in 0..300 {
        let Pair { last, first, steps, reorders } = preprocessing::pair(seed);
        let read =
            |model: &ModelProto| import::read(model).unwrap_or_else(|error| panic!("{seed}: {steps:?}: {error}"));
        let (ours, control) = (read(&last), read(&first));
        assert_eq!((ours.channels_last, control.channels_last), (true, false), "{seed}: {steps:?}");
        let dims = &control.graph.value(control.graph.input()).dims;
        assert_eq!(&ours.graph.value(ours.graph.input()).dims, dims, "{seed}: {steps:?}");
        let images = Tensor::new([2, dims[1], dims[2], dims[0]], noise(2 * dims.iter().product::<usize>()));
        let [scores, expected] = [&ours, &control].map(|imported| autograd::infer(&imported.graph, &images));
        let largest = expected.data().iter().fold(0f32, |largest, score| largest.max(score.abs()));
        for (score, expected) in scores.data().iter().zip(expected.data()) {
            assert!((score - expected).abs() <= 1e-4 * largest, "{seed}: {steps:?}: {score}, not {expected}");
        }
        // Channels change places in the weights.
        let mixing = |imported: &Imported| {
            let graph = &imported.graph;
            let single = |node: &&skipstone_onnx::Node| match &node.op {
                Op::Conv(conv) => (conv.kernel, conv.groups) == ([1, 1], 1) && graph.value(node.output).dims[0] > 1,
                _ => false,
            };
            graph.nodes().iter().filter(single).count()
        };
        assert_eq!(mixing(&ours), 0, "{seed}: {steps:?}");
        assert!(!reorders || mixing(&control) > 0, "{seed}: {steps:?}");
        if seed % 12 == 0 {
            let (difference, spread) = compare(last, &ours);
            assert!(difference <= 1e-4 * spread, "{seed}: {steps:?}: {difference} of {spread}");
        }
    }
}

#[test]
fn networks_trained_by_others_have_the_accuracy_that_others_measured() {
    let (Some(models), Some(cifar)) = (shared("models"), shared("data/cifar10/cifar-10-batches-bin")) else { return };
    let raw = Normalization { mean: vec![0.0; 3], std: vec![1.0 / 255.0; 3] };
    let imagenet = Normalization { mean: vec![0.485, 0.456, 0.406], std: vec![0.229, 0.224, 0.225] };
    let spec: Spec = format!("cifar10:{}@test", cifar.display()).parse().unwrap();
    let data = data::load(&spec, Split::Test).unwrap();
    for (file, normalization, expected) in
        [("mlperf-tiny-resnet8.onnx", raw, 0.8721), ("resnet20-cifar10.onnx", imagenet, 0.9173)]
    {
        let mut graph = import::import_file(&models.join(file)).unwrap();
        graph.metadata.normalization = Some(normalization);
        let accuracy = skipstone::metrics::evaluate_float(&graph, &data).accuracy;
        assert!((accuracy - expected).abs() <= 0.0005, "{file}: {accuracy}");
    }
}

#[test]
fn a_file_that_takes_int8_takes_pixels_less_128() {
    let (Some(models), Some(cifar)) = (shared("models"), shared("data/cifar10/cifar-10-batches-bin")) else { return };
    let spec: Spec = format!("cifar10:{}@test", cifar.display()).parse().unwrap();
    let images = data::load(&spec, Split::Test).unwrap().spread(100);
    let model = import::load(&models.join("mlperf-tiny-ic02-int8-input.onnx")).unwrap();
    let imported = import::read(&model).unwrap();
    let integers = imported.graph.metadata.quantization.input.unwrap();
    assert_eq!((integers.signed, integers.scale, integers.zero_point), (true, 1.0, -128));
    let accuracy = skipstone::metrics::evaluate_float(&imported.graph, &images).accuracy;
    assert!(accuracy > 0.85, "{accuracy}");
    // The file itself rounds.
    let few = images.spread(20);
    let batch = few.batch_for(&imported.graph, &(0..20).collect::<Vec<_>>());
    let scores = autograd::infer(&imported.graph, &batch);
    let agreement = verify::float_model(imported.in_float(model), imported.channels_last, &batch, &scores).unwrap();
    assert!(agreement.float_top1_agreement >= 0.9, "{agreement:?}");
}
