//! Instructions of each convolution of ResNet-8 on 32 x 32 images, rows widened and padded included.
#![no_std]
#![no_main]

use board_qemu::{Clock, exit, println};
use cortex_m_rt::entry;
use skipstone_runtime::arith::Requant;
use skipstone_runtime::kernels::conv::{ConvParts, ConvRows, ConvShape, MAX_ROWS};
use skipstone_runtime::kernels::layout::PAIRS;
use skipstone_runtime::kernels::{ConvCode, best};

/// Name, output rows and columns, channels in and out, kernel, stride, whether a residual is added.
const LAYERS: &[(&str, usize, usize, usize, usize, usize, bool)] = &[
    ("first", 32, 3, 16, 3, 1, false),
    ("stage1.conv1", 32, 16, 16, 3, 1, false),
    ("stage1.conv2+add", 32, 16, 16, 3, 1, true),
    ("stage2.conv1", 16, 16, 32, 3, 2, false),
    ("stage2.shortcut", 16, 16, 32, 1, 2, false),
    ("stage2.conv2+add", 16, 32, 32, 3, 1, true),
    ("stage3.conv1", 8, 32, 64, 3, 2, false),
    ("stage3.shortcut", 8, 32, 64, 1, 2, false),
    ("stage3.conv2+add", 8, 64, 64, 3, 1, true),
    ("linear", 1, 64, 12, 1, 1, false),
];

const WEIGHTS_MAX: usize = 9 * 64 * 64;
const MAP_ROW_MAX: usize = 10 * 64;
const ROWS_MAX: usize = 3 * (10 * 64 + 8);
static WEIGHTS: [i8; WEIGHTS_MAX] = [3; WEIGHTS_MAX];
static REQUANT: [Requant; 64] = [Requant { c: 1 << 40, m: 1 << 20, s: 40 }; 64];

#[entry]
fn main() -> ! {
    static mut ROWS: [i16; ROWS_MAX] = [0; ROWS_MAX];
    static mut OUT: [i8; 512] = [0; 512];
    static MAP_ROW: [i8; MAP_ROW_MAX] = [5; MAP_ROW_MAX];

    let (Some(clock), backend) = (Clock::start(), best()) else { exit(false) };
    let (mut all, mut all_macs) = (0, 0);
    for &(name, size, channels_in, channels_out, kernel_size, stride, residual) in LAYERS {
        let elements = ((size - 1) * stride + kernel_size) * channels_in;
        let shape = ConvShape {
            kernel_h: kernel_size,
            kernel_w: kernel_size,
            stride_h: stride,
            stride_w: stride,
            channels_in,
            channels_out,
            groups: 1,
            width: size,
        };
        let row_len = PAIRS.row_len(&shape, elements);
        let kernel = backend.kernel(PAIRS.code, &shape).map(|kernel| kernel.code);
        let (Some(ConvCode::Int16 { run, widen }), Some(weights)) = (kernel, (PAIRS.len)(&shape)) else {
            println!("{} reads no weights in pairs", backend.name);
            exit(false)
        };
        let instructions = size as u64
            * clock.instructions(|| {
                for row in ROWS.chunks_exact_mut(row_len).take(kernel_size) {
                    widen(&MAP_ROW[..elements], &mut row[..elements]);
                }
                let mut out: [&mut [i8]; MAX_ROWS] = Default::default();
                out[0] = &mut OUT[..size * channels_out];
                let rows = ConvRows::new(ConvParts {
                    rows: &*ROWS,
                    row_len,
                    shape,
                    layout: &PAIRS,
                    weights: &WEIGHTS[..weights],
                    scratch: &mut [],
                    requant: &REQUANT[..channels_out],
                    residual: residual.then_some(1 << 20),
                    lo: -128,
                    hi: 127,
                    out,
                    count: 1,
                });
                rows.into_iter().for_each(|mut rows| run(&mut rows));
            });
        let macs = (size * size * kernel_size * kernel_size * channels_in * channels_out) as u64;
        report(name, macs, instructions);
        all += instructions;
        all_macs += macs;
    }
    report("all", all_macs, all);
    exit(true)
}

fn report(name: &str, macs: u64, instructions: u64) {
    let thousandths = 1000 * macs / instructions;
    let (whole, part) = (thousandths / 1000, thousandths % 1000);
    println!("{:20} {:9} macs {:9} instructions {}.{:03} macs/instruction", name, macs, instructions, whole, part);
}
