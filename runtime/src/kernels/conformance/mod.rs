//! The kernels' test suite, in one place for every processor: sizes around the edges of tiles, deterministic contents,
//! every kernel against the reference. Needs no heap, so that programs for microcontrollers run it too.

mod elementwise;

use super::conv::{ConvParts, ConvRows, ConvShape, Element, MAX_ROWS};
use super::layout::{self, Layout};
use super::{Backend, ConvCode, ConvKernel, reference};
use crate::arith::Requant;
use core::fmt;

const ROWS_LEN: usize = 8192;
const WEIGHTS_LEN: usize = 18432;
const SCRATCH_LEN: usize = 38016;
const CHANNELS_MAX: usize = 40;
const OUT_LEN: usize = 512;
/// Around what a kernel may write, to see that it writes nothing else.
const GUARD: usize = 8;

/// A convolution row's shape.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    kernel_h: usize,
    kernel_w: usize,
    stride_h: usize,
    stride_w: usize,
    channels_in: usize,
    channels_out: usize,
    groups: usize,
    width: usize,
    /// Output rows of one call.
    rows: usize,
    residual: bool,
    /// Weights and pixels at the ends of their ranges.
    extreme: bool,
}

impl Case {
    fn shape(&self) -> ConvShape {
        ConvShape {
            kernel_h: self.kernel_h,
            kernel_w: self.kernel_w,
            stride_h: self.stride_h,
            stride_w: self.stride_w,
            channels_in: self.channels_in,
            channels_out: self.channels_out,
            groups: self.groups,
            width: self.width,
        }
    }

    /// Whether a kernel runs it, and the buffers hold it.
    fn fits(&self, kernel: &ConvKernel) -> bool {
        let (shape, layout) = (self.shape(), kernel.spec.layout);
        let rows = shape.span(self.rows) * self.row_len(layout);
        (kernel.spec.suits)(&shape)
            && (layout.suits)(&shape)
            && rows <= ROWS_LEN
            && (layout.len)(&shape).is_some_and(|len| len <= WEIGHTS_LEN)
            && (layout.scratch)(&shape) <= SCRATCH_LEN
            && self.rows * (self.row_outputs() + GUARD) <= OUT_LEN
    }

    /// Outputs of a row.
    fn row_outputs(&self) -> usize {
        self.width * self.channels_out
    }

    /// Elements from a row to the next; odd, so that rows lie on every alignment.
    fn row_len(&self, layout: &Layout) -> usize {
        let pixels = (self.width - 1) * self.stride_w + self.kernel_w;
        layout.row_len(&self.shape(), pixels * self.channels_in).next_multiple_of(16) + 1
    }

    /// Smallest and largest output.
    fn clamp(&self) -> (i8, i8) {
        if self.extreme { (-128, 127) } else { (-100, 90) }
    }
}

