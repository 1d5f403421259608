//! The comparison of int8 layers, on a QDQ file whose every number is a power of two, so that float32 is exact.

use skipstone::quant::Exact;
use skipstone::tensor::Tensor;
use skipstone::verify::{Difference, Int8Agreement, Int8Check, TracedLayer, TracedTensor};
use skipstone_onnx::proto::{
    AttributeProto, DataType, Dim, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto,
};

const IMAGE: [usize; 3] = [2, 2, 3];
const SCALE: f32 = 1.0 / 16.0;
const ZERO: i8 = -3;
const WEIGHTS: [[i8; 2]; 2] = [[3, -5], [1, 2]];
const BIAS: [i32; 2] = [7, -9];

/// `image -> q(x) -> 1x1 convolution, ReLU -> q(y) -> add to x -> q(sum) -> float`.
fn qdq() -> ModelProto {
    let quantize = |name: &str, input: &str| {
        NodeProto::new("QuantizeLinear", name, &[input, "scale", "zero"], &[format!("{name}.q")], vec![])
    };
    let dequantize = |name: &str, scale: &str, zero: &str, out: &str| {
        NodeProto::new("DequantizeLinear", out, &[name, scale, zero], &[out], vec![])
    };
    let node = vec![
        quantize("x", "image"),
        dequantize("x.q", "scale", "zero", "x.dq"),
        dequantize("w.q", "w.scale", "w.zero", "w"),
        dequantize("b.q", "b.scale", "b.zero", "b"),
        NodeProto::new(
            "Conv",
            "conv",
            &["x.dq", "w", "b"],
            &["conv.out"],
            vec![AttributeProto::ints("kernel_shape", &[1, 1])],
        ),
        NodeProto::new("Relu", "relu", &["conv.out"], &["relu.out"], vec![]),
        quantize("y", "relu.out"),
        dequantize("y.q", "scale", "zero", "y.dq"),
        NodeProto::new("Add", "add", &["y.dq", "x.dq"], &["add.out"], vec![]),
        quantize("sum", "add.out"),
        dequantize("sum.q", "scale", "zero", "scores"),
    ];
    let initializer = vec![
        TensorProto::f32("scale", &[], &[SCALE]),
        TensorProto::i8("zero", &[], &[ZERO]),
        TensorProto::i8("w.q", &[2, 2, 1, 1], &WEIGHTS.concat()),
        TensorProto::f32("w.scale", &[], &[0.25]),
        TensorProto::i8("w.zero", &[], &[0]),
        TensorProto::i32("b.q", &[2], &BIAS),
        TensorProto::f32("b.scale", &[], &[SCALE * 0.25]),
        TensorProto::i32("b.zero", &[], &[0]),
    ];
    let dims: Vec<Dim> = [Dim::Symbol("N")].into_iter().chain(IMAGE.map(Dim::Fixed)).collect();
    let input = vec![ValueInfoProto::tensor("image", DataType::Float, &dims)];
    let output = vec![ValueInfoProto::tensor("scores", DataType::Float, &dims)];
    ModelProto::new(GraphProto { node, name: "tiny".into(), initializer, input, output, ..GraphProto::default() }, 17)
}

fn quantized(steps: f32) -> i8 {
    (steps.round_ties_even() + f32::from(ZERO)).clamp(-128.0, 127.0) as i8
}

/// Image, `x`, `y` and `sum` of `count` images, channels last.
fn traced(count: usize) -> (Tensor, Vec<Vec<i8>>) {
    let pixels = count * 6;
    let image: Vec<f32> = (0..pixels * 2).map(|i| ((i * 37) % 101) as f32 / 10.0 - 5.0).collect();
    let x: Vec<i8> = image.iter().map(|value| quantized(value / SCALE)).collect();
    let mut y = Vec::new();
    for pixel in x.chunks_exact(2) {
        for (row, bias) in WEIGHTS.iter().zip(BIAS) {
            let sum: i32 = row.iter().zip(pixel).map(|(&w, &x)| i32::from(w) * (i32::from(x) - i32::from(ZERO))).sum();
            y.push(quantized((sum + bias).max(0) as f32 * 0.25));
        }
    }
    let real = |q: i8| f32::from(q) - f32::from(ZERO);
    let sum = x.iter().zip(&y).map(|(&x, &y)| quantized(real(x) + real(y))).collect();
    (Tensor::new([count, IMAGE[1], IMAGE[2], IMAGE[0]], image), vec![x, y, sum])
}

