//! Small networks that tests share.

use super::{Conv, Network, Part, Random, Window};
use crate::format::records::{OpCode, PadMode, ResizeMode, Run, Tensor};
use crate::kernels::layout::{CANONICAL, Layout, PAIRS};

/// Every operator once: a residual in place, a parameter-free shortcut, a residual that is copied, a sum, a pool, a
/// linear layer whose kernel is the whole map, one whose kernel is a pixel.
pub(crate) fn small_resnet(height: usize, width: usize, layout: &'static Layout) -> Network {
    let mut random = Random::new(7);
    let mut net = Network::new(height, width, 3);
    let stem = net.conv(Conv { layout, ..Conv::new(0, 8, 3) }, &mut random);
    let a = net.conv(Conv { layout, ..Conv::new(stem, 8, 3) }, &mut random);
    let in_place = net.conv(Conv { layout, residual: Some(stem), ..Conv::new(a, 8, 3) }, &mut random);
    let shortcut = net.shortcut(in_place, 2, 4, 16);
    let b = net.conv(Conv { layout, stride: 2, ..Conv::new(in_place, 12, 3) }, &mut random);
    let copied = net.conv(Conv { layout, residual: Some(shortcut), ..Conv::new(b, 16, 3) }, &mut random);
    let grouped = net.conv(Conv { groups: 4, ..Conv::new(copied, 16, 3) }, &mut random);
    let sum = net.add(grouped, copied);
    let pooled = net.pool(sum);
    net.conv(Conv { layout, ..Conv::new(pooled, 12, 1) }, &mut random);
    net.classes = 10;
    net.place();
    net.alias(in_place, stem);
    net
}

/// Every operator that [`small_resnet`] lacks: a pooled stem, an affine of its own and one before a convolution, a
/// concatenation, a mask that is interpolated, a gate of one pixel, norms.
pub(crate) fn every_operator(height: usize, width: usize, layout: &'static Layout) -> Network {
    let mut random = Random::new(11);
    let mut net = Network::new(height, width, 3);
    net.zero_points = vec![-9];
    let stem = net.conv(Conv { layout, ..Conv::new(0, 8, 3) }, &mut random);
    let pooled = net.max_pool(stem, Window::new(3, 2, 1), 0).unwrap();
    let affine = net.affine(pooled, &mut random);
    let bottleneck = net.conv(Conv { layout, prologue: true, ..Conv::new(affine, 4, 1) }, &mut random);
    let joined = net.concat(pooled, bottleneck);
    let grown = net.conv(Conv { layout, prologue: true, ..Conv::new(joined, 4, 3) }, &mut random);
    let trunk = net.concat(joined, grown);
    let mask = net.average_pool(trunk, Window { ceil: true, ..Window::new(3, 2, 1) }, 0).unwrap();
    let [height, width] = [net.tensors[trunk].height.into(), net.tensors[trunk].width.into()];
    let mask = net.resize(mask, [height, width], ResizeMode::HalfPixel);
    let mask = net.lookup(mask, &mut random);
    let gated = net.gate(mask, trunk, 384, &mut random);
    let squeezed = net.pool(gated);
    let excited = net.conv(Conv { layout, ..Conv::new(squeezed, 16, 1) }, &mut random);
    let scaled = net.gate(excited, gated, 9, &mut random);
    let unit = net.l2_norm(scaled);
    let standard = net.instance_norm(unit, &mut random);
    let smaller = net.resample(standard, [3, 4], ResizeMode::HalfPixel, &mut random);
    let grouped = net.group_norm(smaller, &mut random);
    let pooled = net.pool(grouped);
    net.conv(Conv { layout, ..Conv::new(pooled, 12, 1) }, &mut random);
    net.classes = 10;
    net.place();
    net
}

/// A network of up to ten operators, drawn at random, with a global pool and a linear layer after them.
pub(crate) fn random_network(seed: u64) -> Network {
    let random = &mut Random::new(seed);
    let sizes = [1, 1, 2, 3, 4, 5, 7, 9];
    let mut net = Network::new(random.of(&sizes), random.of(&sizes), random.of(&[1, 3, 4]));
    net.zero_points = vec![random.of(&[-128, -5, 0, 40])];
    let first = Conv { channels: 4 * (1 + random.below(3)), ..Conv::new(0, 4, random.of(&[1, 3])) };
    let mut last = net.conv(first, random);
    for _ in 0..1 + random.below(10) {
        // Mostly a chain, so that most operators are run.
        let input = if random.below(4) == 0 { 1 + random.below(net.tensors.len() - 1) } else { last };
        last = draw(&mut net, input, random).unwrap_or(last);
    }
    let pooled = net.pool(last);
    net.conv(Conv::new(pooled, 4, 1), random);
    for node in &mut net.nodes {
        let global = OpCode::from_code(node.op) == Some(OpCode::GlobalAveragePool);
        node.rows_per_step = if global { 1 } else { random.of(&[1, 1, 2, 3, 4]) };
    }
    net.place();
    net
}

