//! How a tensor of the file lies over a value of the graph.
//!
//! The graph knows maps `[C, H, W]` and vectors `[F]`. A file may show the same elements transposed, flattened, split or
//! with axes of one element between them. None of that moves an element here: a [`Layout`] says which part of which
//! axis of the value each axis of the file's tensor is, and the operators ask it where the axes are that they speak of.

/// The batch's axis of a value; the axes of its dimensions follow, from 1.
pub(super) const BATCH: usize = 0;
/// The axis of channels or features.
pub(super) const CHANNELS: usize = 1;
/// The axes of a map's positions.
const ROWS: usize = 2;
const COLUMNS: usize = 3;
/// Stands for no axis of the value: one element, repeated.
const REPEAT: usize = usize::MAX;

/// The digits of an axis' index between two strides: index / stride % size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Atom {
    axis: usize,
    stride: usize,
    size: usize,
}

/// Of a value's channels those parts that an axis of the file runs over: `count` times `channels` of them, the same in
/// each block of so many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Branches {
    /// Number of parts.
    pub(super) count: usize,
    /// Channels that stand together.
    pub(super) channels: usize,
}

impl Branches {
    /// Of two branches the channel of the other one that meets `channel`.
    pub(super) fn other(self, channel: usize) -> usize {
        if (channel / self.channels).is_multiple_of(2) { channel + self.channels } else { channel - self.channels }
    }
}

/// For each axis of the file's tensor the parts of the value's axes that it runs over, outermost first. An axis of one
/// element has no parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    groups: Vec<Vec<Atom>>,
}

impl Layout {
    /// The value's own order: the batch, then its dimensions.
    pub(super) fn plain(batch: usize, dims: &[usize]) -> Self {
        let order: Vec<usize> = (0..=dims.len()).collect();
        Self::ordered(batch, dims, &order)
    }

    /// Whole axes of the value in the given order.
    pub(super) fn ordered(batch: usize, dims: &[usize], order: &[usize]) -> Self {
        let size = |axis: usize| if axis == BATCH { batch } else { dims[axis - 1] };
        let group = |&axis: &usize| match size(axis) {
            1 => Vec::new(),
            size => vec![Atom { axis, stride: 1, size }],
        };
        Self { groups: order.iter().map(group).collect() }
    }

    /// Dimensions of the file's tensor.
    pub(super) fn dims(&self) -> Vec<usize> {
        self.groups.iter().map(|group| group.iter().map(|atom| atom.size).product()).collect()
    }

    /// The axes in the order that `permutation` names them.
    pub(super) fn transposed(&self, permutation: &[usize]) -> Self {
        Self { groups: permutation.iter().map(|&axis| self.groups[axis].clone()).collect() }
    }

    /// The same elements in the same order under other dimensions, whose product is the same.
    pub(super) fn reshaped(&self, dims: &[usize]) -> Result<Self, String> {
        let fail = || format!("cannot reshape {:?} to {dims:?}: no axis may be cut in the middle", self.dims());
        let mut left: Vec<Atom> = self.groups.iter().flatten().rev().copied().collect();
        let mut groups = Vec::with_capacity(dims.len());
        for &dim in dims {
            let mut group: Vec<Atom> = Vec::new();
            let mut missing = dim;
            while missing > 1 {
                let atom = left.pop().ok_or_else(fail)?;
                if missing % atom.size == 0 {
                    missing /= atom.size;
                    push(&mut group, atom);
                } else if atom.size % missing == 0 {
                    let inner = atom.size / missing;
                    left.push(Atom { size: inner, ..atom });
                    push(&mut group, Atom { stride: atom.stride * inner, size: missing, ..atom });
                    missing = 1;
                } else {
                    return Err(fail());
                }
            }
            if missing == 0 {
                return Err(fail());
            }
            groups.push(group);
        }
        if left.is_empty() { Ok(Self { groups }) } else { Err(fail()) }
    }

    /// Axes of one element, repeated so that the dimensions become `dims`, of which there may be more.
    pub(super) fn expanded(&self, dims: &[usize]) -> Result<Self, String> {
        let mut groups = vec![Vec::new(); dims.len().saturating_sub(self.groups.len())];
        groups.extend(self.groups.iter().cloned());
        let own = Self { groups: groups.clone() }.dims();
        let missing = own.len() - dims.len();
        for (axis, group) in groups.iter_mut().enumerate() {
            let dim = axis.checked_sub(missing).map_or(1, |axis| dims[axis]);
            match own[axis] {
                size if size == dim || dim == 1 => {}
                1 => *group = vec![Atom { axis: REPEAT, stride: 1, size: dim }],
                _ => return Err(format!("cannot expand {:?} to {dims:?}", self.dims())),
            }
        }
        Ok(Self { groups })
    }

