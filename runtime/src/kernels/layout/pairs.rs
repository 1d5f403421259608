use super::{ConvShape, Layout, Packing, RowElement, block, magnitude};

/// For dual 16-bit multiply-accumulates (SMLAD). For each pair of output channels (A, B) and each kernel row: the row's
/// `kernel_w * channels` weights of both, padded with zeros to a multiple of 4, alternating: `A0 B0 A1 B1 A2 B2 ...`, so that
/// SXTB16 of a word gives (A0, A1) and SXTB16 of the word rotated by 8 bits gives (B0, B1).
pub static PAIRS: Layout = Layout {
    code: 1,
    name: "pairs",
    element: RowElement::Int16,
    vector: 4,
    alignment: 8,
    suits: |shape| shape.groups == 1 && shape.channels_out.is_multiple_of(2),
    len: |shape| row_len(shape)?.checked_mul(shape.kernel_h)?.checked_mul(shape.channels_out),
};

pub(super) static PAIRS_PACKING: Packing = Packing {
    layout: &PAIRS,
    pack: |shape, canonical, out| {
        let (run, kernel_h) = (shape.run(), shape.kernel_h.max(1));
        for (row, weights) in canonical.chunks(run.max(1)).enumerate() {
            let (channel, row) = (row / kernel_h, row % kernel_h);
            for (k, &weight) in weights.iter().enumerate() {
                if let Some(place) = out.get_mut(pairs_index(kernel_h, run, channel, row, k)) {
                    *place = weight;
                }
            }
        }
    },
    is_padded: |shape, weights| {
        let run = 2 * shape.run();
        let padded = 2 * row_len(shape).unwrap_or(0);
        let mut rows = weights.chunks(padded.max(1));
        run == padded || rows.all(|row| row.iter().skip(run).all(|&weight| weight == 0))
    },
    magnitude: |shape, weights, channel| {
        let len = shape.kernel_h * row_len(shape).unwrap_or(0);
        let pair = block(weights, channel / 2 * 2 * len, 2 * len);
        pair.iter().skip(channel % 2).step_by(2).map(magnitude).sum()
    },
};

/// Weights of one output channel in a kernel row, with those that only pad.
fn row_len(shape: &ConvShape) -> Option<usize> {
    shape.kernel_w.checked_mul(shape.channels_in)?.checked_next_multiple_of(4)
}

/// Where the weight of `channel`, kernel row `row` and element `k` of that row's run of `kernel_w * channels` elements
/// (`[kernel column][input channel]`) lies.
pub fn pairs_index(kernel_h: usize, run: usize, channel: usize, row: usize, k: usize) -> usize {
    ((channel / 2 * kernel_h + row) * run.next_multiple_of(4) + k) * 2 + channel % 2
}
