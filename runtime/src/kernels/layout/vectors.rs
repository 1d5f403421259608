use super::{
    ConvShape, LOWEST, Layout, Packing, RowElement, ensure, holds_lowest, largest_of_products, most_of_products,
};

/// Elements of a vector.
pub(in crate::kernels) const VECTOR: usize = 16;
/// Output channels whose weights lie side by side.
pub(in crate::kernels) const BLOCK: usize = 4;

/// For sums of sixteen byte products (VMLADAVA), 4 output channels at a time. For each block of 4 output channels of a group, its
/// last one filled up with channels of zeros, and each 16 elements that an output pixel reads: `[4 channels][16 weights]`.
///
/// The elements come kernel row by kernel row, each row's run filled up with zeros to a multiple of 16. Where that wastes an
/// eighth of the products or more, and with groups, kernels gather the rows in scratch, and the elements come in the order
/// `[kernel column][kernel row][channel]`, filled up once. Small groups are merged.
pub static VECTORS: Layout = Layout {
    code: 5,
    name: "vectors",
    element: RowElement::Int8,
    weight_bytes: 1,
    alignment: VECTOR,
    suits: |shape| {
        let whole = |channels: usize| channels.is_multiple_of(shape.groups);
        shape.groups == 1 || whole(shape.channels_in) && whole(shape.channels_out) && group_out(&merged(shape)) > 1
    },
    len: |shape| {
        let shape = &merged(shape);
        let (rows, run) = runs(shape)?;
        let channels = group_out(shape).checked_next_multiple_of(BLOCK)?.checked_mul(shape.groups)?;
        rows.checked_mul(run)?.checked_mul(channels)
    },
    // Less than a vector more than all pixels.
    reads: |shape| {
        let columns = shape.width.checked_sub(1)?.checked_mul(shape.stride_w)?.checked_add(shape.kernel_w)?;
        columns.checked_mul(shape.channels_in)?.checked_add(VECTOR)
    },
    scratch: |shape| {
        let shape = &merged(shape);
        let columns = shape.width.saturating_sub(1) * shape.stride_w + shape.kernel_w;
        if is_gathered(shape) { columns * shape.kernel_h * shape.group_in() + 2 * VECTOR } else { 0 }
    },
};

/// [`VECTORS`] with what packs and checks it.
pub static VECTORS_PACKING: Packing = Packing {
    layout: &VECTORS,
    pack: |shape, canonical, out| {
        let (run, kernel_h) = (row_weights(shape).max(1), shape.kernel_h.max(1));
        for (row, weights) in canonical.chunks(run).enumerate() {
            for (k, &weight) in weights.iter().enumerate() {
                if let Some(place) = out.get_mut(index(shape, row / kernel_h, row % kernel_h, k)) {
                    *place = weight;
                }
            }
        }
    },
    weight: |shape, weights, channel, row, k| weights.get(index(shape, channel, row, k)).copied().unwrap_or(0),
    most: most_of_products,
    largest: largest_of_products,
    check: |shape, weights| {
        ensure!(!holds_lowest(weights), LOWEST)?;
        let weight = |channel, row, k| weights.get(index(shape, channel, row, k)).copied().unwrap_or(0);
        let own = (0..shape.channels_out)
            .flat_map(|channel| (0..shape.kernel_h).map(move |row| (channel, row)))
            .flat_map(|(channel, row)| (0..row_weights(shape)).map(move |k| weight(channel, row, k)));
        ensure!(magnitude(own) == magnitude(weights.iter().copied()), "a weight that only fills up is not 0")
    },
};

fn magnitude(weights: impl Iterator<Item = i8>) -> u64 {
    weights.map(|weight| u64::from(weight.unsigned_abs())).sum()
}

/// Neighbouring groups of one or two output channels taken together, so that a group has 4: a channel's weights for what other
/// groups of them read are 0.
pub(in crate::kernels) fn merged(shape: &ConvShape) -> ConvShape {
    let together = BLOCK.checked_div(group_out(shape)).unwrap_or(1).max(1);
    let divides = shape.groups > 1 && BLOCK.is_multiple_of(together) && shape.groups.is_multiple_of(together);
    ConvShape { groups: if divides { shape.groups.checked_div(together).unwrap_or(0) } else { shape.groups }, ..*shape }
}

/// Output channels of a group.
fn group_out(shape: &ConvShape) -> usize {
    shape.channels_out.checked_div(shape.groups).unwrap_or(0)
}

/// Weights of an output channel in a kernel row.
fn row_weights(shape: &ConvShape) -> usize {
    shape.kernel_w * shape.group_in()
}

