//! Random networks that take images channels last and preprocess them, and the same networks channels first.

use crate::forms::File;
use skipstone_onnx::proto::{AttributeProto, ModelProto, NodeProto, TensorProto};

/// Images in a batch, which some of the files name.
pub const BATCH: usize = 2;

/// One network in two files.
pub struct Pair {
    /// Takes `[N, H, W, C]`.
    pub last: ModelProto,
    /// Takes `[N, C, H, W]`; channels change places by a convolution.
    pub first: ModelProto,
    /// What is done to the image, for messages.
    pub steps: Vec<&'static str>,
    /// Whether channels change places, and nothing but operators on single channels stands around that.
    pub reorders: bool,
}

/// The pair of a seed.
pub fn pair(seed: u64) -> Pair {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    // Small and square sizes, at which the axes cannot be told apart by their lengths, are frequent.
    let channels = [1, 2, 3, 3, 3, 4][random.below(6)];
    let height = [3, 4, 5, 8][random.below(4)];
    let width = if random.below(2) == 0 { height } else { [3, 4, 6, 7][random.below(4)] };
    let mut writer = Writer {
        last: File::new(17, [height, width, channels]),
        first: File::new(17, [channels, height, width]),
        x: ["image".into(), "image".into()],
        size: [channels, height, width],
        transposed: false,
        names: 0,
        steps: Vec::new(),
        reorders: false,
        random,
    };
    for _ in 0..writer.random.below(6) {
        writer.step();
    }
    writer.transpose();
    for _ in 0..writer.random.below(3) {
        writer.step();
    }
    writer.body()
}

struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }
}

/// Writes both files step by step.
struct Writer {
    last: File,
    first: File,
    /// What each has made of the image.
    x: [String; 2],
    /// Channels, height, width.
    size: [usize; 3],
    /// Whether the first file is channels first by now, too.
    transposed: bool,
    names: usize,
    steps: Vec<&'static str>,
    reorders: bool,
    random: Random,
}

impl Writer {
    fn fresh(&mut self, what: &'static str) -> String {
        self.names += 1;
        self.steps.push(what);
        format!("{what}.{}", self.names)
    }

    /// Where channels, height and width lie in the file that begins channels last.
    fn axes(&self) -> [i64; 3] {
        if self.transposed { [1, 2, 3] } else { [3, 1, 2] }
    }

    /// The same node in both files.
    fn both(&mut self, op: &str, name: &str, constants: &[String], attributes: &[AttributeProto]) {
        for (file, x) in [&mut self.last, &mut self.first].into_iter().zip(&mut self.x) {
            let inputs: Vec<&str> = [x.as_str()].into_iter().chain(constants.iter().map(String::as_str)).collect();
            *x = file.node(op, &inputs, name, attributes.to_vec());
        }
    }

    /// A node of the file that begins channels last alone.
    fn only_last(&mut self, op: &str, name: &str, constants: &[&str], attributes: Vec<AttributeProto>) {
        let inputs: Vec<&str> = [self.x[0].as_str()].into_iter().chain(constants.iter().copied()).collect();
        self.x[0] = self.last.node(op, &inputs, name, attributes);
    }

    /// A constant in each file.
    fn number(&mut self, name: &str, value: f32) -> String {
        self.last.number(name, value);
        self.first.number(name, value)
    }

    fn step(&mut self) {
        match self.random.below(16) {
            0 | 1 => self.by_constant(false),
            2 | 3 => self.by_constant(true),
            4 => {
                let name = self.fresh("clip");
                let limits = [self.number(&format!("{name}.min"), -0.4), self.number(&format!("{name}.max"), 0.7)];
                self.both("Clip", &name, &limits, &[]);
            }
            5 => {
                let op = ["Min", "Max"][self.random.below(2)];
                let name = self.fresh("limit");
                let limit = self.number(&format!("{name}.limit"), 0.2);
                self.both(op, &name, &[limit], &[]);
            }
            6 => {
                let op = ["Tanh", "Sigmoid", "LeakyRelu", "Neg", "Identity", "HardSwish"][self.random.below(6)];
                let name = self.fresh("function");
                self.both(op, &name, &[], &[]);
            }
            7 => {
                let name = self.fresh("cast");
                self.both("Cast", &name, &[], &[AttributeProto::int("to", 1)]);
            }
            8 => self.reshape(),
            9 => self.unsqueeze(),
            10 | 11 => self.reverse(),
            12 => self.pad(),
            13 => self.crop(),
            14 => self.resize(),
            _ => self.back_and_forth(),
        }
    }