/// An operator that reads `input`; `None` if the one that was drawn does not fit it.
fn draw(net: &mut Network, input: usize, random: &mut Random) -> Option<usize> {
    let shape = |t: &Tensor| (t.height, t.width, t.channels);
    let t = net.tensors[input];
    let maps = |net: &Network, fits: &dyn Fn(&Tensor) -> bool| -> Vec<usize> {
        (1..net.tensors.len()).filter(|&other| fits(&net.tensors[other])).collect()
    };
    let alike = maps(net, &|other| shape(other) == shape(&t));
    match random.below(18) {
        0 | 1 => {
            let groups = random.of(&[1, 1, 4]);
            let layout = if groups == 1 { random.of(&[&CANONICAL, &PAIRS]) } else { &CANONICAL };
            let (channels, stride) = (4 * (1 + random.below(3)), 1 + random.below(2));
            let conv = Conv {
                groups,
                layout,
                stride,
                channels,
                prologue: random.below(2) == 0,
                ..Conv::new(input, 4, random.of(&[1, 3]))
            };
            let made = |size: u16| (usize::from(size) + 2 * conv.pad - conv.kernel) / conv.stride + 1;
            let result = (made(t.height) as u16, made(t.width) as u16, channels as u16);
            let residuals = maps(net, &|other| shape(other) == result);
            let residual = (random.below(2) == 0 && !residuals.is_empty()).then(|| random.of(&residuals));
            Some(net.conv(Conv { residual, ..conv }, random))
        }
        2 => Some(net.add(input, random.of(&alike))),
        3 => Some(net.affine(input, random)),
        4 => (0..8).find_map(|_| net.max_pool(input, window(random), random.below(2) as u8)),
        5 => (0..8).find_map(|_| net.average_pool(input, window(random), random.below(2) as u8)),
        6 => Some(net.lookup(input, random)),
        7 => {
            let masks = maps(net, &|other| shape(other) == shape(&t) || shape(other) == (1, 1, t.channels));
            Some(net.gate(random.of(&masks), input, random.of(&[-255, 9, 128, 384, 32767]), random))
        }
        8 => {
            let size = [1 + random.below(9), 1 + random.below(9)];
            let modes = [ResizeMode::AlignCorners, ResizeMode::HalfPixel, ResizeMode::Asymmetric, ResizeMode::Nearest];
            Some(net.resize(input, size, random.of(&modes)))
        }
        14 => {
            let size = [1 + random.below(9), 1 + random.below(9)];
            let modes = [ResizeMode::AlignCorners, ResizeMode::HalfPixel, ResizeMode::Asymmetric];
            let mode = random.of(&modes);
            Some(net.resample(input, size, mode, random))
        }
        15 => Some(net.group_norm(input, random)),
        9 => Some(net.l2_norm(input)),
        10 => Some(net.instance_norm(input, random)),
        11 => {
            let (before, after) = (random.below(5), random.below(2) * 4);
            let channels = usize::from(t.channels) + before + after;
            Some(net.shortcut(input, 1 + random.below(2), before, channels.next_multiple_of(4)))
        }
        12 => Some(draw_copy(net, input, random)),
        16 | 17 => draw_blocks(net, input, random),
        _ => {
            let same_size = maps(net, &|other| (other.height, other.width) == (t.height, t.width));
            let other = random.of(&same_size);
            (t.channels + net.tensors[other].channels <= 40).then(|| net.concat(input, other))
        }
    }
}

/// Channels as blocks of pixels, or blocks as channels; `None` where there are no blocks of the size that was drawn.
fn draw_blocks(net: &mut Network, input: usize, random: &mut Random) -> Option<usize> {
    let t = net.tensors[input];
    let [height, width, channels] = [t.height, t.width, t.channels].map(usize::from);
    let [rows, columns] = [1 + random.below(4), 1 + random.below(4)];
    let pixels = rows * columns;
    if random.below(2) == 0 {
        let own = channels / pixels - random.below(2).min(channels / pixels);
        let fits = own > 0 && pixels > 1 && height * rows * width * columns <= 400;
        fits.then(|| net.blocks(input, (height * rows, width * columns, own.next_multiple_of(4)), own))
    } else {
        let own = channels - random.below(channels.min(3));
        let fits = height % rows + width % columns == 0 && pixels * own <= 64;
        fits.then(|| net.blocks(input, (height / rows, width / columns, (pixels * own).next_multiple_of(4)), own))
    }
}

/// A part of a map, its channels in another order, inside padding.
fn draw_copy(net: &mut Network, input: usize, random: &mut Random) -> usize {
    let t = net.tensors[input];
    let mode = random.of(&[PadMode::Zero, PadMode::Edge, PadMode::Reflect, PadMode::Wrap]);
    let mut axis = |size: u16| {
        let (size, stride) = (usize::from(size), 1 + random.below(3));
        let first = random.below(size);
        let count = 1 + random.below((size - first).div_ceil(stride));
        let most = match mode {
            PadMode::Reflect => count,
            PadMode::Wrap => count + 1,
            PadMode::Zero | PadMode::Edge => 4,
        };
        (first, stride, count, random.below(most.min(4)), random.below(most.min(4)))
    };
    let (rows, pixels) = (axis(t.height), axis(t.width));
    let (mut runs, mut channels) = (Vec::new(), 0);
    for _ in 0..1 + random.below(3) {
        let from = random.below(t.channels.into());
        let len = 1 + random.below(usize::from(t.channels) - from);
        let to = channels + random.below(3);
        channels = to + len;
        runs.push(Run { from: from as u16, to: to as u16, len: len as u16 });
    }
    let copy = Part {
        first: [rows.0, pixels.0],
        stride: [rows.1, pixels.1],
        pads: [rows.3, pixels.3, rows.4, pixels.4],
        mode,
        runs,
        channels: (channels + random.below(3)).next_multiple_of(4),
    };
    net.copy(input, [rows.2, pixels.2], copy)
}

fn window(random: &mut Random) -> Window {
    let kernels = [1, 2, 3, 4];
    Window {
        kernel: [random.of(&kernels), random.of(&kernels)],
        stride: [1 + random.below(3), 1 + random.below(3)],
        pads: [0; 4].map(|_: usize| random.below(3)),
        ceil: random.below(2) == 0,
    }
}
