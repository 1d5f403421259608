use super::*;
use crate::autograd::loss::{Loss, targets};
use crate::autograd::{Noise, Tape};
use crate::tensor::Tensor;
use crate::zoo::blocks::MaskActivation;
use skipstone_onnx::Op;
use std::io::Write;
use std::path::Path;

/// What every architecture must count: name, family, classes, input, trainable parameters, multiply-accumulates.
/// Sources: the publications' tables, the authors' files, and the networks instantiated in other frameworks.
const EXPECTED: &str = "\
resnet18 resnet 1000 3x224x224 11689512 1814073344
resnet34 resnet 1000 3x224x224 21797672 3663761408
resnet50 resnet 1000 3x224x224 25557032 4089184256
resnet101 resnet 1000 3x224x224 44549160 7801405440
resnet152 resnet 1000 3x224x224 60192808 11513626624
resnet50-v1 resnet 1000 3x224x224 25557032 3857973248
resnet50-d resnet 1000 3x224x224 25576264 4328824832
resnet20 resnet 10 3x32x32 269722 40551040
resnet32 resnet 10 3x32x32 464154 68862592
resnet44 resnet 10 3x32x32 658586 97174144
resnet56 resnet 10 3x32x32 853018 125485696
resnet110 resnet 10 3x32x32 1727962 252887680
resnet1202 resnet 10 3x32x32 19421274 2829238912
resnet20-b resnet 10 3x32x32 272474 40813184
resnet56-b resnet 10 3x32x32 855770 125747840
plain20 plain 10 3x32x32 269722 40551040
plain56 plain 10 3x32x32 853018 125485696
resnet8 resnet 10 3x32x32 78186 12501632
resnet8-large resnet 10 3x32x32 481530 76473920
resnet-fast resnet 10 3x32x32 1971650 118147360
preresnet20 preresnet 10 3x32x32 219482 33737216
preresnet164 preresnet 10 3x32x32 1703258 247646720
preresnet1001 preresnet 10 3x32x32 10327706 1490995712
keras-resnet18 preresnet 1000 3x224x224 11692520 1814073344
keras-resnet34 preresnet 1000 3x224x224 21804392 3663761408
keras-resnet50 preresnet 1000 3x224x224 25575912 3857973248
keras-resnet101 preresnet 1000 3x224x224 44594152 7570194432
keras-resnet152 preresnet 1000 3x224x224 60260840 11282415616
resnext50-32x4d resnext 1000 3x224x224 25028904 4230479872
resnext101-32x4d resnext 1000 3x224x224 44177704 7969996800
resnext101-64x4d resnext 1000 3x224x224 83455272 15460270080
resnext101-32x8d resnext 1000 3x224x224 88791336 16414015488
resnext29-8x64d resnext 10 3x32x32 34426698 5387266048
resnext29-16x64d resnext 10 3x32x32 68155210 10688866304
resnext20-8x2d resnext 10 3x32x32 64474 10863872
densenet121 densenet 1000 3x224x224 7978856 2834161664
densenet169 densenet 1000 3x224x224 14149480 3359843328
densenet201 densenet 1000 3x224x224 20013928 4291365888
densenet161 densenet 1000 3x224x224 28681000 7727907072
densenet264 densenet 1000 3x224x224 33337704 5751653376
densenet40-k12 densenet 10 3x32x32 1019722 264812928
densenet100-k12 densenet 10 3x32x32 6979642 1769516448
densenet100-k24 densenet 10 3x32x32 27249082 6889347744
densenet-bc100-k12 densenet 10 3x32x32 769162 287929692
densenet-bc250-k24 densenet 10 3x32x32 15324406 5418785724
densenet-bc190-k40 densenet 10 3x32x32 25624430 9301945740
densenet-bc40-k12 densenet 10 3x32x32 176122 72365352
densenet-bc22-k8 densenet 10 3x32x32 32606 14031308
attention56 attention 1000 3x224x224 31810728 6270836736
attention92 attention 1000 3x224x224 52466344 10533789696
attentionnext56 attention 1000 3x224x224 31318824 6419106816
attentionnext92 attention 1000 3x224x224 52102952 10704337920
attention56-cifar attention 10 3x32x32 1135194 122407424
attention92-cifar attention 10 3x32x32 1932442 211077632
attention236-cifar attention 10 3x32x32 5121434 565758464
attention-mini attention 10 3x32x32 74714 8049280
";

#[test]
fn counts_are_those_of_the_publications() {
    assert_listed(EXPECTED.lines().map(str::to_owned).collect());
}