    /// Repeated axes as axes of one element.
    pub(super) fn unrepeated(&self) -> Self {
        let repeated = |group: &[Atom]| group.iter().all(|atom| atom.axis == REPEAT);
        let strip = |group: &Vec<Atom>| if repeated(group) { Vec::new() } else { group.clone() };
        Self { groups: self.groups.iter().map(strip).collect() }
    }

    /// With axes of one element in front, so that there are `rank`.
    pub(super) fn with_rank(&self, rank: usize) -> Self {
        let mut groups = vec![Vec::new(); rank.saturating_sub(self.groups.len())];
        groups.extend(self.groups.iter().cloned());
        Self { groups }
    }

    /// Without the file's axes for which `gone` holds.
    pub(super) fn without(&self, gone: impl Fn(usize) -> bool) -> Self {
        let groups = self.groups.iter().enumerate().filter(|(axis, _)| !gone(*axis));
        Self { groups: groups.map(|(_, group)| group.clone()).collect() }
    }

    /// The value's axes that lie in the file's axes `axes`: `None` unless they do so as a whole.
    pub(super) fn whole_axes(&self, axes: &[usize], dims: &[usize]) -> Option<Vec<usize>> {
        let mut whole = Vec::new();
        for &file in axes {
            for atom in &self.groups[file] {
                let size = if atom.axis == BATCH { None } else { dims.get(atom.axis.wrapping_sub(1)) };
                if size != Some(&atom.size) {
                    return None;
                }
                whole.push(atom.axis);
            }
        }
        Some(whole)
    }

    /// The layout of a value whose axes `collapsed` have become one element.
    pub(super) fn collapsed(&self, collapsed: &[usize]) -> Self {
        let keep = |group: &Vec<Atom>| group.iter().filter(|atom| !collapsed.contains(&atom.axis)).copied().collect();
        Self { groups: self.groups.iter().map(keep).collect() }
    }

