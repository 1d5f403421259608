//! Axes, dimensions and positions as nodes name them, for constants and computed tensors alike.

use super::constants::Array;
use super::failure::Failure;
use super::node::NodeReader;

/// A position on an axis: from the end if negative, and never beyond it.
pub(super) fn clamp(position: i64, size: usize) -> usize {
    match usize::try_from(position) {
        Ok(position) => position.min(size),
        Err(_) => size.saturating_sub(usize::try_from(position.unsigned_abs()).unwrap_or(usize::MAX)),
    }
}

/// Axes counted from the front, each at most once.
pub(super) fn axes(axes: &[i64], rank: usize) -> Result<Vec<usize>, String> {
    let fail = || format!("axes {axes:?} do not fit {rank} dimensions");
    let mut seen = vec![false; rank];
    axes.iter()
        .map(|&axis| {
            let from_front = if axis < 0 { axis.saturating_add(rank as i64) } else { axis };
            let axis = usize::try_from(from_front).ok().filter(|&axis| axis < rank).ok_or_else(fail)?;
            if std::mem::replace(&mut seen[axis], true) { Err(fail()) } else { Ok(axis) }
        })
        .collect()
}

/// One axis counted from the front.
pub(super) fn axis(at: i64, rank: usize) -> Result<usize, String> {
    axes(&[at], rank).map(|axes| axes[0])
}

/// The dimensions that `Reshape` to `target` gives.
pub(super) fn resolve(target: &[i64], dims: &[usize], copies: bool) -> Result<Vec<usize>, String> {
    let fail = || format!("cannot reshape {dims:?} to {target:?}");
    let mut open = None;
    let mut resolved = Vec::with_capacity(target.len());
    for (index, &dim) in target.iter().enumerate() {
        resolved.push(match dim {
            0 if copies => *dims.get(index).ok_or_else(fail)?,
            -1 if open.is_none() => {
                open = Some(index);
                1
            }
            dim => usize::try_from(dim).map_err(|_| fail())?,
        });
    }
    let product = |dims: &[usize]| dims.iter().try_fold(1usize, |product, &dim| product.checked_mul(dim));
    let (count, known) = (product(dims).ok_or_else(fail)?, product(&resolved).ok_or_else(fail)?);
    match open {
        Some(index) if known > 0 && count % known == 0 => resolved[index] = count / known,
        None if known == count => {}
        _ => return Err(fail()),
    }
    Ok(resolved)
}

/// `dims` with axes of one element so that they stand at `list` of the result.
pub(super) fn unsqueezed(dims: &[usize], list: &[i64]) -> Result<Vec<usize>, String> {
    let rank = dims.len() + list.len();
    let added = axes(list, rank)?;
    let mut own = dims.iter();
    Ok((0..rank).map(|axis| if added.contains(&axis) { 1 } else { own.next().copied().unwrap_or(1) }).collect())
}

/// The attribute `perm` of a transposition, or its default.
pub(super) fn permutation(node: &mut NodeReader<'_, '_>, rank: usize) -> Result<Vec<usize>, Failure> {
    let Some(named) = node.attributes.ints("perm")? else { return Ok((0..rank).rev().collect()) };
    if named.len() != rank {
        return Err(format!("attribute `perm` has {} axes for {rank} dimensions", named.len()).into());
    }
    Ok(axes(named, rank)?)
}

/// Whether and where to reduce: `None` where nothing is to be done.
pub(super) fn reduced_axes(node: &mut NodeReader<'_, '_>, rank: usize) -> Result<(Vec<usize>, bool), Failure> {
    let keep = node.attributes.int("keepdims")?.unwrap_or(1) != 0;
    let nothing = node.attributes.int("noop_with_empty_axes")?.unwrap_or(0) != 0;
    let named = node.ints_or_attribute(1, "axes")?.unwrap_or_default();
    if named.is_empty() {
        return Ok((if nothing { Vec::new() } else { (0..rank).collect() }, keep));
    }
    Ok((axes(&named, rank)?, keep))
}

/// What `Shape` gives of a tensor of `dims`.
pub(super) fn shape_of(node: &mut NodeReader<'_, '_>, dims: &[usize]) -> Result<Array, Failure> {
    let start = clamp(node.attributes.int("start")?.unwrap_or(0), dims.len());
    let end = clamp(node.attributes.int("end")?.unwrap_or(i64::MAX), dims.len());
    Ok(Array::ints(dims.get(start..end).unwrap_or_default().iter().map(|&dim| dim as i64).collect()))
}