#[test]
fn counts_are_those_of_the_specification() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/specs/zoo.csv");
    let Ok(text) = std::fs::read_to_string(&path) else {
        // Past the capture of the test harness: a skipped test is not silent.
        let skipped = "skipped counts_are_those_of_the_specification: ../shared/specs/zoo.csv is not here";
        let _ = writeln!(std::io::stderr(), "{skipped}");
        return;
    };
    let columns = |line: &str| line.split(',').take(6).collect::<Vec<_>>().join(" ");
    let mut expected: Vec<_> = text.lines().skip(1).map(columns).collect();
    // Some networks of ours are not in it.
    for name in ["resnet-fast ", "preresnet20 "] {
        let at = EXPECTED.lines().position(|line| line.starts_with(name)).unwrap();
        if !expected.iter().any(|line| line.starts_with(name)) {
            expected.insert(at, EXPECTED.lines().nth(at).unwrap().to_owned());
        }
    }
    assert_listed(expected);
}

/// Compares [`list`] with expected lines, and shows all that differ.
fn assert_listed(expected: Vec<String>) {
    let line = |Entry { name, family, classes, input, params, macs }: &Entry| {
        format!("{name} {family} {classes} {input} {params} {macs}")
    };
    let listed: Vec<_> = list().unwrap().iter().map(line).collect();
    let without = |lines: &[String], others: &[String]| -> Vec<String> {
        lines.iter().filter(|line| !others.contains(line)).cloned().collect()
    };
    let (missing, unexpected) = (without(&expected, &listed), without(&listed, &expected));
    assert!(missing.is_empty() && unexpected.is_empty(), "missing {missing:#?}, listed instead {unexpected:#?}");
    assert_eq!(listed, expected, "another order");
}

/// Builds without drawing weights.
fn shape_of(name: &str, options: &Options) -> Result<Graph, ZooError> {
    find(name).unwrap().build(options, None)
}

fn count(graph: &Graph, op: &str) -> usize {
    graph.nodes().iter().filter(|node| node.op.name() == op).count()
}

fn node<'g>(graph: &'g Graph, name: &str) -> &'g skipstone_onnx::Node {
    graph.nodes().iter().find(|node| node.name == name).unwrap_or_else(|| panic!("no node `{name}`"))
}

fn pads(graph: &Graph, name: &str) -> [usize; 4] {
    match &node(graph, name).op {
        Op::Conv(conv) => conv.pads,
        Op::MaxPool(window) | Op::AveragePool { window, .. } => window.pads,
        op => panic!("{name} is {}", op.name()),
    }
}

#[test]
fn adapts_to_classes_and_input_down_to_the_least() {
    for architecture in architectures() {
        let (name, least) = (architecture.name, architecture.least);
        for (classes, input) in [(2, [1, least, least]), (100, [4, least + 1, least + 6])] {
            let graph = shape_of(name, &Options { classes: Some(classes), input: Some(input), ..Options::default() });
            let graph = graph.unwrap_or_else(|error| panic!("{name} {input:?}: {error}"));
            assert_eq!(graph.value(graph.input()).dims, input, "{name}");
            assert_eq!(graph.value(graph.output()).dims, [classes], "{name}");
        }
        let input = Some([1, 64, least - 1]);
        let error = shape_of(name, &Options { input, ..Options::default() }).unwrap_err().to_string();
        assert!(error.contains(&format!("at least {least}")), "{error}");
    }
}

#[test]
fn counts_of_other_classes_and_inputs() {
    let with = |classes, input| Options { classes, input, ..Options::default() };
    for (name, options, params) in [
        ("resnet20", with(Some(100), None), 275_572),
        ("resnext29-8x64d", with(Some(100), None), 34_518_948),
        ("densenet-bc100-k12", with(Some(100), None), 800_032),
        ("densenet40-k12", with(Some(100), None), 1_060_132),
        ("keras-resnet18", with(Some(10), Some([3, 32, 32])), 11_184_650),
        ("keras-resnet152", with(Some(10), Some([3, 32, 32])), 58_232_330),
    ] {
        assert_eq!(shape_of(name, &options).unwrap().parameter_count(), params, "{name}");
    }
    let keras = shape_of("keras-resnet50", &with(Some(10), Some([3, 32, 32]))).unwrap();
    assert_eq!(keras.macs(), 78_712_832);
}

/// IC02 of MLPerf Tiny v1.4: the file of its authors counts 480,330 parameters with batch norms folded, which have
/// 1,200 more.
#[test]
fn the_second_image_classifier_of_mlperf_tiny_has_two_names() {
    let [named, by_width] = ["resnet8-large", "resnet8-w40"].map(|name| build(name, &Options::default()).unwrap());
    assert_eq!(named, by_width);
    assert_eq!((named.name.as_str(), named.macs()), ("resnet8-large", 76_473_920));
    let norms = named.nodes().iter().filter(|node| matches!(node.op, Op::BatchNorm { .. }));
    let channels: usize = norms.map(|node| named.value(node.output).dims[0]).sum();
    assert_eq!(named.parameter_count() - 2 * channels, 480_330);
}