    /// A number for all, or one for each channel.
    fn by_constant(&mut self, each: bool) {
        let op = ["Mul", "Sub", "Add", "Div"][self.random.below(4)];
        let name = self.fresh(if each { "by channel" } else { "by number" });
        let constant = format!("{name}.std");
        if !each {
            let constant = self.number(&constant, 0.75);
            return self.both(op, &name, &[constant], &[]);
        }
        let channels = self.size[0];
        let whole = self.random.below(2) == 0;
        let dims = match (self.transposed, whole) {
            (false, false) => vec![channels],
            (false, true) => vec![1, 1, 1, channels],
            (true, _) => vec![channels, 1, 1],
        };
        self.last.weight(&constant, &dims);
        self.first.weight(&constant, &[channels, 1, 1]);
        self.both(op, &name, &[constant], &[]);
    }

    fn reshape(&mut self) {
        let name = self.fresh("reshape");
        let [c, h, w] = self.size.map(|size| size as i64);
        let batch = [0, -1][self.random.below(2)];
        let shape = if self.transposed { [batch, c, h, w] } else { [batch, h, w, c] };
        let shape = self.last.list(&format!("{name}.shape"), &shape);
        self.only_last("Reshape", &name, &[&shape], vec![]);
    }

    fn unsqueeze(&mut self) {
        let name = self.fresh("unsqueeze");
        let at = self.random.below(5) as i64;
        let axes = self.last.list(&format!("{name}.axes"), &[at]);
        self.only_last("Unsqueeze", &name, &[&axes], vec![]);
        self.only_last("Squeeze", &format!("{name}.back"), &[&axes], vec![]);
    }

    /// All channels, the last one first.
    fn reverse(&mut self) {
        let channels = self.size[0];
        self.reorders |= channels > 1;
        let axis = if self.random.below(2) == 0 { self.axes()[0] } else { self.axes()[0] - 4 };
        let name = self.fresh("reverse");
        let order: Vec<i64> = (0..channels as i64).rev().collect();
        match self.random.below(4) {
            0 => {
                let start = [-1, channels as i64 - 1, i64::from(i32::MAX)][self.random.below(3)];
                let end = [i64::MIN, i64::MIN + 1, i64::from(i32::MIN), -(channels as i64) - 1][self.random.below(4)];
                let lists = [("starts", start), ("ends", end), ("axes", axis), ("steps", -1)];
                let lists = lists.map(|(list, value)| self.last.list(&format!("{name}.{list}"), &[value]));
                self.only_last("Slice", &name, &lists.each_ref().map(String::as_str), vec![]);
            }
            1 => {
                let negative = self.random.below(2) == 0;
                let order: Vec<i64> = order.iter().map(|at| at - if negative { channels as i64 } else { 0 }).collect();
                let list = self.last.list(&format!("{name}.order"), &order);
                self.only_last("Gather", &name, &[&list], vec![AttributeProto::int("axis", axis)]);
            }
            2 => {
                let parts: Vec<String> = (0..channels).map(|part| format!("{name}.part{part}")).collect();
                let attributes = vec![AttributeProto::int("axis", axis)];
                let node = NodeProto::new("Split", format!("{name}.split"), &[&self.x[0]], &parts, attributes.clone());
                self.last.graph.node.push(node);
                let reversed: Vec<&str> = parts.iter().rev().map(String::as_str).collect();
                self.x[0] = self.last.node("Concat", &reversed, &name, attributes);
            }
            _ => {
                let attributes = vec![AttributeProto::int("axis", axis)];
                let mut parts = Vec::new();
                for at in order {
                    self.last.graph.initializer.push(TensorProto::i64(format!("{name}.at{at}"), &[], &[at]));
                    let inputs = [self.x[0].clone(), format!("{name}.at{at}")];
                    let inputs = inputs.each_ref().map(String::as_str);
                    let part = self.last.node("Gather", &inputs, &format!("{name}.channel{at}"), attributes.clone());
                    let axes = self.last.list(&format!("{name}.axes{at}"), &[axis]);
                    parts.push(self.last.node("Unsqueeze", &[&part, &axes], &format!("{name}.part{at}"), vec![]));
                }
                let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
                self.x[0] = self.last.node("Concat", &parts, &name, attributes);
            }
        }
        let weight: Vec<f32> = (0..channels * channels)
            .map(|i| if i / channels + i % channels + 1 == channels { 1.0 } else { 0.0 })
            .collect();
        let constant = format!("{name}.weight");
        self.first.graph.initializer.push(TensorProto::f32(&constant, &[channels, channels, 1, 1], &weight));
        self.x[1] = self.first.node("Conv", &[&self.x[1], &constant], &name, vec![]);
    }

    fn pad(&mut self) {
        let name = self.fresh("pad");
        let sides = [0, 1, 1, 0].map(|_| self.random.below(2));
        self.size[1] += sides[0] + sides[2];
        self.size[2] += sides[1] + sides[3];
        let [top, left, bottom, right] = sides.map(|side| side as i64);
        let [_, rows, columns] = self.axes().map(|axis| axis as usize);
        let mut pads = [0; 8];
        (pads[rows], pads[columns], pads[rows + 4], pads[columns + 4]) = (top, left, bottom, right);
        let list = format!("{name}.pads");
        self.last.list(&list, &pads);
        self.first.list(&list, &[0, 0, top, left, 0, 0, bottom, right]);
        self.both("Pad", &name, &[list], &[]);
    }