/// Of a [`merged`] shape: runs of neighbouring elements that an output pixel reads, and the elements of one, filled up to whole vectors.
pub(in crate::kernels) fn runs(shape: &ConvShape) -> Option<(usize, usize)> {
    let run = shape.kernel_w.checked_mul(shape.group_in())?;
    let by_rows = run.checked_next_multiple_of(VECTOR)?;
    let whole = run.checked_mul(shape.kernel_h)?.checked_next_multiple_of(VECTOR)?;
    let wasteful = whole.checked_mul(8)? <= by_rows.checked_mul(shape.kernel_h)?.checked_mul(7)?;
    Some(if wasteful || shape.groups > 1 { (1, whole) } else { (shape.kernel_h, by_rows) })
}

/// Of a [`merged`] shape: whether kernels bring the rows of a group together in scratch: `[column][kernel row][channel]`.
pub(in crate::kernels) fn is_gathered(shape: &ConvShape) -> bool {
    let is_whole = runs(shape).is_some_and(|(rows, _)| rows == 1);
    is_whole && (shape.kernel_h > 1 || shape.groups > 1 && shape.kernel_w > 1)
}

/// Where the weight of an element of a row's run lies.
fn index(shape: &ConvShape, channel: usize, row: usize, k: usize) -> usize {
    // The element of the group, and of the merged one.
    let (group, own) = (channel.checked_div(group_out(shape)).unwrap_or(0), shape.group_in());
    let shape = &merged(shape);
    let channels = shape.group_in();
    let column = k.checked_div(own).unwrap_or(0);
    let within = group.checked_rem(channels.checked_div(own).unwrap_or(0)).unwrap_or(0) * own + (k - column * own);
    let (rows, run) = runs(shape).unwrap_or_default();
    let element = if is_gathered(shape) {
        (column * shape.kernel_h + row) * channels + within
    } else {
        row * run + column * channels + within
    };
    let group = channel.checked_div(group_out(shape)).unwrap_or(0);
    let channel = channel - group * group_out(shape);
    let block = group * group_out(shape).div_ceil(BLOCK) + channel / BLOCK;
    (block * rows * run + element / VECTOR * VECTOR) * BLOCK + channel % BLOCK * VECTOR + element % VECTOR
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn weights_come_back_and_what_only_fills_up_is_zero() {
        // kernel_h, kernel_w, channels_in, channels_out, groups, and whether rows are gathered
        let shapes = [
            ([3, 3, 3, 16, 1], true),
            ([3, 3, 16, 5, 1], false),
            ([1, 1, 5, 7, 1], false),
            ([2, 3, 40, 4, 1], false),
            ([3, 3, 8, 8, 1], true),
            ([3, 3, 20, 4, 1], false),
            ([3, 3, 8, 12, 4], true),
            ([3, 3, 16, 16, 8], true),
            ([3, 3, 16, 16, 16], true),
            ([3, 2, 12, 6, 3], true),
            ([2, 2, 32, 4, 4], false),
            ([1, 1, 8, 8, 2], false),
            ([1, 3, 64, 10, 2], true),
        ];
        for ([kernel_h, kernel_w, channels_in, channels_out, groups], gathers) in shapes {
            let (stride_h, stride_w) = (1, 1);
            let shape =
                ConvShape { kernel_h, kernel_w, stride_h, stride_w, channels_in, channels_out, groups, width: 8 };
            assert_eq!(is_gathered(&merged(&shape)), gathers, "{shape:?}");
            assert_eq!((VECTORS.scratch)(&shape) > 0, gathers, "{shape:?}");
            let canonical: Vec<i8> =
                (0..shape.macs()).map(|at| (at * 89 % 255) as u8 as i8).map(|w| w.max(-127)).collect();
            let mut weights = std::vec![0; (VECTORS.len)(&shape).unwrap()];
            (VECTORS_PACKING.pack)(&shape, &canonical, &mut weights);
            let mut back = std::vec![0; canonical.len()];
            VECTORS_PACKING.unpack(&shape, &weights, &mut back);
            assert!(back == canonical, "{shape:?}");
            assert_eq!((VECTORS_PACKING.check)(&shape, &weights), Ok(()));
            let run = row_weights(&shape);
            let places: Vec<usize> = (0..channels_out * kernel_h * run)
                .map(|at| index(&shape, at / run / kernel_h, at / run % kernel_h, at % run))
                .collect();
            for at in (0..weights.len()).filter(|at| !places.contains(at)) {
                let mut wrong = weights.clone();
                wrong[at] = 1;
                assert!((VECTORS_PACKING.check)(&shape, &wrong).is_err(), "{shape:?}: byte {at}");
            }
            assert!(places.len() == places.iter().collect::<std::collections::BTreeSet<_>>().len(), "{shape:?}");
            weights[places[0]] = i8::MIN;
            assert_eq!((VECTORS_PACKING.check)(&shape, &weights), ensure!(false, LOWEST));
        }
    }
}
