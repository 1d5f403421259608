//! Our integers against those of a quantized file of others: what agrees, and that what is wrong is found.

use skipstone::data::Dataset;
use skipstone::host::{Trace, trace};
use skipstone::pack::{Options, Quantized, quantize};
use skipstone::quant::{QGraph, QOp, rerounding_bounds, to_qdq};
use skipstone::tensor::Tensor;
use skipstone::verify::{FileAgreement, FileCheck, Int8Agreement, Layers, QuantizedFile, VerifyError};
use skipstone_onnx::import::read;
use skipstone_onnx::proto::ModelProto;
use skipstone_onnx::{Batch, Imported, Normalization};
use skipstone_tests::qoperator::{CLASSES, Form, IMAGE, LAYERS, qoperator};
use std::collections::HashMap;

const FORMS: [Form; 4] = [
    Form { unsigned: false, powers_of_two: false },
    Form { unsigned: true, powers_of_two: false },
    Form { unsigned: false, powers_of_two: true },
    Form { unsigned: true, powers_of_two: true },
];

fn images() -> Dataset {
    let count = 40;
    let pixels = (0..count * 64).map(|i: usize| (i * i * 31 % 251) as u8).collect();
    let class_names = (0..CLASSES).map(|class| class.to_string()).collect();
    Dataset { dims: IMAGE, pixels, labels: vec![0; count], class_names }
}

struct Case {
    model: ModelProto,
    imported: Imported,
    quantized: Quantized,
    images: Dataset,
    traces: Vec<Trace>,
}

impl Case {
    fn new(form: Form) -> Self {
        let model = qoperator(form);
        let mut imported = read(&model).unwrap();
        imported.graph.metadata.normalization = Some(Normalization { mean: vec![0.0], std: vec![1.0 / 255.0] });
        let images = images();
        let quantized = quantize(&imported.graph, &images, &Options::default()).unwrap();
        let traces = (0..images.len()).map(|i| trace(&quantized.stone, images.image(i)).unwrap()).collect();
        Self { model, imported, quantized, images, traces }
    }

    /// Compares the layers of `qgraph` with those of the file.
    fn with_file(&self, qgraph: &QGraph) -> Result<FileAgreement, VerifyError> {
        let Imported { channels_last, scores, rounded, .. } = &self.imported;
        let file = QuantizedFile { model: &self.model, channels_last: *channels_last, scores, rounded };
        let layers = Layers::new(qgraph).unwrap();
        let rerounding = rerounding_bounds(&self.quantized.float, qgraph);
        let mut check = FileCheck::new(&layers, &to_qdq(qgraph, Batch::Any), &file, &rerounding)?;
        check.add(&self.batch(), &layers.values(&self.traces))?;
        Ok(check.finish())
    }

    /// Compares the engine with the QDQ file of `qgraph`.
    fn with_engine(&self, qgraph: &QGraph) -> Int8Agreement {
        let layers = Layers::new(qgraph).unwrap();
        let mut check = layers.check(&to_qdq(qgraph, Batch::Any).to_bytes()).unwrap();
        layers.compare(&mut check, &self.batch(), &layers.values(&self.traces)).unwrap();
        check.finish()
    }

    fn batch(&self) -> Tensor {
        let all: Vec<usize> = (0..self.images.len()).collect();
        self.images.batch_for(&self.imported.graph, &all)
    }
}

#[test]
fn operators_on_integers_are_compared_layer_by_layer() {
    for form in FORMS {
        let case = Case::new(form);
        let found = case.with_file(&case.quantized.qgraph).unwrap();
        // The image is one.
        assert_eq!((found.file_layers, found.file_unexplained), (LAYERS + 1, 0), "{form:?}: {found:?}");
        assert!(found.rescaled.is_empty() && found.file_clipped.is_empty(), "{form:?}: {found:?}");
        assert!(found.layers.iter().all(|layer| layer.distance < 0.502), "{form:?}: {found:?}");
    }
}

/// Power-of-two scales and means of equal scale: ties in plenty, and nothing else.
#[test]
fn ties_are_told_from_errors() {
    for form in FORMS {
        let case = Case::new(form);
        let found = case.with_engine(&case.quantized.qgraph);
        assert_eq!((found.int8_unexplained, found.int8_max_steps), (0, 1), "{form:?}: {found:?}");
        let layer = |name: &str| found.layers.iter().find(|layer| layer.name.starts_with(name)).unwrap();
        let mean = layer("mean");
        assert_eq!(mean.different, mean.ties, "{form:?}: {mean:?}");
        // A quarter of the means of four are ties, of which half are even where they are rounded down.
        assert!(mean.ties * 12 > mean.elements && mean.ties * 5 < mean.elements, "{form:?}: {mean:?}");
        if form.powers_of_two {
            let sum = layer("sum");
            assert!(sum.ties * 12 > sum.elements && sum.different == sum.ties, "{form:?}: {sum:?}");
        }
        let share = case.quantized.qgraph.nodes.iter().map(|node| case.quantized.qgraph.tie_share(node));
        assert_eq!(share.filter(|share| *share >= 0.25).count() > 2, form.powers_of_two, "{form:?}");
    }
}

