use super::{
    ConvShape, LOWEST, Layout, Packing, RowElement, ensure, holds_lowest, largest_of_products, most_of_products,
    no_scratch,
};

/// Output channels whose weights lie side by side.
pub(in crate::kernels) const BLOCK: usize = 16;

/// For four byte products added to a 32-bit sum (VPDPBUSD, SDOT), 16 output channels at a time. For each block of 16 output
/// channels, the last one filled up with channels of zeros, each kernel row and each four elements of that row's run:
/// `[16 channels][4 weights]`. Without groups the run is filled up with zeros to a multiple of 4, with groups the channels of
/// each kernel column are.
///
/// Input rows are [`Uint8`](crate::kernels::conv::Uint8), so that products of them add up to `128 * weights` too much. After
/// the blocks comes what takes it away: for each channel -128 times the sum of its weights, an i32.
pub static QUADS: Layout = Layout {
    code: 3,
    name: "quads",
    element: RowElement::Uint8,
    weight_bytes: 1,
    alignment: 16,
    suits: |shape| {
        let whole = |channels: usize| channels.is_multiple_of(shape.groups) && channels > 0;
        let group = shape.group_in();
        shape.groups == 1
            || whole(shape.channels_in)
                && shape.channels_in == shape.channels_out
                && (BLOCK.is_multiple_of(group) || group.is_multiple_of(BLOCK))
    },
    len: |shape| {
        let channel = block_len(shape)?.checked_add(4 * BLOCK)?;
        channel.checked_mul(shape.channels_out.div_ceil(BLOCK))
    },
    // Kernels for groups read 16 channels at a time.
    reads: |shape| {
        let last = shape.width.checked_sub(1)?.checked_mul(shape.stride_w.checked_mul(shape.channels_in)?)?;
        last.checked_add(shape.kernel_w.checked_mul(shape.channels_in)?)?.checked_add(BLOCK)
    },
    scratch: no_scratch,
};

/// [`QUADS`] with what packs and checks it.
pub static QUADS_PACKING: Packing = Packing {
    layout: &QUADS,
    pack: |shape, canonical, out| {
        let (run, kernel_h) = ((shape.kernel_w * shape.group_in()).max(1), shape.kernel_h.max(1));
        for (row, weights) in canonical.chunks(run).enumerate() {
            let (channel, row) = (row / kernel_h, row % kernel_h);
            for (k, &weight) in weights.iter().enumerate() {
                if let Some(place) = out.get_mut(index(shape, channel, row, k)) {
                    *place = weight;
                }
            }
        }
        let (weights, starts) = parts_mut(shape, out);
        for (channel, start) in starts.as_chunks_mut::<4>().0.iter_mut().enumerate() {
            *start = sum(shape, weights, channel).wrapping_mul(-128).to_le_bytes().map(|byte| byte as i8);
        }
    },
    weight: |shape, weights, channel, row, k| weights.get(index(shape, channel, row, k)).copied().unwrap_or(0),
    most: most_of_products,
    largest: largest_of_products,
    check: |shape, weights| {
        let (weights, starts) = parts(shape, weights);
        ensure!(!holds_lowest(weights), LOWEST)?;
        let run = shape.kernel_w * shape.group_in();
        for (channel, start) in starts.as_chunks::<4>().0.iter().enumerate() {
            let weight = |row, k| weights.get(index(shape, channel, row, k)).copied().unwrap_or(0);
            let own = if channel < shape.channels_out { shape.kernel_h } else { 0 };
            let own = (0..own).flat_map(|row| (0..run).map(move |k| weight(row, k)));
            let whole = magnitude(own) == magnitude(all(shape, weights, channel));
            ensure!(whole, "a weight that only fills up a run is not 0")?;
            let expected = sum(shape, weights, channel).wrapping_mul(-128);
            ensure!(number(start) == expected, "a sum starts with another number than -128 times its weights")?;
        }
        Ok(())
    },
};

/// Bytes of the weights of a block.
pub(in crate::kernels) fn block_len(shape: &ConvShape) -> Option<usize> {
    let run = match shape.groups {
        1 => shape.kernel_w.checked_mul(shape.channels_in)?.checked_next_multiple_of(4)?,
        _ => shape.kernel_w.checked_mul(shape.group_in().checked_next_multiple_of(4)?)?,
    };
    run.checked_mul(shape.kernel_h)?.checked_mul(BLOCK)
}

/// The blocks of weights, and the numbers after them.
pub(in crate::kernels) fn parts<'w>(shape: &ConvShape, weights: &'w [i8]) -> (&'w [i8], &'w [i8]) {
    weights.split_at_checked(blocks_len(shape)).unwrap_or_default()
}

