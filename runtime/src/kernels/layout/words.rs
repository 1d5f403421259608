use super::{
    ConvShape, LOWEST, Layout, Packing, RowElement, ensure, largest_of_products, most_of_products, no_scratch,
    whole_vectors,
};

/// 16-bit integers, little-endian, for dual 16-bit multiply-accumulates (SMLAD) without widening. For each pair of output
/// channels (A, B) and each kernel row: the row's `kernel_w * channels` weights of both, padded with zeros to a multiple of 2,
/// alternating by twos: `A0 A1 B0 B1 A2 A3 B2 B3 ...`.
pub static WORDS: Layout = Layout {
    code: 4,
    name: "words",
    element: RowElement::Int16,
    weight_bytes: 2,
    alignment: 8,
    suits: |shape| shape.width >= 4 && shape.groups == 1 && shape.channels_out.is_multiple_of(2),
    len: |shape| {
        let run = shape.kernel_w.checked_mul(shape.channels_in)?.checked_next_multiple_of(2)?;
        run.checked_mul(shape.kernel_h)?.checked_mul(shape.channels_out)?.checked_mul(2)
    },
    reads: |shape| whole_vectors(shape, 2),
    scratch: no_scratch,
};

/// [`WORDS`] with what packs and checks it.
pub static WORDS_PACKING: Packing = Packing {
    layout: &WORDS,
    pack: |shape, canonical, out| {
        let (run, kernel_h) = (shape.run(), shape.kernel_h.max(1));
        for (row, weights) in canonical.chunks(run.max(1)).enumerate() {
            for (k, &weight) in weights.iter().enumerate() {
                let at = index(shape, row / kernel_h, row % kernel_h, k);
                if let Some(place) = out.get_mut(at..at + 2) {
                    place.copy_from_slice(&i16::from(weight).to_le_bytes().map(|byte| byte as i8));
                }
            }
        }
    },
    weight: |shape, weights, channel, row, k| weights.get(index(shape, channel, row, k)).copied().unwrap_or(0),
    most: most_of_products,
    largest: largest_of_products,
    check: |shape, weights| {
        let (words, _) = weights.as_chunks::<2>();
        ensure!(words.iter().all(|&[low, high]| high == low >> 7), "a weight does not fit 8 bits")?;
        ensure!(words.iter().all(|&[low, _]| low != i8::MIN), LOWEST)?;
        let run = shape.run();
        let mut rows = weights.chunks((4 * run.next_multiple_of(2)).max(1));
        // A row ends with two weights of channel A and two of channel B.
        let holds = run.is_multiple_of(2) || rows.all(|row| matches!(row, [.., _, _, 0, 0, _, _, 0, 0]));
        ensure!(holds, "a weight that only fills up a run is not 0")
    },
};

/// Where the weight of an element of a run lies.
fn index(shape: &ConvShape, channel: usize, row: usize, k: usize) -> usize {
    let row = (channel / 2 * shape.kernel_h + row) * shape.run().next_multiple_of(2);
    2 * (2 * (row + k / 2 * 2) + channel % 2 * 2 + k % 2)
}