/// Each of these is another network: the file and the engine both tell.
#[test]
fn a_wrong_integer_is_found() {
    let weight = |qgraph: &mut QGraph| conv(qgraph, 1).0[20] += 1;
    let bias = |qgraph: &mut QGraph| conv(qgraph, 0).1[2] += 40;
    let clamp = |qgraph: &mut QGraph| qgraph.nodes[0].lo += 3;
    let pads = |qgraph: &mut QGraph| {
        let QOp::Conv(conv) = &mut qgraph.nodes[1].op else { panic!("no convolution") };
        // One column further to the left.
        conv.pads = [1, 2, 1, 0];
    };
    type Break<'a> = (&'a str, &'a dyn Fn(&mut QGraph));
    let breaks: [Break<'_>; 4] = [("weight", &weight), ("bias", &bias), ("clamp", &clamp), ("pads", &pads)];
    for form in [FORMS[0], FORMS[3]] {
        let case = Case::new(form);
        for (what, break_it) in breaks {
            let mut qgraph = case.quantized.qgraph.clone();
            break_it(&mut qgraph);
            let engine = case.with_engine(&qgraph);
            assert!(engine.int8_unexplained > 10, "{form:?} {what}: {engine:?}");
            let file = case.with_file(&qgraph).unwrap();
            assert!(file.file_unexplained > 10, "{form:?} {what}: {file:?}");
        }
        // A wrong zero point clips numbers that the file's integers stand for.
        let mut qgraph = case.quantized.qgraph.clone();
        qgraph.tensors[1].params.zero_point += 1;
        assert!(case.with_engine(&qgraph).int8_unexplained > 10);
        let (found, name) = (case.with_file(&qgraph).unwrap(), qgraph.tensors[1].name.clone());
        assert_eq!((found.rescaled, found.file_clipped), (vec![name.clone()], vec![name.clone()]));
        // One that holds them all, as a group of tensors may have, does not.
        qgraph.tensors[1].params.scale *= 1.5;
        let found = case.with_file(&qgraph).unwrap();
        assert_eq!((found.rescaled, found.file_clipped), (vec![name], vec![]), "{form:?}");
    }
}

/// Weights and bias of a convolution.
fn conv(qgraph: &mut QGraph, node: usize) -> (&mut [i8], &mut [i32]) {
    match &mut qgraph.nodes[node].op {
        QOp::Conv(conv) => (&mut conv.weights, &mut conv.bias),
        other => panic!("{}", other.name()),
    }
}

/// An engine that cuts, or rounds ties down, differs from the file of its own numbers.
#[test]
fn a_wrong_rounding_is_found() {
    for form in FORMS {
        let case = Case::new(form);
        let qgraph = &case.quantized.qgraph;
        let layers = Layers::new(qgraph).unwrap();
        let values = layers.values(&case.traces);
        let (batch, count) = (case.batch(), case.images.len());
        let mean = layers.layers().iter().position(|layer| layer.name.starts_with("mean")).unwrap();
        let output = layers.layers()[mean].output;
        let [channels, height, width] = qgraph.tensors[output].dims;
        for (what, round) in [("cut", f64::floor as fn(f64) -> f64), ("ties down", |x| (x - 0.5).ceil())] {
            let mut wrong = values.clone();
            for (at, q) in wrong[output].iter_mut().enumerate() {
                let (image, at) = (at / (channels * height * width), at % (channels * height * width));
                let place = [at / channels / width, at / channels % width, at % channels];
                let exact = layers.exact(&values, count, mean, image, place).unwrap();
                *q = round(exact.steps).clamp(-128.0, 127.0) as i8;
            }
            let mut check = layers.check(&case.quantized.qdq).unwrap();
            layers.compare(&mut check, &batch, &wrong).unwrap();
            let layer = &check.finish().layers[mean];
            assert!(layer.unexplained > 10, "{form:?}, {what}: {layer:?}");
        }
    }
}

#[test]
fn a_file_that_cannot_be_compared_is_an_error() {
    let case = Case::new(FORMS[0]);
    let layers = Layers::new(&case.quantized.qgraph).unwrap();
    let qdq = &to_qdq(&case.quantized.qgraph, Batch::Any);
    let Imported { channels_last, scores, rounded, .. } = &case.imported;
    let file = |model, rounded| QuantizedFile { model, channels_last: *channels_last, scores, rounded };
    // A rounded value is not found again.
    let error =
        FileCheck::new(&layers, qdq, &file(&case.model, &rounded[1..]), &HashMap::new()).err().unwrap().to_string();
    assert!(error.contains("not found again"), "{error}");
    // tract does not know an operator.
    let mut unknown = case.model.clone();
    unknown.graph.as_mut().unwrap().node.iter_mut().find(|node| node.op_type == "MaxPool").unwrap().op_type =
        "Odd".into();
    let mut check = FileCheck::new(&layers, qdq, &file(&unknown, rounded), &HashMap::new()).unwrap();
    let error = check.add(&case.batch(), &layers.values(&case.traces)).unwrap_err().to_string();
    assert!(error.contains("the quantized file"), "{error}");
}