    fn crop(&mut self) {
        let [_, height, width] = self.size;
        if height < 4 || width < 4 {
            return;
        }
        let name = self.fresh("crop");
        let step = 1 + self.random.below(2) as i64;
        self.size = [self.size[0], height - 1, (width - 1).div_ceil(step as usize)];
        let own = self.axes();
        let mut lists = Vec::new();
        for (list, last, first) in [
            ("starts", [0, 1], [0, 1]),
            ("ends", [-1, i64::MAX], [-1, i64::MAX]),
            ("axes", [own[1], own[2]], [2, 3]),
            ("steps", [1, step], [1, step]),
        ] {
            let list = format!("{name}.{list}");
            self.last.list(&list, &last);
            lists.push(self.first.list(&list, &first));
        }
        self.both("Slice", &name, &lists, &[]);
    }

    fn resize(&mut self) {
        let [channels, height, width] = self.size;
        let name = self.fresh("resize");
        let sizes = self.random.below(2) == 0;
        let [rows, columns] = [1 + self.random.below(2), 2];
        self.size = [channels, height * rows, width * columns];
        let text = AttributeProto::string;
        let attributes = vec![text("mode", "linear"), text("coordinate_transformation_mode", "half_pixel")];
        let orders = [self.axes(), [1, 2, 3]];
        for ((file, x), order) in [&mut self.last, &mut self.first].into_iter().zip(&mut self.x).zip(orders) {
            let list = format!("{name}.target");
            let mut target = [1; 4];
            let values = if sizes { self.size } else { [1, rows, columns] };
            order.iter().zip(values).for_each(|(&axis, value)| target[axis as usize] = value);
            let mut inputs = vec![x.as_str(), "", ""];
            if sizes {
                target[0] = BATCH;
                file.list(&list, &target.map(|size| size as i64));
                inputs.push(&list);
            } else {
                file.graph.initializer.push(TensorProto::f32(&list, &[4], &target.map(|size| size as f32)));
                inputs[2] = &list;
            }
            *x = file.node("Resize", &inputs, &name, attributes.clone());
        }
    }

    /// To the other order and back.
    fn back_and_forth(&mut self) {
        let name = self.fresh("transposed");
        let (there, back) = if self.transposed { ([0, 2, 3, 1], [0, 3, 1, 2]) } else { ([0, 3, 1, 2], [0, 2, 3, 1]) };
        self.only_last("Transpose", &format!("{name}.there"), &[], vec![AttributeProto::ints("perm", &there)]);
        self.only_last("Relu", &format!("{name}.relu"), &[], vec![]);
        self.only_last("Transpose", &name, &[], vec![AttributeProto::ints("perm", &back)]);
        self.x[1] = self.first.node("Relu", &[&self.x[1]], &name, vec![]);
    }

    fn transpose(&mut self) {
        self.only_last("Transpose", "nchw", &[], vec![AttributeProto::ints("perm", &[0, 3, 1, 2])]);
        self.transposed = true;
    }

    /// Convolutions, a pool, a linear layer.
    fn body(mut self) -> Pair {
        let channels = self.size[0];
        let depthwise = self.random.below(4) == 0;
        for (file, x) in [&mut self.last, &mut self.first].into_iter().zip(&mut self.x) {
            if depthwise {
                let weight = file.weight("each.weight", &[channels, 1, 3, 3]);
                let attributes =
                    vec![AttributeProto::int("group", channels as i64), AttributeProto::ints("pads", &[1; 4])];
                *x = file.node("Conv", &[x, &weight], "each", attributes);
            }
            *x = file.conv(x, "conv", [5, channels], 1);
            *x = file.norm(x, "norm", 5, vec![]);
        }
        let last = self.random.below(2) == 0;
        if last {
            // The middle and the head channels last.
            self.only_last("Transpose", "nhwc", &[], vec![AttributeProto::ints("perm", &[0, 2, 3, 1])]);
        }
        self.both("Relu", "relu", &[], &[]);
        if last {
            self.only_last("ReduceMean", "pooled", &[], vec![AttributeProto::ints("axes", &[1, 2])]);
        } else {
            self.only_last("GlobalAveragePool", "pooled", &[], vec![]);
        }
        self.x[1] = self.first.node("GlobalAveragePool", &[&self.x[1]], "pooled", vec![]);
        self.both("Flatten", "flat", &[], &[]);
        let [last, first] = &self.x;
        self.last.gemm(last, "scores", [3, 5]);
        self.first.gemm(first, "scores", [3, 5]);
        Pair {
            last: self.last.finish("channels last", &[]).model,
            first: self.first.finish("channels first", &[]).model,
            steps: self.steps,
            reorders: self.reorders,
        }
    }
}
