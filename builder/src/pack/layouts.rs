//! Which kernel each convolution is packed for: the layout of its weights and the rows of its steps.

use crate::plan::Goal;
use skipstone_runtime::format::records::{Core, Node, OpCode, Tensor};
use skipstone_runtime::kernels::conv::ConvShape;
use skipstone_runtime::kernels::spec::{ConvSpec, CoreKernels, fastest};
use skipstone_runtime::ops::conv::conv_shape;

/// Chooses for each convolution the kernel of `core` that runs it in the fewest instructions; for [`Goal::Size`] of those
/// kernels with which weights and program take the fewest bytes together. For [`Goal::Speed`] groups become one, with
/// weights of 0 between them, where that takes fewer instructions. `tensors` have their shapes.
pub(super) fn choose(nodes: &mut [Node], tensors: &[Tensor], core: Core, goal: Goal) {
    let is_conv = |node: &&Node| OpCode::from_code(node.op) == Some(OpCode::Conv);
    let shape = |node: &Node| {
        let (input, output) = (&tensors[usize::from(node.input)], &tensors[usize::from(node.output)]);
        conv_shape(node, input, output)
    };
    let kernels = match goal {
        Goal::Size => smallest(&frugal(core.kernels()), &nodes.iter().filter(is_conv).map(shape).collect::<Vec<_>>()),
        Goal::Ram => frugal(core.kernels()),
        Goal::Speed => core.kernels().to_vec(),
    };
    for node in nodes.iter_mut().filter(|node| is_conv(&&**node)) {
        let mut shape = shape(node);
        if goal == Goal::Speed && merges(&kernels, &shape) {
            (node.groups, shape.groups) = (1, 1);
        }
        let least = kernels.iter().filter_map(|spec| len(spec, &shape)).min();
        let allowed = |spec: &ConvSpec| goal != Goal::Size || len(spec, &shape) == least;
        let spec = fastest(&kernels, &shape, allowed).expect("the last kernel of a core runs every convolution");
        node.layout = spec.layout.code;
        node.rows_per_step = match goal {
            Goal::Speed => (spec.rows)(&shape) as u8,
            Goal::Ram | Goal::Size => 1,
        };
    }
}

/// Whether a convolution takes fewer instructions as one group, with weights of 0 between its groups that take a byte each.
fn merges(kernels: &CoreKernels, shape: &ConvShape) -> bool {
    let cost = |shape: &ConvShape| {
        let allowed = |spec: &ConvSpec| shape.groups > 1 || spec.layout.weight_bytes == 1;
        fastest(kernels, shape, allowed).map_or(u64::MAX, |spec| (spec.cost)(shape))
    };
    cost(&ConvShape { groups: 1, ..*shape }) < cost(shape)
}

/// The kernels of a core whose weights take a byte each.
fn frugal(kernels: &CoreKernels) -> Vec<&'static ConvSpec> {
    kernels.iter().copied().filter(|spec| spec.layout.weight_bytes == 1).collect()
}

/// Bytes of the weights of a convolution that a kernel runs; `None` if it does not suit the kernel.
fn len(spec: &ConvSpec, shape: &ConvShape) -> Option<usize> {
    if (spec.suits)(shape) { (spec.layout.len)(shape) } else { None }
}

/// The kernels of a core with which weights and program take the fewest bytes, among them the first one that runs all
/// convolutions without groups, which makes it fast: another one that saves some weights may cost more program.
fn smallest(kernels: &[&'static ConvSpec], shapes: &[ConvShape]) -> Vec<&'static ConvSpec> {
    let chosen = |set: usize| kernels.iter().enumerate().filter(move |(i, _)| set >> i & 1 == 1).map(|(_, &spec)| spec);
    let bytes = |set: usize| {
        let weights = shapes.iter().map(|shape| chosen(set).filter_map(|spec| len(spec, shape)).min());
        let weights: Option<usize> = weights.sum();
        Some(weights? + chosen(set).map(|spec| spec.code_bytes).sum::<usize>())
    };
    let ungrouped: Vec<_> = shapes.iter().filter(|shape| shape.groups == 1).collect();
    let suits_all = |spec: &&ConvSpec| ungrouped.iter().all(|shape| (spec.suits)(shape));
    let first = kernels.iter().position(|spec| !ungrouped.is_empty() && suits_all(spec));
    let sets = (0..1usize << kernels.len()).filter(|set| first.is_none_or(|first| set >> first & 1 == 1));
    let best = sets.filter_map(|set| Some((bytes(set)?, set))).min();
    best.map_or_else(|| kernels.to_vec(), |(_, set)| chosen(set).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use skipstone_runtime::kernels::spec::{ARMV6M, ARMV7M, CORTEX_M, NEON};

    #[test]
    fn groups_become_one_where_products_are_cheap() {
        let of = |groups| ConvShape {
            kernel_h: 3,
            kernel_w: 3,
            stride_h: 1,
            stride_w: 1,
            channels_in: 64,
            channels_out: 64,
            groups,
            width: 8,
        };
        // Kernels for groups take groups of 8 channels, not of 12.
        assert!(merges(NEON, &ConvShape { channels_in: 48, channels_out: 48, ..of(4) }));
        assert!(!merges(NEON, &of(8)) && !merges(NEON, &of(1)));
        for kernels in [ARMV6M, ARMV7M, CORTEX_M] {
            assert!(!merges(kernels, &of(8)) && !merges(kernels, &of(64)));
        }
    }

    #[test]
    fn a_kernel_has_to_save_more_weights_than_its_program_takes() {
        let shape = |groups, channels| ConvShape {
            kernel_h: 3,
            kernel_w: 3,
            stride_h: 1,
            stride_w: 1,
            channels_in: channels,
            channels_out: channels,
            groups,
            width: 8,
        };
        let names =
            |shapes: &[ConvShape]| smallest(&frugal(CORTEX_M), shapes).iter().map(|spec| spec.name).collect::<Vec<_>>();
        // Runs of 9 weights are padded to 12: 3 * 3 bytes for each output channel.
        assert_eq!(names(&[shape(1, 6), shape(1, 16)]), ["conv_2x3_smlad"]);
        assert_eq!(names(&[shape(4, 16)]), ["conv_2x3_armv7m"]);
        assert_eq!(names(&vec![shape(1, 2); 10]), ["conv_2x3_smlad"]);
        assert_eq!(names(&vec![shape(1, 2); 1000]), ["conv_2x3_smlad", "conv_2x3_armv7m"]);
    }
}