#[test]
fn refuses_what_does_not_fit_and_says_why() {
    let error = |name: &str, options: Options| build(name, &options).unwrap_err().to_string();
    let default = Options::default;
    let unknown = error("resnext9", default());
    assert!(unknown.contains("there are resnext50-32x4d, ") && unknown.contains("resnext20-8x2d; "), "{unknown}");
    let classes = |classes| Options { classes: Some(classes), ..default() };
    assert!(error("resnet8", classes(1)).contains("at least 2"));
    assert!(error("resnet8", classes(usize::MAX)).contains("at most 65536"));
    let input = |input| Options { input: Some(input), ..default() };
    assert!(error("resnet8", input([3, 2, 32])).contains("at least 3"));
    assert!(error("resnet8", input([3, 2, 32])).contains("3x2x32"));
    assert!(error("resnet8", input([0, 8, 8])).contains("1 to 1024 channels"));
    assert!(error("resnet8", input([1, 8, usize::MAX])).contains("4096"));
}

#[test]
fn refuses_choices_that_an_architecture_does_not_leave() {
    let dropout = Options { dropout: 0.2, ..Options::default() };
    let depth = Options { stochastic_depth: 0.1, ..Options::default() };
    let gamma = Options { zero_gamma: true, ..Options::default() };
    let naive = Options { naive_attention: true, ..Options::default() };
    let mask = Options { mask_activation: MaskActivation::Channel, ..Options::default() };
    for (name, options, reason) in [
        ("resnet8", &dropout, "takes no dropout: only dense"),
        ("attention-mini", &dropout, "takes no dropout"),
        ("plain20", &depth, "takes no stochastic depth: it needs residual"),
        ("densenet-bc22-k8", &depth, "takes no stochastic depth"),
        ("preresnet164", &gamma, "takes no zero gamma"),
        ("resnext20-8x2d", &naive, "takes no naive attention: it has no attention"),
        ("resnext20-8x2d", &mask, "takes no mask activation: it has no attention"),
    ] {
        let error = shape_of(name, options).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains(reason), "{error}");
    }
    for rate in [-0.1, 1.0, f32::NAN] {
        let error = shape_of("resnet8", &Options { stochastic_depth: rate, ..Options::default() }).unwrap_err();
        assert!(error.to_string().contains("below 1"), "{error}");
    }
}

#[test]
fn stochastic_depth_rises_linearly_from_the_first_block() {
    let graph = shape_of("resnet20", &Options { stochastic_depth: 0.4, ..Options::default() }).unwrap();
    let rates: Vec<_> = graph
        .nodes()
        .iter()
        .filter_map(|node| if let Op::StochasticDepth { rate } = node.op { Some(rate) } else { None })
        .collect();
    let expected: Vec<_> = (1..9).map(|block| 0.4 * (block as f32 / 8.0)).collect();
    assert_eq!(rates, expected);
}

#[test]
fn dropout_stands_after_every_convolution_but_the_first() {
    for name in ["densenet40-k12", "densenet-bc22-k8", "densenet121"] {
        let graph = shape_of(name, &Options { dropout: 0.2, ..Options::default() }).unwrap();
        assert_eq!(count(&graph, "Dropout"), count(&graph, "Conv") - 1, "{name}");
        assert_eq!(count(&shape_of(name, &Options::default()).unwrap(), "Dropout"), 0, "{name}");
    }
}

#[test]
fn residual_networks_follow_the_publications() {
    let shape = |name| shape_of(name, &Options::default()).unwrap();
    let resnet20 = shape("resnet20");
    assert_eq!(["Conv", "Add", "Slice", "Pad"].map(|op| count(&resnet20, op)), [19, 9, 2, 2]);
    let plain20 = shape("plain20");
    assert_eq!(["Conv", "Add"].map(|op| count(&plain20, op)), [19, 0]);
    let resnet8 = shape("resnet8");
    assert_eq!(["Conv", "Add", "BatchNormalization"].map(|op| count(&resnet8, op)), [9, 3, 7]);
    assert_eq!(pads(&resnet8, "stage2.block1.conv1"), [0, 0, 1, 1]);
    assert_eq!(pads(&resnet8, "stage2.block1.shortcut.conv"), [0; 4]);
    assert!(resnet8.parameters().any(|(_, name, _)| name == "stage2.block1.conv1.weight"));

    let resnet50 = shape("resnet50");
    assert_eq!(["Conv", "Add", "MaxPool"].map(|op| count(&resnet50, op)), [53, 16, 1]);
    assert_eq!(pads(&resnet50, "stem.pool"), [1; 4]);
    let d = shape("resnet50-d");
    assert_eq!(["Conv", "AveragePool"].map(|op| count(&d, op)), [55, 3]);
}