/// Every case, the same each time.
fn cases() -> impl Iterator<Item = Case> {
    // kernel_h, kernel_w, stride_w, channels_in, channels_out, groups
    const SHAPES: &[[usize; 6]] = &[
        [1, 1, 1, 4, 4, 1],
        [1, 1, 1, 8, 6, 1],
        [1, 1, 2, 4, 6, 1],
        [1, 1, 2, 16, 8, 1],
        [1, 1, 1, 64, 12, 1],
        [1, 1, 2, 64, 6, 1],
        [3, 3, 1, 1, 4, 1],
        [3, 3, 1, 3, 16, 1],
        [3, 3, 2, 3, 20, 1],
        [3, 3, 1, 4, 2, 1],
        [3, 3, 1, 8, 6, 1],
        [3, 3, 1, 16, 16, 1],
        [3, 3, 1, 16, 8, 1],
        [3, 3, 1, 48, 4, 1],
        [3, 3, 1, 64, 4, 1],
        [3, 3, 2, 16, 4, 1],
        [3, 3, 2, 32, 8, 1],
        [3, 3, 2, 48, 4, 1],
        [3, 3, 1, 20, 10, 1],
        [3, 3, 1, 32, 4, 1],
        [2, 5, 1, 12, 4, 1],
        [5, 2, 3, 4, 8, 1],
        [1, 7, 1, 5, 4, 1],
        [4, 4, 4, 16, 10, 1],
        [8, 8, 1, 8, 10, 1],
        [3, 3, 1, 8, 8, 8],
        [3, 3, 2, 12, 4, 4],
        [3, 3, 1, 16, 16, 16],
        [3, 3, 2, 16, 16, 8],
        [3, 3, 1, 16, 16, 4],
        [1, 2, 1, 16, 16, 2],
        [3, 3, 1, 40, 40, 5],
        [3, 3, 1, 32, 32, 2],
        [1, 1, 1, 16, 40, 1],
        [1, 1, 3, 8, 32, 1],
        [3, 3, 1, 16, 16, 8],
        [3, 3, 1, 16, 20, 4],
        [3, 3, 2, 16, 16, 2],
        [1, 3, 1, 12, 6, 2],
        [2, 2, 1, 10, 10, 2],
        [3, 3, 1, 20, 20, 20],
        [5, 2, 2, 16, 16, 16],
        [3, 3, 1, 7, 7, 7],
        [1, 1, 1, 4, 5, 1],
        [3, 3, 1, 6, 7, 1],
    ];
    const WIDTHS: &[usize] = &[1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 16];
    SHAPES.iter().flat_map(|&[kernel_h, kernel_w, stride_w, channels_in, channels_out, groups]| {
        WIDTHS.iter().flat_map(move |&width| {
            [(false, false), (true, false), (true, true)].into_iter().map(move |(residual, extreme)| Case {
                kernel_h,
                kernel_w,
                stride_h: stride_w.min(2),
                stride_w,
                channels_in,
                channels_out,
                groups,
                width,
                rows: 1 + (width + 3 * usize::from(residual)) % MAX_ROWS,
                residual,
                extreme,
            })
        })
    })
}

/// A kernel's output that is not the reference's.
#[derive(Clone, Copy, Debug)]
pub struct Difference {
    /// The kernel.
    pub kernel: &'static str,
    /// What it computed.
    pub case: Case,
    /// Index of the output that differs; negative for one before the outputs.
    pub at: isize,
    /// The kernel's value.
    pub found: i8,
    /// The reference's value.
    pub expected: i8,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kernel, case, at, found, expected } = self;
        write!(f, "kernel {kernel}, {case:?}: element {at} is {found} and must be {expected}")
    }
}

