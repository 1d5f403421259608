//! The execution of a network by the operators' definitions, element by element, on whole maps.

use super::Network;
use crate::arith::{self, raise};
use crate::format::records::{NONE, OpCode, Run, Tensor};

impl Network {
    /// Every tensor as a whole map, by the operators' definitions.
    pub(crate) fn naive(&self, pixels: &[u8]) -> Vec<Vec<i8>> {
        let mut maps = vec![Vec::new(); self.tensors.len()];
        let convert =
            |(i, &pixel): (usize, &u8)| self.pixels[i % self.pixels.len()].apply(raise(pixel.into()), i8::MIN, i8::MAX);
        maps[0] = pixels.iter().enumerate().map(convert).collect();
        for index in 0..self.nodes.len() {
            let node = &self.nodes[index];
            let (h, w, c) = shape(&self.tensors[usize::from(node.output)]);
            let mut made = Vec::new();
            for y in 0..h {
                for x in 0..w {
                    made.extend((0..c).map(|channel| self.value(index, &maps, y, x, channel)));
                }
            }
            maps[usize::from(node.output)] = made;
        }
        maps
    }

    fn value(&self, index: usize, maps: &[Vec<i8>], y: usize, x: usize, channel: usize) -> i8 {
        let node = &self.nodes[index];
        let input = &self.tensors[usize::from(node.input)];
        let (height, width, channels) = shape(input);
        let (_, out_width, out_channels) = shape(&self.tensors[usize::from(node.output)]);
        let at =
            |y: usize, x: usize, channel: usize| maps[usize::from(node.input)][(y * width + x) * channels + channel];
        let (stride_y, stride_x) = (usize::from(node.stride_h), usize::from(node.stride_w));
        let operand = || maps[usize::from(node.operand)][(y * out_width + x) * out_channels + channel];
        match OpCode::from_code(node.op) {
            Some(OpCode::Conv) => {
                let requant = &self.requants[index][channel];
                let per_group = channels / usize::from(node.groups);
                let group = channel / (out_channels / usize::from(node.groups));
                let (kernel_h, kernel_w) = (usize::from(node.kernel_h), usize::from(node.kernel_w));
                let mut acc = 0;
                for ky in 0..kernel_h {
                    for kx in 0..kernel_w {
                        let y = (y * stride_y + ky).checked_sub(node.pad_top.into()).filter(|&y| y < height);
                        let x = (x * stride_x + kx).checked_sub(node.pad_left.into()).filter(|&x| x < width);
                        for ci in 0..per_group {
                            let value = match (y, x) {
                                (Some(y), Some(x)) => {
                                    let channel = group * per_group + ci;
                                    self.through(index, channel, at(y, x, channel))
                                }
                                _ if self.prologues[index].is_empty() => input.zero_point,
                                _ => node.prologue_zero,
                            };
                            let weight = ((channel * kernel_h + ky) * kernel_w + kx) * per_group + ci;
                            acc += i32::from(value) * i32::from(self.weights[index][weight]);
                        }
                    }
                }
                if node.operand == NONE {
                    requant.apply(acc, node.lo, node.hi)
                } else {
                    requant.apply_residual(acc, operand(), node.operand_multiplier, node.lo, node.hi)
                }
            }
            Some(OpCode::Add) => {
                let value = raise(at(y, x, channel).into());
                self.requants[index][0].apply_residual(value, operand(), node.operand_multiplier, node.lo, node.hi)
            }
            Some(OpCode::GlobalAveragePool) => {
                let sum = (0..height * width).map(|i| i32::from(at(i / width, i % width, channel))).sum();
                self.requants[index][0].apply(raise(sum), node.lo, node.hi)
            }
            Some(OpCode::Copy) => {
                let output = &self.tensors[usize::from(node.output)];
                let runs = self.weights[index].chunks(size_of::<Run>()).map(bytemuck::cast_slice::<i8, u8>);
                let runs: Vec<Run> = runs.map(bytemuck::pod_read_unaligned).collect();
                let run = runs.iter().find(|run| (run.to..run.to + run.len).contains(&(channel as u16)));
                let y = copied(y, node.flags, output.height, [node.pad_top, node.pad_bottom]);
                let x = copied(x, node.flags, output.width, [node.pad_left, node.pad_right]);
                let (first_y, first_x) = (usize::from(node.first_row), usize::from(node.groups));
                let from = |run: &Run| usize::from(run.from) + channel - usize::from(run.to);
                match (y, x, run) {
                    (Some(y), Some(x), Some(run)) => at(first_y + y * stride_y, first_x + x * stride_x, from(run)),
                    _ => output.zero_point,
                }
            }
            Some(OpCode::Blocks) => {
                let output = &self.tensors[usize::from(node.output)];
                let (out_height, own) = (usize::from(output.height), usize::from(node.groups));
                if out_height > height || out_width > width {
                    let (rows, columns) = (out_height / height, out_width / width);
                    let part = (y % rows * columns + x % columns) * own + channel;
                    if channel < own { at(y / rows, x / columns, part) } else { output.zero_point }
                } else {
                    let (rows, columns) = (height / out_height, width / out_width);
                    let (place, from) = (channel / own, channel % own);
                    let inside = place < rows * columns;
                    let (y, x) = (y * rows + place / columns, x * columns + place % columns);
                    if inside { at(y, x, from) } else { output.zero_point }
                }
            }
            Some(OpCode::Affine) => {
                self.requants[index][channel].apply(raise(at(y, x, channel).into()), node.lo, node.hi)
            }
            Some(OpCode::MaxPool) => {
                let counted = self.window(index, y, x).filter(|pixel| pixel.is_some() || node.flags == 1);
                let largest = counted.map(|pixel| pixel.map_or(input.zero_point, |(y, x)| at(y, x, channel))).max();
                largest.unwrap().clamp(node.lo, node.hi)
            }
            Some(OpCode::AveragePool) => {
                let counted: Vec<_> =
                    self.window(index, y, x).filter(|pixel| pixel.is_some() || node.flags == 1).collect();
                let value = |pixel: &Option<(usize, usize)>| pixel.map_or(input.zero_point, |(y, x)| at(y, x, channel));
                let sum = counted.iter().map(|pixel| i32::from(value(pixel))).sum();
                self.requants[index][counted.len() - 1].apply(raise(sum), node.lo, node.hi)
            }
            Some(OpCode::Lookup) => self.weights[index][(i32::from(at(y, x, channel)) + 128) as usize],
            Some(OpCode::Gate) => {
                let mask = if (height, width) == (1, 1) { at(0, 0, channel) } else { at(y, x, channel) };
                let zero_point = i32::from(self.tensors[usize::from(node.operand)].zero_point);
                let product = (i32::from(mask) + node.operand_multiplier) * (i32::from(operand()) - zero_point);
                self.requants[index][0].apply(product, node.lo, node.hi)
            }
            Some(OpCode::Resize) => {
                let output = &self.tensors[usize::from(node.output)];
                let down = weights(node.flags, input.height, output.height, y);
                let across = weights(node.flags, input.width, output.width, x);
                let mut sum = 0;
                for (y, down) in down.into_iter().enumerate() {
                    for (x, across) in across.iter().enumerate() {
                        sum += down * across * i32::from(at(y, x, channel));
                    }
                }
                self.requants[index][0].apply(raise(sum), node.lo, node.hi)
            }
            Some(OpCode::Resample) => {
                let output = &self.tensors[usize::from(node.output)];
                let weights: Vec<i32> = self.weights[index]
                    .chunks(4)
                    .map(|bytes| bytemuck::pod_read_unaligned(bytemuck::cast_slice(bytes)))
                    .collect();
                let (of_rows, of_pixels) = weights.split_at(usize::from(output.height) * usize::from(node.kernel_h));
                let [top, left] = [
                    first(node.flags, input.height, output.height, y) - i64::from(node.pad_top),
                    first(node.flags, input.width, output.width, x) - i64::from(node.pad_left),
                ];
                let mut sum = 0i64;
                for ky in 0..usize::from(node.kernel_h) {
                    for kx in 0..usize::from(node.kernel_w) {
                        let (row, column) = (top + ky as i64, left + kx as i64);
                        if (0..height as i64).contains(&row) && (0..width as i64).contains(&column) {
                            let down = of_rows[y * usize::from(node.kernel_h) + ky];
                            let across = of_pixels[x * usize::from(node.kernel_w) + kx];
                            let value = i64::from(at(row as usize, column as usize, channel));
                            sum += i64::from(down) * i64::from(across) * value;
                        }
                    }
                }
                self.requants[index][0].apply((sum >> node.operand_multiplier) as i32, node.lo, node.hi)
            }
            Some(OpCode::L2Norm) => {
                let counts = |&channel: &usize| self.weights[index][channel] == 1;
                let distance = |channel: usize| i64::from(at(y, x, channel)) - i64::from(input.zero_point);
                let square: i64 = (0..channels).filter(counts).map(|channel| distance(channel).pow(2)).sum();
                let zero_point = self.tensors[usize::from(node.output)].zero_point;
                let requant = arith::over_root(square as u64, &self.requants[index][0], zero_point);
                requant.apply((distance(channel) << 16) as i32, node.lo, node.hi)
            }
            Some(op @ (OpCode::InstanceNorm | OpCode::GroupNorm)) => {
                // The channels of its group, of those that count.
                let counts = |&channel: &usize| op == OpCode::InstanceNorm || self.weights[index][channel] == 1;
                let counted: Vec<usize> = (0..channels).filter(counts).collect();
                let size = if op == OpCode::GroupNorm { counted.len() / usize::from(node.groups) } else { 1 };
                let Some(place) = counted.iter().position(|&counted| counted == channel) else {
                    return self.tensors[usize::from(node.output)].zero_point.clamp(node.lo, node.hi);
                };
                let group = &counted[place / size * size..][..size];
                let pixels = |channel: usize| (0..height * width).map(move |i| (i / width, i % width, channel));
                let values = || {
                    group
                        .iter()
                        .flat_map(|&channel| pixels(channel))
                        .map(|(y, x, channel)| i64::from(at(y, x, channel)))
                };
                let (count, sum): (i64, i64) = ((height * width * size) as i64, values().sum());
                let variance = count * values().map(|q| q * q).sum::<i64>() - sum * sum;
                let zero_point = self.tensors[usize::from(node.output)].zero_point;
                let numerator = &self.requants[index][0];
                let square = (variance << node.operand_multiplier) + numerator.c;
                let square = if variance == 0 { 0 } else { square as u64 };
                let requant = arith::over_root(square, numerator, zero_point);
                let distance = count * i64::from(at(y, x, channel)) - sum;
                // As far as 255 * count stays below 2^29.
                let raised = (0..).find(|bits| (255 * count) << (bits + 1) >= 1 << 29).unwrap();
                requant.apply((distance << raised) as i32, node.lo, node.hi)
            }
            Some(OpCode::Concat) => match channel.checked_sub(channels) {
                None => at(y, x, channel),
                Some(channel) => {
                    let channels = usize::from(self.tensors[usize::from(node.operand)].channels);
                    maps[usize::from(node.operand)][(y * out_width + x) * channels + channel]
                }
            },
            None => unreachable!("tests know their operators"),
        }
    }