fn check() -> Int8Check {
    let tensor = |name: &str| TracedTensor { name: name.into(), dims: IMAGE.to_vec() };
    let layers = vec![
        TracedLayer { name: "conv".into(), inputs: vec![0], output: 1 },
        TracedLayer { name: "add".into(), inputs: vec![1, 0], output: 2 },
    ];
    Int8Check::new(&qdq().to_bytes(), IMAGE, vec![tensor("x.q"), tensor("y.q"), tensor("sum.q")], layers).unwrap()
}

#[test]
fn equal_execution_is_equal_everywhere() {
    // One batch of 35 images is more than tract computes at once.
    let mut check = check();
    for count in [35, 1] {
        let (images, traced) = traced(count);
        check.add(&images, &traced, &|_| None).unwrap();
    }
    let agreement = check.finish();
    let json = serde_json::to_value(&agreement).unwrap();
    let mut fields: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
    fields.sort_unstable();
    let expected = [
        "count",
        "int8_end_to_end_fraction",
        "int8_exact_fraction",
        "int8_max_steps",
        "int8_tie_distance",
        "int8_ties",
        "int8_top1_agreement",
        "int8_unexplained",
    ];
    assert_eq!(fields, expected);
    assert_eq!((agreement.int8_exact_fraction, agreement.int8_max_steps), (1.0, 0));
    assert_eq!((agreement.int8_tie_distance, agreement.int8_unexplained), (0.0, 0));
    assert_eq!((agreement.int8_end_to_end_fraction, agreement.int8_top1_agreement), (1.0, 1.0));
    assert_eq!(agreement.count, 36);
    assert_eq!(agreement.layers.iter().map(|layer| layer.elements).collect::<Vec<u64>>(), [36 * 12; 2]);
}

#[test]
fn a_tensor_added_to_itself_is_read_once() {
    let mut model = qdq();
    model.graph.as_mut().unwrap().node.iter_mut().find(|node| node.name == "add").unwrap().input[0] = "x.dq".into();
    let tensor = |name: &str| TracedTensor { name: name.into(), dims: IMAGE.to_vec() };
    let layers = vec![TracedLayer { name: "add".into(), inputs: vec![0, 0], output: 1 }];
    let mut check = Int8Check::new(&model.to_bytes(), IMAGE, vec![tensor("x.q"), tensor("sum.q")], layers).unwrap();
    let (images, mut traced) = traced(3);
    let real = |q: i8| f32::from(q) - f32::from(ZERO);
    traced.truncate(1);
    traced.push(traced[0].iter().map(|&x| quantized(2.0 * real(x))).collect());
    check.add(&images, &traced, &|_| None).unwrap();
    let agreement = check.finish();
    assert_eq!((agreement.int8_exact_fraction, agreement.int8_end_to_end_fraction), (1.0, 1.0));
}

#[test]
fn a_difference_counts_in_its_own_layer_only() {
    let (images, mut traced) = traced(2);
    // The convolution is off by three steps in one element; the sum of our engine follows from what it read.
    let at = (0..24).find(|&i| traced[1][i] > -100 && traced[1][i] < 20 && traced[2][i] < 100).unwrap();
    traced[1][at] += 3;
    traced[2][at] += 3;
    // The element is asked for: image, row, column, channel. It is no tie.
    let place = Difference { layer: Some(0), image: at / 12, at: [at % 12 / 6, at % 6 / 2, at % 2] };
    let exact = |difference: Difference| {
        assert_eq!(difference, place);
        Some(Exact { steps: 3.25, magnitude: 10.0, terms: 3, dyadic: true })
    };
    let mut check = check();
    check.add(&images, &traced, &exact).unwrap();
    let agreement = check.finish();
    assert_eq!((agreement.int8_tie_distance, agreement.int8_unexplained), (0.25, 1));
    assert_eq!(agreement.layers.iter().map(|layer| layer.different).collect::<Vec<u64>>(), [1, 0]);
    assert_eq!(agreement.int8_max_steps, 3);
    assert_eq!(agreement.int8_exact_fraction, 47.0 / 48.0);
    assert_eq!(agreement.int8_end_to_end_fraction, 70.0 / 72.0);
}

