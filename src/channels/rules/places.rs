//! Operators that move places: reshapes, cuts, joins.

use super::{Follow, axis_of, is_settled};
use crate::channels::atoms::PlaceLabel;
use crate::channels::ints::Element;
use crate::channels::reshape::{Dim, merged, reshape};
use crate::graph::{Node, ValueId};

pub(super) fn reshaped(f: &mut Follow, n: usize, node: &Node) -> bool {
    let (Some(x), Some(y)) = (node.input(0), node.output(0)) else { return false };
    let (Some(from), Some(to)) = (f.shape(x).map(<[usize]>::to_vec), f.shape(y).map(<[usize]>::to_vec)) else { return false };
    let why = f.why(n, node, "puts it together with what stays");
    let dims = f.passed(x);
    if dims.iter().all(Option::is_none) {
        return true;
    }
    let Some(mut made) = reshape(&mut f.atoms, &f.known, &from, &dims, &to, why) else {
        f.freeze_value(x, why);
        return true;
    };
    if node.op == "Reshape"
        && let Some(shape) = node.input(1)
    {
        for (axis, dim) in made.iter_mut().enumerate() {
            if dim.is_some() && !is_settled(f, shape, axis) {
                let why = f.why(n, node, "gives it a length that is worked out");
                let frozen = dim.take();
                f.freeze(&frozen, why);
            }
        }
    }
    let is_zero = f.is_zero(x);
    f.set(Some(y), made, is_zero, why);
    true
}

pub(super) fn transposed(f: &mut Follow, n: usize, node: &Node) -> bool {
    let Some(x) = node.input(0) else { return false };
    let rank = f.rank(x);
    let order: Vec<usize> = match node.attributes.ints("perm") {
        Some(perm) => perm.iter().filter_map(|&axis| axis_of(axis, rank)).collect(),
        None => (0..rank).rev().collect(),
    };
    if order.len() != rank {
        return false;
    }
    let dims = order.iter().map(|&axis| f.own(x, axis)).collect();
    let (is_zero, why) = (f.is_zero(x), f.why(n, node, "has only one of it"));
    f.set(node.output(0), dims, is_zero, why);
    true
}

pub(super) fn joined(f: &mut Follow, n: usize, node: &Node) -> bool {
    let Some(y) = node.output(0) else { return true };
    let rank = f.rank(y);
    let Some(axis) = node.attributes.int("axis").and_then(|axis| axis_of(axis, rank)) else { return false };
    let inputs: Vec<ValueId> = node.inputs.iter().flatten().copied().collect();
    if inputs.iter().any(|&value| f.rank(value) != rank) {
        return false;
    }
    let why = f.why(n, node, "ties it to what stays");
    let mut dims = vec![None; rank];
    for (place, dim) in dims.iter_mut().enumerate().filter(|(place, _)| *place != axis) {
        let Some(&first) = inputs.iter().find(|&&value| f.dim(value, place).is_some()) else { continue };
        for &other in inputs.iter().filter(|&&other| other != first) {
            f.tie((first, place), (other, place), why);
        }
        *dim = f.dim(first, place);
    }
    if inputs.iter().any(|&value| f.dim(value, axis).is_some()) {
        let mut all = Vec::new();
        for &value in &inputs {
            match f.dim(value, axis) {
                Some(labels) => all.extend_from_slice(&labels),
                None => all.extend(std::iter::repeat_n(PlaceLabel::STAYS, f.size(value, axis))),
            }
        }
        dims[axis] = Some(all.into());
    }
    let is_zero = inputs.iter().all(|&value| f.is_zero(value) || f.dims(value).iter().all(Option::is_none));
    f.set(Some(y), dims, is_zero, why);
    true
}

pub(super) fn parted(f: &mut Follow, n: usize, node: &Node) -> bool {
    let Some(x) = node.input(0) else { return false };
    let Some(axis) = axis_of(node.attributes.int("axis").unwrap_or(0), f.rank(x)) else { return false };
    let given = match node.input(1) {
        Some(list) => f.ints(Some(list)),
        None => node.attributes.ints("split").map(<[i64]>::to_vec),
    };
    if node.input(1).is_some() && given.is_none() {
        return false;
    }
    let why = f.why(n, node, "has only one of it");
    let (dims, is_zero, whole) = (f.dims(x), f.is_zero(x), f.dim(x, axis));
    let equal = f.size(x, axis).div_ceil(node.outputs.len().max(1));
    let mut start = 0;
    for (i, &output) in node.outputs.iter().enumerate() {
        let told = given.as_ref().map_or(Some(equal), |sizes| usize::try_from(*sizes.get(i)?).ok());
        let Some(size) = output.map(|output| f.size(output, axis)).or(told) else { return false };
        let mut dims = dims.clone();
        dims[axis] = whole.as_ref().and_then(|labels| labels.get(start..start + size)).map(Into::into);
        start += size;
        f.set(output, dims, is_zero, why);
    }
    true
}