    /// What a convolution reads in place of an input.
    fn through(&self, index: usize, channel: usize, value: i8) -> i8 {
        let node = &self.nodes[index];
        self.prologues[index]
            .get(channel)
            .map_or(value, |affine| affine.apply(raise(value.into()), node.prologue_lo, node.prologue_hi))
    }

    /// The pixels of a window, `None` for those of the padding; those after the padding are left out.
    fn window(&self, index: usize, y: usize, x: usize) -> impl Iterator<Item = Option<(usize, usize)>> {
        let node = self.nodes[index];
        let input = self.tensors[usize::from(node.input)];
        let inside = |at: i32, size: u16| (0..i32::from(size)).contains(&at).then_some(at as usize);
        let (top, left) = (y as i32 * i32::from(node.stride_h), x as i32 * i32::from(node.stride_w));
        let (top, left) = (top - i32::from(node.pad_top), left - i32::from(node.pad_left));
        let (bottom, right) = (input.height + u16::from(node.pad_bottom), input.width + u16::from(node.pad_right));
        let rows = (top..top + i32::from(node.kernel_h)).filter(move |&y| y < bottom.into());
        rows.flat_map(move |y| {
            let columns = (left..left + i32::from(node.kernel_w)).filter(move |&x| x < right.into());
            columns.map(move |x| Some((inside(y, input.height)?, inside(x, input.width)?)))
        })
    }
}

