use super::{ConvShape, Layout, Packing, RowElement, block, magnitude};
use crate::kernels::load;

/// int8, OHWI: `[output][kernel row][kernel column][input channel of the group]`. Every program reads it.
pub static CANONICAL: Layout = Layout {
    code: 0,
    name: "canonical",
    element: RowElement::Int8,
    vector: 16,
    alignment: 16,
    suits: |shape| {
        shape.groups > 0
            && shape.channels_in.is_multiple_of(shape.groups)
            && shape.channels_out.is_multiple_of(shape.groups)
    },
    len: |shape| per_channel(shape)?.checked_mul(shape.channels_out),
};

pub(super) static CANONICAL_PACKING: Packing = Packing {
    layout: &CANONICAL,
    pack: |_, canonical, out| load::copy(canonical, out),
    is_padded: |_, _| true,
    magnitude: |shape, weights, channel| {
        let len = per_channel(shape).unwrap_or(0);
        block(weights, channel * len, len).iter().map(magnitude).sum()
    },
};

fn per_channel(shape: &ConvShape) -> Option<usize> {
    shape.kernel_h.checked_mul(shape.kernel_w)?.checked_mul(shape.group_in())
}