/// Starts, ends, axes and steps of a Slice.
pub(in crate::channels) fn bounds(
    node: &Node,
    ints: &dyn Fn(Option<ValueId>) -> Option<Vec<i64>>,
    rank: usize,
) -> Option<Vec<(usize, i64, i64, i64)>> {
    let get = |i: usize, name: &str| match node.input(i) {
        Some(value) => ints(Some(value)).map(Some),
        None => Some(node.attributes.ints(name).map(<[i64]>::to_vec)),
    };
    let (starts, ends) = (get(1, "starts")??, get(2, "ends")??);
    let axes = get(3, "axes")?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = get(4, "steps")?.unwrap_or_else(|| vec![1; starts.len()]);
    if ends.len() != starts.len() || axes.len() != starts.len() || steps.len() != starts.len() {
        return None;
    }
    (0..starts.len()).map(|i| Some((axis_of(axes[i], rank)?, starts[i], ends[i], steps[i]))).collect()
}

/// First place of a slice with steps of 1 along a dimension of so many, and how many it takes.
pub(in crate::channels) fn run((start, end): (i64, i64), size: usize) -> (usize, usize) {
    let size = size as i64;
    let at = |bound: i64| (if bound < 0 { bound.saturating_add(size) } else { bound }).clamp(0, size);
    let (start, end) = (at(start), at(end));
    (start as usize, (end - start).max(0) as usize)
}

pub(super) fn sliced(f: &mut Follow, n: usize, node: &Node) -> bool {
    let Some(x) = node.input(0) else { return false };
    let mut dims = f.dims(x);
    if dims.iter().all(Option::is_none) {
        return true;
    }
    let Some(bounds) = bounds(node, &|value| f.seen(value), f.rank(x)) else {
        let why = f.why(n, node, "cuts at places that are worked out");
        f.freeze_value(x, why);
        return true;
    };
    // Numbers that are worked out are put right together: none of them may depend on the size of what comes in.
    let is_mixed = bounds.len() > 1 && self::bounds(node, &|value| f.ints(value), f.rank(x)).is_none();
    let why = f.why(n, node, "cuts it in steps, or down to one");
    for (axis, start, end, step) in bounds {
        let Some(labels) = &dims[axis] else { continue };
        let (first, count) = run((start, end), labels.len());
        if step == 1 && count > 0 && !is_mixed {
            dims[axis] = Some(labels[first..first + count].into());
        } else {
            f.freeze_dim(x, axis, why);
            dims[axis] = None;
        }
    }
    let is_zero = f.is_zero(x);
    f.set(node.output(0), dims, is_zero, why);
    true
}

pub(super) fn gathered(f: &mut Follow, n: usize, node: &Node) -> bool {
    let (Some(x), Some(indices)) = (node.input(0), node.input(1)) else { return false };
    let rank = f.rank(x);
    let Some(axis) = axis_of(node.attributes.int("axis").unwrap_or(0), rank) else { return false };
    let why = f.why(n, node, "picks from it");
    let is_table = f.tensor(x).is_some();
    let chosen = f.ints(Some(indices));
    let picked: Dim = match (f.dim(x, axis), &chosen) {
        (None, _) => None,
        (Some(labels), Some(chosen)) if f.rank(indices) == 1 => {
            let size = labels.len() as i64;
            let at = |&i: &i64| labels.get(usize::try_from(if i < 0 { i + size } else { i }).ok()?).copied();
            chosen.iter().map(at).collect::<Option<Vec<_>>>().map(Into::into)
        }
        // What is picked alone cannot go, and its number changes when others do.
        (known, _) => {
            f.freeze(&known, why);
            None
        }
    };
    let mut dims = Vec::new();
    for place in 0..rank {
        if place == axis {
            let inner = f.rank(indices);
            if inner == 1 { dims.push(picked.clone()) } else { dims.extend(std::iter::repeat_n(None, inner)) }
        } else if is_table {
            // A table of vectors.
            dims.push(f.own(x, place));
        } else {
            dims.push(f.dim(x, place));
        }
    }
    let is_zero = f.is_zero(x);
    f.set(node.output(0), dims, is_zero, why);
    true
}

