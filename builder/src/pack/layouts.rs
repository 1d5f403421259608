//! Which kernel each convolution is packed for: the layout of its weights and the rows of its steps.

use crate::plan::Goal;
use skipstone_runtime::format::records::{Core, Node, OpCode, Tensor};
use skipstone_runtime::kernels::spec::{ConvSpec, fastest};
use skipstone_runtime::ops::conv::conv_shape;

/// Chooses for each convolution the kernel of `core` that runs it in the fewest instructions, for [`Goal::Size`] of those
/// whose weights take the fewest bytes. `tensors` have their shapes.
pub(super) fn choose(nodes: &mut [Node], tensors: &[Tensor], core: Core, goal: Goal) {
    for node in nodes.iter_mut().filter(|node| OpCode::from_code(node.op) == Some(OpCode::Conv)) {
        let (input, output) = (&tensors[usize::from(node.input)], &tensors[usize::from(node.output)]);
        let shape = conv_shape(node, input, output);
        let len = |spec: &ConvSpec| (spec.layout.len)(&shape).unwrap_or(usize::MAX);
        let suiting = core.kernels().iter().filter(|spec| (spec.suits)(&shape));
        let least = suiting.map(|spec| len(spec)).min();
        let allowed = |spec: &ConvSpec| goal != Goal::Size || Some(len(spec)) == least;
        let spec = fastest(core.kernels(), &shape, output.width.into(), allowed);
        let spec = spec.expect("the last kernel of a core runs every convolution");
        node.layout = spec.layout.code;
        node.rows_per_step = match goal {
            Goal::Speed => (spec.rows)(&shape) as u8,
            Goal::Ram | Goal::Size => 1,
        };
    }
}