fn parts_mut<'w>(shape: &ConvShape, weights: &'w mut [i8]) -> (&'w mut [i8], &'w mut [i8]) {
    weights.split_at_mut_checked(blocks_len(shape)).unwrap_or_default()
}

fn blocks_len(shape: &ConvShape) -> usize {
    block_len(shape).unwrap_or(0) * shape.channels_out.div_ceil(BLOCK)
}

fn magnitude(weights: impl Iterator<Item = i8>) -> u64 {
    weights.map(|weight| u64::from(weight.unsigned_abs())).sum()
}

/// One of the numbers after the blocks.
pub(in crate::kernels) fn number(bytes: &[i8; 4]) -> i32 {
    i32::from_le_bytes(bytes.map(|byte| byte as u8))
}

/// Where the weight of an element of a group's run lies.
fn index(shape: &ConvShape, channel: usize, row: usize, k: usize) -> usize {
    let group = shape.group_in().max(1);
    let k = match shape.groups {
        1 => k,
        _ => k / group * group.next_multiple_of(4) + k % group,
    };
    let block = block_len(shape).unwrap_or(0);
    let row_len = block.checked_div(shape.kernel_h).unwrap_or(0);
    channel / BLOCK * block + row * row_len + (k / 4 * BLOCK + channel % BLOCK) * 4 + k % 4
}

/// All weights of a channel, those that only fill up included.
fn all(shape: &ConvShape, weights: &[i8], channel: usize) -> impl Iterator<Item = i8> {
    let block = block_len(shape).unwrap_or(0);
    let own = weights.get(channel / BLOCK * block..).and_then(|rest| rest.get(..block)).unwrap_or(&[]);
    let quads = own.as_chunks::<4>().0.iter().skip(channel % BLOCK).step_by(BLOCK);
    quads.flatten().copied()
}

/// The sum of a channel's weights. At most 2^23 of them: more do not keep to 32 bits.
fn sum(shape: &ConvShape, weights: &[i8], channel: usize) -> i32 {
    all(shape, weights, channel).fold(0, |sum: i32, weight| sum.wrapping_add(weight.into()))
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn weights_come_back_and_what_kernels_would_read_differently_is_seen() {
        // kernel_h, kernel_w, channels_in, channels_out, groups
        let shapes = [[3, 3, 3, 16, 1], [1, 1, 5, 20, 1], [3, 3, 16, 16, 8], [2, 3, 40, 40, 5], [1, 2, 32, 32, 2]];
        for [kernel_h, kernel_w, channels_in, channels_out, groups] in shapes {
            let shape =
                ConvShape { kernel_h, kernel_w, stride_h: 1, stride_w: 1, channels_in, channels_out, groups, width: 8 };
            assert!((QUADS.suits)(&shape));
            let canonical: Vec<i8> =
                (0..shape.macs()).map(|at| (at * 89 % 255) as u8 as i8).map(|w| w.max(-127)).collect();
            let mut weights = std::vec![0; (QUADS.len)(&shape).unwrap()];
            (QUADS_PACKING.pack)(&shape, &canonical, &mut weights);
            let mut back = std::vec![0; canonical.len()];
            QUADS_PACKING.unpack(&shape, &weights, &mut back);
            assert!(back == canonical, "{shape:?}");
            assert_eq!((QUADS_PACKING.check)(&shape, &weights), Ok(()));
            let blocks = blocks_len(&shape);
            let places: Vec<usize> = (0..canonical.len() / channels_out / kernel_h)
                .flat_map(|k| (0..channels_out).flat_map(move |c| (0..kernel_h).map(move |row| (c, row, k))))
                .map(|(channel, row, k)| index(&shape, channel, row, k))
                .collect();
            // Each weight has a place of its own; any other byte changed, or a number, is refused.
            for at in (0..weights.len()).filter(|at| !places.contains(at)).step_by(7) {
                let mut wrong = weights.clone();
                wrong[at] ^= 1;
                assert!((QUADS_PACKING.check)(&shape, &wrong).is_err(), "{shape:?}: byte {at} of {blocks}");
            }
            weights[places[0]] = i8::MIN;
            assert_eq!((QUADS_PACKING.check)(&shape, &weights), ensure!(false, LOWEST));
        }
        let shape = ConvShape {
            kernel_h: 3,
            kernel_w: 3,
            stride_h: 1,
            stride_w: 1,
            channels_in: 12,
            channels_out: 12,
            groups: 4,
            width: 8,
        };
        assert!(!(QUADS.suits)(&shape) && !(QUADS.suits)(&ConvShape { groups: 2, channels_out: 8, ..shape }));
    }
}