/// Compares every kernel of a backend with the reference. `report` is told each kernel's name and how many
/// comparisons it stood. Returns the comparisons in all.
///
/// # Errors
/// The first difference.
///
/// # Panics
/// If widening a row differs from the plain conversion, or an operator without weights from its definition.
pub fn compare_backend(
    buffers: &mut Buffers,
    backend: &Backend,
    mut report: impl FnMut(&'static str, usize),
) -> Result<usize, Difference> {
    let mut compared = 0;
    for kernel in backend.kernels {
        let of_kernel = compare_kernel(buffers, kernel)?;
        report(kernel.spec.name, of_kernel);
        compared += of_kernel;
    }
    let mut widened = 0;
    for kernel in backend.kernels {
        if let ConvCode::Int16 { widen, .. } = kernel.code {
            widened += buffers.compare_widen(widen);
            report("widen", widened);
        }
    }
    let elementwise = buffers.compare_elementwise();
    report("elementwise", elementwise);
    Ok(compared + widened + elementwise)
}

/// Compares a kernel that may be no backend's with the reference, as [`compare_backend`] does.
#[cfg(test)]
pub(super) fn compare_with_reference(kernel: &ConvKernel) -> Result<usize, Difference> {
    compare_kernel(&mut Buffers::new(), kernel)
}

fn compare_kernel(buffers: &mut Buffers, kernel: &ConvKernel) -> Result<usize, Difference> {
    let layout = kernel.spec.layout;
    let mut compared = 0;
    for case in cases().filter(|case| case.fits(kernel)) {
        let reference = reference::BACKEND.kernel(layout.code, &case.shape()).map(|reference| reference.code);
        match (kernel.code, reference) {
            (ConvCode::Int8(run), Some(ConvCode::Int8(expected))) => {
                buffers.compare(&case, kernel.spec.name, layout, [run, expected])?;
            }
            (ConvCode::Uint8(run), Some(ConvCode::Uint8(expected))) => {
                buffers.compare(&case, kernel.spec.name, layout, [run, expected])?;
            }
            (ConvCode::Int16 { run, .. }, Some(ConvCode::Int16 { run: expected, .. })) => {
                buffers.compare(&case, kernel.spec.name, layout, [run, expected])?;
            }
            _ => panic!("kernel {} has no reference", kernel.spec.name),
        }
        compared += 1;
    }
    Ok(compared)
}

#[repr(align(16))]
struct Scratch([i8; SCRATCH_LEN]);

/// Where the cases' rows, weights and outputs lie.
pub struct Buffers {
    random: u64,
    canonical: [i8; WEIGHTS_LEN],
    weights: [i8; WEIGHTS_LEN],
    scratch: Scratch,
    requant: [Requant; CHANNELS_MAX],
    out: [i8; OUT_LEN + 2 * GUARD],
    expected: [i8; OUT_LEN + 2 * GUARD],
}

impl Buffers {
    /// Buffers whose contents are always the same.
    pub fn new() -> Self {
        Self {
            random: 0x9E37_79B9_7F4A_7C15,
            canonical: [0; WEIGHTS_LEN],
            weights: [0; WEIGHTS_LEN],
            scratch: Scratch([0; SCRATCH_LEN]),
            requant: [Requant { c: 0, m: 0, s: 32 }; CHANNELS_MAX],
            out: [0; OUT_LEN + 2 * GUARD],
            expected: [0; OUT_LEN + 2 * GUARD],
        }
    }

    /// Runs two kernels, one to judge and the reference, on the same contents.
    fn compare<T: Element>(
        &mut self,
        case: &Case,
        kernel: &'static str,
        layout: &'static Layout,
        kernels: [fn(&mut ConvRows<'_, T>); 2],
    ) -> Result<(), Difference> {
        let shape = case.shape();
        let mut rows = [T::from(0); ROWS_LEN];
        let extreme = |bits: u32, low: i8, high: i8| if bits & 1 == 0 { low } else { high };
        for value in &mut rows {
            let bits = self.next();
            *value = T::from(if case.extreme { extreme(bits, -128, 127) } else { bits as i8 });
        }
        let canonical_len = shape.macs();
        for at in 0..canonical_len {
            let bits = self.next();
            self.canonical[at] = if case.extreme { extreme(bits, -127, 127) } else { (bits as i8).max(-127) };
        }
        let weights_len = (layout.len)(&shape).unwrap_or(0);
        self.weights[..weights_len].fill(0);
        if let Some(packing) = layout::from_code(layout.code) {
            (packing.pack)(&shape, &self.canonical[..canonical_len], &mut self.weights[..weights_len]);
        }
        for channel in 0..case.channels_out {
            self.requant[channel] = self.requant(case);
        }
        let outputs = case.row_outputs();
        for at in 0..OUT_LEN + 2 * GUARD {
            self.out[at] = self.next() as i8;
        }
        self.expected = self.out;
        let multiplier = (self.next() >> 4) as i32;
        for (out, run) in [&mut self.out, &mut self.expected].into_iter().zip(kernels) {
            let mut out_rows: [&mut [i8]; MAX_ROWS] = Default::default();
            // Between the rows lie guards, too.
            let places = out[GUARD..].chunks_mut(outputs + GUARD);
            for (row, place) in out_rows.iter_mut().zip(places).take(case.rows) {
                *row = &mut place[..outputs];
            }
            let parts = ConvParts {
                rows: &rows,
                row_len: case.row_len(layout),
                shape,
                layout,
                weights: &self.weights[..weights_len],
                scratch: &mut self.scratch.0,
                requant: &self.requant[..case.channels_out],
                residual: case.residual.then_some(multiplier),
                lo: case.clamp().0,
                hi: case.clamp().1,
                out: out_rows,
                count: case.rows,
            };
            let Some(mut convolution) = ConvRows::new(parts) else { panic!("{kernel}, {case:?}: not in bounds") };
            run(&mut convolution);
        }
        let differs = self.out.iter().zip(&self.expected).position(|(found, expected)| found != expected);
        differs.map_or(Ok(()), |at| {
            let (case, found, expected) = (*case, self.out[at], self.expected[at]);
            Err(Difference { kernel, case, at: at as isize - GUARD as isize, found, expected })
        })
    }

    /// Compares a kernel's widening of rows with the plain conversion; how many lengths.
    fn compare_widen(&mut self, widen: fn(&[i8], &mut [i16])) -> usize {
        const LENGTHS: usize = 70;
        for len in 0..LENGTHS {
            let at = len % 4;
            let from = &self.weights[at..at + len];
            let mut to = [0x5A5A; LENGTHS + 1];
            widen(from, &mut to[..len]);
            assert!(to.iter().zip(from).all(|(&to, &from)| to == i16::from(from)), "widening {len} elements");
            assert!(to[len] == 0x5A5A, "widening {len} elements wrote after them");
        }
        LENGTHS
    }

    /// Constants that spread the sums of the case over the whole int8 range and a little more.
    fn requant(&mut self, case: &Case) -> Requant {
        let sum_bits = (case.kernel_h * case.kernel_w * case.channels_in / case.groups).ilog2() / 2 + 13;
        let s = 32 + self.next() % 30;
        // acc * m >> s has about 8 bits.
        let m_bits = (s + 8).saturating_sub(sum_bits).clamp(1, 30);
        let m = (1 << m_bits) - (self.next() as i32 & ((1 << m_bits) / 2));
        let zero_point = i64::from(self.next() as i8);
        Requant { c: (zero_point << s) + (1 << (s - 1)), m, s }
    }

    /// xorshift64*.
    fn next(&mut self) -> u32 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        (self.random.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32) as u32
    }
}

impl Default for Buffers {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;
    use crate::kernels::layout::CANONICAL;
    use crate::kernels::spec::{ARMV6M, ARMV7M, CONV_4X2_PORTABLE, CORTEX_M, DOTPROD, MVE, NEON, PORTABLE, X86};
    use crate::kernels::{BACKENDS, portable};

    #[test]
    fn every_backend_equals_the_reference() {
        let mut names = std::vec::Vec::new();
        for backend in BACKENDS.iter().filter(|backend| (backend.available)()) {
            let compared = compare_backend(&mut Buffers::new(), backend, |_, compared| assert!(compared > 60));
            assert!(compared.unwrap_or_else(|difference| panic!("{}: {difference}", backend.name)) > 500);
            names.push(backend.name);
        }
        assert!(names.ends_with(&["portable", "reference"]), "{names:?}");
        assert_eq!(names.contains(&"neon"), cfg!(target_arch = "aarch64"), "{names:?}");
        #[cfg(target_arch = "aarch64")]
        assert_eq!(names.contains(&"dotprod"), std::arch::is_aarch64_feature_detected!("dotprod"), "{names:?}");
        #[cfg(target_arch = "x86_64")]
        for (name, feature) in [
            ("avx2", std::arch::is_x86_feature_detected!("avx2")),
            ("avx512vnni", std::arch::is_x86_feature_detected!("avx512vnni")),
        ] {
            assert_eq!(names.contains(&name), feature, "{names:?}");
        }
    }

    /// Hosts choose by descriptions; a program has the code of every one.
    #[test]
    fn backends_have_the_kernels_that_are_described() {
        let thumb = if cfg!(skipstone_armv6m) { ARMV6M } else { ARMV7M };
        let described = [
            (PORTABLE, "portable"),
            (X86, "avx512vnni"),
            (NEON, "neon"),
            (DOTPROD, "dotprod"),
            (CORTEX_M, "cortex_m"),
            (MVE, "mve"),
            (thumb, "thumb"),
        ];
        let mut compared = 0;
        for (specs, name) in described {
            let Some(backend) = BACKENDS.iter().find(|backend| backend.name == name) else { continue };
            let mut kernels = backend.kernels.iter().map(|kernel| kernel.spec.name);
            assert!(specs.iter().all(|spec| kernels.any(|kernel| kernel == spec.name)), "{name}");
            compared += 1;
        }
        assert!(compared > 0);
    }

    #[test]
    fn outputs_are_spread_over_their_range() {
        let mut counts = [0usize; 3];
        for case in cases().filter(|case| case.fits(&portable::CONV)) {
            let mut buffers = Buffers::new();
            buffers.compare(&case, "portable", &CANONICAL, [portable::conv_4x2_portable; 2]).unwrap();
            let (lo, hi) = case.clamp();
            for &value in &buffers.expected[GUARD..][..case.row_outputs()] {
                counts[if value == lo {
                    0
                } else if value == hi {
                    1
                } else {
                    2
                }] += 1;
            }
        }
        let all: usize = counts.iter().sum();
        assert!(counts.iter().all(|&count| count > all / 20) && counts[2] > all / 3, "{counts:?}");
    }

    #[test]
    fn a_wrong_kernel_is_found() {
        fn wrong(rows: &mut ConvRows<'_, i8>) {
            rows.each(|row| {
                portable::conv_row(row);
                if let (Some(last), true) = (row.out.last_mut(), row.residual.is_some()) {
                    *last ^= 1;
                }
            });
        }
        let kernel = ConvKernel { spec: &CONV_4X2_PORTABLE, code: ConvCode::Int8(wrong) };
        let difference = compare_kernel(&mut Buffers::new(), &kernel).unwrap_err();
        assert!(difference.case.residual && difference.at >= 0, "{difference}");
    }

    #[test]
    fn rows_outside_their_slices_are_no_convolution() {
        let shape = ConvShape {
            kernel_h: 3,
            kernel_w: 3,
            stride_h: 1,
            stride_w: 1,
            channels_in: 4,
            channels_out: 4,
            groups: 1,
            width: 4,
        };
        let fits = |rows: usize, weights: usize, outputs: [usize; 2], count: usize| {
            let (rows, weights) = (std::vec![0i8; rows], std::vec![1i8; weights]);
            let [mut first, mut second] = outputs.map(|len| std::vec![0i8; len]);
            let mut out: [&mut [i8]; MAX_ROWS] = Default::default();
            (out[0], out[1]) = (&mut first[..], &mut second[..]);
            let (requant, layout) = (&[Requant { c: 0, m: 1, s: 32 }; 4][..], &CANONICAL);
            let (residual, lo, hi) = (None, -128, 127);
            let parts = ConvParts {
                rows: &rows,
                row_len: 32,
                shape,
                layout,
                weights: &weights,
                scratch: &mut [],
                requant,
                residual,
                lo,
                hi,
                out,
                count,
            };
            ConvRows::new(parts).is_some()
        };
        // Four pixels: the last run starts at 12 and is read up to 28.
        let (rows, weights) = (3 * 32 + 12 + 16, 144);
        assert!(fits(rows, weights, [16, 16], 2) && fits(2 * 32 + 28, weights, [16, 0], 1));
        assert!(!fits(rows - 1, weights, [16, 16], 2) && !fits(rows, weights - 1, [16, 16], 2));
        assert!(
            !fits(rows, weights, [16, 12], 2) && !fits(rows, weights, [0, 0], 2) && !fits(rows, weights, [16, 16], 0)
        );
        assert!(!fits(rows, weights, [16, 16], 3));
    }
}
