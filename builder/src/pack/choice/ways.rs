//! The ways to run a convolution: kernels of a core, and the rows of their steps.

use skipstone_runtime::format::records::{ALIGNMENT, Node, Tensor};
use skipstone_runtime::kernels::layout::TAPS;
use skipstone_runtime::kernels::spec::{ConvSpec, CoreKernels};
use skipstone_runtime::ops;
use skipstone_runtime::ops::conv::conv_shape;

/// A way to run a convolution.
#[derive(Clone, Copy)]
pub struct Way {
    /// The kernel: the first of the core's that reads the weights' layout and suits the convolution, as on the device.
    pub kernel: &'static ConvSpec,
    /// Groups; one where weights of 0 between groups make a convolution without groups of it.
    pub groups: u16,
    /// Output rows of a step.
    pub rows: u8,
    /// Bytes of the weights as they are laid out.
    pub weights_bytes: usize,
    /// Bytes of scratch that a step works in.
    pub scratch_bytes: usize,
    /// Estimated instructions of all output rows.
    pub instructions: u64,
}

impl std::fmt::Debug for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { groups, rows, weights_bytes, scratch_bytes, instructions, .. } = self;
        let name = self.kernel.name;
        write!(f, "{name} groups {groups} rows {rows} weights {weights_bytes} scratch {scratch_bytes}: {instructions}")
    }
}

impl Way {
    /// Bytes of the weights in the file, filled up to where the next section begins.
    pub(super) fn section(&self) -> u64 {
        self.weights_bytes.next_multiple_of(ALIGNMENT) as u64
    }

    /// Whether it is the layout, the groups and the rows of a node.
    pub(super) fn is_of(&self, node: &Node) -> bool {
        (self.kernel.layout.code, self.groups, self.rows) == (node.layout, node.groups, node.rows_per_step)
    }

    /// `node` when it runs in this way.
    pub(super) fn applied(&self, node: &Node) -> Node {
        Node { layout: self.kernel.layout.code, groups: self.groups, rows_per_step: self.rows, ..*node }
    }
}

/// All ways to run the convolution `node` on a core with `kernels`, in their order; each kernel makes as many rows in
/// a step as it is fastest with, or one. `tensors` have their shapes and strides.
pub(super) fn of(node: &Node, tensors: &[Tensor], kernels: &CoreKernels) -> Vec<Way> {
    let [input, output] = [node.input, node.output].map(|index| &tensors[usize::from(index)]);
    let mut ways: Vec<Way> = Vec::new();
    let own = node.groups;
    for groups in [own, 1].into_iter().take(if own > 1 { 2 } else { 1 }) {
        let shape = conv_shape(&Node { groups, ..*node }, input, output);
        // Weights of 0 between groups have to be cheap.
        let allowed = |kernel: &&ConvSpec| groups == own || kernel.layout.weight_bytes == 1;
        for kernel in kernels.iter().copied().filter(|kernel| (kernel.suits)(&shape)).filter(allowed) {
            if ways.iter().any(|way| way.groups == groups && way.kernel.layout == kernel.layout) {
                continue;
            }
            let Some(weights_bytes) = (kernel.layout.len)(&shape) else { continue };
            let most = (kernel.rows)(&shape);
            // A transform of all weights for one row is worth nothing.
            let shorter = most > 1 && *kernel.layout != TAPS;
            for rows in [most, 1].into_iter().take(if shorter { 2 } else { 1 }) {
                let rows = rows as u8;
                let mut way = Way { kernel, groups, rows, weights_bytes, scratch_bytes: 0, instructions: 0 };
                way.scratch_bytes = ops::scratch_len(&way.applied(node), input, output);
                way.instructions = kernel.instructions(&shape, rows.into(), output.height.into());
                ways.push(way);
            }
        }
    }
    ways
}
