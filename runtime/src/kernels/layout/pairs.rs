use super::{
    ConvShape, LOWEST, Layout, Packing, RowElement, ensure, holds_lowest, largest_of_products, most_of_products,
    no_scratch, whole_vectors,
};

/// For dual 16-bit multiply-accumulates (SMLAD). For each pair of output channels (A, B) and each kernel row: the row's
/// `kernel_w * channels` weights of both, which are of one group, padded with zeros to a multiple of 4, alternating:
/// `A0 B0 A1 B1 A2 B2 ...`, so that SXTB16 of a word gives (A0, A1) and SXTB16 of the word rotated by 8 bits gives (B0,
/// B1).
pub static PAIRS: Layout = Layout {
    code: 1,
    name: "pairs",
    element: RowElement::Int16,
    weight_bytes: 1,
    alignment: 8,
    suits: |shape| {
        let group_out = shape.channels_out.checked_div(shape.groups).unwrap_or(0);
        let whole =
            shape.group_in() * shape.groups == shape.channels_in && group_out * shape.groups == shape.channels_out;
        group_out.is_multiple_of(2)
            && whole
            && (shape.groups == 1 || shape.group_in().is_multiple_of(2))
            && shape.groups > 0
    },
    len: |shape| row_len(shape)?.checked_mul(shape.kernel_h)?.checked_mul(shape.channels_out),
    reads: |shape| whole_vectors(shape, 4),
    scratch: no_scratch,
};

/// [`PAIRS`] with what packs and checks it.
pub static PAIRS_PACKING: Packing = Packing {
    layout: &PAIRS,
    pack: |shape, canonical, out| {
        let (run, kernel_h) = (run(shape), shape.kernel_h.max(1));
        for (row, weights) in canonical.chunks(run.max(1)).enumerate() {
            let (channel, row) = (row / kernel_h, row % kernel_h);
            for (k, &weight) in weights.iter().enumerate() {
                if let Some(place) = out.get_mut(index(shape, channel, row, k)) {
                    *place = weight;
                }
            }
        }
    },
    weight: |shape, weights, channel, row, k| weights.get(index(shape, channel, row, k)).copied().unwrap_or(0),
    most: most_of_products,
    largest: largest_of_products,
    check: |shape, weights| {
        let run = 2 * run(shape);
        let padded = 2 * row_len(shape).unwrap_or(0);
        let mut rows = weights.chunks(padded.max(1));
        ensure!(!holds_lowest(weights), LOWEST)?;
        let holds = run == padded || rows.all(|row| row.iter().skip(run).all(|&weight| weight == 0));
        ensure!(holds, "a weight that only fills up a run is not 0")
    },
};

/// Weights of one output channel in a kernel row.
fn run(shape: &ConvShape) -> usize {
    shape.kernel_w * shape.group_in()
}

/// Those with what only pads.
fn row_len(shape: &ConvShape) -> Option<usize> {
    shape.kernel_w.checked_mul(shape.group_in())?.checked_next_multiple_of(4)
}

/// Where the weight of an element of a run lies.
fn index(shape: &ConvShape, channel: usize, row: usize, k: usize) -> usize {
    ((channel / 2 * shape.kernel_h + row) * run(shape).next_multiple_of(4) + k) * 2 + channel % 2
}