/// Operators that make a value longer, but not where its channels are.
pub(super) fn extended(f: &mut Follow, n: usize, node: &Node) -> bool {
    let (Some(x), Some(y)) = (node.input(0), node.output(0)) else { return false };
    let (rank, rank_y) = (f.rank(x), f.rank(y));
    if rank > rank_y {
        return false;
    }
    let why = f.why(n, node, "makes it longer");
    let mut dims = vec![None; rank_y];
    for axis in 0..rank {
        let place = axis + rank_y - rank;
        let dim = f.own(x, axis);
        let is_alike = f.size(x, axis) == f.size(y, place);
        let is_put_right = node.op != "Expand" || node.input(1).is_some_and(|shape| is_settled(f, shape, place));
        if is_alike && is_put_right {
            dims[place] = dim;
        } else if f.size(x, axis) == 1 && node.op == "Expand" {
            dims[place] = node.input(1).and_then(|shape| measured(f, shape, place));
        } else {
            f.freeze(&dim, why);
        }
    }
    if node.op == "Expand" {
        for (place, dim) in dims.iter_mut().enumerate().take(rank_y - rank) {
            *dim = node.input(1).and_then(|shape| measured(f, shape, place));
        }
    }
    // Zeros are put around it, or the like; which is of no matter where it is multiplied by zeros.
    let is_filled =
        node.op == "Pad" && (node.attributes.string("mode").is_some_and(|m| m != "constant") || f.scalar(node.input(2)) == Some(0.0));
    let is_bare = node.op == "Pad" && node.input(2).is_none() && node.attributes.float("value").unwrap_or(0.0) == 0.0;
    let is_zero = f.is_zero(x) && (node.op != "Pad" || is_filled || is_bare);
    f.set(Some(y), dims, is_zero, why);
    true
}

/// A dimension that is made as long as another one is: what goes there goes here.
fn measured(f: &mut Follow, list: ValueId, i: usize) -> Dim {
    match f.lists().element(list, i) {
        Element::Length { of: Some((value, axis)), .. } => f.own(value, axis),
        _ => None,
    }
}

/// A value that is the same everywhere.
pub(super) fn filled(f: &mut Follow, n: usize, node: &Node) -> bool {
    let (Some(shape), Some(y)) = (node.input(0), node.output(0)) else { return false };
    let dims = (0..f.rank(y)).map(|axis| measured(f, shape, axis)).collect();
    let value = node.attributes.tensor("value").and_then(|id| f.file.floats(id).ok().flatten());
    let is_zero = node.attributes.tensor("value").is_none() || value.is_some_and(|values| values.zeros() == values.len() as u64);
    let why = f.why(n, node, "has only one of it");
    f.set(Some(y), dims, is_zero, why);
    true
}

/// Blocks of an image that become channels, and back.
pub(super) fn blocks(f: &mut Follow, n: usize, node: &Node) -> bool {
    let Some(x) = node.input(0) else { return false };
    let Some(side) = node.attributes.int("blocksize").and_then(|b| usize::try_from(b).ok()).filter(|&b| b > 0) else { return false };
    if f.rank(x) != 4 {
        return false;
    }
    let why = f.why(n, node, "makes an image of it");
    for axis in [2, 3] {
        f.freeze_dim(x, axis, why);
    }
    let (channels, area) = (f.size(x, 1), side * side);
    let dim = f.dim(x, 1);
    let made: Dim = if node.op == "SpaceToDepth" {
        let Some(all) = merged(&mut f.atoms, &[(area, None), (channels, dim.clone())]) else { return false };
        dim.as_ref().map(|_| all.into())
    } else {
        if !channels.is_multiple_of(area) {
            return false;
        }
        let is_last = node.attributes.string("mode").is_some_and(|mode| mode == "CRD");
        let (sizes, allowed, place) =
            if is_last { ([channels / area, area], [true, false], 0) } else { ([area, channels / area], [false, true], 1) };
        let parts = f.split(&dim, &sizes, &allowed, why);
        parts[place].clone()
    };
    let (is_zero, first) = (f.is_zero(x), f.dim(x, 0));
    f.set(node.output(0), vec![first, made, None, None], is_zero, why);
    true
}
