use super::{
    LOWEST, Layout, Packing, RowElement, ensure, holds_lowest, largest_of_products, most_of_products, no_scratch,
    whole_vectors,
};

/// int8, OHWI: `[output][kernel row][kernel column][input channel of the group]`. Every program reads it.
pub static CANONICAL: Layout = Layout {
    code: 0,
    name: "canonical",
    element: RowElement::Int8,
    weight_bytes: 1,
    alignment: 16,
    suits: |shape| {
        shape.groups > 0
            && shape.channels_in.is_multiple_of(shape.groups)
            && shape.channels_out.is_multiple_of(shape.groups)
    },
    len: |shape| {
        shape.kernel_h.checked_mul(shape.kernel_w)?.checked_mul(shape.group_in())?.checked_mul(shape.channels_out)
    },
    reads: |shape| whole_vectors(shape, 16),
    scratch: no_scratch,
};

/// [`CANONICAL`] with what packs and checks it.
pub static CANONICAL_PACKING: Packing = Packing {
    layout: &CANONICAL,
    pack: |_, canonical, out| out.iter_mut().zip(canonical).for_each(|(to, from)| *to = *from),
    weight: |shape, weights, channel, row, k| {
        let run = shape.kernel_w * shape.group_in();
        weights.get((channel * shape.kernel_h + row) * run + k).copied().unwrap_or(0)
    },
    most: most_of_products,
    largest: largest_of_products,
    check: |_, weights| ensure!(!holds_lowest(weights), LOWEST),
};