#[test]
fn keras_resnets_follow_the_builder() {
    let graph = shape_of("keras-resnet50", &Options::default()).unwrap();
    assert_eq!(pads(&graph, "stem.conv"), [2, 2, 3, 3]);
    assert_eq!(pads(&graph, "stem.pool"), [0, 0, 1, 1]);
    let producers = graph.producers();
    let source = |name: &str| producers[node(&graph, name).inputs[0].index()].map(|id| graph.node(id).name.as_str());
    assert_eq!(source("stage1.block1.conv1"), Some("stem.pool"));
    assert_eq!(source("stage1.block1.shortcut.conv"), Some("stem.pool"));
    assert_eq!(source("stage2.block1.shortcut.conv"), Some("stage1.block3.add"));
    assert_eq!(source("stage2.block1.bn1"), Some("stage1.block3.add"));
    let strides = |name: &str| match &node(&graph, name).op {
        Op::Conv(conv) => conv.stride,
        op => panic!("{name} is {}", op.name()),
    };
    assert_eq!([strides("stage2.block1.conv1"), strides("stage2.block1.conv2")], [[2, 2], [1, 1]]);
    assert!(graph.nodes().iter().all(|node| !matches!(node.op, Op::BatchNorm { epsilon } if epsilon != 1e-3)));
    assert!(graph.nodes().iter().all(|node| !matches!(node.op, Op::Conv(_)) || node.inputs.len() == 3));
    assert!(!graph.nodes().iter().any(|node| node.name.contains("shortcut.bn")));
}

#[test]
fn attention_networks_follow_the_published_files() {
    let graph = shape_of("attention56", &Options::default()).unwrap();
    assert_eq!(["MaxPool", "Resize", "Sigmoid", "Mul"].map(|op| count(&graph, op)), [1 + 3 + 2 + 1, 6, 3, 3]);
    let dims = |name: &str| graph.value(node(&graph, name).output).dims.clone();
    assert_eq!(dims("stage1.attention1.mask.down3.pool"), [256, 7, 7]);
    assert_eq!(dims("stage3.attention1.mask.down1.pool"), [1024, 7, 7]);
    assert_eq!(pads(&graph, "stage1.attention1.mask.down1.pool"), [0, 0, 1, 1]);
    assert_eq!(dims("last.unit3.add"), [2048, 7, 7]);
    for (options, sums) in [(Options::default(), 3), (Options { naive_attention: true, ..Options::default() }, 0)] {
        let graph = shape_of("attention56", &options).unwrap();
        let fused = graph.nodes().iter().filter(|node| node.name.contains(".attention1.add")).count();
        assert_eq!(fused, sums);
    }
}

#[test]
fn gradients_reach_every_weight_of_every_family() {
    let pixel = |i: usize| ((i * 2654435761) % 1000) as f32 / 500.0 - 1.0;
    for (name, side) in [
        ("resnet20", 8),
        ("plain20", 8),
        ("resnet8", 7),
        ("resnet-fast", 9),
        ("preresnet164", 6),
        ("resnext20-8x2d", 8),
        ("densenet40-k12", 8),
        ("densenet-bc22-k8", 9),
        ("attention-mini", 10),
        ("attention-mini, channel", 10),
        ("attention-mini, spatial", 10),
    ] {
        let mask_activation = match name.split_once(", ") {
            Some((_, "channel")) => MaskActivation::Channel,
            Some((_, "spatial")) => MaskActivation::Spatial,
            _ => MaskActivation::Mixed,
        };
        let options = Options { input: Some([3, side, side]), mask_activation, ..Options::default() };
        let mut graph = build(name.split(',').next().unwrap(), &options).unwrap();
        let images = Tensor::new([4, side, side, 3], (0..4 * side * side * 3).map(pixel).collect());
        let mut tape = Tape::new();
        let targets = targets(&[0, 1, 2, 3], graph.value(graph.output()).dims[0], 0.0);
        let step = tape.step(&mut graph, images, &targets, Loss::CrossEntropy, Noise::default());
        assert!(step.loss.is_finite() && step.loss < 100.0, "{name}: loss {}", step.loss);
        for (id, parameter, _) in graph.parameters().filter(|(_, _, p)| p.trainable) {
            let gradient = tape.gradient(id).unwrap_or_else(|| panic!("{name}: {parameter} has no gradient"));
            assert!(gradient.iter().all(|v| v.is_finite()), "{name}: {parameter}");
            let dead = parameter.ends_with(".weight") && gradient.iter().all(|&v| v == 0.0);
            assert!(!dead, "{name}: no gradient reaches {parameter}");
        }
    }
}

#[test]
fn a_seed_determines_the_network() {
    let weights = |seed| build("resnet8", &Options { seed, ..Options::default() }).unwrap();
    assert_eq!(weights(1), weights(1));
    assert_ne!(weights(1), weights(2));
}