    /// Which whole axis of the value each of the file's is, for maps in the orders NCHW and NHWC, also without an axis of
    /// positions that has one element, and for vectors.
    pub(super) fn order(&self, batch: usize, dims: &[usize]) -> Option<&'static [usize]> {
        let orders: &[&[usize]] = match dims {
            [_, _, _] => &[&[0, 1, 2, 3], &[0, 2, 3, 1], &[0, 1, 2], &[0, 2, 1], &[0, 1, 3], &[0, 3, 1]],
            _ => &[&[0, 1]],
        };
        let left_out =
            |order: &[usize]| (1..=dims.len()).filter(|axis| !order.contains(axis)).all(|at| dims[at - 1] == 1);
        orders.iter().find(|order| left_out(order) && *self == Self::ordered(batch, dims, order)).copied()
    }

    /// Whether all elements of an image stand after the batch, each at its own place.
    pub(super) fn is_flat(&self, batch: usize, dims: &[usize]) -> bool {
        self.flat_atoms(batch, dims) == Some(None)
    }

    /// Whether all elements of an image stand after the batch, and for each the place that it has in the value, unless
    /// all have their own.
    pub(super) fn flat(&self, batch: usize, dims: &[usize]) -> Option<Option<Vec<usize>>> {
        let Some(atoms) = self.flat_atoms(batch, dims)? else { return Some(None) };
        let mut places = vec![0];
        for atom in atoms {
            let step = atom.stride * dims[atom.axis..].iter().product::<usize>();
            places = places.iter().flat_map(|place| (0..atom.size).map(move |digit| place + digit * step)).collect();
        }
        Some(Some(places))
    }

    /// The atoms of an image whose elements all stand after the batch; none where each has its own place.
    fn flat_atoms(&self, batch: usize, dims: &[usize]) -> Option<Option<Vec<Atom>>> {
        let mut atoms: Vec<Atom> = Vec::new();
        self.groups.iter().flatten().for_each(|&atom| push(&mut atoms, atom));
        if batch > 1 {
            let first = Atom { axis: BATCH, stride: 1, size: batch };
            if atoms.first() != Some(&first) {
                return None;
            }
            atoms.remove(0);
        }
        let count: usize = dims.iter().product();
        let covered: usize = atoms.iter().map(|atom| atom.size).product();
        if covered != count || atoms.iter().any(|atom| atom.axis == BATCH || atom.axis == REPEAT) {
            return None;
        }
        let plain = Self::plain(1, dims);
        Some(if plain.groups.iter().flatten().eq(&atoms) { None } else { Some(atoms) })
    }

    /// The layout over a map of `dims`, of which this one's value is the flattened vector.
    pub(super) fn unflattened(&self, dims: &[usize]) -> Option<Self> {
        let refine = |atom: &Atom| -> Option<Vec<Atom>> {
            if atom.axis != CHANNELS {
                return Some(vec![*atom]);
            }
            let (low, high) = (atom.stride, atom.stride * atom.size);
            let mut parts = Vec::new();
            let mut inner: usize = dims.iter().product();
            for (axis, &size) in dims.iter().enumerate() {
                let outer = inner;
                inner /= size;
                let (from, to) = (low.max(inner), high.min(outer));
                if from < to {
                    let whole = from.is_multiple_of(inner) && outer.is_multiple_of(to) && to.is_multiple_of(from);
                    let part = Atom { axis: axis + 1, stride: from / inner, size: to / from };
                    parts.push(Some(part).filter(|_| whole)?);
                }
            }
            (parts.iter().map(|part| part.size).product::<usize>() == atom.size).then_some(parts)
        };
        let group = |group: &Vec<Atom>| {
            let mut refined = Vec::new();
            for atom in group {
                refine(atom)?.into_iter().for_each(|atom| push(&mut refined, atom));
            }
            Some(refined)
        };
        Some(Self { groups: self.groups.iter().map(group).collect::<Option<_>>()? })
    }

    /// Whether the file's axis `axis` runs over the same parts of its value as axis `other_axis` of another layout.
    pub(super) fn runs_alike(&self, axis: usize, other: &Self, other_axis: usize) -> bool {
        self.groups[axis] == other.groups[other_axis]
    }

    /// Whether the file's axis `axis` has one element.
    pub(super) fn is_single(&self, axis: usize) -> bool {
        self.groups[axis].is_empty()
    }

    /// The layout of `count` values side by side along their `channels`, of which the file's axis `axis` counts the
    /// values; in each it has one element.
    pub(super) fn stacked(&self, axis: usize, channels: usize, count: usize) -> Self {
        let mut groups = self.groups.clone();
        if count > 1 {
            groups[axis] = vec![Atom { axis: CHANNELS, stride: channels, size: count }];
        }
        Self { groups }
    }

    /// The branches that the file's axis `axis` counts, if it is a part of the channels.
    pub(super) fn branches(&self, axis: usize, dims: &[usize]) -> Option<Branches> {
        match self.groups[axis].as_slice() {
            &[Atom { axis: CHANNELS, stride, size }] if size < dims[0] => {
                Some(Branches { count: size, channels: stride })
            }
            _ => None,
        }
    }

    /// The layout of one of the branches that the file's axis `axis` counts; there it has one element.
    pub(super) fn unstacked(&self, axis: usize, branches: Branches) -> Self {
        let mut groups = self.groups.clone();
        groups[axis].clear();
        for atom in groups.iter_mut().flatten() {
            if atom.axis == CHANNELS && atom.stride > branches.channels {
                atom.stride /= branches.count;
            }
        }
        // What was apart may be neighbours now.
        let join = |group: Vec<Atom>| {
            let mut joined = Vec::new();
            group.into_iter().for_each(|atom| push(&mut joined, atom));
            joined
        };
        Self { groups: groups.into_iter().map(join).collect() }
    }

    /// Of a map `dims` whose file shows the pixels of a block, of the size that is given, as channels: the layout of the
    /// map whose channels are row in the block, column in the block, channel of `dims`.
    pub(super) fn blocks(&self, dims: &[usize]) -> Option<([usize; 2], Self)> {
        let [batch, channels, rows, columns] = self.groups.as_slice() else { return None };
        let block = |group: &[Atom], axis: usize| match *group {
            [Atom { axis: own, stride, size }] if own == axis && stride * size == dims[axis - 1] => Some(stride),
            [] => Some(dims[axis - 1]),
            _ => None,
        };
        if dims.len() != 3 || batch.iter().any(|atom| atom.axis != BATCH) {
            return None;
        }
        let size = [block(rows, ROWS)?, block(columns, COLUMNS)?];
        if size == [1, 1] {
            return None;
        }
        let mut parts = Vec::new();
        for atom in channels {
            let block = match atom.axis {
                CHANNELS => 1,
                ROWS => size[1] * dims[0],
                COLUMNS => dims[0],
                _ => return None,
            };
            push(&mut parts, Atom { axis: CHANNELS, stride: atom.stride * block, size: atom.size });
        }
        let count: usize = parts.iter().map(|atom| atom.size).product();
        let whole = |axis: usize, size: usize| match size {
            1 => Vec::new(),
            size => vec![Atom { axis, stride: 1, size }],
        };
        let (rows, columns) = (whole(ROWS, dims[1] / size[0]), whole(COLUMNS, dims[2] / size[1]));
        (count == dims[0] * size[0] * size[1])
            .then(|| (size, Self { groups: vec![batch.clone(), parts, rows, columns] }))
    }

    /// Of a map `dims` whose file shows parts of the channels as positions in blocks of pixels: the size of the blocks, and
    /// for each channel of the map of which they can be made ([`Op::DepthToSpace`](crate::Op)) that of `dims`.
    pub(super) fn spread(&self, dims: &[usize]) -> Option<([usize; 2], Vec<usize>)> {
        let [batch, channels, rows, columns] = self.groups.as_slice() else { return None };
        let inner = |group: &[Atom], axis: usize| {
            let whole = [Atom { axis, stride: 1, size: dims[axis - 1] }];
            let inner = if dims[axis - 1] == 1 { group } else { group.strip_prefix(&whole)? };
            inner.iter().all(|atom| atom.axis == CHANNELS).then(|| inner.to_vec())
        };
        if dims.len() != 3 || batch.iter().any(|atom| atom.axis != BATCH) {
            return None;
        }
        let (rows, columns) = (inner(rows, ROWS)?, inner(columns, COLUMNS)?);
        let size = |parts: &[Atom]| parts.iter().map(|atom| atom.size).product::<usize>();
        let block = [size(&rows), size(&columns)];
        let all = [rows, columns, channels.clone()].concat();
        if block == [1, 1] || all.iter().any(|atom| atom.axis != CHANNELS) || size(&all) != dims[0] {
            return None;
        }
        Some((block, places(&all)))
    }

    /// Whether a map of `dims` is shown as one of the same pixels in another order, of which one axis alone has several:
    /// then these are the channels of one pixel, spread over rows and columns of the sizes that are given.
    pub(super) fn unrolled(&self, dims: &[usize]) -> Option<[usize; 2]> {
        let shown = self.dims();
        let &[_, channels, height, width] = shown.as_slice() else { return None };
        let parts: Vec<Atom> = [2, 3, 1].iter().flat_map(|&axis| self.groups[axis].iter().copied()).collect();
        let whole = dims.len() == 3 && channels * height * width == dims.iter().product::<usize>();
        let whole = whole && self.groups[0].iter().all(|atom| atom.axis == BATCH);
        if !whole || parts.iter().any(|atom| atom.axis == BATCH || atom.axis == REPEAT) {
            return None;
        }
        let stride = |axis: usize| match axis {
            CHANNELS => 1,
            COLUMNS => dims[0],
            _ => dims[0] * dims[2],
        };
        let place = |atom: &Atom| Atom { axis: CHANNELS, stride: atom.stride * stride(atom.axis), size: atom.size };
        let pixel: Vec<Atom> = parts.iter().map(place).collect();
        places(&pixel).iter().enumerate().all(|(to, &from)| to == from).then_some([height, width])
    }

    /// How often the file repeats each row and each column of a map, next to itself; and the layout of the map that has
    /// them so often.
    pub(super) fn enlarged(&self, dims: &[usize]) -> Option<([usize; 2], Self)> {
        let mut groups = self.groups.clone();
        let mut factors = [1, 1];
        for group in &mut groups {
            let &[own, Atom { axis: REPEAT, size, .. }] = group.as_slice() else { continue };
            if dims.len() != 3 || own.axis < ROWS || own.size != dims[own.axis - 1] {
                return None;
            }
            factors[own.axis - ROWS] = size;
            *group = vec![Atom { size: own.size * size, ..own }];
        }
        (factors != [1, 1]).then_some((factors, Self { groups }))
    }

    /// The layout of a map of dimensions `to`, where this one's of dimensions `from` has other rows and columns.
    pub(super) fn over(&self, from: &[usize], to: &[usize]) -> Self {
        let resized = |atom: &Atom| match atom.axis {
            axis @ (ROWS | COLUMNS) if atom.size == from[axis - 1] => Atom { size: to[axis - 1], ..*atom },
            _ => *atom,
        };
        let group = |group: &Vec<Atom>| group.iter().map(resized).filter(|atom| atom.size > 1).collect();
        Self { groups: self.groups.iter().map(group).collect() }
    }

    /// For each place on the file's axis of channels the value's channel that stands there, where that axis has all of
    /// them in another order than the value's; and the layout in which they are in order.
    pub(super) fn shuffled(&self, dims: &[usize]) -> Option<(Vec<usize>, Self)> {
        let axis = self.groups.iter().position(|group| group.iter().any(|atom| atom.axis == CHANNELS))?;
        let group = &self.groups[axis];
        let count: usize = group.iter().map(|atom| atom.size).product();
        if group.len() < 2 || count != dims[0] || group.iter().any(|atom| atom.axis != CHANNELS) {
            return None;
        }
        let order = places(group);
        let mut groups = self.groups.clone();
        groups[axis] = vec![Atom { axis: CHANNELS, stride: 1, size: count }];
        Some((order, Self { groups }))
    }

    /// Whether the file's axis `axis` is the value's whole axis of channels.
    pub(super) fn is_channels(&self, axis: usize, dims: &[usize]) -> bool {
        self.groups[axis] == [Atom { axis: CHANNELS, stride: 1, size: dims[0] }]
    }
}