/// Which of the elements that are copied comes to `index` of an axis of `size`; `None` for a zero.
fn copied(index: usize, mode: u8, size: u16, [before, after]: [u8; 2]) -> Option<usize> {
    let count = i32::from(size) - i32::from(before) - i32::from(after);
    let at = index as i32 - i32::from(before);
    match mode {
        _ if (0..count).contains(&at) => Some(at as usize),
        0 => None,
        1 => Some(at.clamp(0, count - 1) as usize),
        3 => Some(at.rem_euclid(count) as usize),
        _ if at < 0 => Some(-at as usize),
        _ => Some((2 * (count - 1) - at) as usize),
    }
}

/// The element at or before position `index` of `out` on an axis of `size`.
fn first(mode: u8, size: u16, out: u16, index: usize) -> i64 {
    let (size, out, i) = (i64::from(size), i64::from(out), index as i64);
    match mode {
        0 if out == 1 => 0,
        0 => i * (size - 1) / (out - 1),
        1 => ((2 * i + 1) * size - out).div_euclid(2 * out),
        _ => i * size / out,
    }
}

/// How often each element of an axis enters element `index` of the result.
fn weights(mode: u8, size: u16, out: u16, index: usize) -> Vec<i32> {
    let (size, out, i) = (i32::from(size), i32::from(out), index as i32);
    let (numerator, denominator) = match mode {
        0 if out == 1 => (0, 1),
        0 => (i * (size - 1), out - 1),
        1 => ((2 * i + 1) * size - out, 2 * out),
        2 => (i * size, out),
        _ => (i * size / out, 1),
    };
    // All numerators are sums of the first one and steps.
    let (first, step) = match mode {
        0 => (0, if out == 1 { 0 } else { size - 1 }),
        1 => (size - out, 2 * size),
        2 => (0, size),
        _ => (0, 1),
    };
    let divides = |n: i32| [first, step, denominator].iter().all(|number| number % n == 0);
    let divisor = (1..=denominator).rev().find(|&n| divides(n)).unwrap();
    let (numerator, denominator) = (numerator / divisor, denominator / divisor);
    let at = numerator.clamp(0, (size - 1) * denominator);
    (0..size).map(|element| (denominator - (at - element * denominator).abs()).max(0)).collect()
}

fn shape(tensor: &Tensor) -> (usize, usize, usize) {
    (tensor.height.into(), tensor.width.into(), tensor.channels.into())
}