#[test]
fn a_tie_explains_a_difference() {
    let (images, traced) = traced(1);
    let at = (0..12).find(|&i| traced[2][i] > -100 && traced[2][i] < 100).unwrap();
    let theirs = f64::from(traced[2][at]);
    // Of 3 terms of 10 steps in all float32 can be wrong by 6.6e-6, and the scales by 2.4e-6.
    for (ours, steps, dyadic, ties, unexplained) in [
        (1, theirs + 0.5, true, 1, 0),
        (1, theirs + 0.500_001, true, 1, 0),
        (1, theirs + 0.500_005, true, 0, 0),
        (1, theirs + 0.500_2, true, 0, 1),
        // The tie is not between the two.
        (1, theirs - 0.5, true, 0, 1),
        (2, theirs + 0.5, true, 0, 1),
        // Where integers are exact, they round it up.
        (-1, theirs - 0.5, true, 0, 1),
        (-1, theirs - 0.5, false, 1, 0),
    ] {
        let mut wrong = traced.clone();
        wrong[2][at] += ours;
        let mut check = check();
        check.add(&images, &wrong, &|_| Some(Exact { steps, magnitude: 10.0, terms: 3, dyadic })).unwrap();
        let found = check.finish();
        assert_eq!((found.int8_ties, found.int8_unexplained), (ties, unexplained), "{ours} {steps} {dyadic}");
    }
}

#[test]
fn a_wrong_pixel_is_unexplained() {
    let (images, mut traced) = traced(1);
    let before = check_of(&images, &traced, &|_| None);
    assert_eq!((before.image.elements, before.int8_unexplained), (12, 0));
    traced[0][5] = traced[0][5].wrapping_add(9);
    let asked = |difference: Difference| {
        (difference.layer.is_none()).then_some(Exact { steps: 3.25, magnitude: 10.0, terms: 2, dyadic: false })
    };
    let found = check_of(&images, &traced, &asked);
    assert_eq!((found.image.different, found.image.unexplained), (1, 1));
    assert!(found.int8_unexplained > 0);
}

fn check_of(
    images: &Tensor,
    traced: &[Vec<i8>],
    exact: &(dyn Fn(Difference) -> Option<Exact> + Sync),
) -> Int8Agreement {
    let mut check = check();
    check.add(images, traced, exact).unwrap();
    check.finish()
}

#[test]
fn a_different_label_is_counted() {
    let (images, mut traced) = traced(2);
    let smallest = (0..12).min_by_key(|&i| traced[2][i]).unwrap();
    traced[2][smallest] = 127;
    traced[2][..12].iter_mut().enumerate().filter(|(i, _)| *i != smallest).for_each(|(_, q)| *q = (*q).min(126));
    let mut check = check();
    check.add(&images, &traced, &|_| None).unwrap();
    assert_eq!(check.finish().int8_top1_agreement, 0.5);
}

#[test]
fn errors_name_the_layer_or_tensor() {
    let tensor = |name: &str| TracedTensor { name: name.into(), dims: IMAGE.to_vec() };
    let layer = |output: usize| vec![TracedLayer { name: "conv".into(), inputs: vec![0], output }];
    let unknown = Int8Check::new(&qdq().to_bytes(), IMAGE, vec![tensor("x.q"), tensor("nowhere")], layer(1));
    let error = unknown.err().unwrap().to_string();
    assert!(error.contains("`conv`") && error.contains("`nowhere`"), "{error}");

    let (images, mut traced) = traced(1);
    traced[1].pop();
    let error = check().add(&images, &traced, &|_| None).unwrap_err().to_string();
    assert!(error.contains("`y.q` has 11 elements, must have 12"), "{error}");

    let mut float =
        Int8Check::new(&qdq().to_bytes(), IMAGE, vec![tensor("x.q"), tensor("relu.out")], layer(1)).unwrap();
    traced[1].push(0);
    let error = float.add(&images, &traced[..2], &|_| None).unwrap_err().to_string();
    assert!(error.contains("relu.out"), "{error}");
}