/// Where the elements of parts of an axis stand on it, outermost part first.
fn places(parts: &[Atom]) -> Vec<usize> {
    let mut places = vec![0];
    for part in parts {
        places = places.iter().flat_map(|at| (0..part.size).map(move |digit| at + digit * part.stride)).collect();
    }
    places
}

/// Appends an atom, joined with the one before where they are neighbouring digits.
fn push(group: &mut Vec<Atom>, atom: Atom) {
    match group.last_mut() {
        Some(last) if last.axis == atom.axis && last.stride == atom.stride * atom.size => {
            *last = Atom { size: last.size * atom.size, ..atom };
        }
        _ => group.push(atom),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIMS: [usize; 3] = [6, 2, 3];

    #[test]
    fn channels_last_and_back_is_plain() {
        let plain = Layout::plain(1, &DIMS);
        let last = plain.transposed(&[0, 2, 3, 1]);
        assert_eq!((last.dims(), last.order(1, &DIMS)), (vec![1, 2, 3, 6], Some([0, 2, 3, 1].as_slice())));
        assert_eq!(last.transposed(&[0, 3, 1, 2]), plain);
        assert_eq!(plain.transposed(&[0, 1, 3, 2]).order(1, &DIMS), None);
    }

    #[test]
    fn reshaping_splits_and_joins_axes() {
        let plain = Layout::plain(4, &DIMS);
        let split = plain.reshaped(&[4, 2, 3, 6]).unwrap();
        assert_eq!(split.reshaped(&[4, 6, 2, 3]).unwrap(), plain);
        // Channels shuffled between two groups are in another order.
        let shuffled = split.transposed(&[0, 2, 1, 3]).reshaped(&[4, 6, 2, 3]).unwrap();
        assert_ne!(shuffled, plain);
        assert!(plain.reshaped(&[4, 4, 9]).is_err());
        assert!(plain.reshaped(&[4, 0]).is_err());
        assert!(plain.reshaped(&[4, 6, 2]).is_err());
    }

    #[test]
    fn shuffled_channels_know_where_they_come_from() {
        let plain = Layout::plain(1, &DIMS);
        let split = plain.reshaped(&[1, 2, 3, 2, 3]).unwrap();
        let shuffled = split.transposed(&[0, 2, 1, 3, 4]).reshaped(&[1, 6, 2, 3]).unwrap();
        assert_eq!(shuffled.shuffled(&DIMS), Some((vec![0, 3, 1, 4, 2, 5], plain.clone())));
        assert_eq!(plain.shuffled(&DIMS), None);
        // A part of the rows among them is no order of channels.
        let mixed =
            plain.reshaped(&[1, 2, 3, 2, 3]).unwrap().transposed(&[0, 3, 1, 2, 4]).reshaped(&[1, 12, 3]).unwrap();
        assert_eq!(mixed.shuffled(&DIMS), None);
    }

    #[test]
    fn blocks_of_pixels_as_channels() {
        let plain = Layout::plain(1, &[3, 4, 6]);
        let split = plain.reshaped(&[1, 3, 2, 2, 3, 2]).unwrap();
        let rows_first = split.transposed(&[0, 3, 5, 1, 2, 4]).reshaped(&[1, 12, 2, 3]).unwrap();
        assert_eq!(rows_first.blocks(&[3, 4, 6]), Some(([2, 2], Layout::plain(1, &[12, 2, 3]))));
        let channels_first = split.transposed(&[0, 1, 3, 5, 2, 4]).reshaped(&[1, 12, 2, 3]).unwrap();
        let (size, layout) = channels_first.blocks(&[3, 4, 6]).unwrap();
        let (order, ordered) = layout.shuffled(&[12, 2, 3]).unwrap();
        assert_eq!((size, ordered), ([2, 2], Layout::plain(1, &[12, 2, 3])));
        assert_eq!(order, [0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11]);
        assert_eq!(plain.blocks(&[3, 4, 6]), None);
        assert_eq!(plain.reshaped(&[1, 6, 2, 6]).unwrap().blocks(&[3, 4, 6]), None);
    }

    #[test]
    fn branches_are_parts_of_the_channels() {
        let part = Layout::plain(1, &[3, 2, 3]).reshaped(&[1, 1, 3, 2, 3]).unwrap();
        let stack = part.stacked(1, 3, 2);
        assert_eq!(stack, Layout::plain(1, &DIMS).reshaped(&[1, 2, 3, 2, 3]).unwrap());
        let branches = stack.branches(1, &DIMS).unwrap();
        assert_eq!((branches, stack.unstacked(1, branches)), (Branches { count: 2, channels: 3 }, part));
        assert_eq!([0, 2, 3, 5].map(|channel| branches.other(channel)), [3, 5, 0, 2]);
        // Two of three branches in each of two blocks: the blocks move together when a branch is taken out.
        let inner = Layout::plain(1, &[12, 1, 1]).reshaped(&[1, 2, 3, 2]).unwrap();
        let branches = inner.branches(2, &[12, 1, 1]).unwrap();
        assert_eq!(branches, Branches { count: 3, channels: 2 });
        assert_eq!(inner.unstacked(2, branches), Layout::plain(1, &[4, 1, 1]).reshaped(&[1, 2, 1, 2]).unwrap());
        assert_eq!(stack.branches(2, &DIMS), Some(Branches { count: 3, channels: 1 }));
        assert_eq!(Layout::plain(1, &DIMS).branches(1, &DIMS), None);
    }

    #[test]
    fn flattened_channels_last_knows_where_its_elements_are() {
        let plain = Layout::plain(1, &DIMS);
        assert_eq!(plain.reshaped(&[1, 36]).unwrap().flat(1, &DIMS), Some(None));
        let places = plain.transposed(&[0, 2, 3, 1]).reshaped(&[1, 36]).unwrap().flat(1, &DIMS).unwrap().unwrap();
        assert_eq!(places[..8], [0, 6, 12, 18, 24, 30, 1, 7]);
        let batch = Layout::plain(4, &DIMS);
        assert_eq!(batch.reshaped(&[4, 36]).unwrap().flat(4, &DIMS), Some(None));
        assert_eq!(batch.transposed(&[1, 0, 2, 3]).flat(4, &DIMS), None);
    }

    #[test]
    fn a_vector_shown_as_the_map_that_it_was_is_that_map() {
        let vector = Layout::plain(1, &[36]);
        let map = vector.reshaped(&[1, 6, 2, 3]).unwrap();
        assert_eq!(map.unflattened(&DIMS).unwrap(), Layout::plain(1, &DIMS));
        assert_ne!(vector.reshaped(&[1, 2, 6, 3]).unwrap().unflattened(&DIMS), Some(Layout::plain(1, &DIMS)));
        assert_eq!(vector.reshaped(&[1, 4, 9]).unwrap().unflattened(&DIMS), None);
    }

    #[test]
    fn expansion_repeats_single_elements() {
        let gate = Layout::plain(1, &[6, 1, 1]);
        let expanded = gate.expanded(&[1, 6, 2, 3]).unwrap();
        assert_eq!((expanded.dims(), expanded.unrepeated()), (vec![1, 6, 2, 3], gate.clone()));
        assert!(gate.expanded(&[1, 5, 2, 3]).is_err());
    }
}
